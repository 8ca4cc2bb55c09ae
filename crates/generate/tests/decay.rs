//! The analysis of decay: against weights that are all in memory, on a known law, and on a real video transformer.

use tersor_data::testing::{Failure, Trials};
use tersor_data::{Elements, npz, testing};
use tersor_generate::decay::synthetic::Law;
use tersor_generate::decay::{Curve, Decay, QueriesKeys, Settings, analyze};
use tersor_generate::mask::{BlockMask, Reads};
use tersor_generate::{Block, Error, ExactMask, Family, Grid, Radial};

type Result<T = ()> = std::result::Result<T, Failure>;

fn main() {
    Trials::new()
        .test("the_curves_are_those_of_all_weights_in_memory", against_all_weights)
        .test("a_law_that_was_made_up_is_found_again", law)
        .test("the_seed_gives_the_same_on_any_number_of_threads", threads)
        .test("drawn_rows_stand_for_all", drawn)
        .test("what_does_not_fit_is_refused", refusals)
        .test("products_that_overflow_are_told", overflow)
        .needs(&[CAPTURED])
        .test("a_radial_mask_keeps_more_of_a_real_head_than_chance", real)
        .run()
}

const CAPTURED: &str = "generation/vdit_qkv_layer1_head0.npz";

/// Numbers between -1 and 1 without a pattern.
fn noise(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

fn near(a: f64, b: f64, bound: f64) -> bool {
    (a - b).abs() <= bound * (1.0 + b.abs())
}

/// As the definitions read, in f64, every weight in memory.
fn against_all_weights() -> Result {
    let grid = Grid { frames: 5, height: 4, width: 6 };
    let (heads, text, dim, s) = (2, 7, 12, 24);
    let n = grid.tokens()? + text;
    let (q, k) = (noise(heads * n * dim, 1), noise(heads * n * dim, 2));
    let shape = [heads, n, dim];
    let input = QueriesKeys::new((&q, shape), (&k, shape))?;
    let block = Block::square(32);
    let mask = Radial { text, block, family: Family::Hunyuan, ..Radial::new(5, s) }.plan()?;
    let mask = BlockMask { columns: mask.columns.clone(), ..mask };
    let found = analyze(&input, &grid, Some(&mask), &Settings { text, ..Settings::default() })?;
    assert_eq!((found.rows, found.heads.len()), (n, heads));
    for head in 0..heads {
        let at = |of: &[f32], token: usize, x: usize| f64::from(of[(head * n + token) * dim + x]);
        let mut temporal = vec![(0.0, 0u64); grid.frames];
        let mut spatial = vec![(0.0, 0u64); 7];
        let (mut to_text, mut kept) = (0.0, 0.0);
        for query in 0..n {
            let logit = |key| (0..dim).map(|x| at(&q, query, x) * at(&k, key, x)).sum::<f64>() / (dim as f64).sqrt();
            let weights: Vec<f64> = (0..n).map(|key| logit(key).exp()).collect();
            let sum: f64 = weights.iter().sum();
            for (key, weight) in weights.iter().map(|weight| weight / sum).enumerate() {
                if mask.is_active(query / 32, key / 32) {
                    kept += weight;
                }
                match (query < 120, key < 120) {
                    (true, true) => {
                        let time = (query / s).abs_diff(key / s);
                        let [down, across] =
                            [|t: usize| t % 24 / 6, |t: usize| t % 6].map(|of| of(query).abs_diff(of(key)) as f64);
                        let space = (down * down + across * across).sqrt().round() as usize;
                        temporal[time] = (temporal[time].0 + weight, temporal[time].1 + 1);
                        spatial[space] = (spatial[space].0 + weight, spatial[space].1 + 1);
                    }
                    (true, false) => to_text += weight,
                    _ => {}
                }
            }
        }
        let told = &found.heads[head];
        for (curve, sums) in [(&told.temporal, &temporal), (&told.spatial, &spatial)] {
            assert_eq!(curve.points.len(), sums.len());
            for (point, (sum, pairs)) in curve.points.iter().zip(sums) {
                assert_eq!(point.pairs, *pairs);
                assert!(near(point.weight * *pairs as f64, *sum, 1e-5), "{point:?} {sum}");
            }
        }
        assert!(near(told.text, to_text / 120.0, 1e-5) && near(told.recall.ok_or("no recall")?, kept / n as f64, 1e-5));
    }
    Ok(())
}

fn rates(decay: &Decay) -> Result<[(f64, f64); 2]> {
    let of = |curve: &Curve| curve.fit.map(|fit| (fit.rate, fit.r2)).ok_or("no fit");
    Ok([of(&decay.all.temporal)?, of(&decay.all.spatial)?])
}

fn law() -> Result {
    let grids = [(16, 16, 16), (8, 1, 200), (12, 20, 30)].map(|(frames, height, width)| Grid { frames, height, width });
    for grid in grids {
        for law in [Law { alpha: 0.35, beta: 0.25 }, Law { alpha: 0.1, beta: 0.1 }, Law { alpha: 0.8, beta: 0.5 }] {
            let (dim, n) = (128, grid.tokens()?);
            let features = law.sample(&grid, 1, dim, 3)?;
            let input = QueriesKeys::new((&features, [1, n, dim]), (&features, [1, n, dim]))?;
            let settings = Settings { rows: Some(400), ..Settings::default() };
            let [(alpha, alpha_r2), (beta, beta_r2)] = rates(&analyze(&input, &grid, None, &settings)?)?;
            println!("{grid:?} {law:?}: {alpha:.3} ({alpha_r2:.4}), {beta:.3} ({beta_r2:.4})");
            assert!((alpha / law.alpha - 1.0).abs() < 0.15 && (beta / law.beta - 1.0).abs() < 0.2, "{grid:?} {law:?}");
            assert!(alpha_r2 > 0.98 && beta_r2 > 0.98, "{grid:?} {law:?}");
        }
    }
    Ok(())
}

fn threads() -> Result {
    let grid = Grid { frames: 4, height: 6, width: 6 };
    let features = Law { alpha: 0.3, beta: 0.2 }.sample(&grid, 3, 16, 1)?;
    let input = QueriesKeys::new((&features, [3, 144, 16]), (&features, [3, 144, 16]))?;
    let mask = ExactMask::new(4, 36, Family::Wan)?;
    let run = |threads| -> Result<Decay> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
        Ok(pool.install(|| analyze(&input, &grid, Some(&mask), &Settings { rows: Some(50), ..Settings::default() }))?)
    };
    assert_eq!(run(1)?, run(3)?);
    Ok(())
}

