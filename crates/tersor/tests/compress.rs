//! `tersor compress` as a user calls it: digits learned and pruned, every form written and run, mistakes explained.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tersor_data::testing::{Failure, Folder, Trials};
use tersor_data::{Array, Elements, npy};

type Result<T = ()> = std::result::Result<T, Failure>;

const DIGITS: [&str; 2] = ["tiny/mnist_10k_images_idx3.gz", "tiny/mnist_10k_labels_idx1.gz"];

fn main() {
    Trials::new()
        .test("bad_usage_exits_with_2", bad_usage)
        .test("what_cannot_be_read_is_named", broken)
        .needs(&DIGITS)
        .test("digits_are_pruned_twelve_times_and_every_form_answers_alike", digits)
        .test("channels_are_really_taken_out", channels)
        .test("a_network_is_judged_scanned_and_retrained_with_its_zeros_held", lessons)
        .test("curves_have_a_point_for_every_way_and_ratio", curve)
        .test("a_bench_times_a_network_and_says_why_peers_are_missing", bench)
        .needs(&["vision/common/cifar10_jpg_1000.zip"])
        .test("channels_go_by_the_scales_of_their_norms_in_multiples", norm_scales)
        .run()
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tersor"));
    command.arg("compress").args(arguments);
    command
}

