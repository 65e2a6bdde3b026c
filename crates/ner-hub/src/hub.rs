//! The hub and its cache, laid out as the Python package `huggingface_hub` lays it out, so that both share the files.
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
use crate::encoder::{EncoderFiles, Origin, SHARD_INDEXES, TOKENIZER, TOKENIZERS, WEIGHTS};
use crate::env::{Env, FetchOptions};
use crate::error::Error;
use crate::hash::is_hex;
use crate::registry::EncoderEntry;
use crate::temporary;

/// A repository at a revision.
pub(crate) struct Request {
    /// The encoder's name for the caller.
    name: String,
    id: String,
    /// Ids under which a cache may hold it, `id` first.
    cache_ids: Vec<String>,
    revision: String,
}

impl Request {
    /// An encoder of the registry, at its pinned revision unless another is asked for.
    pub(crate) fn of_entry(entry: &EncoderEntry, revision: Option<&str>) -> Request {
        let ids = std::iter::once(&entry.hub_id).chain(entry.former_ids);
        Request {
            name: entry.name.to_owned(),
            id: entry.hub_id.to_owned(),
            cache_ids: ids.map(|id| (*id).to_owned()).collect(),
            revision: revision.or(entry.revision).unwrap_or("main").to_owned(),
        }
    }

    /// A repository by its id. `spec` is what the user typed.
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

    /// Refuses a revision that would lead out of the cache.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let fine = self.revision.split('/').all(is_plain);
        let spec = || format!("{}@{}", self.id, self.revision);
        if fine { Ok(()) } else { Err(Error::BadHubId { spec: spec(), reason: "the revision is not a name" }) }
    }
}

/// Says what is wrong with a hub id.
pub(crate) fn check_id(id: &str) -> Result<(), &'static str> {
    match id.split('/').collect::<Vec<_>>()[..] {
        [owner, name] if is_plain(owner) && is_plain(name) && !id.contains("--") => Ok(()),
        [_, _] => Err("it may hold letters, digits, `-`, `_` and `.`"),
        _ => Err("it has one slash"),
    }
}

/// A name that is safe in a path and an address.
fn is_plain(part: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    !part.is_empty() && !part.starts_with('.') && part.chars().all(allowed)
}

fn repository_folder(cache: &Path, id: &str) -> PathBuf {
    cache.join(format!("models--{}", id.replace('/', "--")))
}

/// The folder of the snapshot that the cache has for a revision, whole or not.
fn snapshot(repository: &Path, revision: &str) -> Option<(PathBuf, String)> {
    let commit = match is_hex(revision, 40) {
        true => revision.to_owned(),
        false => fs::read_to_string(repository.join("refs").join(revision)).ok()?.trim().to_owned(),
    };
    let dir = repository.join("snapshots").join(&commit);
    (is_plain(&commit) && dir.is_dir()).then_some((dir, commit))
}

/// The files, if the cache has them all. Opens no connection.
pub(crate) fn cached(request: &Request, env: &Env) -> Option<EncoderFiles> {
    let cache = env.hub_cache.as_ref()?;
    request.cache_ids.iter().find_map(|id| {
        let (dir, commit) = snapshot(&repository_folder(cache, id), &request.revision)?;
        let origin = Origin::Cache { id: id.clone(), revision: request.revision.clone(), commit };
        EncoderFiles::in_folder(&dir, &request.name, id, origin).ok()
    })
}

/// The newest commit of `main` that the cache knows.
pub(crate) fn cached_main(entry: &EncoderEntry, env: &Env) -> Option<EncoderFiles> {
    cached(&Request::of_entry(entry, Some("main")), env)
}

