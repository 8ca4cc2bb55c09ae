//! ONNX in and out: what is written is read again, what is read is what the file means, and no bytes do harm.

use std::sync::Arc;

use onnx_schema::attribute_proto::AttributeType;
use onnx_schema::tensor_proto::{DataLocation, DataType};
use onnx_schema::tensor_shape_proto::{Dimension, dimension};
use onnx_schema::type_proto::{Tensor as TensorType, Value};
use onnx_schema::{
    AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto,
    TensorProto, TensorShapeProto, TypeProto, ValueInfoProto,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use prost::Message;
use tersor_data::testing::{Counting, Failure, Trials, fetched, within_limits};
use tersor_data::{ElementType, Elements};
use tersor_kernels::int8::Activation;
use tersor_kernels::window::Padding;
use tersor_network::operator::{Operator, Pool};
use tersor_network::reference::{Options, Reference};
use tersor_network::{
    Arithmetic, Error, Graph, Layout, Network, Node, Tensor, TensorId, TensorKind, cost, onnx, shape, tflite,
};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

type Result<T = ()> = std::result::Result<T, Failure>;

fn main() {
    Trials::new()
        .test("every_operator_is_read_as_it_was_written", every_operator)
        .test("random_networks_are_read_as_they_were_written", random_networks)
        .test("fused_activations_become_nodes", fused_activations)
        .test("a_batch_changes_first_axes_only", batches)
        .test("channels_first_costs_what_channels_last_does", costs)
        .test("int8_engines_and_tflite_refuse_channels_first", refusals)
        .test("matrix_products_become_fully_connected", products)
        .test("other_names_vanish_and_outputs_keep_theirs", aliases)
        .test("shapes_computed_from_shapes_are_resolved", computed_shapes)
        .test("windows_and_bounds_mean_what_onnx_says", windows)
        .test("real_numbers_of_every_width_become_f32", widths)
        .test("unknown_operators_are_listed", unknown)
        .test("open_axes_are_named_or_given", open_axes)
        .test("nodes_in_disorder_are_sorted", disorder)
        .test("a_file_keeps_all_but_the_weights_replaced", weights)
        .test("hostile_files_are_refused_in_time_and_memory", hostile)
        .test("damaged_files_are_errors", damaged)
        .test("ocr_angle_classifier_is_read_whole", ocr_angle)
        .test("silero_is_refused_by_name_but_its_weights_can_be_changed", silero)
        .run()
}

/// A network under construction; tensors stand in the order in which nodes name them.
struct Builder(Graph);

impl Builder {
    fn new(input: &[usize]) -> (Self, TensorId) {
        let mut builder = Self(Graph { name: "built".into(), ..Graph::default() });
        let x = builder.tensor("x", input, ElementType::F32, None);
        builder.0.inputs.push(x);
        (builder, x)
    }

    fn tensor(&mut self, name: &str, shape: &[usize], kind: ElementType, constant: Option<Elements>) -> TensorId {
        self.0.tensors.push(Tensor {
            name: name.into(),
            shape: shape.to_vec(),
            kind: TensorKind::Element(kind),
            quantization: None,
            constant: constant.map(Arc::new),
            variable: false,
        });
        self.0.tensors.len() - 1
    }

    fn floats(&mut self, name: &str, shape: &[usize]) -> TensorId {
        let n = shape.iter().product::<usize>();
        let values: Vec<f32> = (0..n).map(|i| (i as f32 * 0.37 + name.len() as f32).sin()).collect();
        self.tensor(name, shape, ElementType::F32, Some(values.into()))
    }

    fn integers(&mut self, name: &str, shape: &[usize], numbers: &[i64]) -> TensorId {
        self.tensor(name, shape, ElementType::I64, Some(numbers.to_vec().into()))
    }

    fn node(&mut self, name: &str, operator: Operator, operands: &[TensorId]) -> TensorId {
        let tensors = &self.0.tensors;
        let operand =
            |&t: &TensorId| Some(shape::Operand { shape: &tensors[t].shape, constant: tensors[t].constant.as_deref() });
        let operands_seen: Vec<_> = operands.iter().map(operand).collect();
        let shapes = shape::infer_in(Layout::ChannelsFirst, &operator, &operands_seen);
        let shape = shapes.expect("operands fit").expect("the shape is known").remove(0);
        let y = self.tensor(name, &shape, ElementType::F32, None);
        let inputs = operands.iter().map(|&t| Some(t)).collect();
        self.0.nodes.push(Node { operator, inputs, outputs: vec![y] });
        y
    }

    fn network(mut self, outputs: &[TensorId]) -> Network {
        self.0.outputs = outputs.to_vec();
        Network {
            name: "built".into(),
            description: "by hand".into(),
            graphs: vec![self.0],
            arithmetic: Arithmetic::FixedPoint,
            layout: Layout::ChannelsFirst,
        }
    }
}

const NONE: Activation = Activation::None;

fn convolution(stride: usize, padding: Padding) -> Operator {
    Operator::Conv2d { stride: [stride; 2], dilation: [1; 2], padding: [padding; 2], activation: NONE }
}

fn again(network: &Network) -> Result<Network> {
    Ok(onnx::from_bytes(&network.name, &onnx::write(network)?)?)
}

fn every_operator() -> Result {
    let (mut b, x) = Builder::new(&[1, 3, 12, 10]);
    let (w, bias) = (b.floats("w", &[8, 3, 3, 3]), b.floats("b", &[8]));
    let mut y = b.node("conv", convolution(2, Padding::Same), &[x, w, bias]);
    let parameters = ["scale", "shift", "mean", "variance"].map(|name| b.floats(name, &[8]));
    let operands = [&[y][..], &parameters].concat();
    y = b.node("norm", Operator::BatchNormalization { epsilon: 1e-3 }, &operands);
    let one_each = b.floats("depthwise.w", &[8, 1, 3, 3]);
    let around = Padding::Explicit { before: 1, after: 0 };
    let depthwise = b.node("depthwise", convolution(1, around), &[y, one_each]);
    let slopes = b.floats("slopes", &[8, 1, 1]);
    y = b.node("prelu", Operator::Prelu, &[depthwise, slopes]);
    for (name, operator) in [
        ("relu", Operator::Relu),
        ("relu6", Operator::Relu6),
        ("n1to1", Operator::ReluN1To1),
        ("leaky", Operator::LeakyRelu { alpha: 0.25 }),
        ("swish", Operator::HardSwish),
        ("sigmoid", Operator::Logistic),
        ("tanh", Operator::Tanh),
    ] {
        y = b.node(name, operator, &[y]);
    }
    let factor = b.floats("factor", &[1, 8, 1, 1]);
    y = b.node("mul", Operator::Mul { activation: NONE }, &[y, factor]);
    y = b.node("add", Operator::Add { activation: NONE }, &[y, depthwise]);
    y = b.node("sub", Operator::Sub { activation: NONE }, &[y, depthwise]);
    y = b.node("greater", Operator::Maximum, &[y, depthwise]);
    y = b.node("less", Operator::Minimum, &[depthwise, y]);
    let pool = Pool { kernel: [2; 2], stride: [1; 2], padding: [Padding::Valid; 2], activation: NONE };
    let greatest = b.node("greatest", Operator::MaxPool2d(pool), &[y]);
    let average = b.node("average", Operator::AveragePool2d(pool), &[y]);
    y = b.node("concat", Operator::Concatenation { axis: 1, activation: NONE }, &[greatest, average]);
    let around = b.integers("padded/paddings", &[4, 2], &[0, 0, 0, 0, 1, 2, 0, 1]);
    y = b.node("padded", Operator::Pad, &[y, around]);
    let size = b.integers("nearest/size", &[2], &[b.0.tensors[y].shape[2] as i64 * 2, b.0.tensors[y].shape[3] as i64]);
    let nearest = Operator::ResizeNearestNeighbor { align_corners: false, half_pixel_centers: false };
    y = b.node("nearest", nearest, &[y, size]);
    let [height, width] = [2, 3].map(|i| b.0.tensors[y].shape[i] as i64);
    let size = b.integers("linear/size", &[2], &[height, width * 2]);
    let linear = Operator::ResizeBilinear { align_corners: false, half_pixel_centers: true };
    y = b.node("linear", linear, &[y, size]);
    let [begin, end, strides] = [("begin", 0), ("end", height), ("strides", 2)]
        .map(|(name, n)| b.integers(&format!("slice/{name}"), &[4], &[0, 0, n, if name == "strides" { 1 } else { 0 }]));
    // Unsliced axes begin at 0, end at 0 and step by 1, and are masked.
    b.0.tensors[strides].constant = Some(Arc::new(vec![1i64, 1, 2, 1].into()));
    let slice = Operator::StridedSlice {
        begin_mask: 0b1011,
        end_mask: 0b1011,
        ellipsis_mask: 0,
        new_axis_mask: 0,
        shrink_axis_mask: 0,
    };
    y = b.node("slice", slice, &[y, begin, end, strides]);
    let axes = b.integers("averaged/axes", &[1], &[3]);
    y = b.node("averaged", Operator::Mean { keep_dims: false }, &[y, axes]);
    let axes = b.integers("transposed/perm", &[3], &[0, 2, 1]);
    y = b.node("transposed", Operator::Transpose, &[y, axes]);
    let (w, bias) = (b.floats("rows.w", &[5, 16]), b.floats("rows.b", &[5]));
    y = b.node("rows", Operator::FullyConnected { keep_num_dims: true, activation: NONE }, &[y, w, bias]);
    y = b.node("softmax", Operator::Softmax { beta: 1.0 }, &[y]);
    let axis = b.integers("expanded/axis", &[1], &[2]);
    y = b.node("expanded", Operator::ExpandDims, &[y, axis]);
    y = b.node("squeezed", Operator::Squeeze { axes: vec![2] }, &[y]);
    let count = b.0.tensors[y].shape[1..].iter().product::<usize>();
    y = b.node("flat", Operator::Reshape { shape: Some(vec![-1, count as i32]) }, &[y]);
    let (w, bias) = (b.floats("last.w", &[4, count]), b.floats("last.b", &[4]));
    y = b.node("last", Operator::FullyConnected { keep_num_dims: false, activation: NONE }, &[y, w, bias]);
    let network = b.network(&[y, depthwise]);
    let read = again(&network)?;
    for (ours, theirs) in network.main().tensors.iter().zip(&read.main().tensors) {
        assert_eq!(ours, theirs);
    }
    assert_eq!(read, network);
    Ok(())
}

/// A network of about as many nodes as `choices`.
fn random(choices: &[u8]) -> Network {
    let channels = 2 + choices.len() % 3;
    let (mut b, x) = Builder::new(&[1, channels, 7, 6]);
    let mut images = vec![x];
    for (i, &choice) in choices.iter().enumerate() {
        let from = images[choice as usize / 16 % images.len()];
        let shape = b.0.tensors[from].shape.clone();
        let name = format!("n{i}");
        let y = match choice % 8 {
            0 => {
                let w = b.floats(&format!("w{i}"), &[3, shape[1], 1, 1]);
                b.node(&name, convolution(1, Padding::Valid), &[from, w])
            }
            1 => {
                let (w, bias) =
                    (b.floats(&format!("w{i}"), &[shape[1], 1, 3, 3]), b.floats(&format!("b{i}"), &[shape[1]]));
                let padding = if choice > 100 { Padding::Same } else { Padding::Explicit { before: 1, after: 1 } };
                b.node(&name, convolution(1, padding), &[from, w, bias])
            }
            2 => b.node(&name, Operator::Relu, &[from]),
            3 => {
                let other = images.iter().copied().rfind(|&t| b.0.tensors[t].shape == shape).unwrap_or(from);
                b.node(&name, Operator::Add { activation: NONE }, &[from, other])
            }
            4 => {
                let parameters = [0, 1, 2, 3].map(|k| b.floats(&format!("p{i}.{k}"), &[shape[1]]));
                let operands = [&[from][..], &parameters].concat();
                b.node(&name, Operator::BatchNormalization { epsilon: 1e-5 }, &operands)
            }
            5 => b.node(&name, Operator::Concatenation { axis: 1, activation: NONE }, &[from, from]),
            6 => {
                let padding = [Padding::Explicit { before: 1, after: 1 }; 2];
                let pool = Pool { kernel: [3; 2], stride: [1; 2], padding, activation: NONE };
                b.node(
                    &name,
                    if choice > 100 { Operator::MaxPool2d(pool) } else { Operator::AveragePool2d(pool) },
                    &[from],
                )
            }
            _ => b.node(&name, Operator::HardSwish, &[from]),
        };
        if b.0.tensors[y].len() < 4096 {
            images.push(y);
        }
    }
    let last = *images.last().expect("there is the input");
    let features = b.0.tensors[last].len();
    let flat = b.node("flat", Operator::Reshape { shape: Some(vec![-1, features as i32]) }, &[last]);
    let w = b.floats("w", &[3, features]);
    let y = b.node("y", Operator::FullyConnected { keep_num_dims: false, activation: NONE }, &[flat, w]);
    b.network(&[y])
}

fn runner() -> TestRunner {
    TestRunner::new(Config { failure_persistence: None, ..Config::with_cases(64) })
}

fn random_networks() -> Result {
    Ok(runner().run(&proptest::collection::vec(any::<u8>(), 0..24), |choices| {
        let network = random(&choices);
        let read = again(&network).map_err(|e| TestCaseError::fail(e.to_string()))?;
        prop_assert_eq!(&read, &network);
        let three = read.with_batch(3).map_err(|e| TestCaseError::fail(e.to_string()))?;
        prop_assert!(three.main().nodes.iter().all(|n| three.main().tensors[n.outputs[0]].shape[0] == 3));
        prop_assert_eq!(three.with_batch(1).map_err(|e| TestCaseError::fail(e.to_string()))?, network);
        Ok(())
    })?)
}

fn fused_activations() -> Result {
    let (mut b, x) = Builder::new(&[2, 3, 4, 4]);
    let w = b.floats("w", &[3, 3, 1, 1]);
    let conv = Operator::Conv2d {
        stride: [1; 2],
        dilation: [1; 2],
        padding: [Padding::Valid; 2],
        activation: Activation::Relu6,
    };
    let conv = b.node("conv", conv, &[x, w]);
    let sum = b.node("sum", Operator::Add { activation: Activation::Relu }, &[conv, x]);
    let read = again(&b.network(&[sum]))?;
    let main = read.main();
    let named = |node: &Node| main.tensors[node.outputs[0]].name.clone();
    let nodes: Vec<(&str, String)> = main.nodes.iter().map(|n| (n.operator.name(), named(n))).collect();
    let expected = [("CONV_2D", "conv/linear"), ("RELU6", "conv"), ("ADD", "sum/linear"), ("RELU", "sum")];
    assert_eq!(nodes, expected.map(|(operator, name)| (operator, name.to_string())));
    // The open first axis is one image again.
    assert_eq!(main.tensors[main.outputs[0]].shape, [1, 3, 4, 4]);
    Ok(())
}

fn batches() -> Result {
    let network = random(&[0, 1, 2, 20, 36, 52]);
    let five = network.with_batch(5)?;
    for (one, five) in network.main().tensors.iter().zip(&five.main().tensors) {
        assert_eq!(one.shape[1..], five.shape[1..], "{}", one.name);
        assert_eq!(five.shape[0], if one.constant.is_some() { one.shape[0] } else { 5 }, "{}", one.name);
    }
    assert!(matches!(network.with_batch(0), Err(Error::Input { .. })));
    assert!(network.with_batch(1 << 40).is_err());
    Ok(())
}

fn costs() -> Result {
    let (mut b, x) = Builder::new(&[1, 6, 8, 8]);
    let w = b.floats("w", &[4, 3, 3, 5]);
    let y = b.node("y", convolution(1, Padding::Same), &[x, w]);
    let network = b.network(&[y]);
    assert_eq!(cost::macs(network.main(), &network.main().nodes[0]), 4 * 8 * 8 * 3 * 3 * 5);
    assert_eq!(cost::parameters(network.main(), &network.main().nodes[0]), 4 * 3 * 3 * 5);
    Ok(())
}

fn refusals() -> Result {
    let network = random(&[0, 1, 2]);
    assert!(matches!(Reference::prepare(&network, Options::default()), Err(Error::Layout { .. })));
    assert!(matches!(tflite::to_bytes(&network), Err(Error::Layout { .. })));
    assert_eq!(tersor_network::reference::unsupported(&network).len(), network.main().nodes.len());
    let last = Network { layout: Layout::ChannelsLast, ..network };
    assert!(onnx::write(&last).is_err());
    Ok(())
}

// Files by hand.

fn node(operator: &str, inputs: &[&str], outputs: &[&str], attribute: Vec<AttributeProto>) -> NodeProto {
    NodeProto {
        op_type: Some(operator.into()),
        input: inputs.iter().map(|&s| s.into()).collect(),
        output: outputs.iter().map(|&s| s.into()).collect(),
        attribute,
        ..NodeProto::default()
    }
}

fn attribute(name: &str, kind: AttributeType) -> AttributeProto {
    AttributeProto { name: Some(name.into()), r#type: Some(kind as i32), ..AttributeProto::default() }
}

fn int(name: &str, i: i64) -> AttributeProto {
    AttributeProto { i: Some(i), ..attribute(name, AttributeType::Int) }
}

fn ints(name: &str, ints: &[i64]) -> AttributeProto {
    AttributeProto { ints: ints.to_vec(), ..attribute(name, AttributeType::Ints) }
}

fn text(name: &str, s: &str) -> AttributeProto {
    AttributeProto { s: Some(s.into()), ..attribute(name, AttributeType::String) }
}

fn floats(name: &str, dims: &[i64], values: &[f32]) -> TensorProto {
    TensorProto {
        name: Some(name.into()),
        dims: dims.to_vec(),
        data_type: Some(DataType::Float as i32),
        float_data: values.to_vec(),
        ..TensorProto::default()
    }
}

fn numbers(name: &str, values: &[i64]) -> TensorProto {
    TensorProto {
        name: Some(name.into()),
        dims: vec![values.len() as i64],
        data_type: Some(DataType::Int64 as i32),
        int64_data: values.to_vec(),
        ..TensorProto::default()
    }
}

/// An input or output; −1 is an open axis called `n`.
fn value(name: &str, dims: &[i64]) -> ValueInfoProto {
    let dimension = |&n: &i64| Dimension {
        denotation: None,
        value: Some(if n < 0 { dimension::Value::DimParam("n".into()) } else { dimension::Value::DimValue(n) }),
    };
    let shape = Some(TensorShapeProto { dim: dims.iter().map(dimension).collect() });
    let tensor = TensorType { elem_type: Some(DataType::Float as i32), shape };
    ValueInfoProto {
        name: Some(name.into()),
        r#type: Some(TypeProto { denotation: None, value: Some(Value::TensorType(tensor)) }),
        ..ValueInfoProto::default()
    }
}

fn model(input: &[i64], node: Vec<NodeProto>, initializer: Vec<TensorProto>, outputs: &[&str]) -> ModelProto {
    ModelProto {
        ir_version: Some(8),
        opset_import: vec![OperatorSetIdProto { domain: None, version: Some(13) }],
        graph: Some(GraphProto {
            name: Some("g".into()),
            node,
            initializer,
            input: vec![value("x", input)],
            output: outputs.iter().map(|name| value(name, &[])).collect(),
            ..GraphProto::default()
        }),
        ..ModelProto::default()
    }
}

fn read(model: &ModelProto) -> std::result::Result<Network, Error> {
    onnx::from_bytes("file.onnx", &model.encode_to_vec())
}

fn operators(network: &Network) -> Vec<&str> {
    network.main().nodes.iter().map(|n| n.operator.name()).collect()
}

fn tensor<'n>(network: &'n Network, name: &str) -> &'n Tensor {
    network.main().tensors.iter().find(|t| t.name == name).unwrap_or_else(|| panic!("there is no {name}"))
}

