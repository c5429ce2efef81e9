//! Where the rows of one part of a weight come from: blocks as GGUF and dense files store them, or a quantized matrix.

use crate::error::KernelError;
use crate::format::Format;
use crate::pack::checked_row_bytes;
use crate::quantized::Quantized;

/// Rows of a stored tensor that follow one another in a file.
#[derive(Clone, Copy)]
pub struct Part<'a> {
    pub format: Format,
    pub rows: usize,
    /// rows · k weights, row by row.
    pub bytes: &'a [u8],
}

/// Where the rows of a part come from.
#[derive(Clone, Copy)]
pub enum Source<'a> {
    Part(Part<'a>),
    Quantized(Quantized<'a>),
}

impl Source<'_> {
    pub fn rows(&self) -> usize {
        match self {
            Self::Part(part) => part.rows,
            Self::Quantized(stored) => stored.rows,
        }
    }

    /// Format of the rows; a quantized matrix gives f32.
    pub(crate) fn format(&self) -> Format {
        match self {
            Self::Part(part) => part.format,
            Self::Quantized(_) => Format::F32,
        }
    }

    /// Whether its bytes are as many as rows of `k` weights take.
    pub(crate) fn check(&self, k: usize) -> Result<(), KernelError> {
        let part = match self {
            Self::Part(part) => part,
            Self::Quantized(stored) if stored.k == k => return Ok(()),
            Self::Quantized(stored) => {
                return Err(KernelError::new(format!(
                    "a quantized part has {} inputs, expected {k}",
                    stored.k
                )));
            }
        };
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
        Ok(())
    }
}
