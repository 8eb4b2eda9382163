//! Plausible mistakes in the code under test, each of which must turn the simulation red. They are listed in
//! `mutations.toml`; each is built in a copy of the workspace, and its simulation is played.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde::Deserialize;

/// One mistake.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mutation {
    /// Its name.
    pub name: String,
    /// What is wrong with it, as a sentence.
    pub mistake: String,
    /// The file, from the root of the workspace.
    pub file: PathBuf,
    /// A text that occurs there once.
    pub text: String,
    /// What stands there instead.
    pub instead: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    mutation: Vec<Mutation>,
}

/// What became of a mutation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// A claim did not hold.
    Caught {
        /// How many seeds it took.
        seeds: u64,
        /// What did not hold, and how.
        violation: String,
    },
    /// The mutated code cannot be built.
    Unbuilt(String),
    /// No seed noticed.
    Survived,
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Caught { seeds, violation } => write!(f, "after {seeds:>5} seeds  {violation}"),
            Self::Unbuilt(why) => write!(f, "CANNOT BE BUILT\n{why}"),
            Self::Survived => f.write_str("SURVIVED"),
        }
    }
}

/// Why a mutation could not be tried.
#[derive(Debug, thiserror::Error)]
pub enum Untried {
    /// The list cannot be read.
    #[error("mutations.toml: {0}")]
    List(#[from] toml::de::Error),
    /// A file cannot be read or written.
    #[error("{0}: {1}")]
    File(PathBuf, std::io::Error),
    /// A program cannot be run.
    #[error("{0}")]
    Program(String),
    /// The text is not there once.
    #[error("{file}: the text occurs {times} times, not once: adapt the mutation")]
    Text {
        /// Where it was looked for.
        file: PathBuf,
        /// How often it was found.
        times: usize,
    },
}

/// Every mutation.
pub fn all() -> Result<Vec<Mutation>, Untried> {
    let list: List = toml::from_str(include_str!("../mutations.toml"))?;
    Ok(list.mutation)
}

impl Mutation {
    /// The file as it should be, broken.
    pub fn apply(&self, whole: &str) -> Result<String, Untried> {
        match whole.matches(&self.text).count() {
            1 => Ok(whole.replacen(&self.text, &self.instead, 1)),
            times => Err(Untried::Text {
                file: self.file.clone(),
                times,
            }),
        }
    }
}

/// A copy of the workspace in which code can be broken. It stays, and with it what was built there, so that
/// the next mutation rebuilds only what it changes.
#[derive(Debug)]
pub struct Tree {
    root: PathBuf,
}

impl Tree {
    /// Copies the tracked files of the workspace, and no others. Files that are the same are left alone: what was
    /// built from them stays built.
    pub fn copy(sources: &Path) -> Result<Self, Untried> {
        let target = std::env::var_os("CARGO_TARGET_DIR");
        let target = target.map_or_else(|| sources.join("target"), PathBuf::from);
        let tree = Self {
            root: target.join("mutations"),
        };
        let tracked = run(Command::new("git").arg("ls-files").current_dir(sources))?;
        let names = String::from_utf8_lossy(&tracked.stdout).into_owned();
        // A tracked file that was deleted and not committed is no part of the workspace.
        let names = names.lines().filter(|name| sources.join(name).is_file());
        let names: BTreeSet<&Path> = names.map(Path::new).collect();
        for name in &names {
            let content = read(&sources.join(name))?;
            tree.write(name, &content)?;
        }
        tree.keep_only(&names, Path::new(""))?;
        Ok(tree)
    }

    /// Removes what an earlier copy had and the workspace has no more.
    fn keep_only(&self, names: &BTreeSet<&Path>, folder: &Path) -> Result<(), Untried> {
        let path = self.tree().join(folder);
        let told = |error| Untried::File(path.clone(), error);
        for entry in fs::read_dir(&path).map_err(told)? {
            let entry = entry.map_err(told)?;
            let name = folder.join(entry.file_name());
            if entry.file_type().map_err(told)?.is_dir() {
                self.keep_only(names, &name)?;
            } else if !names.contains(name.as_path()) {
                fs::remove_file(entry.path()).map_err(told)?;
            }
        }
        Ok(())
    }

    /// Builds the simulation with a mistake in it and plays at most so many seeds. The copy is as before
    /// afterwards.
    pub fn run(&self, mutation: &Mutation, budget: u64) -> Result<Fate, Untried> {
        let whole = read(&self.tree().join(&mutation.file))?;
        let text = String::from_utf8_lossy(&whole);
        self.write(&mutation.file, mutation.apply(&text)?.as_bytes())?;
        let fate = self.play(budget);
        self.write(&mutation.file, &whole)?;
        fate
    }

    fn play(&self, budget: u64) -> Result<Fate, Untried> {
        let mut cargo = Command::new("cargo");
        cargo
            .args(["build", "--quiet", "--package", "simulation"])
            .env("CARGO_TARGET_DIR", self.built())
            .current_dir(self.tree());
        let built = run(&mut cargo)?;
        if !built.status.success() {
            let why = String::from_utf8_lossy(&built.stderr).into_owned();
            return Ok(Fate::Unbuilt(why));
        }
        let mut play = Command::new(self.built().join("debug/simulation"));
        play.args(["--seeds", &format!("0..{budget}")]);
        let played = run(&mut play)?;
        if played.status.success() {
            return Ok(Fate::Survived);
        }
        let said = String::from_utf8_lossy(&played.stdout).into_owned();
        let first = said.lines().next().unwrap_or_default();
        let (seed, violation) = first
            .strip_prefix("seed ")
            .and_then(|said| said.split_once(" violates "))
            .ok_or_else(|| Untried::Program(format!("the simulation ended oddly: {said}")))?;
        let violation = violation.chars().take(160).collect();
        Ok(Fate::Caught {
            seeds: seed.parse::<u64>().unwrap_or_default() + 1,
            violation,
        })
    }

    fn tree(&self) -> PathBuf {
        self.root.join("tree")
    }

    fn built(&self) -> PathBuf {
        self.root.join("built")
    }

    fn write(&self, name: &Path, content: &[u8]) -> Result<(), Untried> {
        let path = self.tree().join(name);
        if fs::read(&path).is_ok_and(|old| old == content) {
            return Ok(());
        }
        let told = |error| Untried::File(path.clone(), error);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(told)?;
        }
        fs::write(&path, content).map_err(told)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Untried> {
    fs::read(path).map_err(|error| Untried::File(path.to_owned(), error))
}

fn run(command: &mut Command) -> Result<Output, Untried> {
    command
        .output()
        .map_err(|error| Untried::Program(format!("{command:?}: {error}")))
}
