//! The page about one run, or about several side by side: learning curves, scores, errors.

use crate::ReportError;
use crate::marked::{Highlight, Marked, marked};
use crate::number::{UNDEFINED, count, percent};
use crate::page::{Article, Block, Page, Row, Section, Table, Value};
use crate::plot::{self, Curve, MOST_COLOURS, ScoreSeries, Series};
use ner_data::{Document, Mention};
use ner_eval::{
    Agreement, Calibration, ErrorCounts, Errors, FrequentString, Pairing, ScoreError, calibration, count_errors,
    frequent_errors, pair_mentions,
};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// Contents of the page.
pub struct RunsPage<'r> {
    /// Title of the corpus.
    pub title: &'r str,
    /// Note of a synthetic sample; `None` for a real corpus.
    pub synthetic: Option<&'r str>,
    /// Notes on what is missing on the page, and why.
    pub notes: Vec<String>,
    /// The split of all mentions, scores by type and errors.
    pub split: &'r str,
    /// The runs; the others are compared with the first.
    pub runs: Vec<ReportedRun>,
    /// Configuration keys whose values differ between runs, with the values.
    pub differences: Vec<(String, Vec<Option<String>>)>,
    /// Results of the paired tests, as text.
    pub tests: Vec<String>,
    /// The split's documents with gold mentions; `None` if the page shows no text.
    pub texts: Option<&'r [Document]>,
    /// Version of medner.
    pub version: &'r str,
}

/// A run on the page.
#[derive(Default)]
pub struct ReportedRun {
    /// Its id.
    pub name: String,
    /// Its record: dotted keys and values.
    pub record: Vec<(String, String)>,
    /// The epochs of its training.
    pub epochs: Vec<Epoch>,
    /// Its scores on the split; empty if not measured.
    pub scores: Vec<ScoreRow>,
    /// Micro F1 on dev.
    pub dev_f1: Option<f64>,
    /// Gold and predicted mentions of the split; `None` if not kept.
    pub documents: Option<Vec<PredictedMentions>>,
}

/// An epoch of a training.
#[derive(Clone, Debug)]
pub struct Epoch {
    /// Number, from 1.
    pub number: usize,
    /// Mean loss of its steps; `None` if it is not a number.
    pub loss: Option<f64>,
    /// Scores on dev.
    pub dev: Vec<ScoreRow>,
    /// Whether its model was the best so far.
    pub is_best: bool,
}

/// A score from 0 to 1 with its parts; `None` is undefined.
#[derive(Clone, Debug, Default)]
pub struct ScoreRow {
    /// Name of the type or average.
    pub name: String,
    /// Whether it is an average over types.
    pub is_average: bool,
    /// Precision.
    pub precision: Option<f64>,
    /// Recall.
    pub recall: Option<f64>,
    /// F1.
    pub f1: Option<f64>,
    /// Bootstrap interval of F1.
    pub interval: Option<(f64, f64)>,
    /// Number of gold mentions.
    pub support: u64,
}

/// A document without its text.
pub struct PredictedMentions {
    /// Its id.
    pub id: String,
    /// Gold mentions.
    pub gold: Vec<Mention>,
    /// Predicted mentions.
    pub predicted: Vec<Mention>,
}

