//! Each kind of encoder and each file layout, compared with transformers' numbers; offsets of byte-level BPE.
//!
//! `encoders/make_golden.py` made the models and the numbers.

#![allow(clippy::unwrap_used, reason = "helpers of tests may unwrap as tests do")]

use ner_document::{Document, LabelSet, Span, TagScheme};
use ner_model::checkpoint;
use ner_model::{
    Batch, Bert, BertConfig, Classifier, Head, InferenceConfig, LossOptions, Parameters, Pretrained, Tagger, Targets,
    TokenClassifier, TrainingPass, load_classifier, load_encoder, save_classifier,
};
use ner_text::{DocumentTokenizer, EncodedDocument, ModelOutput, WindowSize};
use proptest::prelude::*;
use serde_json::Value;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use tch::{Device, Kind, Tensor, no_grad};

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
    DocumentTokenizer::from_folder(folder, WindowSize { max_tokens: 300, overlap: 10, packed: 300 }).unwrap()
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

/// In int8 a probability moves by at most 0.13 in these models, whose weights are random, as it does in transformers with
/// weights and inputs rounded to the same steps. It would move by more if a layer were missing.
#[test]
fn each_kind_predicts_in_int8() {
    let golden = golden();
    for kind in
        ["roberta", "electra", "distilbert", "mpnet", "xlm-roberta", "modernbert", "modernbert-biases", "deberta-v3"]
    {
        let (model, labels, _) = load_classifier(&folder(kind)).unwrap();
        let tokenizer = text_encoder(&folder(kind));
        let documents: Vec<Document> = texts(&golden[kind]).iter().map(|text| Document::new("1", text)).collect();
        let encoded = tokenizer.encode(&documents).unwrap();
        let encoded: Vec<&EncodedDocument> = encoded.iter().collect();
        let probabilities = |kind| {
            let head = Head::Token;
            let tagger = Tagger::new(&model.config, &labels, head, &model.parameters, Device::Cpu, kind).unwrap();
            let outputs = tagger.outputs(&tokenizer, &encoded, |_| {});
            let numbers = outputs.into_iter().flat_map(|output| match output {
                ModelOutput::Labels(numbers) => numbers,
                _ => unreachable!("the head labels tokens"),
            });
            numbers.collect::<Vec<f32>>()
        };
        let (expected, found) = (probabilities(Kind::Float), probabilities(Kind::QInt8));
        let gaps: Vec<f32> = expected.iter().zip(&found).map(|(left, right)| (left - right).abs()).collect();
        let largest = gaps.iter().fold(0f32, |left, right| left.max(*right));
        assert!(largest > 0.0 && largest < 0.2 && gaps.len() == found.len(), "{kind}: {largest}");
    }
}

