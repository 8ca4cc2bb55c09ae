//! `tersor train fit` as a user calls it: real digits learned, killed runs resumed, mistakes explained.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tersor_data::shared;
use tersor_data::testing::{Failure, Folder, Trials};

type Result<T = ()> = std::result::Result<T, Failure>;

const DIGITS: [&str; 2] = ["tiny/mnist_10k_images_idx3.gz", "tiny/mnist_10k_labels_idx1.gz"];
const SMALL_CIFAR: &str = "vision/common/cifar10_jpg_1000.zip";

fn main() {
    Trials::new()
        .test("bad_usage_exits_with_2", bad_usage)
        .test("what_cannot_be_read_or_written_is_named_before_work", broken)
        .test("bench_times_steps_and_says_which_peer_is_missing", bench)
        .needs(&DIGITS)
        .test("digits_are_learned_and_all_files_written", digits)
        .test("a_killed_run_resumes_to_the_same_bytes", killed)
        .needs(&[SMALL_CIFAR])
        .test("resnet20_reads_an_archive_of_pictures_by_class", archive)
        .run()
}

fn command(arguments: &[&str], more: &[&Path]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tersor"));
    command.args(["train", "fit"]).args(arguments).args(more);
    command
}

fn done(output: &Output) -> Result<String> {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout.clone())?)
}

fn refused(code: i32, mut command: Command) -> Result<String> {
    let output = command.output()?;
    let said = String::from_utf8(output.stderr)?;
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(output.stdout.is_empty() && said.starts_with("error: "), "{said}");
    Ok(said)
}

fn digit_file() -> Result<String> {
    Ok(shared::file(DIGITS[0]).ok_or("absent")?.display().to_string())
}

fn bad_usage() -> Result {
    let refusals: [(&[&str], &str); 5] = [
        (&["lenet6", "--data", "x"], "lenet5"),
        (&["lenet5", "--data", "x", "--schedule", "sine"], "cosine:0.05"),
        (&["lenet5", "--data", "x", "--lr", "0"], "the learning rate is 0"),
        (&["lenet5", "--data", "x", "--resume"], "--checkpoint"),
        (&["lenet5", "--data", "x", "--csv", "y", "--curve", "y"], "name another file"),
    ];
    for (arguments, told) in refusals {
        let said = refused(2, command(arguments, &[]))?;
        assert!(said.contains(told), "{said}");
    }
    Ok(())
}

fn broken() -> Result {
    let folder = Folder::new()?;
    let said = refused(1, command(&["lenet5", "--data", "/no/such/pictures"], &[]))?;
    assert!(said.contains("/no/such/pictures"), "{said}");
    let data = folder.with("digits.csv", "1,2,3\n")?;
    let said = refused(1, command(&["lenet5", "--data"], &[&data]))?;
    assert!(said.contains("digits.csv") && said.contains("1×28×28"), "{said}");
    let out = folder.at("none/weights.safetensors");
    let said = refused(1, command(&["lenet5", "--data"], &[&data, "-o".as_ref(), &out]))?;
    assert!(said.contains("there is no folder"), "{said}");
    Ok(())
}

fn bench() -> Result {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tersor"));
    command.args(["train", "bench", "--probe", "cnn", "--rounds", "1", "--milliseconds", "1", "--threads", "1"]);
    command.args(["--python", "/no/such/python", "--json"]);
    let told: Value = serde_json::from_str(&done(&command.output()?)?)?;
    assert!(told["missing"].as_str().is_some_and(|why| why.contains("/no/such/python")), "{told}");
    let rows = told["rows"].as_array().ok_or("no rows")?;
    assert_eq!(rows.iter().map(|row| &row["mode"]).collect::<Vec<_>>(), ["train", "infer"]);
    for row in rows {
        let time = |name: &str| row[name].as_f64().unwrap_or(f64::NAN);
        assert!((time("to_burn") - time("seconds") / time("burn_seconds")).abs() < 1e-9, "{row}");
        assert!(row["pytorch_seconds"].is_null() && row["to_pytorch"].is_null(), "{row}");
    }
    Ok(())
}

