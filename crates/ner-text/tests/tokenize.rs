//! Tests token offsets on text of every kind, settings in a tokenizer's files, and mentions to tags and back.

#![allow(clippy::unwrap_used, reason = "helpers of tests may unwrap as tests do")]

use ner_document::{Confidence, Document, LabelSet, Mention, Span, TagScheme, align};
use ner_text::{
    Aggregation, DocumentTokenizer, EncodedDocument, WindowSize, Word, mentions_from_probabilities, piece_labels,
};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;
use unicode_normalization::UnicodeNormalization;

const SPECIAL: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
const UNK: usize = 1;

/// Characters that text has: precomposed and decomposed letters, letters whose decomposition is several (Hangul) or
/// whose lower case is, scripts that run from right to left, CJK, symbols, digits, punctuation.
const VISIBLE: &str = "aBceé\u{c9}ñüßİΣσ\u{2126}\u{212b}µﬁ\u{5d0}\u{5d1}\u{639}\u{628}Ж中文ア한क़²½12-().,/%≠😀👩🔬";
/// Removed by the normaliser if it strips accents.
const MARKS: &str = "\u{301}\u{302}\u{327}\u{345}\u{5b0}\u{fe0f}";
/// Removed from every text: controls and formats, and the replacement character.
const REMOVED: &str = "\0\u{7f}\u{ad}\u{200b}\u{200d}\u{200e}\u{feff}\u{fffd}";
const SPACES: &str = " \t\r\n\u{a0}\u{2009}\u{3000}";
/// A character that no vocabulary has.
const UNKNOWN: char = 'Ж';

/// A tokenizer as its `tokenizer_config.json` describes it.
struct Setting {
    lower_case: bool,
    strip_accents: bool,
    vocabulary: Vec<String>,
    tokenizer: DocumentTokenizer,
}

impl Setting {
    fn new(lower_case: bool, strip_accents: bool) -> Self {
        let normal: BTreeSet<char> =
            normal_form(&format!("{VISIBLE}{MARKS}"), lower_case, strip_accents).chars().collect();
        let mut vocabulary: Vec<String> = SPECIAL.map(str::to_owned).into();
        vocabulary.extend(["ac", "##ac", "12", "##12"].map(str::to_owned));
        for char in normal.into_iter().filter(|char| !char.to_lowercase().eq(UNKNOWN.to_lowercase())) {
            vocabulary.extend([char.to_string(), format!("##{char}")]);
        }
        let folder = tempfile::tempdir().unwrap();
        write_vocabulary(folder.path(), &vocabulary);
        let config = json!({ "do_lower_case": lower_case, "strip_accents": strip_accents });
        fs::write(folder.path().join("tokenizer_config.json"), config.to_string()).unwrap();
        let tokenizer = DocumentTokenizer::from_folder(folder.path(), WindowSize::default()).unwrap();
        Self { lower_case, strip_accents, vocabulary, tokenizer }
    }

    fn normal_form(&self, text: &str) -> String {
        normal_form(text, self.lower_case, self.strip_accents)
    }
}

static SETTINGS: LazyLock<[Setting; 3]> =
    LazyLock::new(|| [Setting::new(true, true), Setting::new(false, false), Setting::new(true, false)]);

/// What BERT's normaliser makes of the characters above, said again without it.
fn normal_form(text: &str, lower_case: bool, strip_accents: bool) -> String {
    let kept = text.chars().filter(|&char| !REMOVED.contains(char));
    let kept: String = if strip_accents {
        kept.nfd().filter(|&char| !unicode_normalization::char::is_combining_mark(char)).collect()
    } else {
        kept.collect()
    };
    if lower_case { kept.chars().flat_map(char::to_lowercase).collect() } else { kept }
}

fn write_vocabulary(folder: &Path, pieces: &[impl AsRef<str>]) {
    let lines: String = pieces.iter().map(|piece| format!("{}\n", piece.as_ref())).collect();
    fs::write(folder.join("vocab.txt"), lines).unwrap();
}

fn encode(tokenizer: &DocumentTokenizer, text: &str) -> EncodedDocument {
    tokenizer.encode(&[Document::new("1", text)]).unwrap().remove(0)
}