fn products() -> Result {
    let w = floats("w", &[3, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let bias = floats("b", &[1, 2], &[7.0, 8.0]);
    let nodes = vec![node("MatMul", &["x", "w"], &["product"], vec![]), node("Add", &["b", "product"], &["y"], vec![])];
    let network = read(&model(&[-1, 4, 3], nodes.clone(), vec![w.clone(), bias.clone()], &["y"]))?;
    let main = network.main();
    assert_eq!(main.nodes[0].operator, Operator::FullyConnected { keep_num_dims: true, activation: NONE });
    assert_eq!((operators(&network), main.nodes[0].inputs.len()), (vec!["FULLY_CONNECTED"], 3));
    assert_eq!(tensor(&network, "y").shape, [1, 4, 2]);
    let turned = tensor(&network, "w");
    assert_eq!(
        (turned.shape.as_slice(), turned.constant.as_deref()),
        (&[2, 3][..], Some(&vec![1.0f32, 3.0, 5.0, 2.0, 4.0, 6.0].into()))
    );
    assert_eq!(tensor(&network, "b").shape, [2]);

    // A product that something else reads keeps its sum.
    let network = read(&model(&[1, 3], nodes, vec![w.clone(), bias], &["y", "product"]))?;
    assert_eq!(operators(&network), ["FULLY_CONNECTED", "ADD"]);

    // The same weights, once each way: neither loses its name.
    let both =
        vec![node("Gemm", &["x", "w"], &["a"], vec![]), node("Gemm", &["a", "w"], &["y"], vec![int("transB", 1)])];
    let network = read(&model(&[1, 3], both, vec![w.clone()], &["y"]))?;
    assert_eq!(
        (tensor(&network, "w").shape.as_slice(), tensor(&network, "w/turned").shape.as_slice()),
        (&[3, 2][..], &[2, 3][..])
    );

    let scaled = vec![node(
        "Gemm",
        &["x", "w"],
        &["y"],
        vec![AttributeProto { f: Some(2.0), ..attribute("alpha", AttributeType::Float) }],
    )];
    let network = read(&model(&[1, 3], scaled, vec![w], &["y"]))?;
    assert_eq!(operators(&network), ["Gemm"]);
    Ok(())
}

fn aliases() -> Result {
    let nodes = vec![
        node("Relu", &["x"], &["a"], vec![]),
        node("Identity", &["a"], &["b"], vec![]),
        node("Dropout", &["b"], &["c", "mask"], vec![]),
        node("Tanh", &["c"], &["d"], vec![]),
        node("Identity", &["d"], &["y"], vec![]),
        node("Identity", &["x"], &["z"], vec![]),
    ];
    let network = read(&model(&[1, 3], nodes, vec![], &["y", "z"]))?;
    assert_eq!(operators(&network), ["RELU", "TANH", "RESHAPE"]);
    let outputs: Vec<&str> = network.main().outputs.iter().map(|&t| network.main().tensors[t].name.as_str()).collect();
    assert_eq!(outputs, ["y", "z"]);
    Ok(())
}

fn computed_shapes() -> Result {
    let nodes = vec![
        node("Shape", &["x"], &["shape"], vec![]),
        node("Gather", &["shape", "first"], &["images"], vec![]),
        node("Unsqueeze", &["images", "zero"], &["row"], vec![]),
        node("Concat", &["row", "rest"], &["asked"], vec![int("axis", 0)]),
        node("Reshape", &["x", "asked"], &["y"], vec![]),
        node("Reshape", &["x", "kept"], &["z"], vec![]),
    ];
    let mut first = numbers("first", &[0]);
    first.dims.clear();
    let constants = vec![first, numbers("zero", &[0]), numbers("rest", &[2, -1]), numbers("kept", &[0, 6])];
    let network = read(&model(&[-1, 2, 3], nodes, constants, &["y", "z"]))?;
    assert_eq!(operators(&network), ["RESHAPE", "RESHAPE"]);
    assert_eq!(network.main().nodes[0].operator, Operator::Reshape { shape: Some(vec![-1, 2, 3]) });
    let network = network.with_batch(4)?;
    assert_eq!(
        (tensor(&network, "y").shape.as_slice(), tensor(&network, "z").shape.as_slice()),
        (&[4, 2, 3][..], &[4, 6][..])
    );
    Ok(())
}

fn windows() -> Result {
    let one = |node: NodeProto, constants: Vec<TensorProto>| read(&model(&[1, 2, 5, 6], vec![node], constants, &["y"]));
    let weights = || vec![floats("w", &[2, 1, 2, 2], &[0.5; 8])];
    let conv = |attributes: Vec<AttributeProto>| {
        one(node("Conv", &["x", "w"], &["y"], [vec![int("group", 2)], attributes].concat()), weights())
    };
    let network = conv(vec![ints("strides", &[2, 1]), ints("dilations", &[1, 2]), ints("pads", &[1, 0, 0, 2])])?;
    assert_eq!(tensor(&network, "y").shape, [1, 2, 3, 6]);
    let network = conv(vec![text("auto_pad", "SAME_LOWER"), ints("strides", &[2, 2])])?;
    let Operator::Conv2d { padding, .. } = network.main().nodes[0].operator else {
        return Err("no convolution".into());
    };
    assert_eq!(padding, [Padding::Explicit { before: 1, after: 0 }, Padding::Valid]);
    for wrong in [vec![int("group", 3)], vec![ints("kernel_shape", &[3, 3])], vec![ints("strides", &[0, 1])]] {
        let refused = one(node("Conv", &["x", "w"], &["y"], wrong), weights());
        assert!(matches!(refused, Err(Error::Malformed { .. })), "{refused:?}");
    }

    let pool = |attributes: Vec<AttributeProto>| {
        let attributes = [vec![ints("kernel_shape", &[3, 3]), ints("pads", &[1; 4])], attributes].concat();
        one(node("AveragePool", &["x"], &["y"], attributes), vec![])
    };
    assert_eq!(operators(&pool(vec![])?), ["AVERAGE_POOL_2D"]);
    assert_eq!(operators(&pool(vec![int("count_include_pad", 1)])?), ["PAD", "AVERAGE_POOL_2D"]);
    assert_eq!(operators(&pool(vec![int("ceil_mode", 1), ints("strides", &[2, 1])])?), ["AVERAGE_POOL_2D"]);
    assert_eq!(operators(&pool(vec![int("ceil_mode", 1), ints("strides", &[1, 2])])?), ["AveragePool"]);

    let clip = |least: Option<f32>, most: Option<f32>| {
        let bounds = [("least", least), ("most", most)];
        let constants = bounds.iter().filter_map(|(name, bound)| Some(floats(name, &[], &[(*bound)?]))).collect();
        let names = bounds.map(|(name, bound)| if bound.is_some() { name } else { "" });
        let network = one(node("Clip", &["x", names[0], names[1]], &["y"], vec![]), constants)?;
        Ok::<Vec<String>, Error>(operators(&network).into_iter().map(String::from).collect())
    };
    assert_eq!(clip(Some(0.0), Some(6.0))?, ["RELU6"]);
    assert_eq!(clip(Some(-1.0), Some(1.0))?, ["RELU_N1_TO_1"]);
    assert_eq!(clip(Some(0.0), None)?, ["RELU"]);
    assert_eq!(clip(Some(-2.0), Some(3.0))?, ["MAXIMUM", "MINIMUM"]);
    assert_eq!(clip(None, None)?, ["RESHAPE"]);
    Ok(())
}

fn widths() -> Result {
    let values = [0.5f32, -2.0, 1.0, 3.0];
    let base = || TensorProto { name: Some("c".into()), dims: vec![2, 2], ..TensorProto::default() };
    let f16 = |x: f32| half_bits(x);
    let bf16 = |x: f32| (x.to_bits() >> 16) as u16;
    let of = |kind: DataType, raw: Vec<u8>| TensorProto { data_type: Some(kind as i32), raw_data: Some(raw), ..base() };
    let bytes = |bits: [u16; 4]| bits.iter().flat_map(|b| b.to_le_bytes()).collect::<Vec<u8>>();
    let forms = [
        floats("c", &[2, 2], &values),
        of(DataType::Float, values.iter().flat_map(|x| x.to_le_bytes()).collect()),
        of(DataType::Double, values.iter().flat_map(|&x| f64::from(x).to_le_bytes()).collect()),
        of(DataType::Float16, bytes(values.map(f16))),
        of(DataType::Bfloat16, bytes(values.map(bf16))),
        TensorProto {
            data_type: Some(DataType::Float16 as i32),
            int32_data: values.map(|x| i32::from(f16(x))).to_vec(),
            ..base()
        },
        TensorProto { data_type: Some(DataType::Double as i32), double_data: values.map(f64::from).to_vec(), ..base() },
    ];
    for form in forms {
        let model = model(&[1, 2], vec![node("Add", &["x", "c"], &["y"], vec![])], vec![form.clone()], &["y"]);
        let network = read(&model)?;
        assert_eq!(tensor(&network, "c").constant.as_deref(), Some(&values.to_vec().into()));

        let mut file = onnx::File::from_bytes("file.onnx", &model.encode_to_vec())?;
        let weight = file.weights().next().ok_or("it lists no weight")?;
        assert_eq!((weight.name.as_str(), weight.shape.as_slice(), weight.len()), ("c", &[2, 2][..], 4));
        assert_eq!(weight.readers, ["Add"]);
        let other = [4.0f32, 0.25, -1.0, 0.0];
        file.replace("c", &other)?;
        assert_eq!(
            (file.values("c")?, onnx::File::from_bytes("again", &file.to_bytes())?.values("c")?),
            (other.to_vec(), other.to_vec())
        );
        assert!(file.replace("c", &other[1..]).is_err() && file.replace("d", &other).is_err());
        let replaced = ModelProto::decode(file.to_bytes().as_slice())?.graph.ok_or("no graph")?;
        assert_eq!(replaced.initializer[0].data_type, form.data_type);
    }
    Ok(())
}

/// Bits of a float16 for a value that it has exactly.
fn half_bits(x: f32) -> u16 {
    let bits = x.to_bits();
    if x == 0.0 {
        return (bits >> 16) as u16;
    }
    let exponent = ((bits >> 23 & 0xff) as i32 - 127 + 15) as u16;
    ((bits >> 16) as u16 & 0x8000) | exponent << 10 | (bits >> 13 & 0x3ff) as u16
}

fn unknown() -> Result {
    let mut claimed = model(
        &[-1, 4],
        vec![
            NodeProto { domain: Some("com.example".into()), ..node("Twist", &["x"], &["a"], vec![]) },
            node("Relu", &["a"], &["b"], vec![]),
            node("Erf", &["b"], &["y"], vec![]),
        ],
        vec![],
        &["y"],
    );
    let network = read(&claimed)?;
    assert_eq!(operators(&network), ["com.example.Twist", "Relu", "Erf"]);
    assert!(network.with_batch(2).is_err() && onnx::write(&network).is_err());
    // Where the file says what an unknown operator gives, those that follow are known again.
    claimed.graph.as_mut().ok_or("no graph")?.value_info.push(value("a", &[-1, 8]));
    let network = read(&claimed)?;
    assert_eq!(operators(&network), ["com.example.Twist", "RELU", "Erf"]);
    assert_eq!(tensor(&network, "b").shape, [1, 8]);
    Ok(())
}

fn open_axes() -> Result {
    let open = model(&[-1, 3, -1], vec![node("Relu", &["x"], &["y"], vec![])], vec![], &["y"]);
    let refused = read(&open).expect_err("an axis is open").to_string();
    assert!(refused.contains("axis 2 (`n`)") && refused.contains("input x"), "{refused}");
    let bytes = open.encode_to_vec();
    let network = onnx::from_bytes_with_inputs("file.onnx", &bytes, &[("x", &[2, 3, 9])])?;
    assert_eq!(tensor(&network, "y").shape, [2, 3, 9]);
    for wrong in [("x", &[2, 4, 9][..]), ("x", &[2, 3][..]), ("z", &[1][..])] {
        assert!(onnx::from_bytes_with_inputs("file.onnx", &bytes, &[wrong]).is_err(), "{wrong:?}");
    }
    Ok(())
}

fn disorder() -> Result {
    let nodes = vec![
        node("Tanh", &["b"], &["y"], vec![]),
        node("Sigmoid", &["a"], &["b"], vec![]),
        node("Relu", &["x"], &["a"], vec![]),
    ];
    assert_eq!(operators(&read(&model(&[1, 2], nodes, vec![], &["y"]))?), ["RELU", "LOGISTIC", "TANH"]);
    Ok(())
}

fn weights() -> Result {
    let held = AttributeProto { t: Some(floats("", &[2, 2], &[1.0; 4])), ..attribute("value", AttributeType::Tensor) };
    let nodes = vec![
        node("Constant", &[], &["held"], vec![held]),
        NodeProto {
            domain: Some("com.example".into()),
            ..node("Twist", &["x", "w", "held"], &["y"], vec![int("k", 3)])
        },
    ];
    let constants = vec![floats("w", &[2, 3], &[2.0; 6]), floats("b", &[2], &[0.0; 2]), numbers("n", &[1, 2])];
    let original = model(&[1, 2], nodes, constants, &["y"]);
    let mut file = onnx::File::from_bytes("file.onnx", &original.encode_to_vec())?;
    assert_eq!(file.weights().map(|w| w.name).collect::<Vec<_>>(), ["w", "held"]);
    assert_eq!(ModelProto::decode(file.to_bytes().as_slice())?, original);
    file.replace("held", &[3.0; 4])?;
    file.replace("b", &[1.0; 2])?;
    let folder = tersor_data::testing::Folder::new()?;
    file.write(folder.at("new.onnx"))?;
    let again = onnx::File::read(folder.at("new.onnx"))?;
    assert_eq!((again.values("held")?, again.values("w")?), (vec![3.0; 4], vec![2.0; 6]));
    let mut expected = original.clone();
    let graph = expected.graph.as_mut().ok_or("no graph")?;
    let raw = |x: f32, n: usize| Some(x.to_le_bytes().repeat(n));
    let held = graph.node[0].attribute[0].t.as_mut().ok_or("no tensor")?;
    (held.float_data, held.raw_data) = (vec![], raw(3.0, 4));
    (graph.initializer[1].float_data, graph.initializer[1].raw_data) = (vec![], raw(1.0, 2));
    assert_eq!(ModelProto::decode(again.to_bytes().as_slice())?, expected);
    Ok(())
}

/// Reads `bytes` in both ways, within limits; what was refused, and why.
fn refused(what: &str, bytes: &[u8]) -> Result<String> {
    let _ = within_limits(|| format!("{what} as a file"), || onnx::File::from_bytes("hostile.onnx", bytes));
    match within_limits(|| what.into(), || onnx::from_bytes("hostile.onnx", bytes)) {
        Err(error @ Error::Malformed { .. }) => Ok(error.to_string()),
        other => Err(format!("{what} gave {other:?}").into()),
    }
}

/// A message field of protobuf around `inside`.
fn field(number: u32, inside: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    prost::encoding::encode_key(number, prost::encoding::WireType::LengthDelimited, &mut bytes);
    prost::encoding::encode_varint(inside.len() as u64, &mut bytes);
    bytes.extend_from_slice(inside);
    bytes
}

fn hostile() -> Result {
    let with = |nodes: Vec<NodeProto>, constants: Vec<TensorProto>| model(&[1, 2], nodes, constants, &["y"]);
    let relu = || vec![node("Relu", &["x"], &["y"], vec![])];
    let claims = |dims: &[i64]| TensorProto { float_data: vec![], ..floats("huge", dims, &[]) };
    let function = FunctionProto { name: Some("twice".into()), ..FunctionProto::default() };
    let branch = AttributeProto { g: Some(GraphProto::default()), ..attribute("then_branch", AttributeType::Graph) };
    let elsewhere = TensorProto {
        data_location: Some(DataLocation::External as i32),
        external_data: vec![StringStringEntryProto { key: Some("location".into()), value: Some("../../etc/x".into()) }],
        ..floats("away", &[2, 2], &[])
    };
    let cases: Vec<(&str, ModelProto, &str)> = vec![
        ("2^40 elements", with(relu(), vec![claims(&[1 << 20, 1 << 20])]), "initialiser huge"),
        ("an overflow", with(relu(), vec![claims(&[i64::MAX, i64::MAX, 4])]), "initialiser huge"),
        ("a negative axis", with(relu(), vec![claims(&[-3])]), "initialiser huge"),
        ("a megabyte of nothing", with(relu(), vec![claims(&[1 << 18])]), "claims 262144 elements"),
        ("external data", with(relu(), vec![elsewhere]), "external data"),
        ("functions", ModelProto { functions: vec![function], ..with(relu(), vec![]) }, "functions (twice)"),
        ("control flow", with(vec![node("If", &["x"], &["y"], vec![branch])], vec![]), "node 0 (If)"),
        (
            "a circle",
            with(vec![node("Relu", &["b"], &["y"], vec![]), node("Tanh", &["y"], &["b"], vec![])], vec![]),
            "circle",
        ),
        ("a node of itself", with(vec![node("Add", &["x", "y"], &["y"], vec![])], vec![]), "circle"),
        ("a value from nowhere", with(vec![node("Relu", &["q"], &["y"], vec![])], vec![]), "reads value q"),
        ("a value twice", with([relu(), relu()].concat(), vec![]), "given twice"),
        ("an input twice", with(vec![node("Tanh", &["x"], &["x"], vec![])], vec![]), "given twice"),
        (
            "an initialiser twice",
            with(relu(), vec![floats("c", &[], &[1.0]), floats("c", &[], &[1.0])]),
            "initialiser c",
        ),
        ("an output of nothing", model(&[1, 2], relu(), vec![], &["q"]), "output q"),
        (
            "operands that do not fit",
            with(vec![node("Add", &["x", "c"], &["y"], vec![])], vec![floats("c", &[3], &[0.0; 3])]),
            "node 0 (Add)",
        ),
        ("an input without end", model(&[1, 1 << 50], relu(), vec![], &["y"]), "input x"),
        ("no operator set", ModelProto { opset_import: vec![], ..with(relu(), vec![]) }, "operator set"),
        ("100,000 nameless nodes", with(vec![NodeProto::default(); 100_000], vec![]), "node 0"),
        (
            "a shape of a million axes",
            with(vec![node("Reshape", &["x", "s"], &["y"], vec![])], vec![numbers("s", &vec![1; 1 << 20])]),
            "node 0 (Reshape)",
        ),
        (
            "a doubling",
            with(
                (0..60)
                    .map(|i| {
                        let (from, to) = (
                            if i == 0 { "x".into() } else { format!("v{i}") },
                            if i == 59 { "y".into() } else { format!("v{}", i + 1) },
                        );
                        node("Concat", &[&from, &from], &[&to], vec![int("axis", 1)])
                    })
                    .collect(),
                vec![],
            ),
            "2^40",
        ),
        (
            "copies of the largest constant",
            with(
                (0..5_000)
                    .map(|i| node("Transpose", &["c"], &[&if i == 0 { "y".into() } else { format!("t{i}") }], vec![]))
                    .collect(),
                vec![floats("c", &[1 << 10, 1 << 9], &vec![0.0; 1 << 19])],
            ),
            "too much memory",
        ),
    ];
    for (what, model, expected) in cases {
        let why = refused(what, &model.encode_to_vec())?;
        assert!(why.contains(expected) && why.starts_with("hostile.onnx: "), "{what}: {why}");
    }
    // Two bytes each: nodes, attributes, tensors, types that say nothing.
    for (what, number) in [("nodes", 1), ("initialisers", 5), ("values", 13), ("notes", 16)] {
        let why = refused(&format!("4 million empty {what}"), &field(7, &field(number, &[]).repeat(4_000_000)))?;
        assert!(why.contains("would take more than"), "{what}: {why}");
    }
    refused("a million empty attributes", &field(7, &field(1, &[0x2a, 0].repeat(1_000_000))))?;
    let mut deep = Vec::new();
    for _ in 0..5_000 {
        deep = field(1, &field(5, &field(6, &deep)));
    }
    refused("graphs within graphs", &field(7, &deep))?;
    refused("nothing", &[])?;
    refused("a length beyond the end", &[0x3a, 0xff, 0xff, 0xff, 0xff, 0x7f])?;
    refused("a number without end", &[0x08; 64].iter().map(|_| 0xff).collect::<Vec<u8>>())?;
    refused("a picture", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")?;
    Ok(())
}

fn damaged() -> Result {
    let whole = onnx::write(&random(&[0, 1, 17, 35, 4, 5, 102, 7]))?;
    for cut in 0..whole.len() {
        let _ = onnx::from_bytes("cut", &whole[..cut]);
        let _ = onnx::File::from_bytes("cut", &whole[..cut]);
    }
    let flips = proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..8);
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::with_cases(3000) });
    Ok(runner.run(&flips, |flips| {
        let mut bytes = whole.clone();
        for (at, with) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= with;
        }
        let _ = within_limits(
            || "a damaged file".into(),
            || {
                let _ = onnx::File::from_bytes("damaged", &bytes).map(|file| file.to_bytes());
                let network = onnx::from_bytes("damaged", &bytes);
                network.map(|network| (network.with_batch(2).is_ok(), onnx::write(&network).is_ok()))
            },
        );
        Ok(())
    })?)
}

