//! `upload_folder`, against a server that speaks the hub's protocol: repositories, preupload, Git LFS, commits.

use std::collections::BTreeMap;
use std::fs;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ner_hub::{Error, FetchOptions, Token, upload_folder};
use serde_json::{Value, json};
use tempfile::tempdir;

use crate::server::{Loopback, Reply, Seen};
use crate::{noise, options, sha256};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// What the hub and its store hold.
#[derive(Default)]
struct Held {
    is_private: Option<bool>,
    objects: BTreeMap<String, Vec<u8>>,
    committed: BTreeMap<String, Vec<u8>>,
}

struct Hub {
    hub: Loopback,
    store: Loopback,
    held: Arc<Mutex<Held>>,
}

impl Hub {
    fn start() -> Hub {
        let held = Arc::new(Mutex::new(Held::default()));
        let in_store = held.clone();
        let store = Loopback::start(move |seen| {
            let oid = seen.path.trim_start_matches('/').split('?').next().unwrap().to_owned();
            assert_eq!((seen.method.as_str(), oid.as_str()), ("PUT", sha256(&seen.body).as_str()));
            in_store.lock().unwrap().objects.insert(oid, seen.body.clone());
            Reply::status(200)
        });
        let (store_url, in_hub) = (store.url.clone(), held.clone());
        let hub = Loopback::start(move |seen| answer(seen, &store_url, &mut in_hub.lock().unwrap()));
        Hub { hub, store, held }
    }

    fn options(&self) -> FetchOptions {
        let home = tempdir().unwrap();
        let mut options = options(home.path(), &self.hub.url);
        options.env.token = Token::new("hf_secret");
        options
    }
}

fn answer(seen: &Seen, store: &str, held: &mut Held) -> Reply {
    let json = |value: Value| Reply { status: 200, body: value.to_string().into_bytes(), ..Reply::default() };
    if seen.authorization.as_deref() != Some("Bearer hf_secret") {
        return Reply::status(401);
    }
    let body: Value = serde_json::from_slice(&seen.body).unwrap_or_default();
    match seen.path.as_str() {
        "/api/repos/create" => {
            assert_eq!((&body["name"], &body["organization"]), (&json!("name"), &json!("owner")));
            if held.is_private.is_some() {
                return Reply { body: json!({ "error": "exists" }).to_string().into_bytes(), ..Reply::status(409) };
            }
            held.is_private = body["private"].as_bool();
            json(json!({ "url": "x" }))
        }
        "/api/models/owner/name/preupload/main" => {
            let mode = |file: &Value| {
                let sample = BASE64_STANDARD.decode(file["sample"].as_str().unwrap()).unwrap();
                assert!(sample.len() <= 512);
                let mode = if file["size"].as_u64() > Some(1000) { "lfs" } else { "regular" };
                json!({ "path": file["path"], "uploadMode": mode, "shouldIgnore": false })
            };
            let files: Vec<Value> = body["files"].as_array().unwrap().iter().map(mode).collect();
            json(json!({ "files": files }))
        }
        "/owner/name.git/info/lfs/objects/batch" => {
            let object = |object: &Value| {
                let oid = object["oid"].as_str().unwrap();
                let mut said = json!({ "oid": oid, "size": object["size"] });
                if !held.objects.contains_key(oid) {
                    let upload = json!({ "href": format!("{store}/{oid}?signature=1"), "header": { "x-own": "1" } });
                    said["actions"] = json!({ "upload": upload });
                }
                said
            };
            let objects: Vec<Value> = body["objects"].as_array().unwrap().iter().map(object).collect();
            json(json!({ "transfer": "basic", "objects": objects }))
        }
        "/api/models/owner/name/commit/main" => {
            let mut files = BTreeMap::new();
            for line in String::from_utf8(seen.body.clone()).unwrap().lines() {
                let line: Value = serde_json::from_str(line).unwrap();
                let value = &line["value"];
                let path = || value["path"].as_str().unwrap().to_owned();
                match line["key"].as_str().unwrap() {
                    "header" => assert_eq!(value["summary"], "A message"),
                    "file" => {
                        let content = BASE64_STANDARD.decode(value["content"].as_str().unwrap()).unwrap();
                        files.insert(path(), content);
                    }
                    "lfsFile" => {
                        files.insert(path(), held.objects[value["oid"].as_str().unwrap()].clone());
                    }
                    other => panic!("{other}"),
                }
            }
            held.committed = files;
            json(json!({ "commitOid": COMMIT, "commitUrl": "x" }))
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_folder_becomes_a_commit_and_large_files_travel_once() {
    let hub = Hub::start();
    let folder = tempdir().unwrap();
    let files =
        [("config.json", b"{}".to_vec()), ("model.safetensors", noise(200_000)), ("README.md", b"# m".to_vec())];
    for (name, bytes) in &files {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    let upload = || upload_folder(folder.path(), "owner/name", true, "A message", &hub.options()).unwrap();
    let uploaded = upload();
    assert_eq!((uploaded.url, uploaded.commit), (format!("{}/owner/name", hub.hub.url), COMMIT.to_owned()));
    let expected: BTreeMap<String, Vec<u8>> = files.iter().map(|(name, b)| ((*name).to_owned(), b.clone())).collect();
    assert_eq!(hub.held.lock().unwrap().committed, expected);
    assert_eq!(hub.held.lock().unwrap().is_private, Some(true));
    // The store has a permission of its own in the address.
    let sent = hub.store.seen();
    assert_eq!(sent.iter().map(|seen| seen.authorization.clone()).collect::<Vec<_>>(), [None]);

    upload();
    assert_eq!(hub.store.seen(), []);
}

#[test]
fn refusals_say_what_to_do() {
    let hub = Hub::start();
    let folder = tempdir().unwrap();
    fs::write(folder.path().join("config.json"), "{}").unwrap();
    let upload = |id: &str, options: &FetchOptions| {
        upload_folder(folder.path(), id, false, "A message", options).expect_err("refused").to_string()
    };
    let mut none = hub.options();
    none.env.token = None;
    assert!(upload("owner/name", &none).contains("set HF_TOKEN"), "{}", upload("owner/name", &none));
    let mut wrong = hub.options();
    wrong.env.token = Token::new("hf_other");
    let denied = upload("owner/name", &wrong);
    assert!(denied.contains("denies access (401); set HF_TOKEN") && !denied.contains("hf_other"), "{denied}");
    assert!(upload("name", &hub.options()).contains("exactly one slash"));
    let mut offline = hub.options();
    offline.env.offline = true;
    let error = upload_folder(folder.path(), "owner/name", false, "A message", &offline);
    assert!(matches!(error, Err(Error::Offline { .. })));

    let quota = Loopback::start(|_| Reply { body: br#"{"error": "over the quota"}"#.to_vec(), ..Reply::status(413) });
    let mut full = hub.options();
    full.env.endpoint = quota.url.clone();
    assert!(upload("owner/name", &full).contains("refuses the upload (413): over the quota"));
}
