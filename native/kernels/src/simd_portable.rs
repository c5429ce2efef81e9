//! `Simd` in plain Rust: the reference of every other implementation, and what AVX2 machines run (compiled with its
//! features, the loops below become its vector instructions).

use half::{bf16, f16};

use crate::format_iq::half_of_e8m0;
use crate::quantized::f32_of_e4m3;
use crate::simd::{LANES, Simd};

#[derive(Clone, Copy)]
pub struct Portable;

#[derive(Clone, Copy)]
#[repr(align(64))]
pub struct Lanes([f32; LANES]);

#[derive(Clone, Copy)]
#[repr(align(64))]
pub struct Words([u32; LANES]);

#[inline(always)]
fn fill_words(f: impl Fn(usize) -> u32) -> Words {
    let mut out = Words([0; LANES]);
    for lane in 0..LANES {
        out.0[lane] = f(lane);
    }
    out
}

#[inline(always)]
fn map(a: Lanes, f: impl Fn(f32) -> f32) -> Lanes {
    let mut out = a;
    for lane in &mut out.0 {
        *lane = f(*lane);
    }
    out
}

#[inline(always)]
fn zip(a: Lanes, b: Lanes, f: impl Fn(f32, f32) -> f32) -> Lanes {
    let mut out = a;
    for lane in 0..LANES {
        out.0[lane] = f(a.0[lane], b.0[lane]);
    }
    out
}

#[inline(always)]
fn fill(f: impl Fn(usize) -> f32) -> Lanes {
    let mut out = Lanes([0.0; LANES]);
    for lane in 0..LANES {
        out.0[lane] = f(lane);
    }
    out
}

