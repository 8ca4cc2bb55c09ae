//! The program in C99.
//!
//! `model.h` (sizes, scales, shapes, what may be called), `model.c` (constants, arena, calls), `kernels.h` (the kernels
//! that are used, put together from the files in `c/`); beside them a check against the test vector, and what builds it for
//! the host and for a Cortex-M in qemu.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;

use tersor_data::ElementType;
use tersor_kernels::int8::Multiplier;
use tersor_kernels::window::{Padding, Window};

use super::firmware::{
    Call, Constant, ConstantId, Copies, Filter, Firmware, Initial, Kind, Operand, Operator, PairFormula, Place, Port,
    Requantization, Sum,
};
use super::vector::Vector;
use crate::error::Error;
use crate::plan::Direction;

/// The sources of the kernels, in the order in which they build on each other.
const KERNELS: [(&str, &str); 16] = [
    ("arithmetic", include_str!("c/arithmetic.h")),
    ("sum", include_str!("c/sum.h")),
    ("window", include_str!("c/window.h")),
    ("filter", include_str!("c/filter.h")),
    ("dot", include_str!("c/dot.h")),
    ("convolution", include_str!("c/convolution.h")),
    ("convolution_any", include_str!("c/convolution_any.h")),
    ("depthwise", include_str!("c/depthwise.h")),
    ("matrix", include_str!("c/matrix.h")),
    ("pool", include_str!("c/pool.h")),
    ("pair", include_str!("c/pair.h")),
    ("table", include_str!("c/table.h")),
    ("mean", include_str!("c/mean.h")),
    ("softmax", include_str!("c/softmax.h")),
    ("nearest", include_str!("c/nearest.h")),
    ("bilinear", include_str!("c/bilinear.h")),
];
const MOVEMENT: &str = include_str!("c/movement.h");

/// Kernel sizes of depthwise convolutions that have bodies of their own.
const DEPTHWISE_SIZES: [usize; 3] = [3, 5, 7];

/// How the weights of a convolution lie in Flash, which says what computes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// As in the file; channel by channel.
    Depthwise,
    /// As in the file.
    Plain,
    /// Blocks of four outputs, interleaved by four inputs: one pointer goes through them.
    Packed,
    /// As in the file; any groups and dilation.
    Any,
}

/// What is made of a constant when it is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Form {
    /// As it is.
    Plain,
    /// As [`packed`] weights of so many outputs.
    Packed(usize),
    /// Shifts `s` as `−1 − s`: bits to the right before the rounding one.
    Rights,
}

fn layout(f: &Filter, per_group: usize, depthwise: bool) -> Layout {
    let undilated = f.rows.dilation == 1 && f.columns.dilation == 1;
    match (undilated, depthwise) {
        (true, true) if f.in_channels == f.out_channels => Layout::Depthwise,
        (true, false) if per_group == f.in_channels && per_group.is_multiple_of(4) => Layout::Packed,
        (true, false) if per_group == f.in_channels => Layout::Plain,
        _ => Layout::Any,
    }
}

/// A matrix product as a convolution over a row of pixels, if it may share its kernel.
fn as_filter(kind: &Kind) -> Option<Filter> {
    let Kind::Matrix { rows, inputs, outputs, weights, weight_zero, bias, input_zero, requantization } = kind else {
        return None;
    };
    let fits = inputs.is_multiple_of(4) && *weight_zero == 0 && [rows, inputs, outputs].iter().all(|&&n| n < 1 << 16);
    let window = |n| Window::new(n, 1, 1, 1, Padding::Valid);
    Some(Filter {
        rows: window(1)?,
        columns: window(*rows)?,
        in_channels: *inputs,
        out_channels: *outputs,
        weights: *weights,
        bias: *bias,
        input_zero: *input_zero,
        requantization: requantization.clone(),
        sum: None,
    })
    .filter(|_| fits)
}

/// The call of such a matrix product.
fn over_a_row(call: &Call, f: &Filter) -> Call {
    let columns = [0, f.columns.input];
    let row = |offset, pixel| Place { offset, rows: [0, 1], columns, ring: 1, pixel };
    let reads = call.reads.iter().take(1).map(|&read| match read {
        Operand::Arena(place) => Operand::Arena(row(place.offset, f.in_channels)),
        constant => constant,
    });
    let writes = vec![row(call.writes[0].offset, f.out_channels)];
    Call { rows: [0, 1], columns, reads: reads.collect(), writes, ..call.clone() }
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

/// Files that are the same for every network.
const FIXED: [(&str, &str); 4] = [
    ("check.h", include_str!("c/check.h")),
    ("host.c", include_str!("c/host.c")),
    ("startup.c", include_str!("c/startup.c")),
    ("link.ld", include_str!("c/link.ld")),
];

/// The files of the program.
///
/// # Errors
/// [`Error::Emit`] if a size is beyond the fields of the program, or an input cannot be fed.
pub(super) fn print(firmware: &Firmware, vector: &Vector) -> Result<Vec<(String, String)>, Error> {
    let mut printer = Printer::new(firmware);
    let model = printer.model()?;
    let mut files = vec![
        ("model.h".into(), header(firmware)),
        ("model.c".into(), model),
        ("kernels.h".into(), printer.kernels()),
        ("check.c".into(), check(firmware, vector)),
        ("example.c".into(), example(firmware)),
        ("Makefile".into(), super::verify::makefile()),
    ];
    files.extend(super::verify::memories());
    files.extend(FIXED.map(|(name, text)| (name.into(), text.into())));
    Ok(files)
}

/// What stands at the top of every file.
fn title(firmware: &Firmware, what: &str) -> String {
    let file = std::path::Path::new(&firmware.name).file_name().and_then(|f| f.to_str()).unwrap_or("a network");
    format!("/* {} of {}, written by `tersor tiny emit`. */\n", what, file.replace("*/", "* /"))
}

/// A C identifier's type of a port's elements.
fn c_type(port: &Port) -> &'static str {
    match port.element_type {
        ElementType::U8 => "uint8_t",
        ElementType::I16 => "int16_t",
        ElementType::U16 => "uint16_t",
        ElementType::I32 => "int32_t",
        ElementType::U32 => "uint32_t",
        ElementType::I64 => "int64_t",
        ElementType::F32 => "float",
        _ => "int8_t",
    }
}

