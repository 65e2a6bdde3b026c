//! The invented vocabulary: chemicals and diseases, which are annotated, and look-alikes, which are not.

use super::random::Random;
use std::collections::BTreeSet;

/// The kind of thing that a name denotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Chemical,
    Disease,
    /// A protein, a laboratory test, a cell line: has names and acronyms like the others, but is not annotated.
    Other,
}

impl Kind {
    /// The corpus's name for it, or `None` if it is not annotated.
    pub(super) const fn entity_type(self) -> Option<&'static str> {
        match self {
            Self::Chemical => Some("Chemical"),
            Self::Disease => Some("Disease"),
            Self::Other => None,
        }
    }
}

/// A concept with the forms by which a text can name it.
#[derive(Clone, Debug)]
pub(super) struct Term {
    pub(super) kind: Kind,
    /// Invented identifier; a few concepts have none, as in the real corpus.
    pub(super) id: Option<String>,
    pub(super) name: String,
    /// Another name of the same concept ("liver failure" beside "hepatic failure").
    pub(super) synonym: Option<String>,
    pub(super) acronym: Option<String>,
    /// "hypertensive" for "hypertension".
    pub(super) adjective: Option<String>,
    pub(super) plural: Option<String>,
    /// Adjective and head, if two terms with one head can be joined: "ocular and auditory toxicity".
    pub(super) head: Option<(String, String)>,
}

impl Term {
    fn new(kind: Kind, name: impl Into<String>) -> Self {
        let (id, synonym, acronym, adjective, plural, head) = (None, None, None, None, None, None);
        Self { kind, id, name: name.into(), synonym, acronym, adjective, plural, head }
    }
}

/// The part of the corpus that a text is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Train,
    Dev,
    Test,
}

/// Terms of one sort: common to all parts, or reserved for the development or test part.
pub(super) struct Pool<T> {
    shared: Vec<T>,
    dev: Vec<T>,
    test: Vec<T>,
}

/// How often a term of the development or test part is one that training never names.
const UNSEEN_PERCENT: usize = 27;

impl<T> Pool<T> {
    /// Splits `terms`: two thirds for all parts, a sixth each for development and test.
    pub(super) fn new(mut terms: Vec<T>) -> Self {
        let held_out = terms.len() / 6;
        let test = terms.split_off(terms.len() - held_out);
        let dev = terms.split_off(terms.len() - held_out);
        Self { shared: terms, dev, test }
    }

    /// The terms common to all parts.
    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.shared.iter().chain(&self.dev).chain(&self.test)
    }

    /// A term that `part` may use.
    pub(super) fn choose(&self, part: Part, random: &mut Random) -> &T {
        let held_out = match part {
            Part::Train => None,
            Part::Dev => Some(&self.dev),
            Part::Test => Some(&self.test),
        };
        match held_out {
            Some(terms) if random.chance(UNSEEN_PERCENT) => random.choose(terms),
            // The smaller of two draws makes some names common and many rare, as in any text.
            _ => &self.shared[random.below(self.shared.len()).min(random.below(self.shared.len()))],
        }
    }

    /// The terms that `part` may use.
    pub(super) fn of(&self, part: Part) -> Vec<&T> {
        let held_out: &[T] = match part {
            Part::Train => &[],
            Part::Dev => &self.dev,
            Part::Test => &self.test,
        };
        self.shared.iter().chain(held_out).collect()
    }
}

/// Everything that the texts of one seed can name.
pub(super) struct Lexicon {
    pub(super) chemicals: Pool<Term>,
    pub(super) diseases: Pool<Term>,
    pub(super) proteins: Pool<Term>,
    pub(super) measures: Vec<Term>,
    pub(super) cell_lines: Pool<Term>,
    /// A receptor ligand, written in brackets before the number of its receptor: the mention ends inside a word.
    pub(super) ligands: Pool<Term>,
    pub(super) toxicity: Term,
    pub(super) overdose: Term,
}

