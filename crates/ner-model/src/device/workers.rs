use ner_text::carried;
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};
use tch::Device;

/// Maximum number of workers in training. With more, each would get too little of a step; libtorch then uses several
/// threads in each.
const MOST: usize = 4;

/// Maximum number of workers in prediction, whose batches are independent.
const MOST_IN_PREDICTION: usize = 64;

/// Threads that compute in parallel on the CPU, each with its own rows and tensors.
///
/// libtorch parallelises within one operation, and much of a training step is small operations between which threads
/// wait: on two cores, a step over two halves of a batch is a fifth faster than one over the whole batch. On other
/// devices training has one worker, the calling thread.
#[derive(Debug)]
pub struct Workers {
    pool: Option<ThreadPool>,
}

impl Workers {
    /// As many workers as libtorch would use threads (`OMP_NUM_THREADS`, else the number of cores), at most four.
    pub fn new(device: Device) -> Self {
        let threads = if device == Device::Cpu { tch::get_num_threads().max(1) as usize } else { 1 };
        Self::of_threads(threads)
    }

    /// The same for prediction, with one thread each. A card has two: one prepares its next batch while it computes that
    /// of the other.
    pub fn for_prediction(device: Device) -> Self {
        let threads = tch::get_num_threads().max(1) as usize;
        let most = if device == Device::Cpu { MOST_IN_PREDICTION } else { 2 };
        Self::of(threads, threads.min(most))
    }

    /// Workers for training that use `threads` threads in total.
    pub fn of_threads(threads: usize) -> Self {
        Self::of(threads, threads.clamp(1, MOST))
    }

    fn of(threads: usize, count: usize) -> Self {
        let each = (threads / count) as i32;
        let pool = ThreadPoolBuilder::new()
            .num_threads(count)
            .thread_name(|at| format!("worker {at}"))
            .start_handler(move |_| tch::set_num_threads(each));
        // If threads cannot be created, the calling thread does all the work.
        Self { pool: (count > 1).then(|| pool.build().ok()).flatten() }
    }

    /// Number of workers.
    pub fn count(&self) -> usize {
        self.pool.as_ref().map_or(1, ThreadPool::current_num_threads)
    }

    /// Applies `work` to the items in parallel. Results have the order of the items. If the caller catches panics, it
    /// catches those of the workers, too ([`carried`]).
    pub fn map<T: Send, R: Send>(&self, items: Vec<T>, work: impl Fn(T) -> R + Send + Sync) -> Vec<R> {
        let work = carried(work);
        match &self.pool {
            Some(pool) => pool.install(|| items.into_par_iter().map(work).collect()),
            None => items.into_iter().map(work).collect(),
        }
    }
}
