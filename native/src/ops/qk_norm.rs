//! `QkNorm`: qkv `[T, W]` → `[T, W]`, q and k normed by RMS, what lies behind them (v) untouched.

use std::sync::Arc;

use ingot_kernels::qk_norm;

use super::call::Call;
use super::node::{Node, bad};
use super::operation::{Attribute, Element, Inference, Kind, Operation, optional, required};
use crate::failure::{Code, Failure, Outcome};
use crate::runtime::model_runtime::ModelRuntime;

pub struct QkNorm {
    runtime: Arc<ModelRuntime>,
    num_heads: usize,
    num_kv_heads: usize,
    head_dim: usize,
    query: Arc<[f32]>,
    key: Arc<[f32]>,
    epsilon: f32,
    weight_offset: f32,
}

impl Operation for QkNorm {
    const NAME: &'static str = "QkNorm";
    const INPUTS: &'static [Element] = &[Element::F32];
    const ATTRIBUTES: &'static [Attribute] = &[
        required("numHeads", Kind::Integer),
        required("numKvHeads", Kind::Integer),
        required("headDim", Kind::Integer),
        required("query", Kind::Text),
        required("key", Kind::Text),
        required("epsilon", Kind::Float),
        optional("weightOffset", Kind::Float),
        required("scope", Kind::Text),
    ];

    fn bind(node: &Node, runtime: &Arc<ModelRuntime>) -> Outcome<Self> {
        let num_heads = node.count("numHeads", 1)?;
        let num_kv_heads = node.count("numKvHeads", 1)?;
        let head_dim = node.count("headDim", 1)?;
        let least = (num_heads.saturating_add(num_kv_heads)).saturating_mul(head_dim);
        if let Some(width) = node
            .static_width(0)
            .filter(|&width| (width as usize) < least)
        {
            return Err(bad(format!(
                "input 0 is {width} wide, but q and k take {least}"
            )));
        }
        let is_each_head = match node.text("scope")?.as_str() {
            "head" => true,
            "all" => false,
            other => {
                return Err(bad(format!(
                    "attribute scope must be head or all, got {other}"
                )));
            }
        };
        let weight = |attribute: &str, heads: usize| {
            let name = node.text(attribute)?;
            let values = runtime.weights.vector(&name)?;
            let expected = if is_each_head {
                head_dim
            } else {
                heads * head_dim
            };
            if values.len() == expected {
                return Ok(values);
            }
            Err(bad(format!(
                "weight \"{name}\" has {} numbers, but {attribute} needs {expected}",
                values.len()
            )))
        };
        let epsilon = node.float("epsilon")?;
        if epsilon < 0.0 {
            return Err(bad(format!("attribute epsilon must be ≥ 0, got {epsilon}")));
        }
        Ok(Self {
            runtime: runtime.clone(),
            num_heads,
            num_kv_heads,
            head_dim,
            query: weight("query", num_heads)?,
            key: weight("key", num_kv_heads)?,
            epsilon,
            weight_offset: node.float_or("weightOffset", 0.0)?,
        })
    }

    fn output_width(node: &Inference, _runtime: &ModelRuntime) -> Option<i64> {
        node.width(0)
    }

    fn compute(&mut self, call: &Call) -> Outcome<()> {
        let qkv = call.matrix(0)?;
        if qkv.width < (self.num_heads + self.num_kv_heads) * self.head_dim {
            return Err(Failure::new(
                Code::StepFailed,
                format_args!("input 0 is {} wide, too narrow for q and k", qkv.width),
            ));
        }
        let out = call.output(0, qkv.rows, qkv.width)?;
        let norm = ingot_kernels::QkNorm {
            num_heads: self.num_heads,
            num_kv_heads: self.num_kv_heads,
            head_dim: self.head_dim,
            query: &self.query,
            key: &self.key,
            epsilon: self.epsilon,
            weight_offset: self.weight_offset,
        };
        qk_norm(
            &norm,
            qkv.data,
            qkv.rows,
            qkv.width,
            out,
            &self.runtime.pool,
        );
        Ok(())
    }
}
