//! File names for documents with any id.

/// The file stem for a document's id; [`id_of_stem`] is the inverse.
///
/// Percent-encodes characters that file names cannot contain, a leading dot, which would hide the file, and `%`.
pub fn stem_of_id(id: &str) -> String {
    if id.is_empty() {
        return "%".into();
    }
    let mut stem = String::with_capacity(id.len());
    for (at, character) in id.char_indices() {
        if matches!(character, '/' | '\\' | ':' | '%') || character.is_control() || (at == 0 && character == '.') {
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
        let table = [("PMC-1-sec-2", "PMC-1-sec-2"), ("a/b ä", "a%2Fb ä"), ("..", "%2E."), ("%41", "%2541"), ("", "%")];
        for (id, stem) in table {
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
    }
}
