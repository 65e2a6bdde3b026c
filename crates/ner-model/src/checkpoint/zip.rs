//! Reads the directory of a zip file, just enough to find the entries that `torch.save` writes, which are uncompressed.
//!
//! The `zip` crate does not serve: it reserves memory for as many entries as the file claims, and a forged count in a
//! large file exceeds any machine's memory. Here nothing is reserved, and compressed entries, hence zip bombs, are
//! refused. Field offsets are from PKWARE's APPNOTE 6.3.10, sections 4.3.7, 4.3.12, 4.3.14–16 and 4.5.3.

use std::collections::HashMap;
use std::ops::Range;

use super::{Fault, malformed};

const LOCAL_HEADER: u32 = 0x0403_4b50;
const CENTRAL_HEADER: u32 = 0x0201_4b50;
const END_OF_DIRECTORY: u32 = 0x0605_4b50;
const ZIP64_END_OF_DIRECTORY: u32 = 0x0606_4b50;
const ZIP64_LOCATOR: u32 = 0x0706_4b50;
const ZIP64_EXTRA: u16 = 1;
/// Length of the end record without its comment, and of the longest comment.
const END_LEN: usize = 22;
const MAX_COMMENT: usize = u16::MAX as usize;

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<usize> {
    array(bytes, at).map(|b| u16::from_le_bytes(b).into())
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    array(bytes, at).map(u64::from_le_bytes)
}

/// An entry as the directory describes it.
#[derive(Debug, Clone, Copy)]
struct Member {
    method: usize,
    stored_len: u64,
    len: u64,
    header_at: u64,
}

/// The directory of a zip file.
pub(super) struct Zip<'a> {
    bytes: &'a [u8],
    members: HashMap<&'a str, Member>,
}

impl<'a> Zip<'a> {
    pub(super) fn open(bytes: &'a [u8]) -> Result<Zip<'a>, Fault> {
        let tail = bytes.len().saturating_sub(END_LEN + MAX_COMMENT);
        let signature = END_OF_DIRECTORY.to_le_bytes();
        let end = bytes[tail..].windows(END_LEN).rposition(|window| window.starts_with(&signature));
        let end = tail
            + end.ok_or_else(|| {
                malformed("truncated: a zip whose directory, at the end of the file, is missing; download it again")
            })?;
        let members =
            directory(bytes, end).ok_or_else(|| malformed("a zip whose directory is damaged; download it again"))?;
        Ok(Zip { bytes, members })
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &'a str> {
        self.members.keys().copied()
    }

    /// Position of an entry's bytes in the file; `None` if there is no such entry.
    pub(super) fn range(&self, name: &str) -> Result<Option<Range<usize>>, Fault> {
        let Some(member) = self.members.get(name) else { return Ok(None) };
        if member.method != 0 || member.stored_len != member.len {
            return Err(Fault::Unsupported(format!(
                "zip entry `{name}` is compressed; torch.save does not compress, so another tool has repacked this file; \
                 download the original"
            )));
        }
        let range = self
            .data_range(member)
            .ok_or_else(|| malformed(format!("zip entry `{name}` lies outside the file; download it again")))?;
        Ok(Some(range))
    }

    fn data_range(&self, member: &Member) -> Option<Range<usize>> {
        let at = usize::try_from(member.header_at).ok()?;
        let header = self.bytes.get(at..)?;
        if u32_at(header, 0)? != LOCAL_HEADER {
            return None;
        }
        // Lengths of name and padding come from this header, not the directory: they differ by design.
        let start = at + 30 + u16_at(header, 26)? + u16_at(header, 28)?;
        let end = start.checked_add(usize::try_from(member.len).ok()?)?;
        (end <= self.bytes.len()).then_some(start..end)
    }
}

fn directory(bytes: &[u8], end: usize) -> Option<HashMap<&str, Member>> {
    let mut at = u64::from(u32_at(bytes, end + 16)?);
    let mut count = u16_at(bytes, end + 10)? as u64;
    let locator = end.checked_sub(20).filter(|locator| u32_at(bytes, *locator) == Some(ZIP64_LOCATOR));
    if let Some(locator) = locator {
        let record = usize::try_from(u64_at(bytes, locator + 8)?).ok()?;
        let record = bytes.get(record..)?;
        if u32_at(record, 0)? != ZIP64_END_OF_DIRECTORY {
            return None;
        }
        count = u64_at(record, 32)?;
        at = u64_at(record, 48)?;
    }
    let mut rest = bytes.get(usize::try_from(at).ok()?..)?;
    let mut members = HashMap::new();
    // A forged count ends at the first bytes that are not a header, so the file's size bounds the loop.
    for _ in 0..count {
        if u32_at(rest, 0)? != CENTRAL_HEADER {
            return None;
        }
        let (name_len, extra_len, comment_len) = (u16_at(rest, 28)?, u16_at(rest, 30)?, u16_at(rest, 32)?);
        let name = rest.get(46..46 + name_len)?;
        let extra = rest.get(46 + name_len..46 + name_len + extra_len)?;
        let mut member = Member {
            method: u16_at(rest, 10)?,
            stored_len: u32_at(rest, 20)?.into(),
            len: u32_at(rest, 24)?.into(),
            header_at: u32_at(rest, 42)?.into(),
        };
        widen(&mut member, extra)?;
        members.insert(str::from_utf8(name).ok()?, member);
        rest = rest.get(46 + name_len + extra_len + comment_len..)?;
    }
    Some(members)
}

/// Replaces each saturated 32-bit field by its 64-bit value. The values have this order in the extra field.
fn widen(member: &mut Member, mut extra: &[u8]) -> Option<()> {
    while extra.len() >= 4 {
        let (id, len) = (u16_at(extra, 0)?, u16_at(extra, 2)?);
        let body = extra.get(4..4 + len)?;
        if id == usize::from(ZIP64_EXTRA) {
            let mut at = 0;
            for field in [&mut member.len, &mut member.stored_len, &mut member.header_at] {
                if *field == u64::from(u32::MAX) {
                    *field = u64_at(body, at)?;
                    at += 8;
                }
            }
        }
        extra = extra.get(4 + len..)?;
    }
    Some(())
}
