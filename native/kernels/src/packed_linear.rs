//! A linear layer's weights in the form the kernels read: tiles of 32 output columns, contiguous, k ascending.
//!
//! Owns the packed bytes. A weight is a list of parts along its outputs, each with its own kind, since q, k and v of one
//! layer may be stored in different formats. Columns beyond a part's last row are zero.
//!
//! One tile, per block of 32 k (lane = column; 16 columns a half, two halves):
//! ```text
//! Nibbles  2 × 4 × 64 B   half h, group p: byte i of lane c = k 4p+i (low nibble) and k 16+4p+i (high nibble)
//!          64 B f16       scales of 32 columns           then, if the format has minima, 64 B f16 minima
//! Int8     2 × 8 × 64 B   half h, group p: byte i of lane c = k 4p+i, stored + 128
//!          64 B f16       scales
//! Dense    per k: 32 values in the format's own width
//! Planes   see `planes`
//! ```

use half::f16;

use crate::error::KernelError;
use crate::format::Format;
use crate::format_legacy::read_block;
use crate::planes::Planes;
use crate::planes_pack;
use crate::pool::Pool;

pub(crate) const TILE_COLUMNS: usize = 32;
pub(crate) const BLOCK: usize = 32;

/// Rows of a stored tensor that follow one another in a file.
pub struct Part<'a> {
    pub format: Format,
    pub rows: usize,
    /// rows · k weights, row by row.
    pub bytes: &'a [u8],
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Unsigned nibbles less `bias` times the scale.
    Nibbles {
        bias: u8,
    },
    /// Unsigned nibbles times the scale plus a minimum.
    NibblesWithMinimum,
    Int8,
    Dense(Format),
    /// Bit planes as `planes` describes them for this format.
    Planes(Format),
}

impl Kind {
    fn of(format: Format) -> Self {
        match format {
            Format::Q4_0 => Self::Nibbles { bias: 8 },
            Format::Q4_1 => Self::NibblesWithMinimum,
            Format::Q5_0 | Format::Q8_0 => Self::Int8,
            Format::F32 | Format::F16 | Format::BF16 => Self::Dense(format),
            _ => Self::Planes(format),
        }
    }

    /// Bytes that `k` weights of 32 columns take.
    pub(crate) fn tile_bytes(self, k: usize) -> usize {
        match self {
            Self::Nibbles { .. } => k / BLOCK * (512 + 64),
            Self::NibblesWithMinimum => k / BLOCK * (512 + 128),
            Self::Int8 => k / BLOCK * (1024 + 64),
            Self::Dense(format) => k * TILE_COLUMNS * format.block_bytes(),
            Self::Planes(format) => Planes::of(format).expect("planes").tile_bytes(k),
        }
    }
}

pub(crate) struct PackedPart {
    pub kind: Kind,
    pub rows: usize,
    /// First output column of this part.
    pub first: usize,
    pub tile_bytes: usize,
    data: Box<[Line]>,
}

/// A cache line, so that tiles are aligned.
#[derive(Clone)]
#[repr(C, align(64))]
struct Line([u8; 64]);

impl PackedPart {
    pub fn tiles(&self) -> usize {
        self.rows.div_ceil(TILE_COLUMNS)
    }

    pub fn tile(&self, index: usize) -> &[u8] {
        &self.bytes()[index * self.tile_bytes..][..self.tile_bytes]
    }

    /// Columns of this tile that exist, 1 … 32.
    pub fn tile_width(&self, index: usize) -> usize {
        (self.rows - index * TILE_COLUMNS).min(TILE_COLUMNS)
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: lines are plain bytes without padding.
        unsafe { std::slice::from_raw_parts(self.data.as_ptr().cast(), self.data.len() * 64) }
    }
}

/// Weights `[n, k]`, packed once, read by any number of threads.
pub struct PackedLinear {
    pub(crate) parts: Vec<PackedPart>,
    n: usize,
    k: usize,
}

