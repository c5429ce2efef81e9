//! The operator domain `ingot`, version 1: one registration for each operator of `native/README.md`.

use std::sync::Arc;

use ort::operator::OperatorDomain;

use super::operation::Registered;
use super::{
    activation::Activation, add::Add, add_rms_norm::AddRmsNorm, concat_heads::ConcatHeads,
    embedding::Embedding, gated_activation::GatedActivation, gated_mlp::GatedMlp,
    gather_rows::GatherRows, head_linear::HeadLinear, layer_norm::LayerNorm, linear::Linear,
    moe::Moe, paged_attention::PagedAttention, qk_norm::QkNorm, rms_norm::RmsNorm, scale::Scale,
    slice_heads::SliceHeads,
};
use crate::runtime::model_runtime::ModelRuntime;

pub const NAME: &str = "ingot";

/// A domain of one session; its operators hold an `Arc` of the runtime.
pub fn make(runtime: &Arc<ModelRuntime>) -> ort::Result<OperatorDomain> {
    OperatorDomain::new(NAME)?
        .add(Registered::<Embedding>::new(runtime))?
        .add(Registered::<RmsNorm>::new(runtime))?
        .add(Registered::<AddRmsNorm>::new(runtime))?
        .add(Registered::<LayerNorm>::new(runtime))?
        .add(Registered::<QkNorm>::new(runtime))?
        .add(Registered::<Add>::new(runtime))?
        .add(Registered::<Scale>::new(runtime))?
        .add(Registered::<Activation>::new(runtime))?
        .add(Registered::<GatedActivation>::new(runtime))?
        .add(Registered::<GatedMlp>::new(runtime))?
        .add(Registered::<Linear>::new(runtime))?
        .add(Registered::<PagedAttention>::new(runtime))?
        .add(Registered::<SliceHeads>::new(runtime))?
        .add(Registered::<ConcatHeads>::new(runtime))?
        .add(Registered::<HeadLinear>::new(runtime))?
        .add(Registered::<Moe>::new(runtime))?
        .add(Registered::<GatherRows>::new(runtime))
}
