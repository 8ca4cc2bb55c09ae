//! The first row of a tensor that holds a number which is not finite.
//!
//! One pass over the inputs: 1/n of what attention itself costs, and cheaper than asking where a NaN came from.

use rayon::prelude::*;

use super::shape::Tensor;
use super::storage::Storage;
use crate::training::function::vectors;

/// Rows that one task takes.
const PART: usize = 512;

/// Sequence, head and row of the first NaN or ±∞, in this order, in a tensor of `[batch, heads, rows]` and `width`.
pub fn first_not_finite<T: Storage>(
    tensor: &Tensor<'_, T>,
    [batch, heads, rows]: [usize; 3],
    width: usize,
) -> Option<[usize; 3]> {
    let parts = rows.div_ceil(PART);
    (0..batch * heads * parts).into_par_iter().find_map_first(|index| {
        let (head, part) = (index / parts, index % parts);
        let place = (head / heads, head % heads);
        let row = vectors(
            #[inline(always)]
            || {
                let of_part = part * PART..rows.min((part + 1) * PART);
                of_part.into_iter().find(|&row| !T::all_finite(tensor.row(place, row, width)))
            },
        );
        row.map(|row| [place.0, place.1, row])
    })
}
