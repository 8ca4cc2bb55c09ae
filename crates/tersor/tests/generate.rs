//! `tersor generate` as a user calls it: what the verbs print, write and exit with.

use std::process::{Command, Output};

use serde_json::{Value, json};
use tersor_data::testing::{Failure, Folder, Trials};
use tersor_data::{Array, Elements, npy, npz, picture::Picture, shared};

type Result<T = ()> = std::result::Result<T, Failure>;

fn main() {
    Trials::new()
        .test("masks_have_the_published_counts", counts)
        .test("a_mask_is_written_as_a_grid_and_as_a_plan", written)
        .test("an_exact_mask_is_token_by_token", exact)
        .test("any_resolution_is_planned", unaligned)
        .test("decay_is_measured_from_arrays", analyzed)
        .test("bad_usage_exits_with_2_and_bad_files_with_1", refusals)
        .test("attention_takes_any_shapes_and_names_what_does_not_fit", attention_shapes)
        .test("a_bench_times_attention_and_says_why_peers_are_missing", bench)
        .test("clusters_are_found_planned_saved_and_read_again", clustered)
        .test("flags_and_files_of_clusters_are_refused_by_name", cluster_refusals)
        .needs(&[MAPS])
        .test("a_map_is_the_published_one", map)
        .needs(&[KMEANS])
        .test("k_means_is_the_published_one", kmeans)
        .needs(&[CAPTURED])
        .test("a_real_head_is_attended_by_clusters_and_painted", semantic)
        .test("methods_are_compared_on_a_real_head", compared)
        .test("a_real_head_is_attended_densely_and_by_masks", attended)
        .test("a_real_head_is_analysed_from_an_npz", real)
        .run()
}

const CAPTURED: &str = "generation/vdit_qkv_layer1_head0.npz";
const MAPS: &str = "generation/svg2_map_reference.npz";
const KMEANS: &str = "generation/kmeans_reference.npz";

/// Runs the words of `line`, in which `@name` is a file of `folder`.
fn tersor(folder: &Folder, line: &str) -> Result<Output> {
    let word = |word: &str| word.strip_prefix('@').map_or_else(|| word.into(), |name| folder.at(name));
    let words = line.split_whitespace().map(word);
    Ok(Command::new(env!("CARGO_BIN_EXE_tersor")).arg("generate").args(words).output()?)
}

