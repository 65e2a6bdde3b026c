//! What `--help` says.

pub const OVERVIEW: &str = "\
Fetches what medner needs, builds it, and runs it.

Usage: cargo xtask <COMMAND> [ARGUMENTS]

Commands of this runner:
  setup     Make libtorch available: find it, or download it with pip
  doctor    Say what this machine has, what is missing, and how to get it
  test      What CI runs: formatting, lints, every test
  bench     Measure medner: beside its peers, where its time goes, its parts
  dist      Copy medner and its libraries into a folder that runs without cargo

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
  2. cargo clippy --release --workspace --all-targets -- -D warnings
  3. cargo test --release --workspace [ARGUMENTS]

Set MEDNER_CORPORA to a folder with corpora to run the tests on real corpora, too.

Examples:
  cargo xtask test
  cargo xtask test pubtator
  cargo xtask test -- --nocapture";

pub const DIST: &str = "\
Copies medner and the libtorch CPU libraries into a folder that runs without cargo.

Usage: cargo xtask dist [--out DIR]

Options:
  --out DIR    Where to write DIR/medner and DIR/lib/ [default: dist in cargo's target folder]
  -h, --help

The folder can be moved as a whole. The other machine needs a C and C++ run-time library
(glibc, libstdc++) at least as new as those of this one.";

/// The page of one of this runner's commands.
pub fn of(topic: &str) -> Option<&'static str> {
    match topic {
        "setup" => Some(SETUP),
        "doctor" => Some(DOCTOR),
        "test" => Some(TEST),
        "bench" => Some(BENCH),
        "dist" => Some(DIST),
        _ => None,
    }
}

pub const BENCH: &str = "\
Measures medner: beside what a user would take instead, where its time goes, and its parts one by one.

Usage: cargo xtask bench peers [--repeats N] [--epochs N] [--only train|annotate] [--out FILE.json]
       cargo xtask bench cost [--quick | --from FILE.json]
       cargo xtask bench micro [FILTER] [ARGUMENTS FOR criterion]

Nothing else should run on the machine meanwhile.

peers  Trains on BC5CDR and annotates its test abstracts with medner, transformers and ONNX Runtime, in turn, each in a
       process of its own, checks that they did the same work, and prints ratios of speed and of memory with their
       spread. It needs MEDNER_CORPORA and about 6 GB for a Python environment of its own (.medner/bench, pinned
       versions). The figures are also kept in experiments/bench/peers.json.
cost   A training step by its phases, a forward pass by its parts, both beside the roofline of this machine, and how
       cost grows with text length, batch and model size, on random weights. Writes the figures of docs/performance.md,
       its plots, and experiments/bench/cost.json; about five minutes on two cores. --quick takes one round of little and
       writes nothing; --from makes page and plots again from figures that are there.
micro  Parsing, tokenisation, alignment, batching, decoding, scoring, a forward pass and a training step, with
       criterion, on the synthetic corpus and random weights: time and throughput, beside those of the run before.

Examples:
  cargo xtask bench micro decoding
  cargo xtask bench micro --save-baseline before";
