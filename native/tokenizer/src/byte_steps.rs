//! A decoder of `tokenizer.json` taken apart into steps that each concern one token, so that a stream can show tokens as
//! they come. What cannot be taken apart (a decoder that looks at the text behind a token) is refused when it is read.
//!
//!   chain of the file            steps on one token        on the first token of a text
//!   ByteLevel                    alphabet → bytes
//!   Replace, Metaspace, Strip,   the decoder itself,       the same between nothing and a neighbour
//!   WordPiece                    between two neighbours
//!   ByteFallback                 <0xNN> → byte NN
//!   Fuse, then Strip at start                              that many characters off the front

use tokenizers::Decoder;
use tokenizers::decoders::DecoderWrapper;
use tokenizers::normalizers::Replace;

use crate::guard::text_of;

enum ByteStep {
    /// GPT-2's alphabet: each character is one byte; a token with any other character is its own UTF-8.
    ByteLevel,
    /// `<0xNN>` is the byte NN.
    ByteFallback,
    Text(DecoderWrapper),
}

pub struct ByteSteps {
    steps: Vec<ByteStep>,
    /// What is taken off the beginning of a whole text: up to so many of that character, in order.
    front_strips: Vec<(char, usize)>,
    /// The file has no decoder: tokens are joined by spaces.
    joins_by_space: bool,
}

impl ByteSteps {
    pub fn of(decoder: Option<&DecoderWrapper>) -> Result<Self, String> {
        let mut steps = Self {
            steps: Vec::new(),
            front_strips: Vec::new(),
            joins_by_space: decoder.is_none(),
        };
        let mut is_fused = false;
        if let Some(decoder) = decoder {
            steps.push(decoder, &mut is_fused)?;
        }
        Ok(steps)
    }

    fn push(&mut self, decoder: &DecoderWrapper, is_fused: &mut bool) -> Result<(), String> {
        match decoder {
            DecoderWrapper::Sequence(sequence) => {
                for inner in sequence.get_decoders() {
                    self.push(inner, is_fused)?;
                }
            }
            // It also joins all tokens into one text.
            DecoderWrapper::ByteLevel(_) => {
                self.steps.push(ByteStep::ByteLevel);
                *is_fused = true;
            }
            DecoderWrapper::ByteFallback(_) => self.steps.push(ByteStep::ByteFallback),
            DecoderWrapper::Fuse(_) => *is_fused = true,
            DecoderWrapper::Strip(strip) if *is_fused && strip.stop == 0 => {
                self.front_strips.push((strip.content, strip.start));
            }
            DecoderWrapper::Replace(replace) if *is_fused && !replaces_characters(replace) => {
                return Err(
                    "its decoder replaces in the whole text, which cannot be streamed".into(),
                );
            }
            DecoderWrapper::Strip(_) if *is_fused => {
                return Err(
                    "its decoder strips the end of the text, which cannot be streamed".into(),
                );
            }
            DecoderWrapper::BPE(_) => {
                return Err("its decoder BPEDecoder treats the last token differently, which cannot be streamed".into());
            }
            DecoderWrapper::CTC(_) => {
                return Err("its decoder CTC is one of speech recognition".into());
            }
            other => self.steps.push(ByteStep::Text(other.clone())),
        }
        Ok(())
    }

    /// Bytes of an ordinary token.
    pub fn bytes(&self, token: String, is_first: bool) -> Result<Vec<u8>, String> {
        let mut text = token;
        for step in &self.steps {
            match step {
                ByteStep::ByteLevel => return Ok(byte_level_bytes(&text)),
                ByteStep::ByteFallback => {
                    if let Some(byte) = fallback_byte(&text) {
                        return Ok(self.stripped(vec![byte], is_first));
                    }
                }
                ByteStep::Text(decoder) => text = decode_in_place(decoder, text, is_first)?,
            }
        }
        if self.joins_by_space && !is_first {
            text.insert(0, ' ');
        }
        Ok(self.stripped(text.into_bytes(), is_first))
    }

