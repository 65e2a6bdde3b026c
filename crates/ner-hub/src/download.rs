//! The downloader: redirects, resumption and checksums. A file appears only when it is complete.
//!
//! During the download of `name`, `name.part` holds the bytes received and `name.part.validator` the version that the
//! server reported (RFC 9110, sections 13.1.5 and 14). A lock on `name.part` excludes other processes.

use std::fs::TryLockError;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use fs_err::{self as fs, File};
use tracing::{info, warn};
use ureq::http::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_RANGE, LAST_MODIFIED,
    LOCATION, RANGE, RETRY_AFTER,
};
use ureq::http::{HeaderMap, HeaderName, Response};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Body, SendBody};

use crate::env::FetchOptions;
use crate::error::Error;
use crate::hash;
use crate::progress::Progress;

const MAX_REDIRECTS: usize = 10;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// Whether a file was downloaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// It existed; nothing was downloaded.
    AlreadyThere,
    /// It was downloaded, its first `resumed_from` bytes by an earlier call.
    Downloaded {
        /// Bytes from an earlier call; 0 if this call downloaded all of it.
        resumed_from: u64,
    },
}

/// A complete file.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The file.
    pub path: PathBuf,
    /// Its size in bytes.
    pub bytes: u64,
    /// Its SHA-256 in lower-case hexadecimal.
    pub sha256: String,
    /// Whether this call downloaded it.
    pub how: How,
}

/// Downloads the file at `url` to `dest`.
///
/// An existing `dest` is kept without a connection if its checksum is `sha256` (hexadecimal) or `sha256` is `None`;
/// otherwise it is downloaded again and replaced. The file is renamed to `dest` once it is complete and its checksum is
/// right. A broken download is retried [`FetchOptions::retries`] times and resumed if the server supports that. The
/// part received stays for the next call.
pub fn fetch(url: &str, dest: &Path, sha256: Option<&str>, options: &FetchOptions) -> Result<Fetched, Error> {
    let label = dest.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    Client::new(options).download(&Job { url, dest, label: &label, sha256, with_token: false })
}

/// One file to download.
pub(crate) struct Job<'a> {
    pub url: &'a str,
    pub dest: &'a Path,
    /// The file's name on the progress bar.
    pub label: &'a str,
    pub sha256: Option<&'a str>,
    /// Send the hub's token, but only to the hub's address.
    pub with_token: bool,
}

/// An HTTP client with its options.
pub(crate) struct Client<'a> {
    agent: ureq::Agent,
    options: &'a FetchOptions,
}

/// The answer at the end of a chain of redirects.
pub(crate) struct Answer {
    pub response: Response<Body>,
    pub url: String,
    /// Address and headers of each answer in the chain, the last one included.
    pub hops: Vec<(String, HeaderMap)>,
}

/// Why an attempt failed, and whether to retry.
struct Failure {
    error: Error,
    again: bool,
    /// The wait that the server asks for.
    wait: Option<Duration>,
}

impl Failure {
    fn last(error: impl Into<Error>) -> Failure {
        Failure { error: error.into(), again: false, wait: None }
    }

    fn passing(error: impl Into<Error>) -> Failure {
        Failure { error: error.into(), again: true, wait: None }
    }
}

