//! Dependencies run one way, and the domain is deaf. What the map of the house says is held here.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tests::binary::root;

/// Who may use whom: every crate of ours with the crates of ours that it may name. No other arrow.
const ARROWS: [(&str, &[&str]); 11] = [
    ("domain", &[]),
    ("store", &["domain"]),
    ("projections", &["domain", "store"]),
    ("proto", &[]),
    ("engine", &["domain", "store", "projections", "proto"]),
    ("api", &["domain", "store", "projections", "proto"]),
    ("worker", &["proto"]),
    ("bench", &["domain", "store"]),
    (
        "tidemill",
        &[
            "bench",
            "domain",
            "store",
            "projections",
            "proto",
            "engine",
            "api",
            "worker",
        ],
    ),
    ("simulation", &["domain", "store", "engine", "proto"]),
    ("tests", &[]),
];

/// Crates that only these of ours may name, because they live there and nowhere else.
const HOMES: [(&str, &[&str]); 6] = [
    ("cqrs-es", &["store"]),
    ("sqlx", &["store", "projections", "worker", "bench"]),
    ("clap", &["tidemill", "simulation", "tests"]),
    ("anyhow", &["tidemill", "simulation"]),
    ("reqwest", &["tidemill", "worker", "tests"]),
    ("nix", &["worker", "bench"]),
];

/// Runtimes, databases, networks, clocks and dice: the domain may not even reach them through others.
/// (It has jiff for its calendar; jiff's clock and the machine's zones are banned in `domain/clippy.toml`.)
const UNHEARD: [&str; 21] = [
    "tokio",
    "async-std",
    "smol",
    "futures",
    "futures-util",
    "async-trait",
    "sqlx",
    "rusqlite",
    "postgres",
    "hyper",
    "reqwest",
    "tonic",
    "axum",
    "mio",
    "chrono",
    "time",
    "rand",
    "rand_core",
    "getrandom",
    "fastrand",
    "uuid",
];

fn metadata() -> Value {
    // Of this machine's platform only: what other platforms need has never been downloaded.
    let rustc = Command::new("rustc")
        .arg("-vV")
        .output()
        .expect("rustc can be started");
    let version = String::from_utf8_lossy(&rustc.stdout).into_owned();
    let host = version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .expect("rustc names its host");
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--filter-platform",
            host,
        ])
        .current_dir(root())
        .output()
        .expect("cargo can be started");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).expect("cargo metadata writes JSON")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

/// Our crates with what each of them names for its own use; not for its tests or its build.
fn named(metadata: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let members: BTreeSet<_> = list(&metadata["workspace_members"])
        .iter()
        .filter_map(Value::as_str)
        .collect();
    list(&metadata["packages"])
        .iter()
        .filter(|package| members.contains(text(package, "id")))
        .map(|package| {
            let uses = list(&package["dependencies"])
                .iter()
                .filter(|dependency| dependency["kind"].is_null());
            let uses = uses
                .map(|dependency| text(dependency, "name").to_owned())
                .collect();
            (text(package, "name").to_owned(), uses)
        })
        .collect()
}

#[test]
fn dependencies_run_one_way() {
    let named = named(&metadata());
    let ours: BTreeSet<_> = named.keys().map(String::as_str).collect();
    let drawn: BTreeSet<_> = ARROWS.iter().map(|(name, _)| *name).collect();
    assert_eq!(
        ours, drawn,
        "a crate was added or removed: draw its arrows here"
    );
    for (name, allowed) in ARROWS {
        let uses = named[name]
            .iter()
            .filter(|used| ours.contains(used.as_str()));
        let wrong: Vec<_> = uses
            .filter(|used| !allowed.contains(&used.as_str()))
            .collect();
        assert!(wrong.is_empty(), "{name} may not depend on {wrong:?}");
    }
}

#[test]
fn what_has_a_home_is_met_nowhere_else() {
    let named = named(&metadata());
    for (guest, homes) in HOMES {
        let hosts: Vec<_> = named
            .iter()
            .filter(|(_, uses)| uses.contains(guest))
            .map(|(name, _)| name)
            .collect();
        let wrong: Vec<_> = hosts
            .iter()
            .filter(|host| !homes.contains(&host.as_str()))
            .collect();
        assert!(
            wrong.is_empty(),
            "{guest} lives in {homes:?}, not in {wrong:?}"
        );
    }
}

#[test]
fn the_domain_reaches_no_runtime_database_clock_or_dice() {
    let metadata = metadata();
    let names: BTreeMap<_, _> = list(&metadata["packages"])
        .iter()
        .map(|package| (text(package, "id"), text(package, "name")))
        .collect();
    let nodes: BTreeMap<_, _> = list(&metadata["resolve"]["nodes"])
        .iter()
        .map(|node| (text(node, "id"), node))
        .collect();
    let members = list(&metadata["workspace_members"])
        .iter()
        .filter_map(Value::as_str);
    let domain = members
        .into_iter()
        .find(|id| names[id] == "domain")
        .expect("the domain is a member");
    let mut reached = BTreeSet::new();
    let mut open = vec![domain];
    while let Some(id) = open.pop() {
        if !reached.insert(names[id]) {
            continue;
        }
        let used = list(&nodes[id]["deps"]).iter().filter(|used| {
            list(&used["dep_kinds"])
                .iter()
                .any(|kind| kind["kind"].is_null())
        });
        open.extend(used.map(|used| text(used, "pkg")));
    }
    assert!(reached.contains("serde"), "the graph was read: {reached:?}");
    let wrong: Vec<_> = UNHEARD
        .iter()
        .filter(|name| reached.contains(*name))
        .collect();
    assert!(wrong.is_empty(), "the domain reaches {wrong:?}");
}

#[test]
fn the_domain_neither_asks_the_time_nor_waits() {
    let mut files = Vec::new();
    sources(&root().join("domain/src"), &mut files);
    assert!(files.len() > 10, "the domain's files were found");
    for file in files {
        let source = fs::read_to_string(&file).expect("a source file can be read");
        for (number, line) in source.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            for word in [
                "now()",
                "async fn",
                ".await",
                "std::thread",
                "std::net",
                "std::fs",
                "std::env",
                "std::process",
            ] {
                let place = format!("{}:{}", file.display(), number + 1);
                assert!(
                    !code.contains(word),
                    "{place}: {word} has no place in the domain"
                );
            }
        }
    }
}

fn sources(folder: &Path, files: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(folder)
        .expect("a folder can be read")
        .flatten()
    {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !is_test(&path) {
            files.push(path);
        }
    }
}

/// Tests may name their instants as they like; the compiler's lints hold them to the same rules.
fn is_test(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == "tests.rs")
        || path.components().any(|part| part.as_os_str() == "tests")
}
