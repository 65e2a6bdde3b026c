//! Corrections made on the page: `corrections/NAME.jsonl` in the batch's folder, one journal per annotator.
//!
//! A line is on disk before its action is answered. One process at a time may write; anyone may read. You can merge
//! journals from copies of the folder: each belongs to one annotator and names its batch.

use super::batch::Batch;
use anyhow::{Context, Result, bail, ensure};
use ner_active::correct::{ADJUDICATED, Record, Work, check_name, journal};
use ner_data::{Document, Mention};
use ner_runs::Lock;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use tracing::{info, warn};

const FOLDER: &str = "corrections";

/// The journals of a batch, locked for writing by this process.
pub struct Corrections {
    folder: PathBuf,
    batch: String,
    open: BTreeMap<String, Open>,
    _lock: Lock,
}

struct Open {
    path: PathBuf,
    file: File,
    /// Length of the complete lines in bytes.
    length: u64,
    /// Whether bytes of a failed write could not be removed.
    is_broken: bool,
}

impl Corrections {
    /// Locks the journals, cuts off partial last lines of killed processes, and returns each annotator's work.
    ///
    /// # Errors
    /// If another process holds the lock, or a journal is damaged; the message has file and line.
    pub fn open(batch: &Batch) -> Result<(Self, BTreeMap<String, Work>)> {
        let in_parts = batch.documents.iter().find(|document| document.mentions.iter().any(Mention::is_discontinuous));
        if let Some(document) = in_parts {
            bail!(
                "item {}: the page cannot show discontinuous mentions; correct this batch in another tool",
                document.id
            );
        }
        let folder = batch.folder.join(FOLDER);
        fs_err::create_dir_all(&folder)?;
        let lock_path = folder.join(".lock");
        let lock = Lock::take(&lock_path)?.with_context(|| {
            let holder = Lock::holder(&lock_path).unwrap_or_else(|| "another process".into());
            format!("{} is open in {holder}; a batch has one server for all annotators", batch.folder.display())
        })?;
        let mut corrections = Self { folder, batch: batch.id.clone(), open: BTreeMap::new(), _lock: lock };
        let mut works = BTreeMap::new();
        for (name, path) in files(&corrections.folder)? {
            let (work, torn) = play(&path, &name, batch)?;
            let mut open = Open::at(path)?;
            if torn > 0 {
                open.length -= torn;
                open.cut()?;
                warn!("{}: cut off a partial line left by a killed process", open.path.display());
            }
            // A file with only a partial first line starts over.
            corrections.open.insert(name.clone(), open);
            works.insert(name, work);
        }
        Ok((corrections, works))
    }

    /// Appends all of an annotator's records, or none.
    ///
    /// # Errors
    /// If they cannot be written; the journal is then unchanged.
    pub fn save(&mut self, name: &str, records: &[Record]) -> io::Result<()> {
        if !self.open.contains_key(name) {
            let open = Open::at(self.folder.join(format!("{name}.jsonl")))?;
            // A new file name is durable only after its folder is synced.
            #[cfg(unix)]
            File::open(&self.folder)?.sync_all()?;
            self.open.insert(name.into(), open);
        }
        let Some(open) = self.open.get_mut(name) else { return Err(io::ErrorKind::NotFound.into()) };
        let mut bytes = if open.length == 0 { journal::header(&self.batch, name) } else { Vec::new() };
        records.iter().for_each(|record| bytes.extend(journal::line(record)));
        open.append(&bytes)
    }
}

impl Open {
    fn at(path: PathBuf) -> io::Result<Self> {
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        // Not opened for appending: Windows cannot truncate such a file.
        let file = File::options().create(true).truncate(false).read(true).write(true).open(&path).map_err(named)?;
        let length = file.metadata().map_err(named)?.len();
        Ok(Self { path, file, length, is_broken: false })
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let named =
            |path: &Path, error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        if self.is_broken {
            return Err(named(&self.path, io::Error::other("an earlier write failed; restart the server")));
        }
        let written = self.seek().and_then(|()| self.file.write_all(bytes)).and_then(|()| self.file.sync_data());
        match written {
            Ok(()) => self.length += bytes.len() as u64,
            Err(error) => {
                self.is_broken = self.cut().is_err();
                return Err(named(&self.path, error));
            }
        }
        Ok(())
    }

    fn seek(&mut self) -> io::Result<()> {
        io::Seek::seek(&mut self.file, io::SeekFrom::Start(self.length)).map(drop)
    }

    fn cut(&self) -> io::Result<()> {
        self.file.set_len(self.length)?;
        self.file.sync_all()
    }
}

/// Journal files by annotator.
fn files(folder: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let mut found = BTreeMap::new();
    for path in super::files_of(folder)? {
        let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        let is_journal = path.extension().is_some_and(|extension| extension == "jsonl") && check_name(&name);
        ensure!(is_journal, "{} is not an annotator's journal; move it out of this folder", path.display());
        found.insert(name, path);
    }
    Ok(found)
}

/// Replays a journal; also returns the length of a partial last line in bytes.
fn play(path: &Path, name: &str, batch: &Batch) -> Result<(Work, u64)> {
    let bytes = fs_err::read(path)?;
    let journal = journal::read(&bytes, &batch.documents, &batch.id, name)
        .map_err(|damage| anyhow::anyhow!("{}:{}: {}", path.display(), damage.line, damage.why))?;
    Ok((journal.work, (bytes.len() - journal.whole) as u64))
}

/// Each annotator's saved work; empty if the page was never used.
///
/// # Errors
/// If a journal is damaged; the message has file and line.
pub fn works(batch: &Batch) -> Result<BTreeMap<String, Work>> {
    let mut works = BTreeMap::new();
    for (name, path) in files(&batch.folder.join(FOLDER))? {
        let (work, _) = play(&path, &name, batch)?;
        // Skip journals without actions.
        if work.last() > 0 {
            works.insert(name, work);
        }
    }
    Ok(works)
}

/// The corrections made on the page: the items marked as done, without rejected mentions. `None` if the page was not
/// used. With several annotators, `annotator` must name one unless somebody adjudicated.
///
/// # Errors
/// If a journal is damaged, the annotator is ambiguous, or the annotator has marked no item as done.
pub fn corrected(batch: &Batch, annotator: Option<&str>) -> Result<Option<Vec<(usize, Document)>>> {
    let works = works(batch)?;
    let place = batch.folder.display();
    let names: Vec<&str> = works.keys().map(String::as_str).collect();
    let name = match (annotator, names.as_slice()) {
        (Some(name), names) => {
            ensure!(names.contains(&name), "{place}: {name} has corrected nothing of it on the page");
            name
        }
        (None, []) => return Ok(None),
        (None, names) if names.contains(&ADJUDICATED) => ADJUDICATED,
        (None, [name]) => name,
        (None, names) => bail!(
            "{place}: {} have corrected it; adjudicate on the page as {ADJUDICATED}, or choose one with --annotator NAME",
            names.join(" and ")
        ),
    };
    let work = &works[name];
    let mut documents = Vec::new();
    for (at, (item, document)) in work.items().iter().zip(&batch.documents).enumerate() {
        if item.done {
            let mentions = item.places().map(|place| place.to_mention()).collect();
            documents.push((at, Document { mentions, ..document.clone() }));
        }
    }
    ensure!(!documents.is_empty(), "{place}: {name} has marked no item as done");
    let open = work.items().len() - documents.len();
    info!("{place}: using the corrections that {name} made on the page");
    if open > 0 {
        warn!("{place}: skipped {open} items that {name} has not marked as done");
    }
    Ok(Some(documents))
}
