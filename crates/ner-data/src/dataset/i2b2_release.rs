//! The i2b2 2010 release as distributed: folders or `.tar.gz` archives of two training sites and a test set.
//!
//! | what | where |
//! |---|---|
//! | training | `concept_assertion_relation_training_data/{beth,partners}/{txt,concept,ast,rel}` |
//! | test texts | `test_data/`, or `test_data/txt/`, or `reference_standard_for_test_data/txt/` |
//! | their concepts | `reference_standard_for_test_data/{concepts,ast,rel}`, or `test_data/{concept,ast,rel}` |
//!
//! Copies are read as well if these folders are nested more deeply or contain copies of one another. The nearest folder
//! with one of these names decides which part a file belongs to; its own name identifies the document; identical copies
//! are read once. Texts in a folder `unannotated` are counted but not read.
//!
//! The release has no development set. A fixed part of the training documents serves as one ([`development_ids`]).

use super::split::{LoadedSplit, Splits};
use crate::format::i2b2::{Files, Part, load, part_of};
use crate::{Diagnostic, DiagnosticKind, Diagnostics, Document};
use flate2::read::MultiGzDecoder;
use fs_err as fs;
use itertools::Itertools;
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufReader, Read};
use std::path::{Component, Path, PathBuf};

/// Files in memory, by path.
pub type FileTree = BTreeMap<PathBuf, Vec<u8>>;

/// Attribute that records the source of a document: `beth`, `partners` or `test`.
pub const SITE: &str = "site";

/// Maximum size of archives and folders, unpacked, in bytes. The release has a few million.
const MAX_BYTES: u64 = 512 << 20;

/// Maximum depth of archives inside archives.
const MAX_DEPTH: usize = 3;

/// Percentage of each site's training documents used as the development set.
const DEVELOPMENT_PERCENT: usize = 15;

/// Names of folders with training documents; the second and third belong to one site only.
const TRAINING: &[&str] = &["concept_assertion_relation_training_data", "beth", "partners", "training", "train"];
/// Names of folders with test documents.
const TEST: &[&str] = &["reference_standard_for_test_data", "test_data", "test"];
/// Name of the folder with unannotated texts.
const UNANNOTATED: &str = "unannotated";
/// Names of folders that only indicate the kind of their files.
const KINDS: &[&str] = &["txt", "concept", "concepts", "con", "ast", "rel"];
const ARCHIVES: &[&str] = &[".tar.gz", ".tgz"];

/// Why a release cannot be imported.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// A part of the release is missing.
    #[error(
        "no {part} documents of the i2b2 2010 release; looked for {looked_for}; found {}",
        found.join("; ")
    )]
    Incomplete {
        /// `training` or `test`.
        part: &'static str,
        /// The expected locations.
        looked_for: &'static str,
        /// Folders that contain files of a release, with the number of files.
        found: Vec<String>,
    },
    /// A path is neither a folder nor a readable archive.
    #[error("{} is neither a folder nor a .tar.gz archive", path.display())]
    NotAnArchive {
        /// The path.
        path: PathBuf,
    },
    /// The input is larger than the release can be.
    #[error("{} exceeds {} MiB unpacked, too large for the i2b2 2010 release", path.display(), MAX_BYTES >> 20)]
    TooLarge {
        /// The folder or archive.
        path: PathBuf,
    },
    /// A file cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Imports the release from one or several folders and `.tar.gz` archives.
///
/// # Errors
/// If a file cannot be read, or training or test documents are missing. Faults inside the files become diagnostics;
/// faults of an archive become diagnostics of the training split.
pub fn import(paths: &[PathBuf]) -> Result<Splits<LoadedSplit>, ReleaseError> {
    let (tree, mut diagnostics) = read_tree(paths)?;
    let mut splits = load_tree(&tree)?;
    diagnostics.0.append(&mut splits.train.diagnostics.0);
    splits.train.diagnostics = diagnostics;
    Ok(splits)
}

