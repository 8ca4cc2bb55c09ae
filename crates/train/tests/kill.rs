//! A run that is killed with SIGKILL, again and again, ends with the bits of one that was left alone.
//!
//! The process that dies is this test itself, started anew with a task in its environment.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use burn::tensor::Device;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use tersor_data::Examples;
use tersor_data::testing::{Failure, Folder as Scratch, Trials};
use tersor_train::augment::Augment;
use tersor_train::checkpoint::{Every, Folder};
use tersor_train::fit::{Data, Fit};
use tersor_train::init::Initial;
use tersor_train::loader::{Normalisation, Pictures, Settings};
use tersor_train::model::{Classification, LeNet5};
use tersor_train::optimizer::Choice;
use tersor_train::schedule::Schedule;
use tersor_train::weights;

type Result<T = ()> = std::result::Result<T, Failure>;

/// The folder in which the process that may be killed works.
const TASK: &str = "TERSOR_TRAIN_KILL_TEST";

fn main() {
    if let Some(folder) = std::env::var_os(TASK) {
        return train(Path::new(&folder)).expect("the run works");
    }
    Trials::new().test("a_killed_run_ends_with_the_bits_of_one_left_alone", killed).run()
}

/// Trains in `folder` from wherever its last checkpoint is; at the end `weights.safetensors` lies there.
fn train(folder: &Path) -> Result {
    let side = 28 * 28_usize;
    let pixels = (0..90 * side).map(|i| (((i * 2_654_435_761) >> 11) ^ (i / side * 31)) as u8).collect();
    let names = ["a", "b", "c"].map(str::to_owned).to_vec();
    let examples = Examples::new([1, 28, 28], pixels, (0..90).map(|i| i % 3).collect(), names).ok_or("examples")?;
    let (examples, all) = (Arc::new(examples), Vec::from_iter(0..90));
    let settings = Settings { drop_last: false, ..Settings::training(8, 5) };
    let normalisation = Normalisation::of(&examples, &all);
    let augment = Augment { flip: true, padding: 2, ..Augment::default() };
    let train = Pictures::new(examples.clone(), all.clone(), settings, augment, normalisation.clone())?;
    let validation = Some(Arc::new(Pictures::measuring(examples, all, 32, normalisation)?));
    let data = Data { train: Arc::new(train), validation, threads: 1 };

    let fit = Fit {
        epochs: 6,
        rate: 2e-3,
        schedule: Schedule::Cosine { warm_up: 0.1 },
        optimizer: Choice::adamw(1e-2),
        clip: Some(1.0),
        seed: 9,
        ..Fit::default()
    };
    let keep = Folder::resume(folder.join("checkpoints"), Every { steps: Some(2), seconds: None }, json!("killed"))?;
    let network = LeNet5::new(3, &mut Initial::new(9, &Device::flex()));
    let trained = fit.run(&Classification::new(), network, &data, Some(&keep), &mut ())?;
    weights::write(&folder.join("best.safetensors"), trained.best.as_ref().ok_or("there is validation")?, "")?;
    // Its existence says that the run is over.
    Ok(weights::write(&folder.join("weights.safetensors"), &trained.last, "")?)
}

fn start(folder: &Path) -> Result<Child> {
    Ok(Command::new(std::env::current_exe()?).env(TASK, folder).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?)
}

fn killed() -> Result {
    let alone = Scratch::new()?;
    let began = Instant::now();
    let output = start(&alone.at(""))?.wait_with_output()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // What else the machine does changes how long a run takes: if one is over after few kills, they come faster in another.
    let mut whole = began.elapsed();
    for _ in 0..8 {
        let often = Scratch::new()?;
        let kills = kill_until_over(&often.at(""), whole)?;
        for name in ["weights.safetensors", "best.safetensors"] {
            let same = std::fs::read(alone.at(name))? == std::fs::read(often.at(name))?;
            assert!(same, "{name} differs after {kills} kills");
        }
        println!("{kills} kills");
        if kills >= 5 {
            return Ok(());
        }
        whole /= 2;
    }
    Err("every run was over after less than 5 kills".into())
}

/// Runs in `folder` to the end, killed again and again; `whole` is how long a run takes. How often it was killed.
fn kill_until_over(folder: &Path, whole: Duration) -> Result<u32> {
    let mut draws = ChaCha8Rng::seed_from_u64(3);
    let mut kills = 0;
    while !folder.join("weights.safetensors").exists() {
        let mut run = start(folder)?;
        // Up to thirty kills anywhere, the beginning and the write of a checkpoint among them; then it may end.
        if kills < 30 {
            std::thread::sleep(Duration::from_secs_f64(whole.as_secs_f64() * draws.random_range(0.02..0.3)));
            run.kill()?; // SIGKILL on Unix
            kills += u32::from(!run.wait()?.success());
        }
        let output = run.wait_with_output()?;
        assert!(
            output.status.success() || output.status.code().is_none(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(kills)
}
