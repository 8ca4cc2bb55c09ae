//! The command line as a user meets it: the built binary, its output and its exit codes. Nothing is downloaded.

use std::collections::HashSet;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// A run of `tersor` with a cache of its own, empty unless the test fills it.
struct Terminal {
    folder: tempfile::TempDir,
}

impl Terminal {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tersor"));
        command.args(line.split_whitespace()).env("TERSOR_CACHE", self.folder.path().join("cache"));
        command.current_dir(self.folder.path());
        command
    }

    fn run(&self, line: &str) -> Output {
        self.command(line).output().unwrap()
    }

    /// What a successful run prints; it leaves stderr empty.
    fn printed(&self, line: &str) -> String {
        let output = self.run(line);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success() && err.is_empty(), "tersor {line}: {}\n{out}\n{err}", output.status);
        out
    }

    /// What a run says on stderr that ends with `code`; it leaves stdout empty.
    fn refused(&self, line: &str, code: i32) -> String {
        let output = self.run(line);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert_eq!((output.status.code(), out.as_str()), (Some(code), ""), "tersor {line}: {err}");
        err
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn help_lists_the_verbs() {
    let help = Terminal::new().printed("--help");
    for verb in ["tour", "data", "completions"].iter().chain(cfg!(feature = "tiny").then_some(&"tiny")) {
        assert!(help.lines().any(|line| line.trim_start().starts_with(verb)), "{verb} is missing:\n{help}");
    }
}

#[test]
fn no_verb_and_unknown_verbs_are_bad_usage() {
    let terminal = Terminal::new();
    assert!(terminal.refused("", 2).contains("Usage: tersor"));
    assert!(terminal.refused("data nosuch", 2).contains("unrecognized subcommand 'nosuch'"));
    assert!(terminal.refused("data get", 2).contains("NAME"));
}

#[test]
fn the_list_names_every_file_once() {
    let list: Value = serde_json::from_str(&Terminal::new().printed("data list --json")).unwrap();
    let list = list.as_array().unwrap();
    let names: HashSet<_> = list.iter().map(|entry| entry["name"].as_str().unwrap()).collect();
    assert_eq!(names.len(), list.len());
    assert!(names.contains("person-detect"));
    for entry in list {
        assert_eq!(entry["here"], false, "{entry}");
        assert!(entry["size"].as_u64().unwrap() > 0, "{entry}");
    }
}

#[test]
fn the_table_of_data_shows_exact_sizes_without_colour() {
    let table = Terminal::new().printed("data list");
    let line = table.lines().find(|line| line.starts_with("person-detect ")).unwrap();
    assert!(line.contains(" 300,568 ") && line.contains(" cargo microflow 0.1.3 "), "{line}");
    assert!(!table.contains('\u{1b}'), "escape sequences in a pipe");
}

#[test]
fn a_path_that_is_not_here_says_how_to_get_it() {
    let terminal = Terminal::new();
    let said = terminal.refused("data path person-detect", 1);
    assert_eq!(said, "error: `person-detect` is not here yet; get it with: tersor data get person-detect\n");
    let said = terminal.refused("data path nosuch", 1);
    assert!(said.starts_with("error: ") && said.contains("tersor data list"), "{said}");
    assert!(terminal.refused("data path person-detecter", 1).contains("did you mean `person-detect`?"));
}

#[test]
fn a_slip_in_one_name_is_found_before_anything_is_fetched() {
    let terminal = Terminal::new();
    assert!(terminal.refused("data get person-detect nosuch", 1).contains("`nosuch`"));
    assert!(!terminal.folder.path().join("cache").exists());
}

#[test]
fn an_unknown_room_is_bad_usage() {
    let said = Terminal::new().refused("tour --room nosuch", 2);
    assert!(said.contains("nosuch") && said.contains("--room"), "{said}");
    #[cfg(feature = "tiny")]
    assert!(said.contains("tiny"), "{said}");
}

#[test]
fn completions_are_printed_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = Terminal::new().printed(&format!("completions {shell}"));
        assert!(script.contains("tersor") && script.contains("tour"), "{shell}");
    }
}

