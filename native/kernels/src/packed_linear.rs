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
//! Dense    per k: 32 values in the format's own width; of bf16, per two k: 32 words, the lower k in the upper half
//! Planes   see `planes`
//! Grouped  see `grouped`
//! ```

use half::f16;

use crate::error::KernelError;
use crate::format::Format;
use crate::grouped::Grouped;
use crate::linear_bf16;
use crate::pack::{checked_row_bytes, pack_part};
use crate::packed_bytes::{PackedBytes, SharedBytes};
use crate::planes::Planes;
use crate::planes_pack;
use crate::pool::Pool;
use crate::recode::Recode;
use crate::source::{Part, Source};

pub(crate) const TILE_COLUMNS: usize = 32;
pub(crate) const BLOCK: usize = 32;

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
    /// Codes beside scales of whole groups, as `grouped` describes them.
    Grouped(Grouped),
}

impl Kind {
    pub(crate) fn of(format: Format) -> Self {
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
            Self::Dense(Format::BF16) => k.next_multiple_of(2) * TILE_COLUMNS * 2,
            Self::Dense(format) => k * TILE_COLUMNS * format.block_bytes(),
            Self::Planes(format) => Planes::of(format).expect("planes").tile_bytes(k),
            Self::Grouped(grouped) => grouped.tile_bytes(k),
        }
    }

    /// Whether it can be multiplied with int8 activations.
    pub(crate) fn is_integer(self) -> bool {
        match self {
            Self::Dense(_) => false,
            Self::Grouped(grouped) => grouped.is_integer(),
            _ => true,
        }
    }
}

pub(crate) struct PackedPart {
    pub kind: Kind,
    /// Format whose packed form this is.
    pub format: Format,
    pub rows: usize,
    /// First output column of this part.
    pub first: usize,
    pub tile_bytes: usize,
    pub data: PackedBytes,
}

/// A part as it was packed: what is needed, besides its bytes, to have it again without packing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PackedShape {
    /// Of its rows; F32 where it is grouped.
    pub format: Format,
    pub grouped: Option<Grouped>,
    pub rows: usize,
}

impl PackedShape {
    /// Bytes that it takes with `k` inputs, whole cache lines; `None` when they are more than can be counted.
    pub fn bytes(self, k: usize) -> Option<usize> {
        // The widest kinds: 4 bytes a weight, or one and an f32 scale for each 32, and less than 256 for a table.
        k.checked_mul(TILE_COLUMNS * 8)?.checked_add(256)?;
        let tile_bytes = self.kind().tile_bytes(k);
        let bytes = self.rows.div_ceil(TILE_COLUMNS).checked_mul(tile_bytes)?;
        let order = self.grouped.map_or(0, |grouped| grouped.order_bytes(k));
        bytes.checked_add(order)?.checked_next_multiple_of(64)
    }

