//! The page about a corpus, to read before training on it.

use crate::number::{UNDEFINED, count, mean, percent};
use crate::page::{Block, Page, Row, Section, Table, Value};
use crate::plot::{self, Plot, Series};
use crate::{ReportError, plot::bars};
use ner_data::statistics::{
    CorpusStatistics, Distribution, Example, Examples, InconsistencyExample, PieceCounts, PieceStatistics, SharedTexts,
    SplitReport, TypeStatistics, Unseen, UnseenCounts,
};
use ner_data::{AlignmentStatistics, Diagnostic, DiagnosticKind, MisfitReason, Span, Split, Splits};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// Contents of the page.
pub struct CorpusPage<'r> {
    /// Title and release of the corpus.
    pub title: &'r str,
    /// Note of a synthetic sample; `None` for a real corpus.
    pub synthetic: Option<&'r str>,
    /// What was annotated.
    pub description: &'r str,
    /// Format of its files.
    pub format: String,
    /// Its files; empty for an embedded sample.
    pub files: Vec<CorpusFile>,
    /// Mentions dropped by the label map, by type.
    pub dropped: &'r BTreeMap<String, usize>,
    /// Homepage.
    pub homepage: &'r str,
    /// Licence.
    pub licence: &'r str,
    /// Version of medner.
    pub version: &'r str,
    /// Name of the encoder that split words and pieces.
    pub encoder: Option<&'r str>,
    /// The statistics.
    pub statistics: &'r CorpusStatistics,
    /// Examples of findings.
    pub examples: &'r Examples<'r>,
    /// The first faults; the statistics count all.
    pub faults: &'r [&'r Diagnostic],
}

/// One file of a corpus.
pub struct CorpusFile {
    /// Its name without folders, because the page may be passed on.
    pub name: String,
    /// SHA-256 of its bytes.
    pub sha256: String,
    /// Whether it matches the published checksum; `None` without one.
    pub as_published: Option<bool>,
}

/// A row of the summary.
pub struct SummaryRow {
    /// Name of the count.
    pub name: String,
    /// 0, or 1 for a part of the row above.
    pub level: usize,
    /// Value in each split.
    pub cells: Splits<String>,
    /// Section with details.
    section: Option<&'static str>,
}

const TYPES: &str = "types";
const SIZES: &str = "sizes";
const SHARED: &str = "shared";
const OVERLAPS: &str = "overlaps";
const CONSISTENCY: &str = "consistency";
const UNSEEN: &str = "unseen";
const PIECES: &str = "pieces";
const FAULTS: &str = "faults";

/// The most important counts, one per row, for a page or a terminal. `encoder` is the name of the encoder that split
/// words and pieces.
pub fn summary(statistics: &CorpusStatistics, encoder: Option<&str>) -> Vec<SummaryRow> {
    let mut summary = Summary { splits: &statistics.splits, rows: Vec::new(), section: None };
    summary.documents(statistics);
    summary.mentions(statistics);
    if let Some(encoder) = encoder {
        summary.words(encoder);
    }
    summary.section = Some(FAULTS);
    summary.count(0, "faults in the files", |report| report.statistics.diagnostics.values().sum());
    for kind in fault_kinds(&statistics.splits) {
        summary.count(1, &kind.to_string(), |report| report.statistics.diagnostics.get(&kind).copied().unwrap_or(0));
    }
    summary.rows
}

struct Summary<'s> {
    splits: &'s Splits<SplitReport>,
    rows: Vec<SummaryRow>,
    section: Option<&'static str>,
}

