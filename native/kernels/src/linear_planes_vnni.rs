//! Planes on AVX-512 VNNI: a tile of up to 6 rows × 32 columns, fed to `vpdpbusd` as unsigned bytes.
//!
//! Where scales are of 32, both halves of the columns go together; where they are of 16, both halves of k go together and
//! the columns one half after the other: either way 12 integer and 12 float accumulators.
#![cfg(target_arch = "x86_64")]

use std::arch::x86_64::*;
use std::ops::Range;

use crate::format::Format;
use crate::linear::Target;
use crate::linear_ahead::Ahead;
use crate::linear_planes_panel::load_scales;
use crate::linear_vnni::{Sums, add_group, add_minimum, add_scaled, quad};
use crate::planes::{BlockAt, Planes, Values, group_at};
use crate::quantize::QuantisedRow;
use crate::simd_avx512::Avx512;

/// # Safety
/// As `planes_rows`; the CPU has AVX-512 VNNI; `rows` are 1 … 6.
pub(crate) unsafe fn tile(
    format: Format,
    weights: *const u8,
    blocks: usize,
    acts: *const QuantisedRow,
    rows: Range<usize>,
    target: &Target,
    ahead: &Ahead,
) {
    let first = rows.start;
    let count = rows.len();
    crate::for_planes!(format, FORMAT =>
        crate::for_rows!(count, rows_of [FORMAT] (weights, blocks, acts, first, target, ahead)));
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,fma,f16c")]
unsafe fn rows_of<const ROWS: usize, const FORMAT: u8>(
    weights: *const u8,
    blocks: usize,
    acts: *const QuantisedRow,
    first_row: usize,
    target: &Target,
    ahead: &Ahead,
) {
    let planes = const { Planes::at(FORMAT) };
    // A constant: computed here it was a call a block, with all sums put on the stack around it.
    let block_bytes = const { Planes::at(FORMAT).block_bytes() };
    let mut sums: Sums<ROWS> = [[_mm512_setzero_ps(); 2]; ROWS];
    for row in 0..ROWS {
        target.claim(first_row + row);
    }
    for block in 0..blocks {
        let at = planes.block(blocks, block);
        let act = acts.add(block * ROWS);
        ahead.fetch(block * block_bytes);
        if planes.is_per_16 {
            // The half is a constant, so that the sums stay in registers.
            add_half::<ROWS, FORMAT, 0>(weights, at, act, &mut sums);
            let act = hidden(act);
            add_half::<ROWS, FORMAT, 1>(weights, at, act, &mut sums);
        } else {
            add_block::<ROWS, FORMAT>(weights, at, act, &mut sums);
        }
    }
    for row in 0..ROWS {
        target.store::<Avx512>(first_row + row, sums[row][0], sums[row][1]);
    }
}

/// One block with scales of 32.
#[inline(always)]
unsafe fn add_block<const ROWS: usize, const FORMAT: u8>(
    weights: *const u8,
    at: BlockAt,
    act: *const QuantisedRow,
    sums: &mut Sums<ROWS>,
) {
    let planes = const { Planes::at(FORMAT) };
    let mut dots = [[_mm512_setzero_si512(); 2]; ROWS];
    for row in 0..ROWS {
        let a = &*act.add(row);
        dots[row] = match planes.values {
            Values::Less(0) => dots[row],
            Values::Less(bias) => {
                let sum = a.sums[0] + a.sums[1];
                [_mm512_set1_epi32(sum * -i32::from(bias)); 2]
            }
            Values::Table(_) => [_mm512_set1_epi32(a.sum_128); 2],
        };
    }
    for group in 0..4 {
        let first = unpack::<FORMAT>(weights.add(at.quants), 0, group);
        let second = unpack::<FORMAT>(weights.add(at.quants), 1, group);
        let (low, high) = ([first[0], second[0]], [first[1], second[1]]);
        add_group(group, low, high, act, &mut dots);
    }
    for half in 0..2 {
        let (scale, minimum) = load_scales::<Avx512>(planes, weights, at, half, 0);
        add_scaled(half, &dots, scale, act, sums);
        if planes.has_minima {
            add_minimum(half, minimum, act, sums);
        }
    }
}

/// Sixteen columns of one block with scales of 16.
#[inline(always)]
unsafe fn add_half<const ROWS: usize, const FORMAT: u8, const HALF: usize>(
    weights: *const u8,
    at: BlockAt,
    act: *const QuantisedRow,
    sums: &mut Sums<ROWS>,
) {
    let planes = const { Planes::at(FORMAT) };
    let mut dots = [[_mm512_setzero_si512(); 2]; ROWS];
    if let Values::Less(bias @ 1..) = planes.values {
        for row in 0..ROWS {
            let sums = (*act.add(row)).sums;
            for part in 0..2 {
                dots[row][part] = _mm512_set1_epi32(sums[part] * -i32::from(bias));
            }
        }
    }
    for group in 0..4 {
        let both = unpack::<FORMAT>(weights.add(at.quants), HALF, group);
        for row in 0..ROWS {
            let quants = (*act.add(row)).quants.as_ptr();
            for part in 0..2 {
                let a = quad(quants.add(part * 16 + group * 4));
                dots[row][part] = _mm512_dpbusd_epi32(dots[row][part], both[part], a);
            }
        }
    }
    let (first, first_minimum) = load_scales::<Avx512>(planes, weights, at, HALF, 0);
    let (second, second_minimum) = load_scales::<Avx512>(planes, weights, at, HALF, 1);
    for row in 0..ROWS {
        let a = &*act.add(row);
        let both = _mm512_mul_ps(_mm512_cvtepi32_ps(dots[row][1]), second);
        let both = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dots[row][0]), first, both);
        let mut sum = _mm512_fmadd_ps(both, _mm512_set1_ps(a.scale), sums[row][HALF]);
        if planes.has_minima {
            sum = _mm512_fmadd_ps(first_minimum, _mm512_set1_ps(a.scaled_sums[0]), sum);
            sum = _mm512_fmadd_ps(second_minimum, _mm512_set1_ps(a.scaled_sums[1]), sum);
        }
        sums[row][HALF] = sum;
    }
}

