//! `cargo xtask check`: the checks in `scripts/`, with what they need and what they work on.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use fs_err as fs;

use crate::repo::{Repo, program};
use crate::{dist, gpu, libtorch, product, python};

/// What a check of the command line is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    Pages,
    Pipeline,
    Transformers,
    Fhir,
    Trackers,
    Load,
    Hostile,
    Stores,
    Python,
    Spacy,
    Cluster,
    Wheel,
    Client,
    Notebooks,
    Gpu,
}

const SUBJECTS: [(&str, Subject); 15] = [
    ("pages", Subject::Pages),
    ("pipeline", Subject::Pipeline),
    ("transformers", Subject::Transformers),
    ("fhir", Subject::Fhir),
    ("trackers", Subject::Trackers),
    ("load", Subject::Load),
    ("hostile", Subject::Hostile),
    ("stores", Subject::Stores),
    ("python", Subject::Python),
    ("spacy", Subject::Spacy),
    ("cluster", Subject::Cluster),
    ("wheel", Subject::Wheel),
    ("client", Subject::Client),
    ("notebooks", Subject::Notebooks),
    ("gpu", Subject::Gpu),
];

impl Subject {
    pub fn named(name: &str) -> Option<Self> {
        SUBJECTS.into_iter().find(|(word, _)| *word == name).map(|(_, subject)| subject)
    }

    pub fn name(self) -> &'static str {
        SUBJECTS.into_iter().find(|(_, subject)| *subject == self).map_or("", |(word, _)| word)
    }

    /// For messages.
    pub fn names() -> String {
        let (last, others) = SUBJECTS.split_last().expect("there are checks");
        let mut text = String::new();
        for (name, _) in others {
            let _ = write!(text, "{name}, ");
        }
        text + "or " + last.0
    }

    /// The checks of trackers, notebooks and cards train models of their own.
    pub fn takes_model(self) -> bool {
        !matches!(self, Subject::Trackers | Subject::Notebooks | Subject::Gpu)
    }
}

/// A check to run.
#[derive(Debug)]
pub struct Check {
    pub subject: Subject,
    /// A run or a model's folder; without it, a model is trained on the sample.
    pub model: Option<OsString>,
    /// For the script.
    pub arguments: Vec<OsString>,
}

pub fn run(repo: &Repo, check: &Check) -> Result<ExitCode> {
    libtorch::ensure(repo)?;
    product::build()?;
    let work = Work { repo, folder: repo.state().join("checks") };
    let begin = Instant::now();
    match check.subject {
        Subject::Pages => work.pages(check),
        Subject::Pipeline => work.pipeline(check),
        Subject::Transformers => work.transformers(check),
        Subject::Fhir => work.fhir(check),
        Subject::Trackers => work.trackers(check),
        Subject::Load => work.load(check, "load_server.py"),
        Subject::Hostile => work.load(check, "hostile_clients.py"),
        Subject::Stores => work.stores(check),
        Subject::Python => work.python(check),
        Subject::Spacy => work.spacy(check),
        Subject::Cluster => work.cluster(check),
        Subject::Wheel => work.wheel(check),
        Subject::Client => work.client(check),
        Subject::Notebooks => work.notebooks(check),
        Subject::Gpu => work.gpu(check),
    }?;
    eprintln!("check {}: passed in {:.0} s", check.subject.name(), begin.elapsed().as_secs_f64());
    if let Some(gap) = gap(check.subject) {
        eprintln!("SKIPPED: {gap}");
    }
    Ok(ExitCode::SUCCESS)
}

/// Why a check cannot run on this machine, and what to do; `None` if it can. Says nothing about the network.
pub fn obstacle(subject: Subject) -> Option<String> {
    let python = || python::version(&["--version"]).is_none().then(|| "Python 3 does not run: install it".to_owned());
    match subject {
        Subject::Pages => lacks_node().or_else(|| chromium().err().map(|error| error.to_string())),
        Subject::Load | Subject::Hostile => python(),
        // The others make environments.
        _ => python::require_pip().err().map(|error| error.to_string()),
    }
}

/// Makes the Python environment of a check if it has one, so that the check finds it.
pub fn prepare(repo: &Repo, subject: Subject) -> Result<()> {
    let work = Work { repo, folder: repo.state().join("checks") };
    if work.requirements(subject).is_file() {
        work.python_for(subject)?;
    }
    Ok(())
}