/// The JSON that a command prints, which must succeed.
fn json(folder: &Folder, line: &str) -> Result<Value> {
    let output = tersor(folder, &format!("{line} --json"))?;
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn number(of: &Value) -> Result<f64> {
    Ok(of.as_f64().ok_or_else(|| format!("{of} is no number"))?)
}

fn counts() -> Result {
    let folder = Folder::new()?;
    for (line, blocks, active, density) in [
        ("--frames 8 --tokens-per-frame 256 --block 64", 32, 828, 0.8086),
        ("--frames 8 --tokens-per-frame 256 --block 64 --family hunyuan", 32, 780, 0.7617),
        ("--frames 16 --tokens-per-frame 256 --text 256 --block 64 --decay 0.95 --family hunyuan", 68, 2_700, 0.5839),
        ("--frames 18 --tokens-per-frame 3840 --decay 0.2 --family wan", 540, 83_728, 0.2871),
        (
            "--frames 30 --tokens-per-frame 3840 --text 256 --block 128 --decay 0.95 --family hunyuan",
            902,
            226_056,
            0.2778,
        ),
    ] {
        let mask = json(&folder, &format!("mask {line}"))?;
        assert_eq!((&mask["blocks"], &mask["active"]), (&json!(blocks), &json!(active)), "{line}");
        assert!((number(&mask["density"])? - density).abs() < 5e-5, "{line}: {}", mask["density"]);
    }
    let table = tersor(&folder, "mask --frames 18 --tokens-per-frame 3840 --decay 0.2")?;
    let table = String::from_utf8(table.stdout)?;
    for told in ["69,120", "540 x 540, 83,728 are read (28.71 %)", "3.48 at most", "planned in"] {
        assert!(table.contains(told), "{table}");
    }
    Ok(())
}

fn written() -> Result {
    let folder = Folder::new()?;
    let line = "mask --frames 9 --tokens-per-frame 170 --text 40 --block 128x64 --decay 0.3";
    let mask = json(&folder, &format!("{line} --out @m.npy --svg @m.svg"))?;
    assert_eq!((&mask["blocks"], &mask["key_blocks"], &mask["block"]), (&json!(13), &json!(25), &json!("128x64")));
    let grid = npy::read(folder.at("m.npy"))?;
    assert_eq!(grid.shape(), [13, 25]);
    let grid = grid.elements().as_bool().ok_or("not booleans")?.to_vec();
    assert_eq!(json!(grid.iter().filter(|read| **read).count()), mask["active"]);
    assert!(std::fs::read_to_string(folder.at("m.svg"))?.starts_with("<svg"));
    json(&folder, &format!("{line} --out @m.json --svg @m.png"))?;
    let plan: Value = serde_json::from_slice(&std::fs::read(folder.at("m.json"))?)?;
    assert_eq!((&plan["query_block"], &plan["key_block"], &plan["queries"]), (&json!(128), &json!(64), &json!(1_570)));
    assert_eq!(plan["columns"].as_array().map(Vec::len), mask["active"].as_u64().map(|active| active as usize));
    let picture = Picture::read(folder.at("m.png"))?;
    assert_eq!((picture.width(), picture.height()), (25, 13));
    let read = picture.rgb().chunks_exact(3).map(|pixel| pixel != [255; 3]).collect::<Vec<_>>();
    assert!(read == grid, "the picture shows another mask");
    Ok(())
}

fn exact() -> Result {
    let folder = Folder::new()?;
    let mask =
        json(&folder, "mask --frames 4 --tokens-per-frame 6 --family hunyuan --exact --out @e.npy --svg @e.svg")?;
    assert_eq!((&mask["blocks"], &mask["exact"]), (&json!(24), &json!(true)));
    let grid = npy::read(folder.at("e.npy"))?;
    assert_eq!(grid.shape(), [24, 24]);
    let grid = grid.elements().as_bool().ok_or("not booleans")?;
    // Distances 0 and 1 read all, 2 and 3 positions less than 6 / 2 apart.
    let reads = |query: usize, key: usize| match (query / 6).abs_diff(key / 6) {
        0 | 1 => true,
        _ => (query % 6).abs_diff(key % 6) < 3,
    };
    assert!((0..24 * 24).all(|pair| grid[pair] == reads(pair / 24, pair % 24)));
    assert_eq!(json!(grid.iter().filter(|read| **read).count()), mask["active"]);
    let told = tersor(&folder, "mask --frames 4 --tokens-per-frame 6 --exact --text 9 --decay 0.5 --out @t.npy")?;
    assert!(String::from_utf8_lossy(&told.stderr).contains("--text, --decay not used"), "{told:?}");
    assert_eq!(npy::read(folder.at("t.npy"))?.shape(), [24, 24]);
    let refused = tersor(&folder, "mask --frames 2 --tokens-per-frame 16385 --exact")?;
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("at most 32768"));
    Ok(())
}

fn unaligned() -> Result {
    let folder = Folder::new()?;
    for (f, s) in [(21, 1_560), (21, 3_600), (13, 1_350), (1, 997), (5, 1)] {
        let mask = json(&folder, &format!("mask --frames {f} --tokens-per-frame {s} --decay 0.2 --out @m.npy"))?;
        let blocks = mask["blocks"].as_u64().ok_or("no blocks")? as usize;
        let grid = npy::read(folder.at("m.npy"))?;
        assert_eq!(grid.shape(), [blocks, blocks]);
        let grid = grid.elements().as_bool().ok_or("not booleans")?;
        assert!((0..blocks).all(|block| grid[block * (blocks + 1)]), "{f} frames of {s}");
    }
    Ok(())
}

