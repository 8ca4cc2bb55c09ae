//! Graph files as users have them: real ones to their published counts, every feature of each format, and back again.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::path::Path;

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tersor_data::shared;
use tersor_data::testing::{Failure, Trials};
use tersor_graph::file::temporal::{self, Update};
use tersor_graph::file::{self, Format, GraphFile, ReadOptions};
use tersor_graph::stats::stats;
use tersor_graph::{Arc, Digraph, Dropped, sources};

type Result<T = ()> = std::result::Result<T, Failure>;

fn main() {
    Trials::new()
        .needs(&["graph/chicago_regional.gr.gz", "graph/birmingham.gr.gz"])
        .test("road_networks_have_their_published_counts", roads)
        .needs(&["graph/wiki_vote.txt.gz", "graph/email_eu_core.txt.gz"])
        .test("votes_and_mails_have_their_published_counts", lists)
        .needs(&["graph/college_msg.txt.gz"])
        .test("messages_have_their_published_counts", messages)
        .needs(&["graph/4elt.graph.gz", "graph/pgp.graph.gz"])
        .test("meshes_have_their_published_counts", meshes)
        .needs(&["graph/email_eu_core.txt.gz", "graph/email_eu_core_departments.txt"])
        .test("sources_are_read_by_the_ids_of_the_graph", departments)
        .needs(&["graph/chicago_regional.gr.gz"])
        .test("a_road_network_is_written_line_for_line", same_lines)
        .needs(&[])
        .test("dimacs_in_all_its_forms", dimacs)
        .test("edge_lists_in_all_their_forms", edge_lists)
        .test("metis_in_all_its_forms", metis)
        .test("matrix_market_in_all_its_forms", matrix_market)
        .test("temporal_lists_in_all_their_forms", temporal_lists)
        .test("zero_based_ids_become_one_based_and_say_so", offsets)
        .test("ids_far_apart_are_relabelled", relabelled)
        .test("coordinates_lie_beside", coordinates)
        .test("what_is_wrong_is_named_with_its_line", faults)
        .test("files_of_another_kind_are_refused_by_name", kinds)
        .test("every_graph_survives_every_format", round_trips)
        .test("every_undirected_graph_survives_every_format", undirected_round_trips)
        .run()
}

fn shared_graph(name: &str, options: &ReadOptions) -> Result<GraphFile> {
    Ok(file::read(shared::file(&format!("graph/{name}")).ok_or("absent")?, options)?)
}

fn text(name: &str, text: &str) -> std::result::Result<GraphFile, tersor_graph::Error> {
    file::from_bytes(name, text.into(), &ReadOptions::default())
}

fn arcs(file: &GraphFile) -> Vec<(u32, u32, f64)> {
    file.graph.list().map(|arc| (arc.from, arc.to, arc.length)).collect()
}

fn roads() -> Result {
    for (name, vertices, arcs, zeros) in
        [("chicago_regional.gr.gz", 12_982, 39_018, 3_650), ("birmingham.gr.gz", 14_639, 33_937, 51)]
    {
        let found = stats(&shared_graph(name, &ReadOptions::default())?);
        assert_eq!((found.vertices, found.arcs, found.zero_arcs), (vertices, arcs, zeros), "{name}");
        assert_eq!((found.first_id, found.unit, found.exact, found.dropped), (1, 1.0, true, Dropped::default()));
    }
    Ok(())
}

fn lists() -> Result {
    let votes = stats(&shared_graph("wiki_vote.txt.gz", &ReadOptions::default())?);
    assert_eq!((votes.vertices, votes.arcs, votes.largest_component), (8_298, 103_689, 1_300));
    assert_eq!(votes.vertices - votes.isolated, 7_115);
    let dense = shared_graph("wiki_vote.txt.gz", &ReadOptions { relabel: true, ..ReadOptions::default() })?;
    assert_eq!((dense.graph.vertices(), dense.graph.arcs()), (7_115, 103_689));
    let mails = stats(&shared_graph("email_eu_core.txt.gz", &ReadOptions::default())?);
    assert_eq!((mails.vertices, mails.arcs, mails.largest_component), (1_005, 24_929, 803));
    assert_eq!(mails.dropped, Dropped { loops: 642, parallel: 0 });
    Ok(())
}

