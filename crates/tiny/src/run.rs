//! Running a network over a batch of samples, or over the frames of a stream.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;
use serde::Serialize;
use tersor_data::{Array, ElementType, Elements, npy, npz};
use tersor_kernels::int8;
use tersor_network::fast::{Fast, Preparation};
use tersor_network::reference::{Options, Reference};
use tersor_network::{Network, Quantization, TensorId, TensorKind};

use crate::error::Error;
use crate::input::Batch;
use crate::plan::{Plan, arena, fast};

/// What computes; both give the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Engine {
    /// Kernels written for the machine.
    #[default]
    Fast,
    /// Kernels that read like the formulas.
    Reference,
}

/// How to run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Settings {
    /// What computes.
    pub engine: Engine,
    /// How the engine computes.
    pub options: Options,
    /// Start every sample from a fresh state, instead of taking samples for the frames of one stream.
    pub reset: bool,
    /// Keep every tensor that is fed or computed, not only the outputs.
    pub keep_all: bool,
}

/// What a run gave. Arrays have a leading batch axis: that of the tensor if it is 1, else a new one.
#[derive(Debug, Clone)]
pub struct Results {
    /// How many samples ran.
    pub samples: usize,
    /// The network's outputs, in order.
    pub outputs: Vec<(TensorId, Array)>,
    /// Every tensor by index, if [`Settings::keep_all`].
    pub tensors: BTreeMap<TensorId, Array>,
}

