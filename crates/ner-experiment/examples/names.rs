use ner_model::*;
use std::io::{BufRead, Write};
use std::path::Path;
fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let device = tch::Device::Cpu;
    let kind = Precision::Auto.resolve(device).unwrap();
    if args[0] == "embed" {
        let names: Vec<String> = std::io::stdin().lock().lines().map(|l| l.unwrap()).collect();
        let encoder = NameEncoder::load(Path::new(&args[1]), device, kind).unwrap();
        let start = std::time::Instant::now();
        let v = encoder.vectors(&names).unwrap();
        eprintln!("{} names in {:.1} s", names.len(), start.elapsed().as_secs_f64());
        let bytes: Vec<u8> = v.iter().flat_map(|x| x.to_le_bytes()).collect();
        std::io::stdout().write_all(&bytes).unwrap();
    } else {
        let voc = ner_link::Vocabulary::open(Path::new(&args[1])).unwrap();
        let folder = Path::new(&args[2]);
        let out = Path::new(&args[3]);
        let (model, tokenizer) = load_name_encoder(folder).unwrap();
        let mut concepts = Vec::new();
        for c in 0..voc.concepts() {
            let names = voc.concept(c).unwrap().names;
            concepts.push(rows_of_names(&tokenizer, &names).unwrap());
        }
        let mut recipe = ner_train::NameRecipe::default();
        if let Some(e) = args.get(4) { recipe.epochs = e.parse().unwrap(); }
        if let Some(e) = args.get(5) { recipe.learning_rate = e.parse().unwrap(); }
        let start = std::time::Instant::now();
        let p = ner_train::train_names(&model.config, &model.parameters, &concepts, &recipe, device, kind, |s, n, l| {
            if s % 20 == 0 || s == 1 { eprintln!("{s}/{n} {l:.4} {:.0} s", start.elapsed().as_secs_f64()); }
        }).unwrap();
        std::fs::create_dir_all(out).unwrap();
        for f in ["config.json", "tokenizer.json"] { std::fs::copy(folder.join(f), out.join(f)).unwrap(); }
        save_parameters(&out.join("model.safetensors"), &p).unwrap();
    }
}
