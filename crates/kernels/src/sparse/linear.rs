//! A pruned linear layer: y = act(W x + b) where most of W is absent.
//!
//! Pruning a network to a tenth (Han, Pool, Tran, Dally, *Learning both weights and connections for efficient neural
//! networks*, NeurIPS 2015) makes it smaller; it is faster only where the non-zeros are read and multiplied about as fast as
//! the dense matrix would be. For one row of x that is a question of bytes: the matrix is read once. For many, each non-zero
//! multiplies a vector of them (`batch.rs`).
//!
//! Packing counts what each layout would take and keeps the cheapest by [`cost`]:
//!
//! | non-zeros | layout |
//! | --- | --- |
//! | scattered | `lockstep.rs`: eight rows, a sliding window of 8 inputs in a register; 16 and 16 with AVX-512 |
//! | scattered and many | `compact.rs`: the same, always with 16 inputs, without gaps |
//! | scattered and few | `gathered.rs`: row by row (CSR) |
//! | in blocks of 8 | `blocks.rs`: 8 outputs of an input, or 8 inputs of an output (BCSR) |
//! | two of four | `half.rs` |
//!
//! **Absent weights contribute nothing**, also under an input that is infinite or not a number: no 0 · ∞ is added. Layouts
//! that hold zeros for absent weights are left when an input is not finite, for a slow loop over the weights that are there.

use std::sync::OnceLock;

use rayon::prelude::*;

use super::batch::Batch;
use super::blocks::{Blocks, Shape};
use super::compact;
use super::cost::{self, Choice, Layout as Form};
use super::ending::Ending;
use super::gathered::Gathered;
use super::half::Half;
use super::lockstep;
use super::nonzeros::NonZeros;
use super::scratch;
use super::windows;
use crate::training::function::vectors;

/// Rows of W that one task takes, and among which rows are sorted.
pub(super) const PART: usize = 128;
/// Fewest rows of x that are worth being transposed.
pub(super) const FEW: usize = 4;
/// Products that take less than so many seconds are not worth a second thread: to wake one takes some 50 µs.
pub(super) const WORTH_THREADS: f64 = 150e-6;

/// A matrix `[outputs][inputs]` of few non-zeros, packed for products with rows of x.
#[derive(Debug, Clone)]
pub struct SparseLinear {
    outputs: usize,
    inputs: usize,
    nonzeros: usize,
    seconds: f64,
    layout: Layout,
    /// For many rows of x; made when they first come.
    batch: OnceLock<Batch>,
}

#[derive(Debug, Clone)]
enum Layout {
    Lockstep(lockstep::Narrow),
    WideLockstep(lockstep::Wide),
    Compact(compact::Narrow),
    WideCompact(compact::Wide),
    Gathered(Gathered),
    Blocks(Blocks),
    Half(Half),
}

impl SparseLinear {
    /// Packs `weights` `[outputs][inputs]`; a weight that equals 0 is absent.
    ///
    /// Cost: a few passes over the weights.
    ///
    /// # Panics
    /// If `weights` is not `outputs · inputs` long, or has more than 2³² numbers.
    pub fn pack(weights: &[f32], outputs: usize, inputs: usize) -> Self {
        assert_eq!(weights.len(), outputs * inputs, "weights are [outputs][inputs]");
        assert!(weights.len() <= u32::MAX as usize, "places are counted in 32 bits");
        let rows = NonZeros::of(weights, outputs, inputs);
        let seconds = |form: &Form| cost::single_row((outputs, inputs), rows.count(), *form);
        let cheapest = forms(&rows, windows::is_wide()).into_iter().min_by(|a, b| seconds(a).total_cmp(&seconds(b)));
        Self::packed(&rows, cheapest.unwrap_or(Form::Gathered))
    }

