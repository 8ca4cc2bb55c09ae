//! The fast kernels give the bits of their references, on every instruction set of this machine.

use proptest::prelude::*;
use tersor_kernels::int8::fast::{
    Convolution, Depthwise, Image, ImageMut, Isa, Pairwise, Pool, Pooling, Region, Scratch, channel_sums, flip,
    quantize,
};
use tersor_kernels::int8::{self, Affine, Binary, Multiplier, Range, Requantization, Rounding};
use tersor_kernels::layout::Broadcast;
use tersor_kernels::window::{Padding, Window};

/// A window along one axis: input, kernel, stride, dilation, padding.
fn window(most: usize) -> impl Strategy<Value = Window> {
    let padding = (0usize..3, 0usize..3, 0usize..3)
        .prop_map(|(which, before, after)| [Padding::Same, Padding::Valid, Padding::Explicit { before, after }][which]);
    (1..most, 1usize..8, 1usize..4, 1usize..3, padding)
        .prop_filter_map("nothing fits", |(input, kernel, stride, dilation, padding)| {
            Window::new(input, kernel, stride, dilation, padding)
        })
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Arithmetic {
    FixedPoint,
    Left,
    Float,
}

fn requantization(channels: usize, how: Arithmetic, seed: u64) -> Requantization {
    let mut random = Random(seed);
    let mut scale = |low: f64, high: f64| low * (high / low).powf(f64::from(random.next()) / f64::from(u32::MAX));
    match how {
        Arithmetic::FixedPoint => Requantization::FixedPoint(
            (0..channels).map(|_| Multiplier::new(scale(1e-5, 0.999)).unwrap()).collect(),
            Rounding::Double,
        ),
        Arithmetic::Left => Requantization::FixedPoint(
            (0..channels).map(|_| Multiplier::new(scale(0.01, 20.0)).unwrap()).collect(),
            Rounding::Double,
        ),
        Arithmetic::Float => Requantization::Float((0..channels).map(|_| scale(1e-5, 0.1) as f32).collect()),
    }
}

/// Numbers that need not be good, only many.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 32) as u32
    }

    fn bytes(&mut self, n: usize) -> Vec<i8> {
        (0..n).map(|_| (self.next() >> 7) as i8).collect()
    }
}

fn flipped(x: &[i8]) -> Vec<u8> {
    let mut bytes: Vec<u8> = x.iter().map(|&x| x as u8).collect();
    flip(&mut bytes);
    bytes
}

fn arithmetic() -> impl Strategy<Value = Arithmetic> {
    prop_oneof![Just(Arithmetic::FixedPoint), Just(Arithmetic::Left), Just(Arithmetic::Float)]
}

#[expect(clippy::too_many_arguments, reason = "what a convolution is made of")]
fn convolution(
    vertical: Window,
    horizontal: Window,
    in_channels: usize,
    out_channels: usize,
    weights: usize,
    how: Arithmetic,
    zeros: [i32; 2],
    seed: u64,
) -> int8::Convolution {
    let mut random = Random(seed);
    let weights = random.bytes(weights);
    let bias = (0..out_channels).map(|_| (random.next() as i32) >> 18).collect();
    int8::Convolution {
        vertical,
        horizontal,
        in_channels,
        out_channels,
        weights,
        bias,
        input_zero: zeros[0],
        requantization: requantization(out_channels, how, seed ^ 1),
        output_zero: zeros[1],
        range: if seed.is_multiple_of(2) { Range::FULL } else { Range { low: zeros[1], high: 100.max(zeros[1]) } },
    }
}

/// Which part of the output to compute, in a piece of memory of its own.
fn part(length: usize, at: [usize; 2]) -> std::ops::Range<usize> {
    let start = at[0] % length;
    start..(start + 1 + at[1] % 8).min(length)
}

