//! `cargo xtask`: makes libtorch available, builds `medner`, and hands every other word to it.
//!
//! A person with a fresh clone has no libtorch, so nothing here may depend on it. The order of work is always the
//! same: [`libtorch`] finds or fetches the libraries, [`product`] builds the binary and runs it.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command runner talks to people")]

mod bench;
mod checks;
mod dist;
mod doctor;
mod driver;
mod fetch;
mod help;
mod libtorch;
mod product;
mod python;
mod repo;
mod search;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::repo::Repo;
use crate::search::Wanted;

fn main() -> ExitCode {
    match run(std::env::args_os().skip(1).collect()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Vec<OsString>) -> Result<ExitCode> {
    let Some((word, rest)) = arguments.split_first() else {
        println!("{}", help::OVERVIEW);
        return Ok(ExitCode::SUCCESS);
    };
    match word.to_str() {
        Some("-h" | "--help") => print_help(help::OVERVIEW),
        Some("help") => explain(rest.first(), &arguments),
        Some("setup") => setup(rest),
        Some("doctor") if asks_for_help(rest) => print_help(help::DOCTOR),
        Some("doctor") => doctor::run(&Repo::find()?, rest),
        Some("test") if asks_for_help(rest) => print_help(help::TEST),
        Some("test") => checks::run(&Repo::find()?, rest),
        Some("bench") if asks_for_help(rest) => print_help(help::BENCH),
        Some("bench") => bench::run(&Repo::find()?, rest),
        Some("dist") => dist(rest),
        _ => product::forward(&Repo::find()?, &arguments),
    }
}

/// `help`, `help all`, `help <COMMAND>`.
fn explain(topic: Option<&OsString>, arguments: &[OsString]) -> Result<ExitCode> {
    let Some(topic) = topic else { return print_help(help::OVERVIEW) };
    if topic == "all" {
        return product::forward(&Repo::find()?, &["--help".into()]);
    }
    match topic.to_str().and_then(help::of) {
        Some(page) => print_help(page),
        None => product::forward(&Repo::find()?, arguments),
    }
}

fn print_help(text: &str) -> Result<ExitCode> {
    println!("{text}");
    Ok(ExitCode::SUCCESS)
}

/// True if `--help` stands before a `--`: what comes after it belongs to another program.
fn asks_for_help(arguments: &[OsString]) -> bool {
    arguments.iter().take_while(|argument| *argument != "--").any(|argument| argument == "-h" || argument == "--help")
}

fn setup(arguments: &[OsString]) -> Result<ExitCode> {
    let mut wanted = Wanted::Any;
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next()? {
        wanted = match argument {
            lexopt::Arg::Long("cpu") if wanted != Wanted::Cuda => Wanted::Cpu,
            lexopt::Arg::Long("cuda") if wanted != Wanted::Cpu => Wanted::Cuda,
            lexopt::Arg::Long("cpu" | "cuda") => bail!("--cpu and --cuda exclude each other"),
            lexopt::Arg::Short('h') | lexopt::Arg::Long("help") => return print_help(help::SETUP),
            other => bail!("{}; see `cargo xtask setup --help`", other.unexpected()),
        };
    }
    libtorch::set_up(&Repo::find()?, wanted)?;
    Ok(ExitCode::SUCCESS)
}

fn dist(arguments: &[OsString]) -> Result<ExitCode> {
    let mut out = None;
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next()? {
        match argument {
            lexopt::Arg::Long("out") => out = Some(parser.value()?.into()),
            lexopt::Arg::Short('h') | lexopt::Arg::Long("help") => return print_help(help::DIST),
            other => bail!("{}; see `cargo xtask dist --help`", other.unexpected()),
        }
    }
    dist::run(&Repo::find()?, out)?;
    Ok(ExitCode::SUCCESS)
}
