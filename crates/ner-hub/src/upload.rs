//! Uploads a folder to a repository of the hub, as one commit.
//!
//! Small files travel inside the commit. Large ones go to the hub's file store first (the protocol of Git LFS, transfer
//! `basic`), which skips those that it has: a repeated upload sends only what is missing.

use std::io::Read;
use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use fs_err as fs;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::download::{Client, without_query};
use crate::env::FetchOptions;
use crate::error::Error;
use crate::hash::sha256_file;
use crate::hub::check_id;

/// A finished upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uploaded {
    /// The page of the repository.
    pub url: String,
    /// The commit.
    pub commit: String,
}

/// Bytes of a file that the hub looks at to decide how it is stored.
const SAMPLE: usize = 512;

/// The branch that gets the commit.
const BRANCH: &str = "main";

const LFS: &str = "application/vnd.git-lfs+json";

/// Uploads the files of a folder (not of folders inside it) to the model repository `id`, which is created if it is
/// missing.
///
/// # Errors
/// If there is no token, the hub refuses something, or a file cannot be read. Without a commit nothing is visible on the
/// hub.
pub fn upload_folder(
    folder: &Path,
    id: &str,
    private: bool,
    message: &str,
    options: &FetchOptions,
) -> Result<Uploaded, Error> {
    check_id(id).map_err(|reason| Error::BadHubId { spec: id.to_owned(), reason })?;
    let endpoint = &options.env.endpoint;
    if options.env.offline {
        return Err(Error::Offline { what: format!("a place for {id}"), looked_in: "only the hub has it".into() });
    }
    if options.env.token.is_none() {
        return Err(Error::NoToken { endpoint: endpoint.clone() });
    }
    let upload = Upload { client: Client::new(options), endpoint, id };
    let files = LocalFile::all(folder)?;
    upload.create_repository(private)?;
    let modes = upload.modes(&files)?;
    let (large, small): (Vec<&LocalFile>, Vec<&LocalFile>) =
        files.iter().partition(|file| modes.iter().any(|mode| mode.path == file.path && mode.upload_mode == "lfs"));
    upload.send_large(folder, &large)?;
    let commit = upload.commit(folder, &small, &large, message)?;
    Ok(Uploaded { url: format!("{endpoint}/{id}"), commit })
}

/// A file to upload.
struct LocalFile {
    path: String,
    size: u64,
    sha256: String,
    sample: Vec<u8>,
}

impl LocalFile {
    fn all(folder: &Path) -> Result<Vec<LocalFile>, Error> {
        let mut files = Vec::new();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_file() {
                let mut sample = Vec::new();
                fs::File::open(&path)?.take(SAMPLE as u64).read_to_end(&mut sample)?;
                let (size, sha256) = (fs::metadata(&path)?.len(), sha256_file(&path)?);
                files.push(LocalFile { path: name, size, sha256, sample });
            }
        }
        files.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(files)
    }
}

struct Upload<'a> {
    client: Client<'a>,
    endpoint: &'a str,
    id: &'a str,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Mode {
    path: String,
    upload_mode: String,
}

/// An address of the file store.
#[derive(Deserialize)]
struct Action {
    href: String,
    #[serde(default)]
    header: serde_json::Map<String, Value>,
}

#[derive(Deserialize)]
struct Actions {
    upload: Option<Action>,
    verify: Option<Action>,
}

#[derive(Deserialize)]
struct StoredObject {
    oid: String,
    actions: Option<Actions>,
    error: Option<Value>,
}

