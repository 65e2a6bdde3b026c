//! Annotates a stream of documents in order and in constant memory.

use crate::{Annotator, MergedMention, Prepared, Tokenizers};
use ner_document::Document;
use ner_text::TokenizeError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Mutex, PoisonError};
use std::thread::Builder;

/// An input of the stream.
#[derive(Debug)]
pub enum Event<E> {
    /// A document to annotate.
    Document(Document),
    /// A document that was annotated before and has no outcome. It keeps its place in its batch: the last digits of a
    /// confidence depend on the batch, and a resumed stream must give the same results.
    Known(Document),
    /// The caller's own value (a new file, an unreadable document), returned in order.
    Mark(E),
    /// Ends the batch: what was pushed before waits for nothing that comes after it.
    Flush,
}

/// An output of the stream, in the order of the inputs.
#[derive(Debug)]
pub enum Outcome<E> {
    /// A document and its mentions, before thresholds.
    Annotated(Document, Vec<MergedMention>),
    /// The id of a document, and why it could not be tokenized or annotated.
    Failed(String, String),
    /// The caller's value.
    Mark(E),
}

/// Limits of a batch; the first one reached ends it.
#[derive(Clone, Copy, Debug)]
pub struct BatchSize {
    /// Bytes of text.
    pub bytes: usize,
    /// Documents and marks.
    pub events: usize,
}

impl Default for BatchSize {
    /// Large enough to fill the model's own batches with rows of similar length, and to keep all threads of rayon's pool
    /// (the workers of a model are as many) busy: they wait for each other once a batch.
    fn default() -> Self {
        let threads = rayon::current_num_threads().max(4);
        Self { bytes: threads << 15, events: threads << 8 }
    }
}

/// Totals of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Annotated documents.
    pub documents: usize,
    /// Their tokens, over all models.
    pub tokens: usize,
    /// Their windows, over all models.
    pub windows: usize,
    /// Whether it stopped early.
    pub stopped: bool,
}

/// Tokenized batches that wait for the models; more would cost memory without a gain in speed.
const AHEAD: usize = 2;

/// A batch from the tokenizing thread.
type Batch<E> = Vec<Item<E>>;

enum Item<E> {
    Ready(Prepared),
    Known(Prepared),
    Failed(String, String),
    Mark(E),
}

/// Annotates the events of `source`. Reading and tokenizing run on a separate thread while the models compute the batch
/// before on the calling thread; `sink` gets the outcomes on the calling thread, in order. A document that cannot
/// be annotated is an outcome of its own and changes nothing for the others.
///
/// `source` pushes events and should end if a push returns false. Once `stop` is set, the current batch is finished and
/// no other one starts.
///
/// # Errors
/// The first error of the sink, else that of the source.
pub fn stream<E: Send, X: Send>(
    annotator: &Annotator,
    size: BatchSize,
    stop: &AtomicBool,
    source: impl FnOnce(&mut dyn FnMut(Event<E>) -> bool) -> Result<(), X> + Send,
    sink: impl FnMut(Outcome<E>) -> Result<(), X>,
) -> Result<Summary, X> {
    let tokenizers = annotator.tokenizers();
    let mut computing = Computing { annotator, stop, sink, summary: Summary::default() };
    let source = Mutex::new(Some(source));
    let read = |send: &mut dyn FnMut(Batch<E>) -> bool| {
        let Some(source) = source.lock().unwrap_or_else(PoisonError::into_inner).take() else { return Ok(()) };
        let mut feed = Feed { tokenizers: tokenizers.clone(), size, send, waiting: Vec::new(), bytes: 0 };
        let read = source(&mut |event| !stop.load(Ordering::Relaxed) && feed.push(event));
        feed.flush();
        read
    };
    let (sender, receiver) = sync_channel::<Batch<E>>(AHEAD);
    let computed = std::thread::scope(|scope| {
        let (read, sender) = (&read, sender);
        let reading = Builder::new().spawn_scoped(scope, move || read(&mut |batch| sender.send(batch).is_ok()));
        let Ok(reading) = reading else { return None };
        // Consuming the receiver drops it, so a source that waits to push ends as well.
        let computed = receiver.into_iter().try_for_each(|batch| computing.take(batch));
        let read = reading.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Some(computed.and(read))
    });
    computed.unwrap_or_else(|| {
        // At the limit of threads, this one does everything in turn.
        let mut computed = Ok(());
        let read = read(&mut |batch| {
            computed = computing.take(batch);
            computed.is_ok()
        });
        computed.and(read)
    })?;
    computing.summary.stopped = stop.load(Ordering::Relaxed);
    Ok(computing.summary)
}

