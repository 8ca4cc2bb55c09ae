//! Radial masks as a user meets them: the published counts, the rule token by token, any resolution, hostile numbers.

use std::time::Instant;

use proptest::prelude::*;
use tersor_generate::mask::{BlockMask, MOST_BLOCKS};
use tersor_generate::radial::MOST_FRAMES;
use tersor_generate::radial::exact::MOST_TOKENS;
use tersor_generate::{Block, Error, ExactMask, Family, Radial, Reads};

use Family::{Hunyuan, Wan};

fn radial(f: usize, s: usize, text: usize, block: usize, decay: f64, family: Family) -> Radial {
    Radial { frames: f, tokens_per_frame: s, text, block: Block::square(block), decay, family }
}

#[test]
fn the_published_masks_have_their_counts() {
    for (f, s, text, block, decay, family, blocks, active, density) in [
        (8, 256, 0, 64, 1.0, Wan, 32, 828, 0.8086),
        (8, 256, 0, 64, 1.0, Hunyuan, 32, 780, 0.7617),
        (16, 256, 0, 64, 1.0, Wan, 64, 2_328, 0.5684),
        (16, 256, 256, 64, 0.95, Hunyuan, 68, 2_700, 0.5839),
        (16, 512, 0, 128, 0.2, Wan, 64, 2_640, 0.6445),
        (32, 256, 0, 128, 1.0, Wan, 64, 1_912, 0.4668),
        (21, 1_536, 0, 128, 0.2, Wan, 252, 23_454, 0.3693),
        (18, 3_840, 0, 128, 0.2, Wan, 540, 83_728, 0.2871),
        (30, 3_840, 256, 128, 0.95, Hunyuan, 902, 226_056, 0.2778),
    ] {
        let mask = radial(f, s, text, block, decay, family).plan().unwrap();
        let case = format!("{f} frames of {s}, {text}, {block}, {decay}, {}", family.name());
        assert_eq!((mask.rows(), mask.across(), mask.active()), (blocks, blocks, active), "{case}");
        assert!((mask.density() - density).abs() < 5e-5, "{case}: {}", mask.density());
        assert!((mask.token_density() - mask.density()).abs() < 1e-12, "{case}: aligned blocks are whole");
    }
    for (f, s, text, block, video, density) in [(16, 256, 256, 64, 64, 0.5303), (30, 3_840, 256, 128, 900, 0.2746)] {
        let mask = radial(f, s, text, block, 0.95, Hunyuan).plan().unwrap();
        assert!((mask.density_of_first([video, video]) - density).abs() < 5e-5);
    }
}

/// Whether token `(i, k)` may read `(j, l)`, as the rule reads.
fn may_read(plan: &Radial, i: usize, k: usize, j: usize, l: usize) -> bool {
    let s = plan.tokens_per_frame;
    if plan.family == Wan && j == 0 {
        return true;
    }
    let distance = i.abs_diff(j);
    let group = (0..).find(|&bits| distance < 1 << bits).unwrap();
    let mut octave = 1;
    while octave <= s {
        octave *= 2;
    }
    let l_of = octave as f64 / 2f64.powi(group);
    if l_of < 128.0 && !distance.is_multiple_of((128.0 / l_of).floor() as usize) {
        return false;
    }
    let smallest = plan.block.queries.max(plan.block.keys) as f64;
    let window = if distance <= 1 { s as f64 } else { (l_of * plan.decay).max(smallest) };
    k.abs_diff(l) as f64 <= window
}

