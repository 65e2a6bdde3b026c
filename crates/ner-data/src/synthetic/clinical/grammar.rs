//! The lines of a note, as templates.
//!
//! Tokens are separated by one space. `<…|k>` marks a concept: `p` a problem that is present, `pa` one that is absent,
//! `pp` possible, `pc` conditional, `ph` hypothetical, `pf` associated with someone else; `t` a treatment, `x` a test.
//! A slot `{…}` names a phrase (`p` to `pf` a problem, `d` a drug, `o` a procedure, `l` a laboratory value, `s` a
//! study), which is a concept by itself. After a dot, `bare` omits the article, and `name` gives the words alone, which
//! are not a concept or are part of another. `name` alone is a surname, `acr` an acronym. Every other slot is a number,
//! a person or place in the style of the note, or a row of [`WORDS`].
//!
//! The context decides what is a concept: "the heart failure service", "pressure from the family", a clinician who
//! bears the name of a syndrome, an acronym that is a drug in one place and a department in another.

/// A part of a note.
pub(super) struct Section {
    /// Its possible headings.
    pub(super) headings: &'static [&'static str],
    pub(super) lines: &'static [&'static str],
    /// A note uses `least..=most` of the lines.
    pub(super) least: usize,
    pub(super) most: usize,
    /// Whether the lines are items of a list.
    pub(super) is_list: bool,
    /// How often a note has this part.
    pub(super) percent: usize,
}

const fn prose(
    headings: &'static [&'static str],
    lines: &'static [&'static str],
    least: usize,
    most: usize,
    percent: usize,
) -> Section {
    Section { headings, lines, least, most, is_list: false, percent }
}

const fn list(
    headings: &'static [&'static str],
    lines: &'static [&'static str],
    least: usize,
    most: usize,
    percent: usize,
) -> Section {
    Section { headings, lines, least, most, is_list: true, percent }
}

/// The parts of a note, in order.
pub(super) const SECTIONS: &[Section] = &[
    prose(&[""], HEADER, 2, 3, 100),
    list(&["DISCHARGE DIAGNOSES :", "PRINCIPAL DIAGNOSIS :", "Diagnosis :"], DIAGNOSES, 1, 3, 50),
    prose(&["HISTORY OF PRESENT ILLNESS :", "HPI :", "BRIEF HISTORY :"], PRESENT_ILLNESS, 3, 6, 100),
    list(&["PAST MEDICAL HISTORY :", "PMH :", "Past History :"], PAST_HISTORY, 1, 4, 75),
    list(&["MEDICATIONS ON ADMISSION :", "Home Medications :", "MEDICATIONS :"], MEDICATIONS, 2, 5, 55),
    prose(&["ALLERGIES :", "Allergies :"], ALLERGIES, 1, 1, 60),
    prose(&["SOCIAL AND FAMILY HISTORY :", "FAMILY HISTORY :", "Social History :"], FAMILY, 1, 2, 60),
    prose(&["PHYSICAL EXAMINATION :", "PE :", "Physical Exam :"], EXAMINATION, 2, 4, 75),
    prose(&["LABORATORY DATA :", "Pertinent Results :", "LABS AND STUDIES :"], RESULTS, 1, 4, 75),
    prose(&["HOSPITAL COURSE :", "HOSPITAL COURSE AND TREATMENT :", "Brief Hospital Course :"], COURSE, 3, 6, 100),
    list(&["DISCHARGE MEDICATIONS :", "Medications on Discharge :"], MEDICATIONS, 2, 4, 40),
    prose(&["DISPOSITION :", "DISCHARGE INSTRUCTIONS :", "Followup Instructions :"], INSTRUCTIONS, 1, 3, 90),
];

const HEADER: &[&str] = &[
    "ADMISSION DATE : {date}",
    "DISCHARGE DATE : {date}",
    "Service : {service}",
    "Attending : {doctor}",
    "ATTENDING PHYSICIAN : {doctor} , pager # {n}{n}{n}",
    "Admitted from : {hospital}",
    "Unit : {ward}",
];

const DIAGNOSES: &[&str] = &[
    "{p.bare} .",
    "{p.bare} .",
    "{p.bare} , status post {o.bare} .",
    "{p.bare} and {p.bare} .",
    "Status post {o.bare} for {p.bare} .",
    "Rule out {pp.bare} .",
    "{p.bare} , rule out {pp.bare} .",
    "Possible {pp.bare} .",
    "History of {p.bare} .",
    "<{d.name} withdrawal precautions|t> .",
    "<{d.name} toxicity|p> .",
    "<{l.name} deficiency|p> .",
    "<{acr}|p> .",
    "S/P <{acr}|t> .",
];

