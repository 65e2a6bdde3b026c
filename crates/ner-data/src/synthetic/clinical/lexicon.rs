//! The vocabulary of notes: problems, treatments and tests, some of them common clinical words and the others made of
//! syllables; and names that can be part of any of these, or of none.

use crate::synthetic::lexicon::{Names, ONSETS, PROTEIN_ENDS, Part, Pool, SITES, drug, stem};
use crate::synthetic::random::Random;

/// A term as it is written in a note: tokens separated by spaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Term {
    pub(super) name: String,
    /// Whether it takes an article.
    pub(super) countable: bool,
    /// Whether it can have a location: "pain in the left knee".
    pub(super) local: bool,
}

/// Terms of one sort.
type Terms = Pool<Term>;

/// Everything that the notes of one seed can name.
pub(super) struct Lexicon {
    pub(super) problems: Terms,
    pub(super) drugs: Terms,
    pub(super) procedures: Terms,
    pub(super) labs: Terms,
    pub(super) studies: Terms,
    /// Surnames, used for clinicians, hospitals and streets as well as syndromes, signs and operations.
    pub(super) surnames: Pool<String>,
    /// Acronyms that mean a problem, a treatment, a test or a department, depending on the sentence.
    pub(super) acronyms: Pool<String>,
}

impl Lexicon {
    /// The vocabulary of `seed`.
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed, 0);
        let mut names = Names::default();
        let mut surnames: Vec<String> = (0..60).map(|_| names.unique(|| surname(&mut random))).collect();
        surnames.sort();
        let mut problems = problems(&mut random, &mut names, &surnames);
        let mut drugs = drugs(&mut random, &mut names);
        let mut procedures = procedures(&mut random, &mut names, &surnames);
        let mut labs = labs(&mut random, &mut names);
        let mut studies = studies(&mut random, &mut names, &surnames);
        let mut acronyms: Vec<String> = (0..42).map(|_| names.unique(|| acronym(&mut random))).collect();
        for terms in [&mut problems, &mut drugs, &mut procedures, &mut labs, &mut studies] {
            random.shuffle(terms);
        }
        random.shuffle(&mut surnames);
        random.shuffle(&mut acronyms);
        Self {
            problems: Pool::new(problems),
            drugs: Pool::new(drugs),
            procedures: Pool::new(procedures),
            labs: Pool::new(labs),
            studies: Pool::new(studies),
            surnames: Pool::new(surnames),
            acronyms: Pool::new(acronyms),
        }
    }

    /// Terms of all sorts with their types.
    #[cfg(test)]
    pub(super) fn types(&self) -> impl Iterator<Item = (&'static str, &Term)> {
        let sorts = [
            ("problem", &self.problems),
            ("treatment", &self.drugs),
            ("treatment", &self.procedures),
            ("test", &self.labs),
            ("test", &self.studies),
        ];
        sorts.into_iter().flat_map(|(entity_type, terms)| terms.iter().map(move |term| (entity_type, term)))
    }

    /// The terms of a pool that a note of `part` may use.
    pub(super) fn cast<'l>(terms: &'l Terms, part: Part, count: usize, random: &mut Random) -> Vec<&'l Term> {
        (0..count).map(|_| terms.choose(part, random)).collect()
    }
}

fn mass(name: impl Into<String>) -> Term {
    Term { name: name.into(), countable: false, local: false }
}

fn count(name: impl Into<String>) -> Term {
    Term { countable: true, ..mass(name) }
}

fn local(term: Term) -> Term {
    Term { local: true, ..term }
}

fn words(names: &[&str], make: fn(String) -> Term) -> Vec<Term> {
    names.iter().map(|&name| make(name.to_owned())).collect()
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

fn surname(random: &mut Random) -> String {
    let end = *random.choose(&["er", "man", "ley", "ton", "ard", "ova", "ick", "ell", "ini", "sen", "by", "owski"]);
    capitalised(&format!("{}{end}", random.choose(ONSETS)))
}

fn acronym(random: &mut Random) -> String {
    const LETTERS: &[u8] = b"BCDFGHJKLMNPQRSTVWXZAEO";
    (0..random.between(2, 5)).map(|_| char::from(*random.choose(LETTERS))).collect()
}

/// An organ in the singular, with its adjective before it.
fn site(random: &mut Random) -> &'static str {
    random.choose(SITES).0
}

