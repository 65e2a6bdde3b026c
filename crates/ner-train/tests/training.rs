//! The training loop on a tiny random encoder: it learns, is reproducible to the bit, and resumes where it stopped.

#![allow(clippy::unwrap_used, reason = "helpers of tests may unwrap as tests do")]

use ner_document::{LabelSet, TagScheme, TaggedEntity};
use ner_model::{
    Activation, Batch, BertConfig, Classifier, Extras, Head, LossOptions, ModelType, Parameters, Precision, SoftLabels,
    Targets, TrainingPass, load_parameters, new_head_for,
};
use ner_text::ScoredEntity;
use ner_train::{
    Further, FurtherTask, HeadName, Progress, Recipe, Step, TrainError, Trainer, TrainingDocument, TrainingSet,
    restore_state, save_state,
};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::fs;
use std::path::Path;
use tch::{Device, Kind, Tensor, no_grad};

const PIECES: u32 = 40;
const FIRST_PIECE: u32 = 5;

fn config() -> BertConfig {
    BertConfig {
        model_type: ModelType::Bert,
        vocab_size: i64::from(PIECES),
        embedding_size: 32,
        hidden_size: 32,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        intermediate_size: 64,
        hidden_act: Activation::Gelu,
        max_position_embeddings: 40,
        type_vocab_size: 2,
        layer_norm_eps: 1e-12,
        pad_token_id: 0,
        hidden_dropout_prob: 0.1,
        attention_probs_dropout_prob: 0.1,
        extras: Extras::None,
    }
}

fn labels() -> LabelSet {
    LabelSet::new(TagScheme::Bio, ["X", "Y"])
}

/// A random encoder. It has its own generator: libtorch's is shared by all threads of a test.
fn parameters(head: Head) -> Parameters {
    let mut random = SmallRng::seed_from_u64(1);
    let tensor = |(name, shape): (String, Vec<i64>)| {
        let count = shape.iter().product::<i64>() as usize;
        // The sum of twelve uniform numbers is very nearly normal.
        let mut normal = || (0..12).map(|_| random.random::<f32>()).sum::<f32>() - 6.0;
        let numbers: Vec<f32> = match shape.len() {
            1 if name.ends_with("LayerNorm.weight") => vec![1.0; count],
            1 => vec![0.0; count],
            _ => (0..count).map(|_| normal() * 0.1).collect(),
        };
        (name, Tensor::from_slice(&numbers).view(shape.as_slice()))
    };
    Parameters::new(Classifier::shapes(&config(), head.outputs(&labels()), head).into_iter().map(tensor).collect())
}

/// Documents of the given lengths. A piece's label depends on it and on the piece before it, so that the embeddings
/// alone do not determine it.
fn data(lengths: &[usize]) -> TrainingSet {
    let mut random = SmallRng::seed_from_u64(2);
    let document = |(at, &len): (usize, &usize)| {
        let input_ids: Vec<u32> = (0..len).map(|_| random.random_range(FIRST_PIECE..PIECES)).collect();
        let label = |at: usize| match (input_ids[at] % 5, at.checked_sub(1).map(|before| input_ids[before] % 2)) {
            (0, Some(0)) => 1,
            (0, _) => 3,
            (1, Some(0)) => 2,
            _ => 0,
        };
        let labels: Vec<i64> = (0..len).map(label).collect();
        // Each piece is a word, and each label B a mention of it.
        let mention = |(at, label): (usize, &i64)| {
            let entity_type = [1, 3].iter().position(|begins| begins == label)?;
            Some(TaggedEntity { units: at..at + 1, entity_type })
        };
        TrainingDocument {
            id: format!("d{at}"),
            words: (0..len).map(|at| at..at + 1).collect(),
            entities: labels.iter().enumerate().filter_map(mention).collect(),
            unannotated: None,
            soft: None,
            labels,
            cuts: vec![0],
            sentences: (0..len).step_by(5).collect(),
            input_ids,
        }
    };
    let documents = lengths.iter().enumerate().map(document).collect();
    TrainingSet { documents, prefix: vec![2], suffix: vec![3], mask_id: Some(4), types: labels().types, misfits: 0 }
}

fn twenty() -> TrainingSet {
    data(&std::array::from_fn::<usize, 20, _>(|at| 5 + at))
}

