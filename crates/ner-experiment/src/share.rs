//! A model as a folder to share: its files and a model card from the record of its run. It holds no text of a corpus,
//! no path and no command line.

use crate::corpus;
use crate::models::Located;
use crate::record::RunRecord;
use anyhow::{Context, Result, bail, ensure};
use ner_data::{DatasetDescription, Mention};
use ner_eval::{Agreement, Calibration, calibration};
use ner_files::NewFolder;
use ner_runs::read_predictions;
use serde_json::Value;
use std::fmt::Write;
use std::path::Path;

/// What a model is made of; other files of its folder are left out.
const FILES: [&str; 12] = [
    "config.json",
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
];

/// Bins of the calibration error, as in reports.
const BINS: usize = 15;

/// Writes a model with its card to the new folder `out`.
///
/// # Errors
/// If `out` has contents, or a file cannot be read or written.
pub fn package(located: &Located, out: &Path) -> Result<()> {
    let new = NewFolder::create(out)?;
    let folder = located.folder();
    let mut shards = Vec::new();
    for name in FILES {
        let path = folder.join(name);
        if path.is_file() {
            fs_err::copy(&path, new.draft().join(name))?;
            shards.extend(if name.ends_with(".index.json") { shards_of(&path)? } else { Vec::new() });
        }
    }
    for name in shards {
        fs_err::copy(folder.join(&name), new.draft().join(&name))?;
    }
    fs_err::write(new.draft().join("README.md"), card(located)?)?;
    Ok(new.finish()?)
}

/// The files that an index of weights names.
fn shards_of(index: &Path) -> Result<Vec<String>> {
    let json: Value = serde_json::from_slice(&fs_err::read(index)?).with_context(|| index.display().to_string())?;
    let mut names: Vec<String> = Vec::new();
    for name in json["weight_map"].as_object().into_iter().flat_map(|map| map.values()) {
        let name = name.as_str().unwrap_or_default();
        ensure!(Path::new(name).file_name().is_some_and(|plain| plain == name), "{} names {name}", index.display());
        names.push(name.to_owned());
    }
    names.sort();
    names.dedup();
    Ok(names)
}

/// The model card, in Markdown with the hub's header.
fn card(located: &Located) -> Result<String> {
    let config: Value = serde_json::from_slice(&fs_err::read(located.folder().join("config.json"))?)?;
    let Some(run) = located.run() else {
        bail!("{} has no run, so there is no record to write a model card from", located.name)
    };
    let record: RunRecord = run.read_run().context("a model card needs the record of a training")?;
    let scores = run.path().join("scores.json");
    let scores: Value = if scores.is_file() { serde_json::from_slice(&fs_err::read(scores)?)? } else { Value::Null };
    let description = corpus::describe(&record.plan.dataset).ok().map(|named| named.description);
    let calibration = calibration_of(run.path())?;
    Ok(Card { name: &located.name, config: &config, record: &record, scores: &scores, description, calibration }.text())
}

/// Of the test split; `None` without predictions.
fn calibration_of(run: &Path) -> Result<Option<Calibration>> {
    let mut confidences = Vec::new();
    for document in read_predictions(run, "test")?.into_iter().flatten() {
        let gold: Vec<Mention> = document.gold.iter().map(Mention::from).collect();
        for mention in document.predicted.iter().map(Mention::from) {
            let is_right = gold.iter().any(|gold| Agreement::of(gold, &mention) == Some(Agreement::Right));
            confidences.extend(mention.confidence.map(|confidence| (f64::from(confidence.value()), is_right)));
        }
    }
    Ok(calibration(&confidences, BINS)?)
}

struct Card<'a> {
    name: &'a str,
    config: &'a Value,
    record: &'a RunRecord,
    scores: &'a Value,
    description: Option<DatasetDescription>,
    calibration: Option<Calibration>,
}