fn messages() -> Result {
    let path = shared::file("graph/college_msg.txt.gz").ok_or("absent")?;
    let stream = temporal::read(&path, false)?;
    assert_eq!((stream.updates.len(), stream.vertices), (59_835, 1_900)); // 1,899 users, ids from 1
    assert!(stream.updates.is_sorted_by(|a, b| a.time <= b.time) && stream.updates.iter().all(|update| update.insert));
    assert_eq!(temporal::read(&path, true)?.vertices, 1_899);
    let last = file::read(&path, &ReadOptions { temporal: true, ..ReadOptions::default() })?;
    assert_eq!((last.graph.arcs(), last.dropped.parallel), (20_296, 59_835 - 20_296));
    assert!(last.graph.list().all(|arc| arc.length == 1.0));
    Ok(())
}

fn meshes() -> Result {
    for (name, vertices, edges) in [("4elt.graph.gz", 15_606, 45_878), ("pgp.graph.gz", 10_680, 24_316)] {
        let found = stats(&shared_graph(name, &ReadOptions::default())?);
        assert_eq!((found.vertices, found.arcs, found.undirected), (vertices, 2 * edges, true), "{name}");
        assert_eq!((found.reciprocity, found.components), (1.0, 1), "{name}");
    }
    Ok(())
}

fn departments() -> Result {
    let graph = shared_graph("email_eu_core.txt.gz", &ReadOptions::default())?;
    let people = std::fs::read_to_string(shared::file("graph/email_eu_core_departments.txt").ok_or("absent")?)?;
    let folder = tempfile::tempdir()?;
    let list = folder.path().join("sources.txt");
    let ids: String = people.lines().filter_map(|line| line.split(' ').next()).map(|id| format!("{id}\n")).collect();
    std::fs::write(&list, format!("# everyone\n{ids}"))?;
    assert_eq!(sources::read(&list, &graph)?, (0..1_005).collect::<Vec<_>>());
    Ok(())
}

fn same_lines() -> Result {
    let path = shared::file("graph/chicago_regional.gr.gz").ok_or("absent")?;
    let folder = tempfile::tempdir()?;
    let written = folder.path().join("c.gr");
    file::read(&path, &ReadOptions::default())?.write(&written, None)?;
    let mut original = String::new();
    MultiGzDecoder::new(std::fs::File::open(path)?).read_to_string(&mut original)?;
    let written = std::fs::read_to_string(written)?;
    let expected: BTreeSet<&str> = original.lines().filter(|line| !line.starts_with('c')).collect();
    assert!(expected == written.lines().collect());
    Ok(())
}

fn dimacs() -> Result {
    let file = text(
        "x.gr",
        "c a comment\nc\n\np sp 4 6\r\na 1 2 3\r\na\t2  3\t0\na 3 1 2.50\na 4 4 1\na 1 2 7\nc another\na 3 4\n",
    )?;
    assert_eq!(arcs(&file), [(0, 1, 30.0), (1, 2, 0.0), (2, 0, 25.0), (2, 3, 10.0)]);
    assert_eq!((file.unit, file.first_id, file.dropped), (0.1, 1, Dropped { loops: 1, parallel: 1 }));
    assert_eq!((file.id(3), file.lookup().vertex(4), file.lookup().vertex(5)), (4, Some(3), None));
    assert_eq!(text("x.gr", "p sp 0 0")?.graph.vertices(), 0);
    assert_eq!(text("x.gr", "p sp 5 0\n")?.graph.vertices(), 5);
    Ok(())
}