impl Summary<'_> {
    fn row(&mut self, level: usize, name: impl Into<String>, cell: impl FnMut(Split, &SplitReport) -> String) {
        let cells = self.splits.map(cell);
        self.rows.push(SummaryRow { name: name.into(), level, cells, section: self.section });
    }

    fn count(&mut self, level: usize, name: &str, part: impl Fn(&SplitReport) -> usize) {
        self.row(level, name, |_, report| count(part(report)));
    }

    fn documents(&mut self, statistics: &CorpusStatistics) {
        self.section = Some(SIZES);
        self.count(0, "documents", |report| report.statistics.documents);
        self.count(1, "without mentions", |report| report.statistics.documents_without_mentions);
        let words = &statistics.distributions.document_words;
        self.row(1, "words per document, median (5 to 95 %)", |split, _| middle(words, split));
        self.count(0, "characters", |report| report.statistics.characters);
        if self.splits.iter().any(|(_, report)| report.statistics.words > 0) {
            self.count(0, "words given by the corpus", |report| report.statistics.words);
        }
        if self.splits.iter().any(|(_, report)| report.statistics.sentences > 0) {
            self.count(0, "sentences marked in the corpus", |report| report.statistics.sentences);
        }
        self.section = Some(SHARED);
        let shared = &statistics.shared;
        self.row(0, "documents also in train", |split, _| shared_with_train(&shared.documents, split));
        self.row(0, "sentences also in train", |split, _| shared_with_train(&shared.sentences, split));
    }

    fn mentions(&mut self, statistics: &CorpusStatistics) {
        self.section = Some(TYPES);
        self.count(0, "mentions", |report| report.statistics.mentions);
        for entity_type in types(self.splits) {
            self.count(1, entity_type, |report| {
                report.statistics.mentions_by_type.get(entity_type).copied().unwrap_or(0)
            });
        }
        self.section = Some(SIZES);
        self.row(1, "per document (mean)", |_, report| mean(report.statistics.mentions_per_document));
        let words = &statistics.distributions.mention_words;
        self.row(1, "words per mention, mean (maximum)", |split, _| mean_and_most(words, split));
        self.section = None;
        self.count(1, "with several concepts", |report| report.statistics.several_concepts);
        self.count(1, "without a known concept", |report| report.statistics.no_concept);
        self.section = Some(OVERLAPS);
        self.count(1, "discontinuous", |report| report.overlaps.discontinuous);
        self.count(1, "nested in another", |report| report.overlaps.nested);
        self.count(1, "crossing another", |report| report.overlaps.crossing);
        self.section = Some(UNSEEN);
        self.row(1, "never seen in training", |split, _| match split {
            Split::Train => UNDEFINED.to_owned(),
            Split::Dev => percent(statistics.unseen.dev.overall.share),
            Split::Test => percent(statistics.unseen.test.overall.share),
        });
        self.section = Some(CONSISTENCY);
        self.count(0, "mention strings, by document", |report| report.consistency.strings);
        self.count(1, "with several types", |report| report.consistency.differently_typed);
        self.count(1, "also unlabelled elsewhere", |report| report.consistency.partly_unlabelled);
    }

    fn words(&mut self, encoder: &str) {
        let pieces = |part: fn(&PieceStatistics) -> String| {
            move |_, report: &SplitReport| report.pieces.as_ref().map_or_else(String::new, part)
        };
        let aligned = |part: fn(&AlignmentStatistics) -> String| {
            move |_, report: &SplitReport| report.alignment.as_ref().map_or_else(String::new, part)
        };
        self.section = Some(PIECES);
        self.row(0, format!("word pieces of {encoder}"), aligned(|alignment| count(alignment.tokens)));
        self.row(1, "unknown", pieces(|pieces| count(pieces.all.unknown)));
        self.row(1, "words", aligned(|alignment| count(alignment.words)));
        self.row(1, "per word inside mentions", pieces(|pieces| mean(pieces.inside.pieces_per_word)));
        self.row(1, "per word outside", pieces(|pieces| mean(pieces.outside.pieces_per_word)));
        self.row(1, "windows", aligned(|alignment| count(alignment.windows)));
        self.row(0, "mentions that tags preserve", aligned(|alignment| count(alignment.surviving)));
        self.row(1, "share of all", aligned(|alignment| percent(alignment.surviving_share)));
        for reason in misfit_reasons(self.splits) {
            self.row(1, format!("lost: {reason}"), |_, report| {
                let misfits = report.alignment.as_ref().and_then(|alignment| alignment.misfits.get(&reason));
                count(misfits.copied().unwrap_or(0))
            });
        }
    }
}

fn middle(distribution: &Distribution, split: Split) -> String {
    let quantiles = distribution.splits.get(split).quantiles;
    quantiles
        .map_or_else(|| UNDEFINED.to_owned(), |q| format!("{} ({} to {})", count(q.median), count(q.p5), count(q.p95)))
}

fn mean_and_most(distribution: &Distribution, split: Split) -> String {
    let spread = distribution.splits.get(split);
    let most = spread.quantiles.map_or_else(|| UNDEFINED.to_owned(), |quantiles| count(quantiles.max));
    format!("{} ({most})", mean(spread.mean))
}

fn shared_with_train(shared: &SharedTexts, split: Split) -> String {
    let pair = shared.pairs.iter().find(|pair| (pair.first, pair.second) == (Split::Train, split));
    pair.map_or_else(|| UNDEFINED.to_owned(), |pair| count(pair.in_second))
}