    fn kind(self) -> Kind {
        match self.grouped {
            Some(grouped) => Kind::Grouped(grouped),
            None => Kind::of(self.format),
        }
    }
}

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

    /// Input that each packed k stands for, where it is another. @param k - inputs
    pub fn order(&self, k: usize) -> Option<&[u32]> {
        match self.kind {
            Kind::Grouped(grouped) if grouped.has_order => {
                let bytes = &self.bytes()[self.tiles() * self.tile_bytes..][..k * 4];
                // SAFETY: whole cache lines lie before them, so they are aligned; any bytes are u32.
                Some(unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast(), k) })
            }
            _ => None,
        }
    }

    fn bytes(&self) -> &[u8] {
        self.data.as_slice()
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
        Self::pack_as(parts, &vec![None; parts.len()], k, pool)
    }

    /// As `pack`, each part written in the format of its `Recode` first, where it has one.
    ///
    /// # Errors
    /// As `pack`, and when a value cannot be written in the wanted format.
    ///
    /// Cost: as `pack`, plus two rows a thread while it runs.
    pub fn pack_as(
        parts: &[Part<'_>],
        recodes: &[Option<Recode>],
        k: usize,
        pool: &Pool,
    ) -> Result<Self, KernelError> {
        let sources: Vec<_> = parts.iter().map(|&part| Source::Part(part)).collect();
        Self::pack_sources(&sources, recodes, k, pool)
    }

    /// As `pack_as`, from parts of any kind. A quantized one keeps its codes where there is a form for them.
    ///
    /// # Errors
    /// As `pack_as`, and when a quantized weight is not a number.
    pub fn pack_sources(
        sources: &[Source<'_>],
        recodes: &[Option<Recode>],
        k: usize,
        pool: &Pool,
    ) -> Result<Self, KernelError> {
        assert_eq!(
            sources.len(),
            recodes.len(),
            "a recode, or none, for each part"
        );
        if sources.is_empty() || k == 0 {
            return Err(KernelError::new(
                "a weight needs at least one part and one input",
            ));
        }
        let mut packed = Vec::with_capacity(sources.len());
        let mut n = 0_usize;
        for (source, recode) in sources.iter().zip(recodes) {
            if let Some(recode) = recode {
                checked_row_bytes(recode.format(), k)?;
            }
            source.check(k)?;
            packed.push(pack_part(source, *recode, k, n, pool)?);
            n += source.rows();
        }
        Ok(Self {
            parts: packed,
            n,
            k,
        })
    }

    /// A weight that was packed before, from the bytes that `part_bytes` gave.
    ///
    /// # Errors
    /// When a part's bytes are not as many as its shape takes.
    pub fn from_packed(
        parts: impl IntoIterator<Item = (PackedShape, SharedBytes)>,
        k: usize,
    ) -> Result<Self, KernelError> {
        let (mut packed, mut n) = (Vec::new(), 0);
        for (shape, bytes) in parts {
            let kind = shape.kind();
            let data = PackedBytes::shared(bytes);
            checked_row_bytes(shape.format, k)?;
            let is_whole = shape.grouped.is_none() || k.is_multiple_of(BLOCK);
            if k == 0
                || !is_whole
                || shape.rows == 0
                || shape.bytes(k) != Some(data.as_slice().len())
            {
                return Err(KernelError::new(format!(
                    "{shape:?} of {k} inputs is not {} packed bytes",
                    data.as_slice().len()
                )));
            }
            let part = PackedPart {
                kind,
                format: shape.format,
                rows: shape.rows,
                first: n,
                tile_bytes: kind.tile_bytes(k),
                data,
            };
            let is_in_reach = |order: &[u32]| order.iter().all(|&input| (input as usize) < k);
            if !part.order(k).is_none_or(is_in_reach) {
                return Err(KernelError::new("an input beyond the weight's inputs"));
            }
            packed.push(part);
            n += shape.rows;
        }
        if packed.is_empty() {
            return Err(KernelError::new("a weight needs at least one part"));
        }
        Ok(Self {
            parts: packed,
            n,
            k,
        })
    }

    /// Shape and packed bytes of each part, in order.
    pub fn packed_parts(&self) -> impl Iterator<Item = (PackedShape, &[u8])> {
        self.parts.iter().map(|part| {
            let grouped = match part.kind {
                Kind::Grouped(grouped) => Some(grouped),
                _ => None,
            };
            let shape = PackedShape {
                format: part.format,
                grouped,
                rows: part.rows,
            };
            (shape, part.bytes())
        })
    }

    /// Whether a part takes its inputs in an order of its own.
    pub fn has_order(&self) -> bool {
        self.parts.iter().any(|part| part.order(self.k).is_some())
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
        self.parts.iter().map(|part| part.bytes().len()).sum()
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
            Kind::Dense(Format::BF16) => linear_bf16::read_column(bytes, column, out),
            Kind::Dense(format) => {
                let width = format.block_bytes();
                for (k, value) in out.iter_mut().enumerate() {
                    let at = (k * TILE_COLUMNS + column) * width;
                    format.dequantise_into(&bytes[at..at + width], std::slice::from_mut(value));
                }
            }
            Kind::Planes(format) => planes_pack::read_column(format, bytes, column, out),
            Kind::Grouped(grouped) => match part.order(self.k) {
                None => grouped.read_column(bytes, column, out),
                Some(order) => {
                    let mut values = vec![0.0; self.k];
                    grouped.read_column(bytes, column, &mut values);
                    for (value, &input) in values.iter().zip(order) {
                        out[input as usize] = *value;
                    }
                }
            },
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
