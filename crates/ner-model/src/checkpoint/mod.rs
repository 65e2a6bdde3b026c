//! Reads weights files as data, and writes them atomically.
//!
//! An index of shards (`model.safetensors.index.json`) is read with its shards, as one file. Three layouts of a file are
//! supported: `model.safetensors`, and `pytorch_model.bin` both as the zip file of PyTorch since its
//! release 1.6 and as the bare stream of pickles before. The contents decide, not the name: a `.bin` renamed to
//! `.safetensors`, or the reverse, still loads.
//!
//! This module does not need libtorch, and it never executes anything. A pickle is a program; `pickle.rs` reads only
//! the kind of program that `torch.save` writes for a state dict. It refuses any other and names the function that it
//! would call. Every offset is checked when a file is opened, so [`Checkpoint::get`] cannot fail later.
//!
//! The crate `pytorch-reader` 0.22 reads both layouts with similar care, but returns tensors unordered and always
//! copied, silently skips unknown callables, and brings `tar` and a second `zip`. `candle-core` and `burn-store` bring
//! a framework, and `repugnant-pickle` cannot read the legacy stream.

mod pickle;
mod safetensors;
mod shards;
mod torch;
mod zip;

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use memmap2::Mmap;
use thiserror::Error;

pub use self::safetensors::write_safetensors;

/// Why a weights file could not be read or written.
#[derive(Debug, Error)]
#[error("{}: {fault}", .path.display())]
pub struct CheckpointError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with a weights file.
#[derive(Debug, Error)]
pub enum Fault {
    /// Error of the operating system.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The file is shorter than it says.
    #[error("truncated: {what} says {expected} bytes, but the file has {actual}; download it again")]
    Truncated {
        /// The part of the file that says so.
        what: String,
        /// Minimum size of the complete file in bytes.
        expected: u64,
        /// Size of the file in bytes.
        actual: u64,
    },
    /// The bytes violate the format or contradict each other.
    #[error("{0}")]
    Malformed(String),
    /// Valid, but not supported.
    #[error("{0}")]
    Unsupported(String),
    /// The pickle names a callable other than the few that describe a tensor.
    #[error(
        "refused: its pickle asks for `{global}`, which would run code. medner reads only plain state dicts; \
         ask its author for a safetensors file, or for `torch.save(model.state_dict(), …)`"
    )]
    RefusedGlobal {
        /// Module and name, as `os.system`.
        global: String,
    },
}

impl Fault {
    fn at(self, path: &Path) -> CheckpointError {
        CheckpointError { path: path.to_owned(), fault: self }
    }
}

fn malformed(what: impl Into<String>) -> Fault {
    Fault::Malformed(what.into())
}

/// Element type of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the names are the documentation")]
pub enum Dtype {
    /// One byte per element.
    Bool,
    U8,
    I8,
    I16,
    F16,
    BF16,
    I32,
    F32,
    F64,
    I64,
}

/// Each element type with its bytes per element, its name in safetensors, and its storage class in torch. In the order
/// of the safetensors library: wider elements later, the reverse of the order in files.
const DTYPES: [(Dtype, usize, &str, &str); 10] = [
    (Dtype::Bool, 1, "BOOL", "BoolStorage"),
    (Dtype::U8, 1, "U8", "ByteStorage"),
    (Dtype::I8, 1, "I8", "CharStorage"),
    (Dtype::I16, 2, "I16", "ShortStorage"),
    (Dtype::F16, 2, "F16", "HalfStorage"),
    (Dtype::BF16, 2, "BF16", "BFloat16Storage"),
    (Dtype::I32, 4, "I32", "IntStorage"),
    (Dtype::F32, 4, "F32", "FloatStorage"),
    (Dtype::F64, 8, "F64", "DoubleStorage"),
    (Dtype::I64, 8, "I64", "LongStorage"),
];

impl Dtype {
    fn row(self) -> (Dtype, usize, &'static str, &'static str) {
        // The test `every_dtype_has_its_row` checks that the table has the enum's order.
        DTYPES[self as usize]
    }

    /// Bytes per element.
    pub fn size(self) -> usize {
        self.row().1
    }

    /// Its name in safetensors, e.g. `BF16`.
    pub fn name(self) -> &'static str {
        self.row().2
    }

    fn from_name(name: &str) -> Option<Dtype> {
        DTYPES.iter().find(|row| row.2 == name).map(|row| row.0)
    }

    fn from_storage_class(name: &str) -> Option<Dtype> {
        DTYPES.iter().find(|row| row.3 == name).map(|row| row.0)
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One tensor: row-major, contiguous, little-endian.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorData<'a> {
    /// Element type.
    pub dtype: Dtype,
    /// Extent of each dimension, outermost first; empty for a scalar.
    pub shape: Vec<usize>,
    /// The product of `shape` times `dtype.size()` bytes. Borrowed from the file; copied only if the file holds a
    /// transposed or otherwise strided view.
    pub bytes: Cow<'a, [u8]>,
}