#[test]
fn the_tour_is_one_json_document() {
    let output = Terminal::new().run("tour --offline --json");
    let tour: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(tour["version"], env!("CARGO_PKG_VERSION"));
    assert!(tour["machine"]["cores"].as_u64().unwrap() >= 1);
    let visits = tour["visits"].as_array().unwrap();
    assert_eq!(visits.is_empty(), cfg!(not(any(feature = "graph", feature = "tiny"))));
    for visit in visits {
        assert!(visit["room"].is_string() && visit["system"].is_string(), "{visit}");
        let ends = ["shown", "lacking", "failed"].iter().filter(|end| visit.get(end).is_some()).count();
        assert_eq!(ends, 1, "{visit}");
        assert!(visit.get("failed").is_none(), "{visit}");
    }
    assert!(output.status.success(), "{}", text(&output.stderr));
}

#[test]
fn the_tour_in_a_table_tells_what_is_lacking() {
    let printed = Terminal::new().printed("tour --offline");
    let (tiny, graph) = (cfg!(feature = "tiny"), cfg!(feature = "graph"));
    if tiny || graph {
        assert!(printed.contains("room") && printed.contains("before"), "{printed}");
    } else {
        assert!(printed.starts_with("No room is built into this tersor"), "{printed}");
    }
    assert_eq!(printed.contains("tersor data get "), tiny || graph, "{printed}");
    assert_eq!(printed.contains("the certified 16x"), graph, "{printed}");
}

#[cfg(feature = "graph")]
#[test]
fn the_first_stop_at_graphs_needs_no_download() {
    let terminal = Terminal::new();
    let output = terminal.run("tour --room graph --offline --quiet --json --out pictures");
    let tour: Value = serde_json::from_slice(&output.stdout).unwrap();
    let [visit, pixels] = tour["visits"].as_array().unwrap().as_slice() else { panic!("{tour}") };
    assert!(pixels["lacking"].as_str().unwrap().contains("tersor data get solvay-1927"), "{pixels}");
    assert_eq!((&visit["room"], &visit["shown"]["spared"]), (&"graph".into(), &"arcs".into()), "{visit}");
    for name in ["graph-roads.svg", "graph-roads-stretch.svg"] {
        let picture = std::fs::read_to_string(terminal.folder.path().join("pictures").join(name)).unwrap();
        assert!(picture.starts_with("<svg"), "{name}");
    }
}

#[test]
fn the_report_stands_alone() {
    let terminal = Terminal::new();
    let output = terminal.run("tour --offline --quiet --json --out a/b");
    assert!(output.status.success() && output.stderr.is_empty(), "{}", text(&output.stderr));
    let page = std::fs::read_to_string(terminal.folder.path().join("a/b/tour.html")).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>"), "{page}");
    for outside in ["http://", "https://", "href", "url(", "@import", "<script", "<link", "<svg"] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert_eq!(page.matches("src=\"").count(), page.matches("src=\"data:image/").count());

    let tour: Value = serde_json::from_slice(&output.stdout).unwrap();
    for visit in tour["visits"].as_array().unwrap() {
        assert!(page.contains(&escaped(visit["system"].as_str().unwrap())), "{visit}");
        if let Some(why) = visit["lacking"].as_str() {
            assert!(page.contains(&escaped(why)), "{visit}");
        }
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[test]
fn a_folder_that_cannot_be_made_is_told_before_the_tour() {
    let terminal = Terminal::new();
    std::fs::write(terminal.folder.path().join("file"), b"").unwrap();
    let said = terminal.refused("tour --offline --out file", 1);
    assert!(said.starts_with("error: file: the folder cannot be made: "), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn a_reader_that_leaves_early_is_no_failure() {
    for line in ["data list", "data list --json", "completions bash", "tour --offline", "--help"] {
        let terminal = Terminal::new();
        let mut child = terminal.command(line).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        let status = child.wait().unwrap();
        assert!(status.success() && said.is_empty(), "tersor {line}: {status}: {said}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_a_failure() {
    let full = Path::new("/dev/full");
    let terminal = Terminal::new();
    let out = std::fs::File::options().write(true).open(full).unwrap();
    let output = terminal.command("data list").stdout(out).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).starts_with("error: the output cannot be written: "));
}
