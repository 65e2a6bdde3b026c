//! Unpacks single members of zip files.

use std::io::{self, Read, Seek, Write};
use std::path::PathBuf;

use fs_err::{self as fs, File};
use ner_files::NewFile;
use tracing::info;
use zip::ZipArchive;
use zip::result::ZipError;

use crate::download::{Client, Fetched, How, Job};
use crate::env::FetchOptions;
use crate::error::Error;
use crate::hash;

/// A member of a zip file and its destination.
#[derive(Clone, Debug)]
pub struct ZipMember {
    /// The end of its path in the archive, in whole components: `CDR_TrainingSet.PubTator.txt` matches only members of
    /// that name, in any folder.
    pub suffix: String,
    /// Its destination. The archive cannot change it.
    pub dest: PathBuf,
    /// Its SHA-256 in hexadecimal, if known.
    pub sha256: Option<String>,
}

/// Downloads the zip file at `url` next to the first member's destination, unpacks `members`, and deletes the zip file.
/// Returns the members in their order.
///
/// Opens no connection if every member exists with the right checksum. Writes no member unless all were found and
/// unpacked and have the right checksums. `sha256` is the archive's own, if known.
pub fn fetch_zip_members(
    url: &str,
    sha256: Option<&str>,
    members: &[ZipMember],
    options: &FetchOptions,
) -> Result<Vec<Fetched>, Error> {
    if let Some(there) = all_there(members)? {
        return Ok(there);
    }
    let Some(first) = members.first() else { return Ok(Vec::new()) };
    let name = url.split(['?', '#']).next().unwrap_or_default().rsplit('/').next().filter(|name| !name.is_empty());
    // A name of our own: the file is deleted below, and the user may keep an archive under the plain name.
    let zip = first.dest.with_file_name(format!(".medner-{}", name.unwrap_or("archive.zip")));
    Client::new(options).download(&Job { url, dest: &zip, label: name.unwrap_or(url), sha256, with_token: false })?;
    let file = match fs::File::open(&zip) {
        Ok(file) => file,
        Err(error) => {
            // Another process may have downloaded the same archive, unpacked everything and deleted it.
            return all_there(members)?.ok_or(Error::Io(error));
        }
    };
    let result = extract(file, url, members);
    // A good archive is no longer needed; a bad one must not be used again.
    match fs::remove_file(&zip) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    result
}

/// The members, if all of them exist with the right checksums.
fn all_there(members: &[ZipMember]) -> Result<Option<Vec<Fetched>>, Error> {
    let mut there = Vec::with_capacity(members.len());
    for member in members {
        if !member.dest.is_file() {
            return Ok(None);
        }
        let what = member.dest.display().to_string();
        match hash::verify(&member.dest, &what, member.sha256.as_deref()) {
            Ok(sha256) => {
                let bytes = fs::metadata(&member.dest)?.len();
                there.push(Fetched { path: member.dest.clone(), bytes, sha256, how: How::AlreadyThere });
            }
            Err(Error::Checksum { .. }) => {
                info!("{what} has another checksum than expected; downloading it again");
                return Ok(None);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(Some(there))
}

/// Unpacks and checks all `members`, then moves them to their destinations.
pub(crate) fn extract(file: File, archive: &str, members: &[ZipMember]) -> Result<Vec<Fetched>, Error> {
    let bad = |member: Option<&str>, source: ZipError| Error::Zip {
        archive: archive.to_owned(),
        member: member.map(str::to_owned),
        source,
    };
    let mut zip = ZipArchive::new(io::BufReader::new(file)).map_err(|error| bad(None, error))?;
    let names: Vec<String> = zip.file_names().map(str::to_owned).collect();
    let mut ready = Vec::with_capacity(members.len());
    for member in members {
        let name = find(&names, archive, &member.suffix)?;
        ready.push(unpack(&mut zip, archive, name, member, bad)?);
    }
    let mut fetched = Vec::with_capacity(members.len());
    for (member, (unpacked, bytes, sha256)) in members.iter().zip(ready) {
        unpacked.finish_on_disk()?;
        let how = How::Downloaded { resumed_from: 0 };
        fetched.push(Fetched { path: member.dest.clone(), bytes, sha256, how });
    }
    Ok(fetched)
}

/// The only member whose path ends in `suffix`.
fn find<'a>(names: &'a [String], archive: &str, suffix: &str) -> Result<&'a str, Error> {
    let found: Vec<&String> = names
        .iter()
        .filter(|name| name.strip_suffix(suffix).is_some_and(|before| before.is_empty() || before.ends_with('/')))
        .collect();
    match found[..] {
        [name] => Ok(name),
        _ => Err(Error::Member {
            archive: archive.to_owned(),
            member: suffix.to_owned(),
            found: found.into_iter().cloned().collect(),
        }),
    }
}

/// Unpacks one member to a temporary file next to its destination and checks it.
fn unpack<R: Read + Seek>(
    zip: &mut ZipArchive<R>,
    archive: &str,
    name: &str,
    member: &ZipMember,
    bad: impl Fn(Option<&str>, ZipError) -> Error,
) -> Result<(NewFile, u64, String), Error> {
    let mut entry = zip.by_name(name).map_err(|error| bad(Some(name), error))?;
    // The name is never used as a path, but an archive with such a name is not trustworthy.
    if entry.enclosed_name().is_none() {
        return Err(Error::UnsafeMember { archive: archive.to_owned(), member: name.to_owned() });
    }
    let mut unpacked = NewFile::create(&member.dest)?;
    let bytes = io::copy(&mut entry, &mut unpacked).map_err(|error| bad(Some(name), ZipError::Io(error)))?;
    unpacked.flush()?;
    let sha256 = hash::verify(unpacked.draft(), &format!("{archive}: {name}"), member.sha256.as_deref())?;
    Ok((unpacked, bytes, sha256))
}
