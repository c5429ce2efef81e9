//! The sampler: slots, and one call a step for all rows.

use std::sync::Mutex;

use crate::draw::{Scratch, draw, greedy};
use crate::logprobs::report;
use crate::philox::uniform_bits;
use crate::slot::Slot;
use crate::spec::{SamplerError, SamplerSpec};

/// Alternatives a row can report; also the row stride of `top_ids` and `top_logprobs`.
pub const MAX_TOP_LOGPROBS: usize = 20;

/// `run(n, job)` calls `job(0)` to `job(n - 1)` once each, on any threads, and returns after all of them.
pub type ParallelFor<'a> = &'a dyn Fn(usize, &(dyn Fn(usize) + Sync));

/// What each row wants. All slices are `[rows]`.
#[derive(Clone, Copy)]
pub struct RowInputs<'a> {
    /// Slot that draws from the row; -1 = none.
    pub slots: &'a [i32],
    /// Absolute position of the token that is drawn; ≥ 0 where a slot draws.
    pub positions: &'a [i32],
    /// Token whose logprob and rank are wanted instead of a draw, whatever `top_counts` says; -1 = none. Such a row
    /// draws and counts nothing.
    pub targets: &'a [i32],
    /// Alternatives wanted, 0 to 20; -1 = no logprobs of the drawn token either.
    pub top_counts: &'a [i32],
}

/// What each row gave. Slices are `[rows]`, the last two `[rows * 20]`.
pub struct RowOutputs<'a> {
    /// The drawn token or the target; -1 when the row asked for neither, or its logits cannot be used.
    pub ids: &'a mut [i32],
    /// Of raw logits; NaN where no logprobs were asked for or the row failed.
    pub logprobs: &'a mut [f32],
    /// 1 = most likely; 0 where no logprobs were asked for or the row failed.
    pub ranks: &'a mut [i32],
    /// Most likely first, ties by lower id; entries beyond a row's count keep what they held.
    pub top_ids: &'a mut [i32],
    pub top_logprobs: &'a mut [f32],
}

/// One row's part of the outputs.
struct RowResult<'a> {
    id: &'a mut i32,
    logprob: &'a mut f32,
    rank: &'a mut i32,
    top_ids: &'a mut [i32],
    top_logprobs: &'a mut [f32],
}

/// Draws for up to `max_slots` sequences. May be moved between threads; one call at a time (`&mut self`).
pub struct Sampler {
    vocab_size: usize,
    slots: Vec<Option<Slot>>,
    /// As many as rows were ever worked on at the same time.
    scratches: Mutex<Vec<Scratch>>,
}

impl Sampler {
    pub fn new(max_slots: usize, vocab_size: usize) -> Self {
        Self {
            vocab_size,
            slots: std::iter::repeat_with(|| None).take(max_slots).collect(),
            scratches: Mutex::new(Vec::new()),
        }
    }

    /// Bind `slot`, replacing what it held. Nothing changes when an error is returned.
    pub fn set(&mut self, slot: usize, spec: &SamplerSpec<'_>) -> Result<(), SamplerError> {
        let max_slots = self.slots.len();
        let place = self
            .slots
            .get_mut(slot)
            .ok_or(SamplerError::SlotOutOfRange {
                slot: slot as i64,
                max_slots,
            })?;
        spec.check(self.vocab_size)?;
        *place = Some(Slot::new(spec));
        Ok(())
    }

    /// Forget `slot`. Clearing an empty slot, or one that does not exist, does nothing.
    pub fn clear(&mut self, slot: usize) {
        if let Some(place) = self.slots.get_mut(slot) {
            *place = None;
        }
    }

    /// Draw from the first `rows` rows of `logits`, `[rows, vocab]`, and report logprobs. Drawn tokens are counted.
    /// A slot may draw from several rows when no draw of its can change a later one (rows of guessed tokens).
    ///
    /// Returns an error, having computed and written nothing, when lengths, slots, targets or counts are wrong.
    /// A row whose logits cannot be used is no error of the call: it gets id -1 (S3).
    ///
    /// Cost: one pass for a greedy row; see `examples/time_rows.rs` for the others.
    pub fn sample_rows(
        &mut self,
        logits: &[f32],
        rows: usize,
        inputs: RowInputs<'_>,
        outputs: RowOutputs<'_>,
        run: ParallelFor<'_>,
    ) -> Result<(), SamplerError> {
        self.check_rows(logits, rows, &inputs, &outputs)?;
        let RowOutputs {
            ids,
            logprobs,
            ranks,
            top_ids,
            top_logprobs,
        } = outputs;
        {
            let results: Vec<Mutex<RowResult<'_>>> = ids[..rows]
                .iter_mut()
                .zip(logprobs.iter_mut())
                .zip(ranks.iter_mut())
                .zip(top_ids.chunks_mut(MAX_TOP_LOGPROBS))
                .zip(top_logprobs.chunks_mut(MAX_TOP_LOGPROBS))
                .map(|((((id, logprob), rank), top_ids), top_logprobs)| {
                    Mutex::new(RowResult {
                        id,
                        logprob,
                        rank,
                        top_ids,
                        top_logprobs,
                    })
                })
                .collect();
            let this = &*self;
            run(rows, &|row| {
                let row_logits = &logits[row * this.vocab_size..(row + 1) * this.vocab_size];
                let mut scratch = lock(&this.scratches).pop().unwrap_or_default();
                this.sample_row(
                    row_logits,
                    row,
                    &inputs,
                    &mut lock(&results[row]),
                    &mut scratch,
                );
                lock(&this.scratches).push(scratch);
            });
        }
        for (row, &id) in ids.iter().enumerate().take(rows) {
            let is_drawn = inputs.targets[row] < 0 && inputs.slots[row] >= 0 && id >= 0;
            if is_drawn && let Some(slot) = &mut self.slots[inputs.slots[row] as usize] {
                slot.note_drawn(id as u32);
            }
        }
        Ok(())
    }

