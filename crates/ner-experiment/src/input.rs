//! Inputs to annotate: files, folders, objects of stores and stdin in any format, read document by document.

use anyhow::{Context, Result, anyhow, bail, ensure};
use indicatif::ProgressBar;
use ner_annotate::Event;
use ner_data::format::conll::ConllOptions;
use ner_data::format::jsonl::JsonKeys;
use ner_data::format::{Look, MAX_RATIO, buffered, detect, extension_of, look_at, refused_encoding, without_packing};
use ner_data::frames::{FrameError, RowGroup, Texts, row_groups, row_groups_of};
use ner_data::table::TableTexts;
use ner_data::{Diagnostic, DiagnosticKind, Document, Documents, Format, FormatOptions, caught};
use ner_files::Scratch;
use ner_stores::{Found, Object, is_url};
use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufRead, BufReader, Cursor, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use tracing::warn;

/// Format of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A plain text file, which is one document.
    Text,
    /// A Parquet table with a column of texts.
    Parquet,
    /// A CSV or TSV table with a column of texts, and its separator.
    Table(u8),
    /// A corpus format.
    Corpus(Format),
}

const TEXT: &str = "text";
const PARQUET: &str = "parquet";
const CSV: &str = "csv";
const TSV: &str = "tsv";

/// Greatest length of a document, in bytes. A model needs about a hundred times that memory, and no note is as long:
/// whatever unpacks to more is an error or an attack.
pub const MAX_DOCUMENT: usize = 32 << 20;

impl Kind {
    /// Names of all formats.
    pub fn names() -> Vec<&'static str> {
        [TEXT, PARQUET, CSV, TSV].into_iter().chain(Format::all().map(Format::name)).collect()
    }

    /// The format with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            TEXT => Some(Self::Text),
            PARQUET => Some(Self::Parquet),
            CSV => Some(Self::Table(b',')),
            TSV => Some(Self::Table(b'\t')),
            _ => Format::from_name(name).map(Self::Corpus),
        }
    }

    /// File endings to read from a folder, without that of a compression, in lower case.
    fn endings(self) -> &'static [&'static str] {
        match self {
            Self::Text => &["txt", "text"],
            Self::Parquet => &["parquet"],
            Self::Table(_) => &["csv", "tsv", "tab", "txt"],
            Self::Corpus(_) => &["jsonl", "ndjson", "xml", "json", "tsv", "conll", "pubtator", "txt"],
        }
    }

    const fn is_folder_format(self) -> bool {
        matches!(self, Self::Corpus(Format::Brat | Format::I2b2))
    }

    /// Whether its texts are in a column or under a key that an option can name.
    const fn has_named_text(self) -> bool {
        matches!(self, Self::Parquet | Self::Table(_) | Self::Corpus(Format::Jsonl))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => TEXT,
            Self::Parquet => PARQUET,
            Self::Table(b'\t') => TSV,
            Self::Table(_) => CSV,
            Self::Corpus(format) => format.name(),
        })
    }
}

/// A file, a folder (for formats whose collections are folders), an object, or stdin (`-`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// Its path, or its URL.
    pub path: PathBuf,
    /// Path relative to the named folder or prefix, or the file name; without ending, with `/` as separator.
    pub name: String,
    /// Its format.
    pub kind: Kind,
    /// Where its bytes are.
    pub bytes: Bytes,
    /// The only rows to read, for Parquet.
    pub rows: Option<Range<usize>>,
}

/// Where the bytes of an input are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Bytes {
    /// In a file or folder that can be read again.
    #[default]
    File,
    /// In a store.
    Object(Object),
    /// In a stream that can be read once: stdin, a pipe, a device.
    Stream(Stream),
    /// At this index in a zip archive. The path is that of the archive and the file in it.
    Zip(Archive, usize),
}

/// A stream that was opened once; its beginning was read to detect the format.
#[derive(Clone)]
pub struct Stream(Arc<Mutex<Option<Opened>>>);

/// A stream that is read later.
enum Opened {
    /// Its beginning was read.
    Begun(Box<dyn BufRead + Send>),
    /// Nothing was read, so that nothing waits for it.
    At(PathBuf),
}

/// A zip archive, opened once and shared by all its files.
#[derive(Clone)]
pub struct Archive(Arc<Mutex<ZipFiles>>);

type ZipFiles = zip::ZipArchive<BufReader<std::fs::File>>;

impl Archive {
    fn open(mut file: std::fs::File) -> Result<Self> {
        let stated = stated_entries(&mut file)?;
        let files = ZipFiles::new(BufReader::new(file))?;
        ensure!(
            stated.is_none_or(|stated| stated == files.len()),
            "two of its files have the same name; unpack it and rename them"
        );
        Ok(Self(Arc::new(Mutex::new(files))))
    }

