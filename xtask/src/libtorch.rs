//! Makes libtorch available: looks around, decides, and then links or fetches.

use std::fs::TryLockError;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use fs_err as fs;
use fs_err::File;

use crate::meanwhile::Meanwhile;
use crate::repo::Repo;
use crate::search::{Decision, Folder, Origin, State, Surroundings, VERSION, Wanted, decide, folder_serves, inspect};
use crate::{driver, fetch, python};

/// Looks at everything that the decision depends on.
pub fn survey(repo: &Repo, wanted: Wanted) -> Result<Surroundings> {
    let use_pytorch = std::env::var_os("LIBTORCH_USE_PYTORCH").is_some();
    let variable = std::env::var_os("LIBTORCH").map(PathBuf::from).filter(|path| *path != repo.libtorch());
    if let Some(path) = variable.as_ref().filter(|path| path.is_relative()) {
        bail!("LIBTORCH is {}: make it absolute, for cargo reads it from many folders", path.display());
    }
    let variable = variable.map(|path| inspect(&path)).transpose()?;
    let in_place = inspect(&repo.libtorch())?;
    // Python is slow to start, and most commands find everything in place.
    let look_at_python = use_pytorch || (variable.is_none() && !folder_serves(&in_place, wanted));
    let python = if look_at_python { python::find_torch(&repo.root)? } else { None };
    let python = python.map(|path| inspect(&path)).transpose()?;
    let driver = driver::find()?.is_some_and(|driver| !driver.is_too_old());
    Ok(Surroundings { use_pytorch, variable, in_place, python, driver })
}

/// For the commands that build: silent if libtorch is there, whatever its kind. While it is fetched, what needs no
/// libtorch is compiled.
pub fn ensure(repo: &Repo) -> Result<()> {
    let surroundings = survey(repo, Wanted::Any)?;
    match decide(&surroundings, Wanted::Any)? {
        Decision::Use(Origin::UsePytorch | Origin::Variable | Origin::InPlace, _) => Ok(()),
        Decision::Use(Origin::Python, _) | Decision::Fetch(_) => prepare(repo, Wanted::Any, true),
    }
}

/// `cargo xtask setup`.
pub fn set_up(repo: &Repo, wanted: Wanted) -> Result<()> {
    prepare(repo, wanted, false)
}

fn prepare(repo: &Repo, wanted: Wanted, build_follows: bool) -> Result<()> {
    fs::create_dir_all(repo.state())?;
    let lock = lock(repo)?;
    let scratch = repo.state().join("tmp");
    // Left by a set-up that was interrupted: whoever made it holds the lock no longer.
    remove_folder_if_there(&scratch)?;
    fs::create_dir(&scratch)?;
    let outcome = prepare_with(repo, wanted, build_follows, &scratch, &lock);
    let cleaned = remove_folder_if_there(&scratch);
    outcome.and(cleaned)
}

fn prepare_with(repo: &Repo, wanted: Wanted, build_follows: bool, scratch: &Path, lock: &File) -> Result<()> {
    let place = repo.libtorch();
    // Only now, under the lock, for the set-up that we may have waited for can have changed it.
    let surroundings = survey(repo, wanted)?;
    match decide(&surroundings, wanted)? {
        Decision::Use(Origin::InPlace, path) => {
            say_ready(&path)?;
            if surroundings.driver && !folder_serves(&surroundings.in_place, Wanted::Cuda) {
                eprintln!("The NVIDIA GPU of this machine is not used: `cargo xtask setup --cuda` changes that");
            }
        }
        Decision::Use(_, path) => {
            let is_same = place.is_dir() && fs::canonicalize(&place)? == fs::canonicalize(&path)?;
            let is_copy = place.is_dir() && !place.is_symlink() && folder_serves(&surroundings.in_place, wanted);
            if !is_same && !is_copy {
                link(&path, &place, scratch)?;
                eprintln!("Linked: .medner/libtorch, so that cargo finds it without any variable");
            }
            say_ready(&path)?;
            if is_copy && !is_same {
                eprintln!("Left alone: the copy in .medner/libtorch, used when the variable is not set");
            }
        }
        Decision::Fetch(flavor) => {
            if let Some(Folder { path, state: State::OtherVersion(version) }) = &surroundings.python {
                eprintln!("Passed over: torch {version} in {}", path.display());
            }
            let is_absent = surroundings.in_place.state == State::Absent && !place.is_symlink();
            let meanwhile = if build_follows && is_absent { Some(Meanwhile::start()?) } else { None };
            let new = fetch::fetch(flavor, scratch, lock)?;
            drop(meanwhile);
            put_in_place(&new, &place, scratch)?;
            say_ready(&place)?;
        }
    }
    Ok(())
}

fn say_ready(path: &Path) -> Result<()> {
    eprintln!("Ready: libtorch {} in {}", describe(&inspect(path)?.state), path.display());
    Ok(())
}

/// The state of a folder, in a few words.
pub fn describe(state: &State) -> String {
    match state {
        State::Absent => "not there".into(),
        State::Lacks(file) => format!("lacks {file}"),
        State::OtherVersion(version) => format!("{version}, another version"),
        State::Ready { version, cuda: true } => format!("{version} with CUDA"),
        // A suffix such as `+cu130` would say how the rest of it was built, which is not there.
        State::Ready { cuda: false, .. } => format!("{VERSION} for CPU"),
    }
}

/// Lets `place` lead to `target`.
fn link(target: &Path, place: &Path, scratch: &Path) -> Result<()> {
    // Absolute and without further links: a virtual environment may be named relative to somewhere else.
    let target = fs::canonicalize(target)?;
    let new = scratch.join("link");
    symlink(&target, &new).with_context(|| format!("cannot make the link {}", new.display()))?;
    put_in_place(&new, place, scratch)
}

/// Renames, moving aside what is there: a rename puts nothing over a folder that is not empty, nor a folder over a
/// link. Interrupted between the two renames, the next set-up begins without a libtorch, as on the first day.
fn put_in_place(new: &Path, place: &Path, scratch: &Path) -> Result<()> {
    if place.is_symlink() || place.exists() {
        fs::rename(place, scratch.join("old"))?;
    }
    fs::rename(new, place)?;
    Ok(())
}

fn remove_folder_if_there(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    Ok(())
}

/// Held until the file is closed, by the end of this program at the latest. See `python::run_holding`.
fn lock(repo: &Repo) -> Result<File> {
    let path = repo.state().join("setup.lock");
    let file = File::create(&path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            eprintln!("Waiting for another set-up to end");
            file.lock()?;
        }
        Err(TryLockError::Error(error)) => {
            return Err(error).with_context(|| format!("cannot lock {}", path.display()));
        }
    }
    Ok(file)
}
