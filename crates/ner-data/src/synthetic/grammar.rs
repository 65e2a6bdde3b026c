//! The sentences, as templates with slots.
//!
//! A slot `{…}` names a member of a document's cast, with a form after a dot if needed (`{d2.patients}`), a random
//! number (`{dose}`), or a row of [`WORDS`], whose choices may contain slots. The cast: `c1` the chemical under study,
//! `c2` and `c3` others; `d1` the disease that `c1` causes, `d2` the one that it treats, `d3` and `d4` others; `g1` and
//! `g2` proteins, `m1` and `m2` measurements, `k1` a cell line or strain, `r1` a ligand. `tox`, `overdose` and
//! `composite` are diseases outside of the cast.
//!
//! Verbs after a disease are in the past tense or fit both numbers, because some diseases are plural.

/// A kind of article: its titles, then the parts of its abstract, in order.
pub(super) struct Study {
    pub(super) titles: &'static [&'static str],
    pub(super) sections: &'static [Section],
}

/// A part of an abstract, which uses `least..=most` of the sentences.
pub(super) struct Section {
    /// Its heading in abstracts with named parts.
    pub(super) heading: &'static str,
    pub(super) sentences: &'static [&'static str],
    pub(super) least: usize,
    pub(super) most: usize,
}

const fn section(heading: &'static str, sentences: &'static [&'static str], least: usize, most: usize) -> Section {
    Section { heading, sentences, least, most }
}

/// All kinds of article.
pub(super) const STUDIES: &[Study] = &[
    Study {
        titles: CASE_TITLES,
        sections: &[
            section("BACKGROUND", BACKGROUND, 0, 1),
            section("CASE REPORT", CASE_OPENINGS, 1, 1),
            section("", CASE_COURSES, 1, 3),
            section("CONCLUSION", CONCLUSIONS, 1, 1),
        ],
    },
    Study {
        titles: TRIAL_TITLES,
        sections: &[
            section("OBJECTIVE", BACKGROUND, 0, 1),
            section("METHODS", TRIAL_METHODS, 1, 2),
            section("RESULTS", TRIAL_RESULTS, 2, 3),
            section("CONCLUSIONS", CONCLUSIONS, 0, 1),
        ],
    },
    Study {
        titles: ANIMAL_TITLES,
        sections: &[
            section("BACKGROUND", BACKGROUND, 0, 1),
            section("METHODS", ANIMAL_METHODS, 1, 2),
            section("RESULTS", ANIMAL_RESULTS, 1, 3),
            section("CONCLUSION", MECHANISMS, 1, 1),
        ],
    },
    Study {
        titles: SURVEY_TITLES,
        sections: &[
            section("PURPOSE", BACKGROUND, 1, 1),
            section("METHODS", SURVEY_METHODS, 1, 1),
            section("RESULTS", SURVEY_RESULTS, 1, 3),
            section("CONCLUSION", CONCLUSIONS, 0, 1),
        ],
    },
    Study {
        titles: CELL_TITLES,
        sections: &[
            section("BACKGROUND", BACKGROUND, 0, 1),
            section("METHODS", CELL_METHODS, 1, 2),
            section("RESULTS", CELL_RESULTS, 1, 3),
            section("CONCLUSION", MECHANISMS, 0, 1),
        ],
    },
];

const CASE_TITLES: &[&str] = &[
    "{c1}-induced {d1}: a case report.",
    "{sev} {d1} after {c1} therapy for {d2}.",
    "{d1} associated with {c1} and {c2}: report of {few} cases.",
    "Fatal {d1} in a patient treated with {c1}.",
    "{c1}-associated {d1} in an elderly {man}.",
    "Recurrence of {d1} on rechallenge with {c1}.",
    "{d1} and {d3} complicating {c1} treatment of {d2}.",
    "Unexpected {d1} following withdrawal of {c1} in {d2.patients}.",
    "Can {c1} cause {d1}? Lessons from {few} patients.",
    "{composite} in a {man} taking {c1}.",
    "Accidental {c1} {overdose} with {d1}.",
];

const CASE_OPENINGS: &[&str] = &[
    "A {age}-year-old {man} with {d2} developed {sev} {d1} {dur} after starting {c1} ({dose} {route}).",
    "We describe a {age}-year-old {man} who was admitted to {centre} with {d1} while taking {c1} for {d2}.",
    "A {age}-year-old {d2.man} received {c1}, {dose}, for {dur} and then complained of {d1} and {d3}.",
    "{few} patients treated with {c1} presented with {d1}; none of them had a history of {d3}.",
    "We report the case of a {age}-year-old {man} in whom {d1} followed the ingestion of {dose} of {c1}.",
    "After {dur} of {c1} therapy for {d2}, a {age}-year-old {man} was found to have {sev} {d1}.",
    "{d1} occurred in a previously healthy {age}-year-old {man} during {routed} infusion of {c1} ({conc}).",
    "The patient, a {age}-year-old {man}, had been treated for {d2} with {c1} and {c2} since {year}.",
    "In {year}, a {man} aged {age} was referred from {centre} because of {d1} attributed to {c1} {tox}.",
];

const CASE_COURSES: &[&str] = &[
    "{d1} resolved within {dur} of stopping {c1} and recurred on rechallenge.",
    "On admission the {m1} was {val}, and a biopsy excluded {d3}.",
    "{c1} was withdrawn and replaced by {c2}, after which {d1} gradually disappeared.",
    "Serum {g1} rose to {conc}, but there was no evidence of {d3} or {d4}.",
    "{he} had no family history of {d3}, and tests for {g1} antibodies were negative.",
    "Despite treatment with {c2} ({dose} {route}), the {d1} persisted and {he} later developed {d4}.",
    "{m1} and {m2} remained within normal limits throughout.",
    "Computed tomography showed {sev} {d1} without {d3}.",
    "A trial of {c3} improved the {d3} but not the {d1}.",
    "{his} plasma {c1} concentration was {conc}, which is in the range reported for {overdose}.",
    "Electron microscopy of the biopsy disclosed deposits that stained for {g1}, as is typical of {c1}-related {d1}.",
    "The Naranjo scale indicated a probable relation between {d1} and {c1}, whereas {c2} seemed an unlikely cause.",
    "Neither {d3} nor {d4} had been noted before {c1} was given.",
    "{he} was then seen at {centre}, where {composite} became apparent.",
    "Symptoms abated when the dose of {c1} was halved, and the {m1} returned to {val}.",
    "Routine screening for {k1} virus and for the {g1} mutation gave negative results.",
];

const TRIAL_TITLES: &[&str] = &[
    "{c1} versus {c2} in the treatment of {d2}: a randomized trial.",
    "Incidence of {d1} during long-term {c1} therapy.",
    "Efficacy and tolerability of {c1} in {d2.patients}.",
    "Prevention of {c1}-induced {d1} by {c2}.",
    "Effect of {c1} on {m1} in {d2.patients}.",
    "{d1} as a dose-limiting effect of {c1} in {d2}: a phase II study.",
    "Combined {c1} and {c2} for refractory {d2}.",
    "Low-dose {c1} and the risk of {d1}.",
    "Comparison of {routed} {c1} and placebo for postoperative {d2}.",
    "{c1}/{c2} combination therapy: {composite} in {num} patients.",
];

const TRIAL_METHODS: &[&str] = &[
    "{num} {d2.patients} were randomly assigned to {c1} ({dose}) or placebo for {dur}.",
    "In a double-blind crossover study, {num} volunteers received {c1}, {c2} or saline {route}.",
    "{num} patients were enrolled at {centre} and followed for {dur}; those with {d3} or a history of {d4} were excluded.",
    "We measured {m1}, {m2} and serum {g1} before and after {dur} of treatment with {c1}.",
    "Patients with {d2} who had failed to respond to {c2} were given {c1} at {dose} every {few} weeks.",
    "The primary end point was {d1}-free survival; secondary end points were {m1} and {d3}.",
    "Eligible patients (n = {num}; mean age, {sd} years) took {c1} {dose} with or without {c2}.",
    "To assess whether {c2} prevents {c1}-induced {d1}, we studied {num} consecutive patients in {centre}.",
    "All {d2.patients} were genotyped for {g1} and assessed with the {scale}.",
    "Plasma levels of {c1} and of its metabolite {c3} were determined by liquid chromatography.",
];

const TRIAL_RESULTS: &[&str] = &[
    "{d1} developed in {few} patients ({pct}) given {c1} and in none of those given {c2} ({p}).",
    "The incidence of {d1} was {pct} with {c1} and {pct} with {c2} (relative risk, {ratio}; {ci}).",
    "{m1} decreased from {sd} to {sd} in the {c1} group ({p}), whereas {m2} did not change.",
    "{sev} {d1} led to discontinuation of {c1} in {pct} of the patients.",
    "The most frequent adverse events were {d1}, {d3} and {d4}.",
    "No patient experienced {d3}, and only {few} had transient {d1}.",
    "There was no significant difference in {m1} between {d2.patients} and controls.",
    "{c1} reduced the severity of {d2} by {pct} (95% confidence interval, {interval}%), irrespective of {g1} status.",
    "Patients who took both {c1} and {c2} had more {d1} than those on {c1} alone ({pct} vs {pct}; {p}).",
    "{few} subjects on {c2} withdrew because of {d3}, {few} because of {composite}.",
    "{d1.pl} were recorded in {few} of {num} patients, mostly in the first {dur}.",
    "Serum {g1} correlated with the dose of {c1} (r = 0.{few2}; {p}) but not with {d1}.",
    "Response rates did not differ: {pct} for {c1}, {pct} for {c2} and {pct} for placebo.",
    "{d3} was less common in the {c2} arm, but {d1.adjective} reactions were equally frequent in both.",
    "Neither {c1} nor {c2} affected the {scale} score.",
    "{tox} was mild and consisted mainly of {d3} and {d4}.",
];

const ANIMAL_TITLES: &[&str] = &[
    "{c1}-induced {d1} in {rats}: role of {g1}.",
    "Protective effect of {c2} against {c1}-induced {d1} in {rats}.",
    "Effects of {c1} on {m1} in {d2.rats}.",
    "{c2} attenuates {d1} caused by {c1} in {rats}.",
    "Involvement of {r1.receptor} receptors in {c1}-induced {d1}.",
    "Dose-dependent {d1} produced by {c1} and {c2} in the rabbit.",
    "{g1} deficiency aggravates {c1} {tox} in {rats}.",
    "{c1}- and {c2}-induced {d1}: a comparison in {rats}.",
];

const ANIMAL_METHODS: &[&str] = &[
    "{rats} were given {c1} ({dose} {route}) daily for {dur}.",
    "To produce {d1}, {rats} received a single injection of {c1} ({dose} {route}).",
    "{few} groups of {d2.rats} received saline, {c1}, {c2} or both for {dur}.",
    "Animals were pretreated with {c2} ({dose}) {few} hours before {c1}, and {m1} was recorded.",
    "Kidney sections were stained for {g1} and {g2} and graded for {d1} by an observer unaware of the treatment.",
    "Strain {k1} mice, which lack {g1}, were compared with their wild-type littermates after {c1} ({dose}).",
    "{rats} rendered {d2.adjective} by {c3} were used to study the action of {c1}.",
    "Binding of [3H]{c1.full} and [125I]{g1} was measured in cortical membranes.",
];

const ANIMAL_RESULTS: &[&str] = &[
    "{c1} produced dose-dependent {d1}, which pretreatment with {c2} prevented ({p}).",
    "{c2} ({dose}) significantly reduced {c1}-induced {d1} and lowered {g1} by {pct}.",
    "At {dose}, {c1} increased {m1} from {sd} to {sd} but failed to cause {d3}.",
    "The {d1} was abolished by {c2} and by antibodies against {g1}, but not by {c3}.",
    "In {d2.rats}, {c1} lowered the {m1} without affecting the {m2}.",
    "Expression of {g1} and {g2} rose {ratio}-fold within {few} hours of {c1} administration.",
    "Non-{d2.adjective} controls showed neither {d1} nor {d3}.",
    "Microinjection of {c2} ({conc}) into the striatum antagonized {c1}-induced {d1}, as did the {r1.receptor} antagonist {c3}.",
    "{pct} of the animals that received {c1} died of {d4} within {dur}.",
    "{g1} activity was unchanged, and {d3} occurred in only {few} of {num} animals.",
    "Depletion of {r1} by {c3} enhanced {d1} but left {m1} unaltered.",
    "Histology revealed {sev} {d1} in the {c1} group, {d3} in the {c2} group and no lesion in rats given vehicle.",
];

const MECHANISMS: &[&str] = &[
    "These results suggest that {c1}-induced {d1} depends on {g1} and can be prevented by {c2}.",
    "The data indicate that {r1.receptor} receptors mediate the {d1.adjective} action of {c1}.",
    "We conclude that {c2} protects against {d1} by lowering {g1} rather than by chelating {c1}.",
    "Thus {g1}, but not {g2}, seems to be required for {c1} {tox}.",
    "It is concluded that {c1} impairs {m1} through inhibition of {g1}, and that {d3} is a secondary event.",
    "These findings argue against a role of {r1} in {d1} caused by {c1}.",
    "{c2} may therefore be of value in the prevention of {d1} in man.",
    "Whether {g2} contributes to {d1} in {d2.patients} remains to be shown.",
];

const SURVEY_TITLES: &[&str] = &[
    "Use of {c1} and the risk of {d1}: a population-based case-control study.",
    "Drug-related {d1} in {centre} between {year} and {year2}.",
    "{d1} in users of {c1}: analysis of a national database.",
    "{c1} exposure, {g1} polymorphism and {d1}.",
    "Trends in prescribing of {c1} and {c2} for {d2}.",
    "Hospital admissions for {d1} and {d3} among {d2.patients} taking {c1}.",
];

const SURVEY_METHODS: &[&str] = &[
    "We identified {num} cases of {d1} and {num} controls in the register of {centre}.",
    "Records of {num} {d2.patients} who were prescribed {c1} or {c2} between {year} and {year2} were reviewed.",
    "A nested case-control study included {num} women with {d1}, of whom {pct} had used {c1}.",
    "Logistic regression was adjusted for age, smoking, {m1}, {d3} and use of {c2}.",
    "A questionnaire on {d1}, {d3} and other complaints was sent to {num} members of {centre}.",
    "Reports of {d1.pl} in association with {c1}, {c2} or {c3} were retrieved from the {trial} database.",
];

const SURVEY_RESULTS: &[&str] = &[
    "Current users of {c1} had a higher risk of {d1} than non-users (odds ratio, {ratio}; {ci}).",
    "The association between {c1} and {d1} disappeared after adjustment for {d3} ({p}).",
    "{c2} was not associated with {d1} (odds ratio, {ratio}; {ci}), nor was {c3}.",
    "{d2.patients} accounted for {pct} of the cases, and {pct} had {d4} as well.",
    "Carriers of the {g1} allele were {ratio} times as likely to develop {c1}-induced {d1}.",
    "Of {num} reports, {few} concerned {d1}, {few} {d3} and {few} {composite}.",
    "Mean {m1} was {sd} in users of {c1} and {sd} in users of {c2}.",
    "Admissions to the {clinic} for {d1} fell by {pct} after {year}, when {c1} was restricted.",
    "The {trial} cohort ({num} subjects) showed no excess of {d1} or {d4}.",
    "Children exposed to {c1} in utero had {d1} more often than those exposed to {c2} ({pct} vs {pct}).",
];

const CELL_TITLES: &[&str] = &[
    "{c1} inhibits {g1} in {k1} cells: a model of {d1}.",
    "Mechanism of {c1} {tox} in cultured hepatocytes.",
    "{g1} modulates the {d1.adjective} effect of {c1} in {k1} cells.",
    "{c1} and {c2} differ in their action on {r1.receptor} receptors: implications for {d1}.",
    "Release of {r1} by {c1} in slices from {d2.rats}.",
];

const CELL_METHODS: &[&str] = &[
    "{k1} cells were exposed to {c1} ({conc}) for {few} hours in the presence or absence of {c2}.",
    "Hepatocytes from {d2.patients} were incubated with {c1}, {c2} or {g1}.",
    "We examined the effect of {c1} on {g1} release from {k1} cells and from slices of rat striatum.",
    "The uptake of [14C]{c1.full} was determined in {k1} cells transfected with {g1}.",
    "{g1} and {g2} were assayed by immunoblotting after incubation with {c1} or {g2} ({conc}).",
];

const CELL_RESULTS: &[&str] = &[
    "{c1} ({conc}) reduced the viability of {k1} cells by {pct}, an effect that {c2} reversed.",
    "Treatment with {g1} ({conc}) mimicked, and treatment with {c2} blocked, the action of {c1}.",
    "{c3} but not {c2} displaced {c1} from {g1} (IC50, {conc}).",
    "The {r1.receptor} agonist {c2} increased the release of {r1} in tissue from {d2.rats}.",
    "Cells from patients with {d1} were more sensitive to {c1} than those from healthy donors ({p}).",
    "{g1} messenger RNA fell by {pct} after {few} hours, and {g2} was no longer detectable.",
    "Pretreatment with {g2} or {c3} did not alter the response of {k1} cells to {c1}.",
    "Anti-{c1} antibodies were found in {few} of {num} sera from {d1.patients}.",
    "Exposure to {c1}/{c2} mixtures caused {d1.adjective} changes that neither agent caused alone.",
];

const BACKGROUND: &[&str] = &[
    "{c1} is widely used in the treatment of {d2}, but {d1} has been reported in up to {pct} of patients.",
    "{d1} is a rare complication of treatment with {c1}.",
    "The mechanism by which {c1} causes {d1} is not known.",
    "{c1}, a selective {g1} inhibitor, is effective in {d2.patients}.",
    "{d2} is usually treated with {c1} or {c2}, and both can provoke {d1}.",
    "Reports of {d1.pl} after {c1} prompted us to study its effect on {m1}.",
    "Although {c2} is thought to be free of {tox}, its relation to {d3} has not been examined.",
    "Whether {c1} increases the risk of {d1} in {d2.patients} is controversial.",
    "{class} such as {c1} and {c2} are known to affect {m1} and to worsen {d3}.",
    "The enzyme {g1} converts {c3} to {c1}; its absence results in {d1}.",
    "{d1} and {d3} are the main causes of {c1}-related morbidity.",
    "The {trial} investigators observed that {class} lowered {m1} in {d2}.",
    "{k1}, like {c1}, was developed at {centre} for {d2}, but only the former binds {g1}.",
];

const CONCLUSIONS: &[&str] = &[
    "{d1} should be considered in every patient who takes {c1}.",
    "Physicians should be aware of {d1} as a possible side effect of {c1}.",
    "{c1} appears to be safe in {d2.patients}, provided that {m1} is monitored.",
    "We conclude that {c2} is preferable to {c1} in patients at risk of {d1}.",
    "To our knowledge, this is the first description of {c1}-induced {d1}.",
    "Monitoring of {m1} and serum {g1} is advised during treatment with {c1}.",
    "{c2} does not prevent {d1}, and its use for this purpose cannot be recommended.",
    "These data do not support a causal link between {c2} and {d3}.",
    "Further studies in {d2.patients} are needed before {c1} can be recommended.",
    "The combination of {c1} with {c2} is effective in {d2} but carries a risk of {composite}.",
    "Early recognition of {d1} and withdrawal of {c1} may avert {d4}.",
];

/// The choices of a slot that is neither a cast member nor a number. This text is never annotated.
pub(super) const WORDS: &[(&str, &[&str])] = &[
    (
        "sev",
        &[
            "severe",
            "mild",
            "transient",
            "persistent",
            "reversible",
            "marked",
            "life-threatening",
            "acute",
            "chronic",
            "progressive",
            "recurrent",
            "late-onset",
            "diffuse",
            "drug-induced",
            "biopsy-proven",
        ],
    ),
    (
        "rats",
        &[
            "male Wistar rats",
            "female Sprague-Dawley rats",
            "anesthetized dogs",
            "CBA mice",
            "guinea pigs",
            "conscious rabbits",
            "newborn piglets",
            "aged rats",
            "{k1} mice",
        ],
    ),
    ("route", &["orally", "intravenously", "i.v.", "i.p.", "subcutaneously", "by mouth", "intrathecally"]),
    ("routed", &["oral", "intravenous", "i.v.", "subcutaneous", "intrathecal"]),
    (
        "class",
        &[
            "beta-blockers",
            "calcium antagonists",
            "loop diuretics",
            "neuroleptics",
            "opioid analgesics",
            "protease inhibitors",
            "antibiotics",
            "oral contraceptives",
            "{g1} inhibitors",
        ],
    ),
    (
        "centre",
        &[
            "the Regional Stroke Unit",
            "a Headache Clinic",
            "the National Cancer Registry",
            "the Epilepsy Centre of {town}",
            "our intensive care unit (ICU)",
            "{town} General Hospital",
            "the Tumor Board of {town}",
            "a university hospital",
            "the {town} Diabetes Cohort",
            "the Institute of Hypertension Research, {town}",
        ],
    ),
    (
        "clinic",
        &["{town} Asthma Clinic", "Pain Service", "Sepsis Team", "emergency department", "Anemia Outpatient Unit"],
    ),
    ("town", &["Averdale", "Norbeck", "Port Ellis", "Hallow Bay", "Kestrel Ridge", "Saint-Aubray", "Lindmark"]),
    ("town_unicode", &["Sørbygd", "Köningsau", "Malmöhed", "São Beltrão", "Évranches", "Łodów", "Peñalba"]),
    ("trial", &["VENTURE-{few2}", "ASPEN", "CORAL II", "{town} Cancer Study", "MERIT-{few2}", "PROSPER", "SUMMIT"]),
    (
        "scale",
        &[
            "Depression Rating Scale",
            "Parkinson Scale of {town}",
            "Pain Inventory (PI)",
            "Mini-Mental test",
            "Epilepsy Quality of Life Index",
            "Averdale Anxiety Inventory",
            "global impression",
        ],
    ),
    ("few", &["two", "three", "four", "five", "six", "seven", "eight", "nine"]),
    ("few2", &["2", "3", "4", "5", "6", "7", "8"]),
];
