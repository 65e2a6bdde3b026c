//! `cargo xtask doctor`: what is here, what is missing, and how to get it.

use std::ffi::OsString;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::repo::{Repo, cargo, program};
use crate::search::{Decision, Flavor, Folder, Origin, Problem, State, Wanted, decide, inspect};
use crate::{driver, fetch, libtorch, product, python};

/// Below this, a build and a first run folder may not fit.
const COMFORTABLE_GIGABYTES: f64 = 10.0;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    Yes,
    /// Something that is needed is missing.
    No,
    /// Works without, but look at it.
    Warn,
}

struct Row {
    item: &'static str,
    found: Found,
    what: String,
    /// Empty if there is nothing to do.
    fix: String,
}

impl Row {
    fn new(item: &'static str, found: Found, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { item, found, what: what.into(), fix: fix.into() }
    }
}

pub fn run(repo: &Repo, arguments: &[OsString]) -> Result<ExitCode> {
    let surroundings = libtorch::survey(repo, Wanted::Any)?;
    let decision = decide(&surroundings, Wanted::Any);
    let libtorch = libtorch_row(&surroundings.in_place, &decision)?;
    let libtorch_ready = libtorch.found == Found::Yes;
    let rows = [
        tool("rustc", Command::new("rustc").arg("--version"), Found::No, "install Rust with rustup"),
        tool("cargo", cargo().arg("--version"), Found::No, "install Rust with rustup"),
        tool("rustfmt", cargo().args(["fmt", "--version"]), Found::Warn, "for tests: rustup component add rustfmt"),
        tool("clippy", cargo().args(["clippy", "--version"]), Found::Warn, "for tests: rustup component add clippy"),
        compiler_row(),
        python_row("python3", &["--version"], libtorch_ready),
        python_row("pip", &["-m", "pip", "--version"], libtorch_ready),
        libtorch,
        driver_row(&decision)?,
        disk_row(repo)?,
    ];
    print!("{}", table(&rows));

    let complete = rows.iter().all(|row| row.found != Found::No);
    if !complete {
        let first = if libtorch_ready { "what is missing above" } else { "`cargo xtask setup`" };
        eprintln!("\nLeft out: what `medner doctor` tells (devices, encoders, corpora), which needs {first} first.");
        return Ok(ExitCode::FAILURE);
    }
    println!();
    product::build()?;
    let medner = repo.medner();
    let status = program(&medner)
        .arg("doctor")
        .args(arguments)
        .status()
        .with_context(|| format!("cannot run {}", medner.display()))?;
    Ok(product::exit_code(status))
}

fn tool(item: &'static str, command: &mut Command, otherwise: Found, fix: &str) -> Row {
    match python::first_line(command) {
        Some(line) => Row::new(item, Found::Yes, line, ""),
        None => Row::new(item, otherwise, "does not run", fix),
    }
}

fn compiler_row() -> Row {
    // As torch-sys's build script chooses it.
    let compiler = std::env::var_os("CXX").unwrap_or_else(|| "c++".into());
    tool("C++ compiler", Command::new(compiler).arg("--version"), Found::No, "install g++ or clang, or set CXX")
}

/// Python is only a way to libtorch.
fn python_row(item: &'static str, arguments: &[&str], libtorch_ready: bool) -> Row {
    match python::version(arguments) {
        Some(line) => Row::new(item, Found::Yes, line, ""),
        None if libtorch_ready => Row::new(item, Found::Warn, "does not run", "not needed: libtorch is there"),
        None => Row::new(item, Found::Warn, "does not run", "install it, or set LIBTORCH to a libtorch of yours"),
    }
}

fn libtorch_row(in_place: &Folder, decision: &Result<Decision, Problem>) -> Result<Row> {
    let row = |found, what: String, fix: &str| Ok(Row::new("libtorch", found, what, fix));
    match decision {
        Ok(Decision::Use(origin, path)) => {
            let state = libtorch::describe(&inspect(path)?.state);
            let lib = path.join("lib");
            let lib = lib.display();
            match origin {
                Origin::UsePytorch => row(Found::Yes, format!("{state}, by LIBTORCH_USE_PYTORCH: {lib}"), ""),
                Origin::Variable => row(Found::Yes, format!("{state}, by LIBTORCH: {lib}"), ""),
                Origin::InPlace if path.is_symlink() => row(Found::Yes, format!("{state}, linked: {lib}"), ""),
                Origin::InPlace => row(Found::Yes, format!("{state}, downloaded: {lib}"), ""),
                Origin::Python => {
                    row(Found::No, format!("{state}, in Python but not linked: {lib}"), "cargo xtask setup (links it)")
                }
            }
        }
        Ok(Decision::Fetch(flavor)) => {
            let fix = match flavor {
                Flavor::Cpu => "cargo xtask setup (downloads it)",
                Flavor::Cuda => "cargo xtask setup (downloads it, with CUDA)",
            };
            let what = format!("{}: {}", libtorch::describe(&in_place.state), in_place.path.display());
            row(Found::No, what, fix)
        }
        Err(problem) => row(Found::No, problem.found.clone(), &problem.fix),
    }
}

fn driver_row(decision: &Result<Decision, Problem>) -> Result<Row> {
    let row = |found, what: String, fix: &str| Ok(Row::new("NVIDIA driver", found, what, fix));
    let Some(driver) = driver::find()? else {
        return row(Found::Warn, "none: training will use the CPU".into(), "needs an NVIDIA GPU");
    };
    let what = match &driver.version {
        Some(version) => format!("{version}, {}", driver.sign),
        None => driver.sign.into(),
    };
    if driver.is_too_old() {
        return row(Found::Warn, what, &format!("install driver {} or newer", driver::OLDEST));
    }
    match decision {
        Ok(Decision::Use(_, path)) if matches!(inspect(path)?.state, State::Ready { cuda: false, .. }) => {
            row(Found::Warn, format!("{what}, but libtorch is for CPU"), "cargo xtask setup --cuda")
        }
        _ => row(Found::Yes, what, ""),
    }
}

fn disk_row(repo: &Repo) -> Result<Row> {
    let free = fetch::free_gigabytes(&repo.root)?;
    let what = format!("{free:.1} GB free, {}", repo.root.display());
    Ok(if free < COMFORTABLE_GIGABYTES {
        Row::new("disk", Found::Warn, what, format!("free space: {COMFORTABLE_GIGABYTES} GB are comfortable"))
    } else {
        Row::new("disk", Found::Yes, what, "")
    })
}

/// Columns as wide as their widest cell.
fn table(rows: &[Row]) -> String {
    let mark = |found| match found {
        Found::Yes => "yes",
        Found::No => "no",
        Found::Warn => "warn",
    };
    let header = ["item", "found", "where / version", "fix"].map(str::to_owned);
    let cells = rows.iter().map(|row| [row.item.into(), mark(row.found).into(), row.what.clone(), row.fix.clone()]);
    let lines: Vec<[String; 4]> = std::iter::once(header).chain(cells).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let (item, found, what) = (width(0), width(1), width(2));
    let mut text = String::new();
    for [a, b, c, d] in &lines {
        text.push_str(format!("{a:item$}  {b:found$}  {c:what$}  {d}").trim_end());
        text.push('\n');
    }
    text
}