const PRESENT_ILLNESS: &[&str] = &[
    "The patient is a {age}-year-old {sex} with a history of {p} , {p} and {p} who presents with {p} .",
    "{patient} is a {age} yo {m} w/ h/o {p.bare} s/p {o.bare} c/o {p.bare} x {n} days .",
    "This is a {age} y/o {m} with PMH significant for {p.bare} , who was transferred from {hospital} for {o} .",
    "Pt was in {his} usual state of health until {n} days ago , when {he} noted {p} .",
    "{he} was brought in by {his} {relative} , who found {him} on the floor after {p} .",
    "{he} denies {pa} , {pa} or {pa} .",
    "{he} denied any {pa.bare} , but reported {p} over the past {dur} .",
    "No {pa.bare} , no {pa.bare} .",
    "There was no associated {pa.bare} or {pa.bare} .",
    "{he} gets {pc} when {he} climbs stairs , and <chest tightness|pc> with exertion .",
    "{he} reports {pc} only in the cold weather .",
    "In the emergency department {he} received {d} {dose} and {d} with some relief of {his} {p.bare} .",
    "At {hospital} , {his} {l} was {val} and {s} showed {p} .",
    "{s} was negative for {pa} .",
    "{s} on {date} revealed {p} , with question of {pp} .",
    "{he} was seen by {doctor} of the {service} service , who recommended {o} .",
    "{he} was started on {d} by {his} primary care physician for presumed {pp} .",
    "{his} {relative} states that {he} has been under a lot of stress and pressure at work since the fall .",
    "{he} was recently discharged from the {ward} , where {he} was treated with {d} for {p} .",
    "{he} had {o} in {date} , complicated by {p} .",
    "The patient was followed by {doctor} at the {p.name} clinic in {name} .",
    "Of note , {he} takes {d} and {d} at home , but ran out of {d} {n} days prior to admission .",
    "{he} lives on {name} Street and walks one block to the {acr} office every day .",
    "{he} was referred to {hospital} for {o} after {s} suggested {pp} .",
    "{he} also noted <pain in {his} {body}|p> radiating to the {body} .",
    "{he} describes a <\" {feeling} \" sensation in {his} {body}|p> without {pa} .",
    "Outpatient <{acr}|x> was {val} , and {he} was told that {he} has <{acr}|p> .",
    "{he} has been on <{acr}|t> since {his} last visit with {doctor} .",
    "Had {p} in the setting of <{d.name} overdose|p> ; <{d.name} level|x> was {val} .",
    "Patient 's {relative} had {pf} , and {he} was worried about {pp} .",
    "{he} was unable to tolerate <the {s.name}|x> because of {p} .",
    "After <his {o.name}|t> {he} developed {p} , for which {he} took {d} without relief .",
];

const PAST_HISTORY: &[&str] = &[
    "{p.bare} .",
    "{p.bare} .",
    "{p.bare} .",
    "{p.bare} , on {d} .",
    "Status post {o.bare} in {year} .",
    "{o.bare} , {year} , at {hospital} .",
    "History of {p.bare} , last {s.bare} in {year} .",
    "{p.bare} with <baseline {l.name}|x> of {val} .",
    "{p.bare} , diet controlled .",
    "<{acr}|p> , followed by {doctor} .",
    "No history of {pa.bare} .",
    "{p.bare} , {p.bare} and {p.bare} .",
    "Remote {p.bare} , status post <{acr}|t> .",
    "Questionable {pp.bare} .",
    "<{l.name} deficiency|p> , on <{l.name} replacement|t> .",
    "Multiple admissions to the {ward} , last in {year} .",
];

const MEDICATIONS: &[&str] = &[
    "{d} {dose} {route} {freq}",
    "{d} {dose} {route} {freq}",
    "{d} {dose} {route} {freq}",
    "{d} {dose} {route} {freq} .",
    "{d} {dose} {route} {freq} p.r.n. {ph.bare} .",
    "{d} {dose} {route} p.r.n.",
    "{d} {dose} {freq} for {p.bare} .",
    "{d} sliding scale .",
    "{d} {n} puffs {freq}",
    "{d} {dose} {route} {freq} , hold for <heart rate|x> less than {hr} .",
    "{d} {dose} {route} {freq} , to be held for {ph.bare} .",
    "<{acr}|t> {dose} {route} {freq}",
    "<{d.name} patch|t> , one to the {body} {freq}",
    "<Home {o.name}|t> at {n} liters .",
];

