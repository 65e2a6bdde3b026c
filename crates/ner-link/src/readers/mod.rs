//! Readers of vocabularies. Each streams [`Record`]s; what it leaves out it counts, what it cannot read is an error with
//! its line.

mod columns;
mod detect;
mod icd;
mod lines;
mod mesh;
mod obo;
mod omop;
mod rrf;
mod snomed;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::record::Record;
use lines::Input;

/// A format of vocabularies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// Columns separated by tabs, with a header.
    Tsv,
    /// Comma-separated values with a header.
    Csv,
    /// `id||name|name…` or `id|other ids||name|name…`, as MEDIC is distributed with DNorm.
    Medic,
    /// CTD's tables: the header is the comment after `# Fields:`.
    Ctd,
    /// Open Biomedical Ontologies 1.2 and 1.4: the Disease Ontology, HPO, Uberon…
    Obo,
    /// XML of MeSH: descriptors, or supplementary concept records.
    Mesh,
    /// `MRCONSO.RRF` of UMLS.
    Mrconso,
    /// `MRSTY.RRF` of UMLS: types only, to be built together with `MRCONSO.RRF`.
    Mrsty,
    /// `RXNCONSO.RRF` of RxNorm.
    Rxnconso,
    /// Descriptions of SNOMED CT, RF2 snapshot.
    Snomed,
    /// Concepts of SNOMED CT, RF2 snapshot: which are inactive. To be built together with the descriptions.
    SnomedConcepts,
    /// `CONCEPT.csv` of OMOP's vocabularies, as Athena exports it.
    OmopConcept,
    /// `CONCEPT_SYNONYM.csv`, to be built together with `CONCEPT.csv`.
    OmopSynonym,
    /// The order file of ICD-10-CM.
    Icd10cm,
}

/// URI of OMOP's concept ids as a code system, after HL7's guide "FHIR to OMOP".
pub const OMOP_SYSTEM: &str = "https://fhir-terminology.ohdsi.org";

/// Names on the command line.
const FORMATS: [(&str, Format); 14] = [
    ("tsv", Format::Tsv),
    ("csv", Format::Csv),
    ("medic", Format::Medic),
    ("ctd", Format::Ctd),
    ("obo", Format::Obo),
    ("mesh", Format::Mesh),
    ("mrconso", Format::Mrconso),
    ("mrsty", Format::Mrsty),
    ("rxnconso", Format::Rxnconso),
    ("snomed", Format::Snomed),
    ("snomed-concepts", Format::SnomedConcepts),
    ("omop-concept", Format::OmopConcept),
    ("omop-synonym", Format::OmopSynonym),
    ("icd10cm", Format::Icd10cm),
];

impl Format {
    /// The names of all formats.
    pub fn names() -> impl Iterator<Item = &'static str> {
        FORMATS.iter().map(|(name, _)| *name)
    }

    /// URI of the code system whose ids files of this format hold, after <https://terminology.hl7.org/external_terminologies.html>;
    /// `None` if the format does not tell. An OBO file says it itself ([`ReadReport::system`]).
    pub const fn system(self) -> Option<&'static str> {
        match self {
            Self::Mesh => Some("http://terminology.hl7.org/CodeSystem/MSH"),
            Self::Mrconso | Self::Mrsty => Some("http://www.nlm.nih.gov/research/umls"),
            Self::Rxnconso => Some("http://www.nlm.nih.gov/research/umls/rxnorm"),
            Self::Snomed | Self::SnomedConcepts => Some("http://snomed.info/sct"),
            Self::Icd10cm => Some("http://hl7.org/fhir/sid/icd-10-cm"),
            Self::OmopConcept | Self::OmopSynonym => Some(OMOP_SYSTEM),
            Self::Tsv | Self::Csv | Self::Medic | Self::Ctd | Self::Obo => None,
        }
    }

    /// The format with this name.
    pub fn named(name: &str) -> Option<Self> {
        FORMATS.iter().find(|(of, _)| *of == name).map(|(_, format)| *format)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(FORMATS.iter().find(|(_, format)| format == self).map_or("", |(name, _)| name))
    }
}

/// What to read.
#[derive(Debug, Clone)]
pub struct ReadOptions {
    /// The format; detected from the name and the first lines if `None`.
    pub format: Option<Format>,
    /// Columns of a table (TSV, CSV).
    pub id_column: String,
    /// The column of the preferred name.
    pub name_column: String,
    /// The column of the synonyms, which need not be there.
    pub synonyms_column: String,
    /// The column of the types, which need not be there.
    pub types_column: String,
    /// What separates synonyms and types in their columns.
    pub separator: char,
    /// Languages of UMLS ("ENG") and SNOMED CT ("en"), in any case, by what they begin with: "en" admits both. Empty:
    /// all.
    pub languages: Vec<String>,
    /// Whether to read what UMLS and RxNorm suppress.
    pub suppressed: bool,
    /// Scopes of synonyms in OBO files.
    pub scopes: Vec<String>,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self {
            format: None,
            id_column: "id".to_owned(),
            name_column: "name".to_owned(),
            synonyms_column: "synonyms".to_owned(),
            types_column: "types".to_owned(),
            separator: '|',
            languages: vec!["en".to_owned()],
            suppressed: false,
            scopes: ["EXACT", "NARROW", "RELATED"].map(str::to_owned).to_vec(),
        }
    }
}