    fn packed(rows: &NonZeros, form: Form) -> Self {
        let layout = match form {
            Form::Gathered => Layout::Gathered(Gathered::pack(rows)),
            Form::Tall(_) => Layout::Blocks(Blocks::pack(rows, Shape::Tall)),
            Form::Flat(_) => Layout::Blocks(Blocks::pack(rows, Shape::Flat)),
            Form::Half(_) => Layout::Half(Half::pack(rows)),
            Form::Lockstep(_) => Layout::Lockstep(lockstep::Narrow::pack(rows)),
            Form::WideLockstep(_) => Layout::WideLockstep(lockstep::Wide::pack(rows)),
            Form::Compact(_) => Layout::Compact(compact::Narrow::pack(rows)),
            Form::WideCompact(_) => Layout::WideCompact(compact::Wide::pack(rows)),
        };
        let (outputs, inputs, nonzeros) = (rows.outputs(), rows.inputs, rows.count());
        let seconds = cost::single_row((outputs, inputs), nonzeros, form);
        Self { outputs, inputs, nonzeros, seconds, layout, batch: OnceLock::new() }
    }

    /// Outputs.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Inputs.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Weights that are there.
    pub fn nonzeros(&self) -> usize {
        self.nonzeros
    }

    /// The share of the weights that are there, in [0, 1]; 0 for an empty matrix.
    pub fn density(&self) -> f64 {
        self.nonzeros as f64 / ((self.outputs * self.inputs) as f64).max(1.0)
    }

    /// Bytes that a product with one row of x reads of the matrix. Those for many rows are apart, and about five a non-zero.
    pub fn bytes(&self) -> usize {
        match &self.layout {
            Layout::Lockstep(layout) => layout.bytes(),
            Layout::WideLockstep(layout) => layout.bytes(),
            Layout::Compact(layout) => layout.bytes(),
            Layout::WideCompact(layout) => layout.bytes(),
            Layout::Gathered(layout) => layout.bytes(),
            Layout::Blocks(layout) => layout.bytes(),
            Layout::Half(layout) => layout.bytes(),
        }
    }

    /// Seconds that the cost model gives a product with `batch` rows of x, on one thread.
    pub fn predicted_seconds(&self, batch: usize) -> f64 {
        if batch < FEW {
            batch as f64 * self.seconds
        } else {
            cost::many_rows((self.outputs, self.inputs), batch, self.nonzeros)
        }
    }

    /// The form to take for `batch` rows of x, by what these weights take.
    pub fn choice(&self, batch: usize) -> Choice {
        let dense = cost::dense_linear((self.outputs, self.inputs), batch);
        Choice::between(dense, self.predicted_seconds(batch))
    }

