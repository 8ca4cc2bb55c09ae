//! How gradients change weights: optimisers behind one choice, clipping, and their state by parameter name.

use std::collections::BTreeMap;
use std::path::Path;

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::optim::{GradientsParams, ModuleOptimizer, OptimizerRecord};
use burn::tensor::{Bytes, Shape, Tensor, TensorData};
use burn_pack::{Reader, Scalar, Writer};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::op::step;
use crate::weights::{Tensors, told};

/// Which optimiser, with its constants. The learning rate is the schedule's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Choice {
    /// Stochastic gradient descent with momentum: `v ← μ v + g + λ w`, `w ← w − η v` (Nesterov: `w − η (g + μ v)`).
    ///
    /// Source: On the importance of initialization and momentum (Sutskever et al., ICML 2013), without dampening.
    Sgd {
        /// `μ`, in [0, 1).
        momentum: f64,
        /// Whether the step looks ahead.
        nesterov: bool,
        /// `λ`, at least 0, added to the gradient.
        weight_decay: f64,
    },
    /// Adam (Kingma and Ba, ICLR 2015, algorithm 1).
    Adam {
        /// `β₁`, in [0, 1).
        beta_1: f64,
        /// `β₂`, in [0, 1).
        beta_2: f64,
        /// `ε`, above 0.
        epsilon: f64,
        /// `λ`, at least 0, added to the gradient.
        weight_decay: f64,
    },
    /// Adam with decoupled decay: `w ← (1 − η λ) w − η m̂ / (√v̂ + ε)` (Loshchilov and Hutter, ICLR 2019).
    #[serde(rename = "adamw")]
    AdamW {
        /// `β₁`, in [0, 1).
        beta_1: f64,
        /// `β₂`, in [0, 1).
        beta_2: f64,
        /// `ε`, above 0.
        epsilon: f64,
        /// `λ`, at least 0.
        weight_decay: f64,
    },
}

impl Choice {
    /// SGD with the momentum 0.9.
    pub fn sgd(weight_decay: f64) -> Self {
        Self::Sgd { momentum: 0.9, nesterov: false, weight_decay }
    }

    /// Adam with the constants of its paper.
    pub fn adam(weight_decay: f64) -> Self {
        Self::Adam { beta_1: 0.9, beta_2: 0.999, epsilon: 1e-8, weight_decay }
    }

    /// AdamW with the constants of its paper.
    pub fn adamw(weight_decay: f64) -> Self {
        Self::AdamW { beta_1: 0.9, beta_2: 0.999, epsilon: 1e-8, weight_decay }
    }

    /// Whether its numbers are in range.
    ///
    /// # Errors
    /// [`Error::Setting`] naming the first that is not.
    pub fn check(&self) -> Result<(), Error> {
        let share = |what, value: f64| {
            let fits = (0.0..1.0).contains(&value);
            fits.then_some(()).ok_or(Error::Setting { what, value, range: "from 0 to less than 1" })
        };
        let weight_decay = match *self {
            Self::Sgd { momentum, weight_decay, .. } => {
                share("the momentum", momentum)?;
                weight_decay
            }
            Self::Adam { beta_1, beta_2, epsilon, weight_decay }
            | Self::AdamW { beta_1, beta_2, epsilon, weight_decay } => {
                share("beta 1", beta_1)?;
                share("beta 2", beta_2)?;
                if !(epsilon > 0.0 && epsilon.is_finite()) {
                    return Err(Error::Setting { what: "epsilon", value: epsilon, range: "above 0" });
                }
                weight_decay
            }
        };
        let fits = weight_decay >= 0.0 && weight_decay.is_finite();
        fits.then_some(()).ok_or(Error::Setting { what: "the weight decay", value: weight_decay, range: "at least 0" })
    }

    /// The optimiser, before its first step.
    pub fn init(&self) -> ModuleOptimizer {
        match *self {
            Self::Sgd { momentum, nesterov, weight_decay } => {
                step::Sgd { momentum: momentum as f32, nesterov, decay: weight_decay as f32 }.into()
            }
            Self::Adam { beta_1, beta_2, epsilon, weight_decay } => {
                adam([beta_1, beta_2], epsilon, weight_decay, true).into()
            }
            Self::AdamW { beta_1, beta_2, epsilon, weight_decay } => {
                adam([beta_1, beta_2], epsilon, weight_decay, false).into()
            }
        }
    }
}

fn adam(betas: [f64; 2], epsilon: f64, decay: f64, coupled: bool) -> step::Adam {
    step::Adam { betas: (betas[0] as f32, betas[1] as f32), epsilon: epsilon as f32, decay: decay as f32, coupled }
}

/// `gradients` times `limit / norm` if their norm, over all parameters together, is above `limit`; and that norm.
///
/// Source: On the difficulty of training recurrent neural networks (Pascanu et al., ICML 2013, algorithm 1). Burn's own
/// clipping takes each parameter by itself, which turns the direction of the step.
pub fn clip<M: Module>(model: &M, gradients: GradientsParams, limit: f64) -> (GradientsParams, f64) {
    let mut squares = Squares { gradients: &gradients, sum: 0.0 };
    model.visit(&mut squares);
    let norm = squares.sum.sqrt();
    if norm <= limit {
        return (gradients, norm);
    }
    let mut scaled = Scaled { gradients, factor: limit / norm };
    model.visit(&mut scaled);
    (scaled.gradients, norm)
}

struct Squares<'a> {
    gradients: &'a GradientsParams,
    sum: f64,
}

impl ModuleVisitor for Squares<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.get::<D>(param.id) {
            self.sum += f64::from(gradient.square().sum().into_scalar::<f32>());
        }
    }
}

