//! Connections: access, time limits, and shutdown.

use crate::metrics::Metrics;
use crate::options::{Limits, ServeError, ServerOptions};
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

/// Statistics of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Answered requests, with any status.
    pub answered: u64,
    /// Requests whose client disconnected before the response, or that a forced shutdown cut.
    pub abandoned: u64,
    /// Documents in the answered requests.
    pub documents: u64,
}

/// A listening address, for either server.
pub(crate) struct Door {
    listener: TcpListener,
    pub address: SocketAddr,
    pub options: ServerOptions,
    stop: Arc<watch::Sender<bool>>,
}

/// A listening annotation server.
pub struct Server {
    door: Door,
    annotator: Annotator,
}

/// Stops a server from any thread.
#[derive(Clone, Debug)]
pub struct Stopper(Arc<watch::Sender<bool>>);

impl Stopper {
    /// Asks the server to finish its requests and stop.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

/// Time between the stop request and the end of listening. Responses in this time announce that the connection closes,
/// so that clients do not send into a closed connection.
const FAREWELL: Duration = Duration::from_millis(300);

/// Pause after a failed `accept` (no file descriptors left), in which a connection may close.
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

    /// Serves `router` until stopped, then sets `is_ending` and answers all accepted requests.
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
    /// Starts listening. Connections are accepted once it [runs](Self::run).
    ///
    /// # Errors
    /// If the address is unavailable, or is reachable from other machines without a token.
    pub fn bind(annotator: Annotator, address: SocketAddr, options: ServerOptions) -> Result<Self, ServeError> {
        Ok(Self { door: Door::bind(address, options)?, annotator })
    }

    /// Its address, with the actual port if 0 was requested.
    pub const fn address(&self) -> SocketAddr {
        self.door.address
    }

    /// A handle to stop the server.
    pub fn stopper(&self) -> Stopper {
        self.door.stopper()
    }

    /// Serves until stopped, and answers all accepted requests.
    ///
    /// # Errors
    /// If threads cannot be created.
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
            // Warms up: the first computation of a process is slower.
            let _ = annotator.annotate("Warm.");
            work(&annotator, &receiver, &arriving, patience, &metrics);
        })?;
        let served = door.serve(router(shared.clone()), &shared.is_ending);
        let summary = Summary {
            answered: shared.answered.load(Ordering::Relaxed),
            abandoned: shared.abandoned.load(Ordering::Relaxed),
            documents: shared.documents.load(Ordering::Relaxed),
        };
        // The models stop once nothing can send them requests.
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
        // Never closed, so a permit becomes free eventually.
        let Ok(place) = connections.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let _ = stream.set_nodelay(true);
                let stream = TokioIo::new(Impatient::new(stream, limits.answer_time));
                let connection = graceful.watch(http.serve_connection(stream, service.clone()));
                tokio::spawn(async move {
                    if let Err(error) = connection.await {
                        // hyper's errors contain nothing of the data.
                        debug!("a connection ended: {error}");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                warn!("cannot accept a connection: {error}");
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
    // No request takes longer; a client that does not read its response must not keep the process alive.
    let longest = limits.head_time.max(limits.body_time) + limits.time;
    if tokio::time::timeout(longest, graceful.shutdown()).await.is_err() {
        warn!("closing connections that are still open after {} s", longest.as_secs_f64());
    }
    Ok(())
}
