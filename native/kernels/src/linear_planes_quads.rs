//! Planes over `Quads`: AVX2 with `vpdpbusd`, NEON with and without dot products; pieces of a tile as in `linear_quads`.

use std::ops::Range;

use crate::format::Format;
use crate::linear::Target;
use crate::linear_ahead::Ahead;
use crate::linear_quads::{Piece, add_minimum, add_scaled, add_two, line_at, store_sums};
use crate::packed_linear::TILE_COLUMNS;
use crate::planes::{BlockAt, Planes, Scales, Values, group_at};
use crate::quads::{Dots, Quads, Sums};
use crate::quantize::QuantisedRow;

/// Multiply 1 to 6 rows with a tile in the planes of `format`.
///
/// # Safety
/// As `planes_rows`, on a CPU whose family `has_quads`; `acts` are the tile's rows, which are `rows` of the target.
pub(crate) unsafe fn tile(
    format: Format,
    weights: *const u8,
    blocks: usize,
    acts: *const QuantisedRow,
    rows: Range<usize>,
    target: &Target,
    ahead: &Ahead,
) {
    crate::on_quads!(pieces(format: Format, weights: *const u8, blocks: usize, acts: *const QuantisedRow, rows: Range<usize>, target: &Target, ahead: &Ahead));
}

#[inline(always)]
unsafe fn pieces<Q: Quads>(
    format: Format,
    weights: *const u8,
    blocks: usize,
    acts: *const QuantisedRow,
    rows: Range<usize>,
    target: &Target,
    ahead: &Ahead,
) {
    crate::for_planes!(format, FORMAT => {
        crate::in_pieces!(Q, acts, rows, target, ahead, columns [FORMAT] (weights, blocks))
    });
}

#[inline(always)]
unsafe fn columns<Q: Quads, const ROWS: usize, const FORMAT: u8>(
    weights: *const u8,
    blocks: usize,
    piece: &Piece<'_>,
) {
    let planes = const { Planes::at(FORMAT) };
    let mut sums: Sums<Q, ROWS> = [[Q::splat(0.0); _]; ROWS];
    for block in 0..blocks {
        let (at, act) = (planes.block(blocks, block), piece.block(block));
        piece.ahead.fetch(block * planes.block_bytes());
        match planes.is_per_16 {
            true => add_sixteens::<Q, ROWS, FORMAT>(weights, at, piece.column, act, &mut sums),
            false => add_block::<Q, ROWS, FORMAT>(weights, at, piece.column, act, &mut sums),
        }
    }
    store_sums::<Q, ROWS>(&sums, piece);
}

/// One block with scales of 32.
#[inline(always)]
unsafe fn add_block<Q: Quads, const ROWS: usize, const FORMAT: u8>(
    weights: *const u8,
    at: BlockAt,
    column: usize,
    act: *const QuantisedRow,
    sums: &mut Sums<Q, ROWS>,
) {
    let (planes, vectors) = const { (Planes::at(FORMAT), Q::VECTORS[ROWS]) };
    let quants = weights.add(at.quants);
    let mut dots: Dots<Q, ROWS> = [[Q::start(0); _]; ROWS];
    for row in 0..ROWS {
        let a = &*act.add(row);
        let start = match planes.values {
            Values::Less(bias) => (a.sums[0] + a.sums[1]) * -i32::from(bias),
            Values::Table(_) if Q::TAKES_UNSIGNED => a.sum_128,
            Values::Table(_) => 0,
        };
        dots[row] = [Q::start(start); _];
    }
    crate::for_groups!(GROUP => {
        let mut both = [[Q::splat_byte(0); 2]; _];
        for vector in 0..vectors {
            let column = column + vector * Q::LANES;
            both[vector] = [
                unpack::<Q, FORMAT>(quants, column, GROUP),
                unpack::<Q, FORMAT>(quants, column, GROUP + 4),
            ];
        }
        add_two::<Q, ROWS, GROUP>(&both, act, &mut dots);
    });
    for vector in 0..vectors {
        let (scale, minimum) = scales::<Q, FORMAT>(weights, at, column + vector * Q::LANES, 0);
        add_scaled::<Q, ROWS>(vector, &dots, scale, act, sums);
        if planes.has_minima {
            add_minimum::<Q, ROWS>(vector, minimum, act, sums);
        }
    }
}

/// One block with scales of 16.
#[inline(always)]
unsafe fn add_sixteens<Q: Quads, const ROWS: usize, const FORMAT: u8>(
    weights: *const u8,
    at: BlockAt,
    column: usize,
    act: *const QuantisedRow,
    sums: &mut Sums<Q, ROWS>,
) {
    let (planes, vectors) = const { (Planes::at(FORMAT), Q::VECTORS[ROWS]) };
    let mut both: Sums<Q, ROWS> = [[Q::splat(0.0); _]; ROWS];
    // The second sixteen first, so that its sums are numbers when the first ones are made.
    add_sixteen::<Q, ROWS, FORMAT, 1>(weights, at, column, act, &mut both);
    add_sixteen::<Q, ROWS, FORMAT, 0>(weights, at, column, act, &mut both);
    for vector in 0..vectors {
        let minima = [0, 1].map(|part| {
            let column = column + vector * Q::LANES;
            scales::<Q, FORMAT>(weights, at, column, part).1
        });
        for row in 0..ROWS {
            let a = &*act.add(row);
            let mut sum = Q::fma(both[row][vector], Q::splat(a.scale), sums[row][vector]);
            if planes.has_minima {
                sum = Q::fma(minima[0], Q::splat(a.scaled_sums[0]), sum);
                sum = Q::fma(minima[1], Q::splat(a.scaled_sums[1]), sum);
            }
            sums[row][vector] = sum;
        }
    }
}

