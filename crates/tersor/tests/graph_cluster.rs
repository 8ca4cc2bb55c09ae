//! `tersor graph cluster` as a user calls it: few bits, good clusters, and messages that another decoder understands.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use tersor_data::shared;
use tersor_data::testing::{Failure, Folder, Trials};

type Result<T = ()> = std::result::Result<T, Failure>;

const MODELS: [&str; 5] = ["message-passing", "blackboard", "ship-all", "static", "static-blackboard"];
const DEPARTMENTS: &str = "graph/email_eu_core_departments.txt";
const PHOTO: &str = "vision/common/imagenet/957_n07768694_pomegranate.jpg";

fn main() {
    Trials::new()
        .test("clear_blocks_are_found_with_fewer_bits", blocks)
        .test("another_decoder_rebuilds_what_was_clustered", decoded)
        .test("weights_cross_as_f32_and_parallel_edges_by_rank", decoded_with_weights)
        .test("labels_name_every_vertex_from_zero", labels)
        .test("threads_change_no_byte_and_the_seed_does", same_seed)
        .test("labels_sent_back_are_counted", labels_back)
        .test("the_curve_is_drawn", curve)
        .test("a_graph_without_edges_has_no_cluster", empty)
        .test("every_input_is_measured_in_one_table", bench)
        .test("bad_usage_exits_with_2", bad_usage)
        .test("broken_files_exit_with_1_and_leave_nothing", broken)
        .needs(&["graph/college_msg.txt.gz"])
        .test("messages_of_students_are_decoded", students)
        .needs(&["graph/email_eu_core.txt.gz", DEPARTMENTS])
        .test("departments_are_compared_with", departments)
        .needs(&[PHOTO])
        .test("the_pixels_of_a_photo_are_clustered", photo)
        .run()
}

fn shared_file(file: &str) -> PathBuf {
    shared::file(file).unwrap_or_default()
}

