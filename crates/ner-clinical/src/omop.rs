//! NOTE_NLP of OMOP's Common Data Model 5.4: <https://ohdsi.github.io/CommonDataModel/cdm54.html#note_nlp>.

use crate::{Finding, ProcessedAt, Software};
use ner_context::AssertionValue;
use ner_data::frames::NoteNlpRow;
use ner_data::{CharIndex, ConversionReport, Document, Item, Span, shown};
use ner_link::{LinkedConcept, OMOP_SYSTEM};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

/// Why a document has no rows.
#[derive(Debug, thiserror::Error)]
pub enum OmopError {
    /// The id of a document is not an integer.
    #[error(
        "document {}: NOTE_NLP needs the note's NOTE_ID, an integer of 32 bits, as the document's id; name the column or key \
         that holds it with --id-column, or name each file by it",
        shown(.0)
    )]
    NoteId(String),
    /// There are more findings than integers.
    #[error("NOTE_NLP_ID is an integer of 32 bits: annotate fewer documents at once, or begin with a lower number")]
    TooMany,
}

/// Writes findings as rows.
#[derive(Clone, Debug)]
pub struct NoteNlp<'a> {
    /// NOTE_NLP_ID of the next row.
    pub next_id: i32,
    /// NLP_DATE and NLP_DATETIME.
    pub processed_at: ProcessedAt,
    /// The program.
    pub software: Software<'a>,
    /// Whether mentions are linked to a vocabulary. A mention without an OMOP concept then has the concept 0, as the
    /// model asks; without vocabularies it has none.
    pub is_linked: bool,
}

/// Characters of the `varchar` columns.
const SNIPPET: usize = 250;
const VARIANT: usize = 250;
const SYSTEM: usize = 250;
const MODIFIERS: usize = 2000;

/// Characters of a snippet on each side of the mention.
const AROUND: usize = 60;

impl NoteNlp<'_> {
    /// The rows of a document: one for each finding, and for each concept of a composite mention.
    ///
    /// # Errors
    /// If its id is not an integer, or the ids of rows are used up.
    pub fn rows(
        &mut self,
        document: &Document,
        findings: &[Finding],
    ) -> Result<(Vec<NoteNlpRow>, ConversionReport), OmopError> {
        // In its plain form only: 7 and 007 would be one note.
        let is_plain = |id: &u32| id.to_string() == document.id.trim();
        let note_id = document.id.trim().parse().ok().filter(is_plain).and_then(|id| i32::try_from(id).ok());
        let note_id = note_id.ok_or_else(|| OmopError::NoteId(document.id.clone()))?;
        let index = document.char_index();
        let mut report = ConversionReport { documents: 1, ..ConversionReport::default() };
        let mut rows = Vec::with_capacity(findings.len());
        let each = findings
            .iter()
            .flat_map(|finding| finding.each_concept().into_iter().map(move |concept| (finding, concept)));
        for (finding, concept) in each {
            let note_nlp_id = self.next_id;
            self.next_id = self.next_id.checked_add(1).ok_or(OmopError::TooMany)?;
            let Software { name, version } = self.software;
            let system = format!("{name} {version}; {}", finding.models.join("; "));
            let cells = [
                (finding.text(document, &index).to_owned(), VARIANT),
                (system, SYSTEM),
                (modifiers(finding, concept, document, &index), MODIFIERS),
            ];
            let is_cut = cells.iter().any(|(text, most)| text.chars().count() > *most);
            let [lexical_variant, nlp_system, term_modifiers] =
                cells.map(|(text, most)| text.chars().take(most).collect::<String>());
            let tally = report.items.entry(Item::Mention).or_default();
            if is_cut {
                tally.moved += 1
            } else {
                tally.kept += 1
            }
            let of_omop = concept.filter(|concept| concept.system.as_deref() == Some(OMOP_SYSTEM));
            let concept_id = of_omop.and_then(|concept| concept.id.parse().ok()).or(self.is_linked.then_some(0));
            rows.push(NoteNlpRow {
                note_nlp_id,
                note_id,
                section_concept_id: None,
                snippet: snippet(document, &index, finding.span),
                offset: finding.span.start.to_string(),
                lexical_variant,
                note_nlp_concept_id: concept_id,
                // The vocabulary is OMOP's own: nothing was mapped.
                note_nlp_source_concept_id: concept_id,
                nlp_system,
                nlp_date: self.processed_at.days(),
                nlp_datetime: self.processed_at.seconds(),
                term_exists: exists(finding, document, &index).map(|exists| if exists { "Y" } else { "N" }),
                term_temporal: temporal(finding, document, &index),
                term_modifiers,
            });
        }
        Ok((rows, report))
    }
}

