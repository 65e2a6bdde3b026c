//! The supported kinds of encoders and their names for parameters and settings.
//!
//! Parameters have BERT's names in memory (`bert.rs`). Files have the names of their own kind; names are translated only
//! when a file is read or written.
//!
//! Sources: Liu et al. (2019), RoBERTa; Clark et al. (2020), ELECTRA; Sanh et al. (2019), DistilBERT; Song et al. (2020),
//! MPNet; Conneau et al. (2020), XLM-RoBERTa; transformers' classes for names and defaults.

use crate::checkpoint::modern_name;
use serde::Deserialize;
use serde_json::{Value, json};

/// The `model_type` of a `config.json`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ModelType {
    /// BERT.
    #[default]
    Bert,
    /// RoBERTa: skips the first positions and has one segment.
    Roberta,
    /// ELECTRA's discriminator: embeddings may be narrower than states.
    Electra,
    /// DistilBERT: has no segments and other names.
    Distilbert,
    /// MPNet: adds a term for the distance of two tokens to their attention score (`distances.rs`).
    Mpnet,
    /// XLM-RoBERTa: RoBERTa with another vocabulary.
    #[serde(rename = "xlm-roberta")]
    XlmRoberta,
    /// ModernBERT: rotary positions, local attention and gated layers (`modern.rs`).
    ModernBert,
    /// DeBERTa of version 2 or 3: attention scores of words and of relative positions (`deberta.rs`).
    #[serde(rename = "deberta-v2")]
    DebertaV2,
}

/// The specifics of one kind of encoder.
pub(crate) struct Family {
    /// `model_type` in `config.json`.
    pub name: &'static str,
    /// Prefix of transformers' class names: `…ForTokenClassification`, `…Model`.
    pub class: &'static str,
    /// Prefix of the encoder's parameters in a model with a head; a bare encoder omits it.
    prefix: &'static str,
    /// Prefix of the layer number.
    layers: &'static str,
    /// Parts of a layer: BERT's name and this kind's, if different.
    parts: &'static [(&'static str, &'static str)],
    /// Parts outside the layers and BERT's embeddings: our name and this kind's.
    others: &'static [(&'static str, &'static str)],
    /// Keys of `config.json`: BERT's name and this kind's.
    keys: &'static [(&'static str, &'static str)],
    /// Whether it has segments.
    pub has_segments: bool,
    /// Values of keys that are missing, by BERT's names, if they are not BERT's.
    defaults: fn() -> Value,
}

const BERT: Family = Family {
    name: "bert",
    class: "Bert",
    prefix: "bert.",
    layers: "encoder.layer.",
    parts: &[],
    others: &[],
    keys: &[],
    has_segments: true,
    defaults: || json!({ "pad_token_id": 0 }),
};

