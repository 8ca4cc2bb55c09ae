//! The two LeNets of the pruning paper.

use tersor_network::Network;

use super::{Builder, Slide};
use crate::Error;

/// Linear 300, 100 and `classes`, ReLU between them. The input is `[1, 28, 28]`.
pub(super) fn lenet_300_100(classes: usize, seed: u64) -> Result<Network, Error> {
    let (mut net, x) = Builder::new("lenet-300-100", &[1, 28, 28], seed);
    let mut x = net.flatten(x)?;
    for (name, width) in [("fc1", 300), ("fc2", 100)] {
        x = net.linear(x, name, width)?;
        x = net.relu(x)?;
    }
    let logits = net.linear(x, "fc3", classes)?;
    Ok(net.finish(logits))
}

/// Convolutions 5×5 of 20 and 50 channels, each followed by the largest of 2×2; linear 500, ReLU, and `classes`.
pub(super) fn lenet_5(classes: usize, seed: u64) -> Result<Network, Error> {
    let (mut net, mut x) = Builder::new("lenet-5", &[1, 28, 28], seed);
    for (name, channels) in [("conv1", 20), ("conv2", 50)] {
        x = net.convolution(x, name, channels, 1, Slide::inside(5, 1), true)?;
        x = net.max_pool(x, Slide::inside(2, 2))?;
    }
    x = net.flatten(x)?;
    x = net.linear(x, "fc1", 500)?;
    x = net.relu(x)?;
    let logits = net.linear(x, "fc2", classes)?;
    Ok(net.finish(logits))
}
