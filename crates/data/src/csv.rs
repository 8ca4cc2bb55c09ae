//! Tables of numbers with commas between them, one row an example, one column the class.
//!
//! Every field but the label must be a finite number; which column is the label, whether the first row is a header and
//! which columns are passed over is said by the reader, not guessed. Files may be packed with gzip.

use std::collections::HashMap;
use std::path::Path;

use ::csv::{ByteRecord, Position, ReaderBuilder};

use crate::examples::{Examples, numbered};
use crate::{Error, unpack};

/// Columns that are read.
pub const MOST_COLUMNS: usize = 1 << 16;

/// Classes that a label column may have.
pub const MOST_CLASSES: usize = 1 << 16;

/// Bytes of the longest line: numbers of [`MOST_COLUMNS`] columns are shorter.
const LONGEST_LINE: usize = 4 << 20;

/// Which column is the class.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Label {
    /// None: all columns are numbers.
    Absent,
    /// The first.
    First,
    /// The last.
    #[default]
    Last,
    /// The one that the header calls so.
    Named(String),
}

/// How the table is laid out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layout {
    /// Whether the first row gives the columns' names.
    pub header: bool,
    /// Which column is the class.
    pub label: Label,
    /// Columns, from 0, that are passed over.
    pub skip: Vec<usize>,
}

/// A table of numbers, and the class of every row if it has one.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// Where it was read.
    pub place: String,
    /// The names of the columns of `values`: the header's, else their numbers in the file, from 0.
    pub columns: Vec<String>,
    /// The numbers, `[rows, columns]`.
    pub values: Vec<f32>,
    /// The class of every row, an index into `classes`; empty if no column is the label.
    pub labels: Vec<u32>,
    /// The labels that occur: in the order of their numbers if all are whole numbers, else of their characters.
    pub classes: Vec<String>,
}

/// Reads the table in the file `path`.
///
/// # Errors
/// [`Error::Read`], [`Error::Bomb`], or [`Error::Format`] naming the line and the column.
pub fn read(path: impl AsRef<Path>, layout: &Layout) -> Result<Table, Error> {
    let path = path.as_ref();
    parse(&path.display().to_string(), &unpack::content(path)?, layout)
}

/// Reads the table in `bytes`, packed or not; `name` says in errors where they came from.
///
/// # Errors
/// As [`read`], without the reading.
pub fn from_bytes(name: &str, bytes: Vec<u8>, layout: &Layout) -> Result<Table, Error> {
    parse(name, &unpack::unpacked(name, bytes)?, layout)
}

fn parse(name: &str, bytes: &[u8], layout: &Layout) -> Result<Table, Error> {
    let bad = |line: u64, found: String| Error::Format { place: format!("{name}:{line}"), format: "CSV table", found };
    // The reader keeps a record's fields and their ends; without a limit a file of commas would take eight times itself.
    if let Some(index) = bytes.split(|&byte| byte == b'\n').position(|line| line.len() > LONGEST_LINE) {
        return Err(bad(index as u64 + 1, format!("a line of more than {LONGEST_LINE} bytes")));
    }
    let mut reader = ReaderBuilder::new().has_headers(false).flexible(true).from_reader(bytes);
    let mut record = ByteRecord::new();
    let mut shape: Option<Shape> = None;
    let mut values = Vec::new();
    let mut labels = Labels::default();
    loop {
        let begin = reader.position().clone();
        let fault = |found: String| bad(line_of_record(bytes, &begin), found);
        if !reader.read_byte_record(&mut record).map_err(|error| fault(error.to_string()))? {
            break;
        }
        let is_first = shape.is_none();
        let shape = match &mut shape {
            Some(shape) => shape,
            none => none.insert(Shape::of(&record, layout).map_err(fault)?),
        };
        if !(is_first && layout.header) {
            row(&record, shape, &mut values, &mut labels).map_err(fault)?;
        }
    }
    let shape = shape.ok_or_else(|| bad(1, "the file is empty".into()))?;
    let (labels, classes) = labels.in_order();
    Ok(Table { place: name.into(), columns: shape.names, values, labels, classes })
}