/// All random options, and several batches in an epoch.
fn recipe() -> Recipe {
    Recipe {
        epochs: 4,
        learning_rate: 3e-3,
        batch_tokens: 80,
        dropout: 0.1,
        attention_dropout: 0.1,
        token_masking: 0.1,
        ema_decay: 0.9,
        freeze_embeddings: false,
        layer_decay: 0.9,
        r_drop: 0.5,
        head: HeadName::Token,
        thresholds: false,
        longest_span: 4,
        shortest_crop: 4,
        longest_crop: 16,
        precision: Precision::Fp32,
        ..Recipe::default()
    }
}

/// Nothing random but the order of the documents, which are not cut.
fn plain() -> Recipe {
    Recipe {
        dropout: 0.0,
        attention_dropout: 0.0,
        token_masking: 0.0,
        r_drop: 0.0,
        shortest_crop: 30,
        longest_crop: 30,
        max_grad_norm: 0.0,
        ..recipe()
    }
}

fn trainer<'d>(recipe: &Recipe, data: &'d TrainingSet) -> Trainer<'d> {
    // Products this small are slower on several threads, and the tests already use all cores.
    tch::set_num_threads(1);
    Trainer::new(recipe, &config(), &parameters(recipe.head()), data, Device::Cpu).unwrap()
}

fn train(trainer: &mut Trainer<'_>, epochs: usize) -> Vec<Step> {
    (0..epochs).flat_map(|_| trainer.next_epoch().collect::<Result<Vec<Step>, _>>().unwrap()).collect()
}

fn bits(parameters: &Parameters) -> Vec<(String, Vec<u32>)> {
    let numbers = |tensor: &Tensor| Vec::<f32>::try_from(tensor.detach().contiguous().view(-1)).unwrap();
    let bits = |tensor: &Tensor| numbers(tensor).into_iter().map(f32::to_bits).collect();
    parameters.iter().map(|(name, tensor)| (name.to_owned(), bits(tensor))).collect()
}

/// Everything in a trainer's saved state: weights, average and the optimiser's averages.
fn state(trainer: &Trainer<'_>) -> (Vec<(String, Vec<u32>)>, String) {
    let folder = tempfile::tempdir().unwrap();
    save_state(folder.path(), trainer, None).unwrap();
    let place = folder.path().join(format!("epoch-{}", trainer.epochs_done()));
    let tensors = load_parameters(&place.join("tensors.safetensors")).unwrap();
    (bits(&tensors), fs::read_to_string(place.join("progress.json")).unwrap())
}

fn mean_loss(steps: &[Step]) -> f64 {
    steps.iter().map(|step| step.loss).sum::<f64>() / steps.len() as f64
}

#[test]
fn the_loss_falls_to_nothing_on_data_that_can_be_memorised() {
    let data = twenty();
    use HeadName::{Crf, Multilabel, Span, Token};
    let cases = [
        (Token, Precision::Fp32, 40, 0.02),
        (Token, Precision::Bf16, 10, 0.5),
        (Span, Precision::Fp32, 40, 0.2),
        (Crf, Precision::Fp32, 40, 0.2),
        (Multilabel, Precision::Fp32, 40, 0.2),
    ];
    for (head, precision, epochs, bound) in cases {
        let recipe = Recipe { head, epochs, precision, ..plain() };
        let mut trainer = trainer(&recipe, &data);
        let total = trainer.total_steps();
        let mut losses = Vec::new();
        for epoch in 1..=epochs {
            let steps = train(&mut trainer, 1);
            assert!(steps.iter().all(|step| step.epoch == epoch && !step.skipped));
            assert_eq!(steps.iter().map(|step| step.pieces).sum::<usize>(), trainer.tokens_per_epoch());
            losses.push(mean_loss(&steps));
        }
        assert_eq!((trainer.steps_taken(), trainer.epochs_done()), (total, epochs));
        assert!(losses[0] > 0.8 && losses[epochs - 1] < bound, "{head:?}, {precision:?}: {losses:?}");
    }
}

