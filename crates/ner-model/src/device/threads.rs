//! How many threads compute.

use std::num::NonZero;
use std::thread::available_parallelism;

/// Threads at most, asked or not: starting more takes minutes and helps nowhere.
pub const MOST_THREADS: usize = 512;

/// Without a limit from outside, the machine may be shared: then no more threads than this, unless asked.
const MOST_UNASKED: usize = 16;

/// Where a number of threads comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThreadSource {
    /// An option.
    Asked,
    /// The variable `OMP_NUM_THREADS`.
    OmpNumThreads,
    /// The quota of this process's cgroup, or the CPUs that it may run on.
    Granted,
    /// The machine's cores, since nothing limits them.
    Cores,
}

/// Sets the number of threads that libtorch, [`Workers`](crate::Workers) and tokenizers use, and returns it: `asked`, else
/// `OMP_NUM_THREADS` (from 1 to [`MOST_THREADS`]), else the quota of the cgroup and the affinity mask. If those allow all
/// cores, at most 16. Call it before anything else computes.
pub fn set_threads(asked: Option<NonZero<usize>>) -> (usize, ThreadSource) {
    // The standard library asks for the mask and for quotas of cgroups, versions 1 and 2.
    let allowed = available_parallelism().map_or(1, usize::from);
    let variable = std::env::var("OMP_NUM_THREADS").ok();
    let (threads, source) = choose(asked.map(usize::from), variable.as_deref(), allowed, cores().unwrap_or(allowed));
    tch::set_num_threads(threads as i32);
    // An error means that the pool exists; it then keeps its threads.
    let _ = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
    (threads, source)
}

fn choose(asked: Option<usize>, variable: Option<&str>, allowed: usize, cores: usize) -> (usize, ThreadSource) {
    // Of a list, OpenMP's first level counts.
    let variable = variable
        .and_then(|value| value.split(',').next()?.trim().parse().ok())
        .filter(|threads| (1..=MOST_THREADS).contains(threads));
    match (asked, variable) {
        (Some(threads), _) => (threads, ThreadSource::Asked),
        (None, Some(threads)) => (threads, ThreadSource::OmpNumThreads),
        _ if allowed < cores => (allowed, ThreadSource::Granted),
        _ => (allowed.min(MOST_UNASKED), ThreadSource::Cores),
    }
}

/// The machine's cores that are switched on (Linux).
fn cores() -> Option<usize> {
    let ranges = fs_err::read_to_string("/sys/devices/system/cpu/online").ok()?;
    let count = |range: &str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(last.parse::<usize>().ok()? + 1 - first.parse::<usize>().ok()?)
    };
    ranges.trim().split(',').map(count).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_threads_is_asked_for_or_granted() {
        use ThreadSource::{Asked, Cores, Granted, OmpNumThreads};
        let check = |asked, variable, allowed, cores, expected| {
            assert_eq!(
                choose(asked, variable, allowed, cores),
                expected,
                "{asked:?}, {variable:?}, {allowed}, {cores}"
            );
        };
        check(Some(64), Some("2"), 8, 64, (64, Asked));
        check(None, Some("2,4"), 8, 64, (2, OmpNumThreads));
        check(None, Some("0"), 8, 64, (8, Granted));
        check(None, Some("100000"), 8, 64, (8, Granted));
        check(None, Some("many"), 40, 64, (40, Granted));
        check(None, None, 64, 64, (16, Cores));
        check(None, None, 2, 2, (2, Cores));
        assert!(cores().is_none_or(|cores| cores >= available_parallelism().map_or(1, usize::from)));
    }
}
