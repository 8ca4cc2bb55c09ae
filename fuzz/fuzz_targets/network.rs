//! Any bytes as a `.tflite`: read, inspected, prepared, and run on zeros if little memory and work suffice.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tersor_data::{Array, Elements};
use tersor_network::fast::{Fast, Preparation};
use tersor_network::reference::{Options, Reference};
use tersor_network::tflite;

fuzz_target!(|bytes: &[u8]| {
    let Ok(network) = tflite::from_bytes("fuzz", bytes) else { return };
    let inspection = tersor_tiny::inspect::inspect(&network);
    let _ = tersor_tiny::profile::svg(&inspection);
    if let Ok(written) = tflite::to_bytes(&network) {
        tflite::from_bytes("written", &written).expect("what is written can be read");
    }
    let options = Options { memory: 4 << 20, steps: 1 << 20, ..Options::default() };
    let Ok(engine) = Reference::prepare(&network, options) else { return };
    let inputs: Vec<(usize, Array)> = engine
        .inputs()
        .filter_map(|(t, shape, kind)| {
            let zeros = Elements::zeros(kind?, shape.iter().product());
            Some((t, Array::new(shape.to_vec(), zeros)?))
        })
        .collect();
    let feed: Vec<(usize, &Array)> = inputs.iter().map(|(t, array)| (*t, array)).collect();
    let expected = engine.run(&mut engine.state(), &feed, |_, _| ());
    if let Ok(fast) = Fast::prepare(&network, &Preparation { options, ..Preparation::default() }) {
        let got = fast.run(&mut fast.session(), &feed, |_, _| ());
        let bytes = |arrays: Vec<Array>| arrays.iter().map(|a| a.elements().to_le_bytes()).collect::<Vec<_>>();
        assert_eq!(got.ok().map(bytes), expected.ok().map(bytes), "both engines give the same bits");
    }
});