/// The types, most frequent first.
fn types(splits: &Splits<SplitReport>) -> Vec<&str> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (name, mentions) in splits.iter().flat_map(|(_, report)| &report.statistics.mentions_by_type) {
        *counts.entry(name).or_default() += mentions;
    }
    let mut types: Vec<(&str, usize)> = counts.into_iter().collect();
    types.sort_by_key(|&(_, mentions)| Reverse(mentions));
    types.into_iter().map(|(name, _)| name).collect()
}

fn fault_kinds(splits: &Splits<SplitReport>) -> BTreeSet<DiagnosticKind> {
    splits.iter().flat_map(|(_, report)| report.statistics.diagnostics.keys().copied()).collect()
}

fn misfit_reasons(splits: &Splits<SplitReport>) -> BTreeSet<MisfitReason> {
    let alignments = splits.iter().filter_map(|(_, report)| report.alignment.as_ref());
    alignments.flat_map(|alignment| alignment.misfits.keys().copied()).collect()
}

impl CorpusPage<'_> {
    /// The page as HTML.
    ///
    /// # Errors
    /// If a plot or the template fails, which is not known to happen.
    pub fn html(&self) -> Result<String, ReportError> {
        let description = if self.synthetic.is_some() { "In the style of" } else { "Annotated" };
        let mut provenance = vec![(description, Value::Text(self.description.to_owned()))];
        provenance.push(("Format", Value::Text(self.format.clone())));
        for file in &self.files {
            let published = match file.as_published {
                Some(true) => "the published file",
                Some(false) => "NOT the published file",
                None => "no published checksum",
            };
            provenance.push(("File", Value::Text(format!("{}, SHA-256 {}, {published}", file.name, file.sha256))));
        }
        let dropped: Vec<String> =
            self.dropped.iter().map(|(name, mentions)| format!("{name} {}", count(*mentions))).collect();
        provenance.push(("Dropped by the label map", Value::Text(dropped.join(", "))));
        provenance.push(("Encoder", Value::Text(self.encoder.unwrap_or("none available").to_owned())));
        if self.synthetic.is_none() {
            provenance.push(("Licence", Value::Text(self.licence.to_owned())));
            provenance.push(("Homepage", Value::address(self.homepage)));
        }
        // A user's own description may omit fields.
        provenance.retain(|(_, value)| !value.is_empty());
        let mut sections = vec![self.glance(), self.types()?, self.sizes()?, self.shared(), self.overlaps()];
        sections.extend([self.consistency(), self.unseen()?]);
        if let Some(encoder) = self.encoder {
            sections.push(self.pieces(encoder)?);
        }
        sections.push(self.faults());
        let page = Page {
            title: self.title.to_owned(),
            subtitle: "Corpus report".to_owned(),
            warning: self.synthetic.map(|note| format!("SYNTHETIC SAMPLE. {note}")),
            provenance,
            sections,
            version: self.version.to_owned(),
        };
        page.html()
    }

    fn splits(&self) -> &Splits<SplitReport> {
        &self.statistics.splits
    }

    fn glance(&self) -> Section {
        let row = |row: SummaryRow| Row {
            level: row.level,
            link: row.section,
            ..Row::new(row.name, row.cells.iter().map(|(_, cell)| cell.clone()).collect())
        };
        let rows = summary(self.statistics, self.encoder).into_iter().map(row).collect();
        let table = numbers("Contents of each split; names link to the sections with details", &SPLITS, rows);
        Section { id: "glance", title: "At a glance", blocks: vec![table] }
    }

    fn types(&self) -> Result<Section, ReportError> {
        let types: Vec<String> = types(self.splits()).into_iter().map(str::to_owned).collect();
        let of = |split: Split, name: &str| {
            self.splits().get(split).statistics.mentions_by_type.get(name).copied().unwrap_or(0)
        };
        let series = each_split(|split| types.iter().map(|name| Some(of(split, name) as f64)).collect());
        let plot = bars("Mentions by type", &types, &series, |number| count(number as usize))?;
        let row = |name: &String| {
            let TypeStatistics { mentions, documents, strings, mean_words, most_words } =
                self.splits().train.statistics.types.get(name).cloned().unwrap_or_default();
            let counts = [count(mentions), count(documents), count(strings)];
            Row::new(name, counts.into_iter().chain([mean(mean_words), count(most_words)]).collect())
        };
        let header = ["type", "mentions", "documents", "distinct strings", "words, mean", "words, maximum"];
        let table = numbers("Types in the training split", &header, types.iter().map(row).collect());
        let text = "Documents have at least one mention of the type. Strings are compared case-insensitively.";
        Ok(Section {
            id: TYPES,
            title: "Types",
            blocks: vec![Block::Plots(vec![plot]), table, Block::Text(text.to_owned())],
        })
    }

    fn sizes(&self) -> Result<Section, ReportError> {
        let all = &self.statistics.distributions;
        let mut quantities =
            vec![("Characters per document", &all.document_characters), ("Words per document", &all.document_words)];
        quantities.extend(all.document_tokens.iter().map(|tokens| ("Word pieces per document", tokens)));
        quantities.extend([
            ("Mentions per document", &all.document_mentions),
            ("Words per mention", &all.mention_words),
            ("Characters per mention", &all.mention_characters),
        ]);
        let mut rows = Vec::new();
        let mut plots = Vec::new();
        for (name, distribution) in quantities {
            plots.push(spread(name, distribution)?);
            rows.push(Row::new(name, vec![String::new(); 9]));
            for (split, spread) in distribution.splits.iter() {
                let quantiles =
                    spread.quantiles.map(|q| [q.min, q.p5, q.p25, q.median, q.p75, q.p95, q.max].map(count));
                let quantiles = quantiles.unwrap_or_else(|| std::array::from_fn(|_| UNDEFINED.to_owned()));
                let cells = [count(spread.count), mean(spread.mean)].into_iter().chain(quantiles).collect();
                rows.push(Row { level: 1, ..Row::new(split.name(), cells) });
            }
        }
        let header = ["", "number", "mean", "least", "5 %", "25 %", "median", "75 %", "95 %", "most"];
        let text = "Bars are shares of the split. A bar covers the values from its label up to the next one; if the \
                    last label has a plus, its bar extends to the largest value. Words are separated by whitespace. A \
                    discontinuous mention has the words and characters of all its fragments. The q-quantile is the \
                    smallest value that a share q of the values does not exceed.";
        let blocks =
            vec![Block::Plots(plots), Block::Text(text.to_owned()), numbers("Means and quantiles", &header, rows)];
        Ok(Section { id: SIZES, title: "Sizes", blocks })
    }

    fn shared(&self) -> Section {
        let shared = &self.statistics.shared;
        let mut rows = Vec::new();
        for (name, texts) in [("documents", &shared.documents), ("sentences", &shared.sentences)] {
            for pair in &texts.pairs {
                let counts = [pair.texts, pair.in_first, pair.in_second].map(count);
                let cells = counts.into_iter().chain([percent(pair.share_of_second)]).collect();
                rows.push(Row::new(format!("{name} of {} and {}", pair.first, pair.second), cells));
            }
        }
        let header = ["", "distinct texts", "in the first", "in the second", "share of the second"];
        let mut blocks = vec![numbers("The same text in two splits", &header, rows)];
        let row = |(name, texts): (&str, &SharedTexts)| {
            let cells = texts.compared.iter().zip(texts.repeated.iter());
            Row::new(
                name,
                cells.map(|((_, all), (_, again))| format!("{} of {}", count(*again), count(*all))).collect(),
            )
        };
        let repeated = [("documents", &shared.documents), ("sentences", &shared.sentences)].map(row).into();
        blocks.push(numbers("Texts repeated within a split", &SPLITS, repeated));
        let ids = shared.document_ids.iter().map(|pair| {
            let cells = [pair.ids, pair.same_text].map(count).into();
            Row::new(format!("{} and {}", pair.first, pair.second), cells)
        });
        let header = ["", "documents with the same id", "and the same text"];
        blocks.push(numbers("The same id in two splits", &header, ids.collect()));
        let text = "Scores on texts from the training data measure memory. Texts are compared without case and \
                    whitespace differences. Sentences are those marked in the corpus, or else those found by Unicode's \
                    rules in each line and passage; sentences with fewer than five words are ignored. Documents with \
                    the same id and different texts may just be numbered alike.";
        blocks.push(Block::Text(text.to_owned()));
        let all = |texts: &SharedTexts| texts.pairs.iter().map(|pair| pair.places.len()).sum();
        blocks.extend(pairs_table("Documents in two splits", &self.examples.shared_documents, all(&shared.documents)));
        blocks.extend(pairs_table("Sentences in two splits", &self.examples.shared_sentences, all(&shared.sentences)));
        Section { id: SHARED, title: "Documents and sentences in two splits", blocks }
    }

    fn overlaps(&self) -> Section {
        let row = |level, name: &str, part: fn(&SplitReport) -> String| Row {
            level,
            ..Row::new(name, self.splits().iter().map(|(_, report)| part(report)).collect())
        };
        let rows = vec![
            row(0, "mentions that overlap another", |report| count(report.overlaps.overlapping)),
            row(1, "share of all mentions", |report| percent(report.overlaps.share)),
            row(1, "with the same extent as another", |report| count(report.overlaps.same_extent)),
            row(1, "nested in a longer one", |report| count(report.overlaps.nested)),
            row(1, "containing a shorter one", |report| count(report.overlaps.containing)),
            row(1, "crossing another", |report| count(report.overlaps.crossing)),
            row(0, "maximum mentions over one character", |report| count(report.overlaps.deepest)),
            row(0, "discontinuous mentions", |report| count(report.overlaps.discontinuous)),
        ];
        let text = "Rows count mentions; a mention can be in several rows. A mention extends from its first to its \
                    last character, including gaps between fragments. Flat tags can express neither overlaps nor \
                    fragments: of overlapping mentions, the longest is tagged.";
        let mut blocks = vec![numbers("Overlapping mentions", &SPLITS, rows), Block::Text(text.to_owned())];
        let all = self.splits().iter().map(|(_, report)| report.overlaps.crossing_places.len()).sum();
        let row = |example: &Example| Row::new(example.split.name(), place_and_text(example));
        let rows: Vec<Row> = self.examples.crossing.iter().map(row).collect();
        let header = self.with_text(&["split", "document", "characters"], "text");
        blocks.extend(examples_table("Crossing mentions", header, rows, all));
        Section { id: OVERLAPS, title: "Overlapping mentions", blocks }
    }

    fn consistency(&self) -> Section {
        let row = |level, name: &str, part: fn(&SplitReport) -> String| Row {
            level,
            ..Row::new(name, self.splits().iter().map(|(_, report)| part(report)).collect())
        };
        let rows = vec![
            row(0, "mention strings, counted once per document", |r| count(r.consistency.strings)),
            row(1, "with different types at different positions", |r| count(r.consistency.differently_typed)),
            row(1, "with an unlabelled occurrence", |r| count(r.consistency.partly_unlabelled)),
            row(0, "labelled occurrences", |r| count(r.consistency.places.labelled)),
            row(0, "unlabelled occurrences", |r| count(r.consistency.places.unlabelled)),
            row(1, "share of both", |r| percent(r.consistency.places.unlabelled_share)),
            row(0, "occurrences inside another mention", |r| count(r.consistency.places.inside_another)),
        ];
        let text = "Strings of mentions without gaps are searched in their own document as whole words, ignoring case. \
                    These are places to check, not necessarily faults: some guidelines exclude passing mentions, and a \
                    short abbreviation may also be a word.";
        let mut blocks = vec![numbers("Mention strings", &SPLITS, rows), Block::Text(text.to_owned())];
        let by_type = types(self.splits()).into_iter().map(|name| {
            let cell = |report: &SplitReport| {
                let share = report.consistency.by_type.get(name).map(|counts| counts.unlabelled_share);
                percent(share.flatten())
            };
            Row::new(name, self.splits().iter().map(|(_, report)| cell(report)).collect())
        });
        let caption = "Share of unlabelled occurrences, by type of the string";
        blocks.push(numbers(caption, &SPLITS, by_type.collect()));
        let mut pairs: BTreeMap<&[String; 2], Splits<usize>> = BTreeMap::new();
        for (split, report) in self.splits().iter() {
            for pair in &report.consistency.type_pairs {
                let counts = pairs.entry(&pair.types).or_default();
                match split {
                    Split::Train => counts.train = pair.strings,
                    Split::Dev => counts.dev = pair.strings,
                    Split::Test => counts.test = pair.strings,
                }
            }
        }
        if !pairs.is_empty() {
            let mut pairs: Vec<_> = pairs.into_iter().collect();
            pairs.sort_by_key(|(_, strings)| Reverse(strings.iter().map(|(_, strings)| strings).sum::<usize>()));
            let row = |(types, strings): (&[String; 2], Splits<usize>)| {
                Row::new(types.join(" and "), strings.iter().map(|(_, strings)| count(*strings)).collect())
            };
            let rows = pairs.into_iter().map(row).collect();
            blocks.push(numbers("Strings with several types in one document, by pair of types", &SPLITS, rows));
        }
        let header = || self.with_text(&["split", "document", "labelled at", "unlabelled at"], "string");
        let rows = |examples: &[InconsistencyExample]| examples.iter().map(inconsistency_row).collect();
        let total = |part: fn(&SplitReport) -> usize| self.splits().iter().map(|(_, report)| part(report)).sum();
        let (typed, unlabelled) = (&self.examples.differently_typed, &self.examples.partly_unlabelled);
        let all = total(|report| report.consistency.differently_typed);
        blocks.extend(examples_table("Strings with several types in one document", header(), rows(typed), all));
        let all = total(|report| report.consistency.partly_unlabelled);
        blocks.extend(examples_table("Strings with unlabelled occurrences", header(), rows(unlabelled), all));
        Section { id: CONSISTENCY, title: "Inconsistently labelled strings", blocks }
    }

    fn unseen(&self) -> Result<Section, ReportError> {
        let unseen = &self.statistics.unseen;
        let both = [(Split::Dev, &unseen.dev), (Split::Test, &unseen.test)];
        let types = types(self.splits());
        let categories: Vec<String> = types.iter().copied().chain(["all"]).map(str::to_owned).collect();
        let of = |unseen: &Unseen, name: &str| unseen.by_type.get(name).cloned().unwrap_or_default();
        let series = both.map(|(split, unseen)| Series {
            name: split.name().to_owned(),
            colour: split as usize,
            values: types.iter().map(|name| of(unseen, name).share).chain([unseen.overall.share]).collect(),
        });
        let caption = "Mentions never seen in training, as a share of each type";
        let plot = bars(caption, &categories, &series, plot::percent)?;
        let mut rows = Vec::new();
        for (split, unseen) in both {
            let counts = types.iter().map(|name| (*name, of(unseen, name)));
            rows.push(Row::new(split.name(), vec![String::new(); 4]));
            for (name, counts) in counts.chain([("all", unseen.overall.clone())]) {
                let UnseenCounts { mentions, unseen, share, seen_as_another_type } = counts;
                let cells = vec![count(mentions), count(unseen), percent(share), count(seen_as_another_type)];
                rows.push(Row { level: 1, ..Row::new(name, cells) });
            }
        }
        let header = ["", "mentions", "unseen", "share", "seen as another type"];
        let text = "A mention is seen if the training split has a mention with the same string (ignoring case and \
                    whitespace) and type. Models must recognise unseen mentions by form and context instead of memory.";
        let blocks = vec![
            Block::Plots(vec![plot]),
            numbers("Mentions never seen in training", &header, rows),
            Block::Text(text.to_owned()),
        ];
        Ok(Section { id: UNSEEN, title: "Mentions never seen in training", blocks })
    }

    fn pieces(&self, encoder: &str) -> Result<Section, ReportError> {
        let names = types(self.splits());
        let groups: Vec<String> = names
            .iter()
            .map(|name| format!("in {name}"))
            .chain(["in any mention", "outside mentions", "all words"].map(str::to_owned))
            .collect();
        let of = |report: &SplitReport| -> Vec<PieceCounts> {
            let Some(pieces) = &report.pieces else { return vec![PieceCounts::default(); groups.len()] };
            let by_type = names.iter().map(|name| pieces.by_type.get(*name).cloned().unwrap_or_default());
            by_type.chain([pieces.inside.clone(), pieces.outside.clone(), pieces.all.clone()]).collect()
        };
        let series = each_split(|split| of(self.splits().get(split)).iter().map(|p| p.pieces_per_word).collect());
        let means = bars("Word pieces per word (mean)", &groups, &series, |mean| format!("{mean:.2}"))?;
        let total = |part: fn(&PieceStatistics) -> &PieceCounts| -> Vec<Option<f64>> {
            let all: Vec<&PieceCounts> =
                self.splits().iter().filter_map(|(_, report)| report.pieces.as_ref()).map(part).collect();
            let words: usize = all.iter().map(|counts| counts.words).sum();
            let bins = PieceCounts::default().histogram.len();
            let in_bin = |bin: usize| all.iter().map(|counts| counts.histogram[bin]).sum::<usize>();
            (0..bins).map(|bin| (words > 0).then(|| in_bin(bin) as f64 / words as f64)).collect()
        };
        let series = [
            Series { name: "inside mentions".to_owned(), colour: 3, values: total(|pieces| &pieces.inside) },
            Series { name: "outside".to_owned(), colour: 4, values: total(|pieces| &pieces.outside) },
        ];
        // The last bin is open-ended; it is drawn one wide.
        let edges: Vec<usize> = (1..=series[0].values.len()).chain([series[0].values.len() + 2]).collect();
        let spread = plot::histogram("Word pieces per word, all splits together", &edges, &series)?;
        let mut rows = Vec::new();
        for (at, group) in groups.iter().enumerate() {
            rows.push(Row::new(group, vec![String::new(); 5]));
            for (split, report) in self.splits().iter() {
                let counts = &of(report)[at];
                let cells = vec![
                    count(counts.words),
                    count(counts.pieces),
                    mean(counts.pieces_per_word),
                    percent(counts.one_piece_share),
                    count(counts.unknown),
                ];
                rows.push(Row { level: 1, ..Row::new(split.name(), cells) });
            }
        }
        let header = ["", "words", "pieces", "pieces per word", "single-piece words", "unknown pieces"];
        let text = "Words are the tokenizer's, which are the units of tagging. A word is in a mention if they share a \
                    character; in mentions of two types it counts for both. A vocabulary built from similar texts \
                    keeps their words whole: many pieces per word inside mentions but few outside suggest that the \
                    encoder has read little text of this kind. Unknown pieces replace characters outside the \
                    vocabulary.";
        let tables =
            vec![numbers(&format!("Words and pieces of {encoder}"), &header, rows), Block::Text(text.to_owned())];
        let mut blocks = vec![Block::Plots(vec![means, spread])];
        blocks.extend(tables);
        Ok(Section { id: PIECES, title: "Word pieces", blocks })
    }

    fn faults(&self) -> Section {
        let kinds = fault_kinds(self.splits());
        if kinds.is_empty() {
            let text = "The readers found no faults in the files.".to_owned();
            return Section { id: FAULTS, title: "Faults in the files", blocks: vec![Block::Text(text)] };
        }
        let counts = |kind: &DiagnosticKind| {
            let of = |report: &SplitReport| report.statistics.diagnostics.get(kind).copied().unwrap_or(0);
            Row::new(kind.to_string(), self.splits().iter().map(|(_, report)| count(of(report))).collect())
        };
        let mut blocks = vec![numbers("Faults by kind", &SPLITS, kinds.iter().map(counts).collect())];
        let row = |fault: &&Diagnostic| {
            let file = fault.file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let document = fault.document.clone().unwrap_or_default();
            let cells = vec![fault.line.to_string(), document, fault.kind.to_string(), fault.message.clone()];
            Row::new(file, cells)
        };
        let all = self.splits().iter().flat_map(|(_, report)| report.statistics.diagnostics.values()).sum();
        let header = ["file", "line", "document", "kind", "message"].map(str::to_owned).into();
        blocks.extend(examples_table("Faults", header, self.faults.iter().map(row).collect(), all));
        Section { id: FAULTS, title: "Faults in the files", blocks }
    }

    fn with_text(&self, header: &[&str], text: &str) -> Vec<String> {
        let examples = self.examples;
        let first = examples.differently_typed.iter().chain(&examples.partly_unlabelled).map(|example| example.text);
        let shown = first.chain(examples.crossing.iter().map(|example| example.text)).any(|text| text.is_some());
        header.iter().copied().chain(shown.then_some(text)).map(str::to_owned).collect()
    }
}

