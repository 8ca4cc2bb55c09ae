//! Packages brought to this machine by the program that knows how: cargo, pip, npm, apt-get.
//!
//! Nothing here speaks to a network: mirrors, proxies and credentials are the package manager's business, and the user
//! has already told it about them. No package is installed and no code of a package runs.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Error;
use crate::fetch::Progress;
use crate::registry::{Entry, Manager};

/// Lines of a failed program's complaint that are shown.
const LAST_LINES: usize = 8;

/// A package on disk, in the form in which its manager left it.
#[derive(Debug, PartialEq)]
pub(crate) enum Package {
    /// A folder with the files.
    Folder(PathBuf),
    /// A zip archive (a wheel).
    Zip(PathBuf),
    /// A gzipped tar archive whose paths begin with `package/` (npm).
    TarGz(PathBuf),
    /// A Debian package.
    Deb(PathBuf),
}

impl Package {
    /// Where it lies.
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Folder(path) | Self::Zip(path) | Self::TarGz(path) | Self::Deb(path) => path,
        }
    }
}

/// A program to run in the scratch folder, and what a person would type instead.
#[derive(Debug, Clone, PartialEq)]
struct CommandLine {
    program: &'static str,
    arguments: Vec<String>,
    by_hand: Option<String>,
}

impl CommandLine {
    fn new(program: &'static str, arguments: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { program, arguments: arguments.into_iter().map(Into::into).collect(), by_hand: None }
    }

    fn shown(&self) -> String {
        self.by_hand.clone().unwrap_or_else(|| format!("{} {}", self.program, self.arguments.join(" ")))
    }

    /// Runs in `folder` without input and gives what was printed.
    fn run(&self, entry: &Entry, folder: &Path, progress: &dyn Fn(Progress<'_>)) -> Result<Vec<u8>, Error> {
        let shown = self.shown();
        progress(Progress::Running { command: &shown });
        let mut command = Command::new(self.program);
        command.args(&self.arguments).current_dir(folder).stdin(Stdio::null());
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(is_about_a_build) {
                command.env_remove(name);
            }
        }
        let output = command.output().map_err(|error| match error.kind() {
            ErrorKind::NotFound => Error::NoTool {
                name: entry.name.clone(),
                tool: self.program.into(),
                install: how_to_install(entry.manager),
                command: shown.clone(),
            },
            _ => Error::Read { path: self.program.into(), source: error },
        })?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        Err(Error::Download {
            name: entry.name.clone(),
            command: shown,
            status: output.status.to_string(),
            stderr: last_lines(&output.stderr),
        })
    }
}

