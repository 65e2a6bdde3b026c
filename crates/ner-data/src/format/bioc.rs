//! The semantics of BioC, for both XML and JSON.
//!
//! A collection contains documents, these contain passages, and these contain text, or sentences with text. Each states
//! its offset in the document. Annotations (mentions) refer to the text by offset and length, relations refer to
//! annotations by id, and any element may have infons, which are key-value pairs. Comeau et al. (2013), "BioC: a
//! minimalist approach to interoperability for biomedical text processing"; its file `BioC.dtd`; the package `bioc`
//! (Peng et al.) for JSON.
//!
//! Reading:
//! - Offsets and lengths count Unicode scalar values, as in NCBI's exports. (The paper lets each collection choose
//!   bytes or characters, so other units are an option.)
//! - The text of a document consists of its passages at their offsets, with spaces in between. A passage that overlaps
//!   the text before it is left out and noted.
//! - The infon `type` is the kind of a passage, the type of a mention, or the kind of a relation (also `relation`, as
//!   in BC5CDR). A passage without it is text without a name.
//! - Infons that name a concept ([`ID_INFONS`]) become concept ids. Several ids in one infon are separated by `|`
//!   (BC5CDR), `,` (NLM-Chem) or `;` (gene ids), except those of sequence variants; `-1` and `-` stand for none.
//! - Of infons with the same key, the first is read, and the others are noted as not read.
//! - The infon `confidence`, if a number from 0 to 1, is the confidence of a mention.
//! - BC5CDR annotates the parts of a composite mention separately. They are not mentions, but become the attribute
//!   [`INDIVIDUAL_MENTIONS`] of the composite, as in PubTator's seventh column; each is noted as not read.
//! - A relation with nodes relates mentions. A relation without nodes relates concepts, by its infons (BC5CDR, BioRED);
//!   so does one with the infons `role1` and `role2` (PubTator3), whose nodes do not refer to annotations.
//!
//! Writing: text between passages, unless it is a single space, becomes a passage without a type; text between the
//! sentences of a passage becomes a sentence of type `gap`. Annotations are written in the passage or sentence in which
//! they begin.

use super::faults::Faults;
use super::offsets::{Fault, Locator, OffsetUnit};
use super::pubtator::INDIVIDUAL_MENTIONS;
use super::{Expressed, concept_ids, offsets};
use crate::{Argument, CharIndex, Confidence, DiagnosticKind, Document, Mention, Passage, Relation, Span, Target};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};

/// A BioC element: the common form of an XML element and a JSON object.
pub(super) struct Element {
    pub(super) shape: &'static Shape,
    /// Line on which it begins.
    pub(super) line: usize,
    pub(super) values: Vec<(&'static str, String)>,
    pub(super) infons: Vec<(String, String)>,
    pub(super) children: Vec<Element>,
    /// Number of elements inside it that BioC does not allow there.
    pub(super) unknown: usize,
}

/// The allowed contents of an element.
pub(super) struct Shape {
    pub(super) name: &'static str,
    /// Name of the list of these elements in JSON.
    pub(super) plural: &'static str,
    /// Values that are attributes in XML.
    pub(super) attributes: &'static [&'static str],
    /// Other contents, in the order of the DTD.
    pub(super) parts: &'static [Part],
}

/// A part of an element.
pub(super) enum Part {
    Infons,
    /// A value; in XML an element without child elements.
    Leaf(&'static str),
    /// Elements of this kind.
    Children(&'static Shape),
}

use Part::{Children, Infons, Leaf};

pub(super) static DOCUMENT: Shape = Shape {
    name: "document",
    plural: "documents",
    attributes: &[],
    parts: &[Leaf("id"), Infons, Children(&PASSAGE), Children(&ANNOTATION), Children(&RELATION)],
};
static PASSAGE: Shape = Shape {
    name: "passage",
    plural: "passages",
    attributes: &[],
    parts: &[Infons, Leaf("offset"), Leaf("text"), Children(&SENTENCE), Children(&ANNOTATION), Children(&RELATION)],
};
static SENTENCE: Shape = Shape {
    name: "sentence",
    plural: "sentences",
    attributes: &[],
    parts: &[Infons, Leaf("offset"), Leaf("text"), Children(&ANNOTATION), Children(&RELATION)],
};
static ANNOTATION: Shape = Shape {
    name: "annotation",
    plural: "annotations",
    attributes: &["id"],
    parts: &[Infons, Children(&LOCATION), Leaf("text")],
};
static RELATION: Shape =
    Shape { name: "relation", plural: "relations", attributes: &["id"], parts: &[Infons, Children(&NODE)] };
static LOCATION: Shape = Shape { name: "location", plural: "locations", attributes: &["offset", "length"], parts: &[] };
static NODE: Shape = Shape { name: "node", plural: "nodes", attributes: &["refid", "role"], parts: &[] };

impl Shape {
    /// The allowed value with this name.
    pub(super) fn leaf(&self, name: &str) -> Option<&'static str> {
        let leaves = self.parts.iter().filter_map(|part| if let Leaf(leaf) = part { Some(*leaf) } else { None });
        leaves.into_iter().find(|leaf| *leaf == name)
    }

    pub(super) fn has_infons(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Infons))
    }

    /// The allowed children that match `is_it`.
    pub(super) fn child(&self, is_it: impl Fn(&Self) -> bool) -> Option<&'static Self> {
        let children =
            self.parts.iter().filter_map(|part| if let Children(shape) = part { Some(*shape) } else { None });
        children.into_iter().find(|shape| is_it(shape))
    }
}

