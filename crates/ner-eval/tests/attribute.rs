//! Compares scores of an attribute with those of scikit-learn.

use ner_document::{Mention, Span};
use ner_eval::{PairedDocument, Resampling, Score, ValueScores, score_attribute};
use serde_json::Value;

fn mentions(side: &Value) -> Vec<Mention> {
    let mention = |row: &Value| {
        let position = |at: usize| row[at].as_u64().expect("a position") as usize;
        let mut mention = Mention::new(Span::new(position(0), position(1)), row[2].as_str().expect("a type"));
        mention.attributes.extend(row[3].as_str().map(|value| ("assertion".to_owned(), value.to_owned())));
        mention
    };
    side.as_array().expect("mentions").iter().map(mention).collect()
}

fn check(score: &Score, expected: &Value, what: &str) {
    for (at, found) in [score.precision, score.recall, score.f1].into_iter().enumerate() {
        let is_equal = match (found, expected[at].as_f64()) {
            (Some(found), Some(expected)) => (found - expected).abs() < 1e-12,
            (found, expected) => found == expected,
        };
        assert!(is_equal, "{what}: {score:?} instead of {expected}");
    }
    assert!(expected[3].is_null() || expected[3].as_u64() == Some(score.support), "{what}: {score:?}");
}

fn check_values(found: &ValueScores, expected: &Value) {
    check(&found.scores.overall, &expected["micro"], "micro");
    check(&found.scores.macro_, &expected["macro"], "macro");
    let values = expected["per_value"].as_object().expect("scores by value");
    assert!(found.scores.per_type.keys().eq(values.keys()), "{:?}", found.scores.per_type.keys());
    for (value, score) in &found.scores.per_type {
        check(score, &values[value], value);
    }
    let (interval, f1) = (found.intervals.overall.f1.expect("many documents"), found.scores.overall.f1);
    assert!(Some(interval.low) < f1 && f1 < Some(interval.high), "{interval:?}");
}

#[test]
fn an_attribute_scores_as_in_scikit_learn() {
    let golden: Value = serde_json::from_str(include_str!("golden/attribute.json")).expect("valid JSON");
    let sides: Vec<[Vec<Mention>; 2]> = golden["documents"]
        .as_array()
        .expect("documents")
        .iter()
        .map(|document| [mentions(&document["gold"]), mentions(&document["predicted"])])
        .collect();
    let documents: Vec<PairedDocument<'_>> =
        sides.iter().map(|[gold, predicted]| PairedDocument { id: "", gold, predicted }).collect();
    let resampling = Resampling { resamples: 500, ..Resampling::default() };
    let found = score_attribute(&documents, "assertion", &resampling);
    let (matched, expected) = (&found.matched, &golden["matched"]);
    let json = serde_json::to_value(&found).expect("scores serialise");
    for key in ["mentions", "without_in_gold", "without_in_predicted", "without_in_both"] {
        assert_eq!(json["matched"][key], expected[key], "{key}");
    }
    for key in ["missed", "invented"] {
        assert_eq!(json[key], golden[key], "{key}");
    }
    let accuracy = matched.accuracy.expect("mentions are matched");
    assert!((accuracy - expected["accuracy"].as_f64().expect("a number")).abs() < 1e-12);
    let interval = matched.accuracy_interval.expect("many documents");
    assert!(interval.low < accuracy && accuracy < interval.high);
    check_values(&matched.values, expected);
    check_values(&found.end_to_end, &golden["end_to_end"]);
    let mut cells: Vec<Value> =
        matched.confusion.iter().map(|cell| serde_json::json!([cell.gold, cell.predicted, cell.count])).collect();
    let mut theirs = expected["confusion"].as_array().expect("cells").clone();
    for cells in [&mut cells, &mut theirs] {
        cells.sort_by_key(Value::to_string);
    }
    assert_eq!(cells, theirs);

    // The order of mentions does not matter, nor do repeated ones.
    let turned: Vec<[Vec<Mention>; 2]> =
        sides.iter().map(|sides| sides.clone().map(|side| side.iter().rev().chain(&side).cloned().collect())).collect();
    let documents: Vec<PairedDocument<'_>> =
        turned.iter().map(|[gold, predicted]| PairedDocument { id: "", gold, predicted }).collect();
    assert_eq!(score_attribute(&documents, "assertion", &resampling), found);
    let other = score_attribute(&documents, "historical", &resampling);
    assert_eq!((other.matched.mentions, other.matched.accuracy, other.end_to_end.scores.overall.f1), (0, None, None));
}
