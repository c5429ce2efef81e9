//! `GatherRows`: x `[T, H]`, rows i32 `[L]` → `[L, H]`. A copy; L may be 0.

use std::sync::Arc;

use super::call::Call;
use super::node::Node;
use super::operation::{Attribute, Element, Inference, Operation};
use crate::failure::{Code, Failure, Outcome};
use crate::runtime::model_runtime::ModelRuntime;

pub struct GatherRows;

impl Operation for GatherRows {
    const NAME: &'static str = "GatherRows";
    const INPUTS: &'static [Element] = &[Element::F32, Element::I32];
    const ATTRIBUTES: &'static [Attribute] = &[];
    const ROWS_FROM: &'static [usize] = &[1];

    fn bind(_node: &Node, _runtime: &Arc<ModelRuntime>) -> Outcome<Self> {
        Ok(Self)
    }

    fn output_width(node: &Inference, _runtime: &ModelRuntime) -> Option<i64> {
        node.width(0)
    }

    fn compute(&mut self, call: &Call) -> Outcome<()> {
        let x = call.matrix(0)?;
        let (rows, _) = call.integers(1)?;
        let out = call.output(0, rows.len(), x.width)?;
        if x.width == 0 {
            return Ok(());
        }
        for (target, &row) in out.chunks_exact_mut(x.width).zip(rows) {
            let source = usize::try_from(row)
                .ok()
                .filter(|&row| row < x.rows)
                .map(|row| &x.data[row * x.width..(row + 1) * x.width])
                .ok_or_else(|| {
                    Failure::new(
                        Code::StepFailed,
                        format_args!("row {row} is not in 0..{}", x.rows),
                    )
                })?;
            target.copy_from_slice(source);
        }
        Ok(())
    }
}
