//! The output of `--detail`, as tables and as JSON.

use crate::terminal::score_table::{add_row, percent, table};
use anyhow::Result;
use ner_data::statistics::words_of;
use ner_data::{CharIndex, Document, EncodedDocument, Mention, shown};
use ner_eval::{
    DocumentCounts, DocumentScore, Errors, FrequentErrors, FrequentString, GroupScore, NestedScores, PairedDocuments,
    Ranges, SeenScores, SemevalScores, TrainingMentions, count_errors, frequent_errors, score_semeval,
    scores_by_document, scores_by_number,
};
use serde::Serialize;
use std::cmp::Reverse;
use std::io::{self, Write};

/// Options for details beyond the strict scores.
#[derive(clap::Args, Clone, Copy, Debug, Default)]
pub struct DetailArgs {
    /// Show partial matches, error classes, confused types, and scores by groups of mentions
    #[arg(long)]
    pub detail: bool,
    /// With --detail: also the strings most often missed or spuriously predicted, which are text of the corpus
    #[arg(long, requires = "detail")]
    pub with_text: bool,
}

/// Number of strings of each kind that `--with-text` shows.
const STRINGS: usize = 20;

/// Number of type pairs that the table shows.
const CONFUSIONS: usize = 20;

/// The JSON keys that all scores share, for `--help`.
pub const JSON_KEYS: &str = "\
JSON: overall, macro, weighted and per_type hold precision, recall, f1 and support;
null is undefined. intervals holds low and high of each, by bootstrap over documents.
--detail adds detail:
  schemes       SemEval-2013: strict, exact, partial and type, each with correct,
                incorrect, partial, missed and spurious, and the scores of these
  errors        right, boundary, type, boundary_and_type, missed, invented;
                confusion: how often each gold type was predicted as each type
  by_words      scores by length of the mention in words
  by_pieces     in word pieces (eval only)
  nested        gold mentions that contain others or are contained: groups outer and
                inner, and flat_ceiling, the limit for labels of single words
  seen          by overlap with the training split (eval only): by_string,
                by_string_and_type, by_frequency
  per_document  counts and scores of each document
  frequent      the strings most often missed or spuriously predicted (--with-text)";

/// Details beyond the strict scores.
#[derive(Serialize)]
pub struct Detail {
    schemes: SemevalScores,
    errors: Errors,
    /// By number of words in the mention; `None` without text.
    by_words: Option<Vec<GroupScore>>,
    /// By number of word pieces; `None` without a tokenizer.
    by_pieces: Option<Vec<GroupScore>>,
    /// By nesting; `None` if no gold mentions are nested.
    nested: Option<NestedScores>,
    /// By overlap with the training split; `None` without one.
    seen: Option<SeenScores>,
    per_document: Vec<DocumentScore>,
    /// Text of the corpus; `None` unless requested.
    frequent: Option<FrequentErrors>,
}

impl Detail {
    /// Details of mentions without text. `words` counts the words of a mention, if that is possible.
    pub fn of_mentions(
        paired: &PairedDocuments<'_>,
        by_document: &[DocumentCounts],
        words: Option<fn(&Mention) -> usize>,
    ) -> Self {
        Self {
            schemes: score_semeval(paired.mentions()),
            errors: count_errors(paired.mentions()),
            by_words: words
                .map(|words| scores_by_number(&paired.documents, Ranges::WORDS, |_, mention| words(mention))),
            by_pieces: None,
            nested: NestedScores::new(&paired.documents),
            seen: None,
            per_document: scores_by_document(by_document),
            frequent: None,
        }
    }

    /// Details of documents: `paired` are the pairs of `gold`. Includes strings of the text if requested.
    pub fn of_documents(
        paired: &PairedDocuments<'_>,
        by_document: &[DocumentCounts],
        gold: &[Document],
        with_text: bool,
    ) -> Self {
        let indices = indices(gold);
        let words = |at: usize, mention: &Mention| words_of(mention, &gold[at], &indices[at]);
        let texts = gold.iter().zip(&paired.documents).map(|(document, pair)| (document, pair.predicted));
        Self {
            by_words: Some(scores_by_number(&paired.documents, Ranges::WORDS, words)),
            frequent: with_text.then(|| frequent_errors(texts, STRINGS)),
            ..Self::of_mentions(paired, by_document, None)
        }
    }

