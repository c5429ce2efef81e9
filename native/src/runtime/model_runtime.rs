//! What the nodes of one model share: pool, weights, KV pool, rope tables, scratch memory.
//!
//! Owned by the compute thread and by every kernel of its session, through `Arc`; it never refers back to the session,
//! so dropping the session frees all of it. Knows neither ONNX nor N-API.
//!
//! I1: kernels run one at a time on the compute thread, so the locks below are never contended; they exist to let the
//!     compiler check that.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ingot_kernels::{
    Activations, KvDtype, KvLayerShape, KvPool, Moments, Pool, RopeTable, Scratch,
};

use super::adapters::Adapters;
use super::limits::Limits;
use super::profile::Profile;
use super::weights::Weights;
use crate::failure::{Code, Failure, Outcome};

/// What of a model's options the kernels need.
pub struct RuntimeOptions {
    pub limits: Limits,
    pub activations: Activations,
    pub kv_dtype: KvDtype,
    pub kv_layers: Vec<KvLayerShape>,
}

pub struct ModelRuntime {
    pub limits: Limits,
    pub activations: Activations,
    pub kv_layers: Vec<KvLayerShape>,
    pub pool: Arc<Pool>,
    pub weights: Weights,
    pub adapters: Adapters,
    pub profile: Profile,
    /// Reserved, not necessarily touched.
    pub kv_bytes: usize,
    /// Second moments of the inputs of the weights that are observed, by name; calibration alone asks for them.
    observed: Mutex<HashMap<String, Moments>>,
    is_observing: AtomicBool,
    kv: Mutex<KvPool>,
    scratch: Mutex<Scratch>,
    ropes: Mutex<HashMap<(String, u32), Arc<RopeTable>>>,
}

impl ModelRuntime {
    /// Reserves the KV pool and starts the pool's threads.
    pub fn new(options: RuntimeOptions) -> Outcome<Arc<Self>> {
        let limits = options.limits;
        let kv = KvPool::new(
            &options.kv_layers,
            options.kv_dtype,
            limits.block_size,
            limits.num_blocks,
        )
        .map_err(|error| {
            Failure::new(
                Code::OutOfMemory,
                format_args!("KV pool of {} blocks: {error}", limits.num_blocks),
            )
        })?;
        Ok(Arc::new(Self {
            limits,
            activations: options.activations,
            kv_layers: options.kv_layers,
            pool: Pool::new(limits.threads),
            weights: Weights::default(),
            adapters: Adapters::default(),
            profile: Profile::default(),
            kv_bytes: kv.bytes(),
            observed: Mutex::default(),
            is_observing: AtomicBool::new(false),
            kv: Mutex::new(kv),
            scratch: Mutex::new(Scratch::default()),
            ropes: Mutex::new(HashMap::new()),
        }))
    }

    /// From the next step on, sum up the inputs of these weights; what was summed before is forgotten.
    pub fn observe(&self, names: &[String]) -> Outcome<()> {
        let mut observed = HashMap::new();
        for name in names {
            observed.insert(name.clone(), Moments::new(self.weights.linear(name)?.k()));
        }
        self.is_observing
            .store(!observed.is_empty(), Ordering::Relaxed);
        *self.observed() = observed;
        Ok(())
    }

    /// What was summed for a weight since `observe`.
    pub fn moments(&self, name: &str) -> Option<Vec<f32>> {
        self.observed().get(name).map(Moments::whole)
    }

    /// Called by the nodes that multiply with a weight.
    pub fn saw(&self, name: &str, x: &[f32]) {
        if !self.is_observing.load(Ordering::Relaxed) {
            return;
        }
        if let Some(moments) = self.observed().get_mut(name) {
            moments.add(x, &self.pool);
        }
    }

    /// Whether this weight's inputs are summed up.
    pub fn observes(&self, name: &str) -> bool {
        self.is_observing.load(Ordering::Relaxed) && self.observed().contains_key(name)
    }

    fn observed(&self) -> MutexGuard<'_, HashMap<String, Moments>> {
        self.observed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn kv(&self) -> MutexGuard<'_, KvPool> {
        self.kv.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A panic leaves only garbage numbers behind, which every kernel overwrites before it reads.
    pub fn scratch(&self) -> MutexGuard<'_, Scratch> {
        self.scratch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The table of one frequency weight and scale, shared by all layers that name them.
    pub fn rope(&self, frequencies: &str, scale: f32) -> Outcome<Arc<RopeTable>> {
        let mut ropes = self.ropes.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (frequencies.to_owned(), scale.to_bits());
        if let Some(table) = ropes.get(&key) {
            return Ok(table.clone());
        }
        let values = self.weights.vector(frequencies)?;
        let table = Arc::new(RopeTable::new(&values, scale, self.limits.max_positions()));
        ropes.insert(key, table.clone());
        Ok(table)
    }
}