fn edge_lists() -> Result {
    let forms =
        ["# c\n0 1\n2\t0\n% c\n\n1 2 \n", "0,1\n1,2\n2,0", "2 0 1\r\n0 1 1.0\r\n1 2 1e0\r\n", "  0 1\n\t1 2\n 2 0\n"];
    for form in forms {
        let file = text("x.txt", form)?;
        assert_eq!(arcs(&file), [(0, 1, 1.0), (1, 2, 1.0), (2, 0, 1.0)], "{form:?}");
        assert_eq!((file.first_id, file.unit), (0, 1.0));
    }
    let weighted = text("x.csv", "5,3,0.25\n3,5,.5\n")?;
    assert_eq!((weighted.graph.vertices(), weighted.unit), (6, 0.01));
    assert_eq!(arcs(&weighted), [(3, 5, 50.0), (5, 3, 25.0)]);
    // What only a comment can say.
    let declared = text("x.txt", "# vertices 4 first_id 1\n1 2\n")?;
    assert_eq!((declared.graph.vertices(), declared.first_id, declared.id(0)), (4, 1, 1));
    assert!(text("x.txt", "# vertices 4 first_id 1\n0 2\n").is_err());
    assert!(text("x.txt", "# vertices 4 first_id 1\n1 5\n").is_err());
    assert_eq!(text("x.txt", "")?.graph.vertices(), 0);
    Ok(())
}

fn metis() -> Result {
    let path = [(0, 1, 1.0), (1, 0, 1.0), (1, 2, 1.0), (2, 1, 1.0)];
    // A blank line is a vertex without neighbours, before the end or behind it.
    for form in ["% c\n4 2\n2\n1 3\n% c\n2\n\n", "4 2 0\n2\n3 1\n2\n\n\n\n", "4 2 000\n 2 \n 1 3 \n 2 \n \n"] {
        let file = text("x.graph", form)?;
        assert_eq!((arcs(&file).as_slice(), file.graph.vertices()), (&path[..], 4), "{form:?}");
        assert_eq!((file.undirected, file.first_id), (true, 1));
    }
    // Sizes, two weights for each vertex, and lengths.
    let weighted = text("x.graph", "3 2 111 2\n9 8 7 2 1.5\n9 8 7 1 1.5 3 4\n9 8 7 2 4\n")?;
    assert_eq!(arcs(&weighted), [(0, 1, 15.0), (1, 0, 15.0), (1, 2, 40.0), (2, 1, 40.0)]);
    assert_eq!(arcs(&text("x.graph", "3 2 10\n5 2\n5 1 3\n5 2\n")?), path);
    // A loop counts as an edge for some, as half of one for others.
    for edges in [2, 3] {
        let text_of = |listed: &str| format!("2 {edges}\n{listed}\n1\n");
        let file = text("x.graph", &text_of(if edges == 2 { "1 2" } else { "1 1 1 1 2" }));
        assert_eq!(file.map(|file| file.graph.arcs()).ok(), Some(2));
    }
    Ok(())
}

fn matrix_market() -> Result {
    let of = |banner: &str, body: &str| text("x.mtx", &format!("%%MatrixMarket matrix coordinate {banner}\n{body}"));
    let general = of("real general", "% c\n\n3 3 2\n1 2 0.5\n3 1 2e0\n")?;
    assert_eq!(arcs(&general), [(0, 1, 5.0), (2, 0, 20.0)]);
    assert!(!general.undirected && general.first_id == 1);
    let symmetric = of("integer symmetric", "3 3 3\n2 1 7\n2 2 1\n3 1 2\n")?;
    assert_eq!(arcs(&symmetric), [(0, 1, 7.0), (0, 2, 2.0), (1, 0, 7.0), (2, 0, 2.0)]);
    assert_eq!((symmetric.undirected, symmetric.dropped.loops), (true, 1));
    assert_eq!(arcs(&of("pattern general", "2 2 1\n2 1\n")?), [(1, 0, 1.0)]);
    assert_eq!(text("x.mtx", "%%matrixmarket MATRIX Coordinate PATTERN Symmetric\n2 2 1\n2 1\n")?.graph.arcs(), 2);
    for refused in ["complex general", "real hermitian", "real skew-symmetric", "real", "real general more"] {
        let error = of(refused, "1 1 0\n").unwrap_err().to_string();
        assert!(error.starts_with("x.mtx:1: expected the header"), "{error}");
    }
    assert!(text("x.mtx", "%%MatrixMarket matrix array real general\n1 1\n0\n").is_err());
    Ok(())
}

