//! File names for documents with any id.
//!
//! An id that fits into a file name comes back from its file name. A longer one is shortened ([`short_id`]) before it
//! becomes a file name, which the conversion counts as a changed id.

use sha2::{Digest, Sha256};

/// Longest file stem, in bytes: a file name may have 255, and its extension needs some.
const LONGEST: usize = 200;

/// The file stem for a document's id; [`id_of_stem`] is the inverse.
///
/// Percent-encodes characters that file names cannot contain on Linux, macOS or Windows, or that would let a terminal
/// show another name; a leading dot, which would hide the file; the first letter of a name that Windows reserves; and
/// `%`.
pub fn stem_of_id(id: &str) -> String {
    if id.is_empty() {
        return "%".into();
    }
    let is_reserved = is_reserved(id);
    let mut stem = String::with_capacity(id.len());
    for (at, character) in id.char_indices() {
        if is_unsafe(character) || (at == 0 && (character == '.' || is_reserved)) {
            let mut buffer = [0; 4];
            for byte in character.encode_utf8(&mut buffer).bytes() {
                stem.push_str(&format!("%{byte:02X}"));
            }
        } else {
            stem.push(character);
        }
    }
    stem
}

fn is_unsafe(character: char) -> bool {
    matches!(character, '/' | '\\' | ':' | '%' | '<' | '>' | '"' | '|' | '?' | '*')
        || ner_document::is_steering(character)
}

/// Whether Windows has a device of this name, with any extension.
fn is_reserved(id: &str) -> bool {
    let name = id.split('.').next().unwrap_or_default().trim_end().to_ascii_uppercase();
    let is_numbered = |name: &str, kind: &str| {
        name.strip_prefix(kind).is_some_and(|number| matches!(number.as_bytes(), [b'0'..=b'9']))
    };
    ["CON", "PRN", "AUX", "NUL"].contains(&name.as_str()) || is_numbered(&name, "COM") || is_numbered(&name, "LPT")
}

/// An id that fits into a file name: `id` itself if it does, else its beginning, `~`, and the first 64 bits of its
/// SHA-256.
pub fn short_id(id: &str) -> String {
    if stem_of_id(id).len() <= LONGEST {
        return id.to_owned();
    }
    let hash: String = Sha256::digest(id).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let room = LONGEST - hash.len() - 1;
    let mut end = 0;
    let mut length = 0;
    for (at, character) in id.char_indices() {
        // Every byte may take three: `%` and two digits.
        length += if is_unsafe(character) || at == 0 { 3 * character.len_utf8() } else { character.len_utf8() };
        if length > room {
            break;
        }
        end = at + character.len_utf8();
    }
    format!("{}~{hash}", &id[..end])
}

/// The id of the document with this file stem. A `%` without two hexadecimal digits stands for itself.
pub fn id_of_stem(stem: &str) -> String {
    if stem == "%" {
        return String::new();
    }
    let mut bytes = Vec::with_capacity(stem.len());
    let mut rest = stem.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let digits = tail.get(..2).filter(|digits| first == b'%' && digits.iter().all(u8::is_ascii_hexdigit));
        let byte = digits.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        bytes.push(byte.unwrap_or(first));
        rest = if byte.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8(bytes).unwrap_or_else(|_| stem.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_read_well_where_they_can() {
        let table = [
            ("PMC-1-sec-2", "PMC-1-sec-2"),
            ("a/b ä", "a%2Fb ä"),
            ("..", "%2E."),
            ("a?", "a%3F"),
            ("%41", "%2541"),
            ("", "%"),
        ];
        for (id, stem) in table {
            assert_eq!((stem_of_id(id).as_str(), id_of_stem(stem).as_str()), (stem, id));
        }
        for (id, stem) in
            [("Con.1", "%43on.1"), ("lpt1", "%6Cpt1"), ("console", "console"), ("\u{202e}a", "%E2%80%AEa")]
        {
            assert_eq!((stem_of_id(id).as_str(), id_of_stem(stem).as_str()), (stem, id));
        }
        for stem in ["100%", "%zz", "%+1", "%FF"] {
            assert_eq!(id_of_stem(stem), stem);
        }
    }

    proptest! {
        #[test]
        fn any_id_has_a_name_and_comes_back(id in any::<String>()) {
            let stem = stem_of_id(&id);
            prop_assert!(!stem.is_empty() && !stem.starts_with('.') && !stem.contains(['/', '\\', '\0']));
            prop_assert_eq!(id_of_stem(&stem), id);
        }

        #[test]
        fn a_long_id_is_shortened_once(id in "(\\PC|[a/%\x07]){0,400}") {
            let short = short_id(&id);
            let stem = stem_of_id(&short);
            prop_assert!(stem.len() <= LONGEST, "{}", stem.len());
            prop_assert_eq!(&short_id(&short), &short);
            prop_assert_eq!(id_of_stem(&stem), short.clone());
            prop_assert_eq!(short == id, stem_of_id(&id).len() <= LONGEST);
        }
    }
}
