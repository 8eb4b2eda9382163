//! PYTHON: the body is a script for a Python interpreter, of its own or a warm one (`warm/`).

use serde::Deserialize;

use super::process::{self, Program};
use super::warm::{Kind, Pool};
use super::{BoxFuture, End, Job, TaskType};
use crate::settings::Settings;

/// What a shell exits with when it does not find a program.
const NOT_FOUND: i32 = 127;

#[derive(Debug)]
pub(crate) struct Python {
    interpreter: String,
    warm: Pool,
}

#[derive(Debug, Deserialize)]
struct Options {
    interpreter: Option<String>,
    #[serde(default)]
    warm: bool,
}

impl Python {
    pub(crate) fn new(settings: &Settings, slots: u32) -> Self {
        Python {
            interpreter: settings.python.clone().unwrap_or_else(|| "python3".into()),
            warm: Pool::new(slots),
        }
    }

    async fn attempt(&self, job: &mut Job) -> Result<End, End> {
        let options: Options = job.options()?;
        let named = options.interpreter.filter(|name| !name.is_empty());
        let interpreter = named.unwrap_or_else(|| self.interpreter.clone());
        if options.warm {
            let environment = job.order.dispatch.environment.clone();
            let kind = Kind {
                interpreter,
                environment,
            };
            return self.warm.run(job, kind).await;
        }
        let order = &job.order;
        let script = order.world.dir.work(order.key).join("script.py");
        let script = process::quoted_path(&script).map_err(End::failure)?;
        // Unbuffered, so that the log can be followed.
        let text = format!("exec {} -u {script}", process::quoted(&interpreter));
        let mut program = Program::script(order, &text);
        let body = order.dispatch.body.clone();
        program.files.push(("script.py".to_owned(), body));
        let mut end = process::run(job, program).await?;
        let not_found = end.exit_code == Some(NOT_FOUND);
        process::explain(&mut end, || not_found.then(|| missing(&interpreter)));
        Ok(end)
    }
}

pub(super) fn missing(interpreter: &str) -> String {
    format!("exit code {NOT_FOUND}: is the interpreter {interpreter:?} installed on this worker?")
}

impl TaskType for Python {
    fn run<'a>(&'a self, job: &'a mut Job) -> BoxFuture<'a, Result<End, End>> {
        Box::pin(self.attempt(job))
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.warm.close())
    }
}
