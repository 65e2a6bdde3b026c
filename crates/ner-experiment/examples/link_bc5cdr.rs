//! Accuracy and speed of linking on gold mentions in the PubTator format.
//!
//! ```text
//! cargo run --release -p ner-experiment --example link_bc5cdr -- --mesh mesh-tree-numbers.tsv --medic medic-2012.txt
//!     --train CDR_TrainingSet.PubTator.txt --train CDR_DevelopmentSet.PubTator.txt --test CDR_TestSet.PubTator.txt
//!     --dump FOLDER
//! ```
//!
//! Builds a vocabulary of diseases (MeSH headings in C, MEDIC, mentions of the training files) and one of chemicals (D,
//! mentions), links the test file's mentions, and writes names, mentions and answers to FOLDER for `scripts/link_peers.py`.
//! `--features yes` writes the features of candidates, for `scripts/link_ranker.py`.
//! `--reranker DIR` ranks by a reranker that was trained for the vocabularies of FOLDER, which are the same for the same names.
//! Abbreviations are resolved by the definitions of their documents, unless `--no-long-forms yes` is given. The answers are
//! those of mentions in their documents ("cisplatin (CDDP)"), unless `--no-documents yes` is given; the speed is that of
//! single mentions.
//! A mention of several concepts is right at k if each of them is among the k best of its answers.

#![allow(clippy::print_stdout, reason = "an example speaks to people")]

use std::collections::{BTreeMap, HashMap, HashSet};
use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use ner_data::{CharIndex, Span};
use ner_link::{
    Answer, Builder, LinkOptions, Linkable, LinkedConcept, Linker, Linkers, Query, ReadOptions, Record, Reranker,
    Stage, Vocabulary, long_forms, read,
};

struct Mention {
    document: String,
    kind: String,
    span: Span,
    text: String,
    long_form: Option<String>,
    /// The text of the document.
    context: Arc<str>,
    ids: Vec<String>,
    /// The texts of the parts of a composite mention, if the corpus says them.
    parts: Vec<String>,
}

fn mentions(path: &Path) -> Result<Vec<Mention>, Box<dyn Error>> {
    let mut mentions = Vec::new();
    let mut text: Arc<str> = "".into();
    let mut forms = HashMap::new();
    for line in std::fs::read_to_string(path)?.lines() {
        if let [_, "t", title] = line.splitn(3, '|').collect::<Vec<_>>().as_slice() {
            text = format!("{title}\n").into();
        } else if let [_, "a", body] = line.splitn(3, '|').collect::<Vec<_>>().as_slice() {
            text = format!("{text}{body}").into();
            forms = long_forms(&text);
        }
        let columns: Vec<&str> = line.split('\t').collect();
        if let [document, start, end, mention, kind, ids, parts @ ..] = columns.as_slice() {
            let split = |list: &str| list.split('|').map(|part| part.trim().to_owned()).collect::<Vec<_>>();
            let parts = parts.first().map(|parts| split(parts)).unwrap_or_default();
            let span = Span::new(start.parse()?, end.parse()?);
            let long_form = forms.get(&span).map(|form| text.chars().skip(form.start).take(form.len()).collect());
            mentions.push(Mention {
                document: (*document).to_owned(),
                span,
                context: Arc::clone(&text),
                kind: (*kind).to_owned(),
                text: (*mention).to_owned(),
                long_form,
                ids: split(ids),
                parts,
            });
        }
    }
    Ok(mentions)
}