const PROBLEMS: &[&str] = &[
    "hypertension",
    "diabetes mellitus",
    "type 2 diabetes",
    "hyperlipidemia",
    "shortness of breath",
    "dyspnea on exertion",
    "nausea",
    "vomiting",
    "diarrhea",
    "constipation",
    "fevers",
    "chills",
    "cough",
    "congestive heart failure",
    "coronary artery disease",
    "atrial fibrillation",
    "COPD",
    "asthma",
    "pneumonia",
    "anemia",
    "iron deficiency anemia",
    "depression",
    "anxiety",
    "hypothyroidism",
    "gastroesophageal reflux",
    "osteoarthritis",
    "fatigue",
    "dizziness",
    "confusion",
    "obesity",
    "sleep apnea",
    "sepsis",
    "hypotension",
    "tachycardia",
    "hypoxia",
    "hypokalemia",
    "leukocytosis",
    "dysuria",
    "melena",
    "weight loss",
    "night sweats",
    "orthopnea",
    "palpitations",
    "acute renal failure",
    "respiratory distress",
    "wheezing",
    "bright red blood per rectum",
    "bilateral pleural effusions",
    "ST depressions",
    "left bundle branch block",
    "insulin resistance",
    "failure to thrive",
];
const LOCAL_PROBLEMS: &[&str] =
    &["pain", "swelling", "weakness", "numbness", "tenderness", "edema", "erythema", "cellulitis", "paresthesias"];
const COUNTABLE_PROBLEMS: &[&str] = &[
    "stroke",
    "hip fracture",
    "urinary tract infection",
    "myocardial infarction",
    "fall",
    "seizure",
    "pleural effusion",
    "systolic murmur",
    "pulmonary embolus",
    "wound infection",
    "GI bleed",
    "compression fracture",
    "small bowel obstruction",
    "pneumothorax",
    "cold",
    "headache",
    "drug reaction",
];
const COUNTABLE_LOCAL_PROBLEMS: &[&str] =
    &["rash", "mass", "pressure ulcer", "hematoma", "deep venous thrombosis", "laceration", "burn", "stress fracture"];
/// Endings of one-word conditions.
const CONDITION_ENDS: &[&str] = &["itis", "osis", "emia", "algia", "uria", "oma", "esthesia", "orrhea", "edema"];
const SITE_CONDITIONS: &[&str] = &[
    "insufficiency",
    "failure",
    "fibrosis",
    "edema",
    "ischemia",
    "stenosis",
    "vasculitis",
    "atrophy",
    "dysfunction",
    "neuropathy",
    "hypertrophy",
];
const SITE_LESIONS: &[&str] =
    &["infarct", "abscess", "ulcer", "carcinoma", "nodule", "cyst", "tear", "aneurysm", "hemorrhage", "lesion"];

fn problems(random: &mut Random, names: &mut Names, surnames: &[String]) -> Vec<Term> {
    let mut terms = words(PROBLEMS, mass);
    terms.extend(words(LOCAL_PROBLEMS, mass).into_iter().map(local));
    terms.extend(words(COUNTABLE_PROBLEMS, count));
    terms.extend(words(COUNTABLE_LOCAL_PROBLEMS, count).into_iter().map(local));
    for _ in 0..40 {
        terms.push(mass(names.unique(|| stem(random, CONDITION_ENDS))));
    }
    for _ in 0..30 {
        terms.push(mass(names.unique(|| format!("{} {}", site(random), random.choose(SITE_CONDITIONS)))));
    }
    for _ in 0..30 {
        terms.push(count(names.unique(|| format!("{} {}", site(random), random.choose(SITE_LESIONS)))));
    }
    for _ in 0..24 {
        let name = names.unique(|| {
            let whose = random.choose(surnames);
            format!("{whose} {}", random.choose(&["syndrome", "'s disease", "'s palsy", "dystrophy", "fracture"]))
        });
        terms.push(mass(name));
    }
    terms
}

const DRUGS: &[&str] = &[
    "Lasix",
    "aspirin",
    "Tylenol",
    "Colace",
    "heparin",
    "Coumadin",
    "lisinopril",
    "metoprolol",
    "insulin",
    "NPH insulin",
    "prednisone",
    "vancomycin",
    "levofloxacin",
    "morphine",
    "morphine sulfate",
    "Percocet",
    "Ativan",
    "albuterol",
    "Protonix",
    "Plavix",
    "digoxin",
    "simvastatin",
    "potassium chloride",
    "iron",
    "iron sulfate",
    "magnesium oxide",
    "calcium carbonate",
    "vitamin K",
    "folate",
    "multivitamin",
];

fn drugs(random: &mut Random, names: &mut Names) -> Vec<Term> {
    let mut terms = words(DRUGS, mass);
    for _ in 0..110 {
        let name = names.unique(|| drug(random));
        terms.push(mass(match random.below(10) {
            0 => format!("{name} {}", random.choose(&["sodium", "acetate", "succinate", "HCl"])),
            1 => format!("{} {}", capitalised(&name), random.choose(&["XL", "SR", "CR", "HFA"])),
            2..=4 => capitalised(&name),
            _ => name,
        }));
    }
    terms
}

