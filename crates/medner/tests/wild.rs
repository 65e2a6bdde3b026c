//! Inputs from the wild: each folder of `wild/` is a situation that people reported, with commands and what they must
//! do.
//!
//! A folder contains small files and a `case.toml`:
//!
//! ```toml
//! seen = "dmis-lab/biobert#35"       # where people met it
//! kind = "columns"                   # what kind of fault it stands for: see `Kind`
//! before = "wrong, silent"           # what medner did when it was first tried
//! now = "right"                      # or "refused": an error that names file, place, reason and way on
//! links = { "b.tsv" = "a.tsv" }      # symbolic links to make
//!
//! [[run]]
//! command = "convert a.tsv - --to jsonl"   # run in a copy of the folder; MODEL is a tiny model
//! stdin = "a.tsv"                          # file to pass on stdin
//! exit = 0
//! documents = ['{"id": "1", "text": "IL 2", "spans": [{"start": 0, "end": 4, "label": "X"}]}']
//! stdout = ["part of stdout"]
//! stderr = ["part of stderr"]
//! absent = ["found in neither"]
//! ```
//!
//! Each of `documents` is a line of stdout, in order; keys that it does not name are not compared. MODEL finds one
//! mention of type X in each sentence: all its words. `wild/README.md` lists the cases; `MEDNER_WRITE_LOG=1` makes the
//! test write it.

#![allow(clippy::unwrap_used, reason = "helpers of tests may unwrap as tests do")]

mod tiny;

use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    seen: String,
    kind: Kind,
    before: String,
    now: Now,
    #[serde(default)]
    links: BTreeMap<PathBuf, PathBuf>,
    run: Vec<Run>,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    Guessing,
    Options,
    SilentLoss,
    Columns,
    Offsets,
    RoundTrip,
    Characters,
    Misread,
    Outputs,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Guessing => "a format is guessed wrong",
            Self::Options => "an option has no effect",
            Self::SilentLoss => "something is lost in silence",
            Self::Columns => "columns",
            Self::Offsets => "units of offsets",
            Self::RoundTrip => "what is written is not read back",
            Self::Characters => "characters and encodings",
            Self::Misread => "a part is misread",
            Self::Outputs => "outputs",
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Now {
    Right,
    Refused,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Run {
    command: String,
    stdin: Option<PathBuf>,
    #[serde(default)]
    exit: i32,
    documents: Option<Vec<String>>,
    #[serde(default)]
    stdout: Vec<String>,
    #[serde(default)]
    stderr: Vec<String>,
    #[serde(default)]
    absent: Vec<String>,
}

#[test]
fn inputs_from_the_wild_are_read_right_or_refused_by_name() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wild");
    let model = tempfile::tempdir().unwrap();
    tiny::finder(model.path());
    let mut names: Vec<PathBuf> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.retain(|path| path.is_dir());
    names.sort();
    // The commands spend most of their time in loading libtorch.
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let (mut failures, mut rows) = (Vec::new(), Vec::new());
    std::thread::scope(|scope| {
        let part = |cases| {
            let model = model.path();
            scope.spawn(move || run_cases(cases, model))
        };
        let parts: Vec<_> = names.chunks(names.len().div_ceil(threads)).map(part).collect();
        for part in parts {
            let (failed, listed) = part.join().unwrap();
            failures.extend(failed);
            rows.extend(listed);
        }
    });
    check_log(&folder.join("README.md"), rows);
    assert!(failures.is_empty(), "{} of {} cases:\n{}", failures.len(), names.len(), failures.join("\n"));
}

/// Runs cases; returns what failed, and the rows of the log.
fn run_cases(cases: &[PathBuf], model: &Path) -> (Vec<String>, Vec<(Kind, String)>) {
    let (mut failures, mut rows) = (Vec::new(), Vec::new());
    for case in cases {
        let text = fs::read_to_string(case.join("case.toml")).unwrap();
        let parsed: Case = toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", case.display()));
        let copy = tempfile::tempdir().unwrap();
        copy_into(case, copy.path());
        for (link, target) in &parsed.links {
            fs::create_dir_all(copy.path().join(link).parent().unwrap()).unwrap();
            std::os::unix::fs::symlink(target, copy.path().join(link)).unwrap();
        }
        let name = case.file_name().unwrap().to_string_lossy().into_owned();
        let now = if matches!(parsed.now, Now::Right) { "right" } else { "refused by name" };
        let cell = |text: &str| text.replace('|', "\\|");
        let row = format!("| {name} | {} | {} | {now} |", cell(&parsed.seen), cell(&parsed.before));
        rows.push((parsed.kind, row));
        for run in &parsed.run {
            if let Err(fault) = check(run, copy.path(), model) {
                failures.push(format!("{}: `{}`: {fault}", case.display(), run.command));
            }
        }
    }
    (failures, rows)
}

