//! Tables of runs: filter, order and columns.

use crate::run::{flatten, short_names};
use crate::{Run, RunsError};
use ner_files::NewFile;
use polars::prelude::{
    AnyValue, BooleanChunked, ChunkCompareEq, ChunkCompareIneq, Column, DataFrame, NamedFrom, ParquetWriter, Series,
    SortMultipleOptions,
};
use serde_json::Value;
use std::collections::{BTreeSet, HashMap};
use std::io::{self, Write};
use std::path::Path;
use std::str::FromStr;

/// A table of runs.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Conditions; rows match all of them.
    pub conditions: Vec<Condition>,
    /// Sort key; without one, the order of the runs. Runs without a value come last.
    pub sort: Option<Sort>,
    /// Columns, in order.
    pub columns: Vec<String>,
    /// Keep only the last N rows.
    pub last: Option<usize>,
}

/// `KEY=VALUE`, `KEY!=VALUE`, `KEY<VALUE`, `KEY<=VALUE`, `KEY>VALUE`, `KEY>=VALUE`, or `KEY~TEXT` (the value contains
/// the text). Runs without a value never match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    key: String,
    operator: &'static str,
    value: String,
}

/// Longer operators first, because they start with shorter ones.
const OPERATORS: [&str; 7] = ["!=", "<=", ">=", "=", "<", ">", "~"];

impl FromStr for Condition {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let first = text.find(['!', '<', '>', '=', '~']);
        let parts = first.and_then(|at| {
            let operator = OPERATORS.into_iter().find(|operator| text[at..].starts_with(operator))?;
            Some((text[..at].trim(), operator, text[at + operator.len()..].trim()))
        });
        match parts {
            Some((key, operator, value)) if !key.is_empty() => {
                Ok(Self { key: key.into(), operator, value: value.into() })
            }
            _ => Err("write a condition as KEY=VALUE, or with != < <= > >= ~ in place of =".into()),
        }
    }
}

/// A sort key; `-KEY` sorts in descending order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sort {
    key: String,
    descending: bool,
}

impl FromStr for Sort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let key = text.strip_prefix('-').unwrap_or(text);
        Ok(Self { key: key.to_owned(), descending: key != text })
    }
}

impl Query {
    /// All keys in the query.
    pub(crate) fn keys(&self) -> BTreeSet<&str> {
        let conditions = self.conditions.iter().map(|condition| &condition.key);
        let keys = conditions.chain(self.sort.iter().map(|sort| &sort.key)).chain(&self.columns);
        keys.map(String::as_str).collect()
    }

    /// The table, one row per run. Numbers, booleans and strings have typed columns; other values are JSON text.
    ///
    /// # Errors
    /// If no run has a key, or a condition compares a number with text.
    pub fn frame(&self, runs: &[Run]) -> Result<DataFrame, RunsError> {
        let mut columns = Vec::new();
        for key in self.keys() {
            let values: Vec<Option<Value>> = runs.iter().map(|run| run.value(key)).collect();
            if values.iter().all(Option::is_none) && !runs.is_empty() && !short_names().any(|short| short == key) {
                return Err(RunsError::Query(unknown_key(key, runs)));
            }
            columns.push(column(key, &values));
        }
        let mut frame = DataFrame::new(columns)?;
        for condition in &self.conditions {
            frame = frame.filter(&condition.mask(&frame)?)?;
        }
        if let Some(Sort { key, descending }) = &self.sort {
            let options = SortMultipleOptions::new()
                .with_order_descending(*descending)
                .with_nulls_last(true)
                .with_maintain_order(true);
            frame = frame.sort([key.as_str()], options)?;
        }
        if let Some(last) = self.last {
            frame = frame.tail(Some(last));
        }
        Ok(frame.select(self.columns.iter().map(String::as_str))?)
    }
}

