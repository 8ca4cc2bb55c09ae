//! Networks that are built here, untrained, and how each is usually trained.

mod builder;
pub mod efficientnet;
mod lenet;
mod resnet;
mod vgg;

use tersor_network::Network;

use crate::Error;

pub use builder::{Builder, Slide};

/// A network that is known by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Architecture {
    /// 784-300-100-10, 266,200 weights (Gradient-based learning applied to document recognition, LeCun et al., 1998).
    LeNet300,
    /// Two convolutions 5×5 with 20 and 50 channels, linear 500 and 10: 430,500 weights, as in the pruning paper.
    LeNet5,
    /// A VGG-type network for 32×32 pictures: six convolutions 3×3 with 32, 32, 64, 64, 128, 128 channels and batch
    /// norm, three poolings, linear 256 and 10.
    Vgg,
    /// ResNet-8: one block in each of the three stages, as in MLPerf Tiny.
    ResNet8,
    /// ResNet-20 with batch norm (He et al., CVPR 2016, section 4.2; projections where channels change).
    ResNet20,
}

impl Architecture {
    /// All that there are.
    pub const ALL: [Self; 5] = [Self::LeNet300, Self::LeNet5, Self::Vgg, Self::ResNet8, Self::ResNet20];

    /// As the command line writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::LeNet300 => "lenet-300-100",
            Self::LeNet5 => "lenet-5",
            Self::Vgg => "vgg",
            Self::ResNet8 => "resnet-8",
            Self::ResNet20 => "resnet-20",
        }
    }

    /// The architecture of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|architecture| architecture.name() == name)
    }

    /// Channels, height and width of its pictures.
    pub fn picture(self) -> [usize; 3] {
        match self {
            Self::LeNet300 | Self::LeNet5 => [1, 28, 28],
            Self::Vgg | Self::ResNet8 | Self::ResNet20 => [3, 32, 32],
        }
    }

    /// The network with initial weights drawn from `seed`.
    ///
    /// # Errors
    /// None in practice: [`Error::Operator`] would be a fault of the architecture.
    pub fn build(self, classes: usize, seed: u64) -> Result<Network, Error> {
        match self {
            Self::LeNet300 => lenet::lenet_300_100(classes, seed),
            Self::LeNet5 => lenet::lenet_5(classes, seed),
            Self::Vgg => vgg::vgg(classes, seed),
            Self::ResNet8 => resnet::resnet(self.name(), 1, classes, seed),
            Self::ResNet20 => resnet::resnet(self.name(), 3, classes, seed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::weights_of;

    #[test]
    fn they_have_the_weights_of_their_papers() {
        let count = |architecture: Architecture| -> usize {
            weights_of(&architecture.build(10, 1).unwrap()).iter().map(|weight| weight.values.len()).sum()
        };
        assert_eq!(count(Architecture::LeNet300), 266_200);
        assert_eq!(count(Architecture::LeNet5), 430_500);
        assert_eq!(count(Architecture::ResNet8), 432 + 2 * 2_304 + 4_608 + 9_216 + 512 + 18_432 + 36_864 + 2_048 + 640);
        // 0.27 million in the paper; projections are 2,560 of them.
        assert_eq!(count(Architecture::ResNet20), 270_896);
        assert_eq!(
            count(Architecture::Vgg),
            9 * (3 * 32 + 32 * 32 + 32 * 64 + 64 * 64 + 64 * 128 + 128 * 128) + 2048 * 256 + 2560
        );
    }
}
