//! End-to-end tests of annotation, with a tiny model.

#![allow(clippy::unwrap_used, reason = "helpers of tests may unwrap as tests do")]

mod tiny;

use ner_data::{CharIndex, Document, Format, FormatOptions, Span};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const SECRET: &str = "naloxone";

/// A folder with two models, `first` and `second`.
struct Bench(tempfile::TempDir);

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        tiny::model(&folder.path().join("first"), ["Disease", "Drug"], 0.5);
        tiny::model(&folder.path().join("second"), ["Disease", "Organ"], 1.7);
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_medner"));
        command.env_remove("RUST_LOG").env("OMP_NUM_THREADS", "1").current_dir(self.0.path());
        command.args(["annotate", "--runs", "runs", "--precision", "fp32", "--device", "cpu"]).args(arguments);
        if !arguments.contains(&"--model") {
            command.args(["--model", "first"]);
        }
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs a command that must succeed; returns the JSON lines on stdout.
    fn lines(&self, arguments: &[&str]) -> Vec<Value> {
        let output = self.run(arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

const ODD: &str = "\u{feff}Fever,\tnaloxone 5 mg\r\n\r\n\u{c}caf\u{e9} cafe\u{301} 👩\u{200d}🔬 x\u{200b}y abc\u{0} \u{202e}end 中文 a.b\n\n";

#[test]
fn offsets_are_exact_on_the_text_as_given_in_every_format() {
    let bench = Bench::new();
    bench.write("odd.txt", ODD);
    let found = bench.lines(&["odd.txt"]);
    let spans = found[0]["mentions"].as_array().unwrap();
    assert_eq!(spans.len(), 3, "{spans:?}");
    assert_eq!((&found[0]["id"], &found[0]["text"]), (&"odd".into(), &ODD.into()));
    let index = CharIndex::new(ODD);
    let position = |span: &Value, key: &str| span[key].as_u64().unwrap() as usize;
    let mut expected = Vec::new();
    for span in spans {
        let place = Span::new(position(span, "start"), position(span, "end"));
        assert_eq!(index.slice(ODD, place), span["text"].as_str());
        assert_eq!(span["models"], json!(["first"]));
        expected.push((place, span["type"].as_str().unwrap().to_owned()));
    }
    for span in bench.lines(&["odd.txt", "--offsets", "bytes"])[0]["mentions"].as_array().unwrap() {
        assert_eq!(ODD.get(position(span, "start")..position(span, "end")), span["text"].as_str());
    }
    // Written files are read back with the same mentions, if the format keeps the text.
    let places = |document: &Document| -> Vec<(Span, String)> {
        document.mentions.iter().map(|mention| (mention.span(), mention.entity_type.clone())).collect()
    };
    for (format, out) in [("jsonl", "o.jsonl"), ("bioc-json", "o.json"), ("brat", "o.brat"), ("pubtator", "o.pub")] {
        let output = bench.run(&["odd.txt", "--to", format, "--out", out]);
        assert!(output.status.success(), "{}", stderr(&output));
        let format = Format::from_name(format).unwrap();
        let (documents, faults) = format.read(&bench.path(out), &FormatOptions::default()).unwrap();
        assert_eq!(faults.0, []);
        assert_eq!(places(&documents[0]), expected, "{format}");
    }
    for format in ["bioc-xml", "i2b2", "conll", "parquet", "csv", "html", "text"] {
        let out = format!("o2.{format}");
        let output = bench.run(&["odd.txt", "--to", format, "--out", &out]);
        assert!(output.status.success() && bench.path(&out).exists(), "{format}: {}", stderr(&output));
    }
    let csv = fs::read_to_string(bench.path("o2.csv")).unwrap();
    let header = "document,start,end,text,entity_type,category,confidence,models,below_threshold,assertion,historical,cue_start,\
                  cue_end,section,concept_ids,concept_names,link_score,concept_system\n";
    assert!(csv.starts_with(header), "{csv}");
    assert!(!fs::read_to_string(bench.path("o2.text")).unwrap().contains('\u{0}'));
    // From Parquet, from gzip through convert, and from stdin.
    let again = bench.lines(&["o2.parquet", "--text-column", "text"]);
    assert_eq!((again.len(), &again[0]["id"]), (expected.len(), &"1".into()));
    let mut child = bench.command(&[]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(ODD.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let line: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&line["id"], &line["mentions"]), (&"stdin".into(), &found[0]["mentions"]));
}

#[test]
fn bad_documents_are_named_and_left_out_and_nothing_of_them_is_said() {
    let bench = Bench::new();
    bench.write("in/good.txt", "abc de");
    bench.write("in/latin.txt", [b"line\n", SECRET.as_bytes(), b" \xe9"].concat());
    bench.write(
        "in/more.jsonl",
        format!("{{\"id\": \"1\", \"text\": \"ab\"}}\n{{\"text\": {SECRET}\n{{\"id\": \"2\", \"text\": \"cd\"}}\n"),
    );
    let output = bench.run(&["in", "-v"]);
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(said.contains("in/latin.txt:2: byte 14 is not UTF-8") && said.contains("in/more.jsonl:2"), "{said}");
    assert!(
        said.contains("2 documents or parts of the input could not be annotated") && said.contains("3 documents ("),
        "{said}"
    );
    assert!(!said.contains(SECRET), "{said}");
    let text = String::from_utf8(output.stdout).unwrap();
    let ids: Vec<String> =
        text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].to_string()).collect();
    assert_eq!(ids, ["\"good\"", "\"1\"", "\"2\""]);

    // The same ids in two files.
    bench.write("in/other.jsonl", "{\"id\": \"1\", \"text\": \"ab\"}\n");
    bench.write("in/third.jsonl", "{\"id\": \"1\", \"text\": \"cd\"}\n");
    let lines = bench.lines(&["in/other.jsonl", "in/third.jsonl"]);
    assert_eq!((&lines[0]["id"], &lines[1]["id"]), (&"1".into(), &"third/1".into()));

    for (arguments, message) in [
        (["none.txt", "--to", "csv"], "none.txt"),
        (["in", "--to", "brat"], "add --out FOLDER"),
        (["in", "--threshold", "Drgu=0.5"], "no model finds the type Drgu; the models find Disease, Drug"),
        (["in", "--model", "third"], "no model third"),
    ] {
        let output = bench.run(&arguments);
        assert!(!output.status.success() && stderr(&output).contains(message), "{}", stderr(&output));
    }
}

