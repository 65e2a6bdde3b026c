//! OBO flat files, version 1.2 and 1.4 (<https://owlcollab.github.io/oboformat/doc/GO.format.obo-1_4.html>).

use super::{Input, Output, ReadFault, ReadOptions};
use crate::record::Record;

/// A `[Term]` as it is read.
struct Term {
    record: Record,
    line: u64,
    is_obsolete: bool,
}

pub fn read(input: &mut Input, options: &ReadOptions, output: &mut Output) -> Result<(), ReadFault> {
    // `None`: in the header, or in a stanza of another kind.
    let mut term: Option<Term> = None;
    loop {
        let line_number = input.line + 1;
        let Some(line) = input.next_line()? else { break };
        let line = line.trim();
        if line.starts_with('[') && line.ends_with(']') {
            give(term.take(), output);
            output.report.entries += 1;
            if line == "[Term]" {
                term = Some(Term { record: Record::default(), line: line_number, is_obsolete: false });
            } else {
                output.report.skip("of another kind than [Term]", line_number);
            }
            continue;
        }
        if line.is_empty() || line.starts_with('!') {
            continue;
        }
        let Some((tag, value)) = line.split_once(':') else {
            return Err(ReadFault::of("neither a stanza, nor \"tag: value\""));
        };
        let value = value.trim();
        // "hp" and "doid" are names of the OBO Foundry; others are URIs already, or parts of an ontology.
        if tag.trim_end() == "ontology" && term.is_none() && output.report.entries == 0 && !value.is_empty() {
            let value = plain(value);
            let is_name = value.chars().all(|char| char.is_ascii_alphanumeric() || "_-".contains(char));
            let purl = || format!("http://purl.obolibrary.org/obo/{value}.owl");
            output.report.system = is_name.then(purl).or_else(|| value.contains("://").then(|| value.clone()));
            continue;
        }
        if tag.trim_end() == "data-version" && term.is_none() && output.report.entries == 0 {
            output.report.release = plain(value);
            continue;
        }
        let Some(Term { record, is_obsolete, .. }) = &mut term else { continue };
        match tag.trim_end() {
            "id" if !record.id.is_empty() => return Err(ReadFault::of("a second id in a [Term]")),
            "id" => record.id = plain(value),
            "name" => record.name = Some(plain(value)).filter(|name| !name.is_empty()),
            "alt_id" => record.other_ids.push(plain(value)),
            "xref" => record.xrefs.push(plain(value.split_once(" \"").map_or(value, |(id, _)| id))),
            "namespace" => record.types.push(plain(value)),
            "is_obsolete" => *is_obsolete = value.starts_with("true"),
            "synonym" => {
                let (text, rest) = quoted(value)?;
                // Without a scope it is RELATED.
                let scope = rest.split_whitespace().next().filter(|scope| !scope.starts_with('['));
                if options.scopes.iter().any(|of| of == scope.unwrap_or("RELATED")) {
                    record.synonyms.push(text);
                } else {
                    output.report.skip("synonyms of another scope", line_number);
                }
            }
            // OBO 1.0.
            "exact_synonym" | "narrow_synonym" | "related_synonym" => record.synonyms.push(quoted(value)?.0),
            _ => {}
        }
        if record.id.is_empty() && tag == "id" {
            return Err(ReadFault::of("an empty id"));
        }
    }
    give(term, output);
    Ok(())
}

fn give(term: Option<Term>, output: &mut Output) {
    let Some(Term { record, line, is_obsolete }) = term else { return };
    if is_obsolete {
        output.report.skip("obsolete", line);
    } else if record.id.is_empty() {
        output.report.skip("without an id", line);
    } else if record.name.is_none() && record.synonyms.is_empty() {
        output.report.skip("without a name", line);
    } else {
        output.give(record);
    }
}

/// A value without its trailing modifiers and comment.
fn plain(value: &str) -> String {
    let value = value.split_once(" !").map_or(value, |(value, _)| value).trim_end();
    let value = match value.rfind(" {") {
        Some(at) if value.ends_with('}') && value[at..].contains('=') => value[..at].trim_end(),
        _ => value,
    };
    let mut chars = value.chars();
    unescaped(&mut chars, None)
}

/// The text between quotation marks, and what follows.
fn quoted(value: &str) -> Result<(String, &str), ReadFault> {
    let fault = || ReadFault::of("a synonym without its text in quotation marks");
    let mut chars = value.strip_prefix('"').ok_or_else(fault)?.chars();
    let text = unescaped(&mut chars, Some('"'));
    // The closing mark has been read, or there was none.
    let rest = chars.as_str();
    if value.len() < 2 || !value[..value.len() - rest.len()].ends_with('"') || value.len() - rest.len() < 2 {
        return Err(fault());
    }
    Ok((text, rest))
}

fn unescaped(chars: &mut std::str::Chars, end: Option<char>) -> String {
    let mut text = String::new();
    while let Some(char) = chars.next() {
        match char {
            char if Some(char) == end => break,
            '\\' => match chars.next() {
                Some('n' | 'W' | 't') => text.push(' '),
                Some(char) => text.push(char),
                None => {}
            },
            char => text.push(char),
        }
    }
    text
}