fn analyzed() -> Result {
    let folder = Folder::new()?;
    // Two heads: in one each token attends to all alike, in the other to its own frame alone.
    let (frames, s, dim) = (4, 6, 4);
    let element = |index: usize| match index / (frames * s * dim) {
        0 => 0.0f32,
        _ if index % dim == index / dim % (frames * s) / s => 5.0,
        _ => 0.0,
    };
    let elements: Vec<f32> = (0..2 * frames * s * dim).map(element).collect();
    let array = Array::new([2, frames * s, dim], Elements::from(elements.clone())).ok_or("the shape fits")?;
    npy::write(folder.at("q.npy"), &array)?;
    let wide = elements.iter().map(|&element| f64::from(element)).collect::<Vec<_>>();
    npy::write(folder.at("k.npy"), &Array::new([1, 2, frames * s, dim], wide.into()).ok_or("the shape fits")?)?;
    let line = "analyze --q @q.npy --k @k.npy --frames 4 --grid 2x3 --block 32 --svg @d.svg";
    let found = json(&folder, line)?;
    assert_eq!((&found["heads"], &found["rows"], &found["mask"]["blocks"]), (&json!(2), &json!(24), &json!(1)));
    let weight = |distance: usize| number(&found["temporal"][distance]["weight"]);
    assert!((weight(0)? - (1.0 / 24.0 + 1.0 / 6.0) / 2.0).abs() < 1e-5);
    assert!((weight(3)? - 1.0 / 48.0).abs() < 1e-5);
    assert!(number(&found["per_head"][0]["alpha"])?.abs() < 1e-6 && number(&found["per_head"][1]["alpha"])? > 1.0);
    assert!((number(&found["recall"])? - 1.0).abs() < 1e-6, "one block keeps all");
    assert!(std::fs::read_to_string(folder.at("d.svg"))?.contains("R²"));
    let exact = json(&folder, &format!("{line} --exact --family hunyuan"))?;
    let uniform = number(&exact["per_head"][0]["recall"])?;
    assert!((uniform - number(&exact["mask"]["density"])?).abs() < 1e-6, "equal weights are kept as pairs are");
    assert!((number(&exact["per_head"][1]["recall"])? - 1.0).abs() < 1e-4);
    let table = String::from_utf8(tersor(&folder, line)?.stdout)?;
    for told in ["head", "recall", "all", "24 of 24 queries"] {
        assert!(table.contains(told), "{table}");
    }
    Ok(())
}

fn real() -> Result {
    let folder = Folder::new()?;
    let file = shared::file(CAPTURED).ok_or("it was here")?.display().to_string();
    let found =
        json(&folder, &format!("analyze --q {file} --k {file} --frames 16 --grid 16x16 --block 64 --rows 256"))?;
    let (beta, recall) = (number(&found["beta"])?, number(&found["recall"])?);
    assert!(found["alpha"].is_f64() && beta > 0.1 && recall > number(&found["mask"]["token_density"])?, "{found}");
    let again = json(
        &folder,
        &format!("analyze --q {file} --k {file} --frames 16 --grid 16x16 --block 64 --rows 256 --threads 1"),
    )?;
    assert_eq!((&found["temporal"], &found["recall"]), (&again["temporal"], &again["recall"]));
    Ok(())
}