fn done(output: &Output) -> Result<Value> {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn refused(code: i32, mut command: Command) -> Result<String> {
    let output = command.output()?;
    let said = String::from_utf8(output.stderr)?;
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(output.stdout.is_empty() && said.contains("error: "), "{said}");
    Ok(said)
}

fn bad_usage() -> Result {
    let refusals: [(&[&str], &str); 5] = [
        (&["prune", "lenet-5", "-o", "x.safetensors"], "give --data"),
        (&["prune", "x.onnx", "--sparsity", "1", "-o", "y.onnx"], "the sparsity is 1"),
        (&["prune", "x.onnx", "--ratio", "3", "--quality", "1", "-o", "y.onnx"], "cannot be used with"),
        (&["prune", "x.onnx", "--granularity", "3x3", "-o", "y.onnx"], "2:4"),
        (&["run", "x.onnx", "--input", "x.npy", "--out", "y.npy", "--kernel", "fast"], "dense, sparse and auto"),
    ];
    for (arguments, told) in refusals {
        let said = refused(2, command(arguments))?;
        assert!(said.contains(told), "{said}");
    }
    Ok(())
}

fn broken() -> Result {
    let folder = Folder::new()?;
    let text = |path: &Path| path.display().to_string();
    let out = text(&folder.at("out.safetensors"));
    let said = refused(1, command(&["prune", "/no/such.safetensors", "--ratio", "2", "-o", &out]))?;
    assert!(said.contains("/no/such.safetensors") && said.contains("lenet-300-100"), "{said}");
    for (name, content) in [("cut.onnx", "\u{8}\u{8}:"), ("cut.safetensors", "????????{"), ("empty.onnx", "")] {
        let file = text(&folder.with(name, content)?);
        let said = refused(1, command(&["inspect", &file]))?;
        assert!(said.contains(name), "{said}");
    }
    let said = refused(1, command(&["prune", "lenet-300-100", "--data", "/no/such", "-o", &out]))?;
    assert!(said.contains("/no/such") && said.contains("mnist-8k"), "{said}");
    let said = refused(1, command(&["eval", "lenet-5", "--data", "/tmp"]))?;
    assert!(said.contains("is not trained"), "{said}");
    Ok(())
}

fn digits() -> Result {
    let folder = Folder::new()?;
    let at = |name: &str| folder.at(name).display().to_string();
    let (sparse, masked, plan) = (at("sparse.safetensors"), at("masked.safetensors"), at("plan.json"));
    let report = done(
        &command(&["prune", "lenet-300-100", "--data", "mnist-8k", "--ratio", "12", "--json", "--remove-dead"])
            .args(["--dense-epochs", "4", "--epochs", "2", "--rounds", "3"])
            .args(["-o", &sparse, "--masked", &masked, "--plan", &plan, "--svg", &at("plan.svg")])
            .output()?,
    )?;
    let number = |key: &str| report[key].as_f64().unwrap_or(f64::NAN);
    assert!(number("ratio") >= 12.0 && number("weights") == 266_200.0, "{report}");
    assert!(number("dense_error") < 10.0 && number("error") <= number("dense_error") + 3.0, "{report}");
    assert!(number("dense_file_bytes") > 8.0 * number("file_bytes"), "{report}");

    let pixels = (0..3 * 784).map(|i| (i * 31 % 256) as f32 / 255.0).collect();
    let array = Array::new([3, 784], Elements::F32(pixels)).ok_or("an array")?;
    npy::write(at("x.npy"), &array)?;
    for (form, name) in [("dense", "d.safetensors"), ("sparse", "s.safetensors"), ("onnx", "o.onnx")] {
        done(&command(&["export", &sparse, "--form", form, "-o", &at(name), "--json"]).output()?)?;
    }
    let mut answers = Vec::new();
    let files = [sparse.clone(), masked.clone(), at("d.safetensors"), at("s.safetensors"), at("o.onnx")];
    for (file, kernel) in files.iter().flat_map(|file| ["dense", "sparse", "auto"].map(|kernel| (file, kernel))) {
        let out = at("y.npy");
        let run =
            command(&["run", file, "--input", &at("x.npy"), "--out", &out, "--kernel", kernel, "--json"]).output()?;
        assert_eq!(done(&run)?["images"], 3);
        let y = npy::read(&out)?;
        assert_eq!(y.shape(), [3, 10]);
        let Elements::F32(y) = y.elements().clone() else { return Err("not f32".into()) };
        answers.push(y);
    }
    for answer in &answers {
        let apart = answer.iter().zip(&answers[0]).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(apart < 1e-4, "{apart}");
    }
    let inspected = done(&command(&["inspect", &plan, "--diff", &masked, "--json"]).output()?)?;
    let diff = inspected["diff"].as_array().ok_or("no diff")?;
    assert!(diff.len() == 3 && diff.iter().all(|layer| layer["second"] == 0), "{inspected}");
    Ok(())
}

fn channels() -> Result {
    let folder = Folder::new()?;
    let at = |name: &str| folder.at(name).display().to_string();
    let (small, masked) = (at("small.onnx"), at("masked.safetensors"));
    let report = done(
        &command(&[
            "prune",
            "lenet-5",
            "--data",
            "mnist-8k",
            "--sparsity",
            "0.75",
            "--granularity",
            "channel",
            "--json",
        ])
        .args(["--dense-epochs", "1", "--epochs", "1", "--rounds", "1", "-o", &small, "--masked", &masked])
        .output()?,
    )?;
    assert!(report["ratio"].as_f64().is_some_and(|ratio| ratio >= 4.0), "{report}");
    let pixels = (0..2 * 784).map(|i| (i * 17 % 256) as f32 / 255.0).collect();
    npy::write(at("x.npy"), &Array::new([2, 1, 28, 28], Elements::F32(pixels)).ok_or("an array")?)?;
    let mut answers = Vec::new();
    for file in [&small, &masked] {
        done(&command(&["run", file, "--input", &at("x.npy"), "--out", &at("y.npy"), "--json"]).output()?)?;
        let Elements::F32(y) = npy::read(at("y.npy"))?.elements().clone() else { return Err("not f32".into()) };
        answers.push(y);
    }
    let apart = answers[0].iter().zip(&answers[1]).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(apart < 1e-4, "{apart}");
    Ok(())
}

/// Digits as pictures whose names say their class: of each class `count`, in `folder`.
fn pictures(folder: &Path, classes: usize, count: usize) -> Result {
    std::fs::create_dir_all(folder)?;
    for class in 0..classes {
        for index in 0..count {
            let pixel = |x: u32, y: u32| if (x as usize + index) / 3 % 10 == class { 255 } else { (y * 8) as u8 };
            let picture = image::GrayImage::from_fn(28, 28, |x, y| image::Luma([pixel(x, y)]));
            picture.save(folder.join(format!("{class}_{index}.png")))?;
        }
    }
    Ok(())
}

fn lessons() -> Result {
    let folder = Folder::new()?;
    let at = |name: &str| folder.at(name).display().to_string();
    let (pruned, tuned, scan) = (at("pruned.safetensors"), at("tuned.safetensors"), at("scan.json"));
    let report = done(
        &command(&["prune", "lenet-300-100", "--data", "mnist-8k", "--sparsity", "0.9", "--uniform", "--json"])
            .args(["--dense-epochs", "3", "--epochs", "0", "--rounds", "1", "-o", &pruned])
            .output()?,
    )?;
    let error = |report: &Value, key: &str| report[key].as_f64().unwrap_or(f64::NAN);
    let cut = error(&report, "error");
    let report = done(
        &command(&["finetune", &pruned, "--data", "mnist-8k", "--epochs", "2", "--json", "-o", &tuned]).output()?,
    )?;
    assert!((error(&report, "error_before") - cut).abs() < 0.2 && error(&report, "error") < cut, "{report}");
    let diff = done(&command(&["inspect", &pruned, "--diff", &tuned, "--json"]).output()?)?;
    let layers = diff["diff"].as_array().ok_or("no diff")?;
    assert!(layers.len() == 3 && layers.iter().all(|layer| layer["second"] == 0), "a zero has moved: {diff}");

    let sensitivities = done(
        &command(&["sensitivity", &tuned, "--data", "mnist-8k", "--densities", "0.5,0.05", "--json"])
            .args(["--svg", &at("scan.svg")])
            .output()?,
    )?;
    assert_eq!(sensitivities["layers"].as_array().map(Vec::len), Some(3), "{sensitivities}");
    assert!(std::fs::read_to_string(at("scan.svg"))?.contains("fc1.weight"));
    std::fs::write(&scan, serde_json::to_vec(&sensitivities)?)?;
    let smaller = at("smaller.safetensors");
    let report = done(
        &command(&["prune", &tuned, "--ratio", "15", "--sensitivity", &scan, "--json", "-o", &smaller]).output()?,
    )?;
    assert!(error(&report, "ratio") >= 15.0, "{report}");

    pictures(&folder.at("pictures"), 10, 2)?;
    let judged = done(&command(&["eval", &tuned, "--data", &at("pictures"), "--json"]).output()?)?;
    let wrong = judged["wrong"].as_array().ok_or("no wrong")?;
    assert!(judged["count"] == 20, "{judged}");
    assert!(judged["top1"].as_u64() == Some(20 - wrong.len() as u64), "{judged}");
    assert!(judged["top5"].as_u64() >= judged["top1"].as_u64(), "{judged}");
    Ok(())
}

fn curve() -> Result {
    let folder = Folder::new()?;
    let svg = folder.at("curve.svg").display().to_string();
    let curve = done(
        &command(&["curve", "lenet-300-100", "--data", "mnist-8k", "--ratios", "4,30", "--json", "--svg", &svg])
            .args(["--dense-epochs", "2", "--epochs", "1"])
            .output()?,
    )?;
    let points = curve["points"].as_array().ok_or("no points")?;
    assert_eq!(points.len(), 10, "{curve}");
    let of = |way: &str, ratio: f64| {
        let point = points.iter().find(|point| point["way"] == way && point["ratio"] == ratio);
        point.and_then(|point| point["error"].as_f64()).ok_or(format!("no {way} at {ratio}"))
    };
    assert!(of("l2-with-retraining", 30.0)? < of("l2-without-retraining", 30.0)?, "{curve}");
    assert!(of("l2-without-retraining", 4.0)? < of("l2-without-retraining", 30.0)?, "{curve}");
    assert!(std::fs::read_to_string(&svg)?.contains("L2, in rounds"));
    Ok(())
}

fn bench() -> Result {
    let report = done(
        &command(&["bench", "--only", "linear 300x784", "--rounds", "1", "--milliseconds", "1", "--json"])
            .args(["--python", "/no/such/python"])
            .output()?,
    )?;
    let rows = report["rows"].as_array().ok_or("no rows")?;
    assert!(rows.len() == 2 && report["missing"].as_str().is_some_and(|why| why.contains("python")), "{report}");
    for row in rows {
        let number = |key: &str| row[key].as_f64().unwrap_or(f64::NAN);
        assert!(number("dense_seconds") > 0.0 && number("auto_seconds") > 0.0, "{row}");
        assert!(number("break_even") > number("density") && number("break_even") < 1.0, "{row}");
    }
    Ok(())
}

fn norm_scales() -> Result {
    let folder = Folder::new()?;
    let at = |name: &str| folder.at(name).display().to_string();
    let (small, plan) = (at("small.safetensors"), at("plan.json"));
    let report = done(
        &command(&["prune", "resnet-8", "--data", "cifar-1k", "--sparsity", "0.5", "--granularity", "channel"])
            .args(["--by", "norm-scale", "--of", "multiply-adds", "--round-to", "4", "--json", "--plan", &plan])
            .args(["--dense-epochs", "1", "--epochs", "1", "--rounds", "1", "-o", &small])
            .output()?,
    )?;
    assert_eq!(report["kept"], report["written_weights"], "{report}");
    let inspected = done(&command(&["inspect", &plan, "--json"]).output()?)?;
    let groups = inspected["plan"]["channels"]["groups"].as_array().ok_or("no channels in the plan")?;
    let (mut all, mut gone) = (0, 0);
    for group in groups {
        let channels = group["channels"].as_u64().ok_or("no channels")?;
        let removed = group["removed"].as_array().ok_or("nothing removed")?.len() as u64;
        assert!((channels - removed).is_multiple_of(4), "{group}");
        (all, gone) = (all + channels, gone + removed);
    }
    assert!(gone > 0 && gone < all, "{inspected}");
    Ok(())
}