    /// Bytes of an added token, which is not written in the byte alphabet.
    pub fn added_bytes(&self, content: &str, is_first: bool) -> Result<Vec<u8>, String> {
        match self.steps.first() {
            Some(ByteStep::ByteLevel) => Ok(content.as_bytes().to_vec()),
            _ => self.bytes(content.to_owned(), is_first),
        }
    }

    fn stripped(&self, bytes: Vec<u8>, is_first: bool) -> Vec<u8> {
        if !is_first {
            return bytes;
        }
        let mut rest = bytes.as_slice();
        for &(character, most) in &self.front_strips {
            let mut buffer = [0; 4];
            let encoded = character.encode_utf8(&mut buffer).as_bytes();
            for _ in 0..most {
                let Some(shorter) = rest.strip_prefix(encoded) else {
                    break;
                };
                rest = shorter;
            }
        }
        rest.to_vec()
    }
}

/// What is replaced is one character, so it lies in one token. The crate shows the pattern only when it is written out.
fn replaces_characters(replace: &Replace) -> bool {
    let written = serde_json::to_value(replace).unwrap_or_default();
    let pattern = written
        .pointer("/pattern/String")
        .and_then(|pattern| pattern.as_str());
    pattern.is_some_and(|text| text.chars().count() == 1)
}

/// What the decoder makes of a token with others around it, so that its rules for the ends of a text do not apply.
fn decode_in_place(
    decoder: &DecoderWrapper,
    token: String,
    is_first: bool,
) -> Result<String, String> {
    let place = usize::from(!is_first);
    let mut parts = vec!["a".to_owned(), token.clone(), "b".to_owned()];
    parts.drain(..1 - place);
    let expected = parts.len();
    let mut decoded = decoder.decode_chain(parts).map_err(text_of)?;
    // A decoder that joins or drops tokens leaves none to read at this place; the token is then its own text.
    Ok(if decoded.len() == expected {
        decoded.swap_remove(place)
    } else {
        token
    })
}

fn byte_level_bytes(token: &str) -> Vec<u8> {
    let mapped: Option<Vec<u8>> = token.chars().map(byte_of_alphabet).collect();
    mapped.unwrap_or_else(|| token.as_bytes().to_vec())
}

/// The inverse of GPT-2's byte alphabet: printable Latin-1 stands for itself, the other 68 bytes, in ascending order,
/// for U+0100 … U+0143. Source: openai/gpt-2, `src/encoder.py`, `bytes_to_unicode`.
fn byte_of_alphabet(symbol: char) -> Option<u8> {
    let code = symbol as u32;
    match code {
        0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff => Some(code as u8),
        0x100..=0x120 => Some((code - 0x100) as u8),
        0x121..=0x142 => Some((code - 0x121 + 0x7f) as u8),
        0x143 => Some(0xad),
        _ => None,
    }
}

pub fn fallback_byte(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    if digits.len() != 2 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    u8::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_byte_alphabet_covers_every_byte_once() {
        let mut bytes: Vec<u8> = (0..=0x143)
            .filter_map(char::from_u32)
            .filter_map(byte_of_alphabet)
            .collect();
        bytes.sort_unstable();
        assert_eq!(bytes, (0..=255).collect::<Vec<u8>>());
        assert_eq!(byte_of_alphabet('Ġ'), Some(b' '));
        assert_eq!(byte_of_alphabet('Ċ'), Some(b'\n'));
    }

    #[test]
    fn byte_fallback_reads_two_hexadecimal_digits_only() {
        assert_eq!(fallback_byte("<0x0A>"), Some(10));
        assert_eq!(fallback_byte("<0xfF>"), Some(255));
        for not_a_byte in ["<0x+1>", "<0x1>", "<0x123>", "<0x0A", "0x0A", "<0x€>"] {
            assert_eq!(fallback_byte(not_a_byte), None);
        }
    }
}
