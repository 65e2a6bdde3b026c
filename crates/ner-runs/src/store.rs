use crate::{Lock, Query, Run, RunFolder, RunsError, Status};
use fs_err as fs;
use rayon::prelude::*;
use serde_json::json;
use std::io;
use std::path::{Path, PathBuf};

/// The folder of all runs: `RUNS/DATASET/RUN`.
#[derive(Clone, Debug)]
pub struct Store {
    runs: PathBuf,
}

impl Store {
    /// The store in a folder, which may not exist yet.
    pub fn new(runs: impl Into<PathBuf>) -> Self {
        Self { runs: runs.into() }
    }

    /// Path of the folder.
    pub fn path(&self) -> &Path {
        &self.runs
    }

    /// All runs, or those of a dataset, oldest first. Every folder except hidden ones counts as a run.
    ///
    /// # Errors
    /// If a folder cannot be listed. Problems of a single run are in the run.
    pub fn list(&self, dataset: Option<&str>) -> io::Result<Vec<Run>> {
        self.list_with(dataset, Run::read)
    }

    /// Like [`list`](Self::list), but reads only what a query needs.
    ///
    /// # Errors
    /// As in [`list`](Self::list).
    pub fn list_for(&self, dataset: Option<&str>, query: &Query) -> io::Result<Vec<Run>> {
        let keys: Vec<&str> = query.keys().into_iter().collect();
        self.list_with(dataset, |folder| Run::read_only(folder, &keys))
    }

    fn list_with(&self, dataset: Option<&str>, read: impl Fn(RunFolder) -> Run + Sync) -> io::Result<Vec<Run>> {
        let datasets = match dataset {
            Some(dataset) => vec![self.runs.join(dataset)],
            None => folders(&self.runs)?,
        };
        let mut all = Vec::new();
        for dataset in datasets {
            all.extend(folders(&dataset)?);
        }
        let mut runs: Vec<Run> = all.into_par_iter().map(|path| read(RunFolder::at(path))).collect();
        runs.par_sort_by_cached_key(|run| (run.id(), run.dataset.clone()));
        Ok(runs)
    }

    /// The runs for a name: a folder, `latest` (the newest training), an id or a unique prefix of one, `DATASET/ID`, a
    /// tag, or a group.
    ///
    /// # Errors
    /// If nothing matches, or a prefix matches several runs.
    pub fn find(&self, wanted: &str) -> Result<Vec<Run>, RunsError> {
        let place = Path::new(wanted);
        if place.join(crate::run_folder::RUN).exists() {
            // Canonical, because a path like `.` hides the parent folder's name, which is the dataset.
            let place = fs::canonicalize(place)?;
            return Ok(vec![Run::read(RunFolder::at(place))]);
        }
        let all = self.list(None)?;
        let is_named = |run: &&Run| run.id() == wanted || format!("{}/{}", run.dataset, run.id()) == wanted;
        let is_begun = |run: &&Run| run.id().starts_with(wanted);
        let newest = all.iter().rev().find(|run| run.kind() == "train");
        let mut found: Vec<&Run> = match wanted {
            "" => Vec::new(),
            "latest" => newest.into_iter().collect(),
            _ => all.iter().filter(is_named).collect(),
        };
        if found.len() > 1 {
            return Err(ambiguous(wanted, &found));
        }
        if found.is_empty() {
            found = all
                .iter()
                .filter(|run| run.group() == Some(wanted) || run.tags.iter().any(|tag| tag == wanted))
                .collect();
        }
        if found.is_empty() && !wanted.is_empty() {
            found = all.iter().filter(is_begun).collect();
            if found.len() > 1 {
                return Err(ambiguous(wanted, &found));
            }
        }
        if found.is_empty() {
            let nearest = all.last().map(Run::id);
            return Err(RunsError::NotFound { wanted: wanted.into(), runs: self.runs.clone(), nearest });
        }
        Ok(found.into_iter().cloned().collect())
    }

    /// The single run for a name.
    ///
    /// # Errors
    /// If there is none, or several.
    pub fn find_one(&self, wanted: &str) -> Result<Run, RunsError> {
        let mut found = self.find(wanted)?;
        match (found.pop(), found.as_slice()) {
            (Some(run), []) => Ok(run),
            (last, _) => Err(ambiguous(wanted, &found.iter().chain(&last).collect::<Vec<_>>())),
        }
    }

    /// Locks a group of runs, so that no other process trains its runs.
    ///
    /// # Errors
    /// If another process holds it, or the lock cannot be written.
    pub fn lock_group(&self, dataset: &str, group: &str) -> Result<Lock, RunsError> {
        let folder = self.runs.join(dataset);
        fs::create_dir_all(&folder)?;
        let path = folder.join(format!(".{group}.lock"));
        Lock::take(&path)?.ok_or_else(|| RunsError::Running {
            run: group.into(),
            process: Lock::holder(&path).unwrap_or_else(|| "a process".into()),
        })
    }

    /// A new group name (UTC time and a word), locked.
    ///
    /// # Errors
    /// If the lock cannot be written.
    pub fn new_group(&self, dataset: &str, word: &str) -> Result<(String, Lock), RunsError> {
        let stem = format!("{}-{word}", chrono::Utc::now().format("%Y%m%dT%H%M%SZ"));
        let mut number = 1;
        loop {
            let name = if number == 1 { stem.clone() } else { format!("{stem}-{number}") };
            let is_new = !self.runs.join(dataset).join(format!(".{name}.lock")).exists();
            match is_new.then(|| self.lock_group(dataset, &name)) {
                Some(Ok(lock)) => return Ok((name, lock)),
                // Another process has used this name.
                None | Some(Err(RunsError::Running { .. })) => number += 1,
                Some(Err(error)) => return Err(error),
            }
        }
    }

