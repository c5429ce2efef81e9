//! One draw from one row: greedy, or temperature, top-k, top-p, min-p and inverse CDF in token-id order.

use crate::scan::{BLOCK, MIN_SCALED, block_masses, block_maxima, scaled, weight};
use crate::select::{gather, key, key_logit, last_key_within_mass, most_likely};
use crate::spec::SamplerSpec;

/// How far below the most likely token, in scaled logits, candidates for top-p are looked for, one try after another.
/// The last holds every token with a weight.
const TOP_P_REACH: [f32; 4] = [-4.0, -8.0, -16.0, MIN_SCALED];

/// The parameters of a draw in the form that a row needs.
#[derive(Clone, Copy)]
pub(crate) struct DrawParams {
    /// 1 / temperature.
    scale: f32,
    top_k: usize,
    top_p: f64,
    /// Least scaled logit: ln(min_p); -inf = off.
    min_scaled: f32,
}

impl DrawParams {
    pub fn new(spec: &SamplerSpec<'_>) -> Self {
        Self {
            scale: (1.0 / spec.temperature) as f32,
            top_k: spec.top_k as usize,
            top_p: spec.top_p,
            min_scaled: spec.min_p.ln() as f32,
        }
    }
}

/// Working memory of a row; grows once to the vocabulary's size.
#[derive(Default)]
pub(crate) struct Scratch {
    pub processed: Vec<f32>, // [vocab]
    pub maxima: Vec<f32>,    // [vocab / BLOCK]
    pub masses: Vec<u64>,    // [vocab / BLOCK]
    pub bounds: Vec<f32>,    // [vocab / BLOCK]
    pub keys: Vec<u64>,      // [≤ vocab]
}

/// The most likely token, or `None` when the row cannot be drawn from.
pub(crate) fn greedy(logits: &[f32], scratch: &mut Scratch) -> Option<usize> {
    let max = block_maxima(logits, &mut scratch.maxima)?;
    let block = scratch.maxima.iter().position(|&x| x == max)?;
    let start = block * BLOCK;
    logits[start..]
        .iter()
        .position(|&x| x == max)
        .map(|offset| start + offset)
}

/// A token drawn with 64 uniform bits, or `None` when the row cannot be drawn from.
pub(crate) fn draw(
    logits: &[f32],
    params: &DrawParams,
    bits: u64,
    scratch: &mut Scratch,
) -> Option<usize> {
    let max = block_maxima(logits, &mut scratch.maxima)?;
    let scale = params.scale;
    let last_key = last_kept_key(logits, max, params, scratch);
    let is_whole = last_key == u64::MAX && params.min_scaled == f32::NEG_INFINITY;
    let bound = if last_key == u64::MAX {
        f32::NEG_INFINITY
    } else {
        key_logit(last_key)
    };
    let kept = |logit: f32, id: usize| {
        let scaled_logit = scaled(logit, max, scale);
        let is_kept =
            logit >= bound && scaled_logit >= params.min_scaled && key(logit, id) <= last_key;
        if is_kept { weight(scaled_logit) } else { 0 }
    };

    let total = if is_whole {
        block_masses(logits, max, scale, &mut scratch.masses)
    } else {
        scratch.masses.clear();
        for (index, block) in logits.chunks(BLOCK).enumerate() {
            let is_reached = scratch.maxima[index] >= bound;
            let masses = block
                .iter()
                .enumerate()
                .map(|(offset, &x)| kept(x, index * BLOCK + offset));
            scratch
                .masses
                .push(if is_reached { masses.sum() } else { 0 });
        }
        scratch.masses.iter().sum()
    };

    // bits / 2^64 of the total, rounded down: always below the total, so a token is always found.
    let mut rest = ((u128::from(bits) * u128::from(total)) >> 64) as u64;
    let block = scratch.masses.iter().position(|&mass| {
        let is_here = rest < mass;
        rest -= if is_here { 0 } else { mass };
        is_here
    })?;
    let start = block * BLOCK;
    (start..logits.len()).find(|&id| {
        let mass = kept(logits[id], id);
        let is_here = rest < mass;
        rest -= if is_here { 0 } else { mass };
        is_here
    })
}

/// What top-k and then top-p keep: every key up to the returned one; `u64::MAX` = everything.
fn last_kept_key(logits: &[f32], max: f32, params: &DrawParams, scratch: &mut Scratch) -> u64 {
    let scale = params.scale;
    let has_top_k = params.top_k > 0 && params.top_k < logits.len();
    let has_top_p = params.top_p < 1.0;
    if has_top_k {
        most_likely(
            logits,
            &scratch.maxima,
            params.top_k,
            &mut scratch.bounds,
            &mut scratch.keys,
        );
        if !has_top_p {
            return scratch.keys.iter().copied().max().unwrap_or(u64::MAX);
        }
        let total = mass_of(&scratch.keys, max, scale);
        return last_key_within_mass(&mut scratch.keys, share(params.top_p, total), max, scale);
    }
    if !has_top_p {
        return u64::MAX;
    }
    let needed = share(
        params.top_p,
        block_masses(logits, max, scale, &mut scratch.masses),
    );
    for reach in TOP_P_REACH {
        // Rounding may move this bound by an ulp; only the mass that was gathered decides, so that does no harm.
        gather(
            logits,
            &scratch.maxima,
            max + reach / scale,
            &mut scratch.keys,
        );
        if mass_of(&scratch.keys, max, scale) >= needed {
            return last_key_within_mass(&mut scratch.keys, needed, max, scale);
        }
    }
    u64::MAX
}

fn mass_of(keys: &[u64], max: f32, scale: f32) -> u64 {
    keys.iter()
        .map(|&key| weight(scaled(key_logit(key), max, scale)))
        .sum()
}

/// `p` of `total`, rounded up, at least 1 and at most `total`.
fn share(p: f64, total: u64) -> u64 {
    ((p * total as f64).ceil() as u64).clamp(1, total)
}