/// Tokens are in text order. Two share a character only if it was decomposed and cut between them.
fn check_order(text: &str, encoded: &EncodedDocument) {
    let chars = text.chars().count();
    for token in &encoded.tokens {
        assert!(!token.span.is_empty() && token.span.end <= chars, "{token:?}");
    }
    for pair in encoded.tokens.windows(2) {
        let (left, right) = (pair[0], pair[1]);
        let one_character = left.word == right.word && left.span.end == right.span.start + 1;
        assert!(left.span.end <= right.span.start || one_character, "{left:?} {right:?}");
    }
    let words = &encoded.words;
    assert!(words.windows(2).all(|pair| pair[0].span.end <= pair[1].span.start), "{words:?}");
    assert_eq!(words.iter().map(|word| word.tokens.len()).sum::<usize>(), encoded.tokens.len());
}

/// The decisive offset test: the text at a token's offsets equals the token's piece.
fn check_offsets(setting: &Setting, text: &str) {
    let encoded = encode(&setting.tokenizer, text);
    check_order(text, &encoded);
    let chars: Vec<char> = text.chars().collect();
    let slice = |span: Span| chars[span.start..span.end].iter().collect::<String>();

    // Pieces of one character are compared together.
    let mut groups: Vec<(Span, Option<String>)> = Vec::new();
    for token in &encoded.tokens {
        let piece = &setting.vocabulary[token.id as usize];
        let piece = (token.id as usize != UNK).then(|| piece.trim_start_matches("##").to_owned());
        match groups.last_mut() {
            Some((span, whole)) if token.span.start < span.end => {
                span.end = token.span.end;
                *whole = whole.take().zip(piece).map(|(left, right)| left + &right);
            }
            _ => groups.push((token.span, piece)),
        }
    }
    for (span, piece) in &groups {
        let normal = setting.normal_form(&slice(*span));
        match piece {
            Some(piece) => assert_eq!(&normal, piece, "{span:?}"),
            None => assert!(normal.to_lowercase().contains(&UNKNOWN.to_lowercase().to_string()), "{normal} is known"),
        }
    }

    for (at, char) in chars.iter().enumerate() {
        let removed = char.is_whitespace() || setting.normal_form(&char.to_string()).is_empty();
        let covered = groups.iter().any(|(span, _)| span.covers(Span::new(at, at + 1)));
        assert!(removed || covered, "{char:?} at {at} belongs to no token");
    }
}

/// Text of the characters above, most of them visible.
fn texts() -> impl Strategy<Value = String> {
    let one_of = |chars: &str| prop::sample::select(chars.chars().collect::<Vec<char>>());
    let chars = prop_oneof![
        6 => one_of("acB12"), 6 => one_of(VISIBLE), 2 => one_of(MARKS), 1 => one_of(REMOVED), 2 => one_of(SPACES),
    ];
    prop::collection::vec(chars, 0..40).prop_map(|chars| chars.into_iter().collect())
}

/// Types and lengths in words of mentions, and the words between them.
fn gaps() -> impl Strategy<Value = Vec<(usize, usize, usize)>> {
    prop::collection::vec((0usize..3, 1usize..4, 0usize..2), 0..8)
}

/// Certainty of each piece's label, `[pieces, labels]`.
fn one_hot(ids: &[usize], labels: &LabelSet) -> Vec<f32> {
    ids.iter().flat_map(|&id| (0..labels.len()).map(move |label| f32::from(u8::from(label == id)))).collect()
}

#[test]
fn offsets_of_chosen_texts() {
    let texts = [
        "ace\u{301}c",
        "e\u{301}\u{302} e \u{301}",
        "a\u{200b}c1\u{ad}2",
        "a\r\nc\r\n",
        "한2",
        "1한",
        "İa \u{2126}1",
        "\u{5d0}\u{5d1}\u{5b0}\u{639} ac中文ac",
        "👩\u{200d}🔬😀\u{fe0f}",
        "\u{feff}a",
        "\u{301}",
        "",
    ];
    for setting in SETTINGS.iter() {
        for text in texts {
            check_offsets(setting, text);
        }
    }
    // The accent that was taken off belongs to its letter, and so to the mention.
    let spans: Vec<Span> = encode(&SETTINGS[0].tokenizer, "ace\u{301} ac").word_spans();
    assert_eq!(spans, [Span::new(0, 4), Span::new(5, 7)]);
}

