//! What `RmsNorm` and `AddRmsNorm` read: the weight vector, epsilon and the offset that is added to the weight.

use std::sync::Arc;

use super::node::{Node, bad};
use super::operation::{Attribute, Kind, optional, required};
use crate::failure::Outcome;
use crate::runtime::model_runtime::ModelRuntime;

pub const ATTRIBUTES: &[Attribute] = &[
    required("weight", Kind::Text),
    required("epsilon", Kind::Float),
    optional("weightOffset", Kind::Float),
];

pub struct Norm {
    pub weight: Arc<[f32]>, // [H]
    pub epsilon: f32,
    pub weight_offset: f32,
}

impl Norm {
    /// `num_inputs` inputs must be as wide as the weight.
    pub fn read(node: &Node, runtime: &ModelRuntime, num_inputs: usize) -> Outcome<Self> {
        let name = node.text("weight")?;
        let weight = runtime.weights.vector(&name)?;
        for input in 0..num_inputs {
            node.expect_width(input, weight.len(), &format!("weight \"{name}\""))?;
        }
        let epsilon = node.float("epsilon")?;
        if epsilon < 0.0 {
            return Err(bad(format!("attribute epsilon must be ≥ 0, got {epsilon}")));
        }
        Ok(Self {
            weight,
            epsilon,
            weight_offset: node.float_or("weightOffset", 0.0)?,
        })
    }
}