    /// The name of the layout for one row of x.
    pub fn layout(&self) -> &'static str {
        match &self.layout {
            Layout::Lockstep(_) => "lockstep",
            Layout::WideLockstep(_) => "lockstep 16",
            Layout::Compact(_) => "compact",
            Layout::WideCompact(_) => "compact 16",
            Layout::Gathered(_) => "rows",
            Layout::Blocks(layout) => layout.name(),
            Layout::Half(_) => "2:4",
        }
    }

    /// Gives every row, column and value, in the order of the layout.
    pub fn each(&self, f: impl FnMut(usize, usize, f32)) {
        match &self.layout {
            Layout::Lockstep(layout) => layout.each(f),
            Layout::WideLockstep(layout) => layout.each(f),
            Layout::Compact(layout) => layout.each(f),
            Layout::WideCompact(layout) => layout.each(f),
            Layout::Gathered(layout) => layout.each(f),
            Layout::Blocks(layout) => layout.each(f),
            Layout::Half(layout) => layout.each(f),
        }
    }

    /// y = ending(x Wᵀ + b): `x` `[batch][inputs]`, `bias` `[outputs]`, `y` `[batch][outputs]`.
    ///
    /// The first product with four rows or more packs the matrix once more, for those.
    ///
    /// # Panics
    /// If the slices are not of these lengths.
    pub fn run(&self, x: &[f32], bias: Option<&[f32]>, ending: Ending, y: &mut [f32]) {
        let batch = y.len().checked_div(self.outputs).unwrap_or(0);
        assert!(x.len() == batch * self.inputs || self.outputs == 0, "x is [batch][inputs]");
        assert_eq!(y.len(), batch * self.outputs, "y is [batch][outputs]");
        assert!(bias.is_none_or(|bias| bias.len() == self.outputs), "bias is [outputs]");
        if batch >= FEW {
            let packed = self.batch.get_or_init(|| Batch::pack(self));
            return packed.run(x, batch, bias, ending, y);
        }
        for (row, y) in y.chunks_exact_mut(self.outputs.max(1)).enumerate() {
            self.row(&x[row * self.inputs..][..self.inputs], bias, ending, y);
        }
    }

    fn row(&self, x: &[f32], bias: Option<&[f32]>, ending: Ending, y: &mut [f32]) {
        let (reads, zeros) = match &self.layout {
            Layout::Lockstep(layout) => (layout.reads(), true),
            Layout::WideLockstep(layout) => (layout.reads(), true),
            Layout::Compact(layout) => (layout.reads(), true),
            Layout::WideCompact(layout) => (layout.reads(), true),
            Layout::Gathered(_) => (self.inputs, false),
            Layout::Blocks(layout) => (layout.reads(), layout.zeros),
            Layout::Half(layout) => (layout.reads(), layout.zeros),
        };
        if zeros && !finite(x) {
            y.fill(0.0);
            self.each(|row, column, value| y[row] += value * x[column]);
            return ending.after(bias, y);
        }
        if x.len() >= reads {
            return self.parts(x, bias, ending, y);
        }
        scratch::with(reads, |padded| {
            padded[..x.len()].copy_from_slice(x);
            padded[x.len()..].fill(0.0);
            self.parts(padded, bias, ending, y);
        });
    }

    fn parts(&self, x: &[f32], bias: Option<&[f32]>, ending: Ending, y: &mut [f32]) {
        let part = |(part, y): (usize, &mut [f32])| {
            match &self.layout {
                Layout::Lockstep(layout) => layout.run(part, x, y),
                Layout::WideLockstep(layout) => layout.run(part, x, y),
                Layout::Compact(layout) => layout.run(part, x, y),
                Layout::WideCompact(layout) => layout.run(part, x, y),
                Layout::Gathered(layout) => layout.run(part, x, y),
                Layout::Blocks(layout) => layout.run(part, x, y),
                Layout::Half(layout) => layout.run(part, x, y),
            }
            let bias = bias.map(|bias| &bias[part * PART..][..y.len()]);
            vectors(
                #[inline(always)]
                || ending.after(bias, y),
            );
        };
        if self.seconds < WORTH_THREADS || rayon::current_num_threads() == 1 {
            y.chunks_mut(PART).enumerate().for_each(part);
        } else {
            y.par_chunks_mut(PART).enumerate().for_each(part);
        }
    }
}

/// The forms that hold these non-zeros, with what each would take; those of sixteen rows if they are `wide`.
fn forms(rows: &NonZeros, wide: bool) -> Vec<Form> {
    let mut forms = vec![
        Form::Gathered,
        Form::Tall(Blocks::count(rows, Shape::Tall)),
        Form::Flat(Blocks::count(rows, Shape::Flat)),
    ];
    if windows::fits(rows.inputs) {
        forms.push(Form::Lockstep(windows::steps::<8>(rows, lockstep::Narrow::WINDOW)));
        forms.push(Form::Compact(windows::steps::<8>(rows, compact::WINDOW)));
        if wide {
            // Both have the same windows.
            let steps = windows::steps::<16>(rows, compact::WINDOW);
            forms.extend([Form::WideLockstep(steps), Form::WideCompact(steps)]);
        }
    }
    if Half::fits(rows) {
        forms.push(Form::Half(Half::count(rows)));
    }
    forms
}