/// Crops without mentions are left out, and a set without any is refused.
#[test]
fn the_values_of_given_mentions_are_memorised() {
    let mut data = twenty();
    let recipe = Recipe { head: HeadName::Assertion, epochs: 30, shortest_crop: 1, longest_crop: 5, ..plain() };
    let mut trainer = trainer(&recipe, &data);
    let losses: Vec<f64> = (0..30)
        .map(|_| {
            let steps = train(&mut trainer, 1);
            let pieces = steps.iter().map(|step| step.pieces).sum::<usize>();
            assert!(pieces > 0 && pieces < trainer.tokens_per_epoch());
            mean_loss(&steps)
        })
        .collect();
    assert!(losses[0] > 0.5 && losses[29] < 0.05, "{losses:?}");
    data.documents.iter_mut().for_each(|document| document.entities.clear());
    let refused = Trainer::new(&recipe, &config(), &parameters(Head::Assertion), &data, Device::Cpu).map(drop);
    assert!(refused.unwrap_err().to_string().contains("no mention with an assertion"));
}

#[test]
fn a_seed_decides_everything() {
    let data = twenty();
    let trained = |seed: u64| {
        let mut trainer = trainer(&Recipe { seed, ..recipe() }, &data);
        let losses: Vec<u64> = train(&mut trainer, 2).iter().map(|step| step.loss.to_bits()).collect();
        (losses, bits(trainer.weights()))
    };
    let first = trained(1);
    assert!(first == trained(1), "two runs with one seed differ");
    assert_ne!(first.1, trained(2).1);
}

#[test]
fn a_resumed_run_is_the_uninterrupted_one_to_the_bit() {
    let data = twenty();
    let variants = [
        recipe(),
        Recipe { accumulate: 2, precision: Precision::Bf16, ..recipe() },
        Recipe { ema_decay: 0.0, ..recipe() },
        Recipe { freeze_embeddings: true, ..recipe() },
        Recipe { head: HeadName::Span, boundary_smoothing: 0.1, ..recipe() },
        Recipe { head: HeadName::Crf, head_learning_rate: 1e-2, freeze_embeddings: true, freeze_layers: 1, ..recipe() },
        Recipe { head: HeadName::Multilabel, focal: 1.0, adversarial: 0.5, ..recipe() },
        Recipe { head: HeadName::Assertion, ..recipe() },
    ];
    for recipe in variants {
        let mut whole = trainer(&recipe, &data);
        let mut steps = train(&mut whole, 4);

        let folder = tempfile::tempdir().unwrap();
        let mut before = trainer(&recipe, &data);
        assert_eq!(restore_state(folder.path(), &mut before).unwrap(), None);
        train(&mut before, 1);
        save_state(folder.path(), &before, Some((1, 0.25))).unwrap();
        train(&mut before, 1);
        save_state(folder.path(), &before, Some((2, 0.5))).unwrap();
        // A process died while it saved the third.
        let draft = folder.path().join(".draft-xyz");
        fs::create_dir(&draft).unwrap();
        fs::write(draft.join("tensors.safetensors"), b"half a file").unwrap();

        let mut after = trainer(&recipe, &data);
        let Progress { epoch, step, best, .. } = restore_state(folder.path(), &mut after).unwrap().unwrap();
        assert_eq!((epoch, step, best), (2, before.steps_taken(), Some((2, 0.5))));
        let mut rest = train(&mut after, 2);
        for step in steps.iter_mut().chain(&mut rest) {
            step.elapsed_ms = 0.0;
        }
        assert_eq!(rest, steps[step..]);
        assert!(state(&after) == state(&whole), "the states differ: {recipe:?}");
        assert!(bits(after.weights()) == bits(whole.weights()), "the weights differ: {recipe:?}");
    }
}

#[test]
fn each_option_changes_what_is_learned_and_frozen_weights_stay() {
    let data = twenty();
    let weights = |recipe: &Recipe| {
        let mut trainer = trainer(recipe, &data);
        train(&mut trainer, 1);
        bits(trainer.weights())
    };
    for head in [HeadName::Token, HeadName::Crf, HeadName::Multilabel, HeadName::Span, HeadName::Assertion] {
        let plain = Recipe { head, freeze_embeddings: true, ..plain() };
        let start = bits(&parameters(plain.head()));
        let reference = weights(&plain);
        let mut options = vec![
            Recipe { adversarial: 1.0, ..plain.clone() },
            Recipe { head_learning_rate: 1e-2, ..plain.clone() },
            Recipe { freeze_layers: 1, ..plain.clone() },
        ];
        if head != HeadName::Crf {
            options.push(Recipe { focal: 2.0, ..plain.clone() });
            options.push(Recipe { class_weights: [("X".to_owned(), 3.0)].into(), ..plain.clone() });
        }
        for recipe in options {
            let found = weights(&recipe);
            assert!(found != reference, "{recipe:?} changes nothing");
            let frozen =
                |name: &str| name.contains("embeddings.") || recipe.freeze_layers > 0 && name.contains("layer.0.");
            for ((name, found), (_, start)) in found.iter().zip(&start).filter(|((name, _), _)| frozen(name)) {
                assert!(found == start, "{name} was trained");
            }
        }
    }
}

