//! EfficientNet-Lite0 with the weights of its public checkpoint (EfficientNet, Tan and Le, ICML 2019; the Lite variant
//! has neither squeeze-and-excitation nor swish).

use std::path::Path;

use pytorch_reader::{DType, PytorchReader};
use tersor_kernels::window::Padding;
use tersor_network::TensorId;
use tersor_network::operator::Operator;
use tersor_train::loader::Normalisation;

use super::{Builder, Slide};
use crate::Error;
use crate::model::Model;
use crate::weights::with_values;

/// Repeats, kernel, stride of the first, expansion, channels.
const STAGES: [[usize; 5]; 7] = [
    [1, 3, 1, 1, 16],
    [2, 3, 2, 6, 24],
    [2, 5, 2, 6, 40],
    [3, 3, 2, 6, 80],
    [3, 5, 1, 6, 112],
    [4, 5, 2, 6, 192],
    [1, 3, 1, 6, 320],
];

const EPSILON: f32 = 1e-3;
const CLASSES: usize = 1000;
/// Most bytes of a checkpoint; the real one has 19 million.
const MOST_BYTES: u64 = 64 << 20;

/// Reads the checkpoint, a PyTorch file: 4,652,008 parameters, 1,000 classes of ImageNet, pictures 3×224×224 as
/// `(pixel − 127) / 128`.
///
/// # Errors
/// [`Error::Malformed`] naming a tensor that is missing or of another shape; [`Error::Data`] if there is no such file.
pub fn read(path: impl AsRef<Path>) -> Result<Model, Error> {
    let path = path.as_ref();
    let unreadable = |source| tersor_data::Error::Read { path: path.into(), source };
    if std::fs::metadata(path).map_err(unreadable)?.len() > MOST_BYTES {
        return Err(Error::malformed(path, "the file", format!("has more than {MOST_BYTES} bytes")));
    }
    let file = PytorchReader::new(path).map_err(|error| Error::malformed(path, "the file", error.to_string()))?;
    let network = network()?;
    let mut values = std::collections::BTreeMap::new();
    for tensor in &network.main().tensors {
        let numbers = tensor.constant.as_deref().is_some_and(|c| matches!(c, tersor_data::Elements::F32(_)));
        if !numbers {
            continue;
        }
        let malformed = |why: String| Error::malformed(path, format!("tensor `{}`", tensor.name), why);
        let found = file.get(&tensor.name).ok_or_else(|| malformed("is missing".into()))?;
        // Before it is read: a hostile view of few numbers may claim any shape.
        if *found.shape() != tensor.shape[..] || found.dtype() != DType::F32 {
            let (shape, dtype) = (found.shape(), found.dtype());
            return Err(malformed(format!("is {dtype:?} {shape:?}, not F32 {:?}", tensor.shape)));
        }
        let bytes = found.read().map_err(|error| malformed(error.to_string()))?;
        values.insert(tensor.name.clone(), bytes.as_chunks().0.iter().map(|&b| f32::from_ne_bytes(b)).collect());
    }
    let mut model = Model::from(with_values(&network, &values)?);
    model.normalisation = Some(Normalisation { mean: vec![127.0 / 255.0; 3], deviation: vec![128.0 / 255.0; 3] });
    Ok(model)
}

/// The network, whose tensors have the checkpoint's names.
fn network() -> Result<tersor_network::Network, Error> {
    let (mut net, x) = Builder::new("efficientnet-lite0", &[3, 224, 224], 0);
    let mut x = unit(&mut net, x, "_conv_stem", "_bn0", 32, 1, Slide { kernel: 3, stride: 2, padding: Padding::Same })?;
    x = net.map(x, Operator::Relu6)?;
    let (mut block, mut channels) = (0, 32);
    for [repeats, kernel, stride, expansion, out] in STAGES {
        for repeat in 0..repeats {
            let stride = if repeat == 0 { stride } else { 1 };
            let slide = Slide { kernel, stride, padding: Padding::Same };
            x = inverted_residual(
                &mut net,
                x,
                &format!("_blocks.{block}"),
                [channels, channels * expansion, out],
                slide,
            )?;
            channels = out;
            block += 1;
        }
    }
    x = unit(&mut net, x, "_conv_head", "_bn1", 1280, 1, Slide::inside(1, 1))?;
    x = net.map(x, Operator::Relu6)?;
    x = net.mean(x)?;
    let logits = net.linear(x, "_fc", CLASSES)?;
    Ok(net.finish(logits))
}

/// Expansion, a convolution of each channel by itself, projection; plus the input where shapes allow (MobileNetV2,
/// Sandler et al., CVPR 2018).
fn inverted_residual(
    net: &mut Builder,
    input: TensorId,
    name: &str,
    [inputs, hidden, out]: [usize; 3],
    slide: Slide,
) -> Result<TensorId, Error> {
    let one = Slide::inside(1, 1);
    let layer = |part: &str| format!("{name}.{part}");
    let mut x = input;
    if hidden != inputs {
        x = unit(net, x, &layer("_expand_conv"), &layer("_bn0"), hidden, 1, one)?;
        x = net.map(x, Operator::Relu6)?;
    }
    x = unit(net, x, &layer("_depthwise_conv"), &layer("_bn1"), hidden, hidden, slide)?;
    x = net.map(x, Operator::Relu6)?;
    x = unit(net, x, &layer("_project_conv"), &layer("_bn2"), out, 1, one)?;
    if inputs == out && slide.stride == 1 { net.add(x, input) } else { Ok(x) }
}

fn unit(
    net: &mut Builder,
    x: TensorId,
    convolution: &str,
    norm: &str,
    out: usize,
    groups: usize,
    slide: Slide,
) -> Result<TensorId, Error> {
    let x = net.convolution(x, convolution, out, groups, slide, false)?;
    net.batch_norm(x, norm, EPSILON)
}
