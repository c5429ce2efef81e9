//! Fills the tiles of `packed_linear` from stored rows, each written anew first where its part says so.
//!
//! Owns nothing afterwards. P1: a thread holds one row's values and bytes beside the tiles, whatever the tensor's size.

use std::sync::{Mutex, PoisonError};

use crate::error::KernelError;
use crate::format::Format;
use crate::format_legacy::read_block;
use crate::packed_bytes::PackedBytes;
use crate::packed_linear::{BLOCK, Kind, PackedPart, Part, SendPointer, TILE_COLUMNS};
use crate::planes_pack;
use crate::pool::Pool;
use crate::recode::Recode;

pub(crate) fn checked_row_bytes(format: Format, k: usize) -> Result<usize, KernelError> {
    if !k.is_multiple_of(format.block_weights()) {
        return Err(KernelError::new(format!(
            "{format:?} stores rows in blocks of {}, but the weight has {k} inputs",
            format.block_weights()
        )));
    }
    (k / format.block_weights())
        .checked_mul(format.block_bytes())
        .ok_or_else(|| {
            KernelError::new(format!(
                "{k} inputs of {format:?} are more bytes than memory"
            ))
        })
}

pub(crate) fn pack_part(
    part: &Part<'_>,
    recode: Option<Recode>,
    k: usize,
    first: usize,
    pool: &Pool,
) -> Result<PackedPart, KernelError> {
    let format = recode.map_or(part.format, Recode::format);
    let kind = Kind::of(format);
    // A dense tile need not be whole lines when k is odd; tiles then follow one another unaligned, which loads allow.
    let tile_bytes = kind.tile_bytes(k);
    let tiles = part.rows.div_ceil(TILE_COLUMNS);
    let mut data = PackedBytes::zeroed(tiles * tile_bytes);
    let base = SendPointer(data.as_mut_ptr().cast::<u8>());
    let tiles_a_chunk = tiles.div_ceil(pool.threads() * 4).max(1);
    let failed = Mutex::new(None);
    pool.run(tiles.div_ceil(tiles_a_chunk), &|chunk| {
        let mut rows = Rows::new(part, recode, k);
        for tile in
            (chunk * tiles_a_chunk..(chunk + 1) * tiles_a_chunk).take_while(|&tile| tile < tiles)
        {
            // SAFETY: each tile is a range of its own of the allocation.
            let out = unsafe {
                std::slice::from_raw_parts_mut(base.get().add(tile * tile_bytes), tile_bytes)
            };
            for (column, row) in
                (tile * TILE_COLUMNS..((tile + 1) * TILE_COLUMNS).min(part.rows)).enumerate()
            {
                match rows.read(row) {
                    Ok(bytes) => pack_column(kind, format, bytes, column, out),
                    Err(error) => {
                        *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                        return;
                    }
                }
            }
        }
    });
    if let Some(error) = failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error);
    }
    Ok(PackedPart {
        kind,
        format,
        rows: part.rows,
        first,
        tile_bytes,
        data: PackedBytes::owned(data),
    })
}

/// A part's rows in the format that is packed: as they lie in the file, or written anew one at a time.
struct Rows<'a> {
    part: &'a Part<'a>,
    row_bytes: usize,
    recode: Option<(Recode, Vec<f32>, Vec<u8>)>,
}

impl<'a> Rows<'a> {
    fn new(part: &'a Part<'a>, recode: Option<Recode>, k: usize) -> Self {
        Self {
            part,
            row_bytes: part.bytes.len() / part.rows,
            recode: recode.map(|recode| {
                let bytes = recode.row_bytes(k).expect("checked before");
                (recode, vec![0.0; k], vec![0; bytes])
            }),
        }
    }

    fn read(&mut self, row: usize) -> Result<&[u8], KernelError> {
        let stored = &self.part.bytes[row * self.row_bytes..][..self.row_bytes];
        let Some((recode, values, bytes)) = &mut self.recode else {
            return Ok(stored);
        };
        self.part.format.dequantise_into(stored, values);
        recode.write_row(values, bytes)?;
        Ok(bytes)
    }
}

/// Write one row of the stored tensor as one column of a tile.
fn pack_column(kind: Kind, format: Format, row: &[u8], column: usize, out: &mut [u8]) {
    let (half, lane) = (column / 16, column % 16);
    if let Kind::Dense(format) = kind {
        let width = format.block_bytes();
        for (k, value) in row.chunks_exact(width).enumerate() {
            out[(k * TILE_COLUMNS + column) * width..][..width].copy_from_slice(value);
        }
        return;
    }
    if let Kind::Planes(format) = kind {
        return planes_pack::pack_column(format, row, column, out);
    }
    let stride = kind.tile_bytes(BLOCK);
    for (bytes, out) in row
        .chunks_exact(format.block_bytes())
        .zip(out.chunks_exact_mut(stride))
    {
        let block = read_block(format, bytes);
        let bias = if let Kind::Nibbles { bias } = kind {
            bias as i8
        } else {
            0
        };
        let scales_at = if kind == Kind::Int8 { 1024 } else { 512 };
        if kind == Kind::Int8 {
            for (k, quant) in block.quants.iter().enumerate() {
                out[(half * 8 + k / 4) * 64 + lane * 4 + k % 4] = (i16::from(*quant) + 128) as u8;
            }
        } else {
            for k in 0..16 {
                let low = (block.quants[k] + bias) as u8;
                let high = (block.quants[k + 16] + bias) as u8;
                out[(half * 4 + k / 4) * 64 + lane * 4 + k % 4] = low | (high << 4);
            }
        }
        out[scales_at + column * 2..][..2].copy_from_slice(&block.scale.to_le_bytes());
        if kind == Kind::NibblesWithMinimum {
            out[576 + column * 2..][..2].copy_from_slice(&block.minimum.to_le_bytes());
        }
    }
}
