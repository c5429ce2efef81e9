//! `Quads` on NEON: four columns a vector, weights signed. With dot products two `sdot` are 32 multiply-adds; without
//! them, products of two quads are added in 16 bits (|Σ| ≤ 2 · 128 · 127 = 32,512), then pairwise to 32.
#![cfg(target_arch = "aarch64")]

use std::arch::aarch64::*;
use std::arch::asm;

use crate::quads::{MOST_ROWS, Quads};
use crate::simd_neon::{f32_of_f16, half_of_e8m0};

#[derive(Clone, Copy)]
pub struct NeonQuads<const DOTPROD: bool>;

/// sum + Σ a·b over the four signed bytes `a` of each lane and quad `QUAD` of `b`.
#[inline(always)]
unsafe fn sdot_quad<const QUAD: usize>(sum: int32x4_t, a: uint8x16_t, b: int8x16_t) -> int32x4_t {
    let mut out = sum;
    // SAFETY: the CPU has dot products; only these registers are touched. The intrinsic is not stable.
    asm!(
        ".arch_extension dotprod",
        "sdot {0:v}.4s, {1:v}.16b, {2:v}.4b[{3}]",
        inout(vreg) out, in(vreg) a, in(vreg) b, const QUAD,
        options(pure, nomem, nostack, preserves_flags)
    );
    out
}

/// Quad `QUAD` in every lane.
#[inline(always)]
unsafe fn quad<const QUAD: usize>(acts: int8x16_t) -> int8x16_t {
    let words = vreinterpretq_s32_s8(acts);
    vreinterpretq_s8_s32(match QUAD {
        0 => vdupq_laneq_s32::<0>(words),
        1 => vdupq_laneq_s32::<1>(words),
        2 => vdupq_laneq_s32::<2>(words),
        _ => vdupq_laneq_s32::<3>(words),
    })
}

/// Four i8 as integers.
#[inline(always)]
unsafe fn few(from: *const i8) -> int32x4_t {
    let bytes = vdup_n_u32(from.cast::<u32>().read_unaligned());
    vmovl_s16(vget_low_s16(vmovl_s8(vreinterpret_s8_u32(bytes))))
}

// SAFETY: every aarch64 has NEON; `DOTPROD` is chosen where the CPU has dot products; pointers are the caller's promise.
unsafe impl<const DOTPROD: bool> Quads for NeonQuads<DOTPROD> {
    const LANES: usize = 4;
    const TAKES_UNSIGNED: bool = false;
    /// By the 32 registers: integer and float sums, weights and activations of a block's quads.
    const ROWS: usize = if DOTPROD { 4 } else { 2 };
    const VECTORS: [usize; MOST_ROWS + 1] = if DOTPROD {
        [4, 4, 4, 2, 2]
    } else {
        [4, 4, 2, 2, 2]
    };

    type W = uint8x16_t;
    type F = float32x4_t;
    /// Without dot products: sums of pairs, of columns 0, 1 and of 2, 3; with them the second is nothing.
    type Dot = [int32x4_t; 2];
    type Acts = int8x16_t;

