//! Any file: what it is taken for, and the reader that this chooses.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::check_any(bytes));
