//! Splits text into word pieces, with a cache of stretches split before.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use tokenizers::{NormalizerWrapper, PreTokenizerWrapper, Tokenizer};

/// A word piece, as the tokenizers library makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Number in the vocabulary.
    pub id: u32,
    /// Its first character.
    pub start: usize,
    /// The character after its last.
    pub end: usize,
    /// Number of its pre-token; `None` for tokens that are matched verbatim in the text.
    pub pre_token: Option<u32>,
}

/// Cached stretches of text between white space, with their pieces. Positions count from the start of the stretch.
///
/// BERT's normaliser and pre-tokenizer never look beyond white space, so each stretch can be split separately. Most
/// stretches of a text have occurred before: an abstract takes a sixth of the time that the library needs for the whole
/// text.
#[derive(Debug)]
struct Cache {
    stretches: RwLock<HashMap<Box<str>, Arc<[Piece]>>>,
    /// Tokens that are matched verbatim in any context (`[MASK]`). A text that contains one is split as a whole.
    verbatim: Vec<String>,
}

impl Cache {
    /// Maximum number of cached stretches, a few megabytes. The first ones are kept, since frequent stretches come
    /// early.
    const MOST: usize = 1 << 15;
    /// Maximum length of a cached stretch, in bytes.
    const LONGEST: usize = 48;
    /// Separators of stretches: white space for BERT and in every normal form.
    const SPACES: [char; 4] = [' ', '\t', '\n', '\r'];

    /// `None` if stretches cannot be split separately.
    fn of(tokenizer: &Tokenizer) -> Option<Self> {
        let is_separable = matches!(tokenizer.get_normalizer(), Some(NormalizerWrapper::BertNormalizer(_)))
            && matches!(tokenizer.get_pre_tokenizer(), Some(PreTokenizerWrapper::BertPreTokenizer(_)));
        let added = tokenizer.get_added_tokens_decoder();
        // Other added tokens are matched in the normalised text, which may contain them where the original does not.
        let are_verbatim = added.values().all(|token| !token.normalized);
        (is_separable && are_verbatim).then(|| Self {
            stretches: RwLock::default(),
            verbatim: added.into_values().map(|token| token.content).collect(),
        })
    }
}

/// A tokenizer without special tokens.
#[derive(Clone, Debug)]
pub struct WordPieces {
    tokenizer: Tokenizer,
    /// Shared by clones.
    cache: Option<Arc<Cache>>,
    /// The piece of SentencePiece that stands for a space alone, and the character that it is written with.
    space: Option<(u32, char)>,
    has_metaspace: bool,
}

impl WordPieces {
    pub fn new(tokenizer: Tokenizer) -> Self {
        let replacement = tokenizer.get_pre_tokenizer().and_then(metaspace);
        let space = replacement.and_then(|space| Some((tokenizer.token_to_id(&space.to_string())?, space)));
        Self { cache: Cache::of(&tokenizer).map(Arc::new), space, has_metaspace: replacement.is_some(), tokenizer }
    }

    /// Whether pre-tokens are cut at spaces only, punctuation included, as SentencePiece does.
    pub const fn has_metaspace(&self) -> bool {
        self.has_metaspace
    }

    pub const fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The pieces of a text, in order.
    ///
    /// # Errors
    /// If the library fails.
    pub fn of(&self, text: &str) -> tokenizers::Result<Vec<Piece>> {
        match &self.cache {
            Some(cache) if cache.verbatim.iter().all(|token| !text.contains(token.as_str())) => {
                self.by_stretches(text, cache)
            }
            _ => self.cut(text),
        }
    }

    /// Splits the whole text with the library.
    fn cut(&self, text: &str) -> tokenizers::Result<Vec<Piece>> {
        let encoding = self.tokenizer.encode_char_offsets(text, false)?;
        let rows = encoding.get_ids().iter().zip(encoding.get_offsets()).zip(encoding.get_word_ids());
        let mut pieces: Vec<Piece> =
            rows.map(|((&id, &(start, end)), &pre_token)| Piece { id, start, end, pre_token }).collect();
        if let Some((space, written)) = self.space {
            // A space that the pre-tokenizer has put before a word gets the place of the word's first character.
            let chars: Vec<char> = text.chars().collect();
            let added = |piece: &&mut Piece| piece.id == space && chars.get(piece.start) != Some(&written);
            pieces.iter_mut().filter(added).for_each(|piece| piece.end = piece.start);
        }
        Ok(pieces)
    }

