use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// How to choose the next items to annotate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// Random items: the baseline.
    Random,
    /// Longest items.
    Longest,
    /// Least probable answer per word.
    Mnlp,
    /// Largest mean entropy per word.
    Entropy,
    /// Smallest margin between the best and the second-best answer.
    Margin,
    /// Most divided votes of several models.
    VoteEntropy,
    /// Largest divergence of several models from their mean.
    Disagreement,
    /// Largest divergence of one model's dropout passes from their mean.
    Bald,
    /// Farthest from all annotated items.
    CoreSet,
    /// By distances between gradients.
    Badge,
    /// Uncertain and far from annotated items.
    Hybrid,
}

impl Strategy {
    /// All strategies.
    pub const ALL: [Self; 11] = [
        Self::Random,
        Self::Longest,
        Self::Mnlp,
        Self::Entropy,
        Self::Margin,
        Self::VoteEntropy,
        Self::Disagreement,
        Self::Bald,
        Self::CoreSet,
        Self::Badge,
        Self::Hybrid,
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::Longest => "longest",
            Self::Mnlp => "mnlp",
            Self::Entropy => "entropy",
            Self::Margin => "margin",
            Self::VoteEntropy => "vote-entropy",
            Self::Disagreement => "disagreement",
            Self::Bald => "bald",
            Self::CoreSet => "core-set",
            Self::Badge => "badge",
            Self::Hybrid => "hybrid",
        }
    }

    /// Its source.
    pub const fn source(self) -> &'static str {
        match self {
            Self::Random => "chance",
            Self::Longest => "words of an item",
            Self::Mnlp => "Shen et al. 2018, section 4",
            Self::Entropy => "Settles and Craven 2008, token entropy",
            Self::Margin => "Scheffer et al. 2001, as a ratio",
            Self::VoteEntropy => "Dagan and Engelson 1995",
            Self::Disagreement => "McCallum and Nigam 1998, divergence to the mean",
            Self::Bald => "Houlsby et al. 2011; Gal et al. 2017",
            Self::CoreSet => "Sener and Savarese 2018, greedy k-center",
            Self::Badge => "Ash et al. 2020",
            Self::Hybrid => "entropy times distance, after Zhdanov 2019",
        }
    }

    /// Whether it needs a model.
    pub const fn needs_model(self) -> bool {
        !matches!(self, Self::Random | Self::Longest)
    }

    /// Whether it needs a model's outputs.
    pub const fn needs_findings(self) -> bool {
        self.needs_model() && !matches!(self, Self::CoreSet)
    }

    /// Whether it needs several models.
    pub const fn needs_committee(self) -> bool {
        matches!(self, Self::VoteEntropy | Self::Disagreement)
    }

    /// Whether it needs the encoder's hidden states.
    pub const fn needs_states(self) -> bool {
        matches!(self, Self::CoreSet | Self::Badge | Self::Hybrid)
    }
}

impl FromStr for Strategy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let names = || Self::ALL.map(Self::name).join(", ");
        Self::ALL
            .into_iter()
            .find(|known| known.name() == text)
            .ok_or_else(|| format!("unknown strategy `{text}`; known: {}", names()))
    }
}

impl std::fmt::Display for Strategy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}