    fn files(&self) -> MutexGuard<'_, ZipFiles> {
        // A thread that panicked with the lock has only read.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Number of files that the end of a zip archive states; `None` if it is not there. Of files with the same name, the
/// crate `zip` shows only the last.
fn stated_entries(file: &mut std::fs::File) -> io::Result<Option<usize>> {
    const END: &[u8] = b"PK\x05\x06";
    // The longest comment and the record itself.
    let length = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(length.saturating_sub((1 << 16) + 22)))?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail)?;
    file.rewind()?;
    let at = tail.windows(END.len()).rposition(|window| window == END);
    let count = at.and_then(|at| Some(u16::from_le_bytes(tail.get(at + 10..at + 12)?.try_into().ok()?)));
    // The greatest number says that another record has the count.
    Ok(count.filter(|count| *count != u16::MAX).map(usize::from))
}

/// Each is equal only to itself.
macro_rules! shared {
    ($name:ident) => {
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($name))
            }
        }

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                Arc::ptr_eq(&self.0, &other.0)
            }
        }

        impl Eq for $name {}
    };
}

shared!(Archive);
shared!(Stream);

impl Input {
    /// Size in bytes, for a file or an object that is read from its beginning to its end.
    pub fn size(&self) -> Option<u64> {
        let size = match &self.bytes {
            Bytes::File => std::fs::metadata(&self.path).ok().filter(std::fs::Metadata::is_file)?.len(),
            Bytes::Object(object) => object.size(),
            Bytes::Stream(_) | Bytes::Zip(..) => return None,
        };
        (self.kind != Kind::Parquet).then_some(size)
    }

    /// What tells a file or object from another one under its name: its size, and the version of an object.
    ///
    /// # Errors
    /// If a file is not there.
    pub fn version(&self) -> Result<String> {
        Ok(match &self.bytes {
            Bytes::Object(object) => format!("{} {}", object.size(), object.version()),
            _ => fs_err::metadata(&self.path)?.len().to_string(),
        })
    }

    /// The row groups of a Parquet table.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn row_groups(&self) -> Result<Vec<RowGroup>> {
        Ok(match &self.bytes {
            Bytes::Object(object) => row_groups_of(object.reader(), &self.path)?,
            _ => row_groups(&self.path)?,
        })
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
    /// Column or key of the texts; `text` if not given.
    pub text_column: Option<String>,
    /// Column or key of the ids.
    pub id_column: Option<String>,
}

impl InputOptions {
    fn of_formats(&self) -> FormatOptions {
        FormatOptions { conll: self.columns.clone(), json: self.json_keys(), ..FormatOptions::default() }
    }

    /// Keys of JSON documents.
    pub fn json_keys(&self) -> JsonKeys {
        JsonKeys { text: self.text_column.clone(), id: self.id_column.clone() }
    }

    fn text_column(&self) -> &str {
        self.text_column.as_deref().unwrap_or("text")
    }

    /// Refuses options that no input of these formats can use.
    ///
    /// # Errors
    /// If there is one; the message names it.
    pub fn check(&self, kinds: impl IntoIterator<Item = Kind>) -> Result<()> {
        let kinds: Vec<Kind> = kinds.into_iter().collect();
        let has = |what: fn(Kind) -> bool| kinds.iter().any(|kind| what(*kind));
        let found =
            || kinds.iter().map(Kind::to_string).collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(", ");
        for (option, value) in [("--text-column", &self.text_column), ("--id-column", &self.id_column)] {
            ensure!(
                value.is_none() || has(Kind::has_named_text),
                "{option} has no effect on these inputs ({}): it names a column of CSV, TSV or Parquet, or a key of JSON",
                found()
            );
        }
        let is_default = (self.columns.word_column, self.columns.tag_column) == (None, None);
        ensure!(
            is_default || has(|kind| kind == Kind::Corpus(Format::Conll)),
            "--word-column and --tag-column have no effect on these inputs ({}): they choose columns of CoNLL",
            found()
        );
        Ok(())
    }
}

/// The inputs of a command.
#[derive(Debug, Default)]
pub struct Inputs {
    /// File by file, in order.
    pub inputs: Vec<Input>,
    /// Whether they include a folder whose files are separate documents or collections.
    pub is_tree: bool,
    /// What cannot be read at all, as messages that name the file and the reason.
    pub bad: Vec<String>,
    /// Whether some of it may be read later ([`is_outage`]).
    pub has_outage: bool,
}

/// Whether the system or a store failed, or a named column is missing, so that the same input may be read another time;
/// else something is wrong with the input.
pub fn is_outage(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let frame = cause.downcast_ref::<FrameError>();
        let io = match frame {
            Some(FrameError::Io(io)) => Some(io),
            _ => cause.downcast_ref::<io::Error>(),
        };
        matches!(frame, Some(FrameError::Column { .. }))
            || cause.is::<ner_stores::Error>()
            || io.is_some_and(|io| {
                io.raw_os_error().is_some() || io.get_ref().is_some_and(|own| own.is::<ner_stores::Error>())
            })
    })
}

