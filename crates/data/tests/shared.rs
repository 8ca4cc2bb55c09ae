//! The readers against real files that NumPy and cameras wrote.

use tersor_data::testing::Trials;
use tersor_data::{Error, Picture, npy, npz, shared};

fn main() {
    Trials::new()
        .needs(&["generation/lfw_subset_u8.npy"])
        .test("numpys_own_npy_reads", || {
            let faces = npy::read(shared::file("generation/lfw_subset_u8.npy").ok_or("absent")?)?;
            assert!(faces.elements().as_u8().is_some_and(|bytes| bytes.iter().any(|&b| b > 0)), "{:?}", faces.shape());
            Ok(())
        })
        .needs(&["tiny", "generation", "distributed", "graph", "grid", "llm", "park", "video", "vision"])
        .test("every_npz_there_reads_or_names_its_dtype", || {
            let (mut arrays, mut refused) = (0, 0);
            for path in files_ending(".npz")? {
                let npz = npz::open(&path)?;
                for (name, array) in npz.arrays() {
                    match array {
                        Ok(_) => arrays += 1,
                        Err(Error::Dtype { .. }) => refused += 1,
                        Err(error) => return Err(format!("{name}: {error}").into()),
                    }
                }
            }
            println!("{arrays} arrays read, {refused} of strings or records refused");
            assert!(arrays > 100);
            Ok(())
        })
        .needs(&["generation/church_original.png"])
        .test("a_photograph_reads_and_resizes", || {
            let picture = Picture::read(shared::file("generation/church_original.png").ok_or("absent")?)?;
            let small = picture.resized(96, 96);
            assert_eq!(small.grey().len(), 96 * 96);
            // Stretching keeps the mean brightness.
            let mean = |grey: Vec<u8>| grey.iter().map(|&y| f64::from(y)).sum::<f64>() / grey.len() as f64;
            assert!((mean(small.grey()) - mean(picture.grey())).abs() < 3.0);
            Ok(())
        })
        .run()
}

/// Every development file of this suffix, largest ones left out so that the test stays quick.
fn files_ending(suffix: &str) -> std::io::Result<Vec<std::path::PathBuf>> {
    let mut folders = vec![shared::root()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for file in std::fs::read_dir(folder)? {
            let file = file?;
            let data = file.metadata()?;
            if data.is_dir() {
                folders.push(file.path());
            } else if file.file_name().to_string_lossy().ends_with(suffix) && data.len() < 32 << 20 {
                files.push(file.path());
            }
        }
    }
    Ok(files)
}