impl Element {
    pub(super) const fn new(shape: &'static Shape, line: usize) -> Self {
        Self { shape, line, values: Vec::new(), infons: Vec::new(), children: Vec::new(), unknown: 0 }
    }

    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.values.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_str())
    }

    /// Sets a value; a second one with the same name counts as unknown.
    pub(super) fn set(&mut self, name: &'static str, value: String) {
        if self.value(name).is_none() {
            self.values.push((name, value));
        } else {
            self.unknown += 1;
        }
    }

    pub(super) fn children<'e>(&'e self, shape: &'e Shape) -> impl Iterator<Item = &'e Self> {
        self.children.iter().filter(|child| child.shape.name == shape.name)
    }

    /// Number of infons with this key after the first.
    fn repeated(&self, key: &str) -> usize {
        self.infons.iter().filter(|(other, _)| other == key).count().saturating_sub(1)
    }

    fn infon(&self, key: &str) -> Option<&str> {
        self.infons.iter().find(|(other, _)| other == key).map(|(_, value)| value.as_str())
    }

    fn number(&self, name: &str) -> Option<usize> {
        self.value(name)?.trim().parse().ok()
    }

    /// Number of elements of `shape` inside, at any depth.
    fn count(&self, shape: &Shape) -> usize {
        self.children.iter().map(|child| usize::from(child.shape.name == shape.name) + child.count(shape)).sum()
    }

    fn count_unknown(&self) -> usize {
        self.unknown + self.children.iter().map(Self::count_unknown).sum::<usize>()
    }
}

/// Infon for the kind of a passage or relation, and for the type of a mention.
const TYPE: &str = "type";

/// Like [`TYPE`], for relations in BC5CDR.
const RELATION_TYPE: &str = "relation";

/// Type of sentences that represent text between sentences.
const GAP: &str = "gap";

/// Infons whose value is a concept id, in lower case and with spaces for `_`: those of PubTator3 and NLM-Chem
/// (`identifier`), of BC5CDR (`MESH`), and of NCBI's other tools (its `tmBioC.key`).
const ID_INFONS: &[&str] = &["identifier", "mesh", "omim", "ncbi gene", "ncbi taxonomy", "chebi", "umls", "cui"];

/// The concept-id infon used for writing.
const ID_INFON: &str = "identifier";

/// Infon for a model's confidence in a mention. A value that is not a number from 0 to 1 becomes an ordinary attribute.
const CONFIDENCE: &str = "confidence";

/// Infon by which BC5CDR marks composite mentions and their parts.
const ROLE_IN_COMPOSITE: &str = "CompositeRole";
const COMPOSITE: &str = "CompositeMention";
const INDIVIDUAL: &str = "IndividualMention";

/// Infons of a relation that are not arguments: novelty (BioRED), score (PubTator3).
const NOT_ARGUMENTS: &[&str] = &["novel", "score"];

/// Infons of a relation between concepts in PubTator3.
const ROLES: [&str; 2] = ["role1", "role2"];

/// Maximum number of filling characters between passages or sentences of a document, single spaces excluded. Without a
/// limit, an offset with many digits would exhaust memory.
const MAX_FILLING: usize = 1 << 20;

/// Id of a document without one.
const NO_ID: &str = "-";

/// Name of the infons that are not read because an earlier one has their key.
const REPEATED: &str = "infons with a repeated key";

/// Reads a document, whose offsets count `unit`, and notes its faults. `None` if it has no id.
pub(super) fn document(element: &Element, unit: OffsetUnit, faults: &mut Faults) -> Option<Document> {
    let Some(id) = element.value("id") else {
        let message = "a document without an id; left out";
        faults.note(DiagnosticKind::MalformedLine, element.line, None, message);
        return None;
    };
    let mut assembly = Assembly {
        document: Document::new(id, ""),
        unit,
        length: 0,
        stated_length: 0,
        filling: 0,
        annotations: Vec::new(),
        start: 0,
        relations: Vec::new(),
        mention_of_id: HashMap::new(),
        shared_ids: HashSet::new(),
        not_read: BTreeMap::new(),
        faults,
    };
    for (key, value) in &element.infons {
        match assembly.document.attributes.entry(key.clone()) {
            Entry::Vacant(entry) => drop(entry.insert(value.clone())),
            Entry::Occupied(_) => assembly.not_read(REPEATED, 1),
        }
    }
    for child in &element.children {
        match child.shape.name {
            "passage" => assembly.passage(child),
            _ => {
                assembly.start = 0;
                assembly.gather(child);
            }
        }
    }
    assembly.mentions();
    assembly.relations();
    assembly.not_read("unknown elements", element.count_unknown());
    for (what, count) in std::mem::take(&mut assembly.not_read) {
        assembly.note(DiagnosticKind::NotRead, element.line, format!("{what}: {count}"));
    }
    Some(assembly.document)
}

/// A document under construction.
struct Assembly<'e, 'f> {
    document: Document,
    /// What the offsets count.
    unit: OffsetUnit,
    /// Length of the text so far, in characters.
    length: usize,
    /// Length of the text so far, in `unit`.
    stated_length: usize,
    /// Filling characters between passages or sentences so far, single spaces excluded.
    filling: usize,
    /// With the offset of the passage or sentence that contains it, in `unit`.
    annotations: Vec<(&'e Element, usize)>,
    /// Offset of the passage or sentence that is being read, in `unit`.
    start: usize,
    relations: Vec<&'e Element>,
    /// Index of the mention for each annotation, or `None` if it was left out.
    mention_of_id: HashMap<&'e str, Option<usize>>,
    /// Ids of several annotations that are different mentions.
    shared_ids: HashSet<&'e str>,
    /// Parts that were not read, with their number.
    not_read: BTreeMap<&'static str, usize>,
    faults: &'f mut Faults,
}

impl<'e> Assembly<'e, '_> {
    fn note(&mut self, kind: DiagnosticKind, line: usize, message: impl Into<String>) {
        self.faults.note(kind, line, Some(&self.document.id), message);
    }

    fn not_read(&mut self, what: &'static str, count: usize) {
        if count > 0 {
            *self.not_read.entry(what).or_insert(0) += count;
        }
    }

    /// Keeps an annotation or relation until the text is complete.
    fn gather(&mut self, element: &'e Element) {
        match element.shape.name {
            "annotation" => self.annotations.push((element, self.start)),
            _ => self.relations.push(element),
        }
    }

