//! The database goes away: for moments, again and again, and for longer than any task takes.

use std::thread::sleep;
use std::time::Duration;

use tests::dice::number;
use tests::fleet::{Plan, until};

use super::case::{Case, short};

const RUNS: usize = 200;
const RESTARTS: usize = 20;

fn pair() -> Plan {
    Plan {
        engines: 2,
        workers: 2,
        slots: 12,
        ..short()
    }
}

#[test]
fn two_hundred_workflows_end_although_the_database_crashes_twenty_times() {
    let mut case = Case::new(pair());
    case.start_held(RUNS, 3);
    case.open_the_gate();
    for restart in 0..RESTARTS {
        case.fleet.postgres.stop_immediate();
        case.fleet.postgres.start_again();
        // Somewhat more each time, and something left for the last one.
        let more = restart * 3 * RUNS / (RESTARTS + 2);
        until("the runs go on", || case.side().begun() > more);
    }
    assert!(
        case.side().begun() < 3 * RUNS,
        "they ended before the last crash"
    );
    case.ends_with_nothing_run_twice();
    case.fleet.leave();
}

/// `TIDEMILL_OUTAGE=60` makes it last a minute.
#[test]
fn while_the_database_is_away_workers_finish_their_tasks_and_deliver_the_reports_afterwards() {
    const HELD: usize = 16;
    let case = Case::holding(pair(), HELD);
    case.fleet.postgres.stop_immediate();
    case.open_the_gate();
    until("all bodies have ended", || {
        let side = case.side();
        side.executions.values().map(|one| one.ended).sum::<usize>() == HELD
    });
    // Longer than the leases of engines and workers.
    sleep(Duration::from_secs(number("TIDEMILL_OUTAGE").unwrap_or(15)));
    case.fleet.postgres.start_again();
    case.ends_with_nothing_run_twice();
    case.fleet.leave();
}
