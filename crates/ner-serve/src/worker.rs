//! The thread that owns the models.

use crate::budget::Share;
use crate::metrics::Metrics;
use crate::problem::{Kind, Problem};
use crate::request::Wishes;
use ner_annotate::{Annotator, MergedMention, Prepared};
use ner_data::Document;
use std::collections::BTreeSet;
use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tracing::error;

/// Documents with their mentions, before thresholds.
pub type Found = Vec<(Document, Vec<MergedMention>)>;

/// What a request holds. The work on a request owns it, since the work may outlast the client.
#[derive(Debug)]
pub struct Held {
    /// Its place in the queue, and its turn to have tokens in memory.
    pub _permits: [OwnedSemaphorePermit; 2],
    /// The bytes of its body.
    pub bytes: Share,
}

/// A computed request.
#[derive(Debug)]
pub struct Computed {
    pub found: Found,
    pub wishes: Wishes,
    pub held: Held,
}

/// A request, prepared for the models.
#[derive(Debug)]
pub struct Job {
    /// Documents to compute.
    pub waiting: VecDeque<Prepared>,
    /// Computed documents.
    pub found: Found,
    /// Form of the response.
    pub wishes: Wishes,
    /// Receives the result; closed once nobody waits for it.
    pub reply: oneshot::Sender<Result<Computed, Problem>>,
    pub held: Held,
}

/// Number of requests on their way to the queue, which are worth waiting for.
#[derive(Debug, Default)]
pub struct Arriving(AtomicUsize);

/// A request on its way, until it is dropped.
#[derive(Debug)]
pub struct OnItsWay(Arc<Arriving>);

impl Arriving {
    /// Counts one more request.
    pub fn begin(self: &Arc<Self>) -> OnItsWay {
        self.0.fetch_add(1, Ordering::Relaxed);
        OnItsWay(self.clone())
    }

    fn is_any(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

impl Drop for OnItsWay {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Approximate number of tokens per batch: enough to fill the model's own batches with rows of similar length, but few
/// enough that a short request that just missed a batch does not wait long.
const BATCH_TOKENS: usize = 16_384;

/// Computes jobs until no more can arrive and all are done. With a job at hand, waits for others at most `patience`, if
/// some are on their way or several arrived together just before.
pub fn work(annotator: &Annotator, jobs: &Receiver<Job>, arriving: &Arriving, patience: Duration, metrics: &Metrics) {
    let mut at_work: Vec<Job> = Vec::new();
    let mut several = false;
    loop {
        if at_work.is_empty() {
            let Ok(first) = jobs.recv() else { return };
            at_work.push(first);
            gather(&mut at_work, jobs, patience, || several || arriving.is_any());
        }
        at_work.extend(jobs.try_iter());
        // Drops jobs whose client disconnected or whose time is over.
        at_work.retain(|job| !job.reply.is_closed());
        several = at_work.len() > 1;
        let (places, batch) = next_batch(&mut at_work);
        compute(annotator, &mut at_work, &places, batch, metrics);
        let (done, rest): (Vec<Job>, Vec<Job>) = at_work.into_iter().partition(|job| job.waiting.is_empty());
        for Job { reply, found, wishes, held, .. } in done {
            // The client may have disconnected meanwhile.
            let _ = reply.send(Ok(Computed { found, wishes, held }));
        }
        at_work = rest;
        // Rotates, so that no job is always first.
        if !at_work.is_empty() {
            at_work.rotate_left(1);
        }
    }
}

fn failure() -> Problem {
    Problem::new(Kind::Internal, "the models failed on a document of this request")
}

fn gather(at_work: &mut Vec<Job>, jobs: &Receiver<Job>, patience: Duration, more_come: impl Fn() -> bool) {
    let until = Instant::now() + patience;
    let tokens = |job: &Job| job.waiting.iter().map(Prepared::tokens).sum::<usize>();
    let mut sum: usize = at_work.iter().map(tokens).sum();
    while sum < BATCH_TOKENS && more_come() {
        match jobs.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(job) => {
                sum += tokens(&job);
                at_work.push(job);
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Takes one document of each job in turn, so that a short request does not wait for a long one. A document that does
/// not fit the batch begins the next one, for the same reason. Also returns the jobs' indices.
fn next_batch(at_work: &mut [Job]) -> (Vec<usize>, Vec<Prepared>) {
    let (mut places, mut batch, mut tokens) = (Vec::new(), Vec::new(), 0);
    loop {
        let before = batch.len();
        for (place, job) in at_work.iter_mut().enumerate() {
            if tokens >= BATCH_TOKENS {
                return (places, batch);
            }
            let fits = |document: &Prepared| batch.is_empty() || tokens + document.tokens() <= 2 * BATCH_TOKENS;
            if !job.waiting.front().is_some_and(fits) {
                continue;
            }
            if let Some(document) = job.waiting.pop_front() {
                tokens += document.tokens();
                places.push(place);
                batch.push(document);
            }
        }
        if batch.len() == before {
            return (places, batch);
        }
    }
}

fn compute(annotator: &Annotator, at_work: &mut Vec<Job>, places: &[usize], batch: Vec<Prepared>, metrics: &Metrics) {
    if batch.is_empty() {
        return;
    }
    let start = Instant::now();
    // Stops once no client waits for any of it.
    let jobs = &*at_work;
    let is_given_up = || places.iter().all(|&place| jobs[place].reply.is_closed());
    let progress = |_| if is_given_up() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
    // libtorch's errors (such as out of memory) are panics. They do not change the models, which remain usable.
    let computed = catch_unwind(AssertUnwindSafe(|| annotator.find(&batch, progress)));
    // Jobs without a client are dropped before the next batch, whatever was found for them.
    if is_given_up() {
        return;
    }
    // One document that fails spoils no other: each is computed alone.
    let found: Vec<Result<_, _>> = match computed {
        Ok(found) => found.into_iter().map(Ok).collect(),
        Err(_) => annotator.find_each(&batch),
    };
    let (documents, mentions) = (batch.len(), found.iter().flatten().map(Vec::len).sum());
    let tokens = batch.iter().map(Prepared::tokens).sum();
    metrics.computed(documents, tokens, mentions, start.elapsed());
    let mut failed = BTreeSet::new();
    for ((&place, prepared), mentions) in places.iter().zip(batch).zip(found) {
        match mentions {
            Ok(mentions) => at_work[place].found.push((prepared.document, mentions)),
            Err(message) => {
                error!("the models failed on a document, and its request is answered with 500: {message}");
                failed.insert(place);
            }
        }
    }
    for place in failed.into_iter().rev() {
        let _ = at_work.remove(place).reply.send(Err(failure()));
    }
}
