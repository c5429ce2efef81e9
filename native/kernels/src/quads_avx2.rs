//! `Quads` on AVX2 with `vpdpbusd`: eight columns a vector, weights unsigned.
//!
//! The instruction has two encodings that compute the same: VEX (AVX-VNNI, CPUs without AVX-512 among them) and EVEX
//! (AVX-512 VNNI and VL). Loops are written once, so that a CPU with either tests them.
#![cfg(target_arch = "x86_64")]

use std::arch::x86_64::*;

use crate::quads::{MOST_ROWS, Quads};

#[derive(Clone, Copy)]
pub struct Avx2Vnni<const VEX: bool>;

/// sum + Σ a·b over four unsigned bytes `a` and four signed bytes `b` of each lane.
#[inline(always)]
unsafe fn dot<const VEX: bool>(sum: __m256i, a: __m256i, b: __m256i) -> __m256i {
    match VEX {
        true => _mm256_dpbusd_avx_epi32(sum, a, b),
        false => _mm256_dpbusd_epi32(sum, a, b),
    }
}

/// Four activations in every lane.
#[inline(always)]
unsafe fn quad(from: *const i8) -> __m256i {
    _mm256_set1_epi32(from.cast::<i32>().read_unaligned())
}

// SAFETY: callers are inside functions compiled with AVX2, FMA, F16C and the encoding's feature; pointers are their
// promise.
unsafe impl<const VEX: bool> Quads for Avx2Vnni<VEX> {
    const LANES: usize = 8;
    const TAKES_UNSIGNED: bool = true;
    /// Six integer sums, six float sums, and four registers for the rest.
    const ROWS: usize = 3;
    const VECTORS: [usize; MOST_ROWS + 1] = [2; MOST_ROWS + 1];

    type W = __m256i;
    type F = __m256;
    type Dot = __m256i;
    type Acts = *const i8;

    #[inline(always)]
    unsafe fn load(from: *const u8) -> __m256i {
        _mm256_loadu_si256(from.cast())
    }
    #[inline(always)]
    unsafe fn splat_byte(byte: u8) -> __m256i {
        _mm256_set1_epi8(byte as i8)
    }
    #[inline(always)]
    unsafe fn and(a: __m256i, b: __m256i) -> __m256i {
        _mm256_and_si256(a, b)
    }
    #[inline(always)]
    unsafe fn or(a: __m256i, b: __m256i) -> __m256i {
        _mm256_or_si256(a, b)
    }
    #[inline(always)]
    unsafe fn xor(a: __m256i, b: __m256i) -> __m256i {
        _mm256_xor_si256(a, b)
    }
    #[inline(always)]
    unsafe fn moved(line: __m256i, by: i32) -> __m256i {
        match by {
            0 => line,
            1.. => _mm256_sll_epi16(line, _mm_cvtsi32_si128(by)),
            _ => _mm256_srl_epi16(line, _mm_cvtsi32_si128(-by)),
        }
    }
    #[inline(always)]
    unsafe fn nibbles(bytes: __m256i) -> [__m256i; 2] {
        let low_bits = _mm256_set1_epi8(15);
        [
            _mm256_and_si256(bytes, low_bits),
            _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), low_bits),
        ]
    }
    #[inline(always)]
    unsafe fn look_up(table: *const i8, places: __m256i) -> __m256i {
        let table = _mm256_broadcastsi128_si256(_mm_loadu_si128(table.cast()));
        _mm256_shuffle_epi8(table, places)
    }
    #[inline(always)]
    unsafe fn acts(from: *const i8) -> *const i8 {
        from
    }
    #[inline(always)]
    unsafe fn start(value: i32) -> __m256i {
        _mm256_set1_epi32(value)
    }
    #[inline(always)]
    unsafe fn dot_two<const A: usize, const B: usize>(
        sum: __m256i,
        first: __m256i,
        a: *const i8,
        second: __m256i,
        b: *const i8,
    ) -> __m256i {
        let sum = dot::<VEX>(sum, first, quad(a.add(A * 4)));
        dot::<VEX>(sum, second, quad(b.add(B * 4)))
    }
    #[inline(always)]
    unsafe fn finish(sum: __m256i) -> __m256i {
        sum
    }
    #[inline(always)]
    unsafe fn less_product(dots: __m256i, from: *const i8, factor: i32) -> __m256i {
        let few = _mm256_cvtepi8_epi32(_mm_loadl_epi64(from.cast()));
        _mm256_sub_epi32(dots, _mm256_mullo_epi32(few, _mm256_set1_epi32(factor)))
    }
    #[inline(always)]
    unsafe fn numbers(dots: __m256i) -> __m256 {
        _mm256_cvtepi32_ps(dots)
    }
    #[inline(always)]
    unsafe fn splat(value: f32) -> __m256 {
        _mm256_set1_ps(value)
    }
    #[inline(always)]
    unsafe fn load_f32(from: *const u8) -> __m256 {
        _mm256_loadu_ps(from.cast())
    }
    #[inline(always)]
    unsafe fn load_f16(from: *const u8) -> __m256 {
        _mm256_cvtph_ps(_mm_loadu_si128(from.cast()))
    }
    #[inline(always)]
    unsafe fn load_i8(from: *const u8) -> __m256 {
        _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(from.cast())))
    }
    #[inline(always)]
    unsafe fn load_half_of_e8m0(from: *const u8) -> __m256 {
        let exponent = _mm256_cvtepu8_epi32(_mm_loadl_epi64(from.cast()));
        let one = _mm256_set1_epi32(1);
        let normal = _mm256_slli_epi32::<23>(_mm256_sub_epi32(exponent, one));
        let subnormal = _mm256_sllv_epi32(_mm256_set1_epi32(0x0020_0000), exponent);
        let is_normal = _mm256_cmpgt_epi32(exponent, one);
        _mm256_castsi256_ps(_mm256_blendv_epi8(subnormal, normal, is_normal))
    }
    #[inline(always)]
    unsafe fn mul(a: __m256, b: __m256) -> __m256 {
        _mm256_mul_ps(a, b)
    }
    #[inline(always)]
    unsafe fn fma(a: __m256, b: __m256, c: __m256) -> __m256 {
        _mm256_fmadd_ps(a, b, c)
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, value: __m256) {
        _mm256_storeu_ps(to, value)
    }
}
