use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};
use tch::Device;

/// More workers than this would each have too little of a batch; libtorch then has several threads in each.
const MOST: usize = 4;

/// Threads that compute side by side on the CPU, each with rows and tensors of its own.
///
/// libtorch puts all threads to work within one operation, and much of a training step is small operations between which
/// they wait: on two cores a step over two halves of a batch is a fifth faster than one over the whole. A device other
/// than the CPU has one worker, the thread that calls.
#[derive(Debug)]
pub struct Workers {
    pool: Option<ThreadPool>,
}

impl Workers {
    /// As many as libtorch would use threads (`OMP_NUM_THREADS`, else the number of cores), and at most four.
    pub fn new(device: Device) -> Self {
        let threads = if device == Device::Cpu { tch::get_num_threads().max(1) as usize } else { 1 };
        Self::of_threads(threads)
    }

    /// Workers that have so many threads among them.
    pub fn of_threads(threads: usize) -> Self {
        let count = threads.clamp(1, MOST);
        let each = (threads / count) as i32;
        let pool = ThreadPoolBuilder::new()
            .num_threads(count)
            .thread_name(|at| format!("worker {at}"))
            .start_handler(move |_| tch::set_num_threads(each));
        // Where threads cannot be had, the calling one does all the work.
        Self { pool: (count > 1).then(|| pool.build().ok()).flatten() }
    }

    /// Number of workers.
    pub fn count(&self) -> usize {
        self.pool.as_ref().map_or(1, ThreadPool::current_num_threads)
    }

    /// Does `work` to each item, side by side; the answers come in the order of the items.
    pub fn map<T: Send, R: Send>(&self, items: Vec<T>, work: impl Fn(T) -> R + Send + Sync) -> Vec<R> {
        match &self.pool {
            Some(pool) => pool.install(|| items.into_par_iter().map(work).collect()),
            None => items.into_iter().map(work).collect(),
        }
    }
}
