//! Rotary position embedding: the table of cosines and sines, and the rotation of one head.
//!
//! Angles are position · frequency rounded to f32, as the reference implementations compute them; cos and sin are taken
//! in f64 and rounded. Source: Su et al. 2021, arXiv:2104.09864.

use crate::simd::{LANES, Simd};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RopeStyle {
    None,
    /// Pairs (i, i + rotaryDim / 2), as Hugging Face.
    Half,
    /// Pairs (2i, 2i + 1), as GGUF's llama.
    Interleaved,
}

/// cos and sin, each `[max_positions, pairs]`, multiplied by `scale`.
pub struct RopeTable {
    pub(crate) cos: Vec<f32>,
    pub(crate) sin: Vec<f32>,
    pub(crate) pairs: usize,
    pub(crate) max_positions: usize,
}

impl RopeTable {
    pub fn new(inverse_frequencies: &[f32], scale: f32, max_positions: usize) -> Self {
        let pairs = inverse_frequencies.len();
        let mut table = Self {
            cos: Vec::with_capacity(max_positions * pairs),
            sin: Vec::with_capacity(max_positions * pairs),
            pairs,
            max_positions,
        };
        for position in 0..max_positions {
            for frequency in inverse_frequencies {
                let angle = f64::from(position as f32 * frequency);
                table.cos.push(angle.cos() as f32 * scale);
                table.sin.push(angle.sin() as f32 * scale);
            }
        }
        table
    }

    /// Rotate the pairs of one head; what lies beyond them is left alone.
    ///
    /// # Safety
    /// `from` is valid for 2 · pairs reads and `to`, another place, for as many writes; `position` < `max_positions`.
    #[inline(always)] // Compiled for the CPU at hand with the kernel that calls it.
    pub(crate) unsafe fn rotate<S: Simd>(
        &self,
        style: RopeStyle,
        position: usize,
        from: *const f32,
        to: *mut f32,
    ) {
        let pairs = self.pairs;
        let cos = self.cos[position * pairs..][..pairs].as_ptr();
        let sin = self.sin[position * pairs..][..pairs].as_ptr();
        let mut first = 0;
        if style == RopeStyle::Half {
            // The same operations as below, sixteen at a time.
            while first + LANES <= pairs {
                let (a, b) = (S::load(from.add(first)), S::load(from.add(first + pairs)));
                let (c, s) = (S::load(cos.add(first)), S::load(sin.add(first)));
                S::store(to.add(first), S::sub(S::mul(a, c), S::mul(b, s)));
                S::store(to.add(first + pairs), S::add(S::mul(b, c), S::mul(a, s)));
                first += LANES;
            }
        }
        for pair in first..pairs {
            let (i, j) = match style {
                RopeStyle::Interleaved => (2 * pair, 2 * pair + 1),
                RopeStyle::Half | RopeStyle::None => (pair, pair + pairs),
            };
            let (a, b) = (*from.add(i), *from.add(j));
            let (c, s) = (*cos.add(pair), *sin.add(pair));
            *to.add(i) = a * c - b * s;
            *to.add(j) = b * c + a * s;
        }
    }
}