/// Runs `network` on every sample; `progress` is called with the number of samples done.
///
/// A network with variables takes the samples for successive frames of one stream, unless `settings.reset`.
///
/// # Errors
/// [`Error::Network`] if the network cannot be prepared or a value cannot be computed.
pub fn run(
    network: &Network,
    batch: &Batch,
    settings: Settings,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<Results, Error> {
    check_memory(network, batch.samples.len(), settings)?;
    let graph = network.main();
    let results = match settings.engine {
        Engine::Reference => {
            let engine = Reference::prepare(network, settings.options)?;
            on_samples(network, batch, settings, progress, &|| engine.state(), &|state, feed, watch| {
                engine.run(state, feed, watch)
            })?
        }
        Engine::Fast => {
            let how = Preparation {
                options: settings.options,
                given: batch.tensors.clone(),
                keep_all: settings.keep_all,
                ..Preparation::default()
            };
            let engine = Fast::prepare(network, &how)?;
            // Threads go to the samples first; what is left of them, to each sample's operators.
            let remembers = tersor_network::liveness::state_bytes(network) > 0 && !settings.reset;
            let together = if remembers { 1 } else { batch.samples.len().max(1) };
            let threads = rayon::current_num_threads().div_ceil(together);
            on_samples(network, batch, settings, progress, &|| engine.session_on(threads), &|session, feed, watch| {
                engine.run(session, feed, watch)
            })?
        }
    };
    let count = results.len();
    let mut outputs: Vec<Vec<Array>> = vec![Vec::with_capacity(count); graph.outputs.len()];
    let mut tensors: BTreeMap<TensorId, Vec<Array>> = BTreeMap::new();
    for sample in results {
        outputs.iter_mut().zip(sample.outputs).for_each(|(all, array)| all.push(array));
        sample.tensors.into_iter().for_each(|(t, array)| tensors.entry(t).or_default().push(array));
    }
    Ok(Results {
        samples: count,
        outputs: graph.outputs.iter().copied().zip(outputs.into_iter().map(stacked)).collect(),
        tensors: tensors.into_iter().map(|(t, arrays)| (t, stacked(arrays))).collect(),
    })
}

/// Sees every tensor that a run is fed or computes.
type Watch<'w> = &'w mut dyn FnMut(TensorId, &Array);

/// Runs a network on what it is fed, in a state.
type Compute<'c, S> =
    dyn Fn(&mut S, &[(TensorId, &Array)], Watch) -> Result<Vec<Array>, tersor_network::Error> + Sync + 'c;

/// Computes every sample, those of a stream one after the other in one state.
fn on_samples<S: Send>(
    network: &Network,
    batch: &Batch,
    settings: Settings,
    progress: &(dyn Fn(usize) + Sync),
    fresh: &(dyn Fn() -> S + Sync),
    compute: &Compute<S>,
) -> Result<Vec<Sample>, Error> {
    let done = AtomicUsize::new(0);
    let one = |sample: usize, state: &mut S| -> Result<Sample, Error> {
        let mut tensors = BTreeMap::new();
        let outputs = compute(state, &batch.feed(sample), &mut |t, array| {
            if settings.keep_all {
                tensors.insert(t, array.clone());
            }
        })?;
        progress(done.fetch_add(1, Ordering::Relaxed) + 1);
        Ok(Sample { outputs, tensors })
    };
    let samples = 0..batch.samples.len();
    let remembers = tersor_network::liveness::state_bytes(network) > 0;
    if remembers && !settings.reset {
        let mut state = fresh();
        return samples.map(|i| one(i, &mut state)).collect();
    }
    let afresh = |state: &mut S, i| {
        if remembers {
            *state = fresh();
        }
        one(i, state)
    };
    samples.into_par_iter().map_init(fresh, afresh).collect()
}

/// Runs `network` on every sample as `plan` says: the reference engine in an arena that traps what the plan has not made
/// valid, the fast one without.
///
/// Outputs are those of [`run`]; the arena's variables make the samples one stream, unless `settings.reset`.
///
/// # Errors
/// [`Error::Plan`] if the plan is not this network's, or a step reads what is not there.
pub fn run_plan(
    network: &Network,
    plan: Plan,
    batch: &Batch,
    settings: Settings,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<Results, Error> {
    match settings.engine {
        Engine::Reference => {
            let executor = arena::Executor::new(network, plan)?;
            let stored = [executor.stored_inputs(), executor.stored_outputs()];
            planned(network, batch, settings, progress, stored, &|| executor.arena(), &|arena, inputs| {
                executor.run(arena, inputs)
            })
        }
        Engine::Fast => {
            let executor = fast::Executor::new(network, plan, settings.options)?;
            let stored = [executor.stored_inputs(), executor.stored_outputs()];
            let fresh = || executor.arena(rayon::current_num_threads());
            planned(network, batch, settings, progress, stored, &fresh, &|arena, inputs| executor.run(arena, inputs))
        }
    }
}

/// Runs a plan on every sample, one after the other in one arena; `stored` are the tensors that the plan keeps for the
/// network's inputs and outputs.
fn planned<A>(
    network: &Network,
    batch: &Batch,
    settings: Settings,
    progress: &(dyn Fn(usize) + Sync),
    [inputs, outputs]: [Vec<TensorId>; 2],
    fresh: &dyn Fn() -> A,
    compute: &dyn Fn(&mut A, &[&Array]) -> Result<Vec<Vec<u8>>, Error>,
) -> Result<Results, Error> {
    let graph = network.main();
    let mut arena = fresh();
    let mut all: Vec<Vec<Array>> = vec![Vec::new(); graph.outputs.len()];
    for (done, sample) in batch.samples.iter().enumerate() {
        if settings.reset {
            arena = fresh();
        }
        let fed: Vec<Array> = batch
            .tensors
            .iter()
            .zip(sample)
            .zip(&inputs)
            .map(|((&given, array), &stored)| as_stored(network, given, array, stored))
            .collect::<Result<_, _>>()?;
        let bytes = compute(&mut arena, &fed.iter().collect::<Vec<_>>())?;
        for (i, bytes) in bytes.iter().enumerate() {
            all[i].push(as_output(network, graph.outputs[i], outputs[i], bytes)?);
        }
        progress(done + 1);
    }
    let outputs = graph.outputs.iter().copied().zip(all.into_iter().map(stacked)).collect();
    Ok(Results { samples: batch.samples.len(), outputs, tensors: BTreeMap::new() })
}

/// A sample as the arena stores it: the caller's part of a fused QUANTIZE.
fn as_stored(network: &Network, given: TensorId, array: &Array, stored: TensorId) -> Result<Array, Error> {
    if given == stored || array.element_type() == ElementType::I8 {
        return Ok(array.clone());
    }
    let fault = |why: &str| Error::Plan { network: network.name.clone(), why: format!("input tensor {given}: {why}") };
    let tensor = &network.main().tensors[stored];
    let q = tensor.quantization.as_ref().and_then(|q| q.affine()).ok_or_else(|| fault("has no single scale"))?;
    let x = array.elements().as_f32().ok_or_else(|| fault("is not float32"))?;
    let values: Option<Vec<i8>> = x.iter().map(|&x| int8::quantize(x, q, -128, 127).map(|v| v as i8)).collect();
    let values = values.ok_or_else(|| fault("holds a value that is not a number"))?;
    Array::new(tensor.shape.clone(), values.into()).ok_or_else(|| fault("has another size"))
}

/// An output from the bytes that the arena stores: the caller's part of a fused DEQUANTIZE.
fn as_output(network: &Network, output: TensorId, stored: TensorId, bytes: &[u8]) -> Result<Array, Error> {
    let (graph, name) = (network.main(), &network.name);
    let fault = || Error::Plan { network: name.clone(), why: format!("output tensor {output} is no array") };
    let kind = graph.tensors[stored].element_type().ok_or_else(fault)?;
    let elements = Elements::from_le_bytes(kind, bytes).ok_or_else(fault)?;
    let q = graph.tensors[stored].quantization.as_ref().and_then(|q| q.affine());
    let elements = match (graph.tensors[output].element_type(), &elements, q) {
        (Some(ElementType::F32), Elements::I8(v), Some(q)) => {
            v.iter().map(|&v| q.real(i32::from(v))).collect::<Vec<f32>>().into()
        }
        _ => elements,
    };
    Array::new(graph.tensors[output].shape.clone(), elements).ok_or_else(fault)
}

struct Sample {
    outputs: Vec<Array>,
    tensors: BTreeMap<TensorId, Array>,
}

/// What is kept of all samples must fit the memory that a run may hold.
fn check_memory(network: &Network, samples: usize, settings: Settings) -> Result<(), Error> {
    let graph = network.main();
    let kept: u64 = if settings.keep_all {
        graph.tensors.iter().filter(|t| t.constant.is_none()).map(|t| t.bytes()).sum()
    } else {
        graph.outputs.iter().map(|&t| graph.tensors[t].bytes()).sum()
    };
    let needed = kept.saturating_mul(samples as u64);
    if needed <= settings.options.memory {
        return Ok(());
    }
    let (network, limit) = (network.name.clone(), settings.options.memory);
    Err(tersor_network::Error::Memory { network, needed, limit }.into())
}

/// Samples of one tensor, one after the other.
fn stacked(samples: Vec<Array>) -> Array {
    let count = samples.len();
    let first = samples[0].shape();
    let shape = match first.split_first() {
        Some((1, rest)) if !rest.is_empty() => [&[count], rest].concat(),
        _ if count == 1 => first.to_vec(),
        _ => [&[count], first].concat(),
    };
    let mut samples = samples.into_iter().map(Array::into_elements);
    let mut all = samples.next().expect("a batch has samples");
    for sample in samples {
        all.append(sample);
    }
    Array::new(shape, all).expect("samples of a tensor are alike")
}

/// Checks that the outputs of `network` can be written to `file`, before the work is done.
///
/// # Errors
/// [`Error::Output`] if the suffix does not fit the number of outputs, or the folder does not exist.
pub fn check_output(network: &Network, file: &Path) -> Result<(), Error> {
    let fault = |why: String| Error::Output { file: file.into(), why };
    let suffix = file.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
    let outputs = network.main().outputs.len();
    if !["npy", "npz"].contains(&suffix.as_str()) {
        return Err(fault("outputs are written as .npy or .npz".into()));
    }
    if suffix == "npy" && outputs != 1 {
        return Err(fault(format!("the network has {outputs} outputs; write them to an .npz")));
    }
    match file.parent() {
        Some(folder) if folder != Path::new("") && !folder.is_dir() => {
            Err(fault(format!("the folder {} does not exist", folder.display())))
        }
        _ => Ok(()),
    }
}

/// Writes the outputs: `.npy` for one, `.npz` with `out0`, `out1`, … for one or several.
///
/// # Errors
/// As [`check_output`], and [`Error::Data`] if the file cannot be written.
pub fn write_outputs(network: &Network, results: &Results, file: &Path) -> Result<(), Error> {
    check_output(network, file)?;
    if let ([(_, output)], true) =
        (results.outputs.as_slice(), file.extension().is_some_and(|e| e.eq_ignore_ascii_case("npy")))
    {
        npy::write(file, output)?;
    } else {
        let named = results.outputs.iter().enumerate().map(|(i, (_, array))| (format!("out{i}"), array));
        npz::write(file, &named.collect::<Vec<_>>())?;
    }
    Ok(())
}

/// Writes every kept tensor to `folder` as `t<index>.npy`.
///
/// # Errors
/// [`Error::Output`] if the folder cannot be made, [`Error::Data`] if a file cannot be written.
pub fn dump(results: &Results, folder: &Path) -> Result<(), Error> {
    let fault = |e: std::io::Error| Error::Output { file: PathBuf::from(folder), why: e.to_string() };
    std::fs::create_dir_all(folder).map_err(fault)?;
    for (t, array) in &results.tensors {
        npy::write(folder.join(format!("t{t}.npy")), array)?;
    }
    Ok(())
}

/// What a run gave, to be shown.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The network's file.
    pub file: String,
    /// How many samples ran.
    pub samples: usize,
    /// The outputs, described.
    pub outputs: Vec<OutputReport>,
    /// For every sample, the greatest values of the first output, if it is a vector.
    pub top: Vec<Vec<Class>>,
}

/// One output, described.
#[derive(Debug, Clone, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct OutputReport {
    pub tensor: TensorId,
    pub name: String,
    pub shape: Vec<usize>,
    #[serde(rename = "type")]
    pub kind: TensorKind,
    pub quantization: Option<Quantization>,
}