/// Lists the inputs named on the command line.
///
/// # Errors
/// If an input is missing, its format is not one that medner reads, or an option has no effect on any input.
pub fn find(wanted: &[PathBuf], from: Option<Kind>, options: &InputOptions) -> Result<Inputs> {
    let mut found = Inputs::default();
    ensure!(wanted.iter().filter(|path| is_stdin(path)).count() < 2, "stdin (-) can be read only once");
    for path in wanted {
        if !is_stdin(path) && !is_url(path) {
            let is_other = path.to_string_lossy().contains("://");
            let hint = if is_other { " (URLs of objects begin with s3://, gs:// or az://)" } else { "" };
            fs_err::metadata(path).with_context(|| format!("cannot open {}{hint}", path.display()))?;
        }
        match found.add(path, from, options) {
            // One that cannot be read does not stop the others.
            Err(error) if wanted.len() > 1 => {
                found.has_outage |= is_outage(&error);
                found.bad.push(format!("{error:#}"));
            }
            added => added?,
        }
    }
    options.check(found.inputs.iter().map(|input| input.kind))?;
    Ok(found)
}

/// Opens an input that can be read only once: stdin, a pipe or a device. Returns what it is, and the beginning, which
/// the whole input repeats.
///
/// # Errors
/// If it cannot be read.
pub fn open_stream(path: &Path) -> Result<(Box<dyn BufRead + Send>, Look, Vec<u8>)> {
    let mut stream = open_once(path)?;
    let (look, beginning) = look_at(Path::new(""), &mut stream)?;
    Ok((Box::new(Cursor::new(beginning.clone()).chain(stream)), look, beginning))
}

/// Opens stdin, a pipe or a device, and waits only for its first bytes.
///
/// # Errors
/// If it cannot be read.
pub fn open_once(path: &Path) -> Result<Box<dyn BufRead + Send>> {
    Ok(if is_stdin(path) { buffered(io::stdin(), path)? } else { buffered(fs_err::File::open(path)?, path)? })
}

/// Whether a path names something that can be read only once.
pub fn is_stream(path: &Path) -> bool {
    is_stdin(path) || std::fs::metadata(path).is_ok_and(|facts| !facts.is_file() && !facts.is_dir())
}

/// Why an input is not read.
struct Refusal {
    /// What it is, as the end of a sentence about the file.
    what: String,
    /// Whether it is a single object, as of a manifest, and not a text or a list of records.
    is_single: bool,
}

/// The format of a file or archived file, or why it is not read.
fn kind_of_file(
    path: &Path,
    bytes: &Bytes,
    from: Option<Kind>,
    options: &InputOptions,
) -> Result<Result<Kind, Refusal>> {
    const PACKED: [&str; 6] = ["bz2", "xz", "tar", "tgz", "7z", "rar"];
    if PACKED.contains(&extension_of(path).as_str()) {
        bail!("{} has an unsupported compression; unpack it, or use gzip, zstd or zip", path.display());
    }
    if let Some(kind) = from {
        return given_kind(path, kind).map(Ok);
    }
    let name = without_packing(path);
    let (look, beginning) = match bytes {
        // Only the beginning is unpacked.
        Bytes::Zip(archive, at) => look_at(&name, &mut buffered(archive.files().by_index(*at)?, path)?)?,
        bytes => look_at(&name, &mut open(path, bytes, None)?)?,
    };
    Ok(kind_of(path, look, &beginning, options))
}

fn given_kind(path: &Path, kind: Kind) -> Result<Kind> {
    ensure!(!kind.is_folder_format(), "{kind} input is a folder, but {} is not a folder", path.display());
    Ok(kind)
}

/// The format of an input that looks like this, or why it is not read.
fn kind_of(path: &Path, look: Look, beginning: &[u8], options: &InputOptions) -> Result<Kind, Refusal> {
    let kind = match look {
        Look::Corpus(format) => Kind::Corpus(format),
        Look::Table(separator) => Kind::Table(separator),
        Look::Parquet => Kind::Parquet,
        Look::Text { has_columns } => {
            if has_columns {
                warn!(
                    "{}: its lines look like CoNLL's columns; read as a text (--from conll reads columns)",
                    path.display()
                );
            }
            Kind::Text
        }
        Look::Refused(what) => {
            let is_single = matches!(extension_of(&without_packing(path)).as_str(), "json" | "xml");
            return Err(Refusal { what: format!("{what} (--from names a format)"), is_single });
        }
    };
    missing_text(kind, beginning, path, options).map_or(Ok(kind), Err)
}

