//! The parts of a weight as they are stored: their bytes, checked against format and shape, as what the kernels pack.
//!
//! Owns copies only of what has to be rearranged first (turned over, brought together), a part at a time.
//! P1: bytes are read only after format, shape and byte count were found to agree, without overflow.

use std::borrow::Cow;

use ingot_kernels::{Format, Part, Pool, Quantized, Recode, Source};

use super::mxfp4_part::{self, ExponentSource};
use super::quantized_part::QuantizedSource;
use super::transpose::{transposed, transposed_values};
use super::weight_files::WeightFiles;
use crate::failure::{Code, Failure, Outcome};

/// Bytes of one stored tensor; parts of one weight are joined along the outermost dimension.
pub struct PartSource {
    pub file: String,
    pub offset: u64,
    pub bytes: u64,
    pub format: String,
    pub shape: Vec<u64>,
    /// What the codes in these bytes mean, of a quantized matrix.
    pub quantized: Option<QuantizedSource>,
    /// Of MXFP4 whose exponents are stored apart from the blocks in these bytes.
    pub exponents: Option<ExponentSource>,
    /// Written anew while it is packed.
    pub recode: Option<Recode>,
    /// Stored `[in, out]`, turned over before it is packed.
    pub is_transposed: bool,
}

/// A part whose bytes are in hand and agree with its shape.
pub struct CheckedPart<'a> {
    pub stored: Stored<'a>,
    pub width: usize,
    pub recode: Option<Recode>,
}

pub enum Stored<'a> {
    Bytes {
        format: Format,
        rows: usize,
        bytes: Cow<'a, [u8]>,
    },
    Quantized(Quantized<'a>),
}

impl Stored<'_> {
    pub fn source(&self) -> Source<'_> {
        match self {
            Self::Bytes {
                format,
                rows,
                bytes,
            } => Source::Part(Part {
                format: *format,
                rows: *rows,
                bytes,
            }),
            Self::Quantized(view) => Source::Quantized(*view),
        }
    }
}

/// P1. A vector of n numbers is one row of n.
pub fn check_part<'a>(
    part: &PartSource,
    files: &'a WeightFiles,
    rank: usize,
    pool: &Pool,
) -> Outcome<CheckedPart<'a>> {
    match &part.quantized {
        Some(_) if rank != 2 => return Err(bad("a quantized part is of a linear only")),
        Some(quantized) => return check_quantized(part, quantized, files),
        None => {}
    }
    if let Some(exponents) = &part.exponents {
        return check_mxfp4(part, exponents, files, pool);
    }
    let format = Format::parse(&part.format)
        .ok_or_else(|| bad(format!("format {} is not supported", part.format)))?;
    if part.shape.len() != rank {
        return Err(bad(format!(
            "shape {:?} must have {rank} dimensions",
            part.shape
        )));
    }
    let (rows, width) = match *part.shape {
        [rows, width] => (rows, width),
        [width] => (1, width),
        _ => unreachable!("the rank is 1 or 2"),
    };
    let disagree = |expected: &str| {
        bad(format!(
            "shape {:?} in {} takes {expected}, but byteLength is {}",
            part.shape, part.format, part.bytes
        ))
    };
    let block = format.block_weights() as u64;
    if rows == 0 || width == 0 || width % block != 0 {
        return Err(bad(format!(
            "shape {:?} must have no zero and rows of whole blocks of {block}",
            part.shape
        )));
    }
    let expected = (width / block)
        .checked_mul(format.block_bytes() as u64)
        .and_then(|row_bytes| row_bytes.checked_mul(rows))
        .ok_or_else(|| disagree("more bytes than can be counted"))?;
    if expected != part.bytes {
        return Err(disagree(&format!("{expected} bytes")));
    }
    let bytes = files.range(&part.file, part.offset, part.bytes)?;
    // Rows and width fit in usize now, because their bytes lie in a mapped file. The kernels count them in i32 elsewhere.
    if rows > i32::MAX as u64 || width > i32::MAX as u64 {
        return Err(bad(format!("shape {:?} is too large", part.shape)));
    }
    let (rows, width) = (rows as usize, width as usize);
    if part.is_transposed {
        let (format, bytes) = transposed(format, bytes, rows, width);
        return Ok(CheckedPart {
            stored: Stored::Bytes {
                format,
                rows: width,
                bytes: Cow::Owned(bytes),
            },
            width: rows,
            recode: part.recode,
        });
    }
    Ok(CheckedPart {
        stored: Stored::Bytes {
            format,
            rows,
            bytes: Cow::Borrowed(bytes),
        },
        width,
        recode: part.recode,
    })
}

fn check_mxfp4<'a>(
    part: &PartSource,
    exponents: &ExponentSource,
    files: &WeightFiles,
    pool: &Pool,
) -> Outcome<CheckedPart<'a>> {
    let [rows, width] = *part.shape else {
        return Err(bad(format!(
            "shape {:?} with exponents must have 2 dimensions",
            part.shape
        )));
    };
    let most = i32::MAX as u64;
    if part.format != Format::MXFP4.name() || part.is_transposed || rows > most || width > most {
        return Err(bad(format!(
            "exponents are of MXFP4 in rows, got {} {:?}",
            part.format, part.shape
        )));
    }
    let (rows, width) = (rows as usize, width as usize);
    let blocks = (part.file.as_str(), part.offset, part.bytes);
    let bytes = mxfp4_part::joined(blocks, exponents, (rows, width), files, pool)?;
    Ok(CheckedPart {
        stored: Stored::Bytes {
            format: Format::MXFP4,
            rows,
            bytes: Cow::Owned(bytes),
        },
        width,
        recode: part.recode,
    })
}

fn check_quantized<'a>(
    part: &PartSource,
    quantized: &QuantizedSource,
    files: &'a WeightFiles,
) -> Outcome<CheckedPart<'a>> {
    let [rows, width] = *part.shape else {
        return Err(bad(format!(
            "a quantized shape {:?} must have 2 dimensions",
            part.shape
        )));
    };
    if rows > i32::MAX as u64 || width > i32::MAX as u64 {
        return Err(bad(format!("shape {:?} is too large", part.shape)));
    }
    let (rows, width) = (rows as usize, width as usize);
    let codes = files.range(&part.file, part.offset, part.bytes)?;
    let view = quantized
        .view(rows, width, codes, files)
        .map_err(|failure| {
            let place = format_args!("{} in {}: {failure}", part.format, part.file);
            Failure::new(failure.code, place)
        })?;
    if part.is_transposed {
        let mut values = vec![0.0; rows * width];
        let mut codes = vec![0; width];
        for (row, out) in values.chunks_exact_mut(width).enumerate() {
            view.row_into(row, &mut codes, out);
        }
        return Ok(CheckedPart {
            stored: Stored::Bytes {
                format: Format::F32,
                rows: width,
                bytes: Cow::Owned(transposed_values(&values, rows, width)),
            },
            width: rows,
            recode: part.recode,
        });
    }
    Ok(CheckedPart {
        stored: Stored::Quantized(view),
        width,
        recode: part.recode,
    })
}

pub fn bad(message: impl std::fmt::Display) -> Failure {
    Failure::new(Code::BadWeight, message)
}
