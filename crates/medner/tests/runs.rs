//! End-to-end tests of the store of runs: seeds, sweeps, lists, comparisons, kills.

#![allow(clippy::unwrap_used, reason = "helpers of tests may unwrap as tests do")]
#![allow(clippy::print_stderr, reason = "the figures of the checks that are run by hand")]

mod bench;

use bench::Bench;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Instant;

#[test]
fn seeds_are_a_group_that_is_resumed_listed_and_compared() {
    let bench = Bench::new();
    let first = bench.json(&["train", "bc5cdr", "--seeds", "1,2", "--epochs", "2"]);
    let group = first["group"].as_str().unwrap();
    assert_eq!(first["runs"].as_array().unwrap().len(), 2);
    let f1 = |at: usize| first["runs"][at]["scores"]["test"]["overall"]["f1"].as_f64().unwrap();
    let found = &first["summary"]["test.overall.f1"];
    assert!((found["mean"].as_f64().unwrap() - (f1(0) + f1(1)) / 2.0).abs() < 1e-12, "{found}");
    assert!((found["standard_deviation"].as_f64().unwrap() - (f1(0) - f1(1)).abs() / 2f64.sqrt()).abs() < 1e-12);

    // Finished runs are not repeated; removed ones are.
    assert_eq!(bench.json(&["train", "bc5cdr", "--resume", "latest"]), first);
    let second = first["runs"][1]["run"].as_str().unwrap();
    bench.succeeds(&["runs", "rm", "--yes", second]);
    let again = bench.json(&["train", "bc5cdr", "--resume", group]);
    assert_eq!((&again["summary"], &again["runs"][0]), (&first["summary"], &first["runs"][0]));

    let ids: Vec<&str> = (0..2).map(|at| again["runs"][at]["run"].as_str().unwrap()).collect();
    bench.succeeds(&["runs", "tag", ids[1], "other"]);
    bench.json(&["eval", "bc5cdr", "--split", "dev"]);
    let columns = ["--columns", "run,kind,status,seed,tags,test"];
    let list = bench
        .json(&[&["runs", "list", "bc5cdr", "--sort", "-seed", "--filter"][..], &["kind=train"], &columns].concat());
    let row = |at: usize, seed: u64, tags: Value| json!({ "run": ids[at], "kind": "train", "status": "finished", "seed": seed, "tags": tags, "test": f1(at) });
    assert_eq!(list, json!([row(1, 2, "other".into()), row(0, 1, Value::Null)]));
    assert_eq!(bench.json(&["runs", "list", "--filter", "kind=eval"]).as_array().unwrap().len(), 1);
    assert!(bench.fails(&["runs", "list", "--filter", "sed=1"]).contains("did you mean seed?"));

    let compared = bench.json(&["runs", "compare", ids[0], "other"]);
    assert_eq!(compared["configuration"]["plan.recipe.seed"], json!([1, 2]));
    assert_eq!(compared["scores"]["test.overall.f1"], json!([f1(0), f1(1)]));
    let test = &compared["tests"][0];
    let difference = test["difference"].as_f64().unwrap();
    assert!((difference - (f1(1) - f1(0))).abs() < 1e-12, "{test}");
    assert!(
        (0.0..=1.0).contains(&test["p"].as_f64().unwrap())
            && test["words"].as_str().unwrap().contains("micro F1 on test")
    );
    let same = bench.json(&["runs", "compare", group, group]);
    assert!(same["tests"][0]["words"].as_str().unwrap().contains("do not differ"), "{same}");
    check_reports(&bench, &again);

    // An ensemble of two runs, in either order; naming one run twice is an error.
    let both = |first: &str, second: &str| bench.json(&["eval", "bc5cdr", "--run", first, "--run", second]);
    let (one_way, other_way) = (both(ids[0], ids[1]), both(ids[1], ids[0]));
    assert_eq!(
        (&one_way["overall"], &one_way["run"]),
        (&other_way["overall"], &json!(format!("{}+{}", ids[0], ids[1])))
    );
    let record = bench.json(&["runs", "list", "--filter", "ensemble=mean", "--columns", "ensemble,test"]);
    assert_eq!(record[0], json!({ "ensemble": "mean", "test": one_way["overall"]["f1"] }));
    assert!(bench.fails(&["eval", "bc5cdr", "--run", ids[0], "--run", ids[0]]).contains("named twice"));

    for name in ["all.csv", "all.json", "all.parquet"] {
        let path = bench.path(name).display().to_string();
        bench.succeeds(&["runs", "export", "--out", &path]);
        assert!(fs::metadata(path).unwrap().len() > 500);
    }
}

