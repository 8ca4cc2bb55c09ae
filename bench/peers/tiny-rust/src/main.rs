//! The Rust peers of `tersor tiny bench`: tract's quantised path, and microflow.
//!
//! A fair comparison on a noisy machine runs all peers in turn, round by round, in one sitting. So this is a server: the
//! command asks for a short round, this program runs it and answers, one line of JSON each. The protocol is that of
//! `bench/peers/tiny.py`, where it is written down.
//!
//! ```text
//! cargo build --release --manifest-path bench/peers/tiny-rust/Cargo.toml --target-dir target/peers
//! target/peers/release/tersor-peers --threads 1
//! ```
//!
//! microflow compiles its models in. Name them while building, or it is listed as missing:
//! `TERSOR_PEERS_MODELS=a.tflite:b.tflite cargo build …`. It knows FULLY_CONNECTED, CONV_2D, DEPTHWISE_CONV_2D,
//! AVERAGE_POOL_2D, RESHAPE and SOFTMAX with integer inputs; any other model fails that build and says why.
//!
//! `--threads` goes to tract (which splits only large matrix products); microflow knows one thread.

mod microflow_peer;
mod sample;
mod tract_peer;

use std::collections::HashMap;
use std::io::{self, BufRead, Write};
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use clap::Parser;
use serde::{Deserialize, Serialize};

/// Once per model and input: caches, page faults, thread pool.
const WARM_UP: Duration = Duration::from_millis(20);
/// Between two looks at the clock.
const CHUNK: Duration = Duration::from_millis(5);
/// microflow keeps every tensor on the stack.
const STACK_BYTES: usize = 256 << 20;

/// A model with its input, ready to run.
trait Network {
    /// One inference.
    fn run(&mut self) -> anyhow::Result<()>;

    /// `count` inferences, timed from outside. A peer whose call is short overrides it, to spare the virtual calls.
    fn run_times(&mut self, count: u64) -> anyhow::Result<()> {
        (0..count).try_for_each(|_| self.run())
    }

    /// The bytes of each output of one inference: little-endian, row-major.
    fn outputs(&mut self) -> anyhow::Result<Vec<Vec<u8>>>;
}

#[derive(Parser)]
#[command(about = "tract and microflow, served to `tersor tiny bench` as JSON lines")]
struct Options {
    /// Threads of tract
    #[arg(long, default_value_t = 1)]
    threads: usize,
}

#[derive(Serialize)]
struct Hello {
    peers: Vec<Peer>,
    missing: Vec<Missing>,
}

#[derive(Serialize)]
struct Peer {
    name: &'static str,
    title: &'static str,
    version: String,
}

#[derive(Serialize)]
struct Missing {
    name: &'static str,
    why: String,
}

