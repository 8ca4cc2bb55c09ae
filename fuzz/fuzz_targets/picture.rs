//! Any bytes as a PNG, JPEG or BMP.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tersor_data::Picture;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(picture) = Picture::from_bytes("fuzz", bytes) {
        let _ = picture.resized(7, 5);
    }
});