fn drawn() -> Result {
    let grid = Grid { frames: 8, height: 8, width: 8 };
    let features = Law { alpha: 0.3, beta: 0.2 }.sample(&grid, 2, 32, 1)?;
    let input = QueriesKeys::new((&features, [2, 512, 32]), (&features, [2, 512, 32]))?;
    let mask = Radial { block: Block::square(32), ..Radial::new(8, 64) }.plan()?;
    let run = |rows, seed| analyze(&input, &grid, Some(&mask), &Settings { rows, seed, ..Settings::default() });
    let (all, some) = (run(None, 0)?, run(Some(128), 5)?);
    assert_eq!((all.rows, some.rows, run(Some(9_999), 1)?.rows), (512, 128, 512));
    assert!(some == run(Some(128), 5)? && some != run(Some(128), 6)?);
    for (a, b) in rates(&all)?.into_iter().zip(rates(&some)?) {
        assert!((a.0 / b.0 - 1.0).abs() < 0.1, "{a:?} {b:?}");
    }
    let recall = |decay: &Decay| decay.all.recall.unwrap_or(0.0);
    assert!((recall(&all) - recall(&some)).abs() < 0.02);
    Ok(())
}

fn refusals() -> Result {
    let x = noise(2 * 24 * 4, 1);
    let shape = [2, 24, 4];
    let told = |q: (&[f32], [usize; 3]), k: (&[f32], [usize; 3])| match QueriesKeys::new(q, k) {
        Ok(_) => String::new(),
        Err(error) => error.to_string(),
    };
    assert!(told((&x, shape), (&x, [2, 4, 24])).starts_with("k has the shape [2, 4, 24]; expected [2, 24, 4]"));
    assert!(told((&[], [2, 24, 0]), (&[], [2, 24, 0])).starts_with("q has the shape [2, 24, 0]"));
    assert!(told((&x[1..], shape), (&x, shape)).starts_with("q has the shape [191]"));
    assert!(told((&x, shape), (&x[..9], shape)).starts_with("k has the shape [9]"));
    assert!(told((&x, [usize::MAX; 3]), (&x, [usize::MAX; 3])).starts_with("q has the shape"));
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut k = x.clone();
        k[24 * 4 + 5 * 4 + 3] = bad;
        let said = told((&x, shape), (&k, shape));
        assert!(said.starts_with(&format!("k is {bad} in head 1, token 5, dimension 3")), "{said}");
    }
    let input = QueriesKeys::new((&x, shape), (&x, shape))?;
    let grid = Grid { frames: 4, height: 2, width: 3 };
    let told = |grid: &Grid, mask: Option<&(dyn Reads + Sync)>, settings: Settings| {
        analyze(&input, grid, mask, &settings).map_or_else(|error| error.to_string(), |_| String::new())
    };
    let none = Settings::default();
    assert_eq!(told(&grid, None, none), "");
    assert!(told(&Grid { frames: 5, ..grid }, None, none).contains("5 frames of 6 tokens and 0 of text are 30"));
    assert!(told(&grid, None, Settings { text: usize::MAX, ..none }).starts_with("q has 24 tokens"));
    assert!(told(&Grid { height: 0, ..grid }, None, none).starts_with("height is 0"));
    assert!(told(&Grid { width: usize::MAX, ..grid }, None, none).contains("at most"));
    let mask = ExactMask::new(4, 7, Family::Wan)?;
    assert!(told(&grid, Some(&mask), none).starts_with("the mask has the shape [28, 28]"));
    assert!(told(&grid, None, Settings { rows: Some(0), ..none }).starts_with("rows is 0"));
    for scale in [0.0, f32::NAN, f32::INFINITY] {
        assert!(told(&grid, None, Settings { scale: Some(scale), ..none }).starts_with("scale is"));
    }
    assert!(matches!(QueriesKeys::new((&x, shape), (&x, [1; 3])), Err(Error::Shape { .. })));
    Ok(())
}

