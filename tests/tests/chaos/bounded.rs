//! The long story, told shortly: every fault once. `cargo run -p tests --bin chaos -- --minutes 10` tells it at length.

use tests::chaos::{Audit, Execution, Hands, Shape, Side, Story};
use tests::dice::number;
use tests::fleet::{Fault, Plan};

use super::case::{Case, short};

#[test]
fn under_every_fault_once_nothing_is_lost_nothing_runs_twice_and_every_run_ends() {
    let seed = number("TIDEMILL_SEED").unwrap_or(1);
    println!("TIDEMILL_SEED={seed}");
    let story = Story {
        plan: Plan {
            loud: true,
            ..short()
        },
        rate: 15.0,
        seed,
        hands: Hands::Each(Fault::ALL.to_vec()),
        limit: None,
    };
    let outcome = story.run();
    println!("{outcome}");
    assert!(
        outcome.findings.wrong.is_empty(),
        "{:#?}",
        outcome.findings.wrong
    );
    assert_eq!(outcome.faults.len(), Fault::ALL.len());
}

#[test]
fn the_auditor_finds_what_does_not_fit_together() {
    let case = &mut Case::new(Plan {
        engines: 1,
        workers: 1,
        ..short()
    });
    case.start(Shape::chain("chain", 2, 0.0), 3);
    case.ends_with_nothing_run_twice();
    let [first, second, third] = &case.started[..] else {
        panic!("three were started")
    };
    let run = first.id;
    let wrong = |started: &[_], tamper: &dyn Fn(&mut Side)| {
        let mut side = case.side();
        tamper(&mut side);
        let fleet = &case.fleet;
        let audit = Audit {
            fleet,
            started,
            side,
        };
        audit.run().wrong
    };
    let all = &case.started;
    assert_eq!(wrong(all, &|_| ()), [""; 0]);
    let key = |attempt| (run, "t0".to_owned(), attempt);
    let twice = wrong(all, &|side| {
        side.executions.entry(key(1)).or_default().begun += 1;
    });
    assert!(twice[0].contains("t0 #1 began 2 times"), "{twice:?}");
    let never = wrong(all, &|side| {
        side.executions.remove(&key(1));
    });
    assert!(never[0].contains("t0 #1 is said to have run"), "{never:?}");
    let unknown = wrong(all, &|side| {
        side.executions.insert(key(2), Execution::default());
    });
    assert!(
        unknown[0].contains("t0 #2 ran, and the log does not know it"),
        "{unknown:?}"
    );
    let mut missing = first.clone();
    missing.id = 999_000;
    let promised = wrong(&[missing, second.clone(), third.clone()], &|_| ());
    assert!(
        promised
            .iter()
            .any(|wrong| wrong.contains("999000 was promised and is not there"))
    );
    assert!(
        promised
            .iter()
            .any(|wrong| wrong.contains("nobody was told of it"))
    );
    case.fleet.leave();
}
