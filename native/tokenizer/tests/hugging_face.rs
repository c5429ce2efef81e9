//! What Hugging Face tokenizers must do here that the crate below does not promise: single tokens that add up to the
//! whole, and an end to all work.

use ingot_tokenizer::Tokenizer;
use serde_json::{Value, json};
use tokenizers::{Decoder, DecoderWrapper};

const TOKENS: [&str; 12] = [
    "[UNK]", "▁", "▁Hello", "world", "##ly", "▁▁", "n't", ".", "<0x41>", "<0x20>", "'s", "好",
];

fn tokenizer(parts: &[(&str, Value)]) -> Result<Tokenizer, String> {
    let vocab: serde_json::Map<String, Value> = TOKENS
        .iter()
        .zip(0..)
        .map(|(token, id)| ((*token).to_owned(), json!(id)))
        .collect();
    let mut file = json!({
        "version": "1.0",
        "added_tokens": [],
        "model": { "type": "BPE", "vocab": vocab, "merges": [], "unk_token": "[UNK]" },
    });
    for (name, part) in parts {
        file[name] = part.clone();
    }
    Tokenizer::from_json(&file.to_string())
}

fn decoders() -> Vec<(&'static str, Value)> {
    let space = json!({ "type": "Replace", "pattern": { "String": "▁" }, "content": " " });
    let fuse = json!({ "type": "Fuse" });
    let strip = json!({ "type": "Strip", "content": " ", "start": 1, "stop": 0 });
    let fallback = json!({ "type": "ByteFallback" });
    let sequence = |parts: &[&Value]| json!({ "type": "Sequence", "decoders": parts });
    let metaspace = |scheme: &str| json!({ "type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": true });
    let word_piece =
        |cleanup: bool| json!({ "type": "WordPiece", "prefix": "##", "cleanup": cleanup });
    vec![
        ("Llama 2", sequence(&[&space, &fallback, &fuse, &strip])),
        ("Gemma", sequence(&[&space, &fallback, &fuse])),
        ("fuse, then replace", sequence(&[&fallback, &fuse, &space])),
        ("Metaspace, always", metaspace("always")),
        ("Metaspace, first", metaspace("first")),
        ("Metaspace, never", metaspace("never")),
        ("WordPiece", word_piece(false)),
        ("WordPiece with cleaning", word_piece(true)),
        (
            "Strip each",
            json!({ "type": "Strip", "content": "▁", "start": 1, "stop": 0 }),
        ),
        (
            "ByteLevel",
            json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true }),
        ),
        ("none", Value::Null),
    ]
}

#[test]
fn single_tokens_add_up_to_what_the_decoder_makes_of_them_at_once() {
    let mut state = 7u32;
    for (name, decoder) in decoders() {
        let tokenizer = tokenizer(&[("decoder", decoder.clone())]).unwrap();
        for _ in 0..2_000 {
            let ids: Vec<u32> = (0..1 + state % 7)
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (state >> 10) % TOKENS.len() as u32
                })
                .collect();
            state = state.wrapping_add(12_345);
            let tokens: Vec<String> = ids
                .iter()
                .map(|&id| TOKENS[id as usize].to_owned())
                .collect();
            let expected =
                match serde_json::from_value::<Option<DecoderWrapper>>(decoder.clone()).unwrap() {
                    Some(decoder) => decoder.decode(tokens.clone()).unwrap(),
                    None => tokens.join(" "),
                };
            assert_eq!(
                tokenizer.decode(&ids, false).unwrap(),
                expected,
                "{name}: {tokens:?}"
            );
        }
    }
}

#[test]
fn a_decoder_that_looks_ahead_is_refused_by_name() {
    let refused = [
        (
            json!({ "type": "BPEDecoder", "suffix": "</w>" }),
            "BPEDecoder",
        ),
        (
            json!({ "type": "CTC", "pad_token": "a", "word_delimiter_token": "|", "cleanup": true }),
            "CTC",
        ),
        (
            json!({ "type": "Sequence", "decoders": [{ "type": "Fuse" }, { "type": "Strip", "content": " ", "start": 0, "stop": 1 }] }),
            "strips the end",
        ),
        (
            json!({ "type": "Sequence", "decoders": [{ "type": "Fuse" }, { "type": "Replace", "pattern": { "String": "ab" }, "content": " " }] }),
            "replaces in the whole text",
        ),
    ];
    for (decoder, reason) in refused {
        let error = tokenizer(&[("decoder", decoder)]).err().unwrap();
        assert!(error.contains(reason), "{error}");
    }
}

fn split(pattern: &str) -> Value {
    json!({ "type": "Split", "pattern": { "Regex": pattern }, "behavior": "Isolated", "invert": false })
}

#[test]
fn an_expression_that_runs_out_of_steps_is_an_error_and_not_other_ids() {
    let catastrophic = tokenizer(&[("pre_tokenizer", split("(a|aa)+(?=b)$"))]).unwrap();
    assert!(catastrophic.encode("world", false).is_ok());
    let error = catastrophic.encode(&"a".repeat(5_000), false).unwrap_err();
    assert!(error.contains("cutting the text"), "{error}");
}

#[test]
fn a_long_run_of_white_space_is_cut_right_or_refused() {
    let byte_level = json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true });
    let tokenizer = tokenizer(&[("pre_tokenizer", byte_level)]).unwrap();
    assert!(
        tokenizer
            .encode(&format!("{}x", " ".repeat(100_000)), false)
            .is_ok()
    );
    let result = tokenizer.encode(&format!("{}x", " ".repeat(2_000_000)), false);
    assert!(result.is_err_and(|error| error.contains("cutting the text")));
}

#[test]
fn many_slow_matches_together_end_in_time() {
    // Each match looks through the rest of the text.
    let slow = tokenizer(&[("pre_tokenizer", split("a(?=(?:a)*c)|a"))]).unwrap();
    let start = std::time::Instant::now();
    let result = slow.encode(&"a".repeat(200_000), false);
    assert!(
        result.is_err(),
        "200,000 looks at 200,000 letters were not cut short"
    );
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
}

#[test]
fn a_word_piece_model_that_would_try_every_end_of_an_endless_word_is_refused() {
    let model = json!({ "type": "WordPiece", "vocab": { "[UNK]": 0 }, "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 1_000_000 });
    let error = tokenizer(&[("model", model)]).err().unwrap();
    assert!(error.contains("max_input_chars_per_word"), "{error}");
}
