//! Selection by likelihood without sorting a row.
//!
//! A token's key orders tokens as S4 says: smaller key, more likely; equal logits, lower id first.
//! `key = !ordered(logit) << 32 | id`, so that a set of most likely tokens is "every key up to some last key".

use crate::scan::{BLOCK, scaled, weight};

pub(crate) fn key(logit: f32, id: usize) -> u64 {
    let bits = (logit + 0.0).to_bits(); // + 0.0 makes -0 and 0 the same key
    let ordered = if bits >> 31 == 1 {
        !bits
    } else {
        bits | 1 << 31
    };
    (u64::from(!ordered) << 32) | id as u64
}

pub(crate) fn key_id(key: u64) -> usize {
    (key & u64::from(u32::MAX)) as usize
}

pub(crate) fn key_logit(key: u64) -> f32 {
    let ordered = !((key >> 32) as u32);
    f32::from_bits(if ordered >> 31 == 1 {
        ordered & !(1 << 31)
    } else {
        !ordered
    })
}

/// Keys of the `k` most likely tokens into `keys` (cleared first), in no order. 1 ≤ k ≤ vocab.
///
/// The k-th largest block maximum is a bound: k blocks hold a token at least that likely, so nothing below it counts,
/// and only blocks that reach it are read. Cost: O(vocab / 64 + 64 k) unless many logits tie.
pub(crate) fn most_likely(
    logits: &[f32],
    maxima: &[f32],
    k: usize,
    bounds: &mut Vec<f32>,
    keys: &mut Vec<u64>,
) {
    let mut bound = f32::NEG_INFINITY;
    if k <= maxima.len() {
        bounds.clear();
        bounds.extend_from_slice(maxima);
        bound = *bounds
            .select_nth_unstable_by(k - 1, |a, b| b.total_cmp(a))
            .1;
    }
    gather(logits, maxima, bound, keys);
    if k < keys.len() {
        keys.select_nth_unstable(k - 1);
        keys.truncate(k);
    }
}

/// Keys of all tokens with `logit ≥ bound` into `keys` (cleared first), by id.
pub(crate) fn gather(logits: &[f32], maxima: &[f32], bound: f32, keys: &mut Vec<u64>) {
    keys.clear();
    for (index, block) in logits.chunks(BLOCK).enumerate() {
        if maxima[index] >= bound {
            for (offset, &logit) in block.iter().enumerate() {
                if logit >= bound {
                    keys.push(key(logit, index * BLOCK + offset));
                }
            }
        }
    }
}

/// The last key of the shortest most-likely-first run of `keys` whose mass reaches `needed`.
///
/// The mass of `keys` is at least `needed`, `needed` ≥ 1. Halves the set by order until few are left: O(keys).
pub(crate) fn last_key_within_mass(
    mut keys: &mut [u64],
    mut needed: u64,
    max: f32,
    scale: f32,
) -> u64 {
    let mass_of = |key: &u64| weight(scaled(key_logit(*key), max, scale));
    while keys.len() > 32 {
        let middle = keys.len() / 2;
        keys.select_nth_unstable(middle);
        let (likely, unlikely) = keys.split_at_mut(middle);
        let mass: u64 = likely.iter().map(mass_of).sum();
        if mass >= needed {
            keys = likely;
        } else {
            needed -= mass;
            keys = unlikely;
        }
    }
    keys.sort_unstable();
    for key in keys.iter() {
        let mass = mass_of(key);
        if mass >= needed {
            return *key;
        }
        needed -= mass;
    }
    u64::MAX
}
