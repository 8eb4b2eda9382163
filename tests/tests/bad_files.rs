//! Files that make no sense: refused with every flaw and its place, and nothing is stored, not even a
//! directory.

use tests::binary::World;

/// Runs a file that must be refused, and gives what was said about it.
fn refused(text: &str) -> String {
    let world = World::new();
    let file = world.file("flow.yaml", text);
    let file = file.to_str().expect("paths are text");
    for verb in ["run", "apply"] {
        let ran = world.tidemill([verb, file]).exits(2);
        assert_eq!(ran.out, "");
        assert!(
            !world.path().join(".tidemill").exists(),
            "{verb} left something behind"
        );
    }
    world.tidemill(["run", file, "--json"]).exits(2).err
}

#[test]
fn a_cycle_is_refused_and_named() {
    let said = refused(
        "name: x\ntasks:\n  - {name: a, run: 'true', depends_on: [b]}\n  - {name: b, run: 'true', depends_on: [a]}\n",
    );
    assert!(
        said.contains("cycle") && said.contains("\"a\"") && said.contains("\"b\""),
        "{said}"
    );
    assert!(said.contains("line 3"), "{said}");
}

#[test]
fn an_unknown_key_is_refused_and_a_better_one_offered() {
    let said = refused("name: x\ntasks:\n  - name: a\n    run: 'true'\n    depend_on: []\n");
    assert!(
        said.contains("depend_on") && said.contains("depends_on"),
        "{said}"
    );
    assert!(said.contains("line 5"), "{said}");
}

#[test]
fn two_tasks_of_one_name_and_a_dangling_dependency_are_both_listed() {
    let said = refused(
        "name: x\ntasks:\n  - {name: a, run: 'true'}\n  - {name: a, run: 'true'}\n  - {name: b, run: 'true', depends_on: [zebra]}\n",
    );
    let lines: Vec<_> = said
        .lines()
        .filter(|line| line.starts_with("error: "))
        .collect();
    assert_eq!(lines.len(), 2, "{said}");
    assert!(
        lines[0].contains("line 4") && lines[0].contains("already used"),
        "{said}"
    );
    assert!(
        lines[1].contains("line 5") && lines[1].contains("zebra"),
        "{said}"
    );
}

#[test]
fn what_is_not_yaml_is_refused() {
    assert!(refused("name: [x\n").contains("line "));
    assert!(refused("").contains("error: "));
    assert!(refused("\u{0}\u{1}\u{2}").contains("error: "));
}

#[test]
fn when_one_of_several_files_has_a_flaw_none_is_stored() {
    let world = World::new();
    world.file(
        "good.yaml",
        "name: good\ntasks:\n  - {name: a, run: 'true'}\n",
    );
    world.file("bad.yaml", "name: bad\ntasks: []\n");
    let data = ["--data", "store"];
    world
        .tidemill(["apply", "good.yaml", data[0], data[1]])
        .exits(0);
    world.file(
        "good.yaml",
        "name: good\ntasks:\n  - {name: b, run: 'true'}\n",
    );
    let said = world
        .tidemill(["apply", "good.yaml", "bad.yaml", data[0], data[1]])
        .exits(2)
        .err;
    assert!(said.contains("bad.yaml: "), "{said}");
    // Version 2 would be the one that must not have been stored.
    let again = world
        .tidemill(["apply", "good.yaml", "--json", data[0], data[1]])
        .exits(0)
        .json();
    assert_eq!(again["items"][0]["version"], 2);
    assert_eq!(again["items"][0]["changed"], true);
}
