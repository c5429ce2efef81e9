//! The operator domain `ingot`, version 1: one registration for each operator of `native/README.md`.

use std::sync::Arc;

use ort::operator::OperatorDomain;

use super::operation::Registered;
use super::{
    add::Add, add_rms_norm::AddRmsNorm, embedding::Embedding, gather_rows::GatherRows,
    linear::Linear, paged_attention::PagedAttention, rms_norm::RmsNorm, swiglu::SwiGlu,
};
use crate::runtime::model_runtime::ModelRuntime;

pub const NAME: &str = "ingot";

/// A domain of one session; its operators hold an `Arc` of the runtime.
pub fn make(runtime: &Arc<ModelRuntime>) -> ort::Result<OperatorDomain> {
    OperatorDomain::new(NAME)?
        .add(Registered::<Embedding>::new(runtime))?
        .add(Registered::<RmsNorm>::new(runtime))?
        .add(Registered::<AddRmsNorm>::new(runtime))?
        .add(Registered::<Add>::new(runtime))?
        .add(Registered::<Linear>::new(runtime))?
        .add(Registered::<PagedAttention>::new(runtime))?
        .add(Registered::<SwiGlu>::new(runtime))?
        .add(Registered::<GatherRows>::new(runtime))
}