/// The part of a check that it leaves out on this machine, and what to do; `None` if it runs as a whole.
pub fn gap(subject: Subject) -> Option<String> {
    let lacks_node = (subject == Subject::Stores).then(lacks_node).flatten();
    lacks_node.map(|what| format!("az:// with Azurite: {what}"))
}

fn lacks_node() -> Option<String> {
    let runs = |name: &&str| python::first_line(program(name).arg("--version")).is_some();
    let name = ["node", "npm"].into_iter().find(|name| !runs(name))?;
    Some(format!("{name} does not run: install Node.js with npm (Debian: apt-get install npm)"))
}

struct Work<'r> {
    repo: &'r Repo,
    folder: PathBuf,
}

/// Ends a server when a check ends, however it ends.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Work<'_> {
    /// Drives both pages in Chromium.
    fn pages(&self, check: &Check) -> Result<()> {
        if let Some(obstacle) = obstacle(Subject::Pages) {
            bail!(obstacle);
        }
        let chromium = chromium()?;
        let folder = self.folder.join("pages");
        self.install_node_packages(&folder, "package.json")?;
        let model = self.model(check, "span")?;

        let mut serve = self.medner();
        serve.args(["serve", "--port", "0", "--quiet", "--model"]).arg(&model);
        let mut server = Server(serve.stdout(Stdio::piped()).spawn().context("cannot run medner")?);
        let mut address = String::new();
        BufReader::new(server.0.stdout.take().context("the server's output was not captured")?)
            .read_line(&mut address)?;
        ensure!(!address.is_empty(), "the server did not start (its own words are above)");
        let node = |script: &str| {
            let mut node = program("node");
            node.arg(self.repo.root.join("scripts").join(script));
            node.env("NODE_PATH", folder.join("node_modules")).env("CHROMIUM", &chromium);
            node
        };
        step("the page of `medner serve`", node("check_page.mjs").arg(address.trim()).args(&check.arguments))?;
        drop(server);

        // The check corrects the batch, so that each begins with a new one.
        let batch = folder.join("batch");
        if batch.exists() {
            fs::remove_dir_all(&batch)?;
        }
        let mut select = self.medner();
        select.args(["active", "select", "--strategy", "random", "--budget", "6 documents", "--quiet", "--model"]);
        select.arg(&model).arg("--out").arg(&batch).arg(self.sample());
        step("a batch to correct", &mut select)?;
        let mut correct = node("check_correct_page.mjs");
        correct.arg(self.repo.medner()).arg(&batch).args(&check.arguments).stdout(Stdio::null());
        step("the page of `medner active annotate`", &mut correct)
    }

    /// Compares with transformers' pipeline.
    fn pipeline(&self, check: &Check) -> Result<()> {
        let python = self.python_for(check.subject)?;
        let model = self.model(check, "token")?;
        let mut command = self.script(&python, "check_pipeline.py");
        command.arg(self.repo.medner()).arg(model).arg(self.sample()).args(&check.arguments);
        step("a trained model in transformers' pipeline", &mut command)?;
        let mut command = self.script(&python, "check_pipeline.py");
        command.arg(self.repo.medner()).arg("--random").arg(self.sample()).args(&check.arguments);
        step("a model of random weights in transformers' pipeline", &mut command)
    }

    /// Compares a run's predictions with transformers.
    fn transformers(&self, check: &Check) -> Result<()> {
        let python = self.python_for(check.subject)?;
        let run = self.run_folder(check, "token")?;
        ensure!(run.join("run.json").is_file(), "{} is not a run: this check needs a run's folder", run.display());
        let dataset = run.parent().and_then(Path::file_name).context("a run lies in the folder of its corpus")?;
        // transformers reads whole documents, so medner must do so, too.
        let whole = self.folder.join("whole.PubTator.txt");
        let mut eval = self.medner();
        eval.args(["eval", "--window", "512", "--quiet"]).arg(dataset).arg("--run").arg(&run).arg("--out").arg(&whole);
        step("whole documents in medner", eval.arg("--runs").arg(self.runs("token")).stdout(Stdio::null()))?;
        let mut command = self.script(&python, "check_with_transformers.py");
        step("the same in transformers", command.arg(&run).arg(whole).args(&check.arguments))
    }

    /// Reads bundles with fhir.resources: those of a model on the sample, and the golden one, which has every resource.
    fn fhir(&self, check: &Check) -> Result<()> {
        let python = self.python_for(check.subject)?;
        let found = self.folder.join("found.ndjson");
        let mut annotate = self.medner();
        annotate.args(["annotate", "--quiet", "--no-run", "--to", "fhir", "--model"]).arg(self.model(check, "span")?);
        let out = fs::File::create(&found)?.into_parts().0;
        step("bundles of `medner annotate`", annotate.arg(self.sample()).stdout(out))?;
        let golden = self.repo.root.join("crates/ner-clinical/tests/golden/bundle.json");
        let mut command = self.script(&python, "check_fhir.py");
        step("the same in fhir.resources", command.arg(golden).arg(found).args(&check.arguments))
    }

    /// Kills servers and trainings, and reads back what MLflow and TensorBoard got.
    fn trackers(&self, check: &Check) -> Result<()> {
        let python = self.python_for(check.subject)?;
        let mut command = self.script(&python, "check_trackers.py");
        command.arg("--medner").arg(self.repo.medner()).arg("--work").arg(self.folder.join("trackers-work"));
        // Two programs compute at once; with all threads each, they would wait for one another.
        command.env("OMP_NUM_THREADS", "1").args(&check.arguments);
        step("MLflow and TensorBoard", &mut command)
    }

    /// Compares the server's answers under load, or under attack, with those of `medner annotate`.
    fn load(&self, check: &Check, script: &str) -> Result<()> {
        if let Some(obstacle) = obstacle(check.subject) {
            bail!(obstacle);
        }
        let model = self.model(check, "span")?;
        let documents = self.folder.join("documents.jsonl");
        let mut convert = self.medner();
        convert.args(["convert", "--quiet", "--to", "jsonl"]).arg(self.sample()).arg(&documents);
        step("documents", &mut convert)?;
        let mut command = self.script(Path::new(python::interpreter()), script);
        command.arg(self.repo.medner()).arg(model).arg(documents).args(&check.arguments);
        step("`medner serve` under load", &mut command)
    }

    /// Annotates from and to stores of every kind. Without Node.js, Azure's is left out.
    fn stores(&self, check: &Check) -> Result<()> {
        let folder = self.folder.join("stores");
        let python = self.python_for(check.subject)?;
        let mut command = self.script(&python, "check_stores.py");
        command.arg(self.repo.medner()).arg(self.model(check, "span")?).args(&check.arguments);
        if gap(Subject::Stores).is_none() {
            let azurite = folder.join("azurite");
            self.install_node_packages(&azurite, "stores-package.json")?;
            command.arg("--azurite").arg(azurite.join("node_modules/.bin/azurite-blob"));
        }
        step("`medner annotate` on objects", &mut command)
    }

    /// Tests the Python package, with its types.
    fn python(&self, check: &Check) -> Result<()> {
        let python = self.python_for(check.subject)?;
        for tool in ["mypy", "pyright"] {
            let mut command = self.package(&python);
            step(&format!("the types of the package, by {tool}"), command.args(["-m", tool]))?;
        }
        let mut pytest = self.package(&python);
        pytest.env("MEDNER_TEST_MODEL", self.model(check, "span")?);
        step("the tests of the package", pytest.args(["-m", "pytest"]).args(&check.arguments))
    }

    /// Tests the component for spaCy, with negspacy and medspaCy behind it.
    fn spacy(&self, check: &Check) -> Result<()> {
        let python = self.python_for(check.subject)?;
        let mut install = program(&python);
        install.args(["-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--editable"]);
        install.arg(self.repo.root.join("python"));
        step("the package, for its entry point", &mut install)?;
        let mut pytest = self.package(&python);
        pytest.env("MEDNER_TEST_MODEL", self.model(check, "span")?);
        step("the component in spaCy", pytest.args(["-m", "pytest", "tests/test_spacy.py"]).args(&check.arguments))
    }

    /// Tests Spark and Ray. Without Java, the tests of Spark say that they are skipped.
    fn cluster(&self, check: &Check) -> Result<()> {
        let python = self.python_for(check.subject)?;
        let model = self.model(check, "span")?;
        // Two processes, so that neither engine can end the tests of the other.
        for (engine, tests) in [("Spark", "tests/test_spark.py"), ("Ray", "tests/test_ray.py")] {
            let mut pytest = self.package(&python);
            pytest.env("MEDNER_TEST_MODEL", &model).args(["-m", "pytest", tests]);
            step(engine, pytest.args(&check.arguments))?;
        }
        Ok(())
    }

    /// Installs the wheels into an empty environment.
    fn wheel(&self, check: &Check) -> Result<()> {
        let wheels = self.folder.join("wheels");
        dist::run(self.repo, dist::Form::Wheels, Some(wheels.clone()))?;
        let mut command = self.script(Path::new(python::interpreter()), "check_wheel.py");
        step("the wheels in an empty environment", command.arg(wheels).arg(self.model(check, "span")?))
    }

    /// Generates a client from the server's description, and asks it what `medner annotate` is asked.
    fn client(&self, check: &Check) -> Result<()> {
        let python = self.python_for(check.subject)?;
        let mut command = self.script(&python, "check_client.py");
        command.arg(self.repo.medner()).arg(self.model(check, "span")?).arg(self.sample()).args(&check.arguments);
        step("a generated client", &mut command)
    }

    /// Executes the notebooks.
    fn notebooks(&self, check: &Check) -> Result<()> {
        let python = self.python_for(check.subject)?;
        let mut command = self.script(&python, "run_notebooks.py");
        command.env("MEDNER_PROGRAM", self.repo.medner()).env("PYTHONPATH", self.repo.root.join("python/src"));
        step("the notebooks", command.arg(self.repo.root.join("notebooks")).args(&check.arguments))
    }

    /// Rehearses what a machine with a card runs.
    fn gpu(&self, check: &Check) -> Result<()> {
        let mut command = gpu::rehearse(self.repo, &self.folder, &check.arguments)?;
        step("the bundle on a machine without a card", &mut command)
    }

    /// Python in the folder of the package, with the program of this checkout.
    fn package(&self, python: &Path) -> Command {
        let folder = self.repo.root.join("python");
        let mut command = program(python);
        command.env("MEDNER_PROGRAM", self.repo.medner()).env("PYTHONPATH", folder.join("src"));
        // A crash then leaves the report of the tests before it.
        command.env("PYTHONUNBUFFERED", "1").current_dir(folder);
        command
    }

    fn medner(&self) -> Command {
        program(self.repo.medner())
    }

    fn script(&self, python: &Path, name: &str) -> Command {
        let mut command = program(python);
        command.arg(self.repo.root.join("scripts").join(name));
        command
    }

    fn sample(&self) -> PathBuf {
        self.repo.root.join("datasets/bc5cdr/sample/test.PubTator.txt")
    }

    fn runs(&self, head: &str) -> PathBuf {
        self.folder.join("runs").join(head)
    }

    /// What pins the packages of a check in Python.
    fn requirements(&self, subject: Subject) -> PathBuf {
        self.repo.root.join(format!("scripts/{}-requirements.txt", subject.name()))
    }

    /// The Python environment of a check.
    fn python_for(&self, subject: Subject) -> Result<PathBuf> {
        // The pipeline needs what the comparison with transformers needs.
        let subject = if subject == Subject::Pipeline { Subject::Transformers } else { subject };
        let alone: &[&str] = if subject == Subject::Spacy { &MEDSPACY } else { &[] };
        python::environment(&self.folder.join(subject.name()), &self.requirements(subject), alone)
    }

    /// Installs what a file in `scripts/` pins, unless it is there already.
    fn install_node_packages(&self, folder: &Path, pins: &str) -> Result<()> {
        fs::create_dir_all(folder)?;
        let wanted = fs::read_to_string(self.repo.root.join("scripts").join(pins))?;
        let mark = folder.join("installed.json");
        if fs::read_to_string(&mark).ok().as_ref() == Some(&wanted) {
            return Ok(());
        }
        fs::write(folder.join("package.json"), &wanted)?;
        let mut npm = program("npm");
        npm.args(["install", "--no-audit", "--no-fund", "--loglevel=error"]).current_dir(folder);
        step(&format!("packages of scripts/{pins} from npm"), npm.stdout(Stdio::from(std::io::stderr())))?;
        Ok(fs::write(mark, wanted)?)
    }

    /// The folder of the model to check.
    fn model(&self, check: &Check, head: &str) -> Result<PathBuf> {
        let run = self.run_folder(check, head)?;
        Ok(if run.join("run.json").is_file() { run.join("model") } else { run })
    }

    /// The folder that the user named, or that of a run on the sample with the head that the check needs.
    fn run_folder(&self, check: &Check, head: &str) -> Result<PathBuf> {
        match &check.model {
            Some(named) => named_folder(Path::new(named), &self.repo.root.join("experiments/runs")),
            None => self.sample_run(head),
        }
    }

    /// A run of this medner on the sample, trained unless it is there already.
    fn sample_run(&self, head: &str) -> Result<PathBuf> {
        let runs = self.runs(head);
        let built = fs::metadata(self.repo.medner())?.modified()?;
        let mark = runs.join("trained");
        if mark.is_file() && fs::metadata(&mark)?.modified()? > built {
            return Ok(fs::read_to_string(mark)?.into());
        }
        if runs.exists() {
            fs::remove_dir_all(&runs)?;
        }
        let mut train = self.medner();
        train.args(["train", "bc5cdr", "--sample", "--head", head, "--epochs", EPOCHS, "--runs"]).arg(&runs);
        step(&format!("a model on the sample, --head {head}"), train.stdout(Stdio::null()))?;
        let mut folders = fs::read_dir(runs.join("bc5cdr"))?;
        let run = folders.next().context("the training left no run behind")??.path();
        fs::write(mark, run.to_str().context("the path of the checkout is not UTF-8")?)?;
        Ok(run)
    }
}

