//! Columns of each head cut out of rows, and joined again: copies, for attention whose heads have parts.

use crate::norm::in_row_chunks;
use crate::packed_linear::SendPointer;
use crate::pool::Pool;

/// Columns `offset … offset + width` of each of `num_heads` equal groups of `x` `[rows, num_heads · group]` →
/// `out` `[rows, num_heads · width]`. Panics when they lie outside the group.
#[allow(clippy::too_many_arguments)]
pub fn slice_heads(
    x: &[f32],
    rows: usize,
    num_heads: usize,
    group: usize,
    offset: usize,
    width: usize,
    out: &mut [f32],
    pool: &Pool,
) {
    let heads = rows * num_heads;
    assert!(x.len() == heads * group && out.len() == heads * width && offset + width <= group);
    let out = SendPointer(out.as_mut_ptr());
    in_row_chunks(rows, pool, &|row| {
        for head in row * num_heads..(row + 1) * num_heads {
            let from = &x[head * group + offset..][..width];
            // SAFETY: heads are disjoint parts of `out`, whose length was asserted.
            unsafe { std::slice::from_raw_parts_mut(out.get().add(head * width), width) }
                .copy_from_slice(from);
        }
    });
}

/// Join `a` `[rows, num_heads · a_width]` and `b` likewise head by head → `out` `[rows, num_heads · (a_width + b_width)]`.
#[allow(clippy::too_many_arguments)]
pub fn concat_heads(
    a: &[f32],
    a_width: usize,
    b: &[f32],
    b_width: usize,
    rows: usize,
    num_heads: usize,
    out: &mut [f32],
    pool: &Pool,
) {
    let (heads, width) = (rows * num_heads, a_width + b_width);
    assert!(a.len() == heads * a_width && b.len() == heads * b_width && out.len() == heads * width);
    let out = SendPointer(out.as_mut_ptr());
    in_row_chunks(rows, pool, &|row| {
        for head in row * num_heads..(row + 1) * num_heads {
            // SAFETY: as above.
            let out = unsafe { std::slice::from_raw_parts_mut(out.get().add(head * width), width) };
            out[..a_width].copy_from_slice(&a[head * a_width..][..a_width]);
            out[a_width..].copy_from_slice(&b[head * b_width..][..b_width]);
        }
    });
}
