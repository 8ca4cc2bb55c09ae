//! Any bytes as a file of weights, dense or sparse: read, pruned, written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tersor_compress::granularity::Granularity;
use tersor_compress::model::{Form, Model};
use tersor_compress::plan::{Qualities, Target, plan};

fuzz_target!(|bytes: &[u8]| {
    let Ok(model) = Model::from_bytes("fuzz.safetensors", bytes) else { return };
    let Ok(weights) = model.weights() else { return };
    if let Ok(plan) = plan("fuzz", &weights, Granularity::Element, Target::Sparsity(0.5), &Qualities::new()) {
        let pruned = model.with_values(&plan.applied(&weights).expect("of these weights")).expect("of this model");
        if let Ok(written) = pruned.encode(Form::Sparse) {
            Model::from_bytes("written.safetensors", &written).expect("what is written can be read");
        }
    }
});
