//! What `--help` says.

pub const OVERVIEW: &str = "\
Fetches what medner needs, builds it, and runs it.

Usage: cargo xtask <COMMAND> [ARGUMENTS]

Commands of this runner:
  setup     Make libtorch available: find it, or download it with pip
  doctor    Say what this machine has, what is missing, and how to get it
  test      Run what CI runs: formatting, rules, lints, documentation, tests, short checks
  tidy      Check that the code keeps the rules that the documentation states
  check     Check medner against other software, in a browser or under load
  bench     Measure medner: beside its peers, where its time goes, its parts
  dist      Copy medner and its libraries into a folder that runs without cargo, or make wheels
  gpu-bundle  Make what travels to a machine with an NVIDIA card
  notebooks Execute the notebooks on the sample

Every other word goes to medner, which is built first if need be:
  cargo xtask train --help     the page of medner's `train`
  cargo xtask help all         medner's own list of commands

A fresh clone needs nothing before `cargo xtask train …`: set-up comes by itself.
`cargo xtask <COMMAND> --help` tells more about each command.";

pub const SETUP: &str = "\
Makes libtorch available, so that plain `cargo build` and `cargo test` work afterwards.

Usage: cargo xtask setup [--cpu | --cuda]

Options:
  --cpu     The CPU libraries are enough, even where an NVIDIA driver is found
  --cuda    Libraries with CUDA are needed, even where no NVIDIA driver is found
  -h, --help

Without an option, libtorch of either kind is taken where there is one; a download
has CUDA if a driver for it is found. The first of these that holds is used:

  1. LIBTORCH_USE_PYTORCH is set: the torch of your Python environment.
  2. LIBTORCH is set by you: the folder that it names (with include/ and lib/).
  3. .medner/libtorch is there already.
  4. The active virtual environment, or python3, has a fitting torch.
  5. pip downloads torch, and its libraries are unpacked to .medner/libtorch.

Cargo reads .medner/libtorch unless you set a variable, so in cases 1, 2 and 4 it becomes
a link to the folder that was found (a downloaded copy that is there stays as it is).
No other version than the one that the tch crate was made for is accepted.

An interrupted set-up leaves nothing behind that the next one does not clean up.
To start over: rm -r .medner";

pub const DOCTOR: &str = "\
Says what this machine has, what is missing, and how to get it.

Usage: cargo xtask doctor [ARGUMENTS FOR `medner doctor`]

First comes what a build needs. If all of it is there, medner is built, and `medner doctor`
adds what only libtorch and medner can tell: devices, encoders, corpora.
Nothing is downloaded except crates. The exit code is 0 if everything required is there.";

pub const TEST: &str = "\
Runs what CI runs, in release mode, so that the work is shared with the product.

Usage: cargo xtask test [ARGUMENTS FOR `cargo test`]

  1. cargo fmt --all --check
  2. cargo xtask tidy
  3. cargo clippy --release --workspace --all-targets -- -D warnings
  4. cargo doc --release --workspace --no-deps, with warnings as errors
  5. cargo test --release --workspace [ARGUMENTS]
  6. cargo xtask check load, with 500 requests
  7. cargo xtask check hostile, with 60 connections for 5 seconds
  8. cargo xtask check pages, if Node.js and Chromium are installed
  9. cargo xtask check stores, if Python has pip; its az:// needs Node.js
 10. cargo xtask check python, if Python has pip
 11. cargo xtask check cluster, if Python has pip; its tests of Spark need Java

The first step that fails ends the run. A check that cannot run on this machine is skipped,
and the last lines say why. Set MEDNER_CORPORA to a folder with corpora to run the tests on
real corpora, too.

Examples:
  cargo xtask test
  cargo xtask test pubtator
  cargo xtask test -- --nocapture";

pub const TIDY: &str = "\
Checks that the code keeps the rules that the documentation states.

