//! The layout of a vocabulary file.
//!
//! ```text
//! 8 bytes   magic
//! u32       version
//! u32       length of the header in bytes
//! 32 bytes  SHA-256 of the header
//! header    JSON: release, counts, places of the sections, SHA-256 of all that follows
//! content   the sections, one after the other
//! ```
//!
//! Numbers are little-endian. Nothing is aligned: numbers are read from their bytes. Concepts are numbered in the order
//! of their ids, the names of a concept stand together with the preferred one first, keys and
//! variants and words are numbered in their order, stems by the length of their vectors, grams by the number of their stems.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub const MAGIC: [u8; 8] = *b"\x89NERVOC\n";
pub const VERSION: u32 = 4;
/// Bytes before the header.
pub const PRELUDE: usize = 48;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Header {
    /// What the user says that this vocabulary is.
    pub release: String,
    /// URI of the code system that the ids belong to, as FHIR names it; empty if unknown.
    pub system: String,
    /// Of the content, in hexadecimal.
    pub sha256: String,
    /// Length of the content in bytes.
    pub length: u64,
    pub concepts: u64,
    pub names: u64,
    pub keys: u64,
    pub variants: u64,
    pub stems: u64,
    pub grams: u64,
    pub words: u64,
    /// Start in the content, and length in bytes.
    pub sections: BTreeMap<Section, (u64, u64)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Section {
    /// fst: id → concept.
    Ids,
    /// `[concepts + 1]` u32: first name of the concept.
    ConceptNames,
    /// `[concepts + 1]` u64: place in `ConceptFacts`.
    ConceptFactPlaces,
    /// Of each concept: three lists (types, other ids, xrefs); a list is a varint and as many strings, a type a varint.
    ConceptFacts,
    /// As `ConceptFactPlaces`, of `TypeTexts`.
    TypePlaces,
    TypeTexts,
    /// `[names]` u32.
    NameConcepts,
    /// `[names + 1]` u64: place in `NameTexts`.
    NamePlaces,
    NameTexts,
    /// fst: key → its number.
    Keys,
    /// `[keys + 1]` u32: place in `KeyNames`.
    KeyPlaces,
    /// u32: names with this key, one of each concept, the most usual first.
    KeyNames,
    /// As for keys.
    Variants,
    VariantPlaces,
    VariantNames,
    /// As for keys.
    StemPlaces,
    StemNames,
    /// `[grams]` u64, those of most stems first.
    Grams,
    /// `[grams]` u32: number of stems with the gram.
    GramCounts,
    /// `[grams + 1]` u64: place in `GramWords`, counted in numbers.
    GramWordPlaces,
    /// u32: words that have the gram, ascending.
    GramWords,
    /// fst: word of stems, or one that stands for their meaning → its number.
    Words,
    /// `[words + 1]` u64: place in `WordTexts`.
    WordPlaces,
    WordTexts,
    /// `[words]` u32: number of stems with a word of the same meaning.
    WordCounts,
    /// As `GramWordPlaces`, of `WordGrams`.
    WordGramPlaces,
    /// u32: grams of the word, in the order of their codes.
    WordGrams,
    /// `[words]` f32: length of the vector of a word.
    WordNorms,
    /// As `GramWordPlaces`, of `WordStems`.
    WordStemPlaces,
    /// u32: stems that have the word, ascending.
    WordStems,
    /// As `GramWordPlaces`, of `StemWords`.
    StemWordPlaces,
    /// u32: words of the stem, in its order.
    StemWords,
    /// `[stems]` f32: length of the vector of a stem.
    Norms,
    /// `[concepts]` u32: how often names were given again.
    ConceptRepeats,
}

pub const SECTIONS: [Section; 34] = [
    Section::Ids,
    Section::ConceptNames,
    Section::ConceptFactPlaces,
    Section::ConceptFacts,
    Section::TypePlaces,
    Section::TypeTexts,
    Section::NameConcepts,
    Section::NamePlaces,
    Section::NameTexts,
    Section::Keys,
    Section::KeyPlaces,
    Section::KeyNames,
    Section::Variants,
    Section::VariantPlaces,
    Section::VariantNames,
    Section::StemPlaces,
    Section::StemNames,
    Section::Grams,
    Section::GramCounts,
    Section::GramWordPlaces,
    Section::GramWords,
    Section::Words,
    Section::WordPlaces,
    Section::WordTexts,
    Section::WordCounts,
    Section::WordGramPlaces,
    Section::WordGrams,
    Section::WordNorms,
    Section::WordStemPlaces,
    Section::WordStems,
    Section::StemWordPlaces,
    Section::StemWords,
    Section::Norms,
    Section::ConceptRepeats,
];

pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Seven bits a byte, the lowest first; the high bit says that more follow.
pub fn put_varint(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

pub fn put_text(bytes: &mut Vec<u8>, text: &str) {
    put_varint(bytes, text.len() as u64);
    bytes.extend_from_slice(text.as_bytes());
}

/// Takes a number off the front. `None` if the bytes end before.
#[inline]
pub fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    let mut shift = 0;
    loop {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte < 0x80 {
            return Some(number);
        }
        shift += 7;
    }
}

pub fn take_text<'b>(bytes: &mut &'b [u8]) -> Option<&'b str> {
    let length = usize::try_from(take_varint(bytes)?).ok()?;
    let (text, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    std::str::from_utf8(text).ok()
}

/// Number `at` of a section of u32.
#[inline]
pub fn u32_at(section: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(section.get(at * 4..at * 4 + 4)?.try_into().ok()?))
}

/// Number `at` of a section of u64.
#[inline]
pub fn u64_at(section: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(section.get(at * 8..at * 8 + 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_come_back(numbers: Vec<u64>, text: String) {
            let mut bytes = Vec::new();
            for number in &numbers {
                put_varint(&mut bytes, *number);
            }
            put_text(&mut bytes, &text);
            let mut rest = bytes.as_slice();
            for number in &numbers {
                prop_assert_eq!(take_varint(&mut rest), Some(*number));
            }
            prop_assert_eq!(take_text(&mut rest), Some(text.as_str()));
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn damaged_numbers_are_none_and_no_panic(bytes: Vec<u8>) {
            let mut rest = bytes.as_slice();
            while take_text(&mut rest).is_some() {}
        }
    }
}
