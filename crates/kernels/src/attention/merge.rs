//! Two partial results over different keys become the result over both.

/// Merges the output rows `o` (`[rows, width]`) and logarithms `l` (`[rows]`) with those over other keys, in place:
///
/// O = (O₁ e^(L₁ - m) + O₂ e^(L₂ - m)) / (e^(L₁ - m) + e^(L₂ - m)), L = m + ln(e^(L₁ - m) + e^(L₂ - m)), m = max(L₁, L₂).
///
/// A row without a key on one side (L = -∞) is the other side's row to the bit; on both sides it stays 0 with L = -∞.
///
/// # Panics
/// If the two sides do not have as many numbers.
pub fn merge(o: &mut [f32], l: &mut [f32], other_o: &[f32], other_l: &[f32]) {
    assert!(o.len() == other_o.len() && l.len() == other_l.len(), "both sides have as many rows");
    let width = o.len() / l.len().max(1);
    assert_eq!(o.len(), width * l.len(), "rows are whole");
    if width == 0 {
        return;
    }
    let rows = o.chunks_exact_mut(width).zip(other_o.chunks_exact(width));
    for ((o, other_o), (l, &other_l)) in rows.zip(l.iter_mut().zip(other_l)) {
        let m = l.max(other_l);
        if other_l == f32::NEG_INFINITY {
            continue;
        }
        if *l == f32::NEG_INFINITY {
            o.copy_from_slice(other_o);
            *l = other_l;
            continue;
        }
        let (a, b) = ((*l - m).exp(), (other_l - m).exp());
        let total = a + b;
        for (o, other) in o.iter_mut().zip(other_o) {
            *o = (*o * a + other * b) / total;
        }
        *l = m + total.ln();
    }
}