fn refusals() -> Result {
    let folder = Folder::new()?;
    folder.with("noise.npy", "no array")?;
    let array = |shape: &[usize], element: f32| {
        Array::new(shape, vec![element; shape.iter().product()].into()).ok_or("the shape fits")
    };
    npy::write(folder.at("x.npy"), &array(&[24, 4], 1.0)?)?;
    npy::write(folder.at("y.npy"), &array(&[24, 8], 1.0)?)?;
    npy::write(folder.at("nan.npy"), &array(&[24, 4], f32::NAN)?)?;
    npy::write(folder.at("flat.npy"), &array(&[24], 1.0)?)?;
    npy::write(folder.at("empty.npy"), &array(&[24, 0], 1.0)?)?;
    npy::write(folder.at("i.npy"), &Array::new([24, 4], vec![1i32; 96].into()).ok_or("the shape fits")?)?;
    let before = folder.names()?;
    let good = "mask --frames 4 --tokens-per-frame 64";
    let analyze = "analyze --frames 4 --grid 2x3";
    for (code, line, told) in [
        (2, "mask --frames 4".to_owned(), "--tokens-per-frame"),
        (2, "mask --frames 0 --tokens-per-frame 64".to_owned(), "frames is 0"),
        (2, "mask --frames 4 --tokens-per-frame 0".to_owned(), "tokens_per_frame is 0"),
        (2, "mask --frames -1 --tokens-per-frame 64".to_owned(), "-1"),
        (2, format!("{good} --block 96"), "32, 64 or 128"),
        (2, format!("{good} --block 128x"), "32, 64 or 128"),
        (2, format!("{good} --decay 0"), "decay is 0"),
        (2, format!("{good} --decay -0.5"), "decay is -0.5"),
        (2, format!("{good} --decay nan"), "decay is NaN"),
        (2, format!("{good} --decay inf"), "decay is inf"),
        (2, format!("{good} --family mochi"), "wan or hunyuan"),
        (2, format!("{good} --out @m.txt"), "an .npy or a .json"),
        (2, format!("{good} --exact --out @m.json"), "an .npy"),
        (2, format!("{good} --svg @m.txt"), "an .svg or a .png"),
        (2, format!("{good} --out @m.npy --svg @m.npy"), "name another file"),
        (1, format!("{good} --out @no/m.npy"), "no folder"),
        (1, "mask --frames 99999999999 --tokens-per-frame 99999999999".to_owned(), "frames is 99999999999"),
        (1, "mask --frames 1 --tokens-per-frame 4000000".to_owned(), "4000000"),
        (2, format!("{good} --text 99999999999999999999"), "--text"),
        (1, format!("{good} --text 18446744073709551615"), "text is"),
        (2, format!("{analyze} --q @x.npy"), "--k"),
        (2, "analyze --frames 4 --grid 6 --q @x.npy --k @x.npy".to_owned(), "48x80"),
        (2, format!("{analyze} --q @x.npy --k @x.npy --rows 0"), "--rows is 0"),
        (2, format!("{analyze} --q @x.npy --k @x.npy --scale -1"), "scale is -1"),
        (2, format!("{analyze} --q @x.npy --k @x.npy --svg @x.npy"), "name another file"),
        (1, format!("{analyze} --q @noise.npy --k @x.npy"), "noise.npy"),
        (1, format!("{analyze} --q @nowhere.npy --k @x.npy"), "nowhere.npy"),
        (1, format!("{analyze} --q @x.npy --k @y.npy"), "k has the shape [1, 24, 8]"),
        (1, format!("{analyze} --q @x.npy --k @nan.npy"), "k is NaN in head 0, token 0, dimension 0"),
        (1, format!("{analyze} --q @flat.npy --k @flat.npy"), "flat.npy"),
        (1, format!("{analyze} --q @empty.npy --k @empty.npy"), "none of them 0"),
        (1, format!("{analyze} --q @i.npy --k @i.npy"), "int32"),
        (1, "analyze --frames 5 --grid 2x3 --q @x.npy --k @x.npy".to_owned(), "q has 24 tokens"),
        (1, format!("{analyze} --q @x.npy --k @x.npy --text 3"), "3 of text are 27"),
    ] {
        let output = tersor(&folder, &line)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(code) && said.contains(told), "{line}: {:?}: {said}", output.status);
        assert!(output.stdout.is_empty(), "{line}");
    }
    assert_eq!(folder.names()?, before, "something was left behind");
    Ok(())
}

/// Sixteen frames of a real video transformer, one head of queries, keys and values.
fn attended() -> Result {
    let folder = Folder::new()?;
    let file = shared::file(CAPTURED).ok_or("no file")?.display().to_string();
    let tensors = format!("--q {file} --k {file} --v {file}");
    let dense = json(&folder, &format!("attention {tensors} --verify --out @dense.npy"))?;
    assert_eq!(
        (&dense["pairs"], &dense["density"], &dense["queries"]),
        (&json!(4096 * 4096), &json!(1.0), &json!(4096))
    );
    assert!(number(&dense["largest_difference"])? <= 2e-5, "{dense}");
    let mask = "--method radial --frames 16 --tokens-per-frame 256 --block 64";
    let radial = json(&folder, &format!("attention {tensors} {mask} --verify --out @radial.npy --threads 1"))?;
    assert!((number(&radial["density"])? - 0.5684).abs() < 5e-5, "{radial}");
    assert!(number(&radial["largest_difference"])? <= 2e-5 && number(&radial["achieved_speed_up"])? > 0.0, "{radial}");
    json(&folder, &format!("attention {tensors} {mask} --out @again.npy --threads 2"))?;
    assert!(std::fs::read(folder.at("radial.npy"))? == std::fs::read(folder.at("again.npy"))?, "threads change bytes");
    let exact = json(&folder, &format!("attention {tensors} {mask} --exact --verify --out @exact.npy"))?;
    assert!(number(&exact["largest_difference"])? <= 2e-5, "{exact}");
    assert_eq!(exact["pairs"], exact["plan"]["pairs"]);
    let output = npy::read(folder.at("radial.npy"))?;
    assert_eq!(output.shape(), [1, 4096, 64]);
    Ok(())
}

