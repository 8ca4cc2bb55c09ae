//! Operators of which any part can be computed from parts of their operands: what runs layers whole, on several threads,
//! and in the parts that a memory plan asks for.

use tersor_data::Elements;
use tersor_kernels::int8::fast::{Convolution, Depthwise, Image, ImageMut, Pairwise, Pool, Region, Scratch};

use crate::reference;

/// Height, width and channels of an image; a tensor that is none is one pixel, or a row of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Bytes of a pixel.
    pub channels: usize,
}

impl Frame {
    /// Rows and columns of the whole.
    pub fn whole(&self) -> Region {
        Region::whole(self.height, self.width)
    }

    /// Bytes of the whole.
    pub fn bytes(&self) -> usize {
        self.height * self.width * self.channels
    }
}

/// An operator on images (int8, held as `x + 128`), prepared for the machine.
pub struct Local {
    pub(super) kernel: Kernel,
    /// Its operands that are no constants, in order.
    pub(super) operands: Vec<Frame>,
    pub(super) output: Frame,
    /// Elementary steps of a row of the output, about.
    pub(super) row_work: u64,
}

pub(super) enum Kernel {
    Convolution(Convolution),
    Depthwise(Depthwise),
    Pool(Pool),
    Pairwise(Pairwise, [Side; 2]),
    /// The answers to all 256 values.
    Table(Box<[u8; 256]>),
    /// The row and the column from which each comes.
    Resize([Vec<usize>; 2]),
    /// The second operator on the first's output, which is its operand `.2`.
    Then(Box<Local>, Box<Local>, usize),
    Reference(ByReference),
}

/// An operand of a sum or a product.
pub(super) enum Side {
    /// Operand so-and-so, element by element.
    Image(usize),
    /// Operand so-and-so, one pixel for all.
    Pixel(usize),
    /// The same in every row or pixel.
    Constant(Vec<u8>),
}

/// The reference's kernel, on whole tensors of which only the part that is needed is filled.
pub(super) struct ByReference {
    pub kernel: reference::Kernel,
    /// All operands: constants, and what surrounds the images given.
    pub operands: Vec<Filled>,
}

pub(super) enum Filled {
    Constant(std::sync::Arc<Elements>),
    /// Operand so-and-so, in a tensor of so many columns, after so many rows and columns of padding.
    Image {
        operand: usize,
        bytes: usize,
        width: usize,
        before: [usize; 2],
        fill: i8,
    },
}

/// Memory that an operator works in.
#[derive(Debug, Clone, Default)]
pub struct Workspace {
    scratch: Scratch,
    rows: Vec<u8>,
}

/// Rows between two operators that are done together take about so many bytes.
const BETWEEN: usize = 8 << 10;

/// Work below which a second thread does not pay: waking it takes some microseconds.
const THREAD_WORK: u64 = 1 << 19;

impl Local {
    /// The operands' whole images, in order.
    pub fn operands(&self) -> &[Frame] {
        &self.operands
    }

    /// The output's whole image.
    pub fn output(&self) -> Frame {
        self.output
    }

    /// Computes `region` of the output, on as many threads as there are workspaces and work for.
    ///
    /// # Errors
    /// Why the values cannot be computed.
    ///
    /// # Panics
    /// If an image does not hold what the region needs.
    pub fn apply(
        &self,
        inputs: &[Image],
        output: ImageMut,
        region: &Region,
        workspaces: &mut [Workspace],
    ) -> Result<(), String> {
        let rows = region.rows.len();
        let threads = workspaces.len().min(rows).min((self.row_work * rows as u64 / THREAD_WORK) as usize);
        if threads < 2 || matches!(self.kernel, Kernel::Reference(_)) {
            let mut output = output;
            return self.on_one_thread(inputs, &mut output, region, &mut workspaces[0]);
        }
        let (mine, theirs) = workspaces[..threads].split_at_mut(threads / 2);
        let cut = region.rows.start + rows * mine.len() / threads;
        match output.split_rows(cut) {
            Ok((top, bottom)) => {
                let above = Region { rows: region.rows.start..cut, columns: region.columns.clone() };
                let below = Region { rows: cut..region.rows.end, columns: region.columns.clone() };
                let (a, b) = rayon::join(
                    || self.apply(inputs, top, &above, mine),
                    || self.apply(inputs, bottom, &below, theirs),
                );
                a.and(b)
            }
            Err(mut output) => self.on_one_thread(inputs, &mut output, region, &mut workspaces[0]),
        }
    }

    fn on_one_thread(
        &self,
        inputs: &[Image],
        output: &mut ImageMut,
        region: &Region,
        workspace: &mut Workspace,
    ) -> Result<(), String> {
        match &self.kernel {
            Kernel::Convolution(c) => c.apply(&inputs[0], output, region, &mut workspace.scratch),
            Kernel::Depthwise(c) => c.apply(&inputs[0], output, region, &mut workspace.scratch),
            Kernel::Pool(pool) => pool.apply(&inputs[0], output, region),
            Kernel::Pairwise(f, sides) => pairwise(f, sides, inputs, output, region),
            Kernel::Table(table) => {
                by_runs([&inputs[0]], output, region, |[x], y| {
                    x.iter().zip(y).for_each(|(&x, y)| *y = table[usize::from(x)]);
                });
            }
            Kernel::Resize([rows, columns]) => {
                let channels = self.output.channels;
                for y in region.rows.clone() {
                    let out = output.span(y, region.columns.clone()).chunks_exact_mut(channels);
                    for (x, out) in region.columns.clone().zip(out) {
                        out.copy_from_slice(inputs[0].span(rows[y], columns[x]..columns[x] + 1));
                    }
                }
            }
            Kernel::Then(first, then, at) => return together(first, then, *at, inputs, output, region, workspace),
            Kernel::Reference(f) => return f.apply(self.output, inputs, output, region),
        }
        Ok(())
    }
}