/// Why the records of this beginning have no text. Whatever else is wrong is said when they are read.
fn missing_text(kind: Kind, beginning: &[u8], path: &Path, options: &InputOptions) -> Option<Refusal> {
    match kind {
        Kind::Table(separator) => {
            let id = options.id_column.as_deref();
            let error = TableTexts::new(beginning, separator, options.text_column(), id).err()?;
            Some(Refusal { what: format!("cannot be read as texts: {error}"), is_single: false })
        }
        Kind::Corpus(Format::Jsonl) => {
            let input = Box::new(Cursor::new(beginning.to_vec()));
            let mut documents = Format::Jsonl.open_input(input, path, &options.of_formats()).ok()?;
            if documents.next_document().ok()?.is_some() {
                return None;
            }
            let faults = documents.take_diagnostics().0;
            // The end of the beginning may break a value.
            let is_whole = beginning.len() < detect::BEGINNING;
            let is_broken = |message: &str| message.starts_with("invalid JSON") || message.contains("unterminated");
            let fault = faults.first().filter(|fault| fault.kind != DiagnosticKind::NotRead)?;
            if !is_whole && is_broken(&fault.message) {
                return None;
            }
            let is_single = is_whole && faults.len() == 1 && beginning.trim_ascii_start().starts_with(b"{");
            Some(Refusal { what: format!("has no text that medner can read: {}", fault.message), is_single })
        }
        _ => None,
    }
}

impl Inputs {
    /// Adds an input named on the command line.
    fn add(&mut self, path: &Path, from: Option<Kind>, options: &InputOptions) -> Result<()> {
        if is_url(path) {
            return match ner_stores::find(path)? {
                Found::Object(object) => self.add_object(object, from, options),
                Found::Prefix(objects) => self.add_prefix(path, objects, from, options),
            };
        }
        if !is_stdin(path) && path.is_dir() {
            return self.add_folder(path, from, options);
        }
        if !is_stdin(path) && extension_of(path) == "zip" {
            let file = || Archive::open(std::fs::File::open(path)?);
            return self.add_zip(path, file(), from, options);
        }
        let name = match is_stdin(path) {
            true => "stdin".into(),
            false => without_ending(Path::new(path.file_name().unwrap_or_default())),
        };
        let unreadable = || format!("{}: it cannot be read to the end", path.display());
        let (bytes, kind) = if is_stream(path) {
            let (stream, kind) = match from {
                Some(kind) => (Opened::At(path.into()), Ok(given_kind(path, kind)?)),
                None => {
                    let (stream, look, beginning) = open_stream(path).with_context(unreadable)?;
                    (Opened::Begun(stream), kind_of(path, look, &beginning, options))
                }
            };
            (Bytes::Stream(Stream(Arc::new(Mutex::new(Some(stream))))), kind)
        } else {
            (Bytes::File, kind_of_file(path, &Bytes::File, from, options).with_context(unreadable)?)
        };
        match kind {
            Ok(kind) => self.inputs.push(Input { path: path.into(), name, kind, bytes, rows: None }),
            Err(refusal) => bail!("{} {}", path.display(), refusal.what),
        }
        Ok(())
    }

