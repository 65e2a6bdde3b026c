//! `medner vocabulary`: builds a vocabulary that mentions can be linked to, says what one holds, and trains its reranker.

use crate::OutputFormat;
use crate::args::{FaultArgs, format_name, precision, told};
use crate::terminal::stdout;
use anyhow::{Context, Result, ensure};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use ner_data::FormatOptions;
use ner_experiment::corpus::check_faults;
use ner_experiment::record::runs_folder;
use ner_experiment::reranker::{self, RerankerPlan};
use ner_link::{BuildReport, Builder, Format, ReadOptions, ReadReport, Vocabulary, read};
use ner_model::Precision;
use ner_train::NameRecipe;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use tracing::{info, warn};

/// Build vocabularies for `link`, train their rerankers, or say what one holds
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Build one file from the files of one or several vocabularies
    Build(BuildArgs),
    /// Print what a vocabulary holds
    Show(ShowArgs),
    /// Train an encoder to rank the names that resemble a mention
    Train(TrainArgs),
}

/// Build one file from the files of one or several vocabularies
///
/// Reads tables (TSV, CSV) with a header, MEDIC, CTD, OBO and HPO, MeSH XML, MRCONSO.RRF with MRSTY.RRF of UMLS,
/// RXNCONSO.RRF of RxNorm, descriptions and concepts of SNOMED CT (RF2), the order file of ICD-10-CM, and CONCEPT.csv with
/// CONCEPT_SYNONYM.csv of OMOP, plain or gzipped. Records with the same id become one concept. What a reader leaves out is counted with its reason and first line. The file is mapped
/// into memory, so that it opens at once and processes share it.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  medner vocabulary build names.tsv --out ours.voc
  medner vocabulary build diseases.csv --id-column code --name-column term --out icd.voc --release 2026
  medner vocabulary build doid.obo --out doid.voc
  medner vocabulary build ours.csv --out ours.voc --system https://example.org/codes
  medner vocabulary build sct2_Description_Snapshot-en.txt sct2_Concept_Snapshot.txt --out snomed.voc
  medner vocabulary build CONCEPT.csv CONCEPT_SYNONYM.csv --out omop.voc
  medner vocabulary build MRCONSO.RRF MRSTY.RRF --out umls.voc --release 2026AA
  medner link found.jsonl linked.jsonl --to jsonl --vocabulary Disease=doid.voc")]
struct BuildArgs {
    /// Files of the vocabulary
    #[arg(value_name = "IN", required = true)]
    inputs: Vec<PathBuf>,
    /// File to write
    #[arg(long, value_name = "NAME.voc")]
    out: PathBuf,
    /// Format of all inputs [default: detected for each]
    #[arg(long, value_name = "FORMAT", value_parser = vocabulary_format())]
    format: Option<Format>,
    /// Release of the vocabulary, kept in its header
    #[arg(long, value_name = "TEXT", default_value = "")]
    release: String,
    /// URI of the code system that the ids belong to, for FHIR, kept in its header [default: that of the format or file, if
    /// it tells one]
    #[arg(long, value_name = "URI")]
    system: Option<String>,
    /// Column of the ids (TSV, CSV)
    #[arg(long, value_name = "NAME", default_value = "id")]
    id_column: String,
    /// Column of the preferred names (TSV, CSV)
    #[arg(long, value_name = "NAME", default_value = "name")]
    name_column: String,
    /// Column of the synonyms, separated by | (TSV, CSV); it need not be there
    #[arg(long, value_name = "NAME", default_value = "synonyms")]
    synonyms_column: String,
    /// Column of the types, separated by | (TSV, CSV); it need not be there
    #[arg(long, value_name = "NAME", default_value = "types")]
    types_column: String,
    /// Language of names, by what its code begins with (UMLS, SNOMED CT); repeatable
    #[arg(long = "language", value_name = "CODE", default_value = "en")]
    languages: Vec<String>,
}

