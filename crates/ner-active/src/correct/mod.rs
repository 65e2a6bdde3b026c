//! People's corrections of a batch: what they did, action by action, and how far they agree.
//!
//! A journal holds an annotator's [`Record`]s and only grows. Replaying it from the first line gives the annotator's
//! [`Work`]. Nothing here opens a file: [`journal`] reads and writes bytes, [`agreement`] compares annotators.

pub mod agreement;
pub mod journal;
mod work;

pub use work::{
    Action, Entry, ItemWork, LabelledSpan, Record, Refusal, Verdict, Work, check_label, check_name, merged,
};

/// The annotator name of adjudication, which settles differences. Its items start with the mentions that all annotators
/// agree on.
pub const ADJUDICATED: &str = "adjudicated";
