//! Errors and what the user can do about them.

use std::path::PathBuf;

/// Each message says what failed and what to do about it; `source()` holds the cause.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The specification is neither a known name, nor a hub id, nor a folder.
    #[error(
        "unknown encoder `{name}`{}; known names: {}; a hub id (owner/name) or a folder (./path) also works",
        suggestion.as_ref().map(|s| format!("; did you mean `{s}`?")).unwrap_or_default(),
        names.join(", ")
    )]
    UnknownEncoder {
        /// As given.
        name: String,
        /// The most similar name, if one is similar.
        suggestion: Option<String>,
        /// All names of the registry.
        names: Vec<&'static str>,
    },
    /// The specification looks like a hub id but is not a valid one.
    #[error("`{spec}` is not a hub id: {reason}; write owner/name or owner/name@revision")]
    BadHubId {
        /// As given.
        spec: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The folder does not exist.
    #[error("the folder {} does not exist; check the path", path.display())]
    NoFolder {
        /// The folder.
        path: PathBuf,
    },
    /// Files are missing.
    #[error(
        "{place} holds no {}; it holds {}; an encoder needs config.json, model.safetensors or pytorch_model.bin, and \
         {}",
        missing.join(" and no "),
        if found.is_empty() { "nothing".to_owned() } else { found.join(", ") },
        crate::tokenizer_names::TOKENIZER
    )]
    Incomplete {
        /// The folder or the hub repository.
        place: String,
        /// Missing files; "a or b" if either is enough.
        missing: Vec<&'static str>,
        /// Files in it.
        found: Vec<String>,
    },
    /// The index of weights in several files is damaged, or they are not all there.
    #[error("{}: {message}", path.display())]
    Index {
        /// The index file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// The files are not on this machine and the network is switched off.
    #[error(
        "{what} is not on this machine ({looked_in}) and the network is switched off; unset HF_HUB_OFFLINE once to download it"
    )]
    Offline {
        /// The encoder and revision.
        what: String,
        /// Where medner looked.
        looked_in: String,
    },
    /// 404 from a web server.
    #[error("{url} does not exist (404); check the address")]
    NotFound {
        /// The address, without its query.
        url: String,
    },
    /// 401 or 403 from a web server.
    #[error("{url} denies access ({status}); {hint}")]
    Denied {
        /// The address, without its query.
        url: String,
        /// The status.
        status: u16,
        /// What to do.
        hint: String,
    },
    /// The hub has no such repository or revision.
    #[error("{endpoint} has no {id} at revision {revision}; check the name{}", hint)]
    NoRepository {
        /// The hub.
        endpoint: String,
        /// The repository.
        id: String,
        /// The revision.
        revision: String,
        /// Further advice.
        hint: &'static str,
    },
    /// The hub's answer lacks headers that its protocol requires.
    #[error("{url} answered without {header}, so it does not speak the hub's protocol; check HF_ENDPOINT")]
    NotAHub {
        /// The address.
        url: String,
        /// The header that is missing or unusable.
        header: &'static str,
    },
    /// Another status than success.
    #[error("{url} answered with status {status}; try again later")]
    Status {
        /// The address, without its query.
        url: String,
        /// The status.
        status: u16,
    },
    /// An upload needs a token.
    #[error("uploading to {endpoint} needs a token; set HF_TOKEN to one that may write")]
    NoToken {
        /// The hub.
        endpoint: String,
    },
    /// The hub refuses an upload.
    #[error("{url} refuses the upload ({status}): {message}")]
    Refused {
        /// The address, without its query.
        url: String,
        /// The status.
        status: u16,
        /// The reason, as the hub gives it.
        message: String,
    },
    /// The connection could not be opened, or broke before an answer.
    #[error("{url} cannot be reached; check the connection and the proxy variables")]
    Unreachable {
        /// The address, without its query.
        url: String,
        /// The cause.
        source: Box<ureq::Error>,
    },
    /// The encoder is not on this machine and the hub cannot be reached.
    #[error(
        "{id} is not on this machine and the hub {endpoint} cannot be reached; check the connection and the proxy \
         variables, set HF_ENDPOINT to a mirror, or copy the files into a folder and pass that folder as the encoder"
    )]
    HubUnreachable {
        /// The repository.
        id: String,
        /// The hub.
        endpoint: String,
        /// The cause, an [`Error::Unreachable`].
        source: Box<Error>,
    },
    /// The download broke off; the part received is kept.
    #[error("the download of {url} broke off after {received} bytes{}; run the same command again to resume",
        expected.map(|n| format!(" of {n}")).unwrap_or_default())]
    Interrupted {
        /// The address, without its query.
        url: String,
        /// Bytes received.
        received: u64,
        /// Size of the file in bytes, if known.
        expected: Option<u64>,
        /// The cause.
        source: Option<std::io::Error>,
    },
    /// Too many redirects, or one from https to http.
    #[error("{url} redirects {problem}; check the address")]
    Redirect {
        /// The first address, without its query.
        url: String,
        /// What is wrong with them.
        problem: &'static str,
    },
    /// The content has the wrong checksum. No file was written.
    #[error(
        "{what} has the SHA-256 {actual}, expected {expected}; it was damaged in transit or changed at its source, so it was deleted; try again, then compare the source"
    )]
    Checksum {
        /// The file or member.
        what: String,
        /// The expected checksum.
        expected: String,
        /// The actual checksum.
        actual: String,
    },
    /// No member or several members of the archive match.
    #[error("{archive} holds {} named {member}{}", if found.is_empty() { "no member" } else { "several members" },
        if found.is_empty() { String::from("; its layout may have changed") } else { format!(": {}; give a longer name", found.join(", ")) })]
    Member {
        /// The archive.
        archive: String,
        /// The name.
        member: String,
        /// The members that match.
        found: Vec<String>,
    },
    /// A member's path points outside the archive.
    #[error(
        "{archive}: the path of member {member} points outside the archive, so nothing was unpacked; do not trust this archive"
    )]
    UnsafeMember {
        /// The archive.
        archive: String,
        /// The member.
        member: String,
    },
    /// The archive cannot be read.
    #[error("{archive}{} cannot be unpacked; it was damaged in transit or is not a zip file; try again",
        member.as_ref().map(|m| format!(": the member {m}")).unwrap_or_default())]
    Zip {
        /// The archive.
        archive: String,
        /// The member, if one was being read.
        member: Option<String>,
        /// The cause.
        source: zip::result::ZipError,
    },
    /// `pip download` failed.
    #[error(
        "the Python package {package} could not be downloaded: {reason}; install Python 3 with pip, or set MEDNER_PYTHON to its interpreter"
    )]
    Package {
        /// Name and version.
        package: String,
        /// The error of each interpreter.
        reason: String,
    },
    /// The cache folder is unknown.
    #[error("the home folder is unknown, so there is no cache folder; set {variable}")]
    NoCache {
        /// The variable that sets the cache folder.
        variable: &'static str,
    },
    /// Each source of an encoder failed.
    #[error(
        "the encoder {name} could not be obtained from any source. 1. {package}. 2. The hub: {hub}. 3. Or copy its files into a folder and name that folder"
    )]
    AllSources {
        /// The encoder.
        name: String,
        /// Error of the Python package.
        package: Box<Error>,
        /// Error of the hub.
        #[source]
        hub: Box<Error>,
    },
    /// A file could not be read or written; the message names its path.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl Error {
    /// Whether the network is at fault, not the caller or the source: then a stale copy is better than no copy.
    pub(crate) fn is_connection(&self) -> bool {
        matches!(
            self,
            Error::Offline { .. }
                | Error::HubUnreachable { .. }
                | Error::Unreachable { .. }
                | Error::Interrupted { .. }
                | Error::Status { .. }
        )
    }
}
