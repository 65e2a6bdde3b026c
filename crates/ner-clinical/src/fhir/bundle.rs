//! The bundle of a document: the note, the findings, and where they come from.

use super::mapping::{Becomes, LeftOut, becomes};
use super::resources::{
    Agent, Attachment, Bundle, CodeableConcept, Coding, Condition, Content, Device, DeviceName, DocumentReference,
    Entity, Entry, Extension, FamilyCondition, FamilyMemberHistory, Identifier, MedicationStatement, Observation,
    Procedure, Provenance, Reference, Resource, Value, Version,
};
use crate::{Finding, ProcessedAt, Software};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ner_data::{ConversionReport, Document, Item};
use ner_link::LinkedConcept;
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Identifies the extension that says where a finding stands and what the note says of it. The parts of the extension
/// have short names. It is a name, not an address: medner has no server that could publish a definition.
pub const MENTION_EXTENSION: &str = "urn:medner:fhir:StructureDefinition:mention";

const ABSENT_REASON: &str = "http://terminology.hl7.org/CodeSystem/data-absent-reason";
const CLINICAL: &str = "http://terminology.hl7.org/CodeSystem/condition-clinical";
const LOINC: &str = "http://loinc.org";
const PARTICIPANT: &str = "http://terminology.hl7.org/CodeSystem/provenance-participant-type";
const ROLE: &str = "http://terminology.hl7.org/CodeSystem/v3-RoleCode";
const VERIFICATION: &str = "http://terminology.hl7.org/CodeSystem/condition-ver-status";

/// Writes documents as bundles of FHIR R4 (4.0.1).
#[derive(Clone, Debug)]
pub struct Fhir<'a> {
    /// Reference to the patient (`Patient/123`). Without it, resources name the document's patient in words, because a
    /// note does not say which patient of a system it is about.
    pub patient: Option<&'a str>,
    /// The time in `Provenance.recorded`.
    pub processed_at: ProcessedAt,
    /// The program.
    pub software: Software<'a>,
    /// Whether to embed the text of the document.
    pub with_text: bool,
}

/// A bundle and what it lacks.
#[derive(Clone, Debug)]
pub struct Bundled {
    /// The bundle.
    pub bundle: Bundle,
    /// Findings that became no resource, by reason.
    pub left_out: BTreeMap<LeftOut, usize>,
    /// The same as counts of kept, moved and lost items.
    pub report: ConversionReport,
}

