//! `Simd` on four registers of NEON. Present on aarch64 only; elsewhere the module is empty.
//!
//! Rust's intrinsics for `sdot` and for f16 are not stable: those instructions are written out, as pure functions of
//! registers. Conversions of f16 belong to every aarch64; `sdot` is used where `DOTPROD` says that the CPU has it.
#![cfg(target_arch = "aarch64")]

use std::arch::aarch64::*;
use std::arch::asm;

use crate::simd::{LANES, Simd};
use crate::simd_portable::Portable;

#[derive(Clone, Copy)]
pub struct Neon<const DOTPROD: bool>;

type Floats = [float32x4_t; 4];
type Words = [uint32x4_t; 4];

/// sum + Σ a·b over the four signed bytes of each lane.
#[inline(always)]
pub(crate) unsafe fn sdot(sum: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
    let mut out = sum;
    // SAFETY: the caller's CPU has the instruction, which only touches these registers.
    asm!(
        ".arch_extension dotprod",
        "sdot {0:v}.4s, {1:v}.16b, {2:v}.16b",
        inout(vreg) out, in(vreg) a, in(vreg) b,
        options(pure, nomem, nostack, preserves_flags)
    );
    out
}

/// Four f16 as numbers.
#[inline(always)]
pub(crate) unsafe fn f32_of_f16(halves: uint16x4_t) -> float32x4_t {
    let out: float32x4_t;
    // SAFETY: every aarch64 has the instruction, which only touches these registers.
    asm!(
        "fcvtl {0:v}.4s, {1:v}.4h",
        out(vreg) out, in(vreg) halves,
        options(pure, nomem, nostack, preserves_flags)
    );
    out
}

/// Four numbers as f16, rounded to nearest even.
#[inline(always)]
unsafe fn f16_of_f32(value: float32x4_t) -> uint16x4_t {
    let out: uint16x4_t;
    // SAFETY: as above.
    asm!(
        "fcvtn {0:v}.4h, {1:v}.4s",
        out(vreg) out, in(vreg) value,
        options(pure, nomem, nostack, preserves_flags)
    );
    out
}

/// Half of what four E8M0 exponents say: 2^(exponent − 128).
#[inline(always)]
pub(crate) unsafe fn half_of_e8m0(exponent: uint32x4_t) -> float32x4_t {
    let one = vdupq_n_u32(1);
    let normal = vshlq_n_u32::<23>(vsubq_u32(exponent, one));
    let subnormal = vshlq_u32(vdupq_n_u32(0x0020_0000), vreinterpretq_s32_u32(exponent));
    vreinterpretq_f32_u32(vbslq_u32(vcleq_u32(exponent, one), subnormal, normal))
}

#[inline(always)]
fn map<T: Copy, U>(a: [T; 4], f: impl Fn(T) -> U) -> [U; 4] {
    [f(a[0]), f(a[1]), f(a[2]), f(a[3])]
}

#[inline(always)]
fn zip<T: Copy, U: Copy, V>(a: [T; 4], b: [U; 4], f: impl Fn(T, U) -> V) -> [V; 4] {
    [f(a[0], b[0]), f(a[1], b[1]), f(a[2], b[2]), f(a[3], b[3])]
}

/// Sixteen bytes as words.
#[inline(always)]
unsafe fn widened(bytes: uint8x16_t) -> Words {
    let (low, high) = (vmovl_u8(vget_low_u8(bytes)), vmovl_high_u8(bytes));
    [
        vmovl_u16(vget_low_u16(low)),
        vmovl_high_u16(low),
        vmovl_u16(vget_low_u16(high)),
        vmovl_high_u16(high),
    ]
}

/// The lowest byte of each word.
#[inline(always)]
unsafe fn narrowed(words: Words) -> uint8x16_t {
    let low = vmovn_high_u32(vmovn_u32(words[0]), words[1]);
    let high = vmovn_high_u32(vmovn_u32(words[2]), words[3]);
    vmovn_high_u16(vmovn_u16(low), high)
}

/// Rounded to nearest even.
#[inline(always)]
unsafe fn whole(value: Floats) -> [int32x4_t; 4] {
    map(value, |x| unsafe { vcvtnq_s32_f32(x) })
}

