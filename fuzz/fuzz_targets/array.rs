//! Any bytes as an `.npy` and as an `.npz`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tersor_data::{npy, npz};

fuzz_target!(|bytes: &[u8]| {
    let _ = npy::from_bytes("fuzz.npy", bytes);
    if let Ok(archive) = npz::from_bytes("fuzz.npz", bytes.to_vec()) {
        archive.arrays().for_each(drop);
    }
});
