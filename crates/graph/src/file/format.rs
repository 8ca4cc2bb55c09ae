//! Formats of graph files, and how a file's name tells them.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Error;

/// A format of graph files. Each may be packed with gzip, then the name ends in `.gz`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// DIMACS shortest paths: `p sp n m`, `a u v w`; ids from 1; coordinates in a `.co` beside it.
    Dimacs,
    /// An edge list as SNAP writes it: `u v [w]`, `#` comments, ids as given.
    EdgeList,
    /// METIS: a line of neighbours for each vertex, ids from 1, undirected.
    Metis,
    /// Matrix Market coordinate: entry (u, v) is an arc; ids from 1.
    MatrixMarket,
}

impl Format {
    /// All formats.
    pub const ALL: [Self; 4] = [Self::Dimacs, Self::EdgeList, Self::Metis, Self::MatrixMarket];

    /// The name by which a user asks for the format.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dimacs => "dimacs",
            Self::EdgeList => "edge-list",
            Self::Metis => "metis",
            Self::MatrixMarket => "matrix-market",
        }
    }

    /// What names of such files end in; the first is the usual one.
    pub fn extensions(self) -> &'static [&'static str] {
        match self {
            Self::Dimacs => &["gr"],
            Self::EdgeList => &["txt", "edges", "edgelist", "el", "snap", "tsv", "csv"],
            Self::Metis => &["graph", "metis"],
            Self::MatrixMarket => &["mtx"],
        }
    }

    /// The format that the name of `path` tells, `.gz` aside.
    ///
    /// # Errors
    /// [`Error::UnknownFormat`].
    pub fn of(path: &Path) -> Result<Self, Error> {
        let unpacked = if is_packed(path) { path.with_extension("") } else { path.to_path_buf() };
        let extension =
            unpacked.extension().and_then(|extension| extension.to_str()).unwrap_or("").to_ascii_lowercase();
        let known = Self::ALL.into_iter().find(|format| format.extensions().contains(&extension.as_str()));
        known.ok_or_else(|| Error::UnknownFormat { file: path.to_path_buf() })
    }

    /// The id of the first vertex that the format itself prescribes.
    pub(super) fn base(self) -> u32 {
        u32::from(self != Self::EdgeList)
    }
}

/// Whether the name says that the file is packed with gzip.
pub(super) fn is_packed(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gz"))
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Format {
    type Err = String;

    /// A format by its name or by an extension.
    fn from_str(name: &str) -> Result<Self, String> {
        let called = |format: &Self| format.name() == name || format.extensions().contains(&name);
        let names = || Self::ALL.map(Self::name).join(", ");
        Self::ALL.into_iter().find(called).ok_or_else(|| format!("unknown format; known: {}", names()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_the_format_packed_or_not() {
        for format in Format::ALL {
            for extension in format.extensions() {
                for name in [format!("a.b/x.{extension}"), format!("x.y.{extension}.gz")] {
                    assert_eq!(Format::of(Path::new(&name)).unwrap(), format, "{name}");
                }
            }
            assert_eq!(format.name().parse(), Ok(format));
        }
        for unknown in ["x", "x.gz", ".gr", "x.gr.zip", ""] {
            let error = Format::of(Path::new(unknown)).unwrap_err().to_string();
            assert!(error.contains("--format"), "{error}");
        }
    }
}
