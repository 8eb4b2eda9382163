//! A thousand tasks on SQLite: undisturbed, and with the whole process killed again and again.

use std::collections::BTreeMap;

use tests::binary::World;
use tests::dice::Dice;

use super::{Layers, Seen, each_succeeded_once, history, kills, only_run, shown, task};

const HERE: [&str; 2] = ["--data", "data"];

#[test]
fn a_thousand_tasks_run_once_each_and_the_log_tells_every_step() {
    let world = World::new();
    let layers = Layers::new(&world, 20, 50, "");
    let words = ["run", layers.path(), "--json", HERE[0], HERE[1]];
    let document = world.tidemill(words).exits(0).json();
    assert_eq!(document["state"], "SUCCESS");
    let tasks = document["tasks"].as_array().expect("tasks");
    assert_eq!(tasks.len(), layers.tasks);
    let well = |task: &&serde_json::Value| task["state"] == "SUCCESS" && task["attempt"] == 1;
    assert_eq!(tasks.iter().filter(well).count(), layers.tasks);
    let done = layers.done();
    assert_eq!(done.len(), layers.tasks);
    assert!(done.values().all(|times| *times == 1), "{done:?}");
    world.tidemill(["verify", HERE[0], HERE[1]]).exits(0);

    let events = history(&world, &document["id"].to_string(), HERE);
    each_succeeded_once(&events, layers.tasks);
    let mut told: BTreeMap<u64, Vec<&str>> = BTreeMap::new();
    for event in &events {
        if let Some(code) = task(event) {
            let kind = event["event_type"].as_str().expect("a name");
            told.entry(code).or_default().push(kind);
        }
    }
    assert_eq!(told.len(), layers.tasks);
    for (code, kinds) in told {
        let steps = [
            "submitted",
            "dispatch_requested",
            "dispatched",
            "started",
            "finished",
        ];
        assert_eq!(kinds, steps, "t{code}");
    }
}

#[test]
fn killed_at_random_moments_the_run_succeeds_and_nothing_acknowledged_is_lost_or_done_again() {
    let world = World::new();
    let layers = Layers::new(&world, 20, 50, "");
    let kills = kills(12);
    let mut dice = Dice::new("kills");
    let run = ["run", layers.path(), HERE[0], HERE[1]];
    let mut seen = Vec::new();
    for _ in 0..kills {
        let mut running = world.start(run);
        // Anywhere: while it starts, and after any amount of work.
        let more = dice.below(2 * layers.tasks / (kills + 1));
        let before: usize = layers.done().values().sum();
        layers.wait_for(before + more, || running.has_ended());
        dice.sleep_up_to(if more == 0 { 400 } else { 20 });
        if running.has_ended() {
            // More luck than intended: the dice let it come to its end.
            running.end().exits(0);
            break;
        }
        running.signal("KILL");
        let killed = running.end();
        // It may have died before it had made anything.
        let here = world.path().join("data/tidemill.db").exists();
        let Some(id) = here.then(|| only_run(&world, HERE)).flatten() else {
            continue;
        };
        let now = Seen::now(&world, &layers, &id, HERE);
        for code in shown(&killed.out) {
            assert!(
                now.succeeded.contains_key(&code),
                "t{code} was shown as succeeded, and the log does not know"
            );
        }
        let over = now.successes() == layers.tasks;
        seen.push(now);
        if over {
            // It came to its end while it was looked at.
            break;
        }
    }
    assert!(
        seen.iter().any(|seen| seen.successes() > 0),
        "no kill hit the work"
    );
    let id = only_run(&world, HERE).expect("a run");
    // Not the same command once more: should the run come to its end before that, it would begin another one.
    let words = [&["watch", &id, "--json"], &HERE[..]].concat();
    let document = world.tidemill(words).exits(0).json();
    assert_eq!(document["state"], "SUCCESS");
    assert_eq!(only_run(&world, HERE), Some(id.clone()));
    let events = history(&world, &id, HERE);
    each_succeeded_once(&events, layers.tasks);
    for seen in &seen {
        seen.still_holds(&events, &layers);
    }
    assert_eq!(layers.done().len(), layers.tasks);
    world.tidemill(["verify", HERE[0], HERE[1]]).exits(0);
    let reached: Vec<_> = seen.iter().map(Seen::successes).collect();
    println!(
        "killed {} times, after successes: {reached:?}",
        reached.len()
    );
}