fn ocr_angle() -> Result {
    let path = fetched("ocr-angle")?;
    let refused = onnx::read(&path).expect_err("height and width are open").to_string();
    assert!(refused.contains("input x"), "{refused}");
    let network = onnx::read_with_inputs(&path, &[("x", &[1, 3, 48, 192])])?;
    assert!(
        network.main().nodes.iter().all(|n| !matches!(n.operator, Operator::Other { .. })),
        "{:?}",
        operators(&network)
    );
    let output = &network.main().tensors[network.main().outputs[0]];
    assert_eq!((output.name.as_str(), output.shape.as_slice()), ("softmax_0.tmp_0", &[1, 2][..]));
    assert_eq!(network.with_batch(4)?.main().tensors[network.main().outputs[0]].shape, [4, 2]);
    let written = onnx::from_bytes_with_inputs(&network.name, &onnx::write(&network)?, &[])?;
    assert_eq!(written, network);
    let file = onnx::File::read(&path)?;
    assert_eq!(file.weights().filter(|w| w.readers == ["Conv"]).count(), 53);
    Ok(())
}

fn silero() -> Result {
    let path = fetched("silero-vad-16k-onnx")?;
    let refused = onnx::read_with_inputs(&path, &[("input", &[1, 512]), ("state", &[2, 1, 128])]);
    let refused = refused.expect_err("it branches").to_string();
    assert!(refused.contains("control flow"), "{refused}");
    let mut file = onnx::File::read(&path)?;
    let weight = file.weights().max_by_key(onnx::Weight::len).ok_or("it lists no weights")?;
    let halves: Vec<f32> = file.values(&weight.name)?.iter().map(|x| x * 0.5).collect();
    file.replace(&weight.name, &halves)?;
    assert_eq!(onnx::File::from_bytes("again", &file.to_bytes())?.values(&weight.name)?, halves);
    Ok(())
}