/// The line on which a record begins: empty lines before it belong to the reader's position, but not to the record.
fn line_of_record(bytes: &[u8], position: &Position) -> u64 {
    let rest = bytes.get(position.byte() as usize..).unwrap_or_default();
    let empty = rest.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).filter(|&&byte| byte == b'\n').count();
    position.line() + empty as u64
}

/// What the first row says about all.
struct Shape {
    width: usize,
    /// The columns that are numbers, and their names.
    numbers: Vec<usize>,
    names: Vec<String>,
    label: Option<usize>,
}

impl Shape {
    fn of(first: &ByteRecord, layout: &Layout) -> Result<Self, String> {
        let width = first.len();
        if width > MOST_COLUMNS {
            return Err(format!("{width} columns; at most {MOST_COLUMNS} are read"));
        }
        let names: Vec<String> = match layout.header {
            true => first.iter().map(|field| String::from_utf8_lossy(field.trim_ascii()).into_owned()).collect(),
            false => numbered(width),
        };
        let label = match &layout.label {
            Label::Absent => None,
            Label::First => Some(0),
            Label::Last => Some(width - 1),
            Label::Named(_) if !layout.header => {
                return Err("a label column is named, but the file is read without a header".into());
            }
            Label::Named(name) => Some(names.iter().position(|column| column == name).ok_or_else(|| {
                let shown = names.iter().take(12).map(String::as_str).collect::<Vec<_>>().join(", ");
                format!("no column is called `{name}`; there are {width}: {shown}")
            })?),
        };
        let numbers: Vec<usize> =
            (0..width).filter(|column| label != Some(*column) && !layout.skip.contains(column)).collect();
        let names = numbers.iter().map(|&column| names[column].clone()).collect();
        Ok(Self { width, numbers, names, label })
    }
}

fn row(record: &ByteRecord, shape: &Shape, values: &mut Vec<f32>, labels: &mut Labels) -> Result<(), String> {
    if record.len() != shape.width {
        return Err(format!("{} columns, the first row has {}", record.len(), shape.width));
    }
    for &column in &shape.numbers {
        values.push(
            number(&record[column])
                .ok_or_else(|| format!("column {column} is `{}`, expected a finite number", shown(&record[column])))?,
        );
    }
    match shape.label {
        Some(column) => labels.push(record[column].trim_ascii()).ok_or_else(|| {
            format!(
                "column {column}, the label, has more than {MOST_CLASSES} classes; is it a measurement? then read it \
                 without a label"
            )
        }),
        None => Ok(()),
    }
}

fn number(field: &[u8]) -> Option<f32> {
    let number: f32 = str::from_utf8(field.trim_ascii()).ok()?.parse().ok()?;
    number.is_finite().then_some(number)
}

/// The beginning of a field, for a message.
fn shown(field: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(&field[..field.len().min(160)]).chars().take(40).collect();
    text.escape_debug().to_string()
}

/// Labels numbered as they come, put in order at the end.
#[derive(Default)]
struct Labels {
    rows: Vec<u32>,
    known: HashMap<Vec<u8>, u32>,
}

impl Labels {
    fn push(&mut self, label: &[u8]) -> Option<()> {
        let next = self.known.len() as u32;
        let label = match self.known.get(label) {
            Some(&label) => label,
            None if next as usize == MOST_CLASSES => return None,
            None => *self.known.entry(label.to_vec()).or_insert(next),
        };
        self.rows.push(label);
        Some(())
    }

