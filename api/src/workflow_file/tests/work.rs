//! Claims about what a task of each type may say, if a worker runs it.

use domain::workflow_definition::{HttpRequest, SqlStatement, TaskKind};
use serde_json::json;

use super::{kind, read, said, with_type, write};

#[test]
fn a_key_of_another_type_says_to_which_it_belongs() {
    assert_eq!(
        said("run: x\nurl: http://x\nwhen: {task: a, is: SUCCESS}"),
        [
            "url: \"url\" belongs to a task of the type HTTP, and this one is SHELL",
            "when: \"when\" belongs to a task of the type CONDITIONS, DEPENDENT or BLOCKING, and this one is SHELL",
        ]
    );
    assert_eq!(
        said("type: NOOP\nrun: x"),
        ["run: \"run\" belongs to a task of the type SHELL or PYTHON, and this one is NOOP"]
    );
    // A type that nobody knows has keys that nobody knows.
    assert_eq!(
        said("type: SWICH\ncase: []"),
        ["type: unknown task type \"SWICH\"; did you mean \"SWITCH\"?"]
    );
}

#[test]
fn python_is_read() {
    let short = kind("type: PYTHON\nrun: print(1)");
    let (run, interpreter) = ("print(1)".to_owned(), None);
    let warm = false;
    let expected = TaskKind::Python {
        run,
        interpreter,
        warm,
    };
    assert_eq!(short, expected);
    let long = kind("type: PYTHON\nrun: print(1)\ninterpreter: python3.12\nwarm: true");
    let expected = TaskKind::Python {
        run: "print(1)".to_owned(),
        interpreter: Some("python3.12".to_owned()),
        warm: true,
    };
    assert_eq!(long, expected);
    assert_eq!(
        said("type: PYTHON"),
        ["run: a PYTHON task needs a script; add `run: ...`"]
    );
}

#[test]
fn http_is_read() {
    let short = HttpRequest {
        url: "https://example.org".to_owned(),
        method: "GET".to_owned(),
        headers: [].into(),
        body: None,
        expect_status: vec![],
        expect_body: None,
    };
    assert_eq!(
        kind("type: HTTP\nurl: https://example.org"),
        TaskKind::Http(short.clone())
    );
    let long = HttpRequest {
        method: "POST".to_owned(),
        headers: [("X-Run".to_owned(), "7".to_owned())].into(),
        body: Some("{\"day\": \"${day}\"}".to_owned()),
        expect_status: vec![200, 409],
        expect_body: Some("ok".to_owned()),
        ..short
    };
    let lines = "type: HTTP\nurl: https://example.org\nmethod: POST\nheaders: {X-Run: 7}\n\
                 body: '{\"day\": \"${day}\"}'\nexpect_status: [200, 409]\nexpect_body: ok";
    assert_eq!(kind(lines), TaskKind::Http(long.clone()));
    let one = kind(&lines.replace("[200, 409]", "204"));
    let expect_status = vec![204];
    assert_eq!(
        one,
        TaskKind::Http(HttpRequest {
            expect_status,
            ..long
        })
    );
    assert_eq!(
        said("type: HTTP\nmethod: post\nheaders: [a]\nexpect_status: [200, 20]"),
        [
            "url: an HTTP task needs an address; add `url: ...`",
            "method: capitals matter in methods; write POST",
            "headers: expected a mapping of names to values, found a list",
            "expect_status[1]: expected an integer from 100 to 599, found an integer (20)",
        ]
    );
}

#[test]
fn sql_and_plugins_are_read() {
    let (connection, statement) = ("dwh".to_owned(), "select ${day}".to_owned());
    assert_eq!(
        kind("type: SQL\nconnection: dwh\nstatement: select ${day}"),
        TaskKind::Sql(SqlStatement {
            connection,
            statement
        })
    );
    let lines = "type: PLUGIN\nplugin: copy\n\
                 config: {from: [a, 1, 1.5, true, null, '1', 18446744073709551615, -9], to: {b: '${c}'}}";
    let from = json!(["a", 1, 1.5, true, null, "1", u64::MAX, -9]);
    let expected = TaskKind::Plugin {
        plugin: "copy".to_owned(),
        config: json!({"from": from, "to": {"b": "${c}"}}),
    };
    assert_eq!(kind(lines), expected);
    assert_eq!(
        said(
            "type: PLUGIN\nplugin: copy\nconfig: {id: 123456789012345678901234567890, far: .inf, a: 1, a: 2}"
        ),
        [
            "config.id: JSON cannot keep the number 123456789012345678901234567890 as it is; write it in quotes",
            "config.far: JSON cannot keep the number .inf as it is; write it in quotes",
            "config.a: the key \"a\" is given twice",
        ]
    );
    assert_eq!(
        said("type: PLUGIN\nplugin: ../bin/sh"),
        ["plugin: is no plain file name; leave out slashes and the dot in front"]
    );
}

#[test]
fn what_is_written_is_short() {
    let lines = "type: CONDITIONS\nwhen: {all: [{task: a, is: SUCCESS}]}\nsuccess: c\ntimeout: {after: 90s, strategy: WARN}";
    let workflow = read(with_type(lines).as_bytes()).unwrap();
    let written: serde_json::Value = serde_json::from_str(write(workflow.spec()).get()).unwrap();
    let expected = json!({
        "name": "b", "type": "CONDITIONS", "depends_on": ["a"], "timeout": {"after": "90s"},
        "when": {"all": [{"task": "a", "is": "SUCCESS"}]}, "success": ["c"],
    });
    assert_eq!(written["tasks"][2], expected);
    assert_eq!(written["tasks"][0], json!({"name": "a", "run": "x"}));
}
