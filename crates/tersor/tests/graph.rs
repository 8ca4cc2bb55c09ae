//! `tersor graph` as a user calls it: what the verbs print, write and exit with.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use tersor_data::shared;
use tersor_data::testing::{Failure, Trials};

type Result<T = ()> = std::result::Result<T, Failure>;

fn main() {
    Trials::new()
        .needs(&["graph/chicago_regional.gr.gz", "graph/wiki_vote.txt.gz", "graph/college_msg.txt.gz"])
        .test("stats_tell_what_a_graph_is", stats)
        .test("a_graph_is_converted_there_and_back", convert)
        .needs(&[])
        .test("ids_far_apart_are_numbered_and_mapped", relabel)
        .test("families_are_generated_by_seed", generate)
        .test("graphs_to_cluster_are_generated_with_their_truth", to_cluster)
        .test("edges_come_and_go_at_times", over_time)
        .test("families_refuse_what_does_not_belong", family_refusals)
        .test("growth_is_measured_for_all_methods", bench)
        .test("bad_usage_exits_with_2_and_bad_files_with_1", refusals)
        .needs(&[PHOTO])
        .test("the_pixels_of_a_photo_are_a_graph", photo)
        .run()
}

const PHOTO: &str = "vision/common/imagenet/957_n07768694_pomegranate.jpg";

fn graph(file: &str) -> PathBuf {
    shared::file(&format!("graph/{file}")).unwrap_or_default()
}

fn tersor(arguments: &[&dyn AsRef<OsStr>]) -> Result<Output> {
    Ok(Command::new(env!("CARGO_BIN_EXE_tersor")).arg("graph").args(arguments.iter().map(|a| a.as_ref())).output()?)
}

/// The JSON that a command prints, which must succeed.
fn json(arguments: &[&dyn AsRef<OsStr>]) -> Result<Value> {
    let output = tersor(arguments)?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// The lines of a text file that are no comments.
fn content(path: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(path)?;
    Ok(text.lines().filter(|line| !line.starts_with(['c', '#', '%'])).map(String::from).collect())
}

fn stats() -> Result {
    let roads = json(&[&"stats", &graph("chicago_regional.gr.gz"), &"--json"])?;
    assert_eq!(
        (&roads["vertices"], &roads["arcs"], &roads["zero_arcs"]),
        (&json!(12_982), &json!(39_018), &json!(3_650))
    );
    assert_eq!((&roads["format"], &roads["exact"], &roads["first_id"]), (&json!("dimacs"), &json!(true), &json!(1)));
    let votes = json(&[&"stats", &graph("wiki_vote.txt.gz"), &"--relabel", &"--json"])?;
    assert_eq!((&votes["vertices"], &votes["largest_component"]), (&json!(7_115), &json!(1_300)));
    let messages = json(&[&"stats", &graph("college_msg.txt.gz"), &"--temporal", &"--json"])?;
    assert_eq!((&messages["arcs"], &messages["length"]["max"]), (&json!(20_296), &json!(1.0)));
    // Without `--temporal` a third column is a length.
    assert_eq!(json(&[&"stats", &graph("college_msg.txt.gz"), &"--json"])?["length"]["min"], json!(1_082_040_961.0));

    let table = String::from_utf8(tersor(&[&"stats", &graph("chicago_regional.gr.gz")])?.stdout)?;
    assert!(table.contains("39,018") && table.contains("12,978 vertices in the largest"), "{table}");
    Ok(())
}

fn convert() -> Result {
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name);
    let roads = graph("chicago_regional.gr.gz");
    let mut previous = roads.clone();
    for name in ["a.mtx", "b.txt.gz", "c.csv", "d.gr"] {
        let converted = json(&[&"convert", &previous, &at(name), &"--json"])?;
        assert_eq!((&converted["vertices"], &converted["arcs"]), (&json!(12_982), &json!(39_018)), "{name}");
        assert_eq!(converted["id_offset"], json!(0));
        previous = at(name);
    }
    json(&[&"convert", &roads, &at("direct.gr"), &"--json"])?;
    assert!(std::fs::read(at("d.gr"))? == std::fs::read(at("direct.gr"))?);

    // Ids that begin with 0 have 1 added, which is said, and undone on the way back.
    std::fs::write(at("zero.txt"), "0 1 0.5\n1 0 2\n")?;
    assert_eq!(json(&[&"convert", &at("zero.txt"), &at("zero.gr"), &"--json"])?["id_offset"], json!(1));
    assert_eq!(std::fs::read_to_string(at("zero.gr"))?, "c id_offset 1\np sp 2 2\na 1 2 0.5\na 2 1 2\n");
    json(&[&"convert", &at("zero.gr"), &at("back.txt"), &"--json"])?;
    assert_eq!(content(&at("back.txt"))?, ["0\t1\t0.5", "1\t0\t2"]);

    // A format that no name tells, on either side.
    std::fs::write(at("list.dat"), "0,1\n1,0\n")?;
    json(&[
        &"convert",
        &at("list.dat"),
        &at("out.dat"),
        &"--format",
        &"edge-list",
        &"--to-format",
        &"metis",
        &"--json",
    ])?;
    assert_eq!(content(&at("out.dat"))?, ["2 1", "2", "1"]);
    Ok(())
}