/// Input positions from the first tap to the last of some outputs; any one position if all are padding.
fn under(w: &Window, outputs: std::ops::Range<usize>) -> std::ops::Range<usize> {
    let taps = outputs.flat_map(|o| w.taps(o).map(move |k| w.position(o, k)));
    let (first, last) = taps.fold((w.input, 0), |(first, last), at| (first.min(at), last.max(at)));
    if first > last { 0..1 } else { first..last + 1 }
}

/// The pixels of `region` alone.
fn cropped(image: &[u8], width: usize, channels: usize, region: &Region) -> Vec<u8> {
    let row = |y: usize| &image[(y * width + region.columns.start) * channels..][..region.columns.len() * channels];
    region.rows.clone().flat_map(row).copied().collect()
}

/// Runs `fast` on the whole image, and on the part that a part of the output needs, into memory that holds just that.
fn check(
    [v, h]: [&Window; 2],
    [ins, outs]: [usize; 2],
    input: &[i8],
    expected: &[i8],
    at: [[usize; 2]; 2],
    fast: &dyn Fn(&Image, &mut ImageMut, &Region, &mut Scratch),
) -> Result<(), TestCaseError> {
    let (bytes, expected) = (flipped(input), flipped(expected));
    let image = Image::new(Region::whole(v.input, h.input), v.input, ins, &bytes);
    let whole = Region::whole(v.output, h.output);
    let mut out = vec![0x55; v.output * h.output * outs];
    let mut scratch = Scratch::default();
    fast(&image, &mut ImageMut::new(whole.clone(), v.output, outs, &mut out), &whole, &mut scratch);
    prop_assert_eq!(&out, &expected);

    let region = Region { rows: part(v.output, at[0]), columns: part(h.output, at[1]) };
    let needed = Region { rows: under(v, region.rows.clone()), columns: under(h, region.columns.clone()) };
    let bytes = cropped(&bytes, h.input, ins, &needed);
    let image = Image::new(needed.clone(), needed.rows.len(), ins, &bytes);
    let mut out = vec![0x55; region.rows.len() * region.columns.len() * outs];
    let mut piece = ImageMut::new(region.clone(), region.rows.len(), outs, &mut out);
    fast(&image, &mut piece, &region, &mut scratch);
    prop_assert_eq!(out, cropped(&expected, h.output, outs, &region));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn convolutions_equal_the_reference(
        v in window(14), h in window(14), in_channels in 1usize..40, out_channels in 1usize..90, how in arithmetic(),
        zeros in [-128i32..128, -128i32..128], seed: u64, at in [[0usize..99, 0usize..99], [0usize..99, 0usize..99]],
    ) {
        let weights = out_channels * v.kernel * h.kernel * in_channels;
        let c = convolution(v, h, in_channels, out_channels, weights, how, zeros, seed);
        let input = Random(seed ^ 2).bytes(v.input * h.input * in_channels);
        let mut expected = vec![0; v.output * h.output * out_channels];
        int8::conv2d(&c, &input, &mut expected);
        for isa in Isa::available() {
            let fast = Convolution::new(&c, isa).expect("nothing here overflows");
            check([&v, &h], [c.in_channels, c.out_channels], &input, &expected, at, &|x, y, region, scratch| {
                fast.apply(x, y, region, scratch);
            })?;
        }
    }

    #[test]
    fn pointwise_convolutions_equal_the_reference(
        height in 1usize..20, width in 1usize..20, stride in 1usize..3, in_channels in 1usize..70,
        out_channels in 1usize..200, zeros in [-128i32..128, -128i32..128], seed: u64,
        at in [[0usize..99, 0usize..99], [0usize..99, 0usize..99]],
    ) {
        let window = |input| Window::new(input, 1, stride, 1, Padding::Same).unwrap();
        let (v, h) = (window(height), window(width));
        let weights = out_channels * in_channels;
        let c = convolution(v, h, in_channels, out_channels, weights, Arithmetic::FixedPoint, zeros, seed);
        let input = Random(seed ^ 2).bytes(v.input * h.input * in_channels);
        let mut expected = vec![0; v.output * h.output * out_channels];
        int8::conv2d(&c, &input, &mut expected);
        for isa in Isa::available() {
            let fast = Convolution::new(&c, isa).expect("nothing here overflows");
            check([&v, &h], [c.in_channels, c.out_channels], &input, &expected, at, &|x, y, region, scratch| {
                fast.apply(x, y, region, scratch);
            })?;
        }
    }

    #[test]
    fn depthwise_convolutions_equal_the_reference(
        v in window(20), h in window(20), channels in 1usize..70, how in arithmetic(),
        zeros in [-128i32..128, -128i32..128], seed: u64, at in [[0usize..99, 0usize..99], [0usize..99, 0usize..99]],
    ) {
        let c = convolution(v, h, channels, channels, v.kernel * h.kernel * channels, how, zeros, seed);
        let input = Random(seed ^ 2).bytes(v.input * h.input * channels);
        let mut expected = vec![0; v.output * h.output * channels];
        int8::depthwise_conv2d(&c, &input, &mut expected);
        for isa in Isa::available() {
            let fast = Depthwise::new(&c, isa).expect("nothing here overflows");
            check([&v, &h], [c.in_channels, c.out_channels], &input, &expected, at, &|x, y, region, scratch| {
                fast.apply(x, y, region, scratch);
            })?;
        }
    }

    #[test]
    fn pools_equal_the_reference(
        v in window(30), h in window(30), channels in 1usize..40, greatest: bool, low in -128i32..0, high in 0i32..128,
        seed: u64, at in [[0usize..99, 0usize..99], [0usize..99, 0usize..99]],
    ) {
        let (v, h) = (Window { dilation: 1, ..v }, Window { dilation: 1, ..h });
        let on_padding = |w: &Window| (0..w.output).any(|o| w.taps(o).is_empty());
        if on_padding(&v) || on_padding(&h) {
            return Ok(());
        }
        let range = Range { low, high };
        let input = Random(seed).bytes(v.input * h.input * channels);
        let mut expected = vec![0; v.output * h.output * channels];
        let (reference, pooling): (fn(&Window, &Window, usize, Range, &[i8], &mut [i8]), _) =
            if greatest { (int8::max_pool, Pooling::Max) } else { (int8::average_pool, Pooling::Average) };
        reference(&v, &h, channels, range, &input, &mut expected);
        for isa in Isa::available() {
            let fast = Pool::new(pooling, [v, h], channels, range, isa).expect("a small window");
            check([&v, &h], [channels, channels], &input, &expected, at, &|x, y, region, _| fast.apply(x, y, region))?;
        }
    }

    #[test]
    fn sums_are_those_of_each_channel(channels in 1usize..70, pixels in 0usize..40, seed: u64) {
        let input = Random(seed).bytes(channels * pixels);
        let of = |c: usize| input.iter().skip(c).step_by(channels).map(|&x| i32::from(x)).sum();
        let expected: Vec<i32> = (0..channels).map(of).collect();
        for isa in Isa::available() {
            let mut sums = vec![0; channels];
            channel_sums(&flipped(&input), isa, &mut sums);
            prop_assert_eq!(&sums, &expected);
        }
    }

    #[test]
    fn real_numbers_are_quantised_as_one_by_one(
        scale in 1e-3f32..2.0, zero_point in -128i32..128, halves in proptest::collection::vec(-600i32..600, 1..50),
        others in proptest::collection::vec(any::<f32>(), 0..50),
    ) {
        let q = Affine { scale: f64::from(scale), zero_point };
        // Halves of a step, their neighbours, and anything else, infinities included.
        let near = halves.iter().map(|&h| h as f32 * 0.5 * scale).flat_map(|x| [x.next_down(), x, x.next_up()]);
        let x: Vec<f32> = near.chain(others).collect();
        let expected: Option<Vec<i8>> =
            x.iter().map(|&x| int8::quantize(x, q, -128, 127).map(|y| y as i8)).collect();
        for isa in Isa::available() {
            let mut out = vec![0; x.len()];
            match quantize(&x, q, isa, &mut out) {
                Ok(()) => prop_assert_eq!(Some(out), expected.as_deref().map(flipped)),
                Err(i) => prop_assert_eq!(Some(i), x.iter().position(|x| x.is_nan())),
            }
        }
    }

    #[test]
    fn pairs_equal_the_reference(
        scales in [1e-3f64..0.5, 1e-3f64..0.5, 1e-2f64..0.5], zeros in [-128i32..128, -128i32..128, -128i32..128],
        operator in 0usize..3, row in 1usize..70, rows in 1usize..5, seed: u64,
    ) {
        let [a, b, y] = [0, 1, 2].map(|i| Affine { scale: scales[i], zero_point: zeros[i] });
        let formula = [Binary::sum, Binary::difference, Binary::product][operator];
        let formula = formula(a, b, y, Range::FULL, Rounding::Double).unwrap();
        let mut random = Random(seed);
        let (a, b) = (random.bytes(row * rows), random.bytes(row));
        let mut expected = vec![0; row * rows];
        formula.apply(&a, &b, &Broadcast::new(&[rows, row], &[row]).unwrap(), &mut expected);
        for isa in Isa::available() {
            let Some(fast) = Pairwise::new(&formula, isa) else { continue };
            let mut out = vec![0; row * rows];
            fast.apply(&flipped(&a), &flipped(&b), &mut out);
            prop_assert_eq!(out, flipped(&expected));
        }
    }
}

