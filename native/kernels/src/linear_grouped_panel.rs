//! Grouped weights as exact f32: a tile's values into a panel `[k][32]`.

use crate::grouped::{Codes, Grouped};
use crate::packed_linear::{BLOCK, TILE_COLUMNS};
use crate::simd::{LANES, Simd};

/// # Safety
/// As `panel_rows`, with a tile of `kind`.
#[inline(always)]
pub(crate) unsafe fn dequantise_grouped<S: Simd>(
    kind: Grouped,
    tile: *const u8,
    k: usize,
    panel: *mut f32,
) {
    let blocks = k / BLOCK;
    let centre = S::splat(f32::from(kind.centre()));
    for block in 0..blocks {
        let codes = tile.add(block * kind.code_bytes());
        let out = panel.add(block * BLOCK * TILE_COLUMNS);
        for half in 0..2 {
            let column = half * LANES;
            let scale = S::load(tile.add(kind.scales_at(blocks, block) + column * 4).cast());
            // Numbers of at most 9 bits: their differences are exact.
            let zero = match kind.has_zeros {
                true => {
                    let stored = tile.add(kind.zeros_at(blocks, block) + column);
                    S::add(centre, S::load_i8(stored.cast()))
                }
                false => centre,
            };
            let table = tile.add(kind.table_at(blocks)).cast::<f32>();
            for at in 0..BLOCK {
                let nibbles = codes.add((half * 4 + at % 16 / 4) * 64);
                let shift = (at % 4 * 8 + at / 16 * 4) as u32;
                let value = match kind.codes {
                    Codes::Nibbles => S::sub(S::load_bits(nibbles, shift, 15), zero),
                    Codes::Table => S::load_table(nibbles, shift, table),
                    Codes::Bytes => {
                        let word = codes.add((half * 8 + at / 4) * 64);
                        S::sub(S::load_bits(word, (at % 4 * 8) as u32, 255), zero)
                    }
                    Codes::Float8 => S::load_e4m3(codes.add(at * TILE_COLUMNS + column)),
                };
                S::store(out.add(at * TILE_COLUMNS + column), S::mul(value, scale));
            }
        }
    }
}