/// Whether no number is infinite or not one.
fn finite(x: &[f32]) -> bool {
    /// The least bits, without the sign, that are not finite.
    const INFINITE: u32 = 0x7f80_0000;
    vectors(
        #[inline(always)]
        || x.iter().fold(0, |most, x| (x.to_bits() & 0x7fff_ffff).max(most)),
    ) < INFINITE
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::dense;
    use super::*;

    /// As the formula reads, over the weights that are there; with the sum of the sizes of the terms.
    fn reference(w: &[f32], x: &[f32], bias: Option<&[f32]>, ending: Ending, outputs: usize) -> Vec<(f64, f64)> {
        let inputs = w.len() / outputs;
        let rows = x.chunks_exact(inputs).flat_map(|x| (0..outputs).map(move |o| (x, o)));
        let output = |(x, o): (&[f32], usize)| {
            let bias = bias.map_or(0.0, |bias| f64::from(bias[o]));
            let (mut sum, mut sizes) = (bias, bias.abs());
            for (w, x) in w[o * inputs..][..inputs].iter().zip(x).filter(|(w, _)| **w != 0.0) {
                let term = f64::from(*w) * f64::from(*x);
                sum += term;
                sizes += term.abs();
            }
            (f64::from(ending.of(sum as f32)), sizes)
        };
        rows.map(output).collect()
    }

    fn close(y: &[f32], expected: &[(f64, f64)]) -> Result<(), TestCaseError> {
        prop_assert_eq!(y.len(), expected.len());
        for (i, (&y, &(value, sizes))) in y.iter().zip(expected).enumerate() {
            let error = (f64::from(y) - value).abs();
            prop_assert!(error <= 1e-5 * sizes + 1e-30, "{}: {} instead of {}", i, y, value);
        }
        Ok(())
    }

    fn numbers(count: usize, seed: u32) -> Vec<f32> {
        let number = |i: u32| (i.wrapping_add(seed).wrapping_mul(2_654_435_761) >> 8) as f32 + 0.5;
        (0..count as u32).map(|i| number(i) / (1 << 23) as f32 - 1.0).collect()
    }

    /// A number in [0, 1) for each place.
    fn drawn(seed: u32, place: usize) -> f64 {
        let mixed = (place as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(seed);
        let mixed = (mixed ^ mixed >> 31).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed >> 40) as f64 / (1 << 24) as f64
    }

    #[derive(Debug, Clone)]
    struct Case {
        outputs: usize,
        inputs: usize,
        batch: usize,
        weights: Vec<f32>,
        bias: bool,
        ending: Ending,
    }

    fn cases() -> impl Strategy<Value = Case> {
        let shape = (1..300_usize, prop_oneof![1..40_usize, 1..700_usize]);
        let batch = prop_oneof![Just(0_usize), Just(1), Just(3), Just(8), Just(64), 1..70_usize];
        let density = prop_oneof![Just(0.0), Just(1.0), 0.0..1.0, 0.0..0.2];
        let ending = prop_oneof![Just(Ending::None), Just(Ending::Relu), Just(Ending::Relu6)];
        (shape, batch, density, 0..6_usize, any::<u32>(), any::<bool>(), ending).prop_map(
            |((outputs, inputs), batch, density, pattern, seed, bias, ending)| {
                let mut weights = numbers(outputs * inputs, seed);
                for (place, w) in weights.iter_mut().enumerate() {
                    let (row, column) = (place / inputs, place % inputs);
                    let keep = match pattern {
                        0 => drawn(seed, place) < density,
                        1 => drawn(seed, row / 8 * inputs + column) < density,
                        2 => drawn(seed, row * inputs + column / 8) < density,
                        3 => (column + row + (drawn(seed, row * inputs + column / 4) * 4.0) as usize) % 4 < 2,
                        // Whole rows; whole columns.
                        4 => drawn(seed, row) < density,
                        _ => drawn(seed, column) < density,
                    };
                    *w = if keep { *w } else { 0.0 };
                }
                Case { outputs, inputs, batch, weights, bias, ending }
            },
        )
    }

    /// All layouts that hold these weights.
    fn layouts(w: &[f32], outputs: usize, inputs: usize) -> Vec<SparseLinear> {
        let rows = NonZeros::of(w, outputs, inputs);
        forms(&rows, true).into_iter().map(|form| SparseLinear::packed(&rows, form)).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn every_layout_equals_the_formula(case in cases()) {
            let Case { outputs, inputs, batch, ref weights, ending, .. } = case;
            let (x, b) = (numbers(batch * inputs, 7), numbers(outputs, 9));
            let bias = case.bias.then_some(&b[..]);
            let expected = reference(weights, &x, bias, ending, outputs);
            let mut y = vec![9.0; batch * outputs];
            dense::linear(&x, weights, bias, (outputs, inputs), ending, &mut y);
            close(&y, &expected)?;
            for layer in layouts(weights, outputs, inputs).iter().chain([&SparseLinear::pack(weights, outputs, inputs)]) {
                let mut y = vec![9.0; batch * outputs];
                layer.run(&x, bias, ending, &mut y);
                close(&y, &expected)?;
                prop_assert_eq!(layer.nonzeros(), weights.iter().filter(|w| **w != 0.0).count());
            }
        }

        #[test]
        fn every_layout_gives_back_its_weights(case in cases()) {
            let Case { outputs, inputs, ref weights, .. } = case;
            for layer in layouts(weights, outputs, inputs) {
                let mut back = vec![0.0; weights.len()];
                layer.each(|row, column, value| back[row * inputs + column] = value);
                prop_assert_eq!(&back, weights);
            }
        }

        #[test]
        fn absent_weights_add_nothing_under_any_input(case in cases(), at in any::<prop::sample::Index>()) {
            let Case { outputs, inputs, batch, ref weights, .. } = case;
            let column = at.index(inputs);
            for bad in [f32::NAN, f32::INFINITY] {
                let mut x = numbers(batch * inputs, 7);
                x.chunks_exact_mut(inputs).for_each(|x| x[column] = bad);
                for layer in layouts(weights, outputs, inputs) {
                    let mut y = vec![9.0; batch * outputs];
                    layer.run(&x, None, Ending::None, &mut y);
                    for (i, y) in y.iter().enumerate() {
                        prop_assert_eq!(y.is_finite(), weights[i % outputs * inputs + column] == 0.0);
                    }
                }
            }
        }
    }

    #[test]
    fn equal_to_the_bit_on_any_number_of_threads() {
        for (outputs, inputs, batch) in [(2600, 2400, 1), (2600, 2400, 3), (300, 784, 70)] {
            let mut w = numbers(outputs * inputs, 3);
            w.iter_mut().enumerate().filter(|(i, _)| drawn(5, *i) > 0.3).for_each(|(_, w)| *w = 0.0);
            let (x, bias) = (numbers(batch * inputs, 7), numbers(outputs, 9));
            for layer in layouts(&w, outputs, inputs) {
                // Otherwise one thread would be compared with itself.
                let alone = if batch < FEW { layer.seconds } else { layer.predicted_seconds(batch) };
                assert!(alone >= WORTH_THREADS, "{}: {alone} s are worth no threads", layer.layout());
                let on = |threads| {
                    let mut y = vec![0.0; batch * outputs];
                    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                    pool.install(|| layer.run(&x, Some(&bias), Ending::Relu, &mut y));
                    y
                };
                assert!(on(1) == on(2) && on(1) == on(7), "{}", layer.layout());
            }
        }
    }

    #[test]
    fn inputs_beyond_sixteen_bits_are_found() {
        let (outputs, inputs) = (3, (1 << 16) + 70);
        let mut w = vec![0.0; outputs * inputs];
        let places = [0, 5, (1 << 16) - 1, 1 << 16, inputs - 1, inputs + (1 << 16) + 1, 3 * inputs - 9];
        places.into_iter().zip(numbers(places.len(), 2)).for_each(|(place, number)| w[place] = number);
        for batch in [1, 5] {
            let (x, bias) = (numbers(batch * inputs, 7), numbers(outputs, 9));
            let expected = reference(&w, &x, Some(&bias), Ending::None, outputs);
            for layer in layouts(&w, outputs, inputs) {
                let mut y = vec![9.0; batch * outputs];
                layer.run(&x, Some(&bias), Ending::None, &mut y);
                close(&y, &expected).unwrap();
            }
        }
    }

    #[test]
    fn no_outputs_and_no_inputs_are_no_trouble() {
        SparseLinear::pack(&[], 0, 3).run(&[1.0; 6], None, Ending::None, &mut []);
        for batch in [1, 9] {
            let mut y = vec![9.0; 2 * batch];
            SparseLinear::pack(&[], 2, 0).run(&[], Some(&[1.0, -1.0]), Ending::Relu, &mut y);
            assert_eq!(y[..2], [1.0, 0.0]);
        }
    }
}