/// Parameters of `model_run`.
fn parameters(firmware: &Firmware) -> String {
    let mut parameters = Vec::new();
    if firmware.streamed {
        parameters.push("model_read_rect read_rect".to_string());
        parameters.push("void *context".into());
    } else {
        let input = |(i, port): (usize, &Port)| format!("const {} *input{i}", c_type(port));
        parameters.extend(firmware.inputs.iter().map(|i| &i.port).enumerate().map(input));
    }
    let output = |(i, port): (usize, &Port)| format!("{} *output{i}", c_type(port));
    parameters.extend(firmware.outputs.iter().map(|o| &o.port).enumerate().map(output));
    parameters.join(", ")
}

fn header(firmware: &Firmware) -> String {
    let mut text = title(firmware, "Interface");
    text += "#ifndef MODEL_H\n#define MODEL_H\n\n#include <stddef.h>\n#include <stdint.h>\n\n";
    let _ = writeln!(text, "/* Bytes of the one static arena. */\n#define MODEL_ARENA_BYTES {}", firmware.arena_bytes);
    let _ = writeln!(text, "/* Bytes of constants: weights, biases, multipliers, tables. */");
    let _ = writeln!(text, "#define MODEL_CONSTANT_BYTES {}", firmware.constant_bytes());
    let port = |text: &mut String, name: String, port: &Port| {
        let shape: Vec<String> = port.shape.iter().map(usize::to_string).collect();
        let _ = writeln!(text, "\n/* {}: {}[{}]. */", name, port.element_type.name(), shape.join("]["));
        let _ = writeln!(text, "#define {name}_BYTES {}", port.bytes);
        let _ = writeln!(text, "#define {name}_ELEMENTS {}", port.shape.iter().product::<usize>());
        for (axis, length) in port.shape.iter().enumerate() {
            let _ = writeln!(text, "#define {name}_AXIS{axis} {length}");
        }
        if let Some(q) = port.affine {
            let _ = writeln!(text, "/* real = scale * (value - zero point) */");
            let _ = writeln!(text, "#define {name}_SCALE {:e}f", q.scale as f32);
            let _ = writeln!(text, "#define {name}_ZERO_POINT ({})", q.zero_point);
        }
    };
    for (i, input) in firmware.inputs.iter().enumerate() {
        port(&mut text, format!("MODEL_INPUT{i}"), &input.port);
    }
    for (i, output) in firmware.outputs.iter().enumerate() {
        port(&mut text, format!("MODEL_OUTPUT{i}"), &output.port);
    }
    if firmware.streamed {
        text += "\n/* Writes `rows` rows from `row` and `columns` columns from `column` of input `input` to `to`, one after the\n   other, every channel. Not 0: the run ends, and gives it back. */\n";
        text += "typedef int (*model_read_rect)(void *context, int input, int row, int rows, int column, int columns,\n                               int8_t *to);\n";
    }
    text += "\n/* One run. ";
    text += match firmware.streamed {
        true => "The input is asked for in parts. ",
        false => "An input that is NULL was written to where `model_input` says. ",
    };
    text += "An output that is NULL is not\n   copied: it lies where `model_output` says until the next run. Gives 0";
    text += if firmware.streamed { ", or what `read_rect` gave. */\n" } else { ". */\n" };
    let _ = writeln!(text, "int model_run({});", parameters(firmware));
    if firmware.variables.is_empty() {
        text +=
            "\n/* Nothing lives between runs; here for programs that run any network. */\nvoid model_reset(void);\n";
    } else {
        text += "\n/* Forgets every frame: the next run is the first of a stream. Called by the first run. */\nvoid model_reset(void);\n";
    }
    for (i, input) in firmware.inputs.iter().enumerate() {
        if input.resident.is_some() && !firmware.streamed {
            let _ = writeln!(
                text,
                "\n/* Where input {i} lies in the arena: write it here, and run with NULL. A run destroys it. */\n{} *model_input{i}(void);",
                c_type(&input.port)
            );
        }
    }
    for (i, output) in firmware.outputs.iter().enumerate() {
        let kind = c_type(&output.port);
        let _ = writeln!(text, "\n/* Where output {i} lies in the arena. */\nconst {kind} *model_output{i}(void);");
    }
    text += "\n#endif\n";
    text
}

/// What a printed program consists of, gathered call by call.
struct Printer<'f> {
    firmware: &'f Firmware,
    /// Constants that are printed.
    names: HashMap<(ConstantId, Form), String>,
    /// Sources that are used.
    used: BTreeSet<&'static str>,
    /// Kernels made from bodies: name, and the call of the body.
    made: Vec<(String, String)>,
    constants: String,
    operators: String,
    tasks: String,
    known_tasks: HashMap<String, usize>,
    run: String,
    kernel_rows: usize,
}

