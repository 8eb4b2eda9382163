//! What runs share: task groups and environments.

use domain::{AttemptId, Fact, InstanceId, TaskCode, TaskId, Timestamp, environment, task_group};
use projections::{SlotStatus, TaskGroupRow};

use crate::world::{World, follow, places};

#[tokio::test(flavor = "multi_thread")]
async fn a_task_group_is_shown_with_who_has_its_slots_and_who_waits() {
    use task_group::Event as Group;
    for place in places() {
        let mut world = World::new().await;
        let shown = follow(&world, &place).await;
        let attempt = |number| AttemptId {
            task: TaskId {
                instance: InstanceId(7_002),
                task: TaskCode(1),
            },
            number,
        };
        let small = |event| Fact::TaskGroup("small".into(), event);
        let asks = |number, priority| {
            let attempt = attempt(number);
            small(Group::Requested {
                attempt,
                claim: 0,
                priority,
            })
        };
        world.tell([asks(1, 0), asks(2, 5), asks(3, 0)]).await;
        world.settle(&shown.reader).await;
        let group = |size, used, waiting| {
            let name = "small".to_owned();
            Ok(Some(TaskGroupRow {
                name,
                size,
                used,
                waiting,
            }))
        };
        assert_eq!(shown.reader.task_group("small").await, group(None, 0, 3));
        let granted = Group::Granted {
            attempt: attempt(3),
            forced: true,
        };
        world
            .tell([small(Group::Defined { size: 0 }), small(granted)])
            .await;
        world.settle(&shown.reader).await;
        assert_eq!(shown.reader.task_group("small").await, group(Some(0), 1, 2));
        let slots = shown.reader.task_group_slots("small").await.unwrap();
        let slots: Vec<_> = slots
            .iter()
            .map(|slot| (slot.attempt.number, slot.status, slot.priority))
            .collect();
        assert_eq!(
            slots,
            [
                (3, SlotStatus::Holds, 0),
                (2, SlotStatus::Waiting, 5),
                (1, SlotStatus::Waiting, 0)
            ]
        );
        // Who lets go and asks again is the last in the row.
        let released = |number| {
            let attempt = attempt(number);
            small(Group::Released { attempt })
        };
        world
            .tell([released(3), released(1), asks(3, 0), asks(1, 0)])
            .await;
        world.settle(&shown.reader).await;
        let slots = shown.reader.task_group_slots("small").await.unwrap();
        let numbers: Vec<_> = slots.iter().map(|slot| slot.attempt.number).collect();
        assert_eq!(numbers, [2, 3, 1]);
        assert_eq!(shown.reader.task_group("small").await, group(Some(0), 0, 3));
        assert_eq!(shown.reader.task_group("nothing").await, Ok(None));
        assert_eq!(shown.reader.task_groups().await.unwrap().len(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_environment_is_what_it_was_last_set_to() {
    for place in places() {
        let mut world = World::new().await;
        let shown = follow(&world, &place).await;
        for (name, config) in [
            ("prod", "export A=1\n"),
            ("dev", ""),
            ("prod", "export A=2\n"),
        ] {
            world.now = Timestamp(world.now.micros() + 1);
            let event = environment::Event::Changed {
                config: config.into(),
            };
            world.tell([Fact::Environment(name.into(), event)]).await;
        }
        world.settle(&shown.reader).await;
        let row = shown.reader.environment("prod").await.unwrap().unwrap();
        assert_eq!(
            (row.config.as_str(), row.updated),
            ("export A=2\n", world.now)
        );
        let all = shown.reader.environments().await.unwrap();
        let names: Vec<_> = all.iter().map(|row| row.name.as_str()).collect();
        assert_eq!(names, ["dev", "prod"]);
        assert_eq!(shown.reader.environment("test").await, Ok(None));
    }
}
