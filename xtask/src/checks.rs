//! `cargo xtask test`: what CI runs.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::libtorch;
use crate::product::exit_code;
use crate::repo::{Repo, cargo};

struct Check {
    command: &'static [&'static str],
    /// What to do if it fails, where that is not plain from what it prints.
    fix: Option<&'static str>,
}

const CHECKS: [Check; 3] = [
    Check {
        command: &["fmt", "--all", "--check"],
        fix: Some("`cargo fmt --all` (from `rustup component add rustfmt`)"),
    },
    Check {
        command: &["clippy", "--release", "--workspace", "--all-targets", "--", "-D", "warnings"],
        fix: Some("correct the lints above (clippy comes from `rustup component add clippy`)"),
    },
    Check { command: &["test", "--release", "--workspace"], fix: None },
];

/// Stops at the first check that fails. The arguments go to the last one, `cargo test`.
pub fn run(repo: &Repo, arguments: &[OsString]) -> Result<ExitCode> {
    if std::env::var_os("MEDNER_CORPORA").is_none() {
        eprintln!("note: tests on real corpora are skipped: set MEDNER_CORPORA");
    }
    libtorch::ensure(repo)?;
    for (index, check) in CHECKS.iter().enumerate() {
        let mut command = cargo();
        command.args(check.command);
        if index + 1 == CHECKS.len() {
            command.args(arguments);
        }
        eprintln!("\n$ cargo {}", check.command.join(" "));
        let status = command.status().context("cannot run cargo")?;
        if !status.success() {
            eprintln!("\nfailed: cargo {}", check.command.join(" "));
            if let Some(fix) = check.fix {
                eprintln!("  What to do: {fix}");
            }
            return Ok(exit_code(status));
        }
    }
    Ok(ExitCode::SUCCESS)
}