const SPLITS: [&str; 4] = ["", "train", "dev", "test"];

fn numbers(caption: &str, header: &[&str], rows: Vec<Row>) -> Block {
    let header = header.iter().map(|&name| name.to_owned()).collect();
    Block::Table(Table { caption: caption.to_owned(), header, rows, numeric: true })
}

/// A table of examples, or `None` without examples. `all` is their total number.
fn examples_table(what: &str, header: Vec<String>, rows: Vec<Row>, all: usize) -> Option<Block> {
    let caption = if rows.len() < all {
        format!("{what}: {} of {}; `--diagnostics N` lists more", count(rows.len()), count(all))
    } else {
        what.to_owned()
    };
    (!rows.is_empty()).then_some(Block::Table(Table { caption, header, rows, numeric: false }))
}

fn pairs_table(what: &str, pairs: &[[Example; 2]], all: usize) -> Option<Block> {
    let shown = pairs.iter().flatten().any(|example| example.text.is_some());
    let header = ["splits", "document", "characters", "document", "characters"].into_iter();
    let header = header.chain(shown.then_some("text")).map(str::to_owned).collect();
    let row = |[first, second]: &[Example; 2]| {
        let place = |example: &Example| [example.document.to_owned(), example.span.to_string()];
        let text = second.text.map(str::to_owned);
        let cells = place(first).into_iter().chain(place(second)).chain(text).collect();
        Row::new(format!("{} and {}", first.split, second.split), cells)
    };
    examples_table(what, header, pairs.iter().map(row).collect(), all)
}

