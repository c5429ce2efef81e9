//! The class `Model`, as `NativeModel` in `native/binding.ts` describes it.
//!
//! Owns the compute thread, and shares runtime, sampler and buffers with it. Lives on the JavaScript thread that made it.
//!
//! I1: at most one promise is pending; a call that would need a second one is refused with `NATIVE_BUSY`.
//! I2: the sampler is changed between steps only, so a step's rows draw from what was bound when it began. Adapters may be
//!     changed at any time: a step keeps those that it began with.
//! I3: `dispose`, and the finalizer of a model that nobody disposed of, wait for the job under way and free everything
//!     but the buffers that JavaScript still sees.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ingot_sampler::Sampler;
use napi::bindgen_prelude::{
    Float32Array, FromNapiValue, JsObjectValue, PropertyAttributes, This, Uint8Array, Unknown,
};
use napi::{Env, Property, Result};
use napi_derive::napi;

use super::adapter_arguments::{AdapterDelta, to_slot};
use super::arguments::{ModelOptions, SamplerArguments, Weight, to_sources, whole};
use super::completion::{Completion, rejected};
use super::rejection::thrown;
use super::views;
use crate::failure::{Code, Failure, Outcome};
use crate::runtime::check_counts;
use crate::runtime::compute_thread::{ComputeThread, PackFile, PackWork, Parts, Work};
use crate::runtime::environment;
use crate::runtime::model_runtime::ModelRuntime;
use crate::runtime::session::StepCounts;
use crate::runtime::step_buffers::StepBuffers;

#[napi(js_name = "Model")]
pub struct Model {
    completion: Arc<Completion>,
    buffers_bytes: usize,
    live: Option<Live>,
}

/// What `dispose` frees. Fields drop in this order: the thread ends before the runtime goes.
pub(super) struct Live {
    compute: ComputeThread,
    sampler: Arc<Mutex<Sampler>>,
    pub(super) runtime: Arc<ModelRuntime>,
    buffers: Arc<StepBuffers>,
}

#[napi(object, object_from_js = false)]
pub struct Memory {
    pub weights_bytes: f64,
    pub kv_bytes: f64,
    pub adapters_bytes: f64,
    pub buffers_bytes: f64,
}

#[napi(object, object_from_js = false)]
pub struct OperatorTime {
    pub operator: String,
    pub detail: String,
    pub calls: f64,
    pub microseconds: f64,
}

#[napi]
impl Model {
    #[napi(constructor)]
    pub fn new(env: &Env, mut this: This, options: ModelOptions) -> Result<Self> {
        // A system that refuses a thread makes the pool panic; that must not end the process.
        let (live, buffers) = catch_unwind(AssertUnwindSafe(|| start(&options)))
            .unwrap_or_else(|payload| Err(Failure::from_panic("making the model", &*payload)))
            .map_err(|failure| thrown(env, failure))?;
        let view = views::of_step(env, &buffers)?;
        let property = Property::new()
            .with_utf8_name("buffers")?
            .with_napi_value(env, view)?
            .with_property_attributes(PropertyAttributes::Enumerable);
        this.object.define_properties(&[property])?;
        Ok(Self {
            completion: Completion::new(env)?,
            buffers_bytes: buffers.bytes(),
            live: Some(live),
        })
    }

