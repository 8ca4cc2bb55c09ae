//! Kernels specialised by shape, as TinyEngine does: one body, compiled once for each class of convolutions that the
//! network has, with the class's sizes as constants; and weights laid out for the body that reads them.

use tersor_kernels::window::{Padding, Window};

use super::Printer;
use crate::emit::firmware::{Call, Constant, Filter, Kind, Operand, Place};

/// Kernel sizes of depthwise convolutions that have bodies of their own.
const DEPTHWISE_SIZES: [usize; 3] = [3, 5, 7];

/// How the weights of a convolution lie in Flash, which says what computes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// As in the file; channel by channel.
    Depthwise,
    /// As in the file.
    Plain,
    /// Blocks of four outputs, interleaved by four inputs: one pointer goes through them.
    Packed,
    /// As in the file; any groups and dilation.
    Any,
}

pub(super) fn layout(f: &Filter, per_group: usize, depthwise: bool) -> Layout {
    let undilated = f.rows.dilation == 1 && f.columns.dilation == 1;
    match (undilated, depthwise) {
        (true, true) if f.in_channels == f.out_channels => Layout::Depthwise,
        (true, false) if per_group == f.in_channels && per_group.is_multiple_of(4) => Layout::Packed,
        (true, false) if per_group == f.in_channels => Layout::Plain,
        _ => Layout::Any,
    }
}

/// A matrix product as a convolution over a row of pixels, if it may share its kernel.
pub(super) fn as_filter(kind: &Kind) -> Option<Filter> {
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
pub(super) fn over_a_row(call: &Call, f: &Filter) -> Call {
    let columns = [0, f.columns.input];
    let row = |offset, pixel| Place { offset, rows: [0, 1], columns, ring: 1, pixel };
    let reads = call.reads.iter().take(1).map(|&read| match read {
        Operand::Arena(place) => Operand::Arena(row(place.offset, f.in_channels)),
        constant => constant,
    });
    let writes = vec![row(call.writes[0].offset, f.out_channels)];
    Call { rows: [0, 1], columns, reads: reads.collect(), writes, ..call.clone() }
}

impl Printer<'_> {
    /// A kernel made from a body: its name.
    pub(super) fn make(&mut self, name: &str, parameters: &str, body: String) -> String {
        if !self.made.iter().any(|(made, _)| made == name) {
            let definition = format!("\nKERNEL void {name}({parameters})\n{{\n    {body}\n}}\n");
            self.made.push((name.into(), definition));
        }
        name.into()
    }

    /// The kernel of a convolution's class.
    pub(super) fn filter_kernel(&mut self, f: &Filter, per_group: usize, depthwise: bool) -> String {
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
}
