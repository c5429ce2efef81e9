//! What the integer kernels over `Quads` share (AVX2 with `vpdpbusd`, NEON with and without dot products): a tile of rows is
//! worked in pieces of as many rows and columns as the registers hold.
//!
//! What each output sums, and in which order, is as `linear_int8`, `linear_grouped` and `linear_planes` say. As in
//! `linear_vnni`, everything is inlined into a function compiled for the CPU's features.

use crate::linear::Target;
use crate::linear_ahead::Ahead;
use crate::packed_linear::TILE_COLUMNS;
use crate::quads::{Dots, Quads, Sums};
use crate::quantize::QuantisedRow;
use crate::simd::Simd;
use crate::simd_portable::Portable;

/// Rows and columns of a tile that are worked at once.
pub(crate) struct Piece<'a> {
    /// Activations: block b of row r lies at b · `stride` + r.
    pub acts: *const QuantisedRow,
    pub stride: usize,
    /// First column.
    pub column: usize,
    pub ahead: &'a Ahead,
    /// 32 numbers a row.
    pub to: *mut f32,
}

impl Piece<'_> {
    #[inline(always)]
    pub unsafe fn block(&self, block: usize) -> *const QuantisedRow {
        self.acts.add(block * self.stride)
    }
}

/// Work the rows of a tile in pieces: `$columns::<Q, ROWS, $generic…>($argument…, piece)` computes the columns of `ROWS`
/// rows. Only the first piece asks for weights ahead.
#[macro_export]
macro_rules! in_pieces {
    ($Q:ident, $acts:expr, $rows:expr, $target:expr, $ahead:expr,
        $columns:ident [$($generic:expr),*] ($($argument:expr),*)) => {{
        let mut out = [0.0_f32; $crate::quads::MOST_ROWS * $crate::packed_linear::TILE_COLUMNS];
        let (rows, nothing) = (&$rows, $ahead.nothing());
        let pieces = rows.len().div_ceil($Q::ROWS);
        for at in 0..pieces {
            let first = rows.len() * at / pieces;
            let count = rows.len() * (at + 1) / pieces - first;
            let width = $Q::VECTORS[count] * $Q::LANES;
            for column in (0..$crate::packed_linear::TILE_COLUMNS).step_by(width) {
                let piece = $crate::linear_quads::Piece {
                    acts: $acts.add(first),
                    stride: rows.len(),
                    column,
                    ahead: if first + column == 0 { $ahead } else { &nothing },
                    to: out.as_mut_ptr(),
                };
                match count {
                    1 => $columns::<$Q, 1 $(, $generic)*>($($argument,)* &piece),
                    2 => $columns::<$Q, 2 $(, $generic)*>($($argument,)* &piece),
                    3 if $Q::ROWS > 2 => $columns::<$Q, 3 $(, $generic)*>($($argument,)* &piece),
                    4 if $Q::ROWS > 3 => $columns::<$Q, 4 $(, $generic)*>($($argument,)* &piece),
                    _ => unreachable!("pieces have at most ROWS rows"),
                }
            }
            $crate::linear_quads::store_rows(&out, rows.start + first, count, $target);
        }
    }};
}

/// Write `count` rows of 32 numbers to the rows from `first` on.
#[inline(always)]
pub(crate) unsafe fn store_rows(out: &[f32], first: usize, count: usize, target: &Target) {
    for row in 0..count {
        let from = out[row * TILE_COLUMNS..].as_ptr();
        let (low, high) = (Portable::load(from), Portable::load(from.add(16)));
        target.store::<Portable>(first + row, low, high);
    }
}

/// Byte of a line of nibbles, bytes or bits where the words of a vector of columns lie; `lines` are those of a half.
#[inline(always)]
pub(crate) const fn line_at(lines: usize, line: usize, column: usize) -> usize {
    (column / 16 * lines + line) * 64 + column % 16 * 4
}

/// Call `$body` with `$GROUP` a constant, 0 to 3.
#[macro_export]
macro_rules! for_groups {
    ($GROUP:ident => $body:block) => {
        $crate::for_groups!(@ $GROUP => $body 0 1 2 3)
    };
    (@ $GROUP:ident => $body:block $($group:literal)*) => {
        $({
            const $GROUP: usize = $group;
            $body
        })*
    };
}