impl TensorData<'_> {
    /// The elements as `f32`, or `None` if `dtype` is not a floating-point type.
    ///
    /// `F16` and `BF16` widen exactly, `F64` rounds to nearest. Integers are not weights: casting them would hide that
    /// the wrong tensor was requested.
    pub fn to_f32(&self) -> Option<Vec<f32>> {
        fn each<const N: usize>(bytes: &[u8], f: impl Fn([u8; N]) -> f32) -> Option<Vec<f32>> {
            Some(bytes.as_chunks::<N>().0.iter().map(|chunk| f(*chunk)).collect())
        }
        match self.dtype {
            Dtype::F64 => each(&self.bytes, |b| f64::from_le_bytes(b) as f32),
            Dtype::F32 => each(&self.bytes, f32::from_le_bytes),
            Dtype::F16 => each(&self.bytes, |b| f16::from_le_bytes(b).to_f32()),
            Dtype::BF16 => each(&self.bytes, |b| bf16::from_le_bytes(b).to_f32()),
            Dtype::I64 | Dtype::I32 | Dtype::I16 | Dtype::I8 | Dtype::U8 | Dtype::Bool => None,
        }
    }
}

/// Position of a tensor in the file, checked when the file is opened.
#[derive(Debug)]
struct Entry {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    /// Offset of the first element, in bytes.
    start: usize,
    /// Which of the shards holds it; 0 unless there are several.
    shard: usize,
    /// Strides in elements, per dimension; `None` if row-major and contiguous.
    strides: Option<Vec<usize>>,
}

impl Entry {
    /// Bytes of the tensor once contiguous.
    fn byte_len(&self) -> usize {
        self.shape.iter().product::<usize>() * self.dtype.size()
    }
}

/// `numel · dtype.size()`, unless that overflows.
fn byte_len(dtype: Dtype, shape: &[usize]) -> Option<usize> {
    // A zero makes the product zero, but the other extents may still overflow: such a shape is refused, too.
    shape.iter().try_fold(dtype.size(), |product, extent| product.checked_mul(*extent))
}

/// An open weights file, or several that an index names. Tensors stay on disk until they are requested.
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    maps: Vec<Mmap>,
    entries: Vec<Entry>,
    by_name: HashMap<String, usize>,
}

/// Maximum total size of the tensors, relative to the file. Tied weights occur once in the file and twice in the state
/// dict, and a stride of 0 repeats an element; without a limit, a kilobyte could request all of memory.
const MAX_EXPANSION: u64 = 8;

/// Opens a weights file of any layout, or the shards of an index (`….index.json`), and checks everything except the
/// values.
///
/// # Errors
/// If the file is missing, truncated, inconsistent, of another format, or a pickle of something other than a state
/// dict. The message names the file and the problem.
pub fn read(path: &Path) -> Result<Checkpoint, CheckpointError> {
    if path.to_string_lossy().ends_with(shards::INDEX) {
        return shards::read(path);
    }
    let file = ner_files::open_regular(path).map_err(|e| Fault::Io(e).at(path))?;
    // SAFETY: the map is sound as long as nobody truncates the file. Our writer and the hub's downloads replace a file
    // by a rename, which leaves an open map intact. Reading the file into memory instead would hold a second copy of
    // every weight while the model is loaded.
    let map = unsafe { Mmap::map(&file) }.map_err(|e| Fault::Io(e).at(path))?;
    let entries = entries_of(&map).map_err(|fault| fault.at(path))?;
    Ok(Checkpoint::new(path, vec![map], entries))
}

/// Starts of files that people take for weights, and what they are.
const OTHER_FILES: [(&[u8], &str); 8] = [
    (b"version https://git-lfs", "a Git LFS pointer, not the weights; run `git lfs pull`"),
    (b"<", "a web page, not the weights; download the file itself"),
    (b"\x89HDF", "an HDF5 file of TensorFlow or Keras; convert it with transformers"),
    (b"GGUF", "a GGUF file; use the safetensors file that it was made from"),
    (b"\x1f\x8b", "compressed with gzip; decompress it"),
    (b"BZh", "compressed with bzip2; decompress it"),
    (b"\xfd7zXZ", "compressed with xz; decompress it"),
    (b"(\xb5/\xfd", "compressed with zstd; decompress it"),
];

/// Where a tar file says that it is one.
const TAR: (usize, &[u8]) = (257, b"ustar");

