//! `fetch` and `fetch_zip_members`.

use std::io::{Cursor, Write};
use std::path::Path;
use std::time::Duration;

use ner_hub::{Error, How, ZipMember, fetch, fetch_zip_members};
use tempfile::tempdir;
use zip::write::SimpleFileOptions;

use crate::server::{Loopback, Reply, hangs_up};
use crate::{noise, options, sha256, tree};

#[test]
fn a_file_comes_whole_and_then_without_the_network() {
    let home = tempdir().unwrap();
    let body = noise(300_000);
    let served = body.clone();
    let server = Loopback::start(move |seen| match seen.path.as_str() {
        "/moved.bin" => Reply::status(302).with("Location", "/real.bin?signature=1"),
        "/real.bin?signature=1" => Reply::file(seen, &served, "v1"),
        _ => Reply::status(404),
    });
    let options = options(home.path(), &server.url);
    let dest = home.path().join("a/b/file.bin");

    let fetched = fetch(&format!("{}/moved.bin", server.url), &dest, Some(&sha256(&body)), &options).unwrap();
    assert_eq!(std::fs::read(&dest).unwrap(), body);
    assert_eq!((fetched.bytes, fetched.how), (300_000, How::Downloaded { resumed_from: 0 }));
    assert_eq!(fetched.sha256, sha256(&body));
    assert_eq!(tree(home.path()).into_keys().collect::<Vec<_>>(), ["a/b/file.bin"], "no part is left");
    assert_eq!(server.seen().len(), 2);

    let again = fetch(&format!("{}/moved.bin", server.url), &dest, Some(&sha256(&body)), &options).unwrap();
    assert_eq!(again.how, How::AlreadyThere);
    assert_eq!(server.seen(), []);

    // A file with another checksum is replaced.
    std::fs::write(&dest, "something else").unwrap();
    let third = fetch(&format!("{}/moved.bin", server.url), &dest, Some(&sha256(&body)), &options).unwrap();
    assert_eq!(third.how, How::Downloaded { resumed_from: 0 });
    assert_eq!(std::fs::read(&dest).unwrap(), body);
}

#[test]
fn a_broken_transfer_goes_on_where_it_stopped() {
    let home = tempdir().unwrap();
    let body = noise(1_000_000);
    let (url, ranges) = hangs_up(body.clone(), "v1", 400_000);
    let dest = home.path().join("file.bin");
    let mut options = options(home.path(), "");

    // Without a checksum, so the server's entity tag alone makes resuming safe.
    let error = fetch(&url, &dest, None, &options).unwrap_err();
    let Error::Interrupted { received, expected, .. } = &error else { panic!("{error:?}") };
    assert_eq!((*received, *expected), (400_000, Some(1_000_000)));
    assert!(error.to_string().contains("run the same command again"), "{error}");
    assert!(!dest.exists());
    assert_eq!(tree(home.path())["file.bin.part"], 400_000);

    options.retries = 1;
    let fetched = fetch(&url, &dest, None, &options).unwrap();
    assert_eq!(fetched.how, How::Downloaded { resumed_from: 400_000 });
    assert_eq!(std::fs::read(&dest).unwrap(), body);
    assert_eq!(*ranges.lock().unwrap(), [None, Some("bytes=400000-".into()), Some("bytes=800000-".into())]);
    assert_eq!(tree(home.path()).len(), 1, "no part is left");
}

#[test]
fn a_part_of_another_version_is_not_gone_on_with() {
    let home = tempdir().unwrap();
    let dest = home.path().join("file.bin");
    let options = options(home.path(), "");
    let (url, _) = hangs_up(noise(100_000), "v1", 60_000);
    fetch(&url, &dest, None, &options).unwrap_err();

    let body = noise(90_000);
    let served = body.clone();
    let server = Loopback::start(move |seen| Reply::file(seen, &served, "v2"));
    let fetched = fetch(&server.url, &dest, None, &options).unwrap();
    assert_eq!(fetched.how, How::Downloaded { resumed_from: 0 });
    assert_eq!(std::fs::read(&dest).unwrap(), body);
    let seen = server.seen();
    assert_eq!((seen[0].range.as_deref(), seen[0].if_range.as_deref()), (Some("bytes=60000-"), Some("\"v1\"")));
}