impl Lexicon {
    /// The vocabulary of `seed`.
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed, 0);
        let mut names = Names::default();
        let mut chemicals = chemicals(&mut random, &mut names);
        let mut diseases = diseases(&mut random);
        let mut proteins = proteins(&mut random, &mut names);
        let mut cell_lines: Vec<Term> =
            (0..24).map(|_| Term::new(Kind::Other, names.unique(|| code(&mut random)))).collect();
        let mut ligands: Vec<Term> = (0..9).map(|_| ligand(&mut random, &mut names)).collect();
        let mut toxicity = disease("toxicity");
        toxicity.adjective = Some("toxic".into());
        let mut overdose = disease("overdose");
        for terms in [&mut chemicals, &mut diseases, &mut proteins, &mut cell_lines, &mut ligands] {
            random.shuffle(terms);
        }
        number(&mut chemicals, 900_001, &mut random);
        number(&mut ligands, 904_001, &mut random);
        number(&mut diseases, 950_001, &mut random);
        toxicity.id = Some("D959001".into());
        overdose.id = Some("D959002".into());
        Self {
            chemicals: Pool::new(chemicals),
            diseases: Pool::new(diseases),
            proteins: Pool::new(proteins),
            measures: measures(),
            cell_lines: Pool::new(cell_lines),
            ligands: Pool::new(ligands),
            toxicity,
            overdose,
        }
    }
}

/// Assigns identifiers from `first` on, and none to one term in forty.
fn number(terms: &mut [Term], first: usize, random: &mut Random) {
    for (at, term) in terms.iter_mut().enumerate() {
        if !random.chance(3) {
            term.id = Some(format!("D{}", first + at));
        }
    }
}

/// The names used so far.
#[derive(Default)]
pub(super) struct Names(BTreeSet<String>);

impl Names {
    /// The first new name that `make` returns.
    pub(super) fn unique(&mut self, mut make: impl FnMut() -> String) -> String {
        loop {
            let name = make();
            if self.0.insert(name.to_lowercase()) {
                return name;
            }
        }
    }
}

/// Beginnings of invented names, all ending in a consonant.
pub(super) const ONSETS: &[&str] = &[
    "zorv", "vesk", "quil", "trev", "brin", "fald", "drul", "kerb", "molv", "pask", "lusk", "sembr", "tarv", "nibr",
    "orv", "yelm", "wex", "golv", "hesk", "gald", "ruv", "eft", "istr", "ombr", "ulv", "jast", "plov", "skel", "thrav",
    "vund", "glim", "obr", "crev", "deln", "fism",
];
const MIDDLES: &[&str] =
    &["a", "e", "i", "o", "u", "ava", "ori", "eli", "iva", "uro", "ona", "ita", "epo", "alu", "esi"];
/// Endings of drug names; about half are stems of the International Nonproprietary Names.
const DRUG_ENDS: &[&str] = &[
    "olol", "pril", "azepam", "mycin", "statin", "sartan", "dipine", "cillin", "oxetine", "conazole", "triptan",
    "floxacin", "caine", "platin", "idone", "phylline", "tidine", "amide", "ine", "ol", "ium", "one", "ate", "in",
    "an", "ane", "azine", "oxide", "yl", "ar",
];
/// Endings of protein names. Several could also end a drug name: only the sentence tells.
pub(super) const PROTEIN_ENDS: &[&str] =
    &["actin", "ectin", "ulin", "globin", "kine", "ase", "in", "elin", "orin", "stain", "one"];
const COMPOUND_ENDS: &[&str] = &["ane", "ol", "amine", "one", "ene", "idine", "uracil", "phenol", "azole"];
const COMPOUND_PREFIXES: &[&str] = &[
    "N-methyl-",
    "2-chloro-",
    "alpha-methyl",
    "3,4-dihydroxy",
    "beta-",
    "trans-",
    "7-nitro-",
    "4-amino",
    "2,6-di-",
    "gamma-hydroxy",
    "para-fluoro",
    "6-hydroxy",
    "1,2-dibromo",
];
const SALTS: &[&str] = &[" hydrochloride", " sodium", " maleate", " acetate", " tartrate", " sulfate", " citrate"];
const LETTERS: &[u8] = b"ABDEGHJKLNPQRSTUVWXZ";

/// Joins a beginning and an ending, with a middle if two consonants would meet or the word would be too short.
pub(super) fn stem(random: &mut Random, ends: &[&str]) -> String {
    let (onset, end) = (*random.choose(ONSETS), *random.choose(ends));
    let vowel = end.starts_with(['a', 'e', 'i', 'o', 'u']);
    match (vowel, random.chance(55)) {
        (true, true) => format!("{onset}{end}"),
        // "ava" + "idone" would run two vowels together.
        (true, false) => format!("{onset}{}{}{end}", random.choose(MIDDLES), random.choose(&["l", "n", "r", "t", "x"])),
        (false, _) => format!("{onset}{}{end}", random.choose(MIDDLES)),
    }
}

