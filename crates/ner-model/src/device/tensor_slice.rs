//! Tensors on the CPU as slices, for passes over memory that are slow with tensor operations.

use tch::{Device, Kind, Tensor};

/// The numbers of a contiguous fp32 tensor on the CPU. Panics for other tensors.
pub fn floats(tensor: &Tensor) -> &[f32] {
    let len = checked_len(tensor, Kind::Float);
    // SAFETY: contiguous fp32 on the CPU, as checked; the storage lives as long as the borrowed tensor.
    unsafe { std::slice::from_raw_parts(tensor.data_ptr().cast(), len) }
}

/// The numbers of a contiguous fp32 tensor on the CPU, writable. Panics for other tensors.
///
/// # Safety
/// No other tensor that shares the storage (a view, a shallow clone) is read or written while the slice lives.
pub unsafe fn floats_mut(tensor: &mut Tensor) -> &mut [f32] {
    let len = checked_len(tensor, Kind::Float);
    // SAFETY: as in `floats`; the caller ensures that nothing else uses the storage.
    unsafe { std::slice::from_raw_parts_mut(tensor.data_ptr().cast(), len) }
}

/// The bits of a contiguous bf16 tensor on the CPU. Panics for other tensors.
pub fn halves(tensor: &Tensor) -> &[u16] {
    let len = checked_len(tensor, Kind::BFloat16);
    // SAFETY: contiguous bf16 on the CPU, as checked; the storage lives as long as the borrowed tensor.
    unsafe { std::slice::from_raw_parts(tensor.data_ptr().cast(), len) }
}

/// The bits of a contiguous bf16 tensor on the CPU, writable. Panics for other tensors.
///
/// # Safety
/// Same as [`floats_mut`].
pub unsafe fn halves_mut(tensor: &mut Tensor) -> &mut [u16] {
    let len = checked_len(tensor, Kind::BFloat16);
    // SAFETY: as in `halves`; the caller ensures that nothing else uses the storage.
    unsafe { std::slice::from_raw_parts_mut(tensor.data_ptr().cast(), len) }
}

fn checked_len(tensor: &Tensor, kind: Kind) -> usize {
    assert!(tensor.kind() == kind && tensor.is_contiguous() && tensor.device() == Device::Cpu);
    tensor.numel()
}
