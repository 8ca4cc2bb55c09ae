//! Pruned layers and networks, timed beside their dense selves and the peers, in one run.
//!
//! Machines are noisy, so all are measured in turn, round by round; a figure is the median over rounds of a round's
//! median. The peers (onnxruntime, PyTorch, `torch.sparse`, SciPy, Torch-Pruning) are a server, `bench/peers/compress.py`.
//! onnxruntime and PyTorch run the dense network, `torch.sparse` and SciPy multiply the sparse matrix: what they answer is
//! compared with our answer. Torch-Pruning takes channels out of a network of its own, of the same architecture, until as
//! few parameters are left.

use std::path::{Path, PathBuf};
use std::time::Instant;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tersor_data::peer::{Peers, largest_difference};
use tersor_data::{Array, Elements, npy};
use tersor_network::float::{Float, Kernel, Session};
use tersor_network::{Network, onnx};

use crate::Error;
use crate::account::Account;
use crate::architecture::{Architecture, Builder, Slide};
use crate::channel::{Groups, Share};
use crate::granularity::Granularity;
use crate::plan::{Qualities, Target, plan};
use crate::weights::{weights_of, with_values};

/// What is timed: a network and how it is pruned.
#[derive(Debug, Clone)]
pub struct Case {
    /// In the table.
    pub name: String,
    /// Dense.
    pub dense: Network,
    /// The same with zeros, or with fewer channels.
    pub pruned: Network,
    /// Inputs at once.
    pub batch: usize,
    /// Where channels were taken out: the network as the peers name it.
    channels_of: Option<&'static str>,
}

/// One case: seconds of a run.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// The case.
    pub name: String,
    /// Inputs at once.
    pub batch: usize,
    /// The share of weights that is there and not 0.
    pub density: f64,
    /// The dense network.
    pub dense_seconds: f64,
    /// The pruned one by the sparse kernels, every layer.
    pub sparse_seconds: f64,
    /// By what the cost model chose for each layer.
    pub auto_seconds: f64,
    /// Layers that it chose the sparse kernels for, and all.
    pub sparse_layers: (usize, usize),
    /// The density below which it chooses them, for a network of one layer.
    pub break_even: Option<f64>,
    /// The peers that take part.
    pub peers: Vec<PeerRow>,
}

/// A peer's part in a row.
#[derive(Debug, Clone, Serialize)]
pub struct PeerRow {
    /// Its name.
    pub name: &'static str,
    /// Seconds of a run.
    pub seconds: f64,
    /// The largest difference of its answer to ours, as a share of our largest number; nothing where its network has
    /// weights of its own.
    pub difference: Option<f64>,
}

/// How far a peer's answer may be from ours, as a share of our largest number.
const APART: f64 = 1e-4;

impl Row {
    /// How many times as fast as the dense kernels the chosen ones are.
    pub fn speedup(&self) -> f64 {
        self.dense_seconds / self.auto_seconds
    }
}

/// How to measure.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Rounds after one that warms up; at least one.
    pub rounds: usize,
    /// Seconds of one measurement in one round.
    pub seconds: f64,
    /// Threads of the peers; ours are those of the pool.
    pub threads: usize,
}

impl Case {
    /// `network`, of whose weights the share `density` stays, cut by size.
    ///
    /// # Errors
    /// As [`plan`].
    pub fn pruned(name: &str, network: &Network, density: f64, how: Granularity, batch: usize) -> Result<Self, Error> {
        let weights = weights_of(network);
        let target = if density < 1.0 { Target::Sparsity(1.0 - density) } else { Target::Quality(0.0) };
        let plan = plan(&network.name, &weights, how, target, &Qualities::new())?;
        let pruned = with_values(network, &plan.applied(&weights)?)?;
        Ok(Self { name: name.into(), dense: network.clone(), pruned, batch, channels_of: None })
    }

