//! Settings of a server, and why it does not start.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// Settings of a server.
#[derive(Clone, Debug, Default)]
pub struct ServerOptions {
    /// Bearer token that requests must send; `None` accepts everyone.
    pub token: Option<String>,
    /// Whether other machines may connect without a token.
    pub open_without_token: bool,
    /// Host names that requests without a token may name, besides localhost and IP addresses.
    pub host_names: Vec<String>,
    /// Limits of requests.
    pub limits: Limits,
}

impl ServerOptions {
    /// Checks whether a server with these settings may listen on an address.
    ///
    /// # Errors
    /// If other machines could connect without a token, or the token or a host name is invalid.
    pub fn check(&self, address: SocketAddr) -> Result<(), ServeError> {
        match &self.token {
            Some(token) if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) => {
                Err(ServeError::BadToken)
            }
            None if !address.ip().is_loopback() && !self.open_without_token => Err(ServeError::TokenNeeded(address)),
            _ => match self.host_names.iter().find(|name| !is_host_name(name)) {
                Some(name) => Err(ServeError::BadHostName(name.escape_debug().to_string())),
                None => Ok(()),
            },
        }
    }
}

/// Whether a name can be a `Host` without a port: letters, digits, `-`, `_` and dots.
fn is_host_name(name: &str) -> bool {
    let is_part =
        |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    name.split('.').all(is_part)
}

/// Limits of requests.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Maximum bytes of a body.
    pub body: usize,
    /// Maximum bytes of all bodies in progress, and of answers that are being sent.
    pub bodies: usize,
    /// Maximum documents per request.
    pub documents: usize,
    /// Maximum requests in progress.
    pub queue: usize,
    /// Maximum connections. A further one takes the place of one without a whole request; if there is none, only probes
    /// are answered.
    pub connections: usize,
    /// Time from the end of a request's body to its response.
    pub time: Duration,
    /// Time to receive the body.
    pub body_time: Duration,
    /// Time to receive the next 64 KiB of the body, or the rest.
    pub body_step_time: Duration,
    /// Time for a client to receive the next 64 KiB of its response, or the rest.
    pub answer_time: Duration,
    /// Time to receive the head, after the connection is opened or the previous response is sent.
    pub head_time: Duration,
    /// Time that a request may wait to be batched with others.
    pub patience: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 8 << 20,
            bodies: 128 << 20,
            documents: 1000,
            queue: 256,
            connections: 4096,
            time: Duration::from_secs(120),
            body_time: Duration::from_secs(30),
            body_step_time: Duration::from_secs(10),
            answer_time: Duration::from_secs(30),
            head_time: Duration::from_secs(30),
            patience: Duration::from_millis(3),
        }
    }
}

/// Why a server does not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Other machines could connect without a token.
    #[error(
        "{0} is reachable from other machines, so the server needs a token or an explicit choice to run without one"
    )]
    TokenNeeded(SocketAddr),
    /// An invalid token.
    #[error("the token is empty, or has characters other than visible ASCII, which a header cannot carry")]
    BadToken,
    /// An invalid host name.
    #[error("{0} is not a host name; give it without scheme, port and path")]
    BadHostName(String),
    /// The server cannot listen on the address.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The cause.
        source: io::Error,
    },
    /// Threads or the runtime cannot be created.
    #[error("the server cannot run")]
    Run(#[from] io::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_hold_no_scheme_port_or_path() {
        for name in ["ward", "ward-3.example", "a_b"] {
            assert!(is_host_name(name), "{name}");
        }
        for name in ["", "http://ward", "ward:8642", "ward/", "*.example", "a b", ".", "ward."] {
            assert!(!is_host_name(name), "{name}");
        }
    }
}