const ALLERGIES: &[&str] = &[
    "No <known drug allergies|pa> .",
    "NKDA .",
    "{d} .",
    "{d} and {d} .",
    "{d} causes {pc.bare} .",
    "<Allergy to {d.name}|p> , with {pc.bare} .",
    "{d} ( {pc.bare} ) .",
    "The patient is <allergic to {d.name}|p> .",
    "None known to the {acr} team .",
];

const FAMILY: &[&str] = &[
    "Mother with {pf} .",
    "{his} {relative} died of {pf} at age {age} .",
    "Family history is significant for {pf} and {pf} .",
    "{his} {relative} and {relative} both have {pf} , {his} {relative} had <a {o.name}|t> .",
    "No family history of {pa} .",
    "{he} lives with {his} {relative} in {name} .",
    "{he} is a retired {job} , no tobacco since {year} .",
    "{he} worked at the {name} factory and then in the {service} department at {hospital} .",
    "Denies <alcohol abuse|pa> , smokes {n} cigarettes a day .",
    "The family is of mixed culture and feels some pressure to bring {him} home .",
    "Widowed , has a {relative} who is a nurse on the {ward} .",
    "Positive for <tobacco abuse|p> ; drinks socially .",
];

const EXAMINATION: &[&str] = &[
    "<Blood pressure|x> {bp} , <heart rate|x> {hr} , <temperature|x> {temp} , <O2 saturation|x> {sat} on room air .",
    "<VS|x> : <T|x> {temp} <BP|x> {bp} <HR|x> {hr} <RR|x> {n}",
    "<Vital signs|x> were stable .",
    "General : in no <acute distress|pa> , sitting up in bed .",
    "HEENT : the {body} is normal , no {pa.bare} .",
    "Neck : supple , no <JVD|pa> , no {pa.bare} .",
    "Lungs : clear bilaterally without <wheezes|pa> or <rales|pa> .",
    "Lungs : {p.bare} at the bases .",
    "Heart : regular rate and rhythm , {p} .",
    "Abdomen : soft , <non tender|pa> , bowel sounds present , no <masses|pa> .",
    "Extremities : no <clubbing|pa> , <cyanosis|pa> or <edema|pa> .",
    "Extremities : <{n}+ edema of the {body}|p> , pulses intact .",
    "Skin : {p.bare} over the {body} , otherwise normal .",
    "Neuro : alert and oriented x 3 , cranial nerves intact , no {pa.bare} .",
    "Neuro : <positive {name} sign|p> , otherwise normal .",
    "<Physical examination|x> on admission was notable for {p} and {p} .",
    "<The {name} maneuver|x> was {result} .",
    "<Rectal examination|x> : no <masses|pa> , <guaiac|x> {result} .",
    "{body} : {p.bare} , no {pa.bare} , full range of motion .",
    "Wound : clean , dry and intact , no <drainage|pa> , no <erythema|pa> .",
    "<A purulent discharge|p> was seen at the site of <the {o.name}|t> .",
    "Per {doctor} , the {body} was <mildly tender|p> .",
];

const RESULTS: &[&str] = &[
    "{l} {val} , {l} {val} , {l} {val} .",
    "{l} was {val} , {l} {val} , <{l.name}|x> less than {val} .",
    "<Labs|x> on admission : {l} {val} , {l} {val} , {l} {val} , {l} {val} .",
    "<{l.name}|x> peaked at {val} and then fell to {val} .",
    "{s} : no {pa.bare} or {pa.bare} .",
    "{s} showed {p} and {p} without {pa} .",
    "{s} , read by {doctor} , was consistent with {p} .",
    "{s} could not rule out {pp} .",
    "{s} revealed {p} , likely {pp} versus {pp} .",
    "{s} was unremarkable .",
    "{s} was positive for {p} .",
    "<CT of the {body}|x> showed {p} .",
    "<MRI of the {body} with contrast|x> : no evidence of {pa} .",
    "<{acr}|x> {val} , <{acr}|x> {result} .",
    "<{l.name} level|x> was {val} on {d} .",
    "<The {p.name} panel|x> was {result} .",
    "<Elevated {l.name}|p> was noted , and <repeat {l.name}|x> was {val} .",
    "The results were reviewed with {doctor} of {service} .",
    "<{l.name}|x> was pending at the time of discharge .",
    "{s} on {date} compared with {s} of {date} showed worsening of {p} .",
];

