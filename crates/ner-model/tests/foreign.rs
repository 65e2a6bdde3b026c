//! Model folders as people have them: each is read as transformers reads it, or refused by name.
//!
//! The folder is a tiny BERT that labels every word `B-X`; each case changes something in it.

#![allow(clippy::unwrap_used, reason = "helpers of tests may unwrap as tests do")]

use ner_document::Document;
use ner_model::Recognizer;
use ner_model::checkpoint::{Dtype, TensorData, write_safetensors};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use tch::{Device, Kind};

const HIDDEN: usize = 8;
const POSITIONS: usize = 64;
/// Pieces; the last is number 31.
const VOCABULARY: &str =
    "[PAD] [UNK] [CLS] [SEP] [MASK] a b c d e f g ##a ##b ##c ##d ##e ##f ##g [ ] A B 1 ##1 . , : ; - ( )";
const PIECES: usize = 32;

/// Values by name: shape and a number for all elements, or the classifier's bias.
type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

fn tensors(labels: usize) -> Tensors {
    let (layer, wide) = ("bert.encoder.layer.0.", 16);
    let mut tensors = Tensors::new();
    let mut add = |name: &str, shape: &[usize], value: f32| {
        tensors.insert(name.to_owned(), (shape.to_vec(), vec![value; shape.iter().product()]));
    };
    add("bert.embeddings.word_embeddings.weight", &[PIECES, HIDDEN], 0.0);
    add("bert.embeddings.position_embeddings.weight", &[POSITIONS, HIDDEN], 0.0);
    add("bert.embeddings.token_type_embeddings.weight", &[2, HIDDEN], 0.0);
    for (name, out, into) in [
        ("attention.self.query", HIDDEN, HIDDEN),
        ("attention.self.key", HIDDEN, HIDDEN),
        ("attention.self.value", HIDDEN, HIDDEN),
        ("attention.output.dense", HIDDEN, HIDDEN),
        ("intermediate.dense", wide, HIDDEN),
        ("output.dense", HIDDEN, wide),
    ] {
        add(&format!("{layer}{name}.weight"), &[out, into], 0.0);
        add(&format!("{layer}{name}.bias"), &[out], 0.0);
    }
    for name in [&format!("{layer}attention.output"), &format!("{layer}output"), "bert.embeddings"] {
        add(&format!("{name}.LayerNorm.weight"), &[HIDDEN], 1.0);
        add(&format!("{name}.LayerNorm.bias"), &[HIDDEN], 0.0);
    }
    add("classifier.weight", &[labels, HIDDEN], 0.0);
    add("classifier.bias", &[labels], 0.0);
    tensors
}

/// Writes tensors; each is of `dtype`.
fn write(path: &Path, tensors: &Tensors, dtype: Dtype) {
    let rows = tensors.iter().map(|(name, (shape, values))| {
        let bytes: Vec<u8> = match dtype {
            Dtype::BF16 => values.iter().flat_map(|value| half::bf16::from_f32(*value).to_le_bytes()).collect(),
            Dtype::F16 => values.iter().flat_map(|value| half::f16::from_f32(*value).to_le_bytes()).collect(),
            _ => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        };
        (name.clone(), TensorData { dtype, shape: shape.clone(), bytes: Cow::Owned(bytes) })
    });
    write_safetensors(path, rows).unwrap();
}

/// A folder of the tiny model, whose parts can be changed before and after they are written.
struct Folder {
    place: tempfile::TempDir,
    config: Value,
    tensors: Tensors,
}

