//! Files and crates that the documentation names.

use std::collections::BTreeSet;

use anyhow::Result;

use crate::tidy::markdown::{Part, parts};
use crate::tidy::{Fault, Tree};

/// Besides all pages in `docs/`. The log of experiments is no such page: it tells what was.
const PAGES: [&str; 6] = [
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "README.md",
    "crates/README.md",
    "datasets/README.md",
    "experiments/README.md",
];

/// A path that begins with one of these is one of the repository.
const FOLDERS: [&str; 9] = [".cargo", ".ci", "crates", "datasets", "docs", "experiments", "fuzz", "scripts", "xtask"];

pub fn check(tree: &Tree) -> Result<Vec<Fault>> {
    let crates = crates(tree);
    let mut faults = Vec::new();
    for page in tree.ending_with(".md").filter(|page| PAGES.contains(page) || page.starts_with("docs/")) {
        for (line, part) in parts(&tree.read(page)?) {
            let (text, is_block) = match part {
                Part::Code(code) => (code, false),
                // A list or a picture: of its words, the names of crates are certain.
                Part::Fence { language, text } if language == "text" => (text, true),
                _ => continue,
            };
            for word in text.split(|char: char| char.is_whitespace() || "=,;()[]|\"'".contains(char)) {
                let word = word.trim_end_matches(['.', ':', '/']);
                if is_block && !is_crate_name(word) {
                    continue;
                }
                if let Some(what) = missing(tree, &crates, word) {
                    faults.push(Fault::new(page, line, format!("`{word}`: {what}")));
                }
            }
        }
    }
    Ok(faults)
}

/// Every crate stands on the map.
pub fn check_map(tree: &Tree) -> Result<Vec<Fault>> {
    const MAP: &str = "ARCHITECTURE.md";
    let mut named = BTreeSet::new();
    for (_, part) in parts(&tree.read(MAP)?) {
        if let Part::Code(text) | Part::Fence { text, .. } = part {
            let words = text.split(|char: char| !char.is_ascii_alphanumeric() && !"-_".contains(char));
            named.extend(words.map(str::to_owned));
        }
    }
    let missing = crates(tree).into_iter().filter(|name| !named.contains(*name));
    Ok(missing.map(|name| Fault::new(MAP, 0, format!("the map lacks crates/{name}: add it"))).collect())
}

/// The names of the folders of crates.
fn crates(tree: &Tree) -> BTreeSet<&str> {
    let manifests = tree.ending_with("/Cargo.toml").filter_map(|file| file.strip_prefix("crates/"));
    manifests.filter_map(|file| file.strip_suffix("/Cargo.toml")).filter(|name| !name.contains('/')).collect()
}

/// What is wrong with a word, if it names something that is not there.
fn missing(tree: &Tree, crates: &BTreeSet<&str>, word: &str) -> Option<String> {
    let is_placeholder = |part: &str| {
        let stem = part.split('.').next().unwrap_or(part);
        stem.chars().any(char::is_alphabetic)
            && stem.chars().all(|char| char.is_ascii_uppercase() || "_-".contains(char))
    };
    let is_pattern = word.contains(['*', '{', '}', '<', '>', '$', '…', '~']) || word.contains("..");
    if is_pattern || word.contains("://") || tree.has(word) {
        return None;
    }
    let parts: Vec<&str> = word.split('/').collect();
    let first = parts[0];
    if parts.len() == 1 {
        if is_crate_name(word) && !crates.contains(word) {
            return Some("no such crate".into());
        }
        let is_file = word.strip_suffix(".rs").is_some_and(|stem| !stem.is_empty());
        let there = tree.ending_with(word).any(|file| file.rsplit('/').next() == Some(word));
        return (is_file && !there).then(|| "no file of that name is in the repository".into());
    }
    if parts.iter().any(|part| is_placeholder(part)) {
        return None;
    }
    if FOLDERS.contains(&first) {
        return (!tree.ignores(word)).then(|| "no such file or folder".into());
    }
    if crates.contains(first) || is_crate_name(first) {
        let there =
            tree.has(&format!("crates/{word}")) || tree.has(&format!("crates/{first}/src/{}", parts[1..].join("/")));
        return (!there).then(|| format!("no such file or folder in crates/{first}"));
    }
    // `statistics/corpus.rs`, as a page says that is inside a crate already.
    let there = tree.ending_with(word).any(|file| file.ends_with(&format!("/{word}")));
    (word.ends_with(".rs") && !there).then(|| "no file of that name is in the repository".into())
}

/// `ner-data`, and not `ner-`.
fn is_crate_name(word: &str) -> bool {
    word.strip_prefix("ner-")
        .is_some_and(|rest| !rest.is_empty() && rest.chars().all(|c| c.is_ascii_lowercase() || c == '-'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tests::{assert_faults, faults};

    fn check_page(page: &str) -> Vec<String> {
        let files = [
            ("docs/a.md", page),
            ("crates/ner-data/Cargo.toml", ""),
            ("crates/ner-data/src/format/mod.rs", ""),
            ("crates/ner-data/src/span.rs", ""),
            ("experiments/recipes/x.toml", ""),
        ];
        faults(check, &files)
    }

    #[test]
    fn what_is_there_is_fine_and_placeholders_are_skipped() {
        let page = "`ner-data/src/span.rs`, `crates/ner-data`, `ner-data`, `span.rs`, `format/mod.rs`, `ner-data/src/format`\n\
                    `--config experiments/recipes/x.toml`, `datasets/NAME/dataset.toml`, `crates/*/src`, `ner-*`, `a/b`\n\
                    `experiments/runs/bc5cdr/ID/model`, `https://example.org/docs/x.rs`, `owner/name`, no-code/x.rs\n";
        assert_faults(&check_page(page), &[]);
    }

    #[test]
    fn what_is_not_there_is_a_fault() {
        let page = "`ner-gone`\n`ner-data/src/gone.rs`\n`gone.rs`\n`format/gone.rs`\n`--config experiments/recipes/y.toml`\n\
                    `crates/ner-gone/src`\n```text\ncrates/ ner-data, ner-gone gone.rs\n```\n";
        let words = [
            "a.md:1: `ner-gone`",
            "a.md:2",
            "a.md:3",
            "a.md:4",
            "a.md:5: `experiments/recipes/y.toml`",
            "a.md:6",
            "a.md:7: `ner-gone`",
        ];
        assert_faults(&check_page(page), &words);
    }

    #[test]
    fn the_map_names_every_crate() {
        let check = |map| faults(check_map, &[("ARCHITECTURE.md", map), ("crates/ner-data/Cargo.toml", "")]);
        assert_faults(&check("| `crates/ner-data` |"), &[]);
        assert_faults(&check("```text\ncrates/\n  ner-data/  x\n```\n"), &[]);
        assert_faults(&check("ner-data `ner-data-x`"), &["the map lacks crates/ner-data"]);
    }
}
