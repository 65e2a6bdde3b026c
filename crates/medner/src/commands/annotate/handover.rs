//! Options of the formats of hospital systems: FHIR and OMOP.

use super::output::{Handover, To, is_parquet};
use anyhow::{Context, Result, ensure};
use ner_annotate::Model;
use ner_clinical::{ProcessedAt, has_resource};
use ner_data::format::without_packing;
use ner_link::{Linkers, OMOP_SYSTEM};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use tracing::warn;

/// What FHIR and OMOP need besides the mentions.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct HandoverArgs {
    /// Time of processing, a date or an instant (FHIR, OMOP) [default: SOURCE_DATE_EPOCH, else the current time]
    #[arg(long, value_name = "TIME")]
    processed_at: Option<ProcessedAt>,
    /// Reference to the patient of all documents, as in Patient/123 (FHIR) [default: none; resources name the document]
    #[arg(long, value_name = "REFERENCE")]
    patient: Option<String>,
    /// Embed the text of each document in its DocumentReference (FHIR)
    #[arg(long)]
    with_text: bool,
    /// NOTE_NLP_ID of the first row (OMOP) [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    first_note_nlp_id: Option<i32>,
}

/// Seconds since 1970 that stand for the current time in reproducible builds (<https://reproducible-builds.org>).
const SOURCE_DATE_EPOCH: &str = "SOURCE_DATE_EPOCH";

impl HandoverArgs {
    /// Resolves the options; `None` for formats that need none.
    ///
    /// # Errors
    /// If an option has no effect on the format, or `SOURCE_DATE_EPOCH` is no time.
    pub fn resolve(&self, to: To, out: Option<&Path>, all_spans: bool, is_linked: bool) -> Result<Option<Handover>> {
        let (is_fhir, is_omop) = (to == To::Fhir, to == To::Omop);
        for (is_given, has_effect, option, formats) in [
            (self.processed_at.is_some(), is_fhir || is_omop, "--processed-at", "fhir and omop"),
            (self.patient.is_some(), is_fhir, "--patient", "fhir"),
            (self.with_text, is_fhir, "--with-text", "fhir"),
            (self.first_note_nlp_id.is_some(), is_omop, "--first-note-nlp-id", "omop"),
        ] {
            ensure!(
                !is_given || has_effect,
                "{option} has no effect on {} output: it is for {formats}",
                super::name_of(to)
            );
        }
        if !is_fhir && !is_omop {
            return Ok(None);
        }
        ensure!(
            !all_spans,
            "--all-spans does not work with {}: a hospital system would take what is below the threshold for a finding",
            super::name_of(to)
        );
        if let Some(patient) = &self.patient {
            let is_reference = patient.contains(['/', ':']) && !patient.contains(char::is_whitespace);
            ensure!(is_reference, "--patient is a reference of FHIR, as in Patient/123 or https://server/Patient/123");
        }
        if is_omop && let Some(out) = out.filter(|out| *out != Path::new("-")) {
            let is_csv = without_packing(out).extension().is_some_and(|ending| ending.eq_ignore_ascii_case("csv"));
            let is_file = !out.is_dir() && (is_csv || is_parquet(out));
            ensure!(
                is_file || std::fs::metadata(out).is_ok_and(|facts| !facts.is_file() && !facts.is_dir()),
                "OMOP output is one table, so that its ids are unique: name OUT.csv or OUT.parquet"
            );
        }
        Ok(Some(Handover {
            processed_at: self.time()?,
            patient: self.patient.clone(),
            with_text: self.with_text,
            first_note_nlp_id: self.first_note_nlp_id.unwrap_or(1),
            is_linked,
        }))
    }

    fn time(&self) -> Result<ProcessedAt> {
        match (self.processed_at, std::env::var_os(SOURCE_DATE_EPOCH)) {
            (Some(time), _) => Ok(time),
            (None, None) => Ok(ProcessedAt::now()),
            (None, Some(epoch)) => {
                let seconds = epoch.to_str().and_then(|epoch| epoch.parse().ok());
                seconds.and_then(ProcessedAt::from_epoch).with_context(|| {
                    format!("{SOURCE_DATE_EPOCH} must be seconds since 1970; unset it, or use --processed-at")
                })
            }
        }
    }

    /// The settings that must be equal to resume an output.
    pub fn settings(&self) -> Option<Value> {
        let Self { processed_at, patient, with_text, first_note_nlp_id: _ } = self;
        let time = processed_at.map(ProcessedAt::instant);
        let is_given = time.is_some() || patient.is_some() || *with_text;
        is_given.then(|| json!({ "processed_at": time, "patient": patient, "with_text": with_text }))
    }
}

/// Warns of types without a FHIR resource.
///
/// # Errors
/// If no type has one.
pub fn check_categories(models: &[Model]) -> Result<()> {
    let types: BTreeSet<(&str, bool)> = models
        .iter()
        .flat_map(|model| {
            let types = model.recognizer.labels().types.iter();
            types.map(|name| (name.as_str(), has_resource(model.categories.label(name))))
        })
        .collect();
    let without: BTreeSet<&str> =
        types.iter().filter(|(_, has_resource)| !has_resource).map(|(name, _)| *name).collect();
    let (names, advice) = (
        without.iter().copied().collect::<Vec<_>>().join(", "),
        "FHIR has resources for the categories problem, medication, treatment and test; --categories sets them",
    );
    ensure!(types.iter().any(|(_, has_resource)| *has_resource), "no type has a FHIR resource ({names}): {advice}");
    if !without.is_empty() {
        warn!("types without a FHIR resource are left out and counted: {names}; {advice}");
    }
    Ok(())
}

/// Checks that ids have their place in the format.
///
/// # Errors
/// If FHIR lacks the code system of a vocabulary.
pub fn check_vocabularies(to: To, linkers: &Linkers) -> Result<()> {
    for (_, linker, _) in linkers.iter() {
        let vocabulary = linker.vocabulary();
        let path = vocabulary.path().display();
        ensure!(
            to != To::Fhir || vocabulary.system().is_some(),
            "{path} does not say to which code system its ids belong, which a coding of FHIR needs: build it with \
             --system URI"
        );
        if to == To::Omop && vocabulary.system() != Some(OMOP_SYSTEM) {
            warn!(
                "the ids of {path} are not OMOP's: they go to term_modifiers, and note_nlp_concept_id stays 0; a vocabulary \
                 of CONCEPT.csv has OMOP's"
            );
        }
    }
    Ok(())
}
