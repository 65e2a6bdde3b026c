//! Writes the synthetic i2b2 2010 sample into a folder, for inspection; the program itself makes it in memory.
//!
//! `cargo run --release -p ner-data --example make_clinical_sample -- FOLDER`

use ner_data::synthetic::clinical;
use std::io::{self, Write};
use std::path::PathBuf;

fn main() -> io::Result<()> {
    let Some(folder) = std::env::args_os().nth(1).map(PathBuf::from) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "say into which folder the sample is to be written"));
    };
    let tree = clinical::i2b2(clinical::SAMPLE_SEED, clinical::SAMPLE_SIZES);
    for (path, bytes) in &tree {
        let path = folder.join(path);
        fs_err::create_dir_all(path.parent().unwrap_or(&folder))?;
        fs_err::write(path, bytes)?;
    }
    writeln!(io::stdout(), "{} files of a synthetic sample in {}", tree.len(), folder.display())
}