impl<'a> Client<'a> {
    pub(crate) fn new(options: &'a FetchOptions) -> Client<'a> {
        let mut config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            // Redirects are followed below: the token must not go to other hosts, and the hub sends headers with
            // redirects.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("medner/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_recv_response(Some(options.stall_timeout))
            // Not a limit on the whole body: large weights over a slow line may take long.
            .timeout_per_read(Some(options.stall_timeout))
            .tls_config(TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build());
        if !options.env.proxy {
            config = config.proxy(None);
        }
        Client { agent: config.build().new_agent(), options }
    }

    /// Requests the headers of `url`, following redirects until `enough` returns true.
    pub(crate) fn head(&self, url: &str, enough: impl Fn(&[(String, HeaderMap)]) -> bool) -> Result<Answer, Error> {
        let mut failures = 0;
        loop {
            let failure = match self.follow(true, url, &[], true, &enough) {
                Ok(answer) => match failure_of_status(&answer) {
                    Some(failure) if failure.again => failure,
                    _ => return Ok(answer),
                },
                Err(failure) => failure,
            };
            failures += 1;
            self.wait_or_give_up(failure, failures)?;
        }
    }

    /// How downloads and uploads are shown.
    pub(crate) fn progress(&self) -> Progress {
        self.options.progress
    }

    /// Sends a body and returns that of the answer. Follows no redirect.
    pub(crate) fn post(
        &self,
        url: &str,
        media_type: &str,
        headers: &[(String, String)],
        body: Vec<u8>,
    ) -> Result<Vec<u8>, Error> {
        let mut request = self.agent.post(url).header(CONTENT_TYPE, media_type).header(ACCEPT, media_type);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let has_own = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization"));
        if let Some(token) = self.token_for(url).filter(|_| !has_own) {
            request = request.header(AUTHORIZATION, token);
        }
        accepted(url, request.send(&body[..]))
    }

    /// Sends a file of `size` bytes to an address that holds its own permission.
    pub(crate) fn put(
        &self,
        url: &str,
        headers: &[(String, String)],
        mut file: impl Read,
        size: u64,
    ) -> Result<(), Error> {
        let mut request = self.agent.put(url).header(CONTENT_LENGTH, size);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        accepted(url, request.send(SendBody::from_reader(&mut file))).map(|_| ())
    }

    /// The hub's token, for the hub's address only.
    fn token_for(&self, url: &str) -> Option<String> {
        let token = self.options.env.token.as_ref()?;
        (origin(url) == origin(&self.options.env.endpoint)).then(|| format!("Bearer {}", token.reveal()))
    }

    /// Sends one request and follows its redirects.
    fn follow(
        &self,
        head: bool,
        url: &str,
        headers: &[(HeaderName, String)],
        with_token: bool,
        enough: &impl Fn(&[(String, HeaderMap)]) -> bool,
    ) -> Result<Answer, Failure> {
        let mut current = url.to_owned();
        let mut hops = Vec::new();
        for _ in 0..=MAX_REDIRECTS {
            let mut request = if head { self.agent.head(&current) } else { self.agent.get(&current) };
            // With a content coding, ranges and sizes would count compressed bytes.
            request = request.header(ACCEPT_ENCODING, "identity");
            for (name, value) in headers {
                request = request.header(name, value);
            }
            if let Some(token) = self.token_for(&current).filter(|_| with_token) {
                request = request.header(AUTHORIZATION, token);
            }
            let response = request.call().map_err(|error| {
                let again = !is_hopeless(&error);
                let error = Error::Unreachable { url: without_query(&current), source: Box::new(error) };
                Failure { error, again, wait: None }
            })?;
            let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok()).map(str::to_owned);
            hops.push((current.clone(), response.headers().clone()));
            let redirects = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
            match location {
                Some(location) if redirects && !enough(&hops) => {
                    let next = join(&current, &location);
                    if current.starts_with("https://") && !next.starts_with("https://") {
                        let problem = "from https to an unencrypted connection";
                        return Err(Failure::last(Error::Redirect { url: without_query(url), problem }));
                    }
                    current = next;
                }
                _ => return Ok(Answer { response, url: current, hops }),
            }
        }
        Err(Failure::last(Error::Redirect { url: without_query(url), problem: "without end" }))
    }

    /// Sleeps before a retry, or returns the error.
    fn wait_or_give_up(&self, failure: Failure, failures: u32) -> Result<(), Error> {
        if !failure.again || failures > self.options.retries {
            return Err(failure.error);
        }
        let doubled = self.options.backoff.saturating_mul(1 << (failures - 1).min(16));
        let wait = failure.wait.unwrap_or(doubled).min(FetchOptions::MAX_BACKOFF);
        warn!(
            "{}; trying again in {:.1} s ({failures} of {})",
            failure.error,
            wait.as_secs_f32(),
            self.options.retries
        );
        std::thread::sleep(wait);
        Ok(())
    }