/// The models' side of a stream.
struct Computing<'a, S> {
    annotator: &'a Annotator,
    stop: &'a AtomicBool,
    sink: S,
    summary: Summary,
}

impl<S> Computing<'_, S> {
    fn take<E, X>(&mut self, batch: Batch<E>) -> Result<(), X>
    where
        S: FnMut(Outcome<E>) -> Result<(), X>,
    {
        if self.stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        let (mut ready, mut order) = (Vec::new(), Vec::with_capacity(batch.len()));
        for item in batch {
            order.push(match item {
                Item::Ready(prepared) => {
                    ready.push(prepared);
                    Slot::Next
                }
                Item::Known(prepared) => {
                    ready.push(prepared);
                    Slot::Pass
                }
                Item::Failed(id, error) => Slot::Is(Outcome::Failed(id, error)),
                Item::Mark(mark) => Slot::Is(Outcome::Mark(mark)),
            });
        }
        let found = self.annotator.find_each(&ready);
        let mut annotated = ready.into_iter().zip(found);
        for slot in order {
            let outcome = match slot {
                Slot::Is(outcome) => Some(outcome),
                Slot::Next => annotated.next().map(|(prepared, found)| match found {
                    Ok(found) => {
                        self.summary.documents += 1;
                        self.summary.tokens += prepared.tokens();
                        self.summary.windows += prepared.windows();
                        Outcome::Annotated(prepared.document, found)
                    }
                    Err(message) => Outcome::Failed(prepared.document.id, message),
                }),
                Slot::Pass => annotated.next().and(None),
            };
            if let Some(outcome) = outcome {
                (self.sink)(outcome)?;
            }
        }
        Ok(())
    }
}

/// The outcome of one event of a batch.
#[allow(clippy::large_enum_variant, reason = "nearly every slot holds the large one")]
enum Slot<E> {
    /// The next computed document.
    Next,
    /// Skip the next computed document.
    Pass,
    Is(Outcome<E>),
}

/// Collects events into batches and tokenizes them.
struct Feed<'a, E> {
    tokenizers: Tokenizers,
    size: BatchSize,
    /// Returns whether to go on.
    send: &'a mut dyn FnMut(Batch<E>) -> bool,
    waiting: Vec<Event<E>>,
    bytes: usize,
}

impl<E> Feed<'_, E> {
    fn push(&mut self, event: Event<E>) -> bool {
        if matches!(event, Event::Flush) {
            return self.flush();
        }
        if let Event::Document(document) | Event::Known(document) = &event {
            self.bytes += document.text.len();
        }
        self.waiting.push(event);
        if self.bytes < self.size.bytes && self.waiting.len() < self.size.events {
            return true;
        }
        self.flush()
    }

    /// Sends the waiting events. Returns false if nobody takes them any more.
    fn flush(&mut self) -> bool {
        self.bytes = 0;
        let waiting = std::mem::take(&mut self.waiting);
        if waiting.is_empty() {
            return true;
        }
        let batch = self.encode(waiting);
        (self.send)(batch)
    }

    fn encode(&self, events: Vec<Event<E>>) -> Batch<E> {
        // A batch of known documents only is not computed.
        let is_wanted = events.iter().any(|event| matches!(event, Event::Document(_)));
        let documents = events.iter().filter(|_| is_wanted).filter_map(|event| match event {
            Event::Document(document) | Event::Known(document) => Some(document.clone()),
            Event::Mark(_) | Event::Flush => None,
        });
        let mut together = self.tokenizers.prepare(documents.collect()).ok().map(Vec::into_iter);
        let item = |event| match (event, &mut together) {
            (Event::Mark(mark), _) => Some(Item::Mark(mark)),
            (Event::Flush, _) => None,
            (Event::Known(_), Some(together)) => together.next().map(Item::Known),
            (Event::Document(_), Some(together)) => together.next().map(Item::Ready),
            // One of them failed: tokenize each alone to find out which.
            (Event::Known(document), None) => {
                self.tokenizers.prepare(vec![document]).ok()?.into_iter().next().map(Item::Known)
            }
            (Event::Document(document), None) => {
                let id = document.id.clone();
                match self.tokenizers.prepare(vec![document]) {
                    Ok(prepared) => prepared.into_iter().next().map(Item::Ready),
                    Err(TokenizeError::Document { message, .. }) => Some(Item::Failed(id, message)),
                    Err(error) => Some(Item::Failed(id, error.to_string())),
                }
            }
        };
        events.into_iter().filter_map(item).collect()
    }
}
