//! Operators of two tensors, element by element, with broadcasting.

use super::place::{Arena, Call, Place, Rows};

/// Where an operand comes from.
pub enum Operand {
    /// It moves with the output's pixel; bytes of a pixel.
    Image(Place, u16),
    /// The same bytes for all pixels.
    Fixed(usize),
    /// Data in Flash, the same for all pixels.
    Flash(&'static [i8]),
}

/// The elements of an output pixel, and the operands' steps along them.
pub struct Pair {
    /// Lengths.
    pub shape: &'static [u16],
    /// Steps of the operands.
    pub steps: [&'static [u16]; 2],
    /// Operands.
    pub operands: [Operand; 2],
}

/// Writes `value(a, b)` for each element, in order.
#[inline(always)]
pub fn each_pair<T>(arena: &mut Arena, op: &Pair, call: &Call<T>, rows: Rows, value: impl Fn(i8, i8) -> i8) {
    let bytes: usize = op.shape.iter().map(|&n| n as usize).product();
    call.each_pixel(rows, |y, x| {
        let to = call.output.at(y, x, bytes);
        for i in 0..bytes {
            let i = if call.backward { bytes - 1 - i } else { i };
            let [a, b] = [0, 1].map(|k| {
                let at = position(i, op.shape, op.steps[k]);
                match &op.operands[k] {
                    Operand::Image(place, pixel) => arena[place.at(y, x, *pixel as usize) + at],
                    Operand::Fixed(offset) => arena[offset + at],
                    Operand::Flash(data) => data[at],
                }
            });
            arena[to + i] = value(a, b);
        }
    });
}

/// Where element `i` of `shape` is, by the steps along its axes.
#[inline]
fn position(mut i: usize, shape: &[u16], steps: &[u16]) -> usize {
    if let ([_], [step]) = (shape, steps) {
        return i * *step as usize;
    }
    let mut at = 0;
    for (&n, &step) in shape.iter().zip(steps).rev() {
        at += i % n as usize * step as usize;
        i /= n as usize;
    }
    at
}
