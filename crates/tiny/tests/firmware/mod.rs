//! What the tests of firmware in C and in Rust share: networks, single operators, and a program's way to its verdict.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use tersor_data::testing::{self, Failure, Skip};
use tersor_data::{ElementType, npz};
use tersor_network::{Network, tflite};
use tersor_tiny::emit::{Target, emit, verify};
use tersor_tiny::network;
use tersor_tiny::plan::{self, InputMode, Plan, Search};

pub type Result<T = ()> = std::result::Result<T, Failure>;

/// A trained network that this machine has.
pub fn trained(name: &str) -> Result<Network> {
    Ok(network::read(testing::file(&format!("tiny/{name}.tflite"))?)?)
}

/// A wake word that is heard in a stream, downloaded if need be.
pub fn wake_word() -> Result<Network> {
    Ok(network::read(testing::fetched("okay-nabu")?)?)
}

/// mcunet_vww1, and the plan that fits.
pub fn vww1_within(sram: u64, input: InputMode) -> Result<(Network, Plan)> {
    let network = trained("mcunet_vww1_int8")?;
    let (plan, _) = plan::search(&network, Search { input, sram: Some(sram), ..Search::default() })?;
    assert!(plan.peak_bytes as u64 <= sram);
    Ok((network, plan))
}

/// Whether the environment variable `name` is set: `TERSOR_TEST_SHOW` prints what is found, `TERSOR_TEST_ALL_OPERATORS` and
/// `TERSOR_TEST_ALL_PLACES` leave nothing out.
pub fn asked(name: &str) -> bool {
    std::env::var_os(name).is_some()
}

/// A folder for a program: a temporary one, or, for whoever wants to look, one below that which `TERSOR_TEST_EMIT` names.
pub enum Folder {
    Temporary(tempfile::TempDir),
    Kept(PathBuf),
}

impl Folder {
    pub fn new(target: Target, name: &str) -> Result<Self> {
        let language = if target == Target::C { "c" } else { "rust" };
        Ok(match std::env::var_os("TERSOR_TEST_EMIT") {
            Some(kept) => Self::Kept(Path::new(&kept).join(format!("{language}-{name}"))),
            None => Self::Temporary(tempfile::tempdir()?),
        })
    }

    pub fn path(&self) -> &Path {
        match self {
            Self::Temporary(folder) => folder.path(),
            Self::Kept(folder) => folder,
        }
    }
}

/// Written, compiled and run at `places`, where it must give every bit in the plan's arena; skipped, and the reason named, if
/// one of the places cannot be had.
pub fn verified(network: &Network, plan: &Plan, target: Target, name: &str, places: &[&str]) -> Result {
    let emission = emit(network, plan, target)?;
    let folder = Folder::new(target, name)?;
    emission.write(folder.path())?;
    let runs = verify::verify(&emission, folder.path(), places)?;
    let mut missing = Vec::new();
    for run in &runs {
        if asked("TERSOR_TEST_SHOW") {
            println!("{name}: {run:?}");
        }
        if let Some(wrong) = &run.wrong {
            return Err(format!("{}: {wrong}", run.place).into());
        }
        missing.extend(run.missing.as_ref().map(|what| format!("{}: {what}", run.place)));
        if let Some(arena) = run.arena_bytes {
            assert_eq!(arena, plan.peak_bytes as u64, "{}", run.place);
        }
        if let (Some(code), Some(constants)) = (run.code_bytes, run.constant_bytes) {
            assert!(code + constants <= plan.flash_bytes + 24 * 1024, "{}: {code} + {constants}", run.place);
        }
    }
    if missing.is_empty() { Ok(()) } else { Err(Skip(missing.join("; ")).into()) }
}

/// Writes a program for each file of one operator (see `bench/peers/tiny_goldens.py`) to a folder of its key, and gives the
/// keys: `cases` of each operator, or all if asked.
pub fn single_operators(target: Target, cases: usize, folder: &Path) -> Result<Vec<String>> {
    let golden = npz::open(concat!(env!("CARGO_MANIFEST_DIR"), "/../network/tests/golden/operators.npz"))?;
    let index = golden.read("index_json")?;
    let index: Vec<serde_json::Value> = serde_json::from_slice(index.elements().as_u8().ok_or("no bytes")?)?;
    let cases = if asked("TERSOR_TEST_ALL_OPERATORS") { usize::MAX } else { cases };
    let mut tried = BTreeMap::<&str, usize>::new();
    let (mut keys, mut refused) = (Vec::new(), Vec::new());
    for case in &index {
        let (key, op) = (case["key"].as_str().ok_or("no key")?, case["op"].as_str().ok_or("no op")?);
        let model = golden.read(&format!("{key}_model"))?;
        let network = tflite::from_bytes(key, model.elements().as_u8().ok_or("the model is not bytes")?)?;
        let computes_floats = network.main().tensors.iter().any(|t| t.element_type() == Some(ElementType::F32));
        let count = tried.entry(op).or_default();
        if computes_floats || *count >= cases {
            continue;
        }
        // A network of which the caller does everything is no program.
        let Ok(plan) = plan::layers(&network, 4) else { continue };
        match emit(&network, &plan, target) {
            Ok(emission) => {
                emission.write(&folder.join(key))?;
                *count += 1;
                keys.push(key.to_string());
            }
            // Integers wider than 8 bits are refused, and named.
            Err(e) if e.to_string().contains("(QUANTIZE) computes int") => {}
            Err(e) => refused.push(format!("{case}: {e}")),
        }
    }
    println!("{} programs of {} operators", keys.len(), tried.values().filter(|&&n| n > 0).count());
    if refused.is_empty() { Ok(keys) } else { Err(refused.join("\n").into()) }
}

/// Runs a compiler, which must succeed without a warning; skipped if it is not there.
pub fn compile(folder: &Path, compiler: &str, arguments: &[&str]) -> Result {
    let output = Command::new(compiler).args(arguments).current_dir(folder).output();
    let output = output.map_err(|e| Skip(format!("{compiler}: {e}")))?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned().into()) }
}
