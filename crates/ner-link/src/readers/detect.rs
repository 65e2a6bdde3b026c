//! The format of a file, from its name and its first bytes.

use std::path::Path;

use super::Format;

/// The format, or what to do if it is none that we know.
pub fn format_of(path: &Path, first: &[u8]) -> Result<Format, String> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    let first = String::from_utf8_lossy(first);
    let mut lines = first.lines().filter(|line| !line.is_empty());
    let line = lines.next().unwrap_or_default();
    let is_ordered = || {
        let (number, rest) = line.split_at_checked(5)?;
        let flag = rest.get(9..10)?;
        (number.bytes().all(|byte| byte.is_ascii_digit()) && rest.starts_with(' ') && matches!(flag, "0" | "1"))
            .then_some(())
    };
    let is_medic = match line.split("||").collect::<Vec<_>>().as_slice() {
        [ids, names] => !ids.is_empty() && !names.is_empty() && !names.starts_with('|'),
        _ => false,
    };
    let format = if let Some(format) = rich_release_format(line) {
        format
    } else if name.contains("rxnconso") {
        Format::Rxnconso
    } else if name.contains("mrconso") {
        Format::Mrconso
    } else if name.contains("mrsty") {
        Format::Mrsty
    } else if first.contains("<DescriptorRecord") || first.contains("<SupplementalRecord") {
        Format::Mesh
    } else if first.contains("\n# Fields:") || first.starts_with("# Fields:") {
        Format::Ctd
    } else if line.starts_with("format-version:") || name.ends_with(".obo") || first.contains("\n[Term]") {
        Format::Obo
    } else if line.starts_with("id\teffectiveTime\tactive\tmoduleId\tconceptId\t") {
        Format::Snomed
    } else if line.starts_with("id\teffectiveTime\tactive\tmoduleId\tdefinitionStatusId") {
        Format::SnomedConcepts
    } else if line.starts_with("concept_id\tconcept_name\tdomain_id\tvocabulary_id\t") {
        Format::OmopConcept
    } else if line.starts_with("concept_id\tconcept_synonym_name\t") {
        Format::OmopSynonym
    } else if is_medic {
        Format::Medic
    } else if is_ordered().is_some() {
        Format::Icd10cm
    } else if name.ends_with(".csv") {
        Format::Csv
    } else if name.ends_with(".tsv") || line.contains('\t') {
        Format::Tsv
    } else {
        let names: Vec<&str> = Format::names().collect();
        return Err(format!("neither its name nor its first lines tell the format; name it: {}", names.join(", ")));
    };
    Ok(format)
}

/// Tables of UMLS and RxNorm: the second of 18 columns is a language, the second of 6 a semantic type.
fn rich_release_format(line: &str) -> Option<Format> {
    let columns: Vec<&str> = line.strip_suffix('|').unwrap_or(line).split('|').collect();
    let (id, code) = (columns[0], columns.get(1)?);
    let is_language = code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_uppercase());
    let is_type = code.strip_prefix('T').is_some_and(|number| number.len() == 3 && number.parse::<u16>().is_ok());
    match columns.len() {
        18 if is_language => Some(if id.starts_with('C') { Format::Mrconso } else { Format::Rxnconso }),
        6 if is_type => Some(Format::Mrsty),
        _ => None,
    }
}
