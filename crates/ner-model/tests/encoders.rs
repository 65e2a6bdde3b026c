//! Each kind of encoder and each file layout, compared with transformers' numbers; offsets of byte-level BPE.
//!
//! `encoders/make_golden.py` made the models and the numbers.

#![allow(clippy::unwrap_used, reason = "helpers of tests may unwrap as tests do")]

use ner_document::{Document, LabelSet, Span, TagScheme};
use ner_model::checkpoint;
use ner_model::{
    Batch, Bert, Head, InferenceConfig, Pretrained, TokenClassifier, load_classifier, load_encoder, save_classifier,
};
use ner_text::{DocumentTokenizer, EncodedDocument, WindowSize};
use proptest::prelude::*;
use serde_json::Value;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use tch::{Kind, Tensor, no_grad};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/encoders").join(name)
}

fn golden() -> Value {
    serde_json::from_str(&std::fs::read_to_string(folder("golden.json")).unwrap()).unwrap()
}

fn labels() -> LabelSet {
    LabelSet::new(TagScheme::Bio, ["Chemical", "Disease"])
}

fn text_encoder(folder: &Path) -> DocumentTokenizer {
    DocumentTokenizer::from_folder(folder, WindowSize { max_tokens: 100, overlap: 10, packed: 100 }).unwrap()
}

fn texts(case: &Value) -> Vec<String> {
    serde_json::from_value(case["texts"].clone()).unwrap()
}

/// Our tokenizer's rows for the golden texts, which must equal transformers'.
fn rows(folder: &Path, case: &Value) -> Vec<Vec<u32>> {
    let encoder = text_encoder(folder);
    let documents: Vec<Document> = texts(case).iter().map(|text| Document::new("1", text)).collect();
    let encoded = encoder.encode(&documents).unwrap();
    let rows: Vec<Vec<u32>> =
        encoded.iter().map(|document| encoder.input_ids(document, &document.windows[0])).collect();
    let expected: Vec<Vec<u32>> = serde_json::from_value(case["ids"].clone()).unwrap();
    assert_eq!(rows, expected, "{}", folder.display());
    rows
}

fn check(output: &Tensor, rows: &[Vec<u32>], expected: &Value, what: &str) {
    let expected: Vec<Vec<Vec<f64>>> = serde_json::from_value(expected.clone()).unwrap();
    for ((at, row), expected) in rows.iter().enumerate().zip(expected) {
        let found = output.get(at as i64).narrow(0, 0, row.len() as i64).contiguous().view(-1);
        let found = Vec::<f64>::try_from(found.to_kind(Kind::Double)).unwrap();
        let expected = expected.concat();
        assert_eq!(found.len(), expected.len());
        let gap = found.iter().zip(&expected).map(|(left, right)| (left - right).abs()).fold(0.0, f64::max);
        assert!(gap < 1e-4 && found.iter().all(|number| number.is_finite()), "{what}, row {at}: {gap}");
    }
}

#[test]
fn each_kind_gives_the_logits_of_transformers() {
    let golden = golden();
    for kind in ["roberta", "electra", "distilbert"] {
        let rows = rows(&folder(kind), &golden[kind]);
        let (model, read, _) = load_classifier(&folder(kind)).unwrap();
        assert_eq!((read, model.unexpected.len()), (labels(), 0), "{kind}");
        let classifier = TokenClassifier::new(&model.config, &model.parameters).unwrap();
        let logits = no_grad(|| classifier.forward(&Batch { rows: rows.clone() }, Kind::Float, None));
        check(&logits, &rows, &golden[kind]["logits"], kind);
    }
}

#[test]
fn each_biomedical_layout_gives_the_hidden_states_of_transformers() {
    let golden = golden();
    for (name, unexpected) in
        [("biobert", "pooler"), ("clinicalbert", "bert.pooler cls."), ("pubmedbert", "bert.pooler cls.")]
    {
        let rows = rows(&folder(name), &golden[name]);
        let (config, weights) = (folder(name).join("config.json"), folder(name).join("pytorch_model.bin"));
        let model = load_encoder(&config, &weights, &labels(), Head::Token, 1).unwrap();
        let is_known = |left_over: &String| unexpected.split(' ').any(|start| left_over.starts_with(start));
        assert!(!model.unexpected.is_empty() && model.unexpected.iter().all(is_known), "{:?}", model.unexpected);
        let encoder = Bert::new(&model.config, &model.parameters).unwrap();
        let hidden = no_grad(|| encoder.forward(&Batch { rows: rows.clone() }, Kind::Float, None));
        check(&hidden, &rows, &golden[name]["hidden"], name);
    }
}