/// Number of documents in the gallery: for one run, and for several, where each text appears once per run.
const GALLERY: [usize; 2] = [30, 12];
/// Number of missed or invented strings.
const STRINGS: usize = 20;
/// Bins of the reliability curve, as in Guo et al.
const BINS: usize = 15;
/// Name and count of an error class.
type Class = (&'static str, fn(&ErrorCounts) -> u64);

/// All six classes.
const CLASSES: [Class; 6] = [
    ("right", |counts| counts.right),
    ("boundary", |counts| counts.boundary),
    ("type", |counts| counts.type_),
    ("both", |counts| counts.boundary_and_type),
    ("missed", |counts| counts.missed),
    ("invented", |counts| counts.invented),
];

impl RunsPage<'_> {
    /// The page as HTML.
    ///
    /// # Errors
    /// If a confidence is not in 0..=1; a failing plot or template is not known to happen.
    pub fn html(&self) -> Result<String, ReportError> {
        let errors: Vec<Option<Errors>> = self.runs.iter().map(|run| Some(count_errors(run.mentions()?))).collect();
        let mut sections = Vec::new();
        if self.is_comparison() {
            sections.push(self.glance(&errors));
            sections.push(self.differences());
        }
        sections.push(self.scores()?);
        sections.extend(self.curves()?);
        if errors.iter().any(Option::is_some) {
            sections.push(self.errors(&errors)?);
            sections.push(self.confusion(&errors));
            sections.push(self.calibration()?);
            sections.extend(self.strings());
            sections.push(self.gallery());
        }
        let configuration = ("Configuration", "The resolved settings");
        sections.push(self.record("configuration", configuration, |key| key.strip_prefix("plan.")));
        let provenance =
            ("Provenance", "Data, weights, code, machine and times; paths are shortened to their last part");
        sections.push(self.record("provenance", provenance, |key| (!key.starts_with("plan.")).then_some(key)));
        let names = self.runs.iter().map(|run| run.name.as_str()).collect::<Vec<_>>().join(", ");
        let mut provenance = vec![(if self.is_comparison() { "Runs" } else { "Run" }, Value::Text(names))];
        provenance.push(("Split", Value::Text(self.split.to_owned())));
        provenance.extend(self.notes.iter().map(|note| ("Note", Value::Text(note.clone()))));
        let page = Page {
            title: self.title.to_owned(),
            subtitle: if self.is_comparison() { "Comparison of runs" } else { "Run report" }.to_owned(),
            warning: self.synthetic.map(|note| format!("SYNTHETIC SAMPLE. {note}")),
            provenance,
            sections,
            version: self.version.to_owned(),
        };
        page.html()
    }

    fn is_comparison(&self) -> bool {
        self.runs.len() > 1
    }

    /// Column headings, one per run.
    fn header(&self, first: &str) -> Vec<String> {
        [first].into_iter().chain(self.runs.iter().map(|run| run.name.as_str())).map(str::to_owned).collect()
    }

    /// The runs with colours in plots.
    fn drawn(&self) -> impl Iterator<Item = (usize, &ReportedRun)> {
        self.runs.iter().take(MOST_COLOURS).enumerate()
    }

    /// A note, if plots do not show all runs.
    fn left_out(&self) -> Option<Block> {
        (self.runs.len() > MOST_COLOURS)
            .then(|| Block::Text(format!("Plots show the first {MOST_COLOURS} runs, tables all.")))
    }

    fn glance(&self, errors: &[Option<Errors>]) -> Section {
        let mut blocks: Vec<Block> = self.tests.iter().cloned().map(Block::Text).collect();
        let row = |name: &str, cell: &dyn Fn(usize, &ReportedRun) -> String| {
            Row::new(name, self.runs.iter().enumerate().map(|(at, run)| cell(at, run)).collect())
        };
        let overall = |part: fn(&ScoreRow) -> String| {
            move |_: usize, run: &ReportedRun| run.overall().map_or_else(|| UNDEFINED.to_owned(), part)
        };
        let class = |part: fn(&ErrorCounts) -> u64| {
            move |at: usize, _: &ReportedRun| {
                errors[at].as_ref().map_or_else(|| UNDEFINED.to_owned(), |errors| number(part(&errors.overall)))
            }
        };
        let mut rows = vec![row("interval", &overall(|score| interval(score.interval)))];
        rows.push(row("precision", &overall(|score| percent(score.precision))));
        rows.push(row("recall", &overall(|score| percent(score.recall))));
        rows.extend(CLASSES.map(|(name, part)| row(name, &class(part))));
        rows.iter_mut().for_each(|row| row.level = 1);
        rows.insert(0, row(&format!("micro F1 on {}", self.split), &overall(|score| percent(score.f1))));
        if self.split != "dev" && self.runs.iter().any(|run| run.dev_f1.is_some()) {
            rows.insert(0, row("micro F1 on dev", &|_, run| percent(run.dev_f1)));
        }
        let header = self.header("");
        let caption = "Runs side by side".to_owned();
        blocks.push(Block::Table(Table { caption, header, rows, numeric: true }));
        Section { id: "glance", title: "At a glance", blocks }
    }

    fn differences(&self) -> Section {
        let mut blocks = Vec::new();
        if self.differences.is_empty() {
            blocks.push(Block::Text("The configurations are equal.".to_owned()));
        } else {
            let row = |(key, values): &(String, Vec<Option<String>>)| {
                let cells = values.iter().map(|value| value.clone().unwrap_or_else(|| UNDEFINED.to_owned()));
                Row::new(key.clone(), cells.collect())
            };
            let rows = self.differences.iter().map(row).collect();
            let caption = "Settings that differ between runs".to_owned();
            blocks.push(Block::Table(Table { caption, header: self.header("key"), rows, numeric: false }));
        }
        Section { id: "differences", title: "Configuration differences", blocks }
    }

    fn scores(&self) -> Result<Section, ReportError> {
        let names = self.score_names();
        if names.is_empty() {
            let text = format!("There are no scores on {}: the run is unfinished.", self.split);
            return Ok(Section { id: "scores", title: "Scores", blocks: vec![Block::Text(text)] });
        }
        let of = |run: &ReportedRun, name: &str| run.scores.iter().find(|row| row.name == name).cloned();
        let series: Vec<ScoreSeries> = self
            .drawn()
            .map(|(colour, run)| ScoreSeries {
                name: run.name.clone(),
                colour,
                values: names.iter().map(|name| of(run, name).and_then(|row| Some((row.f1?, row.interval)))).collect(),
            })
            .collect();
        let caption = format!("Strict F1 on {}, with 95 % intervals", self.split);
        let plot = plot::scores(&caption, &names, &series)?;
        let cells = |run: &ReportedRun, name: &str| -> Vec<String> {
            let Some(row) = of(run, name) else { return vec![UNDEFINED.to_owned(); 5] };
            let shares = [row.precision, row.recall, row.f1].map(percent);
            shares.into_iter().chain([interval(row.interval), number(row.support)]).collect()
        };
        let rows = self.rows(&names, 5, cells);
        let header = ["", "precision", "recall", "F1", "F1 interval", "gold mentions"];
        let text = "A mention is correct if its characters and its type equal a gold mention's. Intervals are \
                    percentile bootstrap over documents (Efron and Tibshirani 1993; Berg-Kirkpatrick et al. 2012): the \
                    likely range of the score on other documents of this kind. Micro averages over mentions, macro \
                    over types; – is undefined, which is not 0.";
        let mut blocks = vec![Block::Plots(vec![plot])];
        blocks.extend(self.left_out());
        blocks.push(numbers(&format!("Strict scores on {}", self.split), &header, rows));
        blocks.push(Block::Text(text.to_owned()));
        Ok(Section { id: "scores", title: "Scores", blocks })
    }

    /// Types and averages in any run, types first.
    fn score_names(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for averages in [false, true] {
            let rows = self.runs.iter().flat_map(|run| &run.scores).filter(|row| row.is_average == averages);
            for row in rows {
                if !names.contains(&row.name) {
                    names.push(row.name.clone());
                }
            }
        }
        names
    }

    /// A row per name; with several runs, a row per run below it.
    fn rows(&self, names: &[String], width: usize, cells: impl Fn(&ReportedRun, &str) -> Vec<String>) -> Vec<Row> {
        let mut rows = Vec::new();
        for name in names {
            if let [run] = self.runs.as_slice() {
                rows.push(Row::new(name, cells(run, name)));
                continue;
            }
            rows.push(Row::new(name, vec![String::new(); width]));
            rows.extend(self.runs.iter().map(|run| Row { level: 1, ..Row::new(&run.name, cells(run, name)) }));
        }
        rows
    }

    fn curves(&self) -> Result<Option<Section>, ReportError> {
        if self.runs.iter().all(|run| run.epochs.is_empty()) {
            return Ok(None);
        }
        let curve = |name: &str, colour: usize, run: &ReportedRun, value: &dyn Fn(&Epoch) -> Option<f64>| Curve {
            name: name.to_owned(),
            colour,
            points: run.epochs.iter().filter_map(|epoch| Some((epoch.number as f64, value(epoch)?))).collect(),
        };
        let f1 = |name: &'_ str| {
            let name = name.to_owned();
            move |epoch: &Epoch| epoch.dev.iter().find(|row| row.name == name)?.f1
        };
        let losses: Vec<Curve> = self.drawn().map(|(at, run)| curve(&run.name, at, run, &|epoch| epoch.loss)).collect();
        let mut blocks = Vec::new();
        let mut plots =
            vec![plot::curves("Training loss by epoch (mean)", &losses, true, |loss| format!("{loss:.2}"))?];
        if let [run] = self.runs.as_slice() {
            let last = run.epochs.last().map_or(&[][..], |epoch| &epoch.dev);
            let types = last.iter().filter(|row| !row.is_average).map(|row| row.name.as_str());
            let mut names: Vec<&str> = [OVERALL].into_iter().chain(types).collect();
            // With more types than colours, only the averages.
            if names.len() > MOST_COLOURS {
                names = vec![OVERALL, MACRO];
            }
            let series: Vec<Curve> =
                names.iter().enumerate().map(|(at, name)| curve(name, at, run, &f1(name))).collect();
            plots.push(plot::curves("F1 on dev by epoch", &series, false, plot::tick)?);
            blocks.push(Block::Plots(plots));
            blocks.push(epochs_table(run));
        } else {
            let series: Vec<Curve> = self.drawn().map(|(at, run)| curve(&run.name, at, run, &f1(OVERALL))).collect();
            plots.push(plot::curves("Micro F1 on dev by epoch", &series, false, plot::tick)?);
            blocks.push(Block::Plots(plots));
            blocks.extend(self.left_out());
        }
        Ok(Some(Section { id: "curves", title: "Learning curves", blocks }))
    }

    fn errors(&self, errors: &[Option<Errors>]) -> Result<Section, ReportError> {
        let all = || errors.iter().flatten();
        let types: BTreeSet<&String> = all().flat_map(|errors| errors.per_type.keys()).collect();
        let names: Vec<String> = types.iter().map(|&name| name.clone()).chain([ALL.to_owned()]).collect();
        let of = |errors: &Errors, name: &str| match name {
            ALL => errors.overall,
            name => errors.per_type.get(name).copied().unwrap_or_default(),
        };
        let classes: Vec<String> = CLASSES.iter().skip(1).map(|(name, _)| (*name).to_owned()).collect();
        let series = |name: &str, colour: usize, counts: ErrorCounts| Series {
            name: name.to_owned(),
            colour,
            values: CLASSES.iter().skip(1).map(|(_, part)| Some(part(&counts) as f64)).collect(),
        };
        let series: Vec<Series> = match errors {
            [Some(errors)] if types.len() <= MOST_COLOURS => {
                types.iter().enumerate().map(|(at, name)| series(name, at, of(errors, name))).collect()
            }
            errors => {
                self.drawn().filter_map(|(at, run)| Some(series(&run.name, at, errors[at].as_ref()?.overall))).collect()
            }
        };
        let plot = plot::bars("Errors by class, in mentions", &classes, &series, |count_of| count(count_of as usize))?;
        let cells = |run: &ReportedRun, name: &str| -> Vec<String> {
            let at = self.runs.iter().position(|other| other.name == run.name).unwrap_or_default();
            let Some(errors) = &errors[at] else { return vec![UNDEFINED.to_owned(); 8] };
            let counts = of(errors, name);
            let classes = CLASSES.map(|(_, part)| number(part(&counts)));
            classes.into_iter().chain([number(counts.gold()), number(counts.predicted())]).collect()
        };
        let rows = self.rows(&names, 8, cells);
        let header = [""].into_iter().chain(CLASSES.map(|(name, _)| name)).chain(["gold", "predicted"]);
        let header: Vec<&str> = header.collect();
        let text = "Each gold and each predicted mention is in one class: right; wrong boundary, wrong type, or both; \
                    missed; or invented. All but invented add up to gold, all but missed to predicted. A prediction \
                    that shares a character with a gold mention is paired with it. Pairs and misses count for the gold \
                    type, inventions for their own.";
        let mut blocks = vec![Block::Plots(vec![plot])];
        blocks.extend(self.left_out());
        blocks.push(numbers("Mentions by class", &header, rows));
        blocks.push(Block::Text(text.to_owned()));
        Ok(Section { id: "errors", title: "Errors", blocks })
    }

    fn confusion(&self, errors: &[Option<Errors>]) -> Section {
        let cells = || errors.iter().flatten().flat_map(|errors| &errors.confusion);
        let types: BTreeSet<&str> =
            cells().flat_map(|cell| [&cell.gold, &cell.predicted]).flatten().map(String::as_str).collect();
        let sides = |none: &'static str| types.iter().map(|&name| (Some(name), name)).chain([(None, none)]);
        let mut blocks = Vec::new();
        for (run, errors) in self.runs.iter().zip(errors) {
            let Some(errors) = errors else { continue };
            let cell = |gold: Option<&str>, predicted: Option<&str>| {
                let is_it = |cell: &&ner_eval::ConfusionCell| {
                    cell.gold.as_deref() == gold && cell.predicted.as_deref() == predicted
                };
                let found = errors.confusion.iter().find(is_it).map_or(0, |cell| cell.count);
                if gold.or(predicted).is_none() { String::new() } else { number(found) }
            };
            let row = |(gold, name): (Option<&str>, &str)| {
                Row::new(name, sides("").map(|(predicted, _)| cell(gold, predicted)).collect())
            };
            let rows = sides("not in gold").map(row).collect();
            let header: Vec<&str> =
                ["gold ↓ predicted →"].into_iter().chain(sides("missed").map(|(_, name)| name)).collect();
            let caption = match self.is_comparison() {
                true => format!("Predicted types of gold mentions, {}", run.name),
                false => "Predicted types of gold mentions".to_owned(),
            };
            blocks.push(numbers(&caption, &header, rows));
        }
        Section { id: "confusion", title: "Confusion of types", blocks }
    }

    fn calibration(&self) -> Result<Section, ReportError> {
        let mut curves = Vec::new();
        let mut found = Vec::new();
        for (at, run) in self.runs.iter().enumerate() {
            let calibration = run.calibration().map_err(ReportError::Score)?;
            if let Some(calibration) = calibration.as_ref().filter(|_| at < MOST_COLOURS) {
                let bins = || calibration.bins.iter().filter(|bin| bin.predictions > 0);
                let points = bins().filter_map(|bin| bin.mean_confidence.zip(bin.accuracy)).collect();
                let weight = |predictions: usize| predictions as f64 / calibration.predictions as f64;
                let weights = bins().map(|bin| weight(bin.predictions)).collect();
                curves.push((Curve { name: run.name.clone(), colour: at, points }, weights));
            }
            found.push(calibration);
        }
        if found.iter().all(Option::is_none) {
            let text = "The saved predictions have no confidences.".to_owned();
            return Ok(Section { id: "calibration", title: "Confidence", blocks: vec![Block::Text(text)] });
        }
        let caption = "Share of correct mentions by confidence; point areas show the number of mentions";
        let mut blocks = vec![Block::Plots(vec![plot::diagonal(caption, &curves)?])];
        blocks.extend(self.left_out());
        let of = |part: &dyn Fn(&Calibration) -> String| -> Vec<String> {
            found.iter().map(|found| found.as_ref().map_or_else(|| UNDEFINED.to_owned(), part)).collect()
        };
        let rows = vec![
            Row::new("expected calibration error", of(&|found| percent(Some(found.expected_calibration_error)))),
            Row::new("mean confidence", of(&|found| percent(Some(found.mean_confidence)))),
            Row::new("share correct", of(&|found| percent(Some(found.accuracy)))),
            Row::new("predicted mentions", of(&|found| count(found.predictions))),
        ];
        let caption = "Calibration".to_owned();
        let header = match self.is_comparison() {
            true => self.header(""),
            false => vec![String::new(), "value".to_owned()],
        };
        blocks.push(Block::Table(Table { caption, header, rows, numeric: true }));
        if let [Some(found)] = found.as_slice() {
            let bins = found.bins.iter().filter(|bin| bin.predictions > 0);
            let row = |bin: &ner_eval::CalibrationBin| {
                let name = format!("{:.2} to {:.2}", bin.low, bin.high);
                Row::new(name, vec![count(bin.predictions), percent(bin.mean_confidence), percent(bin.accuracy)])
            };
            let header = ["confidence", "mentions", "mean confidence", "correct"];
            blocks.push(numbers("Reliability curve", &header, bins.map(row).collect()));
        }
        let text = format!(
            "Confidence is calibrated where points lie on the diagonal; below it, the model is overconfident. The \
             expected calibration error is the mean distance from the diagonal over {BINS} bins of equal width, \
             weighted by their mentions (Naeini et al. 2015; Guo et al. 2017). Only predictions have a confidence, so \
             mentions below the model's thresholds are not included."
        );
        blocks.push(Block::Text(text));
        Ok(Section { id: "calibration", title: "Confidence", blocks })
    }

    /// The strings most often missed or invented: text of the corpus.
    fn strings(&self) -> Option<Section> {
        let texts: BTreeMap<&str, &Document> = self.texts?.iter().map(|text| (text.id.as_str(), text)).collect();
        let mut missed: BTreeMap<(String, String), Vec<u64>> = BTreeMap::new();
        let mut invented = missed.clone();
        for (at, run) in self.runs.iter().enumerate() {
            let documents = run.documents.iter().flatten();
            let pairs =
                documents.filter_map(|document| Some((*texts.get(document.id.as_str())?, &*document.predicted)));
            let found = frequent_errors(pairs, usize::MAX);
            for (strings, counts) in [(found.missed, &mut missed), (found.invented, &mut invented)] {
                for FrequentString { text, entity_type, count } in strings {
                    counts.entry((text, entity_type)).or_insert_with(|| vec![0; self.runs.len()])[at] += count;
                }
            }
        }
        let table = |what: &str, strings: BTreeMap<(String, String), Vec<u64>>| {
            let (different, mut strings) = (strings.len(), Vec::from_iter(strings));
            strings.sort_by_key(|(_, counts)| Reverse(counts.iter().sum::<u64>()));
            strings.truncate(STRINGS);
            let caption = format!("Most often {what}: {} of {} distinct", strings.len(), count(different));
            let counts =
                if self.is_comparison() { self.header("") } else { vec![String::new(), "mentions".to_owned()] };
            let header = ["string", "type"].into_iter().map(str::to_owned).chain(counts.into_iter().skip(1)).collect();
            let row = |((text, entity_type), counts): ((String, String), Vec<u64>)| {
                Row::new(text, [entity_type].into_iter().chain(counts.into_iter().map(number)).collect())
            };
            Block::Table(Table { caption, header, rows: strings.into_iter().map(row).collect(), numeric: false })
        };
        let text = "Strings are compared case-insensitively. A missed mention shares no character with a prediction; \
                    an invented one shares none with a gold mention.";
        let blocks = vec![table("missed", missed), table("invented", invented), Block::Text(text.to_owned())];
        Some(Section { id: "strings", title: "Strings missed and invented", blocks })
    }

    fn gallery(&self) -> Section {
        let mut errors: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        let mut mentions: BTreeMap<&str, Vec<&PredictedMentions>> = BTreeMap::new();
        let with_documents = self.runs.iter().filter(|run| run.documents.is_some());
        let runs: Vec<&ReportedRun> = with_documents.collect();
        for document in runs.iter().flat_map(|run| run.documents.iter().flatten()) {
            let Pairing { pairs, missed, invented } = pair_mentions(&document.gold, &document.predicted);
            let other = pairs.iter().filter(|pair| pair.agreement != Agreement::Right).count();
            errors.entry(&document.id).or_default().push(other + missed.len() + invented.len());
            mentions.entry(&document.id).or_default().push(document);
        }
        // Documents that some runs lack cannot be compared.
        let mut order: Vec<(&str, Vec<usize>)> =
            errors.into_iter().filter(|(_, counts)| counts.len() == runs.len()).collect();
        let several = runs.len() > 1;
        let spread = |counts: &[usize]| counts.iter().max().unwrap_or(&0) - counts.iter().min().unwrap_or(&0);
        order.sort_by_key(|(_, counts)| {
            let sum = counts.iter().sum::<usize>();
            Reverse(if several { (spread(counts), sum) } else { (sum, 0) })
        });
        let all = order.len();
        let with_errors = order.iter().filter(|(_, counts)| counts.iter().any(|&count| count > 0)).count();
        order.retain(|(_, counts)| counts.iter().any(|&count| count > 0));
        order.truncate(GALLERY[usize::from(several)]);
        let how = if several { "whose error counts differ most between runs" } else { "with the most errors" };
        let mut blocks = vec![Block::Text(format!(
            "{} of {} documents have errors; these are the {} {how}, so they are worse than the rest. An error is a \
             mention that is not right; a pair with a wrong boundary or type counts once.",
            count(with_errors),
            count(all),
            order.len(),
        ))];
        let Some(texts) = self.texts else {
            let row = |(id, counts): &(&str, Vec<usize>)| Row::new(*id, counts.iter().copied().map(count).collect());
            let header: Vec<&str> = match several {
                true => ["document"].into_iter().chain(runs.iter().map(|run| run.name.as_str())).collect(),
                false => vec!["document", "errors"],
            };
            blocks.push(numbers("Errors by document", &header, order.iter().map(row).collect()));
            return Section { id: "documents", title: "Documents", blocks };
        };
        let legend =
            [("right", 3), ("gold, not predicted like this", 4), ("predicted, not like this in gold (dotted)", 1)];
        blocks.push(Block::Legend(legend.map(|(name, colour)| (name.to_owned(), colour)).to_vec()));
        let texts: BTreeMap<&str, &str> = texts.iter().map(|text| (text.id.as_str(), text.text.as_str())).collect();
        for (id, counts) in order {
            let Some(text) = texts.get(id) else { continue };
            let parts = runs.iter().zip(&mentions[id]).zip(counts).map(|((run, document), errors)| {
                let errors = if errors == 1 { "1 error".to_owned() } else { format!("{} errors", count(errors)) };
                let heading = if several { format!("{}: {errors}", run.name) } else { errors };
                (heading, compared(text, document))
            });
            blocks.push(Block::Article(Article { heading: id.to_owned(), parts: parts.collect() }));
        }
        Section { id: "documents", title: "Documents", blocks }
    }

    /// A section with the keys of the runs' records that `name` selects.
    fn record(
        &self,
        id: &'static str,
        (title, caption): (&'static str, &str),
        name: impl Fn(&str) -> Option<&str>,
    ) -> Section {
        let mut keys: Vec<&str> = Vec::new();
        for (key, _) in self.runs.iter().flat_map(|run| &run.record) {
            if name(key).is_some() && !keys.contains(&key.as_str()) {
                keys.push(key);
            }
        }
        let row = |key: &str| {
            let value =
                |run: &ReportedRun| run.record.iter().find(|(other, _)| other == key).map(|(_, value)| value.clone());
            let cells = self.runs.iter().map(|run| value(run).unwrap_or_else(|| UNDEFINED.to_owned()));
            Row::new(name(key).unwrap_or(key), cells.collect())
        };
        let rows = keys.into_iter().map(row).collect();
        let header = if self.is_comparison() { self.header("key") } else { vec!["key".to_owned(), "value".to_owned()] };
        let table = Block::Table(Table { caption: caption.to_owned(), header, rows, numeric: false });
        Section { id, title, blocks: vec![table] }
    }
}

