//! The stops of `tersor tour`: how each room shows, on real input and within seconds, what it spares.
//!
//! A room implements [`Stop`] once per system and lists its stops; the command line walks them with [`walk`], which
//! fetches what a stop needs (not counted), times the visit and turns every end into a [`Visit`]: a row, a sentence
//! about what is lacking, or a failure. A stop prints nothing and draws no table.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::Error;
use crate::fetch::{self, Cache, Progress};

/// The most time that a stop may plan for itself.
pub const LONGEST_BUDGET: Duration = Duration::from_secs(4);

/// What a stop fails with: `?` turns any error, a `String` or a `&str` into it.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// One system's stop on the tour.
///
/// ```
/// use std::time::Duration;
/// use tersor_data::tour::{Failure, Outcome, Row, Stop, Supplies};
///
/// struct Sine;
///
/// impl Stop for Sine {
///     fn room(&self) -> &'static str { "tiny" }
///     fn system(&self) -> &'static str { "memory plan" }
///     fn budget(&self) -> Duration { Duration::from_secs(1) }
///     fn needs(&self) -> &'static [&'static str] { &["sine"] }
///
///     fn visit(&self, supplies: &Supplies) -> Result<Outcome, Failure> {
///         let model = std::fs::read(supplies.path("sine")?)?;
///         Ok(Outcome::Shown(Row::new("SRAM", "96 B", "64 B", "bit-exact", format!("a network of {} B", model.len()))))
///     }
/// }
/// ```
pub trait Stop: Send + Sync {
    /// The room's name, as on the command line.
    fn room(&self) -> &'static str;

    /// The system's name, as in the table.
    fn system(&self) -> &'static str;

    /// The time that the visit should take at most; never above [`LONGEST_BUDGET`].
    fn budget(&self) -> Duration;

    /// Names of the registry entries that the visit reads. The first stops of a tour need none.
    fn needs(&self) -> &'static [&'static str] {
        &[]
    }

    /// Does the work and reports it. Something that this machine lacks besides [`needs`](Stop::needs) (a tool, a
    /// device) is [`Outcome::Lacking`], with how to get it.
    ///
    /// # Errors
    /// Whatever went wrong.
    fn visit(&self, supplies: &Supplies) -> Result<Outcome, Failure>;
}

/// The files that a stop asked for, all present.
#[derive(Debug, Clone, Default)]
pub struct Supplies {
    paths: BTreeMap<String, PathBuf>,
}

impl Supplies {
    /// The file of the registry entry `name`.
    ///
    /// # Errors
    /// [`Error::NotFetched`] if the stop did not list `name` among its needs.
    pub fn path(&self, name: &str) -> Result<&Path, Error> {
        self.paths.get(name).map(PathBuf::as_path).ok_or_else(|| Error::NotFetched { name: name.into() })
    }
}

/// One row of the tour's table. Numbers carry their unit (`"488.0 KB"`, `"3.2 ms"`).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// The scarce resource: `SRAM`, `KV cache`, `bits sent`.
    pub spared: String,
    /// How much of it the usual way takes.
    pub before: String,
    /// How much this system takes.
    pub after: String,
    /// What that cost in accuracy, against the usual way.
    pub cost: String,
    /// The real input on which this was measured.
    pub input: String,
    /// Pictures of the plan or of the result, if any.
    pub figures: Vec<Figure>,
}

impl Row {
    /// A row without figures.
    pub fn new(
        spared: impl Into<String>,
        before: impl Into<String>,
        after: impl Into<String>,
        cost: impl Into<String>,
        input: impl Into<String>,
    ) -> Self {
        Self {
            spared: spared.into(),
            before: before.into(),
            after: after.into(),
            cost: cost.into(),
            input: input.into(),
            figures: Vec::new(),
        }
    }

    /// The same row with one more figure.
    pub fn with_figure(mut self, figure: Figure) -> Self {
        self.figures.push(figure);
        self
    }
}

/// A picture that a stop offers; the tour decides whether and where to write it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figure {
    /// File name without suffix, in kebab case: `tiny-memory-plan`.
    pub name: String,
    /// What one sees, in a sentence.
    pub caption: String,
    /// The drawing itself; in JSON only its kind.
    #[serde(flatten)]
    pub drawing: Drawing,
}

/// The content of a [`Figure`].
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Drawing {
    /// The text of an SVG file.
    Svg(#[serde(skip)] String),
    /// The bytes of a PNG file.
    Png(#[serde(skip)] Vec<u8>),
}

impl Drawing {
    /// The file's suffix, without the dot.
    pub fn suffix(&self) -> &'static str {
        match self {
            Self::Svg(_) => "svg",
            Self::Png(_) => "png",
        }
    }

    /// The file's content.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Svg(text) => text.as_bytes(),
            Self::Png(bytes) => bytes,
        }
    }
}