/// Reads the files of a release into memory. Paths begin with the name of the folder or archive.
///
/// # Errors
/// If a file cannot be read or is too large.
pub fn read_tree(paths: &[PathBuf]) -> Result<(FileTree, Diagnostics), ReleaseError> {
    let mut unpacker = Unpacker { tree: FileTree::new(), diagnostics: Diagnostics::default(), left: MAX_BYTES };
    for path in paths {
        // `.` has no name until it is resolved.
        let resolved = if path.file_name().is_none() { path.canonicalize()? } else { path.clone() };
        let name = PathBuf::from(resolved.file_name().unwrap_or_default());
        if path.is_dir() {
            unpacker.folder(path, &name)?;
        } else if is_archive(path) {
            unpacker.archive(BufReader::new(fs::File::open(path)?), path, &name, 1)?;
        } else {
            // Fails with a clear error if the path does not exist.
            fs::metadata(path)?;
            return Err(ReleaseError::NotAnArchive { path: path.clone() });
        }
    }
    Ok((unpacker.tree, unpacker.diagnostics))
}

/// Name of the folder that an archive was made from.
fn archive_stem(name: &str) -> Option<&str> {
    ARCHIVES.iter().find_map(|ending| name.strip_suffix(ending))
}

fn is_archive(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // macOS adds a shadow file (`._NAME`) for every file in an archive.
    archive_stem(&name).is_some() && !name.starts_with("._")
}

struct Unpacker {
    tree: FileTree,
    diagnostics: Diagnostics,
    /// Remaining budget in bytes.
    left: u64,
}

impl Unpacker {
    fn folder(&mut self, folder: &Path, name: &Path) -> Result<(), ReleaseError> {
        let hidden = |name: &str| name.starts_with('.');
        let entries = walkdir::WalkDir::new(folder).follow_links(true).sort_by_file_name().into_iter();
        for entry in entries.filter_entry(|entry| entry.depth() == 0 || !hidden(&entry.file_name().to_string_lossy())) {
            let entry = entry.map_err(io::Error::from)?;
            let (path, name) = (entry.path(), name.join(entry.path().strip_prefix(folder).unwrap_or(Path::new(""))));
            if !entry.file_type().is_file() {
                continue;
            }
            if is_archive(path) {
                // The unpacked folder is preferred to its archive, as it may have been corrected since.
                let unpacked = archive_stem(&entry.file_name().to_string_lossy()).map(|stem| path.with_file_name(stem));
                if !unpacked.is_some_and(|folder| folder.is_dir()) {
                    self.archive(BufReader::new(fs::File::open(path)?), path, &name, 1)?;
                }
            } else if part_of(path).is_some() {
                let mut file = Bounded { input: fs::File::open(path)?, left: &mut self.left };
                let mut bytes = Vec::new();
                file.read_to_end(&mut bytes).map_err(|error| fault(folder, error))?;
                keep(&mut self.tree, &mut self.diagnostics, name, bytes);
            }
        }
        Ok(())
    }

    /// Reads an archive into memory; writes nothing to disk.
    fn archive(&mut self, input: impl Read, path: &Path, name: &Path, depth: usize) -> Result<(), ReleaseError> {
        let mut inner = Vec::new();
        let mut archive = tar::Archive::new(Bounded { input: MultiGzDecoder::new(input), left: &mut self.left });
        for entry in archive.entries().map_err(|error| fault(path, error))? {
            let mut entry = entry.map_err(|error| fault(path, error))?;
            let member = entry.path().map_err(|error| fault(path, error))?.into_owned();
            let is_nested = is_archive(&member);
            if !is_nested && part_of(&member).is_none() {
                continue;
            }
            let is_inside = member.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
            let reason = if !is_inside {
                "a member's path leads out of the archive"
            } else if entry.header().entry_type().is_dir() {
                continue;
            } else if !entry.header().entry_type().is_file() {
                "a member is a link"
            } else if is_nested && depth == MAX_DEPTH {
                "archives are nested too deeply"
            } else {
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes).map_err(|error| fault(path, error))?;
                let member =
                    name.join(member.components().filter(|part| *part != Component::CurDir).collect::<PathBuf>());
                if is_nested {
                    inner.push((member, bytes));
                } else {
                    keep(&mut self.tree, &mut self.diagnostics, member, bytes);
                }
                continue;
            };
            let message = format!("{reason}; left out");
            self.diagnostics.0.push(of_file(DiagnosticKind::MalformedLine, name, None, message));
        }
        for (member, bytes) in inner {
            self.archive(bytes.as_slice(), &member, &member, depth + 1)?;
        }
        Ok(())
    }
}

