//! Inputs in other encodings than UTF-8: decoded where the file says what it is, and otherwise refused by name.

use super::per_document;
use encoding_rs::{Decoder, DecoderResult, Encoding, UTF_8, UTF_16BE, UTF_16LE};
use std::borrow::Cow;
use std::io::{self, BufRead, Cursor, ErrorKind, Read};

/// Stands for what cannot be decoded. It never occurs in UTF-8, so that the reader of the format notes it with its line.
const INVALID: u8 = 0xff;

/// Maximum number of bytes examined to find the encoding.
const BEGINNING: usize = 1024;

/// Byte-order marks.
const UTF_32LE: &[u8] = b"\xff\xfe\0\0";
const UTF_32BE: &[u8] = b"\0\0\xfe\xff";

/// How the beginning of a file shows its encoding: `None` is UTF-8, an error says why the file is refused.
type Found = Result<Option<&'static Encoding>, String>;

/// UTF-16 by its byte-order mark. UTF-16 without one and UTF-32 are refused: as UTF-8 they would be letters between
/// NUL characters.
fn by_mark(beginning: &[u8]) -> Found {
    if [UTF_32LE, UTF_32BE].iter().any(|mark| beginning.starts_with(mark)) {
        return Err(format!("it is UTF-32; {}", convert_from("UTF-32")));
    }
    match (Encoding::for_bom(beginning), unmarked_utf16(beginning)) {
        (Some((encoding, _)), _) => Ok((encoding != UTF_8).then_some(encoding)),
        (None, Some(name)) => Err(format!("it looks like UTF-16 without a byte-order mark; {}", convert_from(name))),
        (None, None) => Ok(None),
    }
}

/// The name of the UTF-16 that this is: NULs are only in every second place, beside letters, digits and spaces, and there
/// are enough of them: beside nearly all characters of a short text, and beside the spaces and digits of any language in
/// a longer one.
fn unmarked_utf16(beginning: &[u8]) -> Option<&'static str> {
    const LONG: usize = 200;
    let units = beginning.len() / 2;
    let whole = &beginning[..units * 2];
    let is_text = |byte: u8| byte.is_ascii_alphanumeric() || byte == b' ';
    [(UTF_16LE, "UTF-16LE", 1), (UTF_16BE, "UTF-16BE", 0)].into_iter().find_map(|(encoding, name, high)| {
        let (mut nuls, mut letters) = (0, 0);
        for unit in whole.chunks_exact(2) {
            let (high, low) = (unit[high], unit[1 - high]);
            if low == 0 {
                return None;
            }
            nuls += usize::from(high == 0);
            letters += usize::from(high == 0 && is_text(low));
        }
        let least = if units < LONG { units * 9 / 10 } else { units / 10 };
        let is_enough = nuls >= least.max(4) && letters * 2 > nuls;
        // The last character may be cut off.
        let is_valid = |bytes| encoding.decode_without_bom_handling_and_without_replacement(bytes).is_some();
        (is_enough && (is_valid(whole) || is_valid(&whole[..whole.len() - 2]))).then_some(name)
    })
}

/// The encoding that an XML declaration names, unless there is a byte-order mark (XML 1.0, appendix F).
fn by_declaration(beginning: &[u8]) -> Found {
    if let Some(encoding) = by_mark(beginning)? {
        return Ok(Some(encoding));
    }
    let Some(label) = declared(beginning) else { return Ok(None) };
    match Encoding::for_label(label.as_bytes()) {
        // The declaration itself could be read, so it is not UTF-16: another tool has decoded the file.
        Some(encoding) if [UTF_8, UTF_16LE, UTF_16BE].contains(&encoding) => Ok(None),
        Some(encoding) => Ok(Some(encoding)),
        None => Err(format!("it declares the encoding {label}, which is unknown here; {}", convert_from(label))),
    }
}

/// The name of an encoding in `<?xml … encoding="NAME"?>`, if it has the form of one.
fn declared(beginning: &[u8]) -> Option<&str> {
    let declaration = beginning.strip_prefix(b"<?xml")?.split(|&byte| byte == b'>').next()?;
    let (_, rest) = std::str::from_utf8(declaration).ok()?.split_once("encoding")?;
    let rest = rest.trim_start().strip_prefix('=')?.trim_start();
    let label = rest.strip_prefix(['"', '\''])?.split(['"', '\'']).next()?;
    let is_name = |c: char| c.is_ascii_alphanumeric() || "._-:".contains(c);
    (!label.is_empty() && label.chars().all(is_name)).then_some(label)
}

fn convert_from(name: &str) -> String {
    format!("convert it, for example with `iconv -f {name} -t UTF-8`")
}

/// What to do about bytes that are not UTF-8, such as these.
pub(super) fn advice(bytes: &[u8]) -> String {
    let mut detector = chardetng::EncodingDetector::new();
    detector.feed(bytes, true);
    let name = detector.guess(None, false).name();
    format!("if the file is {name}, {}", convert_from(name))
}