#[test]
fn each_kind_gives_the_logits_of_transformers() {
    let golden = golden();
    let kinds =
        ["roberta", "electra", "distilbert", "mpnet", "xlm-roberta", "modernbert", "modernbert-biases", "deberta-v3"];
    for kind in kinds {
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

/// Models with the settings that published ones of a kind have: bare, from pretraining, of another version.
#[test]
fn each_layout_of_further_kinds_gives_the_hidden_states_of_transformers() {
    let golden = golden();
    for name in ["mpnet-bare", "modernbert-pretrained", "deberta-v2", "deberta-plain"] {
        let rows = rows(&folder(name), &golden[name]);
        let (config, weights) = (folder(name).join("config.json"), folder(name).join("model.safetensors"));
        // Not the head for tokens, which takes a layer of ModernBERT's pretraining.
        let model = load_encoder(&config, &weights, &labels(), Head::Span { longest: 5 }, 1).unwrap();
        let is_known =
            |left_over: &String| ["pooler.", "head.", "decoder."].iter().any(|start| left_over.starts_with(start));
        assert!(model.unexpected.iter().all(is_known), "{:?}", model.unexpected);
        let encoder = Bert::new(&model.config, &model.parameters).unwrap();
        let hidden = no_grad(|| encoder.forward(&Batch { rows: rows.clone() }, Kind::Float, None));
        check(&hidden, &rows, &golden[name]["hidden"], name);
    }
}

/// The kinds that add something to BERT's layers.
const FURTHER: [&str; 6] = ["mpnet", "modernbert", "modernbert-biases", "deberta-v3", "deberta-v2", "deberta-plain"];

fn encoder_of(name: &str) -> Pretrained {
    let (config, weights) = (folder(name).join("config.json"), folder(name).join("model.safetensors"));
    load_encoder(&config, &weights, &labels(), Head::Token, 1).unwrap()
}

/// The rows of a kind, of which one is much longer than the others.
fn golden_rows(name: &str) -> Vec<Vec<u32>> {
    serde_json::from_value(golden()[name]["ids"].clone()).unwrap()
}

/// The largest difference of two outputs at tokens.
fn gap(left: &Tensor, right: &Tensor, rows: &[Vec<u32>]) -> f64 {
    let of_row = |(at, row): (usize, &Vec<u32>)| {
        let [left, right] =
            [left, right].map(|states| states.get(at as i64).narrow(0, 0, row.len() as i64).to_kind(Kind::Double));
        let gap = (left - right).abs().max().double_value(&[]);
        if gap.is_nan() { f64::INFINITY } else { gap }
    };
    rows.iter().enumerate().map(of_row).fold(0.0, f64::max)
}

#[test]
fn further_kinds_compute_the_same_in_batches_in_training_and_in_bf16() {
    for name in FURTHER {
        let (model, rows) = (encoder_of(name), golden_rows(name));
        let encoder = Bert::new(&model.config, &model.parameters).unwrap();
        let states = |rows: &[Vec<u32>], kind, dropout: Option<&mut TrainingPass>| {
            no_grad(|| encoder.forward(&Batch { rows: rows.to_vec() }, kind, dropout))
        };
        let exact = states(&rows, Kind::Float, None);
        for (at, row) in rows.iter().enumerate() {
            let alone = states(std::slice::from_ref(row), Kind::Float, None);
            let of_batch = exact.narrow(0, at as i64, 1);
            assert!(gap(&alone, &of_batch, std::slice::from_ref(row)) < 1e-4, "{name}, row {at} alone");
        }
        let size = exact.abs().max().double_value(&[]);
        for (kind, attention, bound) in
            [(Kind::Float, 0.0, 1e-4), (Kind::Float, 1e-9, 1e-4), (Kind::BFloat16, 0.0, 0.06 * size)]
        {
            let mut dropout = TrainingPass::new(1, Device::Cpu, 0.0, attention);
            let trained = states(&rows, kind, Some(&mut dropout));
            let gap = gap(&trained, &exact, &rows);
            assert!(gap < bound, "{name} in training, {kind:?}, attention dropout {attention}: {gap}");
        }
        let found = gap(&states(&rows, Kind::BFloat16, None), &exact, &rows);
        assert!(found < 0.06 * size, "{name} in bf16: {found} of {size}");
        // As at prediction, with packed weights; heads of 8 are too small for rows without padding.
        let packed = model.parameters.for_computing(Device::Cpu, Kind::BFloat16).packed();
        let encoder = Bert::new(&model.config, &packed).unwrap();
        let found = no_grad(|| encoder.forward(&Batch { rows: rows.clone() }, Kind::BFloat16, None));
        let found = gap(&found, &exact, &rows);
        assert!(found < 0.06 * size, "{name} for prediction in bf16: {found} of {size}");
    }
}

/// Heads of 16, which the kernel for rows without padding supports, and random weights.
#[test]
fn further_kinds_compute_the_same_without_padding() {
    let rows: Vec<Vec<u32>> = [150, 3, 40, 17].map(|length| (0..length).map(|at| at * 7 % 30).collect()).into();
    for kind in [
        r#""model_type": "mpnet", "pad_token_id": 1"#,
        r#""model_type": "modernbert", "pad_token_id": 1, "local_attention": 20"#,
        r#""model_type": "deberta-v2", "relative_attention": true, "pos_att_type": "c2p|p2c", "position_buckets": 16"#,
    ] {
        let text = format!(
            r#"{{{kind}, "vocab_size": 30, "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2,
            "intermediate_size": 64, "max_position_embeddings": 200}}"#
        );
        let config = BertConfig::from_json(&text, Path::new("config.json")).unwrap();
        tch::manual_seed(1);
        let random = |(name, shape): (String, Vec<i64>)| {
            let deviation = if shape.len() > 1 { 0.3 } else { 0.1 };
            let tensor = Tensor::randn(&shape, (Kind::Float, Device::Cpu)) * deviation;
            let is_norm = shape.len() == 1 && name.ends_with("weight");
            (name, if is_norm { tensor + 1.0 } else { tensor })
        };
        let parameters = Parameters::new(Bert::shapes(&config).into_iter().map(random).collect());
        let states = |parameters: &Parameters, kind| {
            let encoder = Bert::new(&config, parameters).unwrap();
            no_grad(|| encoder.forward(&Batch { rows: rows.clone() }, kind, None))
        };
        let exact = states(&parameters, Kind::Float);
        let packed = states(&parameters.for_computing(Device::Cpu, Kind::BFloat16).packed(), Kind::BFloat16);
        let (gap, size) = (gap(&packed, &exact, &rows), exact.abs().max().double_value(&[]));
        // Random weights amplify the roundings of four layers; another distance or mask changes half of the size.
        assert!(gap < 0.12 * size, "{kind}: {gap} of {size}");
    }
}

