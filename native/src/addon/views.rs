//! `NativeBuffers` and `NativeSamplerBuffers`: typed arrays over native memory, without a copy.
//!
//! I1: each view holds an `Arc` of the memory, so that it stays valid after `dispose` for as long as JavaScript keeps it.

use std::sync::Arc;

use napi::bindgen_prelude::{Float32ArraySlice, Int32ArraySlice, JsObjectValue, Object};
use napi::{Env, Result};

use crate::runtime::sampling_buffers::SamplingBuffers;
use crate::runtime::shared_array::SharedArray;
use crate::runtime::step_buffers::StepBuffers;

/// A fresh object with one typed array for each buffer, named as in `native/binding.ts`.
pub fn of_step<'env>(env: &'env Env, buffers: &Arc<StepBuffers>) -> Result<Object<'env>> {
    let mut views = Object::new(env)?;
    set_ints(env, &mut views, &buffers.indices(), buffers)?;
    set_ints(env, &mut views, &buffers.sampling.ints(), buffers)?;
    set_floats(env, &mut views, &buffers.sampling.floats(), buffers)?;
    Ok(views)
}

/// The same for the arrays of a sampler alone.
pub fn of_sampler<'env>(env: &'env Env, buffers: &Arc<SamplingBuffers>) -> Result<Object<'env>> {
    let mut views = Object::new(env)?;
    set_ints(env, &mut views, &buffers.ints(), buffers)?;
    set_floats(env, &mut views, &buffers.floats(), buffers)?;
    Ok(views)
}

fn set_ints<K: Send + Sync + 'static>(
    env: &Env,
    views: &mut Object<'_>,
    arrays: &[(&'static str, &SharedArray<i32>)],
    keeper: &Arc<K>,
) -> Result<()> {
    for (name, array) in arrays {
        // SAFETY: `len` numbers at `as_ptr`, kept alive by the `Arc` that the finalizer drops (I1).
        let view = unsafe {
            Int32ArraySlice::from_external(
                env,
                array.as_ptr(),
                array.len(),
                keeper.clone(),
                |_, kept| drop(kept),
            )?
        };
        views.set_named_property(name, view)?;
    }
    Ok(())
}

fn set_floats<K: Send + Sync + 'static>(
    env: &Env,
    views: &mut Object<'_>,
    arrays: &[(&'static str, &SharedArray<f32>)],
    keeper: &Arc<K>,
) -> Result<()> {
    for (name, array) in arrays {
        // SAFETY: as in `set_ints`.
        let view = unsafe {
            Float32ArraySlice::from_external(
                env,
                array.as_ptr(),
                array.len(),
                keeper.clone(),
                |_, kept| drop(kept),
            )?
        };
        views.set_named_property(name, view)?;
    }
    Ok(())
}