struct Scaled {
    gradients: GradientsParams,
    factor: f64,
}

impl ModuleVisitor for Scaled {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.remove::<D>(param.id) {
            self.gradients.register(param.id, gradient.mul_scalar(self.factor));
        }
    }
}

/// What an optimiser knows about the parameters, by their names and not by Burn's ids, which are drawn for each module.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    /// `parameter/field`: moments and the like.
    pub tensors: Tensors,
    /// `parameter/field`: counts of steps and the like.
    pub numbers: BTreeMap<String, u64>,
}

/// The field under which Burn's record holds the rank of a parameter.
const RANK: &str = "__rank";

impl State {
    /// The state of `optimizer`, which steps `model`.
    ///
    /// Goes by Burn's record as it is written (burnpack), the only view that it gives of its contents.
    pub fn of<M: Module>(optimizer: &ModuleOptimizer, model: &M) -> Result<Self, String> {
        let names: BTreeMap<u64, String> =
            parameters(model).into_iter().map(|(name, parameter)| (parameter.id.val(), name)).collect();
        let named = |field: &str| {
            let (id, field) = field.split_once('.')?;
            Some(format!("{}/{field}", names.get(&id.parse().ok()?)?))
        };
        let unnamed = |field: &str| format!("the optimiser's record holds {field}");
        let bytes = optimizer.to_record().into_bytes().map_err(|error| error.to_string())?;
        let reader = Reader::from_bytes(bytes).map_err(|error| error.to_string())?;
        let mut state = Self::default();
        for (field, &number) in reader.scalars() {
            let number = u64::try_from(number).map_err(|_| unnamed(field))?;
            state.numbers.insert(named(field).ok_or_else(|| unnamed(field))?, number);
        }
        for tensor in reader.into_tensors().map_err(|error| error.to_string())? {
            let (field, dtype, shape, _, bytes) = tensor.into_parts().map_err(|error| error.to_string())?;
            let name = named(&field).ok_or_else(|| unnamed(&field))?;
            // A copy, so that the tensor does not keep the record's whole buffer.
            state.tensors.insert(name, TensorData::from_bytes_vec(bytes.to_vec(), shape, dtype));
        }
        Ok(state)
    }

    /// `optimizer` as it was with this state, to step `model`; the state comes from `file`.
    ///
    /// Whatever Burn would not expect is found before it sees it: names of no parameter, and shapes of another one.
    pub fn put<M: Module>(self, optimizer: ModuleOptimizer, model: &M, file: &Path) -> Result<ModuleOptimizer, Error> {
        let parameters = parameters(model);
        let wrong = |tensor: &str, found: String, expected: String| Error::Architecture {
            file: file.into(),
            tensor: format!("optimizer/{tensor}"),
            found,
            expected,
        };
        let parameter = |name: &str| {
            let (parameter, field) = name.rsplit_once('/')?;
            Some((parameters.get(parameter)?, field.to_owned()))
        };
        let damaged = |fault: String| Error::Damaged { file: file.into(), kind: "checkpoint", fault, earlier: None };
        let mut tensors = Vec::new();
        for (name, data) in &self.tensors {
            let (to, field) = parameter(name).ok_or_else(|| wrong(name, told(data), "of no parameter".into()))?;
            if *data.shape() != to.shape {
                return Err(wrong(name, told(data), format!("{:?}", to.shape.to_vec())));
            }
            let bytes = Bytes::from_bytes_vec(data.as_bytes().to_vec());
            let (id, shape) = (to.id.val(), data.shape().clone());
            tensors.push(burn_pack::Tensor::new(format!("{id}.{field}"), data.dtype(), shape, Some(id), bytes));
        }
        let mut writer = Writer::new(tensors);
        for (name, &number) in &self.numbers {
            let (to, field) =
                parameter(name).ok_or_else(|| wrong(name, number.to_string(), "of no parameter".into()))?;
            if field == RANK && number != to.shape.rank() as u64 {
                return Err(wrong(name, number.to_string(), to.shape.rank().to_string()));
            }
            writer = writer.with_scalar(&format!("{}.{field}", to.id.val()), Scalar::UInt(number));
        }
        for (name, to) in &parameters {
            writer = writer.with_metadata(&to.id.val().to_string(), name);
        }
        let bytes = writer.into_bytes().map_err(|error| damaged(error.to_string()))?;
        let record = OptimizerRecord::from_bytes(bytes).map_err(|error| damaged(error.to_string()))?;
        let optimizer = optimizer.load_record(record);
        // Burn passes over what it cannot use; here nothing may be lost.
        let kept = Self::of(&optimizer, model).map_err(damaged)?;
        if let Some((name, data)) = self.tensors.iter().find(|(name, _)| !kept.tensors.contains_key(*name)) {
            return Err(wrong(name, told(data), "no state of this optimiser".into()));
        }
        if let Some((name, number)) = self.numbers.iter().find(|(name, _)| !kept.numbers.contains_key(*name)) {
            return Err(wrong(name, number.to_string(), "no state of this optimiser".into()));
        }
        Ok(optimizer)
    }
}

struct Parameter {
    id: ParamId,
    shape: Shape,
}

/// The parameters of `model` that have gradients, by name.
fn parameters<M: Module>(model: &M) -> BTreeMap<String, Parameter> {
    let mut listing = Listing::default();
    model.visit(&mut listing);
    listing.parameters
}

#[derive(Default)]
struct Listing {
    path: Vec<String>,
    parameters: BTreeMap<String, Parameter>,
}

impl ModuleVisitor for Listing {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let parameter = Parameter { id: param.id, shape: param.val().shape() };
        self.parameters.insert(self.path.join("."), parameter);
    }
}
