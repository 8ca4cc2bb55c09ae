//! Channels and dead neurons: the smaller network must compute what the larger one does.
//!
//! Everything is run by an interpreter in f64 that reads like the formulas and knows nothing of channels.

mod dead;
mod interpreter;
mod networks;

use proptest::prelude::*;
use tersor_compress::Error;
use tersor_compress::channel::{Budget, Cost, GroupPlan, Groups, Removal, Share, Strength};
use tersor_compress::dead::{Dead, remove_dead};
use tersor_kernels::int8::Activation;
use tersor_kernels::window::Padding;
use tersor_network::operator::Operator;
use tersor_network::{Graph, Layout, Network};

use interpreter::*;
use networks::*;

// ---------------------------------------------------------------------------------------------------------------------
// Removing channels

/// A removal of channels drawn at random, at most all but one of each group.
fn drawn(network: &Network, seed: u64, share: f64) -> Removal {
    let (mut draws, _) = Builder::new(&[1, 1], seed);
    let groups = Groups::of(network).unwrap();
    let plan = groups.groups().iter().map(|group| {
        let mut removed = group.removable.clone();
        removed.retain(|_| f64::from(draws.draw()) < 2.0 * share - 1.0);
        removed.truncate(group.channels - 1);
        GroupPlan { layers: group.layers.clone(), channels: group.channels, removed }
    });
    Removal { groups: plan.collect() }
}

