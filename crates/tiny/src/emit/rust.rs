//! Firmware as a Rust crate without dependencies, without `std` and without `unsafe`.
//!
//! | emitted file | what is in it |
//! | --- | --- |
//! | `src/lib.rs` | what a user sees: [`Firmware`]'s ports, `Model` with `run`, `run_streamed` and `reset` |
//! | `src/constants.rs` | what lies in Flash |
//! | `src/operators.rs` | what is computed, in numbers |
//! | `src/calls.rs` | the run, call after call |
//! | `src/kernels/*.rs` | the kernels that are called (`emit/rust/kernels`), and no others |
//! | `check/vector.rs`, `examples/check.rs` | the test vector, and a program for the host that checks it |
//! | `check/firmware.rs`, `check/smallest.rs` | the same for qemu, and the least program that runs the model |
//! | `check/startup.rs`, `check/*.ld` | what they need: with them the only files with `unsafe` |
//!
//! All reads and writes go through one `&mut [i8; N]`, by index: outputs may lie over their operands, which two slices could
//! not. Inner loops run over slices of a checked length.
//!
//! What this file does not do: run anything (`verify/rust.rs`).

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;

use tersor_kernels::int8::{Multiplier, Range};
use tersor_kernels::window::Window;

use super::firmware::{
    Call, Constant, ConstantId, Copies, Filter, Firmware, Initial, Kind, Operand, PairFormula, Place, Port,
    Requantization, Sum,
};
use super::vector::Vector;
use crate::error::Error;
use crate::plan::Direction;

/// The kernels, and what each needs of the others.
const KERNELS: [(&str, &str, &[&str]); 25] = [
    ("add", include_str!("rust/kernels/add.rs"), &["pair", "sum"]),
    ("bilinear", include_str!("rust/kernels/bilinear.rs"), &["place"]),
    ("convolution", include_str!("rust/kernels/convolution.rs"), &["filter", "place"]),
    ("convolution_sum", include_str!("rust/kernels/convolution_sum.rs"), &["convolution", "sum"]),
    ("copies", include_str!("rust/kernels/copies.rs"), &["place"]),
    ("depthwise", include_str!("rust/kernels/depthwise.rs"), &["filter", "place"]),
    ("depthwise_many", include_str!("rust/kernels/depthwise_many.rs"), &["filter", "place", "sum"]),
    ("depthwise_sum", include_str!("rust/kernels/depthwise_sum.rs"), &["depthwise", "sum"]),
    ("extremum", include_str!("rust/kernels/extremum.rs"), &["pair"]),
    ("filter", include_str!("rust/kernels/filter.rs"), &["fixed_point", "place"]),
    ("fixed_point", include_str!("rust/kernels/fixed_point.rs"), &[]),
    ("grouped", include_str!("rust/kernels/grouped.rs"), &["filter", "place", "sum"]),
    ("matrix", include_str!("rust/kernels/matrix.rs"), &["filter", "place"]),
    ("mean", include_str!("rust/kernels/mean.rs"), &["fixed_point", "place"]),
    ("nearest", include_str!("rust/kernels/nearest.rs"), &["place"]),
    ("pair", include_str!("rust/kernels/pair.rs"), &["place"]),
    ("place", include_str!("rust/kernels/place.rs"), &[]),
    ("pointwise", include_str!("rust/kernels/pointwise.rs"), &["filter", "place"]),
    ("pointwise_sum", include_str!("rust/kernels/pointwise_sum.rs"), &["pointwise", "sum"]),
    ("pool", include_str!("rust/kernels/pool.rs"), &["filter", "place"]),
    ("prelu", include_str!("rust/kernels/prelu.rs"), &["fixed_point", "pair"]),
    ("product", include_str!("rust/kernels/product.rs"), &["fixed_point", "pair"]),
    ("softmax", include_str!("rust/kernels/softmax.rs"), &["fixed_point", "place"]),
    ("sum", include_str!("rust/kernels/sum.rs"), &["fixed_point", "place"]),
    ("table", include_str!("rust/kernels/table.rs"), &["place"]),
];