impl<'f> Printer<'f> {
    fn new(firmware: &'f Firmware) -> Self {
        Self {
            firmware,
            names: HashMap::new(),
            used: BTreeSet::from(["arithmetic"]),
            made: Vec::new(),
            constants: String::new(),
            operators: String::new(),
            tasks: String::new(),
            known_tasks: HashMap::new(),
            run: String::new(),
            kernel_rows: 1,
        }
    }

    fn fault(&self, why: String) -> Error {
        Error::Emit { network: self.firmware.name.clone(), why }
    }

    /// A number for a field of `bits`, without a sign.
    fn field(&self, value: usize, bits: u32, what: &str) -> Result<usize, Error> {
        let most = 1usize << bits;
        if value < most { Ok(value) } else { Err(self.fault(format!("{what} of {value} is beyond {bits} bits"))) }
    }

    fn kernels(&self) -> String {
        let mut text = title(self.firmware, "Kernels");
        let _ = writeln!(text, "#define MOST_KERNEL_ROWS {}\n", self.kernel_rows);
        let sources = KERNELS.iter().chain([&("movement", MOVEMENT)]);
        sources.filter(|(name, _)| self.used.contains(name)).for_each(|(_, source)| text += source);
        text += "\n/* The classes of shapes that this network has. */\n";
        self.made.iter().for_each(|(_, definition)| text += definition);
        text
    }

    fn model(&mut self) -> Result<String, Error> {
        let firmware = self.firmware;
        for (o, operator) in firmware.operators.iter().enumerate() {
            self.operator(o, operator)?;
        }
        for call in &firmware.calls {
            self.feeds(call)?;
            if firmware.operators.len() == firmware.calls.len() {
                let operator = &firmware.operators[call.operator];
                let _ = writeln!(self.run, "    /* Operator {}: {} */", operator.node, operator.name);
            }
            self.call(call)?;
        }
        let mut text = title(firmware, "Program");
        text += "#include \"model.h\"\n\n#include \"kernels.h\"\n\n";
        text +=
            "#if defined(__GNUC__)\n#define ALIGNED __attribute__((aligned(8)))\n#else\n#define ALIGNED\n#endif\n\n";
        let mut reset = String::new();
        for variable in &firmware.variables {
            let (name, offset, bytes) = (&variable.name.replace("*/", "* /"), variable.offset, variable.bytes);
            let _ = writeln!(reset, "    /* {name} */");
            let _ = match variable.initial {
                Initial::Fill(byte) => writeln!(reset, "    memset(arena + {offset}, {byte}, {bytes});"),
                Initial::Bytes(id) => {
                    let from = self.constant(id, "initial", 0);
                    writeln!(reset, "    memcpy(arena + {offset}, {from}, {bytes});")
                }
            };
        }
        text += "/* Flash. */\n";
        text += &self.constants;
        let _ = writeln!(text, "\n/* SRAM: the plan's peak. */\nstatic int8_t arena[MODEL_ARENA_BYTES] ALIGNED;\n");
        text += "/* What is computed. */\n";
        text += &self.operators;
        text += "\n/* Where. */\n";
        text += &self.tasks;
        if firmware.variables.is_empty() {
            text += "\nvoid model_reset(void)\n{\n}\n";
        } else {
            let _ =
                write!(text, "\nstatic uint8_t started;\n\nvoid model_reset(void)\n{{\n{reset}    started = 1;\n}}\n");
        }
        for (i, input) in firmware.inputs.iter().enumerate() {
            if let Some(offset) = input.resident.filter(|_| !firmware.streamed) {
                let kind = c_type(&input.port);
                let _ = write!(
                    text,
                    "\n{kind} *model_input{i}(void)\n{{\n    return ({kind} *)(void *)(arena + {offset});\n}}\n"
                );
            }
        }
        for (i, output) in firmware.outputs.iter().enumerate() {
            let (kind, offset) = (c_type(&output.port), output.offset);
            let _ = write!(
                text,
                "\nconst {kind} *model_output{i}(void)\n{{\n    return (const {kind} *)(const void *)(arena + {offset});\n}}\n"
            );
        }
        let _ = write!(text, "\nint model_run({})\n{{\n", parameters(firmware));
        if firmware.streamed {
            text += "    int error;\n";
        }
        if !firmware.variables.is_empty() {
            text += "    if (!started) {\n        model_reset();\n    }\n";
        }
        text += &self.run;
        for (i, output) in firmware.outputs.iter().enumerate() {
            let (offset, bytes) = (output.offset, output.port.bytes);
            let _ = writeln!(
                text,
                "    if (output{i} != NULL) {{\n        memcpy(output{i}, arena + {offset}, {bytes});\n    }}"
            );
        }
        text += "    return 0;\n}\n";
        Ok(text)
    }

    /// The name of a constant, which is printed when it is first asked for.
    fn constant(&mut self, id: ConstantId, role: &str, node: usize) -> String {
        self.formed(id, Form::Plain, role, node)
    }

