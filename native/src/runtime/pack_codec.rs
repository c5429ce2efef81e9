//! The index of a pack file as bytes: which weights lie where, each part with its digest. Pure.
//!
//! ```text
//! key     u32 length, bytes
//! weights u32 count; each: u32 length and name, u64 inputs (0: a vector), u32 count of parts;
//!         each part: u32 length and form, u64 rows, u64 offset, u64 bytes, 32 bytes BLAKE3
//! ```
//! All numbers are little-endian. C1: reading never trusts a length; bytes that are no index give `None`.

pub const DIGEST_BYTES: usize = 32;

#[derive(Debug, PartialEq, Eq)]
pub struct PackIndex {
    /// Of what the file is the packed form; two files with one key are interchangeable.
    pub key: String,
    pub weights: Vec<PackedWeight>,
}

#[derive(Debug, PartialEq, Eq)]
pub struct PackedWeight {
    pub name: String,
    /// 0 for a vector, whose one part is `rows` numbers of form F32.
    pub inputs: u64,
    pub parts: Vec<PackedPart>,
}

#[derive(Debug, PartialEq, Eq)]
pub struct PackedPart {
    /// A name of `PackedShape`.
    pub form: String,
    pub rows: u64,
    pub offset: u64,
    pub bytes: u64,
    pub digest: [u8; DIGEST_BYTES],
}

impl PackIndex {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_text(&mut out, &self.key);
        put_count(&mut out, self.weights.len());
        for weight in &self.weights {
            put_text(&mut out, &weight.name);
            out.extend(weight.inputs.to_le_bytes());
            put_count(&mut out, weight.parts.len());
            for part in &weight.parts {
                put_text(&mut out, &part.form);
                for number in [part.rows, part.offset, part.bytes] {
                    out.extend(number.to_le_bytes());
                }
                out.extend(part.digest);
            }
        }
        out
    }

    /// C1.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut from = Cursor(bytes);
        let key = from.text()?;
        let mut weights = Vec::new();
        for _ in 0..from.count()? {
            let (name, inputs) = (from.text()?, from.number()?);
            let mut parts = Vec::new();
            for _ in 0..from.count()? {
                parts.push(PackedPart {
                    form: from.text()?,
                    rows: from.number()?,
                    offset: from.number()?,
                    bytes: from.number()?,
                    digest: *from.array()?,
                });
            }
            weights.push(PackedWeight {
                name,
                inputs,
                parts,
            });
        }
        from.0.is_empty().then_some(Self { key, weights })
    }
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    out.extend((count as u32).to_le_bytes());
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_count(out, text.len());
    out.extend(text.as_bytes());
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn array<const LEN: usize>(&mut self) -> Option<&'a [u8; LEN]> {
        let (array, rest) = self.0.split_first_chunk::<LEN>()?;
        self.0 = rest;
        Some(array)
    }

    fn number(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(*self.array()?))
    }

    /// Of things that take at least one byte each, so that a wild count ends the loop and not the memory.
    fn count(&mut self) -> Option<usize> {
        let count = u32::from_le_bytes(*self.array()?) as usize;
        (count <= self.0.len()).then_some(count)
    }

    fn text(&mut self) -> Option<String> {
        let length = self.count()?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        String::from_utf8(text.to_vec()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index() -> PackIndex {
        let part = |rows| PackedPart {
            form: "Q4_1".to_owned(),
            rows,
            offset: 64,
            bytes: 640,
            digest: [7; DIGEST_BYTES],
        };
        PackIndex {
            key: "{\"a\":1}".to_owned(),
            weights: vec![
                PackedWeight {
                    name: "q+k".to_owned(),
                    inputs: 32,
                    parts: vec![part(3), part(5)],
                },
                PackedWeight {
                    name: "norm".to_owned(),
                    inputs: 0,
                    parts: vec![part(9)],
                },
            ],
        }
    }

    #[test]
    fn an_index_comes_back_as_it_was() {
        assert_eq!(PackIndex::decode(&index().encode()), Some(index()));
    }

    #[test]
    fn a_cut_or_longer_index_is_none() {
        let bytes = index().encode();
        for length in 0..bytes.len() {
            assert_eq!(PackIndex::decode(&bytes[..length]), None);
        }
        assert_eq!(PackIndex::decode(&[&bytes[..], &[0]].concat()), None);
    }

    #[test]
    fn any_changed_byte_is_read_without_panic() {
        let bytes = index().encode();
        for at in 0..bytes.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut changed = bytes.clone();
                changed[at] = value;
                let _ = PackIndex::decode(&changed);
            }
        }
    }
}
