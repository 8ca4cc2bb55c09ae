//! ResNets for small pictures (Deep residual learning for image recognition, He et al., CVPR 2016, section 4.2).

use tersor_network::{Network, TensorId};

use super::{Builder, Slide};
use crate::Error;

/// Convolution 3×3 to 16 channels; three stages of `blocks` blocks with 16, 32 and 64 channels, the second and third
/// halving the picture; the mean over positions; linear. Layers are numbered as they stand. There are 6 `blocks` + 2 of
/// them, shortcuts not counted.
pub(super) fn resnet(name: &str, blocks: usize, classes: usize, seed: u64) -> Result<Network, Error> {
    let (net, x) = Builder::new(name, &[3, 32, 32], seed);
    let mut resnet = ResNet { net, layers: 0 };
    let mut x = resnet.unit(x, 16, Slide::centred(3, 1))?;
    x = resnet.net.relu(x)?;
    for (stage, channels) in [16, 32, 64].into_iter().enumerate() {
        for block in 0..blocks {
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            x = resnet.block(x, channels, stride)?;
        }
    }
    let ResNet { mut net, .. } = resnet;
    let x = net.mean(x)?;
    let logits = net.linear(x, "fc1", classes)?;
    Ok(net.finish(logits))
}

struct ResNet {
    net: Builder,
    layers: usize,
}

impl ResNet {
    /// `relu(second(relu(first(x))) + shortcut(x))`; the shortcut is a convolution 1×1 where the shape changes.
    fn block(&mut self, x: TensorId, channels: usize, stride: usize) -> Result<TensorId, Error> {
        let first = self.unit(x, channels, Slide::centred(3, stride))?;
        let first = self.net.relu(first)?;
        let second = self.unit(first, channels, Slide::centred(3, 1))?;
        let passed = if stride > 1 { self.unit(x, channels, Slide::inside(1, stride))? } else { x };
        let sum = self.net.add(second, passed)?;
        self.net.relu(sum)
    }

    fn unit(&mut self, x: TensorId, channels: usize, slide: Slide) -> Result<TensorId, Error> {
        self.layers += 1;
        let number = self.layers;
        let x = self.net.convolution(x, &format!("conv{number}"), channels, 1, slide, false)?;
        self.net.batch_norm(x, &format!("bn{number}"), 1e-5)
    }
}
