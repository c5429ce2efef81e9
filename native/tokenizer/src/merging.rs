//! Merging of characters into pieces by score: the pair whose joined text is the best piece first, leftmost among equals.
//!
//! Source: llama.cpp, `llm_tokenizer_spm_session`; sentencepiece, `bpe_model.cc`.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// The id and score of a piece, or nothing for a text that is none.
pub trait PieceLookup {
    fn piece(&self, text: &str) -> Option<(u32, f32)>;
    /// Bytes; no piece is longer.
    fn longest(&self) -> usize;
}

/// A run of bytes of the text, in a list linked both ways. Merged into its left neighbour it is empty.
struct Symbol {
    start: usize,
    len: usize,
    previous: Option<usize>,
    next: Option<usize>,
}

/// Two neighbours that would make a piece. Stale when one of them has changed since.
struct Pair {
    score: f32,
    left: usize,
    right: usize,
    len: usize,
}

impl Ord for Pair {
    /// Greatest is merged first. No score is NaN, by the check of the vocabulary.
    fn cmp(&self, other: &Self) -> Ordering {
        let by_score = self
            .score
            .partial_cmp(&other.score)
            .unwrap_or(Ordering::Equal);
        by_score.then(other.left.cmp(&self.left))
    }
}

impl PartialOrd for Pair {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Pair {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Pair {}

/// Calls `emit` for each run that is left, in order: a piece's id, or `None` and the text of a character that is no piece.
///
/// Cost: O(n log n) for n bytes.
pub fn merge(text: &str, pieces: &impl PieceLookup, mut emit: impl FnMut(Option<u32>, &str)) {
    let mut symbols = symbols_of(text);
    let mut queue = BinaryHeap::new();
    for right in 1..symbols.len() {
        queue.extend(pair_at(text, pieces, &symbols, right - 1, right));
    }
    while let Some(Pair {
        left, right, len, ..
    }) = queue.pop()
    {
        let (left_len, right_len) = (symbols[left].len, symbols[right].len);
        if left_len == 0 || right_len == 0 || left_len + right_len != len {
            continue;
        }
        symbols[left].len = len;
        symbols[right].len = 0;
        let next = symbols[right].next;
        symbols[left].next = next;
        if let Some(next) = next {
            symbols[next].previous = Some(left);
            queue.extend(pair_at(text, pieces, &symbols, left, next));
        }
        if let Some(previous) = symbols[left].previous {
            queue.extend(pair_at(text, pieces, &symbols, previous, left));
        }
    }
    for symbol in symbols.iter().filter(|symbol| symbol.len > 0) {
        let run = &text[symbol.start..symbol.start + symbol.len];
        emit(pieces.piece(run).map(|(id, _)| id), run);
    }
}

/// One a character.
fn symbols_of(text: &str) -> Vec<Symbol> {
    let mut symbols: Vec<Symbol> = text
        .char_indices()
        .enumerate()
        .map(|(index, (start, character))| Symbol {
            start,
            len: character.len_utf8(),
            previous: index.checked_sub(1),
            next: Some(index + 1),
        })
        .collect();
    if let Some(last) = symbols.last_mut() {
        last.next = None;
    }
    symbols
}

fn pair_at(
    text: &str,
    pieces: &impl PieceLookup,
    symbols: &[Symbol],
    left: usize,
    right: usize,
) -> Option<Pair> {
    let start = symbols[left].start;
    let len = symbols[left].len + symbols[right].len;
    if len > pieces.longest() {
        return None;
    }
    let (_, score) = pieces.piece(&text[start..start + len])?;
    Some(Pair {
        score,
        left,
        right,
        len,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    struct Table(HashMap<String, (u32, f32)>);

    impl PieceLookup for Table {
        fn piece(&self, text: &str) -> Option<(u32, f32)> {
            self.0.get(text).copied()
        }

        fn longest(&self) -> usize {
            self.0.keys().map(String::len).max().unwrap_or(0)
        }
    }

    /// The definition: look at all neighbours, merge the best, begin again.
    fn merge_slowly(text: &str, pieces: &Table) -> Vec<String> {
        let mut runs: Vec<String> = text.chars().map(String::from).collect();
        loop {
            let mut best: Option<(usize, f32)> = None;
            for left in 0..runs.len().saturating_sub(1) {
                let joined = format!("{}{}", runs[left], runs[left + 1]);
                if let Some((_, score)) = pieces.piece(&joined)
                    && best.is_none_or(|(_, most)| score > most)
                {
                    best = Some((left, score));
                }
            }
            let Some((left, _)) = best else {
                return runs;
            };
            let right = runs.remove(left + 1);
            runs[left].push_str(&right);
        }
    }

    #[test]
    fn the_queue_merges_what_looking_at_all_neighbours_merges() {
        let mut state = 1u32;
        let mut below = |limit: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) % limit
        };
        for round in 0..2_000 {
            let word = |length: u32, below: &mut dyn FnMut(u32) -> u32| -> String {
                (0..length)
                    .map(|_| ['a', 'b', 'é'][below(3) as usize])
                    .collect()
            };
            let mut pieces = HashMap::new();
            for id in 0..2 + below(12) {
                // Few scores, so that many are equal.
                let score = below(4) as f32;
                let length = 1 + below(5);
                pieces.insert(word(length, &mut below), (id, score));
            }
            let table = Table(pieces);
            let length = below(14);
            let text = word(length, &mut below);
            let mut runs = Vec::new();
            merge(&text, &table, |id, run| {
                assert_eq!(id, table.piece(run).map(|(id, _)| id));
                runs.push(run.to_owned());
            });
            assert_eq!(
                runs,
                merge_slowly(&text, &table),
                "round {round}: {text} {:?}",
                table.0
            );
        }
    }
}
