//! Inputs to annotate: files, folders and stdin in any format, read document by document.

use anyhow::{Context, Result, bail, ensure};
use indicatif::ProgressBar;
use ner_annotate::Event;
use ner_data::format::buffered;
use ner_data::format::conll::ConllOptions;
use ner_data::frames::Texts;
use ner_data::{Diagnostic, DiagnosticKind, Document, Documents, Format, FormatOptions};
use std::collections::HashSet;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tracing::warn;

/// Format of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A plain text file, which is one document.
    Text,
    /// A Parquet table with a column of texts.
    Parquet,
    /// A corpus format.
    Corpus(Format),
}

const TEXT: &str = "text";
const PARQUET: &str = "parquet";

impl Kind {
    /// Names of all formats.
    pub fn names() -> Vec<&'static str> {
        [TEXT, PARQUET].into_iter().chain(Format::all().map(Format::name)).collect()
    }

    /// The format with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            TEXT => Some(Self::Text),
            PARQUET => Some(Self::Parquet),
            _ => Format::from_name(name).map(Self::Corpus),
        }
    }

    /// File endings to read from a folder, without `.gz`.
    fn endings(self) -> &'static [&'static str] {
        match self {
            Self::Text => &["txt", "text"],
            Self::Parquet => &["parquet"],
            Self::Corpus(_) => &["jsonl", "ndjson", "xml", "json", "tsv", "conll", "PubTator", "txt"],
        }
    }

    const fn is_folder_format(self) -> bool {
        matches!(self, Self::Corpus(Format::Brat | Format::I2b2))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => TEXT,
            Self::Parquet => PARQUET,
            Self::Corpus(format) => format.name(),
        })
    }
}

/// A file, a folder (for formats whose collections are folders), or stdin (`-`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// Its path.
    pub path: PathBuf,
    /// Path relative to the named folder, or the file name; without ending, with `/` as separator.
    pub name: String,
    /// Its format.
    pub kind: Kind,
    /// Its compression or archive.
    pub packing: Packing,
}

/// How a file is packed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Packing {
    /// Not packed, or gzip, which all readers decompress.
    #[default]
    Plain,
    /// Compressed with Zstandard.
    Zstd,
    /// At this index in a zip archive. The path is that of the archive and the file in it.
    Zip(Archive, usize),
}

impl Packing {
    /// The packing by file name, for files that are not archives.
    fn of(path: &Path) -> Self {
        if ending(path) == "zst" { Self::Zstd } else { Self::Plain }
    }
}

/// A zip archive, opened once and shared by all its files.
#[derive(Clone)]
pub struct Archive(Arc<Mutex<ZipFiles>>);

type ZipFiles = zip::ZipArchive<BufReader<std::fs::File>>;

impl Archive {
    fn open(path: &Path) -> Result<Self> {
        Ok(Self(Arc::new(Mutex::new(ZipFiles::new(BufReader::new(std::fs::File::open(path)?))?))))
    }

    fn files(&self) -> MutexGuard<'_, ZipFiles> {
        // A thread that panicked with the lock has only read.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Archive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Archive")
    }
}

impl PartialEq for Archive {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Archive {}

impl Input {
    /// Whether this is stdin.
    pub fn is_stdin(&self) -> bool {
        is_stdin(&self.path)
    }

