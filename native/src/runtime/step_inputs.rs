//! Checks of one step's index arrays that cost next to nothing, before a kernel follows them.
//!
//! Knows the arrays' meanings in `native/binding.ts`. What only a kernel can judge (token ids against the embedding,
//! slots and block ids against the KV pool, positions against the rope table) the kernels check themselves.

use super::limits::Limits;
use super::session::StepCounts;
use super::step_buffers::StepBuffers;
use crate::failure::{Code, Failure, Outcome};

/// Counts against capacity: T ≥ B ≥ 1, and 0 ≤ L ≤ T.
pub fn check_counts(counts: StepCounts, limits: &Limits) -> Outcome<()> {
    in_range("numTokens", counts.tokens, 1, limits.max_tokens)?;
    in_range(
        "numSeqs",
        counts.seqs,
        1,
        limits.max_seqs.min(counts.tokens),
    )?;
    let most = limits.max_logits_rows.min(counts.tokens);
    in_range("numLogitsRows", counts.logits_rows, 0, most)
}

/// `queryStarts` must cut the T rows into B runs of at least one, each of which ends where `contextLengths` says;
/// `logitsRows` must name rows, ascending.
///
/// Cost: O(B + L).
pub fn check_rows(buffers: &StepBuffers, counts: StepCounts) -> Outcome<()> {
    // SAFETY: a step is under way, so JavaScript does not write (`StepBuffers` I2).
    let (starts, rows, positions, contexts) = unsafe {
        (
            buffers.query_starts.first(counts.seqs + 1),
            buffers.logits_rows.first(counts.logits_rows),
            buffers.positions.first(counts.tokens),
            buffers.context_lengths.first(counts.seqs),
        )
    };
    let is_ascending = starts.windows(2).all(|pair| pair[0] < pair[1]);
    if starts[0] != 0 || starts[counts.seqs] != counts.tokens as i32 || !is_ascending {
        return Err(bad(format!(
            "queryStarts must ascend from 0 to numTokens = {}, got {starts:?}",
            counts.tokens
        )));
    }
    for (sequence, &context) in contexts.iter().enumerate() {
        let last = positions[starts[sequence + 1] as usize - 1];
        if last < 0 || last.checked_add(1) != Some(context) {
            return Err(bad(format!(
                "contextLengths[{sequence}] must be its last row's position + 1, got {context} and {last}"
            )));
        }
    }
    let is_ascending = rows.windows(2).all(|pair| pair[0] < pair[1]);
    let is_inside = rows.first().is_none_or(|&row| row >= 0)
        && rows.last().is_none_or(|&row| row < counts.tokens as i32);
    if !is_ascending || !is_inside {
        return Err(bad(format!(
            "logitsRows must ascend within 0 to {}, got {rows:?}",
            counts.tokens - 1
        )));
    }
    Ok(())
}

fn in_range(name: &str, value: usize, least: usize, most: usize) -> Outcome<()> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(bad(format!(
        "{name} must be {least} to {most}, got {value}"
    )))
}

fn bad(message: String) -> Failure {
    Failure::new(Code::BadStep, message)
}