#[test]
fn a_document_that_a_model_cannot_compute_is_named_and_the_others_come_out() {
    let bench = Bench::new();
    tiny::overflowing(&bench.path("third"));
    // A token that the model has no embedding for.
    bench.write("third/added_tokens.json", "{\"[NEW]\": 81}");
    let texts = ["ab cd", "a naloz", "ef", "[NEW]"];
    let line = |(at, text): (usize, &&str)| json!({ "id": at.to_string(), "text": text }).to_string() + "\n";
    bench.write("all.jsonl", texts.iter().enumerate().map(line).collect::<String>());
    let output = bench.run(&["all.jsonl", "--model", "third"]);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let text = String::from_utf8(output.stdout).unwrap();
    let found: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ids: Vec<&Value> = found.iter().map(|line| &line["id"]).collect();
    assert_eq!(ids, ["0", "2"]);
    for part in [
        "all.jsonl: document 1: the model computes numbers that are not finite",
        "all.jsonl: document 3: characters 0 to 5 need piece 81, but the model has embeddings for 81 pieces",
        "2 documents or parts of the input could not be annotated",
        "2 documents (",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!said.contains("panicked") && !said.contains("naloz"), "{said}");
}

#[test]
fn mentions_do_not_depend_on_the_cpu() {
    let bench = Bench::new();
    bench.write("note.txt", "The quick brown fox, 12 mg of abc. Jumps over lazy dogs 34, and so on.");
    let run = |cpu: &str| bench.command(&["note.txt"]).env("MEDNER_CPU", cpu).output().unwrap();
    let mentions = |output: Output| -> Vec<(Value, Value, Value)> {
        assert!(output.status.success(), "{}", stderr(&output));
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        let key = |mention: &Value| (mention["start"].clone(), mention["end"].clone(), mention["type"].clone());
        found["mentions"].as_array().unwrap().iter().map(key).collect()
    };
    let expected = mentions(run(""));
    assert!(!expected.is_empty());
    // Without instructions of its own, libtorch computes.
    assert_eq!(mentions(run("portable")), expected);
    let said = stderr(&run("sse"));
    assert!(said.contains("MEDNER_CPU: unknown value sse; use avx512_bf16, avx512_vnni, avx512,"), "{said}");
}

#[test]
fn several_models_thresholds_and_categories() {
    let bench = Bench::new();
    bench.write("note.txt", "The quick brown fox, 12 mg of abc. Jumps over lazy dogs 34, and so on.");
    let spans = |arguments: &[&str]| -> Vec<Value> {
        bench.lines(&[&["note.txt"], arguments].concat())[0]["mentions"].as_array().unwrap().clone()
    };
    let key = |span: &Value| (span["start"].as_u64(), span["end"].as_u64(), span["type"].to_string());
    let (first, second) = (spans(&["--model", "first"]), spans(&["--model", "second"]));
    let both = spans(&["--model", "first", "--model", "second"]);
    let mut expected: Vec<_> = first.iter().chain(&second).map(key).collect();
    expected.sort();
    expected.dedup();
    let mut found: Vec<_> = both.iter().map(key).collect();
    found.sort();
    assert!(!first.is_empty() && !second.is_empty());
    assert_eq!(found, expected);
    assert!(found.len() < first.len() + second.len(), "the two find nothing alike");
    for span in &both {
        let of = |spans: &[Value]| {
            spans.iter().find(|other| key(other) == key(span)).map(|s| s["confidence"].as_f64().unwrap())
        };
        let names = match (of(&first), of(&second)) {
            (Some(_), Some(_)) => json!(["first", "second"]),
            (Some(_), None) => json!(["first"]),
            _ => json!(["second"]),
        };
        assert_eq!(span["models"], names);
        assert_eq!(span["confidence"].as_f64(), of(&first).into_iter().chain(of(&second)).reduce(f64::max));
    }

    let confidences: Vec<f64> = first.iter().map(|span| span["confidence"].as_f64().unwrap()).collect();
    let middle = confidences.iter().sum::<f64>() / confidences.len() as f64;
    let threshold = middle.to_string();
    let kept = spans(&["--threshold", &threshold]);
    assert_eq!(kept.len(), confidences.iter().filter(|&&confidence| confidence >= middle).count());
    let all = spans(&["--threshold", &threshold, "--all-spans"]);
    assert_eq!(all.len(), first.len());
    let below = all.iter().filter(|span| span["below_threshold"] == true).count();
    assert_eq!(below, all.len() - kept.len());

    bench.write("categories.toml", "Disease = \"problem\"\n[second]\nOrgan = \"anatomy\"\nDisease = \"other\"\n");
    let with = spans(&["--model", "first", "--model", "second", "--categories", "categories.toml"]);
    for span in &with {
        let category = span["category"].as_str();
        match (span["type"].as_str().unwrap(), span["models"][0].as_str().unwrap()) {
            ("Drug", _) => assert_eq!(category, None),
            ("Organ", _) => assert_eq!(category, Some("anatomy")),
            ("Disease", "first") => assert_eq!(category, Some("problem")),
            ("Disease", "second") => assert_eq!(category, Some("other")),
            _ => assert!(category.is_some()),
        }
    }
}

