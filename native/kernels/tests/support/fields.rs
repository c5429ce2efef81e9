//! Writes matrices of small integers into bytes, one bit at a time.

/// A stream of bits for each row, in whole words of `align` bytes.
pub fn in_rows(
    rows: usize,
    columns: usize,
    bits: usize,
    align: usize,
    at: impl Fn(usize, usize) -> u8,
) -> (Vec<u8>, usize) {
    let row_bytes = (columns * bits).div_ceil(8).next_multiple_of(align);
    let mut bytes = vec![0; rows * row_bytes];
    for row in 0..rows {
        for column in 0..columns {
            for bit in (0..bits).filter(|bit| at(row, column) >> bit & 1 == 1) {
                let place = column * bits + bit;
                bytes[row * row_bytes + place / 8] |= 1 << (place % 8);
            }
        }
    }
    (bytes, row_bytes)
}

/// Streams of bits down the columns, through words of 32 bits.
pub fn down_columns(
    rows: usize,
    columns: usize,
    bits: usize,
    at: impl Fn(usize, usize) -> u8,
) -> (Vec<u8>, usize) {
    let row_bytes = columns * 4;
    let mut bytes = vec![0; (rows * bits).div_ceil(32) * row_bytes];
    for row in 0..rows {
        for column in 0..columns {
            for bit in (0..bits).filter(|bit| at(row, column) >> bit & 1 == 1) {
                let place = row * bits + bit;
                let byte = place / 32 * row_bytes + column * 4 + place % 32 / 8;
                bytes[byte] |= 1 << (place % 8);
            }
        }
    }
    (bytes, row_bytes)
}
