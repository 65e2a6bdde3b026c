//! Findings in the forms that hospital systems take: FHIR R4 resources and rows of OMOP's NOTE_NLP.
//!
//! Both say what a note says, never what is true of the patient. What a form cannot say is left out and counted. Both are
//! functions of document, findings and [`ProcessedAt`], so that the same note gives the same bytes.
//!
//! Where things are:
//!
//! - `finding.rs`: [`Finding`], the input of both.
//! - `fhir/mapping.rs`: which resource a finding becomes, and with which status. `fhir/resources.rs`: the parts of R4
//!   that it needs. `fhir/bundle.rs`: [`Fhir`], the bundle of a document.
//! - `family.rs`: whose problem it is, if it is not the patient's.
//! - `omop.rs`: [`NoteNlp`], the rows of a document.
//! - `time.rs`: [`ProcessedAt`].

#![forbid(unsafe_code)]

mod family;
mod fhir;
mod finding;
mod omop;
mod time;

pub use fhir::{Bundle, Bundled, Fhir, LeftOut, MENTION_EXTENSION, has_resource};
pub use finding::{Finding, Software};
pub use omop::{NoteNlp, OmopError};
pub use time::ProcessedAt;