/// scripts/spacy-requirements.txt says why these come without their dependencies.
const MEDSPACY: [&str; 5] =
    ["medspacy==1.3.1", "medspacy_quickumls==3.2", "PyRuSH==1.0.13", "quicksectx==0.4.1", "PyFastNER==1.0.10"];

/// Enough for a model that finds something.
const EPOCHS: &str = "1";

/// A path, or the id of a run in the store.
fn named_folder(named: &Path, store: &Path) -> Result<PathBuf> {
    if named.is_dir() {
        return Ok(std::path::absolute(named)?);
    }
    if store.is_dir() {
        for dataset in fs::read_dir(store)? {
            let folder = dataset?.path().join(named);
            if folder.join("run.json").is_file() {
                return Ok(folder);
            }
        }
    }
    bail!("{} is neither a folder nor a run in {}", named.display(), store.display())
}

/// `CHROMIUM`, or the browser under one of its usual names.
fn chromium() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("CHROMIUM") {
        let path = PathBuf::from(path);
        ensure!(path.is_file(), "CHROMIUM is {}, where no file is", path.display());
        return Ok(path);
    }
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::iter::once("/usr/bin".into()).chain(std::env::split_paths(&path)).collect();
    let candidates = names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    let found = candidates.into_iter().find(|path| path.is_file());
    found.context("there is no Chromium: install it (Debian: apt-get install chromium), or set CHROMIUM to the program")
}

