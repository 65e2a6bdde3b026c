//! The parts of FHIR R4 (4.0.1) that a bundle of findings needs: <https://hl7.org/fhir/R4/>.

use serde::Serialize;

/// The resources of one document.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "resourceType")]
pub struct Bundle {
    pub(super) id: String,
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) entry: Vec<Entry>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Entry {
    pub full_url: String,
    pub resource: Resource,
}

#[derive(Clone, Debug, Serialize)]
#[serde(tag = "resourceType")]
pub(super) enum Resource {
    DocumentReference(DocumentReference),
    Device(Device),
    Condition(Condition),
    FamilyMemberHistory(FamilyMemberHistory),
    MedicationStatement(MedicationStatement),
    Procedure(Procedure),
    Observation(Observation),
    Provenance(Provenance),
}

#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Reference {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Coding {
    pub system: String,
    pub code: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display: Option<String>,
}

#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct CodeableConcept {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub coding: Vec<Coding>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

impl CodeableConcept {
    pub fn code(system: &'static str, code: &str) -> Self {
        Self { coding: vec![Coding { system: system.to_owned(), code: code.to_owned(), display: None }], text: None }
    }

    pub fn text(text: impl Into<String>) -> Self {
        Self { coding: Vec::new(), text: Some(text.into()) }
    }
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Extension {
    pub url: &'static str,
    #[serde(flatten)]
    pub value: Value,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(clippy::enum_variant_names, reason = "the names of R4")]
pub(super) enum Value {
    Extension(Vec<Extension>),
    ValueBoolean(bool),
    ValueCode(&'static str),
    ValueCodeableConcept(CodeableConcept),
    ValueDecimal(f32),
    ValueReference(Reference),
    ValueString(String),
    ValueUnsignedInt(usize),
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Identifier {
    pub value: String,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct DocumentReference {
    pub id: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub identifier: Vec<Identifier>,
    pub status: &'static str,
    pub subject: Reference,
    pub content: [Content; 1],
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Content {
    pub attachment: Attachment,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Attachment {
    pub content_type: &'static str,
    /// Base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// Bytes, before base64.
    pub size: usize,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Device {
    pub id: String,
    pub device_name: [DeviceName; 1],
    #[serde(rename = "type")]
    pub kind: CodeableConcept,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub version: Vec<Version>,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct DeviceName {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: &'static str,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Version {
    pub value: String,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Condition {
    pub id: String,
    pub extension: [Extension; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clinical_status: Option<CodeableConcept>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verification_status: Option<CodeableConcept>,
    pub code: CodeableConcept,
    pub subject: Reference,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct FamilyMemberHistory {
    pub id: String,
    pub extension: [Extension; 1],
    pub status: &'static str,
    pub patient: Reference,
    pub relationship: CodeableConcept,
    pub condition: [FamilyCondition; 1],
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct FamilyCondition {
    pub code: CodeableConcept,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MedicationStatement {
    pub id: String,
    pub extension: [Extension; 1],
    pub status: &'static str,
    pub medication_codeable_concept: CodeableConcept,
    pub subject: Reference,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Procedure {
    pub id: String,
    pub extension: [Extension; 1],
    pub status: &'static str,
    pub code: CodeableConcept,
    pub subject: Reference,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Observation {
    pub id: String,
    pub extension: [Extension; 1],
    pub status: &'static str,
    pub code: CodeableConcept,
    pub subject: Reference,
    pub data_absent_reason: CodeableConcept,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Provenance {
    pub id: String,
    pub target: Vec<Reference>,
    pub recorded: String,
    pub agent: Vec<Agent>,
    pub entity: [Entity; 1],
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Agent {
    #[serde(rename = "type")]
    pub kind: CodeableConcept,
    pub who: Reference,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Entity {
    pub role: &'static str,
    pub what: Reference,
}
