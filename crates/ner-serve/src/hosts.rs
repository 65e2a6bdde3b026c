//! The host names that a server answers to.
//!
//! A foreign page can point its own host name at the server's address and then read from it in the visitor's browser
//! (DNS rebinding). Such requests name the foreign host. Addresses cannot be pointed elsewhere, and a token is not known
//! to a foreign page, so neither needs the check.

use crate::options::ServerOptions;
use crate::problem::{Kind, Problem};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Uri, header};
use std::net::IpAddr;

/// Checks the host that a request names: an IP address, localhost, or one of the server's names. With a token, every
/// name.
///
/// # Errors
/// If it names another host, or none.
pub fn check(options: &ServerOptions, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
    if options.token.is_some() {
        return Ok(());
    }
    let in_headers = headers.get_all(header::HOST).iter().map(|value| value.to_str().ok());
    // A request through a proxy names the host in its first line as well.
    let in_line = uri.authority().map(|authority| Some(authority.as_str()));
    let is_own = |host: Option<&str>| host.is_some_and(|host| is_own(options, host));
    if headers.contains_key(header::HOST) && in_headers.chain(in_line).all(is_own) {
        return Ok(());
    }
    let detail = "the header `Host` must be an IP address, localhost, or a name that the server was started with \
                  (--host-name NAME); a server with a token answers to every name";
    Err(Problem::new(Kind::WrongHost, detail))
}

fn is_own(options: &ServerOptions, host: &str) -> bool {
    let Ok(host) = host.parse::<Authority>() else { return false };
    if host.as_str().contains('@') {
        return false;
    }
    let name = host.host();
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    let name = name.strip_suffix('.').unwrap_or(name);
    let names = options.host_names.iter().map(String::as_str).chain(["localhost"]);
    bare.parse::<IpAddr>().is_ok() || names.into_iter().any(|own| own.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn without_a_token_it_answers_to_no_name_that_others_can_make() {
        let named = ServerOptions { host_names: vec!["ward.example".into()], ..ServerOptions::default() };
        let with_token = ServerOptions { token: Some("secret".into()), ..ServerOptions::default() };
        let answers = |options: &ServerOptions, target: &str, hosts: &[&str]| {
            let mut headers = HeaderMap::new();
            for host in hosts {
                headers.append(header::HOST, HeaderValue::from_str(host).expect("a value"));
            }
            check(options, &target.parse().expect("a target"), &headers).is_ok()
        };
        for host in [
            "127.0.0.1:8642",
            "localhost:1",
            "LOCALHOST",
            "localhost.",
            "[::1]:8642",
            "[::1]",
            "10.0.0.1",
            "ward.example",
            "Ward.Example:8642",
        ] {
            assert!(answers(&named, "/", &[host]), "{host}");
        }
        for host in [
            "evil.example:8642",
            "localhost.evil.example",
            "127.0.0.1.evil.example:80",
            "",
            ":8642",
            "localhost@evil.example",
            "evil.example@127.0.0.1",
            "ward.example.evil",
            "a b",
            "[evil.example]",
        ] {
            assert!(!answers(&named, "/", &[host]), "{host}");
            assert!(answers(&with_token, "/", &[host]), "{host}");
        }
        assert!(!answers(&named, "/", &[]) && answers(&with_token, "/", &[]));
        assert!(!answers(&ServerOptions::default(), "/", &["ward.example"]));
        assert!(!answers(&named, "/", &["localhost", "evil.example"]));
        assert!(!answers(&named, "http://evil.example/", &["localhost"]));
        assert!(answers(&named, "http://localhost:8642/", &["localhost:8642"]));
    }
}
