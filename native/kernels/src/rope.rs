//! Rotary position embedding: the table of cosines and sines, and the rotation of one head.
//!
//! Angles are position · frequency rounded to f32, as the reference implementations compute them; cos and sin are taken
//! in f64 and rounded. Source: Su et al. 2021, arXiv:2104.09864.

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

    /// Rotate one head (`from` and `to` of one length ≥ 2 · pairs); what lies beyond the pairs is copied.
    #[inline(always)] // Compiled for the CPU at hand with the kernel that calls it.
    pub(crate) fn rotate(&self, style: RopeStyle, position: usize, from: &[f32], to: &mut [f32]) {
        let pairs = self.pairs;
        let cos = &self.cos[position * pairs..][..pairs];
        let sin = &self.sin[position * pairs..][..pairs];
        match style {
            RopeStyle::None => to.copy_from_slice(from),
            RopeStyle::Half => {
                for i in 0..pairs {
                    let (a, b) = (from[i], from[i + pairs]);
                    to[i] = a * cos[i] - b * sin[i];
                    to[i + pairs] = b * cos[i] + a * sin[i];
                }
                to[2 * pairs..].copy_from_slice(&from[2 * pairs..]);
            }
            RopeStyle::Interleaved => {
                for i in 0..pairs {
                    let (a, b) = (from[2 * i], from[2 * i + 1]);
                    to[2 * i] = a * cos[i] - b * sin[i];
                    to[2 * i + 1] = b * cos[i] + a * sin[i];
                }
                to[2 * pairs..].copy_from_slice(&from[2 * pairs..]);
            }
        }
    }
}
