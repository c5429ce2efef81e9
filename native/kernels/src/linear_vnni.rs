//! What the AVX-512 VNNI kernels share: a tile of up to 6 rows × 32 columns in registers, 12 integer and 12 float
//! accumulators, fed to `vpdpbusd` as unsigned bytes.
//!
//! V1 Everything is inlined into a function compiled for the CPU's features, and nothing is passed to a closure: vectors
//! would pass through memory wherever one is not inlined.
//! Of the operations on the two pipes that multiply, 8 of 10 are `vpdpbusd`: 80 % of the peak with a scale of each block
//! of 32 on both sides (measured: 75 to 80 %, Zen 4, 2026-11-28).
#![cfg(target_arch = "x86_64")]

use std::arch::x86_64::*;

use crate::quantize::QuantisedRow;

/// Integer sums of a block, [row][half of the columns].
pub(crate) type Dots<const ROWS: usize> = [[__m512i; 2]; ROWS];
/// Sums over blocks.
pub(crate) type Sums<const ROWS: usize> = [[__m512; 2]; ROWS];

/// Call `$function::<ROWS, $generic…>(…)` with the number of rows a constant, 1 … 6.
#[macro_export]
macro_rules! for_rows {
    ($rows:expr, $function:ident [$($generic:expr),*] $arguments:tt) => {
        match $rows {
            1 => $crate::for_rows!(@ $function [1 $(, $generic)*] $arguments),
            2 => $crate::for_rows!(@ $function [2 $(, $generic)*] $arguments),
            3 => $crate::for_rows!(@ $function [3 $(, $generic)*] $arguments),
            4 => $crate::for_rows!(@ $function [4 $(, $generic)*] $arguments),
            5 => $crate::for_rows!(@ $function [5 $(, $generic)*] $arguments),
            _ => $crate::for_rows!(@ $function [6 $(, $generic)*] $arguments),
        }
    };
    (@ $function:ident [$($generic:expr),*] ($($argument:expr),*)) => {
        $function::<$({ $generic }),*>($($argument),*)
    };
}

/// Four activations in every lane.
#[inline(always)]
pub(crate) unsafe fn quad(from: *const i8) -> __m512i {
    _mm512_set1_epi32(from.cast::<i32>().read_unaligned())
}

/// Add the products of a block of nibbles: 2 × 4 lines, byte i of lane c of line p of a half = k 4p+i (low) and 16+4p+i.
#[inline(always)]
pub(crate) unsafe fn add_nibbles<const ROWS: usize>(
    tile: *const u8,
    act: *const QuantisedRow,
    dots: &mut Dots<ROWS>,
) {
    let low_bits = _mm512_set1_epi8(15);
    for group in 0..4 {
        let first = _mm512_load_si512(tile.add(group * 64).cast());
        let second = _mm512_load_si512(tile.add((4 + group) * 64).cast());
        let low = [
            _mm512_and_si512(first, low_bits),
            _mm512_and_si512(second, low_bits),
        ];
        let high = [
            _mm512_and_si512(_mm512_srli_epi16::<4>(first), low_bits),
            _mm512_and_si512(_mm512_srli_epi16::<4>(second), low_bits),
        ];
        add_group(group, low, high, act, dots);
    }
}

/// Add the products of k 4·group … (`low`) and 16 + 4·group … (`high`) of both halves of the columns.
#[inline(always)]
pub(crate) unsafe fn add_group<const ROWS: usize>(
    group: usize,
    low: [__m512i; 2],
    high: [__m512i; 2],
    act: *const QuantisedRow,
    dots: &mut Dots<ROWS>,
) {
    for row in 0..ROWS {
        let quants = (*act.add(row)).quants.as_ptr();
        let (a, b) = (
            quad(quants.add(group * 4)),
            quad(quants.add(16 + group * 4)),
        );
        dots[row][0] = _mm512_dpbusd_epi32(dots[row][0], low[0], a);
        dots[row][1] = _mm512_dpbusd_epi32(dots[row][1], low[1], a);
        dots[row][0] = _mm512_dpbusd_epi32(dots[row][0], high[0], b);
        dots[row][1] = _mm512_dpbusd_epi32(dots[row][1], high[1], b);
    }
}

/// Add the products of a block of bytes: 2 × 8 lines, byte i of lane c of line p of a half = k 4p+i.
#[inline(always)]
pub(crate) unsafe fn add_bytes<const ROWS: usize>(
    tile: *const u8,
    act: *const QuantisedRow,
    dots: &mut Dots<ROWS>,
) {
    for group in 0..8 {
        let first = _mm512_load_si512(tile.add(group * 64).cast());
        let second = _mm512_load_si512(tile.add((8 + group) * 64).cast());
        for row in 0..ROWS {
            let a = quad((*act.add(row)).quants.as_ptr().add(group * 4));
            dots[row][0] = _mm512_dpbusd_epi32(dots[row][0], first, a);
            dots[row][1] = _mm512_dpbusd_epi32(dots[row][1], second, a);
        }
    }
}

/// sums = fma(dots, scale · the row's, sums) in one half of the columns; halves apart, so that few registers are taken.
#[inline(always)]
pub(crate) unsafe fn add_scaled<const ROWS: usize>(
    half: usize,
    dots: &Dots<ROWS>,
    scale: __m512,
    act: *const QuantisedRow,
    sums: &mut Sums<ROWS>,
) {
    for row in 0..ROWS {
        let scale = _mm512_mul_ps(scale, _mm512_set1_ps((*act.add(row)).scale));
        let dot = _mm512_cvtepi32_ps(dots[row][half]);
        sums[row][half] = _mm512_fmadd_ps(dot, scale, sums[row][half]);
    }
}

/// sums = fma(minimum, the row's scaled sum, sums) in one half of the columns.
#[inline(always)]
pub(crate) unsafe fn add_minimum<const ROWS: usize>(
    half: usize,
    minimum: __m512,
    act: *const QuantisedRow,
    sums: &mut Sums<ROWS>,
) {
    for row in 0..ROWS {
        let sum = _mm512_set1_ps((*act.add(row)).scaled_sum);
        sums[row][half] = _mm512_fmadd_ps(minimum, sum, sums[row][half]);
    }
}
