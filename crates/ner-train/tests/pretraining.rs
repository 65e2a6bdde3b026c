//! Masked-language-model training on a tiny random encoder: it learns, and resumes where it stopped.

#![allow(clippy::unwrap_used, reason = "helpers of tests may unwrap as tests do")]

use ner_document::Span;
use ner_model::{Bert, BertConfig, MaskedLm, Parameters, Precision};
use ner_text::{EncodedDocument, Token};
use ner_train::pretrain::{PretrainRecipe, PretrainStep, PretrainText, Pretrainer};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::path::Path;
use tch::{Device, Tensor};

const PIECES: u32 = 30;

fn config() -> BertConfig {
    let text = format!(
        r#"{{"model_type": "bert", "vocab_size": {PIECES}, "hidden_size": 16, "num_hidden_layers": 2,
            "num_attention_heads": 2, "intermediate_size": 32, "max_position_embeddings": 24}}"#
    );
    BertConfig::from_json(&text, Path::new("config.json")).unwrap()
}

fn parameters() -> Parameters {
    let mut random = SmallRng::seed_from_u64(1);
    let shapes = Bert::shapes(&config()).into_iter().chain(MaskedLm::head_shapes(&config()));
    let tensor = |(name, shape): (String, Vec<i64>)| {
        let count = shape.iter().product::<i64>() as usize;
        let numbers: Vec<f32> = match shape.len() {
            1 if name.ends_with("LayerNorm.weight") => vec![1.0; count],
            1 => vec![0.0; count],
            _ => (0..count).map(|_| random.random_range(-0.2..0.2)).collect(),
        };
        (name, Tensor::from_slice(&numbers).view(shape.as_slice()))
    };
    Parameters::new(shapes.map(tensor).collect())
}

/// Documents of four pieces, in which each follows from the one before.
fn text(documents: u32) -> PretrainText {
    let mut text = PretrainText::default();
    for document in 0..documents {
        let token = |at: u32| Token {
            id: 5 + (document + at) % 4,
            span: Span::new(at as usize, at as usize + 1),
            word: at / 2,
            starts_line: false,
            starts_page: false,
        };
        text.push(&EncodedDocument::new((0..10 + document % 7).map(token).collect(), vec![0], Vec::new()));
    }
    text
}

fn recipe() -> PretrainRecipe {
    PretrainRecipe {
        max_tokens: 16,
        batch_tokens: 64,
        accumulate: 2,
        whole_words: true,
        learning_rate: 5e-3,
        head_learning_rate: 1e-2,
        warmup_steps: 5,
        dropout: 0.1,
        attention_dropout: 0.1,
        precision: Precision::Fp32,
        ..PretrainRecipe::default()
    }
}

fn trainer(text: &PretrainText) -> Pretrainer<'_> {
    tch::set_num_threads(1);
    let mut trainer = Pretrainer::new(&recipe(), &config(), &parameters(), text, (&[2], &[3], 4), Device::Cpu).unwrap();
    trainer.end_at(200);
    trainer
}

fn steps(trainer: &mut Pretrainer<'_>, count: usize) -> Vec<PretrainStep> {
    (0..count).map(|_| PretrainStep { elapsed_ms: 0.0, ..trainer.take_step().unwrap() }).collect()
}

fn bits(parameters: &Parameters) -> Vec<Vec<u32>> {
    let numbers = |tensor: &Tensor| Vec::<f32>::try_from(tensor.detach().contiguous().view(-1)).unwrap();
    parameters.iter().map(|(_, tensor)| numbers(tensor).into_iter().map(f32::to_bits).collect()).collect()
}

#[test]
fn a_resumed_training_is_the_uninterrupted_one() {
    let text = text(40);
    let mut whole = trainer(&text);
    // Several passes over the text.
    let all = steps(&mut whole, 12);
    assert!(all[11].epoch > 2 && whole.steps_per_epoch() > 1);
    let folder = tempfile::tempdir().unwrap();
    let mut first = trainer(&text);
    steps(&mut first, 5);
    first.save_state(folder.path()).unwrap();
    // Steps after the last saved state are lost with the process, and made again.
    steps(&mut first, 2);
    let mut second = trainer(&text);
    assert_eq!(second.restore_state(folder.path()).unwrap().unwrap().step, 5);
    assert_eq!(steps(&mut second, 7), all[5..]);
    assert_eq!(bits(second.weights()), bits(whole.weights()));
    assert_ne!(bits(first.weights()), bits(whole.weights()));
}

#[test]
fn it_learns_what_follows_what() {
    let (text, dev) = (text(40), text(20));
    let mut trainer = trainer(&text);
    let before = trainer.evaluate(&dev).unwrap();
    assert!((before.loss - f64::from(PIECES).ln()).abs() < 0.5, "{before:?}");
    steps(&mut trainer, 200);
    let after = trainer.evaluate(&dev).unwrap();
    assert!(after.loss < 0.5 * before.loss && after.accuracy > before.accuracy, "{before:?} {after:?}");
    assert_eq!(after, trainer.evaluate(&dev).unwrap());
}

#[test]
fn too_little_text_is_refused() {
    let text = text(1);
    let made = Pretrainer::new(&recipe(), &config(), &parameters(), &text, (&[2], &[3], 4), Device::Cpu);
    assert!(made.unwrap_err().to_string().contains("give more text"));
}