    fn passage(&mut self, passage: &'e Element) {
        let Some(start) = self.begin(passage) else { return };
        self.not_read(
            "infons of passages other than their type",
            passage.infons.iter().filter(|(key, _)| key != TYPE).count(),
        );
        self.not_read(REPEATED, passage.repeated(TYPE));
        let text = passage.value("text").unwrap_or_default();
        let stated_start = self.stated_length;
        let locator = Locator::new(text, self.unit);
        self.push_text(text);
        for child in &passage.children {
            match child.shape.name {
                "sentence" if text.is_empty() => self.sentence(child),
                "sentence" => self.sentence_of_text(child, text, &locator, [start, stated_start]),
                _ => {
                    self.start = stated_start;
                    self.gather(child);
                }
            }
        }
        if let Some(kind) = passage.infon(TYPE) {
            self.document.passages.push(Passage { kind: kind.into(), span: Span::new(start, self.length) });
        }
    }

    /// A sentence with its own text.
    fn sentence(&mut self, sentence: &'e Element) {
        let Some(start) = self.begin(sentence) else { return };
        self.push_text(sentence.value("text").unwrap_or_default());
        self.mark_sentence(sentence, Span::new(start, self.length));
    }

    /// A sentence of a passage that states the text itself, beginning at `start` in characters and in the unit.
    fn sentence_of_text(&mut self, sentence: &'e Element, passage: &str, locator: &Locator, start: [usize; 2]) {
        let [start, stated_start] = start;
        let text = sentence.value("text").unwrap_or_default();
        let offset = sentence.number("offset").and_then(|offset| offset.checked_sub(stated_start));
        let length = self.unit.length(text);
        let span = offset.and_then(|offset| locator.span(Span::new(offset, offset.saturating_add(length))));
        match span.filter(|&span| locator.index().slice(passage, span) == Some(text)) {
            Some(span) => self.mark_sentence(sentence, Span::new(start + span.start, start + span.end)),
            None => {
                let message = "a sentence whose text differs from its passage's; left out";
                self.note(DiagnosticKind::TextMismatch, sentence.line, message);
                sentence.children.iter().for_each(|child| self.gather(child));
            }
        }
    }

    fn mark_sentence(&mut self, sentence: &'e Element, span: Span) {
        let is_gap = sentence.infon(TYPE) == Some(GAP);
        if !is_gap && !span.is_empty() {
            self.document.sentences.push(span);
        }
        self.not_read("infons of sentences", sentence.infons.len() - usize::from(is_gap));
        sentence.children.iter().for_each(|child| self.gather(child));
    }

    /// Fills the text up to the offset of a passage or sentence, and returns the offset in characters. `None` if that is
    /// impossible.
    fn begin(&mut self, part: &Element) -> Option<usize> {
        let offset = part.number("offset");
        let gap = offset.map(|offset| offset.checked_sub(self.stated_length));
        let filling = match gap {
            Some(Some(gap @ 2..)) => self.filling.saturating_add(gap),
            _ => self.filling,
        };
        let fault = match (offset, gap) {
            (Some(_), Some(Some(_))) if filling > MAX_FILLING => "begins too far after the text before it",
            (Some(offset), Some(Some(gap))) => {
                self.document.text.extend(std::iter::repeat_n(' ', gap));
                self.length += gap;
                self.stated_length = offset;
                self.start = offset;
                self.filling = filling;
                return Some(self.length);
            }
            (Some(_), _) => "overlaps the text before it",
            (None, _) => "has no numeric offset",
        };
        let (name, place) = (part.shape.name, offset.map_or(String::new(), |offset| format!(" at {offset}")));
        let annotations = part.count(&ANNOTATION);
        let message = format!("the {name}{place} {fault}; left out with its annotations ({annotations})");
        self.note(DiagnosticKind::MalformedLine, part.line, message);
        None
    }

    fn push_text(&mut self, text: &str) {
        self.document.text.push_str(text);
        self.length += text.chars().count();
        self.stated_length += self.unit.length(text);
    }

    fn mentions(&mut self) {
        let locator = Locator::new(&self.document.text, self.unit);
        let mut place_of_mention = HashMap::new();
        let mut composite = None;
        for (annotation, start) in std::mem::take(&mut self.annotations) {
            let id = annotation.value("id").unwrap_or_default();
            if annotation.infon(ROLE_IN_COMPOSITE) == Some(INDIVIDUAL) {
                self.note(DiagnosticKind::NotRead, annotation.line, "a part of a composite mention");
                self.individual_mention(annotation, composite);
                self.remember(id, None);
                continue;
            }
            let place = match self.mention(annotation, start, &locator) {
                Ok(mention) => {
                    let next = self.document.mentions.len();
                    let key = (mention.fragments.clone(), mention.entity_type.clone());
                    let place = *place_of_mention.entry(key).or_insert(next);
                    if place == next {
                        self.document.mentions.push(mention);
                    } else {
                        let message = format!("{} at {}", mention.entity_type, mention.span());
                        self.note(DiagnosticKind::DuplicateMention, annotation.line, message);
                    }
                    Some(place)
                }
                Err((kind, message)) => {
                    self.note(kind, annotation.line, format!("annotation {id}: {message}"));
                    None
                }
            };
            composite = place.filter(|_| annotation.infon(ROLE_IN_COMPOSITE) == Some(COMPOSITE));
            self.remember(id, place);
        }
    }

    /// Remembers the mention of an annotation, for relations.
    fn remember(&mut self, id: &'e str, place: Option<usize>) {
        if *self.mention_of_id.entry(id).or_insert(place) != place {
            self.shared_ids.insert(id);
        }
    }