type Arguments<'a> = &'a [&'a dyn AsRef<OsStr>];

fn tersor(arguments: Arguments) -> Result<Output> {
    Ok(Command::new(env!("CARGO_BIN_EXE_tersor")).arg("graph").args(arguments.iter().map(|a| a.as_ref())).output()?)
}

/// The JSON that a command prints, which must succeed.
fn json(arguments: Arguments) -> Result<Value> {
    let output = tersor(&[arguments, &[&"--json"]].concat())?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// What a command prints for people, which must succeed.
fn table(arguments: Arguments) -> Result<String> {
    let output = tersor(arguments)?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

/// What a command says that exits with `code`.
fn refused(code: i32, arguments: Arguments) -> Result<String> {
    let output = tersor(&[arguments, &[&"--quiet"]].concat())?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(said.starts_with("error: "), "{said}");
    Ok(said)
}

/// A block model in the file `name`, with the blocks in `truth.txt` beside it.
fn sbm(folder: &Folder, name: &str, sizes: [&str; 4], more: Arguments) -> Result<PathBuf> {
    let (file, truth) = (folder.at(name), folder.at("truth.txt"));
    let [vertices, clusters, inside, between] = sizes;
    let generate: Arguments = &[
        &"generate",
        &"sbm",
        &"--vertices",
        &vertices,
        &"--clusters",
        &clusters,
        &"--inside",
        &inside,
        &"--between",
        &between,
        &"-o",
        &file,
        &"--truth",
        &truth,
    ];
    json(&[generate, more].concat())?;
    Ok(file)
}

fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no count"))
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap_or_else(|| panic!("{value} is no list"))
}

/// What one run says and what it writes.
struct Ran {
    report: Value,
    said: Vec<Value>,
    sparsifiers: Vec<BTreeMap<(u32, u32), f64>>,
}

/// Runs it, and holds all that it counts to what it writes.
fn ran(folder: &Folder, arguments: Arguments) -> Result<Ran> {
    let (messages, prefix) = (folder.at("m.jsonl"), folder.at("h"));
    let written: Arguments = &[&"--messages", &messages, &"--sparsifier", &prefix];
    let report = json(&[&[&"cluster" as &dyn AsRef<OsStr>], arguments, written].concat())?;
    let said =
        fs::read_to_string(&messages)?.lines().map(serde_json::from_str).collect::<std::result::Result<_, _>>()?;
    let times = list(&report["times"]);
    let sparsifiers = times
        .iter()
        .map(|time| matrix(&folder.at(&format!("h.{}.mtx", number(&time["at"])))))
        .collect::<Result<_>>()?;
    let mut bits_so_far = count(&report["start_bits"]);
    for time in times {
        for field in ["ncut", "central_ncut", "conductance", "modularity", "ari", "nmi"] {
            assert!(time[field].is_f64(), "{field}: {time}");
        }
        let kinds = || time["by_kind"].as_object().unwrap().values();
        assert_eq!(kinds().map(|kind| count(&kind["bits"])).sum::<u64>(), count(&time["bits"]));
        assert_eq!(kinds().map(|kind| count(&kind["messages"])).sum::<u64>(), count(&time["messages"]));
        assert_eq!(list(&time["by_site"]).iter().map(count).sum::<u64>(), count(&time["bits"]));
        bits_so_far += count(&time["bits"]) + count(&time["coordinator_bits"]);
        assert_eq!(count(&time["bits_so_far"]), bits_so_far);
    }
    assert_eq!(count(&report["bits"]), bits_so_far);
    Ok(Ran { report, said, sparsifiers })
}

/// The edges of a symmetric Matrix Market file, numbered from 0.
fn matrix(path: &Path) -> Result<BTreeMap<(u32, u32), f64>> {
    let text = fs::read_to_string(path)?;
    assert!(text.starts_with("%%MatrixMarket matrix coordinate"), "{text:.60}");
    let mut edges = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('%')).skip(1) {
        let words: Vec<_> = line.split_ascii_whitespace().collect();
        let (a, b): (u32, u32) = (words[0].parse()?, words[1].parse()?);
        let weight = words.get(2).map_or(Ok(1.0), |word| word.parse())?;
        assert!(edges.insert((a.min(b) - 1, a.max(b) - 1), weight).is_none(), "{line}");
    }
    Ok(edges)
}

/// Bits as another program would read them: the first is the least significant of the first byte.
struct Decoder {
    bits: Vec<bool>,
    next: usize,
}

impl Decoder {
    fn of(said: &Value) -> Self {
        let hex = said["hex"].as_str().unwrap();
        let bytes = (0..hex.len() / 2).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap());
        let mut bits: Vec<bool> = bytes.flat_map(|byte| (0..8).map(move |place| byte >> place & 1 == 1)).collect();
        let length = count(&said["bits"]) as usize;
        assert!(bits.len() - length < 8 && !bits[length..].contains(&true), "padding: {said}");
        bits.truncate(length);
        Self { bits, next: 0 }
    }

    fn take(&mut self, width: u32) -> u64 {
        let bits = &self.bits[self.next..self.next + width as usize];
        self.next += width as usize;
        bits.iter().rev().fold(0, |value, &bit| value << 1 | u64::from(bit))
    }

    fn done(&self) -> bool {
        self.next == self.bits.len()
    }
}

/// Parallel edges of a site with level and weight, in the order in which they were added.
type Known = BTreeMap<(u32, u32), Vec<(u32, f64)>>;

/// ⌈log2 count⌉
fn bits_for(count: usize) -> u32 {
    (0..).find(|&bits| 1_usize << bits >= count).unwrap()
}