/// Add the products of a block of nibbles, laid out as `packed_linear` says.
#[inline(always)]
pub(crate) unsafe fn add_nibbles<Q: Quads, const ROWS: usize>(
    tile: *const u8,
    column: usize,
    act: *const QuantisedRow,
    dots: &mut Dots<Q, ROWS>,
) {
    crate::for_groups!(GROUP => {
        let mut nibbles = [[Q::splat_byte(0); 2]; _];
        for vector in 0..const { Q::VECTORS[ROWS] } {
            let from = tile.add(line_at(4, GROUP, column + vector * Q::LANES));
            nibbles[vector] = Q::nibbles(Q::load(from));
        }
        add_two::<Q, ROWS, GROUP>(&nibbles, act, dots);
    });
}

/// Add the products of a block of bytes.
#[inline(always)]
pub(crate) unsafe fn add_bytes<Q: Quads, const ROWS: usize>(
    tile: *const u8,
    column: usize,
    act: *const QuantisedRow,
    dots: &mut Dots<Q, ROWS>,
) {
    crate::for_groups!(GROUP => {
        let mut bytes = [[Q::splat_byte(0); 2]; _];
        for vector in 0..const { Q::VECTORS[ROWS] } {
            let at = column + vector * Q::LANES;
            bytes[vector] = [
                Q::weights(Q::load(tile.add(line_at(8, GROUP, at)))),
                Q::weights(Q::load(tile.add(line_at(8, GROUP + 4, at)))),
            ];
        }
        add_two::<Q, ROWS, GROUP>(&bytes, act, dots);
    });
}

/// Add the products of k 4·`GROUP` … and k 16 + 4·`GROUP` … of all vectors.
#[inline(always)]
pub(crate) unsafe fn add_two<Q: Quads, const ROWS: usize, const GROUP: usize>(
    weights: &[[Q::W; 2]; crate::quads::MOST_VECTORS],
    act: *const QuantisedRow,
    dots: &mut Dots<Q, ROWS>,
) {
    for row in 0..ROWS {
        let quants = (*act.add(row)).quants.as_ptr();
        let (a, b) = (Q::acts(quants), Q::acts(quants.add(16)));
        for vector in 0..const { Q::VECTORS[ROWS] } {
            let [first, second] = weights[vector];
            dots[row][vector] = Q::dot_two::<GROUP, GROUP>(dots[row][vector], first, a, second, b);
        }
    }
}

/// sums = fma(dots, scale · the row's, sums) in one vector of columns.
#[inline(always)]
pub(crate) unsafe fn add_scaled<Q: Quads, const ROWS: usize>(
    vector: usize,
    dots: &Dots<Q, ROWS>,
    scale: Q::F,
    act: *const QuantisedRow,
    sums: &mut Sums<Q, ROWS>,
) {
    for row in 0..ROWS {
        let scale = Q::mul(scale, Q::splat((*act.add(row)).scale));
        let dot = Q::numbers(Q::finish(dots[row][vector]));
        sums[row][vector] = Q::fma(dot, scale, sums[row][vector]);
    }
}

/// sums = fma(minimum, the row's scaled sum, sums) in one vector of columns.
#[inline(always)]
pub(crate) unsafe fn add_minimum<Q: Quads, const ROWS: usize>(
    vector: usize,
    minimum: Q::F,
    act: *const QuantisedRow,
    sums: &mut Sums<Q, ROWS>,
) {
    for row in 0..ROWS {
        let sum = Q::splat((*act.add(row)).scaled_sum);
        sums[row][vector] = Q::fma(minimum, sum, sums[row][vector]);
    }
}

/// Write the vectors of each row to its 32 numbers.
#[inline(always)]
pub(crate) unsafe fn store_sums<Q: Quads, const ROWS: usize>(
    sums: &Sums<Q, ROWS>,
    piece: &Piece<'_>,
) {
    for row in 0..ROWS {
        for vector in 0..const { Q::VECTORS[ROWS] } {
            let at = row * TILE_COLUMNS + piece.column + vector * Q::LANES;
            Q::store(piece.to.add(at), sums[row][vector]);
        }
    }
}