#[test]
fn a_folder_with_nothing_but_a_draft_holds_no_state() {
    let data = twenty();
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join(".draft-xyz")).unwrap();
    assert_eq!(restore_state(folder.path(), &mut trainer(&recipe(), &data)).unwrap(), None);
    assert_eq!(restore_state(Path::new("/nowhere/state"), &mut trainer(&recipe(), &data)).unwrap(), None);
}

#[test]
fn a_state_of_another_model_is_refused() {
    let data = twenty();
    let folder = tempfile::tempdir().unwrap();
    save_state(folder.path(), &trainer(&recipe(), &data), None).unwrap();
    let wider = BertConfig { intermediate_size: 96, ..config() };
    let random = Parameters::new(
        Classifier::shapes(&wider, labels().len(), Head::Token)
            .into_iter()
            .map(|(name, shape)| (name, Tensor::zeros(shape, (tch::Kind::Float, Device::Cpu))))
            .collect(),
    );
    let mut other = Trainer::new(&recipe(), &wider, &random, &data, Device::Cpu).unwrap();
    let before = bits(other.weights());
    let message = restore_state(folder.path(), &mut other).unwrap_err().to_string();
    assert!(message.contains("bert.encoder.layer.0.intermediate.dense.weight"), "{message}");
    assert!(bits(other.weights()) == before, "the trainer was changed");
}

#[test]
fn a_loss_that_is_no_number_names_the_documents() {
    let mut data = twenty();
    // A piece that occurs in one document only.
    data.documents[7].input_ids[2] = 1;
    let parameters = parameters(Head::Token);
    let embeddings = parameters.get("bert.embeddings.word_embeddings.weight").unwrap();
    let _ = no_grad(|| embeddings.get(1).fill_(f64::NAN));
    let recipe = Recipe { batch_tokens: 60, ..plain() };
    let mut trainer = Trainer::new(&recipe, &config(), &parameters, &data, Device::Cpu).unwrap();
    let failed = trainer.next_epoch().find_map(Result::err).unwrap();
    let TrainError::NotFinite { what: "loss", value, step, documents } = &failed else { panic!("{failed:?}") };
    assert!(value.is_nan() && *step >= 1);
    assert!(documents.contains(&"d7".to_owned()) && documents.len() < 8, "{documents:?}");
    assert!(failed.to_string().contains("d7"), "{failed}");
}

/// Several threads together compute the same as one, up to rounding.
#[test]
fn workers_together_take_the_step_of_one() {
    let set = twenty();
    for head in [HeadName::Token, HeadName::Span, HeadName::Crf, HeadName::Multilabel, HeadName::Assertion] {
        let recipe = Recipe { head, batch_tokens: 160, ..plain() };
        let steps = |threads: i32| {
            tch::set_num_threads(threads);
            let trainer = Trainer::new(&recipe, &config(), &parameters(recipe.head()), &set, Device::Cpu);
            train(&mut trainer.unwrap(), 2)
        };
        let (one, three) = (steps(1), steps(3));
        assert_eq!(one.len(), three.len());
        for (one, three) in one.iter().zip(&three) {
            assert!((one.loss - three.loss).abs() < 1e-3 * one.loss, "{head:?}: {} {}", one.loss, three.loss);
            let (left, right) = (one.gradient_norm, three.gradient_norm);
            assert!((left - right).abs() < 1e-2 * left, "{head:?}: {left} {right}");
        }
    }
}

