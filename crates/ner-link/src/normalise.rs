//! The keys under which names and mentions meet.
//!
//! [`key_of`] undoes what a typist decides: case, accents, punctuation, British or American spelling, `α` or `alpha`.
//! [`variant_of`] also undoes what a writer decides: plural, order of words, small words, roman or Arabic numerals, and
//! Latin or English names of organs. Both are idempotent.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// British spellings inside of words, and their American counterparts. Each is shorter than what it replaces, so that
/// replacing ends.
const SPELLINGS: &[(&str, &str)] = &[
    ("aem", "em"),
    ("aes", "es"),
    ("aet", "et"),
    ("caec", "cec"),
    ("coel", "cel"),
    ("colour", "color"),
    ("diarrhoea", "diarrhea"),
    ("faec", "fec"),
    ("foet", "fet"),
    ("gynaec", "gynec"),
    ("haem", "hem"),
    ("behaviour", "behavior"),
    ("aluminium", "aluminum"),
    ("oedem", "edem"),
    ("oesoph", "esoph"),
    ("oestr", "estr"),
    ("paed", "ped"),
    ("pnoea", "pnea"),
    ("rrhoea", "rrhea"),
    ("sulph", "sulf"),
    ("tumour", "tumor"),
];

/// Whole words. These do not get shorter, and no American spelling is a key.
const SPELLED_WORDS: &[(&str, &str)] = &[
    ("centre", "center"),
    ("fibre", "fiber"),
    ("fibres", "fibers"),
    ("goitre", "goiter"),
    ("goitres", "goiters"),
    ("grey", "gray"),
    ("ageing", "aging"),
];

const GREEK: &[(char, &str)] = &[
    ('α', "alpha"),
    ('β', "beta"),
    ('γ', "gamma"),
    ('δ', "delta"),
    ('ε', "epsilon"),
    ('ζ', "zeta"),
    ('η', "eta"),
    ('θ', "theta"),
    ('ι', "iota"),
    ('κ', "kappa"),
    ('λ', "lambda"),
    ('μ', "mu"),
    ('ν', "nu"),
    ('ξ', "xi"),
    ('ο', "omicron"),
    ('π', "pi"),
    ('ρ', "rho"),
    ('σ', "sigma"),
    ('ς', "sigma"),
    ('τ', "tau"),
    ('υ', "upsilon"),
    ('φ', "phi"),
    ('χ', "chi"),
    ('ψ', "psi"),
    ('ω', "omega"),
];

/// Letters that Unicode does not decompose.
const LETTERS: &[(char, &str)] =
    &[('æ', "ae"), ('œ', "oe"), ('ø', "o"), ('ß', "ss"), ('ł', "l"), ('đ', "d"), ('ı', "i")];

/// Words that tell no concepts apart.
const SMALL_WORDS: &[&str] =
    &["a", "an", "and", "by", "due", "for", "from", "in", "nos", "of", "on", "or", "other", "the", "to", "with"];

/// Words of one meaning, in the singular: the word in the text, and the word that stands for it.
pub(crate) const SAME_WORDS: &[(&str, &str)] = &[
    ("cancer", "neoplasm"),
    ("cardiac", "heart"),
    ("cerebral", "brain"),
    ("cutaneous", "skin"),
    ("disorder", "disease"),
    ("gastric", "stomach"),
    ("hepatic", "liver"),
    ("insufficiency", "failure"),
    ("mammary", "breast"),
    ("muscular", "muscle"),
    ("ocular", "eye"),
    ("ovarian", "ovary"),
    ("pulmonary", "lung"),
    ("renal", "kidney"),
    ("tumor", "neoplasm"),
    ("vascular", "vessel"),
];

const ROMAN: &[(&str, &str)] = &[
    ("ii", "2"),
    ("iii", "3"),
    ("iv", "4"),
    ("vi", "6"),
    ("vii", "7"),
    ("viii", "8"),
    ("ix", "9"),
    ("xi", "11"),
    ("xii", "12"),
    ("xiii", "13"),
];

/// Single letters are numerals only beside these words.
const NUMBERED: &[&str] = &["class", "factor", "grade", "group", "phase", "stage", "type"];
const ROMAN_LETTERS: &[(&str, &str)] = &[("i", "1"), ("v", "5"), ("x", "10")];

fn of<K: PartialEq, V: Copy>(table: &[(K, V)], key: K) -> Option<V> {
    table.iter().find(|(from, _)| *from == key).map(|(_, to)| *to)
}