    fn sample_row(
        &self,
        logits: &[f32],
        row: usize,
        inputs: &RowInputs<'_>,
        result: &mut RowResult<'_>,
        scratch: &mut Scratch,
    ) {
        *result.id = -1;
        *result.logprob = f32::NAN;
        *result.rank = 0;
        let token = if inputs.targets[row] >= 0 {
            Some(inputs.targets[row] as usize)
        } else {
            let slot = usize::try_from(inputs.slots[row])
                .ok()
                .and_then(|slot| self.slots[slot].as_ref());
            slot.and_then(|slot| draw_with(slot, logits, inputs.positions[row] as u32, scratch))
        };
        let Some(token) = token else { return };
        if inputs.top_counts[row] < 0 && inputs.targets[row] < 0 {
            *result.id = token as i32;
            return;
        }
        let num_top = inputs.top_counts[row].max(0) as usize;
        let top_ids = &mut result.top_ids[..num_top];
        let top_logprobs = &mut result.top_logprobs[..num_top];
        if let Some(reported) = report(logits, token, top_ids, top_logprobs, scratch) {
            *result.id = token as i32;
            *result.logprob = reported.logprob;
            *result.rank = reported.rank;
        }
    }

    fn check_rows(
        &self,
        logits: &[f32],
        rows: usize,
        inputs: &RowInputs<'_>,
        outputs: &RowOutputs<'_>,
    ) -> Result<(), SamplerError> {
        let at_least = |what, got: usize, expected: usize| {
            if got >= expected {
                Ok(())
            } else {
                Err(SamplerError::BadLength {
                    what,
                    got,
                    expected,
                })
            }
        };
        at_least("logits", logits.len(), rows.saturating_mul(self.vocab_size))?;
        at_least("slots", inputs.slots.len(), rows)?;
        at_least("positions", inputs.positions.len(), rows)?;
        at_least("targets", inputs.targets.len(), rows)?;
        at_least("top_counts", inputs.top_counts.len(), rows)?;
        at_least("ids", outputs.ids.len(), rows)?;
        at_least("logprobs", outputs.logprobs.len(), rows)?;
        at_least("ranks", outputs.ranks.len(), rows)?;
        at_least("top_ids", outputs.top_ids.len(), rows * MAX_TOP_LOGPROBS)?;
        at_least(
            "top_logprobs",
            outputs.top_logprobs.len(),
            rows * MAX_TOP_LOGPROBS,
        )?;
        let mut is_used = vec![false; self.slots.len()];
        for row in 0..rows {
            self.check_row(row, inputs, &mut is_used)?;
        }
        Ok(())
    }

    fn check_row(
        &self,
        row: usize,
        inputs: &RowInputs<'_>,
        is_used: &mut [bool],
    ) -> Result<(), SamplerError> {
        let (slot, target, top_count) = (
            inputs.slots[row],
            inputs.targets[row],
            inputs.top_counts[row],
        );
        if !(-1..=MAX_TOP_LOGPROBS as i32).contains(&top_count) {
            let value = f64::from(top_count);
            return Err(SamplerError::ValueOutOfRange {
                what: "top_counts",
                value,
                expected: "-1 to 20",
            });
        }
        if target < -1 || (target >= 0 && target as usize >= self.vocab_size) {
            let vocab_size = self.vocab_size;
            return Err(SamplerError::TokenOutOfRange {
                what: "targets",
                id: target,
                vocab_size,
            });
        }
        if slot == -1 {
            return Ok(());
        }
        if slot < 0 || slot as usize >= self.slots.len() {
            return Err(SamplerError::SlotOutOfRange {
                slot: i64::from(slot),
                max_slots: self.slots.len(),
            });
        }
        if self.slots[slot as usize].is_none() {
            return Err(SamplerError::SlotNotSet { row, slot });
        }
        if target == -1 {
            if inputs.positions[row] < 0 {
                let value = f64::from(inputs.positions[row]);
                return Err(SamplerError::ValueOutOfRange {
                    what: "positions",
                    value,
                    expected: "≥ 0",
                });
            }
            let is_second = std::mem::replace(&mut is_used[slot as usize], true);
            if is_second
                && self.slots[slot as usize]
                    .as_ref()
                    .is_some_and(Slot::has_memory)
            {
                return Err(SamplerError::SlotUsedTwice { row, slot });
            }
        }
        Ok(())
    }
}

fn draw_with(slot: &Slot, raw: &[f32], position: u32, scratch: &mut Scratch) -> Option<usize> {
    let mut processed = std::mem::take(&mut scratch.processed);
    let logits = if slot.has_processors() {
        processed.clear();
        processed.extend_from_slice(raw);
        slot.process(&mut processed);
        &processed
    } else {
        raw
    };
    let token = match &slot.draw {
        None => greedy(logits, scratch),
        Some(params) => draw(
            logits,
            params,
            uniform_bits(slot.seed, slot.choice, position),
            scratch,
        ),
    };
    scratch.processed = processed;
    token
}

/// A poisoned lock only says that another row's job panicked; its data is still whole.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