/// Grouped queries, more keys than queries, causal; what is wrong is named and nothing is written.
fn attention_shapes() -> Result {
    let folder = Folder::new()?;
    let write = |name: &str, shape: [usize; 3], odd: Option<f32>| -> Result {
        let count = shape.iter().product();
        let mut numbers: Vec<f32> = (0..count).map(|i| (i as f32 * 0.37).sin()).collect();
        numbers[count / 2] = odd.unwrap_or(numbers[count / 2]);
        Ok(npy::write(folder.at(name), &Array::new(shape, Elements::F32(numbers)).ok_or("an array")?)?)
    };
    write("q.npy", [4, 30, 16], None)?;
    write("k.npy", [2, 50, 16], None)?;
    write("v.npy", [2, 50, 24], None)?;
    write("nan.npy", [2, 50, 24], Some(f32::NAN))?;
    let report = json(&folder, "attention --q @q.npy --k @k.npy --v @v.npy --causal --verify --out @o.npy")?;
    assert_eq!((&report["kv_heads"], &report["keys"]), (&json!(2), &json!(50)));
    assert_eq!(report["pairs"], json!(4 * (21..=50).sum::<u32>()));
    assert!(number(&report["largest_difference"])? <= 2e-5, "{report}");
    assert_eq!(npy::read(folder.at("o.npy"))?.shape(), [4, 30, 24]);
    for (line, code, told) in [
        ("--q @q.npy --k @k.npy --v @nan.npy --out @x.npy", 1, "v has a number that is not finite"),
        ("--q @q.npy --k @v.npy --v @v.npy --out @x.npy", 1, "k has the shape"),
        ("--q @q.npy --k @k.npy --v @v.npy --method radial --out @x.npy", 2, "--frames"),
        ("--q @q.npy --k @k.npy --v @v.npy --frames 3 --out @x.npy", 2, "--method radial"),
        (
            "--q @q.npy --k @k.npy --v @v.npy --method radial --frames 0 --tokens-per-frame 8 --out @x.npy",
            2,
            "frames is 0",
        ),
        (
            "--q @q.npy --k @k.npy --v @v.npy --method radial --frames 5 --tokens-per-frame 8 --out @x.npy",
            1,
            "differ in queries",
        ),
        ("--q @no.npy --k @k.npy --v @v.npy --out @x.npy", 1, "no.npy"),
    ] {
        let output = tersor(&folder, &format!("attention {line}"))?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(code) && said.contains(told), "{line}: {said}");
        assert!(!folder.at("x.npy").exists(), "{line} has written something");
    }
    Ok(())
}

fn write_noise(folder: &Folder, name: &str, shape: &[usize]) -> Result {
    let numbers: Vec<f32> = (0..shape.iter().product::<usize>()).map(|i| (i as f32 * 0.37).sin() * 2.0).collect();
    Ok(npy::write(folder.at(name), &Array::new(shape, Elements::F32(numbers)).ok_or("an array")?)?)
}