/// 16 int8, rounded to nearest even.
#[inline(always)]
unsafe fn quants(value: Floats) -> int8x16_t {
    let words = whole(value);
    let low = vqmovn_high_s32(vqmovn_s32(words[0]), words[1]);
    let high = vqmovn_high_s32(vqmovn_s32(words[2]), words[3]);
    vqmovn_high_s16(vqmovn_s16(low), high)
}

/// sum + Σ a·b over four unsigned bytes `a` and four signed bytes `b` of each lane.
#[inline(always)]
unsafe fn dot_unsigned<const DOTPROD: bool>(
    sum: uint32x4_t,
    a: uint8x16_t,
    b: int8x16_t,
) -> uint32x4_t {
    let sum = vreinterpretq_s32_u32(sum);
    let top = vreinterpretq_s8_u8(vandq_u8(a, vdupq_n_u8(0x80)));
    let out = if DOTPROD {
        // As signed bytes the upper bit stands for −128 where it ought to be 128.
        let rest = vreinterpretq_s8_u8(vandq_u8(a, vdupq_n_u8(0x7f)));
        let negated = sdot(vdupq_n_s32(0), top, b);
        vsubq_s32(sdot(sum, rest, b), negated)
    } else {
        // a·b = (a − 128)·b + 128·b, within ±32,640.
        let signed = vreinterpretq_s8_u8(veorq_u8(a, vdupq_n_u8(0x80)));
        let low = vaddq_s16(
            vmull_s8(vget_low_s8(signed), vget_low_s8(b)),
            vshll_n_s8::<7>(vget_low_s8(b)),
        );
        let high = vaddq_s16(vmull_high_s8(signed, b), vshll_high_n_s8::<7>(b));
        vaddq_s32(sum, vpaddq_s32(vpaddlq_s16(low), vpaddlq_s16(high)))
    };
    vreinterpretq_u32_s32(out)
}

