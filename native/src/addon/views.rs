//! `NativeBuffers`: typed arrays over the step's memory, without a copy.
//!
//! I1: each view holds an `Arc` of the memory, so that it stays valid after `dispose` for as long as JavaScript keeps it.

use std::sync::Arc;

use napi::bindgen_prelude::{Float32ArraySlice, Int32ArraySlice, JsObjectValue, Object};
use napi::{Env, Result};

use crate::runtime::step_buffers::{SharedArray, StepBuffers};

/// A fresh object with one typed array for each buffer, named as in `native/binding.ts`.
pub fn make<'env>(env: &'env Env, buffers: &Arc<StepBuffers>) -> Result<Object<'env>> {
    let mut views = Object::new(env)?;
    let ints: [(&str, &SharedArray<i32>); 14] = [
        ("tokenIds", &buffers.token_ids),
        ("positions", &buffers.positions),
        ("slotMapping", &buffers.slot_mapping),
        ("queryStarts", &buffers.query_starts),
        ("contextLengths", &buffers.context_lengths),
        ("blockTables", &buffers.block_tables),
        ("logitsRows", &buffers.logits_rows),
        ("samplerSlots", &buffers.sampler_slots),
        ("samplePositions", &buffers.sample_positions),
        ("targetIds", &buffers.target_ids),
        ("topLogprobCounts", &buffers.top_logprob_counts),
        ("sampledIds", &buffers.sampled_ids),
        ("sampledRanks", &buffers.sampled_ranks),
        ("topIds", &buffers.top_ids),
    ];
    for (name, array) in ints {
        // SAFETY: `len` numbers at `as_ptr`, kept alive by the `Arc` that the finalizer drops (I1).
        let view = unsafe {
            Int32ArraySlice::from_external(
                env,
                array.as_ptr(),
                array.len(),
                buffers.clone(),
                |_, kept| drop(kept),
            )?
        };
        views.set_named_property(name, view)?;
    }
    let floats: [(&str, &SharedArray<f32>); 3] = [
        ("sampledLogprobs", &buffers.sampled_logprobs),
        ("topLogprobs", &buffers.top_logprobs),
        ("logits", &buffers.logits),
    ];
    for (name, array) in floats {
        // SAFETY: as above.
        let view = unsafe {
            Float32ArraySlice::from_external(
                env,
                array.as_ptr(),
                array.len(),
                buffers.clone(),
                |_, kept| drop(kept),
            )?
        };
        views.set_named_property(name, view)?;
    }
    Ok(views)
}
