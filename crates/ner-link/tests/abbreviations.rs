//! Definitions and uses of abbreviations, each kind in an invented sentence, and what holds for any text.

use ner_document::{CharIndex, Span};
use ner_link::{Definition, definitions, uses};
use proptest::prelude::*;

/// The short and long forms that `text` defines.
fn pairs(text: &str) -> Vec<(String, String)> {
    definitions(text).iter().map(|found| (slice(text, found.short), slice(text, found.long))).collect()
}

fn slice(text: &str, span: Span) -> String {
    CharIndex::new(text).slice(text, span).expect("inside the text").to_owned()
}

/// Each text and what it defines.
const DEFINITIONS: &[(&str, &[(&str, &str)])] = &[
    // The letters of a short form begin words, or parts of words.
    ("We fear heart failure (HF).", &[("HF", "heart failure")]),
    ("Disease of the liver and kidney (DLK) is rare.", &[("DLK", "Disease of the liver and kidney")]),
    ("a dose of lipopolysaccharide (LPS)", &[("LPS", "lipopolysaccharide")]),
    ("Those with Crohn's disease (CD) and CD again", &[("CD", "Crohn's disease")]),
    ("Strains of C57BL/6 (B6) mice; B6 mice", &[("B6", "C57BL/6")]),
    // Function words are light in the middle, and no beginning.
    ("changes in rates by sudden heart death (SHD)", &[("SHD", "sudden heart death")]),
    ("after treatment with antithyroid drugs (ATD)", &[("ATD", "antithyroid drugs")]),
    // Digits: as they are, as words, or without a place.
    ("the neurofibromatosis type 1 (NF1) gene", &[("NF1", "neurofibromatosis type 1")]),
    ("a three-dimensional (3D) image", &[("3D", "three-dimensional")]),
    ("second messengers, inositol phosphate (IP3)", &[("IP3", "inositol phosphate")]),
    // Locants, stereo descriptors and Greek letters belong to the name of a chemical; other prefixes do not.
    ("we gave 2,6-dichlorophenol (DCP) daily", &[("DCP", "2,6-dichlorophenol")]),
    ("lack of alpha-1-antitrypsin (AAT)", &[("AAT", "alpha-1-antitrypsin")]),
    ("lack of alpha-1-trypsin inhibitor (TI)", &[("TI", "alpha-1-trypsin inhibitor")]),
    ("levels of 17 beta-oestradiol benzoate (EB)", &[("EB", "17 beta-oestradiol benzoate")]),
    ("the non-low-density lipoprotein (LDL)", &[("LDL", "low-density lipoprotein")]),
    // Plurals, nouns after the last letter, and small letters.
    ("Proton pump inhibitors (PPIs) help.", &[("PPIs", "Proton pump inhibitors")]),
    ("of each amino acid (aa), 12 aa in all", &[("aa", "amino acid")]),
    ("blood of red cells (tea)", &[]),
    ("by calcium blocker drug therapy (CB)", &[]),
    // One letter: a capital, one word, and used again; `P < 0.05` is no use.
    ("a tablet of placebo (P) or drug; P was white", &[("P", "placebo")]),
    ("a tablet of placebo (P) or drug, P < 0.05", &[]),
    ("the half of them (h) and h", &[]),
    // Brackets in brackets, in names, of other kinds, glued to a word, and before one another.
    ("the rise (of tumour necrosis factor (TNF)) came", &[("TNF", "tumour necrosis factor")]),
    ("(as tumour necrosis factor [TNF])", &[("TNF", "tumour necrosis factor")]),
    ("a low total volume (V(T)) and total volume (T(V))", &[("T(V)", "total volume")]),
    ("of bis(4-nitrophenyl) phosphate (BNPP)", &[("BNPP", "bis(4-nitrophenyl) phosphate")]),
    ("bound to ubiquitin(Ub) chains", &[("Ub", "ubiquitin")]),
    ("effective couplings J(eff) rose", &[]),
    ("tumour cells (TC) and giant cells (GC)", &[("TC", "tumour cells"), ("GC", "giant cells")]),
    // Remarks before and after the short form.
    ("the blood pressure (BP, in mmHg) and heart rate (HR; n = 3)", &[("BP", "blood pressure"), ("HR", "heart rate")]),
    ("glutathione peroxidase (EC 1.11.1.9; GPx) fell", &[("GPx", "glutathione peroxidase")]),
    ("heart rate (\"HR\")", &[("HR", "heart rate")]),
    // The other orders.
    ("the BP (blood pressure) fell", &[("BP", "blood pressure")]),
    ("two nuclei (medial preoptic area, MPA) were", &[("MPA", "medial preoptic area")]),
    ("the BP (of blood pressure) fell", &[]),
    // Sentences and initials.
    ("We saw anger. The liver (AL) was large.", &[]),
    ("Sold by British Meds Corp. (BMC) as cure", &[("BMC", "British Meds Corp.")]),
    ("strains of S. aureus protein (SAP)", &[("SAP", "S. aureus protein")]),
    // Measurements, comparisons, citations and the like.
    ("grams of mass (5 mg) and mice (2M%), parts (p<0.05), red (12), see (Smith 1999)", &[]),
    ("a mean HR (HR) and mean arterial HR (AHR)", &[("AHR", "arterial HR")]),
    // Texts that are not English or not ASCII.
    ("de l’insuffisance cardiaque (IC) sévère", &[("IC", "insuffisance cardiaque")]),
    ("Ärztliche Überwachung (ÄÜ) β-Blocker", &[("ÄÜ", "Ärztliche Überwachung")]),
    ("𝛼 the heart failure (HF) 😀", &[("HF", "heart failure")]),
];

