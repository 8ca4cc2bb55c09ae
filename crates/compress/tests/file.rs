//! Files of networks: what is written comes back, what is damaged is refused.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use tersor_compress::architecture::Architecture;
use tersor_compress::granularity::Granularity;
use tersor_compress::model::{Form, Model};
use tersor_compress::plan::{Qualities, Target, plan};
use tersor_compress::weights::weights_of;

fn pruned(architecture: Architecture, density: f64) -> Model {
    let model = Model::from(architecture.build(10, 1).expect("an architecture"));
    let weights = model.weights().expect("weights");
    let target = Target::Sparsity(1.0 - density);
    let plan = plan("net", &weights, Granularity::Element, target, &Qualities::new()).expect("plans");
    model.with_values(&plan.applied(&weights).expect("fits")).expect("fits")
}

fn read(bytes: &[u8], suffix: &str) -> Result<Model, tersor_compress::Error> {
    let file = tempfile::Builder::new().suffix(suffix).tempfile().expect("a file");
    std::fs::write(file.path(), bytes).expect("written");
    Model::read(file.path())
}

#[test]
fn a_network_comes_back_bit_for_bit_from_every_form() {
    for architecture in Architecture::ALL {
        let model = pruned(architecture, 0.1);
        let network = model.network("a test").expect("a network");
        for (form, suffix) in [(Form::Dense, ".safetensors"), (Form::Sparse, ".safetensors"), (Form::Onnx, ".onnx")] {
            let back = read(&model.encode(form).expect("written"), suffix).expect("read");
            let back = back.network("a test").expect("a network");
            for (mine, theirs) in weights_of(network).iter().zip(weights_of(back)) {
                assert_eq!((&mine.name, &mine.shape), (&theirs.name, &theirs.shape), "{form:?}");
                let same = mine.values.iter().zip(&theirs.values).all(|(a, b)| a.to_bits() == b.to_bits());
                assert!(same, "{form:?} {}", mine.name);
            }
            let nodes = |network: &tersor_network::Network| {
                network.main().nodes.iter().map(|node| node.operator.name().to_owned()).collect::<Vec<_>>()
            };
            assert_eq!(nodes(network), nodes(back), "{form:?}");
        }
    }
}

#[test]
fn open_axes_are_those_of_the_input() {
    use onnx_schema::tensor_shape_proto::dimension::Value;
    use onnx_schema::{ModelProto, type_proto};
    use prost::Message;

    let model = pruned(Architecture::ResNet8, 0.5);
    let bytes = model.encode(Form::Onnx).expect("written");
    let mut open = ModelProto::decode(&bytes[..]).expect("a model");
    let input = &mut open.graph.as_mut().expect("a graph").input[0];
    let Some(type_proto::Value::TensorType(tensor)) = input.r#type.as_mut().and_then(|t| t.value.as_mut()) else {
        panic!("the input is no tensor")
    };
    let axes = &mut tensor.shape.as_mut().expect("a shape").dim;
    axes.iter_mut().for_each(|axis| axis.value = Some(Value::DimParam("n".into())));
    // What the file said of results followed from it.
    open.graph.as_mut().expect("a graph").value_info.clear();
    let file = tempfile::Builder::new().suffix(".onnx").tempfile().expect("a file");
    std::fs::write(file.path(), open.encode_to_vec()).expect("written");

    let why = Model::read(file.path()).expect("its weights").network("a test").expect_err("open axes").to_string();
    assert!(why.contains("open"), "{why}");
    let closed = read(&bytes, ".onnx").expect("read");
    for shape in [&[64, 3, 32, 32][..], &[3, 32, 32]] {
        let read = Model::read_for(file.path(), shape).expect("read");
        let [network, expected] = [&read, &closed].map(|model| model.network("a test").expect("a network"));
        assert_eq!(network.graphs, expected.graphs, "{shape:?}");
    }
    for shape in [&[64, 4, 32, 32][..], &[32, 32], &[]] {
        let read = Model::read_for(file.path(), shape).expect("its weights");
        assert!(read.network("a test").is_err(), "{shape:?}");
    }
}