    /// As [`constant`](Self::constant), in another form.
    fn formed(&mut self, id: ConstantId, form: Form, role: &str, node: usize) -> String {
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
    fn numbers(&mut self, name: &str, values: &[i64]) -> String {
        let values: Vec<String> = values.iter().map(i64::to_string).collect();
        let values = if values.is_empty() { vec!["0".into()] } else { values };
        array(&mut self.operators, "int32_t", name, &values);
        name.to_string()
    }

    /// A kernel made from a body: its name.
    fn make(&mut self, name: &str, parameters: &str, body: String) -> String {
        if !self.made.iter().any(|(made, _)| made == name) {
            let definition = format!("\nKERNEL void {name}({parameters})\n{{\n    {body}\n}}\n");
            self.made.push((name.into(), definition));
        }
        name.into()
    }

    fn operator(&mut self, o: usize, operator: &Operator) -> Result<(), Error> {
        let node = operator.node;
        match &operator.kind {
            Kind::Convolution { filter, per_group } => {
                self.filter(o, node, filter, *per_group, layout(filter, *per_group, false))?;
            }
            Kind::Depthwise(filter) => self.filter(o, node, filter, 1, layout(filter, 1, true))?,
            Kind::Matrix { rows, inputs, outputs, weights, weight_zero, bias, input_zero, requantization: r } => {
                if let Some(filter) = as_filter(&operator.kind) {
                    return self.filter(o, node, &filter, *inputs, Layout::Packed);
                }
                self.used.extend(["dot", "matrix"]);
                let weights = self.constant(*weights, "weights", node);
                let [bias, mantissas, shifts] = self.parameters(node, *bias, r);
                let _ = writeln!(
                    self.operators,
                    "static const struct matrix operator{o} = {{\n    {weights}, {bias}, {mantissas}, {shifts},\n    {rows}, {inputs}, {outputs}, {weight_zero}, {input_zero}, {}, {}, {},\n    {},\n}};",
                    r.output_zero,
                    r.range.low,
                    r.range.high,
                    usize::from(!r.single)
                );
            }
            Kind::Pool { rows, columns, greatest, range } => {
                self.used.extend(["window", "pool"]);
                let channels = self.call_of(o).writes[0].pixel;
                for value in
                    [rows.input, columns.input, channels, rows.kernel, columns.kernel, rows.stride, columns.stride]
                {
                    self.field(value, 16, "a pool")?;
                }
                let _ = writeln!(
                    self.operators,
                    "static const struct pool operator{o} = {{\n    {}, {}, {channels}, {}, {}, {}, {}, {}, {}, {}, {}, {},\n}};",
                    rows.input,
                    columns.input,
                    u8::from(*greatest),
                    rows.kernel,
                    columns.kernel,
                    rows.stride,
                    columns.stride,
                    rows.before,
                    columns.before,
                    range.low,
                    range.high
                );
            }
            Kind::Pair { formula, shape, steps, spatial } => self.pair(o, node, formula, shape, steps, *spatial),
            Kind::Table(answers) => {
                self.used.insert("table");
                self.constant(*answers, "table", node);
            }
            Kind::Mean { kept, reduced, count, input_zero, multiplier, output_zero } => {
                self.used.insert("mean");
                let flat = |axes: &[[usize; 2]]| axes.iter().flatten().map(|&n| n as i64).collect::<Vec<_>>();
                let stay = self.numbers(&format!("kept{o}"), &flat(kept));
                let over = self.numbers(&format!("reduced{o}"), &flat(reduced));
                let positions: usize = kept.iter().map(|axis| axis[0]).product();
                let _ = writeln!(
                    self.operators,
                    "static const struct mean operator{o} = {{\n    {stay}, {over}, {}, {}, {positions}, {count}, {input_zero}, {}, {output_zero},\n}};",
                    kept.len(),
                    reduced.len(),
                    c_multiplier(*multiplier)
                );
            }
            Kind::Softmax { .. } => {
                self.used.insert("softmax");
            }
            Kind::Nearest { rows, columns } => {
                self.used.insert("nearest");
                self.constant(*rows, "rows", node);
                self.constant(*columns, "columns", node);
            }
            Kind::Bilinear { rows, columns } => {
                self.used.insert("bilinear");
                self.constant(*rows, "rows", node);
                self.constant(*columns, "columns", node);
            }
            Kind::Movement { fill, copies } => {
                if fill.as_ref().is_some_and(|fill| fill.iter().any(|&byte| byte != fill[0])) {
                    return Err(self.fault(format!("operator {node} ({}) fills with a wide value", operator.name)));
                }
                for (i, copy) in copies.iter().enumerate().filter(|(_, copy)| !copy.shape.is_empty()) {
                    self.copies(o, i, copy);
                }
            }
        }
        Ok(())
    }

    /// Some call of an operator: the sizes of pixels are the same for all.
    fn call_of(&self, operator: usize) -> &'f Call {
        let calls = &self.firmware.calls;
        calls.iter().find(|c| c.operator == operator).unwrap_or(&calls[0])
    }

    /// Names of bias, mantissas and shifts.
    fn parameters(&mut self, node: usize, bias: Option<ConstantId>, requantization: &Requantization) -> [String; 3] {
        [
            bias.map_or("NULL".into(), |bias| self.constant(bias, "bias", node)),
            self.constant(requantization.mantissas, "mantissas", node),
            self.formed(requantization.shifts, Form::Rights, "rights", node),
        ]
    }

