//! Dependencies against the table of `rooms.rs`, and against the sources.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::repo::cargo;
use crate::tidy::rooms::{KEPT_APART, ROOMS, Room, USED_WITHOUT_A_NAME};
use crate::tidy::{Fault, Tree, rust};

/// The file with the table, for what to do.
const TABLE: &str = "xtask/src/tidy/rooms.rs";

/// A crate of the workspace.
pub struct Package {
    pub name: String,
    /// Relative to the root, `crates/ner-data`.
    pub folder: String,
    dependencies: Vec<Dependency>,
}

struct Dependency {
    name: String,
    /// As the sources name it: `ner_data`.
    word: String,
    is_dev: bool,
}

/// What `cargo metadata` says of the workspace.
pub fn packages(tree: &Tree) -> Result<Vec<Package>> {
    let mut metadata = cargo();
    metadata.args(["metadata", "--no-deps", "--format-version", "1"]).current_dir(&tree.root);
    let output = metadata.output().context("cannot run cargo")?;
    ensure!(output.status.success(), "cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr).trim_end());
    let metadata: Value = serde_json::from_slice(&output.stdout).context("cargo metadata speaks another JSON")?;
    let text = |value: &Value| value.as_str().map(str::to_owned).context("cargo metadata lacks a text");
    let list = |value: &Value| value.as_array().cloned().context("cargo metadata lacks a list");
    let root = text(&metadata["workspace_root"])?;
    let mut packages = Vec::new();
    for package in list(&metadata["packages"])? {
        let manifest = text(&package["manifest_path"])?;
        let folder = Path::new(&manifest).parent().and_then(|folder| folder.strip_prefix(&root).ok());
        let mut dependencies = Vec::new();
        for dependency in list(&package["dependencies"])? {
            let name = text(&dependency["name"])?;
            let word = dependency["rename"].as_str().unwrap_or(&name).replace('-', "_");
            dependencies.push(Dependency { name, word, is_dev: dependency["kind"] == "dev" });
        }
        packages.push(Package {
            name: text(&package["name"])?,
            folder: folder.and_then(Path::to_str).context("a crate lies outside the workspace")?.to_owned(),
            dependencies,
        });
    }
    Ok(packages)
}

pub fn check(tree: &Tree) -> Result<Vec<Fault>> {
    check_with(tree, ROOMS)
}

fn check_with(tree: &Tree, rooms: &[Room]) -> Result<Vec<Fault>> {
    let packages = packages(tree)?;
    let is_ours = |name: &str| packages.iter().any(|package| package.name == name);
    let mut faults = Vec::new();
    for room in rooms.iter().filter(|room| !is_ours(room.name)) {
        faults.push(Fault::new(TABLE, 0, format!("{} is no crate of the workspace: remove its row", room.name)));
    }
    for package in &packages {
        let Package { name, folder, dependencies } = package;
        let manifest = format!("{folder}/Cargo.toml");
        let mut fault = |what: String| faults.push(Fault::new(&manifest, 0, what));
        let Some(room) = rooms.iter().find(|room| room.name == name) else {
            fault(format!("{name} is unknown: say in {TABLE} what it may depend on"));
            continue;
        };
        let words = words(tree, folder)?;
        for dependency in dependencies {
            let on = &dependency.name;
            if is_ours(on) {
                if on == "medner" {
                    fault(format!("{name} may not depend on medner, which stands above every crate"));
                } else if !dependency.is_dev && !room.may_use.contains(&on.as_str()) {
                    fault(format!("{name} may not depend on {on}; {TABLE} says what it may use"));
                }
            }
            let keepers = KEPT_APART.iter().find(|(name, _)| name == on).map(|(_, keepers)| *keepers);
            if let Some(keepers) = keepers.filter(|keepers| !dependency.is_dev && !keepers.contains(&name.as_str())) {
                fault(format!("{name} may not depend on {on}: only {} may", keepers.join(", ")));
            }
            let excused = USED_WITHOUT_A_NAME.iter().any(|(of, what, _)| of == name && what == on);
            if !dependency.is_dev && !excused && !words.contains(&dependency.word) {
                fault(format!("{name} depends on {on} and does not use it: remove the line"));
            }
        }
    }
    Ok(faults)
}

/// Every word of the sources of a crate that are built into it.
fn words(tree: &Tree, folder: &str) -> Result<BTreeSet<String>> {
    let (src, build) = (format!("{folder}/src/"), format!("{folder}/build.rs"));
    let mut words = BTreeSet::new();
    for file in tree.ending_with(".rs").filter(|file| file.starts_with(&src) || *file == build) {
        let tokens = rust::flat(rust::tokens(file, &tree.read(file)?)?);
        words.extend(tokens.into_iter().filter(|token| token.is_word).map(|token| token.text));
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tests::{assert_faults, faults};

    const WORKSPACE: (&str, &str) = ("Cargo.toml", "[workspace]\nmembers = [\"crates/*\"]\nresolver = \"3\"\n");

    /// A crate's manifest with these dependencies.
    fn manifest(name: &str, dependencies: &str) -> String {
        format!("[package]\nname = \"{name}\"\nedition = \"2024\"\n[dependencies]\n{dependencies}")
    }

    fn check_two(eval: &str, eval_source: &str, document: &str) -> Vec<String> {
        const TWO: &[Room] =
            &[Room { name: "ner-document", may_use: &[] }, Room { name: "ner-eval", may_use: &["ner-document"] }];
        let files = [
            WORKSPACE,
            ("crates/ner-document/Cargo.toml", &manifest("ner-document", document)),
            ("crates/ner-document/src/lib.rs", "// ureq\nuse serde::Serialize;\n"),
            ("crates/ner-eval/Cargo.toml", &manifest("ner-eval", eval)),
            ("crates/ner-eval/src/lib.rs", eval_source),
        ];
        faults(|tree| check_with(tree, TWO), &files)
    }

    const ON_DOCUMENT: &str = "ner-document = { path = \"../ner-document\" }\n";

    #[test]
    fn a_tree_that_keeps_the_table_is_fine() {
        assert_faults(&check_two(ON_DOCUMENT, "use ner_document as _;", "serde = \"1\"\n"), &[]);
    }

    #[test]
    fn a_dependency_that_runs_upward_is_a_fault() {
        let upward = "ner-eval = { path = \"../ner-eval\" }\nserde = \"1\"\n";
        assert_faults(&check_two("", "", upward), &["does not use it", "may not depend on ner-eval"]);
    }

    #[test]
    fn a_dependency_that_is_kept_apart_is_a_fault_elsewhere() {
        let found = check_two("ureq = \"3\"\n", "ureq::get();", "");
        assert_faults(
            &found,
            &["crates/ner-eval/Cargo.toml: ner-eval may not depend on ureq: only ner-hub, ner-track"],
        );
    }

    #[test]
    fn a_dependency_in_comments_alone_is_unused() {
        assert_faults(&check_two("half = \"2\"\n", "/// half", ""), &["depends on half and does not use it"]);
        assert_faults(&check_two("[dev-dependencies]\nhalf = \"2\"\n", "", ""), &[]);
    }

    #[test]
    fn nothing_may_depend_on_medner_and_the_table_knows_every_crate() {
        let files = [
            WORKSPACE,
            ("crates/medner/Cargo.toml", &manifest("medner", "")),
            ("crates/medner/src/main.rs", ""),
            (
                "crates/ner-eval/Cargo.toml",
                &manifest("ner-eval", "[dev-dependencies]\nmedner = { path = \"../medner\" }"),
            ),
            ("crates/ner-eval/src/lib.rs", ""),
        ];
        let rooms = [Room { name: "ner-eval", may_use: &["medner"] }, Room { name: "ner-gone", may_use: &[] }];
        let found = faults(|tree| check_with(tree, &rooms), &files);
        assert_faults(&found, &["medner is unknown", "may not depend on medner", "ner-gone is no crate"]);
    }

    #[test]
    fn the_table_runs_downward() {
        for (at, room) in ROOMS.iter().enumerate() {
            for used in room.may_use {
                assert!(ROOMS[..at].iter().any(|below| below.name == *used), "{} uses {used}", room.name);
            }
        }
    }
}