/// The text in lower case without accents, punctuation and possessive endings; words separated by one blank; Greek
/// letters by name; American spelling. Empty if the text has neither letters nor digits.
pub fn key_of(text: &str) -> String {
    let mut key = if text.is_ascii() { folded_ascii(text) } else { folded(text) };
    respell(&mut key);
    key
}

/// Appends to words that are separated by one blank.
struct Words(String);

impl Words {
    fn push(&mut self, char: char) {
        self.0.push(char);
    }

    fn end_word(&mut self) {
        if !self.0.is_empty() && !self.0.ends_with(' ') {
            self.0.push(' ');
        }
    }

    fn end(mut self) -> String {
        if self.0.ends_with(' ') {
            self.0.pop();
        }
        self.0
    }
}

fn folded_ascii(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut words = Words(String::with_capacity(text.len()));
    for (at, byte) in bytes.iter().enumerate() {
        if byte.is_ascii_alphanumeric() {
            let is_possessive = matches!(byte, b's' | b'S')
                && at > 1
                && bytes[at - 1] == b'\''
                && bytes[at - 2].is_ascii_alphanumeric()
                && !bytes.get(at + 1).is_some_and(u8::is_ascii_alphanumeric);
            if !is_possessive {
                words.push(char::from(byte.to_ascii_lowercase()));
            }
        } else {
            words.end_word();
        }
    }
    words.end()
}

fn folded(text: &str) -> String {
    let chars: Vec<char> =
        text.nfkd().flat_map(char::to_lowercase).nfkd().filter(|char| !is_combining_mark(*char)).collect();
    let is_greek = |at: usize| chars.get(at).is_some_and(|char| of(GREEK, *char).is_some());
    let is_alphanumeric = |at: usize| chars.get(at).is_some_and(|char| char.is_alphanumeric());
    let mut words = Words(String::with_capacity(text.len()));
    for (at, &char) in chars.iter().enumerate() {
        if let Some(name) = of(GREEK, char)
            // A longer run is a Greek word.
            && !is_greek(at + 1)
            && !(at > 0 && is_greek(at - 1))
        {
            words.end_word();
            words.0.push_str(name);
            words.end_word();
        } else if let Some(letters) = of(LETTERS, char) {
            words.0.push_str(letters);
        } else if char.is_alphanumeric() {
            let is_possessive = char == 's'
                && at > 1
                && matches!(chars[at - 1], '\'' | '’' | 'ʼ' | '′')
                && is_alphanumeric(at - 2)
                && !is_alphanumeric(at + 1);
            if !is_possessive {
                words.push(char);
            }
        } else {
            words.end_word();
        }
    }
    words.end()
}

fn respell(key: &mut String) {
    loop {
        let mut is_changed = false;
        for (from, to) in SPELLINGS {
            if key.contains(from) {
                *key = key.replace(from, to);
                is_changed = true;
            }
        }
        if !is_changed {
            break;
        }
    }
    if key.split(' ').any(|word| of(SPELLED_WORDS, word).is_some()) {
        let words: Vec<&str> = key.split(' ').map(|word| of(SPELLED_WORDS, word).unwrap_or(word)).collect();
        *key = words.join(" ");
    }
}

/// The words of a [`key_of`] in the singular, without small words, organs by their English names, numerals as digits, in
/// the order of the alphabet. Names with several numbers keep their order: the numbers of a chemical's name say where its
/// groups are.
pub fn variant_of(key: &str) -> String {
    words_of(key, true)
}

/// As [`variant_of`], but organs keep their names: "myocardial" resembles "cardiac" and not "heart".
pub(crate) fn stem_of(key: &str) -> String {
    words_of(key, false)
}

/// The words of a [`stem_of`], each as the word of its meaning that stands for all.
pub(crate) fn meanings_of(stem: &str) -> impl Iterator<Item = &str> {
    stem.split(' ').filter(|word| !word.is_empty()).map(|word| of(SAME_WORDS, word).unwrap_or(word))
}

fn words_of(key: &str, is_same_word: bool) -> String {
    let mut words: Vec<String> = key.split(' ').flat_map(letters_and_digits).map(singular).collect();
    let is_numbered = words.iter().any(|word| NUMBERED.contains(&word.as_str()));
    for word in &mut words {
        let numeral = of(ROMAN, word.as_str()).or_else(|| of(ROMAN_LETTERS, word.as_str()).filter(|_| is_numbered));
        let same = || of(SAME_WORDS, word.as_str()).filter(|_| is_same_word);
        if let Some(other) = numeral.or_else(same) {
            other.clone_into(word);
        }
    }
    if words.iter().any(|word| !SMALL_WORDS.contains(&word.as_str())) {
        words.retain(|word| !SMALL_WORDS.contains(&word.as_str()));
    }
    if words.iter().filter(|word| word.starts_with(|char: char| char.is_numeric())).count() < 2 {
        words.sort_unstable();
    }
    words.join(" ")
}

