//! `medner assert`: what the text says of mentions, whoever found them.

use super::convert;
use crate::args::RuleArgs;
use anyhow::Result;
use ner_context::{ASSERTION, AssertionValue, SectionKind, SectionName};
use ner_data::{Document, Span};
use ner_experiment::assertion::AssertionModel;
use ner_experiment::record::runs_folder;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use tracing::{info, warn};

/// Add assertions and sections to mentions of any origin
///
/// Says of each mention whether the patient has it (present, absent, possible, conditional, hypothetical,
/// associated_with_someone_else, and historical), which words decided, and in which section it stands. Rules need no
/// model; with --model, a classifier from `train --task assertion` decides together with them.
/// Mentions come from IN, in any format that `convert` reads; OUT gets them with the attributes `assertion`, `historical`,
/// `assertion_cue` (characters of the cue), `assertion_confidence` and `section`, as far as its format has attributes.
/// The report says what it could not represent. An assertion that IN has is replaced, and counted.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  medner assert found.jsonl asserted.jsonl --from jsonl --to jsonl
  medner assert notes/ asserted/ --from brat --to brat --type Disease --type Symptom
  medner assert scispacy.jsonl asserted/ --from jsonl --to i2b2                   .con and .ast files
  medner assert found.jsonl asserted.jsonl --to jsonl --assertion-rules ours.toml
  medner assert found.jsonl asserted.jsonl --to jsonl --model i2b2        rules and a trained classifier
  medner score --gold gold.jsonl --predicted asserted.jsonl --attribute assertion")]
pub struct Args {
    #[command(flatten)]
    conversion: convert::Args,
    /// Type whose mentions get an assertion; repeatable [default: all types]
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
    #[command(flatten)]
    rules: RuleArgs,
    /// Classifier from `train --task assertion`, to decide together with the rules as its dev split chose: a corpus (its
    /// newest such run), a run (id, DATASET/ID or folder), or a model folder
    #[arg(long, value_name = "RUN|DIR")]
    model: Option<String>,
    /// Device of the classifier: auto, cpu or cuda:N
    #[arg(long, default_value = "auto", requires = "model")]
    device: String,
    /// Folder of runs [default: experiments/runs of the checkout]
    #[arg(long, value_name = "DIR", requires = "model")]
    runs: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// If the rules are invalid, a type does not occur, or as for `convert`.
pub fn run(args: &Args) -> Result<()> {
    let rules = args.rules.read()?;
    let load = |wanted: &String| AssertionModel::load(wanted, &runs_folder(args.runs.as_deref())?, &args.device);
    let model = args.model.as_ref().map(load).transpose()?;
    let wanted: BTreeSet<&str> = args.types.iter().map(String::as_str).collect();
    let mut replaced = 0usize;
    let mut counts: BTreeMap<AssertionValue, usize> = BTreeMap::new();
    let mut change = |document: &mut Document| {
        let spans: Vec<Span> = document.mentions.iter().map(|mention| mention.span()).collect();
        let mut contexts = rules.of(document, &spans);
        if let Some(model) = &model {
            model.apply(document, &spans, &mut contexts)?;
        }
        let found: Vec<_> =
            contexts.iter().map(|context| (context.assertion, context.section.map(SectionKind::name))).collect();
        for (mention, (assertion, section)) in document.mentions.iter_mut().zip(found) {
            SectionName::set(section.as_ref(), mention);
            if wanted.is_empty() || wanted.contains(mention.entity_type.as_str()) {
                replaced += usize::from(mention.attributes.contains_key(ASSERTION));
                assertion.set(mention);
                *counts.entry(assertion.value).or_default() += 1;
            }
        }
        Ok(())
    };
    convert::run_with(&args.conversion, &wanted, &mut change)?;
    if replaced > 0 {
        warn!("{replaced} mentions had an assertion, which was replaced");
    }
    let counts: Vec<String> = counts.into_iter().map(|(value, count)| format!("{count} {value}")).collect();
    info!("asserted: {}", if counts.is_empty() { "no mention".to_owned() } else { counts.join(", ") });
    Ok(())
}