/// Adds a file to the tree. An archive may contain a path twice, and two archives may have the same name.
fn keep(tree: &mut FileTree, diagnostics: &mut Diagnostics, path: PathBuf, bytes: Vec<u8>) {
    if tree.get(&path).is_some_and(|earlier| *earlier != bytes) {
        let message = "a different file with this path was read before; left out".to_owned();
        diagnostics.0.push(of_file(DiagnosticKind::DuplicateDocument, &path, None, message));
    } else {
        tree.insert(path, bytes);
    }
}

/// A fault of a whole file.
fn of_file(kind: DiagnosticKind, file: &Path, document: Option<String>, message: String) -> Diagnostic {
    Diagnostic { kind, file: file.into(), line: 1, document, message }
}

/// Limits reading to the remaining budget, which all inputs share.
struct Bounded<'l, R> {
    input: R,
    left: &'l mut u64,
}

impl<R: Read> Read for Bounded<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        match self.left.checked_sub(read as u64) {
            Some(left) => *self.left = left,
            None => return Err(io::Error::new(io::ErrorKind::FileTooLarge, "too large")),
        }
        Ok(read)
    }
}

/// Adds the path to a read error, since neither the archive nor its decoder knows it.
fn fault(path: &Path, error: io::Error) -> ReleaseError {
    match error.kind() {
        io::ErrorKind::FileTooLarge => ReleaseError::TooLarge { path: path.into() },
        kind => ReleaseError::Io(io::Error::new(kind, format!("{} cannot be read: {error}", path.display()))),
    }
}

/// The part of the release that the folders of a file indicate.
enum Place {
    /// Training documents of a site.
    Training(String),
    Test,
    PartialLabels,
}

fn place_of(path: &Path) -> Option<Place> {
    let folders = path.parent()?.components().rev().map(|part| part.as_os_str().to_string_lossy().to_lowercase());
    let folders = folders.map(|name| archive_stem(&name).unwrap_or(&name).to_owned()).collect_vec();
    if folders.iter().any(|name| name == UNANNOTATED) {
        return Some(Place::PartialLabels);
    }
    folders.iter().find_map(|name| match name.as_str() {
        name if TRAINING.contains(&name) => {
            let site = folders.iter().find(|name| !KINDS.contains(&name.as_str()))?;
            Some(Place::Training(site.clone()))
        }
        name if TEST.contains(&name) => Some(Place::Test),
        _ => None,
    })
}

/// Loads a release from its files in memory.
///
/// # Errors
/// If training or test documents are missing.
pub fn load_tree(tree: &FileTree) -> Result<Splits<LoadedSplit>, ReleaseError> {
    let mut diagnostics = Diagnostics::default();
    let (mut training, mut test): (BTreeMap<String, Files>, BTreeMap<String, Files>) = Default::default();
    let mut unannotated: Vec<&Path> = Vec::new();
    for (path, bytes) in tree {
        let (Some((part, id)), Some(place)) = (part_of(path), place_of(path)) else { continue };
        let documents = match place {
            Place::Training(_) => &mut training,
            Place::Test => &mut test,
            Place::PartialLabels => {
                unannotated.push(path);
                continue;
            }
        };
        match &mut documents.entry(id.clone()).or_default()[part as usize] {
            Some(first) if tree.get(first) == Some(bytes) => {}
            Some(first) => {
                let message = format!("differs from {}, which has the same name; left out", first.display());
                diagnostics.0.push(of_file(DiagnosticKind::DuplicateDocument, path, Some(id), message));
            }
            none => *none = Some(path.clone()),
        }
    }
    if let Some(folder) = unannotated.first().and_then(|first| first.parent()) {
        let message = format!("{} unannotated texts", unannotated.len());
        diagnostics.0.push(of_file(DiagnosticKind::NotRead, folder, None, message));
    }
    let training = load_documents(tree, &training)?;
    let test = load_documents(tree, &test)?;
    let parts = [("training", &training, TRAINING_PLACES), ("test", &test, TEST_PLACES)];
    for (part, split, looked_for) in parts {
        if split.documents.is_empty() {
            return Err(ReleaseError::Incomplete { part, looked_for, found: inventory(tree) });
        }
    }
    let (train, dev) = set_aside(training);
    let mut splits = Splits { train, dev, test };
    splits.train.diagnostics.0.append(&mut diagnostics.0);
    Ok(splits)
}

