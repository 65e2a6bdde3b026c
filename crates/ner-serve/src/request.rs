//! What a client asks.

use crate::problem::{Kind, Problem};
use ner_annotate::{MergedMention, Model, Offsets, Thresholds};
use ner_data::{Document, Format};
use serde::{Deserialize, Serialize};
use serde_json::error::Category;
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// A model as clients see it.
#[derive(Clone, Debug, Serialize)]
pub struct ModelFacts {
    /// Name, as requests and findings give it.
    pub name: String,
    /// Types that it finds.
    pub types: Vec<String>,
    /// What a reader calls them.
    pub categories: BTreeMap<String, String>,
}

impl ModelFacts {
    /// Those of a model.
    pub fn of(model: &Model) -> Self {
        let types = model.recognizer.labels().types.clone();
        let category = |name: &String| Some((name.clone(), model.categories.label(name)?.to_owned()));
        Self { name: model.name.clone(), categories: types.iter().filter_map(category).collect(), types }
    }
}

/// A request as it is written.
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

#[derive(Deserialize)]
#[serde(untagged)]
enum MinConfidence {
    OfAll(f32),
    ByType(BTreeMap<String, f32>),
}

/// A request as it is meant.
#[derive(Debug)]
pub struct Asked {
    /// What is to be annotated; their ids differ.
    pub documents: Vec<Document>,
    /// How the answer is to look.
    pub wishes: Wishes,
}

/// How an answer is to look.
#[derive(Clone, Debug)]
pub struct Wishes {
    /// Places of the models that are asked, in their order.
    pub models: Vec<usize>,
    /// What positions count.
    pub offsets: Offsets,
    /// A format of corpora instead of the server's JSON.
    pub format: Option<Format>,
    thresholds: Thresholds,
    all_spans: bool,
    /// Categories that are wanted (of a type without one, the type); none where all are.
    categories: Option<BTreeSet<String>>,
}

impl Asked {
    /// Reads the body of a request.
    ///
    /// # Errors
    /// What is wrong with it, without a word of it.
    pub fn read(body: &[u8], models: &[ModelFacts], max_documents: usize) -> Result<Self, Problem> {
        let invalid = |detail: &str| Problem::new(Kind::Invalid, detail);
        let text = std::str::from_utf8(body).map_err(|error| {
            Problem::new(Kind::Malformed, format!("byte {} of the body is not UTF-8", error.valid_up_to()))
        })?;
        let written: Written = serde_json::from_str(text).map_err(|error| json_problem(&error))?;
        let documents = match (written.text, written.documents) {
            (Some(text), None) => vec![WrittenDocument { id: None, text }],
            (None, Some(documents)) => documents,
            _ => return Err(invalid("a request has either `documents` or, for one, `text`")),
        };
        if documents.len() > max_documents {
            let detail = format!("{} documents in a request, where {max_documents} may be", documents.len());
            return Err(Problem::new(Kind::TooLarge, detail));
        }
        let mut ids = HashSet::new();
        let mut read = Vec::with_capacity(documents.len());
        for (at, document) in documents.into_iter().enumerate() {
            let id = document.id.unwrap_or_else(|| (at + 1).to_string());
            if !ids.insert(id.clone()) {
                return Err(invalid(&format!("`documents[{at}]` has the id of another")));
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
            return Err(invalid("a confidence in `min_confidence` is a number from 0 to 1"));
        }
        let types: BTreeSet<&String> = models.iter().flat_map(|model| &model.types).collect();
        if !thresholds.by_type.keys().all(|name| types.contains(name)) {
            return Err(invalid("`min_confidence` names a type that no model finds; GET /v1/models names them"));
        }
        if let Some(wanted) = &written.categories {
            let known: BTreeSet<&String> = models.iter().flat_map(|model| model.categories.values()).collect();
            if !wanted.iter().all(|name| known.contains(name) || types.contains(name)) {
                return Err(invalid("`categories` names one that no model has; GET /v1/models names them"));
            }
        }
        if written.format.is_some_and(Format::is_folder) {
            return Err(invalid("`format` is one whose collections are folders; an answer is one file"));
        }
        if written.format.is_some() && written.offsets == Offsets::Bytes {
            return Err(invalid("`offsets` in bytes are for the server's own JSON; formats count characters"));
        }
        let wishes = Wishes {
            models: places(models, written.models.as_deref())?,
            offsets: written.offsets,
            format: written.format,
            thresholds,
            all_spans: written.all_spans,
            categories: written.categories,
        };
        Ok(Self { documents: read, wishes })
    }
}

impl Wishes {
    /// The findings that are wanted.
    pub fn choose(&self, findings: Vec<MergedMention>) -> Vec<MergedMention> {
        let mut chosen = self.thresholds.apply(findings, self.all_spans);
        if let Some(wanted) = &self.categories {
            chosen.retain(|finding| wanted.contains(finding.category.as_ref().unwrap_or(&finding.entity_type)));
        }
        chosen
    }
}

/// Places of the models that are named, in the server's order. A run may be called by its corpus where it is the only one.
fn places(models: &[ModelFacts], wanted: Option<&[String]>) -> Result<Vec<usize>, Problem> {
    let Some(wanted) = wanted else { return Ok((0..models.len()).collect()) };
    if wanted.is_empty() {
        return Err(Problem::new(Kind::Invalid, "`models` is empty; leave it out to ask all"));
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
                return Err(Problem::new(Kind::UnknownModel, format!("`models[{at}]` is none of {known}")));
            }
        }
    }
    Ok(places.into_iter().collect())
}

/// serde's message may quote the text, its position may not.
fn json_problem(error: &serde_json::Error) -> Problem {
    let place = format!("line {}, column {}", error.line(), error.column());
    match error.classify() {
        Category::Data => Problem::new(
            Kind::Invalid,
            format!("{place}: a field is missing, is of another type or is none that a request has; see /openapi.json"),
        ),
        _ => Problem::new(Kind::Malformed, format!("{place}: no JSON that can be read")),
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
        check(deep.as_bytes(), Kind::Malformed, 400);
        for malformed in ["", "naloxone", "{\"text\": naloxone}", "{\"text\": \"naloxone"] {
            check(malformed.as_bytes(), Kind::Malformed, 400);
        }
        for invalid in [
            r#"{}"#,
            r#"["naloxone"]"#,
            r#"{"text": "a", "documents": []}"#,
            r#"{"text": "a", "naloxone": 1}"#,
            r#"{"text": 1}"#,
            r#"{"documents": [{"id": "naloxone", "text": "a"}, {"id": "naloxone", "text": "a"}]}"#,
            r#"{"documents": [{"id": "naloxone"}]}"#,
            r#"{"text": "a", "min_confidence": 1.5}"#,
            r#"{"text": "a", "min_confidence": {"naloxone": 0.5}}"#,
            r#"{"text": "a", "categories": ["naloxone"]}"#,
            r#"{"text": "a", "offsets": "naloxone"}"#,
            r#"{"text": "a", "format": "brat"}"#,
            r#"{"text": "a", "format": "bioc-json", "offsets": "bytes"}"#,
            r#"{"text": "a", "models": []}"#,
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
