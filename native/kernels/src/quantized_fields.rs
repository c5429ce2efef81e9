//! Small integers as safetensors checkpoints pack them into words: which bits hold the number of an output and an input.
//!
//! Every scheme in use is one of few orders: a matrix of fields whose rows are outputs or are not, packed along its rows
//! (a stream of bits, lowest first) or down its columns (into little-endian words of 32 bits, a stream down each column).
//! ```text
//! GPTQ                codes [inputs, outputs] down columns   zeros [groups, outputs] in rows, 1 less than they are in v1
//! AWQ (gemm)          codes [inputs, outputs] in rows        zeros [groups, outputs] in rows, both in AWQ's order of eight
//! AWQ (gemv)          codes [outputs, inputs] in rows        zeros [outputs, groups] in rows
//! compressed-tensors  codes [outputs, inputs] in rows        zeros [outputs, groups] down columns, or signed bytes
//! bitsandbytes nf4    codes [outputs, inputs] in rows, the first of two in the high half of a byte
//! bytes               codes [outputs, inputs] in rows of 8 bits
//! ```
//! Sources: gptqmodel 7.7.0 `BaseQuantLinear.dequantize_weight`; autoawq 0.2.9 `packing_utils` and `gemv`;
//! compressed-tensors 0.20.1 `pack_quantized/helpers`; bitsandbytes 0.50.2 `backends/default/ops`.

use crate::error::KernelError;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Packing {
    InRows,
    DownColumns,
}

/// Where the fields of a row lie in its bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FieldOrder {
    Ascending,
    /// Of each eight: 0 2 4 6 1 3 5 7.
    Awq,
    /// Of each two the first is in the higher bits.
    HighFirst,
}

/// A stored matrix of small integers.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    pub bytes: &'a [u8],
    /// Of one stored row.
    pub row_bytes: usize,
    /// 1 … 8.
    pub bits: u32,
    pub packing: Packing,
    pub order: FieldOrder,
    /// Whether rows are outputs; else they are inputs or groups, and columns are outputs.
    pub is_output_first: bool,
    /// Two's complement; read as the number plus 2^(bits − 1).
    pub is_signed: bool,
    /// Added to what is stored, modulo 2^bits.
    pub added: u8,
}

impl Fields<'_> {
    /// Whether there are bytes for `outputs` × `others` fields, so that `get` cannot miss.
    pub(crate) fn check(
        &self,
        what: &str,
        outputs: usize,
        others: usize,
    ) -> Result<(), KernelError> {
        let (rows, columns) = self.place(outputs, others);
        if !(1..=8).contains(&self.bits) {
            return Err(KernelError::new(format!(
                "{what} must have 1 to 8 bits, not {}",
                self.bits
            )));
        }
        let bits = self.bits as usize;
        let whole = match self.order {
            FieldOrder::Ascending => 1,
            FieldOrder::Awq => 8,
            FieldOrder::HighFirst => 2,
        };
        let (stored_rows, row_bits) = match self.packing {
            Packing::InRows => (Some(rows), columns.checked_mul(bits)),
            Packing::DownColumns => (
                rows.checked_mul(bits).map(|bits| bits.div_ceil(32)),
                columns.checked_mul(32),
            ),
        };
        let is_enough = columns.is_multiple_of(whole)
            && row_bits.is_some_and(|bits| bits.div_ceil(8) <= self.row_bytes)
            && stored_rows.and_then(|rows| rows.checked_mul(self.row_bytes))
                == Some(self.bytes.len());
        if is_enough {
            return Ok(());
        }
        Err(KernelError::new(format!(
            "{what}: {} bytes in rows of {} do not hold {rows} × {columns} numbers of {bits} bits",
            self.bytes.len(),
            self.row_bytes
        )))
    }

    fn place(&self, output: usize, other: usize) -> (usize, usize) {
        match self.is_output_first {
            true => (output, other),
            false => (other, output),
        }
    }

    /// The number of an output and an input (or a group), unsigned.
    #[inline]
    pub(crate) fn get(&self, output: usize, other: usize) -> u8 {
        let (row, column) = self.place(output, other);
        let bits = self.bits as usize;
        let stored = match self.packing {
            Packing::InRows => {
                let place = match self.order {
                    FieldOrder::Ascending => column,
                    FieldOrder::Awq => column / 8 * 8 + [0, 4, 1, 5, 2, 6, 3, 7][column % 8],
                    FieldOrder::HighFirst => column ^ 1,
                };
                let (at, shift) = (row * self.row_bytes + place * bits / 8, place * bits % 8);
                let low = u32::from(self.bytes[at]);
                let high = match shift + bits > 8 {
                    true => u32::from(self.bytes[at + 1]),
                    false => 0,
                };
                (low | (high << 8)) >> shift
            }
            Packing::DownColumns => {
                let (word, shift) = (row * bits / 32, row * bits % 32);
                let at = word * self.row_bytes + column * 4;
                let low = u64::from(self.word(at));
                let high = match shift + bits > 32 {
                    true => u64::from(self.word(at + self.row_bytes)),
                    false => 0,
                };
                ((low | (high << 32)) >> shift) as u32
            }
        };
        self.finish(stored)
    }

    /// All fields of an output, as `get` gives them. @param codes - inputs
    pub(crate) fn row_into(&self, output: usize, codes: &mut [u8]) {
        let is_dividing = 32 % self.bits == 0;
        match (self.packing, self.is_output_first, self.order) {
            (Packing::InRows, true, FieldOrder::Ascending) if self.bits == 8 => {
                let row = &self.bytes[output * self.row_bytes..][..codes.len()];
                for (code, &byte) in codes.iter_mut().zip(row) {
                    *code = self.finish(u32::from(byte));
                }
            }
            (Packing::InRows, true, order) if self.bits == 4 && order != FieldOrder::Awq => {
                let row = &self.bytes[output * self.row_bytes..][..codes.len().div_ceil(2)];
                let first = if order == FieldOrder::HighFirst { 4 } else { 0 };
                for (pair, &byte) in codes.chunks_mut(2).zip(row) {
                    for (at, code) in pair.iter_mut().enumerate() {
                        *code = self.finish(u32::from(byte >> ((at as u32 * 4) ^ first)));
                    }
                }
            }
            (Packing::DownColumns, false, _) if is_dividing => {
                for (at, few) in codes.chunks_mut((32 / self.bits) as usize).enumerate() {
                    let mut word = self.word(at * self.row_bytes + output * 4);
                    for code in few {
                        *code = self.finish(word);
                        word >>= self.bits;
                    }
                }
            }
            _ => {
                for (at, code) in codes.iter_mut().enumerate() {
                    *code = self.get(output, at);
                }
            }
        }
    }

    #[inline(always)]
    fn finish(&self, stored: u32) -> u8 {
        let mask = (1_u32 << self.bits) - 1;
        let flip = u32::from(self.is_signed) << (self.bits - 1);
        (((stored ^ flip) + u32::from(self.added)) & mask) as u8
    }

    #[inline(always)]
    fn word(&self, at: usize) -> u32 {
        let bytes = self.bytes[at..at + 4].try_into().expect("four bytes");
        u32::from_le_bytes(bytes)
    }
}