impl Condition {
    fn mask(&self, frame: &DataFrame) -> Result<BooleanChunked, RunsError> {
        let Self { key, operator, value } = self;
        let series = frame.column(key)?.as_materialized_series();
        if *operator == "~" || series.dtype().is_bool() || key == "tags" {
            return self.mask_of_words(series);
        }
        if series.dtype().is_primitive_numeric() {
            let number: f64 = value.parse().map_err(|_| {
                RunsError::Query(format!("{key} is a number, but {value} is not; use ~ to compare as text"))
            })?;
            return Ok(match *operator {
                "=" => series.equal(number)?,
                "!=" => series.not_equal(number)?,
                "<" => series.lt(number)?,
                "<=" => series.lt_eq(number)?,
                ">" => series.gt(number)?,
                _ => series.gt_eq(number)?,
            });
        }
        let word = value.as_str();
        Ok(match *operator {
            "=" => series.equal(word)?,
            "!=" => series.not_equal(word)?,
            "<" => series.lt(word)?,
            "<=" => series.lt_eq(word)?,
            ">" => series.gt(word)?,
            _ => series.gt_eq(word)?,
        })
    }

    /// Compares as text. A run matches if one of its tags does.
    fn mask_of_words(&self, series: &Series) -> Result<BooleanChunked, RunsError> {
        let holds = |words: &str| match self.operator {
            "~" => Ok(words.contains(&self.value)),
            "=" => Ok(words.split(',').any(|word| word == self.value)),
            "!=" => Ok(words.split(',').all(|word| word != self.value)),
            operator => Err(RunsError::Query(format!("{} cannot be compared with {operator}", self.key))),
        };
        series.iter().map(|value| if value.is_null() { Ok(false) } else { holds(&value.str_value()) }).collect()
    }
}

/// A column of the narrowest type for all values.
fn column(key: &str, values: &[Option<Value>]) -> Column {
    let all = |is: fn(&Value) -> bool| values.iter().any(Option::is_some) && values.iter().flatten().all(is);
    let series = if all(|value| value.is_i64()) {
        Series::new(key.into(), values.iter().map(|value| value.as_ref()?.as_i64()).collect::<Vec<_>>())
    } else if all(Value::is_number) {
        Series::new(key.into(), values.iter().map(|value| value.as_ref()?.as_f64()).collect::<Vec<_>>())
    } else if all(Value::is_boolean) {
        Series::new(key.into(), values.iter().map(|value| value.as_ref()?.as_bool()).collect::<Vec<_>>())
    } else {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        Series::new(key.into(), values.iter().map(|value| value.as_ref().map(text)).collect::<Vec<_>>())
    };
    series.into()
}

/// Error message for a key that no run has, with similar keys.
fn unknown_key(key: &str, runs: &[Run]) -> String {
    let mut known: BTreeSet<String> = short_names().map(str::to_owned).collect();
    // Suggest keys of the newest runs.
    for run in runs.iter().rev().take(20) {
        // Read again in full: the run may hold only the query's keys.
        known.extend(keys_of(&Run::read(run.folder.clone())));
    }
    let last = |key: &str| key.rsplit('.').next().unwrap_or(key).to_owned();
    let ends: Vec<&String> = known.iter().filter(|known| last(known) == last(key)).collect();
    let words: Vec<String> = known.iter().map(|known| last(known)).collect();
    let nearest = ner_document::nearest(key, known.iter().chain(&words).map(String::as_str));
    match (ends.as_slice(), nearest) {
        ([], Some(nearest)) => format!("no run has a value for {key}; did you mean {nearest}?"),
        ([], None) => format!("no run has a value for {key}; `runs show RUN` lists the keys"),
        (ends, _) => {
            let ends: Vec<&str> = ends.iter().map(|end| end.as_str()).collect();
            format!("no run has a value for {key}; did you mean {}?", ends.join(" or "))
        }
    }
}

fn keys_of(run: &Run) -> impl Iterator<Item = String> {
    let scores = flatten(&run.scores).into_iter().map(|(key, _)| format!("scores.{key}"));
    flatten(&run.record).into_iter().map(|(key, _)| key).chain(scores)
}

