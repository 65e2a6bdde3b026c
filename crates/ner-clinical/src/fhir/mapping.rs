//! From a finding to a resource and its status.
//!
//! Two rules decide. A status that the note does not say is `unknown`, or missing where R4 allows that. And a reader
//! that ignores extensions must not take a resource for more than the note says: what would be false without its extension
//! becomes no resource.

use crate::Finding;
use crate::family::{may_be_denied, relative};
use ner_context::{Assertion, AssertionValue};
use ner_data::{CharIndex, Document};
use std::fmt;

/// What a finding becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Becomes {
    /// A problem of the patient, with its two statuses.
    Condition { clinical: Option<&'static str>, verification: Option<&'static str> },
    /// A problem in the family; the code of the relative.
    FamilyMemberHistory(&'static str),
    /// A medication, with its status.
    MedicationStatement(&'static str),
    /// A treatment, with its status.
    Procedure(&'static str),
    /// A test, with its status and the reason for its missing value.
    Observation { status: &'static str, absent: &'static str },
}

/// Why a finding becomes no resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LeftOut {
    /// Its type has no category, or one that has no resource (`anatomy`).
    Category,
    /// It may happen, or happens under circumstances.
    NotActual,
    /// Somebody outside the family has it, or somebody else takes or gets it.
    SomebodyElse,
    /// A relative may have it, but the sentence denies something.
    FamilyDenied,
    /// A medication among allergies.
    Allergy,
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Category => "of a category without a resource",
            Self::NotActual => "hypothetical or conditional",
            Self::SomebodyElse => "of somebody outside the family",
            Self::FamilyDenied => "of the family in a sentence that denies something",
            Self::Allergy => "medications among allergies",
        })
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Problem,
    Medication,
    Treatment,
    Test,
}

fn kind(category: Option<&str>) -> Option<Kind> {
    Some(match category?.to_lowercase().as_str() {
        "problem" => Kind::Problem,
        "medication" | "chemical" | "drug" => Kind::Medication,
        "treatment" | "procedure" => Kind::Treatment,
        "test" => Kind::Test,
        _ => return None,
    })
}

/// Whether findings of a category become resources.
pub fn has_resource(category: Option<&str>) -> bool {
    kind(category).is_some()
}

/// LOINC code of the section of allergies.
const ALLERGIES: &str = "48765-2";

pub fn becomes(finding: &Finding, document: &Document, index: &CharIndex) -> Result<Becomes, LeftOut> {
    use AssertionValue::{Absent, AssociatedWithSomeoneElse, Conditional, Hypothetical, Possible, Present};
    let kind = kind(finding.category).ok_or(LeftOut::Category)?;
    let is_allergy = finding.section.is_some_and(|section| section.loinc.as_deref() == Some(ALLERGIES));
    if matches!(kind, Kind::Medication | Kind::Treatment) && is_allergy {
        return Err(LeftOut::Allergy);
    }
    let Some(&Assertion { value, historical, .. }) = finding.assertion else {
        return Ok(match kind {
            Kind::Problem => Becomes::Condition { clinical: None, verification: None },
            Kind::Medication => Becomes::MedicationStatement("unknown"),
            Kind::Treatment => Becomes::Procedure("unknown"),
            Kind::Test => Becomes::Observation { status: "unknown", absent: "unknown" },
        });
    };
    let condition = |clinical, verification| Ok(Becomes::Condition { clinical, verification: Some(verification) });
    match (kind, value) {
        (Kind::Problem, AssociatedWithSomeoneElse) => {
            // What is decided by the section's heading has that heading as its cue.
            let code = finding.cue(document, index).and_then(relative).ok_or(LeftOut::SomebodyElse)?;
            let is_denied = may_be_denied(document, index, finding.span);
            if is_denied { Err(LeftOut::FamilyDenied) } else { Ok(Becomes::FamilyMemberHistory(code)) }
        }
        (_, AssociatedWithSomeoneElse) => Err(LeftOut::SomebodyElse),
        // A medication that the patient may take has a status for that.
        (Kind::Medication, Hypothetical) => Ok(Becomes::MedicationStatement("intended")),
        (_, Conditional | Hypothetical) => Err(LeftOut::NotActual),
        // A past medical history lists diabetes, which has not ended: `inactive` and `resolved` would say that it has.
        (Kind::Problem, Present) => condition((!historical).then_some("active"), "confirmed"),
        (Kind::Problem, Absent) => condition(None, "refuted"),
        // Not `provisional`, a kind of `unconfirmed`: that is a working diagnosis, and not every doubt is one.
        (Kind::Problem, Possible) => condition(None, "unconfirmed"),
        (Kind::Medication, value) => Ok(Becomes::MedicationStatement(match value {
            Absent => "not-taken",
            Present if historical => "completed",
            Present => "active",
            _ => "unknown",
        })),
        (Kind::Treatment, value) => Ok(Becomes::Procedure(match value {
            Absent => "not-done",
            Present if historical => "completed",
            _ => "unknown",
        })),
        (Kind::Test, Absent) => Ok(Becomes::Observation { status: "cancelled", absent: "not-performed" }),
        (Kind::Test, Present | Possible) => Ok(Becomes::Observation { status: "unknown", absent: "unknown" }),
    }
}
