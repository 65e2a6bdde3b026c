//! Tensors in bf16 on the CPU as the bits of their numbers, for what tensor operations do slowly.

use tch::{Device, Kind, Tensor};

/// The bits of a contiguous tensor.
pub fn halves(tensor: &Tensor) -> &[u16] {
    let len = plain(tensor);
    // SAFETY: contiguous bf16 on the CPU, as checked; the storage lives as long as the tensor that is borrowed.
    unsafe { std::slice::from_raw_parts(tensor.data_ptr().cast(), len) }
}

/// The same, to write to; for a tensor that was made for it and shares its storage with no other.
pub fn halves_mut(tensor: &mut Tensor) -> &mut [u16] {
    let len = plain(tensor);
    // SAFETY: as above, and nothing else reads or writes a new tensor's storage.
    unsafe { std::slice::from_raw_parts_mut(tensor.data_ptr().cast(), len) }
}

fn plain(tensor: &Tensor) -> usize {
    assert!(tensor.kind() == Kind::BFloat16 && tensor.is_contiguous() && tensor.device() == Device::Cpu);
    tensor.numel()
}
