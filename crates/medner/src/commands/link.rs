//! `medner link`: concepts of a vocabulary for mentions of any origin.

use super::convert;
use crate::args::check_seen;
use anyhow::{Context, Result, ensure};
use ner_data::Document;
use ner_link::{Answer, LinkOptions, Linker, Query, Vocabulary, long_forms};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use tracing::{info, warn};

/// Add concept ids of your vocabulary to mentions of any origin
///
/// A mention gets the concept whose name equals its text (but for case, punctuation and spelling), or is a variant of it
/// (plural, order of words), or else shares most of its character 3-grams. An abbreviation that the document defines is
/// looked up by its long form first. A composite mention ("breast and ovarian cancer") gets the concepts of its parts if
/// all are names. Below the threshold a mention gets none. `link_score`, an attribute, is 1 for an equal name, 0.95 for a
/// variant, and less otherwise. Ids that a mention has stay, and it is not linked, unless --replace is given.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  medner vocabulary build doid.obo --out doid.voc
  medner link found.jsonl linked.jsonl --to jsonl --vocabulary doid.voc
  medner link notes/ linked/ --from brat --to brat --vocabulary Disease=doid.voc --vocabulary Chemical=mesh.voc
  medner link in.PubTator.txt out.PubTator.txt --to pubtator --vocabulary ours.voc --replace --threshold 0.7")]
pub struct Args {
    #[command(flatten)]
    conversion: convert::Args,
    /// Vocabulary of `vocabulary build` for all mentions, or for those of one type; repeatable
    #[arg(long = "vocabulary", value_name = "[TYPE=]NAME.voc", required = true, value_parser = vocabulary)]
    vocabularies: Vec<(Option<String>, PathBuf)>,
    /// Smallest score of a link, from 0 to 1
    #[arg(long, value_name = "MIN", default_value_t = LinkOptions::default().threshold)]
    threshold: f64,
    /// Replace the ids that mentions have
    #[arg(long)]
    replace: bool,
}

#[allow(clippy::unnecessary_wraps, reason = "clap's parsers can fail")]
fn vocabulary(text: &str) -> Result<(Option<String>, PathBuf), String> {
    Ok(match text.split_once('=') {
        Some((entity_type, path)) if !entity_type.contains('/') => (Some(entity_type.to_owned()), path.into()),
        _ => (None, text.into()),
    })
}

/// The score of the worst link of a mention.
const SCORE: &str = "link_score";

/// Runs the command.
///
/// # Errors
/// If a vocabulary cannot be opened, a type is named twice or does not occur, or as for `convert`.
pub fn run(args: &Args) -> Result<()> {
    ensure!((0.0..=1.0).contains(&args.threshold), "--threshold must be from 0 to 1");
    let options = LinkOptions { threshold: args.threshold, ..LinkOptions::default() };
    let mut linkers: BTreeMap<Option<&str>, Linker> = BTreeMap::new();
    for (entity_type, path) in &args.vocabularies {
        let vocabulary = Vocabulary::open(path).context("build it with `medner vocabulary build`")?;
        let linker = Linker::new(Arc::new(vocabulary), options);
        let twice = linkers.insert(entity_type.as_deref(), linker).is_some();
        let whose = entity_type.as_deref().unwrap_or("all types");
        ensure!(!twice, "two vocabularies for {whose}; build one from the files of both");
    }
    let mut tally = Tally::default();
    let mut change = |document: &mut Document| {
        tally.link(document, &linkers, args.replace);
        Ok(())
    };
    convert::run_with(&args.conversion, &mut change)?;
    check_seen(linkers.keys().flatten().copied(), &tally.types)?;
    let Tally { linked, unlinked, kept, .. } = tally;
    if kept > 0 {
        warn!("{kept} mentions had ids and were not linked; --replace links them again");
    }
    info!("{linked} mentions linked, {unlinked} without a concept");
    Ok(())
}

/// What became of the mentions.
#[derive(Default)]
struct Tally {
    types: BTreeSet<String>,
    linked: usize,
    unlinked: usize,
    kept: usize,
}

impl Tally {
    fn link(&mut self, document: &mut Document, linkers: &BTreeMap<Option<&str>, Linker>, replaces: bool) {
        let Document { text, mentions, .. } = document;
        let index = ner_data::CharIndex::new(text);
        let long_forms = long_forms(text);
        for mention in mentions {
            if !self.types.contains(&mention.entity_type) {
                self.types.insert(mention.entity_type.clone());
            }
            let linker = linkers.get(&Some(mention.entity_type.as_str())).or_else(|| linkers.get(&None));
            let Some(linker) = linker else { continue };
            if !mention.concept_ids.is_empty() && !replaces {
                self.kept += 1;
                continue;
            }
            let parts: Vec<&str> = mention.fragments.iter().filter_map(|&part| index.slice(text, part)).collect();
            let long_form = long_forms.get(&mention.span()).and_then(|&span| index.slice(text, span));
            let answers = linker.link(&Query { text: &parts.join(" "), long_form, types: &[] });
            let best = |answer: &Answer| answer.candidates.first().map(|best| (best.id.clone(), best.score));
            let found: Vec<(String, f64)> = answers.iter().filter_map(best).collect();
            mention.attributes.remove(SCORE);
            if let Some(score) = found.iter().map(|(_, score)| *score).reduce(f64::min) {
                mention.attributes.insert(SCORE.to_owned(), format!("{score:.3}"));
                self.linked += 1;
            } else {
                self.unlinked += 1;
            }
            mention.concept_ids = found.into_iter().map(|(id, _)| id).collect();
        }
    }
}