#[derive(Deserialize)]
struct Request {
    peer: String,
    model: PathBuf,
    /// One sample (.npy); none means zeros.
    input: Option<PathBuf>,
    seconds: f64,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Answer {
    Round { calls: u64, seconds: f64, crc32: Vec<String> },
    Error { error: String },
}

/// A network after its first call and a warm-up.
struct Loaded {
    network: Box<dyn Network>,
    crc32: Vec<String>,
}

impl Loaded {
    fn new(mut network: Box<dyn Network>) -> anyhow::Result<Loaded> {
        let crc32 = network.outputs()?.iter().map(|bytes| format!("{:08x}", crc32fast::hash(bytes))).collect();
        timed(network.as_mut(), WARM_UP)?;
        Ok(Loaded { network, crc32 })
    }
}

/// Calls and seconds of chunks that last together about `wanted`.
fn timed(network: &mut dyn Network, wanted: Duration) -> anyhow::Result<(u64, Duration)> {
    let (mut calls, mut total, mut chunk) = (0, Duration::ZERO, 1);
    while calls == 0 || total < wanted {
        let start = Instant::now();
        network.run_times(chunk)?;
        let took = start.elapsed();
        (calls, total) = (calls + chunk, total + took);
        let rest = CHUNK.min(wanted.saturating_sub(total)).as_secs_f64();
        chunk = ((chunk as f64 * rest / took.as_secs_f64().max(1e-9)).round() as u64).max(1);
    }
    Ok((calls, total))
}

/// The version that stands in the lock file, which is the version that was compiled.
fn version(package: &str) -> String {
    let entry = format!("name = \"{package}\"\nversion = \"");
    let lock = include_str!("../Cargo.lock");
    let found = lock.split_once(&entry).and_then(|(_, rest)| rest.split_once('"'));
    found.map_or_else(|| "unknown".to_owned(), |(version, _)| version.to_owned())
}

fn hello() -> Hello {
    let mut hello = Hello {
        peers: vec![Peer { name: "tract", title: "tract", version: version("tract-tflite") }],
        missing: vec![],
    };
    if microflow_peer::has_models() {
        hello.peers.push(Peer { name: "microflow", title: "microflow", version: version("microflow") });
    } else {
        let why = "models are compiled in, and none was: build with TERSOR_PEERS_MODELS=a.tflite:b.tflite".to_owned();
        hello.missing.push(Missing { name: "microflow", why });
    }
    hello
}

fn load(peer: &str, model: &Path, input: Option<&Path>, threads: usize) -> anyhow::Result<Box<dyn Network>> {
    match peer {
        "tract" => tract_peer::open(model, input, threads),
        "microflow" => microflow_peer::open(model, input),
        _ => bail!("no peer {peer}; there are: tract, microflow"),
    }
}

#[derive(Default)]
struct Server {
    loaded: HashMap<(String, PathBuf, Option<PathBuf>), Loaded>,
    threads: usize,
}

impl Server {
    fn answer(&mut self, line: &str) -> anyhow::Result<Answer> {
        let request: Request = serde_json::from_str(line).context("the request")?;
        let key = (request.peer, request.model, request.input);
        if !self.loaded.contains_key(&key) {
            let network = load(&key.0, &key.1, key.2.as_deref(), self.threads)?;
            self.loaded.insert(key.clone(), Loaded::new(network)?);
        }
        let loaded = self.loaded.get_mut(&key).expect("inserted above");
        let wanted = Duration::try_from_secs_f64(request.seconds).context("seconds")?;
        let (calls, total) = timed(loaded.network.as_mut(), wanted)?;
        Ok(Answer::Round { calls, seconds: total.as_secs_f64(), crc32: loaded.crc32.clone() })
    }
}

/// The causes of an error, outermost first, each without what it prints of whole tensors and operators.
fn one_line(error: &anyhow::Error) -> String {
    let causes = error.chain().map(|cause| {
        let text = cause.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        match text.char_indices().nth(160) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text,
        }
    });
    causes.collect::<Vec<_>>().join(": ")
}

fn serve(threads: usize) -> anyhow::Result<()> {
    let mut replies = io::stdout().lock();
    writeln!(replies, "{}", serde_json::to_string(&hello())?)?;
    replies.flush()?;
    let mut server = Server { threads, ..Server::default() };
    for line in io::stdin().lock().lines() {
        let line = line?;
        // A peer that panics over a model has failed on that model, not on the next.
        let answer = panic::catch_unwind(AssertUnwindSafe(|| server.answer(&line)))
            .unwrap_or_else(|payload| Err(anyhow!("panic: {}", panic_text(payload.as_ref()))))
            .unwrap_or_else(|error| Answer::Error { error: one_line(&error) });
        writeln!(replies, "{}", serde_json::to_string(&answer)?)?;
        replies.flush()?;
    }
    Ok(())
}

fn panic_text(payload: &(dyn std::any::Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("without words")
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let server = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(move || serve(options.threads))?;
    server.join().map_err(|_| anyhow!("the server panicked"))?
}
