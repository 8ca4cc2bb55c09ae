//! `tersor graph spanner`, `verify`, `check` and `route` as a user calls them: build, measure, prove, walk.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use tersor_data::shared;
use tersor_data::testing::{Failure, Folder, Trials};

type Result<T = ()> = std::result::Result<T, Failure>;

fn main() {
    Trials::new()
        .needs(&["graph/chicago_regional.gr.gz"])
        .test("what_is_built_is_measured_and_proven_roads", || build_verify_check("chicago_regional.gr.gz", 50))
        .test("every_method_keeps_what_it_promises", methods)
        .needs(&["graph/wiki_vote.txt.gz"])
        .test("what_is_built_is_measured_and_proven_votes", || build_verify_check("wiki_vote.txt.gz", 40))
        .test("zero_based_ids_are_kept", zero_based)
        .needs(&["graph/4elt.graph.gz"])
        .test("what_is_built_is_measured_and_proven_mesh", || build_verify_check("4elt.graph.gz", 20))
        .needs(&["graph/college_msg.txt.gz"])
        .test("what_is_built_is_measured_and_proven_messages", temporal)
        .needs(&["graph/email_eu_core.txt.gz"])
        .test("broken_certificates_are_rejected", mutants)
        .test("threads_and_runs_change_no_byte", same_seed)
        .needs(&[])
        .test("decimals_survive_the_certificate", decimals)
        .test("ids_far_apart_are_written_densely_and_mapped", relabelled)
        .test("what_is_lost_is_told", violations)
        .test("hostile_certificates_are_refused", hostile)
        .test("a_round_trip_is_shown", routes)
        .test("pictures_are_drawn_by_coordinates", pictures)
        .test("an_empty_graph_stays_empty", empty)
        .test("bad_usage_exits_with_2", bad_usage)
        .test("broken_files_exit_with_1_and_leave_nothing", broken)
        .run()
}

fn shared_graph(file: &str) -> PathBuf {
    shared::file(&format!("graph/{file}")).unwrap_or_default()
}