/// A drug name. Short ones are too often a word or a brand ("kevin", "lumbar").
pub(super) fn drug(random: &mut Random) -> String {
    loop {
        let name = stem(random, DRUG_ENDS);
        if name.len() >= 7 {
            return name;
        }
    }
}

/// "KV-4172", "HJ 52": the name of a compound under study, a cell line or a strain.
fn code(random: &mut Random) -> String {
    let letters: String = (0..random.between(2, 4)).map(|_| char::from(*random.choose(LETTERS))).collect();
    let bound = *random.choose(&[99, 999, 9999]);
    let digits = random.between(11, bound);
    format!("{letters}{}{digits}", random.choose(&["-", "-", "-", " ", ""]))
}

/// The first letter and two consonants: "ZVM" for "zorvamycin".
fn contraction(name: &str, random: &mut Random) -> String {
    let mut letters = name.chars().filter(char::is_ascii_alphabetic);
    let first = letters.next();
    let consonants: Vec<char> = letters.filter(|letter| !"aeiouy".contains(*letter)).collect();
    let kept = consonants.len().saturating_sub(2).max(1);
    let at = random.below(kept);
    first.into_iter().chain(consonants.into_iter().skip(at).take(2)).collect::<String>().to_uppercase()
}

fn chemicals(random: &mut Random, names: &mut Names) -> Vec<Term> {
    let mut terms = Vec::new();
    let mut add = |random: &mut Random, name: String, contracted: usize| {
        let mut term = Term::new(Kind::Chemical, name);
        if term.name.len() > 8 && random.chance(contracted) {
            term.acronym = Some(contraction(&term.name, random));
        }
        terms.push(term);
    };
    for _ in 0..190 {
        let name = names.unique(|| drug(random));
        add(random, name, 40);
    }
    for _ in 0..14 {
        let name = names.unique(|| format!("{}oic acid", random.choose(ONSETS)));
        add(random, name, 60);
    }
    for _ in 0..36 {
        let name = names.unique(|| format!("{}{}", random.choose(COMPOUND_PREFIXES), stem(random, COMPOUND_ENDS)));
        add(random, name, 70);
    }
    for _ in 0..28 {
        let name = names.unique(|| code(random));
        add(random, name, 0);
    }
    for term in &mut terms {
        if term.name.bytes().all(|byte| byte.is_ascii_lowercase()) && random.chance(18) {
            term.synonym = Some(format!("{}{}", term.name, random.choose(SALTS)));
        }
    }
    terms
}

/// "5-veskotryptamine (5-VST)", whose receptors are written "[5-VST]3" or "5-VST3".
fn ligand(random: &mut Random, names: &mut Names) -> Term {
    let number = random.between(3, 9);
    let name = names.unique(|| format!("{}otryptamine", random.choose(ONSETS)));
    let mut term = Term::new(Kind::Chemical, format!("{number}-{name}"));
    let letters: String = name.chars().filter(|letter| !"aeiou".contains(*letter)).take(2).collect();
    term.acronym = Some(format!("{number}-{}T", letters.to_uppercase()));
    term
}

fn proteins(random: &mut Random, names: &mut Names) -> Vec<Term> {
    let mut terms: Vec<Term> = (0..70)
        .map(|_| {
            let mut term = Term::new(Kind::Other, names.unique(|| stem(random, PROTEIN_ENDS)));
            if random.chance(30) {
                term.acronym = Some(contraction(&term.name, random));
            }
            term
        })
        .collect();
    for _ in 0..26 {
        let name = names.unique(|| {
            let letters: String = (0..3).map(|_| char::from(*random.choose(LETTERS))).collect();
            format!("{letters}{}{}", random.choose(&["", "", "-"]), random.between(1, 10))
        });
        terms.push(Term::new(Kind::Other, name));
    }
    terms
}

