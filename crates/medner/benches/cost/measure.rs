//! Measurement: rounds with median and spread, and parallel tasks.

use ner_model::Workers;
use serde::{Deserialize, Serialize};
use std::time::Instant;

/// Result of several rounds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Spread {
    pub median: f64,
    /// First and third quartile.
    pub low: f64,
    pub high: f64,
    pub rounds: usize,
}

impl Spread {
    /// Panics without values.
    pub fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |share: f64| values[((values.len() - 1) as f64 * share).round() as usize];
        Self { median: at(0.5), low: at(0.25), high: at(0.75), rounds: values.len() }
    }

    pub fn times(self, factor: f64) -> Self {
        let Self { median, low, high, rounds } = self;
        Self { median: factor * median, low: factor * low, high: factor * high, rounds }
    }

    /// `amount` divided by the values: rates from seconds.
    pub fn rate(self, amount: f64) -> Self {
        let Self { median, low, high, rounds } = self;
        Self { median: amount / median, low: amount / high, high: amount / low, rounds }
    }
}

/// Effort of a measurement.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    pub least_rounds: usize,
    pub most_rounds: usize,
    /// Seconds after which no further round starts, once there are enough.
    pub seconds: f64,
    /// Divisor of batch sizes.
    pub shrink: usize,
}

impl Effort {
    pub const FULL: Self = Self { least_rounds: 5, most_rounds: 25, seconds: 1.0, shrink: 1 };
    /// One small round, to check that everything works.
    pub const QUICK: Self = Self { least_rounds: 1, most_rounds: 1, seconds: 0.0, shrink: 16 };

    /// Values of rounds of `work`, without the first.
    pub fn rounds<T>(self, mut work: impl FnMut() -> anyhow::Result<T>) -> anyhow::Result<Vec<T>> {
        work()?;
        let begin = Instant::now();
        let mut values = Vec::new();
        while values.len() < self.most_rounds
            && (values.len() < self.least_rounds || begin.elapsed().as_secs_f64() < self.seconds)
        {
            values.push(work()?);
        }
        Ok(values)
    }
}

/// Work for one worker.
pub type Task = Box<dyn FnMut() + Send>;

/// Seconds per task while every worker runs one: the mean over the workers in each round.
pub fn side_by_side(workers: &Workers, effort: Effort, task: impl Fn() -> Task) -> anyhow::Result<Spread> {
    let mut tasks: Vec<Task> = (0..workers.count()).map(|_| task()).collect();
    let mut calls = 1;
    let short = Effort { seconds: effort.seconds / 4.0, most_rounds: 15, ..effort };
    let rounds = short.rounds(|| {
        let timed = workers.map(tasks.iter_mut().collect(), |task: &mut Task| {
            let begin = Instant::now();
            (0..calls).for_each(|_| task());
            begin.elapsed().as_secs_f64() / f64::from(calls)
        });
        let mean = timed.iter().sum::<f64>() / timed.len() as f64;
        // Rounds of about ten milliseconds, much longer than reading a clock.
        calls = (0.01 / mean).clamp(1.0, 10_000.0) as i32;
        Ok(mean)
    })?;
    Ok(Spread::of(rounds))
}