    fn filter(&mut self, o: usize, node: usize, f: &Filter, per_group: usize, layout: Layout) -> Result<(), Error> {
        self.used.extend(["sum", "window", "filter"]);
        self.kernel_rows = self.kernel_rows.max(f.rows.kernel);
        let weights = match layout {
            Layout::Packed => self.formed(f.weights, Form::Packed(f.out_channels), "packed", node),
            _ => self.constant(f.weights, "weights", node),
        };
        let [bias, mantissas, shifts] = self.parameters(node, f.bias, &f.requantization);
        let sum = match &f.sum {
            Some(sum) => {
                let _ = writeln!(self.operators, "static const struct sum sum{o} = {};", c_sum(sum));
                format!("&sum{o}")
            }
            None => "NULL".into(),
        };
        let r = &f.requantization;
        for value in [f.rows.input, f.columns.input, f.in_channels, f.out_channels] {
            self.field(value, 16, "an image")?;
        }
        let small = |w: &Window| [w.kernel, w.stride, w.dilation, w.before];
        for value in small(&f.rows).into_iter().chain(small(&f.columns)) {
            self.field(value, 8, "a window")?;
        }
        let (v, h) = (&f.rows, &f.columns);
        let _ = writeln!(
            self.operators,
            "static const struct filter operator{o} = {{\n    {weights}, {bias}, {mantissas}, {shifts}, {sum},\n    {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {},\n    {}, {}, {}, {}, {}, {per_group},\n}};",
            v.input,
            h.input,
            f.in_channels,
            f.out_channels,
            v.kernel,
            h.kernel,
            v.stride,
            h.stride,
            v.dilation,
            h.dilation,
            v.before,
            h.before,
            f.input_zero,
            r.output_zero,
            r.range.low,
            r.range.high,
            u8::from(f.sum.as_ref().is_some_and(|s| s.swapped)),
        );
        Ok(())
    }

    /// The kernel of a convolution's class.
    fn filter_kernel(&mut self, f: &Filter, per_group: usize, depthwise: bool) -> String {
        const PARAMETERS: &str = "const struct filter *f, const struct task *t, int32_t top, int32_t bottom";
        let r = &f.requantization;
        let to_the_right = match &self.firmware.constants[r.shifts] {
            Constant::I8(shifts) => shifts.iter().all(|&s| s < 0),
            _ => false,
        };
        let (shifts, of_shifts) = match (r.bounded, to_the_right) {
            (true, true) => ("NARROW", ""),
            (true, false) => ("MIXED", "_mixed"),
            _ => ("WIDE", "_wide"),
        };
        let full = (r.range.low, r.range.high) == (-128, 127);
        let (sums, of_sums) = match &f.sum {
            None => (0, ""),
            Some(sum) if sum.operands.iter().all(|m| m.shift <= 0) && sum.output.shift < 0 => (1, "_add"),
            Some(_) => (2, "_add_any"),
        };
        let class = format!("(struct class){{{shifts}, {}, {}, {sums}}}", u8::from(r.single), u8::from(full));
        let of_range = if full { "" } else { "_clamped" };
        let suffix = format!("{of_sums}{of_shifts}{}{of_range}", if r.single { "_single" } else { "" });
        let size = [f.rows.kernel, f.columns.kernel];
        let (name, body) = match layout(f, per_group, depthwise) {
            Layout::Depthwise => {
                self.used.insert("depthwise");
                let known = DEPTHWISE_SIZES.into_iter().find(|&n| size == [n, n]);
                let name = known.map_or("depthwise_window".into(), |n| format!("depthwise_{n}x{n}"));
                (name, format!("depthwise(f, t, top, bottom, {}, {class});", known.unwrap_or(0)))
            }
            found @ (Layout::Plain | Layout::Packed) => {
                self.used.extend(["dot", "convolution"]);
                let packed = found == Layout::Packed;
                let point = size == [1, 1] && f.rows.before == 0 && f.columns.before == 0;
                let name = if point { "convolution_1x1" } else { "convolution_window" };
                let name = name.to_string() + if packed { "" } else { "_odd" };
                let (point, packed) = (u8::from(point), u8::from(packed));
                (name, format!("convolution(f, t, top, bottom, {point}, {packed}, {class});"))
            }
            Layout::Any => {
                self.used.insert("convolution_any");
                let name = if depthwise { "depthwise_general" } else { "convolution_general" };
                (name.to_string(), format!("convolution_any(f, t, top, bottom, {}, {class});", u8::from(depthwise)))
            }
        };
        self.make(&format!("{name}{suffix}"), PARAMETERS, body)
    }

