//! The grouped path of `linear_grouped` over `Quads`.

use std::ops::Range;

use crate::grouped::{Codes, Grouped};
use crate::linear::Target;
use crate::linear_ahead::Ahead;
use crate::linear_quads::{Piece, add_bytes, add_nibbles, store_sums};
use crate::packed_linear::TILE_COLUMNS;
use crate::quads::{Dots, Quads, Sums};
use crate::quantize::QuantisedRow;

/// Multiply 1 to 6 rows with a tile of grouped integers.
///
/// # Safety
/// As `grouped_rows`, on a CPU whose family `has_quads`; `acts` are the tile's rows, which are `rows` of the target.
pub(crate) unsafe fn tile(
    kind: Grouped,
    weights: *const u8,
    blocks: usize,
    acts: *const QuantisedRow,
    rows: Range<usize>,
    target: &Target,
    ahead: &Ahead,
) {
    crate::on_quads!(pieces(kind: Grouped, weights: *const u8, blocks: usize, acts: *const QuantisedRow, rows: Range<usize>, target: &Target, ahead: &Ahead));
}

#[inline(always)]
unsafe fn pieces<Q: Quads>(
    kind: Grouped,
    weights: *const u8,
    blocks: usize,
    acts: *const QuantisedRow,
    rows: Range<usize>,
    target: &Target,
    ahead: &Ahead,
) {
    match kind.codes {
        Codes::Bytes => {
            crate::in_pieces!(
                Q,
                acts,
                rows,
                target,
                ahead,
                columns[true](kind, weights, blocks)
            );
        }
        _ => {
            crate::in_pieces!(
                Q,
                acts,
                rows,
                target,
                ahead,
                columns[false](kind, weights, blocks)
            );
        }
    }
}

#[inline(always)]
unsafe fn columns<Q: Quads, const ROWS: usize, const BYTES: bool>(
    kind: Grouped,
    weights: *const u8,
    blocks: usize,
    piece: &Piece<'_>,
) {
    let (column, vectors) = (piece.column, const { Q::VECTORS[ROWS] });
    let code_bytes = if BYTES { 1024 } else { 512 };
    let mut sums: Sums<Q, ROWS> = [[Q::splat(0.0); _]; ROWS];
    // Walked along, since a division a block would cost as much as its sums.
    let mut scales = weights.add(kind.scales_at(blocks, 0) + column * 4);
    // Wherever it points when there are none.
    let mut zeros = weights.wrapping_add(kind.zeros_at(blocks, 0) + column);
    let mut left_of_scale = kind.blocks_per_scale;
    for block in 0..blocks {
        let (tile, act) = (weights.add(block * code_bytes), piece.block(block));
        piece.ahead.fetch(block * code_bytes);
        let mut dots: Dots<Q, ROWS> = [[Q::start(0); _]; ROWS];
        for row in 0..ROWS {
            let a = &*act.add(row);
            let start = match BYTES {
                false => a.sum_8,
                true if Q::TAKES_UNSIGNED => a.sum_128,
                true => 0,
            };
            dots[row] = [Q::start(start); _];
        }
        match BYTES {
            true => add_bytes::<Q, ROWS>(tile, column, act, &mut dots),
            false => add_nibbles::<Q, ROWS>(tile, column, act, &mut dots),
        }
        for vector in 0..vectors {
            let scale = Q::load_f32(scales.add(vector * Q::LANES * 4));
            for row in 0..ROWS {
                let a = &*act.add(row);
                let mut dot = Q::finish(dots[row][vector]);
                if kind.has_zeros {
                    let zeros = zeros.add(vector * Q::LANES).cast();
                    dot = Q::less_product(dot, zeros, a.sums[0] + a.sums[1]);
                }
                let scale = Q::mul(scale, Q::splat(a.scale));
                sums[row][vector] = Q::fma(Q::numbers(dot), scale, sums[row][vector]);
            }
        }
        left_of_scale -= 1;
        if left_of_scale == 0 {
            scales = scales.wrapping_add(TILE_COLUMNS * 4);
            zeros = zeros.wrapping_add(TILE_COLUMNS);
            left_of_scale = kind.blocks_per_scale;
        }
    }
    store_sums::<Q, ROWS>(&sums, piece);
}
