//! Cuts a text at the special and user-defined tokens that stand in it, longest token first.
//!
//! I1 A token is found anywhere in what longer ones have left, from left to right; of two with the same length the one
//!    with the smaller id goes first. So `abcd` wins over `xab` in `xabcd`, unlike leftmost-longest matching.
//! Source: llama.cpp, `llama_vocab::impl::tokenizer_st_partition`.

use std::ops::Range;

use aho_corasick::AhoCorasick;

/// Ten times the most of any published vocabulary: each that occurs costs a search of the text.
const MAX_NEEDLES: usize = 65_536;
/// Matches that are looked at to tell which needles occur, a byte of text. Real vocabularies nest some 30 deep.
const MATCHES_PER_BYTE: usize = 64;

#[derive(Debug, PartialEq)]
pub enum Fragment {
    /// Bytes of the text; never empty.
    Text(Range<usize>),
    Token(u32),
}

struct Needle {
    id: u32,
    text: String,
    /// White space behind it belongs to it.
    strips_right: bool,
}

pub struct Fragments {
    /// Longest first.
    needles: Vec<Needle>,
    /// Tells in one pass which needles occur at all, which is few of thousands.
    finder: Option<AhoCorasick>,
}

impl Fragments {
    /// `needles`: id, text and whether white space behind it goes with it. Texts are not empty.
    pub fn new(needles: Vec<(u32, String, bool)>) -> Result<Self, String> {
        if needles.len() > MAX_NEEDLES {
            let got = needles.len();
            return Err(format!(
                "{got} special and user-defined tokens, more than {MAX_NEEDLES}"
            ));
        }
        let mut needles: Vec<Needle> = needles
            .into_iter()
            .map(|(id, text, strips_right)| Needle {
                id,
                text,
                strips_right,
            })
            .collect();
        needles.sort_by(|a, b| b.text.len().cmp(&a.text.len()).then(a.id.cmp(&b.id)));
        let finder = if needles.is_empty() {
            None
        } else {
            let texts = needles.iter().map(|needle| needle.text.as_bytes());
            Some(AhoCorasick::new(texts).map_err(|error| error.to_string())?)
        };
        Ok(Self { needles, finder })
    }

    /// In the order of the text. Cost: O(text) and once more for each token that occurs.
    pub fn of(&self, text: &str) -> Vec<Fragment> {
        let mut fragments = Vec::new();
        if text.is_empty() {
            return fragments;
        }
        fragments.push(Fragment::Text(0..text.len()));
        let Some(finder) = &self.finder else {
            return fragments;
        };
        let mut occurs = vec![false; self.needles.len()];
        let most = MATCHES_PER_BYTE * text.len();
        for (count, found) in finder.find_overlapping_iter(text).enumerate() {
            if count >= most {
                // Needles that lie in each other without end: looking for each is cheaper than going on.
                occurs.fill(true);
                break;
            }
            occurs[found.pattern().as_usize()] = true;
        }
        for (needle, _) in self
            .needles
            .iter()
            .zip(&occurs)
            .filter(|(_, occurs)| **occurs)
        {
            fragments = cut(text, fragments, needle);
        }
        fragments
    }
}

fn cut(text: &str, fragments: Vec<Fragment>, needle: &Needle) -> Vec<Fragment> {
    let mut cut = Vec::with_capacity(fragments.len());
    for fragment in fragments {
        let Fragment::Text(range) = fragment else {
            cut.push(fragment);
            continue;
        };
        let mut start = range.start;
        while let Some(at) = text[start..range.end].find(&needle.text) {
            if at > 0 {
                cut.push(Fragment::Text(start..start + at));
            }
            cut.push(Fragment::Token(needle.id));
            start += at + needle.text.len();
            if needle.strips_right {
                let rest = &text[start..range.end];
                // C's `isspace`.
                start += rest.len()
                    - rest
                        .trim_start_matches([' ', '\t', '\n', '\x0b', '\x0c', '\r'])
                        .len();
            }
        }
        if start < range.end {
            cut.push(Fragment::Text(start..range.end));
        }
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fragments(needles: &[(&str, bool)], text: &str) -> Vec<String> {
        let needles = (0..)
            .zip(needles)
            .map(|(id, (text, strips))| (id, (*text).to_owned(), *strips));
        let fragments = Fragments::new(needles.collect()).unwrap().of(text);
        let show = |fragment: Fragment| match fragment {
            Fragment::Text(range) => text[range].to_owned(),
            Fragment::Token(id) => format!("#{id}"),
        };
        fragments.into_iter().map(show).collect()
    }

    #[test]
    fn longer_tokens_go_first_wherever_they_stand() {
        assert_eq!(
            fragments(&[("xab", false), ("abcd", false)], "xabcd"),
            ["x", "#1"]
        );
        assert_eq!(
            fragments(&[("a", false), ("aa", false)], "aaa"),
            ["#1", "#0"]
        );
        assert_eq!(
            fragments(&[("<s>", false)], "<s><s>x<s>"),
            ["#0", "#0", "x", "#0"]
        );
        assert_eq!(fragments(&[("<s>", false)], "<s"), ["<s"]);
        assert_eq!(fragments(&[("<s>", false)], ""), [""; 0]);
    }

    #[test]
    fn needles_that_lie_in_each_other_without_end_are_found_in_time() {
        let needles = (1..=2_000u32).map(|len| (len, "a".repeat(len as usize), false));
        let needles = needles.chain([(0, "never".to_owned(), false)]).collect();
        let start = std::time::Instant::now();
        let found = Fragments::new(needles).unwrap().of(&"a".repeat(200_001));
        assert_eq!(found.len(), 101);
        assert_eq!(found.last(), Some(&Fragment::Token(1)));
        assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
        let many = (0..=MAX_NEEDLES as u32).map(|id| (id, format!("<{id}>"), false));
        assert!(Fragments::new(many.collect()).is_err());
    }

    #[test]
    fn white_space_behind_a_token_goes_with_it_where_it_says_so() {
        assert_eq!(
            fragments(&[("<u>", true)], "a <u> \n\u{a0} b<u> "),
            ["a ", "#0", "\u{a0} b", "#0"]
        );
    }
}
