//! What holds whatever is asked of a run, in whatever order.

use proptest::prelude::*;

use super::*;

fn some_tally() -> impl Strategy<Value = Tally> {
    (0..3_u32, 0..2_u32, 0..2_u32, 0..2_u32, 0..2_u32).prop_map(
        |(succeeded, failed, killed, paused, unstarted)| Tally {
            succeeded,
            failed,
            killed,
            paused,
            unstarted,
            first_problem: "something".to_owned(),
            var_pool: vec![],
        },
    )
}

fn some_start() -> impl Strategy<Value = Command> {
    let execution = prop::sample::select(vec![Execution::Parallel, Execution::SerialWait]);
    let warning = prop::sample::select(vec![Warning::None, Warning::All]);
    (1..=2_u32, execution, warning, any::<bool>()).prop_map(
        |(version, execution, warning, limited)| {
            Command::Submit(Arc::new(Submission {
                version,
                execution,
                warning,
                timeout: limited.then_some(Duration::from_mins(1)),
                ..submission()
            }))
        },
    )
}

fn some_command() -> impl Strategy<Value = Command> {
    let restarts = prop::sample::select(vec![
        Restart::RepeatRunning,
        Restart::RecoverSuspendedProcess,
        Restart::StartFailureTaskProcess,
        Restart::ExecuteTask,
    ]);
    let run_times = 1..4_u32;
    prop_oneof![
        2 => some_start(),
        4 => Just(start()),
        3 => run_times.clone().prop_map(grant),
        1 => run_times.clone().prop_map(refuse_turn),
        2 => run_times.prop_map(|run_times| Command::ReleaseTurn { run_times }),
        1 => Just(pause()),
        1 => Just(block()),
        1 => Just(stop()),
        1 => (900..2_000_i64).prop_map(|now| Command::Wake { at: at(now) }),
        4 => some_tally().prop_map(Command::Conclude),
        4 => (restarts, prop::option::of(Just(only(7))))
            .prop_map(|(how, scope)| restart(how, scope)),
        1 => (1..4_u32).prop_map(|number| Command::SettleAlert { number, reason: String::new() }),
        1 => Just(Command::Delete),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn what_decide_says_evolve_takes_and_saying_it_again_adds_nothing(
        commands in prop::collection::vec(some_command(), 1..30)
    ) {
        let mut run = WorkflowInstance::default();
        let mut log = Vec::new();
        for command in commands {
            let Ok(events) = run.decide(&command) else { continue };
            if let Stage::Ended { .. } = run.stage {
                let ends = events.iter().filter(|event| matches!(event, Event::Finished { .. }));
                prop_assert_eq!(ends.count(), 0, "{:?} after the end", events);
            }
            run = fold(run, &events);
            log.extend(events);
            // Asked for again, what was granted adds nothing; a restart is refused while it goes on.
            match run.decide(&command) {
                Ok(again) => prop_assert_eq!(again, []),
                Err(rejection) => {
                    let restart = matches!(command, Command::Restart { .. });
                    prop_assert!(restart, "{}", rejection);
                }
            }
        }
        let read: Vec<Event> = log
            .iter()
            .map(|event| serde_json::from_str(&serde_json::to_string(event).unwrap()).unwrap())
            .collect();
        prop_assert_eq!(&read, &log);
        prop_assert_eq!(fold(WorkflowInstance::default(), &read), run);
    }

    #[test]
    fn a_run_that_has_ended_owes_no_more_than_its_turn_and_its_alerts(
        commands in prop::collection::vec(some_command(), 1..30)
    ) {
        let mut run = WorkflowInstance::default();
        for command in commands {
            if let Ok(events) = run.decide(&command) {
                run = fold(run, &events);
            }
            if let Stage::Ended { .. } | Stage::Deleted = run.stage {
                for owed in run.obligations() {
                    let fits = matches!(
                        owed,
                        Obligation::ReleaseTurn { .. } | Obligation::Tell { .. }
                    );
                    prop_assert!(fits, "{owed:?}");
                }
            }
        }
    }
}
