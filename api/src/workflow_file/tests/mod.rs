//! Claims about the workflow file.

use std::time::Duration;

use domain::TaskCode;
use domain::workflow_definition::{
    Direction, Param, Policy, Priority, RetryPolicy, TaskKind, TaskSpec,
};

use super::*;

mod logic;
mod policies;
mod work;

/// Every key that this version carries out.
pub(super) const WHOLE: &str = r#"
name: nightly-etl
project: sales
params: {day: "$[yyyyMMdd-1]", limit: 10, dry: false, ratio: 1.50}
execution: PARALLEL
tasks:
  - name: extract
    type: SHELL
    run: |
      echo "rows for ${day}"
      echo '${setValue(rows=42)}'
    params: {rows: {direct: OUT, type: INTEGER}, day: {direct: IN, type: VARCHAR, value: ""}, short: form}
    retry: {times: 2, interval: 30s}
    priority: HIGH
    worker_group: big
    code: 1001
  - name: join
    type: NOOP
    depends_on: [extract, load]
  - name: load
    run: ./load.sh
    depends_on: [extract]
"#;

fn flaws(file: &str) -> Vec<FileFlaw> {
    read(file.as_bytes()).expect_err("the file was accepted")
}

fn shown(file: &str) -> Vec<String> {
    flaws(file).iter().map(ToString::to_string).collect()
}

/// A file with one SHELL task that has these further lines.
fn with_task(lines: &str) -> String {
    format!("name: w\ntasks:\n  - name: a\n    run: x\n    {lines}\n")
}

/// The second task of `a -> b`, which has these further lines; `c` is there to be led to.
fn with_type(lines: &str) -> String {
    let lines = lines.trim().replace('\n', "\n    ");
    format!(
        "name: w\ntasks:\n  - {{name: a, run: x}}\n  - {{name: c, run: x}}\n  - name: b\n    depends_on: [a]\n    {lines}\n"
    )
}

fn kind(lines: &str) -> TaskKind {
    let file = with_type(lines);
    let workflow = read(file.as_bytes()).unwrap_or_else(|flaws| panic!("{file}: {flaws:?}"));
    workflow.spec().tasks[2].kind.clone()
}

/// What is said of the second task, without the lines and columns.
fn said(lines: &str) -> Vec<String> {
    let found = read(with_type(lines).as_bytes()).expect_err("the file was accepted");
    let strip = |path: &str| path.trim_start_matches("tasks[2].").to_owned();
    found
        .into_iter()
        .map(|flaw| format!("{}: {}", strip(&flaw.path), flaw.problem))
        .collect()
}

fn only(file: &str) -> String {
    let shown = shown(file);
    assert_eq!(shown.len(), 1, "{shown:#?}");
    shown.into_iter().next().unwrap()
}

#[test]
fn every_key_is_read() {
    let workflow = read(WHOLE.as_bytes()).unwrap();
    let spec = workflow.spec();
    assert_eq!((&*spec.name, &*spec.project), ("nightly-etl", "sales"));
    let params = ["$[yyyyMMdd-1]", "10", "false", "1.50"];
    let names = ["day", "limit", "dry", "ratio"];
    let expected: Vec<Param> = names
        .iter()
        .zip(params)
        .map(|(n, v)| Param::text(*n, v))
        .collect();
    assert_eq!(spec.params, expected);
    let rows = Param {
        direct: Direction::Out,
        type_name: "INTEGER".to_owned(),
        ..Param::text("rows", "")
    };
    let extract = TaskSpec {
        name: "extract".to_owned(),
        code: TaskCode(1001),
        kind: TaskKind::Shell {
            run: "echo \"rows for ${day}\"\necho '${setValue(rows=42)}'\n".to_owned(),
        },
        depends_on: vec![],
        params: vec![rows, Param::text("day", ""), Param::text("short", "form")],
        policy: Policy {
            retry: RetryPolicy {
                times: 2,
                interval: Duration::from_secs(30),
            },
            priority: Priority::High,
            worker_group: "big".to_owned(),
            ..Policy::default()
        },
    };
    assert_eq!(spec.tasks[0], extract);
    assert_eq!(spec.tasks[1].kind, TaskKind::Noop {});
    assert_eq!(spec.tasks[1].depends_on, ["extract", "load"]);
    assert_eq!(spec.tasks[2].code, TaskCode::of_name("load"));
    assert_eq!(spec.tasks[2].policy.worker_group, "default");
}

