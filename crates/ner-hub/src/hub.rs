//! The hub and its cache. The layout is that of the Python package `huggingface_hub`, so both share the files.
//!
//! ```text
//! models--owner--name/
//!   blobs/<etag>                      the bytes; for large files the etag is their SHA-256
//!   refs/<branch or tag>              a commit
//!   snapshots/<commit>/config.json    -> ../../blobs/<etag>
//! ```

use std::path::{Path, PathBuf};

use fs_err as fs;
use ureq::http::HeaderMap;

use crate::download::{self, Client, Job};
use crate::encoder_files::{EncoderFiles, Origin, SHARDS, WEIGHTS, shards_of};
use crate::env::{Env, FetchOptions};
use crate::error::Error;
use crate::hash::is_hex;
use crate::registry::EncoderEntry;
use crate::tokenizer_names::{TOKENIZER, TOKENIZERS};

/// A repository at a revision.
pub(crate) struct Request {
    /// The encoder's name.
    name: String,
    id: String,
    /// Ids that a cache may know it by, `id` first.
    cache_ids: Vec<String>,
    revision: String,
}

impl Request {
    /// An encoder of the registry, at its pinned revision unless `revision` is given.
    pub(crate) fn of_entry(entry: &EncoderEntry, revision: Option<&str>) -> Request {
        let ids = std::iter::once(&entry.hub_id).chain(entry.former_ids);
        Request {
            name: entry.name.to_owned(),
            id: entry.hub_id.to_owned(),
            cache_ids: ids.map(|id| (*id).to_owned()).collect(),
            revision: revision.or(entry.revision).unwrap_or("main").to_owned(),
        }
    }

    /// A repository by its id. `spec` is the user's input.
    pub(crate) fn of_id(spec: &str, id: &str, revision: Option<&str>) -> Result<Request, Error> {
        check_id(id).map_err(|reason| Error::BadHubId { spec: spec.to_owned(), reason })?;
        let request = Request {
            name: spec.to_owned(),
            id: id.to_owned(),
            cache_ids: vec![id.to_owned()],
            revision: revision.unwrap_or("main").to_owned(),
        };
        request.check()?;
        Ok(request)
    }

    /// Refuses a revision whose path would leave the cache.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let fine = self.revision.split('/').all(is_plain);
        let spec = || format!("{}@{}", self.id, self.revision);
        if fine { Ok(()) } else { Err(Error::BadHubId { spec: spec(), reason: "the revision is not a valid name" }) }
    }
}

/// Checks a hub id; the error says what is wrong.
pub(crate) fn check_id(id: &str) -> Result<(), &'static str> {
    match id.split('/').collect::<Vec<_>>()[..] {
        [owner, name] if is_plain(owner) && is_plain(name) && !id.contains("--") => Ok(()),
        [_, _] => Err("only letters, digits, `-`, `_` and `.` are allowed"),
        _ => Err("it needs exactly one slash"),
    }
}

/// Whether a name is safe in a path and an address.
fn is_plain(part: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    !part.is_empty() && !part.starts_with('.') && part.chars().all(allowed)
}

fn repository_folder(cache: &Path, id: &str) -> PathBuf {
    cache.join(format!("models--{}", id.replace('/', "--")))
}

/// The cache's snapshot folder for a revision, complete or not, and its commit.
fn snapshot(repository: &Path, revision: &str) -> Option<(PathBuf, String)> {
    let commit = match is_hex(revision, 40) {
        true => revision.to_owned(),
        false => fs::read_to_string(repository.join("refs").join(revision)).ok()?.trim().to_owned(),
    };
    let dir = repository.join("snapshots").join(&commit);
    (is_plain(&commit) && dir.is_dir()).then_some((dir, commit))
}

/// The files, if the cache holds all of them. Opens no connection.
pub(crate) fn cached(request: &Request, env: &Env) -> Option<EncoderFiles> {
    let cache = env.hub_cache.as_ref()?;
    request.cache_ids.iter().find_map(|id| {
        let (dir, commit) = snapshot(&repository_folder(cache, id), &request.revision)?;
        let origin = Origin::Cache { id: id.clone(), revision: request.revision.clone(), commit };
        EncoderFiles::in_folder(&dir, &request.name, id, origin).ok()
    })
}

/// The files at the newest commit of `main` in the cache.
pub(crate) fn cached_main(entry: &EncoderEntry, env: &Env) -> Option<EncoderFiles> {
    cached(&Request::of_entry(entry, Some("main")), env)
}