/// Measurements and their acronyms, which are introduced like those of diseases.
const MEASURES: &[(&str, Option<&str>)] = &[
    ("blood pressure", Some("BP")),
    ("heart rate", Some("HR")),
    ("glomerular filtration rate", Some("GFR")),
    ("prothrombin time", Some("PT")),
    ("white cell count", Some("WCC")),
    ("ejection fraction", Some("EF")),
    ("left ventricular mass", Some("LVM")),
    ("renal plasma flow", Some("RPF")),
    ("hepatic clearance", Some("HC")),
    ("pulmonary vascular resistance", Some("PVR")),
    ("gastric emptying time", Some("GET")),
    ("cerebral blood flow", Some("CBF")),
    ("body mass index", Some("BMI")),
    ("mean arterial pressure", Some("MAP")),
    ("reaction time", None),
    ("urine output", None),
    ("platelet count", None),
    ("QT interval", None),
    ("ocular pressure", None),
    ("muscle tone", None),
    ("forced expiratory volume", Some("FEV")),
    ("plasma osmolality", None),
    ("cardiac output", Some("CO")),
    ("splenic weight", None),
    ("bladder capacity", None),
    ("seizure threshold score", None),
    ("pain tolerance time", None),
    ("serum viscosity", None),
];

fn measures() -> Vec<Term> {
    let term = |&(name, acronym): &(&str, Option<&str>)| Term {
        acronym: acronym.map(str::to_owned),
        ..Term::new(Kind::Other, name)
    };
    MEASURES.iter().map(term).collect()
}

/// Anatomical adjectives, with the noun if "liver failure" is a second name of "hepatic failure".
pub(super) const SITES: &[(&str, Option<&str>)] = &[
    ("renal", Some("kidney")),
    ("hepatic", Some("liver")),
    ("cardiac", Some("heart")),
    ("pulmonary", Some("lung")),
    ("gastric", Some("stomach")),
    ("cerebral", Some("brain")),
    ("ocular", Some("eye")),
    ("cutaneous", Some("skin")),
    ("splenic", Some("spleen")),
    ("vesical", Some("bladder")),
    ("pancreatic", None),
    ("auditory", None),
    ("peripheral", None),
    ("duodenal", None),
    ("esophageal", None),
    ("thyroid", None),
    ("tubular", None),
    ("laryngeal", None),
    ("ventricular", None),
    ("synovial", None),
];
/// Heads of disease names: in American and British spelling if they differ, and in the plural if there is one.
const HEADS: &[(&str, Option<&str>, Option<&str>)] = &[
    ("failure", None, None),
    ("insufficiency", None, None),
    ("toxicity", None, Some("toxicities")),
    ("necrosis", None, None),
    ("fibrosis", None, None),
    ("edema", Some("oedema"), None),
    ("ischemia", Some("ischaemia"), None),
    ("hemorrhage", Some("haemorrhage"), Some("hemorrhages")),
    ("thrombosis", None, None),
    ("vasculitis", None, None),
    ("infarction", None, Some("infarctions")),
    ("ulceration", None, Some("ulcerations")),
    ("dysfunction", None, None),
    ("atrophy", None, None),
    ("carcinoma", None, Some("carcinomas")),
    ("neuropathy", None, Some("neuropathies")),
    ("inflammation", None, None),
    ("spasm", None, Some("spasms")),
    ("calcification", None, Some("calcifications")),
    ("tumor", Some("tumour"), Some("tumors")),
];
const ORGANS: &[&str] = &[
    "nephro",
    "hepato",
    "cardio",
    "neuro",
    "myo",
    "retino",
    "dermato",
    "pneumo",
    "oto",
    "vasculo",
    "arthro",
    "cysto",
    "entero",
    "cerebello",
];
/// Endings of one-word disease names, and of their adjectives.
const CONDITIONS: &[(&str, Option<&str>)] = &[
    ("toxicity", Some("toxic")),
    ("pathy", Some("pathic")),
    ("sclerosis", Some("sclerotic")),
    ("megaly", None),
    ("malacia", None),
    ("rrhagia", Some("rrhagic")),
    ("plegia", Some("plegic")),
];
/// Diseases and symptoms of one or two words: name, adjective, plural.
const PLAIN: &[(&str, Option<&str>, Option<&str>)] = &[
    ("hypertension", Some("hypertensive"), None),
    ("hypotension", Some("hypotensive"), None),
    ("epilepsy", Some("epileptic"), None),
    ("diabetes", Some("diabetic"), None),
    ("schizophrenia", Some("schizophrenic"), None),
    ("depression", Some("depressed"), None),
    ("psychosis", Some("psychotic"), Some("psychoses")),
    ("seizures", None, None),
    ("nausea", None, None),
    ("vomiting", None, None),
    ("headache", None, Some("headaches")),
    ("tremor", None, Some("tremors")),
    ("delirium", Some("delirious"), None),
    ("proteinuria", Some("proteinuric"), None),
    ("anemia", Some("anemic"), None),
    ("thrombocytopenia", Some("thrombocytopenic"), None),
    ("neutropenia", Some("neutropenic"), None),
    ("bradycardia", None, None),
    ("tachycardia", None, Some("tachycardias")),
    ("rigidity", None, None),
    ("catalepsy", Some("cataleptic"), None),
    ("akathisia", None, None),
    ("asthma", Some("asthmatic"), None),
    ("obesity", Some("obese"), None),
    ("pruritus", None, None),
    ("dizziness", None, None),
    ("hyperkalemia", Some("hyperkalemic"), None),
    ("ataxia", Some("ataxic"), None),
    ("jaundice", Some("jaundiced"), None),
    ("convulsions", None, None),
    ("arrhythmia", None, Some("arrhythmias")),
    ("amnesia", Some("amnesic"), None),
    ("sepsis", Some("septic"), None),
    ("migraine", None, Some("migraines")),
    ("cough", None, None),
    ("chest pain", None, None),
    ("muscle weakness", None, None),
    ("weight loss", None, None),
    ("tardive dyskinesia", None, Some("tardive dyskinesias")),
    ("status epilepticus", None, None),
    ("lupus nephritis", None, None),
    ("aplastic anemia", None, None),
    ("Harvell's disease", None, None),
    ("Corbin-Aske syndrome", None, None),
    ("Béraud syndrome", None, None),
    ("Sørvik's disease", None, None),
    ("Tolland disease", None, None),
    ("Wexler-Grau syndrome", None, None),
    ("Odenmark's palsy", None, None),
    ("Muñiz dystrophy", None, None),
    ("cancer of the bile duct", None, None),
    ("thrombosis of the portal vein", None, None),
    ("loss of hearing", None, None),
    ("inflammation of the optic nerve", None, None),
    ("bipolar II disorder", None, None),
    ("type 4 lactic acidosis", None, None),
];
/// Words that are part of some names and merely precede others.
const GRADES: &[&str] = &["acute", "chronic", "progressive", "recurrent", "diffuse"];

