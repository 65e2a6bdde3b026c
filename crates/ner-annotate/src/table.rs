//! Found mentions as Arrow: the same fields as the JSON of a mention, as columns.

use crate::{MergedMention, Offsets, WireCandidate, WireConcept, WireMention, wire_mentions};
use arrow_array::RecordBatch;
use arrow_schema::{DataType, Field, FieldRef, Fields};
use ner_document::Document;
use serde::Serialize;
use std::sync::Arc;

/// What became of one row of texts.
#[derive(Debug)]
pub enum Row {
    /// There was no text.
    Null,
    /// A text and its mentions.
    Found(Document, Vec<MergedMention>),
    /// Why the text could not be annotated. The message holds no text.
    Failed(String),
}

/// A row as columns: the mentions, or the error; neither for a missing text.
#[derive(Serialize)]
struct Cells<'a> {
    mentions: Option<Vec<Cell<'a>>>,
    error: Option<&'a str>,
}

/// A mention. JSON omits `below_threshold` if it is false and lists that are empty, but a column should have no holes.
#[derive(Serialize)]
struct Cell<'a> {
    #[serde(flatten)]
    mention: WireMention<'a>,
    below_threshold: bool,
    concepts: Vec<ConceptCell<'a>>,
}

#[derive(Serialize)]
struct ConceptCell<'a> {
    #[serde(flatten)]
    concept: WireConcept<'a>,
    others: Vec<WireCandidate<'a>>,
}

/// The columns `mentions` (a list of structs) and `error`, one row for each text.
///
/// Positions are Unicode scalar values, as in Python's strings.
pub fn columns() -> Vec<FieldRef> {
    let mention = Field::new("item", DataType::Struct(mention_fields()), false);
    vec![
        Arc::new(Field::new("mentions", DataType::List(Arc::new(mention)), true)),
        Arc::new(Field::new("error", DataType::Utf8, true)),
    ]
}

/// The fields of a mention. A field of [`WireMention`] that has no place here is an error of the test below.
fn mention_fields() -> Fields {
    let text = |name: &str, nullable| Field::new(name, DataType::Utf8, nullable);
    let place = |name: &str| Field::new(name, DataType::Int64, false);
    let list = |name: &str, of: Vec<Field>| {
        Field::new(name, DataType::List(Arc::new(Field::new("item", DataType::Struct(of.into()), false))), false)
    };
    let part = Fields::from(vec![place("start"), place("end"), text("text", false)]);
    let confidence = || Field::new("confidence", DataType::Float32, false);
    let assertion = vec![
        text("value", false),
        Field::new("historical", DataType::Boolean, false),
        Field::new("cue", DataType::Struct(part.clone()), true),
        confidence(),
    ];
    let section = vec![text("name", false), text("loinc", true)];
    let candidate = vec![text("id", false), text("name", false), Field::new("score", DataType::Float32, false)];
    let mut concept = candidate.clone();
    concept.extend([text("vocabulary", false), text("system", true), text("text", false), list("others", candidate)]);
    vec![
        place("start"),
        place("end"),
        text("text", false),
        text("type", false),
        text("category", true),
        confidence(),
        Field::new("models", DataType::List(Arc::new(text("item", false))), false),
        Field::new("below_threshold", DataType::Boolean, false),
        Field::new("assertion", DataType::Struct(assertion.into()), true),
        Field::new("section", DataType::Struct(section.into()), true),
        Field::new("long_form", DataType::Struct(part), true),
        list("concepts", concept),
    ]
    .into()
}

/// Rows as a record batch with the [`columns`].
///
/// # Errors
/// If a mention reaches outside its document, or has a field that the columns lack.
pub fn record_batch(rows: &[Row]) -> Result<RecordBatch, String> {
    let mut cells = Vec::with_capacity(rows.len());
    for row in rows {
        cells.push(match row {
            Row::Null => Cells { mentions: None, error: None },
            Row::Failed(error) => Cells { mentions: None, error: Some(error) },
            Row::Found(document, mentions) => {
                let wire = wire_mentions(document, mentions, Offsets::Chars);
                let wire = wire.ok_or("a mention reaches outside its document")?.into_iter();
                Cells { mentions: Some(wire.map(Cell::new).collect()), error: None }
            }
        });
    }
    serde_arrow::to_record_batch(&columns(), &cells).map_err(|error| error.to_string())
}

