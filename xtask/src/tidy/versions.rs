//! Every place that names a version of torch or libtorch names the same one.

use anyhow::Result;

use crate::search::VERSION;
use crate::tidy::{Fault, Tree};

const KINDS: [&str; 8] = [".md", ".mjs", ".py", ".rs", ".sh", ".toml", ".txt", ".yml"];

pub fn check(tree: &Tree) -> Result<Vec<Fault>> {
    let mut faults = Vec::new();
    for file in tree.files.iter().filter(|file| KINDS.iter().any(|kind| file.ends_with(kind))) {
        // Some files are broken on purpose.
        let text = fs_err::read(tree.root.join(file))?;
        for (at, line) in String::from_utf8_lossy(&text).lines().enumerate() {
            for version in versions(line) {
                // `2.11` says the same with less.
                if version != VERSION && !VERSION.starts_with(&format!("{version}.")) {
                    let what = format!("names torch {version}; this project is made for {VERSION}");
                    faults.push(Fault::new(file, at + 1, what));
                }
            }
        }
    }
    Ok(faults)
}

/// The numbers after `torch`, `libtorch` or `PyTorch` in a line. `torch 1.6 and later` is a format and no version of
/// ours.
fn versions(line: &str) -> Vec<&str> {
    let lower = line.to_ascii_lowercase();
    let mut found = Vec::new();
    for (at, word) in lower.match_indices("torch") {
        let rest = &line[at + word.len()..];
        let rest = rest.strip_prefix("==").or_else(|| rest.strip_prefix(' ')).unwrap_or(rest);
        let end = rest.find(|char: char| !char.is_ascii_digit() && char != '.').unwrap_or(rest.len());
        let version = rest[..end].trim_end_matches('.');
        let is_version = version.contains('.') && version.split('.').all(|part| !part.is_empty());
        if is_version && !["and later", "and newer"].iter().any(|words| rest[end..].trim_start().starts_with(words)) {
            found.push(version);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tests::{assert_faults, faults};

    #[test]
    fn another_version_is_a_fault() {
        let old = ["2", "9"].join(".");
        let short = VERSION.rsplit_once('.').map_or(VERSION, |(short, _)| short);
        let text = format!("libtorch {VERSION}, torch {short}.\nfrom torch 1.6 and later\nneeds torch=={old}.1\n");
        assert_faults(&faults(check, &[("a.md", &text)]), &[&format!("a.md:3: names torch {old}.1")]);
        assert_faults(&faults(check, &[("a.txt", &format!("LibTorch {old}"))]), &["a.txt:1"]);
    }

    #[test]
    fn other_numbers_are_no_versions() {
        assert!(versions("torch-sys = \"=0.24.0\", torch 2, torchvision 0.1, 2.11 torch").is_empty());
    }
}
