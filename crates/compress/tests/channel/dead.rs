//! Neurons and channels that are dead.

use tersor_compress::dead::{Dead, remove_dead};
use tersor_kernels::int8::Activation;
use tersor_network::Network;
use tersor_network::operator::Operator;

use super::interpreter::*;
use super::networks::*;

/// 4 → 5 → 3 → 2, every weight 1 and every bias 0.5.
fn layers() -> Network {
    let (mut net, mut x) = Builder::new(&[1, 4], 1);
    for (out, activation) in [(5, Activation::Relu), (3, Activation::Relu), (2, NONE)] {
        x = net.linear(x, out, activation);
    }
    let mut network = net.finish(&[x]);
    for tensor in 0..network.main().tensors.len() {
        if network.main().tensors[tensor].constant.is_some() {
            let value = if network.main().tensors[tensor].shape.len() == 1 { 0.5 } else { 1.0 };
            let count = network.main().tensors[tensor].len();
            set(&mut network, tensor, vec![value; count]);
        }
    }
    network
}

#[test]
fn a_neuron_without_inputs_becomes_a_bias() {
    let mut network = layers();
    let [first, ..] = weights(&network)[..] else { panic!() };
    let mut values = numbers(&network, first).to_vec();
    values[4..8].fill(0.0);
    set(&mut network, first, values);
    let (smaller, dead) = remove_dead(&network).unwrap();
    assert_eq!((dead.groups.len(), dead.groups[0].constant, dead.groups[0].unread, dead.folded), (1, 1, 0, 1));
    assert_eq!(dead.weights, 4 + 1 + 3);
    assert_eq!(numbers(&smaller, smaller.main().nodes[1].inputs[2].unwrap()), [1.0; 3]);
    assert!(difference(&network, &smaller, 1) < 1e-6);
}

#[test]
fn what_fed_only_unread_neurons_is_unread_too() {
    let mut network = layers();
    let [_, second, third] = weights(&network)[..] else { panic!() };
    // Neuron 1 of the second layer is read by nothing; neuron 2 of the first is read by it alone.
    set(&mut network, third, vec![1.0, 0.0, 1.0, 1.0, 0.0, 1.0]);
    let mut values = numbers(&network, second).to_vec();
    (values[2], values[12]) = (0.0, 0.0);
    set(&mut network, second, values);
    let (smaller, dead) = remove_dead(&network).unwrap();
    assert_eq!(dead.groups.iter().map(|group| (group.constant, group.unread)).collect::<Vec<_>>(), [(0, 1), (0, 1)]);
    assert_eq!(dead.groups.iter().map(|group| group.channels).collect::<Vec<_>>(), [5, 3]);
    assert_eq!(weights(&smaller).iter().map(|&w| smaller.main().tensors[w].len()).collect::<Vec<_>>(), [16, 8, 4]);
    assert!(difference(&network, &smaller, 1) < 1e-6);
}

#[test]
fn a_residual_is_dead_only_if_all_that_adds_to_it_is() {
    let mut network = residual(3);
    let silence = |network: &mut Network, layer: usize| {
        let tensor = weights(network)[layer];
        let mut values = numbers(network, tensor).to_vec();
        let row = values.len() / network.main().tensors[tensor].shape[0];
        values[..row].fill(0.0);
        set(network, tensor, values);
    };
    silence(&mut network, 2);
    silence(&mut network, 4);
    let first = |dead: &Dead| dead.groups.iter().any(|group| group.layers.len() == 3);
    assert!(!first(&remove_dead(&network).unwrap().1));
    // With the stem it is constant, and other than 0 before convolutions that pad: it must stay.
    silence(&mut network, 0);
    assert!(!first(&remove_dead(&network).unwrap().1));
    // Without shifts and means it is 0.
    for node in network.main().nodes.clone() {
        if matches!(node.operator, Operator::BatchNormalization { .. }) {
            for tensor in [2, 3].map(|at| node.inputs[at].unwrap()) {
                let count = network.main().tensors[tensor].len();
                set(&mut network, tensor, vec![0.0; count]);
            }
        }
    }
    let (smaller, dead) = remove_dead(&network).unwrap();
    assert!(first(&dead));
    assert!(difference(&network, &smaller, 1) < 1e-6);
}

#[test]
fn a_network_of_zeros_keeps_a_channel_everywhere() {
    for build in NETWORKS {
        let network = sparse(build(1), 1, 0.0);
        let (smaller, dead) = remove_dead(&network).unwrap();
        assert!(dead.weights > 0);
        assert!(smaller.main().tensors.iter().all(|tensor| !tensor.is_empty()));
        assert!(difference(&network, &smaller, 1) < 1e-6);
    }
}