/// Print what a vocabulary holds
#[derive(clap::Args)]
struct ShowArgs {
    /// The vocabulary
    #[arg(value_name = "NAME.voc")]
    vocabulary: PathBuf,
    /// Also read every byte and compare the checksum
    #[arg(long)]
    verify: bool,
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    format: OutputFormat,
}

/// Train an encoder to rank the names that resemble a mention
///
/// With --steps the encoder learns to bring the names of a concept together (SapBERT, Liu et al. 2021); without, it stays as
/// it is. Then its weight beside the other features is chosen: on mentions with ids that --mentions gives, or else on names of
/// concepts that training did not see. --mentions also chooses the threshold of links. DIR then holds the encoder and the
/// vectors of all names, for `--reranker DIR` with the same vocabularies.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  medner vocabulary train doid.voc --out doid-reranker
  medner vocabulary train Disease=medic.voc Chemical=mesh.voc --mentions train.PubTator.txt --out reranker
  medner vocabulary train doid.voc --encoder bc5cdr --steps 200 --out doid-reranker")]
struct TrainArgs {
    /// Vocabularies, those of all types of mentions or of one
    #[arg(value_name = "[TYPE=]NAME.voc", required = true, value_parser = crate::vocabularies::vocabulary)]
    vocabularies: Vec<(Option<String>, PathBuf)>,
    /// Encoder: a name, a folder, a corpus (its newest run), or a run
    #[arg(long, value_name = "NAME|DIR|RUN", default_value = ner_experiment::models::DEFAULT_ENCODER)]
    encoder: String,
    /// Folder to write
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// File of documents whose mentions have ids, to choose the weight and the threshold; repeatable. Training leaves their
    /// names out
    #[arg(long, value_name = "FILE")]
    mentions: Vec<PathBuf>,
    /// Format of the files of --mentions [default: detected for each]
    #[arg(long, value_name = "FORMAT", value_parser = format_name(), requires = "mentions")]
    from: Option<ner_data::Format>,
    /// Steps of training; with 0 the encoder stays as it is
    #[arg(long, value_name = "N", default_value_t = NameRecipe::default().steps)]
    steps: usize,
    /// Highest learning rate, with --steps [default: 0.0001]
    #[arg(long, value_name = "RATE")]
    learning_rate: Option<f64>,
    /// Seed of training
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// auto, cpu or cuda:N
    #[arg(long, default_value = "auto")]
    device: String,
    /// Precision of training: auto, fp32, bf16 or fp16
    #[arg(long, default_value = "auto", value_parser = precision)]
    precision: Precision,
    /// Folder of runs [default: experiments/runs of the checkout]
    #[arg(long, value_name = "DIR")]
    runs: Option<PathBuf>,
    #[command(flatten)]
    faults: FaultArgs,
}

fn vocabulary_format() -> impl TypedValueParser<Value = Format> {
    PossibleValuesParser::new(Format::names()).try_map(|name| Format::named(&name).ok_or("unknown"))
}

/// Runs the command.
///
/// # Errors
/// If a file cannot be read or written, or is not as its format asks.
pub fn run(args: Args) -> Result<()> {
    match args.command {
        Command::Build(args) => build(args),
        Command::Show(args) => show(&args),
        Command::Train(args) => train(args),
    }
}

