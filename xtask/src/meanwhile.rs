//! Compiling what needs no libtorch, while libtorch is fetched.

use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};

use anyhow::{Context, Result};

use crate::repo::{cargo, program};

/// The cargo command that builds the product.
pub const BUILD: [&str; 4] = ["build", "--release", "--package", "medner"];

/// Runs the rest of its arguments until it ends or standard input does, and then ends them and whatever they started.
///
/// Our end of the pipe closes when this program ends, however it ends. So Ctrl-C, and even a `kill -9`, reaches the
/// compilers, too. A handler of signals would need a crate and miss the second.
const UNTIL_INPUT_ENDS: &str = "\"$@\" & read -r _; kill -TERM 0";

/// A build of the product that is expected to fail at torch-sys. It ends when this is dropped.
pub struct Meanwhile(Child);

impl Meanwhile {
    /// Starts it. The libtorch folder must not be there, and must not appear before this is dropped: torch-sys's build
    /// script first looks for CUDA and then compiles, and must not find the folder in between.
    pub fn start() -> Result<Self> {
        eprintln!("Compiling what needs no libtorch meanwhile");
        let build = cargo();
        let mut command = program("sh");
        command.args(["-c", UNTIL_INPUT_ENDS, "sh"]).arg(build.get_program()).args(BUILD);
        // What fails says why when the real build comes to it.
        command.args(["--keep-going", "--quiet"]).stdout(Stdio::null()).stderr(Stdio::null());
        // A process group of its own, which `kill 0` ends as a whole.
        let child = command.stdin(Stdio::piped()).process_group(0).spawn().context("cannot run sh")?;
        Ok(Self(child))
    }
}

impl Drop for Meanwhile {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        if let Err(error) = self.0.wait() {
            eprintln!("warning: cannot wait for the compilation: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn what_was_started_ends_with_the_pipe() -> io::Result<()> {
        let mut command = program("sh");
        command.args(["-c", UNTIL_INPUT_ENDS, "sh", "sh", "-c", "echo begun; sleep 600 & wait"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0).spawn()?;
        let mut out = io::BufReader::new(child.stdout.take().expect("captured"));
        let mut line = String::new();
        io::BufRead::read_line(&mut out, &mut line)?;
        assert_eq!(line, "begun\n");
        drop(Meanwhile(child));
        // The pipe ends when nobody is left who could write to it, the `sleep` among them.
        assert_eq!(io::Read::read_to_end(&mut out, &mut Vec::new())?, 0);
        Ok(())
    }
}
