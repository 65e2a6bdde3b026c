//! Annotation requests.

use crate::problem::{Kind, Problem};
use ner_annotate::{Annotator, MergedMention, Model, Offsets, Thresholds};
use ner_data::{Document, Format};
use ner_link::{Linker, Linkers};
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::error::Category;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;

/// Public data of a model.
#[derive(Clone, Debug, Serialize)]
pub struct ModelFacts {
    /// Name in requests and mentions.
    pub name: String,
    /// Its types.
    pub types: Vec<String>,
    /// Category of each type, if it has one.
    pub categories: BTreeMap<String, String>,
    /// The types whose mentions get an assertion.
    pub assertable: BTreeSet<String>,
}

impl ModelFacts {
    /// Public data of an annotator's models.
    pub fn of(annotator: &Annotator) -> Vec<Self> {
        let facts = |model: &Model| {
            let types = model.recognizer.labels().types.clone();
            let category = |name: &String| Some((name.clone(), model.categories.label(name)?.to_owned()));
            let assertable = if annotator.has_context() { model.assertable.clone() } else { BTreeSet::new() };
            let categories = types.iter().filter_map(category).collect();
            Self { name: model.name.clone(), categories, types, assertable }
        };
        annotator.models().iter().map(facts).collect()
    }
}

/// Public data of a vocabulary.
#[derive(Clone, Debug, Serialize)]
pub struct VocabularyFacts {
    /// The type whose mentions are linked to it; `None` for all types without their own.
    #[serde(rename = "type")]
    pub entity_type: Option<String>,
    /// What its builder was told that it is.
    pub release: String,
    /// URI of its code system.
    pub system: Option<String>,
    /// Number of concepts.
    pub concepts: u32,
    /// Number of names.
    pub names: u64,
    /// Of its content, in hexadecimal.
    pub sha256: String,
}

impl VocabularyFacts {
    /// Public data of an annotator's vocabularies.
    pub fn of(annotator: &Annotator) -> Vec<Self> {
        let facts = |(of, linker, _): (Option<&str>, &Linker, &[String])| {
            let vocabulary = linker.vocabulary();
            Self {
                entity_type: of.map(str::to_owned),
                release: vocabulary.release().to_owned(),
                system: vocabulary.system().map(str::to_owned),
                concepts: vocabulary.concepts(),
                names: vocabulary.names(),
                sha256: vocabulary.sha256().to_owned(),
            }
        };
        annotator.linkers().into_iter().flat_map(Linkers::iter).map(facts).collect()
    }
}

/// The JSON of a request.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    text: Option<String>,
    documents: Option<Vec<WrittenDocument>>,
    models: Option<Vec<String>>,
    min_confidence: Option<MinConfidence>,
    #[serde(default)]
    all_spans: bool,
    categories: Option<BTreeSet<String>>,
    assertion: Option<bool>,
    #[serde(default)]
    offsets: Offsets,
    format: Option<Format>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenDocument {
    id: Option<String>,
    text: String,
}

enum MinConfidence {
    OfAll(f32),
    ByType(BTreeMap<String, f32>),
}

/// Reads a number or an object. A derived reader would take the last of two equal keys.
impl<'de> Deserialize<'de> for MinConfidence {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Form;
        impl<'de> Visitor<'de> for Form {
            type Value = MinConfidence;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a number, or an object of numbers by type")
            }

