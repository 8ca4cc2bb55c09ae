//! What lies in Flash, and numbers as C writes them.

use std::fmt::Write as _;

use tersor_kernels::int8::Multiplier;

use super::Printer;
use crate::emit::firmware::{Constant, ConstantId, Sum};

/// What is made of a constant when it is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Form {
    /// As it is.
    Plain,
    /// As [`packed`] weights of so many outputs.
    Packed(usize),
    /// Shifts `s` as `−1 − s`: bits to the right before the rounding one.
    Rights,
}

impl Printer<'_> {
    /// The name of a constant, which is printed when it is first asked for.
    pub(super) fn constant(&mut self, id: ConstantId, role: &str, node: usize) -> String {
        self.formed(id, Form::Plain, role, node)
    }

    /// As [`constant`](Self::constant), in another form.
    pub(super) fn formed(&mut self, id: ConstantId, form: Form, role: &str, node: usize) -> String {
        if let Some(name) = self.names.get(&(id, form)) {
            return name.clone();
        }
        let name = format!("{role}{node}");
        let text = |v: &[i8]| v.iter().map(i8::to_string).collect();
        let (kind, values): (&str, Vec<String>) = match (&self.firmware.constants[id], form) {
            (Constant::I8(v), Form::Packed(out)) => ("ALIGNED int8_t", text(&packed(v, out))),
            (Constant::I8(v), Form::Rights) => ("int8_t", v.iter().map(|&s| (-1 - i32::from(s)).to_string()).collect()),
            (Constant::I8(v), Form::Plain) => ("int8_t", text(v)),
            (Constant::U8(v), _) => ("uint8_t", v.iter().map(u8::to_string).collect()),
            (Constant::U16(v), _) => ("uint16_t", v.iter().map(u16::to_string).collect()),
            (Constant::I32(v), _) => ("int32_t", v.iter().map(|&x| c_i32(x)).collect()),
        };
        array(&mut self.constants, kind, &name, &values);
        self.names.insert((id, form), name.clone());
        name
    }

    /// A small array of numbers beside an operator.
    pub(super) fn numbers(&mut self, name: &str, values: &[i64]) -> String {
        let values: Vec<String> = values.iter().map(i64::to_string).collect();
        let values = if values.is_empty() { vec!["0".into()] } else { values };
        array(&mut self.operators, "int32_t", name, &values);
        name.to_string()
    }
}

/// Weights `[out][rest]` as [`Layout::Packed`] has them.
fn packed(weights: &[i8], out: usize) -> Vec<i8> {
    let row = weights.len() / out.max(1);
    let (whole, rest) = weights.split_at(out / 4 * 4 * row);
    let blocks = whole.chunks(4 * row).flat_map(|block| {
        (0..row / 4).flat_map(move |i| (0..4).flat_map(move |o| block[o * row + 4 * i..][..4].iter().copied()))
    });
    blocks.chain(rest.iter().copied()).collect()
}

/// A constant array, 100 columns wide.
pub(super) fn array(text: &mut String, kind: &str, name: &str, values: &[String]) {
    let _ = write!(text, "static const {kind} {name}[{}] = {{", values.len());
    let mut column = 100;
    for value in values {
        if column + value.len() + 2 > 100 {
            *text += "\n    ";
            column = 4;
        } else {
            *text += " ";
            column += 1;
        }
        *text += value;
        *text += ",";
        column += value.len() + 1;
    }
    *text += "\n};\n";
}

/// The least 32-bit number has no literal of its own.
fn c_i32(x: i32) -> String {
    if x == i32::MIN { "INT32_MIN".into() } else { x.to_string() }
}

pub(super) fn c_multiplier(m: Multiplier) -> String {
    format!("{{{}, {}}}", c_i32(m.mantissa), m.shift)
}

pub(super) fn c_sum(s: &Sum) -> String {
    let [a, b] = s.operands.map(c_multiplier);
    let output = c_multiplier(s.output);
    let [za, zb] = s.zeros;
    let (sign, zero, low, high) = (s.sign, s.output_zero, s.range.low, s.range.high);
    format!("{{{{{za}, {zb}}}, {{{a}, {b}}}, {output}, {sign}, {zero}, {low}, {high}}}")
}
