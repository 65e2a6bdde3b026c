//! `cargo xtask tidy`: what the documentation promises about the code, as rules that fail.
//!
//! Each rule is a function from the checkout to faults, so that its test can break a small tree on purpose.

mod circles;
mod commands;
mod dependencies;
mod links;
mod markdown;
mod names;
mod rooms;
mod rust;
mod unsafe_code;
mod versions;

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use fs_err as fs;

use crate::repo::{Repo, program};
use crate::{libtorch, product};

/// A place that breaks a rule.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// Relative to the root.
    pub file: String,
    /// From 1 on; 0 if the whole file is meant.
    pub line: usize,
    /// What is wrong and what to do.
    pub what: String,
}

impl Fault {
    pub fn new(file: impl Into<String>, line: usize, what: impl Into<String>) -> Self {
        Self { file: file.into(), line, what: what.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file, self.what),
            line => write!(f, "{}:{line}: {}", self.file, self.what),
        }
    }
}

/// The files of a checkout.
pub struct Tree {
    pub root: PathBuf,
    /// Relative paths of what git tracks, and of new files that it does not ignore.
    pub files: Vec<String>,
}

impl Tree {
    pub fn of(root: &Path) -> Result<Self> {
        let mut git = program("git");
        git.args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"]).current_dir(root);
        let output = git.output().context("cannot run git")?;
        ensure!(output.status.success(), "git ls-files failed: {}", String::from_utf8_lossy(&output.stderr).trim_end());
        let files = String::from_utf8(output.stdout).context("a file's name is not UTF-8")?;
        // A file that was removed stays in git's list until that is staged.
        let files = files.split_terminator('\0').filter(|file| root.join(file).is_file()).map(str::to_owned).collect();
        Ok(Self { root: root.to_owned(), files })
    }

    pub fn read(&self, file: &str) -> Result<String> {
        Ok(fs::read_to_string(self.root.join(file))?)
    }

    pub fn ending_with<'t>(&'t self, end: &'t str) -> impl Iterator<Item = &'t str> {
        self.files.iter().map(String::as_str).filter(move |file| file.ends_with(end))
    }

    /// True of a file in the list, and of a folder with such a file.
    pub fn has(&self, path: &str) -> bool {
        let folder = format!("{path}/");
        path.is_empty() || self.files.iter().any(|file| file == path || file.starts_with(&folder))
    }

    /// What git keeps out of the list, such as `experiments/runs`.
    fn ignores(&self, path: &str) -> bool {
        let output = program("git").args(["check-ignore", "--quiet", path]).current_dir(&self.root).output();
        output.is_ok_and(|output| output.status.success())
    }
}

type Rule = fn(&Tree) -> Result<Vec<Fault>>;

const RULES: [(&str, Rule); 8] = [
    ("crates depend only on what the table allows, and use what they depend on", dependencies::check),
    ("files and crates that the documentation names exist", names::check),
    ("ARCHITECTURE.md names every crate", names::check_map),
    ("links and anchors resolve", links::check),
    ("libtorch has one version", versions::check),
    ("crates without unsafe code forbid it", unsafe_code::check),
    ("modules of a crate do not use each other in circles", circles::check),
    ("commands of this runner parse", |tree| commands::check(tree, &|_| Ok(true))),
];

pub fn run(repo: &Repo) -> Result<ExitCode> {
    let tree = Tree::of(&repo.root)?;
    let mut count = 0;
    for (name, rule) in RULES {
        count += report(name, &tree, &rule)?;
    }
    libtorch::ensure(repo)?;
    product::build()?;
    let medner = repo.medner();
    commands::require_parse_only(&medner)?;
    let accepts = |arguments: &[OsString]| commands::medner_accepts(&medner, arguments);
    count += report("commands of medner parse", &tree, &|tree: &Tree| commands::check(tree, &accepts))?;
    if count == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("\n{count} faults");
    Ok(ExitCode::FAILURE)
}

fn report(name: &str, tree: &Tree, rule: &dyn Fn(&Tree) -> Result<Vec<Fault>>) -> Result<usize> {
    let begin = Instant::now();
    let mut faults = rule(tree)?;
    faults.sort();
    eprintln!(
        "{} {name} ({:.1} s)",
        if faults.is_empty() { "ok    " } else { "FAILED" },
        begin.elapsed().as_secs_f64()
    );
    for fault in &faults {
        eprintln!("  {fault}");
    }
    Ok(faults.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tree of these files. The folder goes away with the first part.
    pub fn tree(files: &[(&str, &str)]) -> (tempfile::TempDir, Tree) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (file, text) in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().expect("a file lies in a folder")).expect("a folder");
            fs::write(path, text).expect("a file");
        }
        let files = files.iter().map(|(file, _)| (*file).to_owned()).collect();
        let tree = Tree { root: folder.path().to_owned(), files };
        (folder, tree)
    }

    /// Places and words of the faults that a rule finds in these files, in order.
    pub fn faults(rule: impl Fn(&Tree) -> Result<Vec<Fault>>, files: &[(&str, &str)]) -> Vec<String> {
        let (_folder, tree) = tree(files);
        let mut faults = rule(&tree).expect("the rule can be applied");
        faults.sort();
        faults.iter().map(Fault::to_string).collect()
    }

    /// Fails unless there are as many faults as there are words, each fault with its word in it.
    #[track_caller]
    pub fn assert_faults(found: &[String], words: &[&str]) {
        assert_eq!(found.len(), words.len(), "{found:#?}");
        for (fault, word) in found.iter().zip(words) {
            assert!(fault.contains(word), "{fault} lacks {word}");
        }
    }

    #[test]
    fn the_files_are_those_that_git_would_keep() -> Result<()> {
        let (_folder, tree) = tree(&[(".gitignore", "/target\n"), ("a b.md", ""), ("target/x", "")]);
        let status = program("git").args(["init", "--quiet"]).current_dir(&tree.root).status()?;
        assert!(status.success());
        let tree = Tree::of(&tree.root)?;
        assert_eq!(tree.files, [".gitignore", "a b.md"]);
        assert!(tree.ignores("target/y") && !tree.ignores("a b.md"));
        assert!(tree.has("a b.md") && !tree.has("a"));
        Ok(())
    }
}
