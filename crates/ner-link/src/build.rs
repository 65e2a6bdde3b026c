//! From records to a vocabulary file.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{self, Write};
use std::path::Path;

use ner_files::NewFile;
use rayon::prelude::*;
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::layout::{Header, MAGIC, Section, VERSION, hexadecimal, put_text, put_varint};
use crate::ngrams::{GramIndex, Lists};
use crate::normalise::{key_of, meanings_of, stem_of, variant_of};
use crate::record::Record;

/// Why a vocabulary could not be built.
#[derive(Debug, Error)]
pub enum BuildError {
    /// The file could not be written.
    #[error("cannot write the vocabulary: {0}")]
    Io(#[from] io::Error),
    /// No record has both an id and a name.
    #[error("nothing to write: no concept has a name")]
    Empty,
    /// The file counts names with 32 bits.
    #[error("too many names: a vocabulary holds at most {}", u32::MAX)]
    TooMany,
}

/// What became of the records.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BuildReport {
    /// Concepts in the file.
    pub concepts: u64,
    /// Names in the file.
    pub names: u64,
    /// Names that a concept had before, under the same key. The file counts them, for the order of ambiguous names.
    pub repeated_names: u64,
    /// Names without letters and digits. Nothing could find them.
    pub empty_names: u64,
    /// Concepts without a name, for example ids with nothing but types. They are left out.
    pub unnamed_concepts: u64,
    /// Concepts that a record calls inactive. They are left out.
    pub inactive_concepts: u64,
    /// Ids that outputs cannot tell from a list, or from no id: how many, and the first.
    pub odd_ids: Option<(u64, String)>,
    /// Size of the file in bytes.
    pub bytes: u64,
    /// SHA-256 of the content, in hexadecimal.
    pub sha256: String,
}

/// Collects records in any order, and writes the file.
///
/// The names of all records are in memory until then.
#[derive(Default)]
pub struct Builder {
    concepts: HashMap<String, u32>,
    facts: HashMap<u32, Facts>,
    inactive: HashSet<u32>,
    types: HashMap<String, u32>,
    texts: String,
    names: Vec<Given>,
    system: String,
}

#[derive(Default)]
struct Facts {
    types: Vec<u32>,
    other_ids: Vec<String>,
    xrefs: Vec<String>,
}

/// A name as a record gave it.
struct Given {
    concept: u32,
    place: u64,
    length: u32,
    is_preferred: bool,
}

/// A name of the file.
struct Name {
    concept: u32,
    place: u64,
    length: u32,
    is_preferred: bool,
    count: u32,
    key: u32,
    variant: u32,
    stem: u32,
}

fn push_new<T: PartialEq>(list: &mut Vec<T>, item: T) {
    if !list.contains(&item) {
        list.push(item);
    }
}

impl Builder {
    /// A builder without records.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a record to what is known of its concept.
    pub fn add(&mut self, record: Record) {
        let number = self.concepts.len() as u32;
        let concept = match self.concepts.entry(record.id) {
            Entry::Occupied(entry) => *entry.get(),
            Entry::Vacant(entry) => *entry.insert(number),
        };
        if record.is_inactive {
            self.inactive.insert(concept);
        }
        if !(record.types.is_empty() && record.other_ids.is_empty() && record.xrefs.is_empty()) {
            let facts = self.facts.entry(concept).or_default();
            for name in record.types {
                let number = self.types.len() as u32;
                push_new(&mut facts.types, *self.types.entry(name).or_insert(number));
            }
            for id in record.other_ids {
                push_new(&mut facts.other_ids, id);
            }
            for id in record.xrefs {
                push_new(&mut facts.xrefs, id);
            }
        }
        if let Some(name) = record.name {
            self.name(concept, &name, true);
        }
        for name in &record.synonyms {
            self.name(concept, name, false);
        }
    }

    fn name(&mut self, concept: u32, name: &str, is_preferred: bool) {
        let name = name.trim();
        let (place, length) = (self.texts.len() as u64, name.len() as u32);
        self.texts.push_str(name);
        self.names.push(Given { concept, place, length, is_preferred });
    }

    /// Says to which code system the ids belong: its URI, as FHIR names it.
    pub fn set_system(&mut self, system: impl Into<String>) {
        self.system = system.into();
    }

