//! `src/calls.rs`: the run, call after call; and the statics that calls share.

use std::fmt::Write as _;

use tersor_kernels::window::Window;

use super::constants::signed;
use super::{Printer, plain};
use crate::emit::firmware::{Call, Copies, Filter, Kind, Operand, PairFormula, Place};
use crate::error::Error;
use crate::plan::Direction;

impl Printer<'_> {
    /// The run.
    pub(super) fn calls(&mut self) -> Result<String, Error> {
        let firmware = self.firmware;
        let mut done = vec![None; firmware.operators.len()];
        let mut body = String::new();
        for call in &firmware.calls {
            for feed in &call.feeds {
                let [_, _, pixel] = firmware.inputs[feed.input].image;
                let bytes = (feed.rows[1] - feed.rows[0]) * (feed.columns[1] - feed.columns[0]) * pixel;
                let _ = writeln!(
                    body,
                    "    feed(arena, read_rect, &Feed {{ input: {}, rows: {:?}, columns: {:?}, offset: {}, bytes: {bytes} }});",
                    feed.input, feed.rows, feed.columns, feed.offset
                );
            }
            let operator = &firmware.operators[call.operator];
            if done[call.operator].is_none() {
                self.operator(call.operator)?;
                done[call.operator] = Some(());
            }
            let lines = self.call(call)?;
            let _ = writeln!(body, "    // {}: {}\n{lines}", operator.node, plain(&operator.name));
        }
        let uses: String = self.modules().iter().map(|kernel| format!("use crate::kernels::{kernel}::*;\n")).collect();
        Ok(format!(
            "//! The run, call after call.\n\n#![allow(unused_imports)]\n\n{uses}use crate::{{constants::*, operators::*, Feed, Rect, feed}};\n\n/// One inference.\n#[rustfmt::skip]\npub fn run(arena: &mut Arena, read_rect: &mut dyn FnMut(Rect, &mut [i8])) {{\n{body}}}\n"
        ))
    }

    /// The lines of a call.
    fn call(&mut self, call: &Call) -> Result<String, Error> {
        let at = call.operator;
        let firmware = self.firmware;
        let kind = &firmware.operators[at].kind;
        let arena = |i: usize| match call.reads.get(i) {
            Some(Operand::Arena(place)) => Ok(*place),
            _ => Err(Error::Emit {
                network: firmware.name.clone(),
                why: format!("operator {} reads no arena", firmware.operators[at].node),
            }),
        };
        let output = call.writes.first().copied();
        let to = output.map_or(0, |p| p.offset);
        let pixel = output.map_or(0, |p| p.pixel);
        let op = format!("&OP{at}");
        let rows = format!("{:?}", call.rows);
        let line = match kind {
            Kind::Convolution { filter, .. } | Kind::Depthwise(filter) => {
                let name = self.placed("Filter", &op, call, Some(arena(0)?), output);
                let added = match &filter.sum {
                    Some(_) => {
                        let value = format!("Added {{ sum: &SUM{at}, other: {} }}", place(&arena(1)?));
                        Some(self.share("ADDED", "Added", &value))
                    }
                    None => None,
                };
                let option = added.as_ref().map_or("None".into(), |a| format!("Some({a})"));
                let (kernel, more) = match kind {
                    Kind::Convolution { per_group, .. } if *per_group < filter.in_channels => {
                        ("grouped", format!(", {per_group}, {option}"))
                    }
                    Kind::Depthwise(_) if filter.in_channels < filter.out_channels => {
                        ("depthwise_many", format!(", {option}"))
                    }
                    _ => {
                        let [alone, with_sum] = match kind {
                            Kind::Depthwise(_) => ["depthwise", "depthwise_sum"],
                            _ if is_pointwise(filter) => ["pointwise", "pointwise_sum"],
                            _ => ["convolution", "convolution_sum"],
                        };
                        added.map_or((alone, String::new()), |a| (with_sum, format!(", {a}")))
                    }
                };
                format!("{}(arena, {name}, {rows}{more});", self.kernel(kernel))
            }
            Kind::Matrix { rows, weight_zero, .. } => {
                // The rows of a matrix are the pixels of a row.
                let side = |offset| Place { offset, rows: [0, 1], columns: [0, *rows], ring: 1, pixel: 1 };
                let call = Call { columns: [0, *rows], direction: Direction::Forward, scratch: None, ..call.clone() };
                let name = self.placed("Filter", &op, &call, Some(side(arena(0)?.offset)), Some(side(to)));
                match weight_zero {
                    0 => format!("{}(arena, {name}, [0, 1]);", self.kernel("pointwise")),
                    zero => format!("{}(arena, {name}, [0, 1], {zero});", self.kernel("matrix")),
                }
            }
            Kind::Pool { .. } => {
                let name = self.placed("Pool", &op, call, Some(arena(0)?), output);
                format!("{}(arena, {name}, {rows});", self.kernel("pool"))
            }
            Kind::Pair { formula, shape, steps, spatial } => {
                let operands = self.operands(call, *spatial)?;
                let value = format!(
                    "Pair {{\n    shape: &{shape:?},\n    steps: [&{:?}, &{:?}],\n    operands: {operands},\n}}",
                    steps[0], steps[1]
                );
                let pair = self.share("PAIR", "Pair", &value);
                let (kernel, kind, op) = match formula {
                    PairFormula::Sum(_) => ("add", "Sum", op.as_str()),
                    PairFormula::Product { .. } => ("product", "Product", op.as_str()),
                    PairFormula::Prelu { .. } => ("prelu", "Prelu", op.as_str()),
                    PairFormula::Maximum => ("extremum", "bool", "&true"),
                    PairFormula::Minimum => ("extremum", "bool", "&false"),
                };
                let name = self.placed(kind, op, call, None, output);
                self.kernel("pair");
                format!("{}(arena, {pair}, {name}, {rows});", self.kernel(kernel))
            }
            Kind::Table(id) => {
                let table = self.constant(*id);
                let name = self.placed("[i8; 256]", &table, call, Some(arena(0)?), output);
                format!("{}(arena, {name}, {rows}, {pixel});", self.kernel("table"))
            }
            Kind::Mean { .. } => format!("{}(arena, {op}, {}, {to});", self.kernel("mean"), arena(0)?.offset),
            Kind::Softmax { .. } => format!("{}(arena, {op}, {}, {to});", self.kernel("softmax"), arena(0)?.offset),
            Kind::Nearest { .. } => {
                let name = self.placed("Sources", &op, call, Some(arena(0)?), output);
                format!("{}(arena, {name}, {rows}, {pixel});", self.kernel("nearest"))
            }
            Kind::Bilinear { .. } => {
                let name = self.placed("Axes", &op, call, Some(arena(0)?), output);
                format!("{}(arena, {name}, {rows}, {pixel});", self.kernel("bilinear"))
            }
            Kind::Movement { fill, copies } => return self.movement(call, fill.as_deref(), copies),
        };
        Ok(format!("    {line}"))
    }

    /// Where the two operands of a pair come from.
    fn operands(&mut self, call: &Call, spatial: [bool; 2]) -> Result<String, Error> {
        let mut texts = Vec::new();
        for (i, spatial) in spatial.into_iter().enumerate() {
            texts.push(match call.reads.get(i) {
                Some(Operand::Arena(p)) if spatial => format!("Operand::Image({}, {})", place(p), p.pixel),
                Some(Operand::Arena(p)) => format!("Operand::Fixed({})", p.offset),
                Some(Operand::Constant(id)) => format!("Operand::Flash({})", self.constant(*id)),
                None => return Err(self.fault("an operator of two operands has one")),
            });
        }
        Ok(format!("[{}]", texts.join(", ")))
    }

    fn movement(&mut self, call: &Call, pattern: Option<&[u8]>, all: &[Copies]) -> Result<String, Error> {
        let mut lines = Vec::new();
        if let (Some(pattern), Some(to)) = (pattern, call.writes.first()) {
            let (kernel, bytes) = (self.kernel("copies"), signed(pattern));
            let _ = kernel;
            lines.push(format!("    fill(arena, {}, {}, &{bytes:?});", to.offset, to.bytes()));
        }
        for copy in all {
            let to = call.writes.get(copy.write).map_or(0, |p| p.offset) + copy.to.0;
            let (data, from) = match call.reads.get(copy.read) {
                Some(Operand::Arena(p)) => (None, p.offset + copy.from.0),
                Some(Operand::Constant(id)) => (Some(self.constant(*id)), copy.from.0),
                None => return Err(self.fault("a copy has no source")),
            };
            let bytes = copy.bytes;
            lines.push(match (data, copy.shape.is_empty()) {
                (None, true) => format!("    arena.copy_within({from}..{}, {to});", from + bytes),
                (Some(data), true) => {
                    let data = data.replace('&', "");
                    format!("    arena[{to}..{}].copy_from_slice(&{data}[{from}..{}]);", to + bytes, from + bytes)
                }
                (data, false) => {
                    self.kernel("copies");
                    let op = format!(
                        "&Copies {{ bytes: {bytes}, shape: &{:?}, from: ({from}, &{:?}), to: ({to}, &{:?}) }}",
                        copy.shape, copy.from.1, copy.to.1
                    );
                    match data {
                        None => format!("    copies(arena, {op});"),
                        Some(data) => format!("    copies_of(arena, {data}, {op});"),
                    }
                }
            });
        }
        Ok(lines.join("\n"))
    }

    /// The name of an operator at its place.
    fn placed(&mut self, kind: &str, op: &str, call: &Call, input: Option<Place>, output: Option<Place>) -> String {
        let side = |p: Option<Place>| p.map_or_else(|| view(0, 0, 0, 1, 1), |p| place(&p));
        let value = format!(
            "Call {{\n    op: {op},\n    columns: {:?},\n    input: {},\n    output: {},\n    scratch: {},\n    backward: {},\n}}",
            call.columns,
            side(input),
            side(output),
            call.scratch.map_or("None".into(), |s| format!("Some({s})")),
            call.direction == Direction::Backward
        );
        self.share("CALL", &format!("Call<{kind}>"), &value)
    }

    /// The name of a static of this type and value; equal ones are one.
    fn share(&mut self, prefix: &str, kind: &str, value: &str) -> String {
        let text = format!("{kind} = {value};");
        let next = format!("{prefix}{}", self.shared.len());
        if let Some(name) = self.shared.get(&text) {
            return format!("&{name}");
        }
        let _ = writeln!(self.operators, "\npub static {next}: {text}");
        self.shared.insert(text, next.clone());
        format!("&{next}")
    }
}

/// One tap without padding.
fn is_pointwise(f: &Filter) -> bool {
    let inside = |w: &Window| w.kernel == 1 && w.before == 0 && (w.output - 1) * w.stride < w.input;
    inside(&f.rows) && inside(&f.columns)
}

fn place(place: &Place) -> String {
    // Only its place in the ring counts: rows that are computed one by one share their call.
    view(place.offset, place.rows[0] % place.ring, place.columns[0], place.columns[1] - place.columns[0], place.ring)
}

fn view(offset: usize, row: usize, column: usize, width: usize, ring: usize) -> String {
    format!("Place {{ offset: {offset}, row: {row}, column: {column}, width: {width}, ring: {ring} }}")
}
