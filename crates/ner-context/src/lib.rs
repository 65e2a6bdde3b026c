//! What a note says of a mention: the section that it stands in, and whether the patient has it.
//!
//! Rules in the manner of ConText (Chapman, Chu, Dowling 2007; Harkema et al. 2009): cues before, behind and inside a
//! mention, phrases that look like cues and are none, phrases that end a scope, and headings that decide. Cues and
//! headings are two TOML files that a user can extend or replace. No model and no training is needed.
//!
//! Where things are:
//!
//! - `rules.rs`: [`ContextRules`], and what follows from cues and section together.
//! - `lexicon.rs`: phrases, compiled to a trie over words; `assertion.toml` holds the built-in ones.
//! - `scope.rs`: which cues reach a mention, and which of them decides.
//! - `sections.rs`: headings; `sections.toml` holds the built-in ones, with LOINC codes.
//! - `sentences.rs`: sentences of a note whose lines are broken by hand. `words.rs`: its words.
//! - `attributes.rs`: assertions as attributes of mentions, which every format with attributes can hold.

#![forbid(unsafe_code)]

mod attributes;
mod lexicon;
mod rules;
mod scope;
mod sections;
mod sentences;
mod words;

pub use attributes::{ASSERTION, CONFIDENCE, CUE, HISTORICAL, SECTION, SECTION_LOINC};
pub use lexicon::AssertionValue;
pub use rules::{Assertion, ContextRules, MentionContext, RuleError};
pub use sections::{SectionKind, SectionName};