    /// Adds groups by training split and by word pieces; `encoded` are the word pieces of `gold`.
    pub fn with_training(
        mut self,
        paired: &PairedDocuments<'_>,
        gold: &[Document],
        training: &[Document],
        encoded: &[EncodedDocument],
    ) -> Self {
        let indices = indices(gold);
        let string = |at: usize, mention: &Mention| mention.folded_text(&gold[at].text, &indices[at]);
        self.seen = Some(SeenScores::new(&paired.documents, &TrainingMentions::of(training), string));
        let pieces = |at: usize, mention: &Mention| pieces_of(mention, &encoded[at]);
        self.by_pieces = Some(scores_by_number(&paired.documents, Ranges::PIECES, pieces));
        self
    }

    /// Writes everything except the scores of each document as tables.
    ///
    /// # Errors
    /// If `out` cannot be written.
    pub fn print(&self, out: &mut impl Write) -> Result<()> {
        writeln!(out, "\nPartial matches (SemEval-2013), in mentions and percent\n")?;
        let schemes = &self.schemes.overall;
        let mut of_schemes =
            table(&["", "correct", "incorrect", "partial", "missed", "spurious", "precision", "recall", "F1"]);
        let rows = [
            ("strict", schemes.strict),
            ("exact: any type", schemes.exact),
            ("partial: overlap counts half", schemes.partial),
            ("type: any overlap", schemes.type_),
        ];
        for (name, counts) in rows {
            let numbers = [counts.correct, counts.incorrect, counts.partial, counts.missed, counts.spurious];
            let shares = [counts.precision(), counts.recall(), counts.f1()].map(percent);
            let row = [name.to_owned()].into_iter().chain(numbers.map(|number| number.to_string())).chain(shares);
            add_row(&mut of_schemes, row.collect());
        }
        writeln!(out, "{of_schemes}")?;

        writeln!(out, "\nErrors: each mention counts in one column\n")?;
        let mut of_errors =
            table(&["", "right", "boundary", "type", "both", "missed", "invented", "gold", "predicted"]);
        let types = self.errors.per_type.iter().map(|(name, counts)| (name.as_str(), counts));
        for (name, counts) in types.chain([("all", &self.errors.overall)]) {
            let numbers = [counts.right, counts.boundary, counts.type_, counts.boundary_and_type, counts.missed];
            let more = [counts.invented, counts.gold(), counts.predicted()];
            let numbers = numbers.into_iter().chain(more).map(|number| number.to_string());
            add_row(&mut of_errors, [name.to_owned()].into_iter().chain(numbers).collect());
        }
        writeln!(out, "{of_errors}")?;
        writeln!(
            out,
            "Pairs and misses are in the row of the gold type; so is `predicted`, except for invented mentions."
        )?;

        self.print_confusion(out)?;
        print_groups("words of the mention", self.by_words.as_deref(), out)?;
        print_groups("word pieces of the mention", self.by_pieces.as_deref(), out)?;
        if let Some(nested) = &self.nested {
            print_groups("inside of another", Some(&nested.groups), out)?;
            let ceiling = percent(nested.flat_ceiling.f1);
            writeln!(
                out,
                "A head that gives each word one label, for the longest mention, reaches at most an F1 of {ceiling}."
            )?;
        }
        let seen = self.seen.as_ref();
        print_groups("string in training", seen.map(|seen| seen.by_string.as_slice()), out)?;
        print_groups("string in training, as this type", seen.map(|seen| seen.by_string_and_type.as_slice()), out)?;
        print_groups("how often it is there", seen.map(|seen| seen.by_frequency.as_slice()), out)?;
        if let Some(frequent) = &self.frequent {
            print_strings("Most often missed", &frequent.missed, out)?;
            print_strings("Most often invented", &frequent.invented, out)?;
        }
        Ok(())
    }

