//! Strict span scores, equal to those of seqeval 1.2 and of the CoNLL shared tasks' `conlleval`.
//!
//! A predicted mention counts where its document, all its fragments and its entity type are those of a gold mention;
//! there is no partial credit. [`score_documents`] and [`score_mentions`] compare character spans, [`score_tags`]
//! compares what tag sequences stand for, under each reading of seqeval ([`Mode`]).
//!
//! A score whose denominator is 0 is `None` here and never 0: seqeval says 0 and warns. This is the one difference,
//! and [`Scores::macro_`] closes it again so that the mean equals seqeval's.
//!
//! This crate knows nothing of libtorch, of word pieces or of files; no error of it quotes text or tags.
//!
//! Sources: Tjong Kim Sang & Buchholz 2000 (CoNLL-2000, `conlleval`), Tjong Kim Sang & De Meulder 2003 (CoNLL-2003,
//! section 2.4), seqeval 1.2.2 (`seqeval/metrics/sequence_labeling.py`, `seqeval/metrics/v1.py`, `seqeval/scheme.py`).
#![warn(missing_docs)]

mod counts;
mod error;
mod spans;
mod tags;

pub use counts::{Counts, Score, Scores};
pub use error::{MalformedTag, ScoreError, Side};
pub use spans::{DocumentScores, score_documents, score_mentions};
pub use tags::{Entity, Mode, SeqevalScheme, TagScores, entities, score_tags};