/// Brings the package of `entry` into `folder` (which is empty), or finds it where its manager keeps it.
pub(crate) fn bring(entry: &Entry, folder: &Path, progress: &dyn Fn(Progress<'_>)) -> Result<Package, Error> {
    match entry.manager {
        Manager::Cargo => cargo(entry, folder, progress),
        Manager::Pip => pip(entry, folder, progress),
        Manager::Npm => {
            npm_pack(entry).run(entry, folder, progress)?;
            Ok(Package::TarGz(downloaded(entry, folder, "tgz")?))
        }
        Manager::Debian => {
            let [pinned, any_version] = apt_download(entry);
            // A distribution drops old versions; the file's hash decides whether the present one still serves.
            pinned.run(entry, folder, progress).or_else(|_| any_version.run(entry, folder, progress))?;
            Ok(Package::Deb(downloaded(entry, folder, "deb")?))
        }
    }
}

/// A crate is a dependency of a package that exists for this alone; what was fetched before needs no network.
fn cargo(entry: &Entry, folder: &Path, progress: &dyn Fn(Progress<'_>)) -> Result<Package, Error> {
    let manifest = format!(
        "[package]\nname = \"tersor-fetch\"\nversion = \"0.0.0\"\nedition = \"2021\"\n\n[lib]\npath = \"lib.rs\"\n\n\
         [workspace]\n\n[dependencies]\n{} = {{ version = \"={}\", default-features = false }}\n",
        entry.package, entry.version
    );
    std::fs::write(folder.join("Cargo.toml"), manifest).map_err(Error::write(folder))?;
    std::fs::write(folder.join("lib.rs"), "").map_err(Error::write(folder))?;

    let by_hand = format!(
        "cargo init --lib scratch && cd scratch && cargo add {}@={} && cargo fetch",
        entry.package, entry.version
    );
    let fetch = |arguments: &[&str]| CommandLine {
        by_hand: Some(by_hand.clone()),
        ..CommandLine::new("cargo", arguments.iter().copied())
    };
    fetch(&["fetch", "--offline"])
        .run(entry, folder, progress)
        .or_else(|_| fetch(&["fetch"]).run(entry, folder, progress))?;

    let metadata = fetch(&["metadata", "--offline", "--format-version", "1"]).run(entry, folder, progress)?;
    let metadata: serde_json::Value = serde_json::from_slice(&metadata).unwrap_or_default();
    let manifest = metadata["packages"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|package| package["name"] == entry.package.as_str() && package["version"] == entry.version.as_str())
        .and_then(|package| Path::new(package["manifest_path"].as_str()?).parent());
    manifest.map(|folder| Package::Folder(folder.into())).ok_or_else(|| no_file(entry, "Cargo.toml"))
}

/// pip goes by many names; the first that is there is used.
fn pip(entry: &Entry, folder: &Path, progress: &dyn Fn(Progress<'_>)) -> Result<Package, Error> {
    let mut last = None;
    for line in pip_download(entry) {
        match line.run(entry, folder, progress) {
            Ok(_) => return Ok(Package::Zip(downloaded(entry, folder, "whl")?)),
            Err(error @ Error::NoTool { .. }) => last = last.or(Some(error)),
            Err(Error::Download { stderr, command, .. }) if stderr.contains("No module named pip") => {
                last = Some(Error::NoTool {
                    name: entry.name.clone(),
                    tool: "pip".into(),
                    install: how_to_install(Manager::Pip),
                    command,
                });
            }
            Err(error) => return Err(error),
        }
    }
    Err(last.unwrap_or_else(|| no_file(entry, "*.whl")))
}

fn pip_download(entry: &Entry) -> [CommandLine; 4] {
    let download = ["download", "--no-deps", "--only-binary", ":all:", "--disable-pip-version-check", "-d", "."];
    let package = format!("{}=={}", entry.package, entry.version);
    [("python3", true), ("python", true), ("pip3", false), ("pip", false)].map(|(program, module)| {
        let before: &[&str] = if module { &["-m", "pip"] } else { &[] };
        CommandLine::new(program, before.iter().chain(&download).copied().chain([package.as_str()]))
    })
}

fn npm_pack(entry: &Entry) -> CommandLine {
    let package = format!("{}@{}", entry.package, entry.version);
    CommandLine::new("npm", ["pack", &package, "--pack-destination", ".", "--ignore-scripts", "--loglevel", "error"])
}

fn apt_download(entry: &Entry) -> [CommandLine; 2] {
    let pinned = format!("{}={}", entry.package, entry.version);
    [pinned.as_str(), entry.package.as_str()].map(|package| CommandLine::new("apt-get", ["download", package]))
}

/// Whether a variable tells cargo how to build, and not where its registry is: under `cargo run` there are many, and
/// the little package made here has nothing to do with them.
fn is_about_a_build(variable: &str) -> bool {
    const OF_THE_USER: [&str; 6] =
        ["CARGO_HOME", "CARGO_NET_", "CARGO_HTTP_", "CARGO_REGISTRY_", "CARGO_REGISTRIES_", "CARGO_SOURCE_"];
    let of_the_user = OF_THE_USER.iter().any(|prefix| variable.starts_with(prefix));
    let of_a_build = ["CARGO_", "RUSTC", "RUSTFLAGS", "RUSTDOC"].iter().any(|prefix| variable.starts_with(prefix));
    of_a_build && !of_the_user
}

fn how_to_install(manager: Manager) -> &'static str {
    match manager {
        Manager::Cargo => "install Rust (rustup.rs)",
        Manager::Pip => "install Python with pip (Debian: apt install python3-pip)",
        Manager::Npm => "install Node.js with npm (Debian: apt install npm)",
        Manager::Debian => "this file comes from Debian alone; use Debian or a system derived from it",
    }
}

/// The one downloaded file in `folder` with this suffix.
fn downloaded(entry: &Entry, folder: &Path, suffix: &str) -> Result<PathBuf, Error> {
    let files = std::fs::read_dir(folder).map_err(Error::read(folder))?;
    files
        .filter_map(|file| Some(file.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == suffix))
        .ok_or_else(|| no_file(entry, &format!("*.{suffix}")))
}

/// The error for a package that lacks `path`.
pub(crate) fn no_file(entry: &Entry, path: &str) -> Error {
    Error::NoSuchFile {
        name: entry.name.clone(),
        package: format!("{} {} ({})", entry.package, entry.version, entry.manager),
        path: path.into(),
    }
}

/// The end of what a program complained, without terminal control characters.
pub(crate) fn last_lines(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let lines: Vec<String> = text
        .lines()
        .map(|line| line.chars().filter(|c| !c.is_control()).take(400).collect::<String>())
        .filter(|line| !line.trim().is_empty())
        .collect();
    match lines[lines.len().saturating_sub(LAST_LINES)..].join("\n") {
        nothing if nothing.is_empty() => "(it said nothing)".into(),
        said => said,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(manager: Manager, package: &str) -> Entry {
        Entry {
            name: "trial".into(),
            manager,
            package: package.into(),
            version: "1.2.3".into(),
            path: "models/x.tflite".into(),
            size: 1,
            sha256: "0".repeat(64),
            licence: "MIT".into(),
            purpose: "none".into(),
        }
    }

    #[test]
    fn commands_are_what_a_person_would_type() {
        let [python, .., pip] = pip_download(&entry(Manager::Pip, "silero-vad"));
        let rest = "download --no-deps --only-binary :all: --disable-pip-version-check -d . silero-vad==1.2.3";
        assert_eq!(python.shown(), format!("python3 -m pip {rest}"));
        assert_eq!(pip.shown(), format!("pip {rest}"));
        assert!(npm_pack(&entry(Manager::Npm, "@a/b")).shown().starts_with("npm pack @a/b@1.2.3 --pack-destination ."));
        let [pinned, any_version] = apt_download(&entry(Manager::Debian, "d"));
        assert_eq!(
            (pinned.shown().as_str(), any_version.shown().as_str()),
            ("apt-get download d=1.2.3", "apt-get download d")
        );
    }

    #[test]
    fn a_missing_program_is_named_with_what_to_install() {
        let folder = tempfile::tempdir().unwrap();
        let line = CommandLine::new("tersor-no-such-program", ["get", "it"]);
        let error = line.run(&entry(Manager::Npm, "p"), folder.path(), &|_| ()).unwrap_err().to_string();
        for part in ["tersor-no-such-program get it", "install Node.js", "`trial`"] {
            assert!(error.contains(part), "{error}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_failing_program_is_quoted() {
        let folder = tempfile::tempdir().unwrap();
        let line = CommandLine::new("sh", ["-c", "for i in $(seq 99); do echo line $i >&2; done; exit 3"]);
        let error = line.run(&entry(Manager::Pip, "p"), folder.path(), &|_| ()).unwrap_err().to_string();
        assert!(error.contains("line 99") && error.contains("line 92") && !error.contains("line 91"), "{error}");
    }

    #[test]
    fn the_users_registry_settings_stay_and_the_builds_go() {
        for stays in ["CARGO_HOME", "CARGO_REGISTRIES_X_INDEX", "CARGO_HTTP_PROXY", "PATH", "RUSTUP_HOME"] {
            assert!(!is_about_a_build(stays), "{stays}");
        }
        for goes in ["CARGO_TARGET_DIR", "CARGO_MANIFEST_DIR", "RUSTC_WRAPPER", "RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS"]
        {
            assert!(is_about_a_build(goes), "{goes}");
        }
    }
}