fn temporal_lists() -> Result {
    let listed = "# c\n1 2 100\n2 3 100.5 +\n1 2 101\n1 2 102 -\n2 3 103 -\n3 1 -5 + 2.5\n0 0 7\n";
    let stream = temporal::from_bytes("x.txt", listed.into(), false)?;
    assert_eq!((stream.vertices, stream.updates.len()), (4, 7));
    assert_eq!(stream.updates[3], Update { time: 102.0, from: 1, to: 2, insert: false, weight: 1.0 });
    assert_eq!(stream.updates[5], Update { time: -5.0, from: 3, to: 1, insert: true, weight: 2.5 });
    // 1 -> 2 came twice and went once; 2 -> 3 is gone.
    let temporal = ReadOptions { temporal: true, ..ReadOptions::default() };
    let left = file::from_bytes("x.txt", listed.into(), &temporal)?;
    assert_eq!((arcs(&left), left.unit), (vec![(1, 2, 10.0), (3, 1, 25.0)], 0.1));
    assert_eq!(left.dropped.loops, 1);
    for (wrong, why) in [
        ("1 2 1\n1 2 2 -\n1 2 3 -\n", "x.txt:3: there is no edge 1 -> 2 to delete"),
        ("1 2\n", "x.txt:1: expected `FROM TO TIME [+|- [LENGTH]]`"),
        ("1 2 nan\n", "x.txt:1: `nan` is not a number"),
        ("1 2 3 *\n", "x.txt:1: expected `FROM TO TIME [+|- [LENGTH]]`"),
        ("1 2 3 + -1\n", "x.txt:1: length -1 is negative; lengths are 0 or more"),
        ("1 2 3 + 1 1\n", "x.txt:1: expected `FROM TO TIME [+|- [LENGTH]]`"),
    ] {
        assert_eq!(file::from_bytes("x.txt", wrong.into(), &temporal).unwrap_err().to_string(), why);
    }
    Ok(())
}

fn offsets() -> Result {
    let folder = tempfile::tempdir()?;
    let zero_based = text("x.txt", "0 1 5\n1 2 6\n2 1 6\n1 0 5\n")?;
    for (name, mark) in [("x.gr", "c id_offset 1"), ("x.mtx", "% id_offset 1"), ("x.graph", "% id_offset 1")] {
        let path = folder.path().join(name);
        zero_based.write(&path, None)?;
        let written = std::fs::read_to_string(&path)?;
        assert!(written.lines().any(|line| line == mark), "{written}");
        let read = file::read(&path, &ReadOptions::default())?;
        assert_eq!((read.graph.clone(), read.first_id, read.id(0)), (zero_based.graph.clone(), 0, 0));
        // Back to a list: the ids of the beginning.
        let back = folder.path().join("back.txt");
        read.write(&back, None)?;
        assert!(std::fs::read_to_string(back)?.contains("\n0\t1\t5\n"));
    }
    // Ids that begin with 1 stay so, in a list too.
    let one_based = text("x.gr", "p sp 3 1\na 1 2 5\n")?;
    one_based.write(folder.path().join("one.txt"), None)?;
    assert_eq!(std::fs::read_to_string(folder.path().join("one.txt"))?, "# vertices 3 first_id 1\n1\t2\t5\n");
    one_based.write(folder.path().join("one.gr"), None)?;
    assert_eq!(std::fs::read_to_string(folder.path().join("one.gr"))?, "p sp 3 1\na 1 2 5\n");
    Ok(())
}