impl<'a> Cell<'a> {
    fn new(mut mention: WireMention<'a>) -> Self {
        let below_threshold = std::mem::take(&mut mention.below_threshold);
        let concepts = std::mem::take(&mut mention.concepts).into_iter().map(|mut concept| {
            let others = std::mem::take(&mut concept.others);
            ConceptCell { concept, others }
        });
        let concepts = concepts.collect();
        Self { mention, below_threshold, concepts }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LongForm, WireAssertion, WirePart};
    use arrow_array::cast::AsArray;
    use ner_context::{AssertionValue, SectionName};
    use ner_document::{Confidence, Span};
    use ner_link::LinkedConcept;
    use std::collections::BTreeSet;

    #[test]
    fn every_field_of_the_json_is_a_column() {
        let part = || WirePart { start: 0, end: 1, text: "x" };
        let section = SectionName { name: "plan".into(), loinc: Some("1-1".into()) };
        // Without `..`: a new field does not compile until it is here, and then needs a column.
        let full = WireMention {
            start: 0,
            end: 1,
            text: "x",
            entity_type: "X",
            category: Some("x"),
            confidence: 0.5,
            models: &["m".to_owned()],
            below_threshold: true,
            assertion: Some(WireAssertion {
                value: AssertionValue::Absent,
                historical: false,
                cue: Some(part()),
                confidence: 1.0,
            }),
            section: Some(&section),
            long_form: Some(part()),
            concepts: vec![WireConcept {
                id: "1",
                name: "x",
                score: 1.0,
                vocabulary: "v",
                system: Some("s"),
                text: "x",
                others: vec![WireCandidate { id: "2", name: "y", score: 0.5 }],
            }],
        };
        let json = serde_json::to_value(&full).expect("JSON");
        check("", &json, &DataType::Struct(mention_fields()));
    }

    fn check(path: &str, json: &serde_json::Value, column: &DataType) {
        if let (Some([first, ..]), DataType::List(item)) = (json.as_array().map(Vec::as_slice), column) {
            return check(path, first, item.data_type());
        }
        let (Some(object), DataType::Struct(fields)) = (json.as_object(), column) else { return };
        let keys: BTreeSet<&str> = object.keys().map(String::as_str).collect();
        let names: BTreeSet<&str> = fields.iter().map(|field| field.name().as_str()).collect();
        assert_eq!(keys, names, "{path}");
        for field in fields {
            check(&format!("{path}.{}", field.name()), &object[field.name()], field.data_type());
        }
    }

    #[test]
    fn rows_are_found_missing_or_failed() {
        let mention = MergedMention {
            span: Span::new(1, 3),
            entity_type: "X".into(),
            category: None,
            confidence: Confidence::new(0.25).expect("a confidence"),
            models: vec!["a".into(), "b".into()],
            below_threshold: true,
            assertion: None,
            section: None,
            long_form: Some(LongForm { span: Span::new(0, 1), text: "ä".into() }),
            concepts: vec![LinkedConcept {
                id: "1".into(),
                name: "x".into(),
                score: Confidence::new(1.0).expect("a score"),
                vocabulary: "v".into(),
                system: None,
                text: "x".into(),
                others: vec![],
            }],
        };
        let rows = [
            Row::Found(Document::new("1", "ä🙂b"), vec![mention]),
            Row::Null,
            Row::Failed("too odd".into()),
            Row::Found(Document::new("2", ""), vec![]),
        ];
        let batch = record_batch(&rows).expect("a batch");
        assert_eq!(batch.schema().fields().to_vec(), columns());
        let (lists, errors) = (batch.column(0).as_list::<i32>(), batch.column(1).as_string::<i32>());
        let is_null = |row: usize| arrow_array::Array::is_null(lists, row);
        assert_eq!((0..4).map(is_null).collect::<Vec<_>>(), [false, true, true, false]);
        assert_eq!(errors.iter().collect::<Vec<_>>(), [None, None, Some("too odd"), None]);
        let mentions = lists.values().as_struct();
        let text = |name: &str| mentions.column_by_name(name).expect("a column").as_string::<i32>().value(0).to_owned();
        assert_eq!((arrow_array::Array::len(mentions), text("text"), text("type")), (1, "🙂b".into(), "X".into()));
        let ids = mentions.column_by_name("concepts").expect("a column").as_list::<i32>().values().as_struct();
        assert_eq!(ids.column_by_name("id").expect("a column").as_string::<i32>().value(0), "1");
        assert!(mentions.column_by_name("below_threshold").expect("a column").as_boolean().value(0));
        let outside = Row::Found(
            Document::new("3", ""),
            match &rows[0] {
                Row::Found(_, mentions) => mentions.clone(),
                _ => vec![],
            },
        );
        assert!(record_batch(&[outside]).is_err());
    }
}
