//! i2b2 2010: a text, its concepts, its assertions and its relations.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::check_folder(
    ner_data::Format::I2b2,
    &["txt", "con", "ast", "rel"],
    bytes
));