    fn pair(
        &mut self,
        o: usize,
        node: usize,
        formula: &PairFormula,
        shape: &[usize],
        steps: &[Vec<usize>; 2],
        spatial: [bool; 2],
    ) {
        self.used.extend(["sum", "pair"]);
        let numbers = |v: &[usize]| v.iter().map(|&n| n as i64).collect::<Vec<_>>();
        let axes = self.numbers(&format!("shape{o}"), &numbers(shape));
        let a = self.numbers(&format!("steps{o}a"), &numbers(&steps[0]));
        let b = self.numbers(&format!("steps{o}b"), &numbers(&steps[1]));
        let reads = self.call_of(o).reads.clone();
        let mut constants = ["NULL".to_string(), "NULL".to_string()];
        let mut pixels = [1, 1];
        for (k, read) in reads.iter().take(2).enumerate() {
            match read {
                Operand::Constant(id) => constants[k] = self.constant(*id, "operand", node),
                Operand::Arena(place) => pixels[k] = place.pixel,
            }
        }
        let none = Multiplier { mantissa: 0, shift: 0 };
        let plain = |zeros, output, output_zero, low, high| {
            let (zeros, operands): ([i32; 2], [Multiplier; 2]) = (zeros, [none; 2]);
            let range = tersor_kernels::int8::Range { low, high };
            c_sum(&Sum { swapped: false, zeros, operands, sign: 1, output, output_zero, range })
        };
        let (sum, negative) = match formula {
            PairFormula::Sum(sum) => (c_sum(sum), none),
            PairFormula::Product { zeros, output, output_zero, range } => {
                (plain(*zeros, *output, *output_zero, range.low, range.high), none)
            }
            PairFormula::Prelu { zeros, positive, negative, output_zero } => {
                (plain(*zeros, *positive, *output_zero, -128, 127), *negative)
            }
            PairFormula::Maximum | PairFormula::Minimum => (plain([0, 0], none, 0, -128, 127), none),
        };
        let [moves_a, moves_b] = spatial.map(u8::from);
        let _ = writeln!(
            self.operators,
            "static const struct pair operator{o} = {{\n    {{{}, {}}}, {axes}, {{{a}, {b}}}, {}, {}, {{{}, {}}}, {{{moves_a}, {moves_b}}},\n    {sum},\n    {},\n}};",
            constants[0],
            constants[1],
            shape.len(),
            shape.iter().product::<usize>(),
            pixels[0],
            pixels[1],
            c_multiplier(negative)
        );
    }

    fn copies(&mut self, o: usize, i: usize, copy: &Copies) {
        self.used.insert("movement");
        let name = |what: &str| format!("{what}{o}_{i}");
        let shape: Vec<i64> = copy.shape.iter().map(|&n| n as i64).collect();
        let steps = |v: &[isize]| v.iter().map(|&n| n as i64).collect::<Vec<_>>();
        let (axes, positions) = (shape.len(), shape.iter().product::<i64>());
        let shape = self.numbers(&name("shape"), &shape);
        let from = self.numbers(&name("from"), &steps(&copy.from.1));
        let to = self.numbers(&name("to"), &steps(&copy.to.1));
        let _ = writeln!(
            self.operators,
            "static const struct copies operator{o}_{i} = {{{shape}, {from}, {to}, {axes}, {positions}, {}}};",
            copy.bytes
        );
    }

    fn feeds(&mut self, call: &Call) -> Result<(), Error> {
        for feed in &call.feeds {
            let input = &self.firmware.inputs[feed.input];
            let [_, columns, pixel] = input.image;
            let (i, [top, bottom], [left, right]) = (feed.input, feed.rows, feed.columns);
            let offset = feed.offset;
            if self.firmware.streamed {
                let _ = writeln!(
                    self.run,
                    "    if ((error = read_rect(context, {i}, {top}, {}, {left}, {}, arena + {offset})) != 0) {{\n        return error;\n    }}",
                    bottom - top,
                    right - left
                );
            } else if right - left == columns {
                let (from, bytes) = (top * columns * pixel, (bottom - top) * columns * pixel);
                let _ = writeln!(
                    self.run,
                    "    if (input{i} != NULL) {{\n        memcpy(arena + {offset}, (const int8_t *)input{i} + {from}, {bytes});\n    }}"
                );
            } else {
                return Err(self.fault(format!("input {i} is not streamed, and yet fed in columns {left}..{right}")));
            }
        }
        Ok(())
    }

    /// Where a call works: a task's name, printed when it is new.
    fn task(&mut self, call: &Call) -> Result<String, Error> {
        let nowhere = "{NULL, 0, 0, 0, 1}".to_string();
        let arena = |operand: Option<&Operand>| match operand {
            Some(Operand::Arena(place)) => self.place(*place),
            _ => Ok(nowhere.clone()),
        };
        let (x, second) = (arena(call.reads.first())?, arena(call.reads.get(1))?);
        let y = self.place(call.writes[0])?;
        let scratch = call.scratch.map_or("NULL".into(), |s| format!("arena + {s}"));
        let [left, right] = call.columns;
        let backward = u8::from(call.direction == Direction::Backward);
        let text = format!("{{\n    {x}, {second}, {y},\n    {left}, {right}, {scratch}, {backward},\n}}");
        let next = self.known_tasks.len();
        let tasks = &mut self.tasks;
        let task = *self.known_tasks.entry(text.clone()).or_insert_with(|| {
            let _ = writeln!(tasks, "static const struct task task{next} = {text};");
            next
        });
        Ok(format!("&task{task}"))
    }

    fn place(&self, place: Place) -> Result<String, Error> {
        let ring = self.field(place.ring, 16, "an image")?;
        // Where one row is kept, all lie there.
        let top = if ring == 1 { 0 } else { self.field(place.rows[0], 16, "an image")? };
        let left = self.field(place.columns[0], 16, "an image")?;
        let columns = self.field(place.columns[1] - place.columns[0], 16, "an image")?;
        Ok(format!("{{arena + {}, {top}, {left}, {columns}, {ring}}}", place.offset))
    }

    /// Where operand `i` begins, for kernels that see no parts.
    fn start(&mut self, call: &Call, i: usize, node: usize) -> String {
        match call.reads[i] {
            Operand::Arena(place) => format!("arena + {}", place.offset),
            Operand::Constant(id) => format!("(const int8_t *){}", self.constant(id, "operand", node)),
        }
    }

