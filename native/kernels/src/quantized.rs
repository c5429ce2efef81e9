//! A quantized matrix as a safetensors checkpoint stores it: codes, scales, zero points and groups of inputs, whatever
//! the scheme. Gives rows of f32; `grouped_pack` makes the form that kernels read.
//!
//! weight[n][k] = value(code[n][k]) · scale[n][group(k)], one rounding, where value is code − zero[n][group(k)] (exact),
//! the number that an E4M3 byte means, or a place in a table of 16 f32.
//! Owns nothing: all bytes are the caller's. I1 After `new`, no code, zero, scale or group can be out of reach, and every
//! scale and table value is finite.

use half::f16;

use crate::error::KernelError;
use crate::format::Format;
use crate::quantized_fields::Fields;

/// Numbers of a stored tensor.
#[derive(Clone, Copy, Debug)]
pub enum Numbers<'a> {
    /// F32, F16 or BF16.
    Dense(Format, &'a [u8]),
    /// Powers of two: 2^(byte − 127).
    E8m0(&'a [u8]),
    /// 1, however many are wanted.
    Ones,
}

impl Numbers<'_> {
    fn are(&self, wanted: usize) -> bool {
        match self {
            Self::Dense(format, bytes) => {
                wanted.checked_mul(format.block_bytes()) == Some(bytes.len())
            }
            Self::E8m0(bytes) => bytes.len() == wanted,
            Self::Ones => true,
        }
    }

    fn get(&self, at: usize) -> f32 {
        match self {
            Self::Dense(format, bytes) => {
                let width = format.block_bytes();
                let mut value = 0.0;
                let bytes = &bytes[at * width..][..width];
                format.dequantise_into(bytes, std::slice::from_mut(&mut value));
                value
            }
            Self::E8m0(bytes) => match bytes[at] {
                0 => f32::from_bits(0x0040_0000),
                255 => f32::NAN,
                exponent => f32::from_bits(u32::from(exponent) << 23),
            },
            Self::Ones => 1.0,
        }
    }
}

/// Scales that are quantized themselves (bitsandbytes): table[byte] · scale of a block of them + offset.
#[derive(Clone, Copy, Debug)]
pub struct NestedScales<'a> {
    pub codes: &'a [u8],
    /// 256 f32.
    pub table: &'a [u8],
    pub scales: Numbers<'a>,
    pub block: usize,
    pub offset: f32,
}

#[derive(Clone, Copy, Debug)]
pub enum Scales<'a> {
    /// A matrix of groups and outputs. `rows_per_scale` outputs share one; each is divided by `divisor`.
    Grid {
        numbers: Numbers<'a>,
        is_output_first: bool,
        /// Columns of the stored matrix.
        columns: usize,
        rows_per_scale: usize,
        divisor: f32,
    },
    /// One for each `block` weights of the matrix read as one row.
    Flat { numbers: Numbers<'a>, block: usize },
    NestedFlat {
        nested: NestedScales<'a>,
        block: usize,
    },
}

#[derive(Clone, Copy, Debug)]
pub enum Values<'a> {
    /// Less the zero point; where none is stored, less 2^(bits − 1).
    Integers {
        zeros: Option<Fields<'a>>,
    },
    Float8,
    /// 16 f32.
    Table(&'a [u8]),
}

#[derive(Clone, Copy, Debug)]
pub struct Quantized<'a> {
    pub rows: usize,
    pub k: usize,
    pub codes: Fields<'a>,
    pub values: Values<'a>,
    pub scales: Scales<'a>,
    /// Inputs that share a scale: input i is in group i / group, unless `group_of_input` says otherwise.
    pub group: usize,
    /// i32, one an input.
    pub group_of_input: Option<&'a [u8]>,
}

impl<'a> Quantized<'a> {
    /// Check everything that can be wrong with the parts (I1).
    ///
    /// # Errors
    /// A sentence that names the tensor by its role and says what was found.
    ///
    /// Cost: reads all scales and zero points' sizes, the groups and tables; no codes.
    pub fn new(stored: Quantized<'a>) -> Result<Self, KernelError> {
        let Self { rows, k, group, .. } = stored;
        if rows == 0 || k == 0 || group == 0 {
            return Err(KernelError::new(
                "a quantized weight has rows, inputs and groups",
            ));
        }
        stored.codes.check("codes", rows, k)?;
        if let Values::Integers { zeros: Some(zeros) } = &stored.values {
            zeros.check("zero points", rows, stored.groups())?;
            if zeros.bits != stored.codes.bits {
                return Err(KernelError::new("zero points as wide as the codes"));
            }
        }
        stored.check_table()?;
        stored.check_groups()?;
        stored.check_scales()?;
        Ok(stored)
    }

    fn check_table(&self) -> Result<(), KernelError> {
        match self.values {
            Values::Table(table) if table.len() != 64 || self.codes.bits != 4 => Err(
                KernelError::new("a table has 16 numbers of f32, for codes of 4 bits"),
            ),
            Values::Table(table) => {
                let table = Numbers::Dense(Format::F32, table);
                match (0..16).find(|&at| !table.get(at).is_finite()) {
                    Some(at) => Err(KernelError::new(format!("table[{at}] is not finite"))),
                    None => Ok(()),
                }
            }
            Values::Float8 if self.codes.bits != 8 => Err(KernelError::new("E4M3 has 8 bits")),
            _ => Ok(()),
        }
    }

