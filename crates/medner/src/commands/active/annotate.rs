//! `medner active annotate`: a page to correct a batch. `medner active agreement`: inter-annotator agreement.

use crate::OutputFormat;
use crate::commands::serve::{ListenArgs, explained};
use crate::terminal::{interrupt, score_table, stdout};
use anyhow::Result;
use ner_active::correct::agreement;
use ner_experiment::active::batch::Batch;
use ner_experiment::active::corrections::{self, Corrections};
use ner_experiment::record;
use ner_serve::{CorrectionServer, Desk};
use serde_json::json;
use std::io::Write;
use std::path::PathBuf;
use tracing::info;

const EXAMPLES: &str = "\
Examples:
  medner active annotate batch1                     then open the printed address
  medner active annotate batch1 --type Procedure    offer a type that the model does not know
  MEDNER_TOKEN=$(openssl rand -hex 32) medner active annotate batch1 --host 0.0.0.0
  medner active agreement batch1
  medner active add loop batch1

Each action is written to corrections/NAME.jsonl in the batch's folder before the page shows it, so a killed process or
a closed browser loses nothing. Several annotators can work at once, each under their own name. The name `adjudicated`
starts with everything all annotators agree on, to settle the rest. By default the server accepts only connections from
this machine; with another --host it requires a token. Its log contains no text.";

/// Correct a batch on a page in the browser
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Batch made by `active select` or `active add`
    batch: PathBuf,
    /// Additional type to offer, besides the model's types; repeatable
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
    #[command(flatten)]
    listen: ListenArgs,
}

/// Show the agreement between the annotators of a batch
#[derive(clap::Args, Debug)]
pub struct AgreementArgs {
    /// The corrected batch
    batch: PathBuf,
    /// Output format; json also lists the differences, as positions
    #[arg(long, default_value = "table")]
    format: OutputFormat,
}

/// Serves until interrupted.
///
/// # Errors
/// If the batch or a journal is damaged, another process has it open, or the address is unavailable.
pub fn run(args: &Args) -> Result<()> {
    let address = args.listen.address()?;
    let options = args.listen.options()?;
    options.check(address).map_err(explained)?;
    let batch = Batch::open(&args.batch)?;
    let mut types = batch.types();
    for name in &args.types {
        ner_active::correct::check_label(name).map_err(|refusal| anyhow::anyhow!("--type {name}: {refusal}"))?;
        if !types.contains(name) {
            types.push(name.clone());
        }
    }
    let (mut corrections, works) = Corrections::open(&batch)?;
    let folder = batch.folder.canonicalize()?;
    let desk = Desk {
        reasons: batch
            .manifest
            .items
            .iter()
            .map(|item| {
                json!({ "document": item.document, "start": item.start, "rank": item.rank, "score": item.score })
            })
            .collect(),
        title: folder.file_name().map_or_else(|| "batch".into(), |name| name.to_string_lossy().into_owned()),
        documents: batch.documents,
        types,
        works,
        save: Box::new(move |name, records| corrections.save(name, records)),
        now: record::now,
    };
    let server = CorrectionServer::bind(desk, address, options).map_err(explained)?;
    let stopper = server.stopper();
    interrupt::on_stop("finishing the accepted requests", move || stopper.stop())?;
    let mut out = stdout::stdout();
    writeln!(out, "http://{}/", server.address())?;
    out.flush()?;
    info!("listening on {}; press Ctrl-C to stop", server.address());
    let saved = server.run()?;
    info!("{saved} actions saved");
    Ok(())
}

/// Prints the agreement.
///
/// # Errors
/// If the batch or a journal is damaged.
pub fn run_agreement(args: &AgreementArgs) -> Result<()> {
    let batch = Batch::open(&args.batch)?;
    let works = corrections::works(&batch)?;
    let pairs = agreement::pairs(&batch.documents, &works);
    if args.format == OutputFormat::Json {
        let done = |work: &ner_active::correct::Work| work.items().iter().filter(|item| item.done).count();
        let annotators: serde_json::Map<_, _> =
            works.iter().map(|(name, work)| (name.clone(), json!({ "done": done(work) }))).collect();
        let differences = agreement::differences(&batch.documents, &works);
        return stdout::print_json(&json!({
            "items": batch.documents.len(), "annotators": annotators, "pairs": pairs, "differences": differences,
        }));
    }
    let headings = ["annotators", "items", "both", "only first", "only second", "span F1", "kappa"];
    let mut table = score_table::table(&headings);
    for pair in &pairs {
        let numbers = [pair.items, pair.both, pair.only_first, pair.only_second].map(|number| number.to_string());
        let kappa = pair.kappa.map_or_else(|| "-".into(), |kappa| format!("{kappa:.3}"));
        let names = format!("{}, {}", pair.first, pair.second);
        let cells = [names].into_iter().chain(numbers).chain([score_table::percent(pair.f1), kappa]);
        score_table::add_row(&mut table, cells.collect());
    }
    let mut out = stdout::stdout();
    if pairs.is_empty() {
        info!("{} has corrections of fewer than two annotators", args.batch.display());
    }
    writeln!(out, "{table}")?;
    Ok(out.flush()?)
}
