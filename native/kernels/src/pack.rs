//! Fills the tiles of `packed_linear` from stored rows, each written anew first where its part says so.
//!
//! Owns nothing afterwards. P1: a thread holds one row's values and bytes beside the tiles, whatever the tensor's size.

use std::sync::{Mutex, PoisonError};

use crate::error::KernelError;
use crate::format::Format;
use crate::format_legacy::read_block;
use crate::grouped_pack::GroupedPlan;
use crate::linear_bf16;
use crate::packed_bytes::{Line, PackedBytes};
use crate::packed_linear::{BLOCK, Kind, PackedPart, SendPointer, TILE_COLUMNS};
use crate::planes_pack;
use crate::pool::Pool;
use crate::quantized::Quantized;
use crate::recode::Recode;
use crate::source::Source;

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
    source: &Source<'_>,
    recode: Option<Recode>,
    k: usize,
    first: usize,
    pool: &Pool,
) -> Result<PackedPart, KernelError> {
    if let (Source::Quantized(stored), None) = (source, recode)
        && let Some(plan) = GroupedPlan::of(stored)
    {
        return pack_grouped(stored, &plan, first, pool);
    }
    let format = recode.map_or(source.format(), Recode::format);
    let kind = Kind::of(format);
    // A dense tile need not be whole lines when k is odd; tiles then follow one another unaligned, which loads allow.
    let tile_bytes = kind.tile_bytes(k);
    let rows = source.rows();
    let data = filled_tiles(
        rows.div_ceil(TILE_COLUMNS),
        tile_bytes,
        0,
        pool,
        &|| Rows::new(source, recode, k),
        &|stored, tile, out| {
            for (column, row) in
                (tile * TILE_COLUMNS..((tile + 1) * TILE_COLUMNS).min(rows)).enumerate()
            {
                pack_column(kind, format, stored.read(row)?, column, out);
            }
            Ok(())
        },
    )?;
    Ok(PackedPart {
        kind,
        format,
        rows,
        first,
        tile_bytes,
        data: PackedBytes::owned(data),
    })
}

fn pack_grouped(
    stored: &Quantized<'_>,
    plan: &GroupedPlan,
    first: usize,
    pool: &Pool,
) -> Result<PackedPart, KernelError> {
    let kind = Kind::Grouped(plan.kind);
    let (tile_bytes, tail) = (kind.tile_bytes(stored.k), plan.kind.order_bytes(stored.k));
    let tiles = stored.rows.div_ceil(TILE_COLUMNS);
    let mut data = filled_tiles(
        tiles,
        tile_bytes,
        tail,
        pool,
        &|| vec![0; stored.k * 2],
        &|codes, tile, out| {
            let rows = tile * TILE_COLUMNS..((tile + 1) * TILE_COLUMNS).min(stored.rows);
            plan.pack_tile(stored, rows, codes, out)
        },
    )?;
    if let Some(order) = &plan.order {
        let bytes: Vec<u8> = order.iter().flat_map(|input| input.to_ne_bytes()).collect();
        PackedBytes::bytes_mut(&mut data)[tiles * tile_bytes..][..bytes.len()]
            .copy_from_slice(&bytes);
    }
    Ok(PackedPart {
        kind,
        format: Format::F32,
        rows: stored.rows,
        first,
        tile_bytes,
        data: PackedBytes::owned(data),
    })
}

/// Fills a tile, given what its thread works with and the tile's index.
type Fill<'a, W> = dyn Fn(&mut W, usize, &mut [u8]) -> Result<(), KernelError> + Sync + 'a;

/// Zeroed memory for tiles and `tail_bytes` behind them, each tile filled by `fill`; `start` makes what a thread works with.
fn filled_tiles<W>(
    tiles: usize,
    tile_bytes: usize,
    tail_bytes: usize,
    pool: &Pool,
    start: &(dyn Fn() -> W + Sync),
    fill: &Fill<'_, W>,
) -> Result<Box<[Line]>, KernelError> {
    let mut data = PackedBytes::zeroed(tiles * tile_bytes + tail_bytes);
    let base = SendPointer(data.as_mut_ptr().cast::<u8>());
    let tiles_a_chunk = tiles.div_ceil(pool.threads() * 4).max(1);
    let failed = Mutex::new(None);
    pool.run(tiles.div_ceil(tiles_a_chunk), &|chunk| {
        let mut work = start();
        for tile in
            (chunk * tiles_a_chunk..(chunk + 1) * tiles_a_chunk).take_while(|&tile| tile < tiles)
        {
            // SAFETY: each tile is a range of its own of the allocation.
            let out = unsafe {
                std::slice::from_raw_parts_mut(base.get().add(tile * tile_bytes), tile_bytes)
            };
            if let Err(error) = fill(&mut work, tile, out) {
                *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                return;
            }
        }
    });
    match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(data),
    }
}

/// A part's rows in the format that is packed: as they lie in the file, or written anew one at a time.
struct Rows<'a> {
    source: &'a Source<'a>,
    recode: Option<Recode>,
    values: Vec<f32>,
    codes: Vec<u8>,
    bytes: Vec<u8>,
}

impl<'a> Rows<'a> {
    fn new(source: &'a Source<'a>, recode: Option<Recode>, k: usize) -> Self {
        let recode = match source {
            Source::Quantized(_) => recode.or(Recode::new(Format::F32, None).ok()),
            Source::Part(_) => recode,
        };
        let bytes = recode.map_or(0, |recode| recode.row_bytes(k).expect("checked before"));
        Self {
            source,
            recode,
            values: vec![0.0; if recode.is_some() { k } else { 0 }],
            codes: vec![0; k],
            bytes: vec![0; bytes],
        }
    }

    fn read(&mut self, row: usize) -> Result<&[u8], KernelError> {
        match self.source {
            Source::Quantized(stored) => {
                stored.row_into(row, &mut self.codes, &mut self.values);
            }
            Source::Part(part) => {
                let row_bytes = part.bytes.len() / part.rows;
                let stored = &part.bytes[row * row_bytes..][..row_bytes];
                if self.recode.is_none() {
                    return Ok(stored);
                }
                part.format.dequantise_into(stored, &mut self.values);
            }
        }
        if let Some(recode) = self.recode {
            recode.write_row(&self.values, &mut self.bytes)?;
        }
        Ok(&self.bytes)
    }
}

/// Write one row of the stored tensor as one column of a tile.
fn pack_column(kind: Kind, format: Format, row: &[u8], column: usize, out: &mut [u8]) {
    let (half, lane) = (column / 16, column % 16);
    if kind == Kind::Dense(Format::BF16) {
        return linear_bf16::pack_column(row, column, out);
    }
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
