//! The environment variables, read once, and the options of a download.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::progress::Progress;

/// A hub access token. Its `Debug` form does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Wraps a token and trims white space around it. Returns `None` if it is empty.
    pub fn new(token: &str) -> Option<Token> {
        let token = token.trim();
        (!token.is_empty()).then(|| Token(token.to_owned()))
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// The environment variables that this crate uses.
///
/// | field | variables; the first non-empty one applies |
/// |---|---|
/// | `endpoint` | `HF_ENDPOINT`, else `https://huggingface.co` |
/// | `hub_cache` | `HF_HUB_CACHE`, `HUGGINGFACE_HUB_CACHE`, `$HF_HOME/hub`, `$XDG_CACHE_HOME/huggingface/hub`, `~/.cache/huggingface/hub` |
/// | `token` | `HF_TOKEN`, `HUGGING_FACE_HUB_TOKEN`, the file `HF_TOKEN_PATH`, the file `$HF_HOME/token`; none under `HF_HUB_DISABLE_IMPLICIT_TOKEN` |
/// | `offline` | `HF_HUB_OFFLINE`, `TRANSFORMERS_OFFLINE` (`1`, `on`, `yes`, `true`) |
/// | `medner_cache` | `MEDNER_CACHE`, else `medner` in the platform's cache folder |
/// | `pythons` | `MEDNER_PYTHON`, else `python3`, then `python` |
/// | `proxy` | `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY` apply |
///
/// Names and order are those of the Python package `huggingface_hub`, so that both share one cache.
#[derive(Clone, Debug)]
pub struct Env {
    /// The hub's address, without a slash at the end.
    pub endpoint: String,
    /// The hub cache; `None` if the home folder is unknown, and then nothing can be downloaded from the hub.
    pub hub_cache: Option<PathBuf>,
    /// The token for the hub. It is sent to `endpoint` only, never to the target of a redirect.
    pub token: Option<Token>,
    /// Use local files only and open no connection.
    pub offline: bool,
    /// medner's cache for files that do not come from the hub.
    pub medner_cache: Option<PathBuf>,
    /// Python interpreters to try for `pip download`, in order.
    pub pythons: Vec<PathBuf>,
    /// Use the proxy variables of the process.
    pub proxy: bool,
}

impl Env {
    /// Reads the variables of this process, and the token's file if one is set.
    pub fn from_process() -> Env {
        Env::from_lookup(|name| std::env::var(name).ok(), dirs::home_dir(), dirs::cache_dir())
    }

    /// Same as [`Env::from_process`], from the given variables, home folder and platform's cache folder.
    pub fn from_lookup(
        variable: impl Fn(&str) -> Option<String>,
        home: Option<PathBuf>,
        cache: Option<PathBuf>,
    ) -> Env {
        let get = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let path = |name: &str| {
            get(name).map(|value| match (value.strip_prefix("~/"), &home) {
                (Some(rest), Some(home)) => home.join(rest),
                _ => PathBuf::from(value),
            })
        };
        let truthy = |name: &str| {
            get(name).is_some_and(|v| ["1", "ON", "YES", "TRUE"].contains(&v.trim().to_uppercase().as_str()))
        };

        let hf_home = path("HF_HOME")
            .or_else(|| path("XDG_CACHE_HOME").map(|dir| dir.join("huggingface")))
            .or_else(|| home.as_ref().map(|dir| dir.join(".cache/huggingface")));
        let hub_cache = path("HF_HUB_CACHE")
            .or_else(|| path("HUGGINGFACE_HUB_CACHE"))
            .or_else(|| hf_home.as_ref().map(|dir| dir.join("hub")));
        let token_file = path("HF_TOKEN_PATH").or_else(|| hf_home.as_ref().map(|dir| dir.join("token")));
        let token = get("HF_TOKEN")
            .or_else(|| get("HUGGING_FACE_HUB_TOKEN"))
            .or_else(|| token_file.and_then(|file| std::fs::read_to_string(file).ok()))
            .filter(|_| !truthy("HF_HUB_DISABLE_IMPLICIT_TOKEN"))
            .and_then(|token| Token::new(&token));

        Env {
            endpoint: get("HF_ENDPOINT").unwrap_or("https://huggingface.co".into()).trim_end_matches('/').to_owned(),
            hub_cache,
            token,
            offline: truthy("HF_HUB_OFFLINE") || truthy("TRANSFORMERS_OFFLINE"),
            medner_cache: path("MEDNER_CACHE").or_else(|| cache.map(|dir| dir.join("medner"))),
            pythons: path("MEDNER_PYTHON")
                .map_or_else(|| vec!["python3".into(), "python".into()], |python| vec![python]),
            proxy: true,
        }
    }
}

/// Options of searches and downloads.
#[derive(Clone, Debug)]
pub struct FetchOptions {
    /// The environment.
    pub env: Env,
    /// Whether to show progress bars on stderr.
    pub progress: Progress,
    /// Consecutive failures without a new byte before a download is given up.
    pub retries: u32,
    /// Wait before the first retry. It doubles with each retry, up to [`FetchOptions::MAX_BACKOFF`].
    pub backoff: Duration,
    /// Longest silence of a connection.
    pub stall_timeout: Duration,
}

impl FetchOptions {
    /// Longest wait between two attempts, even if a server asks for more.
    pub const MAX_BACKOFF: Duration = Duration::from_secs(60);

    /// The environment of this process, bars on stderr, five retries.
    pub fn from_process() -> FetchOptions {
        FetchOptions::new(Env::from_process())
    }

    /// The given environment and the defaults of [`FetchOptions::from_process`].
    pub fn new(env: Env) -> FetchOptions {
        FetchOptions {
            env,
            progress: Progress::Bars,
            retries: 5,
            backoff: Duration::from_secs(1),
            stall_timeout: Duration::from_secs(60),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(variables: &[(&str, &str)], expected_cache: &str, expected_offline: bool) {
        let lookup = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
        let env = Env::from_lookup(lookup, Some("/home/me".into()), None);
        assert_eq!(env.hub_cache, Some(expected_cache.into()), "{variables:?}");
        assert_eq!(env.offline, expected_offline, "{variables:?}");
    }

    #[test]
    fn the_hub_cache_is_where_huggingface_hub_looks() {
        check(&[], "/home/me/.cache/huggingface/hub", false);
        check(&[("XDG_CACHE_HOME", "/x")], "/x/huggingface/hub", false);
        check(&[("HF_HOME", "~/hf"), ("XDG_CACHE_HOME", "/x")], "/home/me/hf/hub", false);
        check(&[("HUGGINGFACE_HUB_CACHE", "/old"), ("HF_HOME", "/hf")], "/old", false);
        check(&[("HF_HUB_CACHE", "/new"), ("HUGGINGFACE_HUB_CACHE", "/old")], "/new", false);
        check(&[("HF_HUB_CACHE", ""), ("HF_HUB_OFFLINE", "1")], "/home/me/.cache/huggingface/hub", true);
        check(&[("HF_HUB_OFFLINE", "0")], "/home/me/.cache/huggingface/hub", false);
    }

    #[test]
    fn a_token_is_read_from_its_file_and_never_shown() {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join("token"), "hf_secret\n").expect("written");
        let home = dir.path().to_str().expect("utf-8").to_owned();
        let env = Env::from_lookup(|name| (name == "HF_HOME").then(|| home.clone()), None, None);
        assert_eq!(env.token.as_ref().map(Token::reveal), Some("hf_secret"));
        assert!(!format!("{env:?}").contains("hf_secret"));
    }
}