    /// Writes the file. `release` says what it is, in the user's words: "MeSH 2026, C and D".
    ///
    /// # Errors
    /// If there are no names, or more than the file can number, or it cannot be written.
    pub fn write(self, path: &Path, release: &str) -> Result<BuildReport, BuildError> {
        let Self { concepts, mut facts, inactive, types, texts, names: given, system } = self;
        if u32::try_from(given.len()).is_err() {
            return Err(BuildError::TooMany);
        }
        let mut report = BuildReport::default();
        let text_of = |place: u64, length: u32| &texts[place as usize..place as usize + length as usize];

        // Keys and their variants, numbered in their order.
        let keys: Vec<String> = given.par_iter().map(|name| key_of(text_of(name.place, name.length))).collect();
        let (keys, key_numbers) = numbered(keys);
        let variants: Vec<String> = keys.par_iter().map(|key| variant_of(key)).collect();
        let (variants, variant_numbers) = numbered(variants);
        let stems: Vec<String> = keys.par_iter().map(|key| stem_of(key)).collect();
        let (stems, mut stem_numbers) = numbered(stems);
        let grams = GramIndex::of(&stems);
        let mut new_number = vec![0; stems.len()];
        grams.order.iter().zip(0..).for_each(|(old, new)| new_number[*old as usize] = new);
        stem_numbers.iter_mut().for_each(|stem| *stem = new_number[*stem as usize]);
        let mut sections = Sections::default();
        let (gram_count, word_count) = (grams.grams.len() as u64, grams.words.len() as u64);
        sections.u32(Section::WordCounts, meaning_counts(&stems, &grams.words));
        sections.set_index(grams);

        // One name for each concept and key: the preferred one, or else the first.
        let mut names: Vec<Name> = Vec::with_capacity(given.len());
        for (name, key) in given.into_iter().zip(key_numbers) {
            if inactive.contains(&name.concept) {
                continue;
            }
            if keys[key as usize].is_empty() {
                report.empty_names += 1;
                continue;
            }
            let Given { concept, place, length, is_preferred } = name;
            let (variant, stem) = (variant_numbers[key as usize], stem_numbers[key as usize]);
            names.push(Name { concept, place, length, is_preferred, count: 1, key, variant, stem });
        }
        // Only the first preferred name of a concept stays one.
        let mut repeats = vec![0; concepts.len()];
        let mut has_preferred = vec![false; concepts.len()];
        for name in &mut names {
            if name.is_preferred {
                name.is_preferred = !std::mem::replace(&mut has_preferred[name.concept as usize], true);
            }
        }

        // Concepts with names, in the order of their ids.
        let mut is_named = vec![false; concepts.len()];
        names.iter().for_each(|name| is_named[name.concept as usize] = true);
        let mut ids: Vec<(String, u32)> =
            concepts.into_iter().filter(|(_, concept)| is_named[*concept as usize]).collect();
        report.inactive_concepts = inactive.len() as u64;
        report.unnamed_concepts = (is_named.len() - ids.len() - inactive.len()) as u64;
        if ids.is_empty() {
            return Err(BuildError::Empty);
        }
        ids.par_sort_unstable();
        let is_odd = |id: &str| id == "-1" || id.contains(|char: char| "|,".contains(char) || char.is_whitespace());
        let mut odd = ids.iter().map(|(id, _)| id).filter(|id| is_odd(id));
        report.odd_ids = odd.next().map(|first| (1 + odd.count() as u64, first.clone()));
        let mut new_number = vec![u32::MAX; is_named.len()];
        for (new, (_, old)) in ids.iter().enumerate() {
            new_number[*old as usize] = new as u32;
        }
        names.iter_mut().for_each(|name| name.concept = new_number[name.concept as usize]);
        names.par_sort_unstable_by_key(|name| (name.concept, name.key, !name.is_preferred, name.place));
        names.dedup_by(|later, first| {
            let is_same = (later.concept, later.key) == (first.concept, first.key);
            if is_same {
                first.count += 1;
                repeats[first.concept as usize] += 1;
                report.repeated_names += 1;
            }
            is_same
        });
        names.par_sort_unstable_by_key(|name| (name.concept, !name.is_preferred, name.place));

        sections.u32(Section::ConceptRepeats, repeats.into_iter().take(ids.len()));
        sections.set(Section::Ids, map_of(ids.iter().map(|(id, _)| id.as_str())));
        let mut fact_places = vec![0];
        let mut fact_bytes = Vec::new();
        for (_, old) in &ids {
            let facts = facts.remove(old).unwrap_or_default();
            put_varint(&mut fact_bytes, facts.types.len() as u64);
            facts.types.iter().for_each(|number| put_varint(&mut fact_bytes, u64::from(*number)));
            for list in [facts.other_ids, facts.xrefs] {
                put_varint(&mut fact_bytes, list.len() as u64);
                list.iter().for_each(|id| put_text(&mut fact_bytes, id));
            }
            fact_places.push(fact_bytes.len() as u64);
        }
        sections.u64(Section::ConceptFactPlaces, fact_places);
        sections.set(Section::ConceptFacts, fact_bytes);
        let mut types: Vec<(u32, String)> = types.into_iter().map(|(name, number)| (number, name)).collect();
        types.sort_unstable();
        sections.texts(Section::TypePlaces, Section::TypeTexts, types.iter().map(|(_, name)| name.as_str()));
        sections.u32(Section::ConceptNames, starts_of(&names, ids.len(), |name| name.concept));
        sections.u32(Section::NameConcepts, names.iter().map(|name| name.concept));
        let name_texts = names.iter().map(|name| text_of(name.place, name.length));
        sections.texts(Section::NamePlaces, Section::NameTexts, name_texts);

        let (key_places, key_names) = ranked(&names, keys.len(), |name| name.key);
        let (variant_places, variant_names) = ranked(&names, variants.len(), |name| name.variant);
        sections.u32(Section::KeyPlaces, key_places);
        sections.u32(Section::KeyNames, key_names);
        let (stem_places, stem_names) = ranked(&names, stems.len(), |name| name.stem);
        sections.u32(Section::StemPlaces, stem_places);
        sections.u32(Section::StemNames, stem_names);
        sections.u32(Section::VariantPlaces, variant_places);
        sections.u32(Section::VariantNames, variant_names);
        sections.set(Section::Keys, map_of(keys.iter().map(String::as_str)));
        sections.set(Section::Variants, map_of(variants.iter().map(String::as_str)));
        report.concepts = ids.len() as u64;
        report.names = names.len() as u64;
        let key_count = keys.len() as u64;
        drop((names, keys, ids, texts));

        let mut places = BTreeMap::new();
        let mut length = 0;
        let mut hash = Sha256::new();
        for (section, bytes) in &sections.0 {
            places.insert(*section, (length, bytes.len() as u64));
            length += bytes.len() as u64;
            hash.update(bytes);
        }
        report.sha256 = hexadecimal(&hash.finalize());
        let header = Header {
            release: release.to_owned(),
            system,
            sha256: report.sha256.clone(),
            length,
            concepts: report.concepts,
            names: report.names,
            keys: key_count,
            variants: variants.len() as u64,
            stems: stems.len() as u64,
            grams: gram_count,
            words: word_count,
            sections: places,
        };
        let header = serde_json::to_vec(&header).map_err(io::Error::from)?;
        let mut file = NewFile::create_alone(path)?;
        file.write_all(&MAGIC)?;
        file.write_all(&VERSION.to_le_bytes())?;
        file.write_all(&(header.len() as u32).to_le_bytes())?;
        file.write_all(&Sha256::digest(&header))?;
        file.write_all(&header)?;
        for bytes in sections.0.values() {
            file.write_all(bytes)?;
        }
        file.finish()?;
        report.bytes = (crate::layout::PRELUDE + header.len()) as u64 + length;
        Ok(report)
    }
}