impl Fhir<'_> {
    /// The bundle of a document. Ids are hashes of the document's id and a finding's span and type, so that a document
    /// that is annotated again updates its resources. Those of a composite mention also depend on the concept.
    pub fn bundle(&self, document: &Document, findings: &[Finding]) -> Bundled {
        let index = document.char_index();
        let note = self.note(document);
        let program = Device {
            id: id("device", [self.software.name, self.software.version]),
            device_name: [DeviceName { name: self.software.name.to_owned(), kind: "model-name" }],
            kind: CodeableConcept::text("software"),
            version: vec![Version { value: self.software.version.to_owned() }],
        };
        let place = Place { document, note: local(&note.id), subject: self.subject(document) };
        let mut report = ConversionReport { documents: 1, ..ConversionReport::default() };
        let mut left_out = BTreeMap::new();
        let mut resources = Vec::new();
        // What each set of models found, in the order of the findings.
        let mut groups: Vec<(&[String], Vec<Reference>)> = Vec::new();
        for finding in findings {
            let tally = report.items.entry(Item::Mention).or_default();
            let becomes = match becomes(finding, document, &index) {
                Ok(becomes) => becomes,
                Err(reason) => {
                    tally.lost += 1;
                    *left_out.entry(reason).or_default() += 1;
                    continue;
                }
            };
            let text = clean(finding.text(document, &index));
            if matches!(text, Cow::Borrowed(_)) {
                tally.kept += 1
            } else {
                tally.moved += 1
            }
            // The codings of a CodeableConcept mean one concept: a composite mention has a resource for each of its own.
            let concepts = finding.each_concept();
            let is_composite = concepts.len() > 1;
            for concept in concepts {
                let (id, resource) = place.resource(finding, becomes.clone(), &text, concept, is_composite);
                match groups.iter_mut().find(|(models, _)| *models == finding.models) {
                    Some((_, targets)) => targets.push(local(&id)),
                    None => groups.push((finding.models, vec![local(&id)])),
                }
                resources.push((id, resource));
            }
        }
        let mut models: Vec<&String> = groups.iter().flat_map(|(models, _)| *models).collect();
        models.sort();
        models.dedup();

        let mut entries = vec![entry(&note.id, Resource::DocumentReference(note.clone()))];
        entries.push(entry(&program.id, Resource::Device(program.clone())));
        for name in models {
            let device = Device {
                id: model_id(name),
                device_name: [DeviceName { name: clean(name).into_owned(), kind: "user-friendly-name" }],
                kind: CodeableConcept::text("model for named-entity recognition"),
                version: Vec::new(),
            };
            entries.push(entry(&device.id, Resource::Device(device.clone())));
        }
        entries.extend(resources.into_iter().map(|(id, resource)| entry(&id, resource)));
        for (models, target) in groups {
            let agents = std::iter::once(program.id.clone()).chain(models.iter().map(|name| model_id(name)));
            let parts = [document.id.as_str()].into_iter().chain(models.iter().map(String::as_str));
            let provenance = Provenance {
                id: id("provenance", parts),
                target,
                recorded: self.processed_at.instant(),
                agent: agents
                    .map(|id| Agent { kind: CodeableConcept::code(PARTICIPANT, "assembler"), who: local(&id) })
                    .collect(),
                entity: [Entity { role: "source", what: local(&note.id) }],
            };
            entries.push(entry(&provenance.id, Resource::Provenance(provenance.clone())));
        }
        let bundle = Bundle { id: id("bundle", [document.id.as_str()]), kind: "collection", entry: entries };
        Bundled { bundle, left_out, report }
    }

    fn note(&self, document: &Document) -> DocumentReference {
        let value = clean(&document.id).into_owned();
        DocumentReference {
            id: id("note", [document.id.as_str()]),
            identifier: if value.is_empty() { Vec::new() } else { vec![Identifier { value }] },
            status: "current",
            subject: self.subject(document),
            content: [Content {
                attachment: Attachment {
                    content_type: "text/plain; charset=utf-8",
                    data: self.with_text.then(|| STANDARD.encode(&document.text)),
                    size: document.text.len(),
                },
            }],
        }
    }

    fn subject(&self, document: &Document) -> Reference {
        let kind = Some("Patient");
        match self.patient {
            Some(patient) => Reference { reference: Some(patient.to_owned()), kind, display: None },
            None => {
                let display = format!("patient of document {}", clean(&document.id));
                Reference { reference: None, kind, display: Some(display) }
            }
        }
    }
}

/// What the resources of a document share.
struct Place<'p> {
    document: &'p Document,
    note: Reference,
    subject: Reference,
}

