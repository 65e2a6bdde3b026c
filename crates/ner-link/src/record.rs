//! Concepts as readers give them.

/// A concept with its names, or a part of one: the [`Builder`](crate::Builder) merges the records of an id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// Id of the concept, with the prefix that the file gives it.
    pub id: String,
    /// Preferred name, if this record has it. The first record of an id with a name decides.
    pub name: Option<String>,
    /// Other names. A name that is given several times, by several records, counts more where names are ambiguous.
    pub synonyms: Vec<String>,
    /// Types: semantic types, tree numbers, namespaces, whatever the format has.
    pub types: Vec<String>,
    /// Other ids of the same concept.
    pub other_ids: Vec<String>,
    /// Ids in other vocabularies, and headings that the concept is mapped to.
    pub xrefs: Vec<String>,
    /// Whether the vocabulary says that the concept must not be used any more. Then it is left out, whatever other records
    /// say of it.
    pub is_inactive: bool,
}
