//! The stops on the tour: a long video's attention at a third of its pairs, by distance and by meaning.

use std::time::{Duration, Instant};

use tersor_data::tour::{Drawing, Failure, Figure, Outcome, Row, Stop, Supplies};

use tersor_data::picture::Picture;

use crate::attend::{Plan, Tensors, attend, run};
use crate::decay::synthetic::Law;
use crate::decay::{QueriesKeys, Settings, analyze};
use crate::quality::Judge;
use crate::semantic::{Budget, CentroidCache, SemanticAttention};
use crate::{Grid, Radial, picture};

/// The stops of this room.
pub fn stops() -> Vec<Box<dyn Stop>> {
    vec![Box::new(Pairs), Box::new(Meaning)]
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

/// A camera that pans over a photograph: what it shows moves from place to place, so that meaning, not place, says what to
/// read.
struct Meaning;

/// 16 frames of 16 x 16 tokens, as many as a small video transformer sees.
const CLIP: Grid = Grid { frames: 16, height: 16, width: 16 };
/// The side of a token in pixels: its greys are its 64 numbers.
const PATCH: usize = 8;
/// Where the camera begins, across and down.
const START: [usize; 2] = [100, 120];
/// Pixels by which the camera moves from frame to frame, across and down.
const PAN: [usize; 2] = [11, 3];
/// The length of queries and keys: their largest score is its square over 8.
const LENGTH: f32 = 10.0;
/// Clusters of queries and keys.
const CLUSTERS: [usize; 2] = [32, 108];

impl Meaning {
    /// The greys of each token, from the frame `first` on.
    fn tokens(photograph: &Picture, first: usize) -> Vec<f32> {
        let (grey, width) = (photograph.grey(), photograph.width());
        let mut tokens = Vec::with_capacity(CLIP.frames * CLIP.height * CLIP.width * PATCH * PATCH);
        for frame in first..first + CLIP.frames {
            for place in 0..CLIP.height * CLIP.width {
                let left = START[0] + frame * PAN[0] + place % CLIP.width * PATCH;
                let top = START[1] + frame * PAN[1] + place / CLIP.width * PATCH;
                for y in top..top + PATCH {
                    tokens.extend(grey[y * width + left..][..PATCH].iter().map(|&grey| f32::from(grey) / 255.0));
                }
            }
        }
        tokens
    }

    /// Directions from the mean: alike is what looks alike.
    fn directions(tokens: &[f32]) -> Vec<f32> {
        let mean = tokens.iter().sum::<f32>() / tokens.len() as f32;
        let direction = |token: &[f32]| -> Vec<f32> {
            let size = token.iter().map(|x| (x - mean).powi(2)).sum::<f32>().sqrt().max(1e-3);
            token.iter().map(|x| (x - mean) * LENGTH / size).collect()
        };
        tokens.chunks_exact(PATCH * PATCH).flat_map(direction).collect()
    }
}

impl Stop for Meaning {
    fn room(&self) -> &'static str {
        "generate"
    }

    fn system(&self) -> &'static str {
        "Sparse VideoGen2"
    }

    fn budget(&self) -> Duration {
        Duration::from_secs(4)
    }

    fn needs(&self) -> &'static [&'static str] {
        &["solvay-1927"]
    }

    fn visit(&self, supplies: &Supplies) -> Result<Outcome, Failure> {
        let photograph = Picture::read(supplies.path("solvay-1927")?)?.reduced(640, 400);
        let shape = [1, CLIP.tokens()?, PATCH * PATCH];
        let [cq, ck] = CLUSTERS.map(Some);
        let budget = Budget { top_p: 0.8, min_ratio: 0.0 };
        let semantic = SemanticAttention { cq, ck, budget, ..SemanticAttention::default() };
        // A clip, then the same a frame later, as from one step of a sampler to the next: the second is shown.
        let mut cache = CentroidCache::new();
        let before = Self::tokens(&photograph, 0);
        let queries = Self::directions(&before);
        semantic.cluster(0, &Tensors::new((&queries, shape), (&queries, shape), (&before, shape))?, &mut cache)?;
        let values = Self::tokens(&photograph, 1);
        let queries = Self::directions(&values);
        let tensors = Tensors::new((&queries, shape), (&queries, shape), (&values, shape))?;
        let judge = Judge::new(tensors)?;
        let start = Instant::now();
        let (clustered, _) = semantic.cluster(0, &tensors, &mut cache)?;
        let mask = clustered.mask(budget)?;
        let attended = run(&tensors, Plan::Clusters(&mask))?;
        let all = start.elapsed().as_secs_f64();
        let quality = judge.of(&attended);
        let neighbours = semantic.by_position(&tensors)?.mask_of_density(quality.density)?.1;
        let same = judge.quality(Plan::Clusters(&neighbours))?;
        let painted = picture::clusters(mask.head(0).keys().labels(), &CLIP)?;
        let row = Row::new(
            "attention pairs",
            format!("{:.1} million, {:.0} ms a head", judge.dense().pairs as f64 / 1e6, 1e3 * judge.dense().seconds),
            format!("{:.1} million, {:.0} ms with clustering", attended.pairs as f64 / 1e6, 1e3 * all),
            format!(
                "{:.0} % of the weight is kept ({:.0} % by blocks of neighbours), the output is {:.1} % apart",
                100.0 * quality.recall,
                100.0 * same.recall,
                100.0 * quality.error
            ),
            format!("{} frames of 16 x 16 tokens, a camera panning over a photograph", CLIP.frames),
        );
        Ok(Outcome::Shown(row.with_figure(Figure {
            name: "generate-clusters".into(),
            caption:
                "Clusters of keys on the frames of a camera that pans: a colour follows what it is, not where.".into(),
            drawing: Drawing::Png(painted.to_png()?),
        })))
    }
}