fn relabelled() -> Result {
    let options = ReadOptions { relabel: true, ..ReadOptions::default() };
    let far = "18446744073709551615 7 2\n7 9000000000000000000 3\n";
    let refused = text("x.txt", far).unwrap_err().to_string();
    assert!(refused.starts_with("x.txt:1: id 18446744073709551615 is too large") && refused.contains("--relabel"));
    let refused = text("x.txt", "0 1\n1 2\n7 3000000000\n").unwrap_err().to_string();
    assert!(refused.starts_with("x.txt:3: 3000000001 vertices for 3 lines") && refused.contains("--relabel"));
    let file = file::from_bytes("x.txt", far.into(), &options)?;
    assert_eq!(arcs(&file), [(0, 1, 2.0), (1, 2, 3.0)]);
    assert_eq!(file.labels, Some(vec![u64::MAX, 7, 9_000_000_000_000_000_000]));
    assert_eq!((file.id(1), file.lookup().vertex(7), file.lookup().vertex(1)), (7, Some(1), None));
    let folder = tempfile::tempdir()?;
    file.write_labels(folder.path().join("map.txt"))?;
    let map = std::fs::read_to_string(folder.path().join("map.txt"))?;
    assert_eq!(map, "# new old\n0 18446744073709551615\n1 7\n2 9000000000000000000\n");
    // Ids of a file whose ids had 1 added are those before.
    let shifted = file::from_bytes("x.gr", b"c id_offset 1\np sp 9 1\na 9 3 1\n".to_vec(), &options)?;
    assert_eq!((shifted.labels, shifted.first_id), (Some(vec![8, 2]), 0));
    Ok(())
}

fn coordinates() -> Result {
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name);
    let read = |name: &str| file::read(at(name), &ReadOptions::default());
    std::fs::write(at("city.gr"), "p sp 2 1\na 1 2 3\n")?;
    assert_eq!(read("city.gr")?.coordinates, None);
    std::fs::write(at("city.co"), "c x\np aux sp co 2\nv 2 -87600000 41.5\nv 1 1e1 -2\n")?;
    let city = read("city.gr")?;
    assert_eq!(city.coordinates, Some(vec![[10.0, -2.0], [-87_600_000.0, 41.5]]));
    for name in ["a.gr", "b.gr.gz", "c.mtx", "d.txt"] {
        city.write(at(name), None)?;
        assert_eq!(read(name)?.coordinates, city.coordinates, "{name}");
    }
    assert!(at("b.co.gz").exists());
    // By the ids of a graph whose ids begin with 0, offset or not, dense or not.
    std::fs::write(at("zero.txt"), "0 1\n")?;
    std::fs::write(at("zero.co"), "p aux sp co 2\nv 0 1 2\nv 1 3 4\n")?;
    let zero = read("zero.txt")?;
    assert_eq!(zero.coordinates, Some(vec![[1.0, 2.0], [3.0, 4.0]]));
    zero.write(at("offset.gr"), None)?;
    assert_eq!(read("offset.gr")?.coordinates, zero.coordinates);
    std::fs::write(at("dense.gr"), "p sp 3 1\na 3 1 3\n")?;
    std::fs::write(at("dense.co"), "p aux sp co 3\nv 1 1 1\nv 2 2 2\nv 3 3 3\n")?;
    let dense = file::read(at("dense.gr"), &ReadOptions { relabel: true, ..ReadOptions::default() })?;
    assert_eq!(dense.coordinates, Some(vec![[3.0, 3.0], [1.0, 1.0]]));
    for (wrong, why) in [
        ("v 1 1 1\n", "city.co:1: expected the header `p aux sp co VERTICES`"),
        ("p aux sp co 2\nv 1 1 1\n", "city.co:1: the header declares 2 vertices, the file holds 1"),
        ("p aux sp co 3\nv 1 1 1\n", "city.co:1: coordinates of 3 vertices, but the graph has 2"),
        ("p aux sp co 2\nv 1 1\n", "city.co:2: expected `v ID X Y`"),
        ("p aux sp co 2\nv 1 1 inf\n", "city.co:2: `inf` is not a number"),
        ("p aux sp co 2\nv 3 1 1\n", "city.co:2: id 3 is out of range: the file declares 2 vertices from id 1"),
    ] {
        std::fs::write(at("city.co"), wrong)?;
        let error = read("city.gr").unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
    Ok(())
}