    /// Size in bytes, for a file.
    pub fn bytes(&self) -> Option<u64> {
        let facts = std::fs::metadata(&self.path).ok()?;
        let is_read = !self.is_stdin() && facts.is_file() && self.kind != Kind::Parquet;
        (is_read && self.packing == Packing::Plain).then_some(facts.len())
    }
}

fn is_stdin(path: &Path) -> bool {
    path == Path::new("-")
}

/// Reader options.
#[derive(Clone, Debug, Default)]
pub struct InputOptions {
    /// CoNLL columns.
    pub columns: ConllOptions,
    /// Parquet column of the texts.
    pub text_column: String,
    /// Parquet column of the ids.
    pub id_column: Option<String>,
}

/// Lists the inputs named on the command line, file by file, and whether they include a folder whose files are separate
/// documents or collections.
///
/// # Errors
/// If an input is missing, or its format cannot be detected.
pub fn find(wanted: &[PathBuf], from: Option<Kind>) -> Result<(Vec<Input>, bool)> {
    let (mut inputs, mut is_tree) = (Vec::new(), false);
    for path in wanted {
        if is_stdin(path) {
            let detected = || Ok::<_, io::Error>(Format::detect_beginning(io::stdin().lock().fill_buf()?));
            let kind = match from {
                Some(kind) => kind,
                None => detected()?.map_or(Kind::Text, Kind::Corpus),
            };
            ensure!(kind != Kind::Parquet && !kind.is_folder_format(), "{kind} cannot be read from stdin");
            inputs.push(Input { path: path.clone(), name: "stdin".into(), kind, packing: Packing::Plain });
            continue;
        }
        ensure!(path.exists(), "{} does not exist", path.display());
        let facts = fs_err::metadata(path)?;
        if !facts.is_dir() {
            if ending(path) == "zip" {
                is_tree = true;
                inputs.extend(files_of_zip(path, from)?);
                continue;
            }
            let name = without_ending(Path::new(path.file_name().unwrap_or_default()));
            let packing = Packing::of(path);
            inputs.push(Input { path: path.clone(), name, kind: kind_of(path, from, &packing)?, packing });
            continue;
        }
        let as_whole = match from {
            Some(kind) => kind.is_folder_format().then_some(kind),
            None => Format::detect(path)?.map(Kind::Corpus).filter(|kind| kind.is_folder_format()),
        };
        if let Some(kind) = as_whole {
            let whole = path.canonicalize()?;
            let name = whole.file_name().unwrap_or_default().to_string_lossy().into_owned();
            inputs.push(Input { path: path.clone(), name, kind, packing: Packing::Plain });
            continue;
        }
        is_tree = true;
        let found = files_of(path, from)?;
        ensure!(!found.is_empty(), "{} has no file to annotate", path.display());
        inputs.extend(found);
    }
    Ok((inputs, is_tree))
}

fn files_of(folder: &Path, from: Option<Kind>) -> Result<Vec<Input>> {
    let is_hidden =
        |entry: &walkdir::DirEntry| entry.depth() > 0 && entry.file_name().to_string_lossy().starts_with('.');
    let (mut inputs, mut others) = (Vec::new(), Vec::new());
    for entry in walkdir::WalkDir::new(folder).sort_by_file_name().into_iter().filter_entry(|entry| !is_hidden(entry)) {
        let entry = entry?;
        if !entry.file_type().is_file() {
            continue;
        }
        let path = entry.into_path();
        if !has_known_ending(&path, from) {
            others.push(path);
            continue;
        }
        let packing = Packing::of(&path);
        let kind = kind_of(&path, from, &packing)?;
        let name = without_ending(path.strip_prefix(folder).unwrap_or(&path));
        inputs.push(Input { path, name, kind, packing });
    }
    say_others(&others);
    Ok(inputs)
}

/// Lists the files in a zip archive, like those of a folder.
fn files_of_zip(path: &Path, from: Option<Kind>) -> Result<Vec<Input>> {
    let what = || format!("{} is not a readable zip archive", path.display());
    let archive = Archive::open(path).with_context(what)?;
    let (mut inputs, mut others) = (Vec::new(), Vec::new());
    let count = archive.files().len();
    for at in 0..count {
        let inside = {
            let mut files = archive.files();
            // Raw, so that an encrypted file fails only when it is read, and the others are annotated.
            let file = files.by_index_raw(at).with_context(what)?;
            if file.is_dir() {
                continue;
            }
            file.enclosed_name()
        };
        // The name becomes the output's name.
        let inside = inside
            .with_context(|| format!("{}: the name of file {} leads out of the archive", path.display(), at + 1))?;
        let is_hidden = |part: &std::ffi::OsStr| part.to_string_lossy().starts_with('.') || part == "__MACOSX";
        if inside.iter().any(is_hidden) {
            continue;
        }
        let place = path.join(&inside);
        if !has_known_ending(&inside, from) || ending(&inside) == "zst" {
            others.push(place);
            continue;
        }
        let packing = Packing::Zip(archive.clone(), at);
        let kind = kind_of(&place, from, &packing)?;
        inputs.push(Input { path: place, name: without_ending(&inside), kind, packing });
    }
    say_others(&others);
    ensure!(!inputs.is_empty(), "{} has no file to annotate", path.display());
    inputs.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(inputs)
}

fn has_known_ending(path: &Path, from: Option<Kind>) -> bool {
    let has_ending = |kind: Kind| kind.endings().iter().any(|ending| ending_of(path).as_deref() == Some(*ending));
    let known = [Kind::Text, Kind::Parquet, Kind::Corpus(Format::Jsonl)];
    from.map_or_else(|| known.into_iter().any(has_ending), has_ending)
}

fn say_others(others: &[PathBuf]) {
    if let Some(other) = others.first() {
        warn!("{} files have unknown endings and were not annotated, for example {}", others.len(), other.display());
    }
}

/// Opens a file, decompressing everything except gzip; `bar` advances with the bytes read.
fn open_packed(path: &Path, packing: &Packing, bar: Option<&ProgressBar>) -> Result<Box<dyn Read>> {
    let file = || -> Result<Box<dyn Read>> {
        let file = fs_err::File::open(path)?;
        Ok(match bar {
            Some(bar) => Box::new(bar.wrap_read(file)),
            None => Box::new(file),
        })
    };
    Ok(match packing {
        Packing::Plain => file()?,
        Packing::Zstd => Box::new(zstd::Decoder::new(file()?)?),
        Packing::Zip(archive, at) => {
            // An unnamed temporary file, which disappears with this process in any case.
            let mut whole = tempfile::tempfile()?;
            io::copy(&mut archive.files().by_index(*at)?, &mut whole)?;
            whole.rewind()?;
            Box::new(whole)
        }
    })
}

/// The format of a file. Files without a detectable format are plain text, and so are `.txt` files whose lines look
/// like columns, because notes may contain tables.
fn kind_of(path: &Path, from: Option<Kind>, packing: &Packing) -> Result<Kind> {
    const PACKED: [&str; 6] = ["bz2", "xz", "zip", "tar", "tgz", "7z"];
    if PACKED.contains(&ending(path).as_str()) {
        bail!("{} has an unsupported compression; unpack it, or use gzip, zstd or zip", path.display());
    }
    if let Some(kind) = from {
        ensure!(!kind.is_folder_format(), "{kind} input is a folder, but {} is not a folder", path.display());
        return Ok(kind);
    }
    let ending = ending_of(path);
    if ending.as_deref() == Some("parquet") {
        return Ok(Kind::Parquet);
    }
    // A file that cannot be read is reported when its documents are read, and the other inputs are annotated.
    let format = match packing {
        Packing::Plain => Format::detect(path).ok().flatten(),
        packed => beginning(path, packed).ok().and_then(|bytes| Format::detect_beginning(&bytes)),
    };
    let is_text = ending.as_deref() == Some("txt") && format == Some(Format::Conll);
    Ok(format.filter(|_| !is_text).map_or(Kind::Text, Kind::Corpus))
}

/// The first bytes of a packed file, to detect its format.
fn beginning(path: &Path, packing: &Packing) -> Result<Vec<u8>> {
    const ENOUGH: u64 = 1 << 16;
    let mut bytes = Vec::new();
    match packing {
        Packing::Zip(archive, at) => {
            buffered(archive.files().by_index(*at)?, path).take(ENOUGH).read_to_end(&mut bytes)?
        }
        packing => {
            buffered(open_packed(path, packing, None)?, &without_packing(path)).take(ENOUGH).read_to_end(&mut bytes)?
        }
    };
    Ok(bytes)
}

/// The last file extension, in lower case.
fn ending(path: &Path) -> String {
    path.extension().map(|ending| ending.to_string_lossy().to_lowercase()).unwrap_or_default()
}

fn without_packing(path: &Path) -> PathBuf {
    if matches!(ending(path).as_str(), "gz" | "zst") { path.with_extension("") } else { path.into() }
}

fn ending_of(path: &Path) -> Option<String> {
    without_packing(path).extension().map(|ending| ending.to_string_lossy().into_owned())
}

fn without_ending(path: &Path) -> String {
    let path = without_packing(path);
    let text = path.iter().map(|part| part.to_string_lossy()).collect::<Vec<_>>().join("/");
    let endings = Format::all().map(|format| format.extension().to_owned()).chain(ending_of(&path));
    let known = endings.filter_map(|ending| text.strip_suffix(&format!(".{ending}"))).min_by_key(|stem| stem.len());
    known.filter(|stem| !stem.is_empty() && !stem.ends_with('/')).unwrap_or(&text).to_owned()
}

/// Events between documents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mark {
    /// The following documents belong to this input.
    Begin(usize),
    /// The input has been read completely.
    End(usize),
    /// A document that cannot be annotated; the message quotes nothing of it.
    Bad(String),
    /// The input cannot be read to its end, so its documents are not all there; the message says why.
    Cut(String),
}