/// Does what a site says at one time, as the table of messages reads; gives back how many of each kind there were.
fn hear(known: &mut Known, said: &Value, id_bits: u32, weight_bits: u32) -> [u64; 5] {
    let mut decoder = Decoder::of(said);
    let mut messages = [0; 5];
    while !decoder.done() {
        let kind = decoder.take(2) as usize;
        let mut vertex = || decoder.take(id_bits) as u32;
        let ends = if kind == 3 { (0, 1) } else { (vertex(), vertex()) };
        if kind == 1 && ends.0 == ends.1 {
            known.clear();
            messages[4] += 1;
            continue;
        }
        assert!(ends.0 < ends.1, "{ends:?}");
        messages[kind] += 1;
        let level = if kind == 0 || kind == 2 { decoder.take(5) as u32 } else { 0 };
        if kind == 0 {
            let weight =
                if weight_bits == 0 { 1.0 } else { f64::from(f32::from_bits(decoder.take(weight_bits) as u32)) };
            known.entry(ends).or_default().push((level, weight));
        } else if kind != 3 {
            let parallel = known.get_mut(&ends).expect("only what is known goes or falls");
            let rank = decoder.take(bits_for(parallel.len())) as usize;
            match kind {
                1 => _ = parallel.remove(rank),
                _ => parallel[rank].0 = level,
            }
            if parallel.is_empty() {
                known.remove(&ends);
            }
        }
    }
    messages
}

/// Does what a site ships: each update as it is.
fn receive(known: &mut Known, said: &Value, id_bits: u32, weight_bits: u32) {
    let mut decoder = Decoder::of(said);
    while !decoder.done() {
        let delete = decoder.take(1) == 1;
        let ends = (decoder.take(id_bits) as u32, decoder.take(id_bits) as u32);
        let weight = if weight_bits == 0 { 1.0 } else { f64::from(f32::from_bits(decoder.take(weight_bits) as u32)) };
        let parallel = known.entry(ends).or_default();
        match delete {
            true => _ = parallel.pop().expect("only what is there goes"),
            false => parallel.push((0, weight)),
        }
    }
}

/// Rebuilds every graph from the messages alone. Gives back how many messages of each kind there were.
fn rebuild(ran: &Ran) -> [u64; 5] {
    let report = &ran.report;
    let [sites, id_bits, weight_bits] = ["sites", "id_bits", "weight_bits"].map(|field| count(&report[field]) as u32);
    assert_eq!(id_bits, bits_for(count(&report["vertices"]) as usize));
    let times = list(&report["times"]);
    assert_eq!(ran.said.len(), times.len() * sites as usize);
    let mut known = vec![Known::new(); sites as usize];
    let mut all = [0; 5];
    for (number, time) in times.iter().enumerate() {
        let said = &ran.said[number * sites as usize..][..sites as usize];
        let mut messages = [0; 5];
        for (site, (known, said)) in known.iter_mut().zip(said).enumerate() {
            assert_eq!((&said["at"], &said["site"]), (&time["at"], &json!(site)));
            assert_eq!(said["bits"], time["by_site"][site]);
            if report["model"] == "ship-all" {
                receive(known, said, id_bits, weight_bits);
                continue;
            }
            let of_site = hear(known, said, id_bits, weight_bits);
            messages.iter_mut().zip(of_site).for_each(|(sum, more)| *sum += more);
        }
        let bits: u64 = said.iter().map(|said| count(&said["bits"])).sum();
        assert_eq!(bits, count(&time["bits"]));
        if report["model"] != "ship-all" {
            let kinds = ["add", "del", "level", "end", "clear"];
            assert_eq!(messages, kinds.map(|kind| count(&time["by_kind"][kind]["messages"])));
            all.iter_mut().zip(messages).for_each(|(sum, more)| *sum += more);
        }
        let mut edges = BTreeMap::new();
        for (&ends, &(level, weight)) in
            known.iter().flatten().flat_map(|(ends, all)| all.iter().map(move |e| (ends, e)))
        {
            *edges.entry(ends).or_insert(0.0) += weight * f64::from(level).exp2();
        }
        assert_eq!(known.iter().flat_map(BTreeMap::values).map(Vec::len).sum::<usize>(), count(&time["kept"]) as usize);
        let written = &ran.sparsifiers[number];
        assert!(edges.keys().eq(written.keys()), "{time}");
        for (ends, weight) in edges {
            assert!((weight - written[&ends]).abs() <= 1e-9 * weight, "{ends:?}: {weight}, {}", written[&ends]);
        }
    }
    all
}

const CLEAR: [&str; 4] = ["300", "3", "0.5", "0.01"];

