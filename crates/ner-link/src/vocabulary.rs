//! A vocabulary file, mapped into memory.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use fst::raw::Fst;
use memmap2::Mmap;
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::layout::{
    Header, MAGIC, PRELUDE, SECTIONS, Section, VERSION, hexadecimal, take_text, take_varint, u32_at, u64_at,
};
use crate::ngrams::{Dictionary, Grams, Part as Lists};
use crate::normalise::SAME_WORDS;

/// Why a file is no vocabulary.
#[derive(Debug, Error)]
#[error("{}: {fault}", .path.display())]
pub struct OpenError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub fault: OpenFault,
}

/// What is wrong with a vocabulary file.
#[derive(Debug, Error)]
pub enum OpenFault {
    /// Error of the operating system.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Something else than a vocabulary.
    #[error("not a vocabulary of medner; build one from it with `medner vocabulary build`")]
    Foreign,
    /// Of another version.
    #[error("a vocabulary of version {0}, but this program reads version {VERSION}; build it again")]
    Version(u32),
    /// Shorter or longer than it says.
    #[error("the file should have {expected} bytes, but has {actual}; copy or build it again")]
    Length {
        /// What the header says.
        expected: u64,
        /// What the file has.
        actual: u64,
    },
    /// The bytes contradict each other.
    #[error("damaged ({0}); copy or build it again")]
    Damaged(String),
}

/// A part of the mapped file.
#[derive(Clone)]
struct Part {
    map: Arc<Mmap>,
    start: usize,
    end: usize,
}

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        &self.map[self.start..self.end]
    }
}

/// Concepts with their names, in a file that processes share.
///
/// The file is mapped, not read: pages come into memory when a search needs them.
pub struct Vocabulary {
    path: PathBuf,
    header: Header,
    map: Arc<Mmap>,
    /// By the number of the section.
    parts: Vec<(usize, usize)>,
    ids: Fst<Part>,
    keys: Fst<Part>,
    variants: Fst<Part>,
    words: Fst<Part>,
    dictionary: Dictionary,
    /// Words and those that stand for them; looked up by the first search.
    meanings: OnceLock<Vec<(u32, u32)>>,
}

/// A concept of a vocabulary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Concept {
    /// Its id, as in the vocabulary's source.
    pub id: String,
    /// All its names, the preferred one first.
    pub names: Vec<String>,
    /// Its types.
    pub types: Vec<String>,
    /// Other ids of the same concept.
    pub other_ids: Vec<String>,
    /// Ids in other vocabularies.
    pub xrefs: Vec<String>,
}