    fn call(&mut self, call: &Call) -> Result<(), Error> {
        let firmware = self.firmware;
        let o = call.operator;
        let operator = &firmware.operators[o];
        let node = operator.node;
        let [top, bottom] = call.rows;
        let bytes = call.writes[0].pixel;
        let y = format!("arena + {}", call.writes[0].offset);
        let line = match &operator.kind {
            Kind::Convolution { filter, per_group } => {
                let (kernel, task) = (self.filter_kernel(filter, *per_group, false), self.task(call)?);
                format!("{kernel}(&operator{o}, {task}, {top}, {bottom});")
            }
            Kind::Depthwise(filter) => {
                let (kernel, task) = (self.filter_kernel(filter, 1, true), self.task(call)?);
                format!("{kernel}(&operator{o}, {task}, {top}, {bottom});")
            }
            Kind::Pool { .. } => format!("pool(&operator{o}, {}, {top}, {bottom});", self.task(call)?),
            Kind::Pair { formula, .. } => {
                let (name, formula) = match formula {
                    PairFormula::Sum(_) => ("pair_sum", "PAIR_SUM"),
                    PairFormula::Product { .. } => ("pair_product", "PAIR_PRODUCT"),
                    PairFormula::Maximum => ("pair_maximum", "PAIR_MAXIMUM"),
                    PairFormula::Minimum => ("pair_minimum", "PAIR_MINIMUM"),
                    PairFormula::Prelu { .. } => ("pair_prelu", "PAIR_PRELU"),
                };
                let parameters = "const struct pair *f, const struct task *t, int32_t top, int32_t bottom";
                let kernel = self.make(name, parameters, format!("pair(f, t, top, bottom, {formula});"));
                format!("{kernel}(&operator{o}, {}, {top}, {bottom});", self.task(call)?)
            }
            Kind::Table(answers) => {
                let answers = self.constant(*answers, "table", node);
                format!("table({answers}, {bytes}, {}, {top}, {bottom});", self.task(call)?)
            }
            Kind::Nearest { rows, columns } => {
                let (rows, columns) = (self.constant(*rows, "rows", node), self.constant(*columns, "columns", node));
                format!("nearest({rows}, {columns}, {bytes}, {}, {top}, {bottom});", self.task(call)?)
            }
            Kind::Bilinear { rows, columns } => {
                let (rows, columns) = (self.constant(*rows, "rows", node), self.constant(*columns, "columns", node));
                format!("bilinear({rows}, {columns}, {bytes}, {}, {top}, {bottom});", self.task(call)?)
            }
            Kind::Matrix { inputs, .. } if as_filter(&operator.kind).is_some() => {
                let Some(filter) = as_filter(&operator.kind) else { return Ok(()) };
                let kernel = self.filter_kernel(&filter, *inputs, false);
                let task = self.task(&over_a_row(call, &filter))?;
                format!("{kernel}(&operator{o}, {task}, 0, 1);")
            }
            Kind::Matrix { .. } => format!("matrix(&operator{o}, {}, {y});", self.start(call, 0, node)),
            Kind::Mean { .. } => format!("mean(&operator{o}, {}, {y});", self.start(call, 0, node)),
            Kind::Softmax { rows, depth, mantissa, left_shift, least_difference } => {
                let x = self.start(call, 0, node);
                format!("softmax({rows}, {depth}, {mantissa}, {left_shift}, {least_difference}, {x}, {y});")
            }
            Kind::Movement { fill, copies } => {
                let mut lines = Vec::new();
                if let Some(&byte) = fill.as_ref().and_then(|fill| fill.first()) {
                    lines.push(format!("memset({y}, {byte}, {});", call.writes[0].bytes()));
                }
                for (i, copy) in copies.iter().enumerate() {
                    let (read, write) = (self.start(call, copy.read, node), call.writes[copy.write].offset + copy.to.0);
                    let from = copy.from.0;
                    lines.push(match copy.shape.as_slice() {
                        [] => format!("memmove(arena + {write}, {read} + {from}, {});", copy.bytes),
                        _ => format!("copies(&operator{o}_{i}, {read} + {from}, arena + {write});"),
                    });
                }
                lines.join("\n    ")
            }
        };
        let _ = writeln!(self.run, "    {line}");
        Ok(())
    }
}