#[test]
fn rings_hold_a_few_rows() {
    // Rows 2, 3 and 4 of an image in a ring of three, as a plan streams them.
    let vertical = Window::new(8, 3, 1, 1, Padding::Valid).unwrap();
    let horizontal = Window::new(5, 3, 1, 1, Padding::Same).unwrap();
    let c = convolution(vertical, horizontal, 4, 20, 20 * 36, Arithmetic::FixedPoint, [3, -5], 7);
    let input = Random(9).bytes(8 * 5 * 4);
    let mut expected = vec![0; 6 * 5 * 20];
    int8::conv2d(&c, &input, &mut expected);
    let bytes = flipped(&input);
    let mut ring = vec![0; 3 * 20];
    for y in 0..8 {
        ring[y % 3 * 20..][..20].copy_from_slice(&bytes[y * 20..][..20]);
        if y < 2 {
            continue;
        }
        for isa in Isa::available() {
            let image = Image::new(Region::whole(8, 5), 3, 4, &ring);
            let region = Region { rows: y - 2..y - 1, columns: 0..5 };
            let mut out = vec![0; 100];
            let fast = Convolution::new(&c, isa).unwrap();
            let mut piece = ImageMut::new(region.clone(), 1, 20, &mut out);
            fast.apply(&image, &mut piece, &region, &mut Scratch::default());
            assert_eq!(out, flipped(&expected[(y - 2) * 100..][..100]), "{isa}, row {y}");
        }
    }
}

#[test]
fn what_may_overflow_is_left_to_the_reference() {
    let window = Window::new(1, 1, 1, 1, Padding::Valid).unwrap();
    let mut c = convolution(window, window, 4, 8, 32, Arithmetic::FixedPoint, [0, 0], 1);
    c.bias = vec![i32::MAX; 8];
    assert!(Convolution::new(&c, Isa::detect()).is_none());
}

#[test]
#[should_panic(expected = "channels of the images")]
fn an_image_of_other_channels_is_refused() {
    let window = Window::new(2, 1, 1, 1, Padding::Valid).unwrap();
    let c = convolution(window, window, 4, 8, 32, Arithmetic::FixedPoint, [0, 0], 1);
    let fast = Convolution::new(&c, Isa::detect()).unwrap();
    let whole = Region::whole(2, 2);
    let (input, mut output) = (vec![0; 12], vec![0; 32]);
    let image = Image::new(whole.clone(), 2, 3, &input);
    let mut out = ImageMut::new(whole.clone(), 2, 8, &mut output);
    fast.apply(&image, &mut out, &whole, &mut Scratch::default());
}
