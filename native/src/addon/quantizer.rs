//! Functions on single stored matrices, off the event loop: their values, and their quantised form with calibration.

use ingot_kernels::{GroupQuantised, GroupQuantiser, Pool, inverse_factor};
use napi::bindgen_prelude::{AsyncTask, Float32Array, Uint8Array};
use napi::{Env, Error, Result, Task};
use napi_derive::napi;

use super::arguments::{Weight, to_sources, whole};
use crate::failure::{Code, Failure, Outcome};
use crate::runtime::weights::{WeightSource, read_values};

#[napi(object, object_to_js = false)]
pub struct QuantizeOptions {
    pub bits: f64,
    pub group: f64,
    pub is_symmetric: bool,
    pub searches_scale: bool,
    /// `[k][k]`; absent: rounding to nearest.
    pub moments: Option<Float32Array>,
    pub threads: f64,
}

#[napi(object, object_from_js = false)]
pub struct QuantizedMatrix {
    pub codes: Uint8Array,
    pub scales: Float32Array,
    pub zeros: Uint8Array,
}

pub struct ReadTask {
    source: Option<Outcome<(String, WeightSource)>>,
}

impl Task for ReadTask {
    type Output = Vec<f32>;
    type JsValue = Float32Array;

    fn compute(&mut self) -> Result<Vec<f32>> {
        let mut read = || {
            let (_, source) = self.source.take().expect("computed once")?;
            Ok(read_values(&source, &Pool::new(1))?.values)
        };
        read().map_err(|failure: Failure| Error::from_reason(failure.message))
    }

    fn resolve(&mut self, _: Env, output: Vec<f32>) -> Result<Float32Array> {
        Ok(Float32Array::new(output))
    }
}

/// All values of one stored weight, in f32.
#[napi]
pub fn read_weight(weight: Weight) -> AsyncTask<ReadTask> {
    AsyncTask::new(ReadTask {
        source: Some(one_source(weight)),
    })
}

pub struct QuantizeTask {
    source: Option<Outcome<(String, WeightSource)>>,
    quantiser: Outcome<(GroupQuantiser, usize)>,
    moments: Option<Vec<f32>>,
}

impl QuantizeTask {
    fn run(&mut self) -> Outcome<GroupQuantised> {
        let bad = |message: String| Failure::new(Code::BadWeight, message);
        let (name, source) = self.source.take().expect("computed once")?;
        let (quantiser, threads) = self.quantiser.clone()?;
        let pool = Pool::new(threads);
        let mut read = read_values(&source, &pool)?;
        let k = read.width;
        if k % quantiser.group != 0 {
            return Err(bad(format!(
                "\"{name}\": {k} inputs are not whole groups of {}",
                quantiser.group
            )));
        }
        let factor = match &self.moments {
            Some(moments) if moments.len() != k * k => {
                return Err(bad(format!(
                    "\"{name}\": moments must be {k} times {k} numbers"
                )));
            }
            Some(moments) => Some(
                inverse_factor(moments, k).map_err(|error| bad(format!("\"{name}\": {error}")))?,
            ),
            None => None,
        };
        quantiser
            .quantise(&mut read.values, k, factor.as_deref(), &pool)
            .map_err(|error| bad(format!("\"{name}\": {error}")))
    }
}

impl Task for QuantizeTask {
    type Output = GroupQuantised;
    type JsValue = QuantizedMatrix;

    fn compute(&mut self) -> Result<GroupQuantised> {
        self.run()
            .map_err(|failure| Error::from_reason(failure.message))
    }

    fn resolve(&mut self, _: Env, output: GroupQuantised) -> Result<QuantizedMatrix> {
        Ok(QuantizedMatrix {
            codes: Uint8Array::new(output.codes),
            scales: Float32Array::new(output.scales),
            zeros: Uint8Array::new(output.zeros),
        })
    }
}

/// Codes, scales and zero points of one stored matrix.
#[napi]
pub fn quantize_weight(weight: Weight, options: QuantizeOptions) -> AsyncTask<QuantizeTask> {
    AsyncTask::new(QuantizeTask {
        source: Some(one_source(weight)),
        quantiser: to_quantiser(&options),
        moments: options.moments.map(|moments| moments.to_vec()),
    })
}

fn one_source(weight: Weight) -> Outcome<(String, WeightSource)> {
    let mut sources = to_sources(vec![weight])?;
    sources
        .pop()
        .ok_or_else(|| Failure::new(Code::BadWeight, "a weight"))
}

fn to_quantiser(options: &QuantizeOptions) -> Outcome<(GroupQuantiser, usize)> {
    let count = |name, value, most| whole(Code::BadOption, name, value, most);
    let bits = count("bits", options.bits, 8)? as u32;
    let group = count("group", options.group, i32::MAX as u64)? as usize;
    let threads = count("threads", options.threads, 1024)? as usize;
    if !matches!(bits, 4 | 8) || group == 0 || threads == 0 {
        return Err(Failure::new(
            Code::BadOption,
            "bits must be 4 or 8, group and threads at least 1",
        ));
    }
    let (is_symmetric, searches_scale) = (options.is_symmetric, options.searches_scale);
    let quantiser = GroupQuantiser {
        bits,
        group,
        is_symmetric,
        searches_scale,
    };
    Ok((quantiser, threads))
}