const PROCEDURES: &[&str] = &[
    "hemodialysis",
    "intubation",
    "physical therapy",
    "chemotherapy",
    "radiation therapy",
    "oxygen",
    "supplemental oxygen",
    "IV fluids",
    "tube feeds",
    "mechanical ventilation",
    "antibiotics",
    "pain medication",
    "blood pressure medications",
    "diuresis",
    "anticoagulation",
    "wound care",
    "dressing changes",
    "seizure precautions",
    "DVT prophylaxis",
    "pressure support",
    "bypass surgery",
];
const COUNTABLE_PROCEDURES: &[&str] = &[
    "coronary artery bypass graft",
    "tracheostomy",
    "cholecystectomy",
    "appendectomy",
    "total hip replacement",
    "blood transfusion",
    "lumbar fusion",
    "pacemaker",
    "Foley catheter",
    "nasogastric tube",
    "chest tube",
    "central line",
    "nicotine patch",
    "nerve block",
    "cold pack",
    "stent",
    "cast",
    "drain",
];

fn procedures(random: &mut Random, names: &mut Names, surnames: &[String]) -> Vec<Term> {
    let mut terms = words(PROCEDURES, mass);
    terms.extend(words(COUNTABLE_PROCEDURES, count));
    for _ in 0..26 {
        terms.push(count(names.unique(|| stem(random, &["ectomy", "ostomy", "oplasty", "otomy", "orrhaphy"]))));
    }
    for _ in 0..20 {
        let kind = ["resection", "stent", "graft", "bypass", "repair", "ablation", "embolization"];
        terms.push(count(names.unique(|| format!("{} {}", site(random), random.choose(&kind)))));
    }
    for _ in 0..22 {
        let kind = ["procedure", "catheter", "shunt", "tube", "brace", "drain"];
        terms.push(count(names.unique(|| format!("{} {}", random.choose(surnames), random.choose(&kind)))));
    }
    terms
}

const LABS: &[&str] = &[
    "white count",
    "hematocrit",
    "hemoglobin",
    "platelets",
    "sodium",
    "potassium",
    "bicarbonate",
    "BUN",
    "creatinine",
    "glucose",
    "calcium",
    "magnesium",
    "INR",
    "troponin",
    "CK",
    "ALT",
    "alkaline phosphatase",
    "total bilirubin",
    "albumin",
    "lactate",
    "TSH",
    "iron studies",
    "insulin level",
    "bleeding time",
];

fn labs(random: &mut Random, names: &mut Names) -> Vec<Term> {
    let mut terms = words(LABS, mass);
    for _ in 0..40 {
        let name = names.unique(|| stem(random, PROTEIN_ENDS));
        terms.push(mass(match random.below(5) {
            0 => format!("serum {name}"),
            1 => format!("anti-{name} antibody"),
            2 => format!("{name} level"),
            _ => name,
        }));
    }
    terms
}

const STUDIES: &[&str] = &[
    "cardiac enzymes",
    "blood cultures",
    "pulmonary function tests",
    "urinalysis",
    "orthostatic vital signs",
    "serial hematocrits",
    "liver function tests",
];
const COUNTABLE_STUDIES: &[&str] = &[
    "chest x-ray",
    "EKG",
    "echocardiogram",
    "CT scan",
    "head CT",
    "MRI",
    "abdominal ultrasound",
    "colonoscopy",
    "urine culture",
    "lumbar puncture",
    "stress test",
    "bone scan",
    "biopsy",
    "neurologic examination",
    "swallow evaluation",
];

fn studies(random: &mut Random, names: &mut Names, surnames: &[String]) -> Vec<Term> {
    let mut terms = words(STUDIES, mass);
    terms.extend(words(COUNTABLE_STUDIES, count));
    for _ in 0..22 {
        terms.push(count(names.unique(|| stem(random, &["oscopy", "ogram", "ography", "ometry"]))));
    }
    for _ in 0..18 {
        let kind = ["angiogram", "biopsy", "ultrasound", "MRI", "scan", "culture"];
        terms.push(count(names.unique(|| format!("{} {}", site(random), random.choose(&kind)))));
    }
    for _ in 0..20 {
        let kind = ["test", "scan", "assay", "maneuver", "score"];
        terms.push(count(names.unique(|| format!("{} {}", random.choose(surnames), random.choose(&kind)))));
    }
    terms
}
