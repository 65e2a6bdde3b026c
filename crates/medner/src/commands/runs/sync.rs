//! `medner runs sync`: sends to the trackers what a training could not send.

use crate::OutputFormat;
use crate::args::TrackingArgs;
use crate::terminal::{score_table, stdout};
use anyhow::{Result, bail};
use ner_runs::{Run, Store};
use ner_track::{Env, Synced, sync};
use serde::Serialize;
use std::io::Write;
use tracing::{debug, warn};

/// Send to MLflow and TensorBoard what a training could not send
#[derive(clap::Args)]
pub struct Args {
    /// The runs
    #[arg(required_unless_present = "all", conflicts_with = "all", value_name = "RUN")]
    wanted: Vec<String>,
    /// All runs that were tracked before; with --track, all runs
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    tracking: TrackingArgs,
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    format: OutputFormat,
}

#[derive(Serialize)]
struct Row {
    dataset: String,
    run: String,
    /// The outcome; `None` if it failed.
    result: Option<Synced>,
    error: Option<String>,
}

impl Row {
    fn text(&self) -> String {
        let text = match self.result {
            None => return self.error.clone().unwrap_or_default(),
            Some(Synced::Untracked) => "not tracked; name a tracker with --track",
            Some(Synced::Complete) => "complete",
            Some(Synced::Sent) => "sent",
            Some(Synced::Busy) => "still running; its own process sends it",
            Some(Synced::Unreadable) => "unreadable record",
        };
        text.to_owned()
    }
}

/// Sends the runs.
///
/// # Errors
/// If a run is missing, or could not be sent completely.
pub fn run(store: &Store, args: &Args) -> Result<()> {
    let (wanted, env) = (args.tracking.wanted(), Env::from_process()?);
    let runs: Vec<Run> = match args.all {
        true => store.list(None)?,
        false => {
            let found: Result<Vec<Vec<Run>>, _> = args.wanted.iter().map(|wanted| store.find(wanted)).collect();
            found?.into_iter().flatten().collect()
        }
    };
    let mut rows = Vec::new();
    // An unreachable server is not tried again for each run: every attempt would wait for its timeout.
    let mut is_away: Option<String> = None;
    for run in runs.iter().filter(|run| run.kind() == "train") {
        let result = match &is_away {
            Some(message) => Err(message.clone()),
            None => match sync(run.folder.path(), &wanted, &env) {
                Err(error) => {
                    is_away = error.is_away().then(|| error.to_string());
                    Err(error.to_string())
                }
                Ok(synced) => Ok(synced),
            },
        };
        debug!("{}: {result:?}", run.id());
        if args.all && result == Ok(Synced::Untracked) {
            continue;
        }
        let (result, error) = match result {
            Ok(synced) => (Some(synced), None),
            Err(message) => (None, Some(message)),
        };
        rows.push(Row { dataset: run.dataset.clone(), run: run.id(), result, error });
    }
    let failed = rows.iter().filter(|row| row.error.is_some()).count();
    match args.format {
        OutputFormat::Json => stdout::print_json(&serde_json::json!({ "runs": rows }))?,
        OutputFormat::Table => {
            let mut table = score_table::table(&["dataset", "run", "trackers"]);
            for row in &rows {
                table.add_row([row.dataset.clone(), row.run.clone(), row.text()]);
            }
            let mut out = stdout::stdout();
            writeln!(out, "{table}")?;
            out.flush()?;
        }
    }
    if rows.is_empty() {
        warn!("no run was sent; name a tracker with --track");
    }
    if failed > 0 {
        bail!("{failed} of {} runs could not be sent; see the table", rows.len());
    }
    Ok(())
}