fn relabel() -> Result {
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("far.txt"), "9000000000 7\n7 123456789012\n")?;
    let refused = tersor(&[&"stats", &at("far.txt")])?;
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("far.txt:1: id 9000000000 is too large") && said.contains("--relabel"), "{said}");
    json(&[&"convert", &at("far.txt"), &at("near.txt"), &"--relabel", &at("map.txt"), &"--json"])?;
    assert_eq!(content(&at("near.txt"))?, ["0\t1", "1\t2"]);
    assert_eq!(content(&at("map.txt"))?, ["0 9000000000", "1 7", "2 123456789012"]);
    Ok(())
}

fn generate() -> Result {
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name);
    for family in ["grid", "geo", "rand", "rmat", "trap"] {
        let out = at("g.gr");
        let made = json(&[&"generate", &family, &"--arcs", &"2e4", &"--seed", &"7", &"-o", &out, &"--json"])?;
        let arcs = made["arcs"].as_u64().ok_or("no arcs")?;
        assert!(arcs.abs_diff(20_000) < 600, "{family}: {arcs}");
        let first = std::fs::read(&out)?;
        assert_eq!(content(&out)?.len() as u64, arcs + 1);
        let placed = made["coordinates"].is_string();
        assert_eq!((placed, at("g.co").exists()), (family == "grid" || family == "geo", placed), "{family}");
        let found = json(&[&"stats", &out, &"--json"])?;
        assert_eq!((&found["arcs"], &found["coordinates"]), (&made["arcs"], &json!(placed)));
        json(&[
            &"generate",
            &family,
            &"--arcs",
            &"20000",
            &"--seed",
            &"7",
            &"--threads",
            &"1",
            &"-o",
            &out,
            &"--json",
        ])?;
        assert!(std::fs::read(&out)? == first, "{family}");
        json(&[&"generate", &family, &"--arcs", &"20000", &"--seed", &"8", &"-o", &out, &"--json"])?;
        assert!(std::fs::read(&out)? != first, "{family}");
        let _ = std::fs::remove_file(at("g.co"));
    }
    Ok(())
}