    fn by_stretches(&self, text: &str, cache: &Cache) -> tokenizers::Result<Vec<Piece>> {
        let mut fresh: HashMap<&str, Arc<[Piece]>> = HashMap::new();
        // If another thread panicked, the entries that it left are still complete.
        let known = cache.stretches.read().unwrap_or_else(PoisonError::into_inner);
        let mut pieces: Vec<Piece> = Vec::with_capacity(text.len() / 4);
        let (mut at, mut pre_tokens) = (0, 0);
        for stretch in text.split(Cache::SPACES) {
            let cut = match known.get(stretch).or_else(|| fresh.get(stretch)) {
                Some(cut) => Arc::clone(cut),
                None => {
                    let cut: Arc<[Piece]> = self.cut(stretch)?.into();
                    fresh.insert(stretch, Arc::clone(&cut));
                    cut
                }
            };
            let before = pre_tokens;
            for piece in cut.iter() {
                let pre_token = piece.pre_token.map(|number| number + before);
                pre_tokens = pre_token.map_or(pre_tokens, |number| number + 1);
                pieces.push(Piece { id: piece.id, start: piece.start + at, end: piece.end + at, pre_token });
            }
            at += stretch.chars().count() + 1;
        }
        let is_full = known.len() >= Cache::MOST;
        drop(known);
        fresh.retain(|stretch, _| stretch.len() <= Cache::LONGEST);
        if !fresh.is_empty() && !is_full {
            let mut known = cache.stretches.write().unwrap_or_else(PoisonError::into_inner);
            known.extend(fresh.into_iter().map(|(stretch, cut)| (stretch.into(), cut)));
        }
        Ok(pieces)
    }
}

/// The character with which a pre-tokenizer replaces spaces, if it does so.
fn metaspace(pre_tokenizer: &PreTokenizerWrapper) -> Option<char> {
    match pre_tokenizer {
        PreTokenizerWrapper::Metaspace(metaspace) => Some(metaspace.get_replacement()),
        PreTokenizerWrapper::Sequence(parts) => parts.as_ref().iter().find_map(metaspace),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tokenizers::AddedToken;
    use tokenizers::models::wordpiece::WordPiece;
    use tokenizers::normalizers::BertNormalizer;
    use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
    use tokenizers::pre_tokenizers::byte_level::ByteLevel;

    fn tokenizer(lower_case: bool) -> Tokenizer {
        const PIECES: [&str; 15] =
            ["[UNK]", "[MASK]", "a", "##a", "b", "##b", "ab", "e", "##e", "1", "##1", ".", "-", "[", "]"];
        let vocabulary: [(String, u32); PIECES.len()] = std::array::from_fn(|at| (PIECES[at].to_owned(), at as u32));
        let model = WordPiece::builder().vocab(vocabulary).unk_token("[UNK]".into());
        let mut tokenizer = Tokenizer::new(model.build().unwrap());
        tokenizer.with_normalizer(Some(BertNormalizer::new(true, true, None, lower_case)));
        tokenizer.with_pre_tokenizer(Some(BertPreTokenizer));
        tokenizer.add_special_tokens(&[AddedToken::from("[MASK]", true)]);
        tokenizer
    }

    proptest! {
        #[test]
        fn stretches_make_the_pieces_of_the_whole(
            parts in prop::collection::vec("[aAbBéE1 .\t\n\r\u{301}\u{a0}\u{200b}\0\u{7f}中İΣß한-]{0,6}|\\[MASK\\]|\\PC{1,3}", 0..12),
            lower_case in any::<bool>(),
        ) {
            let pieces = WordPieces::new(tokenizer(lower_case));
            let text = parts.concat();
            let whole = pieces.cut(&text).unwrap();
            // Twice: the second time everything comes from the cache.
            for _ in 0..2 {
                let found = pieces.of(&text).unwrap();
                let without_number = |pieces: &[Piece]| -> Vec<Piece> {
                    pieces.iter().map(|piece| Piece { pre_token: None, ..*piece }).collect()
                };
                prop_assert_eq!(without_number(&found), without_number(&whole));
                let together = |pieces: &[Piece]| -> Vec<(bool, bool)> {
                    let same = |pair: &[Piece]| pair[0].pre_token == pair[1].pre_token;
                    pieces.windows(2).map(|pair| (same(pair), pair[0].pre_token.is_some())).collect()
                };
                prop_assert_eq!(together(&found), together(&whole));
            }
        }
    }

    #[test]
    fn tokenizers_that_look_beyond_white_space_cut_whole_texts() {
        let mut other = tokenizer(true);
        other.with_pre_tokenizer(Some(ByteLevel::default()));
        assert!(WordPieces::new(tokenizer(true)).cache.is_some() && WordPieces::new(other).cache.is_none());
        let mut normalised = tokenizer(true);
        normalised.add_tokens(&[AddedToken::from("a b", false)]);
        assert!(WordPieces::new(normalised).cache.is_none());
    }
}
