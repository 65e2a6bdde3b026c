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
use ner_link::{BuildReport, Builder, Format, ReadOptions, ReadReport, Vocabulary, is_vocabulary, read};
use ner_model::Precision;
use ner_train::NameRecipe;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
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
    /// File to write; it may replace a vocabulary, but no other file
    #[arg(long, value_name = "NAME.voc")]
    out: PathBuf,
    /// Format of all inputs [default: detected for each]
    #[arg(long, value_name = "FORMAT", value_parser = vocabulary_format())]
    format: Option<Format>,
    /// Release of the vocabulary, kept in its header [default: that of the file, if it tells one (OBO)]
    #[arg(long, value_name = "TEXT")]
    release: Option<String>,
    /// URI of the code system that the ids belong to, for FHIR, kept in its header [default: that of the format or file, if
    /// it tells one]
    #[arg(long, value_name = "URI")]
    system: Option<String>,
    /// Column of the ids (TSV, CSV) [default: id]
    #[arg(long, value_name = "NAME")]
    id_column: Option<String>,
    /// Column of the preferred names (TSV, CSV) [default: name]
    #[arg(long, value_name = "NAME")]
    name_column: Option<String>,
    /// Column of the synonyms, separated by | (TSV, CSV) [default: synonyms, if it is there]
    #[arg(long, value_name = "NAME")]
    synonyms_column: Option<String>,
    /// Column of the types, separated by | (TSV, CSV) [default: types, if it is there]
    #[arg(long, value_name = "NAME")]
    types_column: Option<String>,
    /// Language of names, by what its code begins with (UMLS, RxNorm, SNOMED CT, OMOP); repeatable [default: en]
    #[arg(long = "language", value_name = "CODE")]
    languages: Vec<String>,
}

/// Print what a vocabulary holds
#[derive(clap::Args)]
struct ShowArgs {
    /// The vocabulary
    #[arg(value_name = "NAME.voc")]
    vocabulary: PathBuf,
    /// Also compare the checksum of the content of a file of more than 256 MiB, which takes long
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
    check_out(&args.out)?;
    let default = ReadOptions::default();
    let columns = [&args.id_column, &args.name_column, &args.synonyms_column, &args.types_column];
    let has_columns = columns.iter().any(|column| column.is_some());
    let has_languages = !args.languages.is_empty();
    let options = ReadOptions {
        format: args.format,
        id_column: args.id_column.unwrap_or(default.id_column),
        name_column: args.name_column.unwrap_or(default.name_column),
        synonyms_column: args.synonyms_column.unwrap_or(default.synonyms_column),
        types_column: args.types_column.unwrap_or(default.types_column),
        languages: if has_languages { args.languages } else { default.languages },
        ..ReadOptions::default()
    };
    if let Some(system) = &args.system {
        let is_uri = system.contains(':') && !system.contains(char::is_whitespace);
        ensure!(is_uri, "--system is a URI, as in http://snomed.info/sct or urn:oid:1.2.3");
    }
    let mut builder = Builder::new();
    let (mut systems, mut releases, mut formats) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
    for path in &args.inputs {
        let ReadReport { format, records, skipped, system, release, .. } =
            read(path, &options, &mut |record| builder.add(record))?;
        systems.insert(system);
        releases.insert(release);
        formats.extend(format);
        let format = format.map(|format| format.to_string()).unwrap_or_default();
        info!("{}: {records} records ({format})", path.display());
        for (why, left_out) in skipped {
            let at = left_out.first_line;
            warn!("{}: left out {}: {why} (first at line {at})", path.display(), left_out.count);
        }
    }
    let is_read = |of: &[Format]| formats.iter().any(|format| of.contains(format));
    ensure!(
        !has_columns || is_read(&[Format::Tsv, Format::Csv]),
        "--id-column, --name-column, --synonyms-column and --types-column have no effect: no input is TSV or CSV"
    );
    ensure!(
        !has_languages || is_read(&[Format::Mrconso, Format::Rxnconso, Format::Snomed, Format::OmopSynonym]),
        "--language has no effect: no input says the languages of its names (UMLS, RxNorm, SNOMED CT, OMOP)"
    );
    let told = if releases.len() == 1 { releases.pop_first() } else { None };
    let release = args.release.or(told).unwrap_or_default();
    match (&args.system, systems.into_iter().collect::<Vec<_>>().as_slice()) {
        (Some(system), _) | (None, [Some(system)]) => builder.set_system(system),
        (None, [None]) => info!("without a code system; FHIR needs one: --system URI"),
        (None, _) => warn!("the inputs belong to different code systems, or do not tell; FHIR needs one: --system URI"),
    }
    if formats.contains(&Format::Snomed) && !formats.contains(&Format::SnomedConcepts) {
        warn!("inactive concepts are not left out: add the release's file of concepts (sct2_Concept_Snapshot…)");
    }
    let BuildReport {
        concepts, names, empty_names, unnamed_concepts, inactive_concepts, odd_ids, bytes, sha256, ..
    } = builder.write(&args.out, &release)?;
    if let Some((count, first)) = odd_ids {
        warn!(
            "{count} ids are -1 or have a bar, a comma or white space, which outputs take for a list or no id: \"{first}\""
        );
    }
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

/// A file that is no vocabulary would be lost.
fn check_out(out: &Path) -> Result<()> {
    ensure!(!out.is_dir(), "{} is a folder; name a file, as in --out names.voc", out.display());
    let is_replaced = !out.exists() || matches!(is_vocabulary(out), Ok(true));
    ensure!(is_replaced, "{} exists and is no vocabulary of medner; name another file", out.display());
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
