//! How a run is shown while it goes: bars on a terminal, plain lines into a pipe, nothing before a JSON
//! document.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::time::Duration;

use domain::task_instance::TaskState;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::event::Event;
use super::picture::{Change, Picture, Task};
use crate::output;

/// More lines than this of running tasks would push the rest off a small terminal.
const LINES: usize = 16;
const TICK: Duration = Duration::from_millis(100);

/// A way to show a run.
pub(crate) enum Progress {
    /// A line per running task, and a bar for all.
    Bars(Box<Bars>),
    /// A line per change.
    Lines,
    /// Nothing.
    Silent,
}

/// What stands on the terminal.
pub(crate) struct Bars {
    screen: MultiProgress,
    total: ProgressBar,
    running: HashMap<usize, ProgressBar>,
}

impl Progress {
    /// As it fits where stdout and stderr go.
    pub(crate) fn fitting(json: bool) -> Self {
        if json {
            Self::Silent
        } else if std::io::stdout().is_terminal() && std::io::stderr().is_terminal() {
            Self::Bars(Box::new(Bars::new()))
        } else {
            Self::Lines
        }
    }

    /// The run is about to be shown.
    pub(crate) fn begin(&mut self, picture: &Picture) {
        match self {
            Self::Bars(bars) => {
                for index in 0..picture.tasks.len() {
                    bars.task(picture, index);
                }
                bars.total(picture);
                bars.total.enable_steady_tick(TICK);
            }
            Self::Lines | Self::Silent => {}
        }
    }

    /// Something happened.
    pub(crate) fn show(&mut self, picture: &Picture, change: Change, event: &Event) {
        match (self, change) {
            (Self::Bars(bars), Change::Task(index)) => bars.task(picture, index),
            (Self::Lines, Change::Task(index)) => output::say(line(event, &picture.tasks[index])),
            (Self::Lines, Change::Run) => {
                let state = picture.state().map_or("", |state| state.name());
                let reason = because(&picture.reason);
                output::say(format_args!(
                    "{}  run {}  {state}{reason}",
                    output::clock(event.at),
                    picture.id
                ));
            }
            (Self::Bars(_), Change::Run | Change::None)
            | (Self::Lines, Change::None)
            | (Self::Silent, _) => {}
        }
    }

    /// All events that had queued have been shown.
    pub(crate) fn refresh(&mut self, picture: &Picture) {
        match self {
            Self::Bars(bars) => bars.total(picture),
            Self::Lines | Self::Silent => {}
        }
    }

    /// A word in between.
    pub(crate) fn note(&self, text: &str) {
        match self {
            Self::Bars(bars) => {
                // A screen that cannot be written to shows nothing anyway.
                let _ = bars.screen.println(text);
            }
            Self::Lines | Self::Silent => output::complain(text),
        }
    }

    /// Nothing more will be shown.
    pub(crate) fn end(&mut self) {
        match self {
            Self::Bars(bars) => {
                bars.running.clear();
                bars.total.disable_steady_tick();
                let _ = bars.screen.clear();
            }
            Self::Lines | Self::Silent => {}
        }
    }
}

impl Bars {
    fn new() -> Self {
        let screen = MultiProgress::new();
        let style = ProgressStyle::with_template("{elapsed_precise} [{bar:40}] {pos}/{len} {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("=> ");
        let total = screen.add(ProgressBar::new(0).with_style(style));
        Self {
            screen,
            total,
            running: HashMap::new(),
        }
    }

    fn total(&mut self, picture: &Picture) {
        self.total.set_length(picture.tasks.len() as u64);
        self.total.set_position(picture.done() as u64);
        self.total.set_elapsed(picture.elapsed());
        let active = picture.begun().filter(|task| !task.is_done()).count();
        let state = picture.state().map_or("", |state| state.name());
        self.total
            .set_message(format!("{active} under way, {state}"));
    }

    fn task(&mut self, picture: &Picture, index: usize) {
        let task = &picture.tasks[index];
        let runs = task.state() == Some(TaskState::RunningExecution);
        if !runs {
            if let Some(bar) = self.running.remove(&index) {
                bar.finish_and_clear();
                self.screen.remove(&bar);
            }
            let failed = matches!(
                task.state(),
                Some(TaskState::Failure | TaskState::Kill | TaskState::NeedFaultTolerance)
            );
            if failed {
                let _ = self
                    .screen
                    .println(format!("{}{}", words(task), because(&task.reason)));
            }
            return;
        }
        if self.running.len() >= LINES || self.running.contains_key(&index) {
            return;
        }
        let style = ProgressStyle::with_template("  {spinner} {prefix} {elapsed}")
            .unwrap_or_else(|_| ProgressStyle::default_spinner());
        let bar = ProgressBar::new_spinner()
            .with_style(style)
            .with_prefix(words(task))
            .with_elapsed(task.elapsed().unwrap_or_default());
        let bar = self.screen.insert_before(&self.total, bar);
        bar.enable_steady_tick(TICK);
        self.running.insert(index, bar);
    }
}

/// A change of a task as a line of text.
fn line(event: &Event, task: &Task) -> String {
    let (at, words) = (output::clock(event.at), words(task));
    let detail = if task.state() == Some(TaskState::Success) {
        let elapsed = task.elapsed().map(output::span);
        elapsed.map_or_else(String::new, |elapsed| format!("  {elapsed}"))
    } else {
        because(&task.reason)
    };
    let next = task.retry_at().map(output::clock);
    let next = next.map_or_else(String::new, |due| format!("; next attempt at {due}"));
    format!("{at}  {words}{detail}{next}")
}

fn words(task: &Task) -> String {
    let state = task.state().map_or("", |state| state.name());
    format!("{} #{}  {state}", output::flat(&task.name), task.attempt())
}

fn because(reason: &str) -> String {
    if reason.is_empty() {
        String::new()
    } else {
        format!("  ({})", output::flat(reason))
    }
}
