//! Two servers: one that behaves well (`tiny_http`), and one that hangs up.

use std::io::{Cursor, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use tiny_http::{Header, Response, Server};

/// A request as the server saw it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    pub method: String,
    pub path: String,
    pub range: Option<String>,
    pub if_range: Option<String>,
    pub authorization: Option<String>,
    pub body: Vec<u8>,
}

#[derive(Clone, Default)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
    /// A Content-Length larger than the body.
    pub promised: Option<usize>,
}

impl Reply {
    pub fn status(status: u16) -> Reply {
        Reply { status, ..Reply::default() }
    }

    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Reply {
        self.headers.push((name, value.into()));
        self
    }

    /// A file, or the requested range of it.
    pub fn file(seen: &Seen, body: &[u8], etag: &str) -> Reply {
        let quoted = format!("\"{etag}\"");
        let same = seen.if_range.as_ref().is_none_or(|wanted| *wanted == quoted);
        let start = seen.range.as_ref().filter(|_| same).map(|range| parse_range(range));
        let reply = match start {
            None => Reply { status: 200, body: body.to_vec(), ..Reply::default() },
            Some(start) if start >= body.len() => {
                Reply::status(416).with("Content-Range", format!("bytes */{}", body.len()))
            }
            Some(start) => Reply { status: 206, body: body[start..].to_vec(), ..Reply::default() }
                .with("Content-Range", format!("bytes {start}-{}/{}", body.len() - 1, body.len())),
        };
        reply.with("ETag", quoted)
    }
}

fn parse_range(range: &str) -> usize {
    range.strip_prefix("bytes=").unwrap().strip_suffix('-').unwrap().parse().unwrap()
}

/// A server that lives as long as the value.
pub struct Loopback {
    pub url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    server: Arc<Server>,
    thread: Option<JoinHandle<()>>,
}

impl Loopback {
    pub fn start(answer: impl Fn(&Seen) -> Reply + Send + 'static) -> Loopback {
        let server = Arc::new(Server::http("127.0.0.1:0").unwrap());
        let url = format!("http://{}", server.server_addr());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (log, inner) = (seen.clone(), server.clone());
        let thread = std::thread::spawn(move || {
            for mut request in inner.incoming_requests() {
                let mut body = Vec::new();
                request.as_reader().read_to_end(&mut body).unwrap();
                let header = |name: &'static str| {
                    request.headers().iter().find(|h| h.field.equiv(name)).map(|h| h.value.to_string())
                };
                let seen = Seen {
                    method: request.method().to_string(),
                    path: request.url().to_owned(),
                    range: header("Range"),
                    if_range: header("If-Range"),
                    authorization: header("Authorization"),
                    body,
                };
                let reply = answer(&seen);
                log.lock().unwrap().push(seen);
                let length = reply.promised.unwrap_or(reply.body.len());
                let mut response =
                    Response::new(reply.status.into(), Vec::new(), Cursor::new(reply.body), Some(length), None)
                        .with_chunked_threshold(usize::MAX);
                for (name, value) in reply.headers {
                    response.add_header(Header::from_bytes(name, value).unwrap());
                }
                let _ = request.respond(response);
            }
        });
        Loopback { url, seen, server, thread: Some(thread) }
    }

    /// Takes the requests from the log.
    pub fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}

impl Drop for Loopback {
    fn drop(&mut self) {
        self.server.unblock();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A server that closes each connection after `limit` bytes of the body. Returns its address and the ranges asked for.
pub fn hangs_up(body: Vec<u8>, etag: &str, limit: usize) -> (String, Arc<Mutex<Vec<Option<String>>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/file.bin", listener.local_addr().unwrap());
    let ranges = Arc::new(Mutex::new(Vec::new()));
    let (log, etag) = (ranges.clone(), etag.to_owned());
    // It ends with the test's process; joining it would need a last connection.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            serve_once(stream.unwrap(), &body, &etag, limit, &log);
        }
    });
    (url, ranges)
}

fn serve_once(mut stream: TcpStream, body: &[u8], etag: &str, limit: usize, log: &Mutex<Vec<Option<String>>>) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let header = |name: &str| {
        let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with(&format!("{name}: ")))?;
        Some(line.split_once(": ")?.1.to_owned())
    };
    let seen = Seen { range: header("range"), if_range: header("if-range"), ..Seen::default() };
    log.lock().unwrap().push(seen.range.clone());
    let reply = Reply::file(&seen, body, etag);
    let mut text = format!("HTTP/1.1 {} x\r\nContent-Length: {}\r\n", reply.status, reply.body.len());
    for (name, value) in &reply.headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    let _ = stream.write_all(text.as_bytes());
    let _ = stream.write_all(&reply.body[..limit.min(reply.body.len())]);
}