type Arguments<'a> = &'a [&'a dyn AsRef<OsStr>];

fn tersor(arguments: Arguments) -> Result<Output> {
    Ok(Command::new(env!("CARGO_BIN_EXE_tersor")).arg("graph").args(arguments.iter().map(|a| a.as_ref())).output()?)
}

/// The JSON that a command prints, which must succeed.
fn json(arguments: Arguments) -> Result<Value> {
    let (code, found, said) = outcome(arguments)?;
    assert_eq!(code, Some(0), "{said}");
    Ok(found)
}

/// The exit code of a command called with `--json`, what it prints, and what it says went wrong.
fn outcome(arguments: Arguments) -> Result<(Option<i32>, Value, String)> {
    let output = tersor(&[arguments, &[&"--json"]].concat())?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let found = if output.stdout.is_empty() { Value::Null } else { serde_json::from_slice(&output.stdout)? };
    Ok((output.status.code(), found, said))
}

/// What a command says that exits with `code`.
fn refused(code: i32, arguments: Arguments) -> Result<String> {
    let output = tersor(arguments)?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(said.starts_with("error: "), "{said}");
    Ok(said)
}

fn read(path: &Path) -> Result<Value> {
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}

/// The lines of a `.gr` that are arcs.
fn arcs(path: &Path) -> Result<usize> {
    Ok(fs::read_to_string(path)?.lines().filter(|line| line.starts_with('a')).count())
}

/// All three agree, and the fields of the contract are there.
fn build_verify_check(file: &str, sample: usize) -> Result {
    let folder = Folder::new()?;
    let (g, h, certificate, sources) = (shared_graph(file), folder.at("h.gr"), folder.at("c.json"), folder.at("s.txt"));
    let sample = sample.to_string();
    let built = json(&[
        &"spanner",
        &g,
        &"--sample",
        &sample,
        &"--stretch",
        &"8",
        &"-o",
        &h,
        &"--certificate",
        &certificate,
        &"--write-sources",
        &sources,
    ])?;
    for count in ["arcs", "clusters", "relaxations", "vertices", "graph_arcs", "sources", "seed", "loops", "parallel"] {
        assert!(built[count].is_u64(), "{count}: {built}");
    }
    for number in ["share", "seconds", "certified_stretch"] {
        assert!(built[number].is_f64(), "{number}: {built}");
    }
    assert_eq!((&built["certified_stretch"], &built["method"]), (&json!(8.0), &json!("certified")));
    assert_eq!(built["arcs"], arcs(&h)?);
    let of = |field: &str| built[field].as_f64().unwrap_or(f64::NAN);
    assert!((of("share") - of("arcs") / of("graph_arcs")).abs() < 1e-12);
    let ids: Vec<u64> = fs::read_to_string(&sources)?.lines().map(|id| id.parse().unwrap()).collect();
    assert_eq!((&built["source_ids"], ids.len()), (&json!(ids), sample.parse()?));
    let of_levels = built["hierarchy"].as_array().ok_or("no hierarchy")?.iter().map(|level| &level["clusters"]);
    assert_eq!(built["clusters"], of_levels.map(|clusters| clusters.as_u64().unwrap()).sum::<u64>());

    let measured = json(&[&"verify", &g, &h, &"--sources", &sources, &"--stretch", &"8"])?;
    assert_eq!((&measured["violations"], &measured["unreachable"]), (&json!(0), &json!(0)), "{measured}");
    assert!(measured["pairs"].as_u64() > Some(1000), "{measured}");
    for number in ["max", "mean", "sum_rt", "max_rt"] {
        assert!(measured[number].is_f64(), "{number}: {measured}");
    }
    let (max, mean) = (measured["max"].as_f64().unwrap(), measured["mean"].as_f64().unwrap());
    assert!((1.0..=8.0).contains(&mean) && mean <= max && max <= 8.0, "{measured}");
    // The same sources are drawn again by the same seed.
    let again = json(&[&"verify", &g, &h, &"--sample", &sample, &"--stretch", &"8"])?;
    assert_eq!((&again["pairs"], &again["sum_rt"]), (&measured["pairs"], &measured["sum_rt"]));
    let fewer = json(&[&"verify", &g, &h, &"--sources", &sources, &"--sample", &"5"])?;
    assert_eq!(fewer["sources"], 5);
    assert!(fewer["pairs"].as_u64() < measured["pairs"].as_u64());

    let checked = json(&[&"check", &g, &h, &certificate, &"--sources", &sources])?;
    assert_eq!((&checked["accepted"], &checked["clusters"]), (&json!(true), &built["clusters"]));
    let stated = read(&certificate)?;
    assert_eq!((&stated["stretch"], &stated["ratio"], &stated["sources"]), (&json!(8), &json!(2), &json!(ids)));
    let mut fields: Vec<_> = stated["clusters"][0].as_object().ok_or("no cluster")?.keys().collect();
    fields.sort();
    assert_eq!(fields, ["centre", "limit", "radius", "scale"]);
    Ok(())
}

fn methods() -> Result {
    let folder = Folder::new()?;
    let (g, h, certificate) = (shared_graph("chicago_regional.gr.gz"), folder.at("h.gr"), folder.at("c.json"));
    for (method, flag, value, promise) in [
        ("certified", "--stretch", "4", 4.0),
        ("exact-cover", "--k", "2", 4.25),
        ("exact-cover", "--k", "3", 6.25),
        ("preserver", "--seed", "1", 1.0),
    ] {
        let built = json(&[&"spanner", &g, &"--sample", &"20", &"--method", &method, &flag, &value, &"-o", &h])?;
        assert_eq!((&built["method"], &built["certified_stretch"]), (&json!(method), &json!(promise)));
        let promise = promise.to_string();
        json(&[&"verify", &g, &h, &"--sample", &"20", &"--stretch", &promise])?;
    }
    json(&[
        &"spanner",
        &g,
        &"--sample",
        &"20",
        &"--method",
        &"exact-cover",
        &"-o",
        &h,
        &"--certificate",
        &certificate,
    ])?;
    assert_eq!(json(&[&"check", &g, &h, &certificate])?["accepted"], true);
    let greedy = folder.with("g.txt", "0 1 1\n1 0 1\n1 2 1\n2 1 1\n0 2 1.5\n2 0 1.5\n")?;
    let built = json(&[&"spanner", &greedy, &"--sample", &"3", &"--method", &"greedy", &"--stretch", &"2", &"-o", &h])?;
    assert_eq!((&built["arcs"], &built["certified_stretch"]), (&json!(4), &json!(2.0)));
    Ok(())
}

/// A SNAP list counts from 0: so does H, whatever its format counts from.
fn zero_based() -> Result {
    let folder = Folder::new()?;
    let (g, certificate) = (shared_graph("wiki_vote.txt.gz"), folder.at("c.json"));
    for name in ["h.gr", "h.gr.gz", "h.txt", "h.mtx"] {
        let h = folder.at(name);
        let built = json(&[&"spanner", &g, &"--sample", &"10", &"-o", &h, &"--certificate", &certificate])?;
        json(&[&"check", &g, &h, &certificate])?;
        json(&[&"verify", &g, &h, &"--sample", &"10", &"--stretch", &"16"])?;
        assert_eq!(json(&[&"stats", &h])?["first_id"], 0);
        assert_eq!(read(&certificate)?["sources"], built["source_ids"]);
    }
    assert!(fs::read_to_string(folder.at("h.gr"))?.starts_with("c id_offset 1\n"));
    Ok(())
}

fn temporal() -> Result {
    let folder = Folder::new()?;
    let (g, h, certificate) = (shared_graph("college_msg.txt.gz"), folder.at("h.gr"), folder.at("c.json"));
    json(&[&"spanner", &g, &"--temporal", &"--sample", &"9", &"-o", &h, &"--certificate", &certificate])?;
    json(&[&"verify", &g, &h, &"--temporal", &"--sample", &"9", &"--stretch", &"16"])?;
    json(&[&"check", &g, &h, &certificate, &"--temporal"])?;
    // Read without it, the lengths are others.
    let said = refused(1, &[&"verify", &g, &h, &"--sample", &"9"])?;
    assert!(said.contains("of length 1: the graph has no such arc"), "{said}");
    Ok(())
}

fn mutants() -> Result {
    let folder = Folder::new()?;
    let g = shared_graph("email_eu_core.txt.gz");
    let (h, file, sources) = (folder.at("h.gr"), folder.at("c.json"), folder.at("s.txt"));
    json(&[
        &"spanner",
        &g,
        &"--sample",
        &"30",
        &"--stretch",
        &"8",
        &"-o",
        &h,
        &"--certificate",
        &file,
        &"--write-sources",
        &sources,
    ])?;
    let certificate = read(&file)?;
    let widest = certificate["clusters"].as_array().ok_or("no clusters")?.iter().enumerate();
    let widest = widest.max_by_key(|(_, cluster)| cluster["radius"].as_f64().unwrap() as u64).unwrap().0;
    let mutant = |change: &dyn Fn(&mut Value)| -> Result<(Value, String)> {
        let mut changed = certificate.clone();
        change(&mut changed);
        let mutant = folder.with("mutant.json", &changed.to_string())?;
        let (code, found, said) = outcome(&[&"check", &g, &h, &mutant, &"--sources", &sources])?;
        assert_eq!(code, Some(1), "{found}");
        Ok((found, said))
    };
    // As it is, written anew by another program, it is accepted.
    let same = folder.with("same.json", &certificate.to_string())?;
    assert_eq!(json(&[&"check", &g, &h, &same, &"--sources", &sources])?["accepted"], true);

    let (found, said) = mutant(&|c| {
        let first = c["clusters"][0].clone();
        c["clusters"].as_array_mut().unwrap().push(first);
    })?;
    assert_eq!(
        (&found["accepted"], &found["cluster"]),
        (&json!(false), &certificate["clusters"].as_array().map(Vec::len).into())
    );
    assert!(said.contains("is listed twice"), "{said}");

    let missing = certificate["sources"][29].clone();
    let (found, said) = mutant(&|c| drop(c["sources"].as_array_mut().unwrap().pop()))?;
    assert_eq!(found["source"], missing);
    assert!(said.contains(&format!("source {missing} is missing")), "{said}");
    let (_, said) = mutant(&|c| c["sources"][1] = c["sources"][0].clone())?;
    assert!(said.contains("listed twice"), "{said}");

    let (found, said) = mutant(&|c| c["clusters"][widest]["limit"] = json!(1))?;
    assert_eq!(found["cluster"], widest);
    assert!(said.contains("the limit is 1"), "{said}");
    let (_, said) = mutant(&|c| c["clusters"][widest]["limit"] = json!(1e6))?;
    assert!(said.contains("no cluster answers"), "{said}");
    let (_, said) = mutant(&|c| c["clusters"][widest]["radius"] = json!(1))?;
    assert!(said.contains("no cluster answers"), "{said}");
    let (_, said) = mutant(&|c| c["stretch"] = json!(2))?;
    assert!(said.contains("no cluster answers"), "{said}");
    let (_, said) = mutant(&|c| c["stretch"] = json!(0.5))?;
    assert!(said.contains("stretch 0.5"), "{said}");
    mutant(&|c| c["clusters"] = json!([]))?;
    // An arc less, of all that a centre needs.
    let text = fs::read_to_string(&h)?;
    let without: Vec<_> = text.lines().filter(|line| !line.starts_with("a 1")).collect();
    let kept = without.iter().filter(|line| line.starts_with('a')).count();
    let fewer = without.join("\n").replacen(&format!(" {}", arcs(&h)?), &format!(" {kept}"), 1);
    let fewer = folder.with("fewer.gr", &fewer)?;
    let (code, found, said) = outcome(&[&"check", &g, &fewer, &file])?;
    assert_eq!((code, &found["accepted"]), (Some(1), &json!(false)), "{said}");
    Ok(())
}

fn same_seed() -> Result {
    let folder = Folder::new()?;
    let g = shared_graph("email_eu_core.txt.gz");
    let mut all = Vec::new();
    for (name, threads, seed) in [("a", "1", "7"), ("b", "2", "7"), ("c", "2", "7"), ("d", "2", "8")] {
        let [h, certificate, sources] = ["gr", "json", "txt"].map(|end| folder.at(&format!("{name}.{end}")));
        json(&[
            &"spanner",
            &g,
            &"--sample",
            &"50",
            &"--seed",
            &seed,
            &"--threads",
            &threads,
            &"-o",
            &h,
            &"--certificate",
            &certificate,
            &"--write-sources",
            &sources,
        ])?;
        all.push([fs::read(h)?, fs::read(certificate)?, fs::read(sources)?]);
    }
    assert!(all[0] == all[1] && all[1] == all[2], "threads or runs change the result");
    assert!(all[0] != all[3], "the seed changes nothing");
    Ok(())
}

/// A ring of streets with lengths of three decimals.
const RING: &str = "p sp 6 12\na 1 2 0.125\na 2 3 0.25\na 3 4 0.5\na 4 5 1.001\na 5 6 2\na 6 1 3.7\n\
                    a 2 1 0.125\na 3 2 0.25\na 4 3 0.5\na 5 4 1.001\na 6 5 2\na 1 6 3.7\n";

fn decimals() -> Result {
    let folder = Folder::new()?;
    let (g, h, certificate) = (folder.with("g.gr", RING)?, folder.at("h.gr"), folder.at("c.json"));
    let sources = folder.with("s.txt", "1\n3\n")?;
    for stretch in ["4", "5.3", "8", "16.7", "100"] {
        let built = json(&[
            &"spanner",
            &g,
            &"--sources",
            &sources,
            &"--stretch",
            &stretch,
            &"-o",
            &h,
            &"--certificate",
            &certificate,
        ])?;
        assert_eq!(built["source_ids"], Value::Null);
        json(&[&"check", &g, &h, &certificate, &"--sources", &sources])?;
        json(&[&"verify", &g, &h, &"--sources", &sources, &"--stretch", &stretch])?;
    }
    let measured = json(&[&"verify", &g, &h, &"--sources", &sources])?;
    // The farthest from 1 is 6, there and back by the long street or around; from 3 it is 6 as well.
    assert_eq!(measured["max_rt"], 2.0 * 3.7);
    for cluster in read(&certificate)?["clusters"].as_array().ok_or("no clusters")? {
        // Inside, a length of 1 is 1,000.
        assert!(cluster["radius"].as_f64() <= Some(100.0), "lengths are in the file's unit: {cluster}");
    }
    Ok(())
}

fn relabelled() -> Result {
    let folder = Folder::new()?;
    let g = folder
        .with("g.txt", "9000000000 7 1\n7 9000000000 1\n7 123 2\n123 7 2\n123 9000000000 9\n9000000000 123 9\n")?;
    let sources = folder.with("s.txt", "123\n9000000000\n")?;
    let (h, map, certificate) = (folder.at("h.gr"), folder.at("map.txt"), folder.at("c.json"));
    json(&[
        &"spanner",
        &g,
        &"--relabel",
        &"--sources",
        &sources,
        &"-o",
        &h,
        &"--map",
        &map,
        &"--certificate",
        &certificate,
    ])?;
    assert_eq!(fs::read_to_string(&map)?, "# new old\n0 9000000000\n1 7\n2 123\n");
    let mut listed = read(&certificate)?["sources"].as_array().ok_or("no sources")?.clone();
    listed.sort_by_key(Value::as_u64);
    assert_eq!(listed, [json!(123), json!(9_000_000_000u64)]);
    json(&[&"check", &g, &h, &certificate, &"--relabel", &"--sources", &sources])?;
    let measured = json(&[&"verify", &g, &h, &"--relabel", &"--sources", &sources, &"--stretch", &"16"])?;
    assert_eq!((&measured["pairs"], &measured["violations"]), (&json!(4), &json!(0)));
    assert_eq!(measured["worst"]["source"], 9_000_000_000u64);
    // H names vertices by their new numbers.
    assert_eq!(json(&[&"route", &h, &"0", &"2"])?["there"], json!([0, 1, 2]));
    Ok(())
}

fn violations() -> Result {
    let folder = Folder::new()?;
    let g = folder.with("g.txt", "0 1 1.5\n1 0 1.5\n1 2 1\n2 1 1\n2 0 1\n0 2 1\n")?;
    let all = folder.with("s.txt", "0\n1\n2\n")?;
    let h = folder.with("h.txt", "0 1 1.5\n1 2 1\n2 0 1\n")?;
    // rt(1, 2) is 2 in G and 3.5 in H.
    let (code, found, said) = outcome(&[&"verify", &g, &h, &"--sources", &all, &"--stretch", &"1.5"])?;
    assert_eq!((code, &found["pairs"], &found["violations"]), (Some(1), &json!(6), &json!(4)), "{said}");
    assert_eq!((&found["max"], &found["sum_rt"], &found["max_rt"]), (&json!(1.75), &json!(14.0), &json!(3.0)));
    assert!(said.contains("4 of 6 round trips are stretched more than 1.5 times"), "{said}");
    assert_eq!(json(&[&"verify", &g, &h, &"--sources", &all, &"--stretch", &"1.75"])?["violations"], 0);

    // Without a way back the stretch has no end: no number in JSON.
    let h = folder.with("h.txt", "0 1 1.5\n1 2 1\n")?;
    let (code, found, said) = outcome(&[&"verify", &g, &h, &"--sources", &all])?;
    assert_eq!((code, &found["unreachable"], &found["violations"]), (Some(1), &json!(6), &json!(6)), "{said}");
    assert_eq!((&found["max"], &found["mean"], &found["quantiles"]["p50"]), (&Value::Null, &Value::Null, &Value::Null));
    assert!(said.contains("6 of 6 round trips are lost"), "{said}");
    let svg = folder.at("h.svg");
    outcome(&[&"verify", &g, &h, &"--sources", &all, &"--stretch", &"2", &"--histogram", &svg])?;
    assert!(fs::read_to_string(&svg)?.starts_with("<svg"));

    let h = folder.with("h.txt", "0 1 1.25\n")?;
    let said = refused(1, &[&"verify", &g, &h, &"--sources", &all])?;
    assert!(said.contains("h.txt: arc 0 -> 1 of length 1.25: the graph has no such arc"), "{said}");
    Ok(())
}

fn hostile() -> Result {
    let folder = Folder::new()?;
    let g = folder.with("g.gr", RING)?;
    let check = |text: &str| -> Result<String> {
        let file = folder.with("c.json", text)?;
        refused(1, &[&"check", &g, &g, &file])
    };
    let cluster = |fields: &str| format!("{{\"stretch\":4,\"ratio\":2,\"sources\":[1],\"clusters\":[{{{fields}}}]}}");
    for (text, expected) in [
        (cluster("\"scale\":1,\"centre\":1,\"radius\":NaN,\"limit\":1"), "not a certificate"),
        (cluster("\"scale\":1,\"centre\":1,\"radius\":-1,\"limit\":1"), "clusters[0].radius: expected"),
        (cluster("\"scale\":1e999,\"centre\":1,\"radius\":1,\"limit\":1"), "clusters[0].scale: expected"),
        (cluster("\"scale\":1,\"centre\":7,\"radius\":1,\"limit\":1"), "clusters[0].centre: the graph has no vertex 7"),
        (cluster("\"scale\":1,\"centre\":1e30,\"radius\":1,\"limit\":1"), "not a certificate"),
        ("[".repeat(1 << 22), "not a certificate"),
        ("{\"clusters\":".repeat(1 << 18), "not a certificate"),
        ("{\"stretch\":".to_owned() + &"[".repeat(1 << 22), "not a certificate"),
        (String::new(), "not a certificate"),
    ] {
        let said = check(&text)?;
        assert!(said.contains("c.json: ") && said.contains(expected), "{said}");
        assert!(said.len() < 500, "{} bytes said", said.len());
    }
    // A file of holes, larger than any certificate.
    let file = folder.at("c.json");
    fs::File::create(&file)?.set_len(1 << 31)?;
    let said = refused(1, &[&"check", &g, &g, &file])?;
    assert!(said.contains("larger than"), "{said}");
    Ok(())
}

fn routes() -> Result {
    let folder = Folder::new()?;
    let g = folder.with("g.gr", RING)?;
    let trip = json(&[&"route", &g, &"1", &"5"])?;
    assert_eq!((&trip["there"], &trip["back"]), (&json!([1, 2, 3, 4, 5]), &json!([5, 4, 3, 2, 1])));
    assert_eq!((&trip["round_trip"], &trip["length_there"]), (&json!(3.752), &json!(1.876)));
    let table = String::from_utf8(tersor(&[&"route", &g, &"1", &"5"])?.stdout)?;
    assert!(table.contains("1 2 3 4 5") && table.contains("3.752"), "{table}");

    let one_way = folder.with("one.txt", "0 1\n1 2\n")?;
    let said = refused(1, &[&"route", &one_way, &"0", &"2"])?;
    assert!(said.contains("one.txt: there is no round trip between 0 and 2"), "{said}");
    let said = refused(1, &[&"route", &one_way, &"0", &"3"])?;
    assert!(said.contains("there is no vertex 3; ids are 0 to 2"), "{said}");
    assert_eq!(tersor(&[&"route", &one_way, &"0", &"x"])?.status.code(), Some(2));
    Ok(())
}

fn pictures() -> Result {
    let folder = Folder::new()?;
    let (g, svg) = (folder.at("g.gr"), folder.at("p.svg"));
    json(&[&"generate", &"grid", &"--arcs", &"4000", &"-o", &g])?;
    let h = folder.at("h.gr");
    let built = json(&[&"spanner", &g, &"--sample", &"5", &"--picture", &svg, &"-o", &h])?;
    let text = fs::read_to_string(&svg)?;
    assert!(text.starts_with("<svg") && text.trim_end().ends_with("</svg>"));
    assert_eq!(text.matches("<circle").count(), 2 * 5);
    assert_eq!(built["coordinates"], json!(folder.at("h.co")));
    json(&[&"route", &h, &"1", &"500", &"--picture", &svg])?;
    assert!(fs::read_to_string(&svg)?.contains("1 to 500 and back"));

    let bare = folder.with("bare.gr", RING)?;
    let out = folder.at("none.gr");
    let said = refused(1, &[&"spanner", &bare, &"--sample", &"2", &"--picture", &folder.at("n.svg"), &"-o", &out])?;
    assert!(said.contains("there are no coordinates"), "{said}");
    assert!(!out.exists() && !folder.at("n.svg").exists());
    Ok(())
}

fn empty() -> Result {
    let folder = Folder::new()?;
    let (g, h, certificate) = (folder.with("g.gr", "p sp 3 0\n")?, folder.at("h.gr"), folder.at("c.json"));
    let built = json(&[&"spanner", &g, &"--sample", &"2", &"-o", &h, &"--certificate", &certificate])?;
    assert_eq!((&built["arcs"], &built["share"], &built["certified_stretch"]), (&json!(0), &json!(1.0), &json!(16.0)));
    assert_eq!(json(&[&"verify", &g, &h, &"--sample", &"2"])?["pairs"], 0);
    json(&[&"check", &g, &h, &certificate])?;
    let said = refused(1, &[&"spanner", &g, &"--sample", &"4"])?;
    assert!(said.contains("4 sources cannot be drawn from 3 vertices"), "{said}");
    Ok(())
}

fn bad_usage() -> Result {
    let folder = Folder::new()?;
    let g = folder.with("g.gr", RING)?;
    let two: Arguments = &[&"spanner", &g, &"--sample", &"2"];
    let spanner = |arguments: Arguments| refused(2, &[two, arguments].concat());
    assert!(spanner(&[&"--centres", &"all"])?.contains("--centres is not for the method certified; it is for paper"));
    for (method, flag, value) in [
        ("greedy", "--effort", "small"),
        ("certified", "--centres", "all"),
        ("preserver", "--certificate", "c.json"),
        ("greedy", "--certificate", "c.json"),
        ("certified", "--stretch", "3.9"),
        ("paper", "--k", "1"),
    ] {
        let said = spanner(&[&"--method", &method, &flag, &value])?;
        assert!(said.contains(method) || said.contains("certified"), "{said}");
    }
    for flag in ["--calibrate", "--prune"] {
        assert!(spanner(&[&"--method", &"greedy", &flag])?.contains(flag));
    }
    for (flag, value) in
        [("--stretch", "NaN"), ("--stretch", "inf"), ("--stretch", "0.5"), ("--k", "0"), ("--method", "best")]
    {
        spanner(&[&flag, &value])?;
    }
    spanner(&[&"--map", &folder.at("m.txt")])?; // without --relabel
    spanner(&[&"-o", &g])?; // over the graph itself
    spanner(&[&"-o", &folder.at("x.gr"), &"--certificate", &folder.at("x.gr")])?;
    refused(2, &[&"spanner", &g])?;
    refused(2, &[&"spanner", &g, &"--sample", &"2", &"--sources", &"s.txt"])?;
    refused(2, &[&"verify", &g, &g])?;
    refused(2, &[&"check", &g, &g])?;
    assert_eq!(folder.names()?, ["g.gr"]);
    Ok(())
}

fn broken() -> Result {
    let folder = Folder::new()?;
    let g = folder.with("g.gr", RING)?;
    let bad = folder.with("bad.gr", "p sp 2 1\na 1 2 -1\n")?;
    let ids = folder.with("ids.txt", "1\n77\n")?;
    let (h, certificate) = (folder.at("h.gr"), folder.at("c.json"));
    let said = refused(1, &[&"spanner", &bad, &"--sample", &"1", &"-o", &h, &"--certificate", &certificate])?;
    assert!(said.contains("bad.gr:2: length -1 is negative"), "{said}");
    let said = refused(1, &[&"spanner", &g, &"--sources", &ids, &"-o", &h])?;
    assert!(said.contains("ids.txt:2: id 77 is out of range"), "{said}");
    let said = refused(1, &[&"spanner", &g, &"--sample", &"1", &"-o", &folder.at("h.dot")])?;
    assert!(said.contains("the name tells no format") && !said.contains("--format"), "{said}");
    refused(1, &[&"spanner", &g, &"--sample", &"1", &"-o", &folder.at("h.graph")])?;
    let said = refused(1, &[&"spanner", &g, &"--sample", &"1", &"-o", &folder.at("no/such/h.gr")])?;
    assert!(said.contains("there is no folder"), "{said}");
    refused(1, &[&"verify", &g, &bad, &"--sample", &"1"])?;
    refused(1, &[&"check", &g, &g, &folder.at("nowhere.json")])?;
    assert_eq!(folder.names()?, ["bad.gr", "g.gr", "ids.txt"]);
    Ok(())
}