impl NoteNlp<'_> {
    /// The cells of a row as CSV has them; empty is null.
    pub fn cells(&self, row: &NoteNlpRow) -> [String; 14] {
        let concept = |concept: Option<i32>| concept.map(|concept| concept.to_string()).unwrap_or_default();
        [
            row.note_nlp_id.to_string(),
            row.note_id.to_string(),
            concept(row.section_concept_id),
            row.snippet.clone(),
            row.offset.clone(),
            row.lexical_variant.clone(),
            concept(row.note_nlp_concept_id),
            concept(row.note_nlp_source_concept_id),
            row.nlp_system.clone(),
            self.processed_at.date(),
            self.processed_at.date_time(),
            row.term_exists.unwrap_or_default().to_owned(),
            row.term_temporal.unwrap_or_default().to_owned(),
            row.term_modifiers.clone(),
        ]
    }
}

/// The text around a mention.
fn snippet(document: &Document, index: &CharIndex, mention: Span) -> String {
    let around = (SNIPPET.saturating_sub(mention.len()) / 2).min(AROUND);
    let (start, end) = (mention.start.saturating_sub(around), (mention.end + around).min(index.len()));
    let end = end.min(start + SNIPPET);
    index.slice(&document.text, Span::new(start, end)).unwrap_or_default().to_owned()
}

/// "A flag that indicates if the patient actually has or had the condition": negation, another subject, a condition and
/// ruling out make it false; uncertainty does not.
fn exists(finding: &Finding, document: &Document, index: &CharIndex) -> Option<bool> {
    finding.assertion.map(|assertion| match assertion.value {
        AssertionValue::Present => true,
        AssertionValue::Possible => !is_rule_out(finding, document, index),
        AssertionValue::Absent
        | AssertionValue::Conditional
        | AssertionValue::Hypothetical
        | AssertionValue::AssociatedWithSomeoneElse => false,
    })
}

/// `past` if the note says so, `present` for what exists now.
fn temporal(finding: &Finding, document: &Document, index: &CharIndex) -> Option<&'static str> {
    if finding.assertion?.historical {
        return Some("past");
    }
    (exists(finding, document, index) == Some(true)).then_some("present")
}

/// Whether the cue asks to exclude it ("rule out", "r/o"), which the model keeps apart from other doubts. "Cannot be ruled
/// out" is a doubt.
fn is_rule_out(finding: &Finding, document: &Document, index: &CharIndex) -> bool {
    const BEGINNINGS: [&str; 5] = ["rule", "ruling", "r/o", "r out", "to exclude"];
    let is_possible = finding.assertion.is_some_and(|assertion| assertion.value == AssertionValue::Possible);
    let cue = finding.cue(document, index).unwrap_or_default().to_lowercase();
    is_possible && BEGINNINGS.iter().any(|beginning| cue.starts_with(beginning))
}

/// What separates the parts of TERM_MODIFIERS, and `%`, which escapes them.
const ESCAPED: &AsciiSet = &CONTROLS.add(b';').add(b'=').add(b'%');

/// `Negation=false;Subject=patient;…`: the model's own modifiers with its spelling, then those of medner in lower case.
fn modifiers(finding: &Finding, concept: Option<&LinkedConcept>, document: &Document, index: &CharIndex) -> String {
    let mut parts: Vec<(&str, String)> = Vec::new();
    if let Some(assertion) = finding.assertion {
        use AssertionValue::{Absent, AssociatedWithSomeoneElse, Conditional, Hypothetical, Possible};
        let value = assertion.value;
        let is_rule_out = is_rule_out(finding, document, index);
        let subject = if value == AssociatedWithSomeoneElse { "other" } else { "patient" };
        parts.push(("Negation", (value == Absent).to_string()));
        parts.push(("Subject", subject.to_owned()));
        // What may happen is a condition, too; `assertion` keeps the two apart.
        parts.push(("Conditional", matches!(value, Conditional | Hypothetical).to_string()));
        parts.push(("Rule_out", is_rule_out.to_string()));
        parts.push(("Uncertain", (value == Possible && !is_rule_out).to_string()));
        parts.push(("History", assertion.historical.to_string()));
        parts.push(("assertion", value.to_string()));
        parts.push(("assertion_confidence", assertion.confidence.to_string()));
        parts.extend(assertion.cue.map(|cue| ("cue", format!("{}-{}", cue.start, cue.end))));
    }
    parts.push(("type", finding.entity_type.to_owned()));
    parts.extend(finding.category.map(|category| ("category", category.to_owned())));
    parts.push(("confidence", finding.confidence.to_string()));
    if let Some(section) = finding.section {
        parts.push(("section", section.name.clone()));
        parts.extend(section.loinc.clone().map(|code| ("section_loinc", code)));
    }
    if let Some(LinkedConcept { id, name, score, system, .. }) = concept {
        parts.push(("concept", id.clone()));
        parts.extend(system.clone().map(|system| ("concept_system", system)));
        parts.push(("concept_name", name.clone()));
        parts.push(("link_score", score.to_string()));
    }
    let part = |(key, value): (&str, String)| format!("{key}={}", utf8_percent_encode(&value, ESCAPED));
    parts.into_iter().map(part).collect::<Vec<_>>().join(";")
}
