//! What is known of a random quantized matrix before it is written in a scheme's layout, and the weights that follow.

use half::f16;
use ingot_kernels::Format;

use super::Random;

/// Integers, zero points and scales of a matrix; scales are exact in f16.
pub struct Known {
    pub rows: usize,
    pub k: usize,
    pub groups: usize,
    pub bits: usize,
    pub q: Vec<u8>,
    pub z: Vec<u8>,
    pub s: Vec<f32>,
    pub of_input: Vec<usize>,
}

impl Known {
    pub fn new(rows: usize, k: usize, group: usize, bits: usize, random: &mut Random) -> Self {
        let groups = k.div_ceil(group);
        Self {
            rows,
            k,
            groups,
            bits,
            q: (0..rows * k)
                .map(|_| random.below(1 << bits) as u8)
                .collect(),
            z: (0..rows * groups)
                .map(|_| random.below(1 << bits) as u8)
                .collect(),
            s: (0..rows * groups)
                .map(|_| f16::from_f32(random.value() / 16.0).to_f32())
                .collect(),
            of_input: (0..k).map(|input| input / group).collect(),
        }
    }

    pub fn shuffle(&mut self, random: &mut Random) {
        for at in (1..self.k).rev() {
            self.of_input.swap(at, random.below(at + 1));
        }
    }

    pub fn q(&self, row: usize, input: usize) -> u8 {
        self.q[row * self.k + input]
    }
    pub fn z(&self, row: usize, group: usize) -> u8 {
        self.z[row * self.groups + group]
    }

    pub fn values(&self) -> Vec<f32> {
        (0..self.rows * self.k)
            .map(|at| {
                let group = at / self.k * self.groups + self.of_input[at % self.k];
                (f32::from(self.q[at]) - f32::from(self.z[group])) * self.s[group]
            })
            .collect()
    }

    /// `is_output_first`, or groups first.
    pub fn scales(&self, is_output_first: bool, format: Format) -> Vec<u8> {
        let mut bytes = Vec::new();
        for at in 0..self.s.len() {
            let (row, group) = match is_output_first {
                true => (at / self.groups, at % self.groups),
                false => (at % self.rows, at / self.rows),
            };
            let scale = self.s[row * self.groups + group];
            match format {
                Format::F16 => bytes.extend(f16::from_f32(scale).to_le_bytes()),
                _ => bytes.extend(scale.to_le_bytes()),
            }
        }
        bytes
    }
}
