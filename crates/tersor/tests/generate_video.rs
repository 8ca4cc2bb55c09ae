//! `tersor generate sample`, `extend` and `compare --model` as a user calls them, on the small video transformer.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tersor_data::testing::{Failure, Folder, Trials, file};
use tersor_data::{Picture, npy, npz};

type Result<T = ()> = std::result::Result<T, Failure>;

const MODEL: &str = "generation/vdit.safetensors";
const CLIPS: &str = "generation/vdit_val_clips.npz";
const CARPHONE: &str = "generation/carphone_pristine.mp4";

fn main() {
    Trials::new()
        .needs(&[MODEL])
        .test("a_clip_is_sampled_written_and_compared_with_dense_attention", sampled)
        .test("clusters_are_logged_call_by_call", logged)
        .test("what_cannot_be_sampled_is_refused_by_name", refused)
        .needs(&[MODEL, CLIPS])
        .test("a_given_clip_is_made_anew", anew)
        .test("adapters_are_learned_resumed_used_and_merged", extended)
        .test("methods_are_compared_over_layers_and_times", compared)
        .needs(&[MODEL, CARPHONE])
        .test("a_video_is_learned_from_and_a_clip_becomes_one", videos)
        .run()
}

/// Runs the words of `line`, in which `@name` is a file of `folder` and `%name` one of the shared files.
fn tersor(folder: &Folder, line: &str) -> Result<Output> {
    let word = |word: &str| -> Result<PathBuf> {
        match (word.strip_prefix('@'), word.strip_prefix('%')) {
            (Some(name), _) => Ok(folder.at(name)),
            (_, Some(name)) => file(name),
            _ => Ok(word.into()),
        }
    };
    let words = line.split_whitespace().map(word).collect::<Result<Vec<_>>>()?;
    Ok(Command::new(env!("CARGO_BIN_EXE_tersor")).arg("generate").args(words).output()?)
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The JSON that a command prints, which must succeed.
fn json(folder: &Folder, line: &str) -> Result<Value> {
    let output = tersor(folder, &format!("{line} --json"))?;
    assert!(output.status.success(), "{line}: {}", told(&output));
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn number(of: &Value, field: &str) -> Result<f64> {
    Ok(of[field].as_f64().ok_or_else(|| format!("{field} of {of} is no number"))?)
}

/// Whether `line` is refused with that exit code and those words.
fn refuse(folder: &Folder, line: &str, code: i32, words: &str) -> Result {
    let output = tersor(folder, line)?;
    let said = told(&output);
    assert!(output.status.code() == Some(code) && said.contains(words), "{line}: {:?}, {said}", output.status.code());
    Ok(())
}

const SHORT: &str = "sample --model %generation/vdit.safetensors --frames 8 --steps 3";

fn sampled() -> Result {
    let folder = Folder::new()?;
    let report = json(&folder, &format!("{SHORT} --dense-steps 1 --compare -o @clip.png"))?;
    let plan = json(&folder, "mask --frames 8 --tokens-per-frame 256 --block 64")?;
    let density = number(&plan, "token_density")?;
    assert!((number(&report, "sparse_density")? - density).abs() < 1e-9);
    // One step of three is dense, and one layer of six in the others.
    let run = 1.0 / 3.0 + 2.0 / 3.0 * (1.0 / 6.0 + 5.0 / 6.0 * density);
    assert!((number(&report, "density")? - run).abs() < 1e-9);
    assert!((number(&report, "predicted_speed_up")? - 1.0 / run).abs() < 1e-9);
    let beside = &report["dense"];
    assert!(number(beside, "psnr")? > 15.0 && number(beside, "ssim")? > 0.5, "{beside}");
    let strip = Picture::read(folder.at("clip.png"))?;
    assert_eq!((strip.width(), strip.height()), (8 * 64, 64));
    // Sampled again, the same bytes; as arrays the same pictures.
    json(&folder, &format!("{SHORT} --dense-steps 1 --threads 1 -o @again.png"))?;
    assert!(std::fs::read(folder.at("clip.png"))? == std::fs::read(folder.at("again.png"))?);
    json(&folder, &format!("{SHORT} --dense-steps 1 -o @clip.npy"))?;
    let frames = npy::read(folder.at("clip.npy"))?;
    assert_eq!(frames.shape(), [8, 64, 64, 3]);
    assert_eq!(frames.elements().as_u8().ok_or("bytes")?[..3 * 64], strip.rgb()[..3 * 64]);
    // A preset gives what is not given: 12 of 50 steps are 1 of 3, and 1 layer.
    let preset = json(&folder, &format!("{SHORT} --preset wan2.1 -o @preset.png"))?;
    assert_eq!((number(&preset, "dense_steps")?, number(&preset, "dense_layers")?), (1.0, 1.0));
    assert!(number(&preset, "sparse_density")? < density, "decay 0.2");
    let table = tersor(&folder, &format!("{SHORT} --attention dense -o @dense.png"))?;
    let text = String::from_utf8(table.stdout)?;
    assert!(text.contains("8 frames, 2,048 tokens, in 3 steps") && text.contains("100.0 % of all pairs"), "{text}");
    Ok(())
}

fn logged() -> Result {
    let folder = Folder::new()?;
    let line =
        format!("{SHORT} --attention svg2 --dense-steps 1 --cq 8 --ck 27 --top-p 0.5 -o @a.png --log @log.jsonl");
    let report = json(&folder, &line)?;
    assert!(number(&report, "clustering_seconds")? > 0.0);
    let log = std::fs::read_to_string(folder.at("log.jsonl"))?;
    let calls = log.lines().map(serde_json::from_str).collect::<std::result::Result<Vec<Value>, _>>()?;
    assert_eq!(calls.len(), 3 * 6);
    let mut sum = 0.0;
    for (at, call) in calls.iter().enumerate() {
        assert_eq!((number(call, "step")?, number(call, "layer")?), ((at / 6) as f64, (at % 6) as f64));
        let heads = call["density"].as_array().ok_or("heads")?;
        assert_eq!(heads.len(), 2);
        let density = number(call, "avg_density")?;
        assert_eq!(density == 1.0, at / 6 < 1 || at % 6 < 1, "{call}");
        sum += density;
    }
    assert!((number(&report, "density")? - sum / 18.0).abs() < 1e-9);
    assert_eq!(number(&calls[0], "timestep")?, 1_000.0);
    let svg1 = json(&folder, &format!("{SHORT} --attention svg1 --band 1 -o @b.png"))?;
    assert!(number(&svg1, "sparse_density")? < 0.5);
    Ok(())
}

fn anew() -> Result {
    let folder = Folder::new()?;
    let line = format!("{SHORT} --attention dense --from %{CLIPS} --strength 0.3 -o @clip.npy");
    json(&folder, &line)?;
    let made = npy::read(folder.at("clip.npy"))?;
    let given = npz::open(file(CLIPS)?)?.read("clips")?;
    let (made, given) = (made.elements().as_u8().ok_or("bytes")?, given.elements().as_u8().ok_or("bytes")?);
    // `[frames, height, width, 3]` beside `[frames, 3, height, width]`: little noise, so little is new.
    let plane = 64 * 64;
    let square = |at: usize| {
        let (frame, pixel, colour) = (at / 3 / plane, at / 3 % plane, at % 3);
        f64::from(made[at].abs_diff(given[(frame * 3 + colour) * plane + pixel])).powi(2)
    };
    let rmse = ((0..made.len()).map(square).sum::<f64>() / made.len() as f64).sqrt();
    assert!(rmse > 1.0 && rmse < 40.0, "{rmse}");
    Ok(())
}

const LEARN: &str = "extend --model %generation/vdit.safetensors --clips %generation/vdit_val_clips.npz --frames 6 --rank 4 \
                     --steps 2";

fn extended() -> Result {
    let folder = Folder::new()?;
    let line =
        format!("{LEARN} --checkpoint @run --curve @curve.svg --merged @merged.safetensors -o @lora.safetensors");
    let report = json(&folder, &line)?;
    assert_eq!(number(&report, "steps")?, 2.0);
    let (before, after) = (number(&report, "loss_before")?, number(&report, "loss_after")?);
    assert!(before > 0.05 && (after / before - 1.0).abs() < 0.2, "{before}, {after}");
    assert!(number(&report, "density")? < 1.0 && number(&report, "attention_seconds")? > 0.0);
    assert!(std::fs::read_to_string(folder.at("curve.svg"))?.contains("</svg>"));
    // Again from its last checkpoint: the same adapters.
    json(&folder, &format!("{LEARN} --checkpoint @run -o @again.safetensors"))?;
    assert!(std::fs::read(folder.at("lora.safetensors"))? == std::fs::read(folder.at("again.safetensors"))?);
    // Beside the model and in its weights they sample alike.
    json(&folder, &format!("{SHORT} --lora @lora.safetensors -o @beside.npy"))?;
    json(&folder, "sample --model @merged.safetensors --frames 8 --steps 3 -o @inside.npy")?;
    let bytes =
        |name: &str| -> Result<Vec<u8>> { Ok(npy::read(folder.at(name))?.elements().as_u8().ok_or("bytes")?.to_vec()) };
    let (beside, inside) = (bytes("beside.npy")?, bytes("inside.npy")?);
    assert!(beside.iter().zip(&inside).all(|(a, b)| a.abs_diff(*b) <= 1));
    // Another recipe does not go on from there.
    refuse(&folder, &format!("{LEARN} --seed 9 --checkpoint @run -o @x.safetensors"), 1, "seed")?;
    refuse(&folder, &format!("{LEARN} --targets q,x -o @x.safetensors"), 2, "target is x")?;
    refuse(&folder, &format!("{LEARN} --rank 0 -o @x.safetensors"), 2, "rank")?;
    refuse(&folder, &format!("{LEARN} --attention svg2 -o @x.safetensors"), 2, "attention")?;
    refuse(&folder, &format!("extend --model %{MODEL} --clips %{CLIPS} --frames 16 -o @x.safetensors"), 1, "frames")?;
    assert!(!Path::new(&folder.at("x.safetensors")).exists());
    Ok(())
}

fn compared() -> Result {
    let folder = Folder::new()?;
    let line = format!("compare --model %{MODEL} --clip %{CLIPS} --frames 8 --sigmas 0.6 --densities 0.3 --svg @q.svg");
    let report = json(&folder, &line)?;
    assert_eq!((number(&report, "heads")?, number(&report, "tokens")?), (12.0, 2_048.0));
    let curves = report["curves"].as_array().ok_or("curves")?;
    let of = |name: &str| -> Result<Value> {
        let curve = curves.iter().find(|curve| curve["name"] == name).ok_or(name)?;
        Ok(curve["points"][0].clone())
    };
    let (clusters, random) = (of("clusters")?, of("random blocks")?);
    assert!(number(&clusters, "error")? < number(&random, "error")?, "{clusters} {random}");
    assert!(number(&clusters, "recall")? > number(&random, "recall")?);
    assert!(std::fs::read_to_string(folder.at("q.svg"))?.contains("</svg>"));
    refuse(&folder, &format!("compare --model %{MODEL} --clip %{CLIPS} --sigmas 2"), 2, "sigmas")?;
    refuse(&folder, &format!("compare --model %{MODEL}"), 2, "--clip")
}

fn videos() -> Result {
    let folder = Folder::new()?;
    if Command::new("ffmpeg").arg("-version").output().is_err() {
        return Err(tersor_data::testing::Skip("ffmpeg is not installed".into()).into());
    }
    let learn =
        format!("extend --model %{MODEL} --clips %{CARPHONE} --frames 4 --rank 2 --steps 1 -o @lora.safetensors");
    let report = json(&folder, &learn)?;
    assert_eq!(number(&report, "videos")?, 1.0);
    json(&folder, &format!("{SHORT} -o @clip.mp4"))?;
    assert_eq!(tersor_data::video::size(folder.at("clip.mp4"))?, [64, 64]);
    Ok(())
}

fn refused() -> Result {
    let folder = Folder::new()?;
    refuse(&folder, &format!("{SHORT} -o @clip.gif"), 2, ".mp4")?;
    refuse(&folder, &format!("{SHORT} --preset nobody -o @a.png"), 2, "wan2.1")?;
    refuse(&folder, &format!("{SHORT} --decay nan -o @a.png"), 2, "decay")?;
    refuse(&folder, &format!("{SHORT} --shift 0 -o @a.png"), 2, "shift")?;
    refuse(&folder, &format!("{SHORT} --attention svg2 --top-p 2 -o @a.png"), 2, "top_p")?;
    refuse(&folder, &format!("{SHORT} --strength 0.5 -o @a.png"), 2, "--from")?;
    folder.with("text.safetensors", "no tensors at all")?;
    refuse(&folder, "sample --model @text.safetensors -o @a.png", 1, "text.safetensors")?;
    refuse(&folder, "sample --model @absent.safetensors -o @a.png", 1, "absent.safetensors")?;
    refuse(&folder, &format!("{SHORT} --lora %{MODEL} -o @a.png"), 1, "vdit.safetensors")?;
    assert!(!folder.at("a.png").exists());
    Ok(())
}