// SAFETY: plain Rust needs no CPU feature; pointers are the caller's promise.
unsafe impl Simd for Portable {
    type F = Lanes;
    type W = Words;
    const REGISTERS: usize = 8;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Lanes {
        Lanes([value; LANES])
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Lanes {
        fill(|lane| unsafe { from.add(lane).read_unaligned() })
    }
    #[inline(always)]
    unsafe fn fetch(at: *const u8) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: SSE is part of x86-64, and a prefetch never faults.
        unsafe {
            std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(at.cast());
        }
        #[cfg(target_arch = "aarch64")]
        // SAFETY: a prefetch never faults. Its intrinsic is not stable.
        unsafe {
            std::arch::asm!("prfm pldl1keep, [{0}]", in(reg) at, options(readonly, nostack, preserves_flags));
        }
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        let _ = at;
    }
    #[inline(always)]
    unsafe fn fetch_far(at: *const u8) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: SSE is part of x86-64, and a prefetch never faults.
        unsafe {
            std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T1 }>(at.cast());
        }
        #[cfg(target_arch = "aarch64")]
        // SAFETY: as in `fetch`.
        unsafe {
            std::arch::asm!("prfm pldl2keep, [{0}]", in(reg) at, options(readonly, nostack, preserves_flags));
        }
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        let _ = at;
    }
    #[inline(always)]
    unsafe fn load_f16(from: *const u16) -> Lanes {
        fill(|lane| f16::from_bits(unsafe { from.add(lane).read_unaligned() }).to_f32())
    }
    #[inline(always)]
    unsafe fn load_bits(from: *const u8, shift: u32, mask: u32) -> Lanes {
        fill(|lane| {
            let word = unsafe { from.cast::<u32>().add(lane).read_unaligned() };
            ((u32::from_le(word) >> shift) & mask) as f32
        })
    }
    #[inline(always)]
    unsafe fn load_table(from: *const u8, shift: u32, table: *const f32) -> Lanes {
        fill(|lane| unsafe {
            let word = from.cast::<u32>().add(lane).read_unaligned();
            *table.add((u32::from_le(word) >> shift) as usize & 15)
        })
    }
    #[inline(always)]
    unsafe fn load_i8(from: *const i8) -> Lanes {
        fill(|lane| f32::from(unsafe { *from.add(lane) }))
    }
    #[inline(always)]
    unsafe fn load_half_of_e8m0(from: *const u8) -> Lanes {
        fill(|lane| half_of_e8m0(unsafe { *from.add(lane) }))
    }
    #[inline(always)]
    unsafe fn load_e4m3(from: *const u8) -> Lanes {
        fill(|lane| f32_of_e4m3(unsafe { *from.add(lane) }))
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, value: Lanes) {
        unsafe { to.cast::<[f32; LANES]>().write_unaligned(value.0) }
    }
    #[inline(always)]
    unsafe fn store_bf16(to: *mut u16, value: Lanes) {
        for lane in 0..LANES {
            unsafe {
                to.add(lane)
                    .write_unaligned(bf16::from_f32(value.0[lane]).to_bits())
            }
        }
    }
    #[inline(always)]
    unsafe fn store_f16(to: *mut u16, value: Lanes) {
        for lane in 0..LANES {
            unsafe {
                to.add(lane)
                    .write_unaligned(f16::from_f32(value.0[lane]).to_bits())
            }
        }
    }
    #[inline(always)]
    unsafe fn load_words(from: *const u32) -> Words {
        fill_words(|lane| unsafe { from.add(lane).read_unaligned() })
    }
    #[inline(always)]
    unsafe fn splat_word(word: u32) -> Words {
        Words([word; LANES])
    }
    #[inline(always)]
    unsafe fn mask_words(words: Words, mask: u32) -> Words {
        fill_words(|lane| words.0[lane] & mask)
    }
    #[inline(always)]
    unsafe fn upper_halves(words: Words) -> Lanes {
        fill(|lane| f32::from_bits(words.0[lane] & !0xffff))
    }
    #[inline(always)]
    unsafe fn lower_halves(words: Words) -> Lanes {
        fill(|lane| f32::from_bits(words.0[lane] << 16))
    }
    #[inline(always)]
    unsafe fn dot_quads(sum: Words, a: Words, b: Words) -> Words {
        let mut out = sum;
        for byte in 0..4 {
            for lane in 0..LANES {
                let unsigned = (a.0[lane] >> (8 * byte)) as u8;
                let signed = (b.0[lane] >> (8 * byte)) as i8;
                let product = i32::from(unsigned) * i32::from(signed);
                out.0[lane] = out.0[lane].wrapping_add(product as u32);
            }
        }
        out
    }
    #[inline(always)]
    unsafe fn join_limbs(high: Words, low: Words) -> Lanes {
        fill(|lane| ((high.0[lane] << 7).wrapping_add(low.0[lane]) as i32) as f32)
    }
    #[inline(always)]
    unsafe fn store_limbs(high: *mut u8, low: *mut u8, value: Lanes) {
        for lane in 0..LANES {
            let whole = value.0[lane].round_ties_even() as i32;
            unsafe {
                *high.add(lane) = (whole >> 7) as u8;
                *low.add(lane) = (whole & 127) as u8;
            }
        }
    }
    #[inline(always)]
    unsafe fn add(a: Lanes, b: Lanes) -> Lanes {
        zip(a, b, |a, b| a + b)
    }
    #[inline(always)]
    unsafe fn sub(a: Lanes, b: Lanes) -> Lanes {
        zip(a, b, |a, b| a - b)
    }
    #[inline(always)]
    unsafe fn mul(a: Lanes, b: Lanes) -> Lanes {
        zip(a, b, |a, b| a * b)
    }
    #[inline(always)]
    unsafe fn div(a: Lanes, b: Lanes) -> Lanes {
        zip(a, b, |a, b| a / b)
    }
    // As vmaxps and vminps: the second operand where either is NaN.
    #[inline(always)]
    unsafe fn max(a: Lanes, b: Lanes) -> Lanes {
        zip(a, b, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    unsafe fn min(a: Lanes, b: Lanes) -> Lanes {
        zip(a, b, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    unsafe fn max_magnitude(a: Lanes, b: Lanes) -> f32 {
        let mut largest = 0;
        for lane in 0..LANES {
            largest = largest.max(a.0[lane].abs().to_bits());
            largest = largest.max(b.0[lane].abs().to_bits());
        }
        f32::from_bits(largest)
    }
    #[inline(always)]
    unsafe fn store_quants(to: *mut i8, low: Lanes, high: Lanes) -> [i32; 2] {
        let mut sums = [0; 2];
        for lane in 0..LANES {
            let quants = [low.0[lane], high.0[lane]].map(|x| x.round_ties_even() as i8);
            unsafe {
                *to.add(lane) = quants[0];
                *to.add(LANES + lane) = quants[1];
            }
            sums[0] += i32::from(quants[0]);
            sums[1] += i32::from(quants[1]);
        }
        sums
    }
    #[inline(always)]
    unsafe fn fma(a: Lanes, b: Lanes, c: Lanes) -> Lanes {
        let mut out = c;
        for lane in 0..LANES {
            out.0[lane] = a.0[lane].mul_add(b.0[lane], c.0[lane]);
        }
        out
    }
    #[inline(always)]
    unsafe fn round(a: Lanes) -> Lanes {
        map(a, f32::round_ties_even)
    }
    #[inline(always)]
    unsafe fn scale_by_power_of_two(a: Lanes, n: Lanes) -> Lanes {
        zip(a, n, |a, n| {
            a * f32::from_bits(((n as i32 + 127) << 23) as u32)
        })
    }
    #[inline(always)]
    unsafe fn to_array(a: Lanes) -> [f32; LANES] {
        a.0
    }
    #[inline(always)]
    unsafe fn select_below(key: Lanes, limit: f32, below: Lanes, otherwise: Lanes) -> Lanes {
        fill(|lane| {
            let is_below = key.0[lane] < limit;
            if is_below {
                below.0[lane]
            } else {
                otherwise.0[lane]
            }
        })
    }
}