/// A report loads nothing, its counts add up, and it shows text only if allowed.
fn check_reports(bench: &Bench, group: &Value) {
    let report = |wanted: &str, more: &[&str]| {
        let path = bench.path("report.html").display().to_string();
        bench.succeeds(&[&["runs", "report", wanted, "--out", &path], more].concat());
        let page = fs::read_to_string(path).unwrap();
        for loads in ["http:", "https:", "//", "src=", "<script", "@import", "url(", "<iframe", "<object"] {
            assert!(!page.contains(loads), "{loads}");
        }
        assert!(page.contains("SYNTHETIC SAMPLE") && page.contains("Content-Security-Policy") && !page.contains("NaN"));
        page
    };
    let id = group["runs"][0]["run"].as_str().unwrap();
    let page = report(id, &[]);
    let table = page.split("<caption>Mentions by class</caption>").nth(1).unwrap();
    let row = table.split("<th scope=\"row\">all</th>").nth(1).unwrap().split("</tr>").next().unwrap();
    let cells: Vec<u64> = row
        .split("<td>")
        .skip(1)
        .map(|cell| cell.split('<').next().unwrap().replace(',', "").parse().unwrap())
        .collect();
    let [right, boundary, kind, both, missed, invented, gold, predicted] = cells[..] else { panic!("{cells:?}") };
    assert_eq!((right + boundary + kind + both + missed, right + boundary + kind + both + invented), (gold, predicted));
    let support = &group["runs"][0]["scores"]["test"]["overall"]["support"];
    assert_eq!((Some(gold), gold > 0), (support.as_u64(), true));
    assert!(page.matches("<svg").count() >= 4 && page.contains("<mark") && page.contains("Most often missed"));

    let page = report(id, &["--no-text", "--split", "dev"]);
    assert!(page.contains("made with --no-text") && !page.contains("<mark") && !page.contains("Most often"));
    let page = report(group["group"].as_str().unwrap(), &[]);
    let differ =
        page.split("<caption>Settings that differ between runs").nth(1).unwrap().split("</table>").next().unwrap();
    assert!(
        page.contains("micro F1 on test")
            && differ.contains("<th scope=\"row\">plan.recipe.seed</th><td>1</td><td>2</td>")
    );
    assert!(
        bench.fails(&["runs", "report", id, "--out", "x", "--no-text", "--with-text"]).contains("cannot be used with")
    );
}

#[test]
fn no_text_is_kept_of_a_corpus_that_is_not_public() {
    const SECRET: &str = "Quetzalcoatlus";
    let bench = Bench::new();
    fs::create_dir(bench.path("own")).unwrap();
    for split in ["train", "dev", "test"] {
        let documents: String = (0..9)
            .map(|id| format!("{split}{id}|t|Aspirin for {SECRET} disease\n{split}{id}|a|None.\n{split}{id}\t0\t7\tAspirin\tDrug\t-1\n\n"))
            .collect();
        fs::write(bench.path("own").join(split), documents).unwrap();
    }
    let description = "name = \"own\"\nformat = \"pubtator\"\nentity_types = [\"Drug\"]\nsplits = { train = { file = \"train\" }, dev = { file = \"dev\" }, test = { file = \"test\" } }\n[recipe]\noverlap = 32\n";
    fs::write(bench.path("own/dataset.toml"), description).unwrap();
    let own = bench.path("own/dataset.toml").display().to_string();
    let encoder = bench.path("encoder").display().to_string();
    let texts = |more: &[&str]| {
        bench.succeeds_bare(
            &[&["train", own.as_str(), "--encoder", encoder.as_str(), "--epochs", "1", "-v"], more].concat(),
        );
        bench.succeeds_bare(&[&["eval", own.as_str()], more].concat());
        let path = bench.path("report.html").display().to_string();
        for flags in [&[][..], &["--with-text"]] {
            bench.succeeds(&[&["runs", "report", "latest", "--out", path.as_str()], flags].concat());
            let page = fs::read_to_string(&path).unwrap();
            assert_eq!(
                (page.contains(SECRET), page.contains("--with-text shows it")),
                (!flags.is_empty(), flags.is_empty())
            );
        }
        let mut found = Vec::new();
        for run in fs::read_dir(bench.path("runs/own")).unwrap() {
            let run = run.unwrap().path();
            find(&run, SECRET, &mut found);
            fs::remove_dir_all(run).ok();
        }
        found
    };
    assert_eq!(texts(&[]), [""; 0]);
    let kept: BTreeSet<String> = texts(&["--keep-text"]).into_iter().collect();
    assert_eq!(kept.into_iter().collect::<Vec<_>>(), ["dev.PubTator.txt", "test.PubTator.txt"]);
}

