//! Differences between runs.

use crate::Run;
use crate::run::flatten;
use serde_json::Value;
use std::collections::HashMap;

/// A key whose values differ between runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// Key in the record; dots separate levels.
    pub key: String,
    /// Its value in each run; `None` if missing there.
    pub values: Vec<Option<Value>>,
}

/// Keys that differ between any two runs and are not configuration.
const NEVER: [&str; 7] = ["run", "kind", "started_at", "resumed_at", "finished_at", "group", "code.command"];

/// The keys whose values differ, in the order of the records.
pub fn differences(runs: &[Run]) -> Vec<Difference> {
    let flat: Vec<Vec<(String, Value)>> = runs.iter().map(|run| flatten(&run.record)).collect();
    let by_key: Vec<HashMap<&str, &Value>> =
        flat.iter().map(|pairs| pairs.iter().map(|(key, value)| (key.as_str(), value)).collect()).collect();
    let is_shown = |key: &str| {
        !NEVER.iter().any(|never| key.strip_prefix(never).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
    };
    let mut keys: Vec<&str> = Vec::new();
    for (key, _) in flat.iter().flatten() {
        if is_shown(key) && !keys.contains(&key.as_str()) {
            keys.push(key);
        }
    }
    let difference = |key: &str| Difference {
        key: key.to_owned(),
        values: by_key.iter().map(|values| values.get(key).map(|&value| value.clone())).collect(),
    };
    keys.into_iter()
        .map(difference)
        .filter(|difference| difference.values.windows(2).any(|two| two[0] != two[1]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RunFolder;
    use serde_json::json;

    #[test]
    fn differences_are_those_of_the_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let run = |record: Value| {
            let folder = RunFolder::create(folder.path(), "d", 1).unwrap();
            folder.write_run(&record).unwrap();
            Run::read(folder)
        };
        let runs = [
            run(
                json!({"run": "a", "plan": {"recipe": {"seed": 1, "dropout": 0.1}}, "started_at": "1", "group": {"id": "g"}}),
            ),
            run(json!({"run": "b", "plan": {"recipe": {"seed": 2, "dropout": 0.1}, "labels": "x"}, "started_at": "2"})),
        ];
        let found = differences(&runs);
        assert_eq!(
            found.iter().map(|difference| difference.key.as_str()).collect::<Vec<_>>(),
            ["plan.recipe.seed", "plan.labels"]
        );
        assert_eq!(found[1].values, [None, Some(json!("x"))]);
    }
}
