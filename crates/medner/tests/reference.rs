//! The pages of docs/reference say what the program says.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::process::Command;

#[test]
fn the_reference_is_as_generated() {
    for page in ["commands", "recipe"] {
        let output = Command::new(env!("CARGO_BIN_EXE_medner")).args(["reference", page]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../docs/reference/{page}.md"));
        let found = std::fs::read(&path).unwrap_or_default();
        let how = format!("medner reference {page} > docs/reference/{page}.md");
        assert!(output.stdout == found, "docs/reference/{page}.md is out of date; write it with `{how}`");
    }
}