/// Names of the files under `folder` that contain `text`.
fn find(folder: &Path, text: &str, found: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.map(Result::unwrap) {
        find(&entry.path(), text, found);
        let is_in = |bytes: Vec<u8>| bytes.windows(text.len()).any(|window| window == text.as_bytes());
        if fs::read(entry.path()).is_ok_and(is_in) {
            found.push(entry.file_name().into_string().unwrap());
        }
    }
}

#[test]
fn a_sweep_goes_on_and_leaves_test_alone() {
    let bench = Bench::new();
    let write = |rates: &str| {
        let text = format!(
            "dataset = \"bc5cdr\"\nencoder = {:?}\nbase = \"recipe.toml\"\nmethod = \"grid\"\n[recipe]\nepochs = 1\n[ranges]\nlearning_rate = [{rates}]\n",
            bench.path("encoder")
        );
        fs::write(bench.path("rates.toml"), text).unwrap();
    };
    let file = bench.path("rates.toml").display().to_string();
    let sweep = |more: &[&str]| bench.json(&[&["sweep", &file, "--sample"], more].concat());
    let runs = || bench.trainings();
    write("1e-2, 1e-9");
    assert_eq!(sweep(&["--dry-run"])["trials"][0]["status"], "to do");
    assert!(runs().is_empty());
    let first = sweep(&[]);
    let trial = |at: usize| &first["trials"][at];
    assert_eq!(
        (first["group"].as_str(), trial(0)["values"]["learning_rate"].as_f64()),
        (Some("sweep-rates"), Some(1e-2))
    );
    assert!(trial(0)["dev"].as_f64() > trial(1)["dev"].as_f64(), "{first}");
    let before = runs();
    for run in &before {
        let folder = bench.path("runs/bc5cdr").join(run);
        let scores: Value = serde_json::from_slice(&fs::read(folder.join("scores.json")).unwrap()).unwrap();
        assert!(scores.get("test").is_none() && scores.get("dev").is_some());
        assert!(folder.join("predictions/dev.jsonl").is_file() && !folder.join("predictions/test.jsonl").exists());
    }
    assert_eq!(sweep(&[]), first);
    write("1e-2, 5e-3, 1e-9");
    // The second of three is that of the second shard.
    for (shard, trained) in [("0/3", 2), ("2/3", 2), ("1/3", 3)] {
        assert_eq!(sweep(&["--shard", shard])["trials"].as_array().unwrap().len(), 3);
        assert_eq!(runs().len(), trained, "{shard}");
    }
    assert_eq!((before.len(), sweep(&["--dry-run"])["trials"][2]["status"].as_str()), (2, Some("finished")));
    fs::write(&file, "dataset = \"bc5cdr\"\nmethod = \"grid\"\n[ranges]\nlearning_rat = [1]\n").unwrap();
    assert!(bench.fails(&["sweep", &file]).contains("did you mean `learning_rate`?"));
}

#[test]
fn two_at_once_do_not_collide() {
    let bench = Bench::new();
    let mut both = [(); 2].map(|()| bench.spawn(&["train", "bc5cdr", "--epochs", "1"]));
    assert!(both.iter_mut().all(|process| process.wait().unwrap().success()));
    let runs = bench.trainings();
    assert_eq!(runs.len(), 2);
    assert_eq!(bench.metrics(&runs[0]), bench.metrics(&runs[1]));
}

