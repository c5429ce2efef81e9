//! The operators of domain `ingot`, one a file, and what they share (`operation`, `node`, `call`).

pub mod activation;
pub mod add;
pub mod add_rms_norm;
pub mod attributes;
mod call;
pub mod concat_heads;
pub mod domain;
pub mod embedding;
pub mod gated_activation;
pub mod gated_mlp;
pub mod gather_rows;
pub mod head_linear;
pub mod layer_norm;
pub mod linear;
pub mod moe;
mod node;
mod norm;
pub mod operation;
pub mod paged_attention;
pub mod qk_norm;
pub mod rms_norm;
pub mod scale;
pub mod slice_heads;
mod weight_list;

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
        entry::<layer_norm::LayerNorm>(),
        entry::<qk_norm::QkNorm>(),
        entry::<add::Add>(),
        entry::<scale::Scale>(),
        entry::<activation::Activation>(),
        entry::<gated_activation::GatedActivation>(),
        entry::<gated_mlp::GatedMlp>(),
        entry::<linear::Linear>(),
        entry::<paged_attention::PagedAttention>(),
        entry::<slice_heads::SliceHeads>(),
        entry::<concat_heads::ConcatHeads>(),
        entry::<head_linear::HeadLinear>(),
        entry::<moe::Moe>(),
        entry::<gather_rows::GatherRows>(),
    ]
    .into_iter()
    .find(|(name, _)| *name == operator)
    .map(|(_, attributes)| attributes)
}