#[test]
fn json_is_read_as_well_whatever_its_escapes() {
    let text = "line\n\t\"quoted\" \\ / \u{1F600} é";
    let file = serde_json::json!({
        "name": "w",
        "tasks": [{"name": "a", "run": text}, {"name": "b", "type": "NOOP", "depends_on": ["a"]}],
    });
    let ascii = file
        .to_string()
        .replace('\u{1F600}', "\\ud83d\\ude00")
        .replace('é', "\\u00e9");
    for file in [
        file.to_string(),
        serde_json::to_string_pretty(&file).unwrap(),
        ascii.replace("/ ", "\\/ "),
        file.to_string().replace("{\"name\"", "{\t\"name\""),
    ] {
        let workflow = read(file.as_bytes()).unwrap_or_else(|flaws| panic!("{file}: {flaws:?}"));
        let kind = &workflow.spec().tasks[0].kind;
        assert_eq!(
            *kind,
            TaskKind::Shell {
                run: text.to_owned()
            },
            "{file}"
        );
    }
}

#[test]
fn all_flaws_are_listed_in_the_order_of_the_file_with_their_places() {
    let file = "\
nam: w
tasks:
  - name: a
    run: x
    depend_on: [b]
    retry: {times: many, interval: 5}
  - name: b
    type: SHEL
    depends_on: [a, nobody]
  - name: a
    run: '  '
    priority: high
    params:
      n: {direct: INOUT, typ: VARCHAR}
  - just text
";
    let expected = [
        "line 1, column 1 (nam): unknown key \"nam\"; did you mean \"name\"?",
        "line 1, column 1 (name): the workflow has no name; add `name: ...`",
        "line 5, column 5 (tasks[0].depend_on): unknown key \"depend_on\"; did you mean \"depends_on\"?",
        "line 6, column 20 (tasks[0].retry.times): expected an integer from 0 to 4294967295, found text (many)",
        "line 6, column 36 (tasks[0].retry.interval): expected a duration such as 500ms, 30s, 10m or 2h, found an integer (5)",
        "line 8, column 11 (tasks[1].type): unknown task type \"SHEL\"; did you mean \"SHELL\"?",
        "line 9, column 21 (tasks[1].depends_on[1]): task \"b\" depends on \"nobody\", which does not exist",
        "line 10, column 11 (tasks[2].name): task name \"a\" is already used by tasks[0]",
        "line 11, column 10 (tasks[2].run): a SHELL task needs a script",
        "line 12, column 15 (tasks[2].priority): \"high\" is not one of HIGHEST, HIGH, MEDIUM, LOW, LOWEST; did you mean \"HIGH\"?",
        "line 14, column 19 (tasks[2].params.n.direct): \"INOUT\" is not one of IN, OUT",
        "line 14, column 26 (tasks[2].params.n.typ): unknown key \"typ\"; did you mean \"type\"?",
        "line 15, column 5 (tasks[3]): expected a mapping, found text (just text)",
    ];
    assert_eq!(shown(file), expected);
}

#[test]
fn repeated_keys_are_flaws_wherever_they_are() {
    let file = "name: w\nname: v\ntasks:\n  - {name: a, run: x, run: y, params: {p: 1, p: 2}}\n";
    assert_eq!(
        shown(file),
        [
            "line 2, column 1 (name): the key \"name\" is given twice",
            "line 4, column 23 (tasks[0].run): the key \"run\" is given twice",
            "line 4, column 46 (tasks[0].params.p): the key \"p\" is given twice",
        ]
    );
}

#[test]
fn cycles_and_misfit_values_have_their_places() {
    let file = "\
name: w
params: {d: {direct: OUT, type: DATE, value: today}}
tasks:
  - {name: a, type: NOOP, depends_on: [b]}
  - {name: b, type: NOOP, depends_on: [a]}
  - {name: c, type: NOOP, params: {p: {type: TEXT}}}
";
    let shown = shown(file);
    assert_eq!(shown.len(), 3, "{shown:#?}");
    assert!(
        shown[0].starts_with("line 2, column 46 (params.d.value): `today` is no DATE"),
        "{}",
        shown[0]
    );
    assert!(
        shown[1].starts_with("line 4, column 39 (tasks[0].depends_on): "),
        "{}",
        shown[1]
    );
    assert!(
        shown[2].starts_with("line 6, column 46 (tasks[2].params.p.type): \"TEXT\" is not one of"),
        "{}",
        shown[2]
    );
}

