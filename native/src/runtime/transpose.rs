//! Matrices stored `[in, out]` turned into the `[out, in]` that packing takes (Conv1D of GPT-2, stacked experts).
//!
//! Owns nothing. Dense formats keep theirs; blocks run along the outputs, so weights in blocks become F32, exactly.

use ingot_kernels::Format;

/// Edge of the squares that are copied at a time, so that both sides stay in cache.
const EDGE: usize = 32;

/// `bytes` is `[rows, width]` in whole blocks. Cost: one copy of the tensor, which the caller drops after packing.
pub fn transposed(format: Format, bytes: &[u8], rows: usize, width: usize) -> (Format, Vec<u8>) {
    if format.block_weights() == 1 {
        let element = format.block_bytes();
        return (format, turned(bytes, rows, width, element));
    }
    let mut values = vec![0.0_f32; rows * width];
    let row_bytes = width / format.block_weights() * format.block_bytes();
    for (row, out) in values.chunks_exact_mut(width).enumerate() {
        format.dequantise_into(&bytes[row * row_bytes..][..row_bytes], out);
    }
    (Format::F32, transposed_values(&values, rows, width))
}

/// `values` is `[rows, width]`; the bytes of f32 `[width, rows]`.
pub fn transposed_values(values: &[f32], rows: usize, width: usize) -> Vec<u8> {
    let stored: Vec<u8> = values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    turned(&stored, rows, width, 4)
}

fn turned(bytes: &[u8], rows: usize, width: usize, element: usize) -> Vec<u8> {
    let mut out = vec![0; bytes.len()];
    for first_row in (0..rows).step_by(EDGE) {
        for first in (0..width).step_by(EDGE) {
            for row in first_row..(first_row + EDGE).min(rows) {
                for column in first..(first + EDGE).min(width) {
                    let from = &bytes[(row * width + column) * element..][..element];
                    out[(column * rows + row) * element..][..element].copy_from_slice(from);
                }
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_change_places_and_keep_their_bytes() {
        let (rows, width) = (70, 33);
        let stored: Vec<u8> = (0..rows * width)
            .flat_map(|i| (i as u16).to_le_bytes())
            .collect();
        let (format, turned) = transposed(Format::F16, &stored, rows, width);
        assert_eq!(format, Format::F16);
        for row in 0..rows {
            for column in 0..width {
                let at = (column * rows + row) * 2;
                let expected = ((row * width + column) as u16).to_le_bytes();
                assert_eq!(turned[at..at + 2], expected);
            }
        }
    }

    #[test]
    fn blocks_become_their_exact_values() {
        let (rows, width) = (3, 64);
        let stored: Vec<u8> = (0..rows * 2 * 34).map(|i| (i * 7 % 60) as u8).collect();
        let (format, turned) = transposed(Format::Q8_0, &stored, rows, width);
        assert_eq!(format, Format::F32);
        let mut row = vec![0.0; width];
        Format::Q8_0.dequantise_into(&stored[68..136], &mut row);
        for (column, value) in row.iter().enumerate() {
            let at = (column * rows + 1) * 4;
            assert_eq!(turned[at..at + 4], value.to_le_bytes());
        }
    }
}