const COURSE: &[&str] = &[
    "The patient was admitted to the {ward} under {doctor} and started on {d} and {d} .",
    "{he} was treated with {d} {dose} {route} {freq} for {p} , with good effect .",
    "{his} {p.bare} resolved with {d} .",
    "{he} underwent {o} on {date} without complications .",
    "{he} was taken to the operating room , where {doctor} performed {o} and {o} .",
    "On hospital day # {n} , {he} developed {p} , and {s} was obtained .",
    "{s} was obtained , which ruled out {pa} .",
    "Given {his} {p.bare} , {he} was continued on {d} , and <{d.name} levels|x> were followed .",
    "The {service} service was consulted for {p} and recommended {o} .",
    "{doctor} from {service} felt that this could be {pp} .",
    "{he} remained free of {pa} throughout .",
    "There were no signs of {pa} .",
    "{he} had {p} , which was thought to be secondary to {d} ; {d} was stopped .",
    "{he} was ruled out for {pa} by <serial {l.name}|x> .",
    "<Low {l.name}|p> was repleted with {d} .",
    "<A rise in {his} {l.name}|p> was attributed to {p} .",
    "{he} was weaned off {o} and transferred to the {ward} .",
    "{he} received <{n} units of packed red cells|t> for <a {l.name}|x> of {val} .",
    "{he} was maintained on <{p.name} prophylaxis|t> while in the {ward} .",
    "The patient 's {relative} declined {o} because of the risk of {ph} .",
    "If {he} has {ph} , {he} will need {o} .",
    "{he} was started on <{acr}|t> for <{acr}|p> , and <{acr}|x> improved to {val} .",
    "The {acr} team was paged , and the case was discussed with the {acr} fellow .",
    "{he} was enrolled in the {d.name} trial of the {name} Institute .",
    "Pain : well controlled on {d} {dose} p.r.n. , transitioned to {d} .",
    "ID : {he} was febrile to {temp} , {s} grew nothing , and {d} was discontinued after {dur} .",
    "CV : {p.bare} , managed with {d} ; {l} remained {val} .",
    "Renal : <{l.name}|x> trended from {val} to {val} after {o} .",
    "FEN : {he} was given {o} and tolerated a regular diet .",
    "{he} complained of <{side} {part} pain|p> , for which {s} showed no {pa.bare} .",
    "{his} <{l.name} infusion|t> was stopped when <{his} {l.name}|x> reached {val} .",
    "{he} experienced <so-called \" {feeling} \"|p> after {o} , which passed .",
    "Discharge planning was complicated by pressure from the insurance company .",
    "Infection control was notified as a routine .",
    "The stroke team saw no indication for {d} .",
    "{he} ambulated with <physical therapy|t> and was cleared for stairs .",
    "{he} was given <a dose of {d.name}|t> before <{his} {s.name}|x> .",
    "{p} improved , but {he} continued to have {p} .",
    "In summary , no change in {his} {p.bare} was seen on {d} .",
];

const INSTRUCTIONS: &[&str] = &[
    "Please call {doctor} if you have {ph} , {ph} or {ph} .",
    "Return to the emergency room for {ph} or <{ph.name}|ph> .",
    "You should take {d} {freq} for {dur} , and stop if you notice {ph} .",
    "Discharged to {hospital} rehabilitation in stable condition .",
    "The patient was discharged home with services .",
    "Follow up with {doctor} in {dur} .",
    "Follow up in the {p.name} clinic with {doctor} on {date} .",
    "<{l.name}|x> and <{l.name}|x> should be checked in {n} days .",
    "{he} will need <a repeat {s.name}|x> in {dur} .",
    "{he} will continue {d} and have {o} as an outpatient .",
    "No heavy lifting , no driving while taking {d} .",
    "Keep <the {o.name}|t> dry , and watch for {ph} .",
    "Diet : cardiac , low {l.name} .",
    "Code status was discussed with {his} {relative} .",
    "<{o.name} teaching|t> was done by the {service} nurse .",
    "Dictated by {doctor} for {doctor} , {date}",
    "Please have the {acr} clinic draw <an {acr}|x> at the next visit .",
    "Should {he} develop {ph} , start {d} {dose} {freq}",
];

