//! MeSH in XML: descriptor records (`desc2026.xml`) and supplementary concept records (`supp2026.xml`), after NLM's DTDs.

use std::io;

use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::Event;

use super::{Input, Output, ReadFault};
use crate::record::Record;

const RECORDS: [&[u8]; 2] = [b"DescriptorRecord", b"SupplementalRecord"];

/// Where in a record we are: the names of the open elements below it.
type Path = Vec<String>;

pub fn read(input: &mut Input, output: &mut Output) -> Result<(), ReadFault> {
    let mut reader = Reader::from_reader(input);
    reader.config_mut().trim_text(false);
    let mut bytes = Vec::new();
    let mut open: Option<(Record, Path, u64)> = None;
    let mut text = String::new();
    let mut depth = 0_u64;
    loop {
        bytes.clear();
        let event = reader.read_event_into(&mut bytes).map_err(|error| match error {
            quick_xml::Error::Io(error) => ReadFault::Io(io::Error::new(error.kind(), error)),
            error => ReadFault::of(format!("XML: {error}")),
        })?;
        match event {
            Event::Start(element) => {
                depth += 1;
                text.clear();
                let name = element.name();
                if let Some((_, path, _)) = &mut open {
                    path.push(String::from_utf8_lossy(name.as_ref()).into_owned());
                } else if RECORDS.contains(&name.as_ref()) {
                    let mut record = Record::default();
                    for attribute in element.attributes() {
                        let attribute = attribute.map_err(|error| ReadFault::of(format!("XML: {error}")))?;
                        if attribute.key.as_ref() == b"SCRClass" {
                            record.types.push(format!("SCRClass{}", String::from_utf8_lossy(&attribute.value)));
                        }
                    }
                    open = Some((record, Path::new(), reader.get_ref().line));
                }
            }
            Event::Text(piece) => {
                text.push_str(&piece.decode().map_err(|error| ReadFault::of(format!("XML: {error}")))?)
            }
            Event::CData(piece) => {
                text.push_str(&piece.decode().map_err(|error| ReadFault::of(format!("XML: {error}")))?);
            }
            Event::GeneralRef(reference) => {
                let name = reference.decode().map_err(|error| ReadFault::of(format!("XML: {error}")))?;
                let char = reference.resolve_char_ref().map_err(|error| ReadFault::of(format!("XML: {error}")))?;
                match (char, resolve_predefined_entity(&name)) {
                    (Some(char), _) => text.push(char),
                    (None, Some(known)) => text.push_str(known),
                    (None, None) => return Err(ReadFault::of(format!("XML: the entity &{name}; is not known"))),
                }
            }
            Event::End(_) => {
                depth = depth.saturating_sub(1);
                let Some((record, path, _)) = &mut open else { continue };
                if path.is_empty() {
                    let Some((record, _, line)) = open.take() else { continue };
                    output.report.entries += 1;
                    if record.id.is_empty() {
                        return Err(ReadFault::of(format!("the record that begins in line {line} has no id")));
                    }
                    if record.name.is_none() && record.synonyms.is_empty() {
                        output.report.skip("without a name", line);
                    } else {
                        output.give(record);
                    }
                    continue;
                }
                let path_names: Vec<&str> = path.iter().map(String::as_str).collect();
                let value = text.trim();
                if !value.is_empty() {
                    take(record, &path_names, value);
                }
                path.pop();
                text.clear();
            }
            Event::Eof => break,
            _ => {}
        }
    }
    if open.is_some() {
        return Err(ReadFault::of("XML: the file ends within a record; download it again"));
    }
    if depth > 0 {
        return Err(ReadFault::of("XML: the file ends before its last element is closed; download it again"));
    }
    Ok(())
}

fn take(record: &mut Record, path: &[&str], value: &str) {
    match path {
        ["DescriptorUI" | "SupplementalRecordUI"] => record.id = value.to_owned(),
        ["DescriptorName" | "SupplementalRecordName", "String"] => record.name = Some(value.to_owned()),
        ["TreeNumberList", "TreeNumber"] => record.types.push(value.to_owned()),
        // The preferred term of the preferred concept is the name once more.
        ["ConceptList", "Concept", "TermList", "Term", "String"] if record.name.as_deref() != Some(value) => {
            record.synonyms.push(value.to_owned());
        }
        // A star marks a heading that is the topic. Registry numbers: 0 is none.
        ["HeadingMappedToList", "HeadingMappedTo", "DescriptorReferredTo", "DescriptorUI"] => {
            record.xrefs.push(value.trim_start_matches('*').to_owned());
        }
        ["ConceptList", "Concept", "RegistryNumber"] if value != "0" => record.xrefs.push(value.to_owned()),
        _ => {}
    }
}