    fn add_folder(&mut self, path: &Path, from: Option<Kind>, options: &InputOptions) -> Result<()> {
        let as_whole = match from {
            Some(kind) => kind.is_folder_format().then_some(kind),
            None => Format::detect(path)?.map(Kind::Corpus).filter(|kind| kind.is_folder_format()),
        };
        if let Some(kind) = as_whole {
            let whole = path.canonicalize()?;
            let name = whole.file_name().unwrap_or_default().to_string_lossy().into_owned();
            self.inputs.push(Input { path: path.into(), name, kind, bytes: Bytes::File, rows: None });
            return Ok(());
        }
        self.is_tree = true;
        let is_hidden =
            |entry: &walkdir::DirEntry| entry.depth() > 0 && entry.file_name().to_string_lossy().starts_with('.');
        let before = self.inputs.len() + self.bad.len();
        let mut others = Others::default();
        let entries = walkdir::WalkDir::new(path).follow_links(true).sort_by_file_name().into_iter();
        for entry in entries.filter_entry(|entry| !is_hidden(entry)) {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) if error.loop_ancestor().is_some() => {
                    warn!("{error}; the link was not followed");
                    continue;
                }
                Err(error) => {
                    self.has_outage = true;
                    self.bad.push(format!("it cannot be read: {error}"));
                    continue;
                }
            };
            // A pipe or a socket among the files would wait for its other end.
            if !entry.file_type().is_file() {
                if !entry.file_type().is_dir() {
                    warn!("{} is not a file and was not annotated", entry.path().display());
                }
                continue;
            }
            let file = entry.into_path();
            let name = without_ending(file.strip_prefix(path).unwrap_or(&file));
            let input = Input { path: file, name, kind: Kind::Text, bytes: Bytes::File, rows: None };
            self.add_file(input, from, options, &mut others);
        }
        self.end_folder(path, before, &others)
    }

    fn end_folder(&self, path: &Path, before: usize, others: &Others) -> Result<()> {
        others.say();
        let count = others.files.len();
        ensure!(
            before < self.inputs.len() + self.bad.len(),
            "{} has no file to annotate ({count} files have other endings); --from names a format",
            path.display()
        );
        Ok(())
    }

    fn add_object(&mut self, object: Object, from: Option<Kind>, options: &InputOptions) -> Result<()> {
        let path = object.url().to_owned();
        if extension_of(&path) == "zip" {
            return self.add_zip(&path, unpacked_later(&object), from, options);
        }
        let name = without_ending(Path::new(path.file_name().unwrap_or_default()));
        let bytes = Bytes::Object(object);
        let kind = kind_of_file(&path, &bytes, from, options)
            .with_context(|| format!("{}: it cannot be read to the end", path.display()))?;
        match kind {
            Ok(kind) => self.inputs.push(Input { path, name, kind, bytes, rows: None }),
            Err(refusal) => bail!("{} {}", path.display(), refusal.what),
        }
        Ok(())
    }

    /// Lists the objects below a prefix, like the files of a folder.
    fn add_prefix(
        &mut self,
        prefix: &Path,
        objects: Vec<Object>,
        from: Option<Kind>,
        options: &InputOptions,
    ) -> Result<()> {
        let is_annotation = |object: &Object| ["ann", "a1", "a2", "con"].contains(&extension_of(object.url()).as_str());
        let is_whole = from.map_or_else(|| objects.iter().any(is_annotation), Kind::is_folder_format);
        ensure!(
            !is_whole,
            "{} is a brat or i2b2 collection, which only a folder can be: copy it into a folder, or read its texts with \
             --from text",
            prefix.display()
        );
        self.is_tree = true;
        let before = self.inputs.len() + self.bad.len();
        let mut others = Others::default();
        let inputs = objects.into_iter().filter_map(|object| {
            let path = object.url().to_owned();
            let inside = path.strip_prefix(prefix).unwrap_or(&path);
            let is_hidden = inside.iter().any(|part| part.to_string_lossy().starts_with('.'));
            let name = without_ending(inside);
            (!is_hidden).then_some(Input { path, name, kind: Kind::Text, bytes: Bytes::Object(object), rows: None })
        });
        let (inputs, other): (Vec<Input>, Vec<Input>) = inputs.partition(|input| has_known_ending(&input.path, from));
        others.files.extend(other.into_iter().map(|input| input.path));
        // The beginning of an object takes a request, which mostly waits.
        for some in inputs.chunks(LOOKS) {
            let look = |input: &Input| kind_of_file(&input.path, &input.bytes, from, options);
            let kinds: Vec<Result<Result<Kind, Refusal>>> = match from {
                Some(_) => some.iter().map(look).collect(),
                None => thread::scope(|scope| {
                    let looks: Vec<_> = some.iter().map(|input| scope.spawn(move || look(input))).collect();
                    let ended = looks.into_iter().map(thread::ScopedJoinHandle::join);
                    ended.map(|look| look.unwrap_or_else(|_| Err(anyhow!("its format cannot be found")))).collect()
                }),
            };
            for (input, kind) in some.iter().zip(kinds) {
                self.add_looked_at(input.clone(), kind, &mut others);
            }
        }
        self.end_folder(prefix, before, &others)
    }

    /// Lists the files in a zip archive, like those of a folder.
    fn add_zip(
        &mut self,
        path: &Path,
        archive: Result<Archive>,
        from: Option<Kind>,
        options: &InputOptions,
    ) -> Result<()> {
        self.is_tree = true;
        let what = || format!("{} is not a readable zip archive", path.display());
        let archive = archive.with_context(what)?;
        let before = self.inputs.len() + self.bad.len();
        let mut others = Others::default();
        let mut names = HashSet::new();
        let count = archive.files().len();
        for at in 0..count {
            let inside = {
                let mut files = archive.files();
                // Raw, so that an encrypted file fails only when it is read, and the others are annotated.
                let file = files.by_index_raw(at).with_context(what)?;
                if file.is_dir() {
                    continue;
                }
                if file.is_symlink() {
                    self.bad.push(format!("{}: file {} of the archive is a link; unpack it", path.display(), at + 1));
                    continue;
                }
                file.enclosed_name()
            };
            // The name becomes the output's name.
            let inside = inside
                .with_context(|| format!("{}: the name of file {} leads out of the archive", path.display(), at + 1))?;
            let inside = without_dots(&inside);
            let is_hidden = |part: &std::ffi::OsStr| part.to_string_lossy().starts_with('.') || part == "__MACOSX";
            if inside.iter().any(is_hidden) {
                continue;
            }
            let place = path.join(&inside);
            if !names.insert(inside.clone()) {
                bail!("{}: two files of the archive have this name; unpack it and rename one", place.display());
            }
            let name = without_ending(&inside);
            let input =
                Input { path: place, name, kind: Kind::Text, bytes: Bytes::Zip(archive.clone(), at), rows: None };
            self.add_file(input, from, options, &mut others);
        }
        others.say();
        ensure!(before < self.inputs.len() + self.bad.len(), "{} has no file to annotate", path.display());
        self.inputs.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(())
    }

    /// Adds a file of a folder or an archive, or notes why it is not read.
    fn add_file(&mut self, input: Input, from: Option<Kind>, options: &InputOptions, others: &mut Others) {
        if !has_known_ending(&input.path, from) {
            others.files.push(input.path);
            return;
        }
        let kind = kind_of_file(&input.path, &input.bytes, from, options);
        self.add_looked_at(input, kind, others);
    }

    fn add_looked_at(&mut self, mut input: Input, kind: Result<Result<Kind, Refusal>>, others: &mut Others) {
        match kind {
            Ok(Ok(kind)) => {
                input.kind = kind;
                self.inputs.push(input);
            }
            // A manifest beside the notes.
            Ok(Err(refusal)) if refusal.is_single => {
                others.refused.push(format!("{} {}", input.path.display(), refusal.what))
            }
            Ok(Err(refusal)) => self.bad.push(format!("{} {}", input.path.display(), refusal.what)),
            Err(error) => {
                self.has_outage |= is_outage(&error);
                self.bad.push(format!("{}: it cannot be read to the end: {error:#}", input.path.display()));
            }
        }
    }
}

