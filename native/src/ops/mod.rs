//! The operators of domain `ingot`, one a file, and what they share (`operation`, `node`, `call`).

pub mod add;
pub mod add_rms_norm;
pub mod attributes;
mod call;
pub mod domain;
pub mod embedding;
pub mod gather_rows;
pub mod linear;
mod node;
mod norm;
pub mod operation;
pub mod paged_attention;
pub mod rms_norm;
pub mod swiglu;

use operation::{Attribute, Operation};

/// Attributes of an operator; `None` when there is no such operator.
pub fn attributes_of(operator: &str) -> Option<&'static [Attribute]> {
    fn entry<O: Operation>() -> (&'static str, &'static [Attribute]) {
        (O::NAME, O::ATTRIBUTES)
    }
    [
        entry::<embedding::Embedding>(),
        entry::<rms_norm::RmsNorm>(),
        entry::<add_rms_norm::AddRmsNorm>(),
        entry::<add::Add>(),
        entry::<linear::Linear>(),
        entry::<paged_attention::PagedAttention>(),
        entry::<swiglu::SwiGlu>(),
        entry::<gather_rows::GatherRows>(),
    ]
    .into_iter()
    .find(|(name, _)| *name == operator)
    .map(|(_, attributes)| attributes)
}