fn clustered() -> Result {
    let folder = Folder::new()?;
    for name in ["q.npy", "k.npy", "v.npy"] {
        write_noise(&folder, name, &[2, 240, 16])?;
    }
    let tensors = "attention --q @q.npy --k @k.npy --v @v.npy";
    let flags =
        "--method svg2 --cq 6 --ck 11 --iters 9 --top-p 0.5 --min-ratio 0 --seed 3 --text 5 --padding 3 --verify";
    let made = json(&folder, &format!("{tensors} {flags} --plan-out @p.npz --out @a.npy --threads 1"))?;
    let clusters = &made["clusters"];
    assert_eq!((&clusters["groups"], &clusters["clusters"]), (&json!([8, 13]), &json!([6, 11])));
    assert!(number(&made["largest_difference"])? <= 2e-5 && number(&made["density"])? < 1.0, "{made}");
    let plan = npz::open(folder.at("p.npz"))?;
    for (name, shape) in [
        ("q_labels", vec![2, 240]),
        ("k_labels", vec![2, 240]),
        ("map", vec![2, 8, 13]),
        ("q_centroids", vec![2, 6, 16]),
        ("k_centroids", vec![2, 11, 16]),
    ] {
        assert_eq!(plan.read(name)?.shape(), shape, "{name}");
    }
    let again = json(&folder, &format!("{tensors} --method svg2 --plan-in @p.npz --out @b.npy --threads 2"))?;
    assert_eq!(made["pairs"], again["pairs"]);
    json(&folder, &format!("{tensors} {flags} --out @c.npy --threads 2"))?;
    let bytes = |name: &str| std::fs::read(folder.at(name));
    assert!(bytes("a.npy")? == bytes("b.npy")?, "a plan that is read is not the one that was written");
    assert!(bytes("a.npy")? == bytes("c.npy")?, "threads change bytes");
    let means = json(&folder, &format!("{tensors} {flags} --means --out @m.npy"))?;
    assert!(number(&means["largest_difference"])? <= 2e-5, "{means}");
    assert!(number(&means["density"])? > number(&made["density"])? && bytes("m.npy")? != bytes("a.npy")?, "{means}");
    let svg1 = format!("{tensors} --method svg1 --frames 12 --tokens-per-frame 20 --band 30 --block 32 --verify");
    let svg1 = json(&folder, &format!("{svg1} --out @d.npy"))?;
    assert!(number(&svg1["largest_difference"])? <= 2e-5, "{svg1}");
    assert_eq!(svg1["clusters"]["kinds"].as_array().map(Vec::len), Some(2));
    let tokens = "--method svg1 --frames 12 --tokens-per-frame 20 --band 30 --block 32 --means --verify";
    let means = json(&folder, &format!("{tensors} {tokens} --out @d.npy"))?;
    assert!(number(&means["largest_difference"])? <= 2e-5 && means["pairs"] != svg1["pairs"], "{means}");
    let table = String::from_utf8(tersor(&folder, &format!("{tensors} {flags} --out @e.npy"))?.stdout)?;
    for told in ["8 of queries, 13 of keys", "planning included", "verified"] {
        assert!(table.contains(told), "{table}");
    }
    Ok(())
}