/// `text`, a command line without blanks in its words, with files of `folder` after `-o`, `--truth` and `@`.
fn generated(folder: &Path, text: &str) -> Result<Value> {
    let output = generated_or_not(folder, text)?;
    assert!(output.status.success(), "{text}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn generated_or_not(folder: &Path, text: &str) -> Result<Output> {
    let words = ["generate"].into_iter().chain(text.split_whitespace());
    let words: Vec<_> =
        words.map(|word| word.strip_prefix('@').map_or(word.into(), |name| folder.join(name))).collect();
    let words: Vec<&dyn AsRef<OsStr>> = words.iter().map(|word| word as &dyn AsRef<OsStr>).collect();
    tersor(&[&words[..], &[&"--json"]].concat())
}

fn to_cluster() -> Result {
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name);
    let families = [
        "sbm --vertices 400 --clusters 4 --inside 0.4 --between 0.05",
        "gaussians --vertices 300 --clusters 4 --sigma 0.5",
    ];
    for family in families {
        let made = generated(folder.path(), &format!("{family} --seed 3 -o @g.txt --truth @truth.txt"))?;
        let edges = made["edges"].as_u64().ok_or("no edges")?;
        assert_eq!((made["over_time"].is_null(), &made["seed"]), (true, &json!(3)));
        // An edge list names each edge once, the others give it to both ends.
        let stats = |name: &str| json(&[&"stats", &at(name), &"--json"]);
        let found = stats("g.txt")?;
        assert_eq!((&found["vertices"], &found["arcs"]), (&made["vertices"], &json!(edges)), "{family}");
        assert_eq!(content(&at("g.txt"))?.len() as u64, edges);
        let weighted = content(&at("g.txt"))?[0].split('\t').count() == 3;
        assert_eq!(weighted, family.starts_with("gaussians"));
        for name in ["g.mtx", "g.graph", "g.gr.gz"] {
            let again = generated(folder.path(), &format!("{family} --seed 3 -o @{name}"))?;
            let found = stats(name)?;
            assert_eq!((&again["edges"], &found["arcs"]), (&json!(edges), &json!(2 * edges)), "{name}");
            assert_eq!((&found["first_id"], &found["length"]["max"]), (&json!(0), &stats("g.txt")?["length"]["max"]));
        }
        let truth = content(&at("truth.txt"))?;
        let vertices = made["vertices"].as_u64().ok_or("no vertices")?;
        assert_eq!((truth.len() as u64, truth[0].as_str()), (vertices, "0 0"));
        assert_eq!(truth.last(), Some(&format!("{} 3", vertices - 1)));

        let first = std::fs::read(at("g.txt"))?;
        generated(folder.path(), &format!("{family} --seed 3 --threads 1 -o @g.txt"))?;
        assert!(std::fs::read(at("g.txt"))? == first, "{family}");
        generated(folder.path(), &format!("{family} --seed 4 -o @g.txt"))?;
        assert!(std::fs::read(at("g.txt"))? != first, "{family}");
    }
    let near = generated(folder.path(), "gaussians --vertices 300 --clusters 4 --nearest 5 -o @near.txt")?;
    let edges = near["edges"].as_u64().ok_or("no edges")?;
    assert!((700..1_500).contains(&edges), "{edges}");
    Ok(())
}

fn over_time() -> Result {
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name);
    let sbm = "sbm --vertices 400 --clusters 4 --inside 0.4 --between 0.05";
    let made = generated(folder.path(), &format!("{sbm} --times 20 --deletions 0.05 -o @t.txt --truth @truth.txt"))?;
    let number = |of: &Value| of.as_u64().ok_or("no number");
    let (edges, stream) = (number(&made["edges"])?, &made["over_time"]);
    let (insertions, deletions) = (number(&stream["insertions"])?, number(&stream["deletions"])?);
    assert_eq!((&stream["times"], insertions), (&json!(20), edges));
    assert!(deletions.abs_diff(edges * 19 / 20 / 20) <= 19, "{deletions} of {edges}");
    let left = json(&[&"stats", &at("t.txt"), &"--temporal", &"--json"])?;
    assert_eq!((&left["vertices"], &left["arcs"]), (&json!(400), &json!(insertions - deletions)));
    let lines = content(&at("t.txt"))?;
    let times: Vec<u32> =
        lines.iter().map(|line| line.split(' ').nth(2).unwrap_or("").parse()).collect::<std::result::Result<_, _>>()?;
    assert!(times.is_sorted() && (times[0], times[times.len() - 1]) == (1, 20));
    assert_eq!(lines.iter().filter(|line| line.ends_with(" -")).count() as u64, deletions);
    assert_eq!(content(&at("truth.txt"))?.len(), 400);

    let first = std::fs::read(at("t.txt"))?;
    generated(folder.path(), &format!("{sbm} --times 20 --deletions 0.05 --threads 1 -o @again.txt"))?;
    assert!(std::fs::read(at("again.txt"))? == first);
    let repeated = generated(folder.path(), &format!("{sbm} --times 20 --repeat 3 -o @t.txt.gz"))?;
    assert_eq!(repeated["over_time"], json!({"times": 20, "insertions": 3 * edges, "deletions": 0}));
    // Weights are written, and stay with their edges.
    generated(folder.path(), "gaussians --vertices 100 --clusters 2 --times 4 --deletions 0.5 -o @w.txt")?;
    generated(folder.path(), "gaussians --vertices 100 --clusters 2 -o @g.txt")?;
    let weights: HashMap<_, _> = content(&at("g.txt"))?.iter().filter_map(|line| weighed(line, '\t', 2)).collect();
    let updates = content(&at("w.txt"))?;
    assert!(!updates.is_empty() && updates.iter().any(|line| line.contains(" - ")));
    for line in updates {
        let (ends, weight) = weighed(&line, ' ', 4).ok_or("no weight")?;
        assert_eq!(weights.get(&ends), Some(&weight));
    }
    Ok(())
}

