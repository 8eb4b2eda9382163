//! Workers that die, sleep, leave, or are cut off one way. What they ran is replaced once their lease is over, and only
//! then; what they had ended is never run again.

use tests::chaos::{End, Side};
use tests::fleet::{Fault, Plan, Way, Worker, until};

use super::case::{Case, short};

const RUNS: usize = 12;

/// A lease so long that no worker loses its attempts while a test lasts.
fn patient() -> Plan {
    Plan {
        worker_lease: std::time::Duration::from_mins(10),
        ..short()
    }
}

impl Case {
    /// Waits until everything that was held on this worker is held elsewhere. Answers how much that was.
    fn until_replaced(&self, worker: &Worker) -> usize {
        let held = self.begun_on(worker.id());
        until(
            "all of it has been given up and has begun elsewhere",
            || self.lost().len() == held && self.side().begun() == RUNS + held,
        );
        self.until_started(0);
        held
    }

    /// Whatever its worker hears, each body comes to its end.
    fn let_all_end(&self) {
        self.open_the_gate();
        until("all bodies have ended", || ended(&self.side()) == RUNS);
    }

    /// The worker has ended what was given to others, before any of it could do its work, and the others do it.
    fn ends_with_the_work_done_once(&self, worker: &Worker, lost: usize) {
        let attempts = format!("{}/attempts", worker.id());
        until("nothing of it runs any more", || {
            self.fleet.world.living_in(&attempts).is_empty()
        });
        self.open_the_gate();
        self.ends();
        self.only_lost(worker, lost);
        assert_eq!(ended(&self.side()), RUNS, "the work was done once");
    }

    /// What was lost was this worker's, for want of a sign of it, and each attempt was replaced once.
    fn only_lost(&self, worker: &Worker, times: usize) {
        let lost = self.lost();
        assert_eq!(lost.len(), times);
        for attempt in &lost {
            assert_eq!(attempt.worker.as_deref(), Some(worker.id()));
            assert_eq!(attempt.number, 1);
            assert!(
                matches!(&attempt.end, Some(End::Lost { reason, replaced: true, .. }) if reason.contains("was not heard")),
                "{attempt:?}"
            );
        }
    }
}

/// Bodies of the held tasks that came to their ends, by run.
fn ended(side: &Side) -> usize {
    let held = side
        .executions
        .iter()
        .filter(|((_, task, _), _)| task == "t0");
    held.map(|(_, execution)| execution.ended).sum()
}

/// Ends in the journal of a worker.
fn written_down(case: &Case, worker: &Worker) -> usize {
    let journal = case.fleet.world.path().join(worker.id()).join("journal");
    let journal = std::fs::read_to_string(journal).unwrap_or_default();
    journal
        .lines()
        .filter(|line| line.contains("reported") && line.contains("outcome"))
        .count()
}

/// Upstream #13283: the failover of a worker repeats tasks.
#[test]
fn issue_13283_what_a_dead_worker_ran_is_run_elsewhere_once_and_spends_no_retry() {
    let case = Case::holding(short(), RUNS);
    let worker = &case.fleet.workers[case.a_busy_worker()];
    case.fleet
        .diary
        .begin(Fault::WorkerKilled, worker.id(), Vec::new());
    worker.process.kill();
    let held = case.until_replaced(worker);
    case.open_the_gate();
    let findings = case.ends();
    case.only_lost(worker, held);
    assert_eq!(findings.repeated.values().sum::<usize>(), held);
    case.fleet.leave();
}

/// Upstream #8110: an overloaded worker seems to be dead; its tasks are started elsewhere while the old ones live, and
/// the data is doubled.
#[test]
fn issue_8110_a_worker_that_seemed_dead_ends_what_was_given_to_others_before_it_does_its_work() {
    let case = Case::holding(short(), RUNS);
    let worker = &case.fleet.workers[case.a_busy_worker()];
    let page = case
        .fleet
        .diary
        .begin(Fault::WorkerPaused, worker.id(), Vec::new());
    worker.process.signal("STOP");
    let held = case.until_replaced(worker);
    worker.process.signal("CONT");
    case.fleet.diary.end(page);
    case.ends_with_the_work_done_once(worker, held);
    case.fleet.leave();
}

#[test]
fn a_worker_whose_words_do_not_arrive_loses_its_attempts_and_ends_them_when_it_is_told() {
    let case = Case::holding(short(), RUNS);
    let worker = &case.fleet.workers[case.a_busy_worker()];
    let page = case
        .fleet
        .diary
        .begin(Fault::WorkerMute, worker.id(), Vec::new());
    let held = case
        .fleet
        .unheard(worker, Way::ToServer, || case.until_replaced(worker));
    case.fleet.diary.end(page);
    case.ends_with_the_work_done_once(worker, held);
    case.fleet.leave();
}

#[test]
fn what_ends_on_a_worker_that_hears_nothing_is_not_run_again_if_its_lease_lasts() {
    let case = Case::holding(patient(), RUNS);
    let worker = &case.fleet.workers[case.a_busy_worker()];
    case.fleet
        .unheard(worker, Way::ToClient, || case.let_all_end());
    case.ends_with_nothing_run_twice();
    case.fleet.leave();
}

/// Upstream #6791: master and worker both went down, and the result was never acknowledged.
#[test]
fn issue_6791_results_that_no_engine_has_heard_of_survive_the_deaths_of_worker_and_engine() {
    // One task each: nobody is given anything new while the worker cannot answer for it.
    let case = Case::holding_chains(patient(), RUNS, 1);
    let worker = &case.fleet.workers[case.a_busy_worker()];
    let owner = case.fleet.an_owner();
    let held = case.begun_on(worker.id());
    case.fleet.unheard(worker, Way::ToServer, || {
        case.let_all_end();
        until("the worker has written it down", || {
            written_down(&case, worker) == held
        });
        owner.process.kill();
        worker.process.kill();
    });
    worker.start_again(&case.fleet.world);
    owner.start_again(&case.fleet.world);
    case.ends_with_nothing_run_twice();
    case.fleet.leave();
}

/// Upstream #17162: after an upgrade of a worker its tasks run again.
#[test]
fn issue_17162_a_worker_that_is_restarted_reports_what_had_ended_and_runs_none_of_it_again() {
    // One task each: nobody is given anything new while the worker cannot answer for it.
    let case = Case::holding_chains(patient(), RUNS, 1);
    let worker = &case.fleet.workers[case.a_busy_worker()];
    case.fleet.unheard(worker, Way::ToServer, || {
        case.let_all_end();
        worker.process.stop();
    });
    worker.start_again(&case.fleet.world);
    case.ends_with_nothing_run_twice();
    case.fleet.leave();
}