fn cluster_refusals() -> Result {
    let folder = Folder::new()?;
    for name in ["q.npy", "k.npy", "v.npy"] {
        write_noise(&folder, name, &[1, 40, 8])?;
    }
    folder.with("noise.npz", "no archive")?;
    let nan = vec![f32::NAN; 40 * 8];
    npy::write(folder.at("nan.npy"), &Array::new([40, 8], nan.into()).ok_or("an array")?)?;
    npy::write(folder.at("rows.npy"), &Array::new([2], vec![3i64, 40].into()).ok_or("an array")?)?;
    let one = Array::new([1, 40], vec![7i32; 40].into()).ok_or("an array")?;
    let map = Array::new([1, 2, 2], vec![true; 4].into()).ok_or("an array")?;
    npz::write(folder.at("odd.npz"), &[("q_labels", &one), ("k_labels", &one), ("map", &map)])?;
    let before = folder.names()?;
    let svg2 = "attention --q @q.npy --k @k.npy --v @v.npy --out @o.npy --method svg2";
    let cluster = "cluster --x @q.npy --clusters";
    for (code, line, told) in [
        (2, format!("{svg2} --cq 41"), "cq is 41"),
        (2, format!("{svg2} --ck 0"), "ck is 0"),
        (2, format!("{svg2} --iters 0"), "iters_init is 0"),
        (2, format!("{svg2} --top-p 1.5"), "top_p is 1.5"),
        (2, format!("{svg2} --top-p nan"), "top_p is NaN"),
        (2, format!("{svg2} --min-ratio -1"), "min_ratio is -1"),
        (2, format!("{svg2} --text 40"), "text is 40"),
        (2, format!("{svg2} --causal"), "--causal"),
        (2, format!("{svg2} --cq 3 --plan-in @odd.npz"), "--plan-in"),
        (2, format!("{svg2} --paint @c.png"), "--frames"),
        (2, format!("{svg2} --paint @c.txt --frames 5 --grid 2x4"), ".png"),
        (2, "attention --q @q.npy --k @k.npy --v @v.npy --out @o.npy --cq 3".to_owned(), "--method svg2"),
        (2, "attention --q @q.npy --k @k.npy --v @v.npy --out @o.npy --method svg1".to_owned(), "--frames"),
        (2, "attention --q @q.npy --k @k.npy --v @v.npy --out @o.npy --means".to_owned(), "--means are of clusters"),
        (1, format!("{svg2} --plan-in @odd.npz"), "q_labels: token 0 is in group 7"),
        (1, format!("{svg2} --plan-in @noise.npz"), "noise.npz"),
        (1, format!("{svg2} --plan-in @nowhere.npz"), "nowhere.npz"),
        (1, svg2.replace("--q @q.npy", "--q @nan.npy"), "q is NaN in head 0, token 0, dimension 0"),
        (2, format!("{cluster} 41 --out @c.npz"), "--clusters is 41"),
        (2, format!("{cluster} 0 --out @c.npz"), "--clusters is 0"),
        (2, format!("{cluster} 2 --iters 0 --out @c.npz"), "--iters is 0"),
        (1, format!("{cluster} 2 --init @rows.npy --out @c.npz"), "row 40 of 40"),
        (1, format!("{cluster} 3 --init @rows.npy --out @c.npz"), "expected [3]"),
        (1, "cluster --x @nan.npy --clusters 2 --out @c.npz".to_owned(), "NaN in row 0"),
        (1, "cluster --x @nan.npy --clusters 2 --f64 --out @c.npz".to_owned(), "NaN in row 0"),
        (2, "map --centroids @odd.npz --top-p 2 --out @m.npy".to_owned(), "top_p is 2"),
        (1, "map --centroids @odd.npz --out @m.npy".to_owned(), "q_centroids"),
        (1, "map --centroids @noise.npz --out @m.npy".to_owned(), "noise.npz"),
        (2, "compare --q @q.npy --k @k.npy --v @v.npy --frames 5 --grid 2x4 --densities 3".to_owned(), "density is 3"),
        (1, "compare --q @q.npy --k @k.npy --v @v.npy --frames 5 --grid 2x5".to_owned(), "differ in"),
    ] {
        let output = tersor(&folder, &line)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(code) && said.contains(told), "{line}: {:?}: {said}", output.status);
        assert!(output.stdout.is_empty(), "{line}");
        assert!(said.matches(".npz").count() <= 1, "{line} names its file twice: {said}");
        let of_plan = said.contains("noise.npz") || said.contains("nowhere.npz");
        assert!(!of_plan || !said.contains("q.npy"), "{line} names other files than the one at fault: {said}");
    }
    assert_eq!(folder.names()?, before, "something was left behind");
    Ok(())
}

fn map() -> Result {
    let folder = Folder::new()?;
    let path = shared::file(MAPS).ok_or("no file")?;
    let file = npz::open(&path)?;
    for (top_p, min_ratio) in [("0.9", "0"), ("0.9", "0.1"), ("0.5", "0.25"), ("0.3", "0")] {
        let path = path.display();
        let report =
            json(&folder, &format!("map --centroids {path} --top-p {top_p} --min-ratio {min_ratio} --out @m.npy"))?;
        assert_eq!((&report["heads"], &report["cq"], &report["ck"]), (&json!(2), &json!(12), &json!(20)));
        assert_eq!(npy::read(folder.at("m.npy"))?, file.read(&format!("map_p{top_p}_r{min_ratio}"))?);
    }
    Ok(())
}