    /// ResNet-20 with the weakest channels taken out, so that at most the share `keep` of its weights is left.
    fn fewer_channels(keep: f64, batch: usize) -> Result<Self, Error> {
        let dense = Architecture::ResNet20.build(10, 1)?;
        let groups = Groups::of(&dense)?;
        let pruned = groups.plan(&Share::Weights(keep).into())?.apply(&dense)?;
        Ok(Self { name: "resnet-20, channels".into(), dense, pruned, batch, channels_of: Some("resnet20") })
    }

    /// The layers and networks by which sparse kernels are judged.
    ///
    /// # Errors
    /// None in practice.
    pub fn standard() -> Result<Vec<Self>, Error> {
        let mut cases = Vec::new();
        let mut add = |name: &str, network: &Network, densities: &[f64], how: Granularity, batch: usize| {
            for &density in densities {
                cases.push(Self::pruned(name, network, density, how, batch)?);
            }
            Ok::<(), Error>(())
        };
        use Granularity::{Element, Inputs8, Outputs8, TwoOfFour};
        let lenet = linear(784, 300)?;
        let square = linear(4096, 4096)?;
        for batch in [1, 64] {
            add("linear 300x784", &lenet, &[0.08], Element, batch)?;
            add("linear 4096x4096", &square, &[0.1, 0.5], Element, batch)?;
            add("linear 4096x4096 in 8x1", &square, &[0.1], Outputs8, batch)?;
            add("linear 4096x4096 in 1x8", &square, &[0.1], Inputs8, batch)?;
        }
        add("linear 4096x4096 2:4", &square, &[0.5], TwoOfFour, 1)?;
        let one = convolution([256, 28, 28], 256, 1)?;
        let three = convolution([64, 32, 32], 64, 3)?;
        add("conv 1x1 256-256 28x28", &one, &[0.1, 0.5], Element, 1)?;
        add("conv 3x3 64-64 32x32", &three, &[0.1, 0.5], Element, 1)?;
        for (architecture, density) in [
            (Architecture::LeNet300, 1.0 / 12.0),
            (Architecture::LeNet5, 1.0 / 12.0),
            (Architecture::Vgg, 0.1),
            (Architecture::ResNet20, 0.2),
        ] {
            let network = architecture.build(10, 1)?;
            for batch in [1, 64] {
                add(architecture.name(), &network, &[density], Element, batch)?;
            }
        }
        for batch in [1, 64] {
            cases.push(Self::fewer_channels(0.5, batch)?);
        }
        Ok(cases)
    }
}

fn linear(inputs: usize, outputs: usize) -> Result<Network, Error> {
    let (mut net, x) = Builder::new("linear", &[inputs], 1);
    let y = net.linear(x, "fc1", outputs)?;
    Ok(net.finish(y))
}

fn convolution(shape: [usize; 3], out: usize, kernel: usize) -> Result<Network, Error> {
    let (mut net, x) = Builder::new("convolution", &shape, 1);
    let y = net.convolution(x, "conv1", out, 1, Slide::centred(kernel, 1), true)?;
    Ok(net.finish(y))
}

#[derive(Deserialize)]
struct Round {
    seconds: f64,
}

/// A peer that has loaded a case.
struct Loaded {
    name: &'static str,
    handle: String,
    answers: Answers,
    seconds: Vec<f64>,
    difference: Option<f64>,
}

/// Which of our answers a peer's is compared with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answers {
    /// That of the dense network.
    Dense,
    /// That of the pruned one.
    Pruned,
    /// None: its weights are its own.
    Own,
}

/// An engine, and what it took in each round.
struct Timed {
    engine: Float,
    session: Session,
    output: Vec<f32>,
    seconds: Vec<f64>,
}

impl Timed {
    fn new(network: &Network, kernel: Kernel) -> Result<Self, Error> {
        let engine = Float::prepare(network, kernel)?;
        let output = vec![0.0; length(network, network.main().outputs[0])];
        Ok(Self { session: engine.session(), engine, output, seconds: Vec::new() })
    }

    fn run(&mut self, input: &[f32]) -> Result<(), Error> {
        Ok(self.engine.run_into(&mut self.session, &[input], &mut [&mut self.output])?)
    }
}

