//! This room's stop on the tour: a person detector, inspected and run on two photographs.

use std::path::Path;
use std::time::Duration;

use tersor_data::tour::{Drawing, Failure, Figure, Outcome, Row, Stop, Supplies};
use tersor_network as network;

use crate::input::Normalization;
use crate::run::{Settings, report, run};
use crate::{input, inspect, profile};

/// The stops of the room, in the order of the papers.
pub fn stops() -> Vec<Box<dyn Stop>> {
    vec![Box::new(PersonDetect)]
}

/// The network that every microcontroller toolkit ships, on a photograph with people and on one without.
struct PersonDetect;

impl Stop for PersonDetect {
    fn room(&self) -> &'static str {
        "tiny"
    }

    fn system(&self) -> &'static str {
        "MCUNet: memory bounds"
    }

    fn budget(&self) -> Duration {
        Duration::from_secs(2)
    }

    fn needs(&self) -> &'static [&'static str] {
        &["person-detect", "solvay-1927", "parrots"]
    }

    fn visit(&self, supplies: &Supplies) -> Result<Outcome, Failure> {
        let detector = network::read(supplies.path("person-detect")?)?;
        let person = |picture: &Path| -> Result<f64, Failure> {
            let batch = input::read(&detector, picture, Normalization::default())?;
            let results = run(&detector, &batch, Settings::default(), &|_| ())?;
            let report = report(&detector, &results, &[]);
            let classes = report.top.first().ok_or("the detector gave no scores")?;
            Ok(classes.iter().find(|c| c.class == PERSON).ok_or("the detector gave no score for a person")?.score)
        };
        let (people, parrots) = (person(supplies.path("solvay-1927")?)?, person(supplies.path("parrots")?)?);
        let inspection = inspect::inspect(&detector);
        let row = Row::new(
            "SRAM",
            format!("{} B", inspection.bound_bytes),
            format!("{} B", inspection.lower_bound_bytes),
            "none: the same bits",
            format!("person detector, {:.1} M MACs; Solvay 1927: person {people:.2}, parrots: {parrots:.2}", {
                inspection.macs as f64 / 1e6
            }),
        );
        Ok(Outcome::Shown(row.with_figure(Figure {
            name: "tiny-person-detect-memory".into(),
            caption:
                "Bytes alive while each operator of the person detector runs, as the file stands and in place.".into(),
            drawing: Drawing::Svg(profile::svg(&inspection)?),
        })))
    }
}

/// The detector's classes are "no person" and "person".
const PERSON: usize = 1;
