//! The arrays of one step, allocated once in native memory and seen by JavaScript as typed arrays over the same bytes.
//!
//! Owns the memory; every view holds an `Arc` of this, so that a view outlives `dispose`. Knows nothing of N-API.
//!
//! I1: an array never moves and never changes its length.
//! I2: JavaScript writes between steps and the compute thread reads during one; nobody does both at once (the contract of
//!     `native/binding.ts`). A caller that breaks it gets garbage numbers; the kernels check every index they follow.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;

use super::limits::{Limits, MAX_TOP_LOGPROBS};
use crate::failure::{Code, Failure, Outcome};

/// A zeroed array of plain numbers that Rust and JavaScript share.
pub struct SharedArray<T> {
    data: NonNull<T>,
    len: usize,
}

// SAFETY: plain memory without thread affinity; I2 says who touches it when.
unsafe impl<T: Send> Send for SharedArray<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for SharedArray<T> {}

/// Numbers whose all-zero bytes are a value. Sealed to the two that cross the surface.
pub trait Number: Copy {}
impl Number for i32 {}
impl Number for f32 {}

impl<T: Number> SharedArray<T> {
    /// `len` ≥ 1 zeros; pages are touched on first use only.
    fn zeroed(len: usize) -> Outcome<Self> {
        let layout = Layout::array::<T>(len.max(1)).map_err(|_| out_of_memory(len))?;
        // SAFETY: the layout's size is not zero.
        let raw = unsafe { alloc_zeroed(layout) }.cast::<T>();
        let data = NonNull::new(raw).ok_or_else(|| out_of_memory(layout.size()))?;
        Ok(Self { data, len })
    }

    pub fn as_ptr(&self) -> *mut T {
        self.data.as_ptr()
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// The first `count` elements.
    ///
    /// # Safety
    /// No one writes them while the slice lives (I2); `count` ≤ `len`, which is checked.
    pub unsafe fn first(&self, count: usize) -> &[T] {
        assert!(count <= self.len);
        // SAFETY: initialised, in bounds; aliasing is the caller's promise.
        unsafe { std::slice::from_raw_parts(self.data.as_ptr(), count) }
    }

    /// The first `count` elements, to be written.
    ///
    /// # Safety
    /// No one else reads or writes them while the slice lives (I2).
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn first_mut(&self, count: usize) -> &mut [T] {
        assert!(count <= self.len);
        // SAFETY: initialised, in bounds; aliasing is the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.data.as_ptr(), count) }
    }
}

impl<T> Drop for SharedArray<T> {
    fn drop(&mut self) {
        // The same layout as in `zeroed`, where it was found valid.
        if let Ok(layout) = Layout::array::<T>(self.len.max(1)) {
            // SAFETY: allocated by `zeroed` with this layout, freed once.
            unsafe { dealloc(self.data.as_ptr().cast(), layout) };
        }
    }
}

/// Shapes and meanings are those of `NativeBuffers` in `native/binding.ts`.
pub struct StepBuffers {
    pub token_ids: SharedArray<i32>,          // [maxT]
    pub positions: SharedArray<i32>,          // [maxT]
    pub slot_mapping: SharedArray<i32>,       // [maxT]
    pub query_starts: SharedArray<i32>,       // [maxB + 1]
    pub context_lengths: SharedArray<i32>,    // [maxB]
    pub block_tables: SharedArray<i32>,       // [maxB * maxBlocksPerSeq]
    pub logits_rows: SharedArray<i32>,        // [maxL]
    pub sampler_slots: SharedArray<i32>,      // [maxL]
    pub sample_positions: SharedArray<i32>,   // [maxL]
    pub target_ids: SharedArray<i32>,         // [maxL]
    pub top_logprob_counts: SharedArray<i32>, // [maxL]
    pub sampled_ids: SharedArray<i32>,        // [maxL] out
    pub sampled_logprobs: SharedArray<f32>,   // [maxL] out
    pub sampled_ranks: SharedArray<i32>,      // [maxL] out
    pub top_ids: SharedArray<i32>,            // [maxL * 20] out
    pub top_logprobs: SharedArray<f32>,       // [maxL * 20] out
    pub logits: SharedArray<f32>,             // [maxL * vocabSize] out
}

impl StepBuffers {
    pub fn new(limits: &Limits) -> Outcome<Self> {
        let (tokens, seqs, rows) = (limits.max_tokens, limits.max_seqs, limits.max_logits_rows);
        Ok(Self {
            token_ids: SharedArray::zeroed(tokens)?,
            positions: SharedArray::zeroed(tokens)?,
            slot_mapping: SharedArray::zeroed(tokens)?,
            query_starts: SharedArray::zeroed(seqs + 1)?,
            context_lengths: SharedArray::zeroed(seqs)?,
            block_tables: SharedArray::zeroed(seqs * limits.max_blocks_per_seq)?,
            logits_rows: SharedArray::zeroed(rows)?,
            sampler_slots: SharedArray::zeroed(rows)?,
            sample_positions: SharedArray::zeroed(rows)?,
            target_ids: SharedArray::zeroed(rows)?,
            top_logprob_counts: SharedArray::zeroed(rows)?,
            sampled_ids: SharedArray::zeroed(rows)?,
            sampled_logprobs: SharedArray::zeroed(rows)?,
            sampled_ranks: SharedArray::zeroed(rows)?,
            top_ids: SharedArray::zeroed(rows * MAX_TOP_LOGPROBS)?,
            top_logprobs: SharedArray::zeroed(rows * MAX_TOP_LOGPROBS)?,
            logits: SharedArray::zeroed(rows * limits.vocab_size)?,
        })
    }

    /// Bytes reserved, all arrays together.
    pub fn bytes(&self) -> usize {
        let ints = [
            &self.token_ids,
            &self.positions,
            &self.slot_mapping,
            &self.query_starts,
            &self.context_lengths,
            &self.block_tables,
            &self.logits_rows,
            &self.sampler_slots,
            &self.sample_positions,
            &self.target_ids,
            &self.top_logprob_counts,
            &self.sampled_ids,
            &self.sampled_ranks,
            &self.top_ids,
        ];
        let floats = [&self.sampled_logprobs, &self.top_logprobs, &self.logits];
        let numbers: usize = ints.iter().map(|a| a.len()).sum::<usize>()
            + floats.iter().map(|a| a.len()).sum::<usize>();
        numbers * 4
    }
}

fn out_of_memory(bytes: usize) -> Failure {
    Failure::new(
        Code::OutOfMemory,
        format_args!(
            "no memory for a step buffer of {bytes} bytes; lower maxLogitsRows or maxNumBatchedTokens"
        ),
    )
}
