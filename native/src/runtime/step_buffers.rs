//! The arrays of one step, allocated once in native memory and seen by JavaScript as typed arrays over the same bytes.
//!
//! Owns the memory; every view holds an `Arc` of this, so that a view outlives `dispose`. Knows nothing of N-API.
//!
//! I1: an array never moves and never changes its length.
//! I2: JavaScript writes between steps and the compute thread reads during one; nobody does both at once (the contract of
//!     `native/binding.ts`). A caller that breaks it gets garbage numbers; the kernels check every index they follow.

use super::limits::Limits;
use super::sampling_buffers::SamplingBuffers;
use super::shared_array::SharedArray;
use crate::failure::Outcome;

/// Shapes and meanings are those of `NativeBuffers` in `native/binding.ts`.
pub struct StepBuffers {
    pub token_ids: SharedArray<i32>,       // [maxT]
    pub positions: SharedArray<i32>,       // [maxT]
    pub slot_mapping: SharedArray<i32>,    // [maxT]
    pub query_starts: SharedArray<i32>,    // [maxB + 1]
    pub context_lengths: SharedArray<i32>, // [maxB]
    pub block_tables: SharedArray<i32>,    // [maxB * maxBlocksPerSeq]
    pub logits_rows: SharedArray<i32>,     // [maxL]
    pub adapter_rows: SharedArray<i32>,    // [maxT]
    pub sampling: SamplingBuffers,
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
            adapter_rows: SharedArray::zeroed(tokens)?,
            sampling: SamplingBuffers::new(rows, limits.vocab_size)?,
        })
    }

    /// Those that the sampler does not know, by their names in `native/binding.ts`.
    pub fn indices(&self) -> [(&'static str, &SharedArray<i32>); 8] {
        [
            ("tokenIds", &self.token_ids),
            ("positions", &self.positions),
            ("slotMapping", &self.slot_mapping),
            ("queryStarts", &self.query_starts),
            ("contextLengths", &self.context_lengths),
            ("blockTables", &self.block_tables),
            ("logitsRows", &self.logits_rows),
            ("adapterRows", &self.adapter_rows),
        ]
    }

    /// Bytes reserved, all arrays together.
    pub fn bytes(&self) -> usize {
        let indices: usize = self.indices().iter().map(|(_, array)| array.len()).sum();
        let ints: usize = self
            .sampling
            .ints()
            .iter()
            .map(|(_, array)| array.len())
            .sum();
        let floats: usize = self
            .sampling
            .floats()
            .iter()
            .map(|(_, array)| array.len())
            .sum();
        (indices + ints + floats) * 4
    }
}