#[test]
fn a_damaged_part_is_fetched_again_from_the_start() {
    let home = tempdir().unwrap();
    let dest = home.path().join("file.bin");
    let options = options(home.path(), "");
    let body = noise(50_000);
    let served = body.clone();
    let server = Loopback::start(move |seen| Reply::file(seen, &served, "v1"));
    for part in [vec![7; 10_000], vec![7; 50_000], vec![7; 60_000]] {
        std::fs::write(home.path().join("file.bin.part"), &part).unwrap();
        let fetched = fetch(&server.url, &dest, Some(&sha256(&body)), &options);
        // A part longer than the file gets status 416, which counts as a failed attempt.
        if part.len() == 60_000 {
            assert!(matches!(fetched, Err(Error::Interrupted { received: 0, .. })), "{fetched:?}");
        }
        let fetched = fetch(&server.url, &dest, Some(&sha256(&body)), &options).unwrap();
        assert_eq!(fetched.sha256, sha256(&body));
        std::fs::remove_file(&dest).unwrap();
    }
}

#[test]
fn a_wrong_checksum_leaves_nothing() {
    let home = tempdir().unwrap();
    let server = Loopback::start(|seen| Reply::file(seen, b"not what was promised", "v1"));
    let expected = sha256(b"what was promised");
    let dest = home.path().join("file.bin");
    let error = fetch(&server.url, &dest, Some(&expected), &options(home.path(), "")).unwrap_err();
    assert!(matches!(&error, Error::Checksum { expected: e, .. } if *e == expected), "{error:?}");
    assert!(tree(home.path()).is_empty(), "{:?}", tree(home.path()));
}

#[test]
fn a_refusal_is_told_apart_and_a_hiccup_is_tried_again() {
    let home = tempdir().unwrap();
    let dest = home.path().join("file.bin");
    let mut options = options(home.path(), "");
    options.retries = 3;
    let tries = std::sync::atomic::AtomicU32::new(0);
    let server = Loopback::start(move |seen| match seen.path.split('?').next().unwrap() {
        "/closed" => Reply::status(403),
        "/hiccup" if tries.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < 2 => Reply::status(503),
        "/hiccup" => Reply::file(seen, b"at last", "v1"),
        "/loop" => Reply::status(302).with("Location", "/loop"),
        _ => Reply::status(404),
    });
    let check = |path: &str, expected: fn(&Error) -> bool, requests: usize| {
        let error = fetch(&format!("{}{path}?secret=1", server.url), &dest, None, &options).unwrap_err();
        assert!(expected(&error), "{path}: {error:?}");
        assert!(!error.to_string().contains("secret"), "{error}");
        assert_eq!(server.seen().len(), requests, "{path}");
        assert!(!dest.exists());
    };
    check("/nothing", |e| matches!(e, Error::NotFound { .. }), 1);
    check("/closed", |e| matches!(e, Error::Denied { status: 403, .. }), 1);
    check("/loop", |e| matches!(e, Error::Redirect { .. }), 11);
    let fetched = fetch(&format!("{}/hiccup", server.url), &dest, None, &options).unwrap();
    assert_eq!((fetched.bytes, server.seen().len()), (7, 3));
}

#[test]
fn a_silent_server_is_given_up() {
    let home = tempdir().unwrap();
    let server = Loopback::start(|_| Reply { status: 200, body: vec![1; 10], promised: Some(20), ..Reply::default() });
    let mut options = options(home.path(), "");
    options.stall_timeout = Duration::from_millis(200);
    let error = fetch(&server.url, &home.path().join("file.bin"), None, &options).unwrap_err();
    assert!(matches!(error, Error::Interrupted { received: 10, expected: Some(20), .. }), "{error:?}");

    // The server is gone: retries cannot help.
    drop(server);
    options.retries = 100;
    options.backoff = Duration::from_secs(100);
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = fetch(&format!("http://{gone}/"), &home.path().join("other"), None, &options).unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    assert!(std::error::Error::source(&error).is_some());
}

#[test]
fn two_at_once_transfer_once() {
    let home = tempdir().unwrap();
    let body = noise(200_000);
    let served = body.clone();
    let server = Loopback::start(move |seen| {
        std::thread::sleep(Duration::from_millis(100));
        Reply::file(seen, &served, "v1")
    });
    let options = options(home.path(), "");
    let dest = home.path().join("file.bin");
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| fetch(&server.url, &dest, None, &options).unwrap());
        }
    });
    assert_eq!(server.seen().len(), 1);
    assert_eq!(tree(home.path()), [("file.bin".to_owned(), 200_000)].into());
    assert_eq!(std::fs::read(&dest).unwrap(), body);
}

