//! Which libtorch to use: a decision from plain facts, so that it can be tested without any libtorch.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use fs_err as fs;

/// The version that torch-sys, as pinned in the workspace, was made for. Its build script checks the same.
pub const VERSION: &str = "2.11.0";

/// Files without which a build cannot succeed.
const REQUIRED: [&str; 4] =
    ["include/torch/csrc/api/include/torch/torch.h", "lib/libc10.so", "lib/libtorch.so", "lib/libtorch_cpu.so"];

/// What the user asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Whatever is there; a download has CUDA if there is a driver.
    Any,
    /// Whatever is there; a download has no CUDA.
    Cpu,
    /// Nothing without CUDA.
    Cuda,
}

/// What a folder turned out to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    Absent,
    /// A required file, relative to the folder, is missing.
    Lacks(&'static str),
    /// As written in the folder, with the suffix.
    OtherVersion(String),
    Ready {
        version: String,
        cuda: bool,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    pub path: PathBuf,
    pub state: State,
}

/// Everything that the decision depends on.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// LIBTORCH_USE_PYTORCH is set. Any value counts, since any value does for torch-sys.
    pub use_pytorch: bool,
    /// The folder in LIBTORCH, if it is not the one that cargo's configuration sets.
    pub variable: Option<Folder>,
    /// `.medner/libtorch`.
    pub in_place: Folder,
    /// The torch of the Python environment. Looked for only if it could matter.
    pub python: Option<Folder>,
    /// A driver that this libtorch can work with.
    pub driver: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    UsePytorch,
    Variable,
    InPlace,
    /// Found without being asked for: works only once `.medner/libtorch` links to it.
    Python,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavor {
    Cpu,
    Cuda,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    Use(Origin, PathBuf),
    Fetch(Flavor),
}

/// Something that the user set cannot be used, and falling back to another libtorch would go against their word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub found: String,
    pub fix: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n  What to do: {}", self.found, self.fix)
    }
}

impl std::error::Error for Problem {}

/// Chooses among what is there.
///
/// LIBTORCH_USE_PYTORCH comes before LIBTORCH because torch-sys reads them in that order; another order here would
/// report one libtorch and build with the other.
pub fn decide(surroundings: &Surroundings, wanted: Wanted) -> Result<Decision, Problem> {
    if surroundings.use_pytorch {
        let Some(folder) = &surroundings.python else {
            return Err(Problem {
                found: "LIBTORCH_USE_PYTORCH is set, but the Python environment has no torch.".into(),
                fix: format!(
                    "activate the environment that has it, `pip install torch=={VERSION}`, or unset the variable."
                ),
            });
        };
        return insist(Origin::UsePytorch, "LIBTORCH_USE_PYTORCH", folder, wanted);
    }
    if let Some(folder) = &surroundings.variable {
        return insist(Origin::Variable, "LIBTORCH", folder, wanted);
    }
    if folder_serves(&surroundings.in_place, wanted) {
        return Ok(Decision::Use(Origin::InPlace, surroundings.in_place.path.clone()));
    }
    if let Some(folder) = surroundings.python.as_ref().filter(|folder| folder_serves(folder, wanted)) {
        return Ok(Decision::Use(Origin::Python, folder.path.clone()));
    }
    let flavor = match wanted {
        Wanted::Cuda => Flavor::Cuda,
        Wanted::Any if surroundings.driver => Flavor::Cuda,
        Wanted::Any | Wanted::Cpu => Flavor::Cpu,
    };
    Ok(Decision::Fetch(flavor))
}

/// The user named this folder, so it is this one or none.
fn insist(origin: Origin, variable: &str, folder: &Folder, wanted: Wanted) -> Result<Decision, Problem> {
    let path = folder.path.display();
    let found = match &folder.state {
        State::Ready { cuda: false, .. } if wanted == Wanted::Cuda => {
            format!("{variable} leads to {path}, which has no CUDA libraries, and --cuda asks for them.")
        }
        State::Ready { .. } => return Ok(Decision::Use(origin, folder.path.clone())),
        State::Absent => format!("{variable} leads to {path}, which is not a folder."),
        State::Lacks(file) => format!("{variable} leads to {path}, which lacks {file}."),
        State::OtherVersion(version) => {
            format!("{variable} leads to {path}, which holds libtorch {version}; this project needs {VERSION}.")
        }
    };
    let change = match origin {
        Origin::UsePytorch => {
            format!("activate a Python environment with torch {VERSION} (`pip install torch=={VERSION}`)")
        }
        _ => format!("let {variable} lead to libtorch {VERSION}"),
    };
    let fix = format!("{change}, or unset {variable} and run `cargo xtask setup`, which finds or downloads one.");
    Err(Problem { found, fix })
}

pub fn folder_serves(folder: &Folder, wanted: Wanted) -> bool {
    match folder.state {
        State::Ready { cuda, .. } => cuda || wanted != Wanted::Cuda,
        _ => false,
    }
}

/// Looks into a folder that is laid out as libtorch or as Python's `torch` package; the two agree in what we need.
pub fn inspect(path: &Path) -> Result<Folder> {
    let folder = |state| Ok(Folder { path: path.to_owned(), state });
    if !path.is_dir() {
        return folder(State::Absent);
    }
    // The version comes first: of an old libtorch it is the more useful thing to say.
    let Some(version) = read_version(path)? else {
        return folder(State::Lacks("build-version"));
    };
    if release(&version) != VERSION {
        return folder(State::OtherVersion(version));
    }
    if let Some(file) = REQUIRED.into_iter().find(|file| !path.join(file).is_file()) {
        return folder(State::Lacks(file));
    }
    let cuda = path.join("lib/libtorch_cuda.so").is_file();
    folder(State::Ready { version, cuda })
}