            fn visit_f64<E: Error>(self, value: f64) -> Result<MinConfidence, E> {
                Ok(MinConfidence::OfAll(value as f32))
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<MinConfidence, E> {
                self.visit_f64(value as f64)
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<MinConfidence, E> {
                self.visit_f64(value as f64)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<MinConfidence, A::Error> {
                let mut by_type = BTreeMap::new();
                while let Some((name, least)) = entries.next_entry()? {
                    if by_type.insert(name, least).is_some() {
                        return Err(A::Error::duplicate_field("min_confidence"));
                    }
                }
                Ok(MinConfidence::ByType(by_type))
            }
        }
        deserializer.deserialize_any(Form)
    }
}

/// A parsed request.
#[derive(Debug)]
pub struct Asked {
    /// Documents to annotate, with distinct ids.
    pub documents: Vec<Document>,
    /// Form of the response.
    pub wishes: Wishes,
}

/// Form of a response.
#[derive(Clone, Debug)]
pub struct Wishes {
    /// Indices of the requested models, in their order.
    pub models: Vec<usize>,
    /// Unit of offsets.
    pub offsets: Offsets,
    /// A corpus format instead of the server's JSON.
    pub format: Option<Format>,
    thresholds: Thresholds,
    all_spans: bool,
    /// Whether mentions keep assertion and section.
    assertion: bool,
    /// Requested categories (for a type without one, the type); `None` for all.
    categories: Option<BTreeSet<String>>,
}

impl Asked {
    /// Parses a request body.
    ///
    /// # Errors
    /// If it is invalid; the message does not quote it.
    pub fn read(body: &[u8], models: &[ModelFacts], max_documents: usize) -> Result<Self, Problem> {
        let invalid = |detail: &str| Problem::new(Kind::Invalid, detail);
        let text = std::str::from_utf8(body).map_err(|error| {
            Problem::new(Kind::Malformed, format!("byte {} of the body is not UTF-8", error.valid_up_to()))
        })?;
        // Some programs on Windows begin every text with a byte order mark.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let written: Written = serde_json::from_str(text).map_err(|error| json_problem(&error))?;
        let documents = match (written.text, written.documents) {
            (Some(text), None) => vec![WrittenDocument { id: None, text }],
            (None, Some(documents)) => documents,
            _ => return Err(invalid("a request needs either `documents` or `text` (for one document)")),
        };
        if documents.len() > max_documents {
            let detail = format!("{} documents in a request; the limit is {max_documents}", documents.len());
            return Err(Problem::new(Kind::TooLarge, detail));
        }
        let mut ids = HashSet::new();
        let mut read = Vec::with_capacity(documents.len());
        for (at, document) in documents.into_iter().enumerate() {
            let id = document.id.unwrap_or_else(|| (at + 1).to_string());
            if !ids.insert(id.clone()) {
                return Err(invalid(&format!("`documents[{at}]` has the same id as another document")));
            }
            read.push(Document::new(id, document.text));
        }
        let thresholds = match written.min_confidence {
            None => Thresholds::default(),
            Some(MinConfidence::OfAll(general)) => Thresholds { general, ..Thresholds::default() },
            Some(MinConfidence::ByType(mut by_type)) => {
                let general = by_type.remove("*").unwrap_or_default();
                Thresholds { general, by_type }
            }
        };
        let all = thresholds.by_type.values().chain([&thresholds.general]);
        if !all.into_iter().all(|least| (0.0..=1.0).contains(least)) {
            return Err(invalid("values of `min_confidence` must be from 0 to 1"));
        }
        let types: BTreeSet<&String> = models.iter().flat_map(|model| &model.types).collect();
        if !thresholds.by_type.keys().all(|name| types.contains(name)) {
            return Err(invalid("`min_confidence` contains a type that no model finds; see GET /v1/models"));
        }
        if let Some(wanted) = &written.categories {
            let known: BTreeSet<&String> = models.iter().flat_map(|model| model.categories.values()).collect();
            if !wanted.iter().all(|name| known.contains(name) || types.contains(name)) {
                return Err(invalid("`categories` contains one that no model has; see GET /v1/models"));
            }
        }
        if written.format.is_some_and(Format::is_folder) {
            return Err(invalid("this `format` writes folders, but a response is one file"));
        }
        if written.format.is_some() && written.offsets == Offsets::Bytes {
            return Err(invalid("`offsets` in bytes work only without `format`; formats use characters"));
        }
        let wanted = places(models, written.models.as_deref())?;
        if written.assertion == Some(true) && wanted.iter().all(|&at| models[at].assertable.is_empty()) {
            return Err(invalid("`assertion` is true, but no type of these models is assertable; see GET /v1/models"));
        }
        let wishes = Wishes {
            models: wanted,
            offsets: written.offsets,
            format: written.format,
            thresholds,
            all_spans: written.all_spans,
            assertion: written.assertion.unwrap_or(true),
            categories: written.categories,
        };
        Ok(Self { documents: read, wishes })
    }
}

impl Wishes {
    /// Keeps what is requested of the mentions.
    pub fn choose(&self, mentions: Vec<MergedMention>) -> Vec<MergedMention> {
        let mut chosen = self.thresholds.apply(mentions, self.all_spans);
        if let Some(wanted) = &self.categories {
            chosen.retain(|mention| wanted.contains(mention.category.as_ref().unwrap_or(&mention.entity_type)));
        }
        if !self.assertion {
            for mention in &mut chosen {
                (mention.assertion, mention.section) = (None, None);
            }
        }
        chosen
    }
}

/// Indices of the named models, in the server's order. A corpus name stands for its run if there is only one.
fn places(models: &[ModelFacts], wanted: Option<&[String]>) -> Result<Vec<usize>, Problem> {
    let Some(wanted) = wanted else { return Ok((0..models.len()).collect()) };
    if wanted.is_empty() {
        return Err(Problem::new(Kind::Invalid, "`models` is empty; omit it to use all models"));
    }
    let mut places = BTreeSet::new();
    for (at, name) in wanted.iter().enumerate() {
        let of_corpus = |model: &ModelFacts| model.name.split_once('/').is_some_and(|(corpus, _)| corpus == name);
        let exact = models.iter().position(|model| model.name == *name);
        let mut by_corpus = models.iter().enumerate().filter(|(_, model)| of_corpus(model)).map(|(place, _)| place);
        match (exact, by_corpus.next(), by_corpus.next()) {
            (Some(place), ..) | (None, Some(place), None) => drop(places.insert(place)),
            _ => {
                let known = models.iter().map(|model| model.name.as_str()).collect::<Vec<_>>().join(", ");
                return Err(Problem::new(Kind::UnknownModel, format!("`models[{at}]` is unknown; there are {known}")));
            }
        }
    }
    Ok(places.into_iter().collect())
}

/// Converts a JSON error. serde's message may quote the text, so only its position is used.
fn json_problem(error: &serde_json::Error) -> Problem {
    let place = format!("line {}, column {}", error.line(), error.column());
    match error.classify() {
        // A message of this kind quotes only names of our own fields.
        Category::Data if error.to_string().starts_with("duplicate field ") => {
            Problem::new(Kind::Invalid, format!("{place}: an object has the same key twice"))
        }
        Category::Data => Problem::new(
            Kind::Invalid,
            format!("{place}: a field is missing, unknown or of the wrong type; see /openapi.json"),
        ),
        _ => Problem::new(Kind::Malformed, format!("{place}: invalid JSON")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::StatusCode;

    fn models() -> Vec<ModelFacts> {
        let model = |name: &str, types: &[&str], categories: &[(&str, &str)]| ModelFacts {
            name: name.into(),
            types: types.iter().map(|&name| name.into()).collect(),
            categories: categories.iter().map(|&(from, to)| (from.into(), to.into())).collect(),
            assertable: types.iter().filter(|&&name| name == "problem").map(|&name| name.into()).collect(),
        };
        vec![
            model("bc5cdr/1", &["Chemical", "Disease"], &[("Disease", "problem")]),
            model("i2b2/1", &["problem"], &[]),
            model("i2b2/2", &["problem"], &[]),
        ]
    }

    #[test]
    fn requests_mean_what_they_say() {
        let asked = |body: &str| Asked::read(body.as_bytes(), &models(), 3).expect("a request");
        let one = asked(r#"{"text": "a"}"#);
        assert_eq!((one.documents[0].id.as_str(), one.wishes.models.as_slice()), ("1", [0, 1, 2].as_slice()));
        let more = asked(
            r#"{"documents": [{"id": "x", "text": "a"}, {"text": "b"}], "models": ["i2b2/2", "bc5cdr"], "offsets": "bytes",
                "min_confidence": {"*": 0.5, "Disease": 0.25}}"#,
        );
        assert_eq!((more.documents[1].id.as_str(), more.wishes.models.as_slice()), ("2", [0, 2].as_slice()));
        assert_eq!((more.wishes.thresholds.general, more.wishes.thresholds.of("Disease")), (0.5, 0.25));
        assert_eq!(asked("\u{feff}{\"text\": \"a\", \"min_confidence\": 1}").wishes.thresholds.general, 1.0);
        let assertion = |body: &str| asked(body).wishes.assertion;
        assert!(assertion(r#"{"text": ""}"#) && assertion(r#"{"text": "", "assertion": true}"#));
        assert!(!assertion(r#"{"text": "", "assertion": false, "models": ["bc5cdr"]}"#));
        assert_eq!(asked(r#"{"text": "", "min_confidence": 0.75}"#).wishes.thresholds.of("Disease"), 0.75);
    }

    #[test]
    fn what_is_wrong_is_said_without_a_word_of_it() {
        let check = |body: &[u8], kind: Kind, status: u16| {
            let problem = Asked::read(body, &models(), 3).expect_err("a problem");
            assert_eq!((problem.kind(), kind.status()), (kind, StatusCode::from_u16(status).expect("a status")));
            assert!(!format!("{problem:?}").contains("naloxone"), "{problem:?}");
        };
        check(b"{\"text\": \"naloxone \xff\"}", Kind::Malformed, 400);
        check(br#"{"text": "naloxone \ud800"}"#, Kind::Malformed, 400);
        check(format!(r#"{{"text": "naloxone", "categories": {}"#, "[".repeat(100_000)).as_bytes(), Kind::Invalid, 422);
        check("[".repeat(100_000).as_bytes(), Kind::Invalid, 422);
        let deep = format!(r#"{{"min_confidence": {}"#, r#"{"naloxone":"#.repeat(100_000));
        check(deep.as_bytes(), Kind::Invalid, 422);
        for malformed in ["", "naloxone", "{\"text\": naloxone}", "{\"text\": \"naloxone"] {
            check(malformed.as_bytes(), Kind::Malformed, 400);
        }
        for invalid in [
            r#"{}"#,
            r#"["naloxone"]"#,
            r#"{"text": "a", "documents": []}"#,
            r#"{"text": "a", "naloxone": 1}"#,
            r#"{"text": 1}"#,
            r#"{"text": "a", "text": "naloxone"}"#,
            r#"{"text": "a", "min_confidence": {"problem": 0.5, "problem": 0.25}}"#,
            r#"{"text": "a", "min_confidence": "0.5"}"#,
            r#"{"text": "a", "min_confidence": {"problem": null}}"#,
            r#"{"text": null, "documents": null}"#,
            r#"{"documents": [{"id": 7, "text": "a"}]}"#,
            r#"{"documents": [{"id": "naloxone", "text": "a"}, {"id": "naloxone", "text": "a"}]}"#,
            r#"{"documents": [{"id": "naloxone"}]}"#,
            r#"{"text": "a", "min_confidence": 1.5}"#,
            r#"{"text": "a", "min_confidence": {"naloxone": 0.5}}"#,
            r#"{"text": "a", "categories": ["naloxone"]}"#,
            r#"{"text": "a", "offsets": "naloxone"}"#,
            r#"{"text": "a", "format": "brat"}"#,
            r#"{"text": "a", "format": "bioc-json", "offsets": "bytes"}"#,
            r#"{"text": "a", "models": []}"#,
            r#"{"text": "a", "assertion": "naloxone"}"#,
            r#"{"text": "a", "assertion": true, "models": ["bc5cdr"]}"#,
        ] {
            check(invalid.as_bytes(), Kind::Invalid, 422);
        }
        check(br#"{"text": "a", "models": ["naloxone"]}"#, Kind::UnknownModel, 422);
        // Two runs of one corpus.
        check(br#"{"text": "a", "models": ["i2b2"]}"#, Kind::UnknownModel, 422);
        let four = r#"{"documents": [{"text": ""}, {"text": ""}, {"text": ""}, {"text": ""}]}"#;
        check(four.as_bytes(), Kind::TooLarge, 413);
    }
}
