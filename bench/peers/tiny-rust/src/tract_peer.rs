//! tract: read the .tflite, declutter and optimise, run the plan.
//!
//! tract 0.23.9 has neither QUANTIZE nor DEQUANTIZE and refuses ADD of two int8 tensors with different scales, which
//! leaves plain chains. It runs those and answers something else than every other peer (MLPerf Tiny's autoencoder: the output's
//! zero point everywhere, whatever the input), with and without its optimiser. `crc32` shows it: read its times as the
//! cost of that answer.

use std::path::Path;

use anyhow::bail;
use tract_tflite::internal::*;

use crate::{Network, sample};

struct Tract {
    state: TypedSimpleState,
    inputs: TVec<TValue>,
}

/// # Errors
/// If tract lacks an operator of the model, or the sample does not fit it.
pub fn open(model: &Path, input: Option<&Path>, threads: usize) -> anyhow::Result<Box<dyn Network>> {
    let mut options = RunOptions::default();
    if threads > 1 {
        options.executor = Some(multithread::Executor::multithread(threads));
    }
    let plan = tract_tflite::tflite().model_for_path(model)?.into_optimized()?.into_runnable_with_options(&options)?;
    let mut inputs = tvec![];
    for &outlet in plan.model().input_outlets()? {
        let fact = plan.model().outlet_fact(outlet)?;
        let Some(shape) = fact.shape.as_concrete() else { bail!("an input of unknown shape") };
        let kind = match fact.datum_type.unquantized() {
            DatumType::I8 => "i1",
            DatumType::U8 => "u1",
            DatumType::F32 => "f4",
            other => bail!("an input of type {other:?}"),
        };
        let bytes = sample::bytes(input, kind, shape)?;
        // SAFETY: any bit pattern is a value of these three types, and `sample::bytes` gave the shape's length.
        let tensor = unsafe { Tensor::from_raw_dt(fact.datum_type, shape, &bytes)? };
        inputs.push(tensor.into_tvalue());
    }
    Ok(Box::new(Tract { state: plan.spawn()?, inputs }))
}

impl Network for Tract {
    fn run(&mut self) -> anyhow::Result<()> {
        self.state.run(self.inputs.clone())?; // clones references, not values
        Ok(())
    }

    fn outputs(&mut self) -> anyhow::Result<Vec<Vec<u8>>> {
        let outputs = self.state.run(self.inputs.clone())?;
        Ok(outputs.iter().map(|tensor| tensor.as_bytes().to_vec()).collect())
    }
}
