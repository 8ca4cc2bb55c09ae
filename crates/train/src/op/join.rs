//! Where kernels over slices join Burn's autodiff: once, for all of them.

use std::fmt::Debug;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::{Autodiff, BackendTensor, DispatchKindConversion, DispatchTensor, Flex};
use burn::tensor::{DType, Shape, Tensor, TensorData};

/// A tensor of f32 that lies in one piece.
#[derive(Debug, Clone)]
pub struct Array(FlexTensor);

impl Array {
    /// Numbers of a shape.
    pub fn new(values: Vec<f32>, shape: impl Into<Shape>) -> Self {
        Self(FlexTensor::from_data(TensorData::new(values, shape.into())))
    }

    /// Its numbers, row by row.
    pub fn values(&self) -> &[f32] {
        let (start, end) = self.0.layout().contiguous_offsets().expect("an array lies in one piece");
        &self.0.storage::<f32>()[start..end]
    }

    /// Its shape.
    pub fn shape(&self) -> &Shape {
        self.0.layout().shape()
    }

    fn of(tensor: FlexTensor) -> Self {
        Self(if tensor.layout().contiguous_offsets().is_some() { tensor } else { tensor.to_contiguous() })
    }

    /// After `kernel` has worked on its numbers: in their place if nobody else holds them, else in a copy.
    pub fn changed<R>(mut self, kernel: impl FnOnce(&mut [f32]) -> R) -> (Self, R) {
        let whole = self.0.storage::<f32>().len() == self.values().len();
        if !whole || !self.0.is_unique() {
            self = Self::new(self.values().to_vec(), self.shape().clone());
        }
        let told = kernel(self.0.storage_mut());
        (self, told)
    }

    fn shaped(self, shape: Shape) -> Self {
        if *self.shape() == shape { self } else { Self(self.0.reshape(shape)) }
    }
}

/// Numbers without a shape yet.
impl From<Vec<f32>> for Array {
    fn from(values: Vec<f32>) -> Self {
        let count = values.len();
        Self::new(values, [count])
    }
}

/// A function of N tensors with its gradient.
pub trait Operation<const N: usize>: Debug + Clone + Send + 'static {
    /// What the way back needs of the way there.
    type Kept: Debug + Clone + Send + 'static;

    /// The output, and what is kept.
    fn forward(&self, inputs: [Array; N]) -> (Array, Self::Kept);

    /// The output alone, where there is no way back.
    fn infer(&self, inputs: [Array; N]) -> Array {
        self.forward(inputs).0
    }

    /// The gradients of the inputs for which one is `wanted`, of any shape, from that of the output.
    fn backward(&self, kept: Self::Kept, gradient: Array, wanted: [bool; N]) -> [Option<Array>; N];
}

/// What an operation takes: the dispatched tensor, associated with autodiff if any input of the operation is.
pub fn input<const D: usize>(tensor: Tensor<D>, tracked: bool) -> DispatchTensor {
    if tracked { tensor.autodiff().into_dispatch() } else { tensor.into_dispatch() }
}

/// Whether our kernels run on `tensor`.
pub fn serves<const D: usize>(tensor: &Tensor<D>, tracked: bool) -> bool {
    let tensor = [input(tensor.clone(), tracked)];
    if tracked {
        primitives::<Autodiff<Flex>, 1>(tensor).is_some_and(|[tensor]| tensor.primitive().dtype() == DType::F32)
    } else {
        primitives::<Flex, 1>(tensor).is_some_and(|[tensor]| tensor.dtype() == DType::F32)
    }
}

/// What `f` says of the numbers of `tensor`, if our kernels run on it.
pub fn read<const D: usize, R>(tensor: &Tensor<D>, tracked: bool, f: impl FnOnce(&[f32]) -> R) -> Option<R> {
    if !serves(tensor, tracked) {
        return None;
    }
    let plain = if tensor.is_autodiff() { tensor.clone().inner() } else { tensor.clone() };
    plain.try_into_primitive::<Flex>().ok().map(|tensor| f(Array::of(tensor).values()))
}

