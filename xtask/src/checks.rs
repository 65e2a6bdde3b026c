//! `cargo xtask test`: what CI runs.

use std::ffi::OsString;
use std::process::ExitCode;
use std::thread::ScopedJoinHandle;
use std::time::Instant;

use anyhow::{Context, Result};

use crate::check::{self, Check, Subject};
use crate::product::exit_code;
use crate::repo::{Repo, cargo};
use crate::{libtorch, tidy};

enum Step {
    Cargo {
        command: &'static [&'static str],
        variable: Option<(&'static str, &'static str)>,
        /// What to do if it fails, where that is not plain from what it prints.
        fix: Option<&'static str>,
    },
    Tidy,
    /// The arguments of `cargo xtask test` go here.
    Tests,
    /// A check of `cargo xtask check`, with arguments that make it short. It is skipped where it cannot run.
    Check(Subject, &'static [&'static str]),
}

const TESTS: [&str; 3] = ["test", "--release", "--workspace"];

const STEPS: [Step; 11] = [
    Step::Cargo {
        command: &["fmt", "--all", "--check"],
        variable: None,
        fix: Some("`cargo fmt --all` (from `rustup component add rustfmt`)"),
    },
    Step::Tidy,
    Step::Cargo {
        command: &["clippy", "--release", "--workspace", "--all-targets", "--", "-D", "warnings"],
        variable: None,
        fix: Some("correct the lints above (clippy comes from `rustup component add clippy`)"),
    },
    Step::Cargo {
        command: &["doc", "--release", "--workspace", "--no-deps"],
        variable: Some(("RUSTDOCFLAGS", "-D warnings")),
        fix: Some("correct the doc comments above"),
    },
    Step::Tests,
    // No check of CI asserts a speed.
    Step::Check(Subject::Load, &["--requests", "500", "--connections", "16", "--times", "0"]),
    Step::Check(Subject::Hostile, &["--connections", "60", "--seconds", "5", "--body-mb", "1", "--given-up", "5"]),
    Step::Check(Subject::Pages, &[]),
    Step::Check(Subject::Stores, &[]),
    Step::Check(Subject::Python, &[]),
    Step::Check(Subject::Cluster, &[]),
];

/// Stops at the first step that fails.
pub fn run(repo: &Repo, arguments: &[OsString]) -> Result<ExitCode> {
    if std::env::var_os("MEDNER_CORPORA").is_none() {
        eprintln!("note: tests on real corpora are skipped: set MEDNER_CORPORA");
    }
    libtorch::ensure(repo)?;
    std::thread::scope(|scope| {
        let environments = scope.spawn(|| make_environments(repo));
        run_steps(repo, arguments, environments)
    })
}

/// Makes the environments of the checks, which mostly waits for the network, while cargo compiles.
fn make_environments(repo: &Repo) {
    for step in &STEPS {
        if let Step::Check(subject, _) = step
            && check::obstacle(*subject).is_none()
        {
            // The check says why it cannot be made.
            let _ = check::prepare(repo, *subject);
        }
    }
}

fn run_steps(repo: &Repo, arguments: &[OsString], environments: ScopedJoinHandle<'_, ()>) -> Result<ExitCode> {
    let mut environments = Some(environments);
    let mut skipped = Vec::new();
    for step in &STEPS {
        let begin = Instant::now();
        let (name, code) = match step {
            Step::Cargo { command, variable, fix } => run_cargo(command, &[], *variable, *fix)?,
            Step::Tests => run_cargo(&TESTS, arguments, None, None)?,
            Step::Tidy => {
                eprintln!("\n$ cargo xtask tidy");
                ("cargo xtask tidy".to_owned(), tidy::run(repo)?)
            }
            Step::Check(subject, arguments) => {
                let name = format!("cargo xtask check {}", subject.name());
                if let Some(obstacle) = check::obstacle(*subject) {
                    skipped.push(format!("SKIPPED: {name}: {obstacle}"));
                    continue;
                }
                eprintln!("\n$ {name}");
                if let Some(environments) = environments.take() {
                    environments.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                }
                skipped.extend(check::gap(*subject).map(|gap| format!("SKIPPED: {name}: {gap}")));
                let arguments = arguments.iter().map(OsString::from).collect();
                (name, check::run(repo, &Check { subject: *subject, model: None, arguments })?)
            }
        };
        if code != ExitCode::SUCCESS {
            eprintln!("\nfailed: {name}");
            return Ok(code);
        }
        eprintln!("passed in {:.0} s: {name}", begin.elapsed().as_secs_f64());
    }
    for line in skipped {
        eprintln!("{line}");
    }
    Ok(ExitCode::SUCCESS)
}

fn run_cargo(
    words: &[&str],
    arguments: &[OsString],
    variable: Option<(&str, &str)>,
    fix: Option<&str>,
) -> Result<(String, ExitCode)> {
    let name = format!("cargo {}", words.join(" "));
    eprintln!("\n$ {name}");
    let mut command = cargo();
    command.args(words).args(arguments).envs(variable);
    let status = command.status().context("cannot run cargo")?;
    if let Some(fix) = fix.filter(|_| !status.success()) {
        eprintln!("\nWhat to do: {fix}");
    }
    Ok((name, exit_code(status)))
}