/// Why a file that begins like this is no text in a known encoding; `None` if it may be one.
pub fn refused_encoding(beginning: &[u8]) -> Option<String> {
    by_mark(beginning.get(..BEGINNING).unwrap_or(beginning)).err()
}

/// Decodes a whole file as [`Decoded`] does.
///
/// # Errors
/// If its encoding is refused; the message says why.
pub(super) fn decode_file(bytes: &[u8]) -> Result<Cow<'_, [u8]>, String> {
    let Some(encoding) = by_mark(bytes.get(..BEGINNING).unwrap_or(bytes))? else { return Ok(bytes.into()) };
    let mut decoded = Vec::new();
    decode(&mut encoding.new_decoder_with_bom_removal(), bytes, true, &mut decoded);
    Ok(decoded.into())
}

/// An input as UTF-8, for a reader in constant memory. What cannot be decoded becomes a byte that is not UTF-8.
pub(super) struct Decoded<R> {
    input: R,
    /// How to find the encoding, before the first use.
    find: Option<fn(&[u8]) -> Found>,
    /// The first bytes, read to find the encoding.
    beginning: Cursor<Vec<u8>>,
    /// `None` for UTF-8, which passes unchanged.
    decoder: Option<Decoder>,
    /// Decoded but not yet consumed text.
    ready: Cursor<Vec<u8>>,
    is_ended: bool,
}

impl<R: BufRead> Decoded<R> {
    /// Decodes UTF-16 with a byte-order mark; what [`by_mark`] refuses passes unchanged.
    ///
    /// # Errors
    /// If the first bytes cannot be read.
    pub(super) fn new(input: R) -> io::Result<Self> {
        let mut decoded = Self { find: Some(|beginning| Ok(by_mark(beginning).unwrap_or(None))), ..Self::xml(input) };
        decoded.begin()?;
        Ok(decoded)
    }

    /// Decodes UTF-16 with a byte-order mark.
    ///
    /// # Errors
    /// If the first bytes cannot be read, or the encoding is refused ([`ErrorKind::InvalidData`]).
    pub(super) fn or_refused(input: R) -> io::Result<Self> {
        let mut decoded = Self { find: Some(by_mark), ..Self::xml(input) };
        decoded.begin()?;
        Ok(decoded)
    }

    /// Decodes XML as it declares. Nothing is read before the first use; if the encoding is refused, that fails with
    /// [`ErrorKind::InvalidData`].
    pub(super) fn xml(input: R) -> Self {
        let (beginning, ready) = (Cursor::default(), Cursor::default());
        Self { input, find: Some(by_declaration), beginning, decoder: None, ready, is_ended: false }
    }

    fn begin(&mut self) -> io::Result<()> {
        let Some(find) = self.find else { return Ok(()) };
        let mut beginning = Vec::new();
        self.input.by_ref().take(BEGINNING as u64).read_to_end(&mut beginning)?;
        let found = find(&beginning).map_err(|message| io::Error::new(ErrorKind::InvalidData, message))?;
        self.decoder = found.map(Encoding::new_decoder_with_bom_removal);
        self.beginning = Cursor::new(beginning);
        self.find = None;
        Ok(())
    }
}

/// Appends to `decoded`.
fn decode(decoder: &mut Decoder, mut bytes: &[u8], is_last: bool, decoded: &mut Vec<u8>) {
    loop {
        let start = decoded.len();
        let room = decoder.max_utf8_buffer_length_without_replacement(bytes.len()).unwrap_or(BEGINNING).max(BEGINNING);
        decoded.resize(start + room, 0);
        let (result, read, written) = decoder.decode_to_utf8_without_replacement(bytes, &mut decoded[start..], is_last);
        decoded.truncate(start + written);
        bytes = &bytes[read..];
        match result {
            DecoderResult::InputEmpty => return,
            DecoderResult::OutputFull => {}
            DecoderResult::Malformed(..) => decoded.push(INVALID),
        }
    }
}

impl<R: BufRead> BufRead for Decoded<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.begin()?;
        let Some(decoder) = &mut self.decoder else {
            return if self.beginning.fill_buf()?.is_empty() {
                self.input.fill_buf()
            } else {
                self.beginning.fill_buf()
            };
        };
        while !self.is_ended && self.ready.fill_buf()?.is_empty() {
            let decoded = self.ready.get_mut();
            decoded.clear();
            let beginning = std::mem::take(self.beginning.get_mut());
            if beginning.is_empty() {
                let bytes = self.input.fill_buf()?;
                let amount = bytes.len();
                self.is_ended = amount == 0;
                decode(decoder, bytes, self.is_ended, decoded);
                self.input.consume(amount);
            } else {
                decode(decoder, &beginning, false, decoded);
            }
            self.ready.set_position(0);
        }
        self.ready.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        if self.decoder.is_some() {
            self.ready.consume(amount);
        } else if self.beginning.position() < self.beginning.get_ref().len() as u64 {
            self.beginning.consume(amount);
        } else {
            self.input.consume(amount);
        }
    }
}

