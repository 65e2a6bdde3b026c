//! Building medner, and handing a command to it.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, IsTerminal};
use std::os::unix::process::CommandExt;
use std::process::{ExitCode, Stdio};

use anyhow::{Context, Result, bail};

use crate::libtorch;
use crate::meanwhile::BUILD;
use crate::repo::{Repo, cargo, program};

/// Becomes `medner` with these arguments, in the user's folder. Returns only if that fails.
pub fn forward(repo: &Repo, arguments: &[OsString]) -> Result<ExitCode> {
    libtorch::ensure(repo)?;
    build()?;
    let medner = repo.medner();
    let error = program(&medner).args(arguments).exec();
    Err(error).with_context(|| format!("cannot run {}", medner.display()))
}

/// Builds `medner` in release mode. Says nothing if there is nothing to build.
pub fn build() -> Result<()> {
    // `--quiet` would be quiet for the minutes of a first build, too. So cargo speaks, except for its last line.
    let color = if io::stderr().is_terminal() { "--color=always" } else { "--color=auto" };
    let mut child = cargo()
        .args(BUILD)
        .arg(color)
        .stdout(Stdio::from(io::stderr()))
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot run cargo")?;
    let stderr = child.stderr.take().context("cargo's standard error was not captured")?;
    for line in BufReader::new(stderr).split(b'\n') {
        let line = line.context("cannot read what cargo says")?;
        let line = String::from_utf8_lossy(&line);
        if !(line.contains("Finished") && line.contains("profile")) {
            eprintln!("{line}");
        }
    }
    if !child.wait().context("cannot wait for cargo")?.success() {
        bail!("medner could not be built");
    }
    Ok(())
}

/// Turns the status of a child into ours. A child that a signal ended has no code.
pub fn exit_code(status: std::process::ExitStatus) -> ExitCode {
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    code.map_or(ExitCode::FAILURE, ExitCode::from)
}