fn place_and_text(example: &Example) -> Vec<String> {
    let place = [example.document.to_owned(), example.span.to_string()];
    place.into_iter().chain(example.text.map(str::to_owned)).collect()
}

fn inconsistency_row(example: &InconsistencyExample) -> Row {
    let spans = |spans: &[Span]| spans.iter().map(Span::to_string).collect::<Vec<_>>().join(", ");
    let labelled: Vec<String> =
        example.labelled.iter().map(|(name, places)| format!("{name} {}", spans(places))).collect();
    let cells = [example.document.to_owned(), labelled.join("; "), spans(&example.unlabelled)];
    Row::new(example.split.name(), cells.into_iter().chain(example.text.map(str::to_owned)).collect())
}

/// One series per split.
fn each_split(values: impl Fn(Split) -> Vec<Option<f64>>) -> [Series; 3] {
    Split::ALL.map(|split| Series { name: split.name().to_owned(), colour: split as usize, values: values(split) })
}

/// Histogram of the splits' values, as shares.
fn spread(caption: &str, distribution: &Distribution) -> Result<Plot, ReportError> {
    let series = each_split(|split| {
        let spread = distribution.splits.get(split);
        let share = |&in_bin: &usize| (spread.count > 0).then(|| in_bin as f64 / spread.count as f64);
        spread.histogram.iter().map(share).collect()
    });
    plot::histogram(caption, &distribution.edges, &series)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ner_data::dataset::LoadedSplit;
    use ner_data::{Diagnostics, Document, LabelSet, Mention, TagScheme};

    /// The page about a corpus of one document, which is in the training and the test split.
    fn page(entity_type: &str, synthetic: Option<&str>, with_text: bool) -> String {
        let mentions = vec![Mention::new(Span::new(0, 5), entity_type)];
        let document = Document { mentions, ..Document::new("<7>", "fever <or> fever") };
        let fault = Diagnostic {
            kind: DiagnosticKind::MalformedLine,
            file: "/home/someone/file.txt".into(),
            line: 3,
            document: None,
            message: "one column".to_owned(),
        };
        let loaded = LoadedSplit { documents: vec![document], diagnostics: Diagnostics(vec![fault.clone()]) };
        let splits = Splits { train: loaded.clone(), dev: LoadedSplit::default(), test: loaded };
        let labels = LabelSet::new(TagScheme::Bio, [entity_type]);
        let statistics = CorpusStatistics::of(&splits, None, &labels).expect("no encoder");
        let file = CorpusFile { name: "file.txt".to_owned(), sha256: "0a".to_owned(), as_published: Some(false) };
        let page = CorpusPage {
            title: "A & B",
            synthetic,
            description: "",
            format: "pubtator".to_owned(),
            files: vec![file],
            dropped: &BTreeMap::from([("Minor".to_owned(), 7)]),
            homepage: "https://example.org/?a&b",
            licence: "",
            version: "1.2.3",
            encoder: None,
            statistics: &statistics,
            examples: &Examples::of(&statistics, &splits, 9, with_text),
            faults: &[&fault],
        };
        page.html().expect("a page")
    }

    fn check(page: &str, holds: &[&str], holds_not: &[&str]) {
        for text in holds {
            assert!(page.contains(text), "{text} is not in {page}");
        }
        for text in holds_not {
            assert!(!page.contains(text), "{text} is in {page}");
        }
    }

    #[test]
    fn what_the_corpus_says_is_no_html() {
        let page = page("<b>&", None, true);
        check(
            &page,
            &["A &#38; B", "&#60;b&#62;&#38;", "&#60;7&#62;", "fever &#60;or&#62; fever"],
            &["<b>", "<7>", "<or>"],
        );
    }

    #[test]
    fn a_page_says_where_its_figures_come_from() {
        let real = page("X", None, false);
        let shown = [
            "NOT the published file",
            "medner 1.2.3",
            "none available",
            "<td>malformed line</td>",
            "file.txt",
            "Minor 7",
        ];
        check(&real, &shown, &["SYNTHETIC", "/home", "fever", "id=\"pieces\"", "Licence"]);
        check(&page("X", Some("Invented."), false), &["SYNTHETIC SAMPLE. Invented."], &["Homepage"]);
    }

    #[test]
    fn every_link_inside_the_page_has_its_target() {
        let page = page("X", None, false);
        let targets: Vec<&str> = page.split("href=\"#").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert!(targets.len() > 8);
        for target in targets {
            assert_eq!(page.matches(&format!("id=\"{target}\"")).count(), 1, "{target}");
        }
    }
}
