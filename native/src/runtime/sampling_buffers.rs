//! The arrays that the sampler reads and writes, allocated once in native memory, and the one call that draws from them.
//!
//! A model's step and the stand-alone sampler share this, so that both draw alike. Knows nothing of sessions or N-API.
//!
//! I1: as in `StepBuffers`: JavaScript writes between draws, a draw reads; nobody does both at once.

use ingot_sampler::{ParallelFor, RowInputs, RowOutputs, Sampler};

use super::limits::MAX_TOP_LOGPROBS;
use super::shared_array::SharedArray;
use crate::failure::{Code, Failure, Outcome};

/// Shapes and meanings are those of `NativeSamplerBuffers` in `native/binding.ts`.
pub struct SamplingBuffers {
    pub sampler_slots: SharedArray<i32>,      // [maxL]
    pub sample_positions: SharedArray<i32>,   // [maxL]
    pub target_ids: SharedArray<i32>,         // [maxL]
    pub top_logprob_counts: SharedArray<i32>, // [maxL]
    pub sampled_ids: SharedArray<i32>,        // [maxL] out
    pub sampled_logprobs: SharedArray<f32>,   // [maxL] out
    pub sampled_ranks: SharedArray<i32>,      // [maxL] out
    pub top_ids: SharedArray<i32>,            // [maxL * 20] out
    pub top_logprobs: SharedArray<f32>,       // [maxL * 20] out
    pub logits: SharedArray<f32>,             // [maxL * vocabSize]
    vocab_size: usize,
}

impl SamplingBuffers {
    pub fn new(rows: usize, vocab_size: usize) -> Outcome<Self> {
        Ok(Self {
            sampler_slots: SharedArray::zeroed(rows)?,
            sample_positions: SharedArray::zeroed(rows)?,
            target_ids: SharedArray::zeroed(rows)?,
            top_logprob_counts: SharedArray::zeroed(rows)?,
            sampled_ids: SharedArray::zeroed(rows)?,
            sampled_logprobs: SharedArray::zeroed(rows)?,
            sampled_ranks: SharedArray::zeroed(rows)?,
            top_ids: SharedArray::zeroed(rows * MAX_TOP_LOGPROBS)?,
            top_logprobs: SharedArray::zeroed(rows * MAX_TOP_LOGPROBS)?,
            logits: SharedArray::zeroed(rows * vocab_size)?,
            vocab_size,
        })
    }

    /// By their names in `native/binding.ts`.
    pub fn ints(&self) -> [(&'static str, &SharedArray<i32>); 7] {
        [
            ("samplerSlots", &self.sampler_slots),
            ("samplePositions", &self.sample_positions),
            ("targetIds", &self.target_ids),
            ("topLogprobCounts", &self.top_logprob_counts),
            ("sampledIds", &self.sampled_ids),
            ("sampledRanks", &self.sampled_ranks),
            ("topIds", &self.top_ids),
        ]
    }

    /// As `ints`.
    pub fn floats(&self) -> [(&'static str, &SharedArray<f32>); 3] {
        [
            ("sampledLogprobs", &self.sampled_logprobs),
            ("topLogprobs", &self.top_logprobs),
            ("logits", &self.logits),
        ]
    }

    /// Draw from the first `rows` rows of `logits`, and write what came of it.
    ///
    /// # Safety
    /// Nobody else touches the arrays during the call (I1).
    pub unsafe fn draw(
        &self,
        sampler: &mut Sampler,
        rows: usize,
        run: ParallelFor<'_>,
    ) -> Outcome<()> {
        let num_top = rows * MAX_TOP_LOGPROBS;
        // SAFETY: the caller's promise; no array appears twice.
        let (logits, inputs, outputs) = unsafe {
            (
                self.logits.first(rows * self.vocab_size),
                RowInputs {
                    slots: self.sampler_slots.first(rows),
                    positions: self.sample_positions.first(rows),
                    targets: self.target_ids.first(rows),
                    top_counts: self.top_logprob_counts.first(rows),
                },
                RowOutputs {
                    ids: self.sampled_ids.first_mut(rows),
                    logprobs: self.sampled_logprobs.first_mut(rows),
                    ranks: self.sampled_ranks.first_mut(rows),
                    top_ids: self.top_ids.first_mut(num_top),
                    top_logprobs: self.top_logprobs.first_mut(num_top),
                },
            )
        };
        sampler
            .sample_rows(logits, rows, inputs, outputs, run)
            .map_err(|error| Failure::new(Code::BadStep, error))
    }
}
