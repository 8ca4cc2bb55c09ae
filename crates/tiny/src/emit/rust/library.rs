//! `src/lib.rs`: types as wide as the network asks, ports, and the model with its runs and its reset.

use std::fmt::Write as _;

use tersor_kernels::window::Window;

use super::{Printer, file_name, plain};
use crate::emit::firmware::{Filter, Firmware, Initial, Kind, Operand, Place, Port};

impl Printer<'_> {
    /// Doc, types, ports and the model.
    pub(super) fn lib(&self) -> String {
        let f = self.firmware;
        let mut text = format!(
            "//! `{}` as firmware: one arena of {} bytes, {} bytes of constants.\n\n#![no_std]\n#![forbid(unsafe_code)]\n#![warn(missing_docs)]\n\nmod calls;\nmod constants;\nmod kernels;\nmod operators;\n\n",
            file_name(&f.name),
            f.arena_bytes,
            f.constant_bytes()
        );
        let offset = if f.arena_bytes <= usize::from(u16::MAX) { "u16" } else { "u32" };
        let coordinate = if coordinates(f).all(|c| c <= usize::from(u8::MAX)) { "u8" } else { "u16" };
        let _ = writeln!(text, "/// Bytes of the arena.\npub const ARENA_BYTES: usize = {};\n", f.arena_bytes);
        let _ = writeln!(text, "/// A place in the arena.\ntype Offset = {offset};\n");
        let _ = writeln!(text, "/// A row or column of an image.\ntype Coordinate = {coordinate};\n");
        text.push_str(include_str!("program/port.rs"));
        let ports = |ports: &[&Port]| -> String { ports.iter().map(|p| port(p)).collect() };
        let inputs: Vec<&Port> = f.inputs.iter().map(|i| &i.port).collect();
        let outputs: Vec<&Port> = f.outputs.iter().map(|o| &o.port).collect();
        let _ =
            writeln!(text, "\n/// What goes in.\npub const INPUTS: [Port; {}] = [\n{}];", inputs.len(), ports(&inputs));
        let _ = writeln!(
            text,
            "\n/// What comes out.\npub const OUTPUTS: [Port; {}] = [\n{}];\n",
            outputs.len(),
            ports(&outputs)
        );
        let arguments: Vec<String> =
            f.inputs.iter().enumerate().map(|(i, input)| format!("input{i}: &[i8; {}]", input.port.bytes)).collect();
        let copy = |i: usize| {
            let [_, width, pixel] = f.inputs[i].image;
            format!("copy_rect(input{i}, {}, {pixel}, &rect, to)", width * pixel)
        };
        let copies = match f.inputs.len() {
            0 => "            let _ = (rect, to);".into(),
            1 => format!("            {}", copy(0)),
            n => {
                // The last arm is for whatever is left.
                let pattern = |i: usize| if i + 1 == n { "_".to_string() } else { i.to_string() };
                let arms: String =
                    (0..n).map(|i| format!("                {} => {},\n", pattern(i), copy(i))).collect();
                format!("            match rect.input {{\n{arms}            }}")
            }
        };
        let results = f.outputs.iter().map(|o| format!("&self.arena[{}..{}]", o.offset, o.offset + o.port.bytes));
        let streams = if f.variables.is_empty() { "" } else { " Call [`reset`](Self::reset) first." };
        let model = include_str!("program/model.rs")
            .replace("STREAMS", streams)
            .replace("ARGUMENTS", &arguments.join(", "))
            .replace("            COPIES", &copies)
            .replace("RESULTS", &results.collect::<Vec<_>>().join(", "));
        text + &model
    }

    /// The end of the model: what a reset does.
    pub(super) fn reset(&mut self) -> String {
        let firmware = self.firmware;
        let mut body = String::new();
        for variable in &firmware.variables {
            let (from, to) = (variable.offset, variable.offset + variable.bytes);
            let _ = match &variable.initial {
                Initial::Fill(byte) => writeln!(body, "        self.arena[{from}..{to}].fill({});", *byte as i8),
                Initial::Bytes(id) => {
                    let data = self.constant(*id).replace('&', "&constants::");
                    writeln!(body, "        self.arena[{from}..{to}].copy_from_slice({data});")
                }
            };
        }
        let what = match firmware.variables.as_slice() {
            [] => "Nothing: this network remembers nothing between runs.".to_string(),
            variables => {
                let names: Vec<&str> = variables.iter().map(|v| v.name.as_str()).collect();
                format!("Brings the variables to their first values: {}.", plain(&names.join(", ")))
            }
        };
        format!("\n    /// {what}\n    pub fn reset(&mut self) {{\n{body}    }}\n}}\n")
    }
}

/// Every number that is a row, a column or a count of them.
pub(super) fn coordinates(firmware: &Firmware) -> impl Iterator<Item = usize> + '_ {
    let place = |p: &Place| [p.rows[1], p.columns[1], p.ring];
    let calls = firmware.calls.iter().flat_map(move |call| {
        let reads = call.reads.iter().filter_map(|o| if let Operand::Arena(p) = o { Some(p) } else { None });
        let places: Vec<usize> = reads.chain(&call.writes).flat_map(place).collect();
        places.into_iter().chain(call.rows).chain(call.columns)
    });
    let along = |w: &Window| [w.kernel, w.stride, w.dilation, w.before, w.input];
    let operators = firmware.operators.iter().flat_map(move |operator| match &operator.kind {
        Kind::Convolution { filter: Filter { rows, columns, .. }, .. }
        | Kind::Depthwise(Filter { rows, columns, .. })
        | Kind::Pool { rows, columns, .. } => [along(rows), along(columns)].concat(),
        Kind::Matrix { rows, .. } => vec![*rows],
        _ => Vec::new(),
    });
    calls.chain(operators)
}

fn port(port: &Port) -> String {
    let (scale, zero_point) = port.affine.map_or((0.0, 0), |a| (a.scale, a.zero_point));
    format!(
        "    Port {{\n        name: {:?},\n        shape: &{:?},\n        scale: {scale:?},\n        zero_point: {zero_point},\n        bytes: {},\n    }},\n",
        port.name, port.shape, port.bytes
    )
}