    fn check_groups(&self) -> Result<(), KernelError> {
        let Some(of_input) = self.group_of_input else {
            return Ok(());
        };
        if of_input.len() != self.k * 4 {
            return Err(KernelError::new(format!(
                "groups of inputs: {} bytes, expected {} for {} inputs",
                of_input.len(),
                self.k * 4,
                self.k
            )));
        }
        let groups = self.groups();
        for input in 0..self.k {
            let group = self.stored_group(of_input, input);
            if usize::try_from(group).map_or(true, |group| group >= groups) {
                return Err(KernelError::new(format!(
                    "groups of inputs: input {input} is in group {group}, but there are groups 0 to {}",
                    groups - 1
                )));
            }
        }
        Ok(())
    }

    fn check_scales(&self) -> Result<(), KernelError> {
        let groups = self.groups();
        let weights = self.rows.saturating_mul(self.k);
        let (wanted, is_right) = match self.scales {
            Scales::Grid {
                numbers,
                is_output_first,
                columns,
                rows_per_scale,
                divisor,
            } => {
                if rows_per_scale == 0 || !(divisor > 0.0 && divisor.is_finite()) {
                    return Err(KernelError::new("scales of no rows"));
                }
                let outputs = self.rows.div_ceil(rows_per_scale);
                let (stored_rows, used) = match is_output_first {
                    true => (outputs, groups),
                    false => (groups, outputs),
                };
                let wanted = stored_rows.saturating_mul(columns);
                (wanted, used <= columns && numbers.are(wanted))
            }
            Scales::Flat { numbers, block } => {
                let wanted = weights.div_ceil(block.max(1));
                (wanted, numbers.are(wanted))
            }
            Scales::NestedFlat { nested, block } => {
                let wanted = weights.div_ceil(block.max(1));
                let outer = wanted.div_ceil(nested.block.max(1));
                let is_right = nested.codes.len() == wanted
                    && nested.table.len() == 256 * 4
                    && nested.scales.are(outer);
                (wanted, is_right)
            }
        };
        if !is_right {
            return Err(KernelError::new(format!(
                "scales: their bytes are not {wanted} numbers, as {} rows and {groups} groups take",
                self.rows
            )));
        }
        for row in 0..self.rows {
            for group in 0..groups {
                let scale = self.scale(row, group);
                if !scale.is_finite() {
                    return Err(KernelError::new(format!(
                        "scales: {scale} for row {row}, group {group}"
                    )));
                }
            }
        }
        Ok(())
    }

    /// Groups of a row.
    pub(crate) fn groups(&self) -> usize {
        self.k.div_ceil(self.group)
    }

    pub(crate) fn group_of(&self, input: usize) -> usize {
        match self.group_of_input {
            Some(of_input) => self.stored_group(of_input, input) as usize,
            None => input / self.group,
        }
    }

    fn stored_group(&self, of_input: &[u8], input: usize) -> i32 {
        let bytes = of_input[input * 4..input * 4 + 4].try_into();
        i32::from_le_bytes(bytes.expect("four bytes"))
    }

    pub(crate) fn scale(&self, row: usize, group: usize) -> f32 {
        let flat = |block: usize| (row * self.k + group * self.group) / block.max(1);
        match self.scales {
            Scales::Grid {
                numbers,
                is_output_first,
                columns,
                rows_per_scale,
                divisor,
            } => {
                let output = row / rows_per_scale;
                let at = match is_output_first {
                    true => output * columns + group,
                    false => group * columns + output,
                };
                match divisor {
                    1.0 => numbers.get(at),
                    _ => numbers.get(at) / divisor,
                }
            }
            Scales::Flat { numbers, block } => numbers.get(flat(block)),
            Scales::NestedFlat { nested, block } => {
                let at = flat(block);
                let table = Numbers::Dense(Format::F32, nested.table);
                let scale = nested.scales.get(at / nested.block.max(1));
                table.get(usize::from(nested.codes[at])) * scale + nested.offset
            }
        }
    }

    /// What codes and zero points are counted from: the number that means 0 where no zero point is stored.
    pub(crate) fn centre(&self) -> i16 {
        1 << (self.codes.bits - 1)
    }

    /// The zero point of a group less `centre`: -128 … 127.
    pub(crate) fn zero(&self, row: usize, group: usize) -> i8 {
        match &self.values {
            Values::Integers { zeros: Some(zeros) } => {
                (i16::from(zeros.get(row, group)) - self.centre()) as i8
            }
            _ => 0,
        }
    }

    /// The weights of a row, exactly. @param out - k of them; @param codes - working memory, k bytes
    pub fn row_into(&self, row: usize, codes: &mut [u8], out: &mut [f32]) {
        self.codes.row_into(row, codes);
        let mut known = None;
        let (mut scale, mut zero) = (0.0, 0);
        for (input, (value, &code)) in out.iter_mut().zip(&*codes).enumerate() {
            let group = self.group_of(input);
            if known != Some(group) {
                known = Some(group);
                (scale, zero) = (self.scale(row, group), self.zero(row, group));
            }
            let exact = match self.values {
                Values::Integers { .. } => {
                    f32::from(i16::from(code) - self.centre() - i16::from(zero))
                }
                Values::Float8 => f32_of_e4m3(code),
                Values::Table(table) => Numbers::Dense(Format::F32, table).get(usize::from(code)),
            };
            *value = exact * scale;
        }
    }
}

/// E4M3 with its one NaN and no infinity. As f16 the same bits mean 1 / 256 of the number.
#[inline(always)]
pub(crate) fn f32_of_e4m3(byte: u8) -> f32 {
    if byte & 0x7f == 0x7f {
        return f32::NAN;
    }
    let half = u16::from(byte & 0x80) << 8 | u16::from(byte & 0x7f) << 7;
    f16::from_bits(half).to_f32() * 256.0
}