    fn in_order(self) -> (Vec<u32>, Vec<String>) {
        let mut classes: Vec<(String, u32)> =
            self.known.into_iter().map(|(name, label)| (String::from_utf8_lossy(&name).into_owned(), label)).collect();
        classes.sort();
        if classes.iter().all(|(name, _)| name.parse::<i64>().is_ok()) {
            classes.sort_by_key(|(name, _)| name.parse::<i64>().unwrap_or_default());
        }
        let mut place = vec![0; classes.len()];
        for (index, (_, label)) in classes.iter().enumerate() {
            place[*label as usize] = index as u32;
        }
        (
            self.rows.iter().map(|&label| place[label as usize]).collect(),
            classes.into_iter().map(|(name, _)| name).collect(),
        )
    }
}

impl Table {
    /// How many rows there are.
    pub fn rows(&self) -> usize {
        if self.columns.is_empty() { self.labels.len() } else { self.values.len() / self.columns.len() }
    }

    /// The rows as pictures of `shape` (channels, height, width), each value a byte.
    ///
    /// # Errors
    /// [`Error::Format`] if the columns are not as many as the shape has pixels, if there is no label, or if a value
    /// is not a whole number from 0 to 255, naming its row and column.
    pub fn into_pictures(self, shape: [usize; 3]) -> Result<Examples, Error> {
        let bad = |found: String| Error::Format { place: self.place.clone(), format: "table of pictures", found };
        let [channels, height, width] = shape;
        let size = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).filter(|&size| size > 0);
        if size != Some(self.columns.len()) {
            let columns = self.columns.len();
            return Err(bad(format!("{columns} columns of numbers are not {channels}×{height}×{width} pixels")));
        }
        if self.labels.len() != self.rows() {
            return Err(bad("no column was read as the label".into()));
        }
        let byte = |(index, &value): (usize, &f32)| {
            if value.fract() == 0.0 && (0.0..=255.0).contains(&value) {
                return Ok(value as u8);
            }
            let (row, column) = (index / self.columns.len(), &self.columns[index % self.columns.len()]);
            Err(bad(format!("row {row}, column {column} is {value}, expected a whole number from 0 to 255")))
        };
        let pixels = self.values.iter().enumerate().map(byte).collect::<Result<_, _>>()?;
        let disagree = bad("sizes that do not agree".into());
        Examples::new(shape, pixels, self.labels, self.classes).ok_or(disagree)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(text: &str, layout: &Layout) -> Result<Table, String> {
        from_bytes("x.csv", text.into(), layout).map_err(|error| error.to_string())
    }

    fn header() -> Layout {
        Layout { header: true, ..Layout::default() }
    }

    #[test]
    fn the_last_column_is_the_label_unless_said_otherwise() {
        let table = of("1,2.5,10\n-3,4e1, 9 \r\n\n5,6,10", &Layout::default()).unwrap();
        assert_eq!((table.rows(), &table.columns), (3, &vec!["0".to_string(), "1".into()]));
        assert_eq!(table.values, [1.0, 2.5, -3.0, 40.0, 5.0, 6.0]);
        assert_eq!((table.labels, table.classes), (vec![1, 0, 1], vec!["9".to_string(), "10".into()]));

        let table = of("\"cat, tabby\",1\nant,2\n", &Layout { label: Label::First, ..Layout::default() }).unwrap();
        assert_eq!((table.labels, table.classes), (vec![1, 0], vec!["ant".to_string(), "cat, tabby".into()]));
        let table = of("1,2\n3,4", &Layout { label: Label::Absent, ..Layout::default() }).unwrap();
        assert_eq!((table.values.len(), table.labels.len()), (4, 0));
    }

    #[test]
    fn a_header_names_columns_and_the_label() {
        let layout = Layout { label: Label::Named("kind".into()), ..header() };
        let table = of("kind,height,remark,width\na,1,tall,2\n", &Layout { skip: vec![2], ..layout.clone() }).unwrap();
        assert_eq!((table.columns, table.values), (vec!["height".to_string(), "width".into()], vec![1.0, 2.0]));
        assert!(of("a,b\n1,2\n", &layout).unwrap_err().contains("no column is called `kind`; there are 2: a, b"));
        assert!(of("1,2\n", &Layout { header: false, ..layout }).is_err());
        assert_eq!(of("a,b\n", &header()).unwrap().rows(), 0);
    }

