//! First-order gradients of a loss, and gradients of its slope in a direction.

use std::ops::{Bound, RangeBounds};
use std::vec;

use burn::tensor::{Gradients, Tensor};

use super::{Arithmetic, Dual, Duals, Plain};

/// A tensor of any rank that a loss depends on: an input, a label, a weight; or a gradient with respect to one.
#[derive(Debug, Clone)]
pub struct Leaf {
    values: Tensor<1>,
    shape: Vec<usize>,
}

impl Leaf {
    /// A tensor without its past.
    pub fn new<const D: usize>(tensor: Tensor<D>) -> Self {
        let shape = tensor.dims();
        Self { values: tensor.inner().reshape([shape.iter().product::<usize>()]), shape: shape.to_vec() }
    }

    /// Values in row-major order, without their past, in a shape whose rank may be known at run time only.
    ///
    /// # Panics
    /// If their number is not the shape's.
    pub fn shaped(values: Tensor<1>, shape: &[usize]) -> Self {
        assert_eq!(values.dims(), [shape.iter().product::<usize>()], "as many values as a leaf of shape {shape:?} has");
        Self { values: values.inner(), shape: shape.to_vec() }
    }

    /// The sizes of the axes.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// All values in row-major order.
    pub fn values(&self) -> Tensor<1> {
        self.values.clone()
    }

    /// The tensor in its shape.
    ///
    /// # Panics
    /// If it has another rank.
    pub fn tensor<const D: usize>(&self) -> Tensor<D> {
        self.values().reshape(ranked::<D>(&self.shape))
    }

    /// Other values of the same shape, made of these.
    ///
    /// # Panics
    /// If the number of values changes.
    pub fn map(&self, f: impl FnOnce(Tensor<1>) -> Tensor<1>) -> Self {
        let values = f(self.values()).inner();
        assert_eq!(values.dims(), self.values.dims(), "a leaf keeps its shape");
        Self { values, shape: self.shape.clone() }
    }

    fn zeros_like(&self) -> Self {
        self.map(|values| values.zeros_like())
    }
}

fn ranked<const D: usize>(shape: &[usize]) -> [usize; D] {
    shape.try_into().unwrap_or_else(|_| panic!("a leaf of shape {shape:?} is no tensor of rank {D}"))
}

/// The leaves of a loss, handed out in their order.
pub struct Leaves<A: Arithmetic> {
    rest: vec::IntoIter<(A::Of<1>, Vec<usize>)>,
}

impl<A: Arithmetic> Leaves<A> {
    /// The next leaf.
    ///
    /// # Panics
    /// If there is none, or if its rank is not `D`.
    #[allow(clippy::should_implement_trait)] // generic in the rank, and no Option: a loss knows its leaves
    pub fn next<const D: usize>(&mut self) -> A::Of<D> {
        let (values, shape) = self.rest.next().expect("the loss asks for more leaves than it was given");
        A::reshape(values, ranked::<D>(&shape))
    }

    /// How many are left.
    pub fn left(&self) -> usize {
        self.rest.len()
    }
}

/// A function of leaves with one value, written once for plain tensors and duals.
///
/// What is no number to differentiate (tokens, strides) belongs to the value that implements it.
pub trait Loss {
    /// The loss, of shape `[1]`.
    fn of<A: Arithmetic>(&self, leaves: &mut Leaves<A>) -> A::Of<1>;
}

/// What [`gradient`] found.
#[derive(Debug, Clone)]
pub struct Gradient {
    /// The loss.
    pub loss: f64,
    /// Its gradients with respect to the wanted leaves, in their order and shapes.
    pub gradients: Vec<Leaf>,
}

/// What [`slope`] found.
#[derive(Debug, Clone)]
pub struct Slope {
    /// The loss `L`.
    pub loss: f64,
    /// `L̇ = ⟨∇L, V⟩`, its derivative in the direction.
    pub slope: f64,
    /// Gradients of `L̇` with respect to the wanted leaves. For leaves without a direction this is
    /// `∇ₓ ⟨∇_W L, V⟩`; for those with one the Hessian times the direction.
    pub gradients: Vec<Leaf>,
}

/// The loss and its gradients with respect to the leaves in the range `wanted`.
///
/// # Panics
/// If the loss asks for other leaves than these.
pub fn gradient(loss: &impl Loss, leaves: &[Leaf], wanted: impl RangeBounds<usize>) -> Gradient {
    let tracked = tracked(leaves, &wanted);
    let rest: Vec<_> = leaves.iter().zip(&tracked).map(|(leaf, t)| (t.clone(), leaf.shape.clone())).collect();
    let value = loss.of(&mut Leaves::<Plain> { rest: rest.into_iter() });
    Gradient { loss: scalar(&value), gradients: backward(Some(value), leaves, &tracked) }
}

/// The slope of the loss in a direction, and its gradients with respect to the leaves in the range `wanted`.
///
/// `direction`: for each leaf how it changes, in its shape; `None` stays.
///
/// # Panics
/// If the loss asks for other leaves than these, or if the direction does not fit them.
pub fn slope(loss: &impl Loss, leaves: &[Leaf], direction: &[Option<Leaf>], wanted: impl RangeBounds<usize>) -> Slope {
    assert_eq!(direction.len(), leaves.len(), "a direction has one entry for each leaf");
    let tracked = tracked(leaves, &wanted);
    let mut rest = Vec::with_capacity(leaves.len());
    for (index, (leaf, value)) in leaves.iter().zip(&tracked).enumerate() {
        let tangent = direction[index].as_ref().map(|v| {
            assert_eq!(v.shape, leaf.shape, "the direction of leaf {index} has the leaf's shape");
            v.values()
        });
        rest.push((Dual { value: value.clone(), tangent }, leaf.shape.clone()));
    }
    let Dual { value, tangent } = loss.of(&mut Leaves::<Duals> { rest: rest.into_iter() });
    Slope {
        loss: scalar(&value),
        slope: tangent.as_ref().map_or(0.0, scalar),
        gradients: backward(tangent, leaves, &tracked),
    }
}

/// The values of the leaves; those in the range ask for their gradients.
fn tracked(leaves: &[Leaf], wanted: &impl RangeBounds<usize>) -> Vec<Tensor<1>> {
    let end = match wanted.end_bound() {
        Bound::Included(&end) => end + 1,
        Bound::Excluded(&end) => end,
        Bound::Unbounded => leaves.len(),
    };
    assert!(end <= leaves.len(), "gradients of {end} leaves are wanted, there are {}", leaves.len());
    let ask = |(index, leaf): (usize, &Leaf)| {
        let values = leaf.values();
        if wanted.contains(&index) { values.autodiff().require_grad() } else { values }
    };
    leaves.iter().enumerate().map(ask).collect()
}

/// Gradients of `result` with respect to the tracked leaves; zeros where it does not depend on them.
fn backward(result: Option<Tensor<1>>, leaves: &[Leaf], tracked: &[Tensor<1>]) -> Vec<Leaf> {
    let gradients: Option<Gradients> = result.filter(Tensor::is_tracked).map(|result| result.backward());
    let wanted = leaves.iter().zip(tracked).filter(|(_, t)| t.is_require_grad());
    let found = |(leaf, tracked): (&Leaf, &Tensor<1>)| {
        let gradient = gradients.as_ref().and_then(|all| tracked.grad(all));
        gradient.map_or_else(|| leaf.zeros_like(), |gradient| leaf.map(|_| gradient))
    };
    wanted.map(found).collect()
}

fn scalar(value: &Tensor<1>) -> f64 {
    value.clone().into_scalar::<f64>()
}