/// The files of the crate: path, and text.
///
/// # Errors
/// [`Error::Emit`] if a number is larger than the crate's types.
pub(super) fn print(firmware: &Firmware, vector: &Vector) -> Result<Vec<(String, String)>, Error> {
    let mut printer = Printer::new(firmware)?;
    let calls = printer.calls()?;
    let lib = printer.lib();
    let reset = printer.reset();
    let mut files = vec![
        ("Cargo.toml".to_string(), printer.manifest()),
        ("README.md".into(), printer.readme()),
        ("src/lib.rs".into(), lib + &reset),
        ("src/calls.rs".into(), calls),
        ("src/operators.rs".into(), printer.operators_file()),
        ("src/constants.rs".into(), printer.constants_file()),
        ("check/vector.rs".into(), printer.vector(vector)),
        (
            "check/firmware.rs".into(),
            include_str!("rust/firmware.rs").replace("model::", &format!("{}::", printer.name)),
        ),
        (
            "check/smallest.rs".into(),
            include_str!("rust/smallest.rs").replace("model::", &format!("{}::", printer.name)),
        ),
        ("check/startup.rs".into(), include_str!("rust/startup.rs").into()),
        ("check/cortex-m.ld".into(), include_str!("rust/cortex-m.ld").into()),
        ("check/mps3-an547.ld".into(), include_str!("rust/mps3-an547.ld").into()),
        ("examples/check.rs".into(), include_str!("rust/check.rs").replace("model::", &format!("{}::", printer.name))),
    ];
    let kernels = printer.modules();
    let mut modules = String::new();
    for &(name, text, _) in KERNELS.iter().filter(|k| kernels.contains(k.0)) {
        let _ = writeln!(modules, "pub mod {name};");
        files.push((format!("src/kernels/{name}.rs"), text.into()));
    }
    files.push(("src/kernels/mod.rs".into(), format!("//! The kernels that the run calls.\n\n// A network may need a part of a kernel only.\n#![allow(dead_code)]\n\n{modules}")));
    Ok(files)
}

struct Printer<'a> {
    firmware: &'a Firmware,
    /// The crate's name.
    name: String,
    kernels: BTreeSet<&'static str>,
    /// Constants that are printed, by position.
    constants: BTreeSet<ConstantId>,
    operators: String,
    /// Statics that calls share: text, and name.
    shared: HashMap<String, String>,
}

impl<'a> Printer<'a> {
    fn new(firmware: &'a Firmware) -> Result<Self, Error> {
        let largest = coordinates(firmware).max().unwrap_or(0);
        if largest > usize::from(u16::MAX) || firmware.arena_bytes > i32::MAX as usize {
            let why = format!("an image of {largest} rows or columns is too large for firmware in Rust");
            return Err(Error::Emit { network: firmware.name.clone(), why });
        }
        Ok(Self {
            firmware,
            name: crate_name(&firmware.name),
            kernels: ["place"].into(),
            constants: BTreeSet::new(),
            operators: String::new(),
            shared: HashMap::new(),
        })
    }

    fn fault(&self, why: impl Into<String>) -> Error {
        Error::Emit { network: self.firmware.name.clone(), why: why.into() }
    }

