//! Files of earlier versions stay readable.

#![allow(clippy::unwrap_used, reason = "tests")]

use ner_data::Aggregation;
use ner_experiment::record::RunRecord;
use ner_model::InferenceConfig;
use ner_runs::{Run, RunFolder};
use serde_json::Value;

const RUN: &str = include_str!("earlier/run.json");
const CONFIG: &str = include_str!("earlier/config.json");

#[test]
fn a_run_record_of_an_earlier_version_is_read_in_todays_names() {
    let runs = tempfile::tempdir().unwrap();
    let id = "20261127T115252Z-seed1";
    let folder = runs.path().join("bc5cdr").join(id);
    fs_err::create_dir_all(&folder).unwrap();
    fs_err::write(folder.join("run.json"), RUN).unwrap();
    let folder = RunFolder::find(runs.path(), "bc5cdr", id).unwrap();
    let record: RunRecord = folder.read_run().unwrap();
    assert_eq!((record.device.as_str(), record.compute.as_str()), ("cpu", "bf16"));
    assert_eq!((record.plan.dataset.as_str(), record.plan.recipe.epochs), ("bc5cdr", 8));
    // Lists and comparisons use the same names.
    let run = Run::read(folder);
    assert_eq!((run.value("device"), run.value("compute")), (Some("cpu".into()), Some("bf16".into())));
}

#[test]
fn a_model_of_an_earlier_version_decides_as_it_did() {
    let config: Value = serde_json::from_str(CONFIG).unwrap();
    let inference: InferenceConfig = serde_json::from_value(config["medner"].clone()).unwrap();
    assert_eq!(inference.aggregation, Aggregation::Constrained);
    assert_eq!(inference.categories.label("Disease"), Some("problem"));
}
