//! A test vector: inputs of every value, and the outputs that the reference engine gives.

use tersor_data::{Array, Elements};
use tersor_network::reference::Reference;
use tersor_network::{Network, liveness};

use crate::error::Error;
use crate::plan::Plan;
use crate::plan::arena::Executor;

/// What a program is checked with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vector {
    /// Runs, one after the other; of a network with variables, the frames of one stream.
    pub frames: Vec<Frame>,
}

/// One run: bytes as the arena stores them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Of every input.
    pub inputs: Vec<Vec<u8>>,
    /// Of every output.
    pub outputs: Vec<Vec<u8>>,
}

/// Frames of a network that remembers nothing: noise, and something smoother.
const FRAMES: usize = 2;

/// Frames of a stream: enough for what a run leaves behind to reach the output.
const FRAMES_OF_A_STREAM: usize = 8;

impl Vector {
    /// Noise of all values as input, and what the reference engine makes of it. The plan, executed in the arena that watches,
    /// must give the same.
    ///
    /// # Errors
    /// [`Error::Plan`] if the plan reads what is not there, [`Error::Emit`] if it gives something else.
    pub fn new(network: &Network, plan: &Plan) -> Result<Self, Error> {
        let executor = Executor::new(network, plan.clone())?;
        let reference = Reference::prepare(network, Default::default())?;
        let graph = network.main();
        let (stored_inputs, stored_outputs) = (executor.stored_inputs(), executor.stored_outputs());
        let fault = |why: String| Error::Emit { network: network.name.clone(), why };
        let count = if liveness::state_bytes(network) > 0 { FRAMES_OF_A_STREAM } else { FRAMES };
        let mut noise = Noise { state: 0x9e37_79b9, walk: 0 };
        let (mut state, mut arena) = (reference.state(), executor.arena());
        let mut frames = Vec::with_capacity(count);
        for frame in 0..count {
            let inputs = stored_inputs.iter().map(|&t| {
                let tensor = &graph.tensors[t];
                let bytes: Vec<u8> = match frame % 2 {
                    0 => (0..tensor.bytes()).map(|_| noise.byte()).collect(),
                    _ => (0..tensor.bytes()).map(|_| noise.step()).collect(),
                };
                let elements = tensor.element_type().and_then(|kind| Elements::from_le_bytes(kind, &bytes));
                let array = elements.and_then(|e| Array::new(tensor.shape.clone(), e));
                array.ok_or_else(|| fault(format!("input {} is no array", tensor.name)))
            });
            let inputs: Vec<Array> = inputs.collect::<Result<_, _>>()?;
            let feed: Vec<_> = stored_inputs.iter().copied().zip(&inputs).collect();
            let mut expected: Vec<Option<Vec<u8>>> = vec![None; stored_outputs.len()];
            let results = reference.run(&mut state, &feed, |t, array| {
                for (output, _) in stored_outputs.iter().enumerate().filter(|(_, stored)| **stored == t) {
                    expected[output] = Some(array.elements().to_le_bytes());
                }
            })?;
            let outputs = expected.into_iter().zip(&results);
            let outputs: Vec<Vec<u8>> = outputs.map(|(e, r)| e.unwrap_or_else(|| r.elements().to_le_bytes())).collect();
            let planned = executor.run(&mut arena, &inputs.iter().collect::<Vec<_>>())?;
            if planned != outputs {
                return Err(fault("the plan gives other values than the network".into()));
            }
            frames.push(Frame { inputs: inputs.iter().map(|a| a.elements().to_le_bytes()).collect(), outputs });
        }
        Ok(Self { frames })
    }
}

/// Marsaglia's xorshift, 32 bits.
struct Noise {
    state: u32,
    walk: u8,
}

impl Noise {
    fn byte(&mut self) -> u8 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 17;
        self.state ^= self.state << 5;
        (self.state >> 24) as u8
    }

    /// The next value of a random walk, which is closer to pictures and sound.
    fn step(&mut self) -> u8 {
        self.walk = self.walk.wrapping_add(self.byte() % 7).wrapping_sub(3);
        self.walk
    }
}