/// Gradients with and without checkpointing, of every parameter.
#[test]
fn every_parameter_of_further_kinds_has_its_gradient() {
    for name in FURTHER {
        let model = encoder_of(name);
        let parameters = model.parameters.copy().requiring_gradients(|_| true);
        let leaves: Vec<&Tensor> = parameters.iter().map(|(_, tensor)| tensor).collect();
        let classifier = Classifier::new(&model.config, &parameters, Head::Token).unwrap();
        let rows = golden_rows(name);
        let labels = rows.iter().map(|row| (0..row.len() as i64).map(|at| at % 5).collect()).collect();
        let targets = Targets { labels, ..Targets::default() };
        let gradients = |checkpointing: bool| {
            let mut dropout = TrainingPass::new(1, Device::Cpu, 0.1, 0.1);
            dropout.gradient_checkpointing = checkpointing;
            let batch = Batch { rows: rows.clone() };
            let loss = classifier.loss(&batch, &targets, Kind::Float, &mut dropout, &LossOptions::default());
            classifier.gradients(&loss, &leaves, &mut dropout)
        };
        for ((parameter, _), (one, other)) in parameters.iter().zip(gradients(false).iter().zip(gradients(true))) {
            let size = one.abs().max().double_value(&[]);
            // The bias of keys moves all scores of a query by the same, except of positions.
            let is_of_keys = parameter.ends_with("self.key.bias");
            assert!(size > 0.0 || is_of_keys, "{name}: {parameter} has no gradient");
            let gap = (one - other).abs().max().double_value(&[]);
            assert!(gap <= 1e-4 * size + 1e-6, "{name}: {parameter} with checkpointing: {gap} of {size}");
        }
    }
}