/// Recomputed with the same dropout, the states and so the gradients are the same.
#[test]
fn gradient_checkpointing_takes_the_same_steps() {
    let set = twenty();
    for (head, adversarial) in
        [(HeadName::Token, 0.5), (HeadName::Span, 0.0), (HeadName::Crf, 0.0), (HeadName::Assertion, 0.0)]
    {
        let plain = Recipe { head, adversarial, freeze_layers: 1, freeze_embeddings: true, ..recipe() };
        for recipe in [plain.clone(), Recipe { freeze_layers: 0, freeze_embeddings: false, ..plain }] {
            let (mut whole, kept) = (trainer(&recipe, &set), Recipe { gradient_checkpointing: true, ..recipe.clone() });
            let mut again = trainer(&kept, &set);
            for (whole, again) in train(&mut whole, 2).iter().zip(&train(&mut again, 2)) {
                assert!((whole.loss - again.loss).abs() <= 1e-4 * whole.loss, "{head:?}: {whole:?} {again:?}");
                let (left, right) = (whole.gradient_norm, again.gradient_norm);
                assert!((left - right).abs() < 1e-3 * left, "{head:?}: {left} {right}");
            }
        }
    }
}

#[test]
fn two_unlike_batches_count_as_one_whole() {
    // The second batch has a third of the first one's pieces: a mean of their means would be another loss.
    let data = data(&[8, 8, 8, 8, 3, 3, 2, 2]);
    let averages = |recipe: &Recipe| {
        let mut trainer = trainer(recipe, &data);
        let steps = train(&mut trainer, 1);
        assert_eq!(steps.len(), 1);
        let folder = tempfile::tempdir().unwrap();
        save_state(folder.path(), &trainer, None).unwrap();
        // After one step the optimiser's averages are its gradients; Adam's weights would magnify gradients near 0.
        (steps[0], load_parameters(&folder.path().join("epoch-1/tensors.safetensors")).unwrap())
    };
    let (whole, gradients) = averages(&Recipe { epochs: 1, batch_tokens: 80, ..plain() });
    let (halves, halved) = averages(&Recipe { epochs: 1, batch_tokens: 40, accumulate: 2, ..plain() });
    assert!((whole.loss - halves.loss).abs() < 1e-5, "{} {}", whole.loss, halves.loss);
    assert!((whole.gradient_norm - halves.gradient_norm).abs() < 1e-5 * whole.gradient_norm);
    assert_eq!((whole.tokens, whole.pieces), (halves.tokens, halves.pieces));
    let first = |(name, _): &(&str, &Tensor)| name.starts_with("exp_avg.");
    let mut compared = 0;
    for (name, gradient) in gradients.iter().filter(first) {
        let gap = (gradient - halved.get(name).unwrap()).abs().max().double_value(&[]);
        assert!(gap < 1e-6, "{name}: {gap}");
        compared += 1;
    }
    assert_eq!(compared, parameters(Head::Token).iter().len());
}

#[test]
fn a_recipe_that_makes_no_sense_is_refused_in_words() {
    let data = twenty();
    let without_mask = TrainingSet { mask_id: None, ..data.clone() };
    let empty = TrainingSet { documents: Vec::new(), ..data.clone() };
    let cases: [(Recipe, &TrainingSet, &str); 10] = [
        (Recipe { dropout: 1.0, ..recipe() }, &data, "dropout = 1"),
        (Recipe { learning_rate: f64::NAN, ..recipe() }, &data, "learning_rate = NaN"),
        (Recipe { accumulate: 0, ..recipe() }, &data, "accumulate = 0"),
        (Recipe { shortest_crop: 0, ..recipe() }, &data, "shortest_crop = 0"),
        (Recipe { max_tokens: 2, ..recipe() }, &data, "max_tokens = 2"),
        (Recipe { freeze_layers: 1, ..recipe() }, &data, "must be frozen, too"),
        (Recipe { freeze_layers: 3, freeze_embeddings: true, ..recipe() }, &data, "the encoder has 2 layers"),
        (
            Recipe { class_weights: [("Z".to_owned(), 2.0)].into(), ..recipe() },
            &data,
            "unknown type `Z`; known: O, X, Y",
        ),
        (recipe(), &without_mask, "no mask token"),
        (recipe(), &empty, "no text"),
    ];
    for (recipe, data, expected) in cases {
        let refused =
            Trainer::new(&recipe, &config(), &parameters(Head::Token), data, Device::Cpu).map(drop).unwrap_err();
        assert!(refused.to_string().contains(expected), "{refused}");
    }
}

