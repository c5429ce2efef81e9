//! Grouped weights as exact f32: a tile's values into a panel `[k][32]` in the order of the inputs, or, for few rows,
//! straight into registers.

use std::ops::Range;

use crate::grouped::{Codes, Grouped};
use crate::linear::{TILE_ROWS, Target};
use crate::packed_linear::{BLOCK, TILE_COLUMNS};
use crate::simd::{LANES, Simd};

/// Call `$call` with `$C` a constant: the kind of codes as u8, so that a loop is compiled for it alone.
macro_rules! for_codes {
    ($codes:expr, $C:ident => $call:expr) => {
        match $codes {
            Codes::Nibbles => {
                const $C: u8 = Codes::Nibbles as u8;
                $call
            }
            Codes::Bytes => {
                const $C: u8 = Codes::Bytes as u8;
                $call
            }
            Codes::Float8 => {
                const $C: u8 = Codes::Float8 as u8;
                $call
            }
            Codes::Table => {
                const $C: u8 = Codes::Table as u8;
                $call
            }
        }
    };
}

/// What the sixteen columns of half a block are multiplied with and less.
struct Half<S: Simd> {
    codes: *const u8,
    half: usize,
    scale: S::F,
    zero: S::F,
    table: *const f32,
}

impl<S: Simd> Half<S> {
    /// # Safety
    /// `tile` is a tile of `kind` with these blocks.
    #[inline(always)]
    unsafe fn new(
        kind: Grouped,
        tile: *const u8,
        blocks: usize,
        block: usize,
        half: usize,
    ) -> Self {
        let column = half * LANES;
        let centre = S::splat(f32::from(kind.centre()));
        // Numbers of at most 9 bits: their differences are exact.
        let zero = match kind.has_zeros {
            true => {
                let stored = tile.add(kind.zeros_at(blocks, block) + column);
                S::add(centre, S::load_i8(stored.cast()))
            }
            false => centre,
        };
        Self {
            codes: tile.add(block * kind.code_bytes()),
            half,
            scale: S::load(tile.add(kind.scales_at(blocks, block) + column * 4).cast()),
            zero,
            table: tile.add(kind.table_at(blocks)).cast(),
        }
    }

    /// The weights of k `at` (0 … 31).
    #[inline(always)]
    unsafe fn weights<const CODES: u8>(&self, at: usize) -> S::F {
        const NIBBLES: u8 = Codes::Nibbles as u8;
        const BYTES: u8 = Codes::Bytes as u8;
        const TABLE: u8 = Codes::Table as u8;
        let nibbles = self.codes.add((self.half * 4 + at % 16 / 4) * 64);
        let shift = (at % 4 * 8 + at / 16 * 4) as u32;
        let value = match CODES {
            NIBBLES => S::sub(S::load_bits(nibbles, shift, 15), self.zero),
            TABLE => S::load_table(nibbles, shift, self.table),
            BYTES => {
                let word = self.codes.add((self.half * 8 + at / 4) * 64);
                S::sub(S::load_bits(word, (at % 4 * 8) as u32, 255), self.zero)
            }
            _ => S::load_e4m3(self.codes.add(at * TILE_COLUMNS + self.half * LANES)),
        };
        S::mul(value, self.scale)
    }
}

/// # Safety
/// As `panel_rows`, with a tile of `kind`; `order` has k inputs below k.
#[inline(always)]
pub(crate) unsafe fn dequantise_grouped<S: Simd>(
    kind: Grouped,
    tile: *const u8,
    k: usize,
    order: Option<&[u32]>,
    panel: *mut f32,
) {
    for_codes!(kind.codes, CODES => dequantise::<S, CODES>(kind, tile, k, order, panel));
}

#[inline(always)]
unsafe fn dequantise<S: Simd, const CODES: u8>(
    kind: Grouped,
    tile: *const u8,
    k: usize,
    order: Option<&[u32]>,
    panel: *mut f32,
) {
    let blocks = k / BLOCK;
    for block in 0..blocks {
        for half in 0..2 {
            let source = Half::<S>::new(kind, tile, blocks, block, half);
            for at in 0..BLOCK {
                let packed = block * BLOCK + at;
                let input = order.map_or(packed, |order| order[packed] as usize);
                let to = panel.add(input * TILE_COLUMNS + half * LANES);
                S::store(to, source.weights::<CODES>(at));
            }
        }
    }
}

/// Multiply up to six rows with a tile whose k stand in the order of the inputs: the bits of the panel, without it.
///
/// # Safety
/// As `panel_rows`, with a tile of `kind`.
#[inline(always)]
pub(crate) unsafe fn multiply_grouped<S: Simd>(
    kind: Grouped,
    tile: *const u8,
    k: usize,
    x: *const f32,
    rows: Range<usize>,
    target: &Target,
) {
    let from = x.add(rows.start * k);
    macro_rules! by_rows {
        ($C:ident: $($rows:literal)*) => {
            match rows.len() {
                $($rows => multiply::<S, $C, $rows>(kind, tile, k, from, rows.start, target),)*
                _ => multiply::<S, $C, TILE_ROWS>(kind, tile, k, from, rows.start, target),
            }
        };
    }
    for_codes!(kind.codes, CODES => by_rows!(CODES: 1 2 3 4 5));
}

#[inline(always)]
unsafe fn multiply<S: Simd, const CODES: u8, const ROWS: usize>(
    kind: Grouped,
    tile: *const u8,
    k: usize,
    x: *const f32,
    first_row: usize,
    target: &Target,
) {
    let blocks = k / BLOCK;
    let mut sums = [[S::splat(0.0); 2]; ROWS];
    for block in 0..blocks {
        let halves = [
            Half::<S>::new(kind, tile, blocks, block, 0),
            Half::<S>::new(kind, tile, blocks, block, 1),
        ];
        let lines = kind.code_bytes() / 64;
        for line in 0..lines {
            // Codes and scales are several streams, which the hardware alone follows badly.
            S::fetch(tile.wrapping_add((block + 4) * kind.code_bytes() + line * 64));
        }
        for at in 0..BLOCK {
            let (low, high) = (
                halves[0].weights::<CODES>(at),
                halves[1].weights::<CODES>(at),
            );
            for row in 0..ROWS {
                let value = S::splat(*x.add(row * k + block * BLOCK + at));
                sums[row][0] = S::fma(value, low, sums[row][0]);
                sums[row][1] = S::fma(value, high, sums[row][1]);
            }
        }
    }
    for row in 0..ROWS {
        target.store::<S>(first_row + row, sums[row][0], sums[row][1]);
    }
}
