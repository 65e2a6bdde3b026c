use crate::{Document, Mention, Relation, Target};

/// A document in the form that a format can represent: its reader reads back exactly what its sink writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expressed {
    /// The document.
    pub document: Document,
    /// For each mention of the original, its index in `document`, or `None` if the format cannot represent it.
    pub mentions: Vec<Option<usize>>,
    /// For each relation of the original, its index in `document`, or `None` if the format cannot represent it.
    pub relations: Vec<Option<usize>>,
}

impl Expressed {
    /// Applies `change` to each mention and leaves out those for which it returns `None`. Relations between mentions
    /// are updated; those with an argument that is left out are left out as well.
    pub fn new<'d>(document: &'d Document, change: impl FnMut(&'d Mention) -> Option<Mention>) -> Self {
        let (mentions, places) = keep_some(&document.mentions, change);
        let follow = |relation: &Relation| {
            let mut relation = relation.clone();
            for argument in &mut relation.arguments {
                if let Target::Mention(at) = &mut argument.target {
                    *at = (*places.get(*at)?)?;
                }
            }
            Some(relation)
        };
        let (relations, relation_places) = keep_some(&document.relations, follow);
        let document = Document { mentions, relations, ..document.clone() };
        Self { document, mentions: places, relations: relation_places }
    }

    /// Applies `change` to each relation and leaves out those for which it returns `None`.
    pub fn change_relations(&mut self, change: impl FnMut(&Relation) -> Option<Relation>) {
        let (relations, places) = keep_some(&self.document.relations, change);
        self.document.relations = relations;
        for place in &mut self.relations {
            *place = place.and_then(|at| places[at]);
        }
    }
}

/// The items returned by `change`, and the new index of each original item.
fn keep_some<'t, T>(items: &'t [T], mut change: impl FnMut(&'t T) -> Option<T>) -> (Vec<T>, Vec<Option<usize>>) {
    let mut kept = Vec::with_capacity(items.len());
    let mut places = Vec::with_capacity(items.len());
    for item in items {
        let changed = change(item);
        places.push(changed.is_some().then_some(kept.len()));
        kept.extend(changed);
    }
    (kept, places)
}