/// The block mask counted token by token: for each pair of blocks and each pair of frames in them.
fn counted(plan: &Radial) -> Vec<bool> {
    let (s, video) = (plan.tokens_per_frame, plan.frames * plan.tokens_per_frame);
    let n = video + plan.text;
    let (rows, across) = (n.div_ceil(plan.block.queries), n.div_ceil(plan.block.keys));
    let mut grid = vec![false; rows * across];
    for a in 0..rows {
        for b in 0..across {
            let queries: Vec<usize> = (a * plan.block.queries..n.min((a + 1) * plan.block.queries)).collect();
            let keys: Vec<usize> = (b * plan.block.keys..n.min((b + 1) * plan.block.keys)).collect();
            let text = |tokens: &[usize]| tokens.iter().any(|token| *token >= video);
            let mut active = text(&queries) || text(&keys);
            for i in 0..plan.frames {
                let piece: Vec<usize> = queries.iter().copied().filter(|q| *q < video && q / s == i).collect();
                for j in 0..plan.frames {
                    let columns = keys.iter().copied().filter(|key| *key < video && key / s == j);
                    let (mut nonzero, mut high) = (0, 0);
                    for key in columns {
                        let reads = |query: &&usize| may_read(plan, i, **query % s, j, key % s);
                        let density = piece.iter().filter(reads).count() as f64 / piece.len() as f64;
                        nonzero += i32::from(density > 0.0);
                        high += i32::from(density > 1.0 / 3.0);
                    }
                    active |= f64::from(high) / (f64::from(nonzero) + 1e-9) > 0.6;
                }
            }
            grid[a * across + b] = active;
        }
    }
    grid
}

#[test]
fn the_plan_is_the_rule_counted_token_by_token() {
    for (f, s, text, block, decay, family) in [
        (8, 256, 0, 64, 1.0, Wan),
        (8, 256, 64, 64, 0.2, Hunyuan),
        (5, 384, 0, 128, 0.5, Wan),
        (6, 384, 50, 32, 0.3, Hunyuan),
        (9, 100, 0, 32, 0.5, Wan),
        (7, 201, 77, 64, 0.9, Hunyuan),
        (40, 7, 0, 32, 1.0, Hunyuan),
        (70, 1, 3, 32, 1.0, Wan),
        (1, 997, 0, 128, 0.2, Wan),
        (5, 1, 0, 128, 0.2, Hunyuan),
        (3, 450, 0, 128, 0.05, Hunyuan),
    ] {
        let plan = radial(f, s, text, block, decay, family);
        assert!(plan.plan().unwrap().grid() == counted(&plan), "{plan:?}");
    }
    for block in ["128x64", "32x128", "64x32"] {
        let plan = Radial { block: block.parse().unwrap(), decay: 0.3, ..Radial::new(9, 170) };
        assert!(plan.plan().unwrap().grid() == counted(&plan), "{plan:?}");
    }
}

