use crate::bucket::{Client, client, wait};
use crate::url::Location;
use crate::{Error, Result};
use fs_err::File;
use object_store::{MultipartUpload, PutPayload};
use std::io::{self, Read};
use std::path::Path;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Bytes of a part. What is no longer goes in one request.
pub const PART: u64 = 8 << 20;

/// Most parts of an object (S3: 10,000), with some to spare.
const MOST_PARTS: u64 = 9_000;

/// Parts under way at the same time.
const AT_ONCE: usize = 4;

/// Whether uploads are to end.
static STOPPED: LazyLock<watch::Sender<bool>> = LazyLock::new(|| watch::Sender::new(false));

/// Uploads in parts that are under way.
static RUNNING: AtomicUsize = AtomicUsize::new(0);

/// How long to wait for stores to forget parts.
const PATIENCE: Duration = Duration::from_secs(5);

/// Copies a file into an object. The object appears, or is replaced, at once when everything is there.
///
/// # Errors
/// If the file cannot be read, or the store does not take it. The parts of an upload that fails are removed.
pub fn put(file: &Path, url: &Path) -> Result<()> {
    let location = Location::of(url)?;
    upload(&client(&location)?, &location, file, PART)
}

/// Ends uploads in parts and removes their parts, which cost storage and are not listed; Azure keeps them for a week. For
/// the end of a process that was told to stop: uploads fail from now on, but not before the caller could end the process.
pub fn abort_uploads() {
    STOPPED.send_replace(true);
    let begin = Instant::now();
    while RUNNING.load(Ordering::SeqCst) > 0 && begin.elapsed() < PATIENCE {
        thread::sleep(Duration::from_millis(10));
    }
}

fn upload(client: &Client, location: &Location, file: &Path, part: u64) -> Result<()> {
    let url = location.to_string();
    let mut file = File::open(file)?;
    let size = file.metadata()?.len();
    if size <= part {
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        wait(client.put(&location.key, bytes.into()))?.map_err(|error| Error::of(&url, &error))?;
        return Ok(());
    }
    let part = part.max(size.div_ceil(MOST_PARTS));
    // Counted before it begins, so that whoever stops it waits for it.
    let running = Running::begin();
    let sent = wait(async {
        let mut upload = client.put_multipart(&location.key).await.map_err(|error| Error::of(&url, &error))?;
        let mut stop = STOPPED.subscribe();
        let sent = tokio::select! {
            biased;
            _ = stop.wait_for(|is_stopped| *is_stopped) => Err(Error::stopped(&url)),
            sent = send(upload.as_mut(), &mut file, part) => sent.map_err(|error| error.at(&url)),
        };
        if sent.is_err() && upload.abort().await.is_err() {
            return sent.map_err(|error| error.and("; parts of an unfinished upload remain there"));
        }
        sent
    })?;
    if *STOPPED.borrow() {
        drop(running);
        // Who reports the error would end the process with another exit code than whoever stopped it.
        thread::sleep(PATIENCE);
    }
    sent
}

struct Running;

impl Running {
    fn begin() -> Self {
        RUNNING.fetch_add(1, Ordering::SeqCst);
        Self
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        RUNNING.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Why sending failed.
enum Fault {
    File(io::Error),
    Store(object_store::Error),
}

impl Fault {
    fn at(self, url: &str) -> Error {
        match self {
            Self::File(error) => error.into(),
            Self::Store(error) => Error::of(url, &error),
        }
    }
}

/// Sends all parts, and makes the object of them.
async fn send(upload: &mut dyn MultipartUpload, file: &mut File, part: u64) -> Result<(), Fault> {
    let joined = |result: Result<object_store::Result<()>, tokio::task::JoinError>| {
        result.map_err(object_store::Error::from).flatten().map_err(Fault::Store)
    };
    let mut parts = JoinSet::new();
    loop {
        let mut bytes = Vec::new();
        file.take(part).read_to_end(&mut bytes).map_err(Fault::File)?;
        if bytes.is_empty() {
            break;
        }
        if parts.len() == AT_ONCE
            && let Some(result) = parts.join_next().await
        {
            joined(result)?;
        }
        parts.spawn(upload.put_part(PutPayload::from(bytes)));
    }
    while let Some(result) = parts.join_next().await {
        joined(result)?;
    }
    upload.complete().await.map_err(Fault::Store)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::tests::store;
    use object_store::ObjectStore;

    #[test]
    fn parts_make_up_the_object() {
        let (client, mut location) = store(&[]);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        for size in [0, 10, 11, 95] {
            let bytes: Vec<u8> = (0..size).collect();
            fs_err::write(&path, &bytes).unwrap();
            location.key = format!("found/{size}").into();
            upload(&client, &location, &path, 10).unwrap();
            let there = wait(async { client.get(&location.key).await?.bytes().await }).unwrap().unwrap();
            assert_eq!(there, bytes);
        }
        assert_eq!(RUNNING.load(Ordering::SeqCst), 0);
    }
}
