//! Reads plain text for training: every input that `annotate` reads, document by document.

use crate::input::{self, Done, InputOptions, Inputs, Kind, Mark, Source, is_stream};
use crate::overlap::{EvaluationTexts, Excluded};
use crate::progress;
use anyhow::{Context, Result, bail, ensure};
use ner_annotate::Event;
use ner_data::Document;
use ner_data::format::conll::ConllOptions;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tracing::warn;

/// Inputs with plain text.
#[derive(Clone, Copy, Debug)]
pub struct TextInputs<'i> {
    /// Files and folders.
    pub paths: &'i [PathBuf],
    /// Name of their format, if given.
    pub from: Option<&'i str>,
    /// Column or key of the texts, if given.
    pub text_column: Option<&'i str>,
    /// Column or key of the ids, if given.
    pub id_column: Option<&'i str>,
    /// Whether to skip what cannot be read.
    pub lenient: bool,
}

/// Unreadable parts that are named, each with a warning.
const WARNINGS: usize = 10;

/// Documents that are passed on at a time.
const AT_A_TIME: usize = 1024;

impl TextInputs<'_> {
    /// Passes all documents to `sink`, many at a time, without those of `excluded`, which it counts. Returns how many
    /// documents or parts of the input could not be read.
    ///
    /// # Errors
    /// If an input is missing or can be read only once, something cannot be read and they are not lenient, `sink` fails,
    /// or `stop` is set.
    pub fn read(
        &self,
        excluded: &mut [(Excluded, EvaluationTexts)],
        stop: &AtomicBool,
        mut sink: impl FnMut(Vec<Document>) -> Result<()>,
    ) -> Result<usize> {
        if let Some(stream) = self.paths.iter().find(|path| is_stream(path)) {
            let stream = stream.display();
            bail!("{stream} can be read only once, but a resumed training reads its text again; save it to a file");
        }
        let options = InputOptions {
            columns: ConllOptions::default(),
            text_column: self.text_column.map(str::to_owned),
            id_column: self.id_column.map(str::to_owned),
        };
        let from = self.from.map(|name| Kind::from_name(name).with_context(|| format!("no format {name}")));
        let Inputs { inputs, bad, .. } = input::find(self.paths, from.transpose()?, &options)?;
        let bytes: Option<u64> = inputs.iter().map(input::Input::size).sum();
        let bar = bytes.map(|bytes| progress::bytes("reading", bytes));
        let source = Source {
            inputs: inputs.into_iter().map(|input| (input, false)).collect(),
            options,
            done: Done::Nothing,
            together: true,
            bad,
            stop: Arc::new(AtomicBool::new(false)),
            bar: bar.clone(),
        };
        let (mut waiting, mut failure, mut unreadable) = (Vec::new(), None, 0);
        source.read(&mut |event| {
            if stop.load(Ordering::Relaxed) {
                return false;
            }
            match event {
                Event::Document(document) | Event::Known(document) => {
                    let found =
                        excluded.iter_mut().find_map(|(counts, texts)| Some((counts, texts.overlap(&document)?)));
                    match found {
                        Some((counts, overlap)) => counts.count(overlap),
                        None => waiting.push(document),
                    }
                }
                Event::Mark(Mark::Bad(message) | Mark::Cut(message) | Mark::Lost(message)) => {
                    unreadable += 1;
                    if unreadable <= WARNINGS {
                        warn!("not read: {message}");
                    }
                }
                Event::Mark(Mark::Begin(_) | Mark::End(_)) | Event::Flush => {}
            }
            if waiting.len() >= AT_A_TIME {
                failure = sink(std::mem::take(&mut waiting)).err();
            }
            failure.is_none()
        });
        if let Some(bar) = bar {
            bar.finish_and_clear();
        }
        if let Some(failure) = failure {
            return Err(failure);
        }
        ensure!(!stop.load(Ordering::Relaxed), "stopped before the training began");
        sink(waiting)?;
        if unreadable > WARNINGS {
            warn!("{} more documents or parts of the input were not read", unreadable - WARNINGS);
        }
        ensure!(
            self.lenient || unreadable == 0,
            "{unreadable} documents or parts of the input could not be read; see the warnings above, or skip them with \
             --lenient"
        );
        Ok(unreadable)
    }
}
