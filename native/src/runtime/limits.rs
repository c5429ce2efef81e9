//! Sizes of a model, checked once: every product that sizes memory or an index is known not to overflow afterwards.
//!
//! I1: all counts are ≥ 1. I2: every flat index (slots, block tables, logits) fits in `i32`, or in `isize` for logits.

use crate::failure::{Code, Failure, Outcome};

/// Alternatives a sampled row can report; the width of `topIds` and `topLogprobs`.
pub const MAX_TOP_LOGPROBS: usize = 20;
const BLOCK_SIZES: [usize; 3] = [16, 32, 64];
const MAX_THREADS: usize = 1024;
/// Far above what one machine serves; bounds what the sampler allocates at once.
const MAX_SEQS: usize = 65_536;

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub threads: usize,
    pub block_size: usize,
    pub num_blocks: usize,
    pub max_tokens: usize,
    pub max_seqs: usize,
    pub max_blocks_per_seq: usize,
    pub max_logits_rows: usize,
    pub vocab_size: usize,
}

impl Limits {
    /// Check I1 and I2. The error names the option as JavaScript spells it.
    pub fn check(&self) -> Outcome<()> {
        in_range("threads", self.threads, MAX_THREADS)?;
        in_range("maxNumBatchedTokens", self.max_tokens, i32::MAX as usize)?;
        check_sampling(self.max_seqs, self.max_logits_rows, self.vocab_size)?;
        if !BLOCK_SIZES.contains(&self.block_size) {
            return Err(bad(format!(
                "blockSize must be 16, 32 or 64 tokens, got {}",
                self.block_size
            )));
        }
        product_fits("numBlocks * blockSize", self.num_blocks, self.block_size)?;
        product_fits(
            "maxBlocksPerSeq * blockSize",
            self.max_blocks_per_seq,
            self.block_size,
        )?;
        product_fits(
            "maxNumSeqs * maxBlocksPerSeq",
            self.max_seqs,
            self.max_blocks_per_seq,
        )?;
        Ok(())
    }

    /// Positions a sequence can reach; sizes the rope tables.
    pub fn max_positions(&self) -> usize {
        self.max_blocks_per_seq * self.block_size
    }
}

/// The part of I1 and I2 that a sampler alone needs.
pub fn check_sampling(max_seqs: usize, max_rows: usize, vocab_size: usize) -> Outcome<()> {
    in_range("maxNumSeqs", max_seqs, MAX_SEQS)?;
    in_range("maxLogitsRows", max_rows, i32::MAX as usize)?;
    in_range("vocabSize", vocab_size, i32::MAX as usize)?;
    product_fits("maxLogitsRows * 20", max_rows, MAX_TOP_LOGPROBS)?;
    let bytes = max_rows
        .checked_mul(vocab_size)
        .and_then(|n| n.checked_mul(4));
    match bytes {
        Some(bytes) if bytes <= isize::MAX as usize => Ok(()),
        _ => Err(bad(format!(
            "maxLogitsRows * vocabSize is too large: {max_rows} * {vocab_size}"
        ))),
    }
}

fn in_range(name: &str, value: usize, max: usize) -> Outcome<()> {
    if (1..=max).contains(&value) {
        return Ok(());
    }
    Err(bad(format!("{name} must be 1 to {max}, got {value}")))
}

fn product_fits(name: &str, a: usize, b: usize) -> Outcome<()> {
    match a.checked_mul(b) {
        Some(n) if n >= 1 && n <= i32::MAX as usize => Ok(()),
        _ => Err(bad(format!(
            "{name} must be 1 to {}, got {a} * {b}",
            i32::MAX
        ))),
    }
}

fn bad(message: String) -> Failure {
    Failure::new(Code::BadOption, message)
}
