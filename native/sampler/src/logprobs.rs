//! Log-probabilities of a raw row: log-softmax at temperature 1, before any processor.

use crate::draw::Scratch;
use crate::scan::{WEIGHT_ONE, block_masses, block_maxima, count_more_likely};
use crate::select::{key_id, key_logit, most_likely};

/// What one row reports.
pub(crate) struct TokenLogprob {
    pub logprob: f32,
    /// 1 = most likely.
    pub rank: i32,
}

/// Logprob and rank of `token`, and the `top_ids.len()` most likely tokens, most likely first, into `top_*`.
///
/// Returns `None` when the row has no softmax (S3). Entries beyond the vocabulary get id -1.
pub(crate) fn report(
    logits: &[f32],
    token: usize,
    top_ids: &mut [i32],
    top_logprobs: &mut [f32],
    scratch: &mut Scratch,
) -> Option<TokenLogprob> {
    let max = block_maxima(logits, &mut scratch.maxima)?;
    let total = block_masses(logits, max, 1.0, &mut scratch.masses);
    let log_total = (total as f64 / WEIGHT_ONE as f64).ln();
    let logprob = |logit: f32| ((f64::from(logit) - f64::from(max) - log_total).min(0.0)) as f32;
    if !top_ids.is_empty() {
        let num_top = top_ids.len().min(logits.len());
        most_likely(
            logits,
            &scratch.maxima,
            num_top,
            &mut scratch.bounds,
            &mut scratch.keys,
        );
        scratch.keys.sort_unstable();
        top_ids.fill(-1);
        top_logprobs.fill(f32::NEG_INFINITY);
        for (index, &key) in scratch.keys.iter().enumerate() {
            top_ids[index] = key_id(key) as i32;
            top_logprobs[index] = logprob(key_logit(key));
        }
    }
    Some(TokenLogprob {
        logprob: logprob(logits[token]),
        rank: count_more_likely(logits, token) as i32 + 1,
    })
}