/// The trainer without further sources.
fn alone<'d>(recipe: &Recipe, data: &'d TrainingSet) -> Trainer<'d> {
    trainer(recipe, data)
}

/// An auxiliary corpus with a type of its own, and half as many batches as the corpus.
fn auxiliary<'d>(data: &'d TrainingSet, recipe: &Recipe) -> Further<'d> {
    let labels = LabelSet::new(TagScheme::Bio, ["Z"]);
    let head = new_head_for(&config(), &labels, recipe.head(), 7);
    Further { data, batches: 0.5, task: FurtherTask::Auxiliary { name: "other".into(), weight: 0.5, head } }
}

#[test]
fn an_auxiliary_head_trains_the_encoder_resumes_and_is_no_part_of_the_model() {
    tch::set_num_threads(1);
    let (own, mut other) = (twenty(), data(&[9, 12, 7, 30, 11]));
    other.types = vec!["Z".into()];
    for document in &mut other.documents {
        document.labels.iter_mut().for_each(|label| *label = (*label).min(2));
        document.entities.iter_mut().for_each(|entity| entity.entity_type = 0);
    }
    for head in [HeadName::Token, HeadName::Span] {
        let recipe = Recipe { head, ..recipe() };
        let trainer = || {
            let further = vec![auxiliary(&other, &recipe)];
            Trainer::with_further(&recipe, &config(), &parameters(recipe.head()), &own, further, Device::Cpu).unwrap()
        };
        let mut whole = trainer();
        assert!(whole.total_steps() > alone(&recipe, &own).total_steps());
        assert!(whole.model_weights().iter().all(|(name, _)| !name.contains("auxiliary")));
        let before = bits(whole.weights());
        let steps = train(&mut whole, 2);
        let moved: Vec<String> = bits(whole.weights())
            .into_iter()
            .zip(before)
            .filter(|(after, before)| after != before)
            .map(|((name, _), _)| name)
            .collect();
        assert!(moved.iter().any(|name| name.starts_with("classifier.auxiliary.other.")), "{moved:?}");
        assert!(steps.iter().all(|step| step.loss.is_finite()));
        let folder = tempfile::tempdir().unwrap();
        let mut first = trainer();
        train(&mut first, 1);
        save_state(folder.path(), &first, None).unwrap();
        let mut second = trainer();
        restore_state(folder.path(), &mut second).unwrap().unwrap();
        train(&mut second, 1);
        assert!(bits(second.weights()) == bits(whole.weights()), "{head}");
    }
}

#[test]
fn a_student_approaches_its_teacher_with_every_head() {
    for head in [HeadName::Token, HeadName::Span, HeadName::Crf, HeadName::Multilabel] {
        let recipe = Recipe { head, epochs: 30, distillation: 1.0, learning_rate: 1e-2, ..plain() };
        let mut taught = twenty();
        // The teacher is sure of everything, but not quite.
        let mut least = 0.0;
        for document in &mut taught.documents {
            let entropy = |shares: &[f64]| -> f64 { shares.iter().map(|share| -share * share.ln()).sum() };
            let places = |classes: usize, right: &dyn Fn(usize) -> usize, count: usize| -> Vec<f32> {
                let rest = 0.2 / (classes - 1) as f32;
                (0..count * classes).map(|at| if at % classes == right(at / classes) { 0.8 } else { rest }).collect()
            };
            let labels = document.labels.clone();
            document.soft = Some(match head {
                HeadName::Span => {
                    // A fifth of the words are mentions.
                    least = entropy(&[0.9, 0.1]) * 0.2;
                    let span = |entity: &TaggedEntity| ScoredEntity {
                        words: entity.units.clone(),
                        entity_type: entity.entity_type,
                        probability: 0.9,
                    };
                    SoftLabels::Spans(document.entities.iter().map(span).collect())
                }
                HeadName::Multilabel => {
                    least = 2.0 * entropy(&[0.8, 0.1, 0.1]);
                    // Of both types: outside, beginning, inside.
                    let right = |place: usize| match (place % 2, labels[place / 2]) {
                        (0, label @ 1..=2) => label as usize,
                        (1, label @ 3..=4) => label as usize - 2,
                        _ => 0,
                    };
                    SoftLabels::Places(places(3, &right, 2 * labels.len()))
                }
                _ => {
                    least = entropy(&[0.8, 0.05, 0.05, 0.05, 0.05]);
                    SoftLabels::Places(places(5, &|place| labels[place] as usize, labels.len()))
                }
            });
        }
        let mut trainer = trainer(&recipe, &taught);
        let steps = train(&mut trainer, 30);
        let (first, last) = (steps[0].loss, steps[steps.len() - 1].loss);
        assert!(last - least < 0.5 * (first - least), "{head}: from {first} to {last}, at least {least}");
    }
}

