//! Who gets a task, and what the tasks of one group cost those of another.

use super::*;

/// `DolphinScheduler` issues 17581, 6959, 8225 and 5242: tasks of a group without a worker, or with a full
/// one, hold up the tasks of all others.
#[test]
fn d18_issue_17581_ten_thousand_tasks_of_one_group_cost_the_others_nothing() {
    let mut bench = with_tasks(&[("absent", 10_000), ("full", 500), ("well", 100)]);
    bench.join(1, "f", "full", 1);
    bench.join(2, "w", "well", 4);
    assert_eq!(bench.core.load().1, 10_600 - 5);
    let mut running: Vec<_> = bench.asked_of();
    running.retain(|(session, ..)| *session == 2);
    let before = bench.core.queue.looks;
    let mut done = 0;
    while let Some((session, code, number)) = running.pop() {
        bench.accept(session, of_task(code, number));
        bench.finish(session, of_task(code, number), wire::Outcome::Success);
        running.extend(bench.asked_of());
        done += 1;
    }
    assert_eq!(done, 100);
    let looks = bench.core.queue.looks - before;
    // For each slot that becomes free: one look that finds a task, and one that finds no more room.
    assert!(looks <= 2 * 100, "{looks} looks for 100 tasks");
}

/// `DolphinScheduler` issue 15761: a worker goes down, and a task becomes a new instance every second.
#[test]
fn issue_15761_without_a_worker_nothing_is_asked_and_nothing_becomes_of_a_task() {
    let mut bench = with_tasks(&[("default", 1)]);
    bench.join(1, "w", "default", 1);
    bench.accept(1, attempt(1));
    bench.handle(Input::Closed { session: 1 });
    bench.wait(11);
    let (events, looks) = (bench.told().len(), bench.core.queue.looks);
    bench.wait(3_600);
    assert_eq!(
        (bench.told().len(), bench.core.queue.looks),
        (events, looks)
    );
    assert_eq!(bench.core.timers.len(), 0);
}

#[test]
fn groups_that_share_a_worker_share_its_slots() {
    let mut bench = with_tasks(&[("a", 4), ("b", 4)]);
    let hello = Hello {
        worker_id: "w".to_owned(),
        incarnation: "1".to_owned(),
        host: "w".to_owned(),
        groups: vec!["a".to_owned(), "b".to_owned()],
        slots: 4,
        held: Vec::new(),
    };
    bench.handle(Input::Opened { session: 1, hello });
    let mut codes: Vec<u64> = bench.asked_of().iter().map(|(_, code, _)| *code).collect();
    codes.sort_unstable();
    assert_eq!(codes, [1, 2, 5, 6]);
}