/// Enough documents for several batches.
#[test]
fn packed_inputs_are_read_and_bad_ones_are_named() {
    let bench = Bench::new();
    let texts = [("a.txt", "abc de fg."), ("b/c.txt", "hij abc."), ("d.jsonl", "{\"id\": \"7\", \"text\": \"abc\"}\n")];
    for (name, text) in texts {
        bench.write(&format!("in/{name}"), text);
        bench.write(&format!("zst/{name}.zst"), zstd::encode_all(text.as_bytes(), 1).unwrap());
    }
    let zipped = |names: &[(&str, &str)]| {
        let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        for (name, text) in names {
            archive.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
            archive.write_all(text.as_bytes()).unwrap();
        }
        archive.finish().unwrap().into_inner()
    };
    let archive = zipped(&[&texts[..], &[("__MACOSX/e.txt", "x"), ("f.pdf", "x")]].concat());
    bench.write("in.zip", &archive);
    let plain = bench.lines(&["in"]);
    assert_eq!(plain.len(), 3);
    assert_eq!(bench.lines(&["zst"]), plain);
    assert_eq!(bench.lines(&["in.zip"]), plain);

    // Broken files are reported, and the others annotated.
    bench.write("zst/bad.txt.zst", "no archive");
    let output = bench.run(&["zst"]);
    assert!(!output.status.success() && stderr(&output).contains("bad.txt.zst: it cannot be read to the end"));
    assert_eq!(output.stdout.iter().filter(|&&byte| byte == b'\n').count(), 3);
    bench.write("bad.zip", &archive[..archive.len() / 2]);
    assert!(stderr(&bench.run(&["bad.zip"])).contains("bad.zip is not a readable zip archive"));
    bench.write("out.zip", zipped(&[("../out.txt", "x")]));
    assert!(stderr(&bench.run(&["out.zip"])).contains("leads out of the archive"));
}

fn many() -> String {
    let line = |at: usize| {
        format!("{{\"id\": \"d{at}\", \"text\": \"abc {at} de, fg{} hij. {}\"}}\n", at % 7, "klm no ".repeat(at % 5))
    };
    (0..3000).map(line).collect()
}

