//! `model.safetensors`: eight bytes of header length, a JSON header, the data
//! (<https://huggingface.co/docs/safetensors>, "Format").

use std::io::{self, Write};
use std::path::Path;

use ner_files::NewFile;
use safetensors::tensor::{Metadata, TensorInfo};
use serde_json::{Map, Value, json};

use super::{CheckpointError, Dtype, Entry, Fault, TensorData, byte_len, malformed};

/// Bytes of the header's length, and alignment of the data.
const LEN: usize = 8;
/// Limit of the `safetensors` crate. A longer header means a file of another kind.
const MAX_HEADER: u64 = 100_000_000;

pub(super) fn read(bytes: &[u8]) -> Result<Vec<Entry>, Fault> {
    let actual = bytes.len() as u64;
    let truncated = |what: &str, expected: u64| Fault::Truncated { what: what.into(), expected, actual };
    let Some((len, rest)) = bytes.split_first_chunk::<LEN>() else { return Err(truncated("the format", LEN as u64)) };
    let len = u64::from_le_bytes(*len);
    if len > MAX_HEADER {
        return Err(malformed(format!("not a safetensors file: its header would have {len} bytes")));
    }
    let data_start = LEN + len as usize;
    let Some(header) = rest.get(..len as usize) else {
        return Err(truncated("the length of the header", data_start as u64));
    };
    // The crate checks that the tensors follow each other without gap or overlap, and that each has the size of its
    // shape. We do not use its `SafeTensors::deserialize`, which cannot tell a truncated file from a damaged one.
    let metadata: Metadata =
        serde_json::from_slice(header).map_err(|e| malformed(format!("its safetensors header is damaged: {e}")))?;
    let expected = data_start as u64 + metadata.data_len() as u64;
    if expected > actual {
        return Err(truncated("the header", expected));
    }
    if expected < actual {
        return Err(malformed(format!(
            "its header says {expected} bytes, but the file has {actual}; download it again"
        )));
    }
    let mut infos: Vec<(String, &TensorInfo)> = metadata.tensors().into_iter().collect();
    infos.sort_by(|(a_name, a), (b_name, b)| a.data_offsets.cmp(&b.data_offsets).then_with(|| a_name.cmp(b_name)));
    infos
        .into_iter()
        .map(|(name, TensorInfo { dtype, shape, data_offsets })| match Dtype::from_name(&dtype.to_string()) {
            Some(dtype) => Ok(Entry {
                name,
                dtype,
                shape: shape.clone(),
                start: data_start + data_offsets.0,
                shard: 0,
                strides: None,
            }),
            None => Err(Fault::Unsupported(format!("tensor `{name}` has type {dtype}, which is not supported"))),
        })
        .collect()
}

/// Writes tensors atomically: until the last byte is on the disk, an existing file at `path` stays unchanged.
///
/// The metadata is `{"format": "pt"}`, as `transformers` requires. The output does not depend on the order of the
/// tensors.
///
/// # Errors
/// If the file cannot be written, two tensors have the same name, or a tensor's bytes do not match its shape.
pub fn write_safetensors<'a>(
    path: &Path,
    tensors: impl IntoIterator<Item = (String, TensorData<'a>)>,
) -> Result<(), CheckpointError> {
    let mut tensors: Vec<_> = tensors.into_iter().collect();
    // Wide elements first, so that each tensor is aligned to its elements; the same order as the safetensors library.
    tensors.sort_by(|(a_name, a), (b_name, b)| b.dtype.cmp(&a.dtype).then_with(|| a_name.cmp(b_name)));
    let header = header(&tensors).map_err(|fault| fault.at(path))?;
    let write = || -> io::Result<()> {
        let mut out = NewFile::create(path)?;
        out.write_all(&(header.len() as u64).to_le_bytes())?;
        out.write_all(&header)?;
        tensors.iter().try_for_each(|(_, tensor)| out.write_all(&tensor.bytes))?;
        out.finish_on_disk()
    };
    write().map_err(|e| Fault::Io(e).at(path))
}

/// The JSON header, padded with spaces.
///
/// The crate's `serialize_to_file` does not serve: it truncates the file in place and orders its metadata by a random
/// hash.
fn header(tensors: &[(String, TensorData<'_>)]) -> Result<Vec<u8>, Fault> {
    let mut header = Map::new();
    header.insert("__metadata__".into(), json!({ "format": "pt" }));
    let mut end = 0;
    for (name, TensorData { dtype, shape, bytes }) in tensors {
        if byte_len(*dtype, shape) != Some(bytes.len()) {
            return Err(malformed(format!(
                "not written: `{name}`, {dtype} of shape {shape:?}, has {} bytes",
                bytes.len()
            )));
        }
        let start = end;
        end += bytes.len();
        let info = json!({ "dtype": dtype.name(), "shape": shape, "data_offsets": [start, end] });
        if header.insert(name.clone(), info).is_some() {
            return Err(malformed(format!("not written: two tensors are named `{name}`")));
        }
    }
    let mut header = Value::Object(header).to_string().into_bytes();
    header.resize(header.len().next_multiple_of(LEN), b' ');
    Ok(header)
}