fn blocks() -> Result {
    let folder = Folder::new()?;
    let file = sbm(&folder, "g.txt", CLEAR, &[&"--times", &"3", &"--deletions", &"0.1"])?;
    let truth = folder.at("truth.txt");
    for model in MODELS {
        let arguments: Arguments =
            &[&file, &"--sites", &"3", &"--clusters", &"3", &"--model", &model, &"--c", &"1", &"--truth", &truth];
        let ran = ran(&folder, &[arguments, &[&"--times", &"3"]].concat())?;
        let report = &ran.report;
        assert_eq!(
            (&report["model"], &report["partition"], &report["transport"]),
            (&json!(model), &json!("edge"), &json!("threads"))
        );
        let times = list(&report["times"]);
        assert_eq!(times.iter().map(|time| number(&time["at"])).collect::<Vec<_>>(), [1.0, 2.0, 3.0]);
        for time in times {
            assert!(number(&time["ari"]) >= 0.95 && number(&time["nmi"]) >= 0.9, "{model}: {time}");
            assert!(number(&time["truth_ari"]) >= 0.95, "{model}: {time}");
            assert!(number(&time["ncut"]) < 0.2 && number(&time["conductance"]) < 0.2, "{model}: {time}");
        }
        let (bits, all) = (count(&report["bits"]), count(&report["ship_all_bits"]));
        match model {
            "ship-all" => assert_eq!(bits, all),
            "message-passing" | "blackboard" => assert!(10 * bits < 9 * all, "{model}: {bits} of {all}"),
            _ => {}
        }
        rebuild(&ran);
        if model == "message-passing" {
            let table = table(&[&[&"cluster" as &dyn AsRef<OsStr>], arguments].concat())?;
            assert!(table.contains("300 vertices") && table.contains("of shipping everything"), "{table}");
        }
    }
    Ok(())
}

/// Parallel edges that come and go, in a folder.
fn come_and_go(folder: &Folder) -> Result<PathBuf> {
    sbm(folder, "g.txt", ["70", "2", "0.35", "0.03"], &[&"--times", &"4", &"--deletions", &"0.2", &"--repeat", &"3"])
}

/// All models and partitions, with c fixed; gives back how many messages of each kind there were in all.
fn decode(file: &Path, folder: &Folder, c: &str) -> Result<[u64; 5]> {
    let mut all = [0; 5];
    for model in MODELS {
        for partition in ["edge", "vertex", "time"] {
            let ran = ran(
                folder,
                &[
                    &file,
                    &"--sites",
                    &"3",
                    &"--clusters",
                    &"2",
                    &"--times",
                    &"4",
                    &"--model",
                    &model,
                    &"--partition",
                    &partition,
                    &"--c",
                    &c,
                ],
            )?;
            assert_eq!(ran.report["partition"], partition);
            all.iter_mut().zip(rebuild(&ran)).for_each(|(sum, more)| *sum += more);
        }
    }
    Ok(all)
}

fn decoded() -> Result {
    let folder = Folder::new()?;
    let file = come_and_go(&folder)?;
    let kinds = decode(&file, &folder, "0.7")?;
    assert!(kinds.iter().all(|&kind| kind > 0), "some kind of message was never said: {kinds:?}");
    Ok(())
}

fn decoded_with_weights() -> Result {
    let folder = Folder::new()?;
    let text = fs::read_to_string(come_and_go(&folder)?)?;
    let mut weighted = String::new();
    for (number, line) in text.lines().enumerate() {
        match line.ends_with('+') {
            true => writeln!(weighted, "{line} {}", 0.1 * f64::from(number as u32 % 9 + 1))?,
            false => writeln!(weighted, "{line}")?,
        }
    }
    let file = folder.with("w.txt", &weighted)?;
    let kinds = decode(&file, &folder, "0.7")?;
    assert!(kinds.iter().all(|&kind| kind > 0), "some kind of message was never said: {kinds:?}");
    Ok(())
}