/// Calls `f` with bytes that lie at the same places in all images: everything at once if it lies together, else by rows.
fn by_runs<const N: usize>(
    inputs: [&Image; N],
    output: &mut ImageMut,
    region: &Region,
    mut f: impl FnMut([&[u8]; N], &mut [u8]),
) {
    let runs = inputs.map(|image| image.run(region));
    if runs.iter().all(Option::is_some)
        && let Some(out) = output.run(region)
    {
        return f(runs.map(Option::unwrap_or_default), out);
    }
    for y in region.rows.clone() {
        let rows = inputs.map(|image| image.span(y, region.columns.clone()));
        f(rows, output.span(y, region.columns.clone()));
    }
}

fn pairwise(f: &Pairwise, sides: &[Side; 2], inputs: &[Image], output: &mut ImageMut, region: &Region) {
    let Side::Image(a) = sides[0] else { unreachable!("the first side is an image") };
    match &sides[1] {
        Side::Image(b) => by_runs([&inputs[a], &inputs[*b]], output, region, |[a, b], y| f.apply(a, b, y)),
        Side::Pixel(b) => {
            let pixel = inputs[*b].span(0, 0..1);
            by_runs([&inputs[a]], output, region, |[a], y| f.apply(a, pixel, y));
        }
        Side::Constant(b) => by_runs([&inputs[a]], output, region, |[a], y| f.apply(a, b, y)),
    }
}

/// A few rows of the first operator, then the same rows of the second.
fn together(
    first: &Local,
    then: &Local,
    at: usize,
    inputs: &[Image],
    output: &mut ImageMut,
    region: &Region,
    workspace: &mut Workspace,
) -> Result<(), String> {
    let channels = first.output.channels;
    let width = region.columns.len() * channels;
    let height = match first.kernel {
        // Its rows cost as much as the whole.
        Kernel::Reference(_) => region.rows.len(),
        _ => (BETWEEN / width.max(1)).clamp(1, region.rows.len()),
    };
    let mut between = std::mem::take(&mut workspace.rows);
    between.resize(between.len().max(height * width), 0);
    let (mine, others) = inputs.split_at(first.operands.len());
    for start in region.rows.clone().step_by(height) {
        let rows = start..(start + height).min(region.rows.end);
        let part = Region { rows: rows.clone(), columns: region.columns.clone() };
        let mut image = ImageMut::new(part.clone(), rows.len(), channels, &mut between);
        first.on_one_thread(mine, &mut image, &part, workspace)?;
        let image = Image::new(part.clone(), rows.len(), channels, &between);
        match (others, at) {
            ([], _) => then.on_one_thread(&[image], output, &part, workspace)?,
            ([other, ..], 0) => then.on_one_thread(&[image, other.clone()], output, &part, workspace)?,
            ([other, ..], _) => then.on_one_thread(&[other.clone(), image], output, &part, workspace)?,
        }
    }
    workspace.rows = between;
    Ok(())
}

impl ByReference {
    fn apply(&self, frame: Frame, inputs: &[Image], output: &mut ImageMut, region: &Region) -> Result<(), String> {
        let filled: Vec<Option<Elements>> = self.operands.iter().map(|o| o.filled(inputs)).collect();
        let operands: Vec<&Elements> = self
            .operands
            .iter()
            .zip(&filled)
            .map(|(operand, filled)| match (operand, filled) {
                (Filled::Constant(elements), _) => Ok(&**elements),
                (_, Some(filled)) => Ok(filled),
                _ => Err("an operand is not there".to_string()),
            })
            .collect::<Result<_, _>>()?;
        let mut results = [Elements::I8(vec![0; frame.bytes()])];
        (self.kernel)(&operands, &mut results)?;
        let [Elements::I8(result)] = &results else { return Err("the output is not int8".into()) };
        for y in region.rows.clone() {
            let from = &result[(y * frame.width + region.columns.start) * frame.channels..];
            let out = output.span(y, region.columns.clone());
            out.iter_mut().zip(from).for_each(|(out, &x)| *out = x as u8 ^ 0x80);
        }
        Ok(())
    }
}

impl Filled {
    /// The whole tensor: what the image holds where it lies, the rest padding.
    fn filled(&self, inputs: &[Image]) -> Option<Elements> {
        let &Self::Image { operand, bytes, width, before: [top, left], fill } = self else { return None };
        let image = &inputs[operand];
        let mut all = vec![fill; bytes];
        let (held, channels) = (image.region().clone(), image.channels());
        // Of a ring the rows beyond are stale copies: they fill what is not read.
        for y in held.rows {
            let to = ((y + top) * width + held.columns.start + left) * channels;
            let row = image.span(y, held.columns.clone());
            all[to..to + row.len()].iter_mut().zip(row).for_each(|(to, &x)| *to = (x ^ 0x80) as i8);
        }
        Some(Elements::I8(all))
    }
}