/// The ends of an edge, and its weight in a column.
fn weighed(line: &str, between: char, column: usize) -> Option<([String; 2], String)> {
    let fields: Vec<_> = line.split(between).map(String::from).collect();
    Some(([fields[0].clone(), fields[1].clone()], fields.get(column)?.clone()))
}

fn photo() -> Result {
    let folder = tempfile::tempdir()?;
    let photo = shared::file(PHOTO).unwrap_or_default();
    let pixels = |side: usize| format!("photo {} --side {side} -o @p.txt", photo.display());
    // The specification's figure is 622,134; another decoder and another rounding move a few colours by 1.
    let made = generated(folder.path(), &pixels(44))?;
    let edges = made["edges"].as_u64().ok_or("no edges")?;
    assert!(edges.abs_diff(622_134) < 622, "{edges}");
    assert_eq!((&made["vertices"], &made["pixels"]), (&json!(44 * 44), &json!([44, 44])));
    let small = generated(folder.path(), &pixels(12))?;
    let found = json(&[&"stats", &folder.path().join("p.txt"), &"--json"])?;
    assert_eq!((&found["vertices"], &found["arcs"]), (&json!(144), &small["edges"]));
    let least = found["length"]["min"].as_f64().ok_or("no lengths")?;
    assert!((1e-3..2e-3).contains(&least), "{least}");
    Ok(())
}

fn family_refusals() -> Result {
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("noise.txt"), "no picture")?;
    let sbm = "sbm --vertices 40 --clusters 4 --inside 0.4 --between 0.05";
    let gaussians = "gaussians --vertices 40 --clusters 4";
    let refused = [
        (2, "grid --arcs 9 --clusters 3 -o @x.txt".to_owned(), "--clusters"),
        (2, format!("{sbm} --arcs 9 -o @x.txt"), "--arcs"),
        (2, format!("{sbm} --sigma 1 -o @x.txt"), "--sigma"),
        (2, sbm.to_owned(), "--out"),
        (2, format!("{sbm} --deletions 0.1 -o @x.txt"), "--times"),
        (2, format!("{sbm} --repeat 2 -o @x.txt"), "--times"),
        (2, format!("{sbm} --times 3 -o @x.mtx"), "name a .txt"),
        (2, format!("{sbm} --times 3 --deletions 1.5 -o @x.txt"), "deletions = 1.5"),
        (2, format!("{sbm} --times 0 -o @x.txt"), "times = 0"),
        (2, format!("{sbm} --truth @x.txt -o @x.txt"), "name another file"),
        (2, "sbm --vertices 3 --clusters 4 --inside 0.4 --between 0.05 -o @x.txt".to_owned(), "clusters = 4"),
        (2, "sbm --vertices 0 --clusters 1 --inside 0.4 --between 0.05 -o @x.txt".to_owned(), "vertices = 0"),
        (2, "sbm --vertices 9 --clusters 3 --inside 1.4 --between 0.05 -o @x.txt".to_owned(), "inside = 1.4"),
        (2, "sbm --vertices 9 --clusters 3 --inside nan --between 0.05 -o @x.txt".to_owned(), "inside = NaN"),
        (2, format!("{gaussians} --sigma 0 -o @x.txt"), "sigma = 0"),
        (2, format!("{gaussians} --floor 2 -o @x.txt"), "floor = 2"),
        (2, format!("{gaussians} --nearest 0 -o @x.txt"), "nearest = 0"),
        (2, "photo -o @x.txt".to_owned(), "PICTURE"),
        (2, "photo @noise.txt --truth @t.txt -o @x.txt".to_owned(), "--truth"),
        (2, "photo @noise.txt -o @noise.txt".to_owned(), "name another file"),
        (1, "photo @noise.txt -o @x.txt".to_owned(), "noise.txt"),
        (1, "photo @nowhere.png -o @x.txt".to_owned(), "nowhere.png"),
        (1, "sbm --vertices 1e14 --clusters 2 --inside 0.1 --between 0 -o @x.txt".to_owned(), "too large"),
        (1, "gaussians --vertices 1e14 --clusters 2 -o @x.txt".to_owned(), "too large"),
        (1, format!("{sbm} -o @no/x.txt"), "no folder"),
    ];
    for (code, line, told) in refused {
        let output = generated_or_not(folder.path(), &line)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(code) && said.contains(told), "{line}: {:?}: {said}", output.status);
    }
    assert_eq!(std::fs::read_dir(folder.path())?.count(), 1, "something was left behind");
    Ok(())
}

