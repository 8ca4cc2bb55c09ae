//! What is computed: a structure of numbers for each operator, as its kernel reads them.

use std::fmt::Write as _;

use tersor_kernels::int8::{Multiplier, Range};
use tersor_kernels::window::Window;

use super::Printer;
use super::constants::{Form, c_multiplier, c_sum};
use super::specialization::{Layout, as_filter, layout};
use crate::emit::firmware::{
    Call, ConstantId, Copies, Filter, Kind, Operand, Operator, PairFormula, Requantization, Sum,
};
use crate::error::Error;

impl<'f> Printer<'f> {
    pub(super) fn operator(&mut self, o: usize, operator: &Operator) -> Result<(), Error> {
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
            let range = Range { low, high };
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
}
