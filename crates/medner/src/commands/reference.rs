//! `medner reference`: the pages of docs/reference, from the arguments and the recipe as they are.

use crate::terminal::stdout;
use anyhow::{Context, Result};
use clap::ValueEnum;
use ner_train::{DocumentedFields, Recipe};
use std::io::Write;

/// Print a page of the reference
#[derive(clap::Args)]
pub struct Args {
    /// Which page
    page: Page,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Page {
    /// All commands and their options
    Commands,
    /// All keys of a recipe
    Recipe,
}

/// Prints the page as Markdown.
///
/// # Errors
/// If stdout cannot be written.
pub fn run(args: &Args, command: &clap::Command) -> Result<()> {
    let page = match args.page {
        Page::Commands => commands(command),
        Page::Recipe => recipe()?,
    };
    let mut out = stdout::stdout();
    write!(out, "{page}")?;
    Ok(out.flush()?)
}

fn commands(command: &clap::Command) -> String {
    let options = clap_markdown::MarkdownOptions::new()
        .title("Commands".to_owned())
        .show_footer(false)
        .show_table_of_contents(true);
    fenced(&clap_markdown::help_markdown_command_custom(command, &options))
}

/// Puts the indented lines behind `Examples:` and the like into code blocks: Markdown would run them together.
fn fenced(page: &str) -> String {
    let is_heading = |line: &str| line.ends_with(':') && line.starts_with(|char: char| char.is_alphabetic());
    let (mut fenced, mut lines) = (String::with_capacity(page.len()), page.lines().peekable());
    while let Some(line) = lines.next() {
        fenced += &format!("{line}\n");
        if is_heading(line) && lines.peek().is_some_and(|next| next.starts_with("  ")) {
            fenced += "\n```text\n";
            while let Some(example) = lines.next_if(|next| next.starts_with("  ")) {
                fenced += &format!("{}\n", &example[2..]);
            }
            fenced += "```\n";
        }
    }
    fenced
}

fn recipe() -> Result<String> {
    let defaults = toml::Table::try_from(Recipe::default())?;
    let mut page = String::from(
        "# Recipe\n\nA recipe is a TOML file of hyperparameters: `train --config FILE.toml`. Each key is optional. Its table\n\
         `[experiment]` may name `dataset`, `encoder`, `labels`, `seeds`, `auxiliary`, `teacher`, `unlabelled` and\n\
         `student_layers`; options of the command line override it. Unknown keys are errors.\n\n| key | default | meaning |\n|---|---|---|\n",
    );
    for key in Recipe::FIELD_NAMES {
        let default = defaults.get(*key).with_context(|| format!("the recipe has no default of {key}"))?;
        let meaning = Recipe::get_field_docs(key)?.replace('\n', " ").replace('|', "\\|");
        page += &format!("| `{key}` | `{default}` | {meaning} |\n");
    }
    Ok(page)
}
