//! Memory. A module of its own, so that benches measure with what the program has.

/// Serves libtorch as well as Rust. A training asks for tensors of ever other sizes, which leaves the C library's heap
/// full of holes: it grew to 3.0 GB in a training that takes 1.6 GB with this allocator.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// jemalloc's options. Freed pages stay with the process: giving them back and taking them again, tensor after tensor,
/// took a third of the time of a training step, and keeping them costs no memory at the peak.
// SAFETY: jemalloc documents this symbol as a pointer to a text that ends with a zero byte, and reads nothing else of it.
#[unsafe(export_name = "malloc_conf")]
#[allow(non_upper_case_globals, reason = "jemalloc's name")]
pub static malloc_conf: Option<&'static std::ffi::c_char> = {
    const OPTIONS: &std::ffi::CStr = c"dirty_decay_ms:-1,muzzy_decay_ms:-1";
    // SAFETY: a C string has at least its closing zero, so its first byte can be borrowed.
    Some(unsafe { &*OPTIONS.as_ptr() })
};
