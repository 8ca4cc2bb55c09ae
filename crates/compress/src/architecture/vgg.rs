//! A VGG-type network for small pictures (Very deep convolutional networks, Simonyan and Zisserman, ICLR 2015), as wide
//! as a CPU trains in minutes.

use tersor_network::Network;

use super::{Builder, Slide};
use crate::Error;

/// Pairs of convolutions 3×3 with batch norm and ReLU, each pair followed by the largest of 2×2; linear 256, `classes`.
pub(super) fn vgg(classes: usize, seed: u64) -> Result<Network, Error> {
    let (mut net, mut x) = Builder::new("vgg", &[3, 32, 32], seed);
    for (index, channels) in [32, 32, 64, 64, 128, 128].into_iter().enumerate() {
        let name = index + 1;
        x = net.convolution(x, &format!("conv{name}"), channels, 1, Slide::centred(3, 1), false)?;
        x = net.batch_norm(x, &format!("bn{name}"), 1e-5)?;
        x = net.relu(x)?;
        if index % 2 == 1 {
            x = net.max_pool(x, Slide::inside(2, 2))?;
        }
    }
    x = net.flatten(x)?;
    x = net.linear(x, "fc1", 256)?;
    x = net.relu(x)?;
    let logits = net.linear(x, "fc2", classes)?;
    Ok(net.finish(logits))
}
