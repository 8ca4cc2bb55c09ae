//! This room's stops on the tour: a person detector in less and less memory, run on a photograph; a wake word as firmware.

use std::time::Duration;

use tersor_data::Picture;
use tersor_data::tour::{Drawing, Failure, Figure, Outcome, Row, Stop, Supplies};
use tersor_network as network;

use crate::emit::verify::verify;
use crate::input::Normalization;
use crate::plan::{self, InputMode, Plan, Search};
use crate::run::{Settings, report, run, run_plan};
use crate::{emit, input, inspect, profile};

/// The stops of the room, in the order of the papers.
pub fn stops() -> Vec<Box<dyn Stop>> {
    vec![Box::new(PersonDetect::Layers), Box::new(PersonDetect::Parts), Box::new(WakeWord)]
}

/// A streaming wake word as firmware, verified as far as this machine can.
struct WakeWord;

impl Stop for WakeWord {
    fn room(&self) -> &'static str {
        "tiny"
    }

    fn system(&self) -> &'static str {
        "MCUNet: firmware"
    }

    fn budget(&self) -> Duration {
        Duration::from_secs(4)
    }

    fn needs(&self) -> &'static [&'static str] {
        &["okay-nabu", "okay-nabu-settings"]
    }

    fn visit(&self, supplies: &Supplies) -> Result<Outcome, Failure> {
        let network = network::read(supplies.path("okay-nabu")?)?;
        let settings: serde_json::Value =
            serde_json::from_slice(&std::fs::read(supplies.path("okay-nabu-settings")?)?)?;
        let asked = settings["micro"]["tensor_arena_size"].as_u64().ok_or("the settings name no arena")?;
        let plan = plan::layers(&network, 4)?;
        let emission = emit::emit(&network, &plan, emit::Target::C)?;
        let folder = tempfile::tempdir()?;
        emission.write(folder.path())?;
        let runs = verify(&emission, folder.path(), &["host", "cortex-m4"])?;
        if let Some(wrong) = runs.iter().find(|run| run.wrong.is_some()) {
            return Err(
                format!("the program is wrong on {}: {}", wrong.place, wrong.wrong.as_deref().unwrap_or("")).into()
            );
        }
        let equal: Vec<&str> = runs.iter().filter(|run| run.is_equal()).map(|run| run.place).collect();
        let missing: Vec<&str> = runs.iter().filter_map(|run| run.missing.as_deref()).collect();
        let mut cost = match equal.as_slice() {
            [] => "not verified".to_string(),
            places => format!("the same bits on {}", places.join(" and ")),
        };
        if !missing.is_empty() {
            cost += &format!(" ({})", missing.join(", "));
        }
        let stack = runs.iter().find_map(|run| run.stack_bytes).map_or(String::new(), |b| format!(" + {b} B of stack"));
        let frames = emission.vector.frames.len();
        Ok(Outcome::Shown(Row::new(
            "SRAM",
            format!("{:.1} KiB asked by its settings", asked as f64 / 1024.0),
            format!("{:.1} KiB{stack}", emission.firmware.arena_bytes as f64 / 1024.0),
            cost,
            format!("wake word \"Okay Nabu\" in C, {frames} frames of a stream"),
        )))
    }
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