/// The first card, unless there is none. To rehearse the tests of cards, the variable `MEDNER_TEST_CARD=cpu` puts the CPU
/// in its place.
#[expect(clippy::print_stderr, reason = "skipped tests are reported")]
fn card() -> Option<Device> {
    if std::env::var_os("MEDNER_TEST_CARD").is_some_and(|card| card == "cpu") {
        return Some(Device::Cpu);
    }
    let found = ner_model::cuda_devices();
    if let Err(reason) = &found {
        eprintln!("SKIPPED: {reason}");
    }
    found.is_ok().then_some(Device::Cuda(0))
}

/// ‖found − expected‖ / ‖expected‖ over all tensors.
fn relative_gap(found: &[Tensor], expected: &[Tensor]) -> f64 {
    let flat = |tensors: &[Tensor]| {
        let flat: Vec<Tensor> =
            tensors.iter().map(|tensor| tensor.to_device(Device::Cpu).to_kind(Kind::Double).reshape([-1])).collect();
        Tensor::cat(&flat, 0)
    };
    let (found, expected) = (flat(found), flat(expected));
    let gap = ((found - &expected).norm() / expected.norm()).double_value(&[]);
    if gap.is_nan() { f64::INFINITY } else { gap }
}

/// Loss and gradients of a batch on a device.
fn gradients(config: &BertConfig, all: &Parameters, head: Head, device: Device, kind: Kind) -> (Tensor, Vec<Tensor>) {
    let computing = all.to_device(device).for_computing(device, kind).requiring_gradients(|_| true);
    let model = Classifier::new(config, &computing, head).unwrap();
    let rows: Vec<Vec<u32>> = [3usize, 28, 5, 17].map(|len| (5..5 + len as u32).collect()).to_vec();
    let words = |row: &Vec<u32>| (1..row.len() - 1).step_by(3).map(|at| at..(at + 3).min(row.len() - 1)).collect();
    let words: Vec<Vec<std::ops::Range<usize>>> = rows.iter().map(words).collect();
    let entities: Vec<Vec<TaggedEntity>> = words
        .iter()
        .map(|words| {
            (0..words.len()).step_by(3).map(|at| TaggedEntity { units: at..at + 1, entity_type: at % 2 }).collect()
        })
        .collect();
    let labels = rows.iter().map(|row| (0..row.len() as i64).map(|at| at % 5).collect()).collect();
    let targets = Targets { labels, words, entities, ..Targets::default() };
    let mut pass = TrainingPass::new(1, device, 0.0, 0.0);
    let leaves: Vec<&Tensor> = computing.iter().map(|(_, leaf)| leaf).collect();
    let loss = model.loss(&Batch { rows }, &targets, kind, &mut pass, &LossOptions::default());
    let gradients = model.gradients(&loss, &leaves, &mut pass);
    let defined = gradients
        .iter()
        .zip(&leaves)
        .map(|(gradient, leaf)| if gradient.defined() { gradient.shallow_clone() } else { leaf.detach().zeros_like() });
    (loss.detach(), defined.collect())
}

