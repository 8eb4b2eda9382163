//! A run that cannot be decided: it alone stands still.

use super::*;

#[test]
fn issue_13390_a_run_whose_decider_panics_stands_still_and_the_others_go_on() {
    let mut bench = Bench::with_a_run(RetryPolicy::default());
    let poisoned = attempt(1).task.instance;
    bench.ask(7, Request::Explain { instance: poisoned });
    let by = Metadata::default();
    let at = Timestamp(bench.at);
    let decided = bench
        .core
        .decide_by(at, poisoned, &by, |_| panic!("it cannot be"));
    assert_eq!(decided, Ok(0));
    bench.replies.clear();
    bench.ask(8, Request::Explain { instance: poisoned });
    let [(8, Err(Refusal::Corrupt(instance, corrupt)))] = &bench.replies[..] else {
        panic!("{:?}", bench.replies)
    };
    assert_eq!(*instance, poisoned);
    assert!(corrupt.to_string().contains("it cannot be"), "{corrupt}");
    // Another run of the shard is started, dispatched and ended as ever.
    let (workflow, submission) = wanted(RetryPolicy::default());
    let shard = SHARD;
    bench.ask(
        9,
        Request::Start {
            shard,
            submission,
            workflow,
            key: None,
        },
    );
    bench.hello(1, &[]);
    assert_eq!(bench.dispatches(), 1);
    let asked = bench.sent.iter().find_map(|(_, body)| {
        if let Body::Dispatch(dispatch) = body {
            dispatch.attempt
        } else {
            None
        }
    });
    assert!(asked.is_some_and(|asked| asked.instance != poisoned.0));
}
