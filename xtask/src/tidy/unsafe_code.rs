//! Unsafe code only where it is, and never without a reason.

use anyhow::Result;

use crate::tidy::dependencies::packages;
use crate::tidy::rust::{Token, flat, tokens};
use crate::tidy::{Fault, Tree};

pub fn check(tree: &Tree) -> Result<Vec<Fault>> {
    let mut faults = Vec::new();
    if !denies_undocumented(&tree.read("Cargo.toml")?) {
        let what = "add undocumented_unsafe_blocks = \"deny\" to [workspace.lints.clippy]";
        faults.push(Fault::new("Cargo.toml", 0, what));
    }
    for package in packages(tree)? {
        let src = format!("{}/src/", package.folder);
        let mut roots = Vec::new();
        let mut is_unsafe = false;
        for file in tree.ending_with(".rs").filter(|file| file.starts_with(&src)) {
            let tokens = flat(tokens(file, &tree.read(file)?)?);
            is_unsafe |= tokens.iter().any(|token| token.text == "unsafe");
            if ["lib.rs", "main.rs"].contains(&&file[src.len()..]) && !forbids(&tokens) {
                roots.push(file);
            }
        }
        if !is_unsafe {
            let what = format!("{} has no unsafe code: add #![forbid(unsafe_code)]", package.name);
            faults.extend(roots.into_iter().map(|file| Fault::new(file, 1, &what)));
        }
    }
    Ok(faults)
}

fn forbids(tokens: &[Token]) -> bool {
    let texts: Vec<&str> = tokens.iter().map(|token| token.text.as_str()).collect();
    texts.windows(8).any(|texts| texts == ["#", "!", "[", "forbid", "(", "unsafe_code", ")", "]"])
}

fn denies_undocumented(manifest: &str) -> bool {
    let lints = manifest.lines().skip_while(|line| line.trim() != "[workspace.lints.clippy]").skip(1);
    let mut lints = lints.take_while(|line| !line.starts_with('['));
    lints.any(|line| line.replace(' ', "").starts_with("undocumented_unsafe_blocks=\"deny\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tests::{assert_faults, faults};

    fn check_one(lints: &str, source: &str) -> Vec<String> {
        let manifest = format!("[workspace]\nmembers = [\"a\"]\n[workspace.lints.clippy]\n{lints}\n");
        let files = [
            ("Cargo.toml", manifest.as_str()),
            ("a/Cargo.toml", "[package]\nname = \"a\"\nedition = \"2024\"\n"),
            ("a/src/lib.rs", source),
        ];
        faults(check, &files)
    }

    const DENY: &str = "undocumented_unsafe_blocks = \"deny\"";

    #[test]
    fn a_crate_forbids_what_it_does_not_have() {
        assert_faults(&check_one(DENY, "//! unsafe\n#![forbid(unsafe_code)]"), &[]);
        assert_faults(&check_one(DENY, "fn a() { unsafe { b() } }"), &[]);
        assert_faults(&check_one(DENY, "//! unsafe"), &["a/src/lib.rs:1: a has no unsafe code"]);
    }

    #[test]
    fn reasons_are_asked_for() {
        assert_faults(&check_one("all = \"warn\"", "#![forbid(unsafe_code)]"), &["Cargo.toml: add undocumented"]);
    }
}
