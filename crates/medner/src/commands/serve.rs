//! `medner serve`: models behind HTTP, and the page.

use crate::args::ModelArgs;
use crate::terminal::interrupt;
use crate::terminal::stdout::stdout;
use anyhow::{Context, Result};
use ner_serve::{Limits, ServeError, Server, ServerOptions};
use std::env::VarError;
use std::io::Write;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;
use tracing::{info, warn};

/// Answer requests over HTTP, and show a page to try the models
///
/// The models are loaded once and answer until Ctrl-C or SIGTERM, after which everything that was accepted is still
/// answered. Requests that come together are computed together. The address is the one line on stdout; every request is
/// a line on stderr, without a word of its text.
///
/// The server listens on this machine alone. On any other --host it needs a token, which every request then has to bear
/// (`Authorization: Bearer TOKEN`), or --no-token. It speaks plain HTTP: in front of it, on a network, belongs something
/// that speaks TLS.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  medner serve --model bc5cdr                       then open http://127.0.0.1:8642/ in a browser
  medner serve --model i2b2 --model path/to/folder --categories mine.toml
  MEDNER_TOKEN=$(openssl rand -hex 32) medner serve --model bc5cdr --host 0.0.0.0
  curl -s http://127.0.0.1:8642/v1/annotate --json '{\"text\": \"Aspirin relieved the fever.\"}'
  curl -s http://127.0.0.1:8642/v1/annotate --json '{\"documents\": [{\"id\": \"a\", \"text\": \"No fever.\"}],
      \"min_confidence\": {\"Disease\": 0.8}, \"offsets\": \"bytes\"}'

Paths: POST /v1/annotate, GET /v1/models, /healthz, /readyz, /metrics (Prometheus), /openapi.json (describes them all), and
the page at /. Errors are application/problem+json: 400 or 422 for a body that is no request, 401, 408, 413, 415, 503 with
Retry-After when as much is at work as may be, 504 for what takes too long.")]
pub struct Args {
    #[command(flatten)]
    models: ModelArgs,
    #[command(flatten)]
    listen: ListenArgs,
    /// Most megabytes (2^20 bytes) of a request's body
    #[arg(long, value_name = "MB", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1024))]
    max_body: u16,
    /// Most documents of a request
    #[arg(long, value_name = "N", default_value_t = Limits::default().documents)]
    max_documents: usize,
    /// Most requests at work at once; more are answered 503
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..))]
    max_queue: u16,
    /// Most seconds from a request's last byte to its answer
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u16).range(1..))]
    timeout: u16,
}

/// Where a server listens, and whom it answers.
#[derive(clap::Args)]
pub struct ListenArgs {
    /// Address or name to listen on; 0.0.0.0 is every IPv4 address of this machine
    #[arg(long, value_name = "HOST", default_value = "127.0.0.1")]
    host: String,
    /// Port; 0 takes one that is free
    #[arg(long, value_name = "N", default_value_t = 8642)]
    port: u16,
    /// What requests must bear [default: MEDNER_TOKEN, which other users of this machine cannot see]
    #[arg(long, value_name = "TOKEN", conflicts_with = "no_token")]
    token: Option<String>,
    /// Listen on other addresses without a token: whoever reaches the port can use it
    #[arg(long)]
    no_token: bool,
}

impl ListenArgs {
    /// The address.
    ///
    /// # Errors
    /// Where the host has none.
    pub fn address(&self) -> Result<SocketAddr> {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        let mut found = (host, self.port)
            .to_socket_addrs()
            .with_context(|| format!("--host {host} is no address of this machine"))?;
        found.next().with_context(|| format!("--host {host} has no address"))
    }

    /// The token, and the usual limits.
    ///
    /// # Errors
    /// Where `MEDNER_TOKEN` cannot be read.
    pub fn options(&self) -> Result<ServerOptions> {
        let token = match (&self.token, self.no_token) {
            (_, true) => None,
            (Some(token), _) => Some(token.clone()),
            (None, _) => match std::env::var("MEDNER_TOKEN") {
                Err(VarError::NotPresent) => None,
                // One that cannot be read is not none.
                read => Some(read.context("MEDNER_TOKEN")?),
            },
        };
        Ok(ServerOptions { token, open_without_token: self.no_token, limits: Limits::default() })
    }
}

/// Serves until it is interrupted.
///
/// # Errors
/// Where a model cannot be loaded or the address cannot be had.
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
    // Before the models are loaded, which takes a while.
    options.check(address).map_err(explained)?;
    let server = Server::bind(args.models.selection().load()?.0, address, options).map_err(explained)?;
    let stopper = server.stopper();
    interrupt::on_stop("finishing what was accepted", move || stopper.stop())?;
    let mut out = stdout();
    writeln!(out, "http://{}/", server.address())?;
    out.flush()?;
    info!("listening on {}; Ctrl-C ends it", server.address());
    let summary = server.run()?;
    info!("{} requests answered, {} documents", summary.answered, summary.documents);
    if summary.abandoned > 0 {
        warn!("{} requests were abandoned by their clients, or cut off", summary.abandoned);
    }
    Ok(())
}

/// With what on the command line helps.
pub fn explained(error: ServeError) -> anyhow::Error {
    let hint = match error {
        ServeError::TokenNeeded(_) => "say MEDNER_TOKEN or --token, or --no-token to let everybody in",
        ServeError::Listen { .. } => "another --port or --host may do",
        _ => return error.into(),
    };
    let what = format!("{error}; {hint}");
    anyhow::Error::new(error).context(what)
}