Usage: cargo xtask tidy

  - Each crate depends only on what the table in xtask/src/tidy/rooms.rs allows, and its
    sources use each dependency.
  - Every file and crate that the documentation names exists, and ARCHITECTURE.md names
    every crate.
  - Links and anchors in Markdown files resolve. Links to the network are not followed.
  - Every command in an `sh` block of a Markdown file parses. medner is built for this.
  - All files name the same version of torch.
  - A crate without unsafe code forbids it.
  - No two modules of a crate depend on each other, directly or through others.

Each fault is printed as FILE:LINE, with what to do. The exit code is 1 if there is a fault.";

pub const CHECK: &str = "\
Checks medner against other software, in a browser or under load.

Usage: cargo xtask check pages|pipeline|transformers|fhir|trackers|load|hostile|
                         stores|python|spacy|cluster|wheel|client|notebooks|gpu
                         [--model RUN_OR_FOLDER] [ARGUMENTS FOR THE SCRIPT]

pages         Drives the pages of `medner serve` and `medner active annotate` in Chromium.
              Needs Node.js with npm, and Chromium (CHROMIUM names the program).
              Arguments: --pictures FOLDER
pipeline      Compares annotations with those of transformers' pipeline, for a trained model
              and for one of random weights. Arguments: --limit N, --threads N, --show
transformers  Compares a run's predictions with those of transformers. Needs a run with
              `--head token`. Arguments: --fp32, --limit N, --threads N, --show
fhir          Reads the bundles of `medner annotate --to fhir` with fhir.resources and writes
              them again. Arguments: more files of bundles
trackers      Sends runs to MLflow and TensorBoard, kills servers and trainings in between,
              and reads everything back. Arguments: --encoder E
load          Puts load on `medner serve` and compares its answers with those of `medner
              annotate`. Arguments: --requests N, --connections N, --times X
hostile       The same among clients that are slow, give up or never read. Arguments:
              --connections N, --seconds N, --body-mb X, --most-mb N, --healthz-seconds X,
              --end-seconds N
stores        Annotates from and to a store that speaks S3 (moto), kills shards in between, and
              compares with annotations of files
python        Tests the Python package, and its types with mypy and pyright.
              Arguments: those of pytest
spacy         Tests the component for spaCy, with negspacy and medspaCy behind it
cluster       Tests the Python package on Spark and Ray. Spark needs Java 17.
              Arguments: those of pytest
wheel         Makes the wheels and installs them into an empty environment
client        Generates a Python client from the server's OpenAPI description and compares its
              answers with those of `medner annotate`
notebooks     What `cargo xtask notebooks` does
gpu           Makes the bundle of `cargo xtask gpu-bundle` and runs its script on this machine's
              CPU, with the libraries of the torch that has CUDA. Arguments: --only NAME,…,
              --seconds N

Options:
  --model RUN_OR_FOLDER    The id of a run, its folder, or the folder of a model. Without it,
                           a model is trained on the sample for one epoch, and kept until
                           medner is built again.
  -h, --help

Python environments and Node.js packages of pinned versions are installed to
.medner/checks at the first use; those with torch take about 5 GB. The scripts are in
scripts/ and run by hand, too.

Examples:
  cargo xtask check load --requests 1000
  cargo xtask check pipeline --model path/to/folder --show";

pub const NOTEBOOKS: &str = "\
Executes the notebooks in notebooks/ from top to bottom, on the sample that comes with medner.

Usage: cargo xtask notebooks [--html DIR]

Options:
  --html DIR    Write each executed notebook as a page
  -h, --help

Needs pip for an environment of its own (.medner/checks/notebooks).";

pub const DIST: &str = "\
Copies medner and the libtorch CPU libraries into a folder that runs without cargo.

Usage: cargo xtask dist [--wheel] [--out DIR]