fn read_version(path: &Path) -> Result<Option<String>> {
    let plain = path.join("build-version");
    if plain.is_file() {
        return Ok(Some(fs::read_to_string(plain)?.trim().to_owned()));
    }
    let python = path.join("version.py");
    if python.is_file() {
        return Ok(python_version(&fs::read_to_string(python)?));
    }
    Ok(None)
}

/// `2.11.0` of `2.11.0+cu130`.
fn release(version: &str) -> &str {
    version.split_once('+').map_or(version, |(release, _)| release)
}

/// The version in the text of `torch/version.py`.
fn python_version(text: &str) -> Option<String> {
    let value = text.lines().find_map(|line| line.strip_prefix("__version__"))?;
    let value = value.trim_start().strip_prefix('=')?.trim();
    Some(value.trim_matches(['\'', '"']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CPU: &str = "cpu";
    const CUDA: &str = "cuda";
    const OLD: &str = "old";

    fn folder(name: &str) -> Folder {
        let state = match name {
            CPU => State::Ready { version: VERSION.into(), cuda: false },
            CUDA => State::Ready { version: format!("{VERSION}+cu130"), cuda: true },
            OLD => State::OtherVersion("2.9.0".into()),
            _ => State::Absent,
        };
        Folder { path: name.into(), state }
    }

    fn surroundings(variable: Option<&str>, in_place: &str, python: Option<&str>) -> Surroundings {
        Surroundings {
            use_pytorch: false,
            variable: variable.map(folder),
            in_place: folder(in_place),
            python: python.map(folder),
            driver: false,
        }
    }

    #[test]
    fn the_first_fitting_folder_wins() {
        let used = |origin, path: &str| Decision::Use(origin, path.into());
        // LIBTORCH, .medner/libtorch, Python, what is wanted → what is used
        let table = [
            (Some(CPU), CUDA, Some(CUDA), Wanted::Any, used(Origin::Variable, CPU)),
            (None, CPU, Some(CUDA), Wanted::Any, used(Origin::InPlace, CPU)),
            (None, CPU, Some(CUDA), Wanted::Cuda, used(Origin::Python, CUDA)),
            (None, CUDA, None, Wanted::Cpu, used(Origin::InPlace, CUDA)),
            (None, OLD, Some(CPU), Wanted::Any, used(Origin::Python, CPU)),
            (None, OLD, Some(OLD), Wanted::Any, Decision::Fetch(Flavor::Cpu)),
            (None, "nothing", None, Wanted::Any, Decision::Fetch(Flavor::Cpu)),
            (None, CPU, Some(CPU), Wanted::Cuda, Decision::Fetch(Flavor::Cuda)),
        ];
        for (variable, in_place, python, wanted, expected) in table {
            let case = surroundings(variable, in_place, python);
            assert_eq!(decide(&case, wanted), Ok(expected), "{case:?}");
        }
    }

    #[test]
    fn a_driver_decides_only_about_downloads_without_an_option() {
        let case = |in_place| Surroundings { driver: true, ..surroundings(None, in_place, None) };
        assert_eq!(decide(&case("nothing"), Wanted::Any), Ok(Decision::Fetch(Flavor::Cuda)));
        assert_eq!(decide(&case("nothing"), Wanted::Cpu), Ok(Decision::Fetch(Flavor::Cpu)));
        assert_eq!(decide(&case(CPU), Wanted::Any), Ok(Decision::Use(Origin::InPlace, CPU.into())));
    }

    #[test]
    fn what_the_user_named_is_used_or_refused() {
        let refusal = |case: Surroundings, wanted| decide(&case, wanted).expect_err("refused").found;
        let named = |variable| surroundings(Some(variable), CUDA, Some(CUDA));
        assert!(refusal(named(OLD), Wanted::Any).contains("2.9.0"));
        assert!(refusal(named("nothing"), Wanted::Any).contains("not a folder"));
        assert!(refusal(named(CPU), Wanted::Cuda).contains("no CUDA"));

        let pytorch = |python| Surroundings { use_pytorch: true, ..surroundings(Some(CPU), CPU, python) };
        assert!(refusal(pytorch(None), Wanted::Any).contains("no torch"));
        assert!(refusal(pytorch(Some(OLD)), Wanted::Any).contains("2.9.0"));
        let used = Decision::Use(Origin::UsePytorch, CUDA.into());
        assert_eq!(decide(&pytorch(Some(CUDA)), Wanted::Any), Ok(used));
    }

    #[test]
    fn versions_are_read_from_both_layouts() {
        assert_eq!(release("2.11.0+cu130"), "2.11.0");
        assert_eq!(release("2.11.0"), "2.11.0");
        let text =
            "from typing import Optional\n\n__all__ = ['__version__']\n__version__ = '2.9.0+cpu'\ndebug = False\n";
        assert_eq!(python_version(text).as_deref(), Some("2.9.0+cpu"));
        assert_eq!(python_version("debug = False\n"), None);
    }
}
