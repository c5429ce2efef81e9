//! `GatedActivation`: gateUp `[T, 2 I]` → `[T, I]`, kind(gate) · (up + upOffset), clamped first where there is a limit.

use std::sync::Arc;

use ingot_kernels::{Curve, Gated, gated};

use super::activation::read_curve;
use super::call::{Call, Matrix};
use super::node::{Node, bad};
use super::operation::{Attribute, Element, Inference, Kind, Operation, optional, required};
use crate::failure::{Code, Failure, Outcome};
use crate::runtime::model_runtime::ModelRuntime;

pub struct GatedActivation {
    runtime: Arc<ModelRuntime>,
    unit: Gated,
}

impl Operation for GatedActivation {
    const NAME: &'static str = "GatedActivation";
    const INPUTS: &'static [Element] = &[Element::F32];
    const ATTRIBUTES: &'static [Attribute] = &[
        required("kind", Kind::Text),
        optional("layout", Kind::Text),
        optional("limit", Kind::Float),
        optional("alpha", Kind::Float),
        optional("upOffset", Kind::Float),
    ];

    fn bind(node: &Node, runtime: &Arc<ModelRuntime>) -> Outcome<Self> {
        whole_pairs(node)?;
        Ok(Self {
            runtime: runtime.clone(),
            unit: read_gated(node)?,
        })
    }

    fn output_width(node: &Inference, _runtime: &ModelRuntime) -> Option<i64> {
        node.width(0).map(|width| width / 2)
    }

    fn compute(&mut self, call: &Call) -> Outcome<()> {
        let gate_up = call.matrix(0)?;
        let inner = inner_width(&gate_up)?;
        let out = call.output(0, gate_up.rows, inner)?;
        let pool = &self.runtime.pool;
        gated(self.unit, gate_up.data, gate_up.rows, inner, out, pool);
        Ok(())
    }
}

/// The attributes of a gated unit, under the same names wherever there is one.
pub fn read_gated(node: &Node) -> Outcome<Gated> {
    let curve = read_curve(node)?;
    let is_interleaved = match node.optional_text("layout").as_deref() {
        None | Some("halves") => false,
        Some("interleaved") => true,
        Some(other) => {
            return Err(bad(format!(
                "attribute layout must be halves or interleaved, got {other}"
            )));
        }
    };
    let limit = node.float_or("limit", 0.0)?;
    if limit < 0.0 {
        return Err(bad(format!("attribute limit must be ≥ 0, got {limit}")));
    }
    let alpha = node.float_or("alpha", 1.0)?;
    if alpha != 1.0 && curve != Curve::Silu {
        return Err(bad(format!("attribute alpha {alpha} needs the kind silu")));
    }
    Ok(Gated {
        curve,
        is_interleaved,
        limit: if limit == 0.0 { f32::INFINITY } else { limit },
        alpha,
        up_offset: node.float_or("upOffset", 0.0)?,
    })
}

/// Fail when the graph says that input 0 is of odd width.
fn whole_pairs(node: &Node) -> Outcome<()> {
    match node.static_width(0) {
        Some(width) if width % 2 != 0 => Err(bad(format!("input 0 is {width} wide, not 2 I"))),
        _ => Ok(()),
    }
}

/// I of gateUp `[T, 2 I]`.
fn inner_width(gate_up: &Matrix<'_>) -> Outcome<usize> {
    if gate_up.width.is_multiple_of(2) {
        return Ok(gate_up.width / 2);
    }
    Err(Failure::new(
        Code::StepFailed,
        format_args!("input 0 is {} wide, not 2 I", gate_up.width),
    ))
}
