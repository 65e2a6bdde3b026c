//! Loads a corpus and an encoder for training.

use crate::assertion::assertions_as_types;
use crate::corpus::{self, Corpus};
use crate::plan::Plan;
use anyhow::{Context, Result};
use ner_data::{DocumentTokenizer, LabelSet, Split};
use ner_hub::EncoderFiles;
use ner_model::{Head, InferenceConfig, KeptHead, Pretrained, find_device, load_encoder, load_further};
use std::time::{Duration, Instant};
use tch::{Device, Kind};
use tracing::{info, warn};

/// The inputs of a training.
pub struct Prepared {
    /// The corpus.
    pub corpus: Corpus,
    /// The files of the encoder.
    pub files: EncoderFiles,
    /// Labels of the model.
    pub labels: LabelSet,
    /// The encoder's weights with a new head.
    pub pretrained: Pretrained,
    /// Inference settings of the model.
    pub inference: InferenceConfig,
    /// Its tokenizer.
    pub tokenizer: DocumentTokenizer,
    /// Device to compute on.
    pub device: Device,
    /// Compute precision.
    pub kind: Kind,
    /// Time to read the corpus.
    pub reading_time: Duration,
}

impl Prepared {
    /// Loads the corpus and the encoder, with a new head. Fits the plan's windows to the encoder.
    ///
    /// # Errors
    /// If the corpus or the encoder is missing, or the corpus has faults that the plan does not accept.
    pub fn of(plan: &mut Plan) -> Result<Self> {
        let device = find_device(&plan.device)?;
        let kind = plan.recipe.precision.resolve(device)?;
        let begin = Instant::now();
        let mut corpus = corpus::load(&plan.dataset, &plan.source())?;
        corpus.check_faults(plan.lenient)?;
        if plan.recipe.head() == Head::Assertion {
            assertions_as_types(&mut corpus)?;
        }
        let reading_time = begin.elapsed();
        corpus.check_gold(&[Split::Train, Split::Dev, Split::Test])?;
        let files = ner_hub::resolve_encoder(&plan.encoder, &corpus::hub_options())?;
        let labels = LabelSet::new(plan.recipe.tag_scheme, &corpus.labels);
        let (head, seed) = (plan.recipe.head(), plan.recipe.seed);
        let pretrained = if plan.keep_head {
            let (pretrained, head) = load_further(&files.dir, &labels, head, seed)?;
            report_head(&head);
            pretrained
        } else {
            load_encoder(&files.config, &files.weights, &labels, head, seed)?
        };
        let pretrained = match plan.student_layers {
            Some(layers) => pretrained.with_layers(layers).map_err(anyhow::Error::msg).context("--student-layers")?,
            None => pretrained,
        };
        plan.recipe.max_tokens = plan.recipe.max_tokens.min(pretrained.config.max_tokens() as usize);
        let inference = InferenceConfig {
            window: plan.recipe.window_size(),
            line_boundaries: corpus.description.line_boundaries,
            head: plan.recipe.head(),
            overlaps: plan.recipe.overlaps,
            aggregation: plan.recipe.aggregation(),
            categories: corpus.description.categories.clone(),
            assertable: corpus.description.assertable.clone(),
            rules_weight: None,
        };
        let tokenizer = DocumentTokenizer::from_folder(&files.dir, inference.window)?
            .with_embeddings(pretrained.config.vocab_size as usize)?;
        Ok(Self { corpus, files, labels, pretrained, inference, tokenizer, device, kind, reading_time })
    }
}

fn report_head(KeptHead { kept, fresh, left, other_kind }: &KeptHead) {
    if *other_kind {
        warn!("the model's head differs from the recipe's, so only its encoder is reused");
        return;
    }
    let list = |names: &[String]| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    info!("reusing the head: kept {}; new {}; dropped {}", list(kept), list(fresh), list(left));
}