fn build(args: BuildArgs) -> Result<()> {
    let options = ReadOptions {
        format: args.format,
        id_column: args.id_column,
        name_column: args.name_column,
        synonyms_column: args.synonyms_column,
        types_column: args.types_column,
        languages: args.languages,
        ..ReadOptions::default()
    };
    if let Some(system) = &args.system {
        let is_uri = system.contains(':') && !system.contains(char::is_whitespace);
        ensure!(is_uri, "--system is a URI, as in http://snomed.info/sct or urn:oid:1.2.3");
    }
    let mut builder = Builder::new();
    let (mut systems, mut formats) = (BTreeSet::new(), Vec::new());
    for path in &args.inputs {
        let ReadReport { format, records, skipped, system, .. } =
            read(path, &options, &mut |record| builder.add(record))?;
        systems.insert(system);
        formats.extend(format);
        let format = format.map(|format| format.to_string()).unwrap_or_default();
        info!("{}: {records} records ({format})", path.display());
        for (why, left_out) in skipped {
            let at = left_out.first_line;
            warn!("{}: left out {}: {why} (first at line {at})", path.display(), left_out.count);
        }
    }
    match (&args.system, systems.into_iter().collect::<Vec<_>>().as_slice()) {
        (Some(system), _) | (None, [Some(system)]) => builder.set_system(system),
        (None, [None]) => info!("without a code system; FHIR needs one: --system URI"),
        (None, _) => warn!("the inputs belong to different code systems, or do not tell; FHIR needs one: --system URI"),
    }
    if formats.contains(&Format::Snomed) && !formats.contains(&Format::SnomedConcepts) {
        warn!("inactive concepts are not left out: add the release's file of concepts (sct2_Concept_Snapshot…)");
    }
    let BuildReport { concepts, names, empty_names, unnamed_concepts, inactive_concepts, bytes, sha256, .. } =
        builder.write(&args.out, &args.release)?;
    for (count, what) in [
        (empty_names, "names without letters and digits, which nothing could find"),
        (unnamed_concepts, "ids without a name"),
        (inactive_concepts, "concepts that must not be used: inactive, invalid or not standard"),
    ] {
        if count > 0 {
            warn!("left out {count} {what}");
        }
    }
    info!("{}: {concepts} concepts, {names} names, {bytes} bytes, SHA-256 {sha256}", args.out.display());
    Ok(())
}

fn show(args: &ShowArgs) -> Result<()> {
    let vocabulary = Vocabulary::open(&args.vocabulary)?;
    if args.verify {
        vocabulary.verify().context("build it again")?;
    }
    let facts = json!({
        "release": vocabulary.release(),
        "system": vocabulary.system(),
        "concepts": vocabulary.concepts(),
        "names": vocabulary.names(),
        "sha256": vocabulary.sha256(),
    });
    let mut out = stdout::stdout();
    match args.format {
        OutputFormat::Json => writeln!(out, "{facts:#}")?,
        OutputFormat::Table => {
            for (name, value) in facts.as_object().into_iter().flatten() {
                let value = match value {
                    Value::Null => String::new(),
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                };
                writeln!(out, "{name:<9} {value}")?;
            }
        }
    }
    Ok(out.flush()?)
}

fn train(args: TrainArgs) -> Result<()> {
    ensure!(args.steps > 0 || args.learning_rate.is_none(), "--learning-rate has no effect without --steps");
    let mut recipe = NameRecipe { steps: args.steps, seed: args.seed, ..NameRecipe::default() };
    recipe.learning_rate = args.learning_rate.unwrap_or(recipe.learning_rate);
    let open = |(entity_type, path): (Option<String>, PathBuf)| {
        let vocabulary = Vocabulary::open(&path).context("build it with `medner vocabulary build`")?;
        Ok((entity_type, Arc::new(vocabulary)))
    };
    let vocabularies = args.vocabularies.into_iter().map(open).collect::<Result<_>>()?;
    let (mut documents, mut faults) = (Vec::new(), Vec::new());
    for path in &args.mentions {
        let format = told(path, args.from)?;
        let read = format.read(path, &FormatOptions::default());
        let (more, found) = read.with_context(|| format!("cannot read {}", path.display()))?;
        documents.extend(more);
        faults.push(found);
    }
    check_faults(&faults, args.faults.lenient)?;
    let plan = RerankerPlan {
        vocabularies,
        encoder: args.encoder,
        runs: runs_folder(args.runs.as_deref())?,
        mentions: &documents,
        recipe,
        device: args.device,
        precision: args.precision,
    };
    let facts = reranker::train(&plan, &args.out)?;
    let [before, after] = facts.right;
    info!(
        "best candidate right: {after} of {} texts, without the encoder {before}; {} have the right one at all",
        facts.fitted_to, facts.right_among_candidates
    );
    info!("{}: use it with --reranker", args.out.display());
    Ok(())
}
