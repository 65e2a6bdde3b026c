use crate::Model;
use ner_model::Head;
use std::collections::BTreeSet;

/// How the models of an ensemble are brought together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Combination {
    /// The probabilities are averaged, and the mean decides: heads, labels and tokenizers are the same.
    Mean,
    /// Each model decides for itself, and what more than half of them find is a mention.
    Vote,
}

impl Combination {
    /// That of these models.
    ///
    /// # Errors
    /// Where they do not find the same types; the message names two that differ.
    pub fn of(models: &[Model]) -> Result<Self, String> {
        let Some((first, others)) = models.split_first() else { return Ok(Self::Mean) };
        let types = |model: &Model| -> BTreeSet<String> { model.recognizer.labels().types.iter().cloned().collect() };
        if let Some(other) = others.iter().find(|other| types(other) != types(first)) {
            let list = |model: &Model| types(model).into_iter().collect::<Vec<_>>().join(", ");
            return Err(format!(
                "an ensemble is of models of the same types; {} finds {} and {} finds {}",
                first.name,
                list(first),
                other.name,
                list(other)
            ));
        }
        Ok(if others.iter().all(|other| are_alike(first, other)) { Self::Mean } else { Self::Vote })
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::Vote => "vote",
        }
    }
}

/// Whether two models give probabilities to the same things.
fn are_alike(one: &Model, other: &Model) -> bool {
    let (one, other) = (&one.recognizer, &other.recognizer);
    let heads = (one.inference().head, other.inference().head);
    let same_head = matches!(heads, (Head::Token, Head::Token) | (Head::Span { .. }, Head::Span { .. }));
    same_head
        && one.labels() == other.labels()
        && one.inference().decode_options() == other.inference().decode_options()
        && one.tokenizer().makes_the_tokens_of(other.tokenizer())
}