#[derive(Default)]
struct Sections(BTreeMap<Section, Vec<u8>>);

impl Sections {
    fn set(&mut self, section: Section, bytes: Vec<u8>) {
        self.0.insert(section, bytes);
    }

    fn u32(&mut self, section: Section, numbers: impl IntoIterator<Item = u32>) {
        self.set(section, numbers.into_iter().flat_map(u32::to_le_bytes).collect());
    }

    fn u64(&mut self, section: Section, numbers: impl IntoIterator<Item = u64>) {
        self.set(section, numbers.into_iter().flat_map(u64::to_le_bytes).collect());
    }

    fn f32(&mut self, section: Section, numbers: Vec<f32>) {
        self.set(section, numbers.into_iter().flat_map(f32::to_le_bytes).collect());
    }

    fn lists(&mut self, places: Section, numbers: Section, lists: Lists) {
        self.u64(places, lists.places);
        self.u32(numbers, lists.numbers);
    }

    fn set_index(&mut self, index: GramIndex) {
        self.u64(Section::Grams, index.grams);
        self.u32(Section::GramCounts, index.counts);
        self.lists(Section::GramWordPlaces, Section::GramWords, index.gram_words);
        self.set(Section::Words, map_of(index.words.iter().copied()));
        self.texts(Section::WordPlaces, Section::WordTexts, index.words.into_iter());
        self.lists(Section::WordGramPlaces, Section::WordGrams, index.word_grams);
        self.f32(Section::WordNorms, index.word_norms);
        self.lists(Section::WordStemPlaces, Section::WordStems, index.word_texts);
        self.lists(Section::StemWordPlaces, Section::StemWords, index.text_words);
        self.f32(Section::Norms, index.norms);
    }