fn labels() -> Result {
    let folder = Folder::new()?;
    let out = folder.at("labels.txt");
    let labels = |file: &Path, more: Arguments| -> Result<Vec<Vec<String>>> {
        let arguments: Arguments = &[&"cluster", &file, &"--sites", &"2", &"--clusters", &"3", &"-o", &out];
        assert_eq!(json(&[arguments, more].concat())?["files"], json!({ "labels": out }));
        Ok(fs::read_to_string(&out)?.lines().map(|line| line.split(' ').map(String::from).collect()).collect())
    };
    // DIMACS counts from 1: labels from 0, as true labels do.
    let file = sbm(&folder, "g.gr", CLEAR, &[])?;
    let lines = labels(&file, &[])?;
    assert_eq!(lines.len(), 300);
    for (vertex, line) in lines.iter().enumerate() {
        assert_eq!((line.len(), line[0].parse()), (2, Ok(vertex)));
        assert!(line[1].parse::<u32>()? < 3, "{line:?}");
    }
    let own = json(&[&"cluster", &file, &"--sites", &"2", &"--clusters", &"3", &"--truth", &out])?;
    assert_eq!(own["times"][0]["truth_ari"], 1.0);

    let file = sbm(&folder, "g.txt", CLEAR, &[&"--times", &"4"])?;
    let lines = labels(&file, &[&"--at", &"3.5", &"--at", &"2"])?;
    assert_eq!(lines.len(), 600);
    for (number, line) in lines.iter().enumerate() {
        let at = if number < 300 { "2" } else { "3.5" };
        assert_eq!((line.len(), line[0].as_str(), line[1].parse()), (3, at, Ok(number % 300)));
    }
    // Vertices that nothing is known of have label K.
    let file = folder.with("lone.txt", "# vertices 9 first_id 0\n0 1\n1 2\n2 0\n5 6\n6 7\n7 5\n0 5\n")?;
    let lines = labels(&file, &[])?;
    assert_eq!([3, 4, 8].map(|vertex: usize| lines[vertex][1].as_str()), ["3"; 3]);
    let table = table(&[&"cluster", &file, &"--sites", &"2", &"--clusters", &"2"])?;
    assert!(table.contains("3 vertices are in no cluster (label 2)"), "{table}");

    // Ids that are far apart are kept.
    let file = folder.with("far.txt", "9000000000 7\n7 5\n5 9000000000\n")?;
    let lines = labels(&file, &[&"--relabel"])?;
    assert_eq!(lines.iter().map(|line| line[0].as_str()).collect::<Vec<_>>(), ["9000000000", "7", "5"]);
    Ok(())
}

fn same_seed() -> Result {
    let folder = Folder::new()?;
    let file = come_and_go(&folder)?;
    for model in ["message-passing", "blackboard"] {
        let mut all = Vec::new();
        for (threads, seed) in [("1", "7"), ("2", "7"), ("2", "7"), ("2", "8")] {
            let out = folder.at("labels.txt");
            let mut ran = ran(
                &folder,
                &[
                    &file,
                    &"--sites",
                    &"4",
                    &"--clusters",
                    &"2",
                    &"--model",
                    &model,
                    &"--times",
                    &"3",
                    &"--seed",
                    &seed,
                    &"--threads",
                    &threads,
                    &"-o",
                    &out,
                ],
            )?;
            for time in ran.report["times"].as_array_mut().ok_or("no times")? {
                time.as_object_mut().ok_or("no time")?.remove("seconds");
            }
            all.push((fs::read(out)?, fs::read(folder.at("m.jsonl"))?, ran.report, ran.sparsifiers));
        }
        assert!(all[0] == all[1] && all[1] == all[2], "{model}: threads or runs change the result");
        assert!(all[0].1 != all[3].1, "{model}: the seed changes nothing");
    }
    Ok(())
}

fn labels_back() -> Result {
    let folder = Folder::new()?;
    let file = sbm(&folder, "g.txt", CLEAR, &[])?;
    for (model, recipients) in [("message-passing", 3), ("blackboard", 1)] {
        let cluster: Arguments =
            &[&"cluster", &file, &"--sites", &"3", &"--clusters", &"3", &"--model", &model, &"--c", &"1"];
        let (bare, back) = (json(cluster)?, json(&[cluster, &[&"--labels-back"]].concat())?);
        // Three clusters or none: 2 bits for each vertex.
        assert_eq!(count(&back["bits"]) - count(&bare["bits"]), recipients * 2 * 300, "{model}");
        assert_eq!(back["times"][0]["coordinator_bits"], recipients * 2 * 300);
    }
    Ok(())
}

