//! A batch: items to annotate, as a folder.
//!
//! ```text
//! batch.json       strategy, budget and models; for each item its id, origin, rank and score
//! exported.jsonl   the items as exported, with the model's suggestions; never edited
//! brat/            or batch.jsonl, batch.doccano.jsonl, batch.conll: the copy that people or tools correct
//! corrections/     corrections made on the page of `active annotate`, if it was used
//! ```

use anyhow::{Context, Result, ensure};
use ner_active::{Budget, Strategy};
use ner_data::{Document, Format, FormatOptions, Mention};
use ner_files::write_bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::io::Write;
use std::path::{Path, PathBuf};
use tracing::{info, warn};

/// File format of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum To {
    /// A folder of text files with .ann files
    Brat,
    /// JSON lines with `spans`, as in Prodigy
    #[default]
    Jsonl,
    /// JSON lines with `label`, as in doccano
    Doccano,
    /// Words with tags
    Conll,
}

impl To {
    /// Name of the file or folder to correct, inside the batch's folder.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Brat => "brat",
            Self::Jsonl => "batch.jsonl",
            Self::Doccano => "batch.doccano.jsonl",
            Self::Conll => "batch.conll",
        }
    }
}

const MANIFEST: &str = "batch.json";
const EXPORTED: &str = "exported.jsonl";

/// `batch.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Selection strategy.
    pub strategy: Strategy,
    /// Publication of the strategy.
    pub source: String,
    /// Selection budget.
    pub budget: Budget,
    /// Random seed.
    pub seed: u64,
    /// Types of the first model.
    #[serde(default)]
    pub types: Vec<String>,
    /// The models used; the first one made the suggestions.
    pub models: Vec<String>,
    /// Format of the batch.
    pub to: To,
    /// Number of items in the pool.
    pub offered: usize,
    /// The items, best first.
    pub items: Vec<Item>,
}

/// A selected item.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Item {
    /// Its id. The id of a sentence is its document's id plus the sentence number.
    pub id: String,
    /// Id of its document.
    pub document: String,
    /// Its start in the document, in characters.
    pub start: usize,
    /// Number of words.
    pub words: usize,
    /// Rank, from 1 (best).
    pub rank: usize,
    /// The strategy's score; see `ner-active` for its meaning.
    pub score: f64,
}