#[test]
fn a_run_of_each_kind_is_saved_with_the_names_of_its_kind_and_comes_back() {
    for (kind, class, tensor) in [
        ("roberta", "Roberta", "roberta.encoder.layer.1.attention.self.query.weight"),
        ("electra", "Electra", "electra.embeddings_project.weight"),
        ("distilbert", "DistilBert", "distilbert.transformer.layer.1.attention.q_lin.weight"),
        ("mpnet", "MPNet", "mpnet.encoder.relative_attention_bias.weight"),
        ("xlm-roberta", "XLMRoberta", "roberta.encoder.layer.1.attention.self.query.weight"),
        ("modernbert", "ModernBert", "model.layers.1.attn.Wqkv.weight"),
        ("deberta-v3", "DebertaV2", "deberta.encoder.layer.1.attention.self.query_proj.weight"),
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
            assert_eq!(written["model_type"], kind.replace("-v3", "-v2"));
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

/// The tokenizers of further kinds: SentencePiece's Unigram with its normalisation, or with NFC; BERT's word pieces with
/// other special tokens; byte-level BPE behind NFC.
#[test]
fn offsets_of_further_tokenizers_are_those_of_transformers_without_white_space() {
    let golden = golden();
    for name in ["xlm-roberta", "deberta-v3", "mpnet", "modernbert"] {
        let (case, encoder) = (&golden[name], text_encoder(&folder(name)));
        let offsets: Vec<Vec<(usize, usize)>> = serde_json::from_value(case["offsets"].clone()).unwrap();
        let ids: Vec<Vec<u32>> = serde_json::from_value(case["ids"].clone()).unwrap();
        let file: Value =
            serde_json::from_str(&std::fs::read_to_string(folder(name).join("tokenizer.json")).unwrap()).unwrap();
        // The piece of a space alone, which transformers gives the place of the next character.
        let place = file["model"]["vocab"].as_array().and_then(|list| list.iter().position(|row| row[0] == "▁"));
        for ((text, offsets), ids) in texts(case).iter().zip(&offsets).zip(&ids) {
            let encoded = encode(&encoder, text);
            let chars: Vec<char> = text.chars().collect();
            check_words(&chars, &encoded);
            assert_eq!(encoded.tokens.len(), offsets.len(), "{name} {text:?}");
            for ((token, &(start, end)), &id) in encoded.tokens.iter().zip(offsets).zip(&ids[encoder.offset()..]) {
                let expected = trimmed(&chars, Span::new(start, end));
                let is_space = place == Some(id as usize) || expected.is_empty();
                // A mark that the normaliser removed belongs to the token before it.
                let has_mark = token.span.start == expected.start && token.span.end > expected.end;
                let is_same = if is_space { token.span.is_empty() } else { token.span == expected || has_mark };
                assert!(is_same, "{name} {text:?}: {token:?} {expected}");
            }
        }
    }
    // Words of SentencePiece end beside punctuation, where mentions do, unless the model comes from elsewhere.
    let spans = |encoder: &DocumentTokenizer| -> Vec<String> {
        let text = "fever, (rats) 5-HT.";
        let chars: Vec<char> = text.chars().collect();
        encode(encoder, text).words.iter().map(|word| chars[word.span.start..word.span.end].iter().collect()).collect()
    };
    let encoder = text_encoder(&folder("xlm-roberta"));
    assert_eq!(spans(&encoder), ["fever", ",", "(", "rats", ")", "5", "-", "HT", "."]);
    assert_eq!(spans(&encoder.with_whole_pre_tokens()), ["fever,", "(rats)", "5-HT."]);
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

static SENTENCEPIECE: LazyLock<[DocumentTokenizer; 2]> =
    LazyLock::new(|| ["xlm-roberta", "deberta-v3"].map(|name| text_encoder(&folder(name))));

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
    fn words_of_sentencepiece_cover_any_text(
        chosen in prop::collection::vec(prop::sample::select(
            "aNlox125½ﬁβé中한😀\u{301} \n\t\u{a0}\u{3000}'-<>,.▁".chars().collect::<Vec<char>>(),
        ), 0..40),
    ) {
        for encoder in SENTENCEPIECE.iter() {
            let text: String = chosen.iter().collect();
            let encoded = encode(encoder, &text);
            let chars: Vec<char> = text.chars().collect();
            let words = &encoded.words;
            assert!(words.windows(2).all(|pair| pair[0].span.end <= pair[1].span.start), "{text:?}: {words:?}");
            assert_eq!(words.iter().map(|word| word.tokens.len()).sum::<usize>(), encoded.tokens.len());
            for at in (0..chars.len()).filter(|&at| chars[at].is_alphanumeric() && !encoded.tokens.is_empty()) {
                let covered = words.iter().any(|word| word.span.covers(Span::new(at, at + 1)));
                assert!(covered, "{text:?}: {:?} belongs to no word", chars[at]);
            }
        }
    }

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
