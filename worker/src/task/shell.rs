//! SHELL: the body is a script for bash (or sh), run in the attempt's work directory. A script that is one simple
//! command is started without a shell, which would do nothing else: half of what such a task costs is the shell.

use super::process::{self, Program};
use super::{BoxFuture, End, Job, Order, TaskType};

/// What bash and dash do themselves, or read as a part of a larger command. A program of the same name in the
/// `PATH` is not what they would run.
const WORDS_OF_SHELLS: &[&str] = &[
    ".",
    ":",
    "[",
    "alias",
    "bg",
    "bind",
    "break",
    "builtin",
    "caller",
    "case",
    "cd",
    "chdir",
    "command",
    "compgen",
    "complete",
    "compopt",
    "continue",
    "coproc",
    "declare",
    "dirs",
    "disown",
    "do",
    "done",
    "echo",
    "elif",
    "else",
    "enable",
    "esac",
    "eval",
    "exec",
    "exit",
    "export",
    "false",
    "fc",
    "fg",
    "fi",
    "for",
    "function",
    "getopts",
    "hash",
    "help",
    "history",
    "if",
    "in",
    "jobs",
    "kill",
    "let",
    "local",
    "logout",
    "mapfile",
    "popd",
    "printf",
    "pushd",
    "pwd",
    "read",
    "readarray",
    "readonly",
    "return",
    "select",
    "set",
    "shift",
    "shopt",
    "source",
    "suspend",
    "test",
    "then",
    "time",
    "times",
    "trap",
    "true",
    "type",
    "typeset",
    "ulimit",
    "umask",
    "unalias",
    "unset",
    "until",
    "wait",
    "while",
];

#[derive(Debug)]
pub(crate) struct Shell;

impl TaskType for Shell {
    fn run<'a>(&'a self, job: &'a mut Job) -> BoxFuture<'a, Result<End, End>> {
        let program = program(&job.order);
        Box::pin(process::run(job, program))
    }
}

fn program(order: &Order) -> Program {
    let body = &order.dispatch.body;
    let alone = order.dispatch.environment.is_empty();
    Program {
        words: alone.then(|| words(body)).flatten(),
        ..Program::script(order, body)
    }
}

/// The words of a script that is one simple command in which nothing means anything to a shell. Whatever is in
/// doubt is none.
fn words(script: &str) -> Option<Vec<String>> {
    let blank = |c: char| matches!(c, ' ' | '\t');
    let line = script.trim_matches(|c| blank(c) || c == '\n');
    let words: Vec<String> = line
        .split(blank)
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect();
    let name = words.first()?;
    let plain = line.bytes().all(|b| is_plain(b) || blank(char::from(b)));
    // `NAME=value` is an assignment and `%1` a job; a word that begins with `-` is an option of no program.
    let named = !name.contains(['=', '%']) && !name.starts_with('-');
    (plain && named && !WORDS_OF_SHELLS.contains(&name.as_str())).then_some(words)
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_-./,:+@%=".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_simple_command_is_its_words() {
        for (script, expected) in [
            ("/bin/true", vec!["/bin/true"]),
            ("  /bin/true\n\n", vec!["/bin/true"]),
            (
                "ls -l\t--color=never  a,b:c@d",
                vec!["ls", "-l", "--color=never", "a,b:c@d"],
            ),
            ("date +%s", vec!["date", "+%s"]),
        ] {
            assert_eq!(words(script).unwrap(), expected, "{script}");
        }
    }

    #[test]
    fn whatever_means_something_to_a_shell_goes_through_one() {
        for script in [
            "",
            "\n",
            "a\nb",
            "a;b",
            "a|b",
            "a&",
            "a<b",
            "a>b",
            "(a)",
            "{ a",
            "a $b",
            "a `b`",
            "a 'b'",
            "a \"b\"",
            "a \\b",
            "a *",
            "a ?",
            "a [b]",
            "a ~",
            "a #b",
            "! a",
            "a {b,c}",
            "a=b c",
            "%1",
            "a\rb",
            "a é",
            "a\0",
            "a ^b",
            "cd /",
            "exit 3",
            "echo hello",
            "time ls",
            "-x",
            "#!/bin/sh",
            "true",
            "exec ls",
            "if a",
        ] {
            assert_eq!(words(script), None, "{script:?}");
        }
    }
}
