//! Problems of somebody else: who that is, and whether the note denies them.

use ner_data::{CharIndex, Document, Span};

/// Words for relatives, with their codes in HL7's v3-RoleCode.
const RELATIVES: [(&str, &str); 35] = [
    ("grandmother", "GRMTH"),
    ("grandfather", "GRFTH"),
    ("grandparent", "GRPRN"),
    ("grandparents", "GRPRN"),
    ("mgm", "GRMTH"),
    ("pgm", "GRMTH"),
    ("mgf", "GRFTH"),
    ("pgf", "GRFTH"),
    ("mother", "MTH"),
    ("mom", "MTH"),
    ("mum", "MTH"),
    ("father", "FTH"),
    ("dad", "FTH"),
    ("parent", "PRN"),
    ("parents", "PRN"),
    ("sister", "SIS"),
    ("sisters", "SIS"),
    ("brother", "BRO"),
    ("brothers", "BRO"),
    ("sibling", "SIB"),
    ("siblings", "SIB"),
    ("son", "SONC"),
    ("sons", "SONC"),
    ("daughter", "DAUC"),
    ("daughters", "DAUC"),
    ("child", "CHILD"),
    ("children", "CHILD"),
    ("aunt", "AUNT"),
    ("aunts", "AUNT"),
    ("uncle", "UNCLE"),
    ("uncles", "UNCLE"),
    ("cousin", "COUSN"),
    ("cousins", "COUSN"),
    ("niece", "NIECE"),
    ("nephew", "NEPHEW"),
];

/// Words that name the family without saying who, and sections of it.
const FAMILY: [&str; 11] =
    ["family", "fam", "familial", "fh", "fhx", "famhx", "maternal", "paternal", "relative", "relatives", "kin"];

/// Words that deny. The assertion of another person's problem does not say whether the note denies it.
const DENIALS: [&str; 12] =
    ["no", "not", "never", "none", "without", "denies", "denied", "denying", "negative", "unremarkable", "non", "neg"];

fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_lowercase)
}

/// The code of the relative that a cue names: `FAMMEMB` for the family in general; `None` for someone outside it, such as
/// a roommate or a donor, and for a cue that names nobody.
pub fn relative(cue: &str) -> Option<&'static str> {
    let of = |word: String| RELATIVES.into_iter().find(|(name, _)| *name == word).map(|(_, code)| code);
    let is_family = |word: String| FAMILY.contains(&word.as_str());
    words(cue).find_map(of).or_else(|| words(cue).any(is_family).then_some("FAMMEMB"))
}

/// Whether a word that denies stands in the sentence or line of a mention.
///
/// It errs on the side of denial: a family history that is missing does less harm than one that the note denies.
pub fn may_be_denied(document: &Document, index: &CharIndex, mention: Span) -> bool {
    const ENDS: [char; 5] = ['.', ';', '\n', '?', '!'];
    let Some(place) = index.bytes(mention) else { return true };
    let (before, after) = (&document.text[..place.start], &document.text[place.end..]);
    let start = before.rfind(ENDS).map_or(0, |at| at + 1);
    let end = after.find(ENDS).unwrap_or(after.len());
    words(&before[start..]).chain(words(&after[..end])).any(|word| DENIALS.contains(&word.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relatives_have_codes_and_roommates_have_none() {
        for (cue, code) in [
            ("Mother", Some("MTH")),
            ("in her maternal grandmother", Some("GRMTH")),
            ("Family History", Some("FAMMEMB")),
            ("FHx:", Some("FAMMEMB")),
            ("roommate", None),
            ("sick contacts", None),
        ] {
            assert_eq!(relative(cue), code, "{cue}");
        }
    }

    #[test]
    fn what_a_sentence_denies_is_denied() {
        let document = Document::new("1", "No é asthma. Mother: asthma\nasthma: negative");
        let index = document.char_index();
        let denied = |start| may_be_denied(&document, &index, Span::new(start, start + 6));
        assert_eq!([5, 21, 28].map(denied), [true, false, true]);
        assert_eq!(index.slice(&document.text, Span::new(28, 34)), Some("asthma"));
    }
}
