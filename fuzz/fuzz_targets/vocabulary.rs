//! Readers of vocabularies, and the file that is built of what they read. The first byte chooses the format.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::vocabularies::check_reader(bytes));