#[test]
fn a_training_that_is_killed_at_any_moment_goes_on() {
    kill(3);
}

#[test]
#[ignore = "takes minutes; run by hand"]
fn a_training_that_is_killed_at_twenty_moments_goes_on() {
    kill(20);
}

/// Kills a training at several moments of its duration. Every folder stays readable, its best model loads, and the
/// resumed run ends like an uninterrupted one.
fn kill(moments: u32) {
    let bench = Bench::new();
    let begin = Instant::now();
    let whole = bench.json(&["train", "bc5cdr"]);
    let duration = begin.elapsed();
    let expected = bench.metrics(whole["run"].as_str().unwrap());
    let (mut folders, mut models) = (0, 0);
    for moment in 0..moments {
        let known = bench.trainings();
        let mut process = bench.spawn(&["train", "bc5cdr"]);
        // From shortly before the folder is created to shortly after the end.
        std::thread::sleep(duration.mul_f64((f64::from(moment) + 0.7) / f64::from(moments)));
        process.kill().unwrap();
        let ended = process.wait().unwrap().success();
        let list = bench.json(&["runs", "list", "--filter", "kind=train", "--columns", "run,status"]);
        assert!(list.as_array().unwrap().len() >= known.len(), "{list}");
        let Some(run) = bench.trainings().into_iter().find(|run| !known.contains(run)) else { continue };
        folders += 1;
        let shown = bench.json(&["runs", "show", &run]);
        let status = shown["status"].as_str().unwrap();
        if bench.path("runs/bc5cdr").join(&run).join("model/model.safetensors").exists() {
            models += 1;
            assert!(bench.json(&["eval", "bc5cdr", "--run", &run])["overall"].is_object());
        }
        match status {
            "finished" => {}
            // Killed at its first instant: nothing to resume, and nothing lost.
            "unreadable" => {
                assert!(!bench.path("runs/bc5cdr").join(&run).join("run.json").exists());
                continue;
            }
            _ => {
                assert!(!ended && status == "stopped", "{shown}");
                let resumed = bench.json(&["train", "bc5cdr", "--resume", &run]);
                assert_eq!(resumed["overall"], whole["overall"]);
            }
        }
        assert_eq!(bench.metrics(&run), expected, "killed at moment {moment}");
    }
    eprintln!("{moments} kills: {folders} left a folder, {models} a model");
    assert!(folders > 0);
}

/// `--filter` and other options over many runs, timed by hand: `MEDNER_RUNS=5000 cargo test …`.
#[test]
fn many_runs_are_listed() {
    let bench = Bench::new();
    let count: u64 = std::env::var("MEDNER_RUNS").ok().and_then(|count| count.parse().ok()).unwrap_or(50);
    let trained = bench.json(&["train", "bc5cdr", "--epochs", "1"]);
    let folder = bench.path("runs/bc5cdr").join(trained["run"].as_str().unwrap());
    let read = |name: &str| -> Value { serde_json::from_slice(&fs::read(folder.join(name)).unwrap()).unwrap() };
    let (mut record, scores) = (read("run.json"), read("scores.json"));
    for seed in 0..count {
        let run = bench.path("runs/many").join(format!("20260101T000000Z-seed{seed}"));
        fs::create_dir_all(&run).unwrap();
        record["plan"]["recipe"]["seed"] = seed.into();
        fs::write(run.join("run.json"), record.to_string()).unwrap();
        if seed % 10 != 0 {
            fs::write(run.join("scores.json"), scores.to_string()).unwrap();
        }
    }
    let begin = Instant::now();
    let list = bench.json(&["runs", "list", "many", "--filter", "dev>=0", "--sort", "-seed"]);
    eprintln!("{count} runs listed in {:?}", begin.elapsed());
    let rows = list.as_array().unwrap();
    assert_eq!((rows.len() as u64, &rows[0]["seed"]), (count - count.div_ceil(10), &json!(count - 1)));
    assert_eq!(bench.json(&["runs", "list", "nothing"]), json!([]));
}