proptest! {
    #[test]
    fn the_text_at_a_tokens_offsets_is_its_piece(text in texts()) {
        for setting in SETTINGS.iter() {
            check_offsets(setting, &text);
        }
    }

    #[test]
    fn tokens_of_any_text_are_in_order(text: String) {
        for setting in SETTINGS.iter() {
            check_order(&text, &encode(&setting.tokenizer, &text));
        }
    }

    #[test]
    fn mentions_on_word_boundaries_survive(text in texts(), gaps in gaps()) {
        let encoded = encode(&SETTINGS[0].tokenizer, &text);
        let (words, spans): (Vec<Word>, Vec<Span>) = (encoded.words.clone(), encoded.word_spans());
        let (mut at, mut mentions) = (0, Vec::new());
        for (gap, len, entity_type) in gaps {
            let (first, end) = (at + gap, at + gap + len);
            if end > spans.len() {
                break;
            }
            mentions.push(Mention::new(Span::new(spans[first].start, spans[end - 1].end), ["X", "Y"][entity_type]));
            at = end;
        }
        for scheme in [TagScheme::Bio, TagScheme::Bioes] {
            let labels = LabelSet::new(scheme, ["X", "Y"]);
            let alignment = align(&spans, &mentions, &labels);
            prop_assert!(alignment.misfits.is_empty());
            let pieces = piece_labels(&words, &alignment.entities, &labels);
            prop_assert_eq!(pieces.len(), encoded.tokens.len());
            let probabilities = one_hot(&pieces, &labels);
            let certain = |mention: &Mention| Mention { confidence: Confidence::new(1.0), ..mention.clone() };
            let mentions: Vec<Mention> = mentions.iter().map(certain).collect();
            let found = mentions_from_probabilities(&words, &probabilities, &labels, Aggregation::Together, false);
            prop_assert_eq!(&found, &mentions);
        }
    }
}

#[test]
fn truncation_and_padding_that_a_file_asks_for_are_ignored() {
    let tokenizer = &SETTINGS[0].tokenizer;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokenizer.json");
    tokenizer.save(&path).unwrap();
    let mut file: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!((&file["truncation"], &file["padding"]), (&Value::Null, &Value::Null));
    file["truncation"] = json!({ "direction": "Right", "max_length": 128, "strategy": "LongestFirst", "stride": 0 });
    file["padding"] = json!({
        "strategy": { "Fixed": 128 }, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0, "pad_type_id": 0,
        "pad_token": "[PAD]",
    });
    fs::write(&path, file.to_string()).unwrap();
    let asking = DocumentTokenizer::from_folder(folder.path(), WindowSize::default()).unwrap();
    for text in ["ac 12", "ac 12 ".repeat(400).as_str()] {
        let (plain, found) = (encode(tokenizer, text), encode(&asking, text));
        assert_eq!(found.tokens.len(), text.split(' ').filter(|word| !word.is_empty()).count());
        assert_eq!(found, plain);
    }
    // Nor does a saved tokenizer ask for them again.
    asking.save(&path).unwrap();
    let file: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!((&file["truncation"], &file["padding"]), (&Value::Null, &Value::Null));
}

/// Against numbers that `tokenize/make_golden.py` took from transformers.
#[test]
fn a_bare_vocabulary_is_read_as_transformers_reads_it() {
    let golden: Value = serde_json::from_str(include_str!("tokenize/golden.json")).unwrap();
    let texts: Vec<String> = serde_json::from_value(golden["texts"].clone()).unwrap();
    for case in golden["cases"].as_array().unwrap() {
        let vocabulary: Vec<String> = serde_json::from_value(case["vocab"].clone()).unwrap();
        let ids: Vec<Vec<u32>> = serde_json::from_value(case["ids"].clone()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        write_vocabulary(folder.path(), &vocabulary);
        if !case["config"].is_null() {
            fs::write(folder.path().join("tokenizer_config.json"), case["config"].to_string()).unwrap();
        }
        let tokenizer = DocumentTokenizer::from_folder(folder.path(), WindowSize::default()).unwrap();
        assert_eq!((tokenizer.specials(), tokenizer.offset(), tokenizer.mask_id()), (2, 1, Some(4)));
        for (text, expected) in texts.iter().zip(&ids) {
            let encoded = encode(&tokenizer, text);
            assert_eq!(&tokenizer.input_ids(&encoded, &encoded.windows[0]), expected, "{text:?} {}", case["config"]);
        }
    }
}

#[test]
fn a_folder_that_holds_no_tokenizer_is_an_error_that_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let error = || DocumentTokenizer::from_folder(folder.path(), WindowSize::default()).unwrap_err().to_string();
    assert!(error().contains("vocab.txt"), "{}", error());
    write_vocabulary(folder.path(), &["[PAD]", "[UNK]", "[CLS]", "a"]);
    assert!(error().ends_with("vocab.txt: missing token [SEP]"), "{}", error());
    fs::write(folder.path().join("tokenizer.json"), "{}").unwrap();
    assert!(error().contains("tokenizer.json: "), "{}", error());
}
