//! A model with its tokenizer: offsets in any text, results independent of batches and windows, models from elsewhere.

#![allow(clippy::unwrap_used, reason = "helpers of tests may unwrap as tests do")]

use ner_document::{CharIndex, Document, Mention};
use ner_model::{InferenceConfig, NameEncoder, Recognizer, load_classifier, save_classifier};
use ner_text::{Aggregation, EncodedDocument, ModelOutput, WindowSize};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::sync::{LazyLock, Mutex};
use tch::{Device, Kind};

/// A folder with the tiny classifier of the golden files, a vocabulary, and a config.json modified by `change`.
fn folder(change: impl FnOnce(&mut Value)) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/gelu");
    fs::copy(golden.join("model.safetensors"), folder.path().join("model.safetensors")).unwrap();
    let mut config: Value = serde_json::from_slice(&fs::read(golden.join("config.json")).unwrap()).unwrap();
    change(&mut config);
    fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    let mut pieces: Vec<String> = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].map(str::to_owned).into();
    pieces.extend("abcdefghijklmnopqr".chars().flat_map(|char| [char.to_string(), format!("##{char}")]));
    pieces.extend("0123456789.,-()%😀中é/:;".chars().map(String::from).take(60 - pieces.len()));
    fs::write(folder.path().join("vocab.txt"), pieces.join("\n")).unwrap();
    folder
}

fn load(folder: &tempfile::TempDir) -> Recognizer {
    Recognizer::load(folder.path(), Device::Cpu, Kind::Float).unwrap()
}

/// The golden model finds few mentions; here `O` is less probable.
fn eager(reading: &InferenceConfig) -> Recognizer {
    let folder = folder(|_| {});
    let (model, labels, _) = load_classifier(folder.path()).unwrap();
    let weights = model.parameters.with_offsets(&[-1.0, 0.0, 0.0, 0.0, 0.0]).unwrap();
    save_classifier(folder.path(), &model.config_json, &labels, reading, &weights).unwrap();
    load(&folder)
}

fn windows(max_tokens: usize, overlap: usize, packed: usize) -> InferenceConfig {
    InferenceConfig { window: WindowSize { max_tokens, overlap, packed }, ..InferenceConfig::default() }
}

/// Windows of sentences; a tensor is not shared between threads.
static SENTENCES: LazyLock<Mutex<Recognizer>> = LazyLock::new(|| Mutex::new(eager(&windows(40, 8, 1))));