    fn texts<'t>(&mut self, places: Section, texts: Section, all: impl Iterator<Item = &'t str>) {
        let mut starts = vec![0];
        let mut bytes = Vec::new();
        for text in all {
            bytes.extend_from_slice(text.as_bytes());
            starts.push(bytes.len() as u64);
        }
        self.u64(places, starts);
        self.set(texts, bytes);
    }
}

/// The different texts in their order, and the number of each.
fn numbered(texts: Vec<String>) -> (Vec<String>, Vec<u32>) {
    let mut order: Vec<u32> = (0..texts.len() as u32).collect();
    order.par_sort_unstable_by(|one, other| texts[*one as usize].cmp(&texts[*other as usize]));
    let mut numbers = vec![0; texts.len()];
    let mut texts: Vec<Option<String>> = texts.into_iter().map(Some).collect();
    let mut different: Vec<String> = Vec::new();
    for at in order {
        let text = texts[at as usize].take().unwrap_or_default();
        if different.last() != Some(&text) {
            different.push(text);
        }
        numbers[at as usize] = different.len() as u32 - 1;
    }
    (different, numbers)
}

/// For each word the number of stems with a word of its meaning.
fn meaning_counts(stems: &[String], words: &[&str]) -> Vec<u32> {
    let mut counts: HashMap<&str, u32> = HashMap::new();
    for stem in stems {
        let mut words: Vec<&str> = meanings_of(stem).collect();
        words.sort_unstable();
        words.dedup();
        words.into_iter().for_each(|word| *counts.entry(word).or_default() += 1);
    }
    words.iter().map(|word| meanings_of(word).next().map_or(0, |word| counts[word])).collect()
}

/// An fst from texts, in their order, to their numbers.
fn map_of<'t>(texts: impl Iterator<Item = &'t str>) -> Vec<u8> {
    let mut map = fst::MapBuilder::memory();
    for (number, text) in texts.enumerate() {
        map.insert(text, number as u64).expect("sorted texts, without repetition");
    }
    map.into_inner().expect("writing to memory cannot fail")
}

/// Where the runs of the numbers `0..count` begin in what is sorted by them.
fn starts_of<T>(sorted: &[T], count: usize, number: impl Fn(&T) -> u32) -> Vec<u32> {
    let mut starts = vec![0; count + 1];
    for item in sorted {
        starts[number(item) as usize + 1] += 1;
    }
    for at in 1..starts.len() {
        starts[at] += starts[at - 1];
    }
    starts
}

/// For each of `count` groups one name of each concept, the most usual concept first: the one whose names of the group
/// were given most often, then the one that prefers the name, then the one with the smaller id.
fn ranked(names: &[Name], count: usize, group_of: impl Fn(&Name) -> u32 + Sync) -> (Vec<u32>, Vec<u32>) {
    let mut order: Vec<u32> = (0..names.len() as u32).collect();
    order.par_sort_unstable_by_key(|at| (group_of(&names[*at as usize]), *at));
    let mut places = Vec::with_capacity(count + 1);
    let mut ranked = Vec::with_capacity(order.len());
    let mut rest = order.as_slice();
    for group in 0..count {
        places.push(ranked.len() as u32);
        let end = rest.iter().position(|at| group_of(&names[*at as usize]) as usize != group).unwrap_or(rest.len());
        let (members, after) = rest.split_at(end);
        rest = after;
        // Names of a concept stand together, in the order of the concepts.
        let mut concepts: Vec<(std::cmp::Reverse<u32>, bool, u32)> = Vec::new();
        for run in members.chunk_by(|one, other| names[*one as usize].concept == names[*other as usize].concept) {
            let count = run.iter().map(|at| names[*at as usize].count).sum();
            concepts.push((std::cmp::Reverse(count), !names[run[0] as usize].is_preferred, run[0]));
        }
        concepts.sort_unstable();
        ranked.extend(concepts.iter().map(|(_, _, name)| name));
    }
    places.push(ranked.len() as u32);
    (places, ranked)
}