/// Applies an operation; `None` where our kernels do not run: on another backend than Flex, on other numbers than f32, or
/// with checkpoints of gradients. There Burn's own operations serve.
pub fn apply<O: Operation<N>, const N: usize>(
    operation: O,
    inputs: [DispatchTensor; N],
    tracked: bool,
) -> Option<DispatchTensor> {
    if tracked {
        let inputs = primitives::<Autodiff<Flex>, N>(inputs)?;
        let shapes = inputs.each_ref().map(|input| input.primitive().layout().shape().clone());
        if inputs.iter().any(|input| input.primitive().dtype() != DType::F32) {
            return None;
        }
        let (tensors, nodes): (Vec<_>, Vec<_>) = inputs.into_iter().map(|input| input.into_parts()).unzip();
        let Ok(nodes) = nodes.try_into() else { unreachable!("as many nodes as inputs") };
        let Ok(tensors) = <[FlexTensor; N]>::try_from(tensors) else { unreachable!("as many tensors as inputs") };
        let (output, kept) = operation.forward(tensors.map(Array::of));
        let output =
            match Joined::<O>(std::marker::PhantomData).prepare::<NoCheckpointing>(nodes).compute_bound().stateful() {
                OpsKind::Tracked(prepared) => prepared.finish(State { operation, kept, shapes }, output.0),
                OpsKind::UnTracked(prepared) => prepared.finish(output.0),
            };
        return Some(<DispatchTensor as DispatchKindConversion<Autodiff<Flex>>>::from_backend(BackendTensor::Float(
            output,
        )));
    }
    let inputs = primitives::<Flex, N>(inputs)?;
    if inputs.iter().any(|input| input.dtype() != DType::F32) {
        return None;
    }
    let output = operation.infer(inputs.map(Array::of));
    Some(<DispatchTensor as DispatchKindConversion<Flex>>::from_backend(BackendTensor::Float(output.0)))
}

fn primitives<B: burn::backend::Backend, const N: usize>(
    inputs: [DispatchTensor; N],
) -> Option<[B::FloatTensorPrimitive; N]>
where
    DispatchTensor: DispatchKindConversion<B>,
{
    let primitive = |input| match <DispatchTensor as DispatchKindConversion<B>>::try_into_backend(input) {
        Ok(BackendTensor::Float(tensor)) => Some(tensor),
        _ => None,
    };
    let all: Option<Vec<_>> = inputs.into_iter().map(primitive).collect();
    all?.try_into().ok()
}

/// Changes tensors in place by a kernel that reads another one; or `otherwise`, where our kernels do not run.
pub fn changed<const D: usize, const N: usize>(
    tensors: [Tensor<D>; N],
    other: Tensor<D>,
    kernel: impl FnOnce([&mut [f32]; N], &[f32]),
    otherwise: impl FnOnce([Tensor<D>; N], Tensor<D>) -> [Tensor<D>; N],
) -> [Tensor<D>; N] {
    let ours = |tensor: &Tensor<D>| {
        let flex = tensor.clone().try_into_primitive::<Flex>();
        flex.is_ok_and(|tensor| tensor.dtype() == DType::F32)
    };
    if !tensors.iter().chain([&other]).all(ours) {
        return otherwise(tensors, other);
    }
    let primitive = |tensor: Tensor<D>| {
        let tensor = tensor.try_into_primitive::<Flex>().expect("it was Flex's just now");
        Array::of(tensor)
    };
    let mut tensors = tensors.map(primitive);
    // What starts behind others in its storage is copied; a parameter does not.
    let whole = |array: &mut Array| {
        if array.0.storage::<f32>().len() != array.values().len() {
            *array = Array::new(array.values().to_vec(), array.shape().clone());
        }
    };
    tensors.iter_mut().for_each(whole);
    kernel(tensors.each_mut().map(|array| array.0.storage_mut::<f32>()), primitive(other).values());
    tensors.map(|array| Tensor::from_primitive::<Flex>(array.0))
}

/// An operation as a step back through the graph.
#[derive(Debug)]
struct Joined<O>(std::marker::PhantomData<O>);

#[derive(Debug, Clone)]
struct State<O, K, const N: usize> {
    operation: O,
    kept: K,
    shapes: [Shape; N],
}

impl<O: Operation<N>, const N: usize> Backward<Flex, N> for Joined<O> {
    type State = State<O, O::Kept, N>;

    fn backward(self, ops: Ops<Self::State, N>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = Array::of(grads.consume::<Flex>(&ops.node));
        let State { operation, kept, shapes } = ops.state;
        let wanted = ops.parents.each_ref().map(Option::is_some);
        let gradients = operation.backward(kept, gradient, wanted);
        for ((parent, gradient), shape) in ops.parents.into_iter().zip(gradients).zip(shapes) {
            if let (Some(parent), Some(gradient)) = (parent, gradient) {
                grads.register::<Flex>(parent.id, gradient.shaped(shape).0);
            }
        }
    }
}