/// Objects whose beginnings are read at the same time.
const LOOKS: usize = 32;

/// A zip archive of a store, in an unnamed temporary file until the last of its files was read.
fn unpacked_later(object: &Object) -> Result<Archive> {
    let mut file = tempfile::tempfile()?;
    io::copy(&mut object.reader(), &mut file)?;
    file.rewind()?;
    Archive::open(file)
}

/// A table of a store, in the temporary folder: readers of Parquet jump. Without the other row groups, if `rows` are
/// those of one, so that shards which share a table do not fetch all of it.
fn table_of(object: &Object, rows: Option<&Range<usize>>) -> Result<(Scratch, PathBuf)> {
    let scratch = Scratch::new()?;
    let path = scratch.path().join(object.url().file_name().unwrap_or_default());
    let mut file = fs_err::File::create(&path)?;
    let mut reader = object.reader();
    let groups = match rows {
        Some(_) => row_groups_of(object.reader(), object.url())?,
        None => Vec::new(),
    };
    match groups.iter().find(|group| Some(&group.rows) == rows) {
        Some(group) => {
            // A hole takes no space. After the last row group stands what describes them.
            file.set_len(object.size())?;
            let end = groups.iter().map(|group| group.bytes.end).max().unwrap_or_default();
            for part in [group.bytes.clone(), end..object.size()] {
                file.seek(SeekFrom::Start(part.start))?;
                reader.seek(SeekFrom::Start(part.start))?;
                io::copy(&mut reader.by_ref().take(part.end - part.start), &mut file)?;
            }
        }
        None => drop(io::copy(&mut reader, &mut file)?),
    }
    Ok((scratch, path))
}

/// Files of a folder that are no inputs.
#[derive(Default)]
struct Others {
    /// With other endings.
    files: Vec<PathBuf>,
    /// With a known ending, but without a text.
    refused: Vec<String>,
}

impl Others {
    fn say(&self) {
        if let Some(other) = self.files.first() {
            let count = self.files.len();
            warn!("{count} files have unknown endings and were not annotated, for example {}", other.display());
        }
        for refused in &self.refused {
            warn!("not annotated: {refused}");
        }
    }
}

/// A path without `.` and `..`.
fn without_dots(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(plain.pop()),
            Component::Normal(part) => plain.push(part),
            _ => {}
        }
    }
    plain
}

fn has_known_ending(path: &Path, from: Option<Kind>) -> bool {
    let ending = extension_of(&without_packing(path));
    let has_ending = |kind: Kind| kind.endings().contains(&ending.as_str());
    let known = [Kind::Text, Kind::Parquet, Kind::Table(b','), Kind::Corpus(Format::Jsonl)];
    from.map_or_else(|| known.into_iter().any(has_ending), has_ending)
}