#[test]
fn each_kind_of_definition() {
    for (text, expected) in DEFINITIONS {
        let expected: Vec<(String, String)> =
            expected.iter().map(|&(short, long)| (short.to_owned(), long.to_owned())).collect();
        assert_eq!(pairs(text), expected, "{text}");
    }
}

/// The uses in `text`, as the used words with the long forms.
fn used(text: &str) -> Vec<(String, String)> {
    let definitions = definitions(text);
    let long = |definition: usize| slice(text, definitions[definition].long);
    uses(text, &definitions).iter().map(|found| (slice(text, found.span), long(found.definition))).collect()
}

/// Each text and the uses in it.
const USES: &[(&str, &[(&str, &str)])] = &[
    // Before and after, in compounds and in the plural, but not within words nor in another case.
    (
        "HF kills. Heart failure (HF) is HF-related; hf, HFA and AHF are not, HFs are.",
        &[("HF", "Heart failure"), ("HF", "Heart failure"), ("HFs", "Heart failure")],
    ),
    ("Proton pump inhibitors (PPIs): a PPI", &[("PPI", "Proton pump inhibitors")]),
    // The nearest definition before the use, otherwise the first.
    (
        "CT? computed tomography (CT), CT; clotting time (CT), CT, CT",
        &[
            ("CT", "computed tomography"),
            ("CT", "computed tomography"),
            ("CT", "clotting time"),
            ("CT", "clotting time"),
        ],
    ),
    // The longer of two short forms.
    (
        "interferon (IFN) and interferon gamma (IFN-g); IFN, IFN-g",
        &[("IFN", "interferon"), ("IFN-g", "interferon gamma")],
    ),
    ("a tablet of placebo (P); P = 0.1, P value, P-value, P is", &[("P", "placebo")]),
];

#[test]
fn each_kind_of_use() {
    for (text, expected) in USES {
        let expected: Vec<(String, String)> =
            expected.iter().map(|&(short, long)| (short.to_owned(), long.to_owned())).collect();
        assert_eq!(used(text), expected, "{text}");
    }
}

/// Definitions of another text, with spans that do not fit, are no reason to panic.
#[test]
fn spans_outside_the_text_have_no_uses() {
    let spans = [(0, 0), (3, 1), (2, 90), (usize::MAX, usize::MAX), (0, 2)].map(|(start, end)| Span::new(start, end));
    let definitions = spans.map(|span| Definition { short: span, long: span });
    let found: Vec<(Span, usize)> =
        uses("HF, HF", &definitions).iter().map(|found| (found.span, found.definition)).collect();
    assert_eq!(found, [(Span::new(4, 6), 4)]);
}

/// Texts that make a bracket at every few characters, with as much to examine as possible. In quadratic time this test
/// would not end.
#[test]
fn time_grows_with_the_length_of_a_line_only() {
    const LENGTH: usize = 300_000;
    let patterns = ["(", "(A)", "[(", "x-(Ab)-", "abcd(Ab) ", "alpha beta (AB) ", "AB (alpha beta) ", "(a b, AB) "];
    let mut texts: Vec<String> =
        patterns.iter().map(|pattern| pattern.chars().cycle().take(LENGTH).collect()).collect();
    texts.push((0..LENGTH / 20).map(|at| format!("a{at} b{at} (Ab{at}) ")).collect());
    for text in texts {
        uses(&text, &definitions(&text));
    }
}

/// Texts out of the pieces that matter to the rules, and any characters.
fn text() -> impl Strategy<Value = String> {
    let piece = "[A-Za-z0-9]{1,4}|[()\\[\\]]|[ ,.;:=%<'’\"\n-]{1,2}|alpha|of|oe|two|é|β|\u{301}|İ|ß|ǅ|😀|\\PC";
    let sentence = "[a-c]{1,5} [a-c]{1,5} \\([A-Ca-c0-2+]{1,4}s?\\)|[A-C]{2} \\([a-c]{1,5} [a-c]{1,5}\\)";
    proptest::collection::vec(prop_oneof![piece, sentence], 0..30).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn spans_lie_in_the_text(text in text()) {
        let index = CharIndex::new(&text);
        let found = definitions(&text);
        for one in &found {
            prop_assert!(!one.short.overlaps(one.long) && !one.short.is_empty());
            prop_assert!(one.long.len() > one.short.len());
            for span in [one.short, one.long] {
                let words = index.slice(&text, span);
                prop_assert!(words.is_some_and(|words| words.trim() == words && !words.contains('\n')));
            }
        }
        prop_assert!(found.windows(2).all(|pair| pair[0].short.start <= pair[1].short.start));

        let used = uses(&text, &found);
        prop_assert!(used.windows(2).all(|pair| pair[0].span.end <= pair[1].span.start));
        for one in &used {
            let word = index.slice(&text, one.span).expect("inside the text");
            let short = index.slice(&text, found[one.definition].short).expect("inside the text");
            prop_assert_eq!(word.strip_suffix('s').unwrap_or(word), short.strip_suffix('s').unwrap_or(short));
            prop_assert!(found.iter().all(|definition| definition.short.start != one.span.start));
        }
    }

    /// What stands in another line moves the offsets and changes nothing else.
    #[test]
    fn a_line_before_moves_the_spans(text in text()) {
        let moved = |span: Span| Span::new(span.start + 3, span.end + 3);
        let expected: Vec<Definition> = definitions(&text)
            .into_iter()
            .map(|one| Definition { short: moved(one.short), long: moved(one.long) })
            .collect();
        prop_assert_eq!(definitions(&format!("é😀\n{text}")), expected);
    }
}
