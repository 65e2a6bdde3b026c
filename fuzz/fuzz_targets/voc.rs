//! A vocabulary file with damaged bytes: opened, searched and read.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::vocabularies::check_file(bytes));
