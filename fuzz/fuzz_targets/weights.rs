//! Weights files: safetensors, the zip file of PyTorch, and the stream of pickles before it.
#![no_main]

use ner_model::checkpoint;
use std::io::Write;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(bytes).expect("written");
    let Ok(checkpoint) = checkpoint::read(file.path()) else { return };
    assert_eq!(checkpoint.tensors().len(), checkpoint.len());
    for (name, tensor) in checkpoint.tensors() {
        let elements: usize = tensor.shape.iter().product();
        assert_eq!(tensor.bytes.len(), elements * tensor.dtype.size());
        assert!(tensor.to_f32().is_none_or(|values| values.len() == elements));
        assert!(checkpoint.shape(name).is_some() && checkpoint.get(name).is_some());
    }
});