    /// Reads an annotation of the passage or sentence that begins at `start` as a mention.
    fn mention(&mut self, annotation: &Element, start: usize, locator: &Locator) -> Result<Mention, Fault> {
        let malformed = |message: &str| (DiagnosticKind::MalformedLine, message.to_owned());
        let mut spans = Vec::new();
        for location in annotation.children(&LOCATION) {
            let (offset, length) = (location.number("offset"), location.number("length"));
            let (Some(start), Some(length)) = (offset, length) else {
                return Err(malformed("a location without an offset and a length"));
            };
            spans.push(Span::new(start, start.saturating_add(length)));
        }
        if spans.is_empty() {
            return Err(malformed("missing location"));
        }
        let (text, given) = (&self.document.text, annotation.value("text"));
        let fragments = locator.fragments(text, &spans, given).map_err(|(kind, message)| {
            let shifted = |span: &Span| Span::new(span.start.saturating_add(start), span.end.saturating_add(start));
            let shifted: Vec<Span> = spans.iter().map(shifted).collect();
            let fits = start > 0 && given.is_some() && locator.fragments(text, &shifted, given).is_ok();
            let hint = "; it would match if offsets counted from its passage: add the passage's offset to them";
            (kind, if fits { message + hint } else { message })
        })?;
        let entity_type = annotation.infon(TYPE).map(str::trim).filter(|name| !name.is_empty());
        let entity_type = entity_type.ok_or_else(|| malformed("missing type"))?;
        let mut mention = Mention { fragments, ..Mention::new(Span::new(0, 0), entity_type) };
        let mut repeated = annotation.repeated(TYPE);
        for (key, value) in annotation.infons.iter().filter(|(key, _)| key != TYPE) {
            if is_id_infon(key) {
                mention.concept_ids.extend(concept_ids::split(entity_type, value));
            } else if let (CONFIDENCE, None, Ok(confidence)) = (key.as_str(), mention.confidence, value.parse()) {
                mention.confidence = Some(confidence);
            } else if mention.attributes.contains_key(key) {
                repeated += 1;
            } else {
                mention.attributes.insert(key.clone(), value.clone());
            }
        }
        self.not_read(REPEATED, repeated);
        Ok(mention)
    }

    /// Adds a part to the preceding composite mention. It keeps the part's text, because some offsets of such parts in
    /// BC5CDR are off by one.
    fn individual_mention(&mut self, part: &Element, composite: Option<usize>) {
        let (Some(composite), Some(text)) = (composite, part.value("text")) else { return };
        let attributes = &mut self.document.mentions[composite].attributes;
        attributes.remove(ROLE_IN_COMPOSITE);
        let parts = attributes.entry(INDIVIDUAL_MENTIONS.into()).or_default();
        if !parts.is_empty() {
            parts.push('|');
        }
        parts.push_str(text);
    }

    fn relations(&mut self) {
        let relations = std::mem::take(&mut self.relations);
        let ids: HashSet<&str> = relations.iter().filter_map(|relation| relation.value("id")).collect();
        for element in &relations {
            let relation = if element.children.is_empty() || ROLES.iter().all(|role| element.infon(role).is_some()) {
                Ok(self.relation_of_concepts(element))
            } else {
                self.relation_of_mentions(element, &ids)
            };
            match relation {
                Ok(relation) => self.document.relations.push(relation),
                Err((kind, message)) => self.note(kind, element.line, message),
            }
        }
    }

    fn relation_of_concepts(&mut self, element: &Element) -> Relation {
        let (kind_infon, kind) = kind_of_relation(element);
        self.not_read(REPEATED, element.repeated(kind_infon));
        self.not_read("nodes of relations between concepts", element.children.len());
        let mut arguments = Vec::new();
        for (key, value) in element.infons.iter().filter(|(key, _)| key != kind_infon) {
            if NOT_ARGUMENTS.contains(&key.as_str()) {
                self.not_read("infons of relations", 1);
            } else {
                let role = if *key == roleless(arguments.len()) { "" } else { key };
                arguments.push(Argument { role: role.into(), target: Target::Concept(value.clone()) });
            }
        }
        Relation { kind, arguments }
    }

    fn relation_of_mentions(&mut self, element: &Element, relations: &HashSet<&str>) -> Result<Relation, Fault> {
        let (kind_infon, kind) = kind_of_relation(element);
        self.not_read(REPEATED, element.repeated(kind_infon));
        self.not_read("infons of relations", element.infons.iter().filter(|(key, _)| key != kind_infon).count());
        let mut arguments = Vec::new();
        for node in &element.children {
            let refid = node.value("refid").unwrap_or_default();
            let (fault, message) = match self.mention_of_id.get(refid) {
                Some(_) if self.shared_ids.contains(refid) => {
                    (DiagnosticKind::MalformedLine, "a relation that refers to an id of several annotations")
                }
                Some(Some(mention)) => {
                    let role = node.value("role").unwrap_or_default().to_owned();
                    arguments.push(Argument { role, target: Target::Mention(*mention) });
                    continue;
                }
                Some(None) => (DiagnosticKind::NotRead, "a relation that refers to an annotation that was left out"),
                None if relations.contains(refid) => (DiagnosticKind::NotRead, "a relation that refers to a relation"),
                None => (DiagnosticKind::MalformedLine, "a relation that refers to something outside the document"),
            };
            return Err((fault, message.into()));
        }
        Ok(Relation { kind, arguments })
    }
}

/// The infon that states the kind of a relation, and the kind.
fn kind_of_relation(element: &Element) -> (&'static str, String) {
    let key = if element.infon(TYPE).is_some() { TYPE } else { RELATION_TYPE };
    (key, element.infon(key).unwrap_or_default().to_owned())
}

fn is_id_infon(key: &str) -> bool {
    ID_INFONS.contains(&key.to_ascii_lowercase().replace('_', " ").as_str())
}

fn is_confidence(key: &str, value: &str) -> bool {
    key == CONFIDENCE && value.parse::<Confidence>().is_ok()
}

/// Infon for an argument without a role; `at` counts from 0.
fn roleless(at: usize) -> String {
    format!("argument{}", at + 1)
}