impl Folder {
    fn new() -> Self {
        let config = json!({
            "architectures": ["BertForTokenClassification"], "model_type": "bert", "hidden_size": HIDDEN,
            "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16, "vocab_size": PIECES,
            "max_position_embeddings": POSITIONS, "type_vocab_size": 2, "pad_token_id": 0, "layer_norm_eps": 1e-12,
            "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1,
        });
        let folder = Self { place: tempfile::tempdir().unwrap(), config, tensors: Tensors::new() };
        folder.write("vocab.txt", &VOCABULARY.replace(' ', "\n"));
        folder.write("tokenizer_config.json", r#"{"do_lower_case": true}"#);
        folder.labelled(&["O", "B-X", "I-X"], 1)
    }

    /// Labels every token with the label at `winner`.
    fn labelled(mut self, labels: &[&str], winner: usize) -> Self {
        self.config["id2label"] =
            labels.iter().enumerate().map(|(at, name)| (at.to_string(), json!(name))).collect::<Value>();
        self.tensors = tensors(labels.len());
        self.tensors.get_mut("classifier.bias").unwrap().1[winner] = 5.0;
        self
    }

    fn key(mut self, key: &str, value: Value) -> Self {
        self.config[key] = value;
        self
    }

    fn file(self, name: &str, text: &str) -> Self {
        self.write(name, text);
        self
    }

    fn renamed(mut self, rename: impl Fn(&str) -> String) -> Self {
        self.tensors = self.tensors.into_iter().map(|(name, tensor)| (rename(&name), tensor)).collect();
        self
    }

    fn with(mut self, name: &str, shape: &[usize]) -> Self {
        self.tensors.insert(name.to_owned(), (shape.to_vec(), vec![0.0; shape.iter().product()]));
        self
    }

    fn value(mut self, name: &str, value: f32) -> Self {
        self.tensors.get_mut(name).unwrap().1[0] = value;
        self
    }

    /// A tokenizer.json instead of vocab.txt: what the vocabulary makes, changed.
    fn tokenizer_json(self, change: impl Fn(&mut Value)) -> Self {
        let path = self.place.path().join("tokenizer.json");
        let window = ner_text::WindowSize { max_tokens: POSITIONS, overlap: 8, packed: POSITIONS };
        ner_text::DocumentTokenizer::from_folder(self.place.path(), window).unwrap().save(&path).unwrap();
        let mut json: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        change(&mut json);
        self.write("tokenizer.json", &json.to_string());
        fs::remove_file(self.place.path().join("vocab.txt")).unwrap();
        self
    }

    /// The weights in two shards; `change` changes the index.
    fn sharded(self, change: impl Fn(&mut Value)) -> Self {
        let folder = self.place.path().to_owned();
        let names: Vec<String> = self.tensors.keys().cloned().collect();
        let (one, two) = names.split_at(names.len() / 2);
        let mut map = serde_json::Map::new();
        for (file, names) in [("model-1.safetensors", one), ("model-2.safetensors", two)] {
            let part = self.tensors.iter().filter(|(name, _)| names.contains(name));
            write(&folder.join(file), &part.map(|(name, tensor)| (name.clone(), tensor.clone())).collect(), Dtype::F32);
            map.extend(names.iter().map(|name| (name.clone(), json!(file))));
        }
        let mut index = json!({ "metadata": { "total_size": 1 }, "weight_map": map });
        change(&mut index);
        self.write("model.safetensors.index.json", &index.to_string());
        Self { tensors: Tensors::new(), ..self }
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.place.path().join(name), text).unwrap();
    }

    /// Writes what is not there yet.
    fn finish(self, dtype: Dtype) -> tempfile::TempDir {
        let path = |name: &str| self.place.path().join(name);
        if !path("config.json").exists() {
            self.write("config.json", &self.config.to_string());
        }
        if !path("model.safetensors").exists() && !self.tensors.is_empty() {
            write(&path("model.safetensors"), &self.tensors, dtype);
        }
        self.place
    }
}