impl<R: BufRead> Read for Decoded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        per_document::read_from_buffer(self, buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::BufReader;

    fn utf16(text: &str, is_little: bool) -> Vec<u8> {
        text.encode_utf16().flat_map(|unit| if is_little { unit.to_le_bytes() } else { unit.to_be_bytes() }).collect()
    }

    fn read(bytes: &[u8], is_xml: bool, capacity: usize) -> Result<Vec<u8>, String> {
        let input = BufReader::with_capacity(capacity, bytes);
        let decoded = if is_xml { Ok(Decoded::xml(input)) } else { Decoded::or_refused(input) };
        let mut read = Vec::new();
        decoded.and_then(|mut decoded| decoded.read_to_end(&mut read)).map(|_| read).map_err(|error| error.to_string())
    }

    /// Bytes, whether they are read as XML, and what they are as UTF-8 or why they are refused.
    type Case<'c> = (Vec<u8>, bool, Result<Vec<u8>, &'c str>);

    #[test]
    fn files_are_what_they_say_or_are_refused() {
        let text = "Ménière 𝛼\r\n";
        let latin = |declaration: &str| [declaration.as_bytes(), b"M\xe9ni\xe8re"].concat();
        let declared = |name: &str| format!("<?xml version='1.0' encoding = \"{name}\"?>");
        let marked = |is_little| utf16(&format!("\u{feff}{text}"), is_little);
        let kept = |declaration: &str| [declaration, "Ménière"].concat().into_bytes();
        let table: &[Case<'_>] = &[
            (vec![], false, Ok(vec![])),
            (b"\xff".into(), false, Ok(b"\xff".into())),
            (b"a\0b\0".into(), false, Ok(b"a\0b\0".into())),
            ("a\0 |".repeat(20).into(), false, Ok("a\0 |".repeat(20).into())),
            (text.into(), false, Ok(text.into())),
            (marked(true), false, Ok(text.into())),
            (marked(false), true, Ok(text.into())),
            // Half a character: a surrogate alone, and half a unit.
            (b"\xff\xfea\0\x00\xd8b\0c".into(), false, Ok(b"a\xffb\xff".into())),
            (
                utf16("a few words", true),
                false,
                Err("without a byte-order mark; convert it, for example with `iconv -f UTF-16LE"),
            ),
            (utf16(&"Слова и числа: 1, 2, 3. ".repeat(12), false), false, Err("iconv -f UTF-16BE -t UTF-8`")),
            ("a\0\0b\0c\0".repeat(9).into(), false, Ok("a\0\0b\0c\0".repeat(9).into())),
            (b"\xff\xfe\0\0a\0\0\0".into(), false, Err("UTF-32")),
            (latin(&declared("ISO-8859-1")), true, Ok(kept(&declared("ISO-8859-1")))),
            (latin(&declared("windows-1252")), true, Ok(kept(&declared("windows-1252")))),
            // Not XML, or not at its beginning.
            (latin(&declared("ISO-8859-1")), false, Ok(latin(&declared("ISO-8859-1")))),
            (kept(&declared("utf8")), true, Ok(kept(&declared("utf8")))),
            (kept(&declared("UTF-16")), true, Ok(kept(&declared("UTF-16")))),
            (latin(&declared("KLINGON-8")), true, Err("it declares the encoding KLINGON-8, which is unknown here")),
        ];
        for (bytes, is_xml, expected) in table {
            for capacity in [2000, 7] {
                match (read(bytes, *is_xml, capacity), expected) {
                    (Ok(found), Ok(expected)) => assert_eq!(found, *expected, "{bytes:?}"),
                    (Err(found), Err(expected)) => assert!(found.contains(expected), "{found}"),
                    (found, _) => panic!("{bytes:?}: {found:?}"),
                }
            }
        }
        assert!(advice(b"M\xe9ni\xe8re's disease").contains("iconv -f windows-1252 -t UTF-8"));
    }

    proptest! {
        #[test]
        fn pieces_are_decoded_as_the_whole(bytes in any::<Vec<u8>>(), is_little in any::<bool>(), capacity in 1usize..9) {
            let marked = [if is_little { b"\xff\xfe" } else { b"\xfe\xff" }, &bytes[..]].concat();
            prop_assume!(!marked.starts_with(UTF_32LE));
            let whole = decode_file(&marked).expect("it has a mark").into_owned();
            prop_assert_eq!(read(&marked, false, capacity).expect("it has a mark"), whole);
        }
    }
}