/// The names that training mentions teach.
fn taught(mention: &Mention) -> Vec<(String, String)> {
    if mention.ids == ["-1"] {
        Vec::new()
    } else if mention.ids.len() == 1 {
        vec![(mention.ids[0].clone(), mention.text.clone())]
    } else if mention.ids.len() == mention.parts.len() {
        mention.ids.iter().cloned().zip(mention.parts.iter().cloned()).collect()
    } else {
        Vec::new()
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut given: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
        given.entry(name).or_default().push(value.into());
    }
    let one = |name: &str| given.get(name).and_then(|all| all.first()).ok_or_else(|| format!("{name} is missing"));
    let folder = one("--dump")?;
    std::fs::create_dir_all(folder)?;
    let mut test = mentions(one("--test")?)?;

    if given.contains_key("--no-long-forms") {
        test.iter_mut().for_each(|mention| mention.long_form = None);
    }

    let reranker = given.get("--reranker").and_then(|all| all.first());
    let reranker = reranker.map(|folder| ner_experiment::reranker::open(folder)).transpose()?;

    let mut taught_names: Vec<(String, String, String)> = Vec::new();
    for path in given.get("--train").into_iter().flatten() {
        for mention in mentions(path)? {
            let names = taught(&mention).into_iter();
            taught_names.extend(names.map(|(id, text)| (mention.kind.clone(), id, text)));
        }
    }
    for (kind, tree) in [("Disease", "C"), ("Chemical", "D")] {
        let mut records: Vec<Record> = Vec::new();
        let options = ReadOptions {
            id_column: "mesh_id".to_owned(),
            name_column: "mesh_name".to_owned(),
            types_column: "mesh_tree_number".to_owned(),
            ..Default::default()
        };
        read(one("--mesh")?, &options, &mut |record| {
            if record.types.iter().any(|number| number.starts_with(tree)) {
                records.push(record);
            }
        })?;
        if kind == "Disease" {
            read(one("--medic")?, &ReadOptions::default(), &mut |record| records.push(record))?;
        }
        // A heading has a row for each of its places in the tree; its name is one name.
        let mut headings = HashSet::new();
        records.iter_mut().filter(|record| !record.types.is_empty()).for_each(|record| {
            if !headings.insert(record.id.clone()) {
                record.name = None;
            }
        });
        for (_, id, text) in taught_names.iter().filter(|(of, ..)| of == kind) {
            records.push(Record { id: id.clone(), synonyms: vec![text.clone()], ..Default::default() });
        }
        let is_given = |name: &str| given.contains_key(name);
        let options = [is_given("--features"), !is_given("--no-documents")];
        evaluate(kind, records, &test, folder, options, reranker.as_ref())?;
    }
    Ok(())
}

/// Seconds that this process had the processor, which other processes do not disturb (Linux).
fn on_processor() -> f64 {
    let times = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    times.split(' ').next().and_then(|time| time.parse::<f64>().ok()).unwrap_or_default() / 1e9
}

