//! The same network for another number of images at a time.

use crate::error::Error;
use crate::graph::{Network, count_elements};
use crate::shape::{self, Operand};

impl Network {
    /// The same network for `n` images at a time: every input's first axis is `n`, and every shape is inferred again.
    ///
    /// # Errors
    /// [`Error::Operator`] naming the first operator whose shape does not follow from its operands, or whose operands
    /// fit the old number of images only; [`Error::Input`] if `n` is 0, an input is a scalar, or the network has
    /// several graphs.
    pub fn with_batch(&self, n: usize) -> Result<Self, Error> {
        let refuse = |why: String| Error::Input { network: self.name.clone(), why };
        let [graph] = self.graphs.as_slice() else {
            return Err(refuse("a network of several graphs keeps its number of images".into()));
        };
        if n == 0 {
            return Err(refuse("a batch of 0 images holds nothing".into()));
        }
        let mut batched = graph.clone();
        for &t in &graph.inputs {
            let tensor = &mut batched.tensors[t];
            let name = &tensor.name;
            *tensor.shape.first_mut().ok_or_else(|| refuse(format!("input {name} is a scalar, without images")))? = n;
            check(&tensor.shape).map_err(refuse)?;
        }
        for (index, node) in graph.nodes.iter().enumerate() {
            let fault = |why: String| Error::Operator {
                network: self.name.clone(),
                within: String::new(),
                index,
                operator: node.operator.name().into(),
                why,
            };
            let tensors = &mut batched.tensors;
            let operand = |t: usize| Operand { shape: &tensors[t].shape, constant: tensors[t].constant.as_deref() };
            let operands: Vec<Option<Operand>> = node.inputs.iter().map(|t| t.map(operand)).collect();
            let shapes = shape::infer_in(self.layout, &node.operator, &operands).map_err(fault)?;
            let shapes = shapes.ok_or_else(|| fault("its shape does not follow from its operands".into()))?;
            if shapes.len() != node.outputs.len() {
                let (has, gives) = (node.outputs.len(), shapes.len());
                return Err(fault(format!("{has} outputs where the operands give {gives}")));
            }
            for (shape, &t) in shapes.into_iter().zip(&node.outputs) {
                check(&shape).map_err(fault)?;
                tensors[t].shape = shape;
            }
        }
        Ok(Self { graphs: vec![batched], ..self.clone() })
    }
}

fn check(shape: &[usize]) -> Result<(), String> {
    count_elements(shape).map(|_| ()).ok_or_else(|| format!("shape {shape:?} takes more than 2^40 bytes"))
}
