//! Options of linking, shared by the commands that link mentions.

use anyhow::{Context, Result, ensure};
use ner_annotate::Annotator;
use ner_experiment::reranker;
use ner_hub::sha256_file;
use ner_link::{LinkOptions, Linker, Linkers, SETTINGS_FILE, Vocabulary};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Which vocabularies mentions are linked to.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct VocabularyArgs {
    /// Vocabulary of `vocabulary build` that mentions are linked to, those of all types or of one; repeatable
    #[arg(long = "vocabulary", value_name = "[TYPE=]NAME.voc", value_parser = vocabulary)]
    vocabularies: Vec<(Option<String>, PathBuf)>,
    /// Type that concepts must have, or its beginning and * (C04*), for the vocabulary of all types or of one; repeatable
    #[arg(
        long = "concept-type",
        value_name = "[TYPE=]NAME",
        value_parser = concept_type,
        requires = "vocabularies"
    )]
    concept_types: Vec<(Option<String>, String)>,
    /// Number of candidates of a mention; its id is that of the best [default: 1]
    #[arg(
        long,
        value_name = "K",
        requires = "vocabularies",
        value_parser = clap::value_parser!(u16).range(1..=1000)
    )]
    candidates: Option<u16>,
    /// Folder of `vocabulary train`: its encoder ranks the names that resemble a mention
    #[arg(long, value_name = "DIR", requires = "vocabularies")]
    reranker: Option<PathBuf>,
}

/// The same with a threshold, for commands whose `--threshold` is another one.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct LinkArgs {
    #[command(flatten)]
    vocabularies: VocabularyArgs,
    /// Smallest score of a link, from 0 to 1 [default: the reranker's, or 0.5]
    #[arg(long, value_name = "MIN", requires = "vocabularies")]
    link_threshold: Option<f64>,
}

/// Parses a vocabulary, and the type that it is for.
///
/// # Errors
/// If one is empty.
pub fn vocabulary(text: &str) -> Result<(Option<String>, PathBuf), String> {
    let (entity_type, path) = match text.split_once('=') {
        Some((entity_type, path)) if !entity_type.contains('/') => (Some(entity_type), path),
        _ => (None, text),
    };
    if path.is_empty() || entity_type.is_some_and(str::is_empty) {
        return Err("name a file, or TYPE=FILE".to_owned());
    }
    Ok((entity_type.map(str::to_owned), path.into()))
}

#[allow(clippy::unnecessary_wraps, reason = "clap's parsers can fail")]
fn concept_type(text: &str) -> Result<(Option<String>, String), String> {
    Ok(match text.split_once('=') {
        Some((entity_type, name)) => (Some(entity_type.to_owned()), name.to_owned()),
        None => (None, text.to_owned()),
    })
}

impl VocabularyArgs {
    /// Whether mentions are linked.
    pub fn are_given(&self) -> bool {
        !self.vocabularies.is_empty()
    }

    /// Refuses several candidates for an output that holds none.
    ///
    /// # Errors
    /// If there are several, and `to` is the name of such a format.
    pub fn check_candidates(&self, to: &str) -> Result<()> {
        let holds_candidates = matches!(to, "jsonl" | "bioc-xml" | "bioc-json" | "brat");
        ensure!(
            holds_candidates || self.candidates.is_none_or(|count| count == 1),
            "--candidates has no effect on {to} output: it is for jsonl, bioc-xml, bioc-json and brat"
        );
        Ok(())
    }

    /// Opens the vocabularies, and the reranker if there is one. Without a threshold, that of the reranker holds.
    ///
    /// # Errors
    /// If one cannot be opened, two are for the same type, a type of concepts belongs to no vocabulary, or the reranker was
    /// trained for others.
    pub fn open(&self, threshold: Option<f64>) -> Result<Linkers> {
        let reranker = self.reranker.as_deref().map(reranker::open).transpose()?;
        let chosen = reranker.as_ref().and_then(|reranker| reranker.settings().threshold);
        let threshold = threshold.or(chosen).unwrap_or_else(|| LinkOptions::default().threshold);
        ensure!((0.0..=1.0).contains(&threshold), "the smallest score of a link must be from 0 to 1");
        let k = self.candidates.map_or(1, usize::from);
        let mut linkers = Linkers::default();
        // A vocabulary may serve several types.
        let mut open: BTreeMap<&Path, Arc<Vocabulary>> = BTreeMap::new();
        for (entity_type, path) in &self.vocabularies {
            let vocabulary = match open.get(path.as_path()) {
                Some(vocabulary) => Arc::clone(vocabulary),
                None => Arc::new(Vocabulary::open(path).context("build it with `medner vocabulary build`")?),
            };
            open.insert(path, Arc::clone(&vocabulary));
            let types = self.concept_types.iter().filter(|(of, _)| of == entity_type);
            let types = types.map(|(_, name)| name.clone()).collect();
            let mut linker = Linker::new(vocabulary, LinkOptions { k, threshold });
            if let Some(reranker) = &reranker {
                linker = linker.reranked_by(reranker)?;
            }
            linkers.add(entity_type.as_deref(), linker, types)?;
        }
        for (of, name) in &self.concept_types {
            let is_there = self.vocabularies.iter().any(|(entity_type, _)| entity_type == of);
            let option = of.as_ref().map_or_else(|| name.clone(), |of| format!("{of}={name}"));
            ensure!(is_there, "--concept-type {option} has no effect: no --vocabulary has this TYPE");
        }
        Ok(linkers)
    }
}

impl LinkArgs {
    /// The vocabularies alone.
    pub const fn vocabularies(&self) -> &VocabularyArgs {
        &self.vocabularies
    }

    /// Opens the vocabularies; `None` without any.
    ///
    /// # Errors
    /// As [`VocabularyArgs::open`].
    pub fn open(&self) -> Result<Option<Linkers>> {
        self.vocabularies.are_given().then(|| self.vocabularies.open(self.link_threshold)).transpose()
    }

    /// Lets an annotator link its mentions.
    ///
    /// # Errors
    /// As [`VocabularyArgs::open`], or if a type is not found by any model.
    pub fn apply(&self, annotator: Annotator) -> Result<Annotator> {
        match self.open()? {
            None => Ok(annotator),
            Some(linkers) => annotator.with_vocabularies(Arc::new(linkers)).map_err(anyhow::Error::msg),
        }
    }

    /// Adds what must be equal to resume an output.
    ///
    /// # Errors
    /// If the reranker cannot be read.
    pub fn add_settings(&self, annotator: &Annotator, settings: &mut Value) -> Result<()> {
        let Some(linkers) = annotator.linkers() else { return Ok(()) };
        let vocabulary = |(of, linker, types): (Option<&str>, &Linker, &[String])| {
            let vocabulary = linker.vocabulary();
            json!({
                "type": of,
                "sha256": vocabulary.sha256(),
                "release": vocabulary.release(),
                "system": vocabulary.system(),
                "concept_types": types,
                "threshold": linker.options().threshold,
            })
        };
        settings["linking"] = json!({
            "vocabularies": linkers.iter().map(vocabulary).collect::<Vec<_>>(),
            "candidates": self.vocabularies.candidates.unwrap_or(1),
        });
        if let Some(folder) = &self.vocabularies.reranker {
            // It names the checksums of its parts.
            settings["linking"]["reranker"] = sha256_file(&folder.join(SETTINGS_FILE))?.into();
        }
        Ok(())
    }
}
