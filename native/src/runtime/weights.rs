//! The model's registry of weights: names, packed matrices, vectors.
//!
//! Owns every weight of the model; nodes hold an `Arc` of what they name. Packing happens here, on the compute threads:
//! into memory, or into a file that is mapped once it is whole. Knows nothing of ONNX or N-API.
//!
//! I1: a name is bound once. I2: a call either adds all its weights or none.
//! I3: while a pack is written no more than one weight is held; when writing fails nothing of it is left.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use ingot_kernels::{PackedLinear, Pool};

use super::pack_file::{self, PackWriter};
use super::weight_files::WeightFiles;
use super::weight_parts::{CheckedPart, PartSource, bad, check_part};
use crate::failure::{Code, Failure, Outcome};

pub enum WeightSource {
    Linear(Vec<PartSource>),
    Vector(Vec<PartSource>),
    Constant(Vec<f32>),
}

#[derive(Clone)]
pub enum Weight {
    Linear(Arc<PackedLinear>),
    Vector(Arc<[f32]>),
}

#[derive(Default)]
pub struct Weights {
    by_name: Mutex<HashMap<String, Weight>>,
    bytes: AtomicUsize,
    /// While it is there, weights go into it and not into memory (I3).
    pack: Mutex<Option<PackWriter>>,
}

impl Weights {
    /// Read, check and pack; `pool` shares the work (I2).
    pub fn load(&self, sources: &[(String, WeightSource)], pool: &Pool) -> Outcome<()> {
        let mut loaded: HashMap<String, Weight> = HashMap::with_capacity(sources.len());
        let mut files = WeightFiles::default();
        // Taken out, so that whatever fails below drops it and with it its file (I3).
        let mut pack = self.lock_pack().take();
        for (name, source) in sources {
            let is_taken = loaded.contains_key(name)
                || self.lock().contains_key(name)
                || pack.as_ref().is_some_and(|pack| pack.has(name));
            let weight = if is_taken {
                Err(bad("a weight of this name is loaded already"))
            } else {
                load_one(source, &mut files, pool)
            };
            let weight = weight.map_err(|failure| {
                Failure::new(failure.code, format_args!("weight \"{name}\": {failure}"))
            })?;
            match (&mut pack, source, &weight) {
                // Of the graph, not of the checkpoint: given again with every start.
                (_, WeightSource::Constant(_), _) | (None, ..) => {
                    loaded.insert(name.clone(), weight);
                }
                (Some(pack), _, Weight::Linear(linear)) => pack.linear(name, linear)?,
                (Some(pack), _, Weight::Vector(values)) => pack.vector(name, values)?,
            }
        }
        *self.lock_pack() = pack;
        self.add(loaded);
        Ok(())
    }

    /// Map a file that `begin_pack` and `end_pack` wrote for this key.
    pub fn open_pack(&self, path: &str, key: &str, pool: &Pool) -> Outcome<()> {
        let weights = pack_file::open(path, key, pool)?;
        if let Some((name, _)) = weights
            .iter()
            .find(|(name, _)| self.lock().contains_key(name))
        {
            return Err(bad(format!("weight \"{name}\" is loaded already")));
        }
        self.add(weights.into_iter().collect());
        Ok(())
    }

    /// From here on weights are packed into a file; they are there for nodes after `end_pack`.
    pub fn begin_pack(&self, path: &str, key: &str) -> Outcome<()> {
        let mut pack = self.lock_pack();
        if pack.is_some() {
            return Err(Failure::new(Code::State, "a pack is being written already"));
        }
        *pack = Some(PackWriter::create(path, key)?);
        Ok(())
    }

    /// Put the file in its place and map it.
    pub fn end_pack(&self, path: &str, key: &str, pool: &Pool) -> Outcome<()> {
        let pack = self.lock_pack().take().ok_or_else(|| {
            Failure::new(
                Code::State,
                "no pack is being written; call beginPack before",
            )
        })?;
        pack.finish()?;
        give_memory_back();
        self.open_pack(path, key, pool)
    }

    fn add(&self, weights: HashMap<String, Weight>) {
        let bytes = weights.values().map(|weight| match weight {
            Weight::Linear(linear) => linear.bytes(),
            Weight::Vector(vector) => size_of_val::<[f32]>(vector),
        });
        self.bytes.fetch_add(bytes.sum(), Ordering::Relaxed);
        self.lock().extend(weights);
    }

