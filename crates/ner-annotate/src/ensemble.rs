use crate::Model;
use ner_model::Head;
use std::collections::BTreeSet;

/// How the models of an ensemble are combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Combination {
    /// Average the probabilities and decode the mean. Needs equal heads, labels and tokenizers.
    Mean,
    /// Each model decodes its own mentions; those that more than half of the models find are kept.
    Vote,
}

impl Combination {
    /// The combination for these models.
    ///
    /// # Errors
    /// If their entity types differ. The message names two models that do.
    pub fn of(models: &[Model]) -> Result<Self, String> {
        let Some((first, others)) = models.split_first() else { return Ok(Self::Mean) };
        let types = |model: &Model| -> BTreeSet<String> { model.recognizer.labels().types.iter().cloned().collect() };
        if let Some(other) = others.iter().find(|other| types(other) != types(first)) {
            let list = |model: &Model| types(model).into_iter().collect::<Vec<_>>().join(", ");
            return Err(format!(
                "the models of an ensemble must have the same types, but {} finds {} and {} finds {}",
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

/// Whether the probabilities of two models can be averaged.
fn are_alike(one: &Model, other: &Model) -> bool {
    let (one, other) = (&one.recognizer, &other.recognizer);
    let heads = (one.inference().head, other.inference().head);
    let same_head = matches!(heads, (Head::Token, Head::Token) | (Head::Span { .. }, Head::Span { .. }));
    same_head
        && one.labels() == other.labels()
        && one.inference().decode_options() == other.inference().decode_options()
        && one.tokenizer().makes_the_tokens_of(other.tokenizer())
}
