//! Deciders as aggregates of cqrs-es, by its own test framework.

use cqrs_es::Aggregate;
use cqrs_es::test::TestFramework;
use domain::task_instance::{Command, Event};
use domain::{InstanceId, trigger};
use store::cqrs::{Hosted, Refusal, Said};

use crate::{Task, submit, submitted, worker};

#[test]
fn a_command_becomes_the_deciders_events() {
    TestFramework::<Task>::with(())
        .given_no_previous_events()
        .when(submit())
        .then_expect_events(vec![Said(submitted())]);
    TestFramework::<Task>::with(())
        .given(vec![Said(submitted())])
        .when(Command::RequestDispatch {
            worker: worker("w"),
        })
        .then_expect_events(vec![Said(Event::DispatchRequested {
            attempt: 1,
            worker: worker("w"),
        })]);
    TestFramework::<Hosted<trigger::Trigger>>::with(())
        .given_no_previous_events()
        .when(trigger::Command::Fire(InstanceId(1_000)))
        .then_expect_events(vec![Said(trigger::Event::Fired {
            instance: InstanceId(1_000),
        })]);
}

#[test]
fn the_same_command_again_becomes_nothing() {
    TestFramework::<Task>::with(())
        .given(vec![Said(submitted())])
        .when(submit())
        .then_expect_events(vec![]);
}

#[test]
fn a_command_that_is_not_allowed_is_rejected() {
    let refused = TestFramework::<Task>::with(())
        .given_no_previous_events()
        .when(Command::RequestDispatch {
            worker: worker("w"),
        })
        .inspect_result();
    assert!(matches!(refused, Err(Refusal::Rejected(_))), "{refused:?}");
}

#[test]
fn nothing_is_decided_on_a_stream_that_makes_no_sense() {
    let refused = TestFramework::<Task>::with(())
        .given(vec![
            Said(submitted()),
            Said(submitted()),
            Said(Event::Dispatched { attempt: 1 }),
        ])
        .when(submit())
        .inspect_result();
    assert!(matches!(refused, Err(Refusal::Corrupt(_))), "{refused:?}");
}

#[test]
fn a_state_is_never_serialised() {
    assert!(serde_json::to_string(&Task::default()).is_err());
    assert!(serde_json::from_str::<Task>("{}").is_err());
    assert_eq!(Task::TYPE, "task_instance");
}
