//! `Simd` on one zmm register. Present on x86-64 only; elsewhere the module is empty.
#![cfg(target_arch = "x86_64")]

use std::arch::x86_64::*;

use crate::simd::{LANES, Simd};

#[derive(Clone, Copy)]
pub struct Avx512;

const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;

// SAFETY: callers are inside functions compiled with the AVX-512 features; pointers are the caller's promise.
unsafe impl Simd for Avx512 {
    type F = __m512;
    type W = __m512i;
    const REGISTERS: usize = 32;

    #[inline(always)]
    unsafe fn splat(value: f32) -> __m512 {
        _mm512_set1_ps(value)
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> __m512 {
        _mm512_loadu_ps(from)
    }
    #[inline(always)]
    unsafe fn fetch(at: *const u8) {
        _mm_prefetch::<_MM_HINT_T0>(at.cast());
    }
    #[inline(always)]
    unsafe fn fetch_far(at: *const u8) {
        _mm_prefetch::<_MM_HINT_T1>(at.cast());
    }
    #[inline(always)]
    unsafe fn load_f16(from: *const u16) -> __m512 {
        _mm512_cvtph_ps(_mm256_loadu_si256(from.cast()))
    }
    #[inline(always)]
    unsafe fn load_bits(from: *const u8, shift: u32, mask: u32) -> __m512 {
        let words = _mm512_loadu_si512(from.cast());
        let shifted = _mm512_srl_epi32(words, _mm_cvtsi32_si128(shift as i32));
        _mm512_cvtepi32_ps(_mm512_and_si512(shifted, _mm512_set1_epi32(mask as i32)))
    }
    #[inline(always)]
    unsafe fn load_table(from: *const u8, shift: u32, table: *const f32) -> __m512 {
        let words = _mm512_loadu_si512(from.cast());
        // Of each index the permutation reads the lowest four bits.
        let places = _mm512_srl_epi32(words, _mm_cvtsi32_si128(shift as i32));
        _mm512_permutexvar_ps(places, _mm512_loadu_ps(table))
    }
    #[inline(always)]
    unsafe fn load_i8(from: *const i8) -> __m512 {
        _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(from.cast())))
    }
    #[inline(always)]
    unsafe fn load_half_of_e8m0(from: *const u8) -> __m512 {
        let exponent = _mm512_cvtepu8_epi32(_mm_loadu_si128(from.cast()));
        let one = _mm512_set1_epi32(1);
        let normal = _mm512_slli_epi32::<23>(_mm512_sub_epi32(exponent, one));
        let subnormal = _mm512_sllv_epi32(_mm512_set1_epi32(0x0020_0000), exponent);
        let is_subnormal = _mm512_cmple_epu32_mask(exponent, one);
        _mm512_castsi512_ps(_mm512_mask_blend_epi32(is_subnormal, normal, subnormal))
    }
    #[inline(always)]
    unsafe fn load_e4m3(from: *const u8) -> __m512 {
        // As f16 the same bits mean 1 / 256 of the number.
        let bytes = _mm256_cvtepu8_epi16(_mm_loadu_si128(from.cast()));
        let sign = _mm256_and_si256(_mm256_slli_epi16::<8>(bytes), _mm256_set1_epi16(i16::MIN));
        let rest = _mm256_and_si256(_mm256_slli_epi16::<7>(bytes), _mm256_set1_epi16(0x3f80));
        let halves = _mm512_cvtph_ps(_mm256_or_si256(sign, rest));
        _mm512_mul_ps(halves, _mm512_set1_ps(256.0))
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, value: __m512) {
        _mm512_storeu_ps(to, value)
    }
    #[inline(always)]
    unsafe fn store_bf16(to: *mut u16, value: __m512) {
        // Round to nearest even on the bits; NaN keeps its top bits and is made quiet, as `half::bf16` does.
        let bits = _mm512_castps_si512(value);
        let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
        let bias = _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff));
        let rounded = _mm512_srli_epi32::<16>(_mm512_add_epi32(bits, bias));
        let quiet = _mm512_or_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(0x40));
        let is_nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(value, value);
        let words = _mm512_mask_blend_epi32(is_nan, rounded, quiet);
        _mm256_storeu_si256(to.cast(), _mm512_cvtepi32_epi16(words));
    }
    #[inline(always)]
    unsafe fn store_f16(to: *mut u16, value: __m512) {
        _mm256_storeu_si256(to.cast(), _mm512_cvtps_ph::<NEAREST>(value));
    }
    #[inline(always)]
    unsafe fn load_words(from: *const u32) -> __m512i {
        _mm512_loadu_si512(from.cast())
    }
    #[inline(always)]
    unsafe fn splat_word(word: u32) -> __m512i {
        _mm512_set1_epi32(word as i32)
    }
    #[inline(always)]
    unsafe fn mask_words(words: __m512i, mask: u32) -> __m512i {
        _mm512_and_si512(words, _mm512_set1_epi32(mask as i32))
    }
    #[inline(always)]
    unsafe fn upper_halves(words: __m512i) -> __m512 {
        _mm512_castsi512_ps(_mm512_and_si512(words, _mm512_set1_epi32(!0xffff)))
    }
    #[inline(always)]
    unsafe fn lower_halves(words: __m512i) -> __m512 {
        _mm512_castsi512_ps(_mm512_slli_epi32::<16>(words))
    }
    #[inline(always)]
    unsafe fn dot_quads(sum: __m512i, a: __m512i, b: __m512i) -> __m512i {
        _mm512_dpbusd_epi32(sum, a, b)
    }
    #[inline(always)]
    unsafe fn join_limbs(high: __m512i, low: __m512i) -> __m512 {
        _mm512_cvtepi32_ps(_mm512_add_epi32(_mm512_slli_epi32::<7>(high), low))
    }
    #[inline(always)]
    unsafe fn store_limbs(high: *mut u8, low: *mut u8, value: __m512) {
        let whole = _mm512_cvtps_epi32(value);
        let rest = _mm512_and_si512(whole, _mm512_set1_epi32(127));
        _mm_storeu_si128(
            high.cast(),
            _mm512_cvtepi32_epi8(_mm512_srli_epi32::<7>(whole)),
        );
        _mm_storeu_si128(low.cast(), _mm512_cvtepi32_epi8(rest));
    }
    #[inline(always)]
    unsafe fn add(a: __m512, b: __m512) -> __m512 {
        _mm512_add_ps(a, b)
    }
    #[inline(always)]
    unsafe fn sub(a: __m512, b: __m512) -> __m512 {
        _mm512_sub_ps(a, b)
    }
    #[inline(always)]
    unsafe fn mul(a: __m512, b: __m512) -> __m512 {
        _mm512_mul_ps(a, b)
    }
    #[inline(always)]
    unsafe fn div(a: __m512, b: __m512) -> __m512 {
        _mm512_div_ps(a, b)
    }
    #[inline(always)]
    unsafe fn max(a: __m512, b: __m512) -> __m512 {
        _mm512_max_ps(a, b)
    }
    #[inline(always)]
    unsafe fn min(a: __m512, b: __m512) -> __m512 {
        _mm512_min_ps(a, b)
    }
    #[inline(always)]
    unsafe fn max_magnitude(a: __m512, b: __m512) -> f32 {
        // Magnitudes order as integers do, NaN above all.
        let a = _mm512_castps_si512(_mm512_abs_ps(a));
        let b = _mm512_castps_si512(_mm512_abs_ps(b));
        f32::from_bits(_mm512_reduce_max_epi32(_mm512_max_epi32(a, b)) as u32)
    }
    #[inline(always)]
    unsafe fn store_quants(to: *mut i8, low: __m512, high: __m512) -> [i32; 2] {
        let low = _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(low));
        let high = _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(high));
        let both = _mm256_set_m128i(high, low);
        _mm256_storeu_si256(to.cast(), both);
        // Each eight bytes, 128 more than they are, summed to 64 bits; two such sums are one of 16.
        let raised = _mm256_xor_si256(both, _mm256_set1_epi8(-128));
        let eights = _mm256_sad_epu8(raised, _mm256_setzero_si256());
        let sums = _mm256_add_epi64(eights, _mm256_unpackhi_epi64(eights, eights));
        [
            _mm256_cvtsi256_si32(sums) - 128 * LANES as i32,
            _mm_cvtsi128_si32(_mm256_extracti128_si256::<1>(sums)) - 128 * LANES as i32,
        ]
    }
    #[inline(always)]
    unsafe fn fma(a: __m512, b: __m512, c: __m512) -> __m512 {
        _mm512_fmadd_ps(a, b, c)
    }
    #[inline(always)]
    unsafe fn round(a: __m512) -> __m512 {
        _mm512_roundscale_ps::<NEAREST>(a)
    }
    #[inline(always)]
    unsafe fn scale_by_power_of_two(a: __m512, n: __m512) -> __m512 {
        _mm512_scalef_ps(a, n)
    }
    #[inline(always)]
    unsafe fn to_array(a: __m512) -> [f32; LANES] {
        let mut lanes = [0.0; LANES];
        _mm512_storeu_ps(lanes.as_mut_ptr(), a);
        lanes
    }
    #[inline(always)]
    unsafe fn select_below(key: __m512, limit: f32, below: __m512, otherwise: __m512) -> __m512 {
        let is_below = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(key, _mm512_set1_ps(limit));
        _mm512_mask_blend_ps(is_below, otherwise, below)
    }
}
