//! Certificates as files: JSON with the ids and the unit of the graph's file, one cluster a line.
//!
//! ```json
//! {
//!   "stretch": 16,
//!   "ratio": 2,
//!   "sources": [12, 5],
//!   "clusters": [
//!     {"scale": 0.5, "centre": 12, "radius": 1.25, "limit": 2}
//!   ]
//! }
//! ```
//!
//! A length keeps its digits on the way into the file's unit and back, so that what was certified is what is checked, to
//! the bit. A file is believed nothing: no other field, no id that the graph lacks, no number that is none, no more than
//! [`LARGEST`] bytes; what is held is bounded by what is read.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Certificate, Cluster};
use crate::Error;
use crate::file::GraphFile;
use crate::file::decimal::{push_shifted, shifted};

/// The most bytes that a certificate may have: millions of clusters.
pub const LARGEST: u64 = 1 << 30;

/// The document as it stands: numbers as text, vertices as ids.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Listed<'a> {
    #[serde(borrow)]
    stretch: &'a RawValue,
    #[serde(borrow)]
    ratio: &'a RawValue,
    sources: Vec<u64>,
    #[serde(borrow)]
    clusters: Vec<ListedCluster<'a>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListedCluster<'a> {
    #[serde(borrow)]
    scale: &'a RawValue,
    centre: u64,
    #[serde(borrow)]
    radius: &'a RawValue,
    #[serde(borrow)]
    limit: &'a RawValue,
}

/// Reads a certificate of `graph`.
///
/// # Errors
/// [`Error::Certificate`] naming what is wrong: no such JSON, an id that is no vertex, a length that is none;
/// [`Error::Data`] if `path` cannot be read.
pub fn read(path: impl AsRef<Path>, graph: &GraphFile) -> Result<Certificate, Error> {
    let path = path.as_ref();
    let mut text = Vec::new();
    File::open(path)
        .and_then(|file| file.take(LARGEST + 1).read_to_end(&mut text))
        .map_err(|source| tersor_data::Error::Read { path: path.to_path_buf(), source })?;
    from_bytes(path, &text, graph)
}

/// As [`read`], from the bytes of a file called `name`.
///
/// # Errors
/// As [`read`].
pub fn from_bytes(name: impl AsRef<Path>, text: &[u8], graph: &GraphFile) -> Result<Certificate, Error> {
    certificate(text, graph).map_err(|fault| Error::Certificate { file: name.as_ref().to_path_buf(), fault })
}

fn certificate(text: &[u8], graph: &GraphFile) -> Result<Certificate, String> {
    if text.len() as u64 > LARGEST {
        return Err(format!("larger than {LARGEST} bytes, which no certificate is"));
    }
    let listed: Listed = serde_json::from_slice(text).map_err(|error| format!("not a certificate: {error}"))?;
    let lookup = graph.lookup();
    let vertex = |id: u64, what: &dyn Fn() -> String| {
        lookup.vertex(id).ok_or_else(|| format!("{}: the graph has no vertex {id}", what()))
    };
    let sources = listed.sources.iter().enumerate();
    let sources = sources.map(|(at, &id)| vertex(id, &|| format!("sources[{at}]"))).collect::<Result<_, _>>()?;
    let cluster = |(at, listed): (usize, &ListedCluster)| {
        let at = |what: &str| format!("clusters[{at}].{what}");
        let length = |text: &RawValue, what| number(text, graph.decimals()).map_err(|fault| at(what) + ": " + &fault);
        Ok::<_, String>(Cluster {
            scale: length(listed.scale, "scale")?,
            centre: vertex(listed.centre, &|| at("centre"))?,
            radius: length(listed.radius, "radius")?,
            limit: length(listed.limit, "limit")?,
        })
    };
    Ok(Certificate {
        stretch: number(listed.stretch, 0).map_err(|fault| format!("stretch: {fault}"))?,
        ratio: number(listed.ratio, 0).map_err(|fault| format!("ratio: {fault}"))?,
        sources,
        clusters: listed.clusters.iter().enumerate().map(cluster).collect::<Result<_, _>>()?,
    })
}

