//! One low-rank delta as JavaScript passes it in, checked and packed.

use ingot_kernels::{Format, LowRank, LowRankParts, Part};
use napi::bindgen_prelude::{Int32Array, Uint8Array};
use napi_derive::napi;

use super::arguments::whole;
use crate::failure::{Code, Failure, Outcome};

#[napi(object, object_to_js = false)]
pub struct AdapterMatrix {
    pub format: String,
    pub rows: f64,
    pub bytes: Uint8Array,
}

#[napi(object, object_to_js = false)]
pub struct AdapterDelta {
    pub weight: String,
    pub down: AdapterMatrix,
    pub up: AdapterMatrix,
    pub inputs: f64,
    pub scale: f64,
    pub first_output: f64,
    pub output_order: Option<Int32Array>,
}

/// Slots fit an i32 of the step's rows, and 0 means none.
pub fn to_slot(slot: f64) -> Outcome<u32> {
    let slot = whole(Code::BadWeight, "slot", slot, i32::MAX as u64)? as u32;
    if slot == 0 {
        return Err(bad("slot 0 stands for no adapter; number them from 1"));
    }
    Ok(slot)
}

impl AdapterDelta {
    pub fn pack(&self) -> Outcome<LowRank> {
        let integer = |name, value| whole(Code::BadWeight, name, value, i32::MAX as u64);
        // A negative number becomes one that no output has.
        let order = self.output_order.as_deref();
        let order = order.map(|order| order.iter().map(|&output| output as u32).collect());
        let parts = LowRankParts {
            down: self.down.part()?,
            up: self.up.part()?,
            k: integer("inputs", self.inputs)? as usize,
            scale: self.scale as f32,
            first: integer("firstOutput", self.first_output)? as usize,
            order,
        };
        LowRank::pack(parts).map_err(|error| bad(&error.to_string()))
    }
}

impl AdapterMatrix {
    fn part(&self) -> Outcome<Part<'_>> {
        let format = Format::parse(&self.format).filter(|format| format.block_weights() == 1);
        let format = format.ok_or_else(|| {
            bad(&format!(
                "format must be F32, F16 or BF16, got {}",
                self.format
            ))
        })?;
        let rows = whole(Code::BadWeight, "rows", self.rows, i32::MAX as u64)? as usize;
        Ok(Part {
            format,
            rows,
            bytes: &self.bytes,
        })
    }
}

fn bad(message: &str) -> Failure {
    Failure::new(Code::BadWeight, format_args!("adapter: {message}"))
}