/// A table of everything in records and scores, one row per run and one column per key.
///
/// # Errors
/// If polars fails, which is not known to happen.
pub fn frame_of_all(runs: &[Run]) -> Result<DataFrame, RunsError> {
    const FIRST: [&str; 6] = ["run", "dataset", "kind", "status", "tags", "fault"];
    let mut keys: Vec<String> = Vec::new();
    let mut cells: HashMap<String, Vec<Option<Value>>> = HashMap::new();
    let mut put = |key: String, at: usize, value: Option<Value>| {
        let cells = cells.entry(key).or_insert_with_key(|key| {
            keys.push(key.clone());
            vec![None; runs.len()]
        });
        cells[at] = value;
    };
    for (at, run) in runs.iter().enumerate() {
        for key in FIRST {
            put(key.to_owned(), at, run.value(key));
        }
        let scores = flatten(&run.scores).into_iter().map(|(key, value)| (format!("scores.{key}"), value));
        // The record's own `run` and `kind` are columns already.
        for (key, value) in
            flatten(&run.record).into_iter().chain(scores).filter(|(key, _)| !FIRST.contains(&key.as_str()))
        {
            put(key, at, Some(value));
        }
    }
    let columns = keys.iter().map(|key| column(key, &cells[key])).collect();
    Ok(DataFrame::new(columns)?)
}

/// The rows of a frame as JSON values, in the order of the columns.
pub fn rows(frame: &DataFrame) -> Vec<Vec<Value>> {
    let columns: Vec<Vec<Value>> = frame
        .get_columns()
        .iter()
        .map(|column| {
            let value = |value: AnyValue<'_>| match value {
                AnyValue::Null => Value::Null,
                AnyValue::Boolean(value) => value.into(),
                AnyValue::Int64(value) => value.into(),
                AnyValue::Float64(value) => value.into(),
                other => other.str_value().into(),
            };
            column.as_materialized_series().iter().map(value).collect()
        })
        .collect();
    (0..frame.height()).map(|row| columns.iter().map(|column| column[row].clone()).collect()).collect()
}