const TRAINING_PLACES: &str =
    "concept_assertion_relation_training_data/{beth,partners}/ with txt/*.txt and concept/*.con";
const TEST_PLACES: &str =
    "test_data/*.txt with reference_standard_for_test_data/concepts/*.con, or test_data/ with txt/ and concept/";

/// Reads documents of the tree, with the site of each text.
fn load_documents(tree: &FileTree, documents: &BTreeMap<String, Files>) -> io::Result<LoadedSplit> {
    let read = |path: &Path| Ok(Cow::Borrowed(tree.get(path).map_or(&[][..], Vec::as_slice)));
    let mut split = LoadedSplit::default();
    for (id, files) in documents {
        let Some(mut document) = load(id, files, read, &mut split.diagnostics)? else { continue };
        let site = match files[Part::Text as usize].as_deref().and_then(place_of) {
            Some(Place::Training(site)) => site,
            _ => "test".to_owned(),
        };
        document.attributes.insert(SITE.to_owned(), site);
        split.documents.push(document);
    }
    Ok(split)
}

/// Separates the development documents from the training documents.
fn set_aside(training: LoadedSplit) -> (LoadedSplit, LoadedSplit) {
    let site = |document: &Document| document.attributes.get(SITE).cloned();
    let by_site = training.documents.iter().map(|document| (site(document), document.id.as_str())).into_group_map();
    let development: BTreeSet<String> = by_site.into_values().flat_map(development_ids).map(str::to_owned).collect();
    let is_development = |id: &str| development.contains(id);
    let (dev, train) = training.documents.into_iter().partition(|document| is_development(&document.id));
    let (dev_faults, train_faults) =
        training.diagnostics.0.into_iter().partition(|fault| fault.document.as_deref().is_some_and(is_development));
    let split = |documents, faults| LoadedSplit { documents, diagnostics: Diagnostics(faults) };
    (split(train, train_faults), split(dev, dev_faults))
}

/// The development documents of one site, in any input order: the first 15 % of its documents, rounded down, ordered by
/// the SHA-256 of their identifiers.
pub fn development_ids<'i>(ids: impl IntoIterator<Item = &'i str>) -> Vec<&'i str> {
    let mut ids = ids.into_iter().map(|id| (Sha256::digest(id), id)).sorted().map(|(_, id)| id).collect_vec();
    ids.truncate(ids.len() * DEVELOPMENT_PERCENT / 100);
    ids
}

/// Maximum number of folders listed in an error.
const MAX_FOLDERS: usize = 12;