fn plans() -> impl Strategy<Value = Radial> {
    let sizes = || prop::sample::select(vec![32usize, 64, 128]);
    let family = prop::sample::select(vec![Wan, Hunyuan]);
    let shape = (1usize..40, 1usize..300).prop_filter("few tokens", |(f, s)| f * s <= 1_200);
    (shape, prop_oneof![Just(0usize), 1usize..200], (sizes(), sizes()), 0.01f64..3.0, family).prop_map(
        |((frames, tokens_per_frame), text, (queries, keys), decay, family)| Radial {
            frames,
            tokens_per_frame,
            text,
            block: Block { queries, keys },
            decay,
            family,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_plan_is_the_rule_and_a_plan(plan in plans()) {
        let mask = plan.plan()?;
        mask.check()?;
        prop_assert!(mask.grid() == counted(&plan), "{:?}", plan);
        assert_whole(&mask);
        let text: BlockMask = serde_json::from_str(&serde_json::to_string(&mask)?)?;
        prop_assert_eq!(text, mask);
        let plan_again: Radial = serde_json::from_str(&serde_json::to_string(&plan)?)?;
        prop_assert_eq!(plan_again, plan);
    }
}

/// No query is left without keys, and each reads its own block.
fn assert_whole(mask: &BlockMask) {
    let mut runs = Vec::new();
    for query in (0..mask.queries).step_by(17).chain([mask.queries - 1]) {
        mask.runs(query, &mut runs);
        assert!(runs.iter().any(|run| run.contains(&query)), "query {query} does not read itself");
    }
    assert!((0..mask.rows()).all(|row| !mask.row(row).is_empty()));
}

#[test]
fn resolutions_that_are_no_multiple_of_a_block_are_as_dense_as_their_neighbours() {
    for (f, s) in [(21, 1_560), (21, 3_600), (13, 1_350), (1, 997), (5, 1)] {
        for decay in [0.2, 0.95] {
            let mask = radial(f, s, 0, 128, decay, Wan).plan().unwrap();
            assert_whole(&mask);
            let nearest = ((s + 64) / 128).max(1) * 128;
            let aligned = radial(f, nearest, 0, 128, decay, Wan).plan().unwrap();
            let ratio = mask.token_density() / aligned.token_density();
            println!("{f} x {s}, decay {decay}: {:.4}, {nearest}: {:.4}", mask.density(), aligned.density());
            assert!((ratio - 1.0).abs() < 0.15, "{f} frames of {s}: {ratio}");
            assert!((mask.density() / aligned.density() - 1.0).abs() < 0.15, "{f} frames of {s}");
        }
    }
}

#[test]
fn far_bands_of_windows_as_wide_as_a_block_are_three_diagonals() {
    // Of decay 0.2 and 3,840 tokens the window is 819 / 4, then 128 from distance 8 on.
    let mask = radial(18, 3_840, 0, 128, 0.2, Hunyuan).plan().unwrap();
    for distance in 8usize..18 {
        for a in 0..30 {
            for b in 0..30 {
                let active = mask.is_active(a, distance * 30 + b);
                assert_eq!(active, a.abs_diff(b) <= 1, "distance {distance}, blocks {a} and {b}");
            }
        }
    }
}

#[test]
fn blocks_grow_little_faster_than_tokens() {
    // Blocks of 128 are half a frame of 256 tokens: the shortest clips are all but dense, and the slope is theirs.
    for (block, family, most) in [(64, Wan, 1.35), (64, Hunyuan, 1.35), (32, Wan, 1.35), (128, Wan, 1.45)] {
        let active = |f| radial(f, 256, 0, block, 1.0, family).plan().unwrap().active();
        let points: Vec<_> = [8, 16, 32, 64, 128].map(|f| [f, active(f)].map(|n| (n as f64).ln())).to_vec();
        let [x, y] = [0, 1].map(|axis| points.iter().map(|p| p[axis]).sum::<f64>() / points.len() as f64);
        let up: f64 = points.iter().map(|p| (p[0] - x) * (p[1] - y)).sum();
        let slope = up / points.iter().map(|p| (p[0] - x).powi(2)).sum::<f64>();
        println!("blocks of {block}, {}: {slope:.3}", family.name());
        assert!(slope <= most, "blocks of {block}, {}: {slope}", family.name());
    }
}

#[test]
fn exact_masks_are_the_formula() {
    for (f, s, family) in
        [(1, 1, Wan), (5, 1, Hunyuan), (9, 8, Wan), (20, 12, Hunyuan), (33, 5, Wan), (70, 3, Hunyuan), (12, 31, Wan)]
    {
        let mask = ExactMask::new(f, s, family).unwrap();
        let (mut runs, mut pairs) = (Vec::new(), 0);
        for query in 0..f * s {
            mask.runs(query, &mut runs);
            assert!(runs.windows(2).all(|two| two[0].end < two[1].start) && runs.iter().all(|run| !run.is_empty()));
            for key in 0..f * s {
                let (i, k, j, l) = (query / s, query % s, key / s, key % s);
                let distance = i.abs_diff(j);
                let power = 2f64.powi((distance.max(1) as f64).log2().floor() as i32);
                let near = power <= s as f64 && k.abs_diff(l) as f64 + 1.0 <= s as f64 / power;
                let same = distance.is_multiple_of((power / s as f64).ceil() as usize) && k == l;
                let reads = near || same || family == Wan && j == 0;
                assert_eq!(runs.iter().any(|run| run.contains(&key)), reads, "{f} frames of {s}: {query} and {key}");
                pairs += u64::from(reads);
            }
        }
        assert_eq!(mask.pairs(), pairs, "{f} frames of {s}");
    }
}

#[test]
fn exact_masks_are_written_token_by_token() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("exact.npy");
    let mask = ExactMask::new(6, 10, Wan).unwrap();
    mask.write_npy(&path).unwrap();
    let array = tersor_data::npy::read(&path).unwrap();
    assert_eq!(array.shape(), [60, 60]);
    let grid = array.elements().as_bool().unwrap();
    assert_eq!(grid.iter().filter(|reads| **reads).count() as u64, mask.pairs());
    assert!(grid == mask.as_blocks().unwrap().grid());
}

#[test]
fn hostile_numbers_are_errors_that_name_the_field() {
    let told = |plan: Radial| plan.plan().unwrap_err().to_string();
    let good = Radial::new(4, 256);
    for (plan, field) in [
        (Radial { frames: 0, ..good }, "frames is 0"),
        (Radial { tokens_per_frame: 0, ..good }, "tokens_per_frame is 0"),
        (Radial { frames: MOST_FRAMES + 1, ..good }, "frames is 8193"),
        (Radial { frames: usize::MAX, tokens_per_frame: usize::MAX, ..good }, "frames is"),
        (Radial { tokens_per_frame: usize::MAX, ..good }, "tokens_per_frame is"),
        (Radial { tokens_per_frame: 1 << 25, ..good }, "queries is"),
        (Radial { text: usize::MAX, ..good }, "text is"),
        (Radial { text: 1 << 40, ..good }, "queries is"),
        (Radial { frames: 1, tokens_per_frame: 128 * (MOST_BLOCKS + 1), ..good }, "queries is"),
        (Radial { block: Block::square(0), ..good }, "block is 0"),
        (Radial { block: Block::square(96), ..good }, "block is 96"),
        (Radial { block: Block { queries: 128, keys: 16 }, ..good }, "block is 128x16"),
    ] {
        assert!(told(plan).contains(field), "{plan:?}: {}", told(plan));
    }
    for decay in [0.0, -0.2, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert!(told(Radial { decay, ..good }).starts_with("decay is "), "{decay}");
    }
    for (text, block) in [("32", Block::square(32)), ("128x64", Block { queries: 128, keys: 64 })] {
        assert_eq!((text.parse::<Block>().unwrap(), block.to_string().as_str()), (block, text));
    }
    for text in ["", "x", "128x", "x64", "64x64x64", "-64", "12", "128X64", "64 ", "99999999999999999999"] {
        assert!(text.parse::<Block>().unwrap_err().to_string().contains("block is"), "{text}");
    }
    assert!("mochi".parse::<Family>().unwrap_err().to_string().contains("wan or hunyuan"));
    let error = good.check_tokens("q", 1_025).unwrap_err();
    assert!(matches!(error, Error::Tokens { what: "q", tokens: 1_025, .. }), "{error}");
    assert!(good.check_tokens("q", 1_024).is_ok() && Radial { text: 1, ..good }.check_tokens("q", 1_025).is_ok());

    assert!(ExactMask::new(1, MOST_TOKENS, Wan).is_ok() && ExactMask::new(MOST_TOKENS, 1, Wan).is_ok());
    for (f, s, field) in
        [(1, MOST_TOKENS + 1, "exact"), (usize::MAX, 2, "exact"), (0, 5, "frames"), (5, 0, "tokens_per_frame")]
    {
        let error = ExactMask::new(f, s, Wan).unwrap_err().to_string();
        assert!(error.contains(field), "{error}");
    }
}

#[test]
fn a_huge_decay_reads_all_that_is_not_left_out() {
    let wide = radial(6, 1_024, 0, 128, f64::MAX, Hunyuan).plan().unwrap();
    assert_eq!(wide.density(), 1.0);
    let thin = radial(6, 1_024, 0, 128, f64::MIN_POSITIVE, Hunyuan).plan().unwrap();
    assert!(thin.density() < 0.8);
}

#[test]
fn the_largest_plans_are_made_without_delay() {
    for plan in [
        Radial::new(MOST_FRAMES, 1),
        radial(MOST_FRAMES, 64, 0, 32, 0.2, Wan),
        radial(128, 4_000, 0, 32, 0.2, Hunyuan),
        radial(400, 5_000, 512, 128, 1.0, Wan),
    ] {
        let start = Instant::now();
        let mask = plan.plan().unwrap();
        println!("{plan:?}: {} blocks, {} active, {:?}", mask.rows(), mask.active(), start.elapsed());
        assert_whole(&mask);
    }
}