    #[napi]
    pub fn load_weights<'env>(
        &self,
        env: &'env Env,
        weights: Vec<Weight>,
    ) -> Result<Unknown<'env>> {
        self.post(env, || to_sources(weights).map(Work::LoadWeights))
    }

    #[napi]
    pub fn open_pack<'env>(
        &self,
        env: &'env Env,
        path: String,
        key: String,
    ) -> Result<Unknown<'env>> {
        self.post(env, || {
            Ok(Work::Pack(PackWork::Open, PackFile { path, key }))
        })
    }

    #[napi]
    pub fn begin_pack<'env>(
        &self,
        env: &'env Env,
        path: String,
        key: String,
    ) -> Result<Unknown<'env>> {
        self.post(env, || {
            Ok(Work::Pack(PackWork::Begin, PackFile { path, key }))
        })
    }

    #[napi]
    pub fn end_pack<'env>(
        &self,
        env: &'env Env,
        path: String,
        key: String,
    ) -> Result<Unknown<'env>> {
        self.post(env, || {
            Ok(Work::Pack(PackWork::End, PackFile { path, key }))
        })
    }

    #[napi]
    pub fn create_session<'env>(&self, env: &'env Env, onnx: Uint8Array) -> Result<Unknown<'env>> {
        self.post(env, || Ok(Work::CreateSession(onnx.to_vec())))
    }

    #[napi]
    pub fn step<'env>(
        &self,
        env: &'env Env,
        num_tokens: f64,
        num_seqs: f64,
        num_logits_rows: f64,
    ) -> Result<Unknown<'env>> {
        self.post(env, || {
            let count = |name, value| whole(Code::BadStep, name, value, i32::MAX as u64);
            let counts = StepCounts {
                tokens: count("numTokens", num_tokens)? as usize,
                seqs: count("numSeqs", num_seqs)? as usize,
                logits_rows: count("numLogitsRows", num_logits_rows)? as usize,
            };
            let Live {
                runtime, buffers, ..
            } = self.live()?;
            check_counts(counts, &runtime.limits)?;
            // On this thread, so that adapters that are changed after this call are not those of the step.
            // SAFETY: JavaScript, which alone writes them, is here.
            let (adapter_rows, wanted) = unsafe {
                (
                    buffers.adapter_rows.first(counts.tokens),
                    buffers.logits_rows.first(counts.logits_rows),
                )
            };
            runtime.adapters.begin_step(adapter_rows, wanted)?;
            Ok(Work::Step(counts))
        })
    }

    #[napi]
    pub fn set_sampler(&self, env: &Env, slot: f64, spec: SamplerArguments) -> Result<()> {
        let bound = || -> Outcome<()> {
            let mut sampler = self.idle_sampler()?;
            let slot = whole(Code::BadSampler, "slot", slot, i32::MAX as u64)? as usize;
            sampler
                .set(slot, &spec.to_spec()?)
                .map_err(|error| Failure::new(Code::BadSampler, error))
        };
        bound().map_err(|failure| thrown(env, failure))
    }

    #[napi]
    pub fn clear_sampler(&self, env: &Env, slot: f64) -> Result<()> {
        let cleared = || -> Outcome<()> {
            let mut sampler = self.idle_sampler()?;
            let max_slots = self.live()?.runtime.limits.max_seqs as u64;
            let slot = whole(Code::BadSampler, "slot", slot, max_slots - 1)?;
            sampler.clear(slot as usize);
            Ok(())
        };
        cleared().map_err(|failure| thrown(env, failure))
    }

    #[napi]
    pub fn stage_adapter(&self, env: &Env, slot: f64, delta: AdapterDelta) -> Result<()> {
        let staged = || {
            let slot = to_slot(slot)?;
            let adapters = &self.live()?.runtime.adapters;
            adapters.stage(slot, &delta.weight, delta.pack()?)
        };
        staged().map_err(|failure| thrown(env, failure))
    }

    #[napi]
    pub fn publish_adapter(&self, env: &Env, slot: f64) -> Result<()> {
        let published = || self.live()?.runtime.adapters.publish(to_slot(slot)?);
        published().map_err(|failure| thrown(env, failure))
    }

    #[napi]
    pub fn remove_adapter(&self, env: &Env, slot: f64) -> Result<()> {
        let removed = || -> Outcome<()> {
            self.live()?.runtime.adapters.remove(to_slot(slot)?);
            Ok(())
        };
        removed().map_err(|failure| thrown(env, failure))
    }

    #[napi]
    pub fn observe(&self, env: &Env, names: Vec<String>) -> Result<()> {
        let observed = || self.idle()?.runtime.observe(&names);
        observed().map_err(|failure| thrown(env, failure))
    }

    #[napi]
    pub fn moments(&self, env: &Env, name: String) -> Result<Float32Array> {
        let read = || {
            self.idle()?.runtime.moments(&name).ok_or_else(|| {
                Failure::new(
                    Code::State,
                    format_args!("weight \"{name}\" is not observed"),
                )
            })
        };
        read()
            .map(Float32Array::new)
            .map_err(|failure| thrown(env, failure))
    }

    #[napi]
    pub fn memory(&self, env: &Env) -> Result<Memory> {
        let live = self.live().map_err(|failure| thrown(env, failure))?;
        Ok(Memory {
            weights_bytes: live.runtime.weights.bytes() as f64,
            kv_bytes: live.runtime.kv_bytes as f64,
            adapters_bytes: live.runtime.adapters.bytes() as f64,
            buffers_bytes: self.buffers_bytes as f64,
        })
    }

    /// What was measured so far; it is forgotten, and measuring goes on or not.
    #[napi]
    pub fn switch_profile(&self, env: &Env, is_on: bool) -> Result<Vec<OperatorTime>> {
        let live = self.idle().map_err(|failure| thrown(env, failure))?;
        let times = live.runtime.profile.read();
        live.runtime.profile.switch(is_on);
        Ok(times
            .into_iter()
            .map(|((operator, detail), times)| OperatorTime {
                operator: operator.to_owned(),
                detail,
                calls: times.calls as f64,
                microseconds: times.nanoseconds as f64 / 1e3,
            })
            .collect())
    }

    #[napi]
    pub fn dispose(&mut self) {
        self.end();
    }
}

