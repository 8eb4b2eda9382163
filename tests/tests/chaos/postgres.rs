//! The same on PostgreSQL, which goes away too; the command that runs the workflow only watches.

use tests::binary::{Running, World};
use tests::dice::Dice;
use tests::port;
use tests::postgres::Cluster;

use super::{Layers, Seen, each_succeeded_once, history, kills, only_run};

/// A service on a database. Its directory is its place: started there again, it is the same one.
pub(crate) fn serve(world: &World, database: &str, place: &str, listen: &str) -> (Running, String) {
    let words = [
        "serve",
        "--database",
        database,
        "--data",
        place,
        "--listen",
        listen,
    ];
    let mut service = world.start(words);
    let address = service.wait_for("listening on ");
    (service, address)
}

#[test]
fn engine_and_database_die_in_turn_and_the_run_succeeds_with_nothing_lost_or_done_again() {
    let cluster = Cluster::start();
    let database = cluster.create_database();
    let world = World::new();
    let layers = Layers::new(&world, 10, 30, "");
    let kills = kills(6);
    let mut dice = Dice::new("postgres");
    let listen = format!("127.0.0.1:{}", port::free());
    let (mut service, at) = serve(&world, &database, "place", &listen);
    let there = ["--server", at.as_str()];
    let mut run = world.start(["run", layers.path(), "--json", there[0], there[1]]);
    layers.wait_for(1, || run.has_ended());
    let id = only_run(&world, there).expect("a run");

    let mut seen = Vec::new();
    for number in 0..kills {
        let before: usize = layers.done().values().sum();
        let more = dice.below(2 * layers.tasks / (kills + 3));
        layers.wait_for(before + more, || run.has_ended());
        seen.push(Seen::now(&world, &layers, &id, there));
        dice.sleep_up_to(50);
        if number == kills / 3 || number == 2 * kills / 3 {
            cluster.stop_immediate();
            dice.sleep_up_to(700);
            cluster.start_again();
            let before: usize = layers.done().values().sum();
            layers.wait_for(before + 1, || run.has_ended());
            seen.push(Seen::now(&world, &layers, &id, there));
        }
        service.signal("KILL");
        service.end();
        service = serve(&world, &database, "place", &listen).0;
    }
    let document = run.end().exits(0).json();
    assert_eq!(
        (document["id"].to_string(), &document["state"]),
        (id.clone(), &"SUCCESS".into())
    );
    let events = history(&world, &id, there);
    each_succeeded_once(&events, layers.tasks);
    for seen in &seen {
        seen.still_holds(&events, &layers);
    }
    assert_eq!(layers.done().len(), layers.tasks);
    assert_eq!(only_run(&world, there), Some(id));
    world.tidemill(["verify", there[0], there[1]]).exits(0);
    let reached: Vec<_> = seen.iter().map(Seen::successes).collect();
    println!("successes seen before something died: {reached:?}");
    service.signal("TERM");
    service.end().exits(0);
}
