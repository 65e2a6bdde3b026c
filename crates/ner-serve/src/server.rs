//! Connections: access, time limits, and shutdown.

use crate::budget::Budget;
use crate::connections::{Connections, Place, RESERVE, Times};
use crate::metrics::Metrics;
use crate::options::{Limits, ServeError, ServerOptions};
use crate::problem::{Kind, Problem};
use crate::request::{ModelFacts, VocabularyFacts};
use crate::routes::{Shared, is_probe, router};
use crate::stream::Impatient;
use crate::turns::Turns;
use crate::worker::{Arriving, work};
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Response, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use ner_annotate::Annotator;
use socket2::{Domain, Socket, Type};
use std::convert::Infallible;
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

/// Time after the farewell for requests that are still arriving. They are not accepted yet, so that the end need not
/// wait for clients that send slowly.
const LAST_BODIES: Duration = Duration::from_secs(2);

/// Pause after a failed `accept` (no file descriptors left), in which a connection may close.
const BREATH: Duration = Duration::from_millis(50);

/// Pause before another try to find a place for a connection.
const MOMENT: Duration = Duration::from_millis(5);

/// Connections that may wait for `accept`; the system may allow fewer. With the 128 of the standard library, a burst
/// makes clients try again after a second.
const BACKLOG: i32 = 4096;

/// Maximum bytes of a request's head, and of data that a connection has read and not yet used.
const HEAD: usize = 16 << 10;
const BUFFER: usize = 32 << 10;

/// File descriptors for everything but connections.
const OTHER_FILES: u64 = 64;

impl Door {
    pub fn bind(address: SocketAddr, options: ServerOptions) -> Result<Self, ServeError> {
        options.check(address)?;
        let listen = |source| ServeError::Listen { address, source };
        let listener = listener(address).map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        Ok(Self { listener, address, options, stop: Arc::new(watch::Sender::new(false)) })
    }

    pub fn stopper(&self) -> Stopper {
        Stopper(self.stop.clone())
    }

    /// Serves `router` until stopped, then sets `is_ending` and answers all accepted requests.
    pub fn serve(self, router: Router, is_ending: &AtomicBool) -> Result<(), ServeError> {
        let threads = std::thread::available_parallelism().map_or(2, |threads| threads.get().max(2));
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
            models: ModelFacts::of(&annotator),
            vocabularies: VocabularyFacts::of(&annotator),
            encoders: annotator.tokenizers(),
            jobs,
            arriving: arriving.clone(),
            queue: Arc::new(Semaphore::new(options.limits.queue)),
            bytes: Budget::new(options.limits.bodies),
            turns: Turns::new(options.limits.body),
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
    http.timer(TokioTimer::new()).header_read_timeout(limits.head_time).max_header_size(HEAD).max_buf_size(BUFFER);
    let (graceful, connections) =
        (GracefulShutdown::new(), Connections::new(possible(limits.connections), Times::default()));
    let accept = || async {
        match listener.accept().await {
            Ok((stream, _)) => {
                let place = loop {
                    match connections.admit() {
                        Some(place) => break place,
                        None => tokio::time::sleep(MOMENT).await,
                    }
                };
                let _ = stream.set_nodelay(true);
                let connection = place.connection.clone();
                let stream = TokioIo::new(Impatient::new(stream, limits.answer_time, connection.clone()));
                let served = graceful.watch(http.serve_connection(stream, service(router.clone(), &place)));
                tokio::spawn(async move {
                    tokio::select! {
                        // hyper's errors contain nothing of the data.
                        Err(error) = served => debug!("a connection ended: {error}"),
                        () = connection.closed() => debug!("a connection was closed before its request arrived"),
                        else => {}
                    }
                    drop(place);
                });
            }
            // No file descriptors are left.
            Err(error) => {
                if connections.make_room() {
                    tokio::task::yield_now().await;
                } else {
                    warn!("cannot accept a connection: {error}");
                    tokio::time::sleep(BREATH).await;
                }
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
    let longest = LAST_BODIES + limits.time + limits.answer_time;
    let ended = tokio::time::timeout(longest, graceful.shutdown());
    tokio::pin!(ended);
    let ended = loop {
        tokio::select! {
            ended = &mut ended => break ended,
            // Again and again: connections that are at work now may wait for another request later.
            () = tokio::time::sleep(LAST_BODIES) => connections.close_waiting(),
        }
    };
    if ended.is_err() {
        warn!("closing connections that are still open after {} s", longest.as_secs_f64());
    }
    Ok(())
}

/// Listens as [`TcpListener::bind`] does, with a longer queue.
fn listener(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // A restarted server can use its address at once. On Windows the option would share the address with others.
    socket.set_reuse_address(cfg!(unix))?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// As many connections as the system's limit of open files allows, with the reserve.
fn possible(connections: usize) -> usize {
    let others = OTHER_FILES + RESERVE as u64;
    // The limit is soft for programs that cannot handle large numbers (`select`); the hard one counts.
    let Ok(files) = rlimit::increase_nofile_limit(connections as u64 + others) else { return connections };
    let possible = usize::try_from(files.saturating_sub(others)).unwrap_or(usize::MAX).max(1);
    if possible < connections {
        warn!("the limit of {files} open files (ulimit -Hn) leaves room for {possible} connections, not {connections}");
    }
    possible.min(connections)
}

/// The router as a connection's service, which says when a request begins and is answered.
fn service(
    router: Router,
    place: &Place,
) -> impl Service<hyper::Request<Incoming>, Response = Response<Body>, Error = Infallible, Future: Send> + use<> {
    let (router, connection) = (TowerToHyperService::new(router), place.connection.clone());
    service_fn(move |mut request: hyper::Request<Incoming>| {
        let (connection, is_shed) = (connection.clone(), connection.is_reserve && !is_probe(request.uri().path()));
        request.extensions_mut().insert(connection.clone());
        // Routes with a body report it once they have read it.
        if hyper::body::Body::is_end_stream(request.body()) {
            connection.accepted();
        }
        let answer = (!is_shed).then(|| router.call(request));
        async move {
            let response = match answer {
                Some(answer) => answer.await?,
                None => {
                    let detail = "all connections are in use; try again later";
                    let mut response = Problem::new(Kind::Overloaded, detail).response();
                    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                    response
                }
            };
            connection.answering();
            Ok(response)
        }
    })
}