/// Number of files per kind and folder.
fn inventory(tree: &FileTree) -> Vec<String> {
    let ending = |path: &Path| path.extension().unwrap_or_default().to_string_lossy().into_owned();
    let mut folders: BTreeMap<&Path, BTreeMap<String, usize>> = BTreeMap::new();
    for path in tree.keys() {
        *folders.entry(path.parent().unwrap_or(path)).or_default().entry(ending(path)).or_default() += 1;
    }
    if folders.is_empty() {
        return vec!["no .txt, .con, .ast or .rel file".to_owned()];
    }
    let describe = |(folder, counts): (&&Path, &BTreeMap<String, usize>)| {
        let counts = counts.iter().map(|(ending, count)| format!("{count} .{ending}")).join(" and ");
        format!("{counts} in {}", folder.display())
    };
    let mut found = folders.iter().take(MAX_FOLDERS).map(describe).collect_vec();
    if folders.len() > MAX_FOLDERS {
        found.push(format!("files in {} more folders", folders.len() - MAX_FOLDERS));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::collection::vec;
    use proptest::prelude::*;

    /// Texts and concepts of three documents, in the layout of the release.
    const RELEASE: [&str; 6] = [
        "concept_assertion_relation_training_data/beth/txt/record-1.txt",
        "concept_assertion_relation_training_data/beth/concept/record-1.con",
        "concept_assertion_relation_training_data/partners/txt/2_DH.txt",
        "concept_assertion_relation_training_data/partners/concept/2_DH.con",
        "test_data/0003.txt",
        "reference_standard_for_test_data/concepts/0003.con",
    ];

    fn contents(path: &str) -> &'static str {
        if path.ends_with(".txt") { "a b\n" } else { "c=\"b\" 1:1 1:1||t=\"problem\"\n" }
    }

    fn tar_gz<'f>(files: impl IntoIterator<Item = (&'f str, &'f [u8])>) -> Vec<u8> {
        let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        for (name, bytes) in files {
            let mut header = tar::Header::new_gnu();
            // Written directly: the builder rejects names that lead out of an archive.
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            header.set_cksum();
            builder.append(&header, bytes).expect("memory");
        }
        builder.into_inner().and_then(GzEncoder::finish).expect("memory")
    }

    fn release<'n>(names: impl IntoIterator<Item = &'n str>) -> Vec<u8> {
        tar_gz(names.into_iter().map(|name| (name, contents(name).as_bytes())))
    }

    /// `documents`: site and id of each, in train and test.
    fn check(files: &[(&str, &[u8])], documents: Result<&[&str], &str>, faults: &[&str]) {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().join("i2b2");
        for (name, bytes) in files {
            let path = root.join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            fs::write(path, bytes).expect("written");
        }
        match (import(&[root]), documents) {
            (Ok(splits), Ok(expected)) => {
                let all = splits.iter().flat_map(|(_, split)| &split.documents);
                let found = all.map(|document| format!("{} {}", document.attributes[SITE], document.id)).collect_vec();
                assert_eq!(found, expected);
                let printed = splits.iter().flat_map(|(_, split)| &split.diagnostics.0).map(ToString::to_string);
                assert_eq!(printed.collect_vec(), faults);
            }
            (Err(error), Err(expected)) => assert_eq!(error.to_string(), expected),
            (found, expected) => panic!("{found:?} and not {expected:?}"),
        }
    }

    const ALL: Result<&[&str], &str> = Ok(&["partners 2_DH", "beth record-1", "test 0003"]);

    fn plain<'n>(names: impl IntoIterator<Item = &'n str>) -> Vec<(&'n str, &'static [u8])> {
        names.into_iter().map(|name| (name, contents(name).as_bytes())).collect()
    }

    #[test]
    fn original_and_copied_layouts_are_read() {
        check(&plain(RELEASE), ALL, &[]);
        let copied = ["test_data/txt/0003.txt", "test_data/concept/0003.con"];
        check(&plain(RELEASE.into_iter().take(4).chain(copied)), ALL, &[]);
        let moved =
            ["reference_standard_for_test_data/txt/0003.txt", "reference_standard_for_test_data/concepts/0003.con"];
        check(&plain(RELEASE.into_iter().take(4).chain(moved)), ALL, &[]);
        // Nested more deeply, with a merged copy of both sites, and with macOS's shadow files.
        let deeper = RELEASE.map(|name| format!("2010/data/{name}"));
        let more = [
            "2010/data/concept_assertion_relation_training_data/merged/txt/record-1.txt",
            "2010/data/test_data/._0003.txt",
            "2010/README.txt",
        ];
        check(&plain(deeper.iter().map(String::as_str).chain(more)), ALL, &[]);
        let all: Vec<u8> = release(RELEASE);
        check(&[("release.tar.gz", &all)], ALL, &[]);
        check(&[("all.tgz", &tar_gz([("x/release.tar.gz", all.as_slice())]))], ALL, &[]);
        // The three archives; one beside the corrected folder that was unpacked from it.
        let (training, test, reference) =
            (release(RELEASE[..4].to_vec()), release([RELEASE[4]]), release([RELEASE[5]]));
        check(&[("a.tar.gz", &training), ("test_data.tar.gz", &test), ("c.tar.gz", &reference)], ALL, &[]);
        let mut corrected = plain(RELEASE);
        corrected.push(("test_data.tar.gz", &[]));
        check(&corrected, ALL, &[]);
    }

    #[test]
    fn left_out_files_are_named() {
        let with =
            |name: &'static str, bytes: &'static [u8]| plain(RELEASE).into_iter().chain([(name, bytes)]).collect_vec();
        let unannotated = "concept_assertion_relation_training_data/partners/unannotated/9.txt";
        let fault = "i2b2/concept_assertion_relation_training_data/partners/unannotated:1: not supported, left out: \
                     1 unannotated texts";
        check(&with(unannotated, b"a"), ALL, &[fault]);
        let fault = "i2b2/test_data/txt/0003.txt:1: document 0003: duplicate document: differs from \
                     i2b2/test_data/0003.txt, which has the same name; left out";
        check(&with("test_data/txt/0003.txt", b"other"), ALL, &[fault]);
    }

    #[test]
    fn archives_cannot_lead_elsewhere() {
        let text = "a\n".as_bytes();
        let names = ["../out.txt", "/etc/out.txt", "a/../../out.txt"];
        let unsafe_names = tar_gz(names.map(|name| (name, text)));
        let fault = "i2b2/evil.tar.gz:1: malformed line: a member's path leads out of the archive; left out";
        let release = release(RELEASE);
        check(&[("evil.tar.gz", &unsafe_names), ("good.tar.gz", &release)], ALL, &[fault; 3]);
    }

    #[test]
    fn the_error_lists_expected_and_found_files() {
        let training = "no training documents of the i2b2 2010 release; looked for \
            concept_assertion_relation_training_data/{beth,partners}/ with txt/*.txt and concept/*.con; found ";
        check(&[("README", b"")], Err(&format!("{training}no .txt, .con, .ast or .rel file")), &[]);
        let found = "1 .con in i2b2/reference_standard_for_test_data/concepts; 1 .txt in i2b2/test_data";
        check(&plain(RELEASE.into_iter().skip(4)), Err(&format!("{training}{found}")), &[]);
        let test = "no test documents of the i2b2 2010 release; looked for test_data/*.txt with \
            reference_standard_for_test_data/concepts/*.con, or test_data/ with txt/ and concept/; found ";
        let found = "1 .con in i2b2/beth/concept; 1 .txt in i2b2/beth/txt";
        check(&plain(["beth/txt/1.txt", "beth/concept/1.con"]), Err(&format!("{test}{found}")), &[]);
        let error = read_tree(&[PathBuf::from("/nowhere/release.tar.gz")]).expect_err("it is not there");
        assert!(error.to_string().contains("/nowhere/release.tar.gz"), "{error}");
        let file = tempfile::NamedTempFile::new().expect("a file");
        let error = read_tree(&[file.path().into()]).expect_err("no archive");
        assert!(matches!(error, ReleaseError::NotAnArchive { .. }), "{error}");
    }

    /// 600 MB of zeros compress to about 600 kB.
    #[test]
    fn a_bomb_does_not_go_off() {
        let zeros = vec![0; 100 << 20];
        let bomb = tar_gz([0; 6].map(|_| ("test_data/0.txt", zeros.as_slice())));
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("bomb.tar.gz");
        fs::write(&path, bomb).expect("written");
        let error = read_tree(&[path]).expect_err("too large");
        assert!(matches!(error, ReleaseError::TooLarge { .. }), "{error}");
    }

    #[test]
    fn the_development_set_depends_on_no_order() {
        let ids = (0..40).map(|at| format!("record-{at}")).collect_vec();
        let chosen = development_ids(ids.iter().map(String::as_str));
        assert_eq!(chosen.len(), 6);
        assert_eq!(development_ids(ids.iter().rev().map(String::as_str)), chosen);
        assert_eq!(chosen, ["record-18", "record-29", "record-10", "record-26", "record-7", "record-4"]);
    }

    proptest! {
        #[test]
        fn no_archive_makes_it_fail(bytes in vec(any::<u8>(), 0..200), at in 0usize..400, byte in any::<u8>()) {
            let mut damaged = release(RELEASE);
            let at = at % damaged.len();
            damaged[at] = byte;
            for bytes in [bytes, damaged] {
                let mut unpacker = Unpacker { tree: FileTree::new(), diagnostics: Diagnostics::default(), left: 1 << 20 };
                let path = Path::new("release.tar.gz");
                if unpacker.archive(bytes.as_slice(), path, path, 1).is_ok() {
                    drop(load_tree(&unpacker.tree));
                }
            }
        }
    }
}
