use std::fmt;

/// One of the two annotations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The reference annotation.
    Gold,
    /// The annotation to be scored.
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
    /// A predicted document is not in the gold annotation.
    #[error("document {id} is predicted but not in gold")]
    UnknownDocument {
        /// The document.
        id: String,
    },
    /// Two documents have the same id, so pairing by id is ambiguous.
    #[error("document {id} occurs twice in {side}")]
    DuplicateDocument {
        /// The document.
        id: String,
        /// The annotation that contains it twice.
        side: Side,
    },
    /// The candidates of a mention cannot be read.
    #[error(
        "document {id}: the attribute link_candidates of a mention is not as medner writes it: [[[\"ID\", SCORE], …], …]"
    )]
    Candidates {
        /// The document.
        id: String,
    },
    /// The two texts of a document differ in length, so their offsets do not correspond.
    #[error("document {id} has {gold} characters in gold and {predicted} in predicted")]
    TextLength {
        /// The document.
        id: String,
        /// Length of the gold text, in characters.
        gold: usize,
        /// Length of the predicted text, in characters.
        predicted: usize,
    },
    /// A document was scored for one of the two systems only, so they cannot be compared document by document.
    #[error("document {id} was scored for one system only")]
    Unpaired {
        /// The document.
        id: String,
    },
    /// Two systems were scored against different gold mentions.
    #[error("document {id} has different gold mentions for the two systems")]
    OtherGold {
        /// The document.
        id: String,
    },
    /// A confidence is not a number from 0 to 1.
    #[error("confidence {index} is not a number from 0 to 1")]
    Confidence {
        /// Its index in the list, from 0.
        index: usize,
    },
    /// The two sides differ in the number of tag sequences.
    #[error("{gold} tag sequences in gold and {predicted} in predicted")]
    SequenceCount {
        /// Number of gold sequences.
        gold: usize,
        /// Number of predicted sequences.
        predicted: usize,
    },
    /// The two sides of a tag sequence differ in length.
    #[error("tag sequence {sequence} has {gold} tags in gold and {predicted} in predicted")]
    SequenceLength {
        /// The sequence.
        sequence: usize,
        /// Number of its gold tags.
        gold: usize,
        /// Number of its predicted tags.
        predicted: usize,
    },
    /// A sequence contains a tag that the mode cannot read.
    #[error("cannot read the {side} tags of sequence {sequence}")]
    Tags {
        /// The annotation that contains the sequence.
        side: Side,
        /// The sequence.
        sequence: usize,
        /// The unreadable tag.
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
