//! From a stored quantized matrix to the packed form of `grouped`: which form it can have, and its tiles.
//!
//! The codes stay what they are. Inputs of one group are brought together first, where the file says that they are not
//! (`desc_act`): the packed k are then in another order, which the part carries and `linear` gathers activations by.
//! What has no packed form (inputs that are not whole blocks of 32, groups of other sizes) is packed as rows of f32.

use crate::error::KernelError;
use crate::grouped::{Codes, Grouped};
use crate::packed_linear::BLOCK;
use crate::quantized::{Quantized, Values};

pub(crate) struct GroupedPlan {
    pub kind: Grouped,
    /// Input that packed k stands for; `None`: itself.
    pub order: Option<Vec<u32>>,
    /// Stored group of each scale row.
    groups: Vec<u32>,
    /// Added to a stored code, so that its centre is the kind's.
    shift: u8,
}

impl GroupedPlan {
    /// `None` when the matrix has no grouped form.
    pub fn of(stored: &Quantized<'_>) -> Option<Self> {
        if !stored.k.is_multiple_of(BLOCK) {
            return None;
        }
        let order = sorted_inputs(stored);
        let group_at = |k: usize| {
            let input = order.as_ref().map_or(k, |order| order[k] as usize);
            stored.group_of(input) as u32
        };
        let mut of_blocks = Vec::with_capacity(stored.k / BLOCK);
        for block in 0..stored.k / BLOCK {
            let group = group_at(block * BLOCK);
            if (1..BLOCK).any(|k| group_at(block * BLOCK + k) != group) {
                return None;
            }
            of_blocks.push(group);
        }
        let whole = (stored.group / BLOCK).clamp(1, of_blocks.len());
        let is_whole = of_blocks
            .chunks(whole)
            .all(|few| few.iter().all(|group| *group == few[0]));
        let blocks_per_scale = if is_whole { whole } else { 1 };
        let groups: Vec<u32> = of_blocks
            .chunks(blocks_per_scale)
            .map(|few| few[0])
            .collect();
        let codes = match stored.values {
            Values::Integers { .. } if stored.codes.bits <= 4 => Codes::Nibbles,
            Values::Integers { .. } => Codes::Bytes,
            Values::Float8 => Codes::Float8,
            Values::Table(_) => Codes::Table,
        };
        let has_zeros = (0..stored.rows).any(|row| {
            groups
                .iter()
                .any(|&group| stored.zero(row, group as usize) != 0)
        });
        let kind = Grouped {
            codes,
            blocks_per_scale: blocks_per_scale as u32,
            has_zeros,
            has_order: order.is_some(),
        };
        let shift = match kind.is_integer() {
            true => (i16::from(kind.centre()) - stored.centre()) as u8,
            false => 0,
        };
        Some(Self {
            kind,
            order,
            groups,
            shift,
        })
    }

    /// Write rows as the columns of a zeroed tile. @param codes - working memory, twice k bytes
    ///
    /// # Errors
    /// When a code is not a number.
    pub fn pack_tile(
        &self,
        stored: &Quantized<'_>,
        rows: std::ops::Range<usize>,
        codes: &mut [u8],
        tile: &mut [u8],
    ) -> Result<(), KernelError> {
        let kind = self.kind;
        let blocks = stored.k / BLOCK;
        let (read, ordered) = codes.split_at_mut(stored.k);
        for (column, row) in rows.enumerate() {
            stored.codes.row_into(row, read);
            let codes = match &self.order {
                Some(order) => {
                    for (code, &input) in ordered.iter_mut().zip(order) {
                        *code = read[input as usize];
                    }
                    &*ordered
                }
                None => &*read,
            };
            if kind.codes == Codes::Float8
                && let Some(k) = codes.iter().position(|code| code & 0x7f == 0x7f)
            {
                return Err(KernelError::new(format!(
                    "the weight of row {row}, input {k} is not a number"
                )));
            }
            for (block, few) in codes.chunks_exact(BLOCK).enumerate() {
                let out = &mut tile[block * kind.code_bytes()..][..kind.code_bytes()];
                for (k, code) in few.iter().enumerate() {
                    let (at, shift) = kind.code_at(column, k);
                    out[at] |= (code + self.shift) << shift;
                }
            }
            for (at, &group) in self.groups.iter().enumerate() {
                let block = at * kind.blocks_per_scale as usize;
                let scale = stored.scale(row, group as usize);
                let to = kind.scales_at(blocks, block) + column * 4;
                tile[to..to + 4].copy_from_slice(&scale.to_le_bytes());
                if kind.has_zeros {
                    tile[kind.zeros_at(blocks, block) + column] =
                        stored.zero(row, group as usize) as u8;
                }
            }
        }
        if let Values::Table(table) = stored.values {
            tile[kind.table_at(blocks)..][..64].copy_from_slice(table);
        }
        Ok(())
    }
}

/// Inputs by group, ascending within each; `None` when they lie so already.
fn sorted_inputs(stored: &Quantized<'_>) -> Option<Vec<u32>> {
    stored.group_of_input?;
    let groups: Vec<usize> = (0..stored.k).map(|input| stored.group_of(input)).collect();
    if groups.is_sorted() {
        return None;
    }
    let mut order: Vec<u32> = (0..stored.k as u32).collect();
    order.sort_by_key(|&input| groups[input as usize]);
    Some(order)
}