/// Documents that are finished already.
#[derive(Default)]
pub enum Done {
    /// None are.
    #[default]
    Nothing,
    /// Those with these ids.
    Ids(Ids),
    /// Those with files in a folder of this format.
    Folder(PathBuf, Format),
}

impl Done {
    fn contains(&self, id: &str) -> bool {
        match self {
            Self::Nothing => false,
            Self::Ids(ids) => ids.seen.contains(&ids.hasher.hash_one(id)),
            Self::Folder(folder, format) => format.is_written(folder, id),
        }
    }
}

/// Reads inputs one after the other.
pub struct Source {
    /// The inputs, and whether each is finished already.
    pub inputs: Vec<(Input, bool)>,
    /// Reader options.
    pub options: InputOptions,
    /// Finished documents.
    pub done: Done,
    /// Whether all inputs share one output. Then ids must be unique: an id that another input used gets the name of its
    /// own input as prefix.
    pub together: bool,
    /// Advances with the bytes read.
    pub bar: Option<ProgressBar>,
}

/// Receives events; returns false to stop.
type Push<'p> = &'p mut dyn FnMut(Event<Mark>) -> bool;

impl Source {
    /// Pushes all documents with marks between them. Unreadable parts become marks, never errors.
    pub fn read(self, push: Push<'_>) {
        let mut ids = Ids::default();
        for (number, (input, is_done)) in self.inputs.iter().enumerate() {
            if !push(Event::Mark(Mark::Begin(number))) {
                return;
            }
            let mut is_wanted = true;
            let read = self.read_input(input, &mut |event| {
                let event = match event {
                    Event::Document(document) => self.admit(document, input, *is_done, &mut ids),
                    mark => mark,
                };
                is_wanted = push(event);
                is_wanted
            });
            if !is_wanted {
                return;
            }
            if let Err(error) = read {
                let message = format!("{}: it cannot be read to the end: {error:#}", input.path.display());
                is_wanted = push(Event::Mark(Mark::Cut(message)));
            }
            if !is_wanted || !push(Event::Mark(Mark::End(number))) {
                return;
            }
        }
    }

