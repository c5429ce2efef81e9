//! Weights in planes as exact f32: scales as vectors of 16 columns, and a tile's values into a panel `[k][32]`.

use crate::format::Format;
use crate::packed_linear::{BLOCK, TILE_COLUMNS};
use crate::planes::{BlockAt, Planes, Scales, Values, group_at};
use crate::simd::{LANES, Simd};

/// Call `$call` with `$F` a constant: the format as u8, so that a kernel is compiled for it alone.
#[macro_export]
macro_rules! for_planes {
    ($format:expr, $F:ident => $call:expr) => {
        $crate::for_planes!(@ $format, $F => $call;
            Q5_1 Q2_K Q3_K Q4_K Q5_K Q6_K IQ4_NL IQ4_XS TQ2_0 MXFP4)
    };
    (@ $format:expr, $F:ident => $call:expr; $($name:ident)*) => {
        match $format {
            $($crate::format::Format::$name => {
                const $F: u8 = $crate::format::Format::$name as u8;
                $call
            })*
            // Both are packed alike.
            $crate::format::Format::TQ1_0 => {
                const $F: u8 = $crate::format::Format::TQ2_0 as u8;
                $call
            }
            _ => unreachable!("a format of planes"),
        }
    };
}

/// Scale and minimum of 16 columns; `part` says of which 16 k, where scales are of 16.
///
/// # Safety
/// `tile` has the block `at`.
#[inline(always)]
pub(crate) unsafe fn load_scales<S: Simd>(
    planes: Planes,
    tile: *const u8,
    at: BlockAt,
    half: usize,
    part: usize,
) -> (S::F, S::F) {
    let column = half * LANES;
    let none = S::splat(0.0);
    let (scales, minima) = (tile.add(at.scales), tile.add(at.minima));
    // Of f16, and of bytes.
    let (wide, narrow) = (column * 2, part * TILE_COLUMNS + column);
    let of_chunk = tile.add(at.tail + wide);
    match planes.scales {
        Scales::Half if planes.has_minima => (
            S::load_f16(scales.add(wide).cast()),
            S::load_f16(minima.add(wide).cast()),
        ),
        Scales::Half => (S::load_f16(scales.add(wide).cast()), none),
        Scales::Exponent => (S::load_half_of_e8m0(scales.add(column)), none),
        Scales::Chunk => (S::load_f16(of_chunk.cast()), none),
        Scales::Bytes => {
            let d = S::load_f16(of_chunk.cast());
            let scale = S::mul(d, S::load_i8(scales.add(narrow).cast()));
            if !planes.has_minima {
                return (scale, none);
            }
            let d = S::load_f16(of_chunk.add(TILE_COLUMNS * 2).cast());
            let minimum = S::load_i8(minima.add(narrow).cast());
            (scale, S::mul(S::mul(S::splat(-1.0), d), minimum))
        }
    }
}

/// Write a tile's exact values to `panel`, `[k][32]`.
///
/// # Safety
/// As `panel_rows`.
#[inline(always)]
pub(crate) unsafe fn dequantise_planes<S: Simd>(
    format: Format,
    tile: *const u8,
    k: usize,
    panel: *mut f32,
) {
    crate::for_planes!(format, FORMAT => dequantise::<S, FORMAT>(tile, k / BLOCK, panel));
}

#[inline(always)]
unsafe fn dequantise<S: Simd, const FORMAT: u8>(tile: *const u8, blocks: usize, panel: *mut f32) {
    let planes = const { Planes::at(FORMAT) };
    let (low_mask, high_mask) = ((1 << planes.low_bits) - 1, (1 << planes.high_bits) - 1);
    let mut table = [0.0_f32; 16];
    if let Values::Table(values) = planes.values {
        table = values.map(f32::from);
    }
    for block in 0..blocks {
        let at = planes.block(blocks, block);
        let quants = tile.add(at.quants);
        for half in 0..2 {
            for part in 0..2 {
                let (scale, minimum) = load_scales::<S>(
                    planes,
                    tile,
                    at,
                    half,
                    if planes.is_per_16 { part } else { 0 },
                );
                for k in part * 16..part * 16 + 16 {
                    let (from, shift) = word_at(planes.low_bits, half, k);
                    let quant = match planes.values {
                        Values::Table(_) => S::load_table(quants.add(from), shift, table.as_ptr()),
                        Values::Less(bias) => {
                            let mut quant = S::load_bits(quants.add(from), shift, low_mask);
                            if planes.high_bits > 0 {
                                let (from, shift) = word_at(planes.high_bits, half, k);
                                let from = quants.add(planes.high_plane() + from);
                                let high = S::load_bits(from, shift, high_mask);
                                let unit = S::splat((low_mask + 1) as f32);
                                quant = S::add(quant, S::mul(high, unit));
                            }
                            S::sub(quant, S::splat(f32::from(bias)))
                        }
                    };
                    let mut value = S::mul(quant, scale);
                    if planes.has_minima {
                        value = S::add(value, minimum);
                    }
                    let to = (block * BLOCK + k) * TILE_COLUMNS + half * LANES;
                    S::store(panel.add(to), value);
                }
            }
        }
    }
}

/// Byte of 16 lanes' words in a plane of `bits` bits, and the shift of weight `k` in each.
#[inline(always)]
const fn word_at(bits: usize, half: usize, k: usize) -> (usize, u32) {
    let (line, shift) = group_at(bits, k / 4);
    ((half * bits + line) * 64, (shift + k % 4 * 8) as u32)
}