    /// Downloads one file.
    pub(crate) fn download(&self, job: &Job) -> Result<Fetched, Error> {
        if let Some(there) = already_there(job)? {
            return Ok(there);
        }
        if self.options.env.offline {
            let what = without_query(job.url);
            return Err(Error::Offline { what, looked_in: job.dest.display().to_string() });
        }
        if let Some(folder) = job.dest.parent() {
            fs::create_dir_all(folder)?;
        }
        let part = with_suffix(job.dest, ".part");
        let validator = with_suffix(job.dest, ".part.validator");
        let mut file = open_locked(&part)?;
        // Another process may have finished while we waited for the lock.
        if let Some(there) = already_there(job)? {
            discard(&part, &validator)?;
            return Ok(there);
        }

        let mut resumed_from = file.metadata()?.len();
        if resumed_from > 0 && job.sha256.is_none() && read_validator(&validator).is_none() {
            info!("{}: the version of the partial file is unknown, so the download restarts", job.label);
            file.set_len(0)?;
            resumed_from = 0;
        }
        loop {
            resumed_from = resumed_from.min(self.transfer(job, &mut file, &validator)?);
            file.sync_all()?;
            file.seek(SeekFrom::Start(0))?;
            match hash::verify_reader(&mut file, &without_query(job.url), job.sha256) {
                Ok(sha256) => {
                    let bytes = file.metadata()?.len();
                    fs::rename(&part, job.dest)?;
                    remove_if_there(&validator)?;
                    let how = How::Downloaded { resumed_from };
                    return Ok(Fetched { path: job.dest.to_owned(), bytes, sha256, how });
                }
                // The part of an earlier call may be wrong: retry once, from the start.
                Err(error @ Error::Checksum { .. }) if resumed_from > 0 => {
                    warn!("{error}; downloading it from the start");
                    file.set_len(0)?;
                    resumed_from = 0;
                }
                Err(error) => {
                    discard(&part, &validator)?;
                    return Err(error);
                }
            }
        }
    }

    /// Downloads until the part is complete, over as many connections as it takes. Returns how many of the bytes
    /// present at the start were kept.
    fn transfer(&self, job: &Job, file: &mut File, validator: &Path) -> Result<u64, Error> {
        let mut kept = file.metadata()?.len();
        let mut failures = 0;
        loop {
            let before = file.metadata()?.len();
            let result = self.try_once(job, file, validator);
            match result {
                Ok(from) => return Ok(kept.min(from)),
                Err((failure, from)) => {
                    kept = kept.min(from);
                    failures = if file.metadata()?.len() > before { 1 } else { failures + 1 };
                    self.wait_or_give_up(failure, failures)?;
                }
            }
        }
    }

    /// One request. Both results hold the first byte that was written.
    fn try_once(&self, job: &Job, file: &mut File, validator: &Path) -> Result<u64, (Failure, u64)> {
        let have = file.metadata().map_err(|e| (Failure::last(e), 0))?.len();
        let mut headers = Vec::new();
        if have > 0 {
            headers.push((RANGE, format!("bytes={have}-")));
            headers.extend(read_validator(validator).map(|value| (IF_RANGE, value)));
        }
        let answer =
            self.follow(false, job.url, &headers, job.with_token, &|_| false).map_err(|failure| (failure, have))?;
        let header = |name| answer.response.headers().get(name).and_then(|value| value.to_str().ok());

        let (start, total) = match answer.response.status().as_u16() {
            200 => (0, header(CONTENT_LENGTH).and_then(|n| n.parse().ok())),
            206 => match header(CONTENT_RANGE).and_then(parse_content_range) {
                Some((start, total)) if start == have => (start, total),
                // Not the requested range; a request without a range has no such answer.
                _ => return Err(restart(file, job)),
            },
            // No bytes follow those received. The checksum, or else the size, decides if the file is complete.
            416 if have > 0 && header(CONTENT_RANGE) == Some(&format!("bytes */{have}")) => return Ok(have),
            416 if have > 0 => return Err(restart(file, job)),
            _ => {
                let status = answer.response.status().as_u16();
                let unexpected = || Failure::last(Error::Status { url: without_query(job.url), status });
                return Err((failure_of_status(&answer).unwrap_or_else(unexpected), have));
            }
        };
        let broken = |failure: Failure| (failure, start);
        let disk = |error: std::io::Error| (Failure::last(error), start);
        file.set_len(start).map_err(disk)?;
        file.seek(SeekFrom::Start(start)).map_err(disk)?;
        if start == 0 {
            write_validator(validator, answer.response.headers()).map_err(disk)?;
        }

        let bar = self.options.progress.bytes(job.label, start, total);
        let mut body = answer.response.into_body().into_reader();
        let mut buffer = vec![0; 1 << 16];
        let mut received = start;
        let interrupted = |received, source| {
            Failure::passing(Error::Interrupted { url: without_query(job.url), received, expected: total, source })
        };
        loop {
            let read = body.read(&mut buffer).map_err(|error| broken(interrupted(received, Some(error))))?;
            if read == 0 {
                break;
            }
            file.write_all(&buffer[..read]).map_err(disk)?;
            received += read as u64;
            bar.set_position(received);
        }
        bar.finish_and_clear();
        if total.is_some_and(|total| received < total) {
            return Err(broken(interrupted(received, None)));
        }
        Ok(start)
    }
}