    /// Prepares a document for annotation, or rejects it.
    fn admit(&self, mut document: Document, input: &Input, is_done: bool, ids: &mut Ids) -> Event<Mark> {
        if self.together && !ids.insert(&document.id) {
            document.id = format!("{}/{}", input.name, document.id);
            if !ids.insert(&document.id) {
                let id = &document.id;
                let message = format!("{}: document {id}: an earlier document has the same id", input.path.display());
                return Event::Mark(Mark::Bad(message));
            }
        }
        // Drop existing mentions: these models did not find them.
        document.mentions.clear();
        document.relations.clear();
        if is_done || self.done.contains(&document.id) { Event::Known(document) } else { Event::Document(document) }
    }

    fn read_input(&self, input: &Input, push: Push<'_>) -> Result<()> {
        match input.kind {
            Kind::Text => self.read_text(input, push),
            Kind::Parquet => self.read_parquet(input, push),
            Kind::Corpus(format) => self.read_corpus(input, format, push),
        }
    }

    fn open(&self, input: &Input) -> Result<Box<dyn BufRead>> {
        if input.is_stdin() {
            return Ok(Box::new(BufReader::new(io::stdin())));
        }
        let is_zstd = input.packing == Packing::Zstd;
        let name = if is_zstd { without_packing(&input.path) } else { input.path.clone() };
        Ok(buffered(open_packed(&input.path, &input.packing, self.bar.as_ref())?, &name))
    }