/// The list of cases by kind is as generated.
fn check_log(path: &Path, mut rows: Vec<(Kind, String)>) {
    rows.sort();
    let mut log = format!(
        "# Inputs from the wild\n\n{} situations that people reported of this or other systems, or that stand in files \
         that they have. Written by `MEDNER_WRITE_LOG=1 cargo test --release --test wild`. Model folders are in \
         `crates/ner-model/tests/foreign.md`.\n",
        rows.len()
    );
    let mut last = None;
    for (kind, row) in rows {
        if last.replace(kind) != Some(kind) {
            let head = "| case | where people met it | medner before | now |\n|---|---|---|---|\n";
            log.push_str(&format!("\n## Kind: {}\n\n{head}", kind.name()));
        }
        log.push_str(&row);
        log.push('\n');
    }
    if std::env::var_os("MEDNER_WRITE_LOG").is_some() {
        fs::write(path, &log).unwrap();
    }
    assert!(fs::read_to_string(path).is_ok_and(|found| found == log), "{} is out of date; see above", path.display());
}

/// Copies a folder.
fn copy_into(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-R").arg(from.join(".")).arg(to).status().unwrap();
    assert!(status.success());
}

fn check(run: &Run, folder: &Path, model: &Path) -> Result<(), String> {
    let words = shlex::split(&run.command).unwrap();
    let words = words.iter().map(|word| if word == "MODEL" { model.as_os_str() } else { word.as_ref() });
    let mut command = Command::new(env!("CARGO_BIN_EXE_medner"));
    command.args(words).current_dir(folder).env_remove("RUST_LOG").env("OMP_NUM_THREADS", "1").stdin(Stdio::null());
    if let Some(name) = &run.stdin {
        command.stdin(File::open(folder.join(name)).unwrap());
    }
    let output = command.output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let fail = |what: &str| Err(format!("{what}\n--- stdout\n{stdout}\n--- stderr\n{stderr}"));
    if output.status.code() != Some(run.exit) {
        return fail(&format!("exit code {:?}", output.status.code()));
    }
    for (parts, stream, name) in [(&run.stdout, &stdout, "stdout"), (&run.stderr, &stderr, "stderr")] {
        if let Some(part) = parts.iter().find(|part| !stream.contains(part.as_str())) {
            return fail(&format!("{name} lacks {part:?}"));
        }
    }
    if let Some(part) = run.absent.iter().find(|part| stdout.contains(part.as_str()) || stderr.contains(part.as_str()))
    {
        return fail(&format!("{part:?} is there"));
    }
    let Some(expected) = &run.documents else { return Ok(()) };
    let found: Vec<&str> = stdout.lines().collect();
    if found.len() != expected.len() {
        return fail(&format!("{} documents", found.len()));
    }
    for (expected, found) in expected.iter().zip(found) {
        let value: Value = serde_json::from_str(expected).unwrap_or_else(|error| panic!("{expected}: {error}"));
        if !serde_json::from_str(found).is_ok_and(|found| holds(&value, &found)) {
            return fail(&format!("not {expected}"));
        }
    }
    Ok(())
}

/// Whether `found` has everything that `expected` names.
fn holds(expected: &Value, found: &Value) -> bool {
    match (expected, found) {
        (Value::Object(expected), Value::Object(found)) => {
            expected.iter().all(|(key, value)| found.get(key).is_some_and(|found| holds(value, found)))
        }
        (Value::Array(expected), Value::Array(found)) => {
            expected.len() == found.len() && expected.iter().zip(found).all(|(expected, found)| holds(expected, found))
        }
        _ => expected == found,
    }
}