/// Converts a document to what BioC can represent. `to_valid` converts a string to the characters that the format
/// allows, of the same length.
///
/// Passages are sorted; those that overlap an earlier one are left out, and so are sentences that overlap or cross a
/// passage boundary. Mentions are sorted by the passage or sentence in which they begin; of mentions with the same
/// position and type, the first is kept. Overlapping fragments are merged. Concept ids that would be read as none or
/// several are left out, and so are attributes that would be read as types, ids or parts of a composite. Relations between concepts lose their roles unless these are
/// distinct infons; relations between a mention and a concept are left out.
pub(super) fn express(document: &Document, to_valid: fn(&str) -> String) -> Expressed {
    let text = to_valid(&document.text);
    let index = CharIndex::new(&text);
    let mut seen = HashSet::new();
    let mut expressed = Expressed::new(document, |mention| {
        let spans = offsets::normal(&mention.fragments);
        let entity_type = to_valid(&mention.entity_type).trim().to_owned();
        let is_inside = spans.iter().all(|&span| index.bytes(span).is_some());
        let is_sayable = !spans.is_empty() && !entity_type.is_empty() && is_inside;
        if !is_sayable || !seen.insert((spans.clone(), entity_type.clone())) {
            return None;
        }
        let concept_ids = concept_ids::express(&entity_type, mention.concept_ids.iter().map(|id| to_valid(id)));
        let attributes = strings(&mention.attributes, to_valid).filter(|(key, value)| {
            let is_individual = key == ROLE_IN_COMPOSITE && value == INDIVIDUAL;
            key != TYPE && !is_id_infon(key) && !is_individual && !is_confidence(key, value)
        });
        let mut attributes: BTreeMap<String, String> = attributes.collect();
        if mention.confidence.is_some() {
            attributes.remove(CONFIDENCE);
        }
        Some(Mention { fragments: spans, entity_type, concept_ids, attributes, confidence: mention.confidence })
    });
    expressed.change_relations(|relation| express_relation(relation, to_valid));
    let (mentions, relations) =
        (std::mem::take(&mut expressed.document.mentions), std::mem::take(&mut expressed.document.relations));
    let id = if document.id.is_empty() { NO_ID.to_owned() } else { to_valid(&document.id) };
    let passages = express_passages(&document.passages, index.len(), to_valid);
    let sentences = express_sentences(&document.sentences, &blocks(&text, &index, &passages));
    let attributes = strings(&document.attributes, to_valid).collect();
    expressed.document = Document { id, text, passages, sentences, words: Vec::new(), mentions, relations, attributes };
    sort_mentions(&mut expressed);
    expressed
}

fn strings<'d>(
    attributes: &'d BTreeMap<String, String>,
    to_valid: fn(&str) -> String,
) -> impl Iterator<Item = (String, String)> + 'd {
    attributes.iter().map(move |(key, value)| (to_valid(key), to_valid(value)))
}

fn express_relation(relation: &Relation, to_valid: fn(&str) -> String) -> Option<Relation> {
    let mut arguments: Vec<Argument> = relation.arguments.clone();
    for argument in &mut arguments {
        argument.role = to_valid(&argument.role);
        if let Target::Concept(id) = &mut argument.target {
            *id = to_valid(id);
        }
    }
    let concepts = arguments.iter().filter(|argument| matches!(argument.target, Target::Concept(_))).count();
    if concepts > 0 && concepts < arguments.len() {
        return None;
    }
    let mut infons = HashSet::from([TYPE.to_owned()]);
    let mut is_infon = |(at, argument): (usize, &Argument)| {
        !NOT_ARGUMENTS.contains(&argument.role.as_str())
            && argument.role != roleless(at)
            && infons.insert(if argument.role.is_empty() { roleless(at) } else { argument.role.clone() })
    };
    if concepts > 0 && !arguments.iter().enumerate().all(&mut is_infon) {
        arguments.iter_mut().for_each(|argument| argument.role.clear());
    }
    Some(Relation { kind: to_valid(&relation.kind), arguments })
}

fn express_passages(passages: &[Passage], length: usize, to_valid: fn(&str) -> String) -> Vec<Passage> {
    let mut sorted: Vec<&Passage> = passages.iter().collect();
    sorted.sort_by_key(|passage| passage.span);
    let mut end = 0;
    let fits = |passage: &&Passage| {
        let Span { start, end: next } = passage.span;
        let fits = end <= start && start <= next && next <= length;
        end = if fits { next } else { end };
        fits
    };
    let passage = |passage: &Passage| Passage { kind: to_valid(&passage.kind), span: passage.span };
    sorted.into_iter().filter(fits).map(passage).collect()
}

fn express_sentences(sentences: &[Span], blocks: &[Block]) -> Vec<Span> {
    let mut sorted = sentences.to_vec();
    sorted.sort_unstable();
    let mut end = 0;
    sorted.retain(|sentence| {
        let fits =
            !sentence.is_empty() && end <= sentence.start && blocks.iter().any(|block| block.span.covers(*sentence));
        end = if fits { sentence.end } else { end };
        fits
    });
    sorted
}

/// Sorts the mentions by the passage or sentence that they are written in.
fn sort_mentions(expressed: &mut Expressed) {
    let starts = starts_of_slots(&expressed.document);
    let document = &mut expressed.document;
    let slot = |&at: &usize| slot_of(&starts, &document.mentions[at]);
    let mut order: Vec<usize> = (0..document.mentions.len()).collect();
    order.sort_by_key(slot);
    let mut place = vec![0; order.len()];
    for (new, &old) in order.iter().enumerate() {
        place[old] = new;
    }
    document.mentions = order.iter().map(|&old| document.mentions[old].clone()).collect();
    for at in expressed.mentions.iter_mut().flatten() {
        *at = place[*at];
    }
    for argument in document.relations.iter_mut().flat_map(|relation| &mut relation.arguments) {
        if let Target::Mention(at) = &mut argument.target {
            *at = place[*at];
        }
    }
}

/// Text that is written as a passage.
struct Block {
    /// `None` for text between passages.
    kind: Option<String>,
    span: Span,
}

/// The passages, and the text before, between and after them. Reading restores a single space between two passages.
fn blocks(text: &str, index: &CharIndex, passages: &[Passage]) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut end = 0;
    for passage in passages {
        let gap = Span::new(end, passage.span.start);
        if !gap.is_empty() && index.slice(text, gap) != Some(" ") {
            blocks.push(Block { kind: None, span: gap });
        }
        blocks.push(Block { kind: Some(passage.kind.clone()), span: passage.span });
        end = passage.span.end;
    }
    if end < index.len() || blocks.is_empty() {
        blocks.push(Block { kind: None, span: Span::new(end, index.len()) });
    }
    blocks
}

