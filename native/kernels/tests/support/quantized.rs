//! Quantized matrices from known integers, written in each scheme's layout by its definition, one field at a time.

use ingot_kernels::{
    FieldOrder, Fields, Format, NestedScales, Numbers, Packing, Quantized, Scales, Values,
};

use super::Random;
use super::fields::{down_columns, in_rows};
use super::known::Known;

pub struct Owned {
    pub name: &'static str,
    pub rows: usize,
    pub k: usize,
    /// What every weight is, by the definition.
    pub values: Vec<f32>,
    pub codes: Vec<u8>,
    fields: Fields<'static>,
    zeros: Option<(Vec<u8>, Fields<'static>)>,
    scales: Vec<u8>,
    scale_format: Format,
    scales_output_first: bool,
    flat_block: Option<usize>,
    nested: Option<(Vec<u8>, Vec<u8>)>,
    columns: usize,
    group: usize,
    groups: Option<Vec<u8>>,
    table: Option<Vec<u8>>,
    is_float8: bool,
}

impl Owned {
    pub fn view(&self) -> Quantized<'_> {
        let numbers = Numbers::Dense(self.scale_format, &self.scales);
        Quantized {
            rows: self.rows,
            k: self.k,
            codes: Fields {
                bytes: &self.codes,
                ..self.fields
            },
            values: match (&self.table, self.is_float8) {
                (Some(table), _) => Values::Table(table),
                (None, true) => Values::Float8,
                _ => Values::Integers {
                    zeros: self
                        .zeros
                        .as_ref()
                        .map(|(bytes, fields)| Fields { bytes, ..*fields }),
                },
            },
            scales: match (&self.nested, self.flat_block) {
                (Some((codes, table)), Some(block)) => Scales::NestedFlat {
                    nested: NestedScales {
                        codes,
                        table,
                        scales: numbers,
                        block: 256,
                        offset: 0.125,
                    },
                    block,
                },
                (None, Some(block)) => Scales::Flat { numbers, block },
                _ => Scales::Grid {
                    numbers,
                    is_output_first: self.scales_output_first,
                    columns: self.columns,
                    rows_per_scale: 1,
                    divisor: 1.0,
                },
            },
            group: self.group,
            group_of_input: self.groups.as_deref(),
        }
    }
}

const FIELDS: Fields<'static> = Fields {
    bytes: &[],
    row_bytes: 0,
    bits: 4,
    packing: Packing::InRows,
    order: FieldOrder::Ascending,
    is_output_first: true,
    is_signed: false,
    added: 0,
};