#[test]
fn offline_opens_no_connection() {
    let home = tempdir().unwrap();
    let server = Loopback::start(|_| Reply::status(500));
    let mut options = options(home.path(), "");
    options.env.offline = true;
    let error = fetch(&server.url, &home.path().join("file.bin"), None, &options).unwrap_err();
    assert!(matches!(error, Error::Offline { .. }), "{error:?}");
    assert_eq!(server.seen(), []);
    assert!(tree(home.path()).is_empty());
}

fn zip_of(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in members {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn member(home: &Path, suffix: &str, dest: &str, content: Option<&[u8]>) -> ZipMember {
    ZipMember { suffix: suffix.into(), dest: home.join(dest), sha256: content.map(sha256) }
}

#[test]
fn members_come_out_of_a_zip() {
    let home = tempdir().unwrap();
    let archive = zip_of(&[
        ("CDR_Data/README.txt", b"read me"),
        ("__MACOSX/CDR_Data/._Train.txt", b"a fork"),
        ("CDR_Data/Corpus/Train.txt", b"training"),
        ("CDR_Data/Corpus/xTest.txt", b"no"),
        ("CDR_Data/Corpus/Test.txt", b"test"),
    ]);
    let server = Loopback::start(move |seen| Reply::file(seen, &archive, "v1"));
    let url = format!("{}/CDR_Data.zip", server.url);
    let options = options(home.path(), "");
    let members = [
        member(home.path(), "Train.txt", "data/train.txt", Some(b"training")),
        member(home.path(), "Corpus/Test.txt", "data/test.txt", None),
    ];

    let fetched = fetch_zip_members(&url, None, &members, &options).unwrap();
    assert_eq!(std::fs::read(home.path().join("data/train.txt")).unwrap(), b"training");
    assert_eq!(fetched[1].sha256, sha256(b"test"));
    let left: Vec<_> = tree(home.path()).into_keys().collect();
    assert_eq!(left, ["data/test.txt", "data/train.txt"], "the archive is gone");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let plain = home.path().join("plain");
        std::fs::write(&plain, "").unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode();
        assert_eq!(mode(&members[0].dest), mode(&plain), "as readable as any other file");
    }
    assert_eq!(server.seen().len(), 1);
    let again = fetch_zip_members(&url, None, &members, &options).unwrap();
    assert!(again.iter().all(|file| file.how == How::AlreadyThere));
    assert_eq!(server.seen(), []);
}

fn check_bad_zip(archive: Vec<u8>, members: &[(&str, Option<&[u8]>)], expected: &str) {
    let home = tempdir().unwrap();
    let server = Loopback::start(move |seen| Reply::file(seen, &archive, "v1"));
    let members: Vec<_> = members
        .iter()
        .map(|(suffix, content)| member(home.path(), suffix, &format!("out/{suffix}"), *content))
        .collect();
    let url = format!("{}/bad.zip", server.url);
    let error = fetch_zip_members(&url, None, &members, &options(home.path(), "")).unwrap_err();
    assert!(error.to_string().contains(expected), "{error}");
    assert!(tree(home.path()).is_empty(), "{expected}: {:?}", tree(home.path()));
}

#[test]
fn a_bad_zip_puts_nothing_in_place() {
    let good = [("a/one.txt", b"one".as_slice()), ("a/two.txt", b"two")];
    check_bad_zip(zip_of(&good), &[("one.txt", None), ("three.txt", None)], "no member named three.txt");
    check_bad_zip(zip_of(&good), &[("one.txt", None), ("two.txt", Some(b"2"))], "bad.zip: a/two.txt has the SHA-256");
    let twice = [("a/one.txt", b"1".as_slice()), ("b/one.txt", b"1")];
    check_bad_zip(zip_of(&twice), &[("one.txt", None)], "several members named one.txt: ");
    check_bad_zip(
        zip_of(&[("../../evil.txt", b"!")]),
        &[("evil.txt", None)],
        "../../evil.txt points outside the archive",
    );
    check_bad_zip(b"<html>not a zip</html>".to_vec(), &[("one.txt", None)], "cannot be unpacked");
    // The archive's own checksum detects a flipped bit in a member.
    let mut damaged = zip_of(&[("one.txt", &noise(1000))]);
    damaged[500] ^= 1;
    check_bad_zip(damaged, &[("one.txt", None)], "the member one.txt cannot be unpacked");
}