impl PackedLinear {
    /// Join parts along the outputs.
    ///
    /// # Errors
    /// When there is no part, `k` is not whole blocks of a part's format, or a part's byte count is not `rows · k` weights.
    ///
    /// Cost: one pass over the bytes, shared by the pool; holds about as many bytes as it was given (nibbles and int8) or
    /// exactly as many (dense).
    pub fn pack(parts: &[Part<'_>], k: usize, pool: &Pool) -> Result<Self, KernelError> {
        if parts.is_empty() || k == 0 {
            return Err(KernelError::new(
                "a weight needs at least one part and one input",
            ));
        }
        let mut packed = Vec::with_capacity(parts.len());
        let mut n = 0_usize;
        for part in parts {
            let row_bytes = checked_row_bytes(part.format, k)?;
            if part.rows == 0 || part.rows.checked_mul(row_bytes) != Some(part.bytes.len()) {
                return Err(KernelError::new(format!(
                    "{:?} [{}, {k}] takes {} bytes a row, but {} bytes were given",
                    part.format,
                    part.rows,
                    row_bytes,
                    part.bytes.len()
                )));
            }
            packed.push(pack_part(part, k, n, pool));
            n += part.rows;
        }
        Ok(Self {
            parts: packed,
            n,
            k,
        })
    }

    /// Outputs.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Inputs.
    pub fn k(&self) -> usize {
        self.k
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.parts.iter().map(|part| part.data.len() * 64).sum()
    }

    /// Row `row` dequantised exactly into `out` (k values). Panics when `row` ≥ n or `out` is not k long.
    pub fn row_into(&self, row: usize, out: &mut [f32]) {
        assert!(
            row < self.n && out.len() == self.k,
            "row {row} of {}, {} of {}",
            self.n,
            out.len(),
            self.k
        );
        let part = self
            .parts
            .iter()
            .rev()
            .find(|part| part.first <= row)
            .expect("parts start at 0");
        let (tile, column) = (
            (row - part.first) / TILE_COLUMNS,
            (row - part.first) % TILE_COLUMNS,
        );
        let bytes = part.tile(tile);
        let half_at = |at: usize| f16::from_le_bytes([bytes[at], bytes[at + 1]]).to_f32();
        let (half, lane) = (column / 16, column % 16);
        match part.kind {
            Kind::Dense(format) => {
                let width = format.block_bytes();
                for (k, value) in out.iter_mut().enumerate() {
                    let at = (k * TILE_COLUMNS + column) * width;
                    format.dequantise_into(&bytes[at..at + width], std::slice::from_mut(value));
                }
            }
            Kind::Planes(format) => planes_pack::read_column(format, bytes, column, out),
            Kind::Int8 => {
                for (block, values) in out.chunks_mut(BLOCK).enumerate() {
                    let base = block * 1088;
                    let scale = half_at(base + 1024 + column * 2);
                    for (k, value) in values.iter_mut().enumerate() {
                        let quant = bytes[base + (half * 8 + k / 4) * 64 + lane * 4 + k % 4];
                        *value = (f32::from(quant) - 128.0) * scale;
                    }
                }
            }
            Kind::Nibbles { .. } | Kind::NibblesWithMinimum => {
                let (bias, stride) = match part.kind {
                    Kind::Nibbles { bias } => (f32::from(bias), 576),
                    _ => (0.0, 640),
                };
                for (block, values) in out.chunks_mut(BLOCK).enumerate() {
                    let base = block * stride;
                    let scale = half_at(base + 512 + column * 2);
                    for (k, value) in values.iter_mut().enumerate() {
                        let byte = bytes[base + (half * 4 + k % 16 / 4) * 64 + lane * 4 + k % 4];
                        let quant = if k < 16 { byte & 15 } else { byte >> 4 };
                        *value = (f32::from(quant) - bias) * scale;
                        if stride == 640 {
                            *value += half_at(base + 576 + column * 2);
                        }
                    }
                }
            }
        }
    }
}

fn checked_row_bytes(format: Format, k: usize) -> Result<usize, KernelError> {
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

fn pack_part(part: &Part<'_>, k: usize, first: usize, pool: &Pool) -> PackedPart {
    let kind = Kind::of(part.format);
    // A dense tile need not be whole lines when k is odd; tiles then follow one another unaligned, which loads allow.
    let tile_bytes = kind.tile_bytes(k);
    let tiles = part.rows.div_ceil(TILE_COLUMNS);
    let mut data = vec![Line([0; 64]); (tiles * tile_bytes).div_ceil(64)].into_boxed_slice();
    let base = SendPointer(data.as_mut_ptr().cast::<u8>());
    let row_bytes = part.bytes.len() / part.rows;
    let tiles_a_chunk = tiles.div_ceil(pool.threads() * 4).max(1);
    pool.run(tiles.div_ceil(tiles_a_chunk), &|chunk| {
        for tile in
            (chunk * tiles_a_chunk..(chunk + 1) * tiles_a_chunk).take_while(|&tile| tile < tiles)
        {
            // SAFETY: each tile is a range of its own of the allocation.
            let out = unsafe {
                std::slice::from_raw_parts_mut(base.get().add(tile * tile_bytes), tile_bytes)
            };
            let rows = tile * TILE_COLUMNS..((tile + 1) * TILE_COLUMNS).min(part.rows);
            for (column, row) in rows.enumerate() {
                pack_column(
                    kind,
                    part.format,
                    &part.bytes[row * row_bytes..][..row_bytes],
                    column,
                    out,
                );
            }
        }
    });
    PackedPart {
        kind,
        rows: part.rows,
        first,
        tile_bytes,
        data,
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

/// A pointer that closures on several threads write through, each to a range of its own.
#[derive(Clone, Copy)]
pub(crate) struct SendPointer<T>(pub *mut T);

impl<T> SendPointer<T> {
    /// A method, so that closures capture the whole wrapper and not the bare pointer.
    pub fn get(self) -> *mut T {
        self.0
    }
}

// SAFETY: users write disjoint ranges; said at each use.
unsafe impl<T> Send for SendPointer<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for SendPointer<T> {}