    fn read_text(&self, input: &Input, push: Push<'_>) -> Result<()> {
        let mut bytes = Vec::new();
        self.open(input)?.read_to_end(&mut bytes)?;
        push(match String::from_utf8(bytes) {
            Ok(text) => Event::Document(Document::new(input.name.clone(), text)),
            Err(error) => {
                let at = error.utf8_error().valid_up_to();
                let line = 1 + error.as_bytes()[..at].iter().filter(|&&byte| byte == b'\n').count();
                Event::Mark(Mark::Bad(format!("{}:{line}: byte {at} is not UTF-8", input.path.display())))
            }
        });
        Ok(())
    }

    fn read_parquet(&self, input: &Input, push: Push<'_>) -> Result<()> {
        ensure!(input.packing == Packing::Plain, "a Parquet table cannot be read from an archive; unpack it");
        let mut texts = Texts::open(&input.path, &self.options.text_column, self.options.id_column.as_deref())
            .context("see --text-column and --id-column")?;
        let mut row = 0;
        while let Some(rows) = texts.next_rows()? {
            for (id, text) in rows {
                row += 1;
                let event = match (id, text) {
                    (Some(id), Some(text)) => Event::Document(Document::new(id, text)),
                    (None, _) => Event::Mark(Mark::Bad(format!("{}: row {row}: it has no id", input.path.display()))),
                    (Some(id), None) => {
                        let path = input.path.display();
                        Event::Mark(Mark::Bad(format!("{path}: row {row}: document {id}: it has no text")))
                    }
                };
                if !push(event) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn read_corpus(&self, input: &Input, format: Format, push: Push<'_>) -> Result<()> {
        let options = FormatOptions { conll: self.options.columns.clone() };
        let mut documents: Documents<'_> = if format.is_folder() {
            format.open(&input.path, &options)?
        } else {
            format.open_input(self.open(input)?, &input.path, &options)?
        };
        loop {
            let document = documents.next_document()?;
            let faults: Vec<Diagnostic> = documents.take_diagnostics().0;
            let is_mended = faults.iter().any(|fault| fault.kind == DiagnosticKind::InvalidUtf8);
            for fault in faults.iter().filter(|fault| loses_text(fault.kind)) {
                if !push(Event::Mark(Mark::Bad(fault.to_string()))) {
                    return Ok(());
                }
            }
            let Some(document) = document else { return Ok(()) };
            // With U+FFFD replacements, offsets would refer to another text.
            let is_bad = is_mended && document.text.contains(char::REPLACEMENT_CHARACTER);
            if !is_bad && !push(Event::Document(document)) {
                return Ok(());
            }
        }
    }
}

/// Whether a fault may have lost a document or text. Faults in existing annotations are harmless, because annotations
/// are not read.
const fn loses_text(kind: DiagnosticKind) -> bool {
    matches!(kind, DiagnosticKind::MalformedLine | DiagnosticKind::DuplicateDocument | DiagnosticKind::InvalidUtf8)
}

/// Hashes of the ids so far: eight bytes each, so that large collections stream.
#[derive(Default)]
pub struct Ids {
    seen: HashSet<u64>,
    hasher: RandomState,
}

impl Ids {
    /// Adds an id; false if it is known.
    pub fn insert(&mut self, id: &str) -> bool {
        self.seen.insert(self.hasher.hash_one(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_by_ending_and_look_and_named_by_their_place() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs_err::create_dir_all(path.parent().expect("a parent")).expect("made");
            fs_err::write(path, text).expect("written");
        };
        write("b.txt", "A note.");
        write("a/table.txt", "Na O\n");
        write("a/x.PubTator.txt", "7|t|A\n7|a|B\n");
        write("c.jsonl", "{\"text\": \"a\"}\n");
        write("c.pdf", "");
        write(".hidden.txt", "");
        let (inputs, is_tree) = find(&[folder.path().into()], None).expect("found");
        assert!(is_tree);
        let shown: Vec<String> = inputs.iter().map(|input| format!("{} {}", input.name, input.kind)).collect();
        assert_eq!(shown, ["a/table text", "a/x pubtator", "b text", "c jsonl"]);
        let (inputs, is_tree) =
            find(&[folder.path().join("a/table.txt")], Some(Kind::Corpus(Format::Conll))).expect("found");
        assert_eq!((inputs[0].name.as_str(), inputs[0].kind, is_tree), ("table", Kind::Corpus(Format::Conll), false));
        write("d.xz", "");
        assert!(find(&[folder.path().join("d.xz")], None).is_err());
        assert!(find(&[folder.path().join("none")], None).is_err());
    }
}
