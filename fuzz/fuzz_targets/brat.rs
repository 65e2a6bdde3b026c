//! brat: a text and its annotation.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::check_folder(ner_data::Format::Brat, &["txt", "ann"], bytes));
