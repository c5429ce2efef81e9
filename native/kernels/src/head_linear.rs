//! A block-diagonal linear layer: each head's columns times a matrix of its own (absorbed latent attention).

use std::sync::Arc;

use crate::linear::Activations;
use crate::linear_groups::{Group, linear_groups};
use crate::norm::in_row_chunks;
use crate::packed_linear::{PackedLinear, SendPointer};
use crate::pool::Pool;
use crate::scratch::{Scratch, grow};

/// `x` is `[rows, heads · k]`, `out` `[rows, heads · n]`, k and n being those of every head's weight. Panics otherwise.
pub fn head_linear(
    heads: &[Arc<PackedLinear>],
    x: &[f32],
    rows: usize,
    activations: Activations,
    out: &mut [f32],
    scratch: &mut Scratch,
    pool: &Pool,
) {
    let (n, k) = (heads[0].n(), heads[0].k());
    let count = heads.len();
    assert!(heads.iter().all(|head| (head.n(), head.k()) == (n, k)));
    assert!(x.len() == rows * count * k && out.len() == rows * count * n);
    let mut by_head = std::mem::take(&mut scratch.by_head);
    let turned = grow(&mut by_head, x.len(), 0.0);
    let target = SendPointer(turned.as_mut_ptr());
    in_row_chunks(rows, pool, &|row| {
        for head in 0..count {
            let from = &x[(row * count + head) * k..][..k];
            // SAFETY: (head, row) is a place of its own in a buffer as long as `x`.
            unsafe { std::slice::from_raw_parts_mut(target.get().add((head * rows + row) * k), k) }
                .copy_from_slice(from);
        }
    });
    let groups: Vec<_> = heads
        .iter()
        .enumerate()
        .map(|(head, weight)| Group {
            weight,
            bias: None,
            first_row: head * rows,
            rows,
            out_at: head * n,
            out_stride: count * n,
        })
        .collect();
    linear_groups(&groups, turned, activations, out, scratch, pool);
    scratch.by_head = by_head;
}