/// Writes a frame as CSV with a header row (RFC 4180, but with bare line feeds); missing values are empty.
///
/// # Errors
/// If it cannot be written.
pub fn write_csv(frame: &DataFrame, mut out: impl Write) -> io::Result<()> {
    // The csv crate would also work, but it would rebuild every crate that serialises with other serde features.
    let quoted = |text: &str| match text.contains(['"', ',', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    };
    let names: Vec<String> = frame.get_column_names().iter().map(|name| quoted(name)).collect();
    writeln!(out, "{}", names.join(","))?;
    for row in rows(frame) {
        let cell = |value: &Value| match value {
            Value::Null => String::new(),
            Value::String(text) => quoted(text),
            value => value.to_string(),
        };
        writeln!(out, "{}", row.iter().map(cell).collect::<Vec<_>>().join(","))?;
    }
    out.flush()
}

/// Writes a frame as Parquet, atomically.
///
/// # Errors
/// If the file cannot be written.
pub fn export_parquet(frame: &mut DataFrame, path: &Path) -> Result<(), RunsError> {
    let file = NewFile::create(path)?;
    ParquetWriter::new(file.reopen()?).finish(frame)?;
    Ok(file.finish()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{RunFolder, Store};
    use polars::prelude::{ParquetReader, SerReader};
    use serde_json::json;

    /// Fifty runs of two corpora, every tenth half-written, every seventh unfinished.
    fn fifty() -> (tempfile::TempDir, Vec<Run>) {
        let folder = tempfile::tempdir().unwrap();
        for at in 0..50u32 {
            let dataset = if at % 2 == 0 { "a" } else { "b" };
            let run = RunFolder::create(folder.path(), dataset, u64::from(at)).unwrap();
            if at % 10 == 9 {
                run.write("run.json", b"{\"run\": \"").unwrap();
                continue;
            }
            let finished = (at % 7 != 0).then_some("2026-01-01T00:00:00Z");
            let recipe = json!({"seed": at, "dropout": f64::from(at) / 100.0, "thresholds": at % 3 == 0, "scheme": if at < 25 { "bio" } else { "io" }});
            run.write_run(&json!({"run": run.id(), "plan": {"recipe": recipe}, "finished_at": finished, "list": [at]}))
                .unwrap();
            if finished.is_some() {
                run.write_json("scores.json", &json!({"dev": {"overall": {"f1": f64::from(at) / 50.0}}})).unwrap();
            }
            if at == 4 {
                run.write("tags.json", b"[\"x\", \"y\"]").unwrap();
            }
        }
        let runs = Store::new(folder.path()).list(None).unwrap();
        assert_eq!(runs.len(), 50);
        (folder, runs)
    }

    #[test]
    fn fifty_runs_are_filtered_sorted_and_exported() {
        let (folder, runs) = fifty();
        let query = |conditions: &[&str], sort: Option<&str>, columns: &[&str], last: Option<usize>| {
            let conditions = conditions.iter().map(|text| text.parse().unwrap()).collect();
            let sort = sort.map(|text| text.parse().unwrap());
            let query = Query { conditions, sort, columns: columns.iter().map(|&name| name.into()).collect(), last };
            let frame = query.frame(&runs);
            // What is read for a query alone makes the same table.
            let only = query.frame(&Store::new(folder.path()).list_for(None, &query).unwrap());
            let shown = |frame: &Result<DataFrame, RunsError>| frame.as_ref().map(rows).map_err(ToString::to_string);
            assert_eq!(shown(&only), shown(&frame));
            frame
        };
        let check = |conditions: &[&str], expected: usize| {
            assert_eq!(query(conditions, None, &["run"], None).unwrap().height(), expected, "{conditions:?}");
        };
        check(&[], 50);
        check(&["dataset=a"], 25);
        check(&["status=unreadable"], 5);
        check(&["fault~run.json"], 5);
        check(&["status!=unreadable", "seed>=40"], 9);
        check(&["dropout<0.1"], 9);
        check(&["seed=0"], 1);
        check(&["thresholds=true", "plan.recipe.scheme=io"], 7);
        check(&["scheme > bio"], 22);
        check(&["status=stopped"], 7);
        check(&["dev>0.9"], 3);
        check(&["tags=y"], 1);
        check(&["tags=z"], 0);
        check(&["group=none"], 0);

        let sorted = query(&["dataset=a"], Some("-dev"), &["seed", "dev"], None).unwrap();
        let seeds: Vec<Option<i64>> = sorted.column("seed").unwrap().i64().unwrap().iter().collect();
        assert_eq!((seeds[0], seeds[1], seeds.len()), (Some(48), Some(46), 25));
        assert!(
            seeds[21..].iter().all(|seed| seed.is_some_and(|seed| seed % 7 == 0)),
            "unfinished ones last: {seeds:?}"
        );
        let last = query(&[], Some("seed"), &["seed"], Some(3)).unwrap();
        assert_eq!(last.height(), 3);

        for (conditions, expected) in [
            (["seed>x"], "seed is a number"),
            (["sed=1"], "did you mean seed"),
            (["dropot=1"], "did you mean dropout"),
            (["x.dropout=1"], "plan.recipe.dropout"),
        ] {
            let message = query(&conditions, None, &["run"], None).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
        assert!("seed".parse::<Condition>().is_err() && "=1".parse::<Condition>().is_err());

        let mut csv = Vec::new();
        write_csv(&query(&["seed<3"], Some("-seed"), &["seed", "thresholds", "dev", "tags"], None).unwrap(), &mut csv)
            .unwrap();
        assert_eq!(
            String::from_utf8(csv).unwrap(),
            "seed,thresholds,dev,tags\n2,false,0.04,\n1,false,0.02,\n0,true,,\n"
        );
        let mut csv = Vec::new();
        write_csv(&query(&["tags=x"], None, &["tags", "list"], None).unwrap(), &mut csv).unwrap();
        assert_eq!(String::from_utf8(csv).unwrap(), "tags,list\n\"x,y\",[4]\n");

        let mut all = frame_of_all(&runs).unwrap();
        assert_eq!(all.height(), 50);
        let path = folder.path().join("out/all.parquet");
        export_parquet(&mut all, &path).unwrap();
        let back = ParquetReader::new(std::fs::File::open(path).unwrap()).finish().unwrap();
        assert!(back.equals_missing(&all));
        assert!(
            back.column("plan.recipe.dropout").unwrap().f64().is_ok() && back.column("list").unwrap().str().is_ok()
        );
    }
}
