//! Time and memory of a synthetic vocabulary.
//!
//! ```text
//! cargo run --release -p ner-link --example large_vocabulary -- build 5000000 large.voc
//! cargo run --release -p ner-link --example large_vocabulary -- use large.voc
//! ```
//!
//! The names are of made-up words, as frequent as words are (Zipf), one to six a name, some
//! with numbers. A second process measures the use, so that its memory is that of the use alone.

#![allow(clippy::print_stdout, reason = "an example speaks to people")]

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use ner_link::{Builder, LinkOptions, Linker, Query, Record, Vocabulary};

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut number = self.0;
        number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        number ^ number >> 31
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

const ONSETS: [&str; 30] = [
    "", "b", "c", "d", "f", "g", "h", "l", "m", "n", "p", "r", "s", "t", "v", "ph", "th", "ch", "tr", "pr", "gl", "st",
    "cr", "br", "x", "k", "z", "j", "sp", "w",
];
const VOWELS: [&str; 10] = ["a", "e", "i", "o", "u", "y", "io", "ea", "ia", "ou"];
const CODAS: [&str; 16] = ["", "", "", "n", "l", "r", "s", "m", "t", "c", "x", "p", "d", "nt", "th", "ng"];
const WORDS: usize = 200_000;

/// Zipf: the logarithm of the rank is uniform.
fn zipf(random: &mut Random, end: usize) -> usize {
    (end as f64).powf(random.below(1 << 20) as f64 / f64::from(1 << 20)) as usize % end
}

fn words(random: &mut Random) -> Vec<String> {
    let mut syllable = || {
        let onset = ONSETS[random.below(ONSETS.len())];
        let vowel = VOWELS[zipf(random, VOWELS.len())];
        [onset, vowel, CODAS[random.below(CODAS.len())]].concat()
    };
    (0..WORDS).map(|number| (0..2 + number % 3).map(|_| syllable()).collect()).collect()
}

fn name(random: &mut Random, words: &[String]) -> String {
    let mut name = String::new();
    for at in 0..1 + random.below(6) {
        if at > 0 {
            name.push(' ');
        }
        name.push_str(&words[zipf(random, words.len())]);
    }
    if random.below(3) == 0 {
        name.push_str(&format!(" {}", 1 + random.below(400)));
    }
    name
}

fn build(count: usize, path: &Path) -> Result<(), Box<dyn Error>> {
    let mut random = Random(1);
    let words = words(&mut random);
    let start = Instant::now();
    let mut builder = Builder::new();
    // Three names a concept, about as in UMLS.
    for concept in 0..count.div_ceil(3) {
        builder.add(Record {
            id: format!("C{concept:07}"),
            name: Some(name(&mut random, &words)),
            synonyms: (1..3.min(count - 3 * concept)).map(|_| name(&mut random, &words)).collect(),
            types: vec![format!("T{:03}", random.below(120))],
            ..Default::default()
        });
    }
    let report = builder.write(path, "synthetic")?;
    println!("{report:?}\nbuilt in {:.1} s, peak of memory {}", start.elapsed().as_secs_f64(), status("VmHWM")?);
    Ok(())
}

fn status(what: &str) -> Result<String, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with(what)).unwrap_or_default();
    Ok(line[what.len() + 1..].trim().to_owned())
}

fn memory() -> Result<String, Box<dyn Error>> {
    Ok(format!("{} resident, {} of it private", status("VmRSS")?, status("RssAnon")?))
}

fn measure(path: &Path) -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    let vocabulary = Arc::new(Vocabulary::open(path)?);
    println!("opened in {:.1} ms; {}", 1e3 * start.elapsed().as_secs_f64(), memory()?);
    println!("{} concepts, {} names", vocabulary.concepts(), vocabulary.names());
    let mut random = Random(2);
    let mut names = Vec::new();
    for _ in 0..20_000 {
        let concept = random.below(vocabulary.concepts() as usize) as u32;
        let concept = vocabulary.concept(concept).ok_or("a concept is missing")?;
        names.push(concept.names[random.below(concept.names.len())].clone());
    }
    let upper: Vec<String> = names.iter().map(|name| name.to_uppercase()).collect();
    // Turned around, with "of": found as variants.
    let turned: Vec<String> = names.iter().map(|name| name.split(' ').rev().collect::<Vec<_>>().join(" of ")).collect();
    // A letter is missing in the middle.
    let misspelt: Vec<String> = names
        .iter()
        .take(1000)
        .map(|name| {
            let middle = name.len() / 2;
            name[..middle].to_owned() + &name[middle + 1..]
        })
        .collect();
    let unknown = words(&mut random);
    let unknown: Vec<String> = (0..1000).map(|_| name(&mut random, &unknown)).collect();
    for (what, texts) in [("exact", &upper), ("variants", &turned), ("misspelt", &misspelt), ("other words", &unknown)]
    {
        for threshold in [0.5, 0.7] {
            let linker = Linker::new(Arc::clone(&vocabulary), LinkOptions { k: 1, threshold });
            let start = Instant::now();
            let found = texts
                .iter()
                .filter(|text| !linker.link(&Query { text, ..Default::default() })[0].candidates.is_empty());
            let found = found.count();
            let seconds = start.elapsed().as_secs_f64();
            println!(
                "{what}, threshold {threshold}: {:.0} a second, {found} of {} linked; {}",
                texts.len() as f64 / seconds,
                texts.len(),
                memory()?
            );
        }
    }
    let start = Instant::now();
    vocabulary.verify()?;
    println!("checksum of everything: {:.2} s", start.elapsed().as_secs_f64());
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["build", count, path] => build(count.parse()?, Path::new(path)),
        ["use", path] => measure(Path::new(path)),
        _ => Err("build COUNT FILE, or use FILE".into()),
    }
}