fn digits() -> Result {
    let (folder, data) = (Folder::new()?, digit_file()?);
    let arguments = ["lenet5", "--data", &data, "--epochs", "2", "--json", "--threads", "2", "--hold", "0.2"];
    let [out, csv, curve] = ["digits.safetensors", "digits.csv", "digits.svg"].map(|name| folder.at(name));
    let files: [&Path; 6] = ["-o".as_ref(), &out, "--csv".as_ref(), &csv, "--curve".as_ref(), &curve];
    let printed = done(&command(&arguments, &files).output()?)?;
    let lines = printed.lines().map(serde_json::from_str::<Value>).collect::<std::result::Result<Vec<_>, _>>()?;
    assert_eq!(lines.len(), 3, "a line an epoch, and what it came to:\n{printed}");
    assert_eq!((&lines[0]["epoch"], &lines[1]["step"]), (&0.into(), &250.into()));
    let right = lines[2]["best"]["validation"]["accuracy"].as_f64().ok_or("accuracy")?;
    assert!(right > 0.94, "{right}");
    assert_eq!(lines[2]["parameters"], 61_706);
    assert_eq!(fs::read_to_string(csv)?.lines().count(), 3);
    assert!(fs::read_to_string(curve)?.contains("lenet5 on mnist_10k"));
    assert!(fs::read(out)?.len() > 4 * 61_706);
    Ok(())
}

/// A run over few digits, long enough to be killed.
fn short(folder: &Folder, out: &Path) -> Result<Child> {
    let (data, kept) = (digit_file()?, folder.at("kept"));
    let arguments = ["lenet5", "--data", &data, "--hold", "0.8", "--epochs", "3", "--seed", "4", "--threads", "1"];
    let more = ["--augment", "flip", "--schedule", "cosine:0.1", "--every-steps", "5", "--resume", "--quiet"];
    let files: [&Path; 4] = ["--checkpoint".as_ref(), &kept, "-o".as_ref(), out];
    let mut command = command(&arguments, &[]);
    Ok(command.args(more).args(files).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?)
}

/// The files of a folder and when they were written; nothing if it is not there.
fn listed(folder: &Path) -> Vec<(std::ffi::OsString, Option<std::time::SystemTime>)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<_> =
        entries.map(|entry| (entry.file_name(), entry.metadata().and_then(|data| data.modified()).ok())).collect();
    files.sort();
    files
}

fn killed() -> Result {
    let (alone, often) = (Folder::new()?, Folder::new()?);
    let whole = alone.at("whole.safetensors");
    done(&short(&alone, &whole)?.wait_with_output()?)?;
    let (parts, kept, mut kills) = (often.at("parts.safetensors"), often.at("kept"), 0);
    for milliseconds in [0, 7, 3, 11] {
        let mut run = short(&often, &parts)?;
        // Somewhere after its second checkpoint, however fast it is.
        let (mut seen, mut changes) = (listed(&kept), 0);
        while changes < 2 && run.try_wait()?.is_none() {
            std::thread::sleep(Duration::from_millis(1));
            let now = listed(&kept);
            changes += u32::from(now != seen);
            seen = now;
        }
        std::thread::sleep(Duration::from_millis(milliseconds));
        run.kill()?; // SIGKILL on Unix
        kills += u32::from(!run.wait()?.success());
    }
    done(&short(&often, &parts)?.wait_with_output()?)?;
    assert!(kills >= 2, "it was over after {kills} kills");
    assert!(fs::read(whole)? == fs::read(parts)?, "other weights after {kills} kills");

    // Another recipe is refused, and so is a new run in the same place.
    let (data, kept) = (digit_file()?, often.at("kept"));
    let again = |more: &[&str]| {
        let mut command = command(&["lenet5", "--data", &data, "--hold", "0.8", "--checkpoint"], &[&kept]);
        command.args(more);
        refused(1, command)
    };
    let said = again(&["--resume", "--epochs", "3", "--seed", "4", "--batch", "32", "--quiet"])?;
    assert!(said.contains("about.batch: 64 there, 32 here") && said.contains("fit.schedule"), "{said}");
    let said = again(&["--epochs", "3"])?;
    assert!(said.contains("--resume"), "{said}");
    Ok(())
}

fn archive() -> Result {
    let data = shared::file(SMALL_CIFAR).ok_or("absent")?.display().to_string();
    let arguments = ["resnet20", "--data", &data, "--hold", "0.9", "--epochs", "1", "--batch", "50"];
    let printed = done(&command(&arguments, &[]).output()?)?;
    for told in ["resnet20, 272,474 parameters", "100 pictures of 10 classes, validated with 900", "2 steps"] {
        assert!(printed.contains(told), "{printed}");
    }
    Ok(())
}
