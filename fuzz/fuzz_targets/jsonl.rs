//! JSON Lines.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::check_file(ner_data::Format::Jsonl, bytes));