/// Opens an input, unpacked; `bar` advances with the bytes read.
fn open(path: &Path, bytes: &Bytes, bar: Option<&ProgressBar>) -> Result<Box<dyn BufRead>> {
    Ok(match bytes {
        Bytes::File => {
            let file = fs_err::File::open(path)?;
            match bar {
                Some(bar) => buffered(bar.wrap_read(file), path)?,
                None => buffered(file, path)?,
            }
        }
        Bytes::Object(object) => match bar {
            Some(bar) => buffered(bar.wrap_read(object.reader()), path)?,
            None => buffered(object.reader(), path)?,
        },
        Bytes::Stream(stream) => {
            let stream = stream.0.lock().unwrap_or_else(PoisonError::into_inner).take();
            match stream.context("the stream was read before")? {
                Opened::Begun(stream) => stream,
                Opened::At(path) => open_once(&path)?,
            }
        }
        Bytes::Zip(archive, at) => {
            // An unnamed temporary file, which disappears with this process in any case.
            let mut whole = tempfile::tempfile()?;
            let mut files = archive.files();
            let mut file = files.by_index(*at)?;
            let limit = (file.compressed_size().saturating_mul(MAX_RATIO)).max(MAX_DOCUMENT as u64);
            let copied = io::copy(&mut file.by_ref().take(limit + 1), &mut whole)?;
            ensure!(
                copied <= limit,
                "it unpacks to more than {MAX_RATIO} times its size, as no text does; unpack it first"
            );
            whole.rewind()?;
            buffered(whole, path)?
        }
    })
}

fn without_ending(path: &Path) -> String {
    let path = without_packing(path);
    let text = path.iter().map(|part| part.to_string_lossy()).collect::<Vec<_>>().join("/");
    let own = path.extension().map(|ending| ending.to_string_lossy().into_owned());
    let endings = Format::all().map(|format| format.extension().to_owned()).chain(own);
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
    /// The same, but it may be read another time ([`is_outage`]).
    Lost(String),
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
    /// What cannot be read at all.
    pub bad: Vec<String>,
    /// Ends the reading, also inside a document, once it is set.
    pub stop: Arc<AtomicBool>,
    /// Advances with the bytes read.
    pub bar: Option<ProgressBar>,
}

/// Receives events; returns false to stop.
type Push<'p> = &'p mut dyn FnMut(Event<Mark>) -> bool;

impl Source {
    /// Pushes all documents with marks between them. Unreadable parts become marks, never errors.
    pub fn read(self, push: Push<'_>) {
        let mut ids = SeenIds::default();
        if !self.bad.iter().all(|bad| push(Event::Mark(Mark::Cut(bad.clone())))) {
            return;
        }
        for (number, (input, is_done)) in self.inputs.iter().enumerate() {
            if !push(Event::Mark(Mark::Begin(number))) {
                return;
            }
            ids.here = Ids::default();
            let mut is_wanted = true;
            let mut admit = |event| {
                let event = match event {
                    Event::Document(document) => self.admit(document, input, *is_done, &mut ids),
                    mark => mark,
                };
                is_wanted = push(event);
                is_wanted
            };
            // polars panics at some damaged tables.
            let read = caught(|| self.read_input(input, &mut admit)).unwrap_or_else(|message| Err(anyhow!(message)));
            if !is_wanted {
                return;
            }
            if let Err(error) = read {
                let message = format!("{}: it cannot be read to the end: {error:#}", input.path.display());
                is_wanted = push(Event::Mark(if is_outage(&error) { Mark::Lost(message) } else { Mark::Cut(message) }));
            }
            if !is_wanted || !push(Event::Mark(Mark::End(number))) {
                return;
            }
        }
    }

    /// Prepares a document for annotation, or rejects it.
    fn admit(&self, mut document: Document, input: &Input, is_done: bool, ids: &mut SeenIds) -> Event<Mark> {
        if document.text.len() > MAX_DOCUMENT {
            let (path, id) = (input.path.display(), &document.id);
            let limit = MAX_DOCUMENT >> 20;
            return Event::Mark(Mark::Bad(format!("{path}: document {id} has more than {limit} MiB; divide it")));
        }
        let mut is_new = ids.here.insert(&document.id);
        if is_new && self.together && !ids.all.insert(&document.id) {
            document.id = format!("{}/{}", input.name, document.id);
            is_new = ids.all.insert(&document.id);
        }
        if !is_new {
            let id = &document.id;
            let message = format!("{}: document {id}: an earlier document has the same id", input.path.display());
            return Event::Mark(Mark::Bad(message));
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
            Kind::Table(separator) => self.read_table(input, separator, push),
            Kind::Corpus(format) => self.read_corpus(input, format, push),
        }
    }

    fn open(&self, input: &Input) -> Result<Box<dyn BufRead>> {
        let whole = open(&input.path, &input.bytes, self.bar.as_ref())?;
        Ok(Box::new(BufReader::new(Stoppable { whole, stop: Arc::clone(&self.stop) })))
    }