fn restart(file: &mut File, job: &Job) -> (Failure, u64) {
    if let Err(error) = file.set_len(0) {
        return (Failure::last(error), 0);
    }
    let url = without_query(job.url);
    (Failure::passing(Error::Interrupted { url, received: 0, expected: None, source: None }), 0)
}

/// The file at its destination, if it exists and its checksum is right.
fn already_there(job: &Job) -> Result<Option<Fetched>, Error> {
    if !job.dest.is_file() {
        return Ok(None);
    }
    match hash::verify(job.dest, &job.dest.display().to_string(), job.sha256) {
        Ok(sha256) => {
            let bytes = fs::metadata(job.dest)?.len();
            Ok(Some(Fetched { path: job.dest.to_owned(), bytes, sha256, how: How::AlreadyThere }))
        }
        Err(error @ Error::Checksum { .. }) => {
            warn!("{error}; downloading it again");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Opens and locks the part, waiting while another process holds the lock.
fn open_locked(part: &Path) -> Result<File, Error> {
    loop {
        let file = fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(part)?;
        match file.file().try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                info!("another process is downloading {}; waiting for it", part.display());
                file.file().lock()?;
            }
            // Some network file systems have no locks; the checksum and the rename still protect the file.
            Err(TryLockError::Error(_)) => return Ok(file),
        }
        // The other process may have renamed or removed the file, so the lock may be on a file that is no longer the
        // part.
        if is_still(&file, part) {
            return Ok(file);
        }
    }
}

#[cfg(unix)]
fn is_still(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let (Ok(ours), Ok(there)) = (file.metadata(), fs::metadata(path)) else { return false };
    (ours.dev(), ours.ino()) == (there.dev(), there.ino())
}

#[cfg(not(unix))]
fn is_still(_: &File, path: &Path) -> bool {
    path.exists()
}

fn discard(part: &Path, validator: &Path) -> Result<(), Error> {
    remove_if_there(part)?;
    Ok(remove_if_there(validator)?)
}

fn remove_if_there(path: &Path) -> std::io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn read_validator(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok().filter(|text| !text.is_empty())
}

/// Saves the validator for `If-Range`: a strong entity tag, else a date. A weak tag does not promise equal bytes.
fn write_validator(path: &Path, headers: &HeaderMap) -> std::io::Result<()> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    match text(ETAG).filter(|tag| tag.starts_with('"')).or_else(|| text(LAST_MODIFIED)) {
        Some(value) => fs::write(path, value),
        None => remove_if_there(path),
    }
}

/// The body of an answer to an upload, if it was accepted.
fn accepted(url: &str, answer: Result<Response<Body>, ureq::Error>) -> Result<Vec<u8>, Error> {
    let url = || without_query(url);
    let answer = answer.map_err(|error| Error::Unreachable { url: url(), source: Box::new(error) })?;
    let status = answer.status().as_u16();
    let said = answer.headers().get("x-error-message").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let body = answer.into_body().into_with_config().limit(MOST_OF_AN_ANSWER).read_to_vec();
    let body = body.map_err(|error| Error::Unreachable { url: url(), source: Box::new(error) })?;
    match status {
        200..=299 => Ok(body),
        401 | 403 => {
            let hint = "set HF_TOKEN to a token that may write to this repository".to_owned();
            Err(Error::Denied { url: url(), status, hint })
        }
        _ => {
            let json: Option<serde_json::Value> = serde_json::from_slice(&body).ok();
            let said = said.or_else(|| Some(json?.get("error")?.as_str()?.to_owned()));
            Err(Error::Refused {
                url: url(),
                status,
                message: said.unwrap_or_else(|| "it does not say why".to_owned()),
            })
        }
    }
}

/// Bytes of an answer to an upload.
const MOST_OF_AN_ANSWER: u64 = 1 << 24;