/// The spans written as sentences of a block, and whether each is a sentence; empty if the block has no sentences.
fn parts(text: &str, index: &CharIndex, block: &Block, sentences: &[Span]) -> Vec<(Span, bool)> {
    let first = sentences.partition_point(|sentence| sentence.start < block.span.start);
    let inside = sentences[first..].iter().take_while(|sentence| sentence.end <= block.span.end);
    let mut parts = Vec::new();
    let mut end = block.span.start;
    for sentence in inside {
        let gap = Span::new(end, sentence.start);
        if !gap.is_empty() && index.slice(text, gap) != Some(" ") {
            parts.push((gap, false));
        }
        parts.push((*sentence, true));
        end = sentence.end;
    }
    if !parts.is_empty() && end < block.span.end {
        parts.push((Span::new(end, block.span.end), false));
    }
    parts
}

/// Starts of the sentences, and of the passages without sentences, ascending.
fn starts_of_slots(document: &Document) -> Vec<usize> {
    let index = document.char_index();
    let mut starts = Vec::new();
    for block in blocks(&document.text, &index, &document.passages) {
        let parts = parts(&document.text, &index, &block, &document.sentences);
        if parts.is_empty() {
            starts.push(block.span.start);
        }
        starts.extend(parts.iter().map(|(span, _)| span.start));
    }
    starts
}

/// The last slot that begins at or before the mention.
fn slot_of(starts: &[usize], mention: &Mention) -> usize {
    let start = mention.span().start;
    starts.partition_point(|&slot| slot <= start).saturating_sub(1)
}

/// Writes a document returned by [`express`].
pub(super) fn element(document: &Document) -> Element {
    let index = document.char_index();
    let text = |span| index.slice(&document.text, span).unwrap_or_default().to_owned();
    let starts = starts_of_slots(document);
    let mut annotations: Vec<Vec<Element>> = Vec::new();
    annotations.resize_with(starts.len(), Vec::new);
    for (at, mention) in document.mentions.iter().enumerate() {
        annotations[slot_of(&starts, mention)].push(annotation(at, mention, text));
    }
    let mut annotations = annotations.into_iter();
    let mut root = Element::new(&DOCUMENT, 0);
    root.set("id", document.id.clone());
    root.infons = document.attributes.clone().into_iter().collect();
    for block in blocks(&document.text, &index, &document.passages) {
        let mut passage = Element::new(&PASSAGE, 0);
        passage.infons.extend(block.kind.clone().map(|kind| (TYPE.to_owned(), kind)));
        passage.set("offset", block.span.start.to_string());
        let parts = parts(&document.text, &index, &block, &document.sentences);
        if parts.is_empty() {
            passage.set("text", text(block.span));
            passage.children.extend(annotations.next().unwrap_or_default());
        }
        for (span, is_sentence) in parts {
            let mut sentence = Element::new(&SENTENCE, 0);
            if !is_sentence {
                sentence.infons.push((TYPE.into(), GAP.into()));
            }
            sentence.set("offset", span.start.to_string());
            sentence.set("text", text(span));
            sentence.children = annotations.next().unwrap_or_default();
            passage.children.push(sentence);
        }
        root.children.push(passage);
    }
    root.children.extend(document.relations.iter().enumerate().map(|(at, relation)| relation_element(at, relation)));
    root
}

fn annotation(at: usize, mention: &Mention, text: impl Fn(Span) -> String) -> Element {
    let mut annotation = Element::new(&ANNOTATION, 0);
    annotation.set("id", at.to_string());
    annotation.infons.push((TYPE.into(), mention.entity_type.clone()));
    if !mention.concept_ids.is_empty() {
        annotation.infons.push((ID_INFON.into(), concept_ids::join(&mention.concept_ids)));
    }
    annotation.infons.extend(mention.confidence.map(|confidence| (CONFIDENCE.into(), confidence.to_string())));
    annotation.infons.extend(mention.attributes.clone());
    for span in &mention.fragments {
        let mut location = Element::new(&LOCATION, 0);
        location.set("offset", span.start.to_string());
        location.set("length", span.len().to_string());
        annotation.children.push(location);
    }
    let pieces: Vec<String> = mention.fragments.iter().map(|&span| text(span)).collect();
    annotation.set("text", pieces.join(" "));
    annotation
}