    fn read_text(&self, input: &Input, push: Push<'_>) -> Result<()> {
        let mut bytes = Vec::new();
        // One byte more than is admitted.
        self.open(input)?.take(MAX_DOCUMENT as u64 + 1).read_to_end(&mut bytes)?;
        // Otherwise NUL characters between letters would be text.
        if let Some(why) = refused_encoding(&bytes) {
            push(Event::Mark(Mark::Bad(format!("{}: {why}", input.path.display()))));
            return Ok(());
        }
        push(match String::from_utf8(bytes) {
            Ok(text) => Event::Document(Document::new(input.name.clone(), text)),
            Err(error) => {
                let at = error.utf8_error().valid_up_to();
                let line = 1 + error.as_bytes()[..at].iter().filter(|&&byte| byte == b'\n').count();
                let path = input.path.display();
                Event::Mark(Mark::Bad(format!(
                    "{path}:{line}: byte {at} is not UTF-8; convert the file first, for example: iconv -f WINDOWS-1252 -t \
                     UTF-8"
                )))
            }
        });
        Ok(())
    }

    fn read_table(&self, input: &Input, separator: u8, push: Push<'_>) -> Result<()> {
        let id = self.options.id_column.as_deref();
        let mut texts = TableTexts::new(self.open(input)?, separator, self.options.text_column(), id)?;
        while let Some((line, row)) = texts.next_row()? {
            let event = match row {
                Ok((id, text)) => Event::Document(Document::new(id, text)),
                Err(fault) => Event::Mark(Mark::Bad(format!("{}:{line}: {fault}", input.path.display()))),
            };
            if !push(event) {
                return Ok(());
            }
        }
        Ok(())
    }

    fn read_parquet(&self, input: &Input, push: Push<'_>) -> Result<()> {
        let copy = match &input.bytes {
            Bytes::File => None,
            Bytes::Object(object) => Some(table_of(object, input.rows.as_ref())?),
            Bytes::Stream(_) | Bytes::Zip(..) => {
                bail!("a Parquet table cannot be read from a stream or an archive; save it as a file")
            }
        };
        let path = copy.as_ref().map_or(&input.path, |(_, path)| path);
        let mut texts = Texts::open(path, self.options.text_column(), self.options.id_column.as_deref())?;
        let mut row = 0;
        if let Some(rows) = &input.rows {
            row = rows.start;
            texts = texts.within(rows.clone());
        }
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
        let options = self.options.of_formats();
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

/// A reader that fails once `stop` is set.
struct Stoppable<R> {
    whole: R,
    stop: Arc<AtomicBool>,
}

impl<R: Read> Read for Stoppable<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // Not `Interrupted`, after which readers try again.
        let stopped = || io::Error::other("reading was stopped");
        if self.stop.load(Ordering::Relaxed) { Err(stopped()) } else { self.whole.read(buffer) }
    }
}

/// Whether a fault may have lost a document or text. Faults in existing annotations are harmless, because annotations
/// are not read.
const fn loses_text(kind: DiagnosticKind) -> bool {
    matches!(
        kind,
        DiagnosticKind::MalformedLine
            | DiagnosticKind::DuplicateDocument
            | DiagnosticKind::UnknownDocument
            | DiagnosticKind::InvalidUtf8
    )
}

/// The ids so far.
#[derive(Default)]
struct SeenIds {
    /// Of all inputs.
    all: Ids,
    /// Of this one.
    here: Ids,
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
        let find = |path: &Path, from| find(&[path.into()], from, &InputOptions::default());
        write("B.TXT", "A note.");
        write("a/table.txt", "Na\tO\nCl\tO\n");
        write("a/x.PubTator.txt", "7|t|A\n7|a|B\n");
        write("a/manifest.json", "{\n \"notes\": 2\n}\n");
        write("a/other.jsonl", "{\"note\": \"a\"}\n{\"note\": \"b\"}\n");
        write("c.jsonl", "{\"text\": \"a\"}\n");
        write("c.pdf", "");
        write(".hidden.txt", "");
        #[cfg(unix)]
        std::os::unix::fs::symlink("c.jsonl", folder.path().join("link.jsonl")).expect("a link");
        let found = find(folder.path(), None).expect("found");
        assert!(found.is_tree);
        let shown: Vec<String> = found.inputs.iter().map(|input| format!("{} {}", input.name, input.kind)).collect();
        assert_eq!(shown, ["B text", "a/table text", "a/x pubtator", "c jsonl", "link jsonl"]);
        assert!(found.bad.len() == 1 && found.bad[0].contains("other.jsonl"), "{:?}", found.bad);
        let found = find(&folder.path().join("a/table.txt"), Some(Kind::Corpus(Format::Conll))).expect("found");
        let input = &found.inputs[0];
        assert_eq!((input.name.as_str(), input.kind, found.is_tree), ("table", Kind::Corpus(Format::Conll), false));
        write("d.xz", "");
        for name in ["d.xz", "none", "a/manifest.json", "a/other.jsonl"] {
            assert!(find(&folder.path().join(name), None).is_err(), "{name}");
        }
    }
}