/// Brings the files that an encoder needs, and no other, into the cache.
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
    // The small files first: a repository that is no encoder should cost no time.
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
    bring(&mut session, "tokenizer_config.json")?;
    let mut weights = false;
    if config && tokenizer {
        for (name, _) in WEIGHTS {
            weights = weights || bring(&mut session, name)?;
        }
    }
    if config && tokenizer && !weights {
        for index in SHARD_INDEXES {
            if session.ask(index)?.is_some() {
                return Err(Error::ShardedWeights { place, index: index.to_owned() });
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

    // Last, so that a branch never points to a snapshot that is not whole.
    if request.revision != commit {
        write_ref(&session.repository, &request.revision, &commit)?;
    }
    let dir = session.repository.join("snapshots").join(&commit);
    let origin = Origin::Hub { id: request.id.clone(), revision: request.revision.clone(), commit };
    EncoderFiles::in_folder(&dir, &request.name, &place, origin)
}

/// Why there is nothing without a network: no copy, or one that is not whole.
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

/// What the hub says of a file.
struct Remote {
    commit: String,
    etag: String,
}

/// The transfer of one repository.
struct Session<'a> {
    client: Client<'a>,
    request: &'a Request,
    repository: PathBuf,
    env: &'a Env,
    /// Known from the first answer on; all later files are of the same commit.
    commit: Option<String>,
}

impl Session<'_> {
    /// Brings one file into the snapshot. `false` if the repository does not have it.
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

    /// Asks the hub for a file's commit and entity tag. `None` if the repository does not have it.
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
                // The hub does not say whether a repository is private or is not.
                (401 | 403, _) => Err(self.no_repository("; if it is private, set HF_TOKEN to a valid token")),
                _ => Err(Error::Status { url, status }),
            };
        }

        let commit = known.or_else(|| find(&answer.hops, "x-repo-commit")).filter(|commit| is_hex(commit, 40));
        let Some(commit) = commit else { return Err(Error::NotAHub { url, header: "X-Repo-Commit" }) };
        let etag = find(&answer.hops, "x-linked-etag").or_else(|| find(&answer.hops, "etag"));
        let etag = etag.map(|etag| etag.trim_start_matches("W/").trim_matches('"').to_owned());
        // It becomes a file name, so what a server may put there is limited.
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

/// The last value of a header along the redirects: a renamed repository redirects before it has anything to say.
fn find(hops: &[(String, HeaderMap)], name: &str) -> Option<String> {
    hops.iter().rev().find_map(|(_, headers)| Some(headers.get(name)?.to_str().ok()?.to_owned()))
}

/// Whether the last redirect leaves for a file store, after the hub has said all that is asked of it.
fn leaves_with_all(hops: &[(String, HeaderMap)]) -> bool {
    let leaves = hops.last().is_some_and(|(url, headers)| {
        let location = headers.get("location").and_then(|value| value.to_str().ok()).unwrap_or_default();
        location.contains("//") && download::origin(location) != download::origin(url)
    });
    leaves
        && find(hops, "x-repo-commit").is_some()
        && (find(hops, "x-linked-etag").is_some() || find(hops, "etag").is_some())
}

/// Makes the snapshot's entry for a blob.
#[cfg(unix)]
fn point(link: &Path, _: &Path, etag: &str) -> Result<(), Error> {
    let target = Path::new("../../blobs").join(etag);
    replace(link, |link| fs_err::os::unix::fs::symlink(&target, link))
}

/// Links need a privilege on Windows; a second name for the same bytes does not.
#[cfg(not(unix))]
fn point(link: &Path, blob: &Path, _: &str) -> Result<(), Error> {
    replace(link, |link| fs::hard_link(blob, link).or_else(|_| fs::copy(blob, link).map(drop)))
}

fn replace(link: &Path, make: impl Fn(&Path) -> std::io::Result<()>) -> Result<(), Error> {
    match make(link) {
        // A sound one is another process's work; a broken one points to a blob that somebody removed.
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
    let folder = path.parent().unwrap_or(repository);
    fs::create_dir_all(folder)?;
    let temporary = temporary::file_in(folder)?;
    fs::write(temporary.path(), commit)?;
    temporary.persist(&path).map_err(|error| error.error)?;
    Ok(())
}
