//! Commands in the documentation's `sh` blocks.

use std::ffi::OsString;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use crate::action::{self, Action};
use crate::repo::program;
use crate::tidy::markdown::{Part, parts};
use crate::tidy::{Fault, Tree};

/// With it, medner only says whether it understands a command line.
const PARSE_ONLY: &str = "MEDNER_PARSE_ONLY";

/// `accepts` says whether medner understands arguments.
pub fn check(tree: &Tree, accepts: &dyn Fn(&[OsString]) -> Result<bool>) -> Result<Vec<Fault>> {
    let mut faults = Vec::new();
    for page in tree.ending_with(".md") {
        for (line, part) in parts(&tree.read(page)?) {
            let Part::Fence { language, text } = part else { continue };
            if !["sh", "bash", "shell"].contains(&language.as_str()) {
                continue;
            }
            for (offset, command) in commands(&text) {
                if let Some(problem) = problem(&command, accepts)? {
                    faults.push(Fault::new(page, line + 1 + offset, format!("`{}`: {problem}", command.join(" "))));
                }
            }
        }
    }
    Ok(faults)
}

fn problem(command: &[String], accepts: &dyn Fn(&[OsString]) -> Result<bool>) -> Result<Option<String>> {
    let words: Vec<OsString> = command.iter().map(OsString::from).collect();
    let action = match command {
        [cargo, xtask, ..] if cargo == "cargo" && xtask == "xtask" => action::parse(words[2..].to_vec()),
        [medner, ..] if medner == "medner" => Ok(Action::Forward(words[1..].to_vec())),
        _ => return Ok(None),
    };
    match action {
        Err(error) => Ok(Some(error.to_string())),
        Ok(Action::Forward(arguments)) if !accepts(&arguments)? => {
            Ok(Some("medner does not understand it: correct it, or see the command with --help".into()))
        }
        Ok(Action::Doctor(arguments)) if !arguments.is_empty() => {
            let arguments = [vec!["doctor".into()], arguments].concat();
            Ok((!accepts(&arguments)?).then(|| "medner's doctor does not understand it".into()))
        }
        Ok(_) => Ok(None),
    }
}

/// The commands of a block, each with its line and without variables and redirections. Lines that stand for several
/// commands, with `[--option]`, `…` or `a|b`, are left out.
fn commands(block: &str) -> Vec<(usize, Vec<String>)> {
    let mut commands = Vec::new();
    let mut begun: Option<(usize, String)> = None;
    for (number, line) in block.lines().enumerate() {
        let (first, mut text) = begun.take().unwrap_or((number, String::new()));
        if let Some(line) = line.strip_suffix('\\') {
            text.push_str(line);
            begun = Some((first, text));
            continue;
        }
        text.push_str(line);
        // Unequal quotes are of another shell or of a text over several lines.
        let Some(words) = shlex::split(&text) else { continue };
        let is_template = |word: &String| {
            let is_choice = word.len() > 1 && word != "||" && word.trim_end_matches('|').contains('|');
            word.contains('…') || word.starts_with('[') || (is_choice && !word.contains(' '))
        };
        // `one; two` as well as `one ; two`.
        let apart = |word: String| match word.strip_suffix(';') {
            Some(word) if !word.is_empty() => vec![word.to_owned(), ";".to_owned()],
            _ => vec![word],
        };
        let words: Vec<String> = words.into_iter().flat_map(apart).collect();
        for command in words.split(|word| ["|", "||", "&&", ";", "&"].contains(&word.as_str())) {
            let is_variable = |word: &&String| {
                word.split_once('=')
                    .is_some_and(|(name, _)| name.chars().all(|c| c.is_ascii_uppercase() || "_0123456789".contains(c)))
            };
            let mut words = command.iter().skip_while(is_variable);
            let mut command = Vec::new();
            while let Some(word) = words.next() {
                match word.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix(['>', '<']) {
                    // The file stands in the next word.
                    Some("" | ">") => drop(words.next()),
                    Some(_) => {}
                    None => command.push(word.clone()),
                }
            }
            if !command.is_empty() && !command.iter().any(is_template) {
                commands.push((first, command));
            }
        }
    }
    commands
}

/// Asks medner whether it understands arguments.
pub fn medner_accepts(medner: &Path, arguments: &[OsString]) -> Result<bool> {
    let output = program(medner).args(arguments).env(PARSE_ONLY, "1").output().context("cannot run medner")?;
    match output.status.code() {
        Some(0) => Ok(true),
        Some(2) => Ok(false),
        _ => bail!("medner ended with {} instead of parsing a command", output.status),
    }
}

/// Fails unless this medner only parses when told so: another would train and annotate in our place.
pub fn require_parse_only(medner: &Path) -> Result<()> {
    let output = program(medner).arg("doctor").env(PARSE_ONLY, "1").output().context("cannot run medner")?;
    ensure!(output.stdout.is_empty(), "this medner does not know {PARSE_ONLY}, so no command can be tried");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tests::{assert_faults, faults};

    fn commands_of(block: &str) -> Vec<String> {
        commands(block).into_iter().map(|(line, words)| format!("{line}: {}", words.join(" "))).collect()
    }

    #[test]
    fn a_block_is_cut_into_commands() {
        let block = "\
cargo xtask train bc5cdr   # the default
MEDNER_TRACK=mlflow OMP_NUM_THREADS=1 medner train x 2>log > out && medner doctor; medner a
medner active select \\
  --budget '2000 words' | jq . >> file
medner train [--sample]
medner runs report RUN… --out x
medner train --head span|token
";
        let expected = [
            "0: cargo xtask train bc5cdr",
            "1: medner train x",
            "1: medner doctor",
            "1: medner a",
            "2: medner active select --budget 2000 words",
            "2: jq .",
        ];
        assert_eq!(commands_of(block), expected);
    }

    #[test]
    fn commands_that_do_not_parse_are_faults() {
        let accepts = |arguments: &[OsString]| Ok(arguments.first().is_some_and(|word| word == "train"));
        let page = "# Title\n\n```sh\ncargo xtask train x\nmedner trian x\ncargo xtask setup --gpu\ncurl medner\n```\n\
                    ```text\nmedner trian\n```\n```sh\ncargo xtask doctor --all\ncargo xtask doctor\n```\n";
        let found = faults(|tree| check(tree, &accepts), &[("a.md", page)]);
        assert_faults(&found, &["a.md:5: `medner trian x`", "a.md:6: `cargo xtask setup --gpu`", "a.md:13"]);
    }
}
