//! Connections: who may come, how slow they may be, and how it ends.

use crate::metrics::Metrics;
use crate::request::ModelFacts;
use crate::routes::{Shared, router};
use crate::stream::Impatient;
use crate::worker::{Arriving, work};
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use ner_annotate::Annotator;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;
use tokio::sync::{Semaphore, watch};
use tracing::{debug, warn};

/// How a server is set up.
#[derive(Clone, Debug, Default)]
pub struct ServerOptions {
    /// The bearer token that requests must have; none lets everybody in.
    pub token: Option<String>,
    /// Whether it may be reached from other machines without a token.
    pub open_without_token: bool,
    /// What requests may take.
    pub limits: Limits,
}

impl ServerOptions {
    /// Whether a server may listen on an address as it is set up.
    ///
    /// # Errors
    /// Where the address is open to others without a token, or the token is none.
    pub fn check(&self, address: SocketAddr) -> Result<(), ServeError> {
        match &self.token {
            Some(token) if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) => {
                Err(ServeError::BadToken)
            }
            None if !address.ip().is_loopback() && !self.open_without_token => Err(ServeError::TokenNeeded(address)),
            _ => Ok(()),
        }
    }
}

/// What requests may take.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of a body.
    pub body: usize,
    /// Bytes of all bodies that are read or at work.
    pub bodies: usize,
    /// Documents of a request.
    pub documents: usize,
    /// Requests that are at work at once.
    pub queue: usize,
    /// Connections; more wait to be accepted.
    pub connections: usize,
    /// From the end of a request's body to its answer.
    pub time: Duration,
    /// For the body to come.
    pub body_time: Duration,
    /// For a client to take the next 64 KiB of its answer, or the rest.
    pub answer_time: Duration,
    /// For the head to come, from the opening of the connection or the answer before.
    pub head_time: Duration,
    /// That a request may wait for others to be computed with.
    pub patience: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 8 << 20,
            bodies: 128 << 20,
            documents: 1000,
            queue: 256,
            connections: 1024,
            time: Duration::from_secs(120),
            body_time: Duration::from_secs(30),
            answer_time: Duration::from_secs(30),
            head_time: Duration::from_secs(30),
            patience: Duration::from_millis(3),
        }
    }
}

/// Why a server does not start, or ends.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Others could send it texts, and read what was found in theirs.
    #[error(
        "{0} is reached from other machines, so that a server there needs a token, or to be told that it needs none"
    )]
    TokenNeeded(SocketAddr),
    /// A token that is no secret.
    #[error("the token is empty, or holds characters that no header can (anything but visible ASCII)")]
    BadToken,
    /// The address cannot be listened on.
    #[error("{address} cannot be listened on")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Threads or the runtime could not be had.
    #[error("the server cannot run")]
    Run(#[from] io::Error),
}

/// What a server did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Requests that were answered, whatever the status.
    pub answered: u64,
    /// Requests whose client went before the answer, or that an end without patience cut off.
    pub abandoned: u64,
    /// Documents of the requests that were answered.
    pub documents: u64,
}

/// An address that is listened on, whatever is behind it.
pub(crate) struct Door {
    listener: TcpListener,
    pub address: SocketAddr,
    pub options: ServerOptions,
    stop: Arc<watch::Sender<bool>>,
}

/// A server that listens.
pub struct Server {
    door: Door,
    annotator: Annotator,
}

/// Ends a server from any thread.
#[derive(Clone, Debug)]
pub struct Stopper(Arc<watch::Sender<bool>>);

impl Stopper {
    /// Has the server finish what it has, and end.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

/// Between the wish to end and the end of listening: answers say by then that their connection closes, so that a client
/// with an open one does not send into the void.
const FAREWELL: Duration = Duration::from_millis(300);

/// After an `accept` that failed (no file descriptor is left): an open connection may end meanwhile.
const BREATH: Duration = Duration::from_millis(50);

impl Door {
    pub fn bind(address: SocketAddr, options: ServerOptions) -> Result<Self, ServeError> {
        options.check(address)?;
        let listen = |source| ServeError::Listen { address, source };
        let listener = TcpListener::bind(address).map_err(listen)?;
        listener.set_nonblocking(true).map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        Ok(Self { listener, address, options, stop: Arc::new(watch::Sender::new(false)) })
    }

    pub fn stopper(&self) -> Stopper {
        Stopper(self.stop.clone())
    }