    /// The most frequent type confusions; JSON has the whole matrix.
    fn print_confusion(&self, out: &mut impl Write) -> io::Result<()> {
        let mut cells: Vec<(u64, &str, &str)> = Vec::new();
        for cell in &self.errors.confusion {
            if let (Some(gold), Some(predicted)) = (&cell.gold, &cell.predicted)
                && gold != predicted
            {
                cells.push((cell.count, gold, predicted));
            }
        }
        if cells.is_empty() {
            return Ok(());
        }
        cells.sort_by_key(|&(count, gold, predicted)| (Reverse(count), gold, predicted));
        let mut confusion = table(&["gold", "predicted as", "mentions"]);
        for (count, gold, predicted) in cells.iter().take(CONFUSIONS) {
            confusion.add_row([gold.to_string(), predicted.to_string(), count.to_string()]);
        }
        writeln!(out, "\n{confusion}")?;
        match cells.len().checked_sub(CONFUSIONS) {
            None | Some(0) => Ok(()),
            Some(more) => writeln!(out, "and {more} more pairs of types"),
        }
    }
}

fn print_groups(name: &str, groups: Option<&[GroupScore]>, out: &mut impl Write) -> io::Result<()> {
    let Some(groups) = groups else { return Ok(()) };
    let mut of_groups = table(&[name, "precision", "recall", "F1", "support"]);
    for GroupScore { group, score, .. } in groups {
        let shares = [score.precision, score.recall, score.f1].map(percent);
        add_row(&mut of_groups, [group.clone()].into_iter().chain(shares).chain([score.support.to_string()]).collect());
    }
    writeln!(out, "\n{of_groups}")
}

fn print_strings(title: &str, strings: &[FrequentString], out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "\n{title}\n")?;
    for FrequentString { text, entity_type, count } in strings {
        writeln!(out, "{count:>6}  {}  {}", shown(entity_type), shown(text))?;
    }
    Ok(())
}

fn indices(documents: &[Document]) -> Vec<CharIndex> {
    documents.iter().map(Document::char_index).collect()
}

/// Number of word pieces that share a character with a mention.
fn pieces_of(mention: &Mention, encoded: &EncodedDocument) -> usize {
    let span = mention.span();
    let first = encoded.tokens.partition_point(|token| token.span.end <= span.start);
    let inside = encoded.tokens[first..].iter().take_while(|token| token.span.start < span.end);
    inside.filter(|token| mention.fragments.iter().any(|fragment| fragment.overlaps(token.span))).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ner_data::Span;

    /// The text of the corpus appears only on request.
    #[test]
    fn tables_hold_no_text_unless_asked_for() {
        let mention = |start, end, kind: &str| Mention::new(Span::new(start, end), kind);
        let gold = [Document {
            mentions: vec![mention(0, 5, "D"), mention(6, 14, "C")],
            ..Document::new("1", "fever naloxone cough")
        }];
        let predicted = [Document { mentions: vec![mention(0, 5, "C"), mention(15, 20, "D")], ..gold[0].clone() }];
        let paired = PairedDocuments::new(&gold, &predicted).expect("paired");
        let scored = paired.score();
        for with_text in [false, true] {
            let detail = Detail::of_documents(&paired, &scored.by_document, &gold, with_text);
            let json = serde_json::to_string(&detail).expect("JSON");
            let mut out = Vec::new();
            detail.print(&mut out).expect("memory");
            let out = String::from_utf8(out).expect("UTF-8");
            for text in [&json, &out] {
                assert_eq!([text.contains("naloxone"), text.contains("cough")], [with_text; 2], "{text}");
                assert!(!text.contains("fever"), "{text}");
            }
            for line in ["| D    | C            | 1        |", "| 1                    |"] {
                assert!(out.contains(line), "{line} is not in\n{out}");
            }
        }
    }

    #[test]
    fn pieces_are_those_that_a_mention_touches() {
        let token = |start, end| ner_data::Token {
            id: 1,
            span: Span::new(start, end),
            word: 0,
            starts_line: false,
            starts_page: false,
        };
        let tokens = vec![token(0, 2), token(2, 5), token(6, 9), token(10, 12)];
        let encoded = EncodedDocument::new(tokens, vec![0], Vec::new());
        let mut mention = Mention::new(Span::new(1, 3), "D");
        assert_eq!(pieces_of(&mention, &encoded), 2);
        mention.fragments.push(Span::new(10, 12));
        assert_eq!(pieces_of(&mention, &encoded), 3);
    }
}