impl Known {
    fn owned(
        &self,
        name: &'static str,
        group: usize,
        (codes, fields): (Vec<u8>, Fields<'static>),
        zeros: Option<(Vec<u8>, Fields<'static>)>,
        is_output_first: bool,
        format: Format,
    ) -> Owned {
        Owned {
            name,
            rows: self.rows,
            k: self.k,
            values: self.values(),
            codes,
            fields,
            zeros,
            scales: self.scales(is_output_first, format),
            scale_format: format,
            scales_output_first: is_output_first,
            flat_block: None,
            nested: None,
            columns: if is_output_first {
                self.groups
            } else {
                self.rows
            },
            group,
            groups: None,
            table: None,
            is_float8: false,
        }
    }
}

pub fn gptq(
    bits: usize,
    (rows, k, group): (usize, usize, usize),
    is_v1: bool,
    is_shuffled: bool,
    random: &mut Random,
) -> Owned {
    let mut known = Known::new(rows, k, group, bits, random);
    if is_shuffled {
        known.shuffle(random);
    }
    let fields = Fields {
        bits: bits as u32,
        is_output_first: false,
        ..FIELDS
    };
    let (codes, row_bytes) = down_columns(k, rows, bits, |input, row| known.q(row, input));
    let codes = (
        codes,
        Fields {
            row_bytes,
            packing: Packing::DownColumns,
            ..fields
        },
    );
    let less = u8::from(is_v1);
    let mask = ((1_u16 << bits) - 1) as u8;
    let (zeros, row_bytes) = in_rows(known.groups, rows, bits, 4, |group, row| {
        known.z(row, group).wrapping_sub(less) & mask
    });
    let zeros = (
        zeros,
        Fields {
            row_bytes,
            added: less,
            ..fields
        },
    );
    let mut owned = known.owned("gptq", group, codes, Some(zeros), false, Format::F16);
    owned.groups = is_shuffled.then(|| {
        let groups = known.of_input.iter();
        groups
            .flat_map(|&group| (group as i32).to_le_bytes())
            .collect()
    });
    owned
}

pub fn awq((rows, k, group): (usize, usize, usize), random: &mut Random) -> Owned {
    let known = Known::new(rows, k, group, 4, random);
    let order = [0, 2, 4, 6, 1, 3, 5, 7];
    let element = |place: usize| place / 8 * 8 + order[place % 8];
    let (codes, row_bytes) = in_rows(k, rows, 4, 4, |input, place| known.q(element(place), input));
    let fields = Fields {
        row_bytes,
        order: FieldOrder::Awq,
        is_output_first: false,
        ..FIELDS
    };
    let (zeros, _) = in_rows(known.groups, rows, 4, 4, |group, place| {
        known.z(element(place), group)
    });
    known.owned(
        "awq",
        group,
        (codes, fields),
        Some((zeros, fields)),
        false,
        Format::F16,
    )
}

/// compressed-tensors: codes in rows, zero points down columns.
pub fn packed(
    bits: usize,
    (rows, k, group): (usize, usize, usize),
    is_symmetric: bool,
    random: &mut Random,
) -> Owned {
    let mut known = Known::new(rows, k, group, bits, random);
    if is_symmetric {
        known.z.fill(1 << (known.bits - 1));
    }
    let (codes, row_bytes) = in_rows(rows, k, bits, 4, |row, input| known.q(row, input));
    let fields = Fields {
        bits: bits as u32,
        row_bytes,
        ..FIELDS
    };
    let (zeros, row_bytes) =
        down_columns(rows, known.groups, bits, |row, group| known.z(row, group));
    let packing = Packing::DownColumns;
    let zeros = (!is_symmetric).then_some((
        zeros,
        Fields {
            row_bytes,
            packing,
            ..fields
        },
    ));
    known.owned("packed", group, (codes, fields), zeros, true, Format::F32)
}

/// Signed bytes with signed zero points.
pub fn bytes(
    (rows, k, group): (usize, usize, usize),
    is_symmetric: bool,
    random: &mut Random,
) -> Owned {
    let mut known = Known::new(rows, k, group, 8, random);
    if is_symmetric {
        known.z.fill(1 << (known.bits - 1));
    }
    let signed = |number: u8| number ^ 128;
    let (codes, row_bytes) = in_rows(rows, k, 8, 1, |row, input| signed(known.q(row, input)));
    let fields = Fields {
        bits: 8,
        row_bytes,
        is_signed: true,
        ..FIELDS
    };
    let (zeros, row_bytes) = in_rows(rows, known.groups, 8, 1, |row, group| {
        signed(known.z(row, group))
    });
    let zeros = (!is_symmetric).then_some((
        zeros,
        Fields {
            row_bytes,
            ..fields
        },
    ));
    known.owned("bytes", group, (codes, fields), zeros, true, Format::F32)
}

pub fn float8((rows, k, group): (usize, usize, usize), random: &mut Random) -> Owned {
    let mut known = Known::new(rows, k, group, 8, random);
    for code in &mut known.q {
        if *code & 0x7f == 0x7f {
            *code -= 1;
        }
    }
    let (codes, row_bytes) = in_rows(rows, k, 8, 1, |row, input| known.q(row, input));
    let fields = Fields {
        bits: 8,
        row_bytes,
        ..FIELDS
    };
    let mut owned = known.owned("float8", group, (codes, fields), None, true, Format::F32);
    owned.is_float8 = true;
    owned.values = (0..rows * k)
        .map(|at| {
            let code = known.q[at];
            let (exponent, fraction) = (i32::from(code >> 3 & 15), f64::from(code & 7));
            let size = match exponent {
                0 => fraction / 8.0 * 2_f64.powi(-6),
                _ => (1.0 + fraction / 8.0) * 2_f64.powi(exponent - 7),
            };
            let sign = if code & 0x80 == 0 { 1.0 } else { -1.0 };
            (sign * size) as f32 * known.s[at / k * known.groups + known.of_input[at % k]]
        })
        .collect();
    owned
}

/// A table of 16, the first of two codes in the high half, scales of blocks of the whole matrix.
pub fn table(
    (rows, k, block): (usize, usize, usize),
    is_nested: bool,
    random: &mut Random,
) -> Owned {
    let known = Known::new(rows, k, k, 4, random);
    let (codes, row_bytes) = in_rows(rows, k, 4, 1, |row, place| known.q(row, place ^ 1));
    let fields = Fields {
        row_bytes,
        order: FieldOrder::HighFirst,
        ..FIELDS
    };
    let numbers = random.values(16);
    let scales = (rows * k).div_ceil(block);
    let mut owned = known.owned("table", k, (codes, fields), None, true, Format::F32);
    let of_block: Vec<f32> = if is_nested {
        let few = random.values(scales.div_ceil(256));
        let codes: Vec<u8> = (0..scales).map(|_| random.below(256) as u8).collect();
        let entries = random.values(256);
        let values = codes.iter().enumerate();
        let values = values.map(|(at, &code)| entries[usize::from(code)] * few[at / 256] + 0.125);
        let values = values.collect();
        owned.nested = Some((codes, floats(&entries)));
        owned.scales = floats(&few);
        values
    } else {
        let values = random.values(scales);
        owned.scales = floats(&values);
        values
    };
    owned.table = Some(floats(&numbers));
    owned.flat_block = Some(block);
    owned.group = match (k.is_multiple_of(block), k % 32 + block % 32) {
        (true, _) => block,
        (false, 0) => 32,
        _ => 1,
    };
    owned.values = (0..rows * k)
        .map(|at| numbers[usize::from(known.q[at])] * of_block[at / block])
        .collect();
    owned
}

fn floats(values: &[f32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}