#[test]
fn what_is_missing_lies_where_it_should_stand() {
    assert_eq!(
        only("name: w"),
        "line 1, column 1 (tasks): a workflow needs at least one task"
    );
    let long = "x".repeat(300);
    for param in [format!("{long}: 1"), format!("{long}: {{value: 1}}")] {
        let flaw = only(&with_task(&format!("params: {{{param}}}")));
        assert!(
            flaw.starts_with("line 5, column 14 (tasks[0].params.xxx"),
            "{flaw}"
        );
        assert!(flaw.ends_with("x...): is longer than 255 bytes"), "{flaw}");
    }
}

#[test]
fn text_must_be_text_and_says_how() {
    let flaw = only("name: 2024\ntasks: [{name: a, type: NOOP}]");
    assert!(
        flaw.contains("expected text, found an integer; write it in quotes: \"2024\""),
        "{flaw}"
    );
    let flaw = only(&with_task("params: {p: }"));
    assert!(
        flaw.ends_with("has no value; write \"\" for an empty one"),
        "{flaw}"
    );
    let flaw = only(&with_task("code: 0"));
    assert!(
        flaw.contains("an integer from 1 to 9007199254740991"),
        "{flaw}"
    );
}

#[test]
fn what_is_not_a_file_of_one_workflow_is_one_flaw() {
    assert_eq!(only(""), "line 1, column 1: the file is empty");
    assert!(only("a: [").contains("this is not YAML"));
    assert!(only("[]").contains("line 1, column 1: expected a mapping, found a list"));
    assert!(
        only(&format!("{}---\n{}", with_task(""), with_task(""))).contains("a second document")
    );
    assert!(only(&with_task("params: !secret x")).contains("the tag !secret means nothing here"));
    assert!(only(&with_task("<<: {priority: LOW}")).contains("merge keys"));
    let latin1 = read(b"name: w\ntasks: \xe9").unwrap_err();
    assert_eq!(
        latin1[0].to_string(),
        "line 2, column 8: this is not text in UTF-8"
    );
}

#[test]
fn the_address_and_the_file_must_agree() {
    let file = "name: w\nproject: p\ntasks: [{name: a, type: NOOP}]";
    assert!(read_for(file.as_bytes(), "p", "w").is_ok());
    let flaws = read_for(file.as_bytes(), "q", "v").unwrap_err();
    let paths: Vec<_> = flaws.iter().map(|flaw| (&*flaw.path, flaw.line)).collect();
    assert_eq!(paths, [("name", 1), ("project", 2)]);
    // A file that names no project belongs where it was sent.
    let file = "name: w\ntasks: [{name: a, type: NOOP}]";
    let workflow = read_for(file.as_bytes(), "q", "w").unwrap();
    assert_eq!(workflow.spec().project, "q");
    assert_eq!(read(file.as_bytes()).unwrap().spec().project, "default");
}

#[test]
fn an_alias_repeats_and_a_bomb_does_not_explode() {
    let file =
        "name: w\ntasks:\n  - {name: a, run: &script 'echo 1'}\n  - {name: b, run: *script}\n";
    let workflow = read(file.as_bytes()).unwrap();
    assert_eq!(workflow.spec().tasks[0].kind, workflow.spec().tasks[1].kind);

    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..20 {
        let before = format!("*a{},", level - 1).repeat(10);
        bomb = format!("{bomb}a{level}: &a{level} [{before}]\n");
    }
    assert!(only(&bomb).contains("copy more than 8 MiB"));
    let deep = format!("a: {}{}", "[".repeat(100), "]".repeat(100));
    assert!(only(&deep).contains("nests deeper than 32 levels"));
    let deep = "- ".repeat(100_000);
    assert!(only(&deep).contains("nests deeper than 32 levels"));
}

#[test]
fn a_file_beyond_the_limits_is_refused_as_such() {
    let long = " ".repeat(LONGEST + 1);
    assert!(only(&long).contains("longer than 8 MiB"));
    let many = format!("name: w\ntasks: [{}]", "1,".repeat(50_001));
    assert!(only(&many).contains("at most 50000 tasks"));
    let wrong = format!("name: w\ntasks: [{}]", "1,".repeat(5_000));
    let flaws = flaws(&wrong);
    assert_eq!(flaws.len(), 1_001);
    assert_eq!(
        flaws[1_000].problem,
        "and 4000 more flaws, which are not listed"
    );
}

#[test]
fn a_retry_of_no_times_is_no_retry() {
    let none = read(with_task("").as_bytes()).unwrap();
    let zero = read(with_task("retry: {times: 0, interval: 5s}").as_bytes()).unwrap();
    assert_eq!(none, zero);
}