/// One element of a vector of scores.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Class {
    /// Its position.
    pub class: usize,
    /// Its label, if labels were given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Its real value.
    pub score: f64,
}

/// Classes listed of each sample.
const TOP: usize = 5;

/// Describes `results`, with the greatest values of the first output where it is one vector per sample.
pub fn report(network: &Network, results: &Results, labels: &[String]) -> Report {
    let graph = network.main();
    let outputs = results.outputs.iter().map(|(t, array)| OutputReport {
        tensor: *t,
        name: graph.tensors[*t].name.clone(),
        shape: array.shape().to_vec(),
        kind: graph.tensors[*t].kind,
        quantization: graph.tensors[*t].quantization.clone(),
    });
    let top = match results.outputs.first() {
        Some((t, array)) if graph.tensors[*t].shape.iter().filter(|&&n| n > 1).count() <= 1 => {
            let scores = real(array.elements(), graph.tensors[*t].quantization.as_ref());
            let one = scores.len() / results.samples.max(1);
            scores.chunks(one.max(1)).map(|scores| greatest(scores, labels)).collect()
        }
        _ => Vec::new(),
    };
    Report { file: network.name.clone(), samples: results.samples, outputs: outputs.collect(), top }
}

fn greatest(scores: &[f64], labels: &[String]) -> Vec<Class> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    let class = |class: usize| Class { class, label: labels.get(class).cloned(), score: scores[class] };
    order.into_iter().take(TOP).map(class).collect()
}

/// The real values of an output.
fn real(elements: &Elements, quantization: Option<&Quantization>) -> Vec<f64> {
    let q = quantization.and_then(|q| q.affine());
    let integer = |x: i64| q.map_or(x as f64, |q| (x as f64 - f64::from(q.zero_point)) * q.scale);
    match elements {
        Elements::F32(v) => v.iter().map(|&x| f64::from(x)).collect(),
        Elements::I8(v) => v.iter().map(|&x| integer(i64::from(x))).collect(),
        Elements::U8(v) => v.iter().map(|&x| integer(i64::from(x))).collect(),
        Elements::I16(v) => v.iter().map(|&x| integer(i64::from(x))).collect(),
        Elements::I32(v) => v.iter().map(|&x| integer(i64::from(x))).collect(),
        _ => Vec::new(),
    }
}