/// Every kind of encoder and every head: loss and gradients on a card are those on the CPU. In half precision rows are
/// concatenated there, and padded in fp32.
#[test]
fn card_computes_what_the_cpu_computes() {
    let Some(card) = card() else { return };
    let kinds = [
        ("roberta", include_str!("../../ner-model/tests/encoders/roberta/config.json")),
        ("electra", include_str!("../../ner-model/tests/encoders/electra/config.json")),
        ("mpnet", include_str!("../../ner-model/tests/encoders/mpnet/config.json")),
        ("modernbert", include_str!("../../ner-model/tests/encoders/modernbert/config.json")),
        ("deberta-v3", include_str!("../../ner-model/tests/encoders/deberta-v3/config.json")),
        ("deberta-v2", include_str!("../../ner-model/tests/encoders/deberta-v2/config.json")),
    ];
    let kinds = kinds.map(|(name, text)| (name, BertConfig::from_json(text, Path::new("config.json")).unwrap()));
    let scheme = TagScheme::Bio;
    let heads = [Head::Token, Head::Span { longest: 4 }, Head::Crf { scheme }, Head::Multilabel { scheme }];
    let of_heads = heads.into_iter().map(|head| ("bert", config(), head));
    let cases = of_heads.chain(kinds.into_iter().map(|(name, config)| (name, config, Head::Token)));
    for (name, config, head) in cases {
        let mut random = SmallRng::seed_from_u64(1);
        let tensor = |(name, shape): (String, Vec<i64>)| {
            let middle = if shape.len() == 1 && name.ends_with("weight") { 1.0 } else { 0.0 };
            let count = shape.iter().product::<i64>();
            let numbers: Vec<f32> = (0..count).map(|_| middle + random.random_range(-0.2f32..0.2)).collect();
            (name, Tensor::from_slice(&numbers).view(shape.as_slice()))
        };
        let shapes = Classifier::shapes(&config, head.outputs(&labels()), head);
        let parameters = Parameters::new(shapes.into_iter().map(tensor).collect());
        let (loss, expected) = gradients(&config, &parameters, head, Device::Cpu, Kind::Float);
        // In fp32, a card's convolutions (DeBERTa's) round their inputs to 10 bits.
        let kinds = [(Kind::Float, 2e-3), (Kind::BFloat16, 0.1), (Kind::Half, 0.05)];
        for (kind, bound) in kinds.into_iter().filter(|(kind, _)| card.is_cuda() || *kind != Kind::Half) {
            let (card_loss, found) = gradients(&config, &parameters, head, card, kind);
            let gaps = (relative_gap(&[card_loss], &[loss.shallow_clone()]), relative_gap(&found, &expected));
            assert!(gaps.0 < bound && gaps.1 < bound, "{name}, {head:?}, {kind:?}: {gaps:?}");
        }
    }
}

/// Steps on a card are those on the CPU, and either goes on from the other's state.
#[test]
fn card_trains_and_resumes_as_the_cpu_does() {
    let Some(card) = card() else { return };
    let set = twenty();
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let recipe = Recipe { precision: Precision::Fp32, ema_decay: 0.9, ..plain() };
    let new = |device| Trainer::new(&recipe, &config(), &parameters(recipe.head()), &set, device).unwrap();
    let losses =
        |trainer: &mut Trainer<'_>| -> Vec<f64> { trainer.next_epoch().map(|step| step.unwrap().loss).collect() };
    let near = |left: &[f64], right: &[f64]| left.iter().zip(right).all(|(left, right)| (left - right).abs() < 1e-3);
    let both = [Device::Cpu, card];
    let first = both.map(|device| losses(&mut new(device)));
    assert!(near(&first[0], &first[1]), "{first:?}");
    let second = [0, 1].map(|at| {
        let mut trainer = new(both[at]);
        losses(&mut trainer);
        save_state(folders[at].path(), &trainer, None).unwrap();
        losses(&mut trainer)
    });
    assert!(near(&second[0], &second[1]), "{second:?}");
    for at in [0, 1] {
        let mut other = new(both[1 - at]);
        restore_state(folders[at].path(), &mut other).unwrap().unwrap();
        let found = losses(&mut other);
        assert!(near(&found, &second[at]), "from {:?}: {found:?}, {:?}", both[at], second[at]);
    }
    // In half precision, with all that is random.
    let precisions = [Precision::Bf16, Precision::Fp16];
    for precision in precisions.into_iter().filter(|precision| card.is_cuda() || *precision != Precision::Fp16) {
        for gradient_checkpointing in [false, true] {
            let recipe = Recipe { precision, gradient_checkpointing, adversarial: 0.1, epochs: 8, ..self::recipe() };
            let mut trainer = Trainer::new(&recipe, &config(), &parameters(recipe.head()), &set, card).unwrap();
            let epochs: Vec<Vec<f64>> = (0..8).map(|_| losses(&mut trainer)).collect();
            let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
            assert!(mean(&epochs[7]) < mean(&epochs[0]), "{precision:?}: {epochs:?}");
        }
    }
}