    fn lock_pack(&self) -> std::sync::MutexGuard<'_, Option<PackWriter>> {
        self.pack.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The packed matrix of this name.
    pub fn linear(&self, name: &str) -> Outcome<Arc<PackedLinear>> {
        match self.lock().get(name) {
            Some(Weight::Linear(linear)) => Ok(linear.clone()),
            Some(Weight::Vector(_)) => Err(unusable(name, "is a vector, not a matrix")),
            None => Err(unusable(name, "is not loaded")),
        }
    }

    /// The vector or constant of this name.
    pub fn vector(&self, name: &str) -> Outcome<Arc<[f32]>> {
        match self.lock().get(name) {
            Some(Weight::Vector(vector)) => Ok(vector.clone()),
            Some(Weight::Linear(_)) => Err(unusable(name, "is a matrix, not a vector")),
            None => Err(unusable(name, "is not loaded")),
        }
    }

    /// Bytes held by all weights.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Weight>> {
        self.by_name.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// glibc keeps what packing freed, as much as the largest tensor took, for a next time that does not come.
fn give_memory_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: may be called at any time from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Values of one stored weight, row after row.
pub struct Values {
    pub values: Vec<f32>,
    pub width: usize,
}

/// Read one weight without keeping it. Cost: holds it packed and in f32.
pub fn read_values(source: &WeightSource, pool: &Pool) -> Outcome<Values> {
    match load_one(source, &mut WeightFiles::default(), pool)? {
        Weight::Linear(linear) => {
            let width = linear.k();
            let mut values = vec![0.0; linear.n() * width];
            for (row, values) in values.chunks_exact_mut(width).enumerate() {
                linear.row_into(row, values);
            }
            Ok(Values { values, width })
        }
        Weight::Vector(values) => Ok(Values {
            width: values.len(),
            values: values.to_vec(),
        }),
    }
}

fn load_one(source: &WeightSource, files: &mut WeightFiles, pool: &Pool) -> Outcome<Weight> {
    let (parts, rank) = match source {
        WeightSource::Constant(values) if values.is_empty() => {
            return Err(bad("values must not be empty"));
        }
        WeightSource::Constant(values) => return Ok(Weight::Vector(values.as_slice().into())),
        WeightSource::Linear(parts) => (parts, 2),
        WeightSource::Vector(parts) => (parts, 1),
    };
    if parts.is_empty() {
        return Err(bad("parts must not be empty"));
    }
    for part in parts {
        files.open(&part.file)?;
        if let Some(quantized) = &part.quantized {
            quantized.open(files)?;
        }
        if let Some(exponents) = &part.exponents {
            files.open(&exponents.file)?;
        }
    }
    let checked = parts
        .iter()
        .map(|part| check_part(part, files, rank, pool))
        .collect::<Outcome<Vec<_>>>()?;
    let weight = match rank {
        2 => pack_linear(&checked, pool)?,
        _ => read_vector(&checked, pool)?,
    };
    for part in parts {
        files.release(&part.file, part.offset, part.bytes);
        if let Some(quantized) = &part.quantized {
            quantized.release(files);
        }
        if let Some(exponents) = &part.exponents {
            files.release(&exponents.file, exponents.offset, exponents.bytes);
        }
    }
    Ok(weight)
}

fn pack_linear(parts: &[CheckedPart<'_>], pool: &Pool) -> Outcome<Weight> {
    let width = parts[0].width;
    if let Some(other) = parts.iter().find(|part| part.width != width) {
        return Err(bad(format!(
            "parts of one weight must be equally wide: {width} and {}",
            other.width
        )));
    }
    let recodes: Vec<_> = parts.iter().map(|part| part.recode).collect();
    let sources: Vec<_> = parts.iter().map(|part| part.stored.source()).collect();
    let packed = PackedLinear::pack_sources(&sources, &recodes, width, pool).map_err(bad)?;
    Ok(Weight::Linear(Arc::new(packed)))
}

/// Vectors are short; each part is packed as one row only to be read back as f32.
fn read_vector(parts: &[CheckedPart<'_>], pool: &Pool) -> Outcome<Weight> {
    let mut values = Vec::with_capacity(parts.iter().map(|part| part.width).sum());
    if parts.iter().any(|part| part.recode.is_some()) {
        return Err(bad("a vector is kept in f32 and takes no target"));
    }
    for part in parts {
        let row = [part.stored.source()];
        let packed = PackedLinear::pack_sources(&row, &[None], part.width, pool).map_err(bad)?;
        let start = values.len();
        values.resize(start + part.width, 0.0);
        packed.row_into(0, &mut values[start..]);
    }
    Ok(Weight::Vector(values.into()))
}

fn unusable(name: &str, why: &str) -> Failure {
    Failure::new(
        Code::BadGraph,
        format_args!("weight \"{name}\" {why}; load it with loadWeights before createSession"),
    )
}