#[test]
fn a_run_of_each_kind_is_saved_with_the_names_of_its_kind_and_comes_back() {
    for (kind, class, tensor) in [
        ("roberta", "Roberta", "roberta.encoder.layer.1.attention.self.query.weight"),
        ("electra", "Electra", "electra.embeddings_project.weight"),
        ("distilbert", "DistilBert", "distilbert.transformer.layer.1.attention.q_lin.weight"),
    ] {
        for head in [Head::Token, Head::Span { longest: 5 }] {
            let (config, weights) = (folder(kind).join("config.json"), folder(kind).join("model.safetensors"));
            let Pretrained { config_json, parameters, config, .. } =
                load_encoder(&config, &weights, &labels(), head, 3).unwrap();
            let to = tempfile::tempdir().unwrap();
            let reading = InferenceConfig { head, ..InferenceConfig::default() };
            save_classifier(to.path(), &config_json, &labels(), &reading, &parameters).unwrap();
            let written: Value =
                serde_json::from_str(&std::fs::read_to_string(to.path().join("config.json")).unwrap()).unwrap();
            let suffix = if head == Head::Token { "ForTokenClassification" } else { "Model" };
            assert_eq!(written["architectures"][0], format!("{class}{suffix}"));
            assert_eq!(written["model_type"], kind);
            let file = checkpoint::read(&to.path().join("model.safetensors")).unwrap();
            assert!(file.names().any(|name| name == tensor), "{kind} has no {tensor}");
            let (read, _, _) = load_classifier(to.path()).unwrap();
            assert_eq!((read.config, read.unexpected.len()), (config, 0));
            for ((name, tensor), (read_name, read)) in parameters.iter().zip(read.parameters.iter()) {
                assert_eq!((read_name, read.equal(tensor)), (name, true));
            }
        }
    }
}

#[test]
fn positions_of_roberta_begin_behind_that_of_padding_and_missing_weights_go_by_its_names() {
    let (model, _, reading) = load_classifier(&folder("roberta")).unwrap();
    assert_eq!((model.config.max_position_embeddings, model.config.max_tokens()), (100, 98));
    assert_eq!(reading.window.max_tokens, 98);
    let to = tempfile::tempdir().unwrap();
    std::fs::copy(folder("electra").join("config.json"), to.path().join("config.json")).unwrap();
    std::fs::copy(folder("distilbert").join("model.safetensors"), to.path().join("model.safetensors")).unwrap();
    let message = load_classifier(to.path()).unwrap_err().to_string();
    assert!(message.contains("electra.embeddings.word_embeddings.weight"), "{message}");
}

/// Trims white space from a range.
fn trimmed(chars: &[char], span: Span) -> Span {
    let Span { mut start, mut end } = span;
    while start < end && chars[start].is_whitespace() {
        start += 1;
    }
    while start < end && chars[end - 1].is_whitespace() {
        end -= 1;
    }
    Span::new(start, end)
}

#[test]
fn offsets_of_byte_level_bpe_are_those_of_transformers_without_white_space() {
    let golden = golden();
    for (name, case) in golden["bpe"].as_object().unwrap() {
        let from = if name == "bare" { folder("roberta") } else { folder("tokenizers").join(name) };
        let encoder = text_encoder(&from);
        let offsets: Vec<Vec<(usize, usize)>> = serde_json::from_value(case["offsets"].clone()).unwrap();
        let ids: Vec<Vec<u32>> = serde_json::from_value(case["ids"].clone()).unwrap();
        for ((text, offsets), ids) in texts(case).iter().zip(&offsets).zip(&ids) {
            let encoded = encode(&encoder, text);
            let chars: Vec<char> = text.chars().collect();
            check_words(&chars, &encoded);
            let spans: Vec<Span> = offsets.iter().map(|&(start, end)| trimmed(&chars, Span::new(start, end))).collect();
            if spans.iter().all(|span| span.is_empty()) {
                assert!(encoded.tokens.is_empty() && encoded.windows.is_empty());
                continue;
            }
            assert_eq!(encoder.input_ids(&encoded, &encoded.windows[0]), *ids, "{name} {text:?}");
            for (token, span) in encoded.tokens.iter().zip(spans) {
                let is_same = token.span == span || (token.span.is_empty() && span.is_empty());
                assert!(is_same, "{name} {text:?}: {token:?} {span}");
            }
        }
    }
    // White space alone belongs to the word before it, a prefix to its word. Text behind a break starts a line, except
    // for the first word, which continues nothing.
    let words = encode(&text_encoder(&folder("roberta")), "\n Na\n\n 5-HT2  fever").words;
    let found: Vec<_> = words.iter().map(|word| (word.span.start, word.span.end, word.starts_line)).collect();
    let expected = [(2, 4, false), (7, 8, true), (8, 9, false), (9, 11, false), (11, 12, false), (14, 19, false)];
    assert_eq!(found, expected);
}

