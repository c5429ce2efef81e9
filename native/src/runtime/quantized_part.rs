//! A quantized part of a weight: which bytes of which files it is made of, and those bytes as the kernels' view of them.
//!
//! Owns the description; bytes stay in the maps of `WeightFiles`. Knows no scheme: `src/checkpoint/quantized` turned it
//! into codes, scales, zero points and groups before.

use ingot_kernels::{
    FieldOrder, Fields, Format, NestedScales, Numbers, Packing, Quantized, Scales, Values,
};

use super::weight_files::WeightFiles;
use crate::failure::{Code, Failure, Outcome};

/// A stored tensor.
pub struct StoredBytes {
    pub file: String,
    pub offset: u64,
    pub bytes: u64,
    /// safetensors' word.
    pub dtype: String,
}

/// `Fields` without bytes.
pub struct FieldsShape {
    pub bits: u32,
    pub packing: Packing,
    pub order: FieldOrder,
    pub is_output_first: bool,
    pub is_signed: bool,
    pub added: u8,
}

pub enum ValuesSource {
    Integers(Option<(FieldsShape, StoredBytes)>),
    Float8,
    Table(StoredBytes),
}

pub enum ScalesSource {
    Grid {
        /// `None` = ones.
        numbers: Option<StoredBytes>,
        is_output_first: bool,
        columns: usize,
        rows_per_scale: usize,
        divisor: f32,
    },
    Flat {
        numbers: StoredBytes,
        block: usize,
        nested: Option<NestedSource>,
    },
}

pub struct NestedSource {
    pub table: StoredBytes,
    pub scales: StoredBytes,
    pub block: usize,
    pub offset: f32,
}

pub struct QuantizedSource {
    pub codes: FieldsShape,
    pub values: ValuesSource,
    pub scales: ScalesSource,
    pub group: usize,
    pub group_of_input: Option<StoredBytes>,
}

impl QuantizedSource {
    /// All but the codes.
    fn companions(&self) -> impl Iterator<Item = &StoredBytes> {
        let values = match &self.values {
            ValuesSource::Integers(zeros) => zeros.as_ref().map(|(_, bytes)| bytes),
            ValuesSource::Float8 => None,
            ValuesSource::Table(table) => Some(table),
        };
        let scales = match &self.scales {
            ScalesSource::Grid { numbers, .. } => [numbers.as_ref(), None, None],
            ScalesSource::Flat {
                numbers, nested, ..
            } => {
                let nested = nested.as_ref();
                let inner = nested.map(|nested| &nested.table);
                [Some(numbers), inner, nested.map(|nested| &nested.scales)]
            }
        };
        let [first, second, third] = scales;
        [values, first, second, third, self.group_of_input.as_ref()]
            .into_iter()
            .flatten()
    }

    pub fn open(&self, files: &mut WeightFiles) -> Outcome<()> {
        self.companions()
            .try_for_each(|stored| files.open(&stored.file))
    }

    pub fn release(&self, files: &WeightFiles) {
        for stored in self.companions() {
            files.release(&stored.file, stored.offset, stored.bytes);
        }
    }

    /// The matrix over the mapped bytes, checked. @param codes - the part's own bytes
    pub fn view<'a>(
        &self,
        rows: usize,
        k: usize,
        codes: &'a [u8],
        files: &'a WeightFiles,
    ) -> Outcome<Quantized<'a>> {
        let range = |stored: &StoredBytes| files.range(&stored.file, stored.offset, stored.bytes);
        let numbers = |stored: &StoredBytes| numbers_of(&stored.dtype, range(stored)?);
        let groups = k.div_ceil(self.group.max(1));
        let view = Quantized {
            rows,
            k,
            codes: self.codes.over(codes, rows, k),
            values: match &self.values {
                ValuesSource::Integers(None) => Values::Integers { zeros: None },
                ValuesSource::Integers(Some((shape, stored))) => Values::Integers {
                    zeros: Some(shape.over(range(stored)?, rows, groups)),
                },
                ValuesSource::Float8 => Values::Float8,
                ValuesSource::Table(stored) => Values::Table(range(stored)?),
            },
            scales: match &self.scales {
                ScalesSource::Grid {
                    numbers: stored,
                    is_output_first,
                    columns,
                    rows_per_scale,
                    divisor,
                } => Scales::Grid {
                    numbers: stored.as_ref().map_or(Ok(Numbers::Ones), numbers)?,
                    is_output_first: *is_output_first,
                    columns: *columns,
                    rows_per_scale: *rows_per_scale,
                    divisor: *divisor,
                },
                ScalesSource::Flat {
                    numbers: stored,
                    block,
                    nested: None,
                } => Scales::Flat {
                    numbers: numbers(stored)?,
                    block: *block,
                },
                ScalesSource::Flat {
                    numbers: codes,
                    block,
                    nested: Some(nested),
                } => Scales::NestedFlat {
                    nested: NestedScales {
                        codes: range(codes)?,
                        table: range(&nested.table)?,
                        scales: numbers(&nested.scales)?,
                        block: nested.block,
                        offset: nested.offset,
                    },
                    block: *block,
                },
            },
            group: self.group,
            group_of_input: self.group_of_input.as_ref().map(range).transpose()?,
        };
        Quantized::new(view).map_err(bad)
    }
}

impl FieldsShape {
    /// Bytes of a row follow from how many bytes there are; whether they are enough is checked by the kernels.
    fn over<'a>(&self, bytes: &'a [u8], outputs: usize, others: usize) -> Fields<'a> {
        let (rows, columns) = match self.is_output_first {
            true => (outputs, others),
            false => (others, outputs),
        };
        Fields {
            bytes,
            row_bytes: match self.packing {
                Packing::InRows => bytes.len() / rows.max(1),
                Packing::DownColumns => columns.saturating_mul(4),
            },
            bits: self.bits,
            packing: self.packing,
            order: self.order,
            is_output_first: self.is_output_first,
            is_signed: self.is_signed,
            added: self.added,
        }
    }
}

fn numbers_of<'a>(dtype: &str, bytes: &'a [u8]) -> Outcome<Numbers<'a>> {
    match (dtype, Format::parse(dtype)) {
        (_, Some(format @ (Format::F32 | Format::F16 | Format::BF16))) => {
            Ok(Numbers::Dense(format, bytes))
        }
        ("F8_E8M0", _) => Ok(Numbers::E8m0(bytes)),
        _ => Err(bad(format!("scales of {dtype} are not supported"))),
    }
}

fn bad(message: impl std::fmt::Display) -> Failure {
    Failure::new(Code::BadWeight, message)
}
