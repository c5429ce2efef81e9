//! `SwiGlu`: gateUp `[T, 2 I]`, gate first → `[T, I]`, silu(gate) · up.

use std::sync::Arc;

use ingot_kernels::swiglu;

use super::call::Call;
use super::node::{Node, bad};
use super::operation::{Attribute, Element, Inference, Operation};
use crate::failure::{Code, Failure, Outcome};
use crate::runtime::model_runtime::ModelRuntime;

pub struct SwiGlu {
    runtime: Arc<ModelRuntime>,
}

impl Operation for SwiGlu {
    const NAME: &'static str = "SwiGlu";
    const INPUTS: &'static [Element] = &[Element::F32];
    const ATTRIBUTES: &'static [Attribute] = &[];

    fn bind(node: &Node, runtime: &Arc<ModelRuntime>) -> Outcome<Self> {
        match node.static_width(0) {
            Some(width) if width % 2 != 0 => Err(bad(format!("input 0 is {width} wide, not 2 I"))),
            _ => Ok(Self {
                runtime: runtime.clone(),
            }),
        }
    }

    fn output_width(node: &Inference, _runtime: &ModelRuntime) -> Option<i64> {
        node.width(0).map(|width| width / 2)
    }

    fn compute(&mut self, call: &Call) -> Outcome<()> {
        let gate_up = call.matrix(0)?;
        if gate_up.width % 2 != 0 {
            return Err(Failure::new(
                Code::StepFailed,
                format_args!("input 0 is {} wide, not 2 I", gate_up.width),
            ));
        }
        let inner = gate_up.width / 2;
        let out = call.output(0, gate_up.rows, inner)?;
        swiglu(gate_up.data, gate_up.rows, inner, out, &self.runtime.pool);
        Ok(())
    }
}