fn evaluate(
    kind: &str,
    records: Vec<Record>,
    test: &[Mention],
    folder: &Path,
    [writes_features, in_documents]: [bool; 2],
    reranker: Option<&Reranker>,
) -> Result<(), Box<dyn Error>> {
    let mut names = String::new();
    for record in &records {
        let ids = std::iter::once(&record.id).chain(&record.other_ids).cloned().collect::<Vec<_>>().join("|");
        for name in record.name.iter().chain(&record.synonyms) {
            writeln!(names, "{ids}\t{name}")?;
        }
    }
    std::fs::write(folder.join(format!("{kind}.names.tsv")), names)?;
    let gold: Vec<&Mention> = test.iter().filter(|mention| mention.kind == kind).collect();
    let with_id: Vec<&&Mention> = gold.iter().filter(|mention| mention.ids != ["-1"]).collect();
    let long: Vec<Option<&str>> = with_id.iter().map(|mention| mention.long_form.as_deref()).collect();
    let mut lines = String::new();
    for (mention, long) in with_id.iter().zip(&long) {
        let looked_up = long.unwrap_or(&mention.text);
        writeln!(lines, "{}\t{}\t{looked_up}\t{}", mention.ids.join("|"), mention.text, mention.document)?;
    }
    std::fs::write(folder.join(format!("{kind}.mentions.tsv")), lines)?;

    let path = folder.join(format!("{kind}.voc"));
    let mut builder = Builder::new();
    records.into_iter().for_each(|record| builder.add(record));
    let start = Instant::now();
    let report = builder.write(&path, kind)?;
    println!("{kind}: {report:?} in {:.1} s", start.elapsed().as_secs_f64());
    let vocabulary = Arc::new(Vocabulary::open(&path)?);
    vocabulary.verify()?;

    let mut held: HashSet<String> = HashSet::new();
    // All ids of the concept with an id.
    let mut ids_of: HashMap<String, Vec<String>> = HashMap::new();
    for number in 0..vocabulary.concepts() {
        let concept = vocabulary.concept(number).ok_or("a concept is missing")?;
        let ids: Vec<String> = std::iter::once(concept.id.clone()).chain(concept.other_ids).collect();
        held.extend(ids.iter().cloned());
        ids_of.insert(concept.id, ids);
    }
    let ceiling = with_id.iter().filter(|mention| mention.ids.iter().all(|id| held.contains(id))).count();
    let share = |count: usize| 100.0 * count as f64 / with_id.len() as f64;
    println!(
        "{kind}: {} mentions, {} without an id, {} of several concepts; ceiling {:.2}",
        gold.len(),
        gold.len() - with_id.len(),
        with_id.iter().filter(|mention| mention.ids.len() > 1).count(),
        share(ceiling)
    );

    if writes_features {
        let linker = Linker::new(Arc::clone(&vocabulary), LinkOptions { k: 6, threshold: 0.0 });
        let mut rows = String::new();
        for (number, mention) in with_id.iter().enumerate().filter(|(_, mention)| mention.ids.len() == 1) {
            let long_form = mention.long_form.as_deref();
            let answers = linker.link(&Query { text: &mention.text, long_form, types: &[] });
            let stage = answers[0].candidates.first().map(|best| best.stage);
            if answers.len() > 1 || matches!(stage, Some(Stage::Exact | Stage::Variant)) {
                continue;
            }
            for (id, name, features) in linker.features(long_form.unwrap_or(&mention.text)) {
                let is_right = u8::from(ids_of[&id].contains(&mention.ids[0]));
                let features: Vec<String> = features.iter().map(ToString::to_string).collect();
                writeln!(rows, "{number}\t{}\t{is_right}\t{id}\t{name}\t{}", mention.text, features.join("\t"))?;
            }
        }
        std::fs::write(folder.join(format!("{kind}.features.tsv")), rows)?;
    }

    for k in [1, 5] {
        let threshold = 0.0;
        let options = LinkOptions { k, threshold };
        // A new linker each time: an old one remembers its answers.
        let new = || {
            let linker = Linker::new(Arc::clone(&vocabulary), options);
            match reranker {
                Some(reranker) => linker.reranked_by(reranker).expect("a reranker of the vocabulary"),
                None => linker,
            }
        };
        let round = || -> (Vec<Arc<[Answer]>>, f64) {
            let linker = new();
            let start = on_processor();
            let queries = with_id.iter().zip(&long);
            let queries = queries.map(|(mention, long)| Query { text: &mention.text, long_form: *long, types: &[] });
            linker.prepare(queries.clone());
            let answers = queries.map(|query| linker.link(&query)).collect();
            (answers, on_processor() - start)
        };
        let (answers, mut seconds) = round();
        for _ in 0..if reranker.is_some() { 1 } else { 9 } {
            let (again, needed) = round();
            assert!(answers == again, "the same mentions have the same answers");
            seconds = seconds.min(needed);
        }
        // Of each mention, of each of its parts: the ids, the best first.
        let mut found: Vec<Vec<Vec<String>>> = Vec::new();
        if in_documents {
            let mut linkers = Linkers::default();
            linkers.add(None, new(), Vec::new())?;
            for mentions in with_id.chunk_by(|one, other| one.document == other.document) {
                let linkables: Vec<Linkable> = mentions
                    .iter()
                    .map(|mention| Linkable {
                        entity_type: kind,
                        span: mention.span,
                        text: &mention.text,
                        long_form: mention.long_form.as_deref(),
                    })
                    .collect();
                let context = &mentions[0].context;
                let ids = |LinkedConcept { id, others, .. }: LinkedConcept| {
                    std::iter::once(id).chain(others.into_iter().map(|other| other.id)).collect()
                };
                let linked = linkers.link_all(context, &CharIndex::new(context), &linkables);
                found.extend(linked.into_iter().map(|concepts| concepts.into_iter().map(ids).collect()));
            }
        } else {
            let ids = |answer: &Answer| answer.candidates.iter().map(|candidate| candidate.id.clone()).collect();
            found.extend(answers.iter().map(|answers| answers.iter().map(ids).collect::<Vec<_>>()));
        }
        let is_right = |mention: &Mention, parts: &[Vec<String>], k: usize| {
            let mut wanted = mention.ids.iter();
            wanted.all(|id| parts.iter().flat_map(|ids| ids.iter().take(k)).any(|found| ids_of[found].contains(id)))
        };
        let right =
            |k: usize| with_id.iter().zip(&found).filter(|(mention, parts)| is_right(mention, parts, k)).count();
        let mut rows = String::new();
        let mut stages: BTreeMap<Option<Stage>, (usize, usize)> = BTreeMap::new();
        for ((mention, answers), parts) in with_id.iter().zip(&answers).zip(&found) {
            let best = answers[0].candidates.first();
            let [is_right, among] = [is_right(mention, parts, 1), is_right(mention, parts, k)];
            let stage = stages.entry(best.map(|candidate| candidate.stage)).or_default();
            stage.0 += 1;
            stage.1 += usize::from(is_right);
            let matched = best.map_or("NIL", |best| best.matched.as_str());
            let id = best.map_or("", |best| best.id.as_str());
            let score = best.map_or(0.0, |best| best.score);
            writeln!(
                rows,
                "{is_right}\t{among}\t{}\t{}\t{id}\t{matched}\t{score:.3}",
                mention.ids.join("|"),
                mention.text
            )?;
        }
        std::fs::write(folder.join(format!("{kind}.answers.k{k}.tsv")), rows)?;
        println!(
            "{kind}, k = {k}: accuracy@1 {:.2}, accuracy@{k} {:.2}; {:.0} mentions a second; {stages:?}",
            share(right(1)),
            share(right(k)),
            with_id.len() as f64 / seconds
        );
    }
    Ok(())
}