/// Writes a batch to a new folder, which appears by one rename. `documents` are the items with their suggestions.
///
/// # Errors
/// If the folder exists and is not empty, or cannot be written.
pub fn write(folder: &Path, manifest: &Manifest, documents: &[Document]) -> Result<()> {
    let is_free = !folder.exists() || fs_err::read_dir(folder)?.next().is_none();
    ensure!(is_free, "{} already exists and is not empty; name another folder", folder.display());
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs_err::create_dir_all(parent)?;
    let staging = tempfile::Builder::new().prefix(".medner-batch-").tempdir_in(parent)?;
    let options = FormatOptions::default();
    let place = staging.path().join(manifest.to.name());
    match manifest.to {
        To::Brat => report(&Format::Brat.write(&place, documents, &options)?),
        To::Conll => report(&Format::Conll.write(&place, documents, &options)?),
        To::Jsonl | To::Doccano => {
            let mut lines = Vec::new();
            for (document, item) in documents.iter().zip(&manifest.items) {
                serde_json::to_writer(&mut lines, &line(manifest, document, item))?;
                lines.push(b'\n');
            }
            write_bytes(&place, &lines)?;
        }
    }
    Format::Jsonl.write(&staging.path().join(EXPORTED), documents, &options)?;
    write_bytes(&staging.path().join(MANIFEST), &serde_json::to_vec_pretty(manifest)?)?;
    if folder.exists() {
        fs_err::remove_dir(folder)?;
    }
    let staged = staging.keep();
    // Temporary folders are private by default.
    #[cfg(unix)]
    fs_err::set_permissions(&staged, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    Ok(fs_err::rename(staged, folder)?)
}

fn report(losses: &ner_data::ConversionReport) {
    for (item, tally) in losses.items.iter().filter(|(_, tally)| tally.moved + tally.lost > 0) {
        info!("the format cannot express all suggestions: {item}: {} moved, {} lost", tally.moved, tally.lost);
    }
}

fn line(manifest: &Manifest, document: &Document, item: &Item) -> Value {
    let reason = json!({
        "strategy": manifest.strategy, "rank": item.rank, "score": item.score, "document": item.document, "start": item.start,
    });
    let place = |mention: &Mention| (mention.span().start, mention.span().end, mention.entity_type.clone());
    if manifest.to == To::Doccano {
        let labels: Vec<_> = document.mentions.iter().map(place).collect();
        return json!({ "id": document.id, "text": document.text, "label": labels, "meta": reason });
    }
    let span = |mention: &Mention| {
        let (start, end, label) = place(mention);
        json!({ "start": start, "end": end, "label": label })
    };
    let spans: Vec<_> = document.mentions.iter().map(span).collect();
    json!({ "id": document.id, "text": document.text, "spans": spans, "meta": reason })
}

/// A batch as exported.
pub struct Batch {
    /// Its folder.
    pub folder: PathBuf,
    /// `batch.json`.
    pub manifest: Manifest,
    /// Checksum of the exported items, which identifies the batch.
    pub id: String,
    /// The items with their suggestions, in the manifest's order.
    pub documents: Vec<Document>,
}

impl Batch {
    /// Opens a batch.
    ///
    /// # Errors
    /// If the folder is not a batch, or is damaged.
    pub fn open(folder: &Path) -> Result<Self> {
        let path = folder.join(MANIFEST);
        let bytes = fs_err::read(&path)
            .with_context(|| format!("{} is not a batch made by `active select`", folder.display()))?;
        let manifest: Manifest =
            serde_json::from_slice(&bytes).with_context(|| format!("{} is not a valid batch.json", path.display()))?;
        let exported_path = folder.join(EXPORTED);
        let id =
            Sha256::digest(fs_err::read(&exported_path)?).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let documents = read_documents(&exported_path, Format::Jsonl)?;
        let ids = |(document, item): (&Document, &Item)| document.id == item.id;
        ensure!(
            documents.len() == manifest.items.len() && documents.iter().zip(&manifest.items).all(ids),
            "the items in {} do not match {}",
            exported_path.display(),
            path.display()
        );
        Ok(Self { folder: folder.to_owned(), manifest, id, documents })
    }

    /// Types of the model and of its suggestions.
    pub fn types(&self) -> Vec<String> {
        let mut types = self.manifest.types.clone();
        for mention in self.documents.iter().flat_map(|document| &document.mentions) {
            if !types.contains(&mention.entity_type) {
                types.push(mention.entity_type.clone());
            }
        }
        types
    }
}

/// Reads all documents of a file or folder; any fault is an error.
pub(super) fn read_documents(path: &Path, format: Format) -> Result<Vec<Document>> {
    ensure!(path.exists(), "{} does not exist", path.display());
    let (documents, diagnostics) = format.open(path, &FormatOptions::default())?.read_all()?;
    let losses: Vec<String> =
        diagnostics.0.iter().filter(|fault| fault.kind.is_loss()).map(ToString::to_string).collect();
    ensure!(losses.is_empty(), "{} is damaged, so nothing was added:\n  {}", path.display(), losses.join("\n  "));
    for fault in &diagnostics.0 {
        warn!("{fault}");
    }
    Ok(documents)
}

/// Writes documents as JSON lines, atomically.
///
/// # Errors
/// If the file cannot be written.
pub fn write_documents(path: &Path, documents: &[Document]) -> Result<()> {
    let mut bytes = Vec::new();
    {
        let out = ner_data::format::Output::Open(Box::new(&mut bytes as &mut dyn Write));
        let mut writer = Format::Jsonl.create_output(out, &FormatOptions::default())?;
        for document in documents {
            writer.write(document)?;
        }
        writer.finish()?;
    }
    Ok(write_bytes(path, &bytes)?)
}

/// Reads a file written by this program, or a corpus without faults.
///
/// # Errors
/// If it cannot be read, is damaged, or has an unknown format.
pub fn documents_of(path: &Path) -> Result<Vec<Document>> {
    let format = Format::detect(path)?.with_context(|| format!("cannot detect the format of {}", path.display()))?;
    read_documents(path, format)
}
