//! Where things are.

use std::ffi::{OsStr, OsString};
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
    program(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// A program that sees the user's environment, without what `cargo run` added to it for this program.
///
/// Build scripts watch such variables (ring's watches `CARGO_PKG_NAME` and others). If cargo saw ours, a plain `cargo
/// build` after a `cargo xtask` would build them and everything above them again.
pub fn program(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(is_set_by_cargo_run)) {
        command.env_remove(name);
    }
    if let Some(folders) = std::env::var_os(LIBRARY_PATH) {
        let target = std::env::current_exe().ok().and_then(|program| program.parent().map(Path::to_owned));
        match without_cargos_folders(&folders, target.as_deref()) {
            Some(folders) => command.env(LIBRARY_PATH, folders),
            None => command.env_remove(LIBRARY_PATH),
        };
    }
    command
}

const LIBRARY_PATH: &str = "LD_LIBRARY_PATH";

/// A user steers cargo with variables of other names, such as CARGO_HOME, CARGO_TARGET_DIR and CARGO_BUILD_JOBS.
fn is_set_by_cargo_run(name: &str) -> bool {
    matches!(name, "CARGO" | "CARGO_MANIFEST_DIR" | "CARGO_MANIFEST_PATH" | "OUT_DIR") || name.starts_with("CARGO_PKG_")
}

/// LD_LIBRARY_PATH without the folders that `cargo run` puts in front: the profile's folder and `deps` in it, and
/// those of the toolchain (`lib/rustlib/<host>/lib` and `lib`). `None` if no folder is left.
fn without_cargos_folders(folders: &OsStr, target: Option<&Path>) -> Option<OsString> {
    let folders: Vec<PathBuf> = std::env::split_paths(folders).collect();
    let rustlib = folders.iter().flat_map(|folder| folder.ancestors()).find(|folder| folder.ends_with("rustlib"));
    let toolchain = rustlib.and_then(Path::parent);
    let is_cargos = |folder: &Path| {
        target.is_some_and(|target| folder.starts_with(target))
            || toolchain.is_some_and(|lib| folder == lib || folder.starts_with(lib.join("rustlib")))
    };
    let kept: Vec<&PathBuf> = folders.iter().filter(|folder| !is_cargos(folder)).collect();
    if kept.is_empty() { None } else { std::env::join_paths(kept).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cargo_run_sets_is_told_from_what_a_user_sets() {
        for name in ["CARGO", "CARGO_MANIFEST_DIR", "CARGO_MANIFEST_PATH", "CARGO_PKG_NAME", "CARGO_PKG_VERSION_PRE"] {
            assert!(is_set_by_cargo_run(name), "{name}");
        }
        let user = "CARGO_HOME CARGO_TARGET_DIR CARGO_BUILD_JOBS CARGO_NET_OFFLINE CARGO_HTTP_PROXY CARGO_TERM_COLOR \
                    CARGO_PROFILE_RELEASE_LTO CARGO_REGISTRY_TOKEN CARGO_REGISTRIES_MINE_INDEX CARGO_INCREMENTAL \
                    CARGO_ENCODED_RUSTFLAGS CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER CARGO_LOG LIBTORCH RUSTFLAGS";
        for name in user.split_whitespace() {
            assert!(!is_set_by_cargo_run(name), "{name}");
        }
    }

    #[test]
    fn a_child_sees_none_of_them() {
        // This test runs with what cargo sets for tests, which is the same.
        assert!(std::env::var_os("CARGO_PKG_NAME").is_some() && std::env::var_os("LD_LIBRARY_PATH").is_some());
        let output = program("env").output().expect("env runs");
        let text = String::from_utf8_lossy(&output.stdout);
        for line in text.lines() {
            let (name, value) = line.split_once('=').unwrap_or((line, ""));
            assert!(!is_set_by_cargo_run(name), "{line}");
            assert!(name != LIBRARY_PATH || !value.contains("rustlib"), "{line}");
        }
    }

    #[test]
    fn the_library_path_of_the_user_stays() {
        let target = Some(Path::new("/repo/target/debug"));
        let cargos = "/repo/target/debug/build/x/out:/repo/target/debug:/repo/target/debug/deps:/rust/lib/rustlib/host/lib:/rust/lib";
        assert_eq!(without_cargos_folders(cargos.as_ref(), target), None);
        let both = format!("{cargos}:/usr/lib:/mine");
        assert_eq!(without_cargos_folders(both.as_ref(), target), Some("/usr/lib:/mine".into()));
        assert_eq!(without_cargos_folders("/usr/lib:/mine".as_ref(), target), Some("/usr/lib:/mine".into()));
    }
}
