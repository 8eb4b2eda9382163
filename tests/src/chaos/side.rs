//! What really ran: the lines that tasks have left, whatever anybody says about them.

use std::collections::BTreeMap;
use std::path::Path;

/// One body that began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Execution {
    /// The guard that it was given for its writes.
    pub token: u64,
    /// The worker on which it ran.
    pub worker: String,
    /// How often it began. More than once is one too many.
    pub begun: usize,
    /// How often it came to its end.
    pub ended: usize,
}

/// All of them: by run, task and attempt.
#[derive(Clone, Debug, Default)]
pub struct Side {
    /// What ran.
    pub executions: BTreeMap<(u64, String, u32), Execution>,
    /// Lines that no task can have meant.
    pub torn: Vec<String>,
}

impl Side {
    /// Reads the file. There is none when nothing has run.
    pub fn read(path: &Path) -> Self {
        Self::parse(&std::fs::read_to_string(path).unwrap_or_default())
    }

    fn parse(text: &str) -> Self {
        let mut side = Self::default();
        for line in text.lines() {
            if side.take(line).is_none() {
                side.torn.push(line.to_owned());
            }
        }
        side
    }

    fn take(&mut self, line: &str) -> Option<()> {
        let words: Vec<&str> = line.split(' ').collect();
        let [word, run, task, attempt, token, worker] = words[..] else {
            return None;
        };
        let key = (run.parse().ok()?, task.to_owned(), attempt.parse().ok()?);
        let token = token.parse().ok()?;
        let execution = self.executions.entry(key).or_default();
        match word {
            "begin" => execution.begun += 1,
            "end" => execution.ended += 1,
            _ => return None,
        }
        execution.token = token;
        worker.clone_into(&mut execution.worker);
        Some(())
    }

    /// What ran of a task, by attempt.
    pub fn of<'a>(
        &'a self,
        run: u64,
        task: &'a str,
    ) -> impl Iterator<Item = (u32, &'a Execution)> + 'a {
        let all = (run, task.to_owned(), 0)..=(run, task.to_owned(), u32::MAX);
        let executions = self.executions.range(all);
        executions.map(|((_, _, attempt), execution)| (*attempt, execution))
    }

    /// How many bodies have begun.
    pub fn begun(&self) -> usize {
        self.executions.values().map(|one| one.begun).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_told_apart_by_attempt_and_torn_ones_are_kept() {
        let text =
            "begin 7 a 1 1 w1\nend 7 a 1 1 w1\nbegin 7 a 2 2 w2\nbegin 7\nbegin 7 a 2 2 w2\n";
        let side = Side::parse(text);
        let of: Vec<_> = side.of(7, "a").collect();
        assert_eq!(of.len(), 2);
        assert_eq!((of[0].1.begun, of[0].1.ended), (1, 1));
        assert_eq!((of[1].1.begun, of[1].1.worker.as_str()), (2, "w2"));
        assert_eq!(side.torn, ["begin 7"]);
        assert_eq!(side.begun(), 3);
    }
}
