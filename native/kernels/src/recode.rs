//! Weights written anew in another format while they are packed: dense formats by rounding, blocks by quantising.
//!
//! A block's scale (and minimum) is first rounded to the f16 it will be stored as, and weights are rounded to what that
//! f16 can say. A group may be longer than a block of 32: then its blocks share one scale. Scale and minimum are refined
//! by least squares, as long as the squared error falls.
//! R1: one row's bytes depend on that row only. R2: what the format cannot hold is an error, never infinity.

use half::{bf16, f16};

use crate::error::KernelError;
use crate::format::Format;
use crate::simd::Simd;

/// A format to be written, and how many weights share a scale.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Recode {
    format: Format,
    /// A multiple of 32; `usize::MAX` = the whole row. Dense formats have no groups.
    group: usize,
}

const BLOCK: usize = 32;
/// Rounds of least squares; each is kept only when it helps, and a third one hardly ever does.
const ROUNDS: usize = 2;

impl Recode {
    /// `group` weights along a row share a scale; `None` = all of the row.
    ///
    /// # Errors
    /// When weights cannot be written in this format, or a group is not whole blocks of 32.
    pub fn new(format: Format, group: Option<usize>) -> Result<Self, KernelError> {
        let is_dense = matches!(format, Format::F32 | Format::F16 | Format::BF16);
        if !is_dense && !matches!(format, Format::Q4_0 | Format::Q4_1 | Format::Q8_0) {
            return Err(KernelError::new(format!(
                "weights can be written as F32, F16, BF16, Q4_0, Q4_1 or Q8_0, not as {format:?}"
            )));
        }
        let group = group.unwrap_or(usize::MAX);
        if group == 0 || (group != usize::MAX && !group.is_multiple_of(BLOCK)) {
            return Err(KernelError::new(format!(
                "a group must be whole blocks of {BLOCK} weights, got {group}"
            )));
        }
        Ok(Self { format, group })
    }

    pub fn format(self) -> Format {
        self.format
    }

    /// Bytes of one row of `k` weights; `None` when they are not whole blocks.
    pub fn row_bytes(self, k: usize) -> Option<usize> {
        k.is_multiple_of(self.format.block_weights())
            .then(|| k / self.format.block_weights() * self.format.block_bytes())
    }

    /// Write one row's values in the format, as it would lie in a file.
    ///
    /// # Errors
    /// When a value is not finite or too large for the format (R2).
    ///
    /// Panics unless `out` is exactly `row_bytes` long.
    pub fn write_row(self, values: &[f32], out: &mut [u8]) -> Result<(), KernelError> {
        assert_eq!(
            Some(out.len()),
            self.row_bytes(values.len()),
            "bytes of a row"
        );
        #[inline(always)]
        unsafe fn body<S: Simd>(recode: Recode, values: &[f32], out: &mut [u8], fits: &mut bool) {
            *fits = write_row(recode, values, out);
        }
        let (recode, mut fits) = (self, false);
        let fits_out = &mut fits;
        crate::dispatch!(body(recode: Recode, values: &[f32], out: &mut [u8], fits_out: &mut bool));
        if fits {
            return Ok(());
        }
        Err(KernelError::new(format!(
            "a value is not a number, or too large for {}",
            self.format.name()
        )))
    }
}

/// Everything below is plain arithmetic that is compiled once for each family; the bits are the same, because nothing is
/// reordered or fused. @returns whether all values could be written
#[inline(always)]
fn write_row(recode: Recode, values: &[f32], out: &mut [u8]) -> bool {
    match recode.format {
        Format::F32 => write_dense(values, out, |value| {
            (value.to_le_bytes(), value.is_finite())
        }),
        Format::F16 => write_dense(values, out, |value| {
            let half = f16::from_f32(value);
            (half.to_le_bytes(), half.is_finite())
        }),
        Format::BF16 => write_dense(values, out, |value| {
            let half = bf16::from_f32(value);
            (half.to_le_bytes(), half.is_finite())
        }),
        _ => write_blocks(recode, values, out),
    }
}

#[inline(always)]
fn write_dense<const WIDTH: usize>(
    values: &[f32],
    out: &mut [u8],
    write: impl Fn(f32) -> ([u8; WIDTH], bool),
) -> bool {
    let mut fits = true;
    for (value, to) in values.iter().zip(out.as_chunks_mut::<WIDTH>().0) {
        let (bytes, is_finite) = write(*value);
        *to = bytes;
        fits &= is_finite;
    }
    fits
}

#[inline(always)]
fn write_blocks(recode: Recode, values: &[f32], out: &mut [u8]) -> bool {
    let block_bytes = recode.format.block_bytes();
    let group = recode.group.min(values.len());
    let mut blocks = out.chunks_exact_mut(block_bytes);
    let mut fits = true;
    for values in values.chunks(group) {
        let grid = Grid::fit(recode.format, values);
        fits &= grid.scale.is_finite() && grid.minimum.is_finite();
        for (values, out) in values.as_chunks::<BLOCK>().0.iter().zip(&mut blocks) {
            grid.write(recode.format, values, out);
        }
    }
    fits
}