fn faults() -> Result {
    let cut = "; it is cut or damaged";
    let banner = "%%MatrixMarket matrix coordinate real general\n";
    let cases = [
        // Lengths.
        ("x.gr", "c\np sp 2 1\na 1 2 -3\n", "x.gr:3: length -3 is negative; lengths are 0 or more".into()),
        ("x.gr", "p sp 2 1\na 1 2 nan\n", "x.gr:2: length nan is not finite".into()),
        ("x.txt", "0 1\n\n0 1 inf\n", "x.txt:3: length inf is not finite".into()),
        ("x.txt", "0 1 1e999\n", "x.txt:1: length 1e999 is not finite".into()),
        ("x.txt", "0 1 x\n", "x.txt:1: `x` is not a number".into()),
        ("x.graph", "2 1 1\n2 -1\n1 -1\n", "x.graph:2: length -1 is negative; lengths are 0 or more".into()),
        (
            "x.mtx",
            &format!("{banner}2 2 1\n1 2 -0.5\n"),
            "x.mtx:3: length -0.5 is negative; lengths are 0 or more".into(),
        ),
        // Ids.
        ("x.gr", "p sp 2 1\na 1 3 1\n", "x.gr:2: id 3 is out of range: the file declares 2 vertices from id 1".into()),
        ("x.gr", "p sp 2 1\na 0 1 1\n", "x.gr:2: id 0 is out of range: the file declares 2 vertices from id 1".into()),
        ("x.graph", "2 1\n2\n3\n", "x.graph:3: id 3 is out of range: the file declares 2 vertices from id 1".into()),
        (
            "x.mtx",
            &format!("{banner}2 2 1\n0 2 1\n"),
            "x.mtx:3: id 0 is out of range: the file declares 2 vertices from id 1".into(),
        ),
        (
            "x.txt",
            "0 -1\n",
            "x.txt:1: `-1` is not an id or a count, which are whole, not negative and below 2^64".into(),
        ),
        ("x.txt", "a b\n", "x.txt:1: `a` is not an id or a count, which are whole, not negative and below 2^64".into()),
        (
            "x.txt",
            "0 1.5\n",
            "x.txt:1: `1.5` is not an id or a count, which are whole, not negative and below 2^64".into(),
        ),
        // Counts.
        ("x.gr", "p sp 2 2\na 1 2 1\n", format!("x.gr:1: the header declares 2 arcs, the file holds 1{cut}")),
        ("x.gr", "p sp 2 1\na 1 2 1\na 2 1 1\n", format!("x.gr:3: the header declares 1 arcs, the file holds 2{cut}")),
        ("x.graph", "2 1\n2\n", format!("x.graph:1: the header declares 2 vertices, the file holds 1{cut}")),
        ("x.graph", "2 1\n2\n1\n1\n", format!("x.graph:4: the header declares 2 vertices, the file holds 3{cut}")),
        ("x.graph", "3 2\n2\n1\n\n", format!("x.graph:1: the header declares 2 edges, the file holds 1{cut}")),
        (
            "x.mtx",
            &format!("{banner}2 2 2\n1 2 1\n"),
            format!("x.mtx:2: the header declares 2 entries, the file holds 1{cut}"),
        ),
        (
            "x.mtx",
            &format!("{banner}2 2 0\n1 2 1\n"),
            format!("x.mtx:3: the header declares 0 entries, the file holds 1{cut}"),
        ),
        // Headers and forms.
        ("x.gr", "", "x.gr:1: expected the header `p sp VERTICES ARCS`".into()),
        ("x.gr", "c\na 1 2 1\n", "x.gr:2: expected the header `p sp VERTICES ARCS`".into()),
        ("x.gr", "p edge 2 1\n", "x.gr:1: expected the header `p sp VERTICES ARCS`".into()),
        ("x.gr", "p sp 2\n", "x.gr:1: expected `p sp VERTICES ARCS`".into()),
        ("x.gr", "p sp 2 1\np sp 2 1\n", "x.gr:2: expected `a FROM TO LENGTH`".into()),
        ("x.gr", "p sp 2 1\na 1\n", "x.gr:2: expected `a FROM TO LENGTH`".into()),
        ("x.gr", "p sp 2 1\nab 1 2\n", "x.gr:2: expected `a FROM TO LENGTH`".into()),
        ("x.txt", "0 1 2 3\n", "x.txt:1: expected `FROM TO [LENGTH] (with times, ask for --temporal)`".into()),
        ("x.txt", "0\n", "x.txt:1: expected `FROM TO [LENGTH] (with times, ask for --temporal)`".into()),
        ("x.graph", "% c\n\n", "x.graph:2: expected the header `VERTICES EDGES [FLAGS [CONSTRAINTS]]`".into()),
        ("x.graph", "1 0 2\n\n", "x.graph:1: expected the header `VERTICES EDGES [FLAGS [CONSTRAINTS]]`".into()),
        ("x.graph", "2 1 1\n2\n1\n", "x.graph:2: expected `[SIZE] [WEIGHTS] {NEIGHBOUR [LENGTH]}`".into()),
        ("x.graph", "3 2\n2\n3\n2 1\n", "x.graph:1: the edge 1 - 2 is not listed alike by both of its ends".into()),
        ("x.graph", "2 1 1\n2 5\n1 6\n", "x.graph:1: the edge 1 - 2 is not listed alike by both of its ends".into()),
        (
            "x.mtx",
            &format!("{banner}2 3 1\n"),
            "x.mtx:2: expected the header `ROWS COLUMNS ENTRIES, as many columns as rows`".into(),
        ),
        (
            "x.mtx",
            &format!("{banner}2 2 1\n1 2\n"),
            "x.mtx:3: expected `ROW COLUMN VALUE (no value in a pattern)`".into(),
        ),
        (
            "x.mtx",
            "1 1 0\n",
            "x.mtx:1: expected the header `%%MatrixMarket matrix coordinate real|integer|pattern general|symmetric`"
                .into(),
        ),
        // Sizes.
        (
            "x.gr",
            "p sp 5000000000 0\n",
            "x.gr:1: id 5000000001 is too large for 32 bits; --relabel numbers the ids by first appearance".into(),
        ),
    ];
    for (name, content, expected) in &cases {
        let error = text(name, content).unwrap_err();
        assert!(matches!(error, tersor_graph::Error::File { .. }), "{error:?}");
        assert_eq!(error.to_string(), *expected, "{content:?}");
    }
    let error = text("x.gr", "p sp 4000000000 0\n").unwrap_err().to_string();
    assert!(error.starts_with("x.gr:1: 4000000000 vertices for 1 lines: refused"), "{error}");
    assert!(text("x.txt", "0 1 1e308\n").unwrap_err().to_string().starts_with("x.txt: a walk"));

    // A packed file that is cut, anywhere.
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    for i in 0..500 {
        writeln!(encoder, "{} {}", i, i * 7919 % 501)?;
    }
    let packed = encoder.finish()?;
    file::from_bytes("x.txt.gz", packed.clone(), &ReadOptions::default())?;
    for cut in 0..packed.len() {
        let error = file::from_bytes("x.txt.gz", packed[..cut].to_vec(), &ReadOptions::default()).unwrap_err();
        assert!(error.to_string().ends_with("the gzip stream ends too early; the file is cut"), "{cut}: {error}");
    }
    Ok(())
}

