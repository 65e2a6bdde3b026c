//! `medner doctor`: what this machine has, what is missing, and how to get it.

use crate::OutputFormat;
use crate::terminal::{score_table, stdout};
use anyhow::Result;
use ner_data::DatasetDescription;
use ner_experiment::corpus;
use ner_model::{Cpu, ThreadSource};
use serde::Serialize;
use std::io::Write;
use std::path::PathBuf;

/// Check what this machine has and what is missing.
///
/// Opens no connection and changes nothing. The exit code is always 0: medner runs without a GPU, a corpus or a local
/// encoder, and the last column says how to get each.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  medner doctor
  medner doctor --format json | jq '.findings[] | select(.found == false)'")]
pub struct Args {
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    format: OutputFormat,
}

#[derive(Serialize)]
struct Check {
    /// `libtorch`, `CUDA`, `bf16 on the CPU`, `CPU kernels`, `threads`, `encoder minilm`, `corpus bc5cdr`.
    what: String,
    /// Whether it is there.
    found: bool,
    /// What is there, or how to get it.
    note: String,
}

/// Runs the command.
///
/// # Errors
/// If stdout cannot be written.
pub fn run(args: Args, threads: (usize, ThreadSource)) -> Result<()> {
    let mut checks = machine(threads);
    checks.extend(encoders());
    for name in DatasetDescription::builtin_names() {
        checks.push(corpus_check(name));
    }
    if args.format == OutputFormat::Json {
        return stdout::print_json(&serde_json::json!({ "findings": checks }));
    }
    let mut table = score_table::table(&["what", "here", "location, or how to get it"]);
    for Check { what, found, note } in checks {
        table.add_row([what, if found { "yes" } else { "no" }.to_owned(), note]);
    }
    let mut out = stdout::stdout();
    writeln!(out, "{table}")?;
    Ok(out.flush()?)
}

fn machine((threads, source): (usize, ThreadSource)) -> Vec<Check> {
    let check = |what: &str, found, note| Check { what: what.into(), found, note };
    let (cuda, cuda_note) = match ner_model::cuda_devices() {
        Ok(count) => (true, format!("{count} devices")),
        Err(reason) => (false, reason),
    };
    let bf16 = ner_model::cpu_has_bf16();
    let bf16_note = if bf16 { "this CPU has bf16 instructions" } else { "no bf16 instructions: auto never means bf16" };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let source = match source {
        ThreadSource::Asked => "from --threads",
        ThreadSource::OmpNumThreads => "from OMP_NUM_THREADS",
        ThreadSource::Granted => "all that the cgroup and the affinity mask grant",
        ThreadSource::Cores => "the machine's cores, at most 16; --threads sets more",
    };
    let (has_kernels, kernels) = kernels();
    vec![
        check("libtorch", true, libtorch()),
        check("CUDA", cuda, cuda_note),
        check("bf16 on the CPU", bf16, bf16_note.into()),
        check("CPU kernels", has_kernels, kernels),
        check("threads", true, format!("{threads} ({source}); {cores} cores are granted")),
    ]
}

/// Which instructions predictions on the CPU use, what `--precision auto` means there, and why.
fn kernels() -> (bool, String) {
    let cpu = match Cpu::current() {
        Ok(cpu) => cpu,
        Err(error) => return (false, error.to_string()),
    };
    let best = Cpu::ALL.into_iter().find(|cpu| cpu.is_here()).unwrap_or(Cpu::Portable);
    let limit = if cpu == best { "the best of this CPU" } else { "limited by MEDNER_CPU" };
    let training = if cpu.has_bf16() { "bf16" } else { "fp32" };
    let (prediction, reason) = match (cpu.prefers_int8(), cpu.has_bf16()) {
        (true, _) => ("int8", "its products of int8 are the fastest"),
        (false, true) => ("bf16", "its products of bf16 are the fastest"),
        (false, false) => ("fp32", "it has no products of int8 or bf16"),
    };
    let name = cpu.name();
    (true, format!("{name}, {limit}; auto predicts in {prediction} ({reason}) and trains in {training}"))
}

/// Release and folder of the loaded libtorch.
fn libtorch() -> String {
    let Some(library) = loaded_library("libtorch_cpu.so") else { return "linked".into() };
    let root = library.parent().and_then(|lib| lib.parent());
    let release = root.and_then(|root| {
        // The libtorch archive has `build-version`, the Python package `version.py`.
        let plain = fs_err::read_to_string(root.join("build-version")).ok();
        let python = || fs_err::read_to_string(root.join("version.py")).ok();
        plain.map(|text| text.trim().to_owned()).or_else(|| {
            let text = python()?;
            let line = text.lines().find_map(|line| line.strip_prefix("__version__ = "))?;
            Some(line.trim_matches(['\'', '"']).to_owned())
        })
    });
    match release {
        Some(release) => format!("{release}, {}", library.display()),
        None => library.display().to_string(),
    }
}

/// Path of a library loaded into this process (Linux).
fn loaded_library(name: &str) -> Option<PathBuf> {
    let maps = fs_err::read_to_string("/proc/self/maps").ok()?;
    let path = maps.lines().find_map(|line| line.ends_with(name).then(|| line.find('/').map(|at| &line[at..])))??;
    Some(path.into())
}

fn encoders() -> Vec<Check> {
    let list = ner_hub::list_encoders(&corpus::hub_options().env);
    let check = |status: ner_hub::EncoderStatus| Check {
        what: format!("encoder {}", status.entry.name),
        found: status.local.is_some(),
        note: status.local.map_or(status.how_to_get, |local| local.dir.display().to_string()),
    };
    list.into_iter().map(check).collect()
}

fn corpus_check(name: &str) -> Check {
    let found = DatasetDescription::builtin(name).map_err(anyhow::Error::from).and_then(|description| {
        let found = corpus::look(&description)?;
        Ok((description, found))
    });
    let (found, note) = match found {
        Ok((_, Some(found))) => (true, format!("{} files in {}", found.files.format, found.folder.display())),
        Ok((description, None)) => {
            let fetched = match &description.download {
                Some(download) => format!("downloaded at first use from {}", download.url),
                None => format!("request it at {}", description.homepage),
            };
            (
                false,
                format!(
                    "{fetched}; or pass its folder with --data-dir, or set {} to a folder of corpora",
                    corpus::CORPORA_VARIABLE
                ),
            )
        }
        Err(error) => (false, format!("{error:#}")),
    };
    Check { what: format!("corpus {name}"), found, note }
}
