//! What people corrected on the page: `corrections/NAME.jsonl` in the batch's folder, a journal for each annotator.
//!
//! A line is on the disk before its action is answered. One process at a time may write; anybody may read, and files may be
//! brought together from copies of the folder, since each belongs to one annotator and says to which batch.

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

/// The journals of a batch, which this process alone writes.
pub struct Corrections {
    folder: PathBuf,
    batch: String,
    open: BTreeMap<String, Open>,
    _lock: Lock,
}

struct Open {
    path: PathBuf,
    file: File,
    /// Bytes of its whole lines.
    length: u64,
    /// Whether bytes of a line that failed could not be taken out again.
    is_broken: bool,
}

impl Corrections {
    /// Takes the journals, cuts off what was being written when a process was killed, and gives what comes of them.
    ///
    /// # Errors
    /// Where another process has them, or one is damaged; file and line are named.
    pub fn open(batch: &Batch) -> Result<(Self, BTreeMap<String, Work>)> {
        let in_parts = batch.documents.iter().find(|document| document.mentions.iter().any(Mention::is_discontinuous));
        if let Some(document) = in_parts {
            bail!("item {}: the page cannot show a mention of several parts; correct it in another tool", document.id);
        }
        let folder = batch.folder.join(FOLDER);
        fs_err::create_dir_all(&folder)?;
        let lock_path = folder.join(".lock");
        let lock = Lock::take(&lock_path)?.with_context(|| {
            let holder = Lock::holder(&lock_path).unwrap_or_else(|| "another process".into());
            format!(
                "{} is being corrected by {holder}; a batch has one server, for all annotators",
                batch.folder.display()
            )
        })?;
        let mut corrections = Self { folder, batch: batch.id.clone(), open: BTreeMap::new(), _lock: lock };
        let mut works = BTreeMap::new();
        for (name, path) in files(&corrections.folder)? {
            let (work, torn) = play(&path, &name, batch)?;
            let mut open = Open::at(path)?;
            if torn > 0 {
                open.length -= torn;
                open.cut()?;
                warn!("{}: cut off a line that was being written when its process ended", open.path.display());
            }
            // A file of nothing but a torn first line begins anew.
            corrections.open.insert(name.clone(), open);
            works.insert(name, work);
        }
        Ok((corrections, works))
    }

    /// Saves records of an annotator, all or none of them.
    ///
    /// # Errors
    /// Where they cannot be written; the journal is as it was before.
    pub fn save(&mut self, name: &str, records: &[Record]) -> io::Result<()> {
        if !self.open.contains_key(name) {
            let open = Open::at(self.folder.join(format!("{name}.jsonl")))?;
            // The name of a new file belongs to its folder.
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
        // Not for appending: Windows cannot shorten such a file.
        let file = File::options().create(true).truncate(false).read(true).write(true).open(&path).map_err(named)?;
        let length = file.metadata().map_err(named)?.len();
        Ok(Self { path, file, length, is_broken: false })
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let named =
            |path: &Path, error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        if self.is_broken {
            return Err(named(&self.path, io::Error::other("it could not be written before; start again")));
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

/// Journals by the names of their annotators.
fn files(folder: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let mut found = BTreeMap::new();
    for path in super::files_of(folder)? {
        let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        let is_journal = path.extension().is_some_and(|extension| extension == "jsonl") && check_name(&name);
        ensure!(is_journal, "{} is no journal of an annotator, and does not belong there", path.display());
        found.insert(name, path);
    }
    Ok(found)
}

/// What comes of a journal, and how many bytes of a torn line stand at its end.
fn play(path: &Path, name: &str, batch: &Batch) -> Result<(Work, u64)> {
    let bytes = fs_err::read(path)?;
    let journal = journal::read(&bytes, &batch.documents, &batch.id, name)
        .map_err(|damage| anyhow::anyhow!("{}:{}: {}", path.display(), damage.line, damage.why))?;
    Ok((journal.work, (bytes.len() - journal.whole) as u64))
}

/// Everybody's work, as it is saved now; of nobody where the page was never used.
///
/// # Errors
/// Where a journal is damaged; file and line are named.
pub fn works(batch: &Batch) -> Result<BTreeMap<String, Work>> {
    let mut works = BTreeMap::new();
    for (name, path) in files(&batch.folder.join(FOLDER))? {
        let (work, _) = play(&path, &name, batch)?;
        // A journal that holds no action yet.
        if work.last() > 0 {
            works.insert(name, work);
        }
    }
    Ok(works)
}

/// What came back of a batch from the page: the items that are done, with the mentions that were not rejected; `None` where
/// the page was not used. Of several annotators one has to be named, unless somebody adjudicated.
///
/// # Errors
/// Where a journal is damaged, it is not plain whose corrections are meant, or none of theirs is done.
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
            "{place}: {} have corrected it; settle their differences on the page as {ADJUDICATED}, or say --annotator NAME",
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
    info!("{place}: taken as {name} corrected it on the page");
    if open > 0 {
        warn!("{place}: {open} items are left out, since {name} has not marked them as done");
    }
    Ok(Some(documents))
}