fn texts() -> impl Strategy<Value = String> {
    let pieces = vec![
        "abc ",
        "de",
        "fg1",
        "b",
        ". ",
        "Ab",
        "\t",
        "\r\n",
        "\n\n",
        "\u{c}",
        "\u{200b}",
        "\u{feff}",
        "e\u{301}",
        "É",
        "👩\u{200d}🔬",
        "😀",
        "中文",
        "한",
        "ﬁ",
        "İ",
        "\u{202e}",
        "\u{0}",
        " ",
        "\u{a0}",
        "-",
        "12",
        "(",
    ];
    let piece = prop_oneof![9 => proptest::sample::select(pieces).prop_map(str::to_owned), 1 => any::<char>().prop_map(String::from)];
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

#[test]
fn a_name_has_beside_others_the_vector_that_it_has_alone() {
    let folder = folder(|_| {});
    let names = ["a", "abc bcd", "b, c", "abcdefghijklmnop", "a", "0123 (abc)"];
    for kind in [Kind::Float, Kind::BFloat16] {
        let encoder = NameEncoder::load(folder.path(), Device::Cpu, kind).unwrap();
        let together = encoder.vectors(&names).unwrap();
        for (name, vector) in names.iter().zip(together.chunks_exact(encoder.hidden_size())) {
            let alone = encoder.vectors(&[name]).unwrap();
            assert_eq!(alone, vector, "{kind:?} {name}");
            assert!((vector.iter().map(|value| value * value).sum::<f32>() - 1.0).abs() < 1e-4);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn mentions_are_slices_of_the_text_apart_and_in_order(text in texts()) {
        let mentions = SENTENCES.lock().unwrap().annotate(&text).unwrap();
        let index = CharIndex::new(&text);
        let mut end = 0;
        for mention in &mentions {
            let slice = index.slice(&text, mention.span()).unwrap();
            prop_assert!(!slice.is_empty() && slice.trim() == slice);
            prop_assert!(mention.span().start >= end);
            prop_assert!((0.0..=1.0).contains(&mention.confidence.unwrap().value()));
            end = mention.span().end;
        }
    }

    #[test]
    fn a_batch_gives_what_its_documents_give_alone(texts in prop::collection::vec(texts(), 1..5)) {
        let recognizer = SENTENCES.lock().unwrap();
        let documents: Vec<Document> = texts.iter().map(|text| Document::new("x", text)).collect();
        let together = recognizer.mentions(&recognizer.tokenizer().encode(&documents).unwrap(), |_| {});
        // Tokenized one by one, then joined.
        let apart: Vec<_> =
            documents.iter().flat_map(|document| recognizer.tokenizer().encode(std::slice::from_ref(document)).unwrap()).collect();
        prop_assert_eq!(&bare(&recognizer.mentions(&apart, |_| {})), &bare(&together));
        for (text, together) in texts.iter().zip(&together) {
            prop_assert_eq!(bare(&[recognizer.annotate(text).unwrap()]), bare(std::slice::from_ref(together)));
        }
    }
}

/// Without confidences, which other matrix products may round differently.
fn bare(documents: &[Vec<Mention>]) -> Vec<Vec<Mention>> {
    let bare = |mention: &Mention| Mention { confidence: None, ..mention.clone() };
    documents.iter().map(|mentions| mentions.iter().map(bare).collect()).collect()
}

#[test]
fn a_document_that_fits_one_window_is_read_in_one_pass_and_a_longer_one_is_read_to_its_end() {
    let short = "abc de. fg 12 abc. b c d e f g.";
    // Windows as long as the positions, or longer.
    let (whole, more) = (eager(&windows(40, 8, 40)), eager(&windows(40, 8, 512)));
    let encoded = whole.tokenizer().encode(&[Document::new("x", short)]).unwrap();
    assert_eq!(encoded[0].windows.len(), 1);
    assert_eq!(whole.annotate(short).unwrap(), more.annotate(short).unwrap());
    let long = format!("{} abc", "b c d ".repeat(100));
    let encoded = whole.tokenizer().encode(&[Document::new("x", &long)]).unwrap();
    assert!(encoded[0].windows.len() > 7);
    assert_eq!(encoded[0].windows.iter().map(|window| window.core.len()).sum::<usize>(), encoded[0].tokens.len());
}

/// Probabilities of the labels of one document's tokens.
fn probabilities(recognizer: &Recognizer, encoded: &[EncodedDocument]) -> Vec<f32> {
    let ModelOutput::Labels(rows) = recognizer.outputs(encoded, |_| {}).remove(0) else { panic!("labels of tokens") };
    rows
}

#[test]
fn a_model_from_elsewhere_is_read_by_its_first_pieces_whatever_the_order_of_its_labels() {
    let of_hub = load(&folder(|_| {}));
    let reading = of_hub.inference();
    assert_eq!(
        (reading.aggregation, reading.window.max_tokens, reading.window.overlap),
        (Aggregation::FirstPiece, 40, 10)
    );
    // Pre-tokens are not split between letters and digits.
    let words = of_hub.tokenizer().encode(&[Document::new("x", "ab cd-e")]).unwrap()[0].words.clone();
    assert_eq!(words.len(), 4);

    // The same head under other names: rows are reordered, and `O` is the third.
    let names = json!({ "0": "L-X", "1": "U-X", "2": "O", "3": "B-X", "4": "I-X" });
    let renamed = load(&folder(|config| config["id2label"] = names));
    assert_eq!(renamed.labels().names(), ["O", "B-X", "I-X", "E-X", "S-X"]);
    let document = [Document::new("x", "abc de. fg 12 abc")];
    let encoded = of_hub.tokenizer().encode(&document).unwrap();
    let (ours, theirs) = (probabilities(&renamed, &encoded), probabilities(&of_hub, &encoded));
    for (ours, theirs) in ours.chunks(5).zip(theirs.chunks(5)) {
        for (at, &from) in [2, 3, 4, 0, 1].iter().enumerate() {
            assert!((ours[at] - theirs[from]).abs() < 1e-6);
        }
    }

    // IOB1, from a model that lacks some `B-` labels: it never predicts them.
    let names = json!({ "0": "O", "1": "I-X", "2": "I-Y", "3": "B-Y", "4": "Z" });
    let lacking = load(&folder(|config| config["id2label"] = names));
    assert_eq!(lacking.labels().names(), ["O", "B-X", "I-X", "B-Y", "I-Y", "B-Z", "I-Z"]);
    for row in probabilities(&lacking, &encoded).chunks(7) {
        assert_eq!((row[1], row[5]), (0.0, 0.0));
        assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-5);
    }
}