fn curve() -> Result {
    let folder = Folder::new()?;
    let file = sbm(&folder, "g.txt", CLEAR, &[&"--times", &"3"])?;
    let svg = folder.at("c.svg");
    let arguments: Arguments = &[&"cluster", &file, &"--sites", &"2", &"--clusters", &"3", &"--c", &"1"];
    for times in ["1", "3"] {
        let told = table(&[arguments, &[&"--times", &times, &"--curve", &svg]].concat())?;
        assert!(told.contains("c.svg: curve"), "{told}");
        let drawn = fs::read_to_string(&svg)?;
        assert!(drawn.starts_with("<svg") && drawn.trim_end().ends_with("</svg>"));
        assert!(drawn.contains("2 sites, message-passing"));
    }
    Ok(())
}

fn empty() -> Result {
    let folder = Folder::new()?;
    let file = sbm(&folder, "g.txt", CLEAR, &[&"--times", &"3"])?;
    // Before anything has come.
    let cluster: Arguments = &[&"cluster", &file, &"--sites", &"2", &"--clusters", &"3", &"--at", &"-1"];
    for model in MODELS {
        let found = json(&[cluster, &[&"--model", &model]].concat())?;
        assert_eq!((&found["times"][0]["kept"], &found["ship_all_bits"]), (&json!(0), &json!(0)), "{model}");
        assert_eq!(found["times"][0]["unlabelled"], 300);
    }
    let told = table(cluster)?;
    assert!(
        told.contains("300 vertices are in no cluster") && !told.contains("inf") && !told.contains("NaN"),
        "{told}"
    );
    Ok(())
}

fn bench() -> Result {
    let folder = Folder::new()?;
    let file = sbm(&folder, "small.txt", ["60", "2", "0.5", "0.02"], &[])?;
    let input = format!("{}:2:{}", file.display(), folder.at("truth.txt").display());
    let bench: Arguments =
        &[&"cluster-bench", &"--part", &"inputs", &"--input", &input, &"--seeds", &"2", &"--times", &"1"];
    let measured = json(bench)?;
    assert!(count(&measured["machine"]["cores"]) > 0);
    let rows = list(&measured["rows"]);
    assert_eq!(rows.iter().map(|row| &row["model"]).collect::<Vec<_>>(), ["message-passing", "blackboard"]);
    for row in rows {
        assert_eq!((&row["input"], &row["vertices"], &row["sites"]), (&json!("small"), &json!(60), &json!(4)));
        assert!(number(&row["ari"]) >= 0.95, "{row}");
    }
    let told = table(bench)?;
    assert!(told.contains("blackboard") && told.contains("near"), "{told}");

    refused(2, &[&"cluster-bench", &"--part", &"inputs", &"--input", &file])?;
    refused(2, &[&"cluster-bench", &"--part", &"nonsense"])?;
    let said = refused(1, &[&"cluster-bench", &"--part", &"inputs", &"--input", &"none.txt:2"])?;
    assert!(said.contains("none.txt: "), "{said}");
    Ok(())
}

