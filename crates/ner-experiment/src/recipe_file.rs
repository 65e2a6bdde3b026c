//! Files of recipes: what an experiment is, as TOML.

use anyhow::{Context, Result, anyhow};
use ner_data::DatasetDescription;
use ner_train::Recipe;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::path::Path;

/// What a recipe may say beside hyperparameters, in its table `[experiment]`. Options of the command line win over it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Experiment {
    /// Corpus: a name, or the path of a description.
    pub dataset: Option<String>,
    /// Encoder: a name, a hub id or a folder.
    pub encoder: Option<String>,
    /// Label map of the corpus.
    pub labels: Option<String>,
    /// A run for each.
    pub seeds: Vec<u64>,
}

/// A recipe as a file says it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RecipeFile {
    /// Its table `[experiment]`.
    pub experiment: Experiment,
    /// The hyperparameters; what is not there keeps its default.
    pub recipe: toml::Table,
}

/// The table of a recipe that holds no hyperparameters.
const EXPERIMENT: &str = "experiment";

impl RecipeFile {
    /// Reads a recipe.
    ///
    /// # Errors
    /// Where it cannot be read, or has a key that nobody knows.
    pub fn read(path: &Path) -> Result<Self> {
        let place = path.display();
        let text = fs_err::read_to_string(path)?;
        let mut recipe: toml::Table = toml::from_str(&text).with_context(|| format!("{place} is no TOML"))?;
        let experiment = match recipe.remove(EXPERIMENT) {
            Some(table) => parse(table, &format!("[{EXPERIMENT}] of {place}"))?,
            None => Experiment::default(),
        };
        check_keys(&recipe, &place.to_string())?;
        Ok(Self { experiment, recipe })
    }
}

/// Refuses keys and values that are no hyperparameters; `place` is named.
///
/// # Errors
/// Where there is one.
pub fn check_keys(recipe: &toml::Table, place: &str) -> Result<()> {
    parse::<Recipe>(recipe.clone().into(), place).map(drop)
}

/// Makes a value of a TOML one, with a suggestion where a key of it is unknown.
///
/// # Errors
/// Where it does not fit.
pub fn parse<T: DeserializeOwned>(value: toml::Value, place: &str) -> Result<T> {
    value.try_into().map_err(|error: toml::de::Error| {
        let message = error.to_string();
        match ner_data::nearest_key(&message) {
            Some(key) => anyhow!("{place}: {}; did you mean `{key}`?", message.trim_end()),
            None => anyhow!("{place}: {}", message.trim_end()),
        }
    })
}

/// A recipe from tables of which the later win over the earlier.
///
/// # Errors
/// Where a value makes no sense.
pub fn recipe(tables: &[&toml::Table]) -> Result<Recipe> {
    let mut all = toml::Table::new();
    for table in tables {
        all.extend((*table).clone());
    }
    parse(all.into(), "the recipe")
}

/// The recipe of a corpus: what suits it over the defaults, `tables` over both.
///
/// # Errors
/// Where one of them is no recipe.
pub fn recipe_for(description: &DatasetDescription, tables: &[&toml::Table]) -> Result<Recipe> {
    check_keys(&description.recipe, "the corpus's description")?;
    recipe(&[&[&description.recipe], tables].concat())
}

/// Refuses values that make no sense.
///
/// # Errors
/// Where there is one.
pub fn check_recipe(recipe: &Recipe) -> Result<()> {
    recipe.check().map_err(anyhow::Error::msg).context("the recipe makes no sense")
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
        check("epochs 3", &["a.toml is no TOML"]);
        fs_err::write(&path, "epochs = 3\n[experiment]\nseeds = [1, 2]\n").unwrap();
        let file = RecipeFile::read(&path).unwrap();
        assert_eq!((file.experiment.seeds, recipe(&[&file.recipe]).unwrap().epochs), (vec![1, 2], 3));
    }
}