/// Runs a part of a check, and says how long it took.
fn step(what: &str, command: &mut Command) -> Result<()> {
    eprintln!("\n> {what}");
    let begin = Instant::now();
    let name = command.get_program().to_string_lossy().into_owned();
    let status = command.stdin(Stdio::null()).status().with_context(|| format!("cannot run {name}"))?;
    ensure!(status.success(), "{what}: failed ({status})");
    eprintln!("> {what}: {:.0} s", begin.elapsed().as_secs_f64());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_check_has_a_name() {
        for (name, subject) in SUBJECTS {
            assert_eq!(Subject::named(name), Some(subject));
            assert_eq!(subject.name(), name);
        }
        assert_eq!(
            Subject::names(),
            "pages, pipeline, transformers, fhir, trackers, load, hostile, stores, python, spacy, cluster, wheel, client, notebooks, or gpu"
        );
    }

    #[test]
    fn a_model_is_a_folder_or_a_run() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let store = folder.path().join("runs");
        fs::create_dir_all(store.join("bc5cdr/one"))?;
        fs::write(store.join("bc5cdr/one/run.json"), "{}")?;
        assert_eq!(named_folder(Path::new("one"), &store)?, store.join("bc5cdr/one"));
        assert_eq!(named_folder(folder.path(), &store)?, folder.path());
        assert!(named_folder(Path::new("two"), &store).is_err());
        Ok(())
    }
}
