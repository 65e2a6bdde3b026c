//! The Python environment: as a place that may hold torch, and as the way to pip and to unpacking.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use fs_err::File;

/// Finds `torch` without importing it, which would take seconds.
const FIND_TORCH: &str = "\
import importlib.util
spec = importlib.util.find_spec('torch')
if spec is not None and spec.origin is not None:
    print(spec.submodule_search_locations[0])
";

const UNPACK: &str = include_str!("unpack.py");

/// Wheels are made per Python version, but the libraries in them are the same. Naming a version that torch has wheels
/// for makes the download independent of the Python that runs pip.
const WHEELS_FOR: &str = "3.12";

/// The same choice as torch-sys makes.
pub fn interpreter() -> &'static str {
    if std::env::var_os("VIRTUAL_ENV").is_some() { "python" } else { "python3" }
}

/// The folder of the `torch` package, whatever its version. `None`: there is none, or no Python that works.
pub fn find_torch(root: &Path) -> Result<Option<PathBuf>> {
    // In the repository root, for a folder called `torch` where the user stands would be found first.
    let output = match Command::new(interpreter()).args(["-c", FIND_TORCH]).current_dir(root).output() {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        other => other.with_context(|| format!("cannot run {}", interpreter()))?,
    };
    if !output.status.success() {
        // Not the end: libtorch may come from elsewhere. Such a Python can be a shim with nothing behind it.
        let reason = String::from_utf8_lossy(&output.stderr);
        eprintln!("warning: {} could not look for torch: {}", interpreter(), reason.trim_end());
        return Ok(None);
    }
    let path = String::from_utf8(output.stdout).context("the path of Python's torch is not UTF-8")?;
    Ok(Some(path.trim()).filter(|path| !path.is_empty()).map(PathBuf::from))
}

/// The first line of `python3 --version` or `python3 -m pip --version`; `None` if it cannot be run or fails.
pub fn version(arguments: &[&str]) -> Option<String> {
    first_line(Command::new(interpreter()).args(arguments))
}

/// The first line of what a command prints; `None` if it cannot be run or fails.
pub fn first_line(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).output().ok().filter(|output| output.status.success())?;
    String::from_utf8_lossy(&output.stdout).lines().next().map(str::to_owned)
}

/// Fails with what to install if this machine cannot download.
pub fn require_pip() -> Result<()> {
    let otherwise = "or name a libtorch that you have: LIBTORCH=<folder>, or LIBTORCH_USE_PYTORCH=1 in a Python \
                     environment with torch";
    if version(&["--version"]).is_none() {
        bail!(
            "downloading libtorch needs Python, and `{}` does not run.\n  What to do: install Python 3 with pip, \
             {otherwise}.",
            interpreter()
        );
    }
    if version(&["-m", "pip", "--version"]).is_none() {
        bail!(
            "downloading libtorch needs pip, and `{0} -m pip` does not run.\n  What to do: `{0} -m ensurepip`, or \
             install your system's python3-pip, {otherwise}.",
            interpreter()
        );
    }
    Ok(())
}

/// A virtual environment with the packages of a requirements file, and its interpreter. It is made anew when the file
/// has changed.
///
/// Packages in `alone` come without their dependencies.
pub fn environment(folder: &Path, requirements: &Path, alone: &[&str]) -> Result<PathBuf> {
    let python = folder.join("bin/python");
    let wanted = fs_err::read_to_string(requirements)?;
    // Written last, so that an interrupted installation is begun again.
    let mark = folder.join("requirements.txt");
    if fs_err::read_to_string(&mark).ok().as_ref() == Some(&wanted) {
        return Ok(python);
    }
    eprintln!("Making a Python environment in {}, for {}", folder.display(), requirements.display());
    require_pip()?;
    install(Command::new(interpreter()).args(["-m", "venv", "--clear"]).arg(folder))?;
    let pip = || {
        let mut pip = Command::new(&python);
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
        pip
    };
    install(pip().arg("--requirement").arg(requirements))?;
    if !alone.is_empty() {
        install(pip().arg("--no-deps").args(alone))?;
    }
    fs_err::write(mark, wanted)?;
    Ok(python)
}

fn install(command: &mut Command) -> Result<()> {
    let status = command.stdout(Stdio::from(io::stderr())).status().context("cannot run Python")?;
    if !status.success() {
        bail!("the Python environment could not be made (Python's own words are above)");
    }
    Ok(())
}

/// `pip download` of requirements into a folder. Unlike `pip install`, it works in an externally managed Python.
pub fn download(requirements: &[String], with_dependencies: bool, out: &Path, lock: &File) -> Result<()> {
    let scratch = out.join("partial");
    fs_err::create_dir_all(&scratch)?;
    let mut pip = Command::new(interpreter());
    pip.args(["-m", "pip", "download", "--disable-pip-version-check", "--no-input", "--only-binary=:all:"]);
    pip.args(["--implementation=cp", &format!("--python-version={WHEELS_FOR}")]);
    if !with_dependencies {
        pip.arg("--no-deps");
    }
    // The system's folder for temporary files is often too small for these.
    pip.arg("--dest").arg(out).args(requirements).env("TMPDIR", &scratch);
    let status = run_holding(&mut pip, lock)?;
    if !status {
        bail!(
            "pip could not download {} (its own words are above).\n  What to do: check the network and try again, or \
             name a libtorch that you have: LIBTORCH=<folder>, or LIBTORCH_USE_PYTORCH=1 in a Python environment with \
             torch.",
            requirements.join(" ")
        );
    }
    fs_err::remove_dir_all(scratch)?;
    Ok(())
}

/// Unpacks the headers, the libraries whose names match, and the metadata of a wheel.
pub fn unpack(wheel: &Path, out: &Path, library_patterns: &[&str], lock: &File) -> Result<()> {
    let mut command = Command::new(interpreter());
    command.args(["-c", UNPACK]).arg(wheel).arg(out).args(library_patterns);
    if !run_holding(&mut command, lock)? {
        bail!("could not unpack {} (Python's own words are above)", wheel.display());
    }
    Ok(())
}

/// Runs a command that holds the lock along with us, and says whether it succeeded.
///
/// Killing this program does not kill its child. Were the lock ours alone, the next set-up would work in the same
/// folder as the orphan. A lock belongs to the open file, and the child shares that as its (empty) standard input.
fn run_holding(command: &mut Command, lock: &File) -> Result<bool> {
    let lock = lock.file().try_clone().context("cannot share the lock")?;
    // What pip says is for people, and our standard output may be somebody's data.
    command.stdin(Stdio::from(lock)).stdout(Stdio::from(io::stderr()));
    let status = command.status().with_context(|| format!("cannot run {}", interpreter()))?;
    Ok(status.success())
}
