//! Which connections are open, and which one is closed to make room for another.
//!
//! A connection *waits* while its client has not sent a whole request, and *works* from then on until the answer is
//! sent. Only waiting connections are ever closed to make room, so that no accepted request loses its answer, and only
//! those that had time to send one: if each new connection closed the one before, a crowd would get no answers at all.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Connections above the limit, in which only the probes are answered. Otherwise a server whose connections are all at
/// work could not say that it lives.
pub const RESERVE: usize = 256;

/// Time to send a request before the connection may be closed.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// For a client that got no answer yet.
    pub new: Duration,
    /// For a client that got one, and is more likely to send a request.
    pub known: Duration,
    /// In the reserve. Short, because new connections may wait for it.
    pub reserve: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self { new: Duration::from_secs(1), known: Duration::from_secs(5), reserve: Duration::from_millis(100) }
    }
}

/// An open connection.
#[derive(Debug)]
pub struct Connection {
    /// Whether it is above the limit, so that only probes are answered.
    pub is_reserve: bool,
    state: Mutex<State>,
    close: Notify,
    is_closing: AtomicBool,
}

#[derive(Clone, Copy, Debug)]
struct State {
    phase: Phase,
    /// Whether it got an answer before.
    is_known: bool,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Waiting(Instant),
    Working,
    /// The answer goes to the socket.
    Answering,
}

impl Connection {
    fn new(is_reserve: bool) -> Self {
        let state = State { phase: Phase::Waiting(Instant::now()), is_known: false };
        Self { is_reserve, state: Mutex::new(state), close: Notify::new(), is_closing: AtomicBool::new(false) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The whole request has arrived.
    pub fn accepted(&self) {
        self.state().phase = Phase::Working;
    }

    /// The answer is about to be written.
    pub fn answering(&self) {
        self.state().phase = Phase::Answering;
    }

    /// Everything written so far has been sent.
    pub fn flushed(&self) {
        let mut state = self.state();
        if let Phase::Answering = state.phase {
            *state = State { phase: Phase::Waiting(Instant::now()), is_known: true };
        }
    }

    /// Returns once the connection should be closed.
    pub async fn closed(&self) {
        while !self.is_closing.load(Ordering::Relaxed) {
            self.close.notified().await;
        }
    }

    fn close(&self) {
        self.is_closing.store(true, Ordering::Relaxed);
        self.close.notify_one();
    }

    /// When its time ends, if it waits.
    fn until(&self, times: Times) -> Option<Instant> {
        let state = *self.state();
        match state.phase {
            Phase::Waiting(since) if self.is_reserve => Some(since + times.reserve),
            Phase::Waiting(since) => Some(since + if state.is_known { times.known } else { times.new }),
            Phase::Working | Phase::Answering => None,
        }
    }
}

/// All open connections of a server.
#[derive(Debug)]
pub struct Connections {
    limit: usize,
    times: Times,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    connections: HashMap<u64, Arc<Connection>>,
}

impl Open {
    /// Closes the waiting connection whose time ended first.
    fn make_room(&mut self, is_reserve: bool, times: Times) -> bool {
        let waiting = self.connections.iter().filter(|(_, connection)| connection.is_reserve == is_reserve);
        let ending = waiting.filter_map(|(&id, connection)| Some((connection.until(times)?, id)));
        let Some((_, id)) = ending.min().filter(|&(until, _)| until <= Instant::now()) else {
            return false;
        };
        if let Some(connection) = self.connections.remove(&id) {
            connection.close();
        }
        true
    }
}

/// A place among the open connections, given back on drop.
#[derive(Debug)]
pub struct Place {
    id: u64,
    all: Arc<Connections>,
    pub connection: Arc<Connection>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.all.open().connections.remove(&self.id);
    }
}

impl Connections {
    pub fn new(limit: usize, times: Times) -> Arc<Self> {
        Arc::new(Self { limit, times, open: Mutex::default() })
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a new connection, if necessary that of a waiting one, else in the reserve. `None` if there is none at
    /// the moment: there will be one soon, since no connection stays in the reserve for long.
    pub fn admit(self: &Arc<Self>) -> Option<Place> {
        let mut open = self.open();
        let ordinary = open.connections.values().filter(|connection| !connection.is_reserve).count();
        let is_reserve = ordinary >= self.limit && !open.make_room(false, self.times);
        if is_reserve && open.connections.len() - ordinary >= RESERVE && !open.make_room(true, self.times) {
            return None;
        }
        let (id, connection) = (open.next, Arc::new(Connection::new(is_reserve)));
        open.next += 1;
        open.connections.insert(id, connection.clone());
        drop(open);
        Some(Place { id, all: self.clone(), connection })
    }

    /// Closes the waiting connection whose time ended first. Returns false if none's has.
    pub fn make_room(&self) -> bool {
        self.open().make_room(false, self.times)
    }

    /// Closes all waiting connections.
    pub fn close_waiting(&self) {
        self.open()
            .connections
            .values()
            .filter(|connection| connection.until(self.times).is_some())
            .for_each(|c| c.close());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_closing(place: &Place) -> bool {
        place.connection.is_closing.load(Ordering::Relaxed)
    }

    #[test]
    fn waiting_connections_make_room_and_working_ones_do_not() {
        let all = Connections::new(
            3,
            Times { known: Duration::from_millis(1), new: Duration::ZERO, reserve: Duration::ZERO },
        );
        let places: Vec<Place> = (0..3).map(|_| all.admit().expect("room")).collect();
        // The first one got an answer, the second one works.
        places[0].connection.accepted();
        places[0].connection.flushed();
        places[0].connection.answering();
        assert!(places[0].connection.until(all.times).is_none());
        places[0].connection.flushed();
        places[1].connection.accepted();
        let fourth = all.admit().expect("the place of the third");
        assert!(is_closing(&places[2]) && !fourth.connection.is_reserve);
        fourth.connection.accepted();
        std::thread::sleep(Duration::from_millis(2));
        let fifth = all.admit().expect("the place of the first");
        assert!(is_closing(&places[0]) && !fifth.connection.is_reserve);
        fifth.connection.accepted();

        let reserve: Vec<Place> = (0..RESERVE).map(|_| all.admit().expect("a reserve")).collect();
        assert!(reserve.iter().all(|place| place.connection.is_reserve && !is_closing(place)));
        let last = all.admit().expect("the place of the first of the reserve");
        assert!(is_closing(&reserve[0]) && last.connection.is_reserve && !is_closing(&reserve[1]));
        for place in reserve.iter().chain([&last]) {
            place.connection.accepted();
        }
        assert!(all.admit().is_none() && !all.make_room());
        drop(fifth);
        assert!(!all.admit().expect("room").connection.is_reserve);

        // Whoever had no time to send a request keeps the place.
        let all = Connections::new(1, Times { reserve: Duration::from_secs(1), ..Times::default() });
        let places: Vec<Place> = (0..=RESERVE).map(|_| all.admit().expect("room")).collect();
        assert!(all.admit().is_none() && places[1].connection.is_reserve && !places.iter().any(is_closing));
    }
}
