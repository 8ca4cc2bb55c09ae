//! `src/constants.rs`: what lies in Flash, and arrays as Rust writes them.

use std::fmt::Write as _;

use super::Printer;
use crate::emit::firmware::{Constant, ConstantId};

impl Printer<'_> {
    /// The name of a constant, which is thereby used.
    pub(super) fn constant(&mut self, id: ConstantId) -> String {
        self.constants.insert(id);
        format!("&C{id}")
    }

    pub(super) fn constants_file(&self) -> String {
        let mut text = String::from("//! What lies in Flash.\n");
        for &id in &self.constants {
            match &self.firmware.constants[id] {
                Constant::I8(v) => array(&mut text, &format!("C{id}"), "i8", v),
                // Bytes of any type are moved as i8.
                Constant::U8(v) => array(&mut text, &format!("C{id}"), "i8", &signed(v)),
                Constant::U16(v) => array(&mut text, &format!("C{id}"), "u16", v),
                Constant::I32(v) => array(&mut text, &format!("C{id}"), "i32", v),
            }
        }
        text
    }
}

pub(super) fn signed(bytes: &[u8]) -> Vec<i8> {
    bytes.iter().map(|&b| b as i8).collect()
}

/// A constant.
fn array<T: std::fmt::Display>(text: &mut String, name: &str, kind: &str, values: &[T]) {
    let _ = writeln!(text, "\n#[rustfmt::skip]\npub static {name}: [{kind}; {}] = {};", values.len(), wrapped(values));
}

/// An array in lines of at most 120 columns.
pub(super) fn wrapped<T: std::fmt::Display>(values: &[T]) -> String {
    let mut text = String::from("[");
    let mut column = 120;
    for value in values {
        let value = value.to_string();
        if column + value.len() + 2 > 120 {
            text.push_str("\n   ");
            column = 3;
        }
        let _ = write!(text, " {value},");
        column += value.len() + 2;
    }
    text + "\n]"
}