impl Card<'_> {
    fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let Self { record, description, .. } = self;
        let types = record.labels.types.join(", ");
        let title = |d: &DatasetDescription| if d.title.is_empty() { d.name.clone() } else { d.title.clone() };
        let corpus = description.as_ref().map_or_else(|| record.plan.dataset.clone(), title);
        self.header(out)?;
        writeln!(out, "# {}\n", self.name)?;
        writeln!(out, "Finds mentions of these types in text: {types}.\n")?;
        if record.plan.sample {
            writeln!(
                out,
                "**Trained on a synthetic sample.** The sample is invented; this model and its scores say nothing about \
                 real text.\n"
            )?;
        }
        writeln!(out, "## Data\n")?;
        writeln!(out, "- Corpus: {corpus}")?;
        if let Some(description) = description {
            for (what, value) in [
                ("Text", &description.domain),
                ("Language", &description.language),
                ("Home page", &description.homepage),
            ] {
                if !value.is_empty() {
                    writeln!(out, "- {what}: {value}")?;
                }
            }
            for citation in &description.citation {
                writeln!(out, "- Cite: {citation}")?;
            }
        }
        writeln!(out, "- Trained on: {}", if record.plan.train_on.is_train() { "train" } else { "train and dev" })?;
        writeln!(out, "\n| split | documents | mentions |\n|---|---|---|")?;
        let (documents, mentions) = (&record.corpus.documents, &record.corpus.mentions);
        for (split, documents, mentions) in [
            ("train", documents.train, mentions.train),
            ("dev", documents.dev, mentions.dev),
            ("test", documents.test, mentions.test),
        ] {
            writeln!(out, "| {split} | {documents} | {mentions} |")?;
        }
        self.scores(out)?;
        writeln!(out, "\n## Model\n")?;
        // A folder's name may be its owner's.
        let is_folder = record.encoder.origin["kind"] == "folder";
        let encoder = if is_folder { "from a folder" } else { record.encoder.name.as_str() };
        writeln!(out, "- Encoder: {encoder} (SHA-256 of its weights: {})", record.encoder.sha256)?;
        writeln!(out, "- Head: {}", record.plan.recipe.head)?;
        writeln!(
            out,
            "- Seed {}, {} epochs, learning rate {}",
            record.plan.recipe.seed, record.plan.recipe.epochs, record.plan.recipe.learning_rate
        )?;
        writeln!(
            out,
            "- Trained with medner {} on libtorch {} in {}",
            record.code.medner, record.code.libtorch, record.compute
        )?;
        self.usage(out)?;
        self.limits(out)
    }

    /// The hub's metadata.
    fn header(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "---\nlibrary_name: medner\npipeline_tag: token-classification")?;
        if let Some(language) = self.description.as_ref().map(|d| &d.language).filter(|language| !language.is_empty()) {
            writeln!(out, "language: {language}")?;
        }
        if let Some(id) = self.record.encoder.origin["id"].as_str() {
            writeln!(out, "base_model: {id}")?;
        }
        writeln!(out, "tags:\n- medical\n- named-entity-recognition\n---\n")
    }

    fn scores(&self, out: &mut String) -> std::fmt::Result {
        writeln!(
            out,
            "\n## Scores\n\nA mention counts if its span and its type are right. Intervals: 95 %, by bootstrap over documents."
        )?;
        for split in ["test", "dev"] {
            let Some(scores) = self.scores.get(split).filter(|scores| scores.is_object()) else { continue };
            let intervals = &self.scores[format!("{split}_intervals")];
            writeln!(out, "\n| {split} | precision | recall | F1 | mentions |\n|---|---|---|---|---|")?;
            let types = scores["per_type"].as_object();
            let rows = types
                .into_iter()
                .flat_map(|types| types.iter())
                .map(|(name, scores)| (name.as_str(), scores, &intervals["per_type"][name.as_str()]));
            for (name, scores, intervals) in
                std::iter::once(("all (micro)", &scores["overall"], &intervals["overall"])).chain(rows)
            {
                write!(out, "| {name} |")?;
                for key in ["precision", "recall", "f1"] {
                    let percent =
                        |value: &Value| value.as_f64().map_or("–".to_owned(), |v| format!("{:.1}", 100.0 * v));
                    let (low, high) = (percent(&intervals[key]["low"]), percent(&intervals[key]["high"]));
                    write!(out, " {} ({low}–{high}) |", percent(&scores[key]))?;
                }
                writeln!(out, " {} |", scores["support"])?;
            }
        }
        if let Some(calibration) = &self.calibration {
            writeln!(
                out,
                "\nExpected calibration error of the confidences on test: {:.3} ({BINS} bins). They are not calibrated.",
                calibration.expected_calibration_error
            )?;
        }
        Ok(())
    }

    fn usage(&self, out: &mut String) -> std::fmt::Result {
        writeln!(
            out,
            "\n## Use\n\n```python\nimport medner\n\nmodel = medner.load(\"OWNER/NAME\")  # or the path of this folder\n\
             for mention in model(\"Aspirin relieved the fever.\"):\n    print(mention.start, mention.end, mention.type)\n```\n"
        )?;
        let classes = self.config["architectures"][0].as_str().unwrap_or_default();
        if classes.ends_with("ForTokenClassification") {
            writeln!(
                out,
                "In transformers, which labels every piece of a word for itself (medner decides by whole words):\n\n\
                 ```python\nfrom transformers import pipeline\n\n\
                 find = pipeline(\"token-classification\", \"OWNER/NAME\", aggregation_strategy=\"first\")\n```"
            )
        } else {
            writeln!(
                out,
                "transformers has no such head: `AutoModel.from_pretrained` loads the encoder ({classes}), and the \
                 tensors of the head are in `model.safetensors` beside it."
            )
        }
    }

    fn limits(&self, out: &mut String) -> std::fmt::Result {
        writeln!(
            out,
            "\n## Limits\n\n- The scores hold for text like that of the corpus. Measure on your own text before you rely on them.\n\
             - The model misses mentions and finds wrong ones; it is no medical device and must not decide about patients."
        )?;
        writeln!(out, "\n## Licence\n")?;
        let licence = self.record.encoder.licence.as_deref().unwrap_or("not recorded");
        writeln!(out, "- Encoder: {licence}")?;
        let corpus = self.description.as_ref().map(|d| d.licence.as_str()).filter(|licence| !licence.is_empty());
        writeln!(out, "- Corpus: {}", corpus.unwrap_or("not recorded"))?;
        writeln!(out, "- This model: whoever shares it decides within these terms, and says so here.")
    }
}