/// In the order of [`ModelType`].
const FAMILIES: [Family; 8] = [
    BERT,
    Family { name: "roberta", class: "Roberta", prefix: "roberta.", defaults: of_fairseq, ..BERT },
    Family {
        name: "electra",
        class: "Electra",
        prefix: "electra.",
        defaults: || json!({ "pad_token_id": 0, "embedding_size": 128 }),
        ..BERT
    },
    Family {
        name: "distilbert",
        class: "DistilBert",
        prefix: "distilbert.",
        layers: "transformer.layer.",
        parts: &[
            ("attention.self.query", "attention.q_lin"),
            ("attention.self.key", "attention.k_lin"),
            ("attention.self.value", "attention.v_lin"),
            ("attention.output.dense", "attention.out_lin"),
            ("attention.output.LayerNorm", "sa_layer_norm"),
            ("intermediate.dense", "ffn.lin1"),
            ("output.dense", "ffn.lin2"),
            ("output.LayerNorm", "output_layer_norm"),
        ],
        keys: &[
            ("hidden_size", "dim"),
            ("num_hidden_layers", "n_layers"),
            ("num_attention_heads", "n_heads"),
            ("intermediate_size", "hidden_dim"),
            ("hidden_act", "activation"),
            ("hidden_dropout_prob", "dropout"),
            ("attention_probs_dropout_prob", "attention_dropout"),
        ],
        has_segments: false,
        ..BERT
    },
    Family {
        name: "mpnet",
        class: "MPNet",
        prefix: "mpnet.",
        parts: &[
            ("attention.self.query", "attention.attn.q"),
            ("attention.self.key", "attention.attn.k"),
            ("attention.self.value", "attention.attn.v"),
            ("attention.output.dense", "attention.attn.o"),
            ("attention.output.LayerNorm", "attention.LayerNorm"),
        ],
        others: &[("encoder.relative_attention_bias", "encoder.relative_attention_bias")],
        has_segments: false,
        defaults: of_fairseq,
        ..BERT
    },
    Family { name: "xlm-roberta", class: "XLMRoberta", prefix: "roberta.", defaults: of_fairseq, ..BERT },
    Family {
        name: "modernbert",
        class: "ModernBert",
        prefix: "model.",
        layers: "layers.",
        others: &[
            ("embeddings.word_embeddings", "embeddings.tok_embeddings"),
            ("embeddings.LayerNorm", "embeddings.norm"),
            ("encoder.final_norm", "final_norm"),
        ],
        keys: &[
            ("hidden_act", "hidden_activation"),
            ("layer_norm_eps", "norm_eps"),
            ("hidden_dropout_prob", "mlp_dropout"),
            ("attention_probs_dropout_prob", "attention_dropout"),
        ],
        has_segments: false,
        defaults: || {
            json!({
                "pad_token_id": 50283, "max_position_embeddings": 8192, "layer_norm_eps": 1e-5,
                "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0,
            })
        },
        ..BERT
    },
    Family {
        name: "deberta-v2",
        class: "DebertaV2",
        prefix: "deberta.",
        parts: &[
            ("attention.self.query", "attention.self.query_proj"),
            ("attention.self.key", "attention.self.key_proj"),
            ("attention.self.value", "attention.self.value_proj"),
        ],
        others: &[
            ("embeddings_project", "embeddings.embed_proj"),
            ("encoder.rel_embeddings", "encoder.rel_embeddings"),
            ("encoder.LayerNorm", "encoder.LayerNorm"),
            ("encoder.conv", "encoder.conv"),
        ],
        defaults: || json!({ "pad_token_id": 0, "type_vocab_size": 0, "layer_norm_eps": 1e-7 }),
        ..BERT
    },
];

/// Defaults of encoders that were first trained with fairseq.
fn of_fairseq() -> Value {
    json!({ "pad_token_id": 1 })
}

impl ModelType {
    /// The type with this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let all = [
            Self::Bert,
            Self::Roberta,
            Self::Electra,
            Self::Distilbert,
            Self::Mpnet,
            Self::XlmRoberta,
            Self::ModernBert,
            Self::DebertaV2,
        ];
        all.into_iter().find(|model_type| model_type.family().name == name)
    }

    /// The name of the kind of encoder of a transformers class; BERT's if it is no known one.
    pub(crate) fn of_class(class: &str) -> &'static str {
        FAMILIES.iter().find(|family| class.starts_with(family.class)).map_or(BERT.name, |family| family.name)
    }

    /// All names.
    pub(crate) fn names() -> Vec<&'static str> {
        FAMILIES.iter().map(|family| family.name).collect()
    }

    pub(crate) fn family(self) -> &'static Family {
        // The test `every_model_type_has_its_row` checks that the table has the enum's order.
        &FAMILIES[self as usize]
    }
}

impl Family {
    /// Translates a `config.json` of this kind to BERT's keys.
    pub(crate) fn config(&self, mut config: Value) -> Value {
        let Some(keys) = config.as_object_mut() else { return config };
        for (ours, stored) in self.keys {
            keys.remove(*ours);
            if let Some(value) = keys.remove(*stored) {
                keys.insert((*ours).to_owned(), value);
            }
        }
        if let Value::Object(defaults) = (self.defaults)() {
            defaults.into_iter().for_each(|(key, value)| _ = keys.entry(key).or_insert(value));
        }
        if !self.has_segments {
            keys.insert("type_vocab_size".into(), json!(0));
        }
        let has_own_width = matches!(self.name, "electra" | "deberta-v2") && keys.contains_key("embedding_size");
        if let Some(hidden) = keys.get("hidden_size").cloned().filter(|_| !has_own_width) {
            keys.insert("embedding_size".into(), hidden);
        }
        config
    }

