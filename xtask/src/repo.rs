//! Where things are.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

/// The paths that the commands share.
pub struct Repo {
    /// The workspace root.
    pub root: PathBuf,
    /// Where cargo puts what it builds for one target; holds `debug` and `release`.
    pub target: PathBuf,
}

impl Repo {
    /// Relies on being started by cargo, from wherever in the repository.
    pub fn find() -> Result<Self> {
        let manifest = std::env::var_os("CARGO_MANIFEST_DIR")
            .context("CARGO_MANIFEST_DIR is not set: start this program as `cargo xtask`")?;
        let root = Path::new(&manifest).parent().context("the xtask folder has no parent")?.to_owned();
        // This program is `<target>/debug/xtask`. Asking it is shorter than `cargo metadata`, needs no JSON, and
        // is right about CARGO_TARGET_DIR, `build.target-dir` and `build.target` alike.
        let program = std::env::current_exe().context("cannot tell where this program lies")?;
        let target = program.ancestors().nth(2).context("this program does not lie in a target folder")?.to_owned();
        Ok(Self { root, target })
    }

    /// Git-ignored; everything that set-up makes lies in here.
    pub fn state(&self) -> PathBuf {
        self.root.join(".medner")
    }

    /// What `.cargo/config.toml` sets LIBTORCH to.
    pub fn libtorch(&self) -> PathBuf {
        self.state().join("libtorch")
    }

    /// The binary that `cargo build --release` makes.
    pub fn medner(&self) -> PathBuf {
        self.target.join("release").join("medner")
    }
}

/// The cargo that started this program. It runs in the user's folder, as this program does, so that a relative
/// CARGO_TARGET_DIR means the same to both.
pub fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}
