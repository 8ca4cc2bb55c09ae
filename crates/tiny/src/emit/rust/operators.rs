//! `src/operators.rs`: what is computed, a static for each operator.

use std::fmt::Write as _;

use tersor_kernels::int8::{Multiplier, Range};
use tersor_kernels::window::Window;

use super::{Printer, plain};
use crate::emit::firmware::{Filter, Kind, PairFormula, Requantization, Sum};
use crate::error::Error;

impl Printer<'_> {
    /// What is common to the calls of an operator.
    pub(super) fn operator(&mut self, at: usize) -> Result<(), Error> {
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

    pub(super) fn operators_file(&self) -> String {
        let uses: String = self.modules().iter().map(|kernel| format!("use crate::kernels::{kernel}::*;\n")).collect();
        format!(
            "//! What is computed, in numbers.\n\n#![allow(unused_imports)]\n\nuse crate::constants::*;\n{uses}{}",
            self.operators
        )
    }
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
