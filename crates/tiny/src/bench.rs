//! The fast engine beside its peers, in one run.
//!
//! Machines are noisy, so rounds go in turn: this engine, then every peer, again and again; what is shown is the median.
//! Peers are servers that answer a request for a short round with one line of JSON (`bench/peers/tiny.py`,
//! `bench/peers/tiny-rust`). A peer that is not there is named with the reason.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use tersor_data::{Array, ElementType, Elements, npy, peer};
use tersor_kernels::int8::fast::{Isa, peak};
use tersor_network::fast::{Fast, Preparation};
use tersor_network::{Network, TensorId, cost};

use crate::error::Error;
use crate::run::in_pool;

/// How to measure.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Rounds; at least one.
    pub rounds: usize,
    /// Seconds of one engine in one round.
    pub seconds: f64,
    /// Threads of this engine (from the caller's pool) and of the peers that can use several.
    pub threads: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { rounds: 9, seconds: 0.05, threads: 1 }
    }
}

/// A peer that answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Peer {
    /// What requests call it.
    pub name: String,
    /// What people call it.
    pub title: String,
    /// Its version.
    pub version: String,
}

/// A peer that is not there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Missing {
    /// What requests would call it.
    pub name: String,
    /// The reason.
    pub why: String,
}

/// Everything that was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Instruction set of this engine.
    pub isa: String,
    /// Int8 multiply-adds a second (in 10^9) of a loop in registers, one thread.
    pub peak_gmacs: f64,
    /// Rounds of which medians are taken.
    pub rounds: usize,
    /// Threads of one run.
    pub threads: usize,
    /// Who answers.
    pub peers: Vec<Peer>,
    /// Who does not.
    pub missing: Vec<Missing>,
    /// One row for each network.
    pub models: Vec<Row>,
    /// Geometric mean, over the networks that both ran, of this engine's time to each peer's.
    pub geometric_mean: Vec<(String, f64)>,
}

/// One network.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// The network's file.
    pub file: String,
    /// Multiply-adds of one run.
    pub macs: u64,
    /// Median time of one run.
    pub microseconds: f64,
    /// Multiply-adds a second, in 10^9.
    pub gmacs: f64,
    /// The peers, in the order of [`Report::peers`].
    pub peers: Vec<Measured>,
}

/// One peer on one network.
#[derive(Debug, Clone, Serialize)]
pub struct Measured {
    /// The peer.
    pub peer: String,
    /// Median time of one run, if it ran.
    pub microseconds: Option<f64>,
    /// This engine's time to the peer's: below 1, the peer is slower.
    pub ratio: Option<f64>,
    /// Whether all outputs are the same bits as this engine's.
    pub same_bits: Option<bool>,
    /// Why it did not run.
    pub error: Option<String>,
}

/// A program that serves peers.
pub struct Server {
    program: peer::Server,
    /// Who answers.
    pub peers: Vec<Peer>,
    /// Who does not.
    pub missing: Vec<Missing>,
}

#[derive(Deserialize)]
struct Hello {
    peers: Vec<Peer>,
    missing: Vec<Missing>,
}

#[derive(Serialize)]
struct Request<'a> {
    peer: &'a str,
    model: &'a Path,
    input: &'a Path,
    seconds: f64,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    calls: u64,
    #[serde(default)]
    seconds: f64,
    #[serde(default)]
    crc32: Vec<String>,
}

impl Server {
    /// Starts a server; the error says why it is not there.
    ///
    /// # Errors
    /// One line for people.
    pub fn start(command: Command) -> Result<Self, String> {
        let (program, Hello { peers, missing }) = peer::Server::start(command)?;
        Ok(Self { program, peers, missing })
    }

    fn ask(&mut self, request: &Request) -> Result<Answer, String> {
        let answer: Answer = self.program.ask(request)?;
        if answer.calls == 0 { Err("it counted no calls".into()) } else { Ok(answer) }
    }
}

