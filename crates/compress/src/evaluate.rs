//! What a network gets right: its answers to labelled pictures, by the engine that runs it.

use std::path::Path;

use serde::Serialize;
use tersor_data::picture::Picture;
use tersor_data::{Array, Elements, Examples};
use tersor_network::Network;
use tersor_network::float::{Float, Kernel};
use tersor_train::loader::Normalisation;

use crate::Error;

/// How a network did on pictures.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Judgement {
    /// Pictures.
    pub count: usize,
    /// Pictures whose class was the first answer.
    pub top1: usize,
    /// Pictures whose class was among the first five answers.
    pub top5: usize,
    /// The mean of −log softmax(logits)\[label\].
    pub loss: f64,
    /// The first answer to each picture.
    #[serde(skip)]
    pub answers: Vec<u32>,
}

impl Judgement {
    /// Wrong first answers, in percent.
    pub fn error(&self) -> f64 {
        100.0 * (1.0 - self.top1 as f64 / self.count.max(1) as f64)
    }
}

/// Most numbers of a picture.
const MOST_PIXELS: usize = 1 << 26;
/// Most pictures that are run at once.
const BATCH: usize = 64;

/// Shows `examples` to `network`.
///
/// # Errors
/// [`Error::Network`] if the network cannot be run, [`Error::Input`] if the pictures do not fit it.
pub fn evaluate(
    network: &Network,
    kernel: Kernel,
    examples: &Examples,
    normalisation: &Normalisation,
) -> Result<Judgement, Error> {
    let fault = |why: String| Error::Input { what: network.name.clone(), why };
    let graph = network.main();
    let (&[input], &[output]) = (graph.inputs.as_slice(), graph.outputs.as_slice()) else {
        return Err(fault("it has not one input and one output".into()));
    };
    let [channels, height, width] = examples.shape();
    let (size, area) = (channels * height * width, height * width);
    if !normalisation.fits(channels) {
        return Err(fault(format!(
            "a normalisation of {} means does not fit {channels} channels",
            normalisation.mean.len()
        )));
    }
    let takes: usize = graph.tensors[input].shape.iter().skip(1).product();
    if takes != size {
        return Err(fault(format!("it takes {takes} numbers, a picture has {size}")));
    }
    let classes: usize = graph.tensors[output].shape.iter().skip(1).product();
    if let Some(label) = examples.labels().iter().find(|&&label| label as usize >= classes) {
        return Err(fault(format!("it has {classes} classes, a picture is of class {label}")));
    }
    let mut judgement = Judgement { count: examples.len(), top1: 0, top5: 0, loss: 0.0, answers: Vec::new() };
    let mut engines: Vec<(usize, Float)> = Vec::new();
    let mut pixels = Vec::new();
    for start in (0..examples.len()).step_by(BATCH) {
        let images = BATCH.min(examples.len() - start);
        if engines.iter().all(|(batch, _)| *batch != images) {
            engines.push((images, Float::prepare(&network.with_batch(images)?, kernel)?));
        }
        let Some((_, engine)) = engines.iter().find(|(batch, _)| *batch == images) else { continue };
        pixels.clear();
        for index in start..start + images {
            for (channel, plane) in examples.picture(index).chunks_exact(area).enumerate() {
                let (mean, deviation) = (normalisation.mean[channel], normalisation.deviation[channel]);
                pixels.extend(plane.iter().map(|&pixel| (f32::from(pixel) / 255.0 - mean) / deviation));
            }
        }
        let outputs = engine.run(&mut engine.session(), &[&pixels])?;
        for (logits, &label) in outputs[0].chunks_exact(classes).zip(&examples.labels()[start..]) {
            judgement.add(logits, label);
        }
    }
    judgement.loss /= judgement.count.max(1) as f64;
    Ok(judgement)
}

impl Judgement {
    /// Among equals the lower class comes first; what is no number comes last.
    fn add(&mut self, logits: &[f32], label: u32) {
        let number = |class: usize| if logits[class].is_nan() { f32::NEG_INFINITY } else { logits[class] };
        let own = number(label as usize);
        let before = |&class: &usize| number(class) > own || number(class) == own && class < label as usize;
        let ahead = (0..logits.len()).filter(before).count();
        self.top1 += usize::from(ahead == 0);
        self.top5 += usize::from(ahead < 5);
        let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = logits.iter().map(|&logit| f64::from(logit - most).exp()).sum();
        self.loss += sum.ln() - f64::from(logits[label as usize] - most);
        let best = (1..logits.len()).fold(0, |best, class| if number(class) > number(best) { class } else { best });
        self.answers.push(best as u32);
    }
}

