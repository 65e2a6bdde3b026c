//! What a command line asks for. Reading it is apart from doing it, so that `tidy` can hold the documentation's commands
//! against it.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Result, bail};
use lexopt::{Arg, ValueExt};

use crate::bench::Bench;
use crate::check::{Check, Subject};
use crate::dist::Form;
use crate::gpu::Shipment;
use crate::help;
use crate::search::Wanted;

#[derive(Debug)]
pub enum Action {
    Print(&'static str),
    Setup(Wanted),
    Doctor(Vec<OsString>),
    Test(Vec<OsString>),
    Tidy,
    Check(Check),
    Bench(Bench, Vec<OsString>),
    Dist(Form, Option<PathBuf>),
    GpuBundle(Shipment, Option<PathBuf>),
    /// A command of medner.
    Forward(Vec<OsString>),
}

pub fn parse(arguments: Vec<OsString>) -> Result<Action> {
    let Some((word, rest)) = arguments.split_first() else { return Ok(Action::Print(help::OVERVIEW)) };
    let word = word.to_str().unwrap_or_default();
    match word {
        "-h" | "--help" => return Ok(Action::Print(help::OVERVIEW)),
        "help" => return Ok(explain(rest.first(), &arguments)),
        _ => {}
    }
    let Some(page) = help::of(word) else { return Ok(Action::Forward(arguments)) };
    if asks_for_help(rest) {
        return Ok(Action::Print(page));
    }
    match word {
        "setup" => setup(rest),
        "doctor" => Ok(Action::Doctor(rest.into())),
        "test" => Ok(Action::Test(rest.into())),
        "tidy" if rest.is_empty() => Ok(Action::Tidy),
        "tidy" => bail!("tidy takes no arguments"),
        "check" => check(rest),
        "notebooks" => {
            let arguments = rest.to_vec();
            Ok(Action::Check(Check { subject: Subject::Notebooks, model: None, arguments }))
        }
        "bench" => bench(rest),
        "dist" => dist(rest),
        "gpu-bundle" => gpu_bundle(rest),
        other => unreachable!("{other} has a page and no meaning"),
    }
}

/// `help`, `help all`, `help <COMMAND>`.
fn explain(topic: Option<&OsString>, arguments: &[OsString]) -> Action {
    let Some(topic) = topic else { return Action::Print(help::OVERVIEW) };
    if topic == "all" {
        return Action::Forward(vec!["--help".into()]);
    }
    match topic.to_str().and_then(help::of) {
        Some(page) => Action::Print(page),
        None => Action::Forward(arguments.into()),
    }
}

/// True if `--help` stands before a `--`: what comes after it belongs to another program.
fn asks_for_help(arguments: &[OsString]) -> bool {
    arguments.iter().take_while(|argument| *argument != "--").any(|argument| argument == "-h" || argument == "--help")
}

fn setup(arguments: &[OsString]) -> Result<Action> {
    let mut wanted = Wanted::Any;
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next()? {
        wanted = match argument {
            Arg::Long("cpu") if wanted != Wanted::Cuda => Wanted::Cpu,
            Arg::Long("cuda") if wanted != Wanted::Cpu => Wanted::Cuda,
            Arg::Long("cpu" | "cuda") => bail!("--cpu and --cuda exclude each other"),
            other => bail!("{}; see `cargo xtask setup --help`", other.unexpected()),
        };
    }
    Ok(Action::Setup(wanted))
}

fn check(arguments: &[OsString]) -> Result<Action> {
    let Some((name, rest)) = arguments.split_first() else {
        bail!("what to check? {}; see `cargo xtask check --help`", Subject::names());
    };
    let Some(subject) = name.to_str().and_then(Subject::named) else {
        bail!("there is no check {}: choose {}", name.to_string_lossy(), Subject::names());
    };
    let mut check = Check { subject, model: None, arguments: Vec::new() };
    let mut parser = lexopt::Parser::from_args(rest);
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Long("model") if subject.takes_model() => check.model = Some(parser.value()?),
            Arg::Long(name) => {
                check.arguments.push(format!("--{name}").into());
                check.arguments.extend(parser.optional_value());
            }
            Arg::Value(value) => check.arguments.push(value),
            other => bail!("{}; see `cargo xtask check --help`", other.unexpected()),
        }
    }
    Ok(Action::Check(check))
}

fn bench(arguments: &[OsString]) -> Result<Action> {
    let (bench, rest) = match arguments.split_first() {
        Some((word, rest)) if word == "peers" => (Bench::Peers, rest),
        Some((word, rest)) if word == "cost" => (Bench::Cost, rest),
        Some((word, rest)) if word == "micro" => (Bench::Micro, rest),
        _ => bail!("what to measure? peers, cost or micro; see `cargo xtask bench --help`"),
    };
    Ok(Action::Bench(bench, rest.into()))
}

fn dist(arguments: &[OsString]) -> Result<Action> {
    let (mut form, mut out) = (Form::Folder, None);
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Long("wheel") => form = Form::Wheels,
            Arg::Long("out") => out = Some(parser.value()?.parse()?),
            other => bail!("{}; see `cargo xtask dist --help`", other.unexpected()),
        }
    }
    Ok(Action::Dist(form, out))
}

fn gpu_bundle(arguments: &[OsString]) -> Result<Action> {
    let (mut what, mut out) = (Shipment::Bundle, None);
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Long("parts") => what = Shipment::parse(&parser.value()?)?,
            Arg::Long("out") => out = Some(parser.value()?.parse()?),
            other => bail!("{}; see `cargo xtask gpu-bundle --help`", other.unexpected()),
        }
    }
    Ok(Action::GpuBundle(what, out))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Action> {
        parse(line.split_whitespace().map(OsString::from).collect())
    }

    #[test]
    fn every_page_has_a_verb_and_every_other_word_is_medners() {
        for verb in ["setup", "doctor", "test", "tidy", "check", "bench", "dist", "gpu-bundle", "notebooks"] {
            assert!(matches!(read(&format!("{verb} --help")), Ok(Action::Print(_))), "{verb}");
            assert!(matches!(read(&format!("help {verb}")), Ok(Action::Print(_))), "{verb}");
        }
        assert!(matches!(read("train bc5cdr --help"), Ok(Action::Forward(arguments)) if arguments.len() == 3));
        assert!(matches!(read("help all"), Ok(Action::Forward(_))));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in [
            "setup --cpu --cuda",
            "dist --in x",
            "bench",
            "check",
            "check everything",
            "tidy up",
            "gpu-bundle --parts x",
        ] {
            assert!(read(line).is_err(), "{line}");
        }
    }

    #[test]
    fn a_check_keeps_its_model_apart_from_the_scripts_arguments() {
        let Ok(Action::Check(check)) = read("check load --requests 200 --model runs/x --times=0") else {
            panic!("a check");
        };
        assert_eq!(check.model, Some("runs/x".into()));
        assert_eq!(check.arguments, ["--requests", "200", "--times", "0"]);
    }
}
