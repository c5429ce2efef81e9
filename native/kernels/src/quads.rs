//! Vectors narrower than 512 bits as the integer kernels see them: dot products of quads of bytes, one column a lane.
//!
//! Two dot products at a time, because a CPU without an instruction for one adds two products in 16 bits before it widens
//! them. Which rows and columns are worked at once is the implementation's, by the registers it has; no bits depend on it.

use crate::cpu::Family;

/// # Safety
/// Every method may be called only inside a function compiled for the implementation's CPU features (`on_quads!` sees to
/// it), and pointers must be valid for what is read or written.
pub(crate) unsafe trait Quads: Copy {
    /// Columns of one vector.
    const LANES: usize;
    /// Weights are multiplied as unsigned bytes; else as signed ones, which those above 127 have to be made first.
    const TAKES_UNSIGNED: bool;
    /// Rows worked at once, at most `MOST_ROWS`.
    const ROWS: usize;
    /// Vectors of columns worked at once, by the number of rows.
    const VECTORS: [usize; MOST_ROWS + 1];

    /// Bytes, or 32-bit integers.
    type W: Copy;
    type F: Copy;
    /// A sum of dot products that is being made.
    type Dot: Copy;
    /// Sixteen activations of one row.
    type Acts: Copy;

    unsafe fn load(from: *const u8) -> Self::W;
    unsafe fn splat_byte(byte: u8) -> Self::W;
    unsafe fn and(a: Self::W, b: Self::W) -> Self::W;
    unsafe fn or(a: Self::W, b: Self::W) -> Self::W;
    unsafe fn xor(a: Self::W, b: Self::W) -> Self::W;
    /// Bits moved up, or down where `by` is negative; what crosses into the next byte is masked off by the caller.
    unsafe fn moved(line: Self::W, by: i32) -> Self::W;
    /// Low and high nibbles.
    unsafe fn nibbles(bytes: Self::W) -> [Self::W; 2];
    /// The values at places 0 … 15 of a table.
    unsafe fn look_up(table: *const i8, places: Self::W) -> Self::W;
    unsafe fn acts(from: *const i8) -> Self::Acts;
    unsafe fn start(value: i32) -> Self::Dot;
    /// sum + first · quad A of `a` + second · quad B of `b`. A weight is one that `TAKES_UNSIGNED` allows.
    unsafe fn dot_two<const A: usize, const B: usize>(
        sum: Self::Dot,
        first: Self::W,
        a: Self::Acts,
        second: Self::W,
        b: Self::Acts,
    ) -> Self::Dot;
    unsafe fn finish(sum: Self::Dot) -> Self::W;
    /// dots − `factor` times as many i8.
    unsafe fn less_product(dots: Self::W, from: *const i8, factor: i32) -> Self::W;
    unsafe fn numbers(dots: Self::W) -> Self::F;

    unsafe fn splat(value: f32) -> Self::F;
    unsafe fn load_f32(from: *const u8) -> Self::F;
    unsafe fn load_f16(from: *const u8) -> Self::F;
    unsafe fn load_i8(from: *const u8) -> Self::F;
    /// As `Simd::load_half_of_e8m0`.
    unsafe fn load_half_of_e8m0(from: *const u8) -> Self::F;
    unsafe fn mul(a: Self::F, b: Self::F) -> Self::F;
    /// a · b + c, rounded once.
    unsafe fn fma(a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    unsafe fn store(to: *mut f32, value: Self::F);

    /// Bytes stored as unsigned ones, as `dot_two` takes them.
    #[inline(always)]
    unsafe fn weights(bytes: Self::W) -> Self::W {
        match Self::TAKES_UNSIGNED {
            true => bytes,
            false => Self::xor(bytes, Self::splat_byte(0x80)),
        }
    }
}

pub(crate) const MOST_ROWS: usize = 4;
pub(crate) const MOST_VECTORS: usize = 4;

/// Integer sums of a block and sums over blocks, [row][vector of columns].
pub(crate) type Dots<Q, const ROWS: usize> = [[<Q as Quads>::Dot; MOST_VECTORS]; ROWS];
pub(crate) type Sums<Q, const ROWS: usize> = [[<Q as Quads>::F; MOST_VECTORS]; ROWS];

/// Whether a family has its integer kernels through `Quads`.
pub(crate) fn has_quads(family: Family) -> bool {
    matches!(
        family,
        Family::Avx2Vnni | Family::NeonDotprod | Family::Neon
    )
}

/// Call `$kernel::<Q>(…)` compiled for the CPU at hand, whose family `has_quads`; as `dispatch!` does.
#[macro_export]
macro_rules! on_quads {
    ($kernel:ident ( $($arg:ident : $type:ty),* $(,)? )) => {{
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2,fma,f16c,avxvnni")]
        unsafe fn on_vex($($arg: $type),*) {
            unsafe { $kernel::<$crate::quads_avx2::Avx2Vnni<true>>($($arg),*) }
        }
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512vl,avx512vnni")]
        unsafe fn on_evex($($arg: $type),*) {
            unsafe { $kernel::<$crate::quads_avx2::Avx2Vnni<false>>($($arg),*) }
        }
        // SAFETY: the family was chosen from the features this CPU has.
        #[cfg(target_arch = "x86_64")]
        match $crate::cpu::has_vex_vnni() {
            true => unsafe { on_vex($($arg),*) },
            false => unsafe { on_evex($($arg),*) },
        }
        // SAFETY: as above; NEON itself needs no feature switched on.
        #[cfg(target_arch = "aarch64")]
        match $crate::cpu::family() {
            $crate::cpu::Family::NeonDotprod => unsafe {
                $kernel::<$crate::quads_neon::NeonQuads<true>>($($arg),*)
            },
            _ => unsafe { $kernel::<$crate::quads_neon::NeonQuads<false>>($($arg),*) },
        }
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        unreachable!("no family here has quads");
    }};
}