    /// Changes the tags of a run. They are sorted and unique.
    ///
    /// # Errors
    /// If a tag is invalid, or they cannot be written.
    pub fn tag(&self, run: &Run, add: &[String], remove: &[String]) -> Result<Vec<String>, RunsError> {
        let odd = |tag: &&String| {
            tag.is_empty() || tag.contains([',', '/', '=', '<', '>', '~']) || tag.trim() != tag.as_str()
        };
        if let Some(odd) = add.iter().find(odd) {
            return Err(RunsError::Query(format!(
                "`{odd}` is not a valid tag: it must not contain , / = < > ~ or begin or end with a space"
            )));
        }
        let mut tags: Vec<String> = run.tags.iter().chain(add).filter(|tag| !remove.contains(tag)).cloned().collect();
        tags.sort();
        tags.dedup();
        run.folder.write_json(crate::run_folder::TAGS, &json!(tags))?;
        Ok(tags)
    }

    /// Removes a run. Renames it first, so that a killed process leaves no partial run in the lists.
    ///
    /// # Errors
    /// If it is running, or cannot be removed.
    pub fn remove(&self, run: &Run) -> Result<(), RunsError> {
        let lock = match run.status {
            Status::Finished => None,
            _ => Some(run.folder.lock()?),
        };
        let path = run.folder.path();
        let hidden = path.with_file_name(format!(".removed-{}", run.id()));
        if hidden.exists() {
            fs::remove_dir_all(&hidden)?;
        }
        fs::rename(path, &hidden)?;
        drop(lock);
        Ok(fs::remove_dir_all(hidden)?)
    }
}

fn ambiguous(wanted: &str, found: &[&Run]) -> RunsError {
    let found = found.iter().map(|run| format!("{}/{}", run.dataset, run.id())).collect();
    RunsError::Ambiguous { wanted: wanted.into(), found }
}

/// The visible folders in a folder; empty if it does not exist.
fn folders(folder: &Path) -> io::Result<Vec<PathBuf>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        let is_folder = kind.is_dir() || (kind.is_symlink() && entry.path().is_dir());
        if is_folder && !entry.file_name().to_string_lossy().starts_with('.') {
            found.push(entry.path());
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A store of runs with the ids `names`, `record` of each.
    fn store(runs: &Path, names: &[(&str, serde_json::Value)]) -> Store {
        for (name, record) in names {
            fs::create_dir_all(runs.join("d").join(name)).unwrap();
            RunFolder::at(runs.join("d").join(name)).write_run(record).unwrap();
        }
        Store::new(runs)
    }

    #[test]
    fn runs_are_found_by_id_beginning_tag_group_and_folder() {
        let folder = tempfile::tempdir().unwrap();
        let group = json!({"group": {"id": "g"}});
        let store = store(
            folder.path(),
            &[("aa", json!({})), ("ab", group.clone()), ("b", group), ("c", json!({"kind": "eval"}))],
        );
        fs::create_dir_all(folder.path().join("d/.hidden")).unwrap();
        fs::create_dir_all(folder.path().join("other/b")).unwrap();
        let check = |wanted: &str, expected: &[&str]| {
            let found = store.find(wanted).map(|runs| runs.iter().map(Run::id).collect::<Vec<_>>());
            assert_eq!(found.unwrap_or_default(), expected, "{wanted}");
        };
        check("aa", &["aa"]);
        check("a", &[]);
        check("b", &[]);
        check("d/b", &["b"]);
        check("g", &["ab", "b"]);
        check("latest", &["b"]);
        check(&folder.path().join("d/aa").display().to_string(), &["aa"]);
        check("", &[]);
        assert!(store.find("a").unwrap_err().to_string().contains("d/aa, d/ab"));
        assert!(store.find("zz").unwrap_err().to_string().contains("no run, tag or group zz"));
        assert!(store.find_one("g").is_err());

        let run = store.find_one("aa").unwrap();
        assert_eq!(store.tag(&run, &["y".into(), "x".into(), "x".into()], &[]).unwrap(), ["x", "y"]);
        assert_eq!(store.find_one("x").unwrap().tags, ["x", "y"]);
        assert_eq!(store.tag(&store.find_one("aa").unwrap(), &[], &["x".into()]).unwrap(), ["y"]);
        assert!(store.tag(&run, &["a,b".into()], &[]).is_err());

        let (first, lock) = store.new_group("d", "seeds").unwrap();
        let (second, _other) = store.new_group("d", "seeds").unwrap();
        assert_ne!(first, second);
        assert!(store.lock_group("d", &first).is_err());
        drop(lock);
        assert!(store.lock_group("d", &first).is_ok());

        let lock = run.folder.lock().unwrap();
        assert!(matches!(store.remove(&run), Err(RunsError::Running { .. })));
        drop(lock);
        store.remove(&run).unwrap();
        check("aa", &[]);
        assert_eq!(store.list(None).unwrap().len(), 4);
        assert_eq!(store.list(Some("d")).unwrap().len(), 3);
        assert_eq!(store.list(Some("nothing")).unwrap().len(), 0);
    }
}