impl Vocabulary {
    /// Opens the file at `path`, which [`Builder::write`](crate::Builder::write) made. Compares the checksums, but for the
    /// content of a file of more than 256 MiB, which [`verify`](Self::verify) compares: it would be read for that. A search
    /// in a large file that is damaged may panic or find something else.
    ///
    /// # Errors
    /// If it cannot be read, or is no complete vocabulary of this version.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        open(path).map_err(|fault| OpenError { path: path.to_owned(), fault })
    }

    /// Reads the whole content and compares it with its checksum.
    ///
    /// # Errors
    /// If they differ.
    pub fn verify(&self) -> Result<(), OpenError> {
        let content = &self.map[self.map.len() - self.header.length as usize..];
        check(content, &self.header).map_err(|fault| OpenError { path: self.path.clone(), fault })
    }

    /// What the builder was told that this vocabulary is.
    pub fn release(&self) -> &str {
        &self.header.release
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// URI of the code system that the ids belong to; `None` if nobody said it.
    pub fn system(&self) -> Option<&str> {
        Some(self.header.system.as_str()).filter(|system| !system.is_empty())
    }

    /// The types of concepts.
    pub fn types(&self) -> impl Iterator<Item = &str> {
        (0..).map_while(|number| self.type_name(number))
    }

    /// SHA-256 of the content, in hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.header.sha256
    }

    /// Number of concepts.
    pub fn concepts(&self) -> u32 {
        self.header.concepts as u32
    }

    /// Number of names.
    pub fn names(&self) -> u64 {
        self.header.names
    }

    /// The number of the concept with this id.
    pub fn find(&self, id: &str) -> Option<u32> {
        self.ids.get(id).map(|output| output.value() as u32)
    }

    /// Concept number `concept`; concepts are in the order of their ids. `None` if there are fewer.
    pub fn concept(&self, concept: u32) -> Option<Concept> {
        let id = self.id(concept)?;
        let (first, end) = self.run(Section::ConceptNames, concept)?;
        // A damaged file may state any number.
        let end = end.min(self.header.names as u32);
        let names = (first..end).map(|name| self.name(name).to_owned()).collect();
        let mut bytes = self.slice(Section::ConceptFactPlaces, Section::ConceptFacts, concept)?;
        let mut types = Vec::new();
        for _ in 0..take_varint(&mut bytes)? {
            types.push(self.type_name(take_varint(&mut bytes)? as u32)?.to_owned());
        }
        let mut ids = || -> Option<Vec<String>> {
            (0..take_varint(&mut bytes)?).map(|_| take_text(&mut bytes).map(str::to_owned)).collect()
        };
        Some(Concept { id, names, types, other_ids: ids()?, xrefs: ids()? })
    }

    pub(crate) fn id(&self, concept: u32) -> Option<String> {
        // The numbers of an fst of ours are in the order of its texts.
        String::from_utf8(self.ids.get_key(u64::from(concept))?).ok()
    }

    /// The preferred name of a concept.
    pub(crate) fn preferred(&self, concept: u32) -> &str {
        self.run(Section::ConceptNames, concept).map_or("", |(first, _)| self.name(first))
    }

    /// Whether one of the filters admits a type of the concept: the type itself, or what it begins with, then `*`.
    pub(crate) fn has_type(&self, concept: u32, filters: &[String]) -> bool {
        let Some(mut bytes) = self.slice(Section::ConceptFactPlaces, Section::ConceptFacts, concept) else {
            return false;
        };
        let count = take_varint(&mut bytes).unwrap_or_default();
        // A damaged file may state any count.
        let mut types = (0..count).map_while(|_| take_varint(&mut bytes));
        types.any(|number| admits(filters, self.type_name(number as u32).unwrap_or_default()))
    }

    pub(crate) fn name(&self, name: u32) -> &str {
        let bytes = self.slice(Section::NamePlaces, Section::NameTexts, name).unwrap_or_default();
        std::str::from_utf8(bytes).unwrap_or_default()
    }

    pub(crate) fn concept_of(&self, name: u32) -> u32 {
        u32_at(self.part(Section::NameConcepts), name as usize).unwrap_or_default()
    }

    /// Names with exactly this key, one of each concept, the most usual first.
    pub(crate) fn by_key(&self, key: &str) -> impl Iterator<Item = u32> {
        let key = self.keys.get(key).map(|output| output.value() as u32);
        self.group(key, Section::KeyPlaces, Section::KeyNames)
    }

    /// As [`by_key`](Self::by_key), for variants.
    pub(crate) fn by_variant(&self, variant: &str) -> impl Iterator<Item = u32> {
        let variant = self.variants.get(variant).map(|output| output.value() as u32);
        self.group(variant, Section::VariantPlaces, Section::VariantNames)
    }

    /// The names of stem number `stem`.
    pub(crate) fn of_stem(&self, stem: u32) -> impl Iterator<Item = u32> {
        self.group(Some(stem), Section::StemPlaces, Section::StemNames)
    }

    pub(crate) fn grams(&self) -> Grams<'_> {
        Grams {
            dictionary: &self.dictionary,
            gram_words: self.lists(Section::GramWordPlaces, Section::GramWords),
            word_grams: self.lists(Section::WordGramPlaces, Section::WordGrams),
            word_norms: self.part(Section::WordNorms),
            word_texts: self.lists(Section::WordStemPlaces, Section::WordStems),
            text_words: self.lists(Section::StemWordPlaces, Section::StemWords),
            norms: self.part(Section::Norms),
        }
    }

    fn lists(&self, places: Section, numbers: Section) -> Lists<'_> {
        Lists { places: self.part(places), numbers: self.part(numbers) }
    }

    /// The number of a word of [`meanings_of`](crate::normalise::meanings_of).
    pub(crate) fn word(&self, word: &str) -> Option<u32> {
        self.words.get(word).map(|output| output.value() as u32)
    }

    pub(crate) fn word_text(&self, word: u32) -> &str {
        let bytes = self.slice(Section::WordPlaces, Section::WordTexts, word).unwrap_or_default();
        std::str::from_utf8(bytes).unwrap_or_default()
    }

    /// How much a word tells: the logarithm of how many stems there are for each that has its meaning.
    pub(crate) fn word_weight(&self, word: Option<u32>) -> f32 {
        let count = word.and_then(|word| u32_at(self.part(Section::WordCounts), word as usize)).unwrap_or_default();
        ((1 + self.header.stems) as f32 / (1 + count) as f32).ln()
    }

    /// The words of stem number `stem`, each as the word of its meaning that stands for all.
    pub(crate) fn words_of_stem(&self, stem: u32) -> impl Iterator<Item = u32> {
        let pairs =
            || SAME_WORDS.iter().filter_map(|(word, meaning)| self.word(word).zip(self.word(meaning))).collect();
        let meanings = self.meanings.get_or_init(pairs);
        let words = self.lists(Section::StemWordPlaces, Section::StemWords).numbers(stem);
        words.map(|word| meanings.iter().find(|(own, _)| *own == word).map_or(word, |(_, meaning)| *meaning))
    }

    /// How often names of the concept were given again.
    pub(crate) fn repeats(&self, concept: u32) -> u32 {
        u32_at(self.part(Section::ConceptRepeats), concept as usize).unwrap_or_default()
    }

    /// Numbers of the names of a concept, the preferred one first.
    pub(crate) fn names_of(&self, concept: u32) -> std::ops::Range<u32> {
        self.run(Section::ConceptNames, concept).map_or(0..0, |(first, end)| first..end)
    }

    fn group(&self, group: Option<u32>, places: Section, names: Section) -> impl Iterator<Item = u32> {
        let (start, end) = group.and_then(|group| self.run(places, group)).unwrap_or_default();
        let names = self.part(names);
        (start..end).map_while(move |at| u32_at(names, at as usize))
    }

    fn part(&self, section: Section) -> &[u8] {
        let (start, end) = self.parts[section as usize];
        &self.map[start..end]
    }

    fn run(&self, places: Section, at: u32) -> Option<(u32, u32)> {
        let places = self.part(places);
        Some((u32_at(places, at as usize)?, u32_at(places, at as usize + 1)?))
    }

    fn slice(&self, places: Section, bytes: Section, at: u32) -> Option<&[u8]> {
        let places = self.part(places);
        let (start, end) = (u64_at(places, at as usize)?, u64_at(places, at as usize + 1)?);
        self.part(bytes).get(start as usize..end as usize)
    }

    fn type_name(&self, number: u32) -> Option<&str> {
        std::str::from_utf8(self.slice(Section::TypePlaces, Section::TypeTexts, number)?).ok()
    }
}