fn disease(name: impl Into<String>) -> Term {
    let mut term = Term::new(Kind::Disease, name);
    let small = ["of", "the"];
    let words: Vec<&str> = term.name.split([' ', '-']).filter(|word| !small.contains(word)).collect();
    if words.len() > 1 {
        term.acronym = Some(words.iter().filter_map(|word| word.chars().next()).collect::<String>().to_uppercase());
    }
    term
}

fn diseases(random: &mut Random) -> Vec<Term> {
    let mut terms = Vec::new();
    for &(name, adjective, plural) in PLAIN {
        let (adjective, plural) = (adjective.map(str::to_owned), plural.map(str::to_owned));
        terms.push(Term { adjective, plural, ..disease(name) });
    }
    let mut pairs = Vec::new();
    for site in SITES {
        pairs.extend(HEADS.iter().map(|head| (site, head)));
    }
    for (&(site, organ), &(head, british, plural)) in random.sample(&pairs, 110) {
        let grade = if random.chance(22) { format!("{} ", random.choose(GRADES)) } else { String::new() };
        let mut term = disease(format!("{grade}{site} {head}"));
        term.synonym = match (organ, british) {
            (Some(organ), _) if random.chance(60) => Some(format!("{grade}{organ} {head}")),
            (_, british) => british.map(|head| format!("{grade}{site} {head}")),
        };
        term.plural = plural.map(|plural| format!("{grade}{site} {plural}"));
        term.head = grade.is_empty().then(|| (site.to_owned(), head.to_owned()));
        terms.push(term);
    }
    let mut pairs = Vec::new();
    for organ in ORGANS {
        pairs.extend(CONDITIONS.iter().map(|condition| (*organ, condition)));
    }
    for (organ, &(condition, adjective)) in random.sample(&pairs, 44) {
        let mut term = disease(format!("{organ}{condition}"));
        term.adjective = adjective.map(|end| format!("{organ}{end}"));
        terms.push(term);
    }
    terms
}