/// Measures `cases`; `progress` is called after each. `folder` holds what peers are given.
///
/// # Errors
/// What preparing a network says; what a peer says that has loaded a case and then fails, or that it answers otherwise than
/// we do, as [`Error::Input`].
pub fn bench(
    cases: &[Case],
    settings: Settings,
    mut peers: Option<&mut Peers>,
    folder: &Path,
    progress: &mut dyn FnMut(&Row),
) -> Result<Vec<Row>, Error> {
    let mut rows = Vec::new();
    for case in cases {
        let (whole, pruned) = (case.dense.with_batch(case.batch)?, case.pruned.with_batch(case.batch)?);
        let input = input(&pruned);
        let mut ours = [
            Timed::new(&whole, Kernel::Dense)?,
            Timed::new(&pruned, Kernel::Sparse)?,
            Timed::new(&pruned, Kernel::Auto)?,
        ];
        let mut loaded = match peers.as_deref_mut() {
            Some(peers) => load(case, &pruned, &input, settings.threads, peers, folder)?,
            None => Vec::new(),
        };
        for round in 0..=settings.rounds.max(1) {
            for timed in &mut ours {
                let time = median_time(settings.seconds, || timed.run(&input))?;
                // The first round warms up.
                if round > 0 {
                    timed.seconds.push(time);
                }
            }
            let Some(peers) = peers.as_deref_mut() else { continue };
            for peer in &mut loaded {
                let mut request = json!({ "run": peer.handle, "runs": 5, "seconds": settings.seconds });
                let answer = folder.join("y.npy");
                if round == 0 {
                    request["output"] = json!(answer);
                }
                let Round { seconds } = peers.server.ask(&request).map_err(|why| refused(peer.name, why))?;
                match (round, peer.answers) {
                    (1.., _) => peer.seconds.push(seconds),
                    (0, Answers::Dense) => peer.difference = Some(compared(peer.name, &answer, &ours[0].output)?),
                    (0, Answers::Pruned) => peer.difference = Some(compared(peer.name, &answer, &ours[2].output)?),
                    (0, Answers::Own) => {}
                }
            }
        }
        if let Some(peers) = peers.as_deref_mut() {
            for peer in &loaded {
                let _: Value =
                    peers.server.ask(&json!({ "drop": peer.handle })).map_err(|why| refused(peer.name, why))?;
            }
        }
        let layers = ours[2].engine.layers();
        let sparse = layers.iter().filter(|layer| layer.kernel == Kernel::Sparse).count();
        let break_even = if let [layer] = layers { Some(layer.break_even) } else { None };
        let sparse_layers = (sparse, layers.len());
        let [dense, by_sparse, auto] = ours.map(|timed| median(timed.seconds));
        let kept: usize = weights_of(&case.pruned).iter().map(|weight| weight.kept()).sum();
        let all: usize = weights_of(&case.dense).iter().map(|weight| weight.values.len()).sum();
        let told =
            |peer: Loaded| PeerRow { name: peer.name, seconds: median(peer.seconds), difference: peer.difference };
        let row = Row {
            name: case.name.clone(),
            batch: case.batch,
            density: kept as f64 / all.max(1) as f64,
            dense_seconds: dense,
            sparse_seconds: by_sparse,
            auto_seconds: auto,
            sparse_layers,
            break_even,
            peers: loaded.into_iter().map(told).collect(),
        };
        progress(&row);
        rows.push(row);
    }
    Ok(rows)
}

/// The largest difference of a peer's answer to ours, as a share of our largest number.
fn compared(peer: &str, file: &Path, ours: &[f32]) -> Result<f64, Error> {
    let apart = largest_difference(file, ours).map_err(|why| refused(peer, why))?;
    let largest = ours.iter().fold(f32::MIN_POSITIVE, |most, y| most.max(y.abs()));
    let share = f64::from(apart / largest);
    // NaN is apart, too.
    if share <= APART { Ok(share) } else { Err(refused(peer, format!("it answers otherwise, by {share:.1e}"))) }
}