    #[test]
    fn faults_name_line_and_column() {
        let refused = |text: &str| of(text, &Layout::default()).unwrap_err();
        assert_eq!(
            refused("1,2,a\n\n1,two,b\n"),
            "x.csv:3: not a readable CSV table: column 1 is `two`, expected a finite number"
        );
        assert!(refused("1,2,a\n1,b\n").starts_with("x.csv:2: ") && refused("1,2,a\n1,b\n").contains("2 columns"));
        assert!(refused("nan,a\n").contains("column 0 is `nan`") && refused("1e39,a\n").contains("`1e39`"));
        assert!(refused("").contains("empty"));
        assert!(refused(&",".repeat(MOST_COLUMNS)).contains("65537 columns"));
        assert!(refused(&",".repeat(LONGEST_LINE + 1)).contains("a line of more than"));
        let measured: String = (0..=MOST_CLASSES).map(|row| format!("1,{row}.5\n")).collect();
        assert!(refused(&measured).contains("is it a measurement?"));
    }

    #[test]
    fn rows_of_bytes_become_pictures() {
        let pictures = |text: &str| of(text, &Layout::default()).unwrap().into_pictures([1, 1, 2]);
        let examples = pictures("0,255,7\n1,2,3\n").unwrap();
        assert_eq!((examples.pixels(), examples.labels()), (&[0, 255, 1, 2][..], &[1, 0][..]));
        assert_eq!(examples.classes(), ["3", "7"]);
        let error = pictures("0,255,7\n1,256,3\n").unwrap_err().to_string();
        assert!(error.contains("row 1, column 1 is 256"), "{error}");
        assert!(pictures("0.5,0,1\n").is_err() && pictures("1,1\n").is_err() && pictures("-1,0,1\n").is_err());
        let unlabelled = of("1,2\n", &Layout { label: Label::Absent, ..Layout::default() }).unwrap();
        assert!(unlabelled.into_pictures([1, 1, 2]).unwrap_err().to_string().contains("label"));
    }

    #[test]
    fn a_packed_table_cut_anywhere_is_an_error_and_a_plain_one_never_panics() {
        let text = b"1,2,a\n3,4,b\n";
        let whole = unpack::packed(text);
        from_bytes("x", whole.clone(), &Layout::default()).unwrap();
        for cut in 2..whole.len() {
            assert!(from_bytes("x", whole[..cut].to_vec(), &Layout::default()).is_err(), "cut at {cut}");
        }
        for cut in 0..text.len() {
            let _ = from_bytes("x", text[..cut].to_vec(), &Layout::default());
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(rows in prop::collection::vec((any::<i16>(), -1e9f32..1e9, 0u32..5), 1..40)) {
            let text: String = rows.iter().map(|(a, b, label)| format!("{a},{b},{label}\n")).collect();
            let table = of(&text, &Layout::default()).unwrap();
            prop_assert_eq!(table.values, rows.iter().flat_map(|&(a, b, _)| [f32::from(a), b]).collect::<Vec<_>>());
            let labels: Vec<&str> = table.labels.iter().map(|&label| &table.classes[label as usize][..]).collect();
            prop_assert_eq!(labels, rows.iter().map(|(_, _, label)| label.to_string()).collect::<Vec<_>>());
        }

        #[test]
        fn any_bytes_are_a_table_or_an_error(
            bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(b','), Just(b'\n'), Just(b'"'), Just(b'1')], 0..80),
            header in any::<bool>(),
        ) {
            for label in [Label::Absent, Label::First, Label::Last, Label::Named("1".into())] {
                let _ = from_bytes("x", bytes.clone(), &Layout { header, label, skip: vec![0] });
            }
        }
    }
}