/// The values that quants stand for: quant · scale + minimum.
#[derive(Clone, Copy)]
struct Grid {
    scale: f32,
    minimum: f32,
    /// Smallest and largest quant, before the format's bias is added.
    range: (f32, f32),
}

impl Grid {
    /// The grid that reaches all values, refined.
    #[inline(always)]
    fn fit(format: Format, values: &[f32]) -> Self {
        let mut grid = Self::reaching(format, values);
        let mut error = grid.error(values);
        for _ in 0..ROUNDS {
            let next = grid.refined(format, values);
            let next_error = next.error(values);
            // Also false where either is not a number.
            let is_better = next_error < error;
            if !is_better {
                break;
            }
            (grid, error) = (next, next_error);
        }
        grid
    }

    #[inline(always)]
    fn reaching(format: Format, values: &[f32]) -> Self {
        let (mut low, mut high, mut sum) = (f32::INFINITY, f32::NEG_INFINITY, 0.0);
        for &value in values {
            low = low.min(value);
            high = high.max(value);
            // Tells of a NaN, which `min` and `max` pass over.
            sum += value * 0.0;
        }
        let (scale, minimum, range) = match format {
            Format::Q4_1 => ((high - low) / 15.0, low, (0.0, 15.0)),
            // The end that reaches further gets the −8.
            Format::Q4_0 if high > -low => (high / -8.0, 0.0, (-8.0, 7.0)),
            Format::Q4_0 => (low / -8.0, 0.0, (-8.0, 7.0)),
            _ => (high.max(-low) / 127.0, 0.0, (-127.0, 127.0)),
        };
        Self {
            scale: stored(scale + sum),
            minimum: stored(minimum),
            range,
        }
    }

    /// Least squares for the quants that this grid gives.
    #[inline(always)]
    fn refined(self, format: Format, values: &[f32]) -> Self {
        let (mut q, mut qq, mut v, mut qv) = (Sum::ZERO, Sum::ZERO, Sum::ZERO, Sum::ZERO);
        let inverse = self.inverse();
        for values in values.as_chunks::<LANES>().0 {
            for lane in 0..LANES {
                let (value, quant) = (values[lane], self.quant(values[lane], inverse));
                q.0[lane] += quant;
                qq.0[lane] += quant * quant;
                v.0[lane] += value;
                qv.0[lane] += quant * value;
            }
        }
        let (q, qq, v, qv) = (q.total(), qq.total(), v.total(), qv.total());
        if format != Format::Q4_1 {
            return Self {
                scale: if qq > 0.0 {
                    stored(qv / qq)
                } else {
                    self.scale
                },
                ..self
            };
        }
        let count = values.len() as f32;
        let determinant = count * qq - q * q;
        if determinant <= 0.0 {
            return self;
        }
        let scale = stored((count * qv - q * v) / determinant);
        Self {
            scale,
            minimum: stored((v - scale * q) / count),
            ..self
        }
    }

    #[inline(always)]
    fn error(self, values: &[f32]) -> f32 {
        let mut error = Sum::ZERO;
        let inverse = self.inverse();
        for values in values.as_chunks::<LANES>().0 {
            for lane in 0..LANES {
                let value = self.quant(values[lane], inverse) * self.scale + self.minimum;
                error.0[lane] += (value - values[lane]) * (value - values[lane]);
            }
        }
        error.total()
    }

    #[inline(always)]
    fn inverse(self) -> f32 {
        if self.scale == 0.0 {
            0.0
        } else {
            1.0 / self.scale
        }
    }

    #[inline(always)]
    fn quant(self, value: f32, inverse: f32) -> f32 {
        let quant = ((value - self.minimum) * inverse).round_ties_even();
        quant.max(self.range.0).min(self.range.1)
    }

    #[inline(always)]
    fn write(self, format: Format, values: &[f32; BLOCK], out: &mut [u8]) {
        let bias = if format == Format::Q4_0 { 8.0 } else { 0.0 };
        let inverse = self.inverse();
        let quant = |k: usize| (self.quant(values[k], inverse) + bias) as i32 as u8;
        out[..2].copy_from_slice(&f16::from_f32(self.scale).to_le_bytes());
        if format == Format::Q8_0 {
            for k in 0..BLOCK {
                out[2 + k] = quant(k);
            }
            return;
        }
        if format == Format::Q4_1 {
            out[2..4].copy_from_slice(&f16::from_f32(self.minimum).to_le_bytes());
        }
        let nibbles = &mut out[format.block_bytes() - BLOCK / 2..];
        for k in 0..BLOCK / 2 {
            nibbles[k] = quant(k) | (quant(k + BLOCK / 2) << 4);
        }
    }
}

/// As it is once it was stored.
#[inline(always)]
fn stored(value: f32) -> f32 {
    f16::from_f32(value).to_f32()
}

const LANES: usize = 16;

/// A sum in lanes, so that its order is the same however it is compiled.
struct Sum([f32; LANES]);

impl Sum {
    const ZERO: Self = Self([0.0; LANES]);

    #[inline(always)]
    fn total(&self) -> f32 {
        self.0.iter().sum()
    }
}