Options:
  --wheel      Write Python wheels instead: medner (the package in python/ and the program) and
               medner-libtorch (the libraries). `pip install DIR/*.whl` installs both.
               Needs Python 3.11 and binutils
  --out DIR    Where to write DIR/medner and DIR/lib/ [default: dist in cargo's target folder],
               or the wheels [default: wheels in it]
  -h, --help

The folder can be moved as a whole. The other machine needs a C and C++ run-time library
(glibc, libstdc++) at least as new as those of this one.";

pub const GPU_BUNDLE: &str = "\
Makes what travels to a machine with an NVIDIA card: medner is shown on a real card there.

Usage: cargo xtask gpu-bundle [--parts mpnet|NAME=FOLDER] [--out DIR]

Options:
  --parts NAME    Instead of the bundle, write something large as folders of at most 50 MiB:
                  mpnet, the base encoder in fp16, or a folder of text or corpora
  --out DIR       Where to write [default: .medner/gpu, or .medner/gpu-parts]
  -h, --help

The bundle has at most 60 MiB: medner and the tests that compare a card with the CPU, both
stripped; MiniLM in fp16; BC5CDR from MEDNER_CORPORA; scripts. The programs load the libtorch
of the machine's own Python, which must be the pinned version with CUDA.

On that machine:
  python3 .medner/gpu/run.py --out DIR             everything that a card must show, as JSON
  python3 .medner/gpu-parts/mpnet-1/receive.py     keeps a part, until all are there
  python3 .medner/gpu/base.py --out DIR            rows of the accuracy table of base size

`cargo xtask check gpu` rehearses the first without a card.";

/// The page of one of this runner's commands.
pub fn of(topic: &str) -> Option<&'static str> {
    match topic {
        "setup" => Some(SETUP),
        "doctor" => Some(DOCTOR),
        "test" => Some(TEST),
        "tidy" => Some(TIDY),
        "check" => Some(CHECK),
        "bench" => Some(BENCH),
        "dist" => Some(DIST),
        "gpu-bundle" => Some(GPU_BUNDLE),
        "notebooks" => Some(NOTEBOOKS),
        _ => None,
    }
}

pub const BENCH: &str = "\
Measures medner: beside what a user would take instead, where its time goes, and its parts.

Usage: cargo xtask bench peers [--repeats N] [--epochs N] [--only train|annotate]
                               [--out FILE.json]
       cargo xtask bench cost [--quick | --from FILE.json]
       cargo xtask bench micro [FILTER] [ARGUMENTS FOR criterion]

Run nothing else on the machine meanwhile.

peers  Trains on BC5CDR and annotates its test abstracts with medner, transformers and ONNX
       Runtime in turn, each in a process of its own. Checks that they did the same work, and
       prints ratios of speed and memory with their spread. Needs MEDNER_CORPORA, and about
       6 GB for a Python environment with pinned versions (.medner/bench). Also writes the
       figures to experiments/bench/peers.json.
cost   Measures a training step by its phases and a forward pass by its parts, both beside the
       roofline of this machine, and how cost grows with text length, batch and model size, on
       random weights. Writes the figures of docs/performance.md, its plots, and
       experiments/bench/cost.json, in about five minutes on two cores. --quick takes one
       short round and writes nothing; --from makes page and plots again from a file.
micro  Measures parsing, tokenisation, alignment, batching, decoding, scoring, a forward pass
       and a training step with criterion, on the synthetic corpus and random weights. Prints
       time and throughput, beside those of the run before.

Examples:
  cargo xtask bench micro decoding
  cargo xtask bench micro --save-baseline before";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_fit_a_terminal_and_every_verb_is_in_the_overview() {
        for verb in ["setup", "doctor", "test", "tidy", "check", "bench", "dist", "gpu-bundle", "notebooks"] {
            let page = of(verb).expect("a page");
            assert!(OVERVIEW.contains(&format!("\n  {verb} ")), "{verb}");
            for line in OVERVIEW.lines().chain(page.lines()) {
                assert!(line.chars().count() <= 100, "{verb}: {line}");
            }
        }
    }
}
