//! The low-rank adapters (LoRA) that rows of a step may be answered with, by slot.
//!
//! Owns their matrices. Nodes (`Linear`, `GatedMlp`) declare the weights that take deltas and ask for them in each step;
//! whoever loads names those weights. Knows nothing of files, requests or names of adapters.
//!
//! A1: a step sees the adapters that were published when it began, as a whole, until it ends. A node's rows are all T of
//!     the step or the L wanted ones; as those ascend, L = T makes them the same, so a count tells which they are.
//! A2: a delta fits the declared weight that it names, so no node can find one that does not.
//! A3: without an adapter among its rows a step costs one look at them and, a node, one flag.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ingot_kernels::{LowRank, LowRankUse, Pool, Scratch, add_low_rank};

use crate::failure::{Code, Failure, Outcome};

/// Deltas of one adapter by the weight that they belong to.
#[derive(Default)]
struct Adapter {
    deltas: HashMap<String, Vec<LowRank>>,
    bytes: usize,
}

/// The step under way.
#[derive(Default)]
struct Step {
    num_rows: usize,
    /// By ascending slot.
    adapters: Vec<StepAdapter>,
}

struct StepAdapter {
    adapter: Arc<Adapter>,
    rows: Vec<u32>,
    /// Of the wanted rows.
    wanted: Vec<u32>,
}

#[derive(Default)]
pub struct Adapters {
    /// Inputs and outputs of weights whose nodes add deltas.
    declared: Mutex<HashMap<String, (usize, usize)>>,
    staged: Mutex<HashMap<u32, Adapter>>,
    published: Mutex<HashMap<u32, Arc<Adapter>>>,
    step: Mutex<Step>,
    is_used: AtomicBool,
}

impl Adapters {
    /// Called by a node that will ask for this weight's deltas.
    pub fn declare(&self, weight: &str, k: usize, n: usize) {
        lock(&self.declared).insert(weight.to_owned(), (k, n));
    }

    /// Add a delta to the adapter that is being put together for `slot`; no step sees it yet. Any time.
    pub fn stage(&self, slot: u32, weight: &str, delta: LowRank) -> Outcome<()> {
        if lock(&self.published).contains_key(&slot) {
            return Err(state(format!(
                "adapter {slot} is published; remove it before"
            )));
        }
        let declared = lock(&self.declared).get(weight).copied();
        let Some((k, n)) = declared else {
            return Err(bad(format!(
                "no node adds deltas to a weight \"{weight}\"; stage adapters after createSession"
            )));
        };
        let outputs = delta.outputs();
        if delta.k() != k || outputs.end > n {
            return Err(bad(format!(
                "weight \"{weight}\" has {k} inputs and {n} outputs, but the delta has {} inputs and outputs {} to {}",
                delta.k(),
                outputs.start,
                outputs.end
            )));
        }
        let mut staged = lock(&self.staged);
        let adapter = staged.entry(slot).or_default();
        adapter.bytes += delta.bytes();
        let deltas = adapter.deltas.entry(weight.to_owned()).or_default();
        deltas.push(delta);
        Ok(())
    }

    /// From the next step on rows may use what was staged for `slot`.
    pub fn publish(&self, slot: u32) -> Outcome<()> {
        let Some(adapter) = lock(&self.staged).remove(&slot) else {
            return Err(state(format!("nothing is staged for adapter {slot}")));
        };
        lock(&self.published).insert(slot, Arc::new(adapter));
        Ok(())
    }

    /// Forget what is staged or published for `slot`; a step under way keeps it until it ends.
    pub fn remove(&self, slot: u32) {
        lock(&self.staged).remove(&slot);
        lock(&self.published).remove(&slot);
    }

    /// Held by staged and published adapters together.
    pub fn bytes(&self) -> usize {
        let staged = lock(&self.staged);
        let published = lock(&self.published);
        let staged = staged.values().map(|adapter| adapter.bytes);
        staged.sum::<usize>()
            + published
                .values()
                .map(|adapter| adapter.bytes)
                .sum::<usize>()
    }

    /// A1. `rows` says for each row of the step which slot answers it, 0 being none; `wanted` are those behind the last
    /// attention, which `step_inputs` checks before a node runs.
    pub fn begin_step(&self, rows: &[i32], wanted: &[i32]) -> Outcome<()> {
        let mut step = lock(&self.step);
        step.num_rows = rows.len();
        step.adapters.clear();
        self.is_used.store(false, Ordering::Relaxed);
        if rows.iter().all(|&slot| slot == 0) {
            return Ok(());
        }
        let mut slots: Vec<i32> = rows.to_vec();
        slots.sort_unstable();
        slots.dedup();
        let published = lock(&self.published);
        for slot in slots.into_iter().filter(|&slot| slot != 0) {
            let adapter = u32::try_from(slot)
                .ok()
                .and_then(|slot| published.get(&slot));
            let Some(adapter) = adapter else {
                step.adapters.clear();
                return Err(Failure::new(
                    Code::BadStep,
                    format_args!("adapterRows names adapter {slot}, which is not published"),
                ));
            };
            let is_own = |row: i32| rows.get(row as usize) == Some(&slot);
            let wanted_of = |&place: &u32| is_own(wanted[place as usize]);
            step.adapters.push(StepAdapter {
                adapter: adapter.clone(),
                rows: (0..rows.len() as u32)
                    .filter(|&row| is_own(row as i32))
                    .collect(),
                wanted: (0..wanted.len() as u32).filter(wanted_of).collect(),
            });
        }
        self.is_used.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Let go of what the step used.
    pub fn end_step(&self) {
        if self.is_used.swap(false, Ordering::Relaxed) {
            lock(&self.step).adapters.clear();
        }
    }

    /// Whether some row's adapter has deltas of `weight`.
    #[inline]
    pub fn change(&self, weight: &str) -> bool {
        let has_deltas = |of: &StepAdapter| of.adapter.deltas.contains_key(weight);
        self.is_used.load(Ordering::Relaxed) && lock(&self.step).adapters.iter().any(has_deltas)
    }

    /// Add the step's deltas of `weight` to `out`; `x` is `[rows, k]`, `out` `[rows, n]`, of a weight that was declared. The
    /// rows are the step's or the wanted ones (A1).
    #[allow(clippy::too_many_arguments)]
    #[inline]
    pub fn add(
        &self,
        weight: &str,
        x: &[f32],
        k: usize,
        out: &mut [f32],
        n: usize,
        scratch: &mut Scratch,
        pool: &Pool,
    ) {
        if !self.is_used.load(Ordering::Relaxed) {
            return;
        }
        let step = lock(&self.step);
        let is_whole = out.len() == step.num_rows * n;
        let mut uses = Vec::new();
        for StepAdapter {
            adapter,
            rows,
            wanted,
        } in &step.adapters
        {
            let rows = if is_whole { rows } else { wanted };
            if let Some(deltas) = adapter.deltas.get(weight).filter(|_| !rows.is_empty()) {
                uses.push(LowRankUse { deltas, rows });
            }
        }
        if !uses.is_empty() {
            add_low_rank(&uses, x, k, out, n, scratch, pool);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn bad(message: String) -> Failure {
    Failure::new(Code::BadWeight, message)
}

fn state(message: String) -> Failure {
    Failure::new(Code::State, message)
}