fn bad_usage() -> Result {
    let folder = Folder::new()?;
    let file = folder.with("g.txt", "0 1\n1 2\n2 0\n")?;
    let photo = folder.with("p.png", "none")?;
    let cluster = |arguments: Arguments| {
        let given: Arguments = &[&"cluster", &file, &"--sites", &"2", &"--clusters", &"2"];
        refused(2, &[given, arguments].concat())
    };
    for (option, value) in [
        ("--model", "gossip"),
        ("--partition", "random"),
        ("--c", "0"),
        ("--c", "-1"),
        ("--c", "NaN"),
        ("--eps", "0"),
        ("--eps", "1"),
        ("--tau", "-1"),
        ("--at", "NaN"),
        ("--at", "inf"),
        ("--times", "0"),
        ("--weight-bits", "7"),
        ("--weight-bits", "65"),
        ("--timeout", "0"),
        ("--transport", "pigeons"),
    ] {
        let said = cluster(&[&option, &value])?;
        assert!(said.contains(option) && said.contains("--help"), "{said}");
    }
    let said = cluster(&[&"--eps", &"0.5", &"--c", &"2"])?;
    assert!(said.contains("'--eps <E>' cannot be used with '--c"), "{said}");
    cluster(&[&"--at", &"1", &"--times", &"2"])?;
    cluster(&[&"--temporal", &"--weighted"])?;
    for (option, value) in [("--picture", "x.png"), ("--side", "20"), ("--sigma", "5"), ("--floor", "0.1")] {
        let said = cluster(&[&option, &value])?;
        assert!(said.contains(&format!("{option} does not fit: ")) && said.contains("g.txt is no picture"), "{said}");
    }
    let said = refused(2, &[&"cluster", &photo, &"--sites", &"2", &"--clusters", &"2", &"--relabel"])?;
    assert!(said.contains("--relabel does not fit: ") && said.contains("p.png is a picture"), "{said}");

    refused(2, &[&"cluster", &file, &"--sites", &"0", &"--clusters", &"2"])?;
    refused(2, &[&"cluster", &file, &"--sites", &"65537", &"--clusters", &"2"])?;
    refused(2, &[&"cluster", &file, &"--sites", &"2", &"--clusters", &"0"])?;
    refused(2, &[&"cluster", &file, &"--clusters", &"2"])?;
    refused(2, &[&"cluster", &"--sites", &"2", &"--clusters", &"2"])?;
    cluster(&[&"-o", &file])?; // over the graph itself
    cluster(&[&"--truth", &folder.at("t.txt"), &"--messages", &folder.at("t.txt")])?;
    cluster(&[&"-o", &folder.at("x"), &"--curve", &folder.at("x")])?;
    assert_eq!(folder.names()?, ["g.txt", "p.png"]);
    Ok(())
}

