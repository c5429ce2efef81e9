//! MXFP4 as gpt-oss folders store it: the blocks of a matrix in one tensor, their exponents in another, and the weights of
//! a block two by two in its bytes. Brought together as GGUF's blocks, which the kernels pack.
//!
//! Owns nothing. Source: Open Compute Project, Microscaling Formats 1.0; transformers, `integrations/mxfp4.py`.

use std::ops::Range;

use ingot_kernels::Pool;

use super::weight_files::WeightFiles;
use crate::failure::{Code, Failure, Outcome};

/// Weights that share an exponent, and bytes that hold them.
const BLOCK: usize = 32;
const BLOCK_BYTES: usize = 16;

/// Where the exponents of a part lie, one byte a block.
pub struct ExponentSource {
    pub file: String,
    pub offset: u64,
    pub bytes: u64,
}

/// GGUF's blocks of a matrix `[rows, width]`. @param blocks - of file, offset and bytes
///
/// Cost: one copy of the part, made by the pool.
pub fn joined(
    blocks: (&str, u64, u64),
    exponents: &ExponentSource,
    shape: (usize, usize),
    files: &WeightFiles,
    pool: &Pool,
) -> Outcome<Vec<u8>> {
    let (rows, width) = shape;
    let per_row = width / BLOCK;
    let count = rows as u64 * per_row as u64;
    let (file, offset, bytes) = blocks;
    if !width.is_multiple_of(BLOCK)
        || bytes != count * BLOCK_BYTES as u64
        || exponents.bytes != count
    {
        return Err(Failure::new(
            Code::BadWeight,
            format_args!(
                "[{rows}, {width}] in MXFP4 takes {count} blocks of {BLOCK_BYTES} bytes and as many exponents, got {bytes} and {} bytes",
                exponents.bytes
            ),
        ));
    }
    let quants = files.range(file, offset, bytes)?;
    let scales = files.range(&exponents.file, exponents.offset, exponents.bytes)?;
    let mut out = vec![0; count as usize * (BLOCK_BYTES + 1)];
    let parts: Vec<(Range<usize>, std::sync::Mutex<&mut [u8]>)> = out
        .chunks_mut(per_row.max(1) * (BLOCK_BYTES + 1) * ROWS_A_CHUNK)
        .scan(0, |first, chunk| {
            let range = *first..*first + chunk.len() / (BLOCK_BYTES + 1);
            *first = range.end;
            Some((range, std::sync::Mutex::new(chunk)))
        })
        .collect();
    pool.run(parts.len(), &|index| {
        let (range, chunk) = &parts[index];
        let mut chunk = chunk
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        for (block, out) in range.clone().zip(chunk.chunks_exact_mut(BLOCK_BYTES + 1)) {
            out[0] = scales[block];
            regroup(&quants[block * BLOCK_BYTES..][..BLOCK_BYTES], &mut out[1..]);
        }
    });
    Ok(out)
}

const ROWS_A_CHUNK: usize = 64;

/// From weights 2i and 2i + 1 in byte i, lower nibble first, to weights i and i + 16.
fn regroup(pairs: &[u8], out: &mut [u8]) {
    let quant = |k: usize| (pairs[k / 2] >> (k % 2 * 4)) & 15;
    for (i, byte) in out.iter_mut().enumerate() {
        *byte = quant(i) | (quant(i + BLOCK / 2) << 4);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_become_halves() {
        let pairs: Vec<u8> = (0..16)
            .map(|i| (2 * i % 16) | ((2 * i + 1) % 16) << 4)
            .collect();
        let mut out = [0; 16];
        regroup(&pairs, &mut out);
        let expected: Vec<u8> = (0..16).map(|i| i | (i << 4)).collect();
        assert_eq!(out.as_slice(), expected);
    }
}