/// Whether the file at `path` begins as a vocabulary, of any version.
///
/// # Errors
/// If it cannot be read.
pub fn is_vocabulary(path: &Path) -> io::Result<bool> {
    let mut begin = Vec::new();
    ner_files::open_regular(path)?.take(MAGIC.len() as u64).read_to_end(&mut begin)?;
    Ok(begin == MAGIC)
}

/// Whether one of the filters admits a type.
pub(crate) fn admits(filters: &[String], name: &str) -> bool {
    filters.iter().any(|filter| match filter.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == filter,
    })
}

/// Content of at most so many bytes is read when a file is opened, which takes a fraction of a second.
pub(crate) const CHECKED: u64 = 1 << 28;

fn check(content: &[u8], header: &Header) -> Result<(), OpenFault> {
    let sha256 = hexadecimal(&Sha256::digest(content));
    if sha256 == header.sha256 {
        return Ok(());
    }
    Err(OpenFault::Damaged(format!("its SHA-256 is {sha256}, its header says {}", header.sha256)))
}

fn open(path: &Path) -> Result<Vocabulary, OpenFault> {
    let mut file = ner_files::open_regular(path)?;
    let mut prelude = Vec::new();
    (&mut file).take(PRELUDE as u64).read_to_end(&mut prelude)?;
    // A file of another version may be shorter.
    if prelude.len() < 16 || prelude[..8] != MAGIC {
        return Err(OpenFault::Foreign);
    }
    let number = |at| u32_at(&prelude, at).unwrap_or_default();
    let (version, header_length) = (number(2), number(3) as usize);
    if version != VERSION {
        return Err(OpenFault::Version(version));
    }
    // SAFETY: the map is sound as long as nobody truncates or overwrites the file. `Builder` replaces a file by a rename,
    // which leaves an open map intact. Reading the file into memory instead would take seconds and a copy for each
    // process.
    #[allow(unsafe_code)]
    let map = unsafe { Mmap::map(&file) }?;
    let actual = map.len() as u64;
    let start = PRELUDE + header_length;
    let Some(header) = map.get(PRELUDE..start) else {
        return Err(OpenFault::Length { expected: start as u64, actual });
    };
    if Sha256::digest(header)[..] != prelude[16..] {
        return Err(OpenFault::Damaged("header".to_owned()));
    }
    let header: Header =
        serde_json::from_slice(header).map_err(|error| OpenFault::Damaged(format!("header: {error}")))?;
    let expected = header.length.saturating_add(start as u64);
    if expected != actual {
        return Err(OpenFault::Length { expected, actual });
    }

    if header.length <= CHECKED {
        check(&map[start..], &header)?;
    }
    // Beside one another, as they were written.
    let mut places: Vec<(u64, u64)> = header.sections.values().copied().collect();
    places.sort_unstable();
    let end = places.iter().try_fold(0, |end, (from, length)| (*from == end).then(|| end.saturating_add(*length)));
    if end != Some(header.length) {
        return Err(OpenFault::Damaged("the places of the sections".to_owned()));
    }
    let mut parts = vec![(0, 0); SECTIONS.len()];
    for section in SECTIONS {
        let damaged = |what: &str| OpenFault::Damaged(format!("{section:?}: {what}"));
        let (from, length) = *header.sections.get(&section).ok_or_else(|| damaged("missing"))?;
        let end = from.checked_add(length).filter(|end| *end <= header.length);
        let end = end.ok_or_else(|| damaged("outside of the file"))? as usize;
        if let Some(expected) = size_of(&header, section)
            && length != expected
        {
            return Err(damaged("of the wrong size"));
        }
        parts[section as usize] = (start + from as usize, start + end);
    }
    let map = Arc::new(map);
    let fst = |section| {
        let (start, end) = parts[section as usize];
        Fst::new(Part { map: Arc::clone(&map), start, end })
            .map_err(|error| OpenFault::Damaged(format!("{section:?}: {error}")))
    };
    let (ids, keys, variants) = (fst(Section::Ids)?, fst(Section::Keys)?, fst(Section::Variants)?);
    let words = fst(Section::Words)?;
    let part = |section| {
        let (start, end) = parts[section as usize];
        &map[start..end]
    };
    let dictionary = Dictionary::of(part(Section::Grams), part(Section::GramCounts), header.stems as usize);
    let meanings = OnceLock::new();
    Ok(Vocabulary { path: path.to_owned(), header, map, parts, ids, keys, variants, words, dictionary, meanings })
}

/// The size of a section of numbers.
fn size_of(header: &Header, section: Section) -> Option<u64> {
    let size = match section {
        Section::ConceptNames => (header.concepts + 1) * 4,
        Section::ConceptFactPlaces => (header.concepts + 1) * 8,
        Section::NameConcepts => header.names * 4,
        Section::NamePlaces => (header.names + 1) * 8,
        Section::KeyPlaces => (header.keys + 1) * 4,
        Section::VariantPlaces => (header.variants + 1) * 4,
        Section::StemPlaces => (header.stems + 1) * 4,
        Section::Norms => header.stems * 4,
        Section::WordPlaces => (header.words + 1) * 8,
        Section::WordCounts => header.words * 4,
        Section::StemWordPlaces => (header.stems + 1) * 8,
        Section::ConceptRepeats => header.concepts * 4,
        Section::Grams => header.grams * 8,
        Section::GramCounts => header.grams * 4,
        Section::GramWordPlaces => (header.grams + 1) * 8,
        Section::WordGramPlaces | Section::WordStemPlaces => (header.words + 1) * 8,
        Section::WordNorms => header.words * 4,
        _ => return None,
    };
    Some(size)
}