fn broken() -> Result {
    let folder = Folder::new()?;
    let (out, messages) = (folder.at("labels.txt"), folder.at("m.jsonl"));
    let (svg, prefix) = (folder.at("c.svg"), folder.at("h"));
    let outputs: Arguments =
        &[&"-o", &out, &"--messages", &messages, &"--curve", &svg, &"--sparsifier", &prefix, &"--sites", &"2"];
    let cluster = |file: &Path, arguments: Arguments| {
        let given: Arguments = &[&"cluster", &file, &"--clusters", &"2"];
        refused(1, &[given, outputs, arguments].concat())
    };
    for (text, expected) in [
        ("0 1 1 +\n1 2 2 +\n0 1 3 -\n0 1 4 -\n", "g.txt:4: there is no edge 0 -> 1 to delete"),
        ("0 1 5 +\n1 2 4 +\n", "g.txt:2: time 4 comes after time 5; times never go back"),
        ("0 1 1 + 0\n", "g.txt:1: weight 0: weights are finite and above 0"),
        ("0 1 1 +\n1 2 1 + NaN\n", "g.txt:2: "),
        ("0 1 1 + -1\n", "g.txt:1: "),
        ("0 1 inf +\n", "g.txt:1: "),
        ("0 1 1 ~\n0 1 2 +\n", "g.txt:1: "),
        ("0\n", "g.txt:1: "),
    ] {
        let said = cluster(&folder.with("g.txt", text)?, &[])?;
        assert!(said.contains(expected), "{text:?}: {said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    let file = folder.with("g.txt", "0 1\n1 2\n2 0\n")?;
    let said = refused(1, &[&"cluster", &file, &"--sites", &"2", &"--clusters", &"4"])?;
    assert!(said.contains("g.txt: 4 clusters take as many vertices, but there are 3"), "{said}");
    for (text, expected) in [
        ("0 1\n1 1\n", "t.txt:2: vertex 2 has no label"),
        ("0 1\n1 1\n2 1\n3 1\n", "t.txt:4: id 3 is out of range"),
        ("0 1\n1 1\n2 1\n1 2\n", "t.txt:4: vertex 1 has two labels"),
        ("0 1\n1 1 1\n2 1\n", "t.txt:2: "),
        ("0 one\n", "t.txt:1: "),
    ] {
        let truth = folder.with("t.txt", text)?;
        let said = cluster(&file, &[&"--truth", &truth])?;
        assert!(said.contains(expected), "{text:?}: {said}");
    }
    for option in ["-o", "--messages", "--curve", "--sparsifier"] {
        let lost = folder.at("no/such/file");
        let said = refused(1, &[&"cluster", &file, &"--sites", &"2", &"--clusters", &"2", &option, &lost])?;
        assert!(said.contains("no/such/file") && said.contains("there is no folder"), "{said}");
    }
    let said = refused(1, &[&"cluster", &folder.at("none.txt"), &"--sites", &"2", &"--clusters", &"2"])?;
    assert!(said.contains("none.txt: cannot be read"), "{said}");
    let picture = folder.with("p.png", "no picture")?;
    let said = refused(1, &[&"cluster", &picture, &"--sites", &"2", &"--clusters", &"2"])?;
    assert!(said.contains("p.png: "), "{said}");
    if cfg!(not(feature = "mpi")) {
        let said = cluster(&file, &[&"--transport", &"mpi"])?;
        assert!(said.contains("built without MPI") && said.contains("--features mpi"), "{said}");
    }
    assert_eq!(folder.names()?, ["g.txt", "p.png", "t.txt"]);
    Ok(())
}

fn students() -> Result {
    let folder = Folder::new()?;
    let file = shared_file("graph/college_msg.txt.gz");
    for (model, c) in [("message-passing", "1"), ("blackboard", "1"), ("ship-all", "auto")] {
        let ran = ran(
            &folder,
            &[
                &file,
                &"--sites",
                &"4",
                &"--clusters",
                &"4",
                &"--model",
                &model,
                &"--c",
                &c,
                &"--times",
                &"2",
                &"--partition",
                &"time",
            ],
        )?;
        assert_eq!((&ran.report["updates"], &ran.report["weight_bits"]), (&json!(59_835), &json!(0)));
        rebuild(&ran);
    }
    // Three columns may be weights too: it is said what was guessed.
    let output = tersor(&[&"cluster", &file, &"--sites", &"1", &"--clusters", &"2", &"--model", &"ship-all"])?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("read as times; --weighted"), "{said}");
    Ok(())
}

fn departments() -> Result {
    let folder = Folder::new()?;
    let (file, truth) = (shared_file("graph/email_eu_core.txt.gz"), shared_file(DEPARTMENTS));
    let ran = ran(
        &folder,
        &[&file, &"--sites", &"4", &"--clusters", &"42", &"--c", &"4", &"--tau", &"10", &"--truth", &truth],
    )?;
    rebuild(&ran);
    let time = &ran.report["times"][0];
    assert_eq!((&ran.report["vertices"], &time["edges"]), (&json!(1005), &json!(16_064)));
    let [nmi, central] = ["truth_nmi", "central_truth_nmi"].map(|field| number(&time[field]));
    assert!(nmi > 0.55 && central > 0.6 && nmi > central - 0.1, "{nmi}, {central}");
    Ok(())
}

fn photo() -> Result {
    let folder = Folder::new()?;
    let (png, file) = (folder.at("p.png"), shared_file(PHOTO));
    let ran = ran(
        &folder,
        &[
            &file,
            &"--sites",
            &"4",
            &"--clusters",
            &"3",
            &"--model",
            &"blackboard",
            &"--side",
            &"20",
            &"--c",
            &"8",
            &"--picture",
            &png,
        ],
    )?;
    rebuild(&ran);
    let report = &ran.report;
    assert_eq!((&report["weight_bits"], &report["files"]["picture"]), (&json!(32), &json!(png)));
    assert!(count(&report["bits"]) < count(&report["ship_all_bits"]), "{report}");
    let time = &report["times"][0];
    assert!(number(&time["ncut"]) < 1.2 * number(&time["central_ncut"]), "{time}");
    assert!(fs::read(&png)?.starts_with(b"\x89PNG\r\n\x1a\n"));
    Ok(())
}