impl ReadOptions {
    fn admits_language(&self, language: &str) -> bool {
        let language = language.to_ascii_lowercase();
        self.languages.is_empty() || self.languages.iter().any(|from| language.starts_with(&from.to_ascii_lowercase()))
    }
}

/// What was read, and what was left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadReport {
    /// The format.
    pub format: Option<Format>,
    /// Lines, or elements of a concept in XML.
    pub entries: u64,
    /// Records given.
    pub records: u64,
    /// URI of the code system, if the format or the file tells it.
    pub system: Option<String>,
    /// Release of the vocabulary, as the file tells it; empty if it does not.
    pub release: String,
    /// What was left out and why: a number, and the first line.
    pub skipped: BTreeMap<&'static str, Skipped>,
}

/// How often something was left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Skipped {
    /// How often.
    pub count: u64,
    /// The first line, from 1.
    pub first_line: u64,
}

impl ReadReport {
    fn skip(&mut self, why: &'static str, line: u64) {
        let skipped = self.skipped.entry(why).or_insert(Skipped { count: 0, first_line: line });
        skipped.count += 1;
    }
}

/// Why a vocabulary could not be read.
#[derive(Debug, Error)]
#[error("{}{}: {fault}", .path.display(), if *.line > 0 { format!(":{}", .line) } else { String::new() })]
pub struct ReadError {
    /// The file.
    pub path: PathBuf,
    /// The line, from 1. 0 if the fault has no line.
    pub line: u64,
    /// What is wrong.
    pub fault: ReadFault,
}

/// What is wrong with a vocabulary.
#[derive(Debug, Error)]
pub enum ReadFault {
    /// Error of the operating system, or of the compression.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Not as the format asks.
    #[error("{0}")]
    Malformed(String),
}

impl ReadFault {
    fn of(what: impl Into<String>) -> Self {
        Self::Malformed(what.into())
    }
}

/// Where a reader puts its records.
struct Output<'o> {
    report: ReadReport,
    sink: &'o mut dyn FnMut(Record),
}

impl Output<'_> {
    fn give(&mut self, record: Record) {
        self.report.records += 1;
        (self.sink)(record);
    }
}

/// Reads the file at `path`, plain or compressed by gzip, and gives its records to `sink` in their order.
///
/// # Errors
/// At the first line that is not as the format asks, if the format is unknown, or if there is no record in the file. The
/// records before have been given by then.
pub fn read(path: &Path, options: &ReadOptions, sink: &mut dyn FnMut(Record)) -> Result<ReadReport, ReadError> {
    let at = |line, fault| ReadError { path: path.to_owned(), line, fault };
    let mut input = Input::open(path).map_err(|error| at(0, ReadFault::Io(error)))?;
    let format = match options.format {
        Some(format) => format,
        None => detect::format_of(path, input.first_bytes().map_err(|error| at(0, ReadFault::Io(error)))?)
            .map_err(|what| at(0, ReadFault::Malformed(what)))?,
    };
    let system = format.system().map(str::to_owned);
    let mut output = Output { report: ReadReport { format: Some(format), system, ..Default::default() }, sink };
    let result = match format {
        Format::Tsv => columns::table(&mut input, false, options, &mut output),
        Format::Csv => columns::table(&mut input, true, options, &mut output),
        Format::Medic => columns::medic(&mut input, &mut output),
        Format::Ctd => columns::ctd(&mut input, &mut output),
        Format::Obo => obo::read(&mut input, options, &mut output),
        Format::Mesh => mesh::read(&mut input, &mut output),
        Format::Mrconso => rrf::concepts(&mut input, rrf::UMLS, options, &mut output),
        Format::Rxnconso => rrf::concepts(&mut input, rrf::RXNORM, options, &mut output),
        Format::Mrsty => rrf::types(&mut input, &mut output),
        Format::Snomed => snomed::read(&mut input, options, &mut output),
        Format::SnomedConcepts => snomed::concepts(&mut input, &mut output),
        Format::OmopConcept => omop::concepts(&mut input, &mut output),
        Format::OmopSynonym => omop::synonyms(&mut input, options, &mut output),
        Format::Icd10cm => icd::read(&mut input, &mut output),
    };
    let line = input.place();
    result.map_err(|fault| match fault {
        ReadFault::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            at(line, ReadFault::of("the compressed file ends too early; download it again"))
        }
        fault => at(line, fault),
    })?;
    if output.report.records == 0 {
        let skipped: Vec<String> =
            output.report.skipped.iter().map(|(why, skipped)| format!("{} {why}", skipped.count)).collect();
        let why = if skipped.is_empty() { String::new() } else { format!(" (left out: {})", skipped.join(", ")) };
        return Err(at(0, ReadFault::Malformed(format!("no concept of the format {format} in it{why}"))));
    }
    Ok(output.report)
}
