//! `model.safetensors.index.json` and `pytorch_model.bin.index.json`: weights in several files.
//!
//! Source: transformers' `get_checkpoint_shard_files`; of the index only `weight_map` counts, from names of tensors to
//! names of files beside it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsStr;
use std::path::Path;

use serde::Deserialize;

use super::{Checkpoint, CheckpointError, Fault, malformed};

/// How the name of an index ends.
pub(super) const INDEX: &str = ".index.json";

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

pub(super) fn read(path: &Path) -> Result<Checkpoint, CheckpointError> {
    let fault = |what: String| malformed(what).at(path);
    let text = ner_files::read_text(path).map_err(|error| Fault::Io(error).at(path))?;
    let Index { weight_map } = serde_json::from_str(&text).map_err(|error| fault(format!("not an index: {error}")))?;
    let files: BTreeSet<&str> = weight_map.values().map(String::as_str).collect();
    if let Some(file) = files.iter().find(|file| Path::new(file).file_name() != Some(OsStr::new(file))) {
        return Err(fault(format!("refused: the shard {file} is not a file beside the index")));
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    let (mut maps, mut entries, mut homes) = (Vec::new(), Vec::new(), HashMap::new());
    for (shard, &file) in files.iter().enumerate() {
        if file.ends_with(INDEX) {
            return Err(fault(format!("refused: the shard {file} is an index")));
        }
        let Checkpoint { maps: map, entries: of_shard, .. } = super::read(&folder.join(file))?;
        for mut entry in of_shard {
            if let Some(other) = homes.insert(entry.name.clone(), file) {
                return Err(fault(format!("{} is in two shards, {other} and {file}", entry.name)));
            }
            entry.shard = shard;
            entries.push(entry);
        }
        maps.extend(map);
    }
    for (name, file) in &weight_map {
        match homes.get(name) {
            Some(home) if home == file => {}
            Some(home) => return Err(fault(format!("{name} should be in {file}, but is in {home}"))),
            None => {
                return Err(fault(format!("{name} should be in {file}, which lacks it; download the shards again")));
            }
        }
    }
    Ok(Checkpoint::new(path, maps, entries))
}
