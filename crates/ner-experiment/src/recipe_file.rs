//! Recipe files: experiments as TOML.

use anyhow::{Context, Result, anyhow};
use ner_data::DatasetDescription;
use ner_train::Recipe;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};

/// The table `[experiment]` of a recipe, for settings other than hyperparameters. The command line overrides it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Experiment {
    /// Corpus: a name, or the path of a description.
    pub dataset: Option<String>,
    /// Encoder: a name, a hub id or a folder.
    pub encoder: Option<String>,
    /// Label map of the corpus.
    pub labels: Option<String>,
    /// Seeds; one run for each.
    pub seeds: Vec<u64>,
    /// Auxiliary corpora, as `--auxiliary` takes them: `drugprot` or `drugprot=0.5`.
    pub auxiliary: Vec<String>,
    /// Teachers: runs or model folders.
    pub teacher: Vec<String>,
    /// Files and folders of unlabelled text for the teachers.
    pub unlabelled: Vec<PathBuf>,
    /// Number of the encoder's layers to keep.
    pub student_layers: Option<usize>,
}

/// A recipe file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RecipeFile {
    /// The table `[experiment]`.
    pub experiment: Experiment,
    /// The hyperparameters; missing ones keep their defaults.
    pub recipe: toml::Table,
}

/// Name of the table without hyperparameters.
const EXPERIMENT: &str = "experiment";

impl RecipeFile {
    /// Reads a recipe file.
    ///
    /// # Errors
    /// If it cannot be read, or has an unknown key.
    pub fn read(path: &Path) -> Result<Self> {
        let place = path.display();
        let text = fs_err::read_to_string(path)?;
        let mut recipe: toml::Table = toml::from_str(&text).with_context(|| format!("{place} is not valid TOML"))?;
        let experiment = match recipe.remove(EXPERIMENT) {
            Some(table) => parse(table, &format!("[{EXPERIMENT}] of {place}"))?,
            None => Experiment::default(),
        };
        check_keys(&recipe, &place.to_string())?;
        Ok(Self { experiment, recipe })
    }
}

/// Checks that all keys and values are valid hyperparameters; errors name `place`.
///
/// # Errors
/// If one is not.
pub fn check_keys(recipe: &toml::Table, place: &str) -> Result<()> {
    parse::<Recipe>(recipe.clone().into(), place).map(drop)
}

/// Parses a TOML value, and suggests a key if one is unknown.
///
/// # Errors
/// If the value does not match the type.
pub fn parse<T: DeserializeOwned>(value: toml::Value, place: &str) -> Result<T> {
    value.try_into().map_err(|error: toml::de::Error| {
        let message = error.to_string();
        match ner_data::nearest_key(&message) {
            Some(key) => anyhow!("{place}: {}; did you mean `{key}`?", message.trim_end()),
            None => anyhow!("{place}: {}", message.trim_end()),
        }
    })
}

/// Merges tables into a recipe; later tables override earlier ones.
///
/// # Errors
/// If a value is invalid.
pub fn recipe(tables: &[&toml::Table]) -> Result<Recipe> {
    let mut all = toml::Table::new();
    for table in tables {
        all.extend((*table).clone());
    }
    parse(all.into(), "the recipe")
}

/// The recipe of a corpus or of its sample: the defaults, overridden by what suits the corpus, then by `tables`.
///
/// # Errors
/// If one of them is not a recipe.
pub fn recipe_for(description: &DatasetDescription, sample: bool, tables: &[&toml::Table]) -> Result<Recipe> {
    check_keys(&description.recipe, "the corpus's description")?;
    let of_sample = description.sample.as_ref().filter(|_| sample).map(|sample| &sample.recipe);
    let of_sample: Vec<&toml::Table> = of_sample.into_iter().collect();
    of_sample.iter().try_for_each(|table| check_keys(table, "`sample.recipe` of the corpus's description"))?;
    recipe(&[&[&description.recipe], of_sample.as_slice(), tables].concat())
}

/// Checks that the values are valid.
///
/// # Errors
/// If a value is invalid.
pub fn check_recipe(recipe: &Recipe) -> Result<()> {
    recipe.check().map_err(anyhow::Error::msg).context("invalid recipe")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recipes_of_the_repository_are_recipes() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../experiments/recipes");
        for entry in fs_err::read_dir(folder).unwrap() {
            let file = RecipeFile::read(&entry.unwrap().path()).unwrap();
            recipe(&[&file.recipe]).unwrap().check().unwrap();
        }
    }

    #[test]
    fn unknown_keys_get_a_suggestion() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.toml");
        let check = |text: &str, expected: &[&str]| {
            fs_err::write(&path, text).unwrap();
            let message = format!("{:#}", RecipeFile::read(&path).unwrap_err());
            assert!(expected.iter().all(|part| message.contains(part)), "{message}");
        };
        check("epoch = 3\n", &["a.toml", "unknown field `epoch`", "did you mean `epochs`?"]);
        check("[experiment]\ndatset = \"x\"\n", &["[experiment]", "did you mean `dataset`?"]);
        check("epochs = \"three\"\n", &["a.toml", "invalid type"]);
        check("epochs 3", &["a.toml is not valid TOML"]);
        fs_err::write(&path, "epochs = 3\n[experiment]\nseeds = [1, 2]\n").unwrap();
        let file = RecipeFile::read(&path).unwrap();
        assert_eq!((file.experiment.seeds, recipe(&[&file.recipe]).unwrap().epochs), (vec![1, 2], 3));
    }
}
