//! This room's stop on the tour: a person detector, inspected and run on a photograph.

use std::time::Duration;

use tersor_data::Picture;
use tersor_data::tour::{Drawing, Failure, Figure, Outcome, Row, Stop, Supplies};
use tersor_network as network;

use crate::input::Normalization;
use crate::run::{Settings, report, run};
use crate::{input, inspect, profile};

/// The stops of the room, in the order of the papers.
pub fn stops() -> Vec<Box<dyn Stop>> {
    vec![Box::new(PersonDetect)]
}

/// The person detector that every microcontroller toolkit ships, on a photograph with people.
struct PersonDetect;

/// The right-hand group of the photograph, in pixels: left, top, side of a square.
const GROUP: [usize; 3] = [806, 0, 860];
/// The detector's classes are "no person" and "person".
const PERSON: usize = 1;

impl Stop for PersonDetect {
    fn room(&self) -> &'static str {
        "tiny"
    }

    fn system(&self) -> &'static str {
        "MCUNet: memory bound"
    }

    fn budget(&self) -> Duration {
        Duration::from_secs(2)
    }

    fn needs(&self) -> &'static [&'static str] {
        &["person-detect", "solvay-1927"]
    }

    fn visit(&self, supplies: &Supplies) -> Result<Outcome, Failure> {
        let detector = network::read(supplies.path("person-detect")?)?;
        let inspection = inspect::inspect(&detector);
        let stored: u64 = inspection.tensors.iter().filter(|t| !t.constant).map(|t| t.bytes).sum();

        let file = supplies.path("solvay-1927")?;
        let [left, top, side] = GROUP;
        let group = Picture::read(file)?.cropped(left, top, side, side).ok_or("the photograph is too small")?;
        let batch = input::from_picture(&detector, file, &group, Normalization::default())?;
        let report = report(&detector, &run(&detector, &batch, Settings::default(), &|_| ())?, &[]);
        let score = report.top.iter().flatten().find(|class| class.class == PERSON);
        let score = score.ok_or("the detector gave no score for a person")?.score;

        let row = Row::new(
            "SRAM",
            format!("{:.1} KiB, every tensor stored", kib(stored)),
            format!("{:.1} KiB alive at once", kib(inspection.lower_bound_bytes)),
            "none: the same bits",
            format!("person detector on the Solvay photograph: person {score:.2}"),
        );
        Ok(Outcome::Shown(row.with_figure(Figure {
            name: "tiny-person-detect-memory".into(),
            caption:
                "Bytes alive while each operator of the person detector runs, as the file stands and in place.".into(),
            drawing: Drawing::Svg(profile::svg(&inspection)?),
        })))
    }
}

fn kib(bytes: u64) -> f64 {
    bytes as f64 / 1024.0
}
