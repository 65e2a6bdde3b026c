//! Which arguments may be URLs of object stores.

use clap::ArgMatches;
use clap::error::ErrorKind;
use ner_stores::is_url;
use std::path::Path;

/// Commands and their arguments that take URLs.
const TAKEN: [(&str, &str); 6] = [
    ("annotate", "inputs"),
    ("annotate", "out"),
    ("annotate", "check"),
    ("pretrain", "inputs"),
    ("train", "unlabelled"),
    ("active select", "pool"),
];

/// Refuses URLs for all other arguments, which would look for a folder called `s3:`.
///
/// # Errors
/// If there is one.
pub fn check(cli: &mut clap::Command, matches: &ArgMatches) -> Result<(), clap::Error> {
    match misplaced(cli, matches) {
        Some(what) => Err(cli.error(ErrorKind::ValueValidation, what)),
        None => Ok(()),
    }
}

fn misplaced(cli: &clap::Command, matches: &ArgMatches) -> Option<String> {
    let (mut command, mut matches, mut names) = (cli, matches, Vec::new());
    loop {
        let name = names.join(" ");
        for argument in command.get_arguments() {
            let id = argument.get_id().as_str();
            let values = matches.try_get_raw(id).ok().flatten().into_iter().flatten();
            let url = values.map(Path::new).find(|value| is_url(value));
            if let Some(url) = url.filter(|_| !TAKEN.contains(&(name.as_str(), id))) {
                return Some(format!(
                    "{argument} of `{name}` cannot be in an object store ({}): copy it to this machine first. \
                     `annotate` reads and writes objects; `pretrain`, `train --unlabelled` and `active select` read them",
                    url.display()
                ));
            }
        }
        let (next, below) = matches.subcommand()?;
        command = command.find_subcommand(next)?;
        (matches, _) = (below, names.push(next));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cli;
    use clap::CommandFactory;

    #[test]
    fn only_some_arguments_take_urls() {
        let misplaced = |line: &str| {
            let mut cli = Cli::command();
            let matches = cli.try_get_matches_from_mut(line.split(' ')).unwrap();
            misplaced(&cli, &matches)
        };
        for line in [
            "medner annotate s3://a gs://b/c.txt --model m --out az://d/",
            "medner annotate --check s3://a/found",
            "medner pretrain s3://a",
            "medner train bc5cdr --teacher run --unlabelled s3://a",
            "medner active select s3://a --model m --budget 5 --out b",
        ] {
            assert_eq!(misplaced(line), None, "{line}");
        }
        for line in [
            "medner convert s3://a b --to jsonl",
            "medner convert a s3://b --to jsonl",
            "medner score --gold s3://a --predicted b",
            "medner annotate a --model s3://m",
            "medner link s3://a b --vocabulary v --to jsonl",
        ] {
            assert!(misplaced(line).is_some_and(|what| what.contains("copy it")), "{line}");
        }
        for (command, argument) in TAKEN {
            let root = Cli::command();
            let at = command.split(' ').try_fold(&root, |at, name| at.find_subcommand(name)).unwrap();
            assert!(at.get_arguments().any(|known| known.get_id() == argument), "{command} {argument}");
        }
    }
}
