//! Into planes and out of them again, one weight at a time: packing a row as a column, and reading a column's values.

use crate::format::Format;
use crate::packed_linear::BLOCK;
use crate::planes::{BlockAt, Planes, Scales, group_at};

/// Byte and shift of the bits of weight `k` of a block, in a plane of `bits` bits.
fn bits_at(bits: usize, column: usize, k: usize) -> (usize, usize) {
    let (line, shift) = group_at(bits, k / 4);
    let (half, lane) = (column / 16, column % 16);
    ((half * bits + line) * 64 + lane * 4 + k % 4, shift)
}

/// Write one stored row as one column of a zeroed tile.
pub(crate) fn pack_column(format: Format, row: &[u8], column: usize, tile: &mut [u8]) {
    let planes = Planes::of(format).expect("a format of planes");
    let a_stored_block = format.block_weights() / BLOCK;
    let blocks = row.len() / format.block_bytes() * a_stored_block;
    for (first, bytes) in row.chunks_exact(format.block_bytes()).enumerate() {
        let stored = format.read_stored(bytes);
        for (of_block, quants) in stored.quants.chunks_exact(BLOCK).enumerate() {
            if of_block == a_stored_block {
                break;
            }
            let at = planes.block(blocks, first * a_stored_block + of_block);
            for (k, quant) in quants.iter().enumerate() {
                let (byte, shift) = bits_at(planes.low_bits, column, k);
                tile[at.quants + byte] |= (quant & ((1 << planes.low_bits) - 1)) << shift;
                if planes.high_bits > 0 {
                    let (byte, shift) = bits_at(planes.high_bits, column, k);
                    tile[at.quants + planes.high_plane() + byte] |=
                        (quant >> planes.low_bits) << shift;
                }
            }
            let mut put_word = |at: usize, word: u16| {
                tile[at + column * 2..][..2].copy_from_slice(&word.to_le_bytes());
            };
            match planes.scales {
                Scales::Half => {
                    put_word(at.scales, stored.scale);
                    if planes.has_minima {
                        put_word(at.minima, stored.minimum);
                    }
                }
                Scales::Exponent => tile[at.scales + column] = stored.scale as u8,
                Scales::Chunk => put_word(at.tail, stored.scale),
                Scales::Bytes => {
                    put_word(at.tail, stored.scale);
                    if planes.has_minima {
                        put_word(at.tail + 64, stored.minimum);
                    }
                    let parts = if planes.is_per_16 { 2 } else { 1 };
                    for part in 0..parts {
                        let few = of_block * parts + part;
                        tile[at.scales + part * 32 + column] = stored.scales[few] as u8;
                        if planes.has_minima {
                            tile[at.minima + part * 32 + column] = stored.minima[few] as u8;
                        }
                    }
                }
            }
        }
    }
}

/// Unsigned quant of weight `k` (0 … 31) of a block.
pub(crate) fn quant(planes: &Planes, tile: &[u8], at: BlockAt, column: usize, k: usize) -> u8 {
    let (byte, shift) = bits_at(planes.low_bits, column, k);
    let low = (tile[at.quants + byte] >> shift) & ((1 << planes.low_bits) - 1);
    if planes.high_bits == 0 {
        return low;
    }
    let (byte, shift) = bits_at(planes.high_bits, column, k);
    let high = tile[at.quants + planes.high_plane() + byte] >> shift;
    low | ((high & ((1 << planes.high_bits) - 1)) << planes.low_bits)
}

/// Scale and minimum of a column's k 0–15 (`part` 0) or 16–31 (1) of a block; the same for both where they are of 32.
pub(crate) fn scale_and_minimum(
    planes: &Planes,
    tile: &[u8],
    at: BlockAt,
    column: usize,
    part: usize,
) -> (f32, f32) {
    let word = |at: usize| crate::format::word(tile, at + column * 2);
    let few = |at: usize| {
        let part = if planes.is_per_16 { part } else { 0 };
        tile[at + part * 32 + column] as i8
    };
    let has_minima = planes.has_minima;
    match planes.scales {
        Scales::Half if has_minima => (
            planes.scale(word(at.scales), 0),
            planes.minimum(word(at.minima), 0),
        ),
        Scales::Half => (planes.scale(word(at.scales), 0), 0.0),
        Scales::Exponent => (planes.scale(u16::from(tile[at.scales + column]), 0), 0.0),
        Scales::Chunk => (planes.scale(word(at.tail), 0), 0.0),
        Scales::Bytes if has_minima => (
            planes.scale(word(at.tail), few(at.scales)),
            planes.minimum(word(at.tail + 64), few(at.minima)),
        ),
        Scales::Bytes => (planes.scale(word(at.tail), few(at.scales)), 0.0),
    }
}

/// All values of a column, exactly. @param out - k of them
pub(crate) fn read_column(format: Format, tile: &[u8], column: usize, out: &mut [f32]) {
    let planes = Planes::of(format).expect("a format of planes");
    let blocks = out.len() / BLOCK;
    for (sixteenth, values) in out.chunks_exact_mut(16).enumerate() {
        let (block, part) = (sixteenth / 2, sixteenth % 2);
        let at = planes.block(blocks, block);
        let (scale, minimum) = scale_and_minimum(&planes, tile, at, column, part);
        for (k, value) in values.iter_mut().enumerate() {
            let quant = quant(&planes, tile, at, column, part * 16 + k);
            *value = f32::from(planes.value(quant)) * scale;
            if planes.has_minima {
                *value += minimum;
            }
        }
    }
}