fn kinds() -> Result {
    let error =
        |name: &str, options: &ReadOptions| file::from_bytes(name, Vec::new(), options).unwrap_err().to_string();
    assert!(error("x.dot", &ReadOptions::default()).contains("--format"));
    let temporal = ReadOptions { temporal: true, ..ReadOptions::default() };
    assert_eq!(error("x.gr", &temporal), "x.gr: a dimacs file has no times; --temporal is for edge lists");
    let chosen = ReadOptions { format: Some(Format::EdgeList), ..ReadOptions::default() };
    assert_eq!(file::from_bytes("x.dot", b"0 1\n".to_vec(), &chosen)?.graph.arcs(), 1);
    let missing = file::read("/nowhere/x.gr", &ReadOptions::default()).unwrap_err().to_string();
    assert!(missing.starts_with("/nowhere/x.gr: cannot be read"), "{missing}");
    let folder = tempfile::tempdir()?;
    let directed = text("x.txt", "4 5\n5 4 2\n")?;
    let refused = directed.write(folder.path().join("x.graph"), None).unwrap_err().to_string();
    assert!(refused.contains("METIS holds undirected graphs, but 4 -> 5 and 5 -> 4"), "{refused}");
    assert_eq!(std::fs::read_dir(folder.path())?.count(), 0);
    Ok(())
}

