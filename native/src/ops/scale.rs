//! `Scale`: x `[T, H]` → `[T, H]`, x · factor, then softcap · tanh(that / softcap) where there is a cap.

use std::sync::Arc;

use ingot_kernels::scale;

use super::call::Call;
use super::node::{Node, bad};
use super::operation::{Attribute, Element, Inference, Kind, Operation, optional};
use crate::failure::Outcome;
use crate::runtime::model_runtime::ModelRuntime;

pub struct Scale {
    runtime: Arc<ModelRuntime>,
    factor: f32,
    cap: Option<f32>,
}

impl Operation for Scale {
    const NAME: &'static str = "Scale";
    const INPUTS: &'static [Element] = &[Element::F32];
    const ATTRIBUTES: &'static [Attribute] = &[
        optional("factor", Kind::Float),
        optional("softcap", Kind::Float),
    ];

    fn bind(node: &Node, runtime: &Arc<ModelRuntime>) -> Outcome<Self> {
        let softcap = node.float_or("softcap", 0.0)?;
        if softcap < 0.0 {
            return Err(bad(format!("attribute softcap must be ≥ 0, got {softcap}")));
        }
        Ok(Self {
            runtime: runtime.clone(),
            factor: node.float_or("factor", 1.0)?,
            cap: (softcap > 0.0).then_some(softcap),
        })
    }

    fn output_width(node: &Inference, _runtime: &ModelRuntime) -> Option<i64> {
        node.width(0)
    }

    fn compute(&mut self, call: &Call) -> Outcome<()> {
        let x = call.matrix(0)?;
        let out = call.output(0, x.rows, x.width)?;
        let pool = &self.runtime.pool;
        scale(x.data, self.factor, self.cap, x.rows, out, pool);
        Ok(())
    }
}
