//! Data-driven tests whose missing files are counted, not overlooked.
//!
//! For integration tests with `harness = false`. A trial whose file is absent becomes an *ignored* one, so that the
//! summary counts it, and its name says what it lacks:
//!
//! ```no_run
//! use tersor_data::{npz, shared, testing::Trials};
//!
//! fn main() {
//!     Trials::new()
//!         .needs(&["tiny/golden_ad.npz"])
//!         .test("reads_the_golden_arrays", || {
//!             let golden = npz::open(shared::file("tiny/golden_ad.npz").ok_or("absent")?)?;
//!             assert!(!golden.names().is_empty());
//!             Ok(())
//!         })
//!         .run()
//! }
//! ```

use std::error::Error;

use libtest_mimic::{Arguments, Completion, Failed, Trial};

use crate::shared;

/// What a test's body fails with: `?` turns any error, a `String` or a `&str` into it.
pub type Failure = Box<dyn Error + Send + Sync>;

/// A failure that means "cannot be tried here" (no network, no device): the test counts as ignored.
#[derive(Debug, thiserror::Error)]
#[error("SKIP: {0}")]
pub struct Skip(pub String);

/// A list of trials, each with the files that it needs.
#[derive(Default)]
pub struct Trials {
    trials: Vec<Trial>,
    missing: Vec<String>,
}

impl Trials {
    /// No trials yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The development files that the following tests need, up to the next call; paths as in [`shared::file`].
    pub fn needs(mut self, files: &[&str]) -> Self {
        self.missing = files.iter().filter(|file| shared::file(file).is_none()).map(|&file| file.to_owned()).collect();
        self
    }

    /// A test; it fails on an error or a panic, and is ignored on [`Skip`] or if a needed file is absent.
    pub fn test(mut self, name: &str, body: impl FnOnce() -> Result<(), Failure> + Send + 'static) -> Self {
        self.trials.push(if self.missing.is_empty() {
            Trial::ignorable_test(name, move || match body() {
                Ok(()) => Ok(Completion::Completed),
                Err(failure) if failure.is::<Skip>() => Ok(Completion::ignored_with(failure)),
                Err(failure) => Err(Failed::from(failure)),
            })
        } else {
            let needs = format!("needs {}", self.missing.join(", "));
            // If asked to run ignored trials too, this one fails: it cannot pass without its files.
            Trial::test(format!("{name} SKIP: {needs}"), move || Err(Failed::from(needs))).with_ignored_flag(true)
        });
        self
    }

    /// Runs the trials as the command line asks and ends the process: 0 if none failed, 101 otherwise.
    pub fn run(self) -> ! {
        let arguments = Arguments::from_args();
        if !arguments.list {
            for trial in self.trials.iter().filter(|trial| trial.has_ignored_flag()) {
                println!("{}", trial.name()); // a terse run shows no names
            }
        }
        libtest_mimic::run(&arguments, self.trials).exit()
    }
}