/// Name of the micro average in [`ScoreRow`].
pub const OVERALL: &str = "all (micro)";
/// Name of the macro average in [`ScoreRow`].
pub const MACRO: &str = "mean of types (macro)";
/// Row of all types in the table of errors.
const ALL: &str = "all";

impl ReportedRun {
    fn overall(&self) -> Option<&ScoreRow> {
        self.scores.iter().find(|row| row.name == OVERALL)
    }

    fn mentions(&self) -> Option<impl Iterator<Item = (&[Mention], &[Mention])>> {
        let documents = self.documents.as_ref()?;
        Some(documents.iter().map(|document| (document.gold.as_slice(), document.predicted.as_slice())))
    }

    /// `None` if no prediction has a confidence.
    fn calibration(&self) -> Result<Option<Calibration>, ScoreError> {
        let mut predictions = Vec::new();
        for (gold, predicted) in self.mentions().into_iter().flatten() {
            for mention in predicted {
                let is_right = gold.iter().any(|gold| Agreement::of(gold, mention) == Some(Agreement::Right));
                predictions.extend(mention.confidence.map(|confidence| (f64::from(confidence.value()), is_right)));
            }
        }
        calibration(&predictions, BINS)
    }
}

/// The text with gold and predicted mentions: one line if they agree, separate lines otherwise.
fn compared(text: &str, document: &PredictedMentions) -> Marked {
    let mut highlights = Vec::new();
    let mut add = |mention: &Mention, category: &str, label: &str, details: String| {
        let confidence = mention.confidence.map_or_else(String::new, |sure| format!(" {:.2}", sure.value()));
        for (at, &span) in mention.fragments.iter().enumerate() {
            let is_last = at + 1 == mention.fragments.len();
            let label = if is_last { format!("{label}{}{confidence}", mention.entity_type) } else { "…".to_owned() };
            let (category, details, is_dotted) = (category.to_owned(), details.clone(), category == PREDICTED);
            highlights.push(Highlight { span, label, category, details, is_dotted, is_struck: false });
        }
    };
    let Pairing { pairs, missed, invented } = pair_mentions(&document.gold, &document.predicted);
    for pair in pairs {
        let how = match pair.agreement {
            Agreement::Right => {
                add(pair.gold, RIGHT, "", format!("right: {}", pair.gold.entity_type));
                continue;
            }
            Agreement::OtherBoundary => "other boundary",
            Agreement::OtherType => "other type",
            Agreement::OtherBoundaryAndType => "other boundary and type",
        };
        add(pair.gold, GOLD, "gold ", format!("gold, found with {how}: {}", pair.gold.entity_type));
        add(pair.predicted, PREDICTED, "found ", format!("predicted with {how}: {}", pair.predicted.entity_type));
    }
    for mention in missed {
        add(mention, GOLD, "missed ", format!("missed: {}", mention.entity_type));
    }
    for mention in invented {
        add(mention, PREDICTED, "invented ", format!("invented: {}", mention.entity_type));
    }
    marked(text, &highlights, |category| match category {
        RIGHT => 3,
        GOLD => 4,
        _ => 1,
    })
}

