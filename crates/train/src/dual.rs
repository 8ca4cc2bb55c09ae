//! Dual numbers over tensors: the gradient of a function of gradients, with first-order autodiff alone.
//!
//! Whoever matches gradients (does this picture explain that gradient?) or learns through a training step needs
//! `∇ₓ φ(G)`, where `G = ∇_W L(x, W)` is itself a gradient. Burn records no backward pass, so it cannot be
//! differentiated a second time. It need not be: with `V = ∂φ/∂G` held constant,
//!
//! ```text
//! ∇ₓ φ(∇_W L(x, W)) = ∇ₓ ⟨∇_W L(x, W), V⟩ = ∇ₓ L̇,    L̇ = d/dε L(x, W + εV) at ε = 0.
//! ```
//!
//! `L̇` is the tangent of the loss when every weight carries the tangent `V`: a forward pass over [`Dual`] numbers. One
//! ordinary backward pass from `L̇` gives the gradient with respect to the inputs, and, with respect to the weights,
//! the product `∇²L V` of the Hessian with the direction. No convolution's backward is ever differentiated: a dual
//! needs product rules only.
//!
//! Source: the matching of gradients of Deep Leakage from Gradients (NeurIPS 2019), in forward-over-reverse form. Cost:
//! an operation on duals takes two to three plain ones; on that paper's LeNet a slope with its gradients takes 1.2
//! times an ordinary gradient (2.5 against 2.1 ms). A tangent that is zero is `None` and costs nothing.
//!
//! A loss is written once, over an [`Arithmetic`], and runs on plain tensors and on duals:
//!
//! ```
//! use burn::tensor::{Device, Tensor};
//! use tersor_train::dual::{Arithmetic, Leaf, Leaves, Loss, gradient, slope};
//!
//! /// A layer with tanh, and cross entropy with soft labels.
//! struct Layer;
//!
//! impl Loss for Layer {
//!     fn of<A: Arithmetic>(&self, leaves: &mut Leaves<A>) -> A::Of<1> {
//!         let (x, y) = (leaves.next::<2>(), leaves.next::<2>());
//!         let (weight, bias) = (leaves.next::<2>(), leaves.next::<1>());
//!         A::cross_entropy(A::tanh(A::linear(x, weight, Some(bias))), y)
//!     }
//! }
//!
//! let device = Device::flex();
//! let x = Tensor::<2>::from_floats([[0.3, -0.7, 0.5]], &device);
//! let y = Tensor::<2>::from_floats([[1.0, 0.0]], &device);
//! let weight = Tensor::<2>::from_floats([[0.1, 0.4], [-0.3, 0.2], [0.6, -0.5]], &device);
//! let bias = Tensor::<1>::from_floats([0.0, 0.1], &device);
//! let leaves = [Leaf::new(x), Leaf::new(y), Leaf::new(weight), Leaf::new(bias)];
//!
//! // φ(G) = ‖G‖², so V = 2G; how does φ change with the input and with the label?
//! let first = gradient(&Layer, &leaves, 2..);
//! let mut direction = vec![None, None];
//! direction.extend(first.gradients.into_iter().map(|g| Some(g.map(|values| values * 2.0))));
//! let second = slope(&Layer, &leaves, &direction, ..2);
//! assert_eq!(second.gradients[0].shape(), [1, 3]);
//! ```
//!
//! The map: `arithmetic` (what a model may compute), `plain` and `rules` (the two ways to compute it), `direction`
//! ([`gradient`] and [`slope`]).

mod arithmetic;
mod direction;
mod plain;
mod rules;

#[cfg(test)]
mod tests;

use burn::tensor::Tensor;

pub use arithmetic::Arithmetic;
pub use direction::{Gradient, Leaf, Leaves, Loss, Slope, gradient, slope};
pub use plain::Plain;
pub use rules::Duals;

/// A tensor and how it changes: `value + ε·tangent`, with `ε² = 0`.
#[derive(Debug, Clone)]
pub struct Dual<const D: usize> {
    /// The tensor itself.
    pub value: Tensor<D>,
    /// Its derivative in the direction, of the same shape; `None` is zero.
    pub tangent: Option<Tensor<D>>,
}
