//! `get` as a user meets it. Without a network the trials are ignored and say so.

use std::cell::RefCell;
use std::path::PathBuf;

use tersor_data::fetch::{Cache, Progress, get};
use tersor_data::testing::{Failure, Skip, Trials};
use tersor_data::{Error, registry};

fn main() {
    Trials::new()
        .test("a_model_from_a_crate_is_fetched_once_and_verified_again", || {
            let folder = tempfile::tempdir()?;
            let cache = Cache::at(folder.path().join("cache"));
            let path = fetched("sine", &cache)?;
            let entry = registry::entry("sine")?;
            let model = std::fs::read(&path)?;
            assert_eq!(model.len() as u64, entry.size);
            assert_eq!(&model[4..8], b"TFL3");
            assert_eq!(cache.path("sine")?, path);

            let reports = RefCell::new(Vec::new());
            get("sine", &cache, &|progress| reports.borrow_mut().push(format!("{progress:?}")))?;
            assert!(matches!(&reports.borrow()[..], [present] if present.starts_with("Present")), "{reports:?}");

            std::fs::write(&path, vec![0; model.len()])?;
            assert!(matches!(cache.path("sine"), Err(Error::NotFetched { .. })), "a damaged file is not given out");
            assert_eq!(std::fs::read(fetched("sine", &cache)?)?, model);
            cache.path("speech-commands-tiny")?; // came along in the same package
            for kept in std::fs::read_dir(cache.root())? {
                let name = kept?.file_name().into_string().map_err(|name| format!("{name:?}"))?;
                assert!(registry::entry(&name).is_ok(), "{name}: nothing else of the download stays");
            }
            Ok(())
        })
        .test("a_small_file_of_every_manager_arrives", || {
            if std::env::var_os("TERSOR_TEST_DOWNLOADS").is_none() {
                return Err(Skip("downloads 40 MB; set TERSOR_TEST_DOWNLOADS=1".into()).into());
            }
            let folder = tempfile::tempdir()?;
            let cache = Cache::at(folder.path());
            for name in ["person-detect", "alexa", "selfie-segmentation", "fashion-mnist-test-labels"] {
                fetched(name, &cache)?;
            }
            Ok(())
        })
        .test("every_entry_arrives", || {
            if std::env::var_os("TERSOR_TEST_ALL_DOWNLOADS").is_none() {
                return Err(Skip("downloads everything in the registry; set TERSOR_TEST_ALL_DOWNLOADS=1".into()).into());
            }
            let folder = tempfile::tempdir()?;
            for entry in registry::list() {
                fetched(&entry.name, &Cache::at(folder.path()))?;
            }
            Ok(())
        })
        .run()
}

/// The file, or a skip if this machine has no network or not the manager.
fn fetched(name: &str, cache: &Cache) -> Result<PathBuf, Failure> {
    let started = std::time::Instant::now();
    let report = |progress: Progress<'_>| println!("{name}: {:.1} s: {progress:?}", started.elapsed().as_secs_f64());
    get(name, cache, &report).map_err(|error| match error {
        Error::Download { .. } | Error::NoTool { .. } => Skip(error.to_string()).into(),
        other => other.into(),
    })
}