/// How a visit ended, from the stop's side.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The row to print.
    Shown(Row),
    /// What is missing and how to get it, in one sentence.
    Lacking(String),
    /// What went wrong. A stop returns an error instead; [`walk`] makes this of it.
    Failed(String),
}

/// A stop that was walked to: what the tour prints, or writes as JSON.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Visit {
    /// The room's name.
    pub room: &'static str,
    /// The system's name.
    pub system: &'static str,
    /// Wall time of the visit, in seconds, downloads not counted.
    pub seconds: f64,
    /// The stop's own budget, in seconds.
    pub budget: f64,
    /// How it ended.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// Fetches what `stop` needs into `cache`, visits it and times the visit.
///
/// With `download` false nothing touches the network: what is not in the cache makes the stop [`Outcome::Lacking`].
/// A download that fails does so too, with its reason, since the machine lacks the file and not the stop its sense.
pub fn walk(stop: &dyn Stop, cache: &Cache, download: bool, progress: &dyn Fn(Progress<'_>)) -> Visit {
    let mut seconds = 0.0;
    let outcome = match supplies(stop, cache, download, progress) {
        Err(error) => Outcome::Lacking(error.to_string()),
        Ok(supplies) => {
            let start = Instant::now();
            // A stop that panics must not end the tour.
            let visit = std::panic::catch_unwind(AssertUnwindSafe(|| stop.visit(&supplies)));
            let visit = visit.unwrap_or_else(|_| Err("it panicked; please report this".into()));
            let outcome = visit.unwrap_or_else(|failure| Outcome::Failed(failure.to_string()));
            seconds = start.elapsed().as_secs_f64();
            outcome
        }
    };
    Visit { room: stop.room(), system: stop.system(), seconds, budget: stop.budget().as_secs_f64(), outcome }
}

fn supplies(
    stop: &dyn Stop,
    cache: &Cache,
    download: bool,
    progress: &dyn Fn(Progress<'_>),
) -> Result<Supplies, Error> {
    let mut supplies = Supplies::default();
    for &name in stop.needs() {
        let path = if download { fetch::get(name, cache, progress)? } else { cache.path(name)? };
        supplies.paths.insert(name.into(), path);
    }
    Ok(supplies)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Trial(fn() -> Result<Outcome, Failure>, &'static [&'static str]);

    impl Stop for Trial {
        fn room(&self) -> &'static str {
            "tiny"
        }
        fn system(&self) -> &'static str {
            "trial"
        }
        fn budget(&self) -> Duration {
            Duration::from_millis(500)
        }
        fn needs(&self) -> &'static [&'static str] {
            self.1
        }
        fn visit(&self, _: &Supplies) -> Result<Outcome, Failure> {
            (self.0)()
        }
    }

    fn walked(stop: &dyn Stop) -> Visit {
        let folder = tempfile::tempdir().unwrap();
        walk(stop, &Cache::at(folder.path()), false, &|_| ())
    }

    fn row() -> Row {
        Row::new("SRAM", "2 KB", "1 KB", "none", "a photograph").with_figure(Figure {
            name: "plan".into(),
            caption: "The plan.".into(),
            drawing: Drawing::Png(vec![1, 2, 3]),
        })
    }

    #[test]
    fn a_shown_row_is_one_flat_json_object_without_picture_bytes() {
        let visit = walked(&Trial(|| Ok(Outcome::Shown(row())), &[]));
        assert!(visit.seconds < 0.5);
        let json = serde_json::to_value(&visit).unwrap();
        assert_eq!(json["room"], "tiny");
        assert_eq!(json["shown"]["after"], "1 KB");
        assert_eq!(
            json["shown"]["figures"][0],
            serde_json::json!({"name": "plan", "caption": "The plan.", "kind": "png"})
        );
    }

    #[test]
    fn an_error_is_a_failed_visit_and_a_missing_file_a_lacking_one() {
        let failed = walked(&Trial(|| Err("the plan does not fit".into()), &[]));
        assert_eq!(failed.outcome, Outcome::Failed("the plan does not fit".into()));
        let panicked = walked(&Trial(|| panic!("a bug"), &[]));
        assert!(matches!(panicked.outcome, Outcome::Failed(_)));
        let lacking = walked(&Trial(|| Ok(Outcome::Shown(row())), &["sine"]));
        assert!(matches!(lacking.outcome, Outcome::Lacking(how) if how.contains("tersor data get sine")));
    }
}
