//! The thread that owns the models.

use crate::metrics::Metrics;
use ner_annotate::{Annotator, MergedMention, Prepared};
use ner_data::Document;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tracing::error;

/// Documents with what was found in them, before thresholds.
pub type Found = Vec<(Document, Vec<MergedMention>)>;

/// The models failed. Why, the log says.
#[derive(Clone, Copy, Debug)]
pub struct Failed;

/// A request as the models see it.
#[derive(Debug)]
pub struct Job {
    /// Documents that are still to be computed.
    pub waiting: VecDeque<Prepared>,
    /// Those that are.
    pub found: Found,
    /// Where the answer goes; closed once nobody waits for it.
    pub reply: oneshot::Sender<Result<Found, Failed>>,
    /// Its places in the queue, which it leaves when it is dropped.
    pub _places: [OwnedSemaphorePermit; 2],
}

/// Requests that are on their way to the queue: worth a moment of waiting.
#[derive(Debug, Default)]
pub struct Arriving(AtomicUsize);

/// A request on its way, until it is dropped.
#[derive(Debug)]
pub struct OnItsWay(Arc<Arriving>);

impl Arriving {
    /// Counts one more.
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

/// Tokens that are computed together, about: enough to fill the model's own batches with rows of like length, and little
/// enough that a short request need not wait long for a batch that it came too late for.
const BATCH_TOKENS: usize = 16_384;

/// Computes jobs until nobody can send any more and all are done. Once a job is there, others are waited for, no longer
/// than `patience`, where some are on their way or came together a moment ago.
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
        // A client that has gone, or a request that took too long.
        at_work.retain(|job| !job.reply.is_closed());
        several = at_work.len() > 1;
        let (places, batch) = next_batch(&mut at_work);
        compute(annotator, &mut at_work, &places, batch, metrics);
        let (done, rest): (Vec<Job>, Vec<Job>) = at_work.into_iter().partition(|job| job.waiting.is_empty());
        for Job { reply, found, .. } in done {
            // It may have gone in the meantime.
            let _ = reply.send(Ok(found));
        }
        at_work = rest;
        // Whoever came first does not come first for ever.
        if !at_work.is_empty() {
            at_work.rotate_left(1);
        }
    }
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

/// A document of each job in turn, so that a short request does not wait for all documents of a long one. Returns the
/// jobs' places, too.
fn next_batch(at_work: &mut [Job]) -> (Vec<usize>, Vec<Prepared>) {
    let (mut places, mut batch, mut tokens) = (Vec::new(), Vec::new(), 0);
    loop {
        let before = batch.len();
        for (place, job) in at_work.iter_mut().enumerate() {
            if tokens >= BATCH_TOKENS {
                return (places, batch);
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
    // libtorch's errors (no memory for a tensor) are panics. The models do not change, so that they are good for more.
    let Ok(found) = catch_unwind(AssertUnwindSafe(|| annotator.find(&batch, |_| {}))) else {
        error!("the models failed on a batch of {} documents; its requests are answered with 500", batch.len());
        let mut failed = places.to_vec();
        failed.sort_unstable();
        failed.dedup();
        for place in failed.into_iter().rev() {
            let _ = at_work.remove(place).reply.send(Err(Failed));
        }
        return;
    };
    let (documents, mentions) = (batch.len(), found.iter().map(Vec::len).sum());
    let tokens = batch.iter().map(Prepared::tokens).sum();
    metrics.computed(documents, tokens, mentions, start.elapsed());
    for ((&place, prepared), findings) in places.iter().zip(batch).zip(found) {
        at_work[place].found.push((prepared.document, findings));
    }
}
