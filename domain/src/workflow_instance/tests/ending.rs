//! How a run ends, and who is told of it.

use super::*;

/// Of the catalogue of failures: A3-42.
#[test]
fn a_run_ends_as_its_tasks_did() {
    let unstarted = Tally {
        unstarted: 1,
        ..all_well()
    };
    let failed_and_killed = Tally {
        killed: 1,
        ..one_failed()
    };
    for (tally, state, reason) in [
        (all_well(), WorkflowState::Success, ""),
        (
            one_failed(),
            WorkflowState::Failure,
            "task \"load\" failed: exit code 1",
        ),
        (
            failed_and_killed,
            WorkflowState::Failure,
            "task \"load\" failed: exit code 1",
        ),
        (
            one_killed(),
            WorkflowState::Stop,
            "task \"a\" was killed: alice asked",
        ),
        (one_paused(), WorkflowState::Pause, "a task of it is paused"),
        (
            unstarted,
            WorkflowState::Failure,
            "some of its tasks can never be started",
        ),
    ] {
        given(&running())
            .when(&Command::Conclude(tally))
            .then(&[finished(state, reason)]);
    }
}

#[test]
fn a_stopped_run_is_stopped_unless_nothing_was_left_to_stop() {
    for tally in [one_failed(), one_killed(), one_paused()] {
        given(&stopping())
            .when(&Command::Conclude(tally))
            .then(&[finished(WorkflowState::Stop, "alice asked")]);
    }
    given(&stopping())
        .when(&Command::Conclude(all_well()))
        .then(&[finished(WorkflowState::Success, "")]);
}

#[test]
fn a_pausing_run_is_paused_unless_nothing_was_left_to_pause() {
    for (tally, state) in [
        (one_paused(), WorkflowState::Pause),
        (one_killed(), WorkflowState::Stop),
        (one_failed(), WorkflowState::Failure),
        (all_well(), WorkflowState::Success),
    ] {
        let answer = given(&pausing()).when(&Command::Conclude(tally));
        assert_eq!(answer.state.state(), Some(state));
    }
}

#[test]
fn a_blocked_run_is_blocked_even_if_nothing_was_left_unless_a_task_did_not_end_well() {
    for (tally, state) in [
        (one_paused(), WorkflowState::Block),
        (all_well(), WorkflowState::Block),
        (one_killed(), WorkflowState::Stop),
        (one_failed(), WorkflowState::Failure),
    ] {
        let answer = given(&blocking()).when(&Command::Conclude(tally));
        assert_eq!(answer.state.state(), Some(state));
    }
}

/// Of the catalogue of failures: A19.
#[test]
fn a_run_ends_once_and_not_before_it_began() {
    given(&ended(WorkflowState::Failure))
        .when(&Command::Conclude(all_well()))
        .then_nothing();
    given(&[submitted()])
        .when(&Command::Conclude(all_well()))
        .then_refused(
            "CONCLUDE is not allowed: the workflow instance is SUBMITTED_SUCCESS; allowed now: STOP",
        );
}

/// Of the catalogue of failures: A19.
#[test]
fn whoever_wants_to_be_told_of_an_end_is_owed_an_alert_until_it_is_settled() {
    let told = |warning, tally| {
        let asked = Submission {
            warning,
            ..submission()
        };
        let past = [asked_as(asked), started()];
        let answer = given(&past).when(&Command::Conclude(tally));
        let alerts: Vec<_> = answer.state.alerts.into_values().collect();
        alerts.first().map(|alert| (alert.kind, alert.text.clone()))
    };
    let success = Some((
        AlertKind::WorkflowSuccess,
        "workflow \"flow\" ended SUCCESS".to_owned(),
    ));
    let failure = Some((
        AlertKind::WorkflowFailure,
        "workflow \"flow\" ended FAILURE: task \"load\" failed: exit code 1".to_owned(),
    ));
    assert_eq!(told(Warning::None, one_failed()), None);
    assert_eq!(told(Warning::Success, one_failed()), None);
    assert_eq!(told(Warning::Failure, all_well()), None);
    assert_eq!(told(Warning::All, one_paused()), None, "a pause is no end");
    assert_eq!(told(Warning::Success, all_well()), success);
    assert_eq!(told(Warning::All, all_well()), success);
    assert_eq!(told(Warning::Failure, one_failed()), failure);
    assert_eq!(told(Warning::All, one_failed()), failure);
}

/// Of the catalogue of failures: A3-32.
#[test]
fn an_alert_is_owed_until_it_is_settled_once_also_after_the_end() {
    let alert = Alert {
        kind: AlertKind::TaskTimeout,
        task: Some(TaskCode(7)),
        text: "it takes long".to_owned(),
    };
    let raised = Event::AlertRaised {
        number: 1,
        alert: alert.clone(),
    };
    given(&running())
        .when(&Command::Raise(alert.clone()))
        .then(std::slice::from_ref(&raised))
        .owing(&[Obligation::Tell { number: 1, alert }]);
    let settle = Command::SettleAlert {
        number: 1,
        reason: "nobody answers".to_owned(),
    };
    let settled = Event::AlertSettled {
        number: 1,
        reason: "nobody answers".to_owned(),
    };
    let past = [
        running(),
        vec![raised, finished(WorkflowState::Success, "")],
    ]
    .concat();
    given(&past)
        .when(&settle)
        .then(std::slice::from_ref(&settled))
        .owing(&[]);
    given(&[past, vec![settled]].concat())
        .when(&settle)
        .then_nothing();
}

/// Of the catalogue of failures: B40.
#[test]
fn a_run_that_takes_too_long_raises_one_alert_and_goes_on() {
    let asked = Submission {
        timeout: Some(Duration::from_mins(1)),
        ..submission()
    };
    let begun = given(&[asked_as(asked)]).when(&start()).state;
    let due = at(1_060);
    assert_eq!(
        begun.obligations().collect::<Vec<_>>(),
        [Obligation::Wake { at: due }]
    );
    assert_eq!(begun.decide(&Command::Wake { at: at(1_059) }), Ok(vec![]));
    let late = begun.decide(&Command::Wake { at: due }).unwrap();
    let names: Vec<_> = late.iter().map(EventType::name).collect();
    assert_eq!(names, ["timed_out", "alert_raised"]);
    let told = fold(begun, &late);
    assert_eq!(told.state(), Some(WorkflowState::RunningExecution));
    assert_eq!(
        told.alerts[&1].text,
        "workflow \"flow\" has been running for longer than its timeout of 60 s"
    );
    assert_eq!(told.decide(&Command::Wake { at: at(2_000) }), Ok(vec![]));
}