fn wait_for(child: &mut Child, is_there: impl Fn() -> bool) {
    let begin = Instant::now();
    while !is_there() {
        assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
        assert!(begin.elapsed() < Duration::from_secs(60), "nothing is written");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// All files below a folder with their contents, without those of a run in progress.
fn tree(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let files =
        walkdir::WalkDir::new(folder).into_iter().map(Result::unwrap).filter(|entry| entry.file_type().is_file());
    let visible = files.filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'));
    visible.map(|entry| (entry.path().strip_prefix(folder).unwrap().into(), fs::read(entry.path()).unwrap())).collect()
}

/// The input comes through an open pipe, so that the kill always hits a running process.
#[test]
fn a_killed_annotation_that_is_resumed_equals_an_uninterrupted_one() {
    let bench = Bench::new();
    let input = many();
    bench.write("all.jsonl", &input);
    for (format, out) in [("jsonl", "found.jsonl"), ("brat", "found.brat"), ("i2b2", "found.i2b2")] {
        let output = bench.run(&["all.jsonl", "--to", format, "--out", &format!("whole-{out}")]);
        assert!(output.status.success(), "{}", stderr(&output));
        let arguments = ["-", "--from", "jsonl", "--to", format, "--out", out];
        let mut child = bench.command(&arguments).stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut pipe = child.stdin.take().unwrap();
        pipe.write_all(&input.as_bytes()[..input.len() - 100]).unwrap();
        pipe.flush().unwrap();
        let (part, folder) = (bench.path(&format!("{out}.part")), bench.path(out));
        let is_begun = || fs::metadata(&part).is_ok_and(|facts| facts.len() > 0) || tree_len(&folder) > 9;
        wait_for(&mut child, is_begun);
        child.kill().unwrap();
        child.wait().unwrap();
        drop(pipe);
        if format == "jsonl" {
            // A partial line at the end, whenever the kill happened.
            let mut bytes = fs::read(&part).unwrap();
            bytes.truncate(bytes.len() - 3);
            fs::write(&part, bytes).unwrap();
        }

        // Existing output is not overwritten, nor continued with other settings.
        let file = ["all.jsonl", "--to", format, "--out", out];
        assert!(stderr(&bench.run(&file)).contains("--resume to continue"));
        let other = bench.run(&[&file[..], &["--resume", "--threshold", "0.5"]].concat());
        assert!(stderr(&other).contains("other models or settings"), "{}", stderr(&other));

        let output = bench.run(&[&file[..], &["--resume"]].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        let whole = bench.path(&format!("whole-{out}"));
        if format == "jsonl" {
            assert!(fs::read(bench.path(out)).unwrap() == fs::read(&whole).unwrap());
            assert!(!part.exists() && !bench.path("found.jsonl.part.json").exists());
        } else {
            assert!(tree(&folder) == tree(&whole));
        }
    }
}

fn tree_len(folder: &Path) -> usize {
    if folder.is_dir() { tree(folder).len() } else { 0 }
}

#[test]
fn a_folder_of_texts_becomes_a_folder_and_is_gone_on_with() {
    let bench = Bench::new();
    for at in 0..500 {
        bench.write(&format!("in/{}/{at}.txt", at % 3), format!("abc {at} de fg.\nhij {}", at % 11));
    }
    let arguments = ["in", "--out", "out", "--to", "csv"];
    let mut child = bench.command(&arguments).stderr(Stdio::null()).spawn().unwrap();
    // The process may finish before the kill; then nothing is left to do.
    let begin = Instant::now();
    while tree_len(&bench.path("out")) == 0 && begin.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().ok();
    child.wait().unwrap();
    assert!(bench.run(&[&arguments[..], &["--resume"]].concat()).status.success());
    assert!(bench.run(&["in", "--out", "whole/", "--to", "csv"]).status.success());
    let found = tree(&bench.path("out"));
    assert_eq!(found.len(), 500);
    assert!(found == tree(&bench.path("whole")));
    // Once more: nothing is left to do.
    let output = bench.run(&[&arguments[..], &["--resume"]].concat());
    assert!(
        output.status.success() && stderr(&output).contains("the output was complete already"),
        "{}",
        stderr(&output)
    );

    // Output files are recorded, but not output on stdout or with --no-run.
    bench.write("Jane-Doe.txt", "abc");
    for more in [&["--no-run", "--out", "found.jsonl"][..], &[], &["--out", "again.jsonl"]] {
        assert!(bench.run(&[&["Jane-Doe.txt"], more].concat()).status.success());
    }
    let mut list = Command::new(env!("CARGO_BIN_EXE_medner"));
    list.current_dir(bench.path("")).args(["runs", "list", "--runs", "runs", "--filter", "kind=annotate"]);
    list.args(["--columns", "status,outcome.documents,plan.inputs", "--format", "json"]);
    let list: Value = serde_json::from_slice(&list.output().unwrap().stdout).unwrap();
    assert_eq!((list[2]["status"].as_str(), list[2]["outcome.documents"].as_u64()), (Some("finished"), Some(500)));
    assert_eq!((list[3]["plan.inputs"].as_u64(), list.as_array().unwrap().len()), (Some(1), 4));
    for bytes in tree(&bench.path("runs/annotate")).into_values() {
        let text = String::from_utf8(bytes).unwrap();
        assert!(!text.contains("Doe"));
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

#[test]
fn an_input_that_ends_too_early_is_never_taken_for_complete() {
    let bench = Bench::new();
    let whole = gzip(many().as_bytes());
    let cut = &whole[..whole.len() / 2];
    let zst = zstd::encode_all(many().as_bytes(), 1).unwrap();
    bench.write("in/a.jsonl.gz", cut);
    bench.write("in/b.jsonl.zst", &zst[..zst.len() / 2]);
    bench.write("in/c.txt", "abc de");
    bench.write("in/d.parquet", "PAR1");
    let outs: [(&[&str], &[&str], &str); 4] = [
        (&["--out", "folder/"], &["folder/c.jsonl"], "3 inputs could not be read to the end and have no output"),
        (&["--out", "one.jsonl"], &["one.jsonl.part"], "continue with --resume"),
        (&["--out", "one.csv", "--to", "csv"], &["one.part.csv"], "one.csv is not written"),
        (&["--out", "brat", "--to", "brat"], &["brat/c.ann"], "continue with --resume"),
    ];
    for (arguments, files, message) in outs {
        let output = bench.run(&[&["in"], arguments].concat());
        let said = stderr(&output);
        assert!(output.status.code() == Some(1) && said.contains(message), "{said}");
        assert_eq!(said.matches("it cannot be read to the end").count(), 3, "{said}");
        assert!(files.iter().all(|file| bench.path(file).is_file()), "{files:?}");
    }
    assert_eq!(tree_len(&bench.path("folder")), 1);
    assert!(!bench.path("one.jsonl").exists() && !bench.path("one.csv").exists());
    // Repaired or omitted, they are done.
    bench.write("in/a.jsonl.gz", &whole);
    fs::remove_file(bench.path("in/b.jsonl.zst")).unwrap();
    fs::remove_file(bench.path("in/d.parquet")).unwrap();
    for (out, documents) in [("folder/", 2), ("one.jsonl", 3001)] {
        let output = bench.run(&["in", "--out", out, "--resume"]);
        assert!(output.status.success(), "{}", stderr(&output));
        let count = if out == "folder/" {
            tree_len(&bench.path(out))
        } else {
            fs::read_to_string(bench.path(out)).unwrap().lines().count()
        };
        // The second file has the ids of the first, with its own name before them.
        assert!(count >= documents, "{out}: {count}");
    }
}

#[test]
fn an_output_has_one_writer_and_its_record_names_no_file() {
    let bench = Bench::new();
    let input = many();
    bench.write("Jane-Doe.jsonl", &input);
    for (to, out, started) in
        [("jsonl", "o.jsonl", "o.jsonl.part.json"), ("brat", "o.brat", "o.brat/.medner-annotate.json")]
    {
        let arguments = ["-", "--from", "jsonl", "--to", to, "--out", out];
        let mut child = bench.command(&arguments).stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        wait_for(&mut child, || bench.path(started).exists());
        for more in [&[][..], &["--resume"]] {
            let output = bench.run(&[&["Jane-Doe.jsonl", "--to", to, "--out", out], more].concat());
            let said = stderr(&output);
            assert!(!output.status.success() && said.contains("is being written by another process"), "{said}");
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // The lock ends with its process; damaged settings of an empty output are written anew.
        bench.write(started, "");
        let output = bench.run(&["Jane-Doe.jsonl", "--to", to, "--out", out, "--resume"]);
        assert!(output.status.success(), "{}", stderr(&output));
        assert!(!bench.path("o.brat/.medner-annotate.lock").exists());
    }
    bench.write("o.brat/.medner-annotate.json", "");
    let said = stderr(&bench.run(&["Jane-Doe.jsonl", "--to", "brat", "--out", "o.brat", "--resume"]));
    assert!(said.contains(".medner-annotate.json, the settings with which o.brat was begun, is damaged"), "{said}");

    fs::remove_dir_all(bench.path("runs")).unwrap();
    let said = stderr(&bench.run(&["Jane-Doe.jsonl", "--out", "/dev/full"]));
    assert!(said.contains("No space left on device"), "{said}");
    let records: Vec<Vec<u8>> = tree(&bench.path("runs/annotate")).into_values().collect();
    let record = String::from_utf8(records.concat()).unwrap();
    assert!(record.contains("\"error\": \"a file cannot be read or written: No space left on device"), "{record}");
    assert!(!record.contains("Doe"), "{record}");
}

#[test]
fn an_ensemble_is_one_model_that_names_those_that_found_a_mention() {
    let bench = Bench::new();
    bench.write("odd.txt", ODD);
    let alone = bench.lines(&["odd.txt"]);
    // Two folders with the same model: the mean equals each of them.
    for file in ["config.json", "model.safetensors", "vocab.txt"] {
        bench.write(&format!("copy/{file}"), fs::read(bench.path("first").join(file)).unwrap());
    }
    let together = |models: [&str; 2]| {
        bench.lines(&["odd.txt", "--ensemble", "--model", models[0], "--model", models[1]])[0]["mentions"].clone()
    };
    let plain = |spans: &Value| -> Vec<Value> {
        let mut spans = spans.as_array().unwrap().clone();
        spans.iter_mut().for_each(|span| span["models"] = Value::Null);
        spans
    };
    let mean = together(["first", "copy"]);
    assert_eq!(plain(&mean), plain(&alone[0]["mentions"]));
    assert_eq!(mean[0]["models"], json!(["first", "copy"]));
    assert_eq!(plain(&together(["copy", "first"])), plain(&mean));
    let output = bench.run(&["odd.txt", "--ensemble", "--model", "first", "--model", "second"]);
    assert!(
        stderr(&output).contains("first finds Disease, Drug and second finds Disease, Organ"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn assertions_are_of_the_types_that_are_asked_for_and_go_into_every_format() {
    let bench = Bench::new();
    bench.write("note.txt", "Family History:\nthe quick brown fox, abc, lazy dogs, and so on.");
    let plain = bench.lines(&["note.txt"]);
    let asserted = bench.lines(&["note.txt", "--assert", "Disease"]);
    let mentions = |lines: &[Value]| lines[0]["mentions"].as_array().unwrap().clone();
    assert!(mentions(&plain).iter().all(|mention| mention.get("assertion").is_none()));
    let (diseases, others): (Vec<_>, Vec<_>) =
        mentions(&asserted).into_iter().partition(|mention| mention["type"] == "Disease");
    assert!(!diseases.is_empty() && others.iter().all(|mention| mention.get("assertion").is_none()));
    // Where the model finds mentions is chance; the heading decides wherever they are.
    let is_decided = |mention: &&Value| mention["section"]["name"] == "family_history";
    assert!(diseases.iter().any(|mention| is_decided(&mention)));
    for mention in diseases.iter().filter(is_decided) {
        let assertion = &mention["assertion"];
        assert_eq!(assertion["value"], "associated_with_someone_else");
        assert_eq!(assertion["cue"], json!({"start": 0, "end": 14, "text": "Family History"}));
    }
    // What annotate writes is read back with the same values.
    bench.write("found.jsonl", serde_json::to_string(&asserted[0]).unwrap());
    let mut convert = Command::new(env!("CARGO_BIN_EXE_medner"));
    let convert =
        convert.current_dir(bench.0.path()).args(["convert", "found.jsonl", "found.ann", "--to", "bioc-json"]);
    assert!(convert.output().unwrap().status.success());
    let back = fs::read_to_string(bench.path("found.ann")).unwrap();
    assert!(back.contains("associated_with_someone_else") && back.contains("assertion_cue"), "{back}");
    let csv = String::from_utf8(bench.run(&["note.txt", "--assert", "Disease", "--to", "csv"]).stdout).unwrap();
    assert!(
        csv.lines().any(|row| row.ends_with(",associated_with_someone_else,false,0,14,family_history,,,,")),
        "{csv}"
    );
    let text = String::from_utf8(bench.run(&["note.txt", "--assert", "Disease", "--to", "text"]).stdout).unwrap();
    assert!(text.contains(" associated with someone else)"), "{text}");

    bench.write("ours.toml", "[[section]]\nname = \"kin\"\nheadings = [\"family history\"]\n");
    let ours = bench.lines(&["note.txt", "--assert", "Disease", "--section-rules", "ours.toml"]);
    assert!(mentions(&ours).iter().any(|mention| mention["section"]["name"] == "kin"));
    assert!(mentions(&ours).iter().all(|mention| mention["section"]["name"] != "family_history"));
    for (arguments, message) in [
        (["--assert", "Diseese", "--quiet"], "no model finds the type Diseese; the models find Disease, Drug"),
        (["--section-rules", "ours.toml", "--quiet"], "rules have no effect"),
        (["--assert", "Disease", "--no-assertion"], "cannot be used with"),
    ] {
        let output = bench.run(&[&["note.txt"], arguments.as_slice()].concat());
        assert!(!output.status.success() && stderr(&output).contains(message), "{}", stderr(&output));
    }
}

#[test]
fn findings_are_handed_over_as_fhir_and_omop() {
    let bench = Bench::new();
    bench.write("categories.toml", "Disease = \"problem\"\nDrug = \"medication\"\n");
    bench.write(
        "in.jsonl",
        format!(
            "{{\"id\": \"7\", \"text\": \"{SECRET} no abc, de fever 5 mg\"}}\n{{\"id\": \"8\", \"text\": \"ab\"}}\n"
        ),
    );
    let found: Vec<usize> =
        bench.lines(&["in.jsonl"]).iter().map(|line| line["mentions"].as_array().unwrap().len()).collect();
    assert!(found[0] > 0);
    let fhir = ["in.jsonl", "--to", "fhir", "--categories", "categories.toml"];
    let bundles = bench.lines(&[&fhir[..], &["--processed-at", "2026-07-24"]].concat());
    let findings = |bundle: &Value| -> usize {
        let entries = bundle["entry"].as_array().unwrap().iter();
        entries.filter(|entry| entry["resource"]["extension"].is_array()).count()
    };
    assert_eq!(bundles.iter().map(findings).collect::<Vec<_>>(), found);
    assert!(bundles[0].to_string().contains("2026-07-24T00:00:00Z"));
    // With the time of the environment, and a resumed file.
    let write = |out: &str, more: &[&str]| {
        let mut command = bench.command(&[&fhir[..], &["--out", out], more].concat());
        let output = command.env("SOURCE_DATE_EPOCH", "1784851200").output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
    };
    write("whole.ndjson", &[]);
    let whole = fs::read_to_string(bench.path("whole.ndjson")).unwrap();
    assert_eq!(whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>(), bundles);
    // An input that ends too early leaves the part and its settings behind; a killed process leaves half a line.
    bench.write("cut.parquet", "PAR1");
    let mut begin = bench.command(&[&fhir[..], &["cut.parquet", "--out", "begun.ndjson"]].concat());
    assert_eq!(begin.env("SOURCE_DATE_EPOCH", "1784851200").output().unwrap().status.code(), Some(1));
    let part = bench.path("begun.ndjson.part");
    assert_eq!(fs::read_to_string(&part).unwrap(), whole);
    fs::write(&part, &whole[..whole.lines().next().unwrap().len() + 10]).unwrap();
    write("begun.ndjson", &["--resume"]);
    assert_eq!(fs::read_to_string(bench.path("begun.ndjson")).unwrap(), whole);

    let omop = ["in.jsonl", "--to", "omop", "--processed-at", "2026-07-24", "--first-note-nlp-id", "5"];
    let output = bench.run(&omop);
    let csv = String::from_utf8(output.stdout).unwrap();
    assert!(
        csv.starts_with("note_nlp_id,note_id,section_concept_id,snippet,offset,") && csv.contains("\n5,7,,"),
        "{csv}"
    );
    for out in ["o.csv", "o.parquet"] {
        let output = bench.run(&[&omop[..], &["--out", out]].concat());
        assert!(output.status.success(), "{}", stderr(&output));
    }
    assert_eq!(fs::read_to_string(bench.path("o.csv")).unwrap(), csv);
    let again = bench.lines(&["o.parquet", "--text-column", "lexical_variant", "--id-column", "note_nlp_id"]);
    assert_eq!((again.len(), &again[0]["id"]), (found.iter().sum(), &"5".into()));

    // What cannot be done is said before or without any text.
    bench.write("named.jsonl", format!("{{\"id\": \"x\", \"text\": \"{SECRET} abc\"}}\n"));
    for (arguments, says) in [
        (&["in.jsonl", "--to", "fhir"][..], "--categories"),
        (&["in.jsonl", "--to", "fhir", "--all-spans"], "--all-spans"),
        (&["in.jsonl", "--to", "fhir", "--first-note-nlp-id", "2"], "no effect on fhir"),
        (&["in.jsonl", "--patient", "Patient/1"], "no effect on jsonl"),
        (&["in.jsonl", "--to", "omop", "--out", "folder/"], "OUT.parquet"),
        (&["named.jsonl", "--to", "omop"], "--id-column"),
    ] {
        let output = bench.run(arguments);
        let said = stderr(&output);
        assert!(!output.status.success() && said.contains(says) && !said.contains(SECRET), "{arguments:?}: {said}");
    }
}

/// A vocabulary for texts that are one mention each, with a model that finds them.
fn linked_bench() -> Bench {
    let bench = Bench::new();
    tiny::finder(&bench.path("finder"));
    bench.write("categories.toml", "X = \"problem\"\n");
    bench.write(
        "names.tsv",
        "id\tname\tsynonyms\ttypes\nD2\tGout\t\tC05\nD3\tBreast Cancer\t\tC04.1\nD4\tOvarian Cancer\t\tC04.2\nA1\tBreast\t\tA01\n",
    );
    bench.vocabulary(&["names.tsv", "--out", "our.voc", "--release", "r1", "--system", "http://snomed.info/sct"]);
    let line = |(id, text): (usize, &str)| format!("{{\"id\": \"{id}\", \"text\": \"{text}\"}}\n");
    let texts = ["gouts", "breast and ovarian cancer", "xyzzy"];
    bench.write("in.jsonl", texts.into_iter().enumerate().map(line).collect::<String>());
    bench
}

impl Bench {
    fn vocabulary(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_medner"));
        command.env_remove("RUST_LOG").current_dir(self.0.path()).args(["vocabulary", "build"]).args(arguments);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        stderr(&output)
    }
}

#[test]
fn mentions_get_the_concepts_of_a_vocabulary_in_every_output() {
    let bench = linked_bench();
    let common = ["in.jsonl", "--model", "finder", "--categories", "categories.toml", "--vocabulary", "X=our.voc"];
    let with = |more: &[&'static str]| [&common[..], more].concat();
    let lines = bench.lines(&with(&[]));
    let system = "http://snomed.info/sct";
    let concept = |id: &str, name: &str, score: f64, text: &str| json!({ "id": id, "name": name, "score": score, "vocabulary": "our r1", "system": system, "text": text });
    let concepts = |at: usize| lines[at]["mentions"][0]["concepts"].clone();
    assert_eq!(concepts(0), json!([concept("D2", "Gout", 0.95, "gouts")]));
    let parts = [("D3", "Breast Cancer", "breast cancer"), ("D4", "Ovarian Cancer", "ovarian cancer")];
    assert_eq!(concepts(1), json!(parts.map(|(id, name, text)| concept(id, name, 1.0, text))));
    assert_eq!((lines[2]["mentions"].as_array().unwrap().len(), concepts(2)), (1, Value::Null));

    // Every format has the ids, and is read back with them.
    for (format, out) in [
        ("jsonl", "o.jsonl"),
        ("bioc-json", "o.json"),
        ("bioc-xml", "o.xml"),
        ("brat", "o.brat"),
        ("pubtator", "o.pub"),
    ] {
        let output = bench.run(&with(&["--to", format, "--out", out]));
        assert!(output.status.success(), "{}", stderr(&output));
        let (documents, faults) =
            Format::from_name(format).unwrap().read(&bench.path(out), &FormatOptions::default()).unwrap();
        assert_eq!(faults.0, [], "{format}");
        let ids: Vec<Vec<String>> = documents.iter().map(|document| document.mentions[0].concept_ids.clone()).collect();
        assert_eq!(ids, [vec!["D2"], vec!["D3", "D4"], vec![]], "{format}");
        if format != "pubtator" {
            let attributes = &documents[1].mentions[0].attributes;
            assert_eq!(
                (&*attributes["link_score"], &*attributes["concept_name"]),
                ("1", "Breast Cancer|Ovarian Cancer")
            );
        }
    }
    assert!(
        fs::read_to_string(bench.path("o.brat/1.ann")).unwrap().contains("N2\tReference T1 ID:D4\tOvarian Cancer\n")
    );
    let out = |format: &'static str| String::from_utf8(bench.run(&with(&["--to", format])).stdout).unwrap();
    assert!(out("csv").contains(",D3|D4,Breast Cancer|Ovarian Cancer,1,http://snomed.info/sct\n"), "{}", out("csv"));
    assert!(out("text").contains("D2)") && out("html").contains("D2 Gout"), "{}", out("text"));
    // A composite mention has a resource, and a row, for each of its concepts.
    let fhir = bench.lines(&with(&["--to", "fhir"]));
    let codings: Vec<Value> = fhir
        .iter()
        .flat_map(|bundle| bundle["entry"].as_array().unwrap())
        .filter(|entry| entry["resource"]["resourceType"] == "Condition")
        .map(|entry| entry["resource"]["code"].clone())
        .collect();
    let code = |text: &str, id: &str, name: &str| json!({ "coding": [{ "system": system, "code": id, "display": name }], "text": text });
    let both = "breast and ovarian cancer";
    let expected = [
        code("gouts", "D2", "Gout"),
        code(both, "D3", "Breast Cancer"),
        code(both, "D4", "Ovarian Cancer"),
        json!({ "text": "xyzzy" }),
    ];
    assert_eq!(codings, expected);
    // OMOP's columns hold OMOP's ids alone.
    let omop = bench.run(&with(&["--to", "omop"]));
    let (csv, said) = (String::from_utf8_lossy(&omop.stdout).into_owned(), stderr(&omop));
    assert!(csv.contains(",breast and ovarian cancer,0,0,") && csv.contains(";concept=D4;"), "{csv}");
    assert!(said.contains("our.voc are not OMOP's"), "{said}");
    bench.write(
        "CONCEPT.csv",
        "concept_id\tconcept_name\tdomain_id\tvocabulary_id\tconcept_class_id\tstandard_concept\tconcept_code\t\
         valid_start_date\tvalid_end_date\tinvalid_reason\n440674\tGout\tCondition\tSNOMED\tDisorder\tS\t90560007\t1970\t2099\t\n",
    );
    bench.vocabulary(&["CONCEPT.csv", "--out", "omop.voc"]);
    let omop = bench.run(&["in.jsonl", "--model", "finder", "--vocabulary", "omop.voc", "--to", "omop"]);
    let csv = String::from_utf8(omop.stdout).unwrap();
    assert!(csv.contains(",gouts,440674,440674,") && csv.contains(",xyzzy,0,0,"), "{csv}");

    // Several candidates, and types of concepts.
    let lines = bench.lines(&with(&["--candidates", "3", "--link-threshold", "0.1", "--concept-type", "X=C04*"]));
    let concept = &lines[1]["mentions"][0]["concepts"][0];
    assert_eq!(concept["id"], "D3", "{concept}");
    let others: Vec<&str> = lines
        .iter()
        .flat_map(|line| line["mentions"][0]["concepts"].as_array().into_iter().flatten())
        .flat_map(|concept| concept["others"].as_array().into_iter().flatten())
        .filter_map(|other| other["id"].as_str())
        .collect();
    assert!(!lines[0].to_string().contains("Gout") && others.iter().all(|id| id.starts_with('D')), "{lines:?}");
}

#[test]
fn vocabularies_that_have_no_effect_are_refused_and_an_output_keeps_its_own() {
    let bench = linked_bench();
    bench.vocabulary(&["names.tsv", "--out", "bare.voc"]);
    for (arguments, says) in [
        (&["--vocabulary", "Disease=our.voc"][..], "no model finds the type Disease; the models find X"),
        (&["--vocabulary", "X=our.voc", "--vocabulary", "our.voc"], "every type has its own"),
        (&["--vocabulary", "X=our.voc", "--vocabulary", "X=bare.voc"], "two vocabularies for X"),
        (&["--vocabulary", "names.tsv"], "names.tsv: not a vocabulary of medner"),
        (&["--vocabulary", "our.voc", "--concept-type", "D*"], "no concept has the type D*"),
        (&["--vocabulary", "our.voc", "--concept-type", "X=C*"], "--concept-type X=C* has no effect"),
        (&["--vocabulary", "our.voc", "--link-threshold", "2"], "from 0 to 1"),
        (&["--vocabulary", "our.voc", "--candidates", "2", "--to", "csv"], "--candidates has no effect on csv"),
        (&["--vocabulary", "bare.voc", "--to", "fhir", "--categories", "categories.toml"], "bare.voc does not say"),
        (&["--link-threshold", "0.5"], "--vocabulary"),
    ] {
        let output = bench.run(&[&["in.jsonl", "--model", "finder"], arguments].concat());
        assert!(!output.status.success() && stderr(&output).contains(says), "{arguments:?}: {}", stderr(&output));
    }
    // What a format cannot hold is counted.
    let output = bench.run(&["in.jsonl", "--model", "finder", "--vocabulary", "our.voc", "--to", "conll"]);
    assert!(stderr(&output).contains("concept ids: 0 moved, 3 lost"), "{}", stderr(&output));

    bench.write("cut.parquet", "PAR1");
    let begun = ["in.jsonl", "cut.parquet", "--model", "finder", "--out", "begun.jsonl", "--vocabulary"];
    assert_eq!(bench.run(&[&begun[..], &["our.voc"]].concat()).status.code(), Some(1));
    let output = bench.run(&[&begun[..], &["bare.voc", "--resume"]].concat());
    assert!(stderr(&output).contains("other models or settings"), "{}", stderr(&output));
    bench.write("names.tsv", "id\tname\nD2\tGout\n");
    bench.vocabulary(&["names.tsv", "--out", "other.voc", "--release", "r1", "--system", "http://snomed.info/sct"]);
    let output = bench.run(&[&begun[..], &["other.voc", "--resume"]].concat());
    assert!(stderr(&output).contains("other models or settings"), "{}", stderr(&output));
    // The same vocabulary under another name is the same.
    fs::rename(bench.path("our.voc"), bench.path("renamed.voc")).unwrap();
    let output = bench.run(&[
        "in.jsonl",
        "--model",
        "finder",
        "--out",
        "begun.jsonl",
        "--vocabulary",
        "renamed.voc",
        "--resume",
    ]);
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
fn an_encoder_is_trained_for_a_vocabulary_and_ranks_its_names() {
    let bench = linked_bench();
    tiny::model(&bench.path("encoder"), ["X", "Y"], 0.0);
    let names: String = [("D1", "heart", "cardiac"), ("D2", "renal", "kidney"), ("D3", "hepatic", "liver")]
        .map(|(id, one, other)| format!("{id}\t{one} failure\t{other} failure|{other} insufficiency\n"))
        .concat();
    bench.write("organs.tsv", format!("id\tname\tsynonyms\n{names}"));
    bench.vocabulary(&["organs.tsv", "--out", "organs.voc", "--release", "r1"]);
    let gold = "{\"id\":\"1\",\"text\":\"cardiac renal failure\",\
                \"spans\":[{\"start\":0,\"end\":21,\"label\":\"X\",\"concept_ids\":[\"D1\"]}]}\n";
    bench.write("gold.jsonl", gold);
    let medner = |arguments: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_medner"));
        let command = command.env_remove("RUST_LOG").current_dir(bench.path("")).args(arguments.split(' '));
        let output = command.output().unwrap();
        (output.status.success(), stderr(&output))
    };
    let train = "vocabulary train X=organs.voc --encoder encoder --mentions gold.jsonl --device cpu";
    for out in ["one", "two"] {
        let (is_well, said) = medner(&format!("{train} --steps 2 --out {out}"));
        assert!(is_well && said.contains("of 1 texts") && said.contains("no threshold chosen"), "{said}");
        assert!(said.contains("fitted to 1 texts only"), "{said}");
    }
    let settings = |folder: &str| fs::read_to_string(bench.path(folder).join("reranker.json")).unwrap();
    assert_eq!(settings("one"), settings("two"), "the same seed has the same encoder and weights");
    let (is_well, said) = medner(&format!("{train} --steps 0 --out three"));
    assert!(is_well && settings("three") != settings("one"), "{said}");

    // The encoder of one with the weights of another.
    fs::create_dir(bench.path("changed")).unwrap();
    for file in fs::read_dir(bench.path("one")).unwrap() {
        let file = file.unwrap();
        let from =
            if file.file_name() == "model.safetensors" { bench.path("three/model.safetensors") } else { file.path() };
        fs::copy(from, bench.path("changed").join(file.file_name())).unwrap();
    }

    let link = "link gold.jsonl linked.jsonl --to jsonl --replace --threshold 0";
    let (is_well, said) = medner(&format!("{link} --vocabulary organs.voc --reranker one"));
    assert!(is_well && said.contains("1 mentions linked"), "{said}");
    for (arguments, says) in [
        (format!("{link} --vocabulary our.voc --reranker one"), "one was not trained for our.voc"),
        (format!("{link} --vocabulary organs.voc --reranker encoder"), "encoder is no reranker"),
        (format!("{link} --vocabulary organs.voc --reranker nowhere"), "nowhere is no reranker"),
        (format!("{link} --vocabulary organs.voc --reranker changed"), "changed/model.safetensors is damaged"),
        (format!("{train} --steps 0 --out one"), "one already exists"),
        (train.replace("X=", "Y=") + " --steps 0 --out four", "no mention has an id of the vocabularies"),
        (train.replace("encoder encoder", "encoder nowhere") + " --steps 0 --out four", "nowhere"),
        ("vocabulary train our.voc --encoder encoder --steps 0 --out four".to_owned(), "give --mentions"),
    ] {
        let (is_well, said) = medner(&arguments);
        assert!(!is_well && said.contains(says), "{arguments}: {said}");
    }
    assert!(!bench.path("four").exists());
}