/// The runs of digits and of other characters in a word.
fn letters_and_digits(word: &str) -> impl Iterator<Item = &str> {
    let mut rest = word;
    std::iter::from_fn(move || {
        let is_digit = rest.chars().next()?.is_ascii_digit();
        let end = rest.find(|char: char| char.is_ascii_digit() != is_digit).unwrap_or(rest.len());
        let (run, after) = rest.split_at(end);
        rest = after;
        Some(run)
    })
}

/// Endings of plurals and of their singulars, the longest first. `None`: the word is no plural.
const PLURALS: &[(&str, Option<&str>)] = &[
    ("omata", Some("oma")),
    ("itides", Some("itis")),
    ("emias", Some("emia")),
    ("stases", Some("stasis")),
    ("lyses", Some("lysis")),
    ("oses", Some("osis")),
    ("pses", Some("psis")),
    ("eses", Some("esis")),
    ("sses", Some("ss")),
    ("ches", Some("ch")),
    ("shes", Some("sh")),
    ("xes", Some("x")),
    ("ies", Some("y")),
    ("ss", None),
    ("us", None),
    ("is", None),
    ("os", None),
    ("s", Some("")),
];

fn singular(word: &str) -> String {
    // Short words are abbreviations.
    if word.len() <= 3 {
        return word.to_owned();
    }
    let mut word = word.to_owned();
    // A singular may look like a plural once more.
    while word.len() > 3
        && let Some((ending, Some(singular))) = PLURALS.iter().find(|(ending, _)| word.ends_with(ending))
    {
        word.truncate(word.len() - ending.len());
        word.push_str(singular);
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keys() {
        let cases = [
            ("Parkinson's disease", "parkinson disease"),
            ("Parkinson’s Disease", "parkinson disease"),
            ("Sjögren’s syndrome", "sjogren syndrome"),
            ("TNF-α", "tnf alpha"),
            ("TNFα", "tnf alpha"),
            ("β-blocker", "beta blocker"),
            ("Anaemia, iron-deficiency", "anemia iron deficiency"),
            ("anæmia", "anemia"),
            ("oesophageal tumour", "esophageal tumor"),
            ("  (R)-1,25-dihydroxy  ", "r 1 25 dihydroxy"),
            ("[Ca]2+", "ca 2"),
            ("+/-", ""),
            ("ﬁbre", "fiber"),
            ("肝炎", "肝炎"),
        ];
        for (text, key) in cases {
            assert_eq!(key_of(text), key, "{text}");
        }
    }

    #[test]
    fn variants() {
        let same = [
            ("type II diabetes", "Diabetes, Type 2"),
            ("type I diabetes", "diabetes type 1"),
            ("cancers of the breast", "Breast Cancer"),
            ("Breast Neoplasms", "breast tumour"),
            ("renal failure", "Kidney Failures"),
            ("metastases", "Metastasis"),
            ("COX2", "cox-2"),
            ("carcinomata", "carcinoma"),
            ("allergies", "allergy"),
            ("TNFα", "tnf-alpha"),
        ];
        for (one, other) in same {
            assert_eq!(variant_of(&key_of(one)), variant_of(&key_of(other)), "{one}, {other}");
        }
        let different = [("2-methyl-3-ethylphenol", "3-methyl-2-ethylphenol"), ("vitamin I", "vitamin 1")];
        for (one, other) in different {
            assert_ne!(variant_of(&key_of(one)), variant_of(&key_of(other)), "{one}, {other}");
        }
    }

    proptest! {
        #[test]
        fn normalising_twice_changes_nothing(text in "\\PC{0,40}") {
            let key = key_of(&text);
            prop_assert_eq!(&key_of(&key), &key);
            let variant = variant_of(&key);
            prop_assert_eq!(&variant_of(&variant), &variant);
        }

        #[test]
        fn so_it_is_with_words_like_those_of_the_tables(
            text in "[ '’]?(type|fibres|ha|aem|oses|ies|sses|s|i|ii|v|x|α|β|of|the|[0-9]|renal|tumours|ou|r| |-|'){0,12}"
        ) {
            let key = key_of(&text);
            prop_assert_eq!(&key_of(&key), &key);
            let variant = variant_of(&key);
            prop_assert_eq!(&variant_of(&variant), &variant);
        }

        #[test]
        fn ascii_is_folded_as_unicode_is(text in "[ -~]{0,40}") {
            prop_assert_eq!(folded_ascii(&text), folded(&text));
        }
    }
}