impl Model {
    /// I1. Everything that is wrong with the call becomes a rejection.
    fn post<'env>(
        &self,
        env: &'env Env,
        work: impl FnOnce() -> Outcome<Work>,
    ) -> Result<Unknown<'env>> {
        let promise = match self.idle().and_then(|live| Ok((live, work()?))) {
            Err(failure) => rejected(env, &failure)?,
            Ok((live, work)) => {
                let (pending, promise) = self.completion.begin(env)?;
                live.compute
                    .send(work, Box::new(move |outcome| pending.settle(outcome)));
                promise
            }
        };
        // SAFETY: a promise just made in this env.
        unsafe { Unknown::from_napi_value(env.raw(), promise) }
    }

    fn live(&self) -> Outcome<&Live> {
        self.live.as_ref().ok_or_else(|| {
            Failure::new(Code::Disposed, "this model was disposed of; make a new one")
        })
    }

    pub(super) fn idle(&self) -> Outcome<&Live> {
        let live = self.live()?;
        if self.completion.is_busy() {
            return Err(Failure::new(
                Code::Busy,
                "the model is at work; await the promise of the call before",
            ));
        }
        Ok(live)
    }

    /// I2.
    fn idle_sampler(&self) -> Outcome<MutexGuard<'_, Sampler>> {
        let sampler = &self.idle()?.sampler;
        Ok(sampler.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// I3.
    fn end(&mut self) {
        if let Some(live) = self.live.take() {
            drop(live);
            self.completion.close();
        }
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        self.end();
    }
}

fn start(options: &ModelOptions) -> Outcome<(Live, Arc<StepBuffers>)> {
    let runtime_options = options.to_runtime()?;
    let limits = runtime_options.limits;
    let environment = environment::open(&options.ort_library)?;
    let buffers = Arc::new(StepBuffers::new(&limits)?);
    let runtime = ModelRuntime::new(runtime_options)?;
    let sampler = Arc::new(Mutex::new(Sampler::new(limits.max_seqs, limits.vocab_size)));
    let compute = ComputeThread::start(Parts {
        environment,
        runtime: runtime.clone(),
        buffers: buffers.clone(),
        sampler: sampler.clone(),
    })?;
    let live = Live {
        compute,
        sampler,
        runtime,
        buffers: buffers.clone(),
    };
    Ok((live, buffers))
}
