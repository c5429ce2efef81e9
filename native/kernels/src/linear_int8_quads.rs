//! The int8 path of `linear_int8` over `Quads`.

use std::ops::Range;

use crate::linear::Target;
use crate::linear_ahead::Ahead;
use crate::linear_quads::{Piece, add_bytes, add_minimum, add_nibbles, add_scaled, store_sums};
use crate::packed_linear::Kind;
use crate::quads::{Dots, Quads, Sums};
use crate::quantize::QuantisedRow;

const NIBBLES: u8 = 0;
const NIBBLES_WITH_MINIMUM: u8 = 1;
const INT8: u8 = 2;

/// Multiply 1 to 6 rows with a tile of nibbles or bytes.
///
/// # Safety
/// As `int8_rows`, on a CPU whose family `has_quads`; `acts` are the tile's rows, which are `rows` of the target.
pub(crate) unsafe fn tile(
    kind: Kind,
    weights: *const u8,
    blocks: usize,
    acts: *const QuantisedRow,
    rows: Range<usize>,
    target: &Target,
    ahead: &Ahead,
) {
    crate::on_quads!(pieces(kind: Kind, weights: *const u8, blocks: usize, acts: *const QuantisedRow, rows: Range<usize>, target: &Target, ahead: &Ahead));
}

#[inline(always)]
unsafe fn pieces<Q: Quads>(
    kind: Kind,
    weights: *const u8,
    blocks: usize,
    acts: *const QuantisedRow,
    rows: Range<usize>,
    target: &Target,
    ahead: &Ahead,
) {
    macro_rules! of_kind {
        ($kind:expr) => {
            crate::in_pieces!(
                Q,
                acts,
                rows,
                target,
                ahead,
                columns[{ $kind }](weights, blocks)
            )
        };
    }
    match kind {
        Kind::Nibbles { .. } => of_kind!(NIBBLES),
        Kind::NibblesWithMinimum => of_kind!(NIBBLES_WITH_MINIMUM),
        _ => of_kind!(INT8),
    }
}

#[inline(always)]
unsafe fn columns<Q: Quads, const ROWS: usize, const KIND: u8>(
    weights: *const u8,
    blocks: usize,
    piece: &Piece<'_>,
) {
    let (column, vectors) = (piece.column, const { Q::VECTORS[ROWS] });
    let (quant_bytes, block_bytes) = match KIND {
        NIBBLES => (512, 576),
        NIBBLES_WITH_MINIMUM => (512, 640),
        _ => (1024, 1088),
    };
    let mut sums: Sums<Q, ROWS> = [[Q::splat(0.0); _]; ROWS];
    for block in 0..blocks {
        let (tile, act) = (weights.add(block * block_bytes), piece.block(block));
        piece.ahead.fetch(block * block_bytes);
        let mut dots: Dots<Q, ROWS> = [[Q::start(0); _]; ROWS];
        for row in 0..ROWS {
            let a = &*act.add(row);
            let start = match KIND {
                NIBBLES => a.sum_8,
                INT8 if Q::TAKES_UNSIGNED => a.sum_128,
                _ => 0,
            };
            dots[row] = [Q::start(start); _];
        }
        match KIND {
            INT8 => add_bytes::<Q, ROWS>(tile, column, act, &mut dots),
            _ => add_nibbles::<Q, ROWS>(tile, column, act, &mut dots),
        }
        for vector in 0..vectors {
            let scales = tile.add(quant_bytes + (column + vector * Q::LANES) * 2);
            add_scaled::<Q, ROWS>(vector, &dots, Q::load_f16(scales), act, &mut sums);
            if KIND == NIBBLES_WITH_MINIMUM {
                let minimum = Q::load_f16(scales.add(64));
                add_minimum::<Q, ROWS>(vector, minimum, act, &mut sums);
            }
        }
    }
    store_sums::<Q, ROWS>(&sums, piece);
}