fn entries_of(bytes: &[u8]) -> Result<Vec<Entry>, Fault> {
    let entries = match bytes {
        [] => return Err(malformed("the file is empty; download it again")),
        [b'P', b'K', 3, 4, ..] => torch::read_zip(bytes)?,
        // The ninth byte of a safetensors file starts its JSON; in a zip file it is part of the compression method, in
        // a legacy file of the magic number. So a length that starts with 0x80 or `P` is not ambiguous.
        [_, _, _, _, _, _, _, _, b'{', ..] => safetensors::read(bytes)?,
        [0x80, ..] => torch::read_legacy(bytes)?,
        _ if bytes.get(TAR.0..).is_some_and(|rest| rest.starts_with(TAR.1)) => {
            let what = "a tar file, as torch before its release 0.1.10 wrote; save it again with a newer torch";
            return Err(Fault::Unsupported(what.into()));
        }
        _ if OTHER_FILES.iter().any(|(start, _)| bytes.starts_with(start)) => {
            let what = OTHER_FILES.iter().find(|(start, _)| bytes.starts_with(start)).map_or("", |row| row.1);
            return Err(malformed(what));
        }
        _ if bytes.len() < 9 => return Err(malformed(format!("only {} bytes long; download it again", bytes.len()))),
        _ => return Err(malformed("neither a safetensors file nor a file of torch.save; download it again")),
    };
    let file_len = bytes.len() as u64;
    let mut total = 0u64;
    for entry in &entries {
        let len = entry.byte_len() as u64;
        total = total.saturating_add(len);
        if total > file_len.saturating_mul(MAX_EXPANSION) {
            return Err(malformed(format!(
                "refused: tensor `{}` would need {len} bytes, from a file of {file_len} bytes",
                entry.name
            )));
        }
    }
    Ok(entries)
}

impl Checkpoint {
    fn new(path: &Path, maps: Vec<Mmap>, entries: Vec<Entry>) -> Self {
        let by_name = entries.iter().enumerate().map(|(i, entry)| (entry.name.clone(), i)).collect();
        Self { path: path.to_owned(), maps, entries, by_name }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Number of tensors.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether the file holds no tensors.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Names in the order of the file: of the data in safetensors, of the state dict in a `.bin` file.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.entries.iter().map(|entry| entry.name.as_str())
    }

    /// The shape of a tensor; does not read its data.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        Some(&self.entries[*self.by_name.get(name)?].shape)
    }

    /// A tensor by its name in the file.
    pub fn get(&self, name: &str) -> Option<TensorData<'_>> {
        Some(self.tensor(&self.entries[*self.by_name.get(name)?]))
    }

    /// All tensors with their names, in the order of [`names`](Self::names). Each is created when the iterator reaches
    /// it.
    pub fn tensors(&self) -> impl ExactSizeIterator<Item = (&str, TensorData<'_>)> {
        self.entries.iter().map(|entry| (entry.name.as_str(), self.tensor(entry)))
    }

    fn tensor(&self, entry: &Entry) -> TensorData<'_> {
        let map = &self.maps[entry.shard];
        let bytes = match &entry.strides {
            None => Cow::Borrowed(&map[entry.start..entry.start + entry.byte_len()]),
            Some(strides) => {
                Cow::Owned(gather(&map[entry.start..], entry.dtype.size(), &entry.shape, strides, entry.byte_len()))
            }
        };
        TensorData { dtype: entry.dtype, shape: entry.shape.clone(), bytes }
    }
}

/// Copies a strided view in row-major order. No extent may be 0.
fn gather(storage: &[u8], size: usize, shape: &[usize], strides: &[usize], byte_len: usize) -> Vec<u8> {
    // Skips extents of 1: each would add a carry step for nothing.
    let dims: Vec<(usize, usize)> =
        shape.iter().copied().zip(strides.iter().copied()).filter(|dim| dim.0 != 1).collect();
    let mut index = vec![0; dims.len()];
    let mut at = 0;
    let mut out = Vec::with_capacity(byte_len);
    while out.len() < byte_len {
        out.extend_from_slice(&storage[at * size..][..size]);
        for ((extent, stride), i) in dims.iter().zip(&mut index).rev() {
            *i += 1;
            at += stride;
            if *i < *extent {
                break;
            }
            at -= stride * extent;
            *i = 0;
        }
    }
    out
}

/// The current name of a parameter: `LayerNorm.gamma` and `.beta`, from checkpoints ported from TensorFlow in 2018,
/// become `.weight` and `.bias`. Other names are returned unchanged.
pub fn modern_name(name: &str) -> Cow<'_, str> {
    const OLD_TO_NEW: [(&str, &str); 2] =
        [("LayerNorm.gamma", "LayerNorm.weight"), ("LayerNorm.beta", "LayerNorm.bias")];
    for (old, new) in OLD_TO_NEW {
        if let Some(prefix) = name.strip_suffix(old) {
            return Cow::Owned(format!("{prefix}{new}"));
        }
    }
    Cow::Borrowed(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_dtype_has_its_row() {
        for (i, (dtype, size, name, class)) in DTYPES.into_iter().enumerate() {
            assert_eq!(dtype as usize, i);
            assert_eq!(
                (dtype.size(), Dtype::from_name(name), Dtype::from_storage_class(class)),
                (size, Some(dtype), Some(dtype))
            );
        }
    }
}