/// The choices for some slots; they may contain slots.
pub(super) const WORDS: &[(&str, &[&str])] = &[
    ("relative", &["mother", "father", "brother", "sister", "wife", "daughter", "son", "aunt", "niece"]),
    (
        "service",
        &[
            "cardiology",
            "pain",
            "heart failure",
            "infectious disease",
            "transplant",
            "dialysis",
            "wound care",
            "stroke",
            "burn",
            "anesthesia",
            "radiation oncology",
            "endoscopy",
            "{name}",
            "{acr}",
            "general surgery",
        ],
    ),
    (
        "ward",
        &[
            "stroke unit",
            "dialysis unit",
            "chest pain unit",
            "endoscopy suite",
            "{acr}",
            "{name} pavilion",
            "medical floor",
            "intensive care unit",
            "burn unit",
            "catheterization laboratory",
        ],
    ),
    (
        "job",
        &["teacher", "painter", "welder", "{name} company driver", "radiology clerk", "farmer", "X-ray technician"],
    ),
    ("side", &["left", "right", "bilateral"]),
    (
        "part",
        &["knee", "shoulder", "hip", "calf", "foot", "hand", "wrist", "flank", "chest", "neck", "lower extremity"],
    ),
    ("body", &["left {part}", "right {part}", "{part}", "oropharynx", "abdomen", "back"]),
    ("feeling", &["pins and needles", "electric", "heavy", "brain freeze", "skipped beat", "burning"]),
    ("result", &["negative", "positive", "normal", "within normal limits", "equivocal"]),
    ("route", &["p.o.", "p.o.", "p.o.", "IV", "subq", "PO"]),
    ("freq", &["b.i.d.", "q.d.", "t.i.d.", "q.h.s.", "daily", "q{n}h", "q.4-6h.", "BID", "every day", "twice a day"]),
    ("dur", &["{n} days", "{n} weeks", "one week", "{n} to {n} days", "six months"]),
    (
        "modifier",
        &["severe", "mild", "acute", "worsening", "new", "chronic", "recurrent", "persistent", "intermittent"],
    ),
    ("unit", &["mg", "mg", "mg", "mcg", "units", "gm", "mEq", "mg/kg"]),
    ("amount", &["0.5", "1", "2", "2.5", "5", "10", "20", "25", "40", "81", "100", "325", "500", "1000"]),
    ("dose", &["{amount} {unit}", "{amount} {unit}", "{amount}{unit}", "one tablet", "{n} tabs"]),
    ("val", &["{n}.{digit}", "{n}.{digit}", "{n}{digit}", "{n}{digit} %", "{n}.{digit} mg/dl", "< 0.{n}"]),
    ("bp", &["1{digit}{digit}/{digit}{digit}"]),
    ("hr", &["{digit}{digit}", "1{digit}{digit}"]),
    ("temp", &["98.{digit}", "99.{digit}", "101.{digit}", "37.{digit}"]),
    ("sat", &["9{digit} %", "9{digit}%"]),
];

/// People, places and dates in the style of each de-identifier.
pub(super) const STYLES: [&[(&str, &[&str])]; 2] = [
    &[
        ("date", &["[**{year}-{month}-{day}**]", "[**{month}-{day}**]"]),
        ("doctor", &["Dr. [**Name {room}**]", "[**First Name {room}**] [**Last Name {room}**] , MD", "Dr. {name}"]),
        ("patient", &["{title} [**Known lastname {room}**]", "[**Known lastname {room}**]", "Patient"]),
        ("hospital", &["[**Hospital {n}**]", "[**Hospital {n}**] Hospital", "{name} Medical Center"]),
    ],
    &[
        ("date", &["{month}/{day}/{year}", "{month}/{day}", "**DATE[{month} {day} {year}]"]),
        ("doctor", &["Dr. {name}", "{name} {name} , M.D.", "Dr. **NAME[{letters} {letters}]"]),
        ("patient", &["{title} {name}", "**NAME[{letters} {letters}]", "Patient"]),
        ("hospital", &["{name} Memorial Hospital", "**INSTITUTION", "the {name} Clinic"]),
    ],
];