fn overflow() -> Result {
    // Finite queries and keys whose products are not.
    let x: Vec<f32> = noise(2 * 24 * 4, 3).into_iter().map(|x| x.signum() * 3e38).collect();
    let grid = Grid { frames: 4, height: 2, width: 3 };
    let input = QueriesKeys::new((&x, [2, 24, 4]), (&x, [2, 24, 4]))?;
    let error = analyze(&input, &grid, None, &Settings::default()).unwrap_err();
    assert!(matches!(error, Error::Overflow { head: 0, query: 0, key: 0, .. }), "{error}");
    Ok(())
}

fn real() -> Result {
    let file = npz::open(testing::file(CAPTURED)?)?;
    let read = |name: &str| -> Result<Vec<f32>> {
        match file.read(name)?.into_elements() {
            Elements::F16(elements) => Ok(elements.into_iter().map(Into::into).collect()),
            _ => Err("expected f16".into()),
        }
    };
    let (q, k) = (read("q")?, read("k")?);
    let input = QueriesKeys::new((&q, [1, 4_096, 64]), (&k, [1, 4_096, 64]))?;
    let grid = Grid { frames: 16, height: 16, width: 16 };
    let plan = Radial { block: Block::square(64), ..Radial::new(16, 256) };
    let mask = plan.plan()?;
    let settings = Settings { rows: Some(1_024), ..Settings::default() };
    let found = analyze(&input, &grid, Some(&mask), &settings)?;
    let [(alpha, alpha_r2), (beta, beta_r2)] = rates(&found)?;
    let recall = found.all.recall.ok_or("no recall")?;
    println!(
        "alpha {alpha:.3} ({alpha_r2:.3}), beta {beta:.3} ({beta_r2:.3}), recall {recall:.4} at {:.4}",
        mask.density()
    );
    // This head looks at places, in whatever frame: it decays in space alone.
    assert!(alpha.abs() < 0.01 && beta > 0.1);
    assert!(recall > mask.token_density(), "the mask keeps no more than chance: {recall}");
    Ok(())
}