/// both = dots of k 16·`PART` … times their scale, added to both where it is the first sixteen.
#[inline(always)]
unsafe fn add_sixteen<Q: Quads, const ROWS: usize, const FORMAT: u8, const PART: usize>(
    weights: *const u8,
    at: BlockAt,
    column: usize,
    act: *const QuantisedRow,
    both: &mut Sums<Q, ROWS>,
) {
    let planes = const { Planes::at(FORMAT) };
    let quants = weights.add(at.quants);
    for vector in 0..const { Q::VECTORS[ROWS] } {
        let column = column + vector * Q::LANES;
        let unpacked = [
            unpack::<Q, FORMAT>(quants, column, PART * 4),
            unpack::<Q, FORMAT>(quants, column, PART * 4 + 1),
            unpack::<Q, FORMAT>(quants, column, PART * 4 + 2),
            unpack::<Q, FORMAT>(quants, column, PART * 4 + 3),
        ];
        let (scale, _) = scales::<Q, FORMAT>(weights, at, column, PART);
        for row in 0..ROWS {
            let a = &*act.add(row);
            let mut dot = match planes.values {
                Values::Less(bias @ 1..) => Q::start(a.sums[PART] * -i32::from(bias)),
                _ => Q::start(0),
            };
            let acts = Q::acts(a.quants.as_ptr().add(PART * 16));
            dot = Q::dot_two::<0, 1>(dot, unpacked[0], acts, unpacked[1], acts);
            dot = Q::dot_two::<2, 3>(dot, unpacked[2], acts, unpacked[3], acts);
            let dot = Q::numbers(Q::finish(dot));
            both[row][vector] = match PART {
                1 => Q::mul(dot, scale),
                _ => Q::fma(dot, scale, both[row][vector]),
            };
        }
    }
}

/// Quants of k 4·group … of a vector of columns, as bytes that `dot_two` takes; of tables, the values.
#[inline(always)]
unsafe fn unpack<Q: Quads, const FORMAT: u8>(
    quants: *const u8,
    column: usize,
    group: usize,
) -> Q::W {
    let planes = const { Planes::at(FORMAT) };
    let (line, shift) = group_at(planes.low_bits, group);
    let from = quants.add(line_at(planes.low_bits, line, column));
    let mask = Q::splat_byte((1 << planes.low_bits) - 1);
    let low = Q::and(Q::moved(Q::load(from), -(shift as i32)), mask);
    if let Values::Table(table) = planes.values {
        let values = Q::look_up(table.as_ptr(), low);
        // Stored as signed bytes, where the others are unsigned ones.
        return match Q::TAKES_UNSIGNED {
            true => Q::xor(values, Q::splat_byte(0x80)),
            false => values,
        };
    }
    if planes.high_bits == 0 {
        return low;
    }
    let (line, shift) = group_at(planes.high_bits, group);
    let from = quants.add(planes.high_plane() + line_at(planes.high_bits, line, column));
    let by = planes.low_bits as i32 - shift as i32;
    let mask = Q::splat_byte(((1 << planes.high_bits) - 1) << planes.low_bits);
    Q::or(low, Q::and(Q::moved(Q::load(from), by), mask))
}

/// As `load_scales`, of a vector of columns from `column` on.
#[inline(always)]
unsafe fn scales<Q: Quads, const FORMAT: u8>(
    tile: *const u8,
    at: BlockAt,
    column: usize,
    part: usize,
) -> (Q::F, Q::F) {
    let planes = const { Planes::at(FORMAT) };
    let none = Q::splat(0.0);
    let words = |at: usize| Q::load_f16(tile.add(at + column * 2));
    let bytes = |at: usize| Q::load_i8(tile.add(at + part * TILE_COLUMNS + column));
    match planes.scales {
        Scales::Half if planes.has_minima => (words(at.scales), words(at.minima)),
        Scales::Half => (words(at.scales), none),
        Scales::Chunk => (words(at.tail), none),
        Scales::Exponent => (Q::load_half_of_e8m0(tile.add(at.scales + column)), none),
        Scales::Bytes => {
            let scale = Q::mul(words(at.tail), bytes(at.scales));
            if !planes.has_minima {
                return (scale, none);
            }
            let negative = Q::mul(Q::splat(-1.0), words(at.tail + TILE_COLUMNS * 2));
            (scale, Q::mul(negative, bytes(at.minima)))
        }
    }
}