/// Unsigned bytes of k 4·group … and k 16 + 4·group … of 16 columns; of tables, the value + 128.
#[inline(always)]
unsafe fn unpack<const FORMAT: u8>(quants: *const u8, half: usize, group: usize) -> [__m512i; 2] {
    // No closure over both: vectors would pass through memory wherever `map` is not inlined.
    [
        unpack_group::<FORMAT>(quants, half, group),
        unpack_group::<FORMAT>(quants, half, group + 4),
    ]
}

#[inline(always)]
unsafe fn unpack_group<const FORMAT: u8>(quants: *const u8, half: usize, group: usize) -> __m512i {
    let planes = const { Planes::at(FORMAT) };
    let (line, shift) = group_at(planes.low_bits, group);
    let from = quants.add((half * planes.low_bits + line) * 64);
    let mask = _mm512_set1_epi8((1 << planes.low_bits) - 1);
    let low = _mm512_and_si512(moved(_mm512_load_si512(from.cast()), -(shift as i32)), mask);
    if let Values::Table(table) = planes.values {
        let table = _mm512_broadcast_i32x4(_mm_loadu_si128(table.as_ptr().cast()));
        let raised = _mm512_xor_si512(table, _mm512_set1_epi8(-128));
        return _mm512_shuffle_epi8(raised, low);
    }
    if planes.high_bits == 0 {
        return low;
    }
    let (line, shift) = group_at(planes.high_bits, group);
    let from = quants.add(planes.high_plane() + (half * planes.high_bits + line) * 64);
    let by = planes.low_bits as i32 - shift as i32;
    let mask = _mm512_set1_epi8(((1 << planes.high_bits) - 1) << planes.low_bits);
    let high = _mm512_and_si512(moved(_mm512_load_si512(from.cast()), by), mask);
    _mm512_or_si512(low, high)
}

/// Bits moved up, or down where `by` is negative; what crosses into the next byte is masked off by the caller.
#[inline(always)]
unsafe fn moved(line: __m512i, by: i32) -> __m512i {
    match by {
        0 => line,
        1.. => _mm512_sll_epi16(line, _mm_cvtsi32_si128(by)),
        _ => _mm512_srl_epi16(line, _mm_cvtsi32_si128(-by)),
    }
}

/// The same pointer, unknown to the optimiser: it would keep all of the first half's broadcast activations for the second,
/// on the stack, where reading them anew costs nothing (Q6_K, 64 rows, 2026-11-23, GMAC/s: 160 → 240).
#[inline(always)]
unsafe fn hidden(act: *const QuantisedRow) -> *const QuantisedRow {
    let mut zero = 0_usize;
    std::arch::asm!("/* {0} */", inout(reg) zero, options(pure, nomem, nostack, preserves_flags));
    act.wrapping_byte_add(zero)
}