/// Downloads only the files that an encoder needs into the cache.
pub(crate) fn fetch(request: &Request, options: &FetchOptions) -> Result<EncoderFiles, Error> {
    fetch_files(request, options).map_err(|error| match error {
        Error::Unreachable { .. } => Error::HubUnreachable {
            id: request.id.clone(),
            endpoint: options.env.endpoint.clone(),
            source: Box::new(error),
        },
        error => error,
    })
}

fn fetch_files(request: &Request, options: &FetchOptions) -> Result<EncoderFiles, Error> {
    let env = &options.env;
    let cache = env.hub_cache.as_ref().ok_or(Error::NoCache { variable: "HF_HOME" })?;
    let repository = repository_folder(cache, &request.id);
    let place = format!("{} at {}", request.id, env.endpoint);
    if env.offline {
        return Err(offline(request, &repository, cache));
    }

    let mut session = Session { client: Client::new(options), request, repository, env, commit: None };
    let mut found = Vec::new();
    let mut bring = |session: &mut Session, name: &str| -> Result<bool, Error> {
        let is_there = session.bring(name)?;
        found.extend(is_there.then(|| name.to_owned()));
        Ok(is_there)
    };
    // The small files first: a repository that is not an encoder is refused before its large files are downloaded.
    let config = bring(&mut session, "config.json")?;
    let mut tokenizer = false;
    for names in TOKENIZERS {
        if !tokenizer {
            tokenizer = true;
            for name in names {
                tokenizer = tokenizer && bring(&mut session, name)?;
            }
        }
    }
    for name in ["tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"] {
        bring(&mut session, name)?;
    }
    let mut weights = false;
    if config && tokenizer {
        for (name, _) in WEIGHTS {
            if weights || !bring(&mut session, name)? {
                continue;
            }
            weights = true;
            let Some(commit) = session.commit.clone() else { continue };
            for shard in shards_of(&session.repository.join("snapshots").join(commit).join(name))? {
                if !bring(&mut session, &shard)? {
                    return Err(Error::Incomplete { place, missing: vec![SHARDS], found });
                }
            }
        }
    }
    let needs = [
        ("config.json", config),
        (TOKENIZER, tokenizer),
        ("model.safetensors or pytorch_model.bin", weights || !(config && tokenizer)),
    ];
    let missing: Vec<_> = needs.into_iter().filter_map(|(what, is_there)| (!is_there).then_some(what)).collect();
    let (true, Some(commit)) = (missing.is_empty(), session.commit.clone()) else {
        return Err(Error::Incomplete { place, missing, found });
    };

    // Last, so that a branch never points to an incomplete snapshot.
    if request.revision != commit {
        write_ref(&session.repository, &request.revision, &commit)?;
    }
    let dir = session.repository.join("snapshots").join(&commit);
    let origin = Origin::Hub { id: request.id.clone(), revision: request.revision.clone(), commit };
    EncoderFiles::in_folder(&dir, &request.name, &place, origin)
}

/// The error if the network is switched off: no copy, or an incomplete one.
fn offline(request: &Request, repository: &Path, cache: &Path) -> Error {
    let origin = Origin::Folder { path: repository.to_owned() };
    if let Some((dir, _)) = snapshot(repository, &request.revision)
        && let Err(error) = EncoderFiles::in_folder(&dir, &request.name, &dir.display().to_string(), origin)
    {
        return error;
    }
    let what = format!("{} at revision {}", request.id, request.revision);
    Error::Offline { what, looked_in: format!("looked in {}", cache.display()) }
}

/// Commit and entity tag of a file on the hub.
struct Remote {
    commit: String,
    etag: String,
}

/// The download of one repository.
struct Session<'a> {
    client: Client<'a>,
    request: &'a Request,
    repository: PathBuf,
    env: &'a Env,
    /// Set by the first answer; all later files come from the same commit.
    commit: Option<String>,
}