fn encode(encoder: &DocumentTokenizer, text: &str) -> EncodedDocument {
    encoder.encode(&[Document::new("1", text)]).unwrap().remove(0)
}

/// Words are in order and not empty, and do not start or end with white space.
fn check_words(chars: &[char], encoded: &EncodedDocument) {
    let words = &encoded.words;
    assert!(words.windows(2).all(|pair| pair[0].span.end <= pair[1].span.start), "{words:?}");
    assert!(words.iter().all(|word| !word.span.is_empty() && trimmed(chars, word.span) == word.span), "{words:?}");
    assert_eq!(words.iter().map(|word| word.tokens.len()).sum::<usize>(), encoded.tokens.len());
    let visible = (0..chars.len()).filter(|&at| !chars[at].is_whitespace());
    for at in visible {
        assert!(words.iter().any(|word| word.span.covers(Span::new(at, at + 1))), "{:?} belongs to no word", chars[at]);
    }
}

/// The characters that stand for bytes in a byte-level vocabulary (Radford et al. 2019): printable ones for themselves,
/// the others from U+0100 on.
fn bytes_by_char() -> HashMap<char, u8> {
    let is_plain = |byte: &u8| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    let others = (0..=255u8).filter(|byte| !is_plain(byte));
    let moved = others.zip(256..).map(|(byte, code)| (char::from_u32(code).unwrap(), byte));
    (0..=255u8).filter(is_plain).map(|byte| (char::from(byte), byte)).chain(moved).collect()
}

/// The bytes of each piece of the vocabulary; the special ones are text.
static PIECES: LazyLock<HashMap<u32, Vec<u8>>> = LazyLock::new(|| {
    let text = std::fs::read_to_string(folder("roberta/vocab.json")).unwrap();
    let vocabulary: HashMap<String, u32> = serde_json::from_str(&text).unwrap();
    let bytes = bytes_by_char();
    vocabulary.into_iter().map(|(piece, id)| (id, piece.chars().map(|char| bytes[&char]).collect())).collect()
});

static ENCODERS: LazyLock<[DocumentTokenizer; 3]> = LazyLock::new(|| {
    ["roberta", "tokenizers/prefix-true-trim-true", "tokenizers/prefix-true-trim-false"]
        .map(|name| text_encoder(&folder(name)))
});

/// The decisive test of offsets: the text at a token's offsets is the token's piece. Pieces of one
/// character are compared together.
fn check_offsets(encoder: &DocumentTokenizer, text: &str) {
    let encoded = encode(encoder, text);
    let chars: Vec<char> = text.chars().collect();
    check_words(&chars, &encoded);
    let mut groups: Vec<(Span, Vec<u8>)> = Vec::new();
    for token in encoded.tokens.iter().filter(|token| !token.span.is_empty()) {
        let piece = PIECES[&token.id].clone();
        match groups.last_mut() {
            Some((span, whole)) if token.span.start < span.end => {
                span.end = span.end.max(token.span.end);
                whole.extend(piece);
            }
            _ => groups.push((token.span, piece)),
        }
    }
    for (span, bytes) in groups {
        let slice: String = chars[span.start..span.end].iter().collect();
        let said = String::from_utf8(bytes).unwrap();
        assert_eq!(said.trim(), slice, "{text:?} at {span}");
    }
}

proptest! {
    #[test]
    fn the_text_at_the_offsets_of_byte_level_bpe_is_its_piece(
        chosen in prop::collection::vec(prop::sample::select(
            "aNlox125βé中한😀\u{301}\u{200d} \n\t\u{a0}\u{3000}\u{85}'-<>".chars().collect::<Vec<char>>(),
        ), 0..40),
        any: String,
    ) {
        for encoder in ENCODERS.iter() {
            check_offsets(encoder, &chosen.iter().collect::<String>());
            check_offsets(encoder, &any);
        }
    }
}
