//! Label files: a line `id label` for each vertex, or `at id label` for several times; true labels read, found ones written.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;

use super::stream::Stream;
use crate::Error;
use crate::file::Fault;
use crate::file::lines::{Fields, Lines, SHORT};

const LINE: &str = "ID LABEL";

/// Reads the label of every vertex of `stream`, by the ids of its file; lines of `#` or `%` are comments.
///
/// # Errors
/// [`Error::File`] naming the line: no id, no vertex of the graph, a label that needs more than 32 bits, a vertex with
/// two labels, or, at the end, one without.
pub fn read(path: impl AsRef<Path>, stream: &Stream) -> Result<Vec<u32>, Error> {
    from_lines(&mut Lines::open(path, SHORT)?, stream)
}

/// As [`read`], from the bytes of a file called `name`.
///
/// # Errors
/// As [`read`].
pub fn from_bytes(name: &Path, bytes: Vec<u8>, stream: &Stream) -> Result<Vec<u32>, Error> {
    from_lines(&mut Lines::from_bytes(name, bytes, SHORT)?, stream)
}

fn from_lines(lines: &mut Lines, stream: &Stream) -> Result<Vec<u32>, Error> {
    let by_label: Option<HashMap<u64, usize>> =
        stream.labels.as_ref().map(|ids| ids.iter().enumerate().map(|(vertex, &id)| (id, vertex)).collect());
    let vertices = stream.vertices as u64;
    let mut labels = vec![None; stream.vertices];
    lines.each(|_, line| {
        let mut fields = Fields::of(line);
        if fields.peek().is_none_or(|byte| byte == b'#' || byte == b'%') {
            return Ok(());
        }
        let (id, label) = (fields.required(LINE)?, fields.required(LINE)?);
        fields.end(LINE)?;
        let vertex = match &by_label {
            Some(by_label) => by_label.get(&id).copied(),
            None => (id < vertices).then_some(id as usize),
        };
        let Some(vertex) = vertex else {
            // Of a graph that was relabelled, ids that never appear have no edge to cluster by.
            return if by_label.is_some() { Ok(()) } else { Err(Fault::IdRange { id, first: 0, vertices }) };
        };
        let label = u32::try_from(label).map_err(|_| Fault::Label { label })?;
        match labels[vertex].replace(label) {
            Some(other) if other != label => Err(Fault::TwoLabels { id }),
            _ => Ok(()),
        }
    })?;
    let missing = labels.iter().position(Option::is_none);
    if let Some(vertex) = missing {
        return Err(lines.fault(lines.number().max(1), Fault::NoLabel { id: stream.id(vertex) }));
    }
    Ok(labels.into_iter().flatten().collect())
}

/// Writes the labels of every time, with the time before each line if there are several.
///
/// # Errors
/// [`Error::Data`] if `path` cannot be written.
pub fn write(path: impl AsRef<Path>, stream: &Stream, times: &[f64], labels: &[Vec<u32>]) -> Result<(), Error> {
    tersor_data::atomic::write(path, |out| {
        let mut text = String::new();
        for (at, labels) in times.iter().zip(labels) {
            text.clear();
            for (vertex, label) in labels.iter().enumerate() {
                if times.len() > 1 {
                    let _ = write!(text, "{at} ");
                }
                let _ = writeln!(text, "{} {label}", stream.id(vertex));
            }
            out.write_all(text.as_bytes())?;
        }
        Ok(())
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::stream::{Change, Stream};

    fn stream(labels: Option<Vec<u64>>) -> Stream {
        let change = Change { time: 0.0, u: 0, v: 2, weight: 1.0, insert: true };
        Stream { labels, ..Stream::new(3, [change]).unwrap() }
    }

    fn read(text: &str, labels: Option<Vec<u64>>) -> Result<Vec<u32>, String> {
        from_bytes(Path::new("y.txt"), text.into(), &stream(labels)).map_err(|error| error.to_string())
    }

    #[test]
    fn labels_are_read_by_id_and_faults_by_line() {
        assert_eq!(read("# c\n2 7\n0 1\n1,0\n", None), Ok(vec![1, 0, 7]));
        assert_eq!(read("900 1\n5 2\n7 3\n70 3\n", Some(vec![5, 900, 7])), Ok(vec![2, 1, 3]));
        for (text, fault) in [
            ("0 1\n3 1\n", "y.txt:2: id 3 is out of range"),
            ("0 1\n0 2\n", "y.txt:2: vertex 0 has two labels"),
            ("0 1\n2 2\n", "y.txt:2: vertex 1 has no label"),
            ("0 x\n", "y.txt:1:"),
            ("0 99999999999\n", "y.txt:1: label 99999999999"),
            ("", "y.txt:1: vertex 0 has no label"),
        ] {
            assert!(read(text, None).unwrap_err().starts_with(fault), "{text:?}: {:?}", read(text, None));
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let (file, stream) = (folder.path().join("labels.txt"), stream(Some(vec![5, 900, 7])));
        write(&file, &stream, &[1.0], &[vec![4, 0, 1]]).unwrap();
        assert_eq!(super::read(&file, &stream).unwrap(), [4, 0, 1]);
        write(&file, &stream, &[1.0, 2.5], &[vec![4, 0, 1], vec![0, 0, 0]]).unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        assert_eq!(text, "1 5 4\n1 900 0\n1 7 1\n2.5 5 0\n2.5 900 0\n2.5 7 0\n");
    }
}
