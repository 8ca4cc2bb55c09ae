//! Any bytes as a `.onnx`: read both ways, for more images, and written again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tersor_network::float::{Float, Kernel};
use tersor_network::onnx;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(mut file) = onnx::File::from_bytes("fuzz", bytes) {
        for weight in file.weights().collect::<Vec<_>>() {
            let values = file.values(&weight.name).expect("what is listed can be read");
            file.replace(&weight.name, &values).expect("it has as many elements as it has");
        }
        onnx::File::from_bytes("written", &file.to_bytes()).expect("what is written can be read");
    }
    let Ok(network) = onnx::from_bytes("fuzz", bytes) else { return };
    let _ = network.with_batch(3);
    // Prepared, not run: a small file may ask for much work.
    let _ = Float::prepare_within(&network, Kernel::Auto, 4 << 20);
    if let Ok(written) = onnx::write(&network) {
        // At one image a time, which a network made for two may not fit: any answer but a panic.
        let _ = onnx::from_bytes("written", &written);
    }
});
