//! `medner link`: concepts of a vocabulary for mentions of any origin.

use super::convert;
use crate::vocabularies::VocabularyArgs;
use anyhow::Result;
use clap::ArgGroup;
use ner_data::Document;
use ner_link::Linked;
use tracing::{info, warn};

/// Add concept ids of your vocabulary to mentions of any origin
///
/// A mention gets the concept whose name equals its text (but for case, punctuation and spelling), or is a variant of it
/// (plural, order of words). Otherwise the names that share most of its character 3-grams are ranked by their words and
/// 3-grams, and with --reranker also by an encoder. An abbreviation that the document defines is looked up by its long form
/// first. A composite mention ("breast and ovarian cancer") gets the concepts of its parts if all are names, or more
/// probable than the whole. A mention in brackets behind a name ("cisplatin (CDDP)") gets the concept of that. Below the
/// threshold a mention gets none. The attribute `link_score` is 1 for an equal name, 0.95 for a variant, 0.8 in brackets, and
/// otherwise 0.9 times the probability that the link is right; `concept_name` is the preferred name; with --candidates,
/// `link_candidates` holds them all with their scores. Ids that a mention has stay, and it is not linked, unless --replace is
/// given. Then it keeps them if it has no link.
#[derive(clap::Args)]
#[command(group = ArgGroup::new("at_least_one").args(["vocabularies"]).required(true).multiple(true))]
#[command(after_help = "\
Examples:
  medner vocabulary build doid.obo --out doid.voc
  medner link found.jsonl linked.jsonl --to jsonl --vocabulary doid.voc
  medner link notes/ linked/ --from brat --to brat --vocabulary Disease=doid.voc --vocabulary Chemical=mesh.voc
  medner link found.jsonl linked.jsonl --to jsonl --vocabulary Disease=mesh.voc --concept-type Disease=C* --candidates 5
  medner link found.jsonl linked.jsonl --to jsonl --vocabulary Disease=doid.voc --reranker doid-reranker
  medner link in.PubTator.txt out.PubTator.txt --to pubtator --vocabulary ours.voc --replace --threshold 0.7")]
pub struct Args {
    #[command(flatten)]
    conversion: convert::Args,
    #[command(flatten)]
    vocabularies: VocabularyArgs,
    /// Smallest score of a link, from 0 to 1 [default: the reranker's, or 0.5]
    #[arg(long, value_name = "MIN")]
    threshold: Option<f64>,
    /// Replace the ids that mentions have, where a link is found
    #[arg(long)]
    replace: bool,
}

/// Runs the command.
///
/// # Errors
/// If a vocabulary cannot be opened, a type is named twice or does not occur, or as for `convert`.
pub fn run(args: &Args) -> Result<()> {
    args.vocabularies.check_candidates(args.conversion.to.name())?;
    let linkers = args.vocabularies.open(args.threshold)?;
    let types = linkers.entity_types().collect();
    let mut done = Linked::default();
    let mut change = |document: &mut Document| {
        let Linked { linked, unlinked, unreplaced, kept } =
            linkers.link_mentions(&document.text, &mut document.mentions, args.replace);
        done.linked += linked;
        done.unlinked += unlinked;
        done.unreplaced += unreplaced;
        done.kept += kept;
        Ok(())
    };
    convert::run_with(&args.conversion, &types, &mut change)?;
    let Linked { linked, unlinked, unreplaced, kept } = done;
    if kept > 0 {
        warn!("{kept} mentions had ids and were not linked; --replace links them again");
    }
    if unreplaced > 0 {
        warn!("{unreplaced} mentions kept their old ids, because they have no concept in the vocabulary");
    }
    info!("{linked} mentions linked, {unlinked} without a concept");
    Ok(())
}
