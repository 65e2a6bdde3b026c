//! Scores of mentions: how good, how certain, and which errors.
//!
//! - **Strict span scores**, equal to those of seqeval 1.2 and of the CoNLL shared tasks' `conlleval`
//!   ([`score_documents`], [`score_mentions`], [`score_spans`]); and scores of tag sequences under each mode of seqeval
//!   ([`score_tags`], [`Mode`]). A predicted mention is correct if its document, all its fragments and its entity type
//!   equal those of a gold mention. There is no partial credit.
//! - **The schemes of SemEval-2013** ([`score_semeval`]): strict, exact, partial and type.
//! - **Error classes** that add up ([`count_errors`]), and confusions between types.
//! - **Scores of groups** of mentions ([`scores_by_key`]): seen in training or not ([`SeenScores`]), short or long
//!   ([`Ranges`]), and per document ([`scores_by_document`]).
//! - **Intervals and tests** by resampling documents ([`bootstrap_intervals`], [`paired_test`]), and the spread over
//!   seeds ([`MeanAndDeviation`]).
//! - **Scores of an attribute**, such as the assertion, given the mentions and end to end ([`score_attribute`]).
//! - **Calibration** of confidences ([`calibration`](calibration())).
//!
//! No score depends on the order of documents or mentions. If several predictions could match a gold mention,
//! [`pair_mentions`] decides.
//!
//! A score whose denominator is 0 is `None`, never 0; seqeval reports 0 and warns. This is the only difference:
//! [`Scores::macro_`] counts it as 0, so that the mean equals seqeval's.
//!
//! This crate knows nothing of libtorch, word pieces or files. Its errors never quote text or tags. Only
//! [`frequent_errors`] returns text.
//!
//! Where things are:
//!
//! - `spans.rs` pairs documents and scores mentions strictly; `tags.rs` scores tag sequences as seqeval does. Both
//!   count per document (`counts.rs`), and `resampling.rs` draws from these counts.
//! - `pairing.rs` decides which prediction matches which gold mention if positions or types differ. `semeval.rs` and
//!   `errors.rs` count its pairs, so that they agree.
//! - `breakdown.rs` scores groups of mentions by any key; `calibration.rs` compares confidences with correctness;
//!   `attribute.rs` compares values of an attribute, `concepts.rs` ids of concepts.
//!
//! Sources: Tjong Kim Sang & Buchholz 2000 (CoNLL-2000, `conlleval`), Tjong Kim Sang & De Meulder 2003 (CoNLL-2003,
//! section 2.4), seqeval 1.2.2 (`seqeval/metrics/sequence_labeling.py`, `seqeval/metrics/v1.py`, `seqeval/scheme.py`),
//! Segura-Bedmar et al. 2013 (SemEval-2013, task 9.1), Chinchor & Sundheim 1993 (MUC-5), Noreen 1989, Yeh 2000, Efron &
//! Tibshirani 1993, Berg-Kirkpatrick et al. 2012, Naeini et al. 2015, Guo et al. 2017. Full titles stand at the
//! functions that use them.

#![forbid(unsafe_code)]

mod attribute;
mod breakdown;
mod calibration;
mod concepts;
mod counts;
mod error;
mod errors;
mod pairing;
mod resampling;
mod semeval;
mod spans;
mod tags;

pub use attribute::{AttributeScores, MatchedScores, ValueScores, score_attribute};
pub use breakdown::{
    DocumentScore, GroupScore, NestedScores, Ranges, SeenScores, TrainingMentions, scores_by_document, scores_by_key,
    scores_by_number,
};
pub use calibration::{Calibration, CalibrationBin, calibration};
pub use concepts::{AccuraciesAtK, ConceptAccuracies, ConceptAccuracy, ConceptScores, NO_CONCEPT, score_concepts};
pub use counts::{Counts, DocumentCounts, Score, Scores};
pub use error::{MalformedTag, ScoreError, Side};
pub use errors::{ConfusionCell, ErrorCounts, Errors, FrequentErrors, FrequentString, count_errors, frequent_errors};
pub use pairing::{Agreement, MentionPair, Pairing, pair_mentions};
pub use resampling::{
    Interval, Intervals, MeanAndDeviation, PairedTest, Resampling, ScoreIntervals, bootstrap_intervals, macro_f1,
    micro_f1, paired_test,
};
pub use semeval::{SchemeCounts, Schemes, SemevalScores, score_semeval};
pub use spans::{DocumentScores, PairedDocument, PairedDocuments, score_documents, score_mentions, score_spans};
pub use tags::{Entity, Mode, SeqevalScheme, TagScores, entities, score_tags};
