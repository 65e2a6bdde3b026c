//! Scores of mentions: how good, how sure, and what went wrong.
//!
//! - **Strict span scores**, equal to those of seqeval 1.2 and of the CoNLL shared tasks' `conlleval`
//!   ([`score_documents`], [`score_mentions`], [`score_spans`]), and of tag sequences under each reading of seqeval
//!   ([`score_tags`], [`Mode`]). A predicted mention counts where its document, all its fragments and its entity type
//!   are those of a gold mention; there is no partial credit.
//! - **The schemes of SemEval-2013** ([`score_semeval`]): strict, exact, partial and type.
//! - **Classes of errors** that add up ([`count_errors`]), and what types are taken for one another.
//! - **Scores of groups** of mentions ([`scores_by_key`]): seen in training or not ([`SeenScores`]), short or long
//!   ([`Ranges`]), and those of each document ([`scores_by_document`]).
//! - **Intervals and tests** by resampling documents ([`bootstrap_intervals`], [`paired_test`]), and the spread over
//!   seeds ([`MeanAndDeviation`]).
//! - **Calibration** of confidences ([`calibration`](calibration())).
//!
//! No score depends on the order in which documents or mentions are given; [`pair_mentions`] says which prediction is
//! taken for which gold mention where that is not plain.
//!
//! A score whose denominator is 0 is `None` here and never 0: seqeval says 0 and warns. This is the one difference,
//! and [`Scores::macro_`] closes it again so that the mean equals seqeval's.
//!
//! This crate knows nothing of libtorch, of word pieces or of files; no error of it quotes text or tags. The one thing
//! that hands out text is [`frequent_errors`].
//!
//! Sources: Tjong Kim Sang & Buchholz 2000 (CoNLL-2000, `conlleval`), Tjong Kim Sang & De Meulder 2003 (CoNLL-2003,
//! section 2.4), seqeval 1.2.2 (`seqeval/metrics/sequence_labeling.py`, `seqeval/metrics/v1.py`, `seqeval/scheme.py`),
//! Segura-Bedmar et al. 2013 (SemEval-2013, task 9.1), Chinchor & Sundheim 1993 (MUC-5), Noreen 1989, Yeh 2000, Efron &
//! Tibshirani 1993, Berg-Kirkpatrick et al. 2012, Naeini et al. 2015, Guo et al. 2017. Each is named in full where it is
//! used.

#![forbid(unsafe_code)]

mod breakdown;
mod calibration;
mod counts;
mod error;
mod errors;
mod pairing;
mod resampling;
mod semeval;
mod spans;
mod tags;

pub use breakdown::{
    DocumentScore, GroupScore, NestedScores, Ranges, SeenScores, TrainingMentions, scores_by_document, scores_by_key,
    scores_by_number,
};
pub use calibration::{Calibration, CalibrationBin, calibration};
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
