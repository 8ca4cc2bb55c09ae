//! Data-driven tests whose missing files are counted, not overlooked.
//!
//! For integration tests with `harness = false`. A trial whose file is absent becomes an *ignored* one, so that the
//! summary counts it, and its name says what it lacks:
//!
//! ```no_run
//! use tersor_data::{npz, testing, testing::Trials};
//!
//! fn main() {
//!     Trials::new()
//!         .needs(&["tiny/golden_ad.npz"])
//!         .test("reads_the_golden_arrays", || {
//!             let golden = npz::open(testing::file("tiny/golden_ad.npz")?)?;
//!             assert!(!golden.names().is_empty());
//!             Ok(())
//!         })
//!         .run()
//! }
//! ```

use std::alloc::{GlobalAlloc, Layout, System};
use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Completion, Failed, Trial};

use crate::fetch::{self, Cache};
use crate::shared;

/// What a test's body fails with: `?` turns any error, a `String` or a `&str` into it.
pub type Failure = Box<dyn Error + Send + Sync>;

/// A failure that means "cannot be tried here" (no network, no device): the test counts as ignored.
#[derive(Debug, thiserror::Error)]
#[error("SKIP: {0}")]
pub struct Skip(pub String);

/// A folder for a test, and names in it; it goes with the value.
pub struct Folder(tempfile::TempDir);

impl Folder {
    /// An empty folder.
    ///
    /// # Errors
    /// If none can be made.
    pub fn new() -> Result<Self, Failure> {
        Ok(Self(tempfile::tempdir()?))
    }

    /// Where a file of that name lies, or would.
    pub fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn with(&self, name: &str, text: &str) -> Result<PathBuf, Failure> {
        fs::write(self.at(name), text)?;
        Ok(self.at(name))
    }

    /// What is in it, sorted.
    ///
    /// # Errors
    /// If it cannot be listed.
    pub fn names(&self) -> Result<Vec<String>, Failure> {
        let mut names = fs::read_dir(self.0.path())?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect::<Result<Vec<_>, Failure>>()?;
        names.sort();
        Ok(names)
    }
}

/// The development file `relative`, as in [`shared::file`]; its absence is a failure, for tests that [need](Trials::needs)
/// it.
///
/// # Errors
/// A sentence that names the file.
pub fn file(relative: &str) -> Result<PathBuf, Failure> {
    shared::file(relative).ok_or_else(|| format!("{relative} is absent").into())
}

/// The file of the registry's entry `name`, downloaded if need be; a [`Skip`] if it cannot be had here.
///
/// # Errors
/// As [`fetch::get`].
pub fn fetched(name: &str) -> Result<PathBuf, Failure> {
    fetch::get(name, &Cache::new()?, &|_| ()).map_err(|error| match error {
        crate::Error::Download { .. } | crate::Error::NoTool { .. } => {
            Skip(format!("{name} could not be had: {error}")).into()
        }
        other => other.into(),
    })
}

/// The system's allocator, counting the bytes held, so that a test can bound them: make it the test program's own with
/// `#[global_allocator] static ALLOCATOR: Counting = Counting;`.
pub struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// The most time that reading or refusing a hostile file may take.
pub const MOST_TIME: Duration = Duration::from_secs(1);
/// The most memory that it may take, in bytes.
pub const MOST_BYTES: usize = 256 << 20;

/// What `work` gives, which must keep to [`MOST_TIME`] and [`MOST_BYTES`], as [`Counting`] counts them; `what` names it.
pub fn within_limits<T>(what: impl Fn() -> String, work: impl FnOnce() -> T) -> T {
    let ((result, took), used) = peak_bytes(|| {
        let start = Instant::now();
        (work(), start.elapsed())
    });
    assert!(took < MOST_TIME, "{} took {took:?}", what());
    assert!(used < MOST_BYTES, "{} took {used} bytes", what());
    result
}

/// What `work` gives, and the most bytes that it held at once, as [`Counting`] counts them.
pub fn peak_bytes<T>(work: impl FnOnce() -> T) -> (T, usize) {
    // One at a time: the peak is the whole process's.
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let before = HELD.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let result = work();
    (result, PEAK.load(Ordering::Relaxed).saturating_sub(before))
}

// SAFETY: every call is handed to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(held, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the pointer came from `alloc` above, with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

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