impl Place<'_> {
    fn resource(
        &self,
        finding: &Finding,
        becomes: Becomes,
        text: &str,
        concept: Option<&LinkedConcept>,
        is_composite: bool,
    ) -> (String, Resource) {
        let [start, end] = [finding.span.start, finding.span.end].map(|at| at.to_string());
        // Without the concept if there is one: another vocabulary then updates the resource.
        let part = concept.filter(|_| is_composite).map(|concept| concept.id.as_str());
        let place = [self.document.id.as_str(), &start, &end, finding.entity_type];
        let id = id("finding", place.into_iter().chain(part));
        let mut parts = self.parts(finding);
        if let Some(concept) = concept {
            parts.push(Extension { url: "linkScore", value: Value::ValueDecimal(concept.score.value()) });
        }
        let extension = [Extension { url: MENTION_EXTENSION, value: Value::Extension(parts) }];
        let subject = self.subject.clone();
        let code =
            CodeableConcept { coding: concept.and_then(coding).into_iter().collect(), ..CodeableConcept::text(text) };
        let resource = match becomes {
            Becomes::Condition { clinical, verification } => Resource::Condition(Condition {
                id: id.clone(),
                extension,
                clinical_status: clinical.map(|code| CodeableConcept::code(CLINICAL, code)),
                verification_status: verification.map(|code| CodeableConcept::code(VERIFICATION, code)),
                code,
                subject,
            }),
            Becomes::FamilyMemberHistory(relative) => Resource::FamilyMemberHistory(FamilyMemberHistory {
                id: id.clone(),
                extension,
                status: "partial",
                patient: subject,
                relationship: CodeableConcept::code(ROLE, relative),
                condition: [FamilyCondition { code }],
            }),
            Becomes::MedicationStatement(status) => Resource::MedicationStatement(MedicationStatement {
                id: id.clone(),
                extension,
                status,
                medication_codeable_concept: code,
                subject,
            }),
            Becomes::Procedure(status) => {
                Resource::Procedure(Procedure { id: id.clone(), extension, status, code, subject })
            }
            Becomes::Observation { status, absent } => Resource::Observation(Observation {
                id: id.clone(),
                extension,
                status,
                code,
                subject,
                data_absent_reason: CodeableConcept::code(ABSENT_REASON, absent),
            }),
        };
        (id, resource)
    }

    /// The parts of the extension.
    fn parts(&self, finding: &Finding) -> Vec<Extension> {
        let mut parts = Vec::new();
        let mut add = |url, value| parts.push(Extension { url, value });
        add("note", Value::ValueReference(self.note.clone()));
        add("start", Value::ValueUnsignedInt(finding.span.start));
        add("end", Value::ValueUnsignedInt(finding.span.end));
        add("unit", Value::ValueCode("unicode-code-point"));
        add("type", Value::ValueString(clean(finding.entity_type).into_owned()));
        add("confidence", Value::ValueDecimal(finding.confidence.value()));
        if let Some(assertion) = finding.assertion {
            add("assertion", Value::ValueCode(assertion.value.name()));
            add("historical", Value::ValueBoolean(assertion.historical));
            add("assertionConfidence", Value::ValueDecimal(assertion.confidence.value()));
            if let Some(cue) = assertion.cue {
                add("cueStart", Value::ValueUnsignedInt(cue.start));
                add("cueEnd", Value::ValueUnsignedInt(cue.end));
            }
        }
        if let Some(section) = finding.section {
            let coding = |code: &String| Coding { system: LOINC.to_owned(), code: code.clone(), display: None };
            let coding = section.loinc.iter().map(coding).collect();
            let text = Some(clean(&section.name).into_owned());
            add("section", Value::ValueCodeableConcept(CodeableConcept { coding, text }));
        }
        parts
    }
}

/// `None` if the vocabulary does not say its code system: a code alone means nothing.
fn coding(concept: &LinkedConcept) -> Option<Coding> {
    Some(Coding {
        system: concept.system.clone()?,
        code: clean(&concept.id).into_owned(),
        display: Some(clean(&concept.name).into_owned()),
    })
}

fn entry(id: &str, resource: Resource) -> Entry {
    Entry { full_url: format!("urn:uuid:{id}"), resource }
}

/// A reference to a resource of the same bundle.
fn local(id: &str) -> Reference {
    Reference { reference: Some(format!("urn:uuid:{id}")), ..Reference::default() }
}

fn model_id(name: &str) -> String {
    id("model", [name])
}

/// A UUID of version 8 (RFC 9562, section 5.8): a hash. It is an id of FHIR, and a bundle may use it without a server.
fn id<'p>(kind: &'p str, parts: impl IntoIterator<Item = &'p str>) -> String {
    let mut hash = Sha256::new();
    for part in std::iter::once(kind).chain(parts) {
        // With lengths, so that `a` and `bc` differ from `ab` and `c`.
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let mut bytes: [u8; 32] = hash.finalize().into();
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// A string of FHIR holds no control characters except tab and line breaks.
fn clean(text: &str) -> Cow<'_, str> {
    let is_refused = |c: char| c < ' ' && !"\t\n\r".contains(c);
    if text.contains(is_refused) { Cow::Owned(text.replace(is_refused, "\u{fffd}")) } else { Cow::Borrowed(text) }
}