    /// This kind's name of a key with BERT's name.
    pub(crate) fn stored_key(&self, ours: &'static str) -> &'static str {
        self.keys.iter().find(|(known, _)| *known == ours).map_or(ours, |(_, stored)| *stored)
    }

    /// BERT's name of a checkpoint's tensor, with the prefix that a bare encoder omits. A head's name stays as it is.
    pub(crate) fn bert_name(&self, stored: &str) -> String {
        let name = modern_name(stored);
        let bare = name.strip_prefix(self.prefix).unwrap_or(&name);
        if let Some((number, part)) = bare.strip_prefix(self.layers).and_then(|rest| rest.split_once('.')) {
            let found = swap_start(part, self.parts.iter().map(|&(ours, stored)| (stored, ours)));
            return format!("{}{}{number}.{}", BERT.prefix, BERT.layers, found.as_deref().unwrap_or(part));
        }
        if let Some(found) = swap_start(bare, self.others.iter().map(|&(ours, stored)| (stored, ours))) {
            return format!("{}{found}", BERT.prefix);
        }
        match bare.starts_with("embeddings") || bare.len() < name.len() {
            true => format!("{}{bare}", BERT.prefix),
            false => name.into(),
        }
    }

    /// This kind's name of a parameter with BERT's name.
    pub(crate) fn stored_name(&self, ours: &str) -> String {
        let Some(bare) = ours.strip_prefix(BERT.prefix) else { return ours.to_owned() };
        match bare.strip_prefix(BERT.layers).and_then(|rest| rest.split_once('.')) {
            Some((number, part)) => {
                let found = swap_start(part, self.parts.iter().copied());
                format!("{}{}{number}.{}", self.prefix, self.layers, found.as_deref().unwrap_or(part))
            }
            None => {
                let found = swap_start(bare, self.others.iter().copied());
                format!("{}{}", self.prefix, found.as_deref().unwrap_or(bare))
            }
        }
    }
}

/// Replaces the start of `name` by the first matching pair, if one matches. Parts of names end at dots.
fn swap_start<'n>(name: &str, mut pairs: impl Iterator<Item = (&'n str, &'n str)>) -> Option<String> {
    pairs.find_map(|(from, to)| {
        let rest = name.strip_prefix(from).filter(|rest| rest.starts_with('.'))?;
        Some(format!("{to}{rest}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Bert, BertConfig};
    use std::path::Path;

    #[test]
    fn every_model_type_has_its_row() {
        for name in ModelType::names() {
            let named: ModelType = serde_json::from_value(json!(name)).expect("a name of the table");
            assert_eq!((ModelType::named(name), named.family().name), (Some(named), name));
        }
    }

    #[test]
    fn names_go_there_and_back_with_and_without_their_prefix() {
        let sizes = r#""vocab_size": 9, "hidden_size": 4, "num_hidden_layers": 2, "num_attention_heads": 2,
            "intermediate_size": 8, "dim": 4, "n_layers": 2, "n_heads": 2, "hidden_dim": 8, "embedding_size": 3,
            "pad_token_id": 1"#;
        for family in &FAMILIES {
            let text = format!(r#"{{"model_type": "{}", {sizes}}}"#, family.name);
            let config = BertConfig::from_json(&text, Path::new("config.json")).expect("a sound configuration");
            for (name, _) in Bert::shapes(&config) {
                let stored = family.stored_name(&name);
                let bare = stored.strip_prefix(family.prefix).expect("an encoder's parameter has the prefix");
                assert_eq!((family.bert_name(&stored), family.bert_name(bare)), (name.clone(), name));
            }
            for head in ["classifier.weight", "cls.predictions.bias", "lm_head.dense.weight"] {
                assert_eq!((family.bert_name(head), family.stored_name(head)), (head.to_owned(), head.to_owned()));
            }
        }
    }
}