/// Measures `models` on this engine and the peers of `servers`; `progress` is called with the rounds done.
///
/// # Errors
/// [`Error::Network`] if a network cannot be read or prepared, [`Error::Data`] if its input cannot be handed over.
pub fn bench(
    models: &[PathBuf],
    servers: &mut [Server],
    settings: &Settings,
    progress: &dyn Fn(usize),
) -> Result<Report, Error> {
    let folder = tempfile::tempdir().map_err(|e| Error::Output { file: std::env::temp_dir(), why: e.to_string() })?;
    let peers: Vec<Peer> = servers.iter().flat_map(|s| s.peers.clone()).collect();
    let mut rows = Vec::new();
    for (m, model) in models.iter().enumerate() {
        let network = tersor_network::read(model)?;
        let engine = Fast::prepare(&network, &Preparation::default())?;
        let mut session = engine.session_on(settings.threads);
        let mut input = folder.path().join("none.npy");
        for &t in &network.main().inputs {
            let array = sample(&network, t);
            engine.write(&mut session, t, &array)?;
            input = folder.path().join(format!("{m}.npy"));
            npy::write(&input, &array)?;
        }
        engine.invoke(&mut session)?;
        let outputs = network.main().outputs.iter().map(|&t| {
            let bytes = engine.read(&session, t)?.elements().to_le_bytes();
            Ok(format!("{:08x}", crc32fast::hash(&bytes)))
        });
        let outputs: Vec<String> = outputs.collect::<Result<_, Error>>()?;
        let mut ours = Vec::new();
        let mut theirs: Vec<Result<(Vec<f64>, bool), String>> = peers.iter().map(|_| Ok((Vec::new(), true))).collect();
        for round in 0..settings.rounds.max(1) {
            let mut measured = || seconds_of_one_run(settings.seconds, || engine.invoke(&mut session));
            ours.push(if settings.threads > 1 { in_pool(measured)? } else { measured()? });
            let each = servers.iter_mut().flat_map(|server| {
                let names: Vec<String> = server.peers.iter().map(|p| p.name.clone()).collect();
                let model = model.as_path();
                let input = input.as_path();
                let ask = |peer: &String| server.ask(&Request { peer, model, input, seconds: settings.seconds });
                names.iter().map(ask).collect::<Vec<_>>()
            });
            for (answer, of) in each.zip(&mut theirs) {
                if let Ok((times, same)) = of {
                    match answer {
                        Ok(answer) => {
                            times.push(answer.seconds / answer.calls as f64);
                            *same &= answer.crc32 == outputs;
                        }
                        Err(why) => *of = Err(why),
                    }
                }
            }
            progress(m * settings.rounds + round + 1);
        }
        let microseconds = median(&mut ours) * 1e6;
        let macs = network.main().nodes.iter().map(|node| cost::macs(network.main(), node)).sum::<u64>();
        let measured = peers.iter().zip(theirs).map(|(peer, of)| match of {
            Ok((mut times, same)) => {
                let time = median(&mut times) * 1e6;
                let (time, ratio) = (Some(time), Some(microseconds / time));
                Measured { peer: peer.name.clone(), microseconds: time, ratio, same_bits: Some(same), error: None }
            }
            Err(why) => {
                Measured { peer: peer.name.clone(), microseconds: None, ratio: None, same_bits: None, error: Some(why) }
            }
        });
        rows.push(Row {
            file: model.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            macs,
            microseconds,
            gmacs: macs as f64 / microseconds / 1e3,
            peers: measured.collect(),
        });
    }
    let geometric_mean = peers.iter().enumerate().filter_map(|(p, peer)| {
        let logs: Vec<f64> = rows.iter().filter_map(|row| row.peers[p].ratio).map(f64::ln).collect();
        let mean = logs.iter().sum::<f64>() / logs.len() as f64;
        (!logs.is_empty()).then(|| (peer.name.clone(), mean.exp()))
    });
    let isa = Isa::detect();
    Ok(Report {
        isa: isa.to_string(),
        peak_gmacs: peak(isa, settings.rounds) / 1e9,
        rounds: settings.rounds.max(1),
        threads: settings.threads,
        geometric_mean: geometric_mean.collect(),
        missing: servers.iter().flat_map(|s| s.missing.clone()).collect(),
        peers,
        models: rows,
    })
}

/// A sample that uses the whole range of an input.
fn sample(network: &Network, t: TensorId) -> Array {
    let tensor = &network.main().tensors[t];
    let count = tensor.len();
    let elements = match tensor.element_type().unwrap_or(ElementType::U8) {
        ElementType::I8 => Elements::I8((0..count).map(|i| (i * 89 % 251) as u8 as i8).collect()),
        ElementType::U8 => Elements::U8((0..count).map(|i| (i * 89 % 251) as u8).collect()),
        ElementType::F32 => Elements::F32((0..count).map(|i| (i * 89 % 251) as f32 / 125.0 - 1.0).collect()),
        other => Elements::zeros(other, count),
    };
    Array::new(tensor.shape.clone(), elements).expect("one value for each element")
}

/// Seconds of one call, over as many as fit into `seconds`.
fn seconds_of_one_run(
    seconds: f64,
    mut run: impl FnMut() -> Result<(), tersor_network::Error>,
) -> Result<f64, tersor_network::Error> {
    let start = Instant::now();
    let (mut calls, mut chunk) = (0u32, 1u32);
    loop {
        for _ in 0..chunk {
            run()?;
        }
        calls += chunk;
        let took = start.elapsed().as_secs_f64();
        if took >= seconds {
            return Ok(took / f64::from(calls));
        }
        // About ten looks at the clock.
        chunk = ((seconds / 10.0 / (took / f64::from(calls))) as u32).clamp(1, 1 << 20);
    }
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