#[test]
fn a_sparse_file_is_as_small_as_it_should_be() {
    let model = pruned(Architecture::LeNet300, 1.0 / 12.0);
    let sizes = [Form::Dense, Form::Sparse].map(|form| model.encode(form).expect("written").len());
    // 12 times fewer weights, a sixth more for where they are, and 410 biases and the graph as they were.
    assert!(sizes[0] as f64 > 9.0 * sizes[1] as f64, "{sizes:?}");
}

#[test]
fn tensors_without_a_graph_are_pruned_and_kept_in_their_type() {
    use safetensors::tensor::{Dtype, TensorView};
    let half: Vec<u8> = (0..600u16).flat_map(|i| (0x3000 + i).to_le_bytes()).collect();
    let ids: Vec<u8> = vec![7; 16];
    let views = [
        ("matrix", TensorView::new(Dtype::F16, vec![20, 30], &half).expect("fits")),
        ("ids", TensorView::new(Dtype::U8, vec![4, 4], &ids).expect("fits")),
    ];
    let bytes = safetensors::serialize(views, None).expect("written");
    let model = read(&bytes, ".safetensors").expect("read");
    let weights = model.weights().expect("weights");
    assert_eq!(weights.len(), 1);
    let plan = plan("net", &weights, Granularity::Element, Target::Sparsity(0.9), &Qualities::new()).expect("plans");
    let pruned = model.with_values(&plan.applied(&weights).expect("fits")).expect("fits");
    for form in [Form::Dense, Form::Sparse] {
        let back = read(&pruned.encode(form).expect("written"), ".safetensors").expect("read");
        assert_eq!(back.weights().expect("weights"), pruned.weights().expect("weights"));
    }
    assert!(model.network("a run").is_err() && model.encode(Form::Onnx).is_err());
}

#[test]
fn small_files_do_not_take_much_memory() {
    use safetensors::tensor::{Dtype, TensorView};
    let about = r#"{"version":1,"network":"n","sparse":{"w":{"shape":[262144,1024],"width":5}}}"#;
    let views = [
        ("w.values", TensorView::new(Dtype::F32, vec![0], &[]).expect("fits")),
        ("w.gaps", TensorView::new(Dtype::U8, vec![0], &[]).expect("fits")),
    ];
    let about = std::collections::HashMap::from([("tersor".to_owned(), about.to_owned())]);
    let bytes = safetensors::serialize(views, Some(about)).expect("written");
    let began = Instant::now();
    let error = read(&bytes, ".safetensors").expect_err("refused").to_string();
    assert!(error.contains('w') && error.contains("elements"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_damaged_file_is_an_error_or_another_network(at in 0.0..1.0f64, to in any::<u8>(), cut in 0.0..1.0f64, which in 0..3usize) {
        thread_local! {
            static FILES: [Vec<u8>; 3] = [Form::Dense, Form::Sparse, Form::Onnx].map(|form| {
                // The weights of a small network, so that damage meets its graph and header.
                let (mut net, x) = tersor_compress::architecture::Builder::new("small", &[6], 1);
                let x = net.linear(x, "fc1", 5).expect("a layer");
                let y = net.relu(x).expect("a layer");
                Model::from(net.finish(y)).encode(form).expect("written")
            });
        }
        FILES.with(|files| {
            let suffix = if which == 2 { ".onnx" } else { ".safetensors" };
            let mut bytes = files[which].clone();
            let place = (at * bytes.len() as f64) as usize;
            bytes[place] = to;
            let _ = read(&bytes, suffix);
            bytes.truncate((cut * bytes.len() as f64) as usize);
            let _ = read(&bytes, suffix);
        });
    }
}
