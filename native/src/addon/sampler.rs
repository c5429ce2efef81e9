//! The class `Sampler`, as `NativeSampler` in `native/binding.ts` describes it: the very sampler of a model's step, for
//! logits that something else computed.
//!
//! Owns sampler and arrays. Draws on the JavaScript thread that made it: its callers block that thread with their model.
//!
//! I1: nothing is pending between calls, so a call never finds another one under way.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use ingot_sampler::Sampler;
use napi::bindgen_prelude::{JsObjectValue, PropertyAttributes, This};
use napi::{Env, Property, Result};
use napi_derive::napi;

use super::arguments::{SamplerArguments, SamplerOptions, whole};
use super::rejection::thrown;
use super::views;
use crate::failure::{Code, Failure, Outcome};
use crate::runtime::sampling_buffers::SamplingBuffers;

#[napi(js_name = "Sampler")]
pub struct RowSampler {
    sampler: Sampler,
    buffers: Arc<SamplingBuffers>,
    max_seqs: usize,
    max_rows: usize,
}

#[napi]
impl RowSampler {
    #[napi(constructor)]
    pub fn new(env: &Env, mut this: This, options: SamplerOptions) -> Result<Self> {
        let made = Self::make(&options).map_err(|failure| thrown(env, failure))?;
        let view = views::of_sampler(env, &made.buffers)?;
        let property = Property::new()
            .with_utf8_name("buffers")?
            .with_napi_value(env, view)?
            .with_property_attributes(PropertyAttributes::Enumerable);
        this.object.define_properties(&[property])?;
        Ok(made)
    }

    #[napi]
    pub fn set_sampler(&mut self, env: &Env, slot: f64, spec: SamplerArguments) -> Result<()> {
        self.bind(slot, &spec)
            .map_err(|failure| thrown(env, failure))
    }

    #[napi]
    pub fn clear_sampler(&mut self, env: &Env, slot: f64) -> Result<()> {
        let most = self.max_seqs as u64 - 1;
        let slot =
            whole(Code::BadSampler, "slot", slot, most).map_err(|failure| thrown(env, failure))?;
        self.sampler.clear(slot as usize);
        Ok(())
    }

    #[napi]
    pub fn sample(&mut self, env: &Env, num_logits_rows: f64) -> Result<()> {
        catch_unwind(AssertUnwindSafe(|| self.draw(num_logits_rows)))
            .unwrap_or_else(|payload| Err(Failure::from_panic("drawing", &*payload)))
            .map_err(|failure| thrown(env, failure))
    }
}

impl RowSampler {
    fn make(options: &SamplerOptions) -> Outcome<Self> {
        let (max_seqs, max_rows, vocab_size) = options.sizes()?;
        Ok(Self {
            sampler: Sampler::new(max_seqs, vocab_size),
            buffers: Arc::new(SamplingBuffers::new(max_rows, vocab_size)?),
            max_seqs,
            max_rows,
        })
    }

    fn bind(&mut self, slot: f64, spec: &SamplerArguments) -> Outcome<()> {
        let slot = whole(Code::BadSampler, "slot", slot, i32::MAX as u64)? as usize;
        self.sampler
            .set(slot, &spec.to_spec()?)
            .map_err(|error| Failure::new(Code::BadSampler, error))
    }

    fn draw(&mut self, num_logits_rows: f64) -> Outcome<()> {
        let most = self.max_rows as u64;
        let rows = whole(Code::BadStep, "numLogitsRows", num_logits_rows, most)? as usize;
        if rows == 0 {
            return Ok(());
        }
        let one_by_one = |count: usize, job: &(dyn Fn(usize) + Sync)| (0..count).for_each(job);
        // SAFETY: JavaScript, the only other one to touch the arrays, waits in this call (I1).
        unsafe { self.buffers.draw(&mut self.sampler, rows, &one_by_one) }
    }
}