/// What a case must do.
enum Expect {
    /// The mentions of the text.
    Mentions(&'static [(usize, usize, &'static str)]),
    /// An error when the folder is opened, with this part.
    Refused(&'static str),
    /// An error for the text, but not for another one.
    Document(&'static str),
}
use Expect::{Document as Failed, Mentions, Refused};

fn check(name: &str, folder: Folder, text: &str, expected: Expect) -> Result<(), String> {
    let folder = folder.finish(Dtype::F32);
    let found = Recognizer::load(folder.path(), Device::Cpu, Kind::Float);
    let found = match (&found, &expected) {
        (Err(error), Refused(part)) if error.to_string().contains(part) => return Ok(()),
        (Err(error), _) => return Err(format!("{name}: {error}")),
        (Ok(_), Refused(part)) => return Err(format!("{name}: opened, without {part:?}")),
        (Ok(recognizer), _) => recognizer,
    };
    let mentions = found.tokenizer().encode(&[Document::new("one", text)]).map(|encoded| {
        let mentions = found.mentions(&encoded, |_| {}).remove(0);
        mentions.iter().map(|m| (m.span().start, m.span().end, m.entity_type.clone())).collect::<Vec<_>>()
    });
    match (mentions, expected) {
        (Ok(found), Mentions(expected)) => {
            let expected: Vec<_> = expected.iter().map(|&(start, end, name)| (start, end, name.to_owned())).collect();
            if found == expected { Ok(()) } else { Err(format!("{name}: {found:?}, not {expected:?}")) }
        }
        (Err(error), Failed(part)) => {
            let message = error.to_string();
            assert!(found.tokenizer().encode(&[Document::new("two", "a b")]).is_ok(), "{name}");
            let is_named = message.contains("document one: ") && message.contains(part);
            if is_named { Ok(()) } else { Err(format!("{name}: {message}")) }
        }
        (Ok(found), _) => Err(format!("{name}: {found:?}")),
        (Err(error), _) => Err(format!("{name}: {error}")),
    }
}

const WORDS: &[(usize, usize, &str)] = &[(0, 2, "X"), (3, 6, "X")];
const TEXT: &str = "ab cde";

#[test]
fn folders_of_other_programs_are_read_right_or_refused_by_name() {
    let new = Folder::new;
    let added = r#"{"[DEID]": 32}"#;
    // What is changed, where people met it, the folder, the text, what must come of it.
    let cases: Vec<(&str, &str, Folder, &str, Expect)> = vec![
        ("nothing", "", new(), TEXT, Mentions(WORDS)),
        // Weights
        ("shards", "huggingface/candle#1481", new().sharded(|_| {}), TEXT, Mentions(WORDS)),
        (
            "a shard is missing",
            "huggingface/transformers#27923",
            new().sharded(|index| index["weight_map"]["classifier.bias"] = json!("model-3.safetensors")),
            TEXT,
            Refused("model-3.safetensors: "),
        ),
        (
            "a tensor is not in its shard",
            "",
            new().sharded(|index| index["weight_map"]["classifier.bias"] = json!("model-1.safetensors")),
            TEXT,
            Refused("classifier.bias should be in model-1.safetensors"),
        ),
        (
            "a shard outside of the folder",
            "",
            new().sharded(|index| index["weight_map"]["classifier.bias"] = json!("../model-1.safetensors")),
            TEXT,
            Refused("refused: the shard ../model-1.safetensors"),
        ),
        ("an index without a map", "", new().sharded(|index| *index = json!({})), TEXT, Refused("not an index")),
        (
            "DataParallel",
            "abhishekkrthakur/bert-sentiment#4",
            new().renamed(|name| format!("module.{name}")),
            TEXT,
            Mentions(WORDS),
        ),
        (
            "torch.compile",
            "FareedKhan-dev/train-llm-from-scratch#37",
            new().renamed(|name| format!("_orig_mod.{name}")),
            TEXT,
            Mentions(WORDS),
        ),
        (
            "gamma and beta",
            "huggingface/transformers#29554",
            new().renamed(|name| name.replace("Norm.weight", "Norm.gamma").replace("Norm.bias", "Norm.beta")),
            TEXT,
            Mentions(WORDS),
        ),
        (
            "both names of a norm",
            "huggingface/candle#1888",
            new().with("bert.embeddings.LayerNorm.gamma", &[HIDDEN]),
            TEXT,
            Refused("both bert.embeddings.LayerNorm.gamma and bert.embeddings.LayerNorm.weight"),
        ),
        (
            "pooler and position ids",
            "huggingface/transformers#11809",
            new().with("bert.pooler.dense.weight", &[HIDDEN, HIDDEN]).with("bert.embeddings.position_ids", &[1, 4]),
            TEXT,
            Mentions(WORDS),
        ),
        (
            "a chain on the head",
            "macanv/BERT-BiLSTM-CRF-NER",
            new().with("crf.transitions", &[3, 3]),
            TEXT,
            Refused("crf.transitions belongs to a part"),
        ),
        (
            "an adapter in the layers",
            "huggingface/transformers#28688",
            new().with("bert.encoder.layer.0.attention.self.query.lora_A.weight", &[4, HIDDEN]),
            TEXT,
            Refused("lora_A"),
        ),
        (
            "an adapter without its model",
            "huggingface/transformers#28688",
            Folder { tensors: Tensors::new(), ..new().file("adapter_config.json", "{}") },
            TEXT,
            Refused("an adapter; merge it"),
        ),
        (
            "only ONNX",
            "",
            Folder { tensors: Tensors::new(), ..new().file("model_quantized.onnx", "") },
            TEXT,
            Refused("model_quantized.onnx: only ONNX"),
        ),
        (
            "only TensorFlow",
            "",
            Folder { tensors: Tensors::new(), ..new().file("tf_model.h5", "") },
            TEXT,
            Refused("tf_model.h5: only TensorFlow's"),
        ),
        (
            "a Git LFS pointer",
            "huggingface/transformers#27923",
            new().file("model.safetensors", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 4\n"),
            TEXT,
            Refused("a Git LFS pointer"),
        ),
        (
            "a web page",
            "huggingface/transformers#27923",
            new().file("model.safetensors", "<!DOCTYPE html><html><body>Sign in</body></html>"),
            TEXT,
            Refused("a web page"),
        ),
        ("an empty file", "", new().file("model.safetensors", ""), TEXT, Refused("the file is empty")),
        ("a tar file", "", new().file("model.safetensors", &format!("{:257}ustar", "a")), TEXT, Refused("a tar file")),
        (
            "a weight that is not a number",
            "",
            new().value("bert.embeddings.word_embeddings.weight", f32::NAN),
            TEXT,
            Refused("word_embeddings.weight holds NaN"),
        ),
        ("an infinite weight", "", new().value("classifier.bias", f32::INFINITY), TEXT, Refused("classifier.bias holds inf")),
        // Configuration
        ("nulls", "", new().key("pad_token_id", Value::Null).key("type_vocab_size", Value::Null).key("hidden_dropout_prob", Value::Null), TEXT, Mentions(WORDS)),
        ("a null size", "", new().key("hidden_size", Value::Null), TEXT, Refused("hidden_size is missing or null")),
        ("a size as text", "", new().key("vocab_size", json!("32")), TEXT, Refused("vocab_size is not a whole number")),
        ("a size with a fraction", "", new().key("hidden_size", json!(8.5)), TEXT, Refused("hidden_size is not a whole number")),
        ("a rate as text", "", new().key("hidden_dropout_prob", json!("0.1")), TEXT, Refused("hidden_dropout_prob is not a number")),
        ("an unknown activation", "", new().key("hidden_act", json!("silu")), TEXT, Refused("hidden_act: ")),
        ("GELU under another name", "huggingface/transformers ACT2FN", new().key("hidden_act", json!("gelu_python")), TEXT, Mentions(WORDS)),
        ("no model type", "google-research/bert", new().key("model_type", Value::Null), TEXT, Mentions(WORDS)),
        ("a decoder", "", new().key("is_decoder", json!(true)), TEXT, Refused("is_decoder is true")),
        ("padding beyond the vocabulary", "huggingface/transformers#482", new().key("pad_token_id", json!(9999)), TEXT, Refused("pad_token_id is 9999, but vocab_size is 32")),
        ("a million layers", "", new().key("num_hidden_layers", json!(1_000_000)), TEXT, Refused("num_hidden_layers is 1000000; it must be at most")),
        ("most layers", "", new().key("num_hidden_layers", json!(u64::MAX / 2 + 1)), TEXT, Refused("num_hidden_layers is not a whole number of 64 bits")),
        ("a negative epsilon", "", new().key("layer_norm_eps", json!(-1)), TEXT, Refused("layer_norm_eps is -1")),
        ("a huge epsilon", "", new().key("layer_norm_eps", json!(1e300)), TEXT, Refused("layer_norm_eps is 1")),
        ("another task", "", new().key("architectures", json!(["BertForSequenceClassification"])), TEXT, Refused("BertForSequenceClassification labels whole texts")),
        ("rows of another count", "", new().with("classifier.weight", &[5, HIDDEN]), TEXT, Refused("(a row for each label of id2label)")),
        // Labels
        ("no labels", "", new().key("id2label", Value::Null), TEXT, Refused("id2label is missing")),
        ("a list of labels", "", new().key("id2label", json!(["O", "B-X", "I-X"])), TEXT, Refused("id2label is not an object")),
        ("numbers as labels", "", new().key("id2label", json!({"0": 0, "1": 1, "2": 2})), TEXT, Refused("label 0 of id2label is not text")),
        ("a gap", "", new().key("id2label", json!({"0": "O", "1": "B-X", "3": "I-X"})), TEXT, Refused("does not number its labels from 0: 3")),
        ("too many labels", "", new().key("id2label", (0..20_000).map(|at| (at.to_string(), json!(format!("B-{at}")))).collect()), TEXT, Refused("20000 labels; medner reads at most")),
        ("twice the same", "", new().labelled(&["O", "B-X", "I-X", "I-X"], 1), TEXT, Refused("I-X and I-X mean the same")),
        ("outside as B-O", "huggingface/transformers#30028", new().labelled(&["B-O", "I-O", "B-X", "I-X"], 0), TEXT, Mentions(&[])),
        ("outside as I-O", "alvenirai/punctfix#5", new().labelled(&["B-O", "I-O", "B-X", "I-X"], 1), TEXT, Mentions(&[])),
        ("inside beside B-O", "huggingface/transformers#30028", new().labelled(&["B-O", "I-O", "B-X", "I-X"], 2), TEXT, Mentions(WORDS)),
        ("only I-O", "huggingface/transformers#30028", new().labelled(&["I-O", "I-X"], 0), TEXT, Mentions(&[])),
        ("a label of [CLS]", "macanv/BERT-BiLSTM-CRF-NER#269", new().labelled(&["O", "B-X", "I-X", "[CLS]"], 3), TEXT, Mentions(&[])),
        ("a label of later pieces", "kamalkraj/BERT-NER#1", new().labelled(&["O", "B-Y", "I-Y", "X"], 3), TEXT, Mentions(&[])),
        ("a label of padding", "kamalkraj/BERT-NER#21", new().labelled(&["PAD", "O", "B-X", "I-X"], 2), TEXT, Mentions(WORDS)),
        ("lower case", "", new().labelled(&["o", "b-x", "i-x"], 0), TEXT, Mentions(&[])),
        ("underscores", "", new().labelled(&["O", "B_X", "I_X"], 1), TEXT, Mentions(WORDS)),
        ("positions behind", "", new().labelled(&["O", "X-B", "X-I"], 2), TEXT, Mentions(&[(0, 6, "X")])),
        ("no types", "dmis-lab/biobert#35", new().labelled(&["O", "B", "I"], 2), TEXT, Mentions(&[(0, 6, "_")])),
        ("no names", "facebookresearch/fairseq#2070", new().labelled(&["LABEL_0", "LABEL_1"], 1), TEXT, Mentions(&[(0, 6, "LABEL_1")])),
        // Tokenizer
        ("nulls of the tokenizer", "", new().file("tokenizer_config.json", r#"{"do_lower_case": null, "strip_accents": null, "add_prefix_space": null, "model_max_length": 1000000000000000019884624838656, "never_split": null}"#), "ab cde", Mentions(WORDS)),
        ("a flag as text", "", new().file("tokenizer_config.json", r#"{"do_lower_case": "true"}"#), TEXT, Refused("do_lower_case is neither")),
        ("an added token", "added_tokens.json of 2020", new().key("vocab_size", json!(PIECES + 1)).with("bert.embeddings.word_embeddings.weight", &[PIECES + 1, HIDDEN]).file("added_tokens.json", added), "a [DEID]", Mentions(&[(0, 1, "X"), (2, 8, "X")])),
        ("an added token in lower case", "added_tokens.json of 2020", new().key("vocab_size", json!(PIECES + 1)).with("bert.embeddings.word_embeddings.weight", &[PIECES + 1, HIDDEN]).file("added_tokens.json", added), "a [deid]", Mentions(&[(0, 1, "X"), (2, 8, "X")])),
        ("a token of the decoder", "huggingface/transformers#11102", new().key("vocab_size", json!(PIECES + 1)).with("bert.embeddings.word_embeddings.weight", &[PIECES + 1, HIDDEN]).file("tokenizer_config.json", r#"{"added_tokens_decoder": {"32": {"content": "<phi>", "special": true}}}"#), "<phi> a", Mentions(&[(0, 5, "X"), (6, 7, "X")])),
        ("an added token with another number", "", new().file("added_tokens.json", r#"{"[DEID]": 40}"#), TEXT, Refused("the token [DEID] has number 40, but after the vocabulary it gets 32")),
        ("an added token beyond the embeddings", "huggingface/transformers#12763", new().file("added_tokens.json", added), "a [DEID]", Failed("characters 2 to 8 need piece 32")),
        ("a vocabulary beyond the embeddings", "huggingface/transformers#482", new().file("vocab.txt", &format!("{VOCABULARY} gg").replace(' ', "\n")), "a gg", Failed("need piece 32")),
        ("a blank line at the end of the vocabulary", "huggingface/transformers#12763", new().file("vocab.txt", &format!("{VOCABULARY}  ").replace(' ', "\n")), TEXT, Mentions(WORDS)),
        ("a separator beyond the embeddings", "", new().file("vocab.txt", &VOCABULARY.replace("[SEP]", "x").replace(' ', "\n").replace(')', ")\n[SEP]")), TEXT, Refused("its special token [SEP] is number 32")),
        ("no piece for the unknown", "huggingface/tokenizers", new().file("vocab.txt", &VOCABULARY.replace("[UNK]", "x").replace(' ', "\n")), TEXT, Refused("missing token [UNK]")),
        ("other special tokens", "", new().file("vocab.txt", &VOCABULARY.replace("[CLS]", "<s>").replace("[SEP]", "</s>").replace(' ', "\n")).file("special_tokens_map.json", r#"{"cls_token": "<s>", "sep_token": {"content": "</s>"}}"#), TEXT, Mentions(WORDS)),
        ("a sentencepiece model", "", { let folder = new().file("spiece.model", ""); fs::remove_file(folder.place.path().join("vocab.txt")).unwrap(); folder }, TEXT, Refused("spiece.model is not read")),
        ("a configuration that contradicts tokenizer.json", "vllm-project/vllm#11184", new().tokenizer_json(|json| json["normalizer"]["lowercase"] = json!(false)), "AB CDE", Mentions(WORDS)),
        ("a normaliser that grows", "", new().tokenizer_json(|json| {
            let replace = json!({ "type": "Replace", "pattern": { "String": "a" }, "content": "aaaaaaaaaaaaaaaa" });
            json["normalizer"] = json!({ "type": "Sequence", "normalizers": vec![replace; 12] });
        }), TEXT, Refused("more than 1000 times longer")),
        ("a damaged table of characters", "", new().tokenizer_json(|json| json["normalizer"] = json!({ "type": "Precompiled", "precompiled_charsmap": "AAAAAAAA" })), TEXT, Refused("tokenizer.json: ")),
        ("a pattern without end", "", new().tokenizer_json(|json| {
            json["pre_tokenizer"] = json!({ "type": "Split", "pattern": { "Regex": "(a|a|ab|b)*$^" }, "behavior": "Isolated", "invert": false });
        }), "abababababababababababababababababababababababababababababababababab", Failed("a library failed at ")),
    ];
    let mut failures = Vec::new();
    for (name, _, folder, text, expected) in cases {
        failures.extend(check(name, folder, text, expected).err());
    }
    assert!(failures.is_empty(), "{} cases:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn half_precision_is_read() {
    for dtype in [Dtype::F16, Dtype::BF16] {
        let folder = Folder::new().finish(dtype);
        let recognizer = Recognizer::load(folder.path(), Device::Cpu, Kind::Float).unwrap();
        assert_eq!(recognizer.annotate(TEXT).unwrap().len(), 2);
    }
}

#[cfg(unix)]
#[test]
fn pipes_devices_and_folders_are_no_files() {
    use std::os::unix::fs::symlink;
    for name in ["model.safetensors", "tokenizer.json", "tokenizer_config.json", "config.json"] {
        let folder = Folder::new().finish(Dtype::F32);
        let path = folder.path().join(name);
        for make in [
            |path: &Path| symlink("/dev/zero", path).unwrap(),
            |path: &Path| fs::create_dir(path).unwrap(),
            |path: &Path| {
                assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
            },
        ] {
            let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir(&path));
            make(&path);
            let error = Recognizer::load(folder.path(), Device::Cpu, Kind::Float).unwrap_err().to_string();
            assert!(
                error.contains(name) && (error.contains("not a regular file") || error.contains("a folder")),
                "{error}"
            );
        }
    }
}

/// Control characters that stand for white space separate words, and no mention goes over them.
#[test]
fn words_and_mentions_end_at_page_breaks() {
    let folder = Folder::new().labelled(&["O", "B-X", "I-X"], 2).finish(Dtype::F32);
    let recognizer = Recognizer::load(folder.path(), Device::Cpu, Kind::Float).unwrap();
    let spans = |text: &str| -> Vec<(usize, usize)> {
        recognizer.annotate(text).unwrap().iter().map(|m| (m.span().start, m.span().end)).collect()
    };
    for separator in ['\u{b}', '\u{c}', '\u{1c}', '\u{1d}', '\u{1e}', '\u{1f}', '\u{85}'] {
        assert_eq!(spans(&format!("ab{separator}cd e")), [(0, 2), (3, 7)], "{separator:?}");
        assert_eq!(spans(&format!("ab {separator} cd")), [(0, 2), (5, 7)], "{separator:?}");
    }
    // White space that is no page break, and characters that BERT drops inside a word.
    for inside in ['\n', '\t', '\u{2028}', '\u{a0}', '\u{200b}', '\u{ad}', '\0'] {
        assert_eq!(spans(&format!("ab{inside}cd")), [(0, 5)], "{inside:?}");
    }
}
