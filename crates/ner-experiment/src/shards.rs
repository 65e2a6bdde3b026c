//! Shards: a collection dealt out to processes that know nothing of each other, and the check of what they wrote.
//!
//! Each shard writes one file, its part, and then a manifest. A shard without a manifest has not finished.

use crate::input::{Bytes, Ids, Input, Kind};
use anyhow::{Context, Result, bail, ensure};
use ner_files::is_draft;
use ner_stores::{contains, is_url, local_copy, names};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use tracing::warn;

/// One of several equal shares of a collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// From 0, as Kubernetes and `--array=0-63` of SLURM count.
    pub number: usize,
    /// How many there are.
    pub of: usize,
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/').and_then(|(number, of)| Some((number.parse().ok()?, of.parse().ok()?)));
        match parts {
            Some((number, of)) if number < of => Ok(Self { number, of }),
            Some((_, of)) if of > 0 => Err(format!("the {of} shards have the numbers 0 to {}", of - 1)),
            _ => Err("write NUMBER/OF, as in 0/64 for the first of 64 shards".into()),
        }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

impl Shard {
    /// The file that the shard writes, without its ending.
    pub fn part(self) -> String {
        format!("part-{:05}-of-{:05}", self.number, self.of)
    }

    fn manifest(self, folder: &Path) -> PathBuf {
        folder.join(self.part() + MANIFEST)
    }
}

const MANIFEST: &str = ".manifest.json";

/// A file, or a row group of a Parquet file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    /// Its path in the folder that was named, with its ending.
    pub file: String,
    /// The rows of a row group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<Range<usize>>,
}

/// A unit as a shard read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadUnit {
    /// Which one.
    #[serde(flatten)]
    pub unit: Unit,
    /// Bytes of its file, and of an object also its version: another file of the same name differs in them.
    #[serde(default)]
    pub version: String,
}

/// All units, whoever gets them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collection {
    /// How many there are.
    pub units: usize,
    /// SHA-256 of their names and rows, in order.
    pub sha256: String,
}

/// What a shard has to do.
#[derive(Debug)]
pub struct Share {
    /// Its inputs, in their order in the collection.
    pub inputs: Vec<Input>,
    /// The same by name.
    pub units: Vec<ReadUnit>,
    /// The whole collection.
    pub collection: Collection,
}

/// Deals out files and row groups in turn. What a shard gets depends on the list of names and rows alone, so that a file
/// can be repaired without a change for the other shards.
///
/// # Errors
/// If an input is no file, or a Parquet file cannot be read.
pub fn deal(inputs: &[Input], shard: Shard) -> Result<Share> {
    let mut all = Vec::new();
    for input in inputs {
        let path = input.path.display();
        ensure!(
            matches!(input.bytes, Bytes::Object(_)) || (input.bytes == Bytes::File && input.path.is_file()),
            "{path} cannot be dealt out to shards: only files can, not streams, archives or folders of brat or i2b2"
        );
        let ending = input.path.extension().map(|ending| format!(".{}", ending.to_string_lossy())).unwrap_or_default();
        let file = input.name.clone() + &ending;
        if input.kind == Kind::Parquet {
            for group in input.row_groups().with_context(|| format!("{path}: it cannot be dealt out"))? {
                let rows = Some(group.rows);
                let unit = Unit { file: file.clone(), rows: rows.clone() };
                all.push((Input { rows, ..input.clone() }, unit));
            }
        } else {
            all.push((input.clone(), Unit { file, rows: None }));
        }
    }
    let mut names = Sha256::new();
    for (_, unit) in &all {
        names.update(serde_json::to_vec(unit)?);
        names.update(b"\n");
    }
    let collection = Collection { units: all.len(), sha256: format!("{:x}", names.finalize()) };
    let mine = all.into_iter().skip(shard.number).step_by(shard.of);
    let mine = mine.map(|(input, unit)| Ok((ReadUnit { unit, version: input.version()? }, input)));
    let (units, inputs) = mine.collect::<Result<Vec<_>>>()?.into_iter().unzip();
    Ok(Share { inputs, units, collection })
}