/// Pictures of a folder whose class is the number before the first `_` of their names, as `picture` (channels, height,
/// width), and their names in order.
///
/// A picture of another size is scaled so that the square that is cut out of its middle is 7/8 of its shorter side.
///
/// # Errors
/// [`Error::Input`] naming a file whose name has no class, [`Error::Data`] naming one that cannot be read.
pub fn named_by_class(folder: &Path, [channels, height, width]: [usize; 3]) -> Result<(Examples, Vec<String>), Error> {
    if channels.checked_mul(height).and_then(|n| n.checked_mul(width)).is_none_or(|n| n > MOST_PIXELS) {
        let why = format!("the network takes pictures of {channels}x{height}x{width}, which is too much");
        return Err(Error::Input { what: folder.display().to_string(), why });
    }
    let unreadable = |source| tersor_data::Error::Read { path: folder.into(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let suffix = path.extension().and_then(|suffix| suffix.to_str()).unwrap_or_default().to_ascii_lowercase();
        if ["jpg", "jpeg", "png", "bmp"].contains(&suffix.as_str()) {
            files.push(path);
        }
    }
    files.sort();
    let (mut pixels, mut labels, mut names) = (Vec::new(), Vec::new(), Vec::new());
    for file in files {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let class = name.split('_').next().and_then(|class| class.parse::<u32>().ok()).filter(|&class| class < 1 << 20);
        let class = class.ok_or_else(|| Error::Input {
            what: file.display().to_string(),
            why: "its name does not begin with the number of its class and `_`".into(),
        })?;
        let picture = square(&Picture::read(&file)?, width, height);
        let area = width * height;
        let planes = match channels {
            1 => picture.grey(),
            _ => (0..channels * area).map(|i| picture.rgb()[i % area * 3 + (i / area).min(2)]).collect(),
        };
        pixels.extend(planes);
        labels.push(class);
        names.push(name);
    }
    let classes = labels.iter().max().map_or(0, |&most| most as usize + 1);
    let classes = (0..classes).map(|class| class.to_string()).collect();
    let fault = || Error::Input { what: folder.display().to_string(), why: "holds no pictures".into() };
    let examples = Examples::new([channels, height, width], pixels, labels, classes).filter(|all| !all.is_empty());
    Ok((examples.ok_or_else(fault)?, names))
}

/// The middle of a picture.
fn square(picture: &Picture, width: usize, height: usize) -> Picture {
    if (picture.width(), picture.height()) == (width, height) {
        return picture.clone();
    }
    let shorter = picture.width().min(picture.height());
    let longest = width.max(height);
    let scale = longest as f64 * 8.0 / 7.0 / shorter as f64;
    let scaled = |side: usize, least: usize| ((side as f64 * scale).round() as usize).max(least);
    let (w, h) = (scaled(picture.width(), width), scaled(picture.height(), height));
    let resized = if scale < 1.0 { picture.reduced(w, h) } else { picture.resized(w, h) };
    let cut = resized.cropped((w - width) / 2, (h - height) / 2, width, height);
    cut.unwrap_or_else(|| picture.resized(width, height))
}

/// How many inputs of `network` an array holds, and its elements as the network takes them: real numbers as they are,
/// bytes as pixels.
///
/// # Errors
/// [`Error::Input`] if the array holds no whole number of inputs, or other elements.
pub fn inputs(
    network: &Network,
    file: &Path,
    array: &Array,
    normalisation: Option<&Normalisation>,
) -> Result<(usize, Vec<f32>), Error> {
    let fault = |why: String| Error::Input { what: file.display().to_string(), why };
    let graph = network.main();
    let &[input] = graph.inputs.as_slice() else {
        return Err(fault(format!("holds one array, the network takes {} inputs", graph.inputs.len())));
    };
    let takes = match graph.tensors[input].shape.as_slice() {
        [_, takes @ ..] if !takes.is_empty() => takes,
        shape => return Err(fault(format!("the network takes {shape:?}, without a batch"))),
    };
    let size: usize = takes.iter().product();
    let count = array.elements().len();
    if size == 0 || count == 0 || !count.is_multiple_of(size) {
        let given = array.shape();
        return Err(fault(format!("an array of shape {given:?} is no whole number of inputs of shape {takes:?}")));
    }
    let values = match array.elements() {
        Elements::F32(values) => values.clone(),
        Elements::F64(values) => values.iter().map(|&x| x as f32).collect(),
        Elements::F16(values) => values.iter().map(|x| x.to_f32()).collect(),
        Elements::U8(_) if normalisation.is_some_and(|normalisation| !normalisation.fits(takes[0])) => {
            return Err(fault(format!("the model's normalisation does not fit {} channels", takes[0])));
        }
        Elements::U8(pixels) => {
            let plane = takes.iter().skip(1).product::<usize>().max(1);
            let line = |i: usize| {
                let channel = i / plane % takes[0];
                normalisation.map_or((0.0, 1.0), |n| (n.mean[channel], n.deviation[channel]))
            };
            let number = |(i, &pixel): (usize, &u8)| {
                let (mean, deviation) = line(i);
                (f32::from(pixel) / 255.0 - mean) / deviation
            };
            pixels.iter().enumerate().map(number).collect()
        }
        other => {
            return Err(fault(format!("elements of type {} are not float32 or uint8", other.element_type().name())));
        }
    };
    Ok((count / size, values))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_answer_is_right_exactly_where_it_is_the_label() {
        let of = |logits: &[f32], label: u32| {
            let mut judged = Judgement { count: 1, top1: 0, top5: 0, loss: 0.0, answers: Vec::new() };
            judged.add(logits, label);
            (judged.top1, judged.top5, judged.answers[0])
        };
        assert_eq!(of(&[1.0, 3.0, 2.0], 1), (1, 1, 1));
        assert_eq!(of(&[0.0; 7], 0), (1, 1, 0), "equals");
        assert_eq!(of(&[0.0; 7], 6), (0, 0, 0));
        assert_eq!(of(&[f32::NAN, 2.0, f32::NAN], 1), (1, 1, 1), "no numbers");
        assert_eq!(of(&[f32::NAN, 2.0], 0).0, 0);
    }
}