fn kmeans() -> Result {
    let folder = Folder::new()?;
    let path = shared::file(KMEANS).ok_or("no file")?;
    let file = npz::open(&path)?;
    npy::write(folder.at("init.npy"), &file.read("init_index")?)?;
    let line = format!("cluster --x {} --clusters 10 --init @init.npy --iters 5", path.display());
    json(&folder, &format!("{line} --f64 --out @c.npz"))?;
    let found = npz::open(folder.at("c.npz"))?;
    assert_eq!((found.read("labels")?, found.read("sizes")?), (file.read("labels")?, file.read("sizes")?));
    for (name, expected) in [("centroids", "centroids"), ("inertia", "inertia_before_each_update")] {
        let (found, expected) = (found.read(name)?, file.read(expected)?);
        let pairs = found.elements().as_f64().zip(expected.elements().as_f64()).ok_or("not float64")?;
        assert!(pairs.0.len() == pairs.1.len() && found.shape() == expected.shape());
        assert!(pairs.0.iter().zip(pairs.1).all(|(a, b)| (a - b).abs() <= 1e-12 * b.abs().max(1.0)), "{name}");
    }
    let fast = json(&folder, &format!("{line} --out @d.npz"))?;
    assert_eq!(npz::open(folder.at("d.npz"))?.read("labels")?, file.read("labels")?);
    assert_eq!(fast["iterations"], json!(5));
    // Rows of any whole type are rows.
    let rows = file.read("init_index")?;
    let rows: Vec<u16> = rows.elements().as_i64().ok_or("not int64")?.iter().map(|&row| row as u16).collect();
    let rows = Array::new([rows.len()], Elements::U16(rows)).ok_or("ten rows")?;
    npy::write(folder.at("init.npy"), &rows)?;
    json(&folder, &format!("{line} --out @e.npz"))?;
    assert_eq!(npz::open(folder.at("e.npz"))?.read("labels")?, file.read("labels")?);
    Ok(())
}

fn semantic() -> Result {
    let folder = Folder::new()?;
    let file = shared::file(CAPTURED).ok_or("no file")?.display().to_string();
    let line = format!("attention --q {file} --k {file} --v {file} --method svg2 --verify --out @o.npy");
    let report = json(&folder, &format!("{line} --paint @c.png --frames 16 --grid 16x16"))?;
    assert_eq!(report["clusters"]["clusters"], json!([16, 54]));
    assert!(number(&report["largest_difference"])? <= 2e-5, "{report}");
    let density = number(&report["density"])?;
    assert!(density > 0.2 && density < 0.6, "{density}");
    let picture = Picture::read(folder.at("c.png"))?;
    assert_eq!((picture.width(), picture.height()), (4 * 17 * 6 - 6, 4 * 17 * 6 - 6));
    Ok(())
}

fn compared() -> Result {
    let folder = Folder::new()?;
    let file = shared::file(CAPTURED).ok_or("no file")?.display().to_string();
    let line = format!("compare --q {file} --k {file} --v {file} --frames 16 --grid 16x16 --densities 0.2");
    let report = json(&folder, &format!("{line} --svg @q.svg"))?;
    let curves = report["curves"].as_array().ok_or("no curves")?;
    let names: Vec<_> = curves.iter().filter_map(|curve| curve["name"].as_str()).collect();
    let means = ["clusters with means", "positions with means"];
    assert_eq!(
        names,
        [&["clusters", "positions"], &means[..], &["SVG1", "radial", "near frames", "random blocks"]].concat()
    );
    let at = |curve: usize, what: &str| number(&curves[curve]["points"][0][what]);
    let recall = |curve: usize| at(curve, "recall");
    assert!(recall(0)? > 2.0 * recall(1)? && recall(0)? > 2.0 * recall(4)?, "{report}");
    for (means, plain, share) in [(2, 0, 0.5), (3, 1, 1.0)] {
        assert!(at(means, "error")? < share * at(plain, "error")? && at(means, "density")? <= 0.2, "{report}");
    }
    assert!(std::fs::read_to_string(folder.at("q.svg"))?.contains("SVG1"));
    Ok(())
}

fn bench() -> Result {
    let folder = Folder::new()?;
    let report = json(&folder, "bench --only radial --rounds 1 --python /no/such/python")?;
    assert!(report["missing"].as_str().is_some_and(|why| why.contains("/no/such/python")), "{report}");
    for (only, rows) in [("step", 1), ("iterations", 3)] {
        let clusters = json(&folder, &format!("bench --only {only} --rounds 1 --python /no/such/python"))?;
        assert_eq!(clusters["rows"].as_array().map(Vec::len), Some(rows), "{clusters}");
    }
    let rows = report["rows"].as_array().ok_or("no rows")?;
    let passes: Vec<_> = rows.iter().filter_map(|row| row["pass"].as_str()).collect();
    assert_eq!(passes, ["forward", "forward", "backward", "backward"], "{report}");
    for row in rows {
        let density = number(&row["density"])?;
        assert!((density - 0.296).abs() < 1e-3 || (density - 0.109).abs() < 1e-3, "{row}");
        assert!(number(&row["gigaflops"])? > 0.0 && number(&row["peak_gigaflops"])? > 0.0, "{row}");
    }
    Ok(())
}
