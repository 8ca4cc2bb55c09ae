//! The stop on the tour: a long video's attention at a third of its pairs and of its time.

use std::time::Duration;

use tersor_data::tour::{Drawing, Failure, Figure, Outcome, Row, Stop, Supplies};

use crate::attend::{Plan, Tensors, attend};
use crate::decay::synthetic::Law;
use crate::decay::{QueriesKeys, Settings, analyze};
use crate::{Grid, Radial, picture};

/// The stops of this room.
pub fn stops() -> Vec<Box<dyn Stop>> {
    vec![Box::new(Pairs)]
}

/// A head of the shape of a real model on a long clip, whose weights decay as the paper measured.
struct Pairs;

/// 64 frames of 16 x 16 tokens: 253 pictures of 256 x 256 as Wan sees them.
const GRID: Grid = Grid { frames: 64, height: 16, width: 16 };
const WIDTH: usize = 64;
const LAW: Law = Law { alpha: 0.4, beta: 0.25 };
const SEED: u64 = 1;

/// Queries by which the weight that is kept is measured.
const ROWS: usize = 256;

/// What is read of a token: where it is in time and space, in waves of 2 to 65 tokens' length a turn.
fn value(token: usize, number: usize) -> f32 {
    let axes = [token / (GRID.height * GRID.width), token / GRID.width % GRID.height, token % GRID.width];
    (axes[number % 3] as f32 * std::f32::consts::TAU / (2 + number) as f32).sin()
}

impl Stop for Pairs {
    fn room(&self) -> &'static str {
        "generate"
    }

    fn system(&self) -> &'static str {
        "Radial Attention"
    }

    fn budget(&self) -> Duration {
        Duration::from_secs(4)
    }

    fn visit(&self, _: &Supplies) -> Result<Outcome, Failure> {
        let tokens = GRID.tokens()?;
        let queries = LAW.sample(&GRID, 1, WIDTH, SEED)?;
        let values: Vec<f32> = (0..tokens * WIDTH).map(|i| value(i / WIDTH, i % WIDTH)).collect();
        let shape = [1, tokens, WIDTH];
        let tensors = Tensors::new((&queries, shape), (&queries, shape), (&values, shape))?;
        let mask = Radial::new(GRID.frames, GRID.tokens_per_frame()?).plan()?;
        let dense = attend(&tensors, Plan::Dense)?;
        let radial = attend(&tensors, Plan::Blocks(&mask))?;
        let analysed = QueriesKeys::new((&queries, shape), (&queries, shape))?;
        let settings = Settings { rows: Some(ROWS), seed: SEED, ..Settings::default() };
        let recall = analyze(&analysed, &GRID, Some(&mask), &settings)?.all.recall.unwrap_or(f64::NAN);
        let squares = |of: &mut dyn Iterator<Item = f32>| of.map(|x| f64::from(x * x)).sum::<f64>();
        let apart = squares(&mut dense.output.iter().zip(&radial.output).map(|(a, b)| a - b));
        let error = (apart / squares(&mut dense.output.iter().copied())).sqrt();
        let row = Row::new(
            "attention pairs",
            format!("{:.0} million, {:.0} ms a head", dense.pairs as f64 / 1e6, 1e3 * dense.seconds),
            format!("{:.0} million, {:.0} ms", radial.pairs as f64 / 1e6, 1e3 * radial.seconds),
            format!("{:.1} % of the weight is kept, the output is {:.1} % apart", 100.0 * recall, 100.0 * error),
            format!("a head of {} frames of 16 x 16 tokens that decays as the paper's, made up", GRID.frames),
        );
        Ok(Outcome::Shown(row.with_figure(Figure {
            name: "generate-radial".into(),
            caption: "Which blocks of keys (across) each block of queries (down) reads: near frames whole, far ones less.".into(),
            drawing: Drawing::Svg(picture::mask(&mask, "64 frames of 256 tokens")?),
        })))
    }
}