    /// Answers by `router` until it is stopped, which `is_ending` says to it, and all that was accepted is answered.
    pub fn serve(self, router: Router, is_ending: &AtomicBool) -> Result<(), ServeError> {
        let threads = std::thread::available_parallelism().map_or(2, usize::from);
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(threads).build()?;
        let limits = &self.options.limits;
        let served = runtime.block_on(serve(self.listener, router, limits, is_ending, self.stop.subscribe()));
        runtime.shutdown_timeout(limits.time);
        Ok(served?)
    }
}

impl Server {
    /// Listens. Connections are accepted once it [runs](Self::run).
    ///
    /// # Errors
    /// Where the address cannot be had, or is open to others without a token.
    pub fn bind(annotator: Annotator, address: SocketAddr, options: ServerOptions) -> Result<Self, ServeError> {
        Ok(Self { door: Door::bind(address, options)?, annotator })
    }

    /// Where it listens; the port is the one that was had where none was asked for.
    pub const fn address(&self) -> SocketAddr {
        self.door.address
    }

    /// What ends it.
    pub fn stopper(&self) -> Stopper {
        self.door.stopper()
    }

    /// Serves until it is stopped and everything that was accepted is answered.
    ///
    /// # Errors
    /// Where threads cannot be had.
    pub fn run(self) -> Result<Summary, ServeError> {
        let Self { door, annotator } = self;
        let options = &door.options;
        let (jobs, receiver) = mpsc::channel();
        let (arriving, metrics) = (Arc::new(Arriving::default()), Arc::new(Metrics::default()));
        let shared = Arc::new(Shared {
            models: annotator.models().iter().map(ModelFacts::of).collect(),
            encoders: annotator.tokenizers(),
            jobs,
            arriving: arriving.clone(),
            queue: Arc::new(Semaphore::new(options.limits.queue)),
            bytes: Arc::new(Semaphore::new(options.limits.bodies.min(Semaphore::MAX_PERMITS))),
            metrics: metrics.clone(),
            is_ending: AtomicBool::new(false),
            answered: AtomicU64::new(0),
            abandoned: AtomicU64::new(0),
            documents: AtomicU64::new(0),
            options: options.clone(),
        });
        let patience = options.limits.patience;
        let computing = std::thread::Builder::new().name("models".into()).spawn(move || {
            // The first computation of a process takes longer than those after it.
            let _ = annotator.annotate("Warm.");
            work(&annotator, &receiver, &arriving, patience, &metrics);
        })?;
        let served = door.serve(router(shared.clone()), &shared.is_ending);
        let summary = Summary {
            answered: shared.answered.load(Ordering::Relaxed),
            abandoned: shared.abandoned.load(Ordering::Relaxed),
            documents: shared.documents.load(Ordering::Relaxed),
        };
        // The models end once nobody can send them anything.
        drop(shared);
        if let Err(panic) = computing.join() {
            std::panic::resume_unwind(panic);
        }
        served?;
        Ok(summary)
    }
}

async fn serve(
    listener: TcpListener,
    router: Router,
    limits: &Limits,
    is_ending: &AtomicBool,
    mut stop: watch::Receiver<bool>,
) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.head_time);
    let service = TowerToHyperService::new(router);
    let (graceful, connections) = (GracefulShutdown::new(), Arc::new(Semaphore::new(limits.connections)));
    let accept = || async {
        // Never closed, so that there is always a place some time.
        let Ok(place) = connections.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let _ = stream.set_nodelay(true);
                let stream = TokioIo::new(Impatient::new(stream, limits.answer_time));
                let connection = graceful.watch(http.serve_connection(stream, service.clone()));
                tokio::spawn(async move {
                    if let Err(error) = connection.await {
                        // hyper's words for what is wrong with a connection hold nothing of what came over it.
                        debug!("a connection ended: {error}");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                warn!("a connection could not be accepted: {error}");
                tokio::time::sleep(BREATH).await;
            }
        }
    };
    loop {
        tokio::select! {
            () = accept() => {}
            _ = stop.wait_for(|stop| *stop) => break,
        }
    }
    is_ending.store(true, Ordering::Relaxed);
    let farewell = tokio::time::sleep(FAREWELL);
    tokio::pin!(farewell);
    loop {
        tokio::select! {
            () = accept() => {}
            () = &mut farewell => break,
        }
    }
    drop(listener);
    // A request takes no longer than this; a client that does not read its answer must not keep the process.
    let longest = limits.head_time.max(limits.body_time) + limits.time;
    if tokio::time::timeout(longest, graceful.shutdown()).await.is_err() {
        warn!("connections were still open after {} s and are cut", longest.as_secs_f64());
    }
    Ok(())
}