/// A number that is finite and not negative, times 10^`digits`.
fn number(text: &RawValue, digits: u32) -> Result<f64, String> {
    let number = shifted(text.get(), digits).filter(|number| number.is_finite() && *number >= 0.0);
    number.ok_or_else(|| {
        let shown: String = text.get().chars().take(40).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
        format!("expected a finite number, not negative, found `{shown}`")
    })
}

/// Writes `certificate` with the ids and the unit of `graph`'s file.
///
/// # Errors
/// [`Error::Data`] if `path` cannot be written.
pub fn write(path: impl AsRef<Path>, certificate: &Certificate, graph: &GraphFile) -> Result<(), Error> {
    let text = to_text(certificate, graph);
    tersor_data::atomic::write(path, |out| out.write_all(text.as_bytes()))?;
    Ok(())
}

/// The text of a certificate's file.
pub fn to_text(certificate: &Certificate, graph: &GraphFile) -> String {
    let mut text = String::new();
    let push = |text: &mut String, name: &str, number: f64, digits: u32| {
        let _ = write!(text, "\"{name}\": ");
        push_shifted(text, number, digits);
    };
    text += "{\n  ";
    push(&mut text, "stretch", certificate.stretch, 0);
    text += ",\n  ";
    push(&mut text, "ratio", certificate.ratio, 0);
    text += ",\n  \"sources\": [";
    for (at, &source) in certificate.sources.iter().enumerate() {
        let comma = if at > 0 { ", " } else { "" };
        let _ = write!(text, "{comma}{}", graph.id(source));
    }
    text += "],\n  \"clusters\": [";
    for (at, cluster) in certificate.clusters.iter().enumerate() {
        text += if at > 0 { ",\n    {" } else { "\n    {" };
        push(&mut text, "scale", cluster.scale, graph.decimals());
        let _ = write!(text, ", \"centre\": {}, ", graph.id(cluster.centre));
        push(&mut text, "radius", cluster.radius, graph.decimals());
        text += ", ";
        push(&mut text, "limit", cluster.limit, graph.decimals());
        text.push('}');
    }
    text += if certificate.clusters.is_empty() { "]\n}\n" } else { "\n  ]\n}\n" };
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::file::{self, ReadOptions};

    /// Four vertices, ids from `first`, lengths of two decimals; or, relabelled, ids far apart.
    fn graph(first: u32, relabel: bool) -> GraphFile {
        let text = match (first, relabel) {
            (_, true) => "900000000000 70 0.25\n70 900000000000 1\n70 5 1\n5 6 2\n",
            (0, _) => "0 1 0.25\n1 0 1\n2 3 1\n",
            _ => "# vertices 4 first_id 1\n1 2 0.25\n2 1 1\n3 4 1\n",
        };
        let options = ReadOptions { relabel, ..ReadOptions::default() };
        file::from_bytes("g.txt", text.into(), &options).unwrap()
    }

    fn said(text: &str) -> String {
        from_bytes("c.json", text.as_bytes(), &graph(1, false)).unwrap_err().to_string()
    }

    #[test]
    fn a_certificate_is_written_by_ids_and_in_the_unit_of_the_file() {
        let clusters = vec![Cluster { scale: 50.0, centre: 0, radius: 125.0, limit: 200.0 }];
        let certificate = Certificate { stretch: 16.0, ratio: 2.0, sources: vec![1, 0], clusters };
        let text = to_text(&certificate, &graph(0, true));
        let expected = concat!(
            "{\n  \"stretch\": 16,\n  \"ratio\": 2,\n  \"sources\": [70, 900000000000],\n  \"clusters\": [\n",
            "    {\"scale\": 0.5, \"centre\": 900000000000, \"radius\": 1.25, \"limit\": 2}\n  ]\n}\n"
        );
        assert_eq!(text, expected);
    }

    proptest! {
        #[test]
        fn what_is_written_reads_the_same(
            stretch in 1.0f64..1e4,
            sources in prop::collection::vec(0u32..4, 0..5),
            clusters in prop::collection::vec((0.0f64..1e9, 0u32..4, 0.0f64..1e12, 0.0f64..1e12), 0..6),
            first in 0u32..2,
            relabel: bool,
        ) {
            let clusters = clusters.into_iter().map(|(scale, centre, radius, limit)| {
                Cluster { scale: scale.trunc(), centre, radius, limit }
            });
            let certificate = Certificate { stretch, ratio: 2.0, sources, clusters: clusters.collect() };
            let graph = graph(first, relabel);
            let text = to_text(&certificate, &graph);
            prop_assert_eq!(from_bytes("c.json", text.as_bytes(), &graph).unwrap(), certificate);
            let any: serde_json::Value = serde_json::from_str(&text).unwrap(); // as other programs read it
            prop_assert_eq!(&any["ratio"], 2);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let _ = from_bytes("c.json", &bytes, &graph(1, false));
        }

        #[test]
        fn damaged_certificates_are_read_or_refused(at in any::<prop::sample::Index>(), byte: u8, cut: bool) {
            let cluster = Cluster { scale: 50.0, centre: 0, radius: 125.0, limit: 200.0 };
            let certificate = Certificate { stretch: 16.0, ratio: 2.0, sources: vec![1, 0], clusters: vec![cluster] };
            let mut text = to_text(&certificate, &graph(1, false)).into_bytes();
            let at = at.index(text.len());
            if cut { text.truncate(at) } else { text[at] = byte }
            let _ = from_bytes("c.json", &text, &graph(1, false));
        }
    }

    #[test]
    fn hostile_files_are_told_what_is_wrong() {
        let with = |field: &str, value: &str| {
            let fields = [("scale", "1"), ("centre", "1"), ("radius", "1"), ("limit", "1")];
            let of = |(name, usual): (&str, &str)| format!("\"{name}\": {}", if name == field { value } else { usual });
            let cluster = fields.map(of).join(", ");
            said(&format!("{{\"stretch\": 4, \"ratio\": 2, \"sources\": [1], \"clusters\": [{{{cluster}}}]}}"))
        };
        for wrong in ["-1", "1e999", "\"1\"", "null", "[1]"] {
            let expected =
                format!("c.json: clusters[0].radius: expected a finite number, not negative, found `{wrong}`");
            assert_eq!(with("radius", wrong), expected);
        }
        assert!(with("limit", "NaN").starts_with("c.json: not a certificate: "));
        for wrong in ["0", "5", "18446744073709551615"] {
            assert_eq!(with("centre", wrong), format!("c.json: clusters[0].centre: the graph has no vertex {wrong}"));
        }
        for wrong in ["-1", "1.5", "18446744073709551616", "\"1\""] {
            assert!(with("centre", wrong).starts_with("c.json: not a certificate: invalid"), "{wrong}");
        }
        let nested = "[".repeat(1 << 20);
        assert!(with("centre", &nested).contains("not a certificate"));
        assert!(with("radius", &nested).contains("not a certificate"));
        assert!(said(&nested).contains("not a certificate"));
        assert!(
            said("{\"stretch\": 4, \"ratio\": 2, \"sources\": [9], \"clusters\": []}")
                .contains("sources[0]: the graph")
        );
        assert!(said("{\"stretch\": 4, \"ratio\": 2, \"clusters\": []}").contains("missing field `sources`"));
        assert!(said("{\"stretch\": 4, \"stretch\": 4}").contains("duplicate field `stretch`"));
        assert!(said("{\"streich\": 4}").contains("unknown field `streich`"));
        assert!(said("").contains("not a certificate"));
    }

    #[test]
    fn a_file_without_end_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.json");
        let missing = read(&path, &graph(1, false)).unwrap_err().to_string();
        assert!(missing.contains("cannot be read"), "{missing}");
    }
}