impl Upload<'_> {
    fn create_repository(&self, private: bool) -> Result<(), Error> {
        let url = format!("{}/api/repos/create", self.endpoint);
        let (owner, name) = self.id.split_once('/').unwrap_or(("", self.id));
        let body = json!({ "type": "model", "name": name, "organization": owner, "private": private });
        match self.post(&url, "application/json", body.to_string().into_bytes()) {
            // It is there already.
            Ok(_) | Err(Error::Refused { status: 409, .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// How the hub stores each file.
    fn modes(&self, files: &[LocalFile]) -> Result<Vec<Mode>, Error> {
        #[derive(Deserialize)]
        struct Modes {
            files: Vec<Mode>,
        }
        let url = format!("{}/api/models/{}/preupload/{BRANCH}", self.endpoint, self.id);
        let describe = |file: &LocalFile| json!({ "path": file.path, "size": file.size, "sample": BASE64_STANDARD.encode(&file.sample) });
        let body = json!({ "files": files.iter().map(describe).collect::<Vec<_>>() });
        Ok(self.ask::<Modes>(&url, "application/json", &body)?.files)
    }

    fn send_large(&self, folder: &Path, files: &[&LocalFile]) -> Result<(), Error> {
        #[derive(Deserialize)]
        struct Batch {
            objects: Vec<StoredObject>,
        }
        if files.is_empty() {
            return Ok(());
        }
        let url = format!("{}/{}.git/info/lfs/objects/batch", self.endpoint, self.id);
        let objects: Vec<Value> = files.iter().map(|file| json!({ "oid": file.sha256, "size": file.size })).collect();
        let body = json!({
            "operation": "upload",
            "transfers": ["basic"],
            "hash_algo": "sha256",
            "ref": { "name": format!("refs/heads/{BRANCH}") },
            "objects": objects,
        });
        let batch: Batch = self.ask(&url, LFS, &body)?;
        for file in files {
            let refused = |message: String| Error::Refused { url: url.clone(), status: 200, message };
            let object = batch.objects.iter().find(|object| object.oid == file.sha256);
            let object = object.ok_or_else(|| refused(format!("the answer says nothing of {}", file.path)))?;
            if let Some(error) = &object.error {
                return Err(refused(format!("{}: {}", file.path, error["message"].as_str().unwrap_or("refused"))));
            }
            // Without actions, the store has it.
            let Some(actions) = &object.actions else { continue };
            if let Some(upload) = &actions.upload {
                let bar = self.client.progress().bytes(&file.path, 0, Some(file.size));
                let source = bar.wrap_read(fs::File::open(folder.join(&file.path))?);
                self.client.put(&upload.href, &headers(&upload.header), source, file.size)?;
                bar.finish_and_clear();
            }
            if let Some(verify) = &actions.verify {
                let body = json!({ "oid": file.sha256, "size": file.size }).to_string().into_bytes();
                self.client.post(&verify.href, LFS, &headers(&verify.header), body)?;
            }
        }
        Ok(())
    }

    fn commit(
        &self,
        folder: &Path,
        small: &[&LocalFile],
        large: &[&LocalFile],
        message: &str,
    ) -> Result<String, Error> {
        #[derive(Serialize)]
        struct Line {
            key: &'static str,
            value: Value,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Committed {
            commit_oid: String,
        }
        let mut lines = vec![Line { key: "header", value: json!({ "summary": message, "description": "" }) }];
        for file in small {
            let content = BASE64_STANDARD.encode(fs::read(folder.join(&file.path))?);
            lines.push(Line {
                key: "file",
                value: json!({ "path": file.path, "encoding": "base64", "content": content }),
            });
        }
        for file in large {
            let value = json!({ "path": file.path, "algo": "sha256", "oid": file.sha256, "size": file.size });
            lines.push(Line { key: "lfsFile", value });
        }
        let mut body = Vec::new();
        for line in lines {
            serde_json::to_writer(&mut body, &line).map_err(std::io::Error::from)?;
            body.push(b'\n');
        }
        let url = format!("{}/api/models/{}/commit/{BRANCH}", self.endpoint, self.id);
        let answer = self.post(&url, "application/x-ndjson", body)?;
        Ok(read::<Committed>(&url, &answer)?.commit_oid)
    }

    fn post(&self, url: &str, media_type: &str, body: Vec<u8>) -> Result<Vec<u8>, Error> {
        self.client.post(url, media_type, &[], body)
    }

    fn ask<T: DeserializeOwned>(&self, url: &str, media_type: &str, body: &Value) -> Result<T, Error> {
        read(url, &self.post(url, media_type, body.to_string().into_bytes())?)
    }
}

fn read<T: DeserializeOwned>(url: &str, answer: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(answer).map_err(|error| Error::Refused {
        url: without_query(url),
        status: 200,
        message: format!("the answer is not that of a hub ({error}); check HF_ENDPOINT"),
    })
}

fn headers(header: &serde_json::Map<String, Value>) -> Vec<(String, String)> {
    header.iter().filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect()
}