fn relation_element(at: usize, relation: &Relation) -> Element {
    let mut element = Element::new(&RELATION, 0);
    element.set("id", format!("R{at}"));
    element.infons.push((TYPE.into(), relation.kind.clone()));
    for (at, Argument { role, target }) in relation.arguments.iter().enumerate() {
        match target {
            Target::Concept(id) => {
                let key = if role.is_empty() { roleless(at) } else { role.clone() };
                element.infons.push((key, id.clone()));
            }
            Target::Mention(mention) => {
                let mut node = Element::new(&NODE, 0);
                node.set("refid", mention.to_string());
                node.set("role", role.clone());
                element.children.push(node);
            }
        }
    }
    element
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Diagnostic;
    use crate::format::{Format, FormatOptions};
    use std::path::Path;

    fn read(passages: &str, rest: &str) -> (Document, Vec<String>) {
        let xml = format!("<document><id>7</id>{passages}{rest}</document>");
        let documents = Format::BiocXml
            .open_input(Box::new(xml.as_bytes()), Path::new("in.xml"), &FormatOptions::default())
            .expect("no folder");
        let (mut documents, diagnostics) = documents.read_all().expect("memory can be read");
        let show = |Diagnostic { kind, message, .. }: &Diagnostic| format!("{kind}: {message}");
        (documents.remove(0), diagnostics.0.iter().map(show).collect())
    }

    fn passage(offset: usize, text: &str, inside: &str) -> String {
        format!("<passage><infon key='type'>p</infon><offset>{offset}</offset><text>{text}</text>{inside}</passage>")
    }

    fn sentence(offset: usize, text: &str) -> String {
        format!("<sentence><offset>{offset}</offset><text>{text}</text></sentence>")
    }

    fn annotation(id: usize, infons: &[(&str, &str)], locations: &[(usize, usize)], text: &str) -> String {
        let infons = infons.iter().map(|(key, value)| format!("<infon key='{key}'>{value}</infon>"));
        let locations = locations.iter().map(|(at, length)| format!("<location offset='{at}' length='{length}'/>"));
        let inside: String = infons.chain(locations).collect();
        format!("<annotation id='{id}'>{inside}<text>{text}</text></annotation>")
    }

    /// `shown`: the text, `|`, the spans of the passages, `|`, those of the sentences.
    fn check_text(passages: &[String], shown: &str, faults: &[&str]) {
        let (document, printed) = read(&passages.concat(), "");
        let spans = |spans: Vec<Span>| spans.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        let passages = spans(document.passages.iter().map(|passage| passage.span).collect());
        assert_eq!(format!("{}|{passages}|{}", document.text, spans(document.sentences)), shown);
        assert_eq!(printed, faults);
    }

    #[test]
    fn the_text_is_that_of_the_passages_at_their_offsets() {
        check_text(&[], "||", &[]);
        check_text(&[passage(0, "ab", ""), passage(3, "cd", "")], "ab cd|0..2 3..5|", &[]);
        check_text(&[passage(2, "a", ""), passage(3, "b", ""), passage(6, "", "")], "  ab  |2..3 3..4 6..6|", &[]);
        check_text(&[passage(0, "", &(sentence(0, "a.") + &sentence(4, "b.")))], "a.  b.|0..6|0..2 4..6", &[]);
        check_text(&[passage(1, "a. b.", &(sentence(1, "a.") + &sentence(4, "b.")))], " a. b.|1..6|1..3 4..6", &[]);
        let overlap = "overlaps the text before it; left out with its annotations (0)";
        let far = "begins too far after the text before it; left out with its annotations (0)";
        check_text(
            &[passage(0, "ab", ""), passage(1, "cd", ""), passage(2, "e", "")],
            "abe|0..2 2..3|",
            &[&format!("malformed line: the passage at 1 {overlap}")],
        );
        check_text(
            &[passage(0, "", &(sentence(0, "ab") + &sentence(1, "cd")))],
            "ab|0..2|0..2",
            &[&format!("malformed line: the sentence at 1 {overlap}")],
        );
        check_text(
            &[passage(1 << 40, "a", "")],
            "||",
            &[&format!("malformed line: the passage at {} {far}", 1_u64 << 40)],
        );
        check_text(
            &[passage(0, "a. b.", &sentence(1, "a."))],
            "a. b.|0..5|",
            &["text does not match the offsets: a sentence whose text differs from its passage's; left out"],
        );
        check_text(
            &["<passage><text>a</text><annotation/></passage>".into()],
            "||",
            &["malformed line: the passage has no numeric offset; left out with its annotations (1)"],
        );
    }

    #[test]
    fn infons_name_types_and_concepts_and_the_parts_of_composites() {
        let of_type = |kind| ("type", kind);
        let role = |role| ("CompositeRole", role);
        let annotations = [
            annotation(1, &[of_type("X"), ("MESH", "D1|-1|D2")], &[(0, 1)], "a"),
            annotation(2, &[of_type("X"), ("identifier", "MESH:D1,D2; OMIM:3"), ("NCBI_Gene", "4")], &[(2, 1)], "b"),
            annotation(3, &[of_type("X"), role("CompositeMention"), ("n", "1")], &[(4, 5)], "c d e"),
            annotation(4, &[of_type("X"), role("IndividualMention")], &[(4, 1), (8, 1)], "c e"),
            // The offset is wrong, as some are in BC5CDR.
            annotation(5, &[of_type("X"), role("IndividualMention")], &[(5, 3)], "d e"),
            annotation(6, &[of_type("Y"), role("CompositeMention")], &[(4, 1)], "c"),
            annotation(7, &[of_type("X")], &[(0, 1)], "a"),
        ];
        let part = "not supported, left out: a part of a composite mention";
        let (document, faults) = read(&passage(0, "a b c d e", &annotations.concat()), "");
        assert_eq!(faults, [part, part, "duplicate mention: X at 0..1"]);
        let shown: Vec<(String, &BTreeMap<String, String>)> =
            document.mentions.iter().map(|mention| (mention.concept_ids.join(" "), &mention.attributes)).collect();
        let attributes = |pairs: &[(&str, &str)]| pairs.iter().map(|&(k, v)| (k.into(), v.into())).collect();
        let composite = attributes(&[("individual_mentions", "c e|d e"), ("n", "1")]);
        let alone = attributes(&[role("CompositeMention")]);
        let none = BTreeMap::new();
        let expected = [("D1 D2", &none), ("MESH:D1 D2 OMIM:3 4", &none), ("", &composite), ("", &alone)];
        assert_eq!(shown, expected.map(|(ids, attributes)| (ids.to_owned(), attributes)));
    }

    #[test]
    fn repeated_infons_and_annotations_at_the_document_are_read_or_noted() {
        let twice = annotation(1, &[("type", "X"), ("type", "Y"), ("n", "1"), ("n", "2")], &[(0, 1)], "a");
        let passage = passage(0, "a b", "").replace("<offset>", "<infon key='type'>q</infon><offset>");
        let (document, faults) = read(&passage, &twice);
        assert_eq!(faults, ["not supported, left out: infons with a repeated key: 3"]);
        let mention = &document.mentions[0];
        assert_eq!((mention.entity_type.as_str(), mention.attributes["n"].as_str()), ("X", "1"));
        assert_eq!(document.passages[0].kind, "p");
        // Offsets that count from the passage.
        let inside = annotation(1, &[("type", "X")], &[(2, 2)], "cd");
        let (_, faults) = read(&(self::passage(0, "ab", "") + &self::passage(3, "b cd", &inside)), "");
        assert!(
            faults[0].ends_with("if offsets counted from its passage: add the passage's offset to them"),
            "{faults:?}"
        );
    }

    #[test]
    fn offsets_of_passages_sentences_and_mentions_count_one_unit() {
        let inside = annotation(1, &[("type", "X")], &[(8, 3)], "b𝛼") + &sentence(5, "𝛼") + &sentence(8, "b𝛼");
        let xml = format!("<document><id>7</id>{}{}</document>", passage(0, "𝛼 c", ""), passage(5, "𝛼 b𝛼", &inside));
        let read = |offsets| {
            let options = FormatOptions { offsets, ..FormatOptions::default() };
            let documents = Format::BiocXml.open_input(Box::new(xml.as_bytes()), Path::new("in.xml"), &options);
            let (documents, faults) = documents.expect("no folder").read_all().expect("memory can be read");
            let document = &documents[0];
            let spans = [document.sentences.clone(), document.mentions.iter().map(Mention::span).collect()].concat();
            (document.text.clone(), spans, faults.losses().count())
        };
        let spans = vec![Span::new(4, 5), Span::new(6, 8), Span::new(6, 8)];
        assert_eq!(read(OffsetUnit::Utf16), ("𝛼 c 𝛼 b𝛼".to_owned(), spans, 0));
    }

    #[test]
    fn relations_are_those_of_nodes_or_of_infons() {
        let annotations = annotation(1, &[("type", "X")], &[(0, 1)], "a") + &annotation(2, &[], &[(0, 1)], "a");
        let node = |refid: &str| format!("<node refid='{refid}' role='r'/>");
        let relation = |inside: &str| format!("<relation id='R'>{inside}</relation>");
        let infons = |infons: &[(&str, &str)]| {
            infons.iter().map(|(key, value)| format!("<infon key='{key}'>{value}</infon>")).collect::<String>()
        };
        let check = |inside: &str, shown: &str, faults: &[&str]| {
            let (document, mut printed) = read(&passage(0, "a b", &annotations), &relation(inside));
            assert_eq!(printed.remove(0), "malformed line: annotation 2: missing type");
            assert_eq!(printed, faults, "{inside}");
            let argument = |Argument { role, target }: &Argument| match target {
                Target::Concept(id) => format!(" {role}={id}"),
                Target::Mention(at) => format!(" {role}:{at}"),
            };
            let show = |relation: &Relation| {
                relation.kind.clone() + &relation.arguments.iter().map(argument).collect::<String>()
            };
            assert_eq!(document.relations.iter().map(show).collect::<String>(), shown, "{inside}");
        };
        check(
            &infons(&[("relation", "CID"), ("Chemical", "D1"), ("Disease", "D2")]),
            "CID Chemical=D1 Disease=D2",
            &[],
        );
        check(&infons(&[("type", "x"), ("argument1", "D1"), ("argument2", "D2")]), "x =D1 =D2", &[]);
        check(&(infons(&[("type", "x")]) + &node("1") + &node("1")), "x r:0 r:0", &[]);
        check(
            &infons(&[("entity1", "1"), ("entity2", "2"), ("novel", "No"), ("type", "x")]),
            "x entity1=1 entity2=2",
            &["not supported, left out: infons of relations: 1"],
        );
        check(
            &(infons(&[("role1", "a|1"), ("role2", "b|2"), ("type", "x")]) + &node("0")),
            "x role1=a|1 role2=b|2",
            &["not supported, left out: nodes of relations between concepts: 1"],
        );
        check(&node("2"), "", &["not supported, left out: a relation that refers to an annotation that was left out"]);
        check(&node("R"), "", &["not supported, left out: a relation that refers to a relation"]);
        check(&node("9"), "", &["malformed line: a relation that refers to something outside the document"]);
    }

    #[test]
    fn unsupported_parts_are_changed_or_left_out() {
        let passage = |kind: &str, start, end| Passage { kind: kind.into(), span: Span::new(start, end) };
        let mut attributed = Mention::new(Span::new(4, 5), "X");
        attributed.concept_ids = ["D1", "a,b", "-1"].map(String::from).into();
        let attributes = [("type", "x"), ("MESH", "x"), (ROLE_IN_COMPOSITE, INDIVIDUAL), ("kept", "x")];
        attributed.attributes = attributes.map(|(key, value)| (key.into(), value.into())).into();
        let argument = |role: &str, target: Target| Argument { role: role.into(), target };
        let concept = |role: &str| argument(role, Target::Concept("D1".into()));
        let relation = |arguments: Vec<Argument>| Relation { kind: "r".into(), arguments };
        let document = Document {
            id: String::new(),
            text: "a. b. c d".into(),
            passages: vec![passage("later", 6, 9), passage("first", 0, 5), passage("inside", 3, 5)],
            sentences: vec![Span::new(3, 5), Span::new(0, 2), Span::new(4, 7)],
            mentions: vec![
                Mention::new(Span::new(6, 7), "X"),
                attributed,
                Mention::new(Span::new(4, 5), "X"),
                Mention::new(Span::new(0, 1), ""),
                Mention { fragments: vec![Span::new(8, 9), Span::new(0, 1)], ..Mention::new(Span::new(0, 1), "X") },
            ],
            relations: vec![
                relation(vec![concept("a"), argument("b", Target::Mention(0))]),
                relation(vec![concept("a"), concept("a")]),
                relation(vec![concept("a"), concept("")]),
                relation(vec![argument("", Target::Mention(1)), argument("", Target::Mention(0))]),
            ],
            ..Document::default()
        };
        let Expressed { document: new, mentions, relations } = express(&document, str::to_owned);
        assert_eq!(new.id, NO_ID);
        assert_eq!(new.passages, [passage("first", 0, 5), passage("later", 6, 9)]);
        assert_eq!(new.sentences, [Span::new(0, 2), Span::new(3, 5)]);
        // Sorted by the sentence or passage in which they begin.
        assert_eq!(mentions, [Some(2), Some(1), None, None, Some(0)]);
        assert_eq!(new.mentions[0].fragments, [Span::new(0, 1), Span::new(8, 9)]);
        assert_eq!(new.mentions[1].concept_ids, ["D1"]);
        assert_eq!(new.mentions[1].attributes, [("kept".to_owned(), "x".to_owned())].into());
        assert_eq!(relations, [None, Some(0), Some(1), Some(2)]);
        assert_eq!(new.relations[0].arguments, [concept(""), concept("")]);
        assert_eq!(new.relations[1].arguments, [concept("a"), concept("")]);
        assert_eq!(new.relations[2].arguments, [argument("", Target::Mention(1)), argument("", Target::Mention(2))]);
    }
}
