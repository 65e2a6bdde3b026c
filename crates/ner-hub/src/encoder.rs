//! From the user's specification to the files of an encoder.

use std::path::{Path, PathBuf};

use tracing::warn;

use crate::encoder_files::{EncoderFiles, Origin};
use crate::env::FetchOptions;
use crate::error::Error;
use crate::hub::{self, Request};
use crate::package;
use crate::registry::{self, EncoderEntry};

/// Finds the files of the encoder `spec` and downloads missing ones.
///
/// `spec` is the first of these that matches: a name of the [`registry`](crate::registry()), with `@revision` to
/// override the pinned one; a folder, if it starts with `.`, `/` or `~` or exists; a hub id, `owner/name` or
/// `owner/name@revision`. Write `./name` for a folder with an encoder's name.
///
/// Sources in order: the folder; medner's cache and the hub cache, which are not compared with the hub; the Python
/// package, if there is one; the hub. If the hub cannot be reached or the network is switched off, the commit of `main`
/// in the cache replaces the pinned one, with a warning.
pub fn resolve_encoder(spec: &str, options: &FetchOptions) -> Result<EncoderFiles, Error> {
    let (name, revision) = match spec.split_once('@') {
        Some((name, revision)) => (name, Some(revision)),
        None => (spec, None),
    };
    if let Some(entry) = registry::by_name(name) {
        return named(entry, revision, options);
    }
    if spec.starts_with(['.', '/', '~']) || Path::new(spec).exists() {
        return folder(spec);
    }
    if !name.contains('/') {
        return Err(registry::unknown(name));
    }
    let request = Request::of_id(spec, name, revision)?;
    let files = match hub::cached(&request, &options.env) {
        Some(files) => files,
        None => hub::fetch(&request, options)?,
    };
    Ok(files.described_by(registry::by_hub_id(name)))
}

fn folder(spec: &str) -> Result<EncoderFiles, Error> {
    let path = match (spec.strip_prefix("~/"), dirs::home_dir()) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(spec),
    };
    if !path.is_dir() {
        return Err(Error::NoFolder { path });
    }
    EncoderFiles::in_folder(&path, spec, &path.display().to_string(), Origin::Folder { path: path.clone() })
}

fn named(entry: &'static EncoderEntry, revision: Option<&str>, options: &FetchOptions) -> Result<EncoderFiles, Error> {
    let env = &options.env;
    // Only the hub has a history: the package holds one revision.
    let package = entry.package.filter(|_| revision.is_none());
    let request = Request::of_entry(entry, revision);
    request.check()?;
    let local = package.and_then(|_| package::cached(entry, env)).or_else(|| hub::cached(&request, env));
    if let Some(files) = local {
        return Ok(files.described_by(Some(entry)));
    }

    let package_error = match package {
        Some(package) if !env.offline => match package::fetch(entry, package, options) {
            Ok(files) => return Ok(files.described_by(Some(entry))),
            Err(error) => {
                warn!("{error}; trying the hub");
                Some(error)
            }
        },
        _ => None,
    };
    let hub_error = match hub::fetch(&request, options) {
        Ok(files) => return Ok(files.described_by(Some(entry))),
        Err(Error::Offline { what, looked_in }) => {
            let ours = package.and(env.medner_cache.as_ref());
            let looked_in = looked_in + &ours.map(|dir| format!(" and {}", dir.display())).unwrap_or_default();
            Error::Offline { what, looked_in }
        }
        Err(error) => error,
    };
    if revision.is_none()
        && hub_error.is_connection()
        && let Some(files) = hub::cached_main(entry, env)
    {
        warn!("{hub_error}; using the cached copy of main in {} instead of the pinned revision", files.dir.display());
        return Ok(files.described_by(Some(entry)));
    }
    Err(match package_error {
        Some(package_error) => Error::AllSources {
            name: entry.name.to_owned(),
            package: Box::new(package_error),
            hub: Box::new(hub_error),
        },
        None => hub_error,
    })
}