// SAFETY: every aarch64 has NEON; `DOTPROD` is chosen where the CPU has dot products; pointers are the caller's promise.
unsafe impl<const DOTPROD: bool> Simd for Neon<DOTPROD> {
    type F = Floats;
    type W = Words;
    const REGISTERS: usize = 8;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Floats {
        [vdupq_n_f32(value); 4]
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Floats {
        map([0, 4, 8, 12], |at| unsafe { vld1q_f32(from.add(at)) })
    }
    #[inline(always)]
    unsafe fn fetch(at: *const u8) {
        Portable::fetch(at);
    }
    #[inline(always)]
    unsafe fn fetch_far(at: *const u8) {
        Portable::fetch_far(at);
    }
    #[inline(always)]
    unsafe fn load_f16(from: *const u16) -> Floats {
        map([0, 4, 8, 12], |at| unsafe {
            f32_of_f16(vld1_u16(from.add(at)))
        })
    }
    #[inline(always)]
    unsafe fn load_bits(from: *const u8, shift: u32, mask: u32) -> Floats {
        let by = vdupq_n_s32(-(shift as i32));
        map(Self::load_words(from.cast()), |words| unsafe {
            vcvtq_f32_u32(vandq_u32(vshlq_u32(words, by), vdupq_n_u32(mask)))
        })
    }
    #[inline(always)]
    unsafe fn load_table(from: *const u8, shift: u32, table: *const f32) -> Floats {
        let (by, table) = (vdupq_n_s32(-(shift as i32)), vld1q_u8_x4(table.cast()));
        map(Self::load_words(from.cast()), |words| unsafe {
            let place = vandq_u32(vshlq_u32(words, by), vdupq_n_u32(15));
            // The four bytes of the number at that place.
            let bytes = vmlaq_n_u32(vdupq_n_u32(0x0302_0100), place, 0x0404_0404);
            vreinterpretq_f32_u8(vqtbl4q_u8(table, vreinterpretq_u8_u32(bytes)))
        })
    }
    #[inline(always)]
    unsafe fn load_i8(from: *const i8) -> Floats {
        let bytes = vld1q_s8(from);
        let (low, high) = (vmovl_s8(vget_low_s8(bytes)), vmovl_high_s8(bytes));
        [
            vcvtq_f32_s32(vmovl_s16(vget_low_s16(low))),
            vcvtq_f32_s32(vmovl_high_s16(low)),
            vcvtq_f32_s32(vmovl_s16(vget_low_s16(high))),
            vcvtq_f32_s32(vmovl_high_s16(high)),
        ]
    }
    #[inline(always)]
    unsafe fn load_half_of_e8m0(from: *const u8) -> Floats {
        map(widened(vld1q_u8(from)), |exponent| unsafe {
            half_of_e8m0(exponent)
        })
    }
    #[inline(always)]
    unsafe fn load_e4m3(from: *const u8) -> Floats {
        // As f16 the same bits mean 1 / 256 of the number.
        map([0, 4, 8, 12], |at| unsafe {
            let bytes = vdup_n_u32(from.add(at).cast::<u32>().read_unaligned());
            let words = vget_low_u16(vmovl_u8(vreinterpret_u8_u32(bytes)));
            let sign = vand_u16(vshl_n_u16::<8>(words), vdup_n_u16(0x8000));
            let rest = vand_u16(vshl_n_u16::<7>(words), vdup_n_u16(0x3f80));
            vmulq_n_f32(f32_of_f16(vorr_u16(sign, rest)), 256.0)
        })
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, value: Floats) {
        for part in 0..4 {
            vst1q_f32(to.add(part * 4), value[part]);
        }
    }
    #[inline(always)]
    unsafe fn store_bf16(to: *mut u16, value: Floats) {
        for part in 0..4 {
            // Round to nearest even on the bits; NaN keeps its top bits and is made quiet, as `half::bf16` does.
            let bits = vreinterpretq_u32_f32(value[part]);
            let odd = vandq_u32(vshrq_n_u32::<16>(bits), vdupq_n_u32(1));
            let bias = vaddq_u32(odd, vdupq_n_u32(0x7fff));
            let rounded = vshrn_n_u32::<16>(vaddq_u32(bits, bias));
            let quiet = vorr_u16(vshrn_n_u32::<16>(bits), vdup_n_u16(0x40));
            let is_number = vmovn_u32(vceqq_f32(value[part], value[part]));
            vst1_u16(to.add(part * 4), vbsl_u16(is_number, rounded, quiet));
        }
    }
    #[inline(always)]
    unsafe fn store_f16(to: *mut u16, value: Floats) {
        for part in 0..4 {
            vst1_u16(to.add(part * 4), f16_of_f32(value[part]));
        }
    }
    #[inline(always)]
    unsafe fn load_words(from: *const u32) -> Words {
        map([0, 4, 8, 12], |at| unsafe { vld1q_u32(from.add(at)) })
    }
    #[inline(always)]
    unsafe fn splat_word(word: u32) -> Words {
        [vdupq_n_u32(word); 4]
    }
    #[inline(always)]
    unsafe fn mask_words(words: Words, mask: u32) -> Words {
        map(words, |words| unsafe {
            vandq_u32(words, vdupq_n_u32(mask))
        })
    }
    #[inline(always)]
    unsafe fn upper_halves(words: Words) -> Floats {
        map(words, |words| unsafe {
            vreinterpretq_f32_u32(vandq_u32(words, vdupq_n_u32(!0xffff)))
        })
    }
    #[inline(always)]
    unsafe fn lower_halves(words: Words) -> Floats {
        map(words, |words| unsafe {
            vreinterpretq_f32_u32(vshlq_n_u32::<16>(words))
        })
    }
    #[inline(always)]
    unsafe fn dot_quads(sum: Words, a: Words, b: Words) -> Words {
        let mut out = sum;
        for part in 0..4 {
            let (a, b) = (vreinterpretq_u8_u32(a[part]), vreinterpretq_s8_u32(b[part]));
            out[part] = dot_unsigned::<DOTPROD>(sum[part], a, b);
        }
        out
    }
    #[inline(always)]
    unsafe fn join_limbs(high: Words, low: Words) -> Floats {
        zip(high, low, |high, low| unsafe {
            let both = vaddq_u32(vshlq_n_u32::<7>(high), low);
            vcvtq_f32_s32(vreinterpretq_s32_u32(both))
        })
    }
    #[inline(always)]
    unsafe fn store_limbs(high: *mut u8, low: *mut u8, value: Floats) {
        let whole = map(whole(value), |x| unsafe { vreinterpretq_u32_s32(x) });
        let upper = map(whole, |x| unsafe { vshrq_n_u32::<7>(x) });
        vst1q_u8(high, narrowed(upper));
        vst1q_u8(low, vandq_u8(narrowed(whole), vdupq_n_u8(127)));
    }
    #[inline(always)]
    unsafe fn add(a: Floats, b: Floats) -> Floats {
        zip(a, b, |a, b| unsafe { vaddq_f32(a, b) })
    }
    #[inline(always)]
    unsafe fn sub(a: Floats, b: Floats) -> Floats {
        zip(a, b, |a, b| unsafe { vsubq_f32(a, b) })
    }
    #[inline(always)]
    unsafe fn mul(a: Floats, b: Floats) -> Floats {
        zip(a, b, |a, b| unsafe { vmulq_f32(a, b) })
    }
    #[inline(always)]
    unsafe fn div(a: Floats, b: Floats) -> Floats {
        zip(a, b, |a, b| unsafe { vdivq_f32(a, b) })
    }
    // NEON's own maximum would give a NaN where either is one.
    #[inline(always)]
    unsafe fn max(a: Floats, b: Floats) -> Floats {
        zip(a, b, |a, b| unsafe { vbslq_f32(vcgtq_f32(a, b), a, b) })
    }
    #[inline(always)]
    unsafe fn min(a: Floats, b: Floats) -> Floats {
        zip(a, b, |a, b| unsafe { vbslq_f32(vcltq_f32(a, b), a, b) })
    }
    #[inline(always)]
    unsafe fn max_magnitude(a: Floats, b: Floats) -> f32 {
        // Magnitudes order as integers do, NaN above all.
        let bits = |x: float32x4_t| unsafe { vreinterpretq_u32_f32(vabsq_f32(x)) };
        let of = |x: Floats| unsafe {
            vmaxq_u32(
                vmaxq_u32(bits(x[0]), bits(x[1])),
                vmaxq_u32(bits(x[2]), bits(x[3])),
            )
        };
        f32::from_bits(vmaxvq_u32(vmaxq_u32(of(a), of(b))))
    }
    #[inline(always)]
    unsafe fn store_quants(to: *mut i8, low: Floats, high: Floats) -> [i32; 2] {
        let (low, high) = (quants(low), quants(high));
        vst1q_s8(to, low);
        vst1q_s8(to.add(LANES), high);
        [i32::from(vaddlvq_s8(low)), i32::from(vaddlvq_s8(high))]
    }
    #[inline(always)]
    unsafe fn fma(a: Floats, b: Floats, c: Floats) -> Floats {
        let mut out = c;
        for part in 0..4 {
            out[part] = vfmaq_f32(c[part], a[part], b[part]);
        }
        out
    }
    #[inline(always)]
    unsafe fn round(a: Floats) -> Floats {
        map(a, |a| unsafe { vrndnq_f32(a) })
    }
    #[inline(always)]
    unsafe fn scale_by_power_of_two(a: Floats, n: Floats) -> Floats {
        zip(a, n, |a, n| unsafe {
            let exponent = vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127));
            vmulq_f32(a, vreinterpretq_f32_s32(vshlq_n_s32::<23>(exponent)))
        })
    }
    #[inline(always)]
    unsafe fn to_array(a: Floats) -> [f32; LANES] {
        let mut lanes = [0.0; LANES];
        Self::store(lanes.as_mut_ptr(), a);
        lanes
    }
    /// The tree of the trait, in registers.
    #[inline(always)]
    unsafe fn sum(a: Floats) -> f32 {
        let four = vaddq_f32(vaddq_f32(a[0], a[2]), vaddq_f32(a[1], a[3]));
        let two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
        vget_lane_f32::<0>(two) + vget_lane_f32::<1>(two)
    }
    #[inline(always)]
    unsafe fn select_below(key: Floats, limit: f32, below: Floats, otherwise: Floats) -> Floats {
        let mut out = otherwise;
        for part in 0..4 {
            let is_below = vcltq_f32(key[part], vdupq_n_f32(limit));
            out[part] = vbslq_f32(is_below, below[part], otherwise[part]);
        }
        out
    }
}