/// Graphs whose lengths have `digits` decimals, or are any numbers.
fn graphs() -> impl Strategy<Value = GraphFile> {
    let lengths = prop_oneof![
        Just((vec![1.0], 1.0)),
        (0u32..4, prop::collection::vec(0u32..100_000, 1..9)).prop_map(|(digits, wholes)| {
            // The unit of a file is that of the length with the most digits.
            let wholes = wholes.into_iter().map(f64::from).chain([1.0]).collect();
            (wholes, 10f64.powi(-(digits as i32)))
        }),
        prop::collection::vec(0.0f64..1e200, 1..9).prop_map(|any| (any, 1.0)),
    ];
    let arcs = prop::collection::vec((0u32..20, 0u32..20), 1..60);
    (lengths, arcs, 0u32..2, any::<bool>()).prop_map(|((lengths, unit), pairs, first_id, placed)| {
        let of = |(i, (from, to)): (usize, (u32, u32))| Arc { from, to, length: lengths[i % lengths.len()] };
        let mut list: Vec<Arc> = pairs.into_iter().enumerate().map(of).collect();
        list.push(Arc { from: 20, to: 21, length: lengths[lengths.len() - 1] }); // keeps the unit
        let (graph, _) = Digraph::from_arcs(23, list).unwrap();
        let unit = 1.0 / (1.0 / unit).round();
        let coordinates = placed.then(|| (0..23).map(|v| [f64::from(v) / 3.0, -1e-7 * f64::from(v)]).collect());
        GraphFile { first_id, unit, coordinates, ..GraphFile::new(graph, Format::EdgeList) }
    })
}

fn survives(folder: &Path, original: &GraphFile, name: &str) -> std::result::Result<(), TestCaseError> {
    let path = folder.join(name);
    original.write(&path, None).unwrap();
    let read = file::read(&path, &ReadOptions::default()).unwrap();
    for beside in [&path, &file::coordinates::beside(&path)] {
        let _ = std::fs::remove_file(beside);
    }
    let expected =
        GraphFile { format: read.format, undirected: read.undirected, dropped: Dropped::default(), ..original.clone() };
    prop_assert_eq!(read, expected, "{}", name);
    Ok(())
}

fn runner() -> TestRunner {
    TestRunner::new(Config { cases: 200, failure_persistence: None, ..Config::default() })
}

fn round_trips() -> Result {
    let folder = tempfile::tempdir()?;
    runner().run(&graphs(), |original| {
        for name in ["x.gr", "x.txt.gz", "x.csv", "x.mtx", "x.gr.gz"] {
            survives(folder.path(), &original, name)?;
        }
        Ok(())
    })?;
    Ok(())
}

fn undirected_round_trips() -> Result {
    let folder = tempfile::tempdir()?;
    runner().run(&graphs(), |directed| {
        let back = directed.graph.list().map(|arc| Arc { from: arc.to, to: arc.from, ..arc });
        let (graph, _) = Digraph::from_arcs(23, directed.graph.list().chain(back).collect()).unwrap();
        let original = GraphFile { graph, undirected: true, ..directed };
        for name in ["x.graph", "x.graph.gz", "x.mtx", "x.gr"] {
            survives(folder.path(), &original, name)?;
        }
        Ok(())
    })?;
    Ok(())
}
