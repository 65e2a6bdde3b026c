//! Corrections of a batch by people: what they did, action by action, and how far they agree.
//!
//! What an annotator did is a journal of [`Record`]s, to which lines are only added. His [`Work`] is what comes of it when it
//! is played from the beginning. Nothing here opens a file: [`journal`] reads and writes bytes.

pub mod agreement;
pub mod journal;
mod work;

pub use work::{
    Action, Entry, ItemWork, LabelledSpan, Record, Refusal, Verdict, Work, check_label, check_name, merged,
};

/// The name under which differences between annotators are settled. Its items begin with what the others agree upon.
pub const ADJUDICATED: &str = "adjudicated";
