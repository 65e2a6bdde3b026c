use super::{LoadedSplit, Split, Splits};
use crate::format::Expressed;
use crate::{LabelMap, Mention};
use std::collections::BTreeMap;

/// Number of mentions that a label map left out, by type.
pub type Dropped = BTreeMap<String, usize>;

/// Renames the type of every mention by `map`; returns how many mentions were left out.
pub fn apply_label_map(map: &LabelMap, splits: &mut Splits<LoadedSplit>) -> Dropped {
    let mut dropped = Dropped::new();
    for split in Split::ALL {
        for document in &mut splits.get_mut(split).documents {
            let relabel = |mention: &Mention| match map.label(&mention.entity_type) {
                Some(label) => Some(Mention { entity_type: label.to_owned(), ..mention.clone() }),
                None => {
                    *dropped.entry(mention.entity_type.clone()).or_default() += 1;
                    None
                }
            };
            *document = Expressed::new(document, relabel).document;
        }
    }
    dropped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Document, Span};

    #[test]
    fn types_are_renamed_or_left_out_and_counted() {
        let check = |map: &[(&str, &str)], expected: &[&str], left_out: &[(&str, usize)]| {
            let map = LabelMap(map.iter().map(|&(from, to)| (from.to_owned(), to.to_owned())).collect());
            let mentions = ["A", "B", "C"].map(|kind| Mention::new(Span::new(0, 1), kind)).into();
            let document = Document { mentions, ..Document::new("1", "x") };
            let mut splits = Splits::<LoadedSplit>::default();
            splits.dev.documents.push(document);
            let dropped = apply_label_map(&map, &mut splits);
            let types: Vec<&str> = splits.dev.documents[0].mentions.iter().map(|m| m.entity_type.as_str()).collect();
            assert_eq!(types, expected);
            assert_eq!(dropped, left_out.iter().map(|&(kind, count)| (kind.to_owned(), count)).collect());
        };
        check(&[("*", "X")], &["X", "X", "X"], &[]);
        check(&[("A", "X"), ("B", "X")], &["X", "X"], &[("C", 1)]);
        check(&[("A", ""), ("*", "Y")], &["Y", "Y"], &[("A", 1)]);
    }
}
