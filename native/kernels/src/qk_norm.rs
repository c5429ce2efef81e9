//! RMS norm of the queries and keys inside packed qkv rows; the values pass through.
//!
//! Either each head is normed by itself with one weight for all heads (Qwen3, Gemma 3), or all heads of q, and all of k,
//! as one vector (OLMo 2). The reduction is `norm`'s own. Source: Henry et al. 2020, arXiv:2010.04245.

use crate::norm::{in_row_chunks, norm_row};
use crate::packed_linear::SendPointer;
use crate::pool::Pool;

/// The heads of a row `[q heads | k heads | v heads]`, and how they are normed.
pub struct QkNorm<'a> {
    pub num_heads: usize,
    pub num_kv_heads: usize,
    pub head_dim: usize,
    /// As long as one head, or as all heads of q.
    pub query: &'a [f32],
    /// As long as one head, or as all heads of k.
    pub key: &'a [f32],
    pub epsilon: f32,
    pub weight_offset: f32,
}

/// `qkv` and `out` are `[rows, width]`; what lies behind q and k is copied. Panics when the weights do not divide them.
pub fn qk_norm(
    norm: &QkNorm<'_>,
    qkv: &[f32],
    rows: usize,
    width: usize,
    out: &mut [f32],
    pool: &Pool,
) {
    let query_width = norm.num_heads * norm.head_dim;
    let key_end = query_width + norm.num_kv_heads * norm.head_dim;
    assert!(qkv.len() == rows * width && out.len() == rows * width && key_end <= width);
    assert!(
        query_width.is_multiple_of(norm.query.len())
            && (key_end - query_width).is_multiple_of(norm.key.len()),
        "weights of {} and {} for {query_width} and {}",
        norm.query.len(),
        norm.key.len(),
        key_end - query_width
    );
    let out = SendPointer(out.as_mut_ptr());
    in_row_chunks(rows, pool, &|row| {
        let from = &qkv[row * width..][..width];
        // SAFETY: rows are disjoint; `out` is as long as `qkv`.
        let to = unsafe { std::slice::from_raw_parts_mut(out.get().add(row * width), width) };
        for (range, weight) in [
            (0..query_width, norm.query),
            (query_width..key_end, norm.key),
        ] {
            for at in range.step_by(weight.len()) {
                // SAFETY: the weight divides the range, which lies within the row.
                unsafe {
                    norm_row(
                        from[at..].as_ptr(),
                        weight,
                        norm.epsilon,
                        norm.weight_offset,
                        to[at..].as_mut_ptr(),
                    );
                }
            }
        }
        to[key_end..].copy_from_slice(&from[key_end..]);
    });
}
