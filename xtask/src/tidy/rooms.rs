//! Which crate may depend on which.
//!
//! To add a crate: add a row to [`ROOMS`], and the crate to the rows of those that may use it. A row lists what a crate
//! may use, so an entry that it does not use is no fault. To add a heavy dependency, add a row to [`KEPT_APART`].

/// A crate of the workspace.
pub struct Room {
    pub name: &'static str,
    /// The crates of the workspace that it may depend on.
    pub may_use: &'static [&'static str],
}

/// From the ground up.
pub const ROOMS: &[Room] = &[
    Room { name: "ner-document", may_use: &[] },
    Room { name: "ner-files", may_use: &[] },
    Room { name: "ner-text", may_use: &["ner-document", "ner-files"] },
    Room { name: "ner-context", may_use: &["ner-document", "ner-text"] },
    Room { name: "ner-link", may_use: &["ner-document", "ner-files"] },
    Room { name: "ner-data", may_use: &["ner-document", "ner-files", "ner-text"] },
    Room { name: "ner-clinical", may_use: &["ner-context", "ner-data", "ner-link"] },
    Room { name: "ner-eval", may_use: &["ner-document"] },
    Room { name: "ner-hub", may_use: &["ner-files"] },
    Room { name: "ner-stores", may_use: &["ner-files"] },
    Room { name: "ner-model", may_use: &["ner-document", "ner-files", "ner-text"] },
    Room { name: "ner-train", may_use: &["ner-document", "ner-files", "ner-model", "ner-text"] },
    Room { name: "ner-active", may_use: &["ner-document", "ner-text"] },
    Room { name: "ner-annotate", may_use: &["ner-context", "ner-document", "ner-link", "ner-model", "ner-text"] },
    Room { name: "ner-runs", may_use: &["ner-document", "ner-files"] },
    Room { name: "ner-track", may_use: &["ner-files", "ner-runs"] },
    Room { name: "ner-report", may_use: &["ner-data", "ner-eval"] },
    Room {
        name: "ner-serve",
        may_use: &["ner-active", "ner-annotate", "ner-data", "ner-document", "ner-link", "ner-text"],
    },
    Room {
        name: "ner-experiment",
        may_use: &[
            "ner-active",
            "ner-annotate",
            "ner-context",
            "ner-data",
            "ner-document",
            "ner-eval",
            "ner-files",
            "ner-hub",
            "ner-link",
            "ner-model",
            "ner-report",
            "ner-runs",
            "ner-stores",
            "ner-text",
            "ner-track",
            "ner-train",
        ],
    },
    Room {
        name: "medner",
        may_use: &[
            "ner-active",
            "ner-annotate",
            "ner-clinical",
            "ner-context",
            "ner-data",
            "ner-document",
            "ner-eval",
            "ner-experiment",
            "ner-files",
            "ner-hub",
            "ner-link",
            "ner-model",
            "ner-report",
            "ner-runs",
            "ner-serve",
            "ner-stores",
            "ner-text",
            "ner-track",
            "ner-train",
        ],
    },
    Room { name: "xtask", may_use: &[] },
];

/// Crates from elsewhere, and the only crates that may depend on them.
pub const KEPT_APART: &[(&str, &[&str])] = &[
    ("arrow-array", &["ner-annotate"]),
    ("arrow-ipc", &["ner-annotate"]),
    ("arrow-schema", &["ner-annotate"]),
    ("axum", &["ner-serve"]),
    ("clap", &["medner"]),
    ("hyper", &["ner-serve"]),
    ("hyper-util", &["ner-serve"]),
    ("object_store", &["ner-stores"]),
    ("polars", &["ner-data", "ner-runs"]),
    ("tch", ABOVE_LIBTORCH),
    ("tokenizers", &["ner-text"]),
    ("tokio", &["ner-serve", "ner-stores"]),
    ("torch-sys", ABOVE_LIBTORCH),
    ("ureq", &["ner-hub", "ner-track"]),
];

const ABOVE_LIBTORCH: &[&str] = &["medner", "ner-annotate", "ner-experiment", "ner-model", "ner-serve", "ner-train"];

/// Dependencies that no source names, as (crate, dependency, reason).
pub const USED_WITHOUT_A_NAME: &[(&str, &str, &str)] = &[
    ("medner", "torch-sys", "build.rs reads what its build script tells direct dependents"),
    ("ner-annotate", "torch-sys", "build.rs reads what its build script tells direct dependents"),
    ("ner-experiment", "torch-sys", "build.rs reads what its build script tells direct dependents"),
    ("ner-model", "torch-sys", "build.rs reads what its build script tells direct dependents"),
    ("ner-serve", "torch-sys", "build.rs reads what its build script tells direct dependents"),
    ("ner-train", "torch-sys", "build.rs reads what its build script tells direct dependents"),
];
