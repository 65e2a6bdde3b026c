//! `cargo xtask dist`: a folder that runs without cargo, or the same as Python wheels.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use fs_err as fs;

use crate::repo::Repo;
use crate::search::{Decision, VERSION, Wanted, decide};
use crate::{libtorch, product, python};

/// Where every machine has libraries of its own.
const SYSTEM: [&str; 4] = ["/lib", "/lib64", "/usr/lib", "/usr/lib64"];

/// What to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Folder,
    Wheels,
}

const WHEEL: &str = include_str!("wheel.py");

pub fn run(repo: &Repo, form: Form, out: Option<PathBuf>) -> Result<()> {
    match form {
        Form::Folder => folder(repo, &out.unwrap_or_else(|| repo.target.join("dist"))),
        Form::Wheels => wheels(repo, &out.unwrap_or_else(|| repo.target.join("wheels"))),
    }
}

/// The folder, and from it a wheel with the stripped program and one with its libraries.
fn wheels(repo: &Repo, out: &Path) -> Result<()> {
    let parts = repo.target.join("wheel-parts");
    if parts.exists() {
        fs::remove_dir_all(&parts)?;
    }
    copy_parts(repo, &parts)?;
    let medner = parts.join("medner");
    let strip = Command::new("strip").arg(&medner).status().context("cannot run strip (from binutils)")?;
    ensure!(strip.success(), "strip failed");
    let mut script = Command::new(python::interpreter());
    script.args(["-c", WHEEL]).arg(repo.root.join("python")).arg(&medner).arg(parts.join("lib")).arg(out);
    let mut child = script.stdin(Stdio::piped()).spawn().context("cannot run Python")?;
    child.stdin.take().context("Python's input is not there")?.write_all(VERSION.as_bytes())?;
    ensure!(child.wait()?.success(), "the wheels could not be made (Python's own words are above)");
    Ok(fs::remove_dir_all(parts)?)
}

fn folder(repo: &Repo, out: &Path) -> Result<()> {
    copy_parts(repo, out)?;
    println!("{}", out.display());
    Ok(())
}

fn copy_parts(repo: &Repo, out: &Path) -> Result<()> {
    libtorch::ensure(repo)?;
    product::build()?;
    let medner = repo.medner();
    let libtorch = match decide(&libtorch::survey(repo, Wanted::Any)?, Wanted::Any)? {
        Decision::Use(_, path) => fs::canonicalize(path)?,
        Decision::Fetch(_) => bail!("libtorch was there a moment ago, and is gone"),
    };

    fs::create_dir_all(out.join("lib"))?;
    let mut bytes = copy(&medner, &out.join("medner"))?;
    let mut copied = 0;
    for (name, path) in libraries(&medner)? {
        let real = fs::canonicalize(&path)?;
        if real.starts_with(&libtorch) || !SYSTEM.iter().any(|system| real.starts_with(system)) {
            bytes += copy(&real, &out.join("lib").join(name))?;
            copied += 1;
        }
    }
    if copied == 0 {
        bail!("{} uses no libtorch that could be copied", medner.display());
    }
    eprintln!("Wrote medner and {copied} libraries, {:.0} MB", bytes as f64 / 1e6);
    Ok(())
}

/// The libraries that a program loads when it starts, and where the loader finds them.
///
/// Asking the loader is right for every layout of libtorch, where a list of names would be right for one.
fn libraries(program: &Path) -> Result<Vec<(String, PathBuf)>> {
    let output = Command::new("ldd").arg(program).output().context("cannot run ldd")?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        bail!("ldd failed: {}", String::from_utf8_lossy(&output.stderr).trim_end());
    }
    resolved(&text)
}

/// `libc10.so => /somewhere/libc10.so (0x00007f…)`; lines without an arrow are the loader and the kernel's own.
fn resolved(ldd: &str) -> Result<Vec<(String, PathBuf)>> {
    let mut libraries = Vec::new();
    for (name, found) in ldd.lines().filter_map(|line| line.trim().split_once(" => ")) {
        if found == "not found" {
            bail!("{name} is not found by the loader");
        }
        let path = found.rsplit_once(" (").map_or(found, |(path, _)| path);
        libraries.push((name.to_owned(), path.into()));
    }
    Ok(libraries)
}

/// By way of a second name: a program that runs cannot be written over, but its name can be taken.
fn copy(from: &Path, to: &Path) -> Result<u64> {
    let new = to.with_added_extension("new");
    let bytes = fs::copy(from, &new)?;
    fs::rename(new, to)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ldd_is_understood() {
        let text = "\
\tlinux-vdso.so.1 (0x00007ffd)
\tlibc10.so => /a b/lib/libc10.so (0x00007f3a)
\t/lib64/ld-linux-x86-64.so.2 (0x00007f3b)
";
        let libraries = resolved(text).expect("every library is found");
        assert_eq!(libraries, [("libc10.so".to_owned(), PathBuf::from("/a b/lib/libc10.so"))]);
        assert!(resolved("\tlibc10.so => not found\n").is_err());
    }
}