    /// The kernels that are called, and those that they need.
    fn modules(&self) -> BTreeSet<&'static str> {
        let mut kernels = self.kernels.clone();
        loop {
            let known = KERNELS.iter().filter(|k| kernels.contains(k.0));
            let all: BTreeSet<&str> = known.flat_map(|k| k.2.iter().copied().chain([k.0])).collect();
            if all.len() == kernels.len() {
                return all;
            }
            kernels = all;
        }
    }

    /// The name of a kernel, which is thereby used.
    fn kernel(&mut self, name: &'static str) -> &'static str {
        self.kernels.insert(name);
        name
    }

    /// The name of a constant, which is thereby used.
    fn constant(&mut self, id: ConstantId) -> String {
        self.constants.insert(id);
        format!("&C{id}")
    }

    fn manifest(&self) -> String {
        format!(
            "[package]\nname = \"{}\"\nversion = \"0.1.0\"\nedition = \"2021\"\nrust-version = \"1.85\"\npublish = false\n\n[profile.release]\nopt-level = \"s\"\nlto = true\n\n[workspace]\n",
            self.name
        )
    }

    fn readme(&self) -> String {
        let name = &self.name;
        format!(
            "# {name}\n\nMade from `{}` by `tersor tiny emit --target rust`. `{name}::Model` computes it in {} bytes.\n\n\
             - On the host: `cargo run --example check` says `ok`, or what differs.\n\
             - For a chip: `cargo build --release --target thumbv7em-none-eabi`; `check/firmware.rs` with `check/*.ld` is a \
             whole program for qemu's boards.\n",
            file_name(&self.firmware.name),
            self.firmware.arena_bytes
        )
    }

    /// Doc, types, ports and the model.
    fn lib(&self) -> String {
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
        text.push_str(include_str!("rust/port.rs"));
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
        let model = include_str!("rust/model.rs")
            .replace("STREAMS", streams)
            .replace("ARGUMENTS", &arguments.join(", "))
            .replace("            COPIES", &copies)
            .replace("RESULTS", &results.collect::<Vec<_>>().join(", "));
        text + &model
    }

    /// The end of the model: what a reset does.
    fn reset(&mut self) -> String {
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

    /// The run.
    fn calls(&mut self) -> Result<String, Error> {
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

    /// What is common to the calls of an operator.
    fn operator(&mut self, at: usize) -> Result<(), Error> {
        let operator = &self.firmware.operators[at];
        let text = match &operator.kind {
            Kind::Convolution { filter, .. } | Kind::Depthwise(filter) => self.filter(at, filter)?,
            Kind::Matrix { inputs, outputs, weights, bias, input_zero, requantization, .. } => {
                let one = Window { kernel: 1, stride: 1, dilation: 1, before: 0, input: 1, output: 1 };
                let filter = Filter {
                    rows: one,
                    columns: one,
                    in_channels: *inputs,
                    out_channels: *outputs,
                    weights: *weights,
                    bias: *bias,
                    input_zero: *input_zero,
                    requantization: requantization.clone(),
                    sum: None,
                };
                self.filter(at, &filter)?
            }
            Kind::Pool { rows, columns, greatest, range } => {
                let call = self.firmware.calls.iter().find(|c| c.operator == at);
                let channels = call.and_then(|c| c.writes.first()).map_or(0, |p| p.pixel);
                let (rows, columns, range) = (window(rows), window(columns), admitted(range));
                format!(
                    "pub static OP{at}: Pool = Pool {{\n    rows: {rows},\n    columns: {columns},\n    channels: {channels},\n    greatest: {greatest},\n    range: {range},\n}};\n"
                )
            }
            Kind::Pair { formula: PairFormula::Sum(s), .. } => format!("pub static OP{at}: Sum = {};\n", sum(s)),
            Kind::Pair { formula: PairFormula::Product { zeros, output, output_zero, range }, .. } => format!(
                "pub static OP{at}: Product = Product {{\n    zeros: {zeros:?},\n    output: {},\n    output_zero: {output_zero},\n    range: {},\n}};\n",
                multiplier(output),
                admitted(range)
            ),
            Kind::Pair { formula: PairFormula::Prelu { zeros, positive, negative, output_zero }, .. } => format!(
                "pub static OP{at}: Prelu = Prelu {{\n    zeros: {zeros:?},\n    positive: {},\n    negative: {},\n    output_zero: {output_zero},\n}};\n",
                multiplier(positive),
                multiplier(negative)
            ),
            Kind::Mean { kept, reduced, input_zero, multiplier: m, output_zero, .. } => format!(
                "pub static OP{at}: Mean = Mean {{\n    kept: &{kept:?},\n    reduced: &{reduced:?},\n    input_zero: {input_zero},\n    multiplier: {},\n    output_zero: {output_zero},\n}};\n",
                multiplier(m)
            ),
            Kind::Softmax { rows, depth, mantissa, left_shift, least_difference } => format!(
                "pub static OP{at}: Softmax = Softmax {{\n    rows: {rows},\n    depth: {depth},\n    mantissa: {mantissa},\n    left_shift: {left_shift},\n    least_difference: {least_difference},\n}};\n"
            ),
            Kind::Nearest { rows, columns } => {
                let (rows, columns) = (self.constant(*rows), self.constant(*columns));
                format!("pub static OP{at}: Sources = Sources {{ rows: {rows}, columns: {columns} }};\n")
            }
            Kind::Bilinear { rows, columns } => {
                let (rows, columns) = (self.constant(*rows), self.constant(*columns));
                format!("pub static OP{at}: Axes = Axes {{ rows: {rows}, columns: {columns} }};\n")
            }
            _ => String::new(),
        };
        if !text.is_empty() {
            let _ = writeln!(
                self.operators,
                "\n/// Operator {} of the file: {}.\n{text}",
                operator.node,
                plain(&operator.name)
            );
        }
        Ok(())
    }

    fn filter(&mut self, at: usize, f: &Filter) -> Result<String, Error> {
        if f.in_channels > usize::from(u16::MAX) || f.out_channels > usize::from(u16::MAX) {
            let most = f.in_channels.max(f.out_channels);
            return Err(self.fault(format!("{most} channels are too many for firmware in Rust")));
        }
        let bias = f.bias.map_or_else(|| "&[]".into(), |id| self.constant(id));
        let weights = self.constant(f.weights);
        let requantization = self.requantization(&f.requantization);
        let mut text = format!(
            "pub static OP{at}: Filter = Filter {{\n    rows: {},\n    columns: {},\n    in_channels: {},\n    out_channels: {},\n    weights: {weights},\n    bias: {bias},\n    input_zero: {},\n    requantization: {requantization},\n}};\n",
            window(&f.rows),
            window(&f.columns),
            f.in_channels,
            f.out_channels,
            f.input_zero,
        );
        if let Some(s) = &f.sum {
            let _ = writeln!(text, "\n/// The sum that is done with it.\npub static SUM{at}: Sum = {};", sum(s));
        }
        Ok(text)
    }

    fn requantization(&mut self, r: &Requantization) -> String {
        let (mantissas, shifts) = (self.constant(r.mantissas), self.constant(r.shifts));
        format!(
            "Requantization {{\n        mantissas: {mantissas},\n        shifts: {shifts},\n        narrow: {},\n        output_zero: {},\n        range: {},\n    }}",
            r.narrow,
            r.output_zero,
            admitted(&r.range)
        )
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

    fn operators_file(&self) -> String {
        let uses: String = self.modules().iter().map(|kernel| format!("use crate::kernels::{kernel}::*;\n")).collect();
        format!(
            "//! What is computed, in numbers.\n\n#![allow(unused_imports)]\n\nuse crate::constants::*;\n{uses}{}",
            self.operators
        )
    }

    fn constants_file(&self) -> String {
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

    fn vector(&self, vector: &Vector) -> String {
        let f = self.firmware;
        let mut text =
            format!("//! Inputs of every value, and the outputs that they must give.\n\nuse {}::Model;\n\n", self.name);
        text.push_str("/// One run.\npub struct Frame {\n");
        for (i, input) in f.inputs.iter().enumerate() {
            let _ = writeln!(text, "    /// Input {i}.\n    pub input{i}: [i8; {}],", input.port.bytes);
        }
        let _ =
            writeln!(text, "    /// What must come out.\n    pub outputs: [&'static [i8]; {}],\n}}\n", f.outputs.len());
        let inputs: Vec<String> = (0..f.inputs.len()).map(|i| format!("&frame.input{i}")).collect();
        let _ = writeln!(
            text,
            "/// Runs the model on a frame.\npub fn run<'m>(model: &'m mut Model, frame: &Frame) -> [&'m [i8]; {}] {{\n    model.run({})\n}}\n",
            f.outputs.len(),
            inputs.join(", ")
        );
        let section = "#[cfg_attr(target_os = \"none\", link_section = \".vector\")]\n";
        for (k, frame) in vector.frames.iter().enumerate() {
            for (i, output) in frame.outputs.iter().enumerate() {
                text.push_str(section);
                let _ = writeln!(text, "static OUTPUT{k}_{i}: [i8; {}] = {};", output.len(), wrapped(&signed(output)));
            }
        }
        let _ = writeln!(
            text,
            "\n/// Frames, one after the other.\n{section}#[rustfmt::skip]\npub static FRAMES: [Frame; {}] = [",
            vector.frames.len()
        );
        for (k, frame) in vector.frames.iter().enumerate() {
            text.push_str("    Frame {\n");
            for (i, input) in frame.inputs.iter().enumerate() {
                let _ = writeln!(text, "        input{i}: {},", wrapped(&signed(input)));
            }
            let outputs: Vec<String> = (0..frame.outputs.len()).map(|i| format!("&OUTPUT{k}_{i}")).collect();
            let _ = writeln!(text, "        outputs: [{}],\n    }},", outputs.join(", "));
        }
        text + "];\n"
    }
}

/// One tap without padding.
fn is_pointwise(f: &Filter) -> bool {
    let inside = |w: &Window| w.kernel == 1 && w.before == 0 && (w.output - 1) * w.stride < w.input;
    inside(&f.rows) && inside(&f.columns)
}

/// Every number that is a row, a column or a count of them.
fn coordinates(firmware: &Firmware) -> impl Iterator<Item = usize> + '_ {
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

fn place(place: &Place) -> String {
    // Only its place in the ring counts: rows that are computed one by one share their call.
    view(place.offset, place.rows[0] % place.ring, place.columns[0], place.columns[1] - place.columns[0], place.ring)
}

fn view(offset: usize, row: usize, column: usize, width: usize, ring: usize) -> String {
    format!("Place {{ offset: {offset}, row: {row}, column: {column}, width: {width}, ring: {ring} }}")
}

fn window(w: &Window) -> String {
    let Window { kernel, stride, dilation, before, input, .. } = w;
    format!("Window {{ kernel: {kernel}, stride: {stride}, dilation: {dilation}, before: {before}, input: {input} }}")
}

fn multiplier(m: &Multiplier) -> String {
    format!("Multiplier {{ mantissa: {}, shift: {} }}", m.mantissa, m.shift)
}

fn admitted(range: &Range) -> String {
    format!("Range {{ low: {}, high: {} }}", range.low.max(-128), range.high.min(127))
}

fn sum(s: &Sum) -> String {
    format!(
        "Sum {{\n    zeros: {:?},\n    operands: [{}, {}],\n    negative: {},\n    output: {},\n    output_zero: {},\n    range: {},\n    swapped: {},\n}}",
        s.zeros,
        multiplier(&s.operands[0]),
        multiplier(&s.operands[1]),
        s.sign < 0,
        multiplier(&s.output),
        s.output_zero,
        admitted(&s.range),
        s.swapped
    )
}

fn port(port: &Port) -> String {
    let (scale, zero_point) = port.affine.map_or((0.0, 0), |a| (a.scale, a.zero_point));
    format!(
        "    Port {{\n        name: {:?},\n        shape: &{:?},\n        scale: {scale:?},\n        zero_point: {zero_point},\n        bytes: {},\n    }},\n",
        port.name, port.shape, port.bytes
    )
}

fn signed(bytes: &[u8]) -> Vec<i8> {
    bytes.iter().map(|&b| b as i8).collect()
}

/// A constant.
fn array<T: std::fmt::Display>(text: &mut String, name: &str, kind: &str, values: &[T]) {
    let _ = writeln!(text, "\n#[rustfmt::skip]\npub static {name}: [{kind}; {}] = {};", values.len(), wrapped(values));
}

/// An array in lines of at most 120 columns.
fn wrapped<T: std::fmt::Display>(values: &[T]) -> String {
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

/// Without its folder.
fn file_name(file: &str) -> String {
    std::path::Path::new(file).file_name().map_or_else(|| file.into(), |name| plain(&name.to_string_lossy()))
}

/// Letters, digits and underscores.
fn crate_name(file: &str) -> String {
    let stem =
        std::path::Path::new(file).file_stem().map_or_else(|| "model".into(), |s| s.to_string_lossy().to_lowercase());
    let name: String = stem.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if name.starts_with(|c: char| c.is_ascii_alphabetic()) { name } else { format!("model_{name}") }
}

/// Without what ends a comment's line.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