/// Everything that must hold for a removal.
fn check(network: &Network, removal: &Removal, seed: u64) {
    let smaller = removal.apply(network).unwrap();
    let masked = masked(network, &removal.masks(network).unwrap());
    assert!(difference(&masked, &smaller, seed) < 1e-5);
    assert_eq!(removal.cost(network).unwrap(), Cost::of(&smaller));
    let (graph, cut) = (network.main(), smaller.main());
    for (&before, &after) in graph.inputs.iter().chain(&graph.outputs).zip(cut.inputs.iter().chain(&cut.outputs)) {
        assert_eq!(graph.tensors[before], cut.tensors[after]);
    }
    for (before, after) in graph.tensors.iter().zip(&cut.tensors) {
        assert_eq!(before.name, after.name);
        assert!(before.shape.iter().zip(&after.shape).all(|(before, after)| after <= before));
        if let Some(constant) = &after.constant {
            assert_eq!(constant.len(), after.len());
        }
    }
    // A layer that is a group alone has as many rows for each channel before and after.
    for group in removal.groups.iter().filter(|group| group.layers.len() == 1) {
        let rows = |graph: &Graph| graph.tensors.iter().find(|t| t.name == group.layers[0]).unwrap().shape[0];
        assert_eq!(rows(cut), rows(graph) / group.channels * (group.channels - group.removed.len()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn the_smaller_network_computes_what_the_masked_one_does(
        which in 0..NETWORKS.len(), seed in any::<u64>(), share in 0.0..1.0f64,
    ) {
        let network = NETWORKS[which](seed);
        let removal = drawn(&network, seed ^ 1, share);
        match removal.apply(&network) {
            // A layer among several of a group may be emptied by chance.
            Err(Error::Tensor { why, .. }) if why.contains("would be left") => {}
            _ => check(&network, &removal, seed ^ 2),
        }
    }

    #[test]
    fn a_share_is_met_and_predicted(
        which in 0..NETWORKS.len(), seed in any::<u64>(), share in 0.4..1.0f64, of_macs: bool, round_to in 1..5usize,
    ) {
        let network = NETWORKS[which](seed);
        let keep = if of_macs { Share::MultiplyAdds(share) } else { Share::Weights(share) };
        let budget = Budget { round_to, ..keep.into() };
        let groups = Groups::of(&network).unwrap();
        let removal = match groups.plan(&budget) {
            Err(Error::Input { why, .. }) if round_to > 1 || which == 5 => {
                prop_assert!(why.contains("is left"));
                return Ok(());
            }
            removal => removal.unwrap(),
        };
        check(&network, &removal, seed ^ 2);
        let (before, after) = (groups.cost(), removal.cost(&network).unwrap());
        match of_macs {
            true => prop_assert!(after.macs as f64 <= share * before.macs as f64),
            false => prop_assert!(after.weights as f64 <= share * before.weights as f64),
        }
        for group in &removal.groups {
            let left = group.channels - group.removed.len();
            prop_assert!(left > 0 && (left == group.channels || left % round_to == 0));
        }
        let text = serde_json::to_string(&removal).unwrap();
        prop_assert_eq!(serde_json::from_str::<Removal>(&text).unwrap(), removal);
    }

    #[test]
    fn dead_channels_leave_no_trace(which in 0..NETWORKS.len(), seed in any::<u64>(), density in 0.0..0.6f64) {
        let network = sparse(NETWORKS[which](seed), seed ^ 1, density);
        let (smaller, dead) = remove_dead(&network).unwrap();
        prop_assert!(difference(&network, &smaller, seed ^ 2) < 1e-6);
        let (before, after) = (Cost::of(&network), Cost::of(&smaller));
        prop_assert_eq!(before.weights - after.weights, dead.weights);
        prop_assert!(after.macs <= before.macs);
        let (again, nothing) = remove_dead(&smaller).unwrap();
        prop_assert_eq!(again, smaller);
        prop_assert_eq!(nothing, Dead::default());
    }
}

#[test]
fn nothing_removed_changes_nothing() {
    for build in NETWORKS {
        let network = build(3);
        assert_eq!(Removal::default().apply(&network).unwrap(), network);
        assert!(Removal::default().masks(&network).unwrap().is_empty());
        let all: Budget = Share::Weights(1.0).into();
        let plan = Groups::of(&network).unwrap().plan(&all).unwrap();
        assert!(plan.groups.iter().all(|group| group.removed.is_empty()));
    }
}

#[test]
fn a_residual_couples_what_it_adds() {
    let network = residual(5);
    let groups = Groups::of(&network).unwrap();
    // Stem and second convolutions of the first stage; projection and second convolutions of the second stage.
    let layers: Vec<usize> = groups.groups().iter().map(|group| group.layers.len()).collect();
    assert_eq!(layers, [3, 1, 1, 1, 3, 1, 1]);
    let channels: Vec<usize> = groups.groups().iter().map(|group| group.channels).collect();
    assert_eq!(channels, [6, 6, 6, 8, 8, 8, 4]);
    assert!(groups.groups()[6].removable.is_empty());
}

#[test]
fn depthwise_convolutions_go_with_what_they_pass_on() {
    let network = depthwise(5);
    let groups = Groups::of(&network).unwrap();
    let layers: Vec<usize> = groups.groups().iter().map(|group| group.layers.len()).collect();
    // Residual stream; expansion + depthwise; expansion + depthwise + gate; squeeze; output.
    assert_eq!(layers, [3, 2, 3, 1, 1]);
}

#[test]
fn joined_layers_lose_their_channels_alone() {
    let network = dense(5);
    let groups = Groups::of(&network).unwrap();
    assert!(groups.groups().iter().all(|group| group.layers.len() == 1));
    assert_eq!(groups.groups().len(), 5);
}

/// Layers of 2 and 3 channels, joined, and added to what a layer of 5 makes.
fn joined_and_added() -> Network {
    let (mut net, x) = Builder::new(&[1, 2, 4, 4], 11);
    let parts = [2, 3].map(|channels| net.convolution(x, channels, 3, Convolution { pad: 1, ..Convolution::BIASED }));
    let joined = net.node(Operator::Concatenation { axis: 1, activation: NONE }, &parts);
    let other = net.convolution(x, 5, 1, Convolution::BIASED);
    let x = net.add(joined, other);
    let x = net.convolution(x, 2, 3, Convolution::BIASED);
    net.finish(&[x])
}

#[test]
fn no_layer_of_a_group_is_emptied() {
    let network = joined_and_added();
    let groups = Groups::of(&network).unwrap();
    let group = &groups.groups()[0];
    assert_eq!((group.layers.len(), group.channels), (3, 5));
    let plan =
        |removed: Vec<u32>| Removal { groups: vec![GroupPlan { layers: group.layers.clone(), channels: 5, removed }] };
    assert!(plan(vec![0, 1]).apply(&network).unwrap_err().to_string().contains("none of 2 channels would be left"));
    check(&network, &plan(vec![1, 2, 3]), 1);
    let least = groups.plan(&Share::Weights(0.5).into()).unwrap();
    assert_eq!(least.count(), 3);
    check(&network, &least, 1);

    // All five channels are constant; one of each joined layer stays.
    let mut network = sparse(network, 1, 0.0);
    let last = weights(&network)[3];
    let count = network.main().tensors[last].len();
    set(&mut network, last, vec![1.0; count]);
    let (smaller, dead) = remove_dead(&network).unwrap();
    assert_eq!((dead.groups[0].constant, dead.folded), (3, 3));
    assert_eq!(smaller.main().tensors[weights(&smaller)[2]].shape, [2, 2, 1, 1]);
    assert!(difference(&network, &smaller, 1) < 1e-6);
}

#[test]
fn groups_of_a_convolution_stay_equal() {
    let (mut net, x) = Builder::new(&[1, 3, 5, 5], 1);
    let x = net.convolution(x, 8, 1, Convolution::PLAIN);
    let x = net.convolution(x, 12, 3, Convolution { groups: 4, ..Convolution::PLAIN });
    let x = net.mean(x, false);
    let x = net.linear(x, 2, NONE);
    let network = net.finish(&[x]);
    let groups = Groups::of(&network).unwrap();
    assert_eq!(groups.groups().iter().map(|group| group.channels).collect::<Vec<_>>(), [2, 3, 2]);
    let removed = |at: usize, removed: Vec<u32>| GroupPlan {
        layers: groups.groups()[at].layers.clone(),
        channels: groups.groups()[at].channels,
        removed,
    };
    let removal = Removal { groups: vec![removed(0, vec![1]), removed(1, vec![0, 2])] };
    let smaller = removal.apply(&network).unwrap();
    let shapes: Vec<&[usize]> = weights(&smaller).iter().map(|&w| &smaller.main().tensors[w].shape[..]).collect();
    assert_eq!(shapes, [&[4, 3, 1, 1][..], &[4, 1, 3, 3], &[2, 4]]);
    check(&network, &removal, 3);
}

/// One convolution, a sigmoid, and a convolution behind it.
fn gated(pad: usize) -> Network {
    let (mut net, x) = Builder::new(&[1, 2, 6, 6], 9);
    let x = net.convolution(x, 5, 3, Convolution::BIASED);
    let x = net.node(Operator::Logistic, &[x]);
    let x = net.convolution(x, 3, 3, Convolution { pad, ..Convolution::PLAIN });
    net.finish(&[x])
}

#[test]
fn what_a_sigmoid_makes_of_nothing_becomes_a_bias() {
    let network = gated(0);
    let removal = drawn(&network, 4, 0.5);
    assert!(removal.count() > 0);
    check(&network, &removal, 5);
    let smaller = removal.apply(&network).unwrap();
    let bias = smaller.main().nodes[2].inputs[2].unwrap();
    assert_eq!(smaller.main().tensors[bias].shape, [3]);
}

#[test]
fn behind_a_sigmoid_and_padding_channels_stay() {
    let network = gated(1);
    let groups = Groups::of(&network).unwrap();
    assert!(groups.groups().iter().all(|group| group.removable.is_empty()));
    let layers = groups.groups()[0].layers.clone();
    let removal = Removal { groups: vec![GroupPlan { layers, channels: 5, removed: vec![1] }] };
    assert!(removal.apply(&network).unwrap_err().to_string().contains("channel 1 of 5 cannot be removed"));
}

#[test]
fn the_weakest_channels_go_first() {
    let mut network = vgg(7);
    let first = weights(&network)[0];
    let mut values = numbers(&network, first).to_vec();
    values[27 * 5..27 * 6].iter_mut().for_each(|w| *w *= 1e-3);
    set(&mut network, first, values);
    let groups = Groups::of(&network).unwrap();
    let removal = groups.plan(&Share::Weights(0.99).into()).unwrap();
    assert_eq!(removal.groups[0].removed, [5]);

    // By scales, only what has a batch norm can go, and the smallest scale first.
    let mut network = vgg(7);
    let scale = network.main().nodes[1].inputs[1].unwrap();
    let mut values = numbers(&network, scale).to_vec();
    values[2] = -1e-3;
    set(&mut network, scale, values);
    let groups = Groups::of(&network).unwrap();
    let by_scale = |share| Budget { strength: Strength::NormScale, ..Share::Weights(share).into() };
    assert_eq!(groups.plan(&by_scale(0.99)).unwrap().groups[0].removed, [2]);
    assert!(groups.plan(&by_scale(0.6)).unwrap().groups[1].removed.is_empty());
}

#[test]
fn constants_that_exporters_store_once_are_cut_for_each_layer() {
    let (mut net, x) = Builder::new(&[1, 2, 5, 5], 1);
    let mean = net.numbers("mean", &[6], 0.0, 0.1);
    let variance = net.numbers("variance", &[6], 1.0, 0.1);
    let mut x = x;
    for _ in 0..2 {
        x = net.convolution(x, 6, 3, Convolution { pad: 1, ..Convolution::PLAIN });
        let (scale, shift) = (net.numbers("scale", &[6], 1.0, 0.3), net.numbers("shift", &[6], 0.0, 0.3));
        x = net.node(Operator::BatchNormalization { epsilon: 1e-3 }, &[x, scale, shift, mean, variance]);
    }
    let x = net.mean(x, false);
    let x = net.linear(x, 2, NONE);
    let network = net.finish(&[x]);
    let groups = Groups::of(&network).unwrap();
    assert_eq!(groups.groups().iter().map(|group| group.layers.len()).collect::<Vec<_>>(), [1, 1, 1]);
    let plan =
        |at: usize, removed: Vec<u32>| GroupPlan { layers: groups.groups()[at].layers.clone(), channels: 6, removed };
    check(&network, &Removal { groups: vec![plan(0, vec![1, 2]), plan(1, vec![0])] }, 3);
    check(&network, &Removal { groups: vec![plan(0, vec![1, 2]), plan(1, vec![1, 2])] }, 3);
    check(&network, &Removal { groups: vec![plan(1, vec![3])] }, 3);
}

#[test]
fn layers_that_share_their_weights_share_their_channels() {
    let (mut net, x) = Builder::new(&[1, 6, 5, 5], 1);
    let x = net.convolution(x, 6, 1, Convolution::PLAIN);
    let shared = net.numbers("shared", &[6, 6, 3, 3], 0.0, 0.2);
    let padding = [Padding::Explicit { before: 1, after: 1 }; 2];
    let again = |activation| Operator::Conv2d { stride: [1, 1], dilation: [1, 1], padding, activation };
    let x = net.node(again(Activation::Relu), &[x, shared]);
    let x = net.node(again(Activation::Relu), &[x, shared]);
    let x = net.mean(x, false);
    let x = net.linear(x, 2, NONE);
    let network = net.finish(&[x]);
    let groups = Groups::of(&network).unwrap();
    assert_eq!(groups.groups().iter().map(|group| group.layers.len()).collect::<Vec<_>>(), [2, 1]);
    check(&network, &drawn(&network, 8, 0.5), 3);
}

// ---------------------------------------------------------------------------------------------------------------------
// What is refused

/// A network with `operator` between two convolutions.
fn around(operator: Operator, more: &[i64]) -> Network {
    let (mut net, x) = Builder::new(&[1, 2, 4, 4], 1);
    let x = net.convolution(x, 6, 1, Convolution::BIASED);
    let mut inputs = vec![x];
    if !more.is_empty() {
        inputs.push(net.integers(more));
        if matches!(operator, Operator::Slice) {
            inputs.push(net.integers(&[1, 4, 4, 4]));
        }
    }
    let x = net.node(operator, &inputs);
    net.finish(&[x])
}

#[test]
fn what_moves_channels_is_refused_by_name() {
    let other = || Operator::Other { name: "EINSUM".into(), custom: false };
    let mean = || Operator::Mean { keep_dims: true };
    for (network, name) in [
        (around(Operator::Transpose, &[0, 1, 3, 2]), "TRANSPOSE"),
        (around(Operator::Slice, &[0, 0, 0, 0]), "SLICE"),
        (around(other(), &[]), "EINSUM"),
        (around(Operator::Quantize, &[]), "QUANTIZE"),
        (around(Operator::Reshape { shape: None }, &[1, 4, 6, 4]), "RESHAPE"),
        (around(Operator::Reshape { shape: None }, &[2, 3, 4, 4]), "RESHAPE"),
        (around(mean(), &[1]), "MEAN"),
        (around(Operator::Pad, &[0, 0, 1, 1, 0, 0, 0, 0]), "PAD"),
    ] {
        let error = Groups::of(&network).unwrap_err();
        assert!(matches!(&error, Error::Operator { index: 1, operator, .. } if operator == name), "{error}");
        assert!(matches!(remove_dead(&network), Err(Error::Operator { index: 1, .. })));
        assert!(matches!(Removal::default().apply(&network), Err(Error::Operator { index: 1, .. })));
    }
}

#[test]
fn other_layouts_and_false_shapes_are_refused() {
    let mut network = lenet(1);
    network.layout = Layout::ChannelsLast;
    assert!(matches!(Groups::of(&network), Err(Error::Input { .. })));
    let mut network = lenet(1);
    network.graphs.push(Graph::default());
    assert!(matches!(Groups::of(&network), Err(Error::Input { .. })));
    let mut network = lenet(1);
    let output = network.main().outputs[0];
    network.graphs[0].tensors[output].shape = vec![1, 11];
    assert!(Groups::of(&network).unwrap_err().to_string().contains("[1, 11]"));
    let mut network = lenet(1);
    let first = weights(&network)[0];
    network.graphs[0].tensors[first].constant = None;
    assert!(matches!(Groups::of(&network), Err(Error::Operator { index: 0, .. })));
    let mut network = lenet(1);
    let second = weights(&network)[1];
    network.graphs[0].tensors[second].name = network.graphs[0].tensors[first].name.clone();
    assert!(matches!(Groups::of(&network), Err(Error::Tensor { .. })));
}

#[test]
fn a_plan_for_another_network_is_refused() {
    let (network, other) = (vgg(1), residual(1));
    let removal = drawn(&network, 2, 0.5);
    assert!(matches!(removal.apply(&other), Err(Error::Tensor { .. })));
    let mut wrong = removal.clone();
    wrong.groups[0].channels += 1;
    assert!(matches!(wrong.masks(&network), Err(Error::Tensor { .. })));
    let mut wrong = removal.clone();
    wrong.groups[0].removed = vec![99];
    assert!(matches!(wrong.cost(&network), Err(Error::Tensor { .. })));
    let mut wrong = removal;
    wrong.groups[0].removed = (0..8).collect();
    assert!(wrong.apply(&network).unwrap_err().to_string().contains("would be left"));
}

#[test]
fn budgets_out_of_range_are_refused() {
    let mut network = vgg(1);
    let groups = Groups::of(&network).unwrap();
    for share in [0.0, -1.0, 1.5, f64::NAN] {
        assert!(matches!(groups.plan(&Share::Weights(share).into()), Err(Error::Setting { .. })));
    }
    let budget = Budget { round_to: 0, ..Share::Weights(0.5).into() };
    assert!(matches!(groups.plan(&budget), Err(Error::Setting { .. })));
    assert!(matches!(groups.plan(&Share::MultiplyAdds(1e-4).into()), Err(Error::Input { .. })));
    let huge = Budget { round_to: usize::MAX, ..Share::Weights(1.0).into() };
    assert_eq!(groups.plan(&huge).unwrap().count(), 0);
    let first = weights(&network)[0];
    let mut values = numbers(&network, first).to_vec();
    values[3] = f32::NAN;
    set(&mut network, first, values);
    let plan = Groups::of(&network).unwrap().plan(&Share::Weights(0.5).into());
    assert!(matches!(plan, Err(Error::NotFinite { at: 3, .. })));
}
