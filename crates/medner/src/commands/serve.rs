//! `medner serve`: serves models over HTTP, with a page to try them.

use crate::args::{ContextArgs, ModelArgs};
use crate::terminal::interrupt;
use crate::terminal::stdout::stdout;
use crate::vocabularies::LinkArgs;
use anyhow::{Context, Result, bail};
use ner_serve::{Limits, ServeError, Server, ServerOptions};
use std::env::VarError;
use std::io::Write;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::time::Duration;
use tracing::{info, warn};

/// Serve models over HTTP, with a page to try them
///
/// The models are loaded once. On Ctrl-C or SIGTERM the server finishes all accepted requests before it exits.
/// Concurrent requests are batched. stdout gets one line, the address; stderr gets one line per request, without its
/// text.
///
/// By default the server accepts only connections from this machine. For any other --host, set a token, which every
/// request must send (`Authorization: Bearer TOKEN`), or pass --no-token. The server speaks plain HTTP: on a network,
/// put a TLS proxy in front of it.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  medner serve --model bc5cdr                       then open http://127.0.0.1:8642/ in a browser
  medner serve --model bc5cdr --vocabulary Disease=doid.voc --vocabulary Chemical=mesh.voc
  medner serve --model i2b2 --model path/to/folder --categories mine.toml
  MEDNER_TOKEN=$(openssl rand -hex 32) medner serve --model bc5cdr --host 0.0.0.0
  curl -s http://127.0.0.1:8642/v1/annotate --json '{\"text\": \"Aspirin relieved the fever.\"}'
  curl -s http://127.0.0.1:8642/v1/annotate --json '{\"documents\": [{\"id\": \"a\", \"text\": \"No fever.\"}],
      \"min_confidence\": {\"Disease\": 0.8}, \"offsets\": \"bytes\"}'

Paths: POST /v1/annotate, GET /v1/models, /healthz, /readyz, /metrics (Prometheus), /openapi.json (describes them all),
and the page at /. Errors are application/problem+json: 400 or 422 for an invalid body, 401, 408, 413, 415, 421 for a
foreign host name, 503 with Retry-After if the server is at its limit of requests, 504 for a request that takes too
long.")]
pub struct Args {
    #[command(flatten)]
    models: ModelArgs,
    #[command(flatten)]
    context: ContextArgs,
    #[command(flatten)]
    linking: LinkArgs,
    #[command(flatten)]
    listen: ListenArgs,
    /// Maximum size of a request body in megabytes (2^20 bytes)
    #[arg(long, value_name = "MB", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1024))]
    max_body: u16,
    /// Maximum number of documents per request
    #[arg(long, value_name = "N", default_value_t = Limits::default().documents)]
    max_documents: usize,
    /// Maximum number of concurrent requests; further ones get 503
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..))]
    max_queue: u16,
    /// Maximum seconds from a request's last byte to its response
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u16).range(1..))]
    timeout: u16,
}

/// Where a server listens, and which requests it accepts.
#[derive(clap::Args)]
pub struct ListenArgs {
    /// Address or host name to listen on; 0.0.0.0 means every IPv4 address of this machine
    #[arg(long, value_name = "HOST", default_value = "127.0.0.1")]
    host: String,
    /// Port; 0 chooses a free one
    #[arg(long, value_name = "N", default_value_t = 8642)]
    port: u16,
    /// Token that requests must send [default: $MEDNER_TOKEN, which hides it from other users of this machine]
    #[arg(long, value_name = "TOKEN", conflicts_with = "no_token")]
    token: Option<String>,
    /// Listen on other addresses without a token: anyone who reaches the port can use the server
    #[arg(long)]
    no_token: bool,
    /// Host name that clients use for this server, besides localhost, IP addresses and --host; repeatable. Without a
    /// token, requests that name another host are refused, so that a foreign web page cannot use the server through its
    /// visitors' browsers
    #[arg(long = "host-name", value_name = "NAME")]
    host_names: Vec<String>,
}

impl ListenArgs {
    /// The address.
    ///
    /// # Errors
    /// If the host has no address.
    pub fn address(&self) -> Result<SocketAddr> {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        let mut found = (host, self.port).to_socket_addrs().with_context(|| format!("cannot resolve --host {host}"))?;
        found.next().with_context(|| format!("--host {host} has no address"))
    }

    /// The token, the host names, and the default limits.
    ///
    /// # Errors
    /// If `MEDNER_TOKEN` is not valid Unicode, or host names would have no effect.
    pub fn options(&self) -> Result<ServerOptions> {
        let token = match (&self.token, self.no_token) {
            (_, true) => None,
            (Some(token), _) => Some(token.clone()),
            (None, _) => match std::env::var("MEDNER_TOKEN") {
                Err(VarError::NotPresent) => None,
                // An unreadable token must not count as a missing one.
                read => Some(read.context("MEDNER_TOKEN")?),
            },
        };
        if token.is_some() && !self.host_names.is_empty() {
            bail!(
                "--host-name has no effect with a token, which lets in requests to any host name; leave one of them out"
            );
        }
        let mut host_names = self.host_names.clone();
        let is_name = self.host.parse::<IpAddr>().is_err() && !self.host.starts_with('[');
        host_names.extend(is_name.then(|| self.host.clone()));
        Ok(ServerOptions { token, open_without_token: self.no_token, host_names, limits: Limits::default() })
    }
}

/// Serves until interrupted.
///
/// # Errors
/// If a model cannot be loaded or the address is unavailable.
pub fn run(args: &Args) -> Result<()> {
    let body = usize::from(args.max_body) << 20;
    let defaults = Limits::default();
    let limits = Limits {
        body,
        bodies: defaults.bodies.max(2 * body),
        documents: args.max_documents,
        queue: args.max_queue.into(),
        time: Duration::from_secs(args.timeout.into()),
        ..defaults
    };
    let address = args.listen.address()?;
    let options = ServerOptions { limits, ..args.listen.options()? };
    // Checked before loading the models, which takes a while.
    options.check(address).map_err(explained)?;
    let annotator = args.linking.apply(args.context.apply(args.models.selection().load()?.0)?)?;
    let server = Server::bind(annotator, address, options).map_err(explained)?;
    let stopper = server.stopper();
    interrupt::on_stop("finishing the accepted requests", move || stopper.stop())?;
    let mut out = stdout();
    writeln!(out, "http://{}/", server.address())?;
    out.flush()?;
    info!("listening on {}; press Ctrl-C to stop", server.address());
    let summary = server.run()?;
    info!("answered {} requests with {} documents", summary.answered, summary.documents);
    if summary.abandoned > 0 {
        warn!("{} requests were abandoned by their clients or disconnected", summary.abandoned);
    }
    Ok(())
}

/// Adds the options that help.
pub fn explained(error: ServeError) -> anyhow::Error {
    let hint = match error {
        ServeError::TokenNeeded(_) => "set MEDNER_TOKEN or --token, or --no-token to accept everyone",
        ServeError::Listen { .. } => "try another --port or --host",
        _ => return error.into(),
    };
    let what = format!("{error}; {hint}");
    anyhow::Error::new(error).context(what)
}