fn bench() -> Result {
    let folder = tempfile::tempdir()?;
    let curves = folder.path().join("growth.svg");
    let lists: [&dyn AsRef<OsStr>; 13] = [
        &"bench",
        &"--family",
        &"grid,trap",
        &"--arcs",
        &"2e3,8e3",
        &"--sample",
        &"20",
        &"--rounds",
        &"1",
        &"--threads",
        &"2",
        &"--json",
        &"-o",
    ];
    let measured = json(&[&lists[..], &[&curves]].concat())?;
    let rows = measured["rows"].as_array().ok_or("no rows")?;
    assert_eq!(rows.len(), 2 * 2 * 4);
    for field in ["seconds", "relaxations", "arcs", "sources", "stretch", "clusters"] {
        assert!(rows.iter().all(|row| row[field].is_number()), "{field}");
    }
    let growth = measured["growth"].as_array().ok_or("no growth")?;
    assert!(growth.len() == 2 * 4 && growth.iter().all(|growth| growth["theory"].is_number()));
    assert_eq!(measured["ratios"].as_array().map(Vec::len), Some(2 * 2 * 3));
    assert!(std::fs::read_to_string(&curves)?.contains("exponent"));
    assert_eq!(tersor(&[&"bench", &"--family", &"star"])?.status.code(), Some(2));
    Ok(())
}

fn refusals() -> Result {
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name);
    let code = |arguments: &[&dyn AsRef<OsStr>]| -> Result<Option<i32>> { Ok(tersor(arguments)?.status.code()) };
    assert_eq!(code(&[&"stats"])?, Some(2));
    assert_eq!(code(&[&"stats", &"x.gr", &"--format", &"dot"])?, Some(2));
    assert_eq!(code(&[&"generate", &"star", &"--arcs", &"9", &"-o", &at("x.gr")])?, Some(2));
    assert_eq!(code(&[&"generate", &"grid", &"--arcs", &"1.5", &"-o", &at("x.gr")])?, Some(2));
    assert_eq!(code(&[&"generate", &"grid", &"--arcs", &"9", &"-o", &at("x.dot")])?, Some(1));
    assert_eq!(code(&[&"stats", &"nowhere.gr"])?, Some(1));
    std::fs::write(at("bad.gr"), "p sp 2 1\na 1 2 -1\n")?;
    let output = tersor(&[&"stats", &at("bad.gr")])?;
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("bad.gr:2: length -1 is negative"), "{output:?}");
    // A directed graph is no METIS graph, and nothing is left behind.
    std::fs::write(at("one.txt"), "0 1\n")?;
    assert_eq!(code(&[&"convert", &at("one.txt"), &at("one.graph")])?, Some(1));
    assert!(!at("one.graph").exists());
    Ok(())
}
