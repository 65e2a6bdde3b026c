//! `annotate --shard` and `annotate --check`.

use super::{Args, Tally, name_of, output};
use crate::terminal::interrupt::end_cleanly;
use crate::terminal::stdout::stdout;
use anyhow::{Context, Result, ensure};
use ner_annotate::Summary;
use ner_experiment::input::Input;
use ner_experiment::shards::{self, Checked, Manifest, Part, Shard, Share};
use ner_stores::is_url;
use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};
use tracing::{info, warn};

/// A shard being annotated.
pub struct ShardRun {
    shard: Shard,
    share: Share,
    folder: PathBuf,
    part: PathBuf,
}

impl ShardRun {
    /// Finds what the shard has to do.
    ///
    /// # Errors
    /// If the options do not fit, or an input cannot be dealt out.
    pub fn new(args: &Args, shard: Shard, inputs: &[Input]) -> Result<Self> {
        let folder = args.out.clone().filter(|out| out != Path::new("-"));
        let folder = folder.context("--shard needs --out FOLDER, which all shards share")?;
        ensure!(!folder.exists() || folder.is_dir(), "{} is not a folder, which --shard needs", folder.display());
        ensure!(
            !args.to.is_folder(),
            "--shard works with formats of one file, not with {}, which is a folder",
            name_of(args.to)
        );
        for input in &args.inputs {
            ensure!(
                !lies_in(&folder, input),
                "--out {} lies in the input {}, so that each shard would find the parts of the others: name another folder",
                folder.display(),
                input.display()
            );
        }
        let part = folder.join(format!("{}.{}", shard.part(), args.to.extension()));
        let share = shards::deal(inputs, shard)?;
        if share.units.is_empty() {
            warn!(
                "nothing to do for shard {shard}: there are {} files and row groups, and a file is not divided; make files \
                 of a few hundred documents, or a Parquet file with row groups",
                share.collection.units
            );
        }
        Ok(Self { shard, share, folder, part })
    }

    /// Its inputs.
    pub fn inputs(&self) -> Vec<Input> {
        self.share.inputs.clone()
    }

    /// The file to write.
    pub fn part(&self) -> PathBuf {
        self.part.clone()
    }

    /// Whether this shard has finished already.
    ///
    /// # Errors
    /// If the folder holds another annotation.
    pub fn is_finished(&self, settings: &Value) -> Result<bool> {
        let is_finished = shards::is_finished(&self.folder, self.shard, settings, &self.share)?;
        if is_finished {
            info!("shard {} has finished already: {}", self.shard, self.part.display());
        }
        Ok(is_finished)
    }

    /// Writes the manifest of a finished part.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn finish(self, settings: Value, summary: &Summary, tally: Tally) -> Result<()> {
        // Nothing is wrong with the inputs that failed, so they are not left out for good.
        ensure!(
            !tally.has_outage,
            "shard {} has not finished: inputs could not be read (see the warnings above); start it again when they can be",
            self.shard
        );
        let skipped = tally.bad + tally.cut;
        let manifest = Manifest {
            shard: self.shard.number,
            of: self.shard.of,
            medner: env!("CARGO_PKG_VERSION").to_owned(),
            settings,
            collection: self.share.collection,
            inputs: self.share.units,
            documents: summary.documents,
            tokens: summary.tokens,
            mentions: tally.mentions,
            skipped,
            faults: tally.faults,
            part: Part::of(&self.part)?,
        };
        manifest.write(&self.folder)?;
        if skipped > 0 {
            warn!(
                "{skipped} documents or parts of the input could not be annotated; the manifest of the shard lists them"
            );
        }
        Ok(())
    }
}

/// Whether a folder or prefix is, or lies in, another.
fn lies_in(folder: &Path, input: &Path) -> bool {
    let absolute = |path: &Path| if is_url(path) { Ok(path.into()) } else { std::path::absolute(path) };
    matches!((absolute(folder), absolute(input)), (Ok(folder), Ok(input)) if folder.starts_with(&input))
}

/// Checks the parts in a folder and prints what is missing.
///
/// # Errors
/// If anything is missing or wrong.
pub fn check(folder: &Path) -> Result<()> {
    end_cleanly()?;
    let checked = shards::check(folder, output::ids_of_part)?;
    let Checked { of, missing, faults, documents, mentions, skipped, drafts } = &checked;
    for fault in faults {
        warn!("{fault}");
    }
    if *drafts > 0 {
        warn!("{drafts} unfinished files lie in the folder; remove them (.medner-draft-*) when no shard runs");
    }
    let mut out = stdout();
    let finished = of - missing.len();
    writeln!(out, "{finished} of {of} shards finished: {documents} documents, {mentions} mentions")?;
    if !missing.is_empty() {
        writeln!(out, "start again: {}", checked.missing_ranges())?;
    }
    if *skipped > 0 {
        writeln!(out, "could not be annotated: {skipped} documents or parts of the input")?;
    }
    out.flush()?;
    ensure!(checked.is_whole(), "{} is not complete", folder.display());
    Ok(())
}
