//! `tersor graph` as a user calls it: what the verbs print, write and exit with.

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
        .test("growth_is_measured_for_all_methods", bench)
        .test("bad_usage_exits_with_2_and_bad_files_with_1", refusals)
        .run()
}

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
