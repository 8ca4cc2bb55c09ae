//! This room's stops on the tour: a person detector in less and less memory, run on a photograph.

use std::time::Duration;

use tersor_data::Picture;
use tersor_data::tour::{Drawing, Failure, Figure, Outcome, Row, Stop, Supplies};
use tersor_network as network;

use crate::input::Normalization;
use crate::plan::{self, InputMode, Plan, Search};
use crate::run::{Settings, report, run, run_plan};
use crate::{input, inspect, profile};

/// The stops of the room, in the order of the papers.
pub fn stops() -> Vec<Box<dyn Stop>> {
    vec![Box::new(PersonDetect::Layers), Box::new(PersonDetect::Parts)]
}

/// The person detector that every microcontroller toolkit ships, on a photograph with people.
enum PersonDetect {
    /// Layers in one arena: MCUNet.
    Layers,
    /// The first layers in parts, the image fed as it is needed: MCUNetV2.
    Parts,
}

/// The right-hand group of the photograph, in pixels: left, top, side of a square.
const GROUP: [usize; 3] = [806, 0, 860];
/// The detector's classes are "no person" and "person".
const PERSON: usize = 1;

impl Stop for PersonDetect {
    fn room(&self) -> &'static str {
        "tiny"
    }

    fn system(&self) -> &'static str {
        match self {
            Self::Layers => "MCUNet: memory plan",
            Self::Parts => "MCUNetV2: patches, rows",
        }
    }

    fn budget(&self) -> Duration {
        Duration::from_secs(4)
    }

    fn needs(&self) -> &'static [&'static str] {
        &["person-detect", "solvay-1927"]
    }

    fn visit(&self, supplies: &Supplies) -> Result<Outcome, Failure> {
        let detector = network::read(supplies.path("person-detect")?)?;
        let file = supplies.path("solvay-1927")?;
        let [left, top, side] = GROUP;
        let group = Picture::read(file)?.cropped(left, top, side, side).ok_or("the photograph is too small")?;
        let batch = input::from_picture(&detector, file, &group, Normalization::default())?;
        let inspection = inspect::inspect(&detector);

        let layers = plan::layers(&detector, 4)?;
        let (before, plan, front) = match self {
            Self::Layers => (inspection.bound_bytes, layers, Vec::new()),
            Self::Parts => {
                let search = Search { input: InputMode::Streamed, ..Search::default() };
                let (plan, front) = plan::search(&detector, search)?;
                (layers.peak_bytes as u64, plan, front)
            }
        };
        // The plan is executed in an arena of its size, and must give what the reference engine gives.
        let expected = run(&detector, &batch, Settings::default(), &|_| ())?;
        let planned = run_plan(&detector, plan.clone(), &batch, Settings::default(), &|_| ())?;
        if planned.outputs != expected.outputs {
            return Err("the plan gives other values than the network".into());
        }
        let report = report(&detector, &planned, &[]);
        let score = report.top.iter().flatten().find(|class| class.class == PERSON);
        let score = score.ok_or("the detector gave no score for a person")?.score;

        let row = Row::new(
            "SRAM",
            format!("{:.1} KiB", before as f64 / 1024.0),
            format!("{:.1} KiB", plan.peak_bytes as f64 / 1024.0),
            cost(&plan),
            format!("person detector, Solvay 1927: person {score:.2}"),
        );
        let name = if plan.patches.is_some() { "tiny-person-detect-parts" } else { "tiny-person-detect-layers" };
        let row = row.with_figure(Figure {
            name: name.into(),
            caption: "The planned arena over time, and the SRAM of each operator before and after.".into(),
            drawing: Drawing::Svg(plan::picture::svg(&plan, &inspection, &front)?),
        });
        Ok(Outcome::Shown(match self {
            Self::Parts => row,
            Self::Layers => row.with_figure(Figure {
                name: "tiny-person-detect-memory".into(),
                caption: "Bytes alive while each operator runs, as the file stands and in place.".into(),
                drawing: Drawing::Svg(profile::svg(&inspection)?),
            }),
        }))
    }
}

/// What a plan costs: never accuracy, perhaps work.
fn cost(plan: &Plan) -> String {
    match plan.extra_macs {
        0 => "none: the same bits".into(),
        extra => format!("the same bits, {:.1} % more MACs", 100.0 * extra as f64 / plan.macs as f64),
    }
}
