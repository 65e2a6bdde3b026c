//! `pytorch_model.bin`: finds the storages of a pickled state dict in the two layouts of `torch.save`
//! (`torch/serialization.py`, `_save` and `_legacy_save`).

use std::collections::HashMap;
use std::ops::Range;

use super::pickle::{self, Pickle, Tensor, Value};
use super::zip::Zip;
use super::{Dtype, Entry, Fault, byte_len, malformed};

/// `0x1950a86a20f9469cfc6c`, the first pickle of a legacy file.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
const PROTOCOL: i64 = 1001;

/// torch 1.6 and later: `<folder>/data.pkl` beside `<folder>/data/<key>`.
pub(super) fn read_zip(bytes: &[u8]) -> Result<Vec<Entry>, Fault> {
    let zip = Zip::open(bytes)?;
    // The folder has the name of the saved file, or `archive` if it was saved to a buffer.
    let mut pickles = zip.names().filter(|name| name.split_once('/').is_some_and(|(_, file)| file == "data.pkl"));
    let (Some(name), None) = (pickles.next(), pickles.next()) else {
        return Err(malformed("a zip file, but not one of torch.save: it has no single `data.pkl`"));
    };
    let folder = name.trim_end_matches("data.pkl");
    if let Some(order) = zip.range(&format!("{folder}byteorder"))?
        && bytes[order.clone()] != *b"little"
    {
        return Err(Fault::Unsupported(format!("byte order `{}`, not little", bytes[order].escape_ascii())));
    }
    let Some(range) = zip.range(name)? else { return Err(malformed("no `data.pkl`")) };
    let pickle = pickle::read(&bytes[range])?;
    state_dict(&pickle, |key| {
        zip.range(&format!("{folder}data/{key}"))?
            .ok_or_else(|| malformed(format!("its pickle names the storage `{key}`, which the zip file lacks")))
    })
}

/// torch before 1.6: five pickles, then per storage its number of elements (i64) and its bytes.
pub(super) fn read_legacy(bytes: &[u8]) -> Result<Vec<Entry>, Fault> {
    let mut at = 0;
    let mut next = || -> Result<Pickle<'_>, Fault> {
        let pickle = pickle::read(&bytes[at..])?;
        at += pickle.len;
        Ok(pickle)
    };
    if !matches!(next()?.root(), Value::Long(magic) if **magic == MAGIC) {
        return Err(malformed("a pickle, but not one of torch.save: the magic number is missing"));
    }
    match next()?.root() {
        Value::Int(PROTOCOL) => {}
        _ => return Err(Fault::Unsupported(format!("torch.save protocol other than {PROTOCOL}"))),
    }
    let sys_info = next()?;
    let Value::Dict(fields) = sys_info.root() else {
        return Err(malformed("its description of the system is not a dict"));
    };
    if sys_info.items(fields)?.iter().any(|field| matches!(field, ("little_endian", Value::Bool(false)))) {
        return Err(Fault::Unsupported("written on a big-endian machine".into()));
    }
    let object = next()?;
    let keys = next()?;
    let Value::List(keys_list) = keys.root() else { return Err(malformed("its storage keys are not a list")) };

    // Only the pickle that uses a storage says its element size.
    let dtypes: HashMap<&str, Dtype> = object
        .values
        .iter()
        .filter_map(|value| match value {
            Value::Storage(storage) => Some((storage.key, storage.dtype)),
            _ => None,
        })
        .collect();
    let mut storages = HashMap::new();
    for key in keys.strings(keys_list)? {
        let Some(dtype) = dtypes.get(key) else {
            return Err(malformed(format!("storage `{key}` is in the file, but in no tensor")));
        };
        let truncated = |end: usize| Fault::Truncated {
            what: format!("storage `{key}`"),
            expected: end as u64,
            actual: bytes.len() as u64,
        };
        let start = at + 8;
        let Some(count) = bytes[at..].first_chunk() else { return Err(truncated(start)) };
        let count = i64::from_le_bytes(*count);
        let end = usize::try_from(count).ok().and_then(|n| byte_len(*dtype, &[n])).and_then(|n| start.checked_add(n));
        let Some(end) = end else { return Err(malformed(format!("storage `{key}` of {count} elements"))) };
        if end > bytes.len() {
            return Err(truncated(end));
        }
        storages.insert(key, start..end);
        at = end;
    }
    state_dict(&object, |key| {
        storages
            .get(key)
            .cloned()
            .ok_or_else(|| malformed(format!("storage `{key}` is missing in the list of storages")))
    })
}

/// Finds each tensor of a state dict, given the positions of the storages.
fn state_dict(
    pickle: &Pickle<'_>,
    mut locate: impl FnMut(&str) -> Result<Range<usize>, Fault>,
) -> Result<Vec<Entry>, Fault> {
    let Value::Dict(dict) = pickle.root() else {
        return Err(Fault::Unsupported(format!("it holds {}, not a state dict", pickle.root().kind())));
    };
    let mut entries = Vec::with_capacity(dict.len());
    for (name, value) in pickle.items(dict)? {
        let Value::Tensor(tensor) = value else {
            return Err(Fault::Unsupported(format!(
                "its entry `{name}` is {}, not a tensor: a training checkpoint; save only its state dict",
                value.kind()
            )));
        };
        let range = locate(tensor.storage.key)?;
        let entry = place(name, tensor, range).ok_or_else(|| {
            malformed(format!(
                "tensor `{name}` reaches outside its storage `{}`; download it again",
                tensor.storage.key
            ))
        })?;
        entries.push(entry);
    }
    Ok(entries)
}

/// Checks a tensor against the bytes of its storage. Returns `None` if it reaches outside.
fn place(name: &str, tensor: &Tensor<'_>, bytes: Range<usize>) -> Option<Entry> {
    let Tensor { storage, offset, shape, strides } = tensor;
    let dtype = storage.dtype;
    let (first, numel) = storage.view.unwrap_or((0, storage.numel));
    let within = |end: usize| end <= storage.numel && byte_len(dtype, &[end]).is_some_and(|len| len <= bytes.len());
    if !within(first.checked_add(numel)?) {
        return None;
    }
    let len = byte_len(dtype, shape)?;
    let mut contiguous = true;
    if len > 0 {
        let mut last = *offset;
        let mut row_major = 1;
        for (extent, stride) in shape.iter().zip(strides).rev() {
            last = last.checked_add((extent - 1).checked_mul(*stride)?)?;
            contiguous &= *extent == 1 || *stride == row_major;
            row_major *= extent;
        }
        if last >= numel {
            return None;
        }
    } else if *offset > numel {
        return None;
    }
    let start = bytes.start + (first + offset) * dtype.size();
    let strides = (!contiguous).then(|| strides.clone());
    Some(Entry { name: name.to_owned(), dtype, shape: shape.clone(), start, shard: 0, strides })
}