    #[inline(always)]
    unsafe fn load(from: *const u8) -> uint8x16_t {
        vld1q_u8(from)
    }
    #[inline(always)]
    unsafe fn splat_byte(byte: u8) -> uint8x16_t {
        vdupq_n_u8(byte)
    }
    #[inline(always)]
    unsafe fn and(a: uint8x16_t, b: uint8x16_t) -> uint8x16_t {
        vandq_u8(a, b)
    }
    #[inline(always)]
    unsafe fn or(a: uint8x16_t, b: uint8x16_t) -> uint8x16_t {
        vorrq_u8(a, b)
    }
    #[inline(always)]
    unsafe fn xor(a: uint8x16_t, b: uint8x16_t) -> uint8x16_t {
        veorq_u8(a, b)
    }
    #[inline(always)]
    unsafe fn moved(line: uint8x16_t, by: i32) -> uint8x16_t {
        vshlq_u8(line, vdupq_n_s8(by as i8))
    }
    #[inline(always)]
    unsafe fn nibbles(bytes: uint8x16_t) -> [uint8x16_t; 2] {
        [vandq_u8(bytes, vdupq_n_u8(15)), vshrq_n_u8::<4>(bytes)]
    }
    #[inline(always)]
    unsafe fn look_up(table: *const i8, places: uint8x16_t) -> uint8x16_t {
        vqtbl1q_u8(vld1q_u8(table.cast()), places)
    }
    #[inline(always)]
    unsafe fn acts(from: *const i8) -> int8x16_t {
        vld1q_s8(from)
    }
    #[inline(always)]
    unsafe fn start(value: i32) -> [int32x4_t; 2] {
        if DOTPROD {
            return [vdupq_n_s32(value), vdupq_n_s32(0)];
        }
        // In the first of a column's two lanes.
        [vreinterpretq_s32_u64(vdupq_n_u64(u64::from(value as u32))); 2]
    }
    #[inline(always)]
    unsafe fn dot_two<const A: usize, const B: usize>(
        sum: [int32x4_t; 2],
        first: uint8x16_t,
        a: int8x16_t,
        second: uint8x16_t,
        b: int8x16_t,
    ) -> [int32x4_t; 2] {
        if DOTPROD {
            let dot = sdot_quad::<A>(sum[0], first, a);
            return [sdot_quad::<B>(dot, second, b), sum[1]];
        }
        let (a, b) = (quad::<A>(a), quad::<B>(b));
        let (first, second) = (vreinterpretq_s8_u8(first), vreinterpretq_s8_u8(second));
        let low = vmull_s8(vget_low_s8(first), vget_low_s8(a));
        let low = vmlal_s8(low, vget_low_s8(second), vget_low_s8(b));
        let high = vmlal_high_s8(vmull_high_s8(first, a), second, b);
        [vpadalq_s16(sum[0], low), vpadalq_s16(sum[1], high)]
    }
    #[inline(always)]
    unsafe fn finish(sum: [int32x4_t; 2]) -> uint8x16_t {
        vreinterpretq_u8_s32(match DOTPROD {
            true => sum[0],
            false => vpaddq_s32(sum[0], sum[1]),
        })
    }
    #[inline(always)]
    unsafe fn less_product(dots: uint8x16_t, from: *const i8, factor: i32) -> uint8x16_t {
        let dots = vreinterpretq_s32_u8(dots);
        vreinterpretq_u8_s32(vmlsq_n_s32(dots, few(from), factor))
    }
    #[inline(always)]
    unsafe fn numbers(dots: uint8x16_t) -> float32x4_t {
        vcvtq_f32_s32(vreinterpretq_s32_u8(dots))
    }
    #[inline(always)]
    unsafe fn splat(value: f32) -> float32x4_t {
        vdupq_n_f32(value)
    }
    #[inline(always)]
    unsafe fn load_f32(from: *const u8) -> float32x4_t {
        vld1q_f32(from.cast())
    }
    #[inline(always)]
    unsafe fn load_f16(from: *const u8) -> float32x4_t {
        f32_of_f16(vld1_u16(from.cast()))
    }
    #[inline(always)]
    unsafe fn load_i8(from: *const u8) -> float32x4_t {
        vcvtq_f32_s32(few(from.cast()))
    }
    #[inline(always)]
    unsafe fn load_half_of_e8m0(from: *const u8) -> float32x4_t {
        let bytes = vdup_n_u32(from.cast::<u32>().read_unaligned());
        let words = vmovl_u8(vreinterpret_u8_u32(bytes));
        half_of_e8m0(vmovl_u16(vget_low_u16(words)))
    }
    #[inline(always)]
    unsafe fn mul(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        vmulq_f32(a, b)
    }
    #[inline(always)]
    unsafe fn fma(a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
        vfmaq_f32(c, a, b)
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, value: float32x4_t) {
        vst1q_f32(to, value)
    }
}