/// What a finished shard says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// See [`Shard`].
    pub shard: usize,
    /// See [`Shard`].
    pub of: usize,
    /// Version of medner.
    pub medner: String,
    /// What decides the mentions besides the text: checksums of models, precision, settings.
    pub settings: Value,
    /// The collection that was dealt out.
    pub collection: Collection,
    /// What this shard read of it.
    pub inputs: Vec<ReadUnit>,
    /// Number of annotated documents.
    pub documents: usize,
    /// Number of their tokens.
    pub tokens: usize,
    /// Number of mentions by type.
    pub mentions: BTreeMap<String, usize>,
    /// How many documents and parts of inputs could not be annotated.
    pub skipped: usize,
    /// What they are and why, as far as there is room ([`MOST_FAULTS`]).
    pub faults: Vec<String>,
    /// The file with the mentions.
    pub part: Part,
}

/// A file that a shard wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Its name.
    pub file: String,
    /// SHA-256 of its bytes.
    pub sha256: String,
}

/// A manifest lists at most this many faults.
pub const MOST_FAULTS: usize = 1000;

impl Part {
    /// Describes a finished part.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn of(path: &Path) -> Result<Self> {
        let file = path.file_name().context("a part without a name")?.to_string_lossy().into_owned();
        Ok(Self { file, sha256: ner_hub::sha256_file(&local_copy(path)?)? })
    }
}

impl Manifest {
    /// Writes the manifest, after the part: from now on the shard is finished.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let shard = Shard { number: self.shard, of: self.of };
        Ok(ner_stores::write(&shard.manifest(folder), serde_json::to_vec_pretty(self)?)?)
    }

    fn read(path: &Path) -> Result<Self> {
        let text = ner_stores::read(path)?;
        serde_json::from_slice(&text).with_context(|| format!("{} is not the manifest of a shard", path.display()))
    }

    /// Why the two cannot belong to one output.
    fn differs(&self, of: usize, settings: &Value, collection: &Collection) -> Option<String> {
        if self.of != of {
            return Some(format!("there are {} shards in one and {of} in the other", self.of));
        }
        if self.collection != *collection {
            let (one, other) = (self.collection.units, collection.units);
            return Some(format!("the inputs differ ({one} files and row groups in one, {other} in the other)"));
        }
        let keys = |value: &Value| value.as_object().map(|map| map.keys().cloned().collect::<Vec<_>>());
        let all = keys(&self.settings).into_iter().chain(keys(settings)).flatten();
        let different: BTreeSet<String> = all.filter(|key| self.settings.get(key) != settings.get(key)).collect();
        if different.is_empty() {
            return None;
        }
        let names: Vec<String> = different.into_iter().collect();
        Some(format!("these settings differ: {}", names.join(", ")))
    }
}

/// Whether the shard has finished already. If its part or its manifest is damaged, it has not.
///
/// # Errors
/// If the folder has parts of other shards, inputs, models or settings, or the shard's own inputs were replaced.
pub fn is_finished(folder: &Path, shard: Shard, settings: &Value, share: &Share) -> Result<bool> {
    if !is_url(folder) {
        fs_err::create_dir_all(folder)?;
    }
    let own = shard.manifest(folder);
    let mut paths = if contains(&own)? { vec![own.clone()] } else { Vec::new() };
    paths.extend(manifests(folder)?.into_iter().filter(|path| *path != own));
    let readable = paths.into_iter().find_map(|path| match Manifest::read(&path) {
        Ok(manifest) => Some((path, manifest)),
        Err(error) => {
            warn!("{error:#}");
            None
        }
    });
    let Some((path, there)) = readable else { return Ok(false) };
    if let Some(difference) = there.differs(shard.of, settings, &share.collection) {
        bail!(
            "{} was written by another annotation: {difference}; name another --out, or repeat what the other shards did",
            path.display()
        );
    }
    let part = folder.join(&there.part.file);
    if path != own || !contains(&part)? {
        return Ok(false);
    }
    if let Some((old, _)) = there.inputs.iter().zip(&share.units).find(|(old, new)| old != new) {
        bail!(
            "shard {shard} has finished, but {} was another file then; remove {} to annotate the shard again",
            old.unit.file,
            own.display()
        );
    }
    let is_whole = Part::of(&part)? == there.part;
    if !is_whole {
        warn!("{} was changed after its shard had finished; it is written again", part.display());
    }
    Ok(is_whole)
}

