//! `cargo xtask`: makes libtorch available, builds `medner`, and hands every other word to it.
//!
//! A person with a fresh clone has no libtorch, so nothing here may depend on it. The order of work is always the
//! same: [`libtorch`] finds or fetches the libraries, [`product`] builds the binary and runs it.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command runner talks to people")]

mod action;
mod bench;
mod check;
mod checks;
mod dist;
mod doctor;
mod driver;
mod fetch;
mod gpu;
mod help;
mod libtorch;
mod meanwhile;
mod product;
mod python;
mod repo;
mod search;
mod tidy;

use std::process::ExitCode;

use anyhow::Result;

use crate::action::Action;
use crate::repo::Repo;

fn main() -> ExitCode {
    let arguments = std::env::args_os().skip(1).collect();
    match action::parse(arguments).and_then(run) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(action: Action) -> Result<ExitCode> {
    match action {
        Action::Print(page) => {
            println!("{page}");
            Ok(ExitCode::SUCCESS)
        }
        Action::Setup(wanted) => libtorch::set_up(&Repo::find()?, wanted).map(|()| ExitCode::SUCCESS),
        Action::Doctor(arguments) => doctor::run(&Repo::find()?, &arguments),
        Action::Test(arguments) => checks::run(&Repo::find()?, &arguments),
        Action::Tidy => tidy::run(&Repo::find()?),
        Action::Check(check) => check::run(&Repo::find()?, &check),
        Action::Bench(bench, arguments) => bench::run(&Repo::find()?, bench, &arguments),
        Action::Dist(form, out) => dist::run(&Repo::find()?, form, out).map(|()| ExitCode::SUCCESS),
        Action::GpuBundle(what, out) => gpu::run(&Repo::find()?, &what, out).map(|()| ExitCode::SUCCESS),
        Action::Forward(arguments) => product::forward(&Repo::find()?, &arguments),
    }
}
