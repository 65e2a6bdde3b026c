use std::fmt;

/// Which of the two annotations is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The annotation that is taken for true.
    Gold,
    /// The annotation that is scored.
    Predicted,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gold => "gold",
            Self::Predicted => "predicted",
        })
    }
}

/// Why two annotations cannot be compared. Sequences and positions count from 0.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScoreError {
    /// There are predictions for a document that the gold annotation does not hold.
    #[error("document {id} is predicted but not in gold")]
    UnknownDocument {
        /// The document.
        id: String,
    },
    /// Two documents have the same id, so that pairing by id is ambiguous.
    #[error("document {id} occurs twice in {side}")]
    DuplicateDocument {
        /// The document.
        id: String,
        /// Where it occurs twice.
        side: Side,
    },
    /// The two texts of a document differ in length, so that their offsets do not mean the same.
    #[error("document {id} has {gold} characters in gold and {predicted} in predicted")]
    TextLength {
        /// The document.
        id: String,
        /// Length of the gold text, in characters.
        gold: usize,
        /// Length of the predicted text, in characters.
        predicted: usize,
    },
    /// Two systems were not scored on the same documents, so that they cannot be compared document by document.
    #[error("document {id} was scored for one system only")]
    Unpaired {
        /// The document.
        id: String,
    },
    /// Two systems were not scored against the same gold mentions.
    #[error("document {id} does not have the same gold mentions for both systems")]
    OtherGold {
        /// The document.
        id: String,
    },
    /// A confidence is no number from 0 to 1.
    #[error("confidence {index} is not a number from 0 to 1")]
    Confidence {
        /// Its place in the list, from 0.
        index: usize,
    },
    /// There are more tag sequences on one side than on the other.
    #[error("{gold} tag sequences in gold and {predicted} in predicted")]
    SequenceCount {
        /// Number of gold sequences.
        gold: usize,
        /// Number of predicted sequences.
        predicted: usize,
    },
    /// A tag sequence has another length in gold than in predicted.
    #[error("tag sequence {sequence} has {gold} tags in gold and {predicted} in predicted")]
    SequenceLength {
        /// The sequence.
        sequence: usize,
        /// Number of its gold tags.
        gold: usize,
        /// Number of its predicted tags.
        predicted: usize,
    },
    /// A sequence holds something that is no tag of the mode.
    #[error("cannot read the {side} tags of sequence {sequence}")]
    Tags {
        /// Where the sequence stands.
        side: Side,
        /// The sequence.
        sequence: usize,
        /// What is wrong with it.
        source: MalformedTag,
    },
}

/// A tag is neither `O` nor a prefix that the mode knows, alone or with `-TYPE`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the tag at position {position} is neither O nor one of the prefixes {prefixes}, alone or with -TYPE")]
pub struct MalformedTag {
    /// Its position in the sequence, from 0.
    pub position: usize,
    /// The prefixes that the mode knows, one letter each.
    pub prefixes: String,
}