/// The failure for a status; `None` for a success or a redirect.
fn failure_of_status(answer: &Answer) -> Option<Failure> {
    let url = without_query(&answer.url);
    let status = answer.response.status().as_u16();
    match status {
        ..=399 => None,
        401 | 403 => {
            let hint = "log in at its site and download the file by hand".to_owned();
            Some(Failure::last(Error::Denied { url, status, hint }))
        }
        404 | 410 => Some(Failure::last(Error::NotFound { url })),
        408 | 429 | 500.. => {
            let wait = answer.response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
            let error = Error::Status { url, status };
            Some(Failure { error, again: true, wait: wait.map(Duration::from_secs) })
        }
        _ => Some(Failure::last(Error::Status { url, status })),
    }
}

/// Whether a retry would fail in the same way. A machine without a network, or behind a proxy with an unknown
/// certificate, should fail at once; only errors known to be temporary are retried.
fn is_hopeless(error: &ureq::Error) -> bool {
    use std::io::ErrorKind::*;
    match error {
        ureq::Error::Io(error) => !matches!(
            error.kind(),
            ConnectionReset | ConnectionAborted | BrokenPipe | UnexpectedEof | TimedOut | WouldBlock | Interrupted
        ),
        ureq::Error::Timeout(at) => matches!(at, ureq::Timeout::Connect | ureq::Timeout::Resolve),
        ureq::Error::Protocol(_) => false,
        _ => true,
    }
}

/// Start and total of `bytes 5-9/10`; the total may be `*`.
fn parse_content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (start, _) = range.split_once('-')?;
    Some((start.parse().ok()?, total.parse().ok()))
}

/// Scheme, host and port, which identify the server.
pub(crate) fn origin(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return String::new() };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default().to_ascii_lowercase();
    let scheme = scheme.to_ascii_lowercase();
    let default_port = if scheme == "https" { ":443" } else { ":80" };
    format!("{scheme}://{}", authority.strip_suffix(default_port).unwrap_or(&authority))
}

/// An address for messages. The query of a redirect's target may hold a signature, which is as secret as a token.
pub(crate) fn without_query(url: &str) -> String {
    url.split(['?', '#']).next().unwrap_or_default().to_owned()
}

/// Resolves the `Location` in an answer from `base` (RFC 3986, section 5.2, without removing dots).
fn join(base: &str, location: &str) -> String {
    if location.contains("://") {
        return location.to_owned();
    }
    let scheme = base.split("://").next().unwrap_or("https");
    if let Some(rest) = location.strip_prefix("//") {
        return format!("{scheme}://{rest}");
    }
    let path = without_query(base);
    let root = path.find("://").and_then(|at| path[at + 3..].find('/').map(|slash| at + 3 + slash));
    let root = root.unwrap_or(path.len());
    if location.starts_with('/') {
        return format!("{}{location}", &path[..root]);
    }
    if location.starts_with('?') {
        return format!("{path}{location}");
    }
    let folder = path.rfind('/').filter(|slash| *slash >= root).unwrap_or(path.len());
    format!("{}/{location}", &path[..folder])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_join(base: &str, location: &str, expected: &str) {
        assert_eq!(join(base, location), expected, "{base} + {location}");
    }

    #[test]
    fn a_location_is_resolved() {
        check_join("https://a.b/c/d?q", "https://x/y", "https://x/y");
        check_join("https://a.b/c/d?q", "//x/y?z", "https://x/y?z");
        check_join("http://a.b:1/c/d?q=/e", "/y", "http://a.b:1/y");
        check_join("https://a.b/c/d?q", "e", "https://a.b/c/e");
        check_join("https://a.b/c/d?q", "?r", "https://a.b/c/d?r");
        check_join("https://a.b", "/y", "https://a.b/y");
        check_join("https://a.b", "y", "https://a.b/y");
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        assert_eq!(origin("HTTPS://Hub.Example:443/a"), origin("https://hub.example/b?c"));
        assert_ne!(origin("https://hub.example"), origin("http://hub.example"));
        assert_ne!(origin("https://hub.example"), origin("https://hub.example.evil/"));
        assert_ne!(origin("https://hub.example"), origin("https://hub.example@evil/"));
        assert_ne!(origin("http://127.0.0.1:1/"), origin("http://127.0.0.1:2/"));
    }

    #[test]
    fn a_content_range_is_parsed() {
        assert_eq!(parse_content_range("bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(parse_content_range("bytes 5-9/*"), Some((5, None)));
        assert_eq!(parse_content_range("bytes */10"), None);
    }
}