const RIGHT: &str = "right";
const GOLD: &str = "gold";
const PREDICTED: &str = "predicted";

fn epochs_table(run: &ReportedRun) -> Block {
    let row = |epoch: &Epoch| {
        let overall = epoch.dev.iter().find(|row| row.name == OVERALL).cloned().unwrap_or_default();
        let loss = epoch.loss.map_or_else(|| UNDEFINED.to_owned(), |loss| format!("{loss:.4}"));
        let best = if epoch.is_best { "best so far" } else { "" };
        let shares = [overall.precision, overall.recall, overall.f1].map(percent);
        Row::new(epoch.number.to_string(), [loss].into_iter().chain(shares).chain([best.to_owned()]).collect())
    };
    let header = ["epoch", "loss", "precision on dev", "recall on dev", "F1 on dev", ""];
    numbers("Epochs; the last one marked as best is the model", &header, run.epochs.iter().map(row).collect())
}

fn interval(interval: Option<(f64, f64)>) -> String {
    interval.map_or_else(|| UNDEFINED.to_owned(), |(low, high)| format!("{:.2} to {:.2}", 100.0 * low, 100.0 * high))
}

fn number(number: u64) -> String {
    count(usize::try_from(number).unwrap_or(usize::MAX))
}

fn numbers(caption: &str, header: &[&str], rows: Vec<Row>) -> Block {
    let header = header.iter().map(|&name| name.to_owned()).collect();
    Block::Table(Table { caption: caption.to_owned(), header, rows, numeric: true })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ner_data::{Confidence, Span};

    fn mention(start: usize, end: usize, name: &str, confidence: Option<f32>) -> Mention {
        let confidence = confidence.and_then(Confidence::new);
        Mention { confidence, ..Mention::new(Span::new(start, end), name) }
    }

    /// A run that finds one of two mentions and makes one up, in a text that is no HTML.
    fn run(name: &str) -> ReportedRun {
        let overall =
            ScoreRow { name: OVERALL.into(), is_average: true, f1: Some(0.5), support: 2, ..ScoreRow::default() };
        let epoch = Epoch { number: 1, loss: None, dev: vec![overall.clone()], is_best: true };
        ReportedRun {
            name: name.into(),
            record: vec![("plan.recipe.seed".into(), "1".into()), ("code.medner".into(), "<0>".into())],
            epochs: vec![epoch],
            scores: vec![ScoreRow { name: "<D>".into(), ..ScoreRow::default() }, overall],
            dev_f1: Some(0.5),
            documents: Some(vec![PredictedMentions {
                id: "<7>".into(),
                gold: vec![mention(0, 5, "<D>", None), mention(10, 13, "<D>", None)],
                predicted: vec![mention(0, 5, "<D>", Some(0.9)), mention(6, 9, "C", Some(0.6))],
            }]),
        }
    }

    fn page(names: &[&str], texts: Option<&[Document]>) -> String {
        let page = RunsPage {
            title: "a & b",
            synthetic: None,
            notes: vec!["a note".into()],
            split: "test",
            runs: names.iter().map(|name| run(name)).collect(),
            differences: Vec::new(),
            tests: vec!["They do not differ.".into()],
            texts,
            version: "0",
        };
        page.html().expect("a page")
    }

    #[test]
    fn one_run_and_several_with_their_text_and_without() {
        let mut document = Document::new("<7>", "fever <b> flu");
        document.mentions = run("").documents.expect("documents").remove(0).gold;
        let texts = [document];
        let one = page(&["r1"], Some(&texts));
        for part in ["invented C 0.60", "missed &lt;D&gt;", "&lt;b&gt;", "a note", "<td>&#60;0&#62;</td>", ">flu</th>"]
        {
            assert!(one.contains(part), "{part} is not in {one}");
        }
        let sections: Vec<&str> =
            one.match_indices("<section id=").map(|(at, _)| one[at..].split('"').nth(1).unwrap_or("")).collect();
        let expected = "scores curves errors confusion calibration strings documents configuration provenance";
        assert_eq!(sections.join(" "), expected);
        assert!(!one.contains("<b>") && !one.contains("NaN"));

        let two = page(&["r1", "r2"], None);
        assert!(two.contains("They do not differ.") && two.contains("The configurations are equal."));
        assert!(
            !two.contains("flu") && two.contains("<th scope=\"row\">&#60;7&#62;</th><td>2</td><td>2</td>"),
            "{two}"
        );
    }

    #[test]
    fn confidences_are_compared_with_what_was_right() {
        let found = run("r").calibration().expect("confidences").expect("predictions");
        assert_eq!((found.predictions, found.accuracy), (2, 0.5));
    }
}
