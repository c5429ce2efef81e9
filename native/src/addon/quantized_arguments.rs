//! Plain structs of a quantized weight part as JavaScript passes them, checked and turned into the runtime's own types.

use ingot_kernels::{FieldOrder, Packing};
use napi_derive::napi;

use super::arguments::{MAX_SAFE_INTEGER, whole};
use crate::failure::{Code, Failure, Outcome};
use crate::runtime::quantized_part::{
    FieldsShape, NestedSource, QuantizedSource, ScalesSource, StoredBytes, ValuesSource,
};

#[napi(object, object_to_js = false)]
pub struct Numbers {
    pub file: String,
    pub offset: f64,
    pub byte_length: f64,
    pub dtype: String,
}

#[napi(object, object_to_js = false)]
pub struct PackedFields {
    pub bits: f64,
    pub packing: String,
    pub order: String,
    pub is_output_first: bool,
    pub is_signed: bool,
    pub added: f64,
}

#[napi(object, object_to_js = false)]
pub struct QuantizedScales {
    pub numbers: Option<Numbers>,
    pub layout: String,
    pub is_output_first: bool,
    pub columns: f64,
    pub rows_per_scale: f64,
    pub divisor: f64,
    pub block: f64,
    pub nested_table: Option<Numbers>,
    pub nested_scales: Option<Numbers>,
    pub nested_block: Option<f64>,
    pub nested_offset: Option<f64>,
}

#[napi(object, object_to_js = false)]
pub struct Quantization {
    pub codes: PackedFields,
    pub values: String,
    pub zeros: Option<PackedFields>,
    pub zero_numbers: Option<Numbers>,
    pub table: Option<Numbers>,
    pub scales: QuantizedScales,
    pub group: f64,
    pub group_of_input: Option<Numbers>,
}

pub fn to_quantized(quantization: &Quantization) -> Outcome<QuantizedSource> {
    let Quantization {
        codes,
        values,
        zeros,
        zero_numbers,
        table,
        scales,
        group,
        group_of_input,
    } = quantization;
    let values = match (values.as_str(), zeros, zero_numbers, table) {
        ("integers", None, None, None) => ValuesSource::Integers(None),
        ("integers", Some(zeros), Some(numbers), None) => {
            ValuesSource::Integers(Some((to_fields(zeros)?, to_bytes(numbers)?)))
        }
        ("float8", None, None, None) => ValuesSource::Float8,
        ("table", None, None, Some(table)) => ValuesSource::Table(to_bytes(table)?),
        (other, ..) => {
            return Err(bad(format!(
                "values must be integers, with zeros and zeroNumbers or without, float8, or table with one, got {other}"
            )));
        }
    };
    Ok(QuantizedSource {
        codes: to_fields(codes)?,
        values,
        scales: to_scales(scales)?,
        group: count("group", *group)?,
        group_of_input: group_of_input.as_ref().map(to_bytes).transpose()?,
    })
}

fn to_scales(scales: &QuantizedScales) -> Outcome<ScalesSource> {
    let nested = match (
        &scales.nested_table,
        &scales.nested_scales,
        scales.nested_block,
        scales.nested_offset,
    ) {
        (None, None, None, None) => None,
        (Some(table), Some(numbers), Some(block), Some(offset)) => Some(NestedSource {
            table: to_bytes(table)?,
            scales: to_bytes(numbers)?,
            block: count("nestedBlock", block)?,
            offset: offset as f32,
        }),
        _ => {
            return Err(bad(
                "nested scales have a table, scales, a block and an offset",
            ));
        }
    };
    let numbers = scales.numbers.as_ref().map(to_bytes).transpose()?;
    match (scales.layout.as_str(), numbers, nested) {
        ("grid", numbers, None) => Ok(ScalesSource::Grid {
            numbers,
            is_output_first: scales.is_output_first,
            columns: count("columns", scales.columns)?,
            rows_per_scale: count("rowsPerScale", scales.rows_per_scale)?,
            divisor: scales.divisor as f32,
        }),
        ("flat", Some(numbers), nested) => Ok(ScalesSource::Flat {
            numbers,
            block: count("block", scales.block)?,
            nested,
        }),
        (other, ..) => Err(bad(format!(
            "scales.layout must be grid without nested scales, or flat with numbers, got {other}"
        ))),
    }
}

fn to_fields(fields: &PackedFields) -> Outcome<FieldsShape> {
    Ok(FieldsShape {
        bits: whole(Code::BadWeight, "bits", fields.bits, 8)? as u32,
        packing: match fields.packing.as_str() {
            "rows" => Packing::InRows,
            "columns" => Packing::DownColumns,
            other => return Err(bad(format!("packing must be rows or columns, got {other}"))),
        },
        order: match fields.order.as_str() {
            "ascending" => FieldOrder::Ascending,
            "awq" => FieldOrder::Awq,
            "high-first" => FieldOrder::HighFirst,
            other => {
                return Err(bad(format!(
                    "order must be ascending, awq or high-first, got {other}"
                )));
            }
        },
        is_output_first: fields.is_output_first,
        is_signed: fields.is_signed,
        added: whole(Code::BadWeight, "added", fields.added, 255)? as u8,
    })
}

fn to_bytes(numbers: &Numbers) -> Outcome<StoredBytes> {
    let integer = |name, value| whole(Code::BadWeight, name, value, MAX_SAFE_INTEGER as u64);
    Ok(StoredBytes {
        file: numbers.file.clone(),
        offset: integer("offset", numbers.offset)?,
        bytes: integer("byteLength", numbers.byte_length)?,
        dtype: numbers.dtype.clone(),
    })
}

fn count(name: &str, value: f64) -> Outcome<usize> {
    whole(Code::BadWeight, name, value, i32::MAX as u64).map(|value| value as usize)
}

fn bad(message: impl std::fmt::Display) -> Failure {
    Failure::new(Code::BadWeight, message)
}