/// The manifests of a folder, by name.
fn manifests(folder: &Path) -> Result<Vec<PathBuf>> {
    let is_manifest = |path: &PathBuf| path.to_string_lossy().ends_with(MANIFEST) && !is_draft(path);
    Ok(names(folder)?.into_iter().filter(is_manifest).collect())
}

/// What a folder of parts holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// How many shards there should be.
    pub of: usize,
    /// The shards to start (again).
    pub missing: Vec<usize>,
    /// What is wrong with the folder, except for missing shards.
    pub faults: Vec<String>,
    /// Documents in the parts of finished shards.
    pub documents: usize,
    /// Their mentions.
    pub mentions: usize,
    /// What finished shards could not annotate.
    pub skipped: usize,
    /// Unfinished files, of running or killed processes.
    pub drafts: usize,
}

impl Checked {
    /// Whether all documents of the collection are there.
    pub fn is_whole(&self) -> bool {
        self.missing.is_empty() && self.faults.is_empty() && self.skipped == 0
    }

    /// The missing shards as job arrays take them: `0,3-5`.
    pub fn missing_ranges(&self) -> String {
        let ranges = self.missing.chunk_by(|one, next| one + 1 == *next).map(|range| match range {
            [one] => one.to_string(),
            range => format!("{}-{}", range[0], range[range.len() - 1]),
        });
        ranges.collect::<Vec<_>>().join(",")
    }
}

/// Checks that the shards in a folder are all there, whole, and of one annotation.
///
/// `ids` passes on the ids of the documents in a part.
///
/// # Errors
/// If the folder cannot be read or has no manifest.
pub fn check(folder: &Path, ids: impl Fn(&Path, &mut dyn FnMut(&str)) -> Result<()>) -> Result<Checked> {
    let paths = manifests(folder)?;
    let first = paths.iter().find_map(|path| Manifest::read(path).ok()).with_context(|| {
        format!(
            "{} has no readable manifest of a shard: no shard has finished; `annotate --shard 0/N --out` writes there",
            folder.display()
        )
    })?;
    let mut checked = Checked { of: first.of, missing: (0..first.of).collect(), ..Checked::default() };
    let (mut seen, mut repeated) = (Ids::default(), 0);
    let mut files = BTreeSet::new();
    for path in paths {
        let manifest = match Manifest::read(&path) {
            Ok(manifest) => manifest,
            Err(error) => {
                checked.faults.push(format!("{error:#}; start the shard again"));
                continue;
            }
        };
        files.insert(manifest.part.file.clone());
        if let Some(difference) = first.differs(manifest.of, &manifest.settings, &manifest.collection) {
            checked.faults.push(format!("shards {} and {} do not fit: {difference}", first.shard, manifest.shard));
            continue;
        }
        let part = folder.join(&manifest.part.file);
        if !contains(&part)? {
            continue;
        }
        let copy = local_copy(&part)?;
        if Part::of(&copy)? != manifest.part {
            checked.faults.push(format!("{} was changed after its shard had finished", part.display()));
            continue;
        }
        ids(&copy, &mut |id| repeated += usize::from(!seen.insert(id)))?;
        checked.missing.retain(|number| *number != manifest.shard);
        checked.documents += manifest.documents;
        checked.mentions += manifest.mentions.values().sum::<usize>();
        checked.skipped += manifest.skipped;
        checked.faults.extend(manifest.faults.into_iter().map(|fault| format!("shard {}: {fault}", manifest.shard)));
    }
    if repeated > 0 {
        checked.faults.push(format!("{repeated} documents have the id of another document"));
    }
    for path in names(folder)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if is_draft(&path) {
            checked.drafts += 1;
            continue;
        }
        // That of a missing shard is replaced when the shard is started again.
        let is_missing = |number: &usize| name.starts_with(&Shard { number: *number, of: checked.of }.part());
        let is_known = name.ends_with(MANIFEST) || files.contains(&name) || checked.missing.iter().any(is_missing);
        if name.starts_with("part-") && !is_known {
            checked.faults.push(format!("{} belongs to no shard of this annotation; remove it", path.display()));
        }
    }
    Ok(checked)
}