impl Session<'_> {
    /// Downloads one file into the snapshot. Returns `false` if the repository does not have it.
    fn bring(&mut self, name: &str) -> Result<bool, Error> {
        if let Some(commit) = self.known_commit()
            && self.repository.join("snapshots").join(&commit).join(name).is_file()
        {
            self.commit = Some(commit);
            return Ok(true);
        }
        let Some(remote) = self.ask(name)? else { return Ok(false) };
        let blob = self.repository.join("blobs").join(&remote.etag);
        let sha256 = is_hex(&remote.etag, 64).then_some(remote.etag.as_str());
        let url = self.address(&remote.commit, name);
        self.client.download(&Job { url: &url, dest: &blob, label: name, sha256, with_token: true })?;
        let dir = self.repository.join("snapshots").join(&remote.commit);
        fs::create_dir_all(&dir)?;
        point(&dir.join(name), &blob, &remote.etag)?;
        self.commit = Some(remote.commit);
        Ok(true)
    }

    /// Requests a file's commit and entity tag. Returns `None` if the repository does not have it.
    fn ask(&self, name: &str) -> Result<Option<Remote>, Error> {
        let known = self.known_commit();
        let url = self.address(known.as_deref().unwrap_or(&self.request.revision), name);
        let answer = self.client.head(&url, leaves_with_all)?;
        let status = answer.response.status().as_u16();
        if status >= 400 {
            let code = find(&answer.hops, "x-error-code").unwrap_or_default();
            return match (status, code.as_str()) {
                (404, "" | "EntryNotFound") => Ok(None),
                (404 | 410, _) => Err(self.no_repository("")),
                (401 | 403, "GatedRepo") => {
                    let page = format!("{}/{}", self.env.endpoint, self.request.id);
                    let hint = format!("accept its conditions at {page} and set HF_TOKEN to a token of that account");
                    Err(Error::Denied { url, status, hint })
                }
                // The hub does not reveal whether a repository is private or missing.
                (401 | 403, _) => Err(self.no_repository("; if it is private, set HF_TOKEN to a valid token")),
                _ => Err(Error::Status { url, status }),
            };
        }

        let commit = known.or_else(|| find(&answer.hops, "x-repo-commit")).filter(|commit| is_hex(commit, 40));
        let Some(commit) = commit else { return Err(Error::NotAHub { url, header: "X-Repo-Commit" }) };
        let etag = find(&answer.hops, "x-linked-etag").or_else(|| find(&answer.hops, "etag"));
        let etag = etag.map(|etag| etag.trim_start_matches("W/").trim_matches('"').to_owned());
        // The tag becomes a file name, so its characters and length are limited.
        let etag = etag.filter(|etag| is_plain(etag) && etag.len() <= 128);
        let Some(etag) = etag else { return Err(Error::NotAHub { url, header: "ETag" }) };
        Ok(Some(Remote { commit, etag }))
    }

    fn known_commit(&self) -> Option<String> {
        let revision = &self.request.revision;
        self.commit.clone().or_else(|| is_hex(revision, 40).then(|| revision.clone()))
    }

    fn address(&self, revision: &str, name: &str) -> String {
        format!("{}/{}/resolve/{}/{name}", self.env.endpoint, self.request.id, revision.replace('/', "%2F"))
    }

    fn no_repository(&self, hint: &'static str) -> Error {
        Error::NoRepository {
            endpoint: self.env.endpoint.clone(),
            id: self.request.id.clone(),
            revision: self.request.revision.clone(),
            hint,
        }
    }
}

/// The last value of a header in the chain: a renamed repository redirects before it sends its headers.
fn find(hops: &[(String, HeaderMap)], name: &str) -> Option<String> {
    hops.iter().rev().find_map(|(_, headers)| Some(headers.get(name)?.to_str().ok()?.to_owned()))
}

/// Whether the last redirect leads to a file store and the hub has sent all headers that we need.
fn leaves_with_all(hops: &[(String, HeaderMap)]) -> bool {
    let leaves = hops.last().is_some_and(|(url, headers)| {
        let location = headers.get("location").and_then(|value| value.to_str().ok()).unwrap_or_default();
        location.contains("//") && download::origin(location) != download::origin(url)
    });
    leaves
        && find(hops, "x-repo-commit").is_some()
        && (find(hops, "x-linked-etag").is_some() || find(hops, "etag").is_some())
}

/// Links a snapshot's file to its blob.
#[cfg(unix)]
fn point(link: &Path, _: &Path, etag: &str) -> Result<(), Error> {
    let target = Path::new("../../blobs").join(etag);
    replace(link, |link| fs_err::os::unix::fs::symlink(&target, link))
}

/// Symbolic links need a privilege on Windows; hard links do not.
#[cfg(not(unix))]
fn point(link: &Path, blob: &Path, _: &str) -> Result<(), Error> {
    replace(link, |link| fs::hard_link(blob, link).or_else(|_| fs::copy(blob, link).map(drop)))
}

fn replace(link: &Path, make: impl Fn(&Path) -> std::io::Result<()>) -> Result<(), Error> {
    match make(link) {
        // Another process made a valid link; a broken one points to a removed blob.
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            if !link.is_file() {
                fs::remove_file(link)?;
                make(link)?;
            }
            Ok(())
        }
        result => Ok(result?),
    }
}

fn write_ref(repository: &Path, revision: &str, commit: &str) -> Result<(), Error> {
    let path = repository.join("refs").join(revision);
    ner_files::write_bytes(&path, commit.as_bytes())?;
    Ok(())
}
