//! Everything that uses the network, tested with servers on the loopback interface.
#![allow(clippy::unwrap_used)] // a test that cannot go on should stop where it stands

mod encoders;
mod files;
mod package;
mod server;
mod upload;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use ner_hub::{Env, FetchOptions, Progress};
use sha2::{Digest, Sha256};

/// Options for a test: its own folders, no proxy, no bars, no retries and no waiting.
fn options(home: &Path, endpoint: &str) -> FetchOptions {
    let env = Env {
        endpoint: endpoint.to_owned(),
        hub_cache: Some(home.join("hub")),
        token: None,
        offline: false,
        medner_cache: Some(home.join("medner")),
        pythons: vec![home.join("no-python")],
        proxy: false,
    };
    let mut options = FetchOptions::new(env);
    options.progress = Progress::Hidden;
    options.retries = 0;
    options.backoff = Duration::from_millis(1);
    options.stall_timeout = Duration::from_secs(5);
    options
}

/// Bytes that differ from place to place, so that a misplaced piece is noticed.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_u32;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[0]
    };
    (0..len).map(next).collect()
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Every file under a folder with its size, to check that nothing was left.
fn tree(dir: &Path) -> BTreeMap<String, u64> {
    let mut files = BTreeMap::new();
    let mut open = vec![dir.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(dir).unwrap().to_string_lossy().into_owned();
                files.insert(name, path.metadata().map(|data| data.len()).unwrap_or(0));
            }
        }
    }
    files
}
