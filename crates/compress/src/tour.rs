//! The stop on the tour: a network learns digits, loses seven of eight weights, and is smaller and faster.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tersor_data::csv::{self, Layout};
use tersor_data::tour::{Drawing, Failure, Figure, Outcome, Row, Stop, Supplies};
use tersor_network::Network;
use tersor_network::float::{Float, Kernel};
use tersor_train::loader::Split;

use crate::architecture::Architecture;
use crate::evaluate::evaluate;
use crate::granularity::Granularity;
use crate::learn::{Lessons, Recipe, learn};
use crate::model::{Form, Model};
use crate::picture;
use crate::plan::{Qualities, Target};
use crate::prune::{ChannelChoice, Pruning, prune};

/// The stops of this room.
pub fn stops() -> Vec<Box<dyn Stop>> {
    vec![Box::new(Weights)]
}

/// LeNet-300-100 on 5,000 digits, trained, pruned and retrained on the spot.
struct Weights;

const SEED: u64 = 1;
const RATIO: f64 = 8.0;
const EPOCHS: u64 = 6;
const ROUNDS: u32 = 3;
/// Of retraining, in each round.
const EPOCHS_AGAIN: u64 = 4;
/// Calls of one input, of which the median is taken.
const CALLS: usize = 301;

impl Stop for Weights {
    fn room(&self) -> &'static str {
        "compress"
    }

    fn system(&self) -> &'static str {
        "Learning both weights and connections"
    }

    fn budget(&self) -> Duration {
        Duration::from_secs(4)
    }

    fn needs(&self) -> &'static [&'static str] {
        &["mnist-5k"]
    }

    fn visit(&self, supplies: &Supplies) -> Result<Outcome, Failure> {
        let architecture = Architecture::LeNet300;
        let digits =
            csv::read(supplies.path("mnist-5k")?, &Layout::default())?.into_pictures(architecture.picture())?;
        let Split { train, validation } = Split::stratified(digits.labels(), 0.2, SEED)?;
        let lessons = Lessons::new(digits.selected(&train), digits.selected(&validation))?;
        let recipe = Recipe { epochs: EPOCHS, ..Recipe::dense(Some(architecture), SEED) };
        let network = architecture.build(10, SEED)?;
        let dense = learn(&network, &HashMap::new(), &lessons, &recipe, None, &mut ())?.network;
        let pruning = Pruning {
            granularity: Granularity::Element,
            target: Target::Ratio(RATIO),
            rounds: ROUNDS,
            layers: None,
            qualities: Qualities::new(),
            retraining: Some(recipe.retraining(Recipe::RETRAINING, EPOCHS_AGAIN)),
            alternate: false,
            channels: ChannelChoice::default(),
        };
        let pruned = prune(&dense, &pruning, Some(&lessons), None, &mut ())?;
        let error = |network: &Network| {
            evaluate(network, Kernel::Auto, lessons.test(), lessons.normalisation()).map(|judged| judged.error())
        };
        let (dense_error, error) = (error(&dense)?, error(&pruned.masked)?);
        let bytes = |network: &Network, form| Model::from(network.clone()).encode(form).map(|bytes| bytes.len() / 1000);
        let before = format!("{} kB, {:.1} µs a digit", bytes(&dense, Form::Dense)?, 1e6 * seconds(&dense)?);
        let after = format!("{} kB, {:.1} µs", bytes(&pruned.masked, Form::Sparse)?, 1e6 * seconds(&pruned.masked)?);
        let (kept, all) = pruned.plan.counts();
        let row = Row::new(
            "weights",
            before,
            format!("{after}: {kept} of {all} weights"),
            format!("{error:.1} % of {} digits wrong, dense {dense_error:.1} %", validation.len()),
            format!("LeNet-300-100, {} handwritten digits (MNIST)", digits.len()),
        );
        Ok(Outcome::Shown(row.with_figure(Figure {
            name: "compress-weights".into(),
            caption: "What is left of each layer, and the pattern of the first one's connections.".into(),
            drawing: Drawing::Svg(picture::plan(&pruned.plan)?),
        })))
    }
}

/// The median time of one input.
fn seconds(network: &Network) -> Result<f64, Failure> {
    let engine = Float::prepare(network, Kernel::Auto)?;
    let mut session = engine.session();
    let (input, mut output) = (vec![0.5; 784], vec![0.0; 10]);
    let mut times = Vec::with_capacity(CALLS);
    for _ in 0..CALLS {
        let began = Instant::now();
        engine.run_into(&mut session, &[&input], &mut [&mut output])?;
        times.push(began.elapsed().as_secs_f64());
    }
    times.sort_unstable_by(f64::total_cmp);
    Ok(times[CALLS / 2])
}