fn refused(peer: &str, why: String) -> Error {
    Error::Input { what: peer.into(), why }
}

/// Lets every peer load what it can of a case: the dense network, and the sparse matrix of a network of one layer.
fn load(
    case: &Case,
    pruned: &Network,
    input: &[f32],
    threads: usize,
    peers: &mut Peers,
    folder: &Path,
) -> Result<Vec<Loaded>, Error> {
    let file = |name: &str| folder.join(name);
    let write = |path: &PathBuf, shape: &[usize], values: &[f32]| {
        let array = Array::new(shape, Elements::F32(values.to_vec()));
        array.map_or(Ok(()), |array| npy::write(path, &array))
    };
    let (x, model) = (file("x.npy"), file("model.onnx"));
    let graph = pruned.main();
    write(&x, &graph.tensors[graph.inputs[0]].shape, input)?;
    let bytes = onnx::write(&case.dense)?;
    tersor_data::atomic::write(&model, |out| out.write_all(&bytes))?;
    let mut wanted = vec![("onnxruntime", Answers::Dense, json!({ "do": "onnx", "model": model, "input": x }))];
    if let Some(network) = case.channels_of {
        let keep = Account::of(&weights_of(&case.pruned)).weights as f64
            / Account::of(&weights_of(&case.dense)).weights as f64;
        let request =
            json!({ "do": "network", "network": network, "prune": "channels", "keep": keep, "batch": case.batch });
        wanted.push(("torch-pruning", Answers::Own, request));
    }
    let (dense, sparse) = (weights_of(&case.dense), weights_of(&case.pruned));
    if let ([dense], [sparse]) = (&dense[..], &sparse[..]) {
        let (whole, cut) = (file("dense.npy"), file("sparse.npy"));
        write(&whole, &dense.shape, &dense.values)?;
        write(&cut, &sparse.shape, &sparse.values)?;
        if dense.is_convolution() {
            let padding = dense.shape[2] / 2;
            let request = json!({ "do": "conv", "weights": whole, "input": x, "padding": padding });
            wanted.push(("pytorch", Answers::Dense, request));
        } else {
            wanted.push(("pytorch", Answers::Dense, json!({ "do": "linear", "weights": whole, "input": x })));
        }
        if !dense.is_convolution() || (dense.shape[2..] == [1, 1] && case.batch == 1) {
            wanted.push(("torch.sparse", Answers::Pruned, json!({ "do": "csr-torch", "weights": cut, "input": x })));
            wanted.push(("scipy", Answers::Pruned, json!({ "do": "csr-scipy", "weights": cut, "input": x })));
        }
    }
    let mut loaded = Vec::new();
    for (name, answers, mut request) in wanted {
        request["load"] = json!(name);
        request["threads"] = json!(threads);
        // A peer that is not installed, or that has no such kernel, does not take part.
        if peers.server.ask::<Value>(&request).is_ok() {
            loaded.push(Loaded { name, handle: name.into(), answers, seconds: Vec::new(), difference: None });
        }
    }
    Ok(loaded)
}

fn length(network: &Network, tensor: usize) -> usize {
    network.main().tensors[tensor].shape.iter().product()
}

/// Numbers from 0 to 1, half of them 0: as after a ReLU.
fn input(network: &Network) -> Vec<f32> {
    let mut draws = ChaCha8Rng::seed_from_u64(1);
    (0..length(network, network.main().inputs[0])).map(|_| draws.random_range(-1.0..1.0f32).max(0.0)).collect()
}

/// The median time of a call, over as many as fit into `seconds`, at least five.
fn median_time(seconds: f64, mut call: impl FnMut() -> Result<(), Error>) -> Result<f64, Error> {
    let start = Instant::now();
    let mut times = Vec::new();
    while start.elapsed().as_secs_f64() < seconds || times.len() < 5 {
        let start = Instant::now();
        call()?;
        times.push(start.elapsed().as_secs_f64());
    }
    Ok(median(times))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