/// A constant array, 100 columns wide.
fn array(text: &mut String, kind: &str, name: &str, values: &[String]) {
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

fn c_multiplier(m: Multiplier) -> String {
    format!("{{{}, {}}}", c_i32(m.mantissa), m.shift)
}

fn c_sum(s: &Sum) -> String {
    let [a, b] = s.operands.map(c_multiplier);
    let output = c_multiplier(s.output);
    let [za, zb] = s.zeros;
    let (sign, zero, low, high) = (s.sign, s.output_zero, s.range.low, s.range.high);
    format!("{{{{{za}, {zb}}}, {{{a}, {b}}}, {output}, {sign}, {zero}, {low}, {high}}}")
}

/// A `main` that runs the test vector and says `ok`, or where the output differs.
fn check(firmware: &Firmware, vector: &Vector) -> String {
    let mut text = title(firmware, "Check");
    text += "#include <string.h>\n\n#include \"check.h\"\n#include \"model.h\"\n\n";
    for (f, frame) in vector.frames.iter().enumerate() {
        for (what, all) in [("input", &frame.inputs), ("output", &frame.outputs)] {
            for (i, bytes) in all.iter().enumerate() {
                let values: Vec<String> = bytes.iter().map(|&b| (b as i8).to_string()).collect();
                array(&mut text, "int8_t", &format!("frame{f}_{what}{i}"), &values);
            }
        }
    }
    let frames = vector.frames.len();
    let table = |text: &mut String, what: &str, count: usize| {
        let _ = writeln!(text, "static const int8_t *const frames_{what}[{frames}][{count}] = {{");
        for f in 0..frames {
            let row: Vec<String> = (0..count).map(|i| format!("frame{f}_{what}{i}")).collect();
            let _ = writeln!(text, "    {{{}}},", row.join(", "));
        }
        *text += "};\n";
    };
    table(&mut text, "input", firmware.inputs.len());
    table(&mut text, "output", firmware.outputs.len());
    text += include_str!("c/check_words.c");
    if firmware.streamed {
        let images: Vec<String> =
            firmware.inputs.iter().map(|i| format!("{{{}, {}}}", i.image[1], i.image[2])).collect();
        let _ = write!(
            text,
            "\n/* Columns of each input, and bytes of a pixel. */\nstatic const int images[{}][2] = {{{}}};\n",
            images.len(),
            images.join(", ")
        );
        text += include_str!("c/check_rect.c");
    }
    text +=
        "\n/* One run, and the ticks that it took. */\nstatic int run(int frame, uint32_t *took)\n{\n    int error;\n";
    let mut arguments = Vec::new();
    if firmware.streamed {
        arguments.push("read_rect".to_string());
        arguments.push("(void *)(uintptr_t)frame".into());
    } else {
        for (i, input) in firmware.inputs.iter().enumerate() {
            let kind = c_type(&input.port);
            arguments.push(match input.resident {
                Some(_) => {
                    let _ =
                        writeln!(text, "    memcpy(model_input{i}(), frames_input[frame][{i}], MODEL_INPUT{i}_BYTES);");
                    "NULL".into()
                }
                None => format!("(const {kind} *)(const void *)frames_input[frame][{i}]"),
            });
        }
    }
    arguments.extend(firmware.outputs.iter().map(|_| "NULL".to_string()));
    let _ = writeln!(
        text,
        "    ticks_start();\n    error = model_run({});\n    *took = ticks();\n    return error;\n}}",
        arguments.join(", ")
    );
    let _ = write!(
        text,
        "\nint main(void)\n{{\n    int wrong = 0;\n    uint32_t most_ticks = 0, stack;\n    stack_paint();\n    for (int frame = 0; frame < {frames}; frame++) {{\n        uint32_t took = 0;\n        wrong |= run(frame, &took);\n        most_ticks = took > most_ticks ? took : most_ticks;\n"
    );
    for i in 0..firmware.outputs.len() {
        let _ = writeln!(
            text,
            "        wrong |= differs(frame, {i}, (const int8_t *)(const void *)model_output{i}(), MODEL_OUTPUT{i}_BYTES);"
        );
    }
    text += "    }\n    stack = stack_used();\n";
    // From copies of the inputs to copies of the outputs, afresh.
    text += "    model_reset();\n    {\n";
    for (i, output) in firmware.outputs.iter().enumerate() {
        let _ = writeln!(text, "        static {} copy{i}[MODEL_OUTPUT{i}_ELEMENTS];", c_type(&output.port));
    }
    let mut arguments = Vec::new();
    if firmware.streamed {
        arguments.push("read_rect".to_string());
        arguments.push("(void *)(uintptr_t)0".into());
    } else {
        let copied = |(i, input): (usize, &super::firmware::Input)| {
            format!("(const {} *)(const void *)frames_input[0][{i}]", c_type(&input.port))
        };
        arguments.extend(firmware.inputs.iter().enumerate().map(copied));
    }
    arguments.extend((0..firmware.outputs.len()).map(|i| format!("copy{i}")));
    let _ = writeln!(text, "        wrong |= model_run({});", arguments.join(", "));
    for i in 0..firmware.outputs.len() {
        let _ = writeln!(
            text,
            "        wrong |= differs(0, {i}, (const int8_t *)(const void *)copy{i}, MODEL_OUTPUT{i}_BYTES);"
        );
    }
    text += "    }\n    say_number(\"ticks \", most_ticks);\n    say_number(\"stack \", stack);\n    say(wrong ? \"wrong\\n\" : \"ok\\n\");\n    return wrong;\n}\n";
    text
}

/// The least program: what it takes is what the network takes.
fn example(firmware: &Firmware) -> String {
    let mut text = title(firmware, "The least program");
    text += "#include \"check.h\"\n#include \"model.h\"\n";
    let mut arguments = Vec::new();
    if firmware.streamed {
        text += "\n/* Where a camera would be read. */\nstatic int read_rect(void *context, int input, int row, int rows, int column, int columns, int8_t *to)\n{\n    (void)context;\n    (void)input;\n    (void)row;\n    (void)rows;\n    (void)column;\n    (void)columns;\n    (void)to;\n    return 0;\n}\n";
        arguments.extend(["read_rect".to_string(), "NULL".into()]);
    } else {
        arguments.extend(firmware.inputs.iter().map(|_| "NULL".to_string()));
    }
    arguments.extend(firmware.outputs.iter().map(|_| "NULL".to_string()));
    let _ = write!(
        text,
        "\nint main(void)\n{{\n    int error = model_run({});\n    return error != 0 ? error : *(const int8_t *)(const void *)model_output0() == 0;\n}}\n",
        arguments.join(", ")
    );
    text
}
