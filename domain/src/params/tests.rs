//! Which value wins, and what is read in it.

use proptest::prelude::*;

use super::expand::{DEEPEST, MOST_EXPANDED};
use super::*;
use crate::Timestamp;
use crate::calendar::{Moment, Zone};

/// Without built-ins, in the shapes that need no time.
fn plain(global: &[Param], upstream: &[Output], own: &[Param], startup: &[Param]) -> Values {
    resolve(global, upstream, own, startup, &Values::new(), &moment())
}

fn output(name: &str, value: &str) -> Output {
    Output::text(name, value)
}

#[test]
fn stronger_sources_win_and_an_empty_own_value_hides_nothing() {
    let values = plain(
        &[
            Param::text("a", "global"),
            Param::text("b", "global"),
            Param::text("c", "global"),
            Param::text("d", "g"),
        ],
        &[output("b", "upstream"), output("c", "upstream")],
        &[
            Param::text("c", "own"),
            Param::text("d", ""),
            Param::text("e", ""),
        ],
        &[Param::text("a", "start")],
    );
    let expected = [
        ("a", "start"),
        ("b", "upstream"),
        ("c", "own"),
        ("d", "g"),
        ("e", ""),
    ];
    assert_eq!(
        values,
        expected.map(|(k, v)| (k.to_owned(), v.to_owned())).into()
    );
}

#[test]
fn a_value_may_speak_of_others_but_not_of_itself() {
    let values = plain(
        &[
            Param::text("day", "2026"),
            Param::text("path", "/in/${day}"),
            Param::text("x", "${y}"),
            Param::text("y", "${x}"),
        ],
        &[],
        &[],
        &[],
    );
    assert_eq!(values["path"], "/in/2026");
    assert_eq!(values["x"], "${x}");
}

#[test]
fn unknown_names_and_broken_marks_stay_as_written() {
    let values = Values::from([("rows".to_owned(), "42".to_owned())]);
    assert_eq!(
        substitute("echo ${rows} ${HOME} '${setValue(rows=1)}' ${", &values),
        "echo 42 ${HOME} '${setValue(rows=1)}' ${"
    );
    assert_eq!(substitute("${a${rows}}", &values), "${a42}");
    assert_eq!(substitute("", &values), "");
}

#[test]
fn values_that_multiply_each_other_stop_growing() {
    let mut bomb: Vec<Param> = (0..20)
        .map(|n| Param::text(format!("p{n}"), format!("${{p{}}}", n + 1).repeat(10)))
        .collect();
    bomb.push(Param::text("p20", "x".repeat(100)));
    let values = plain(&bomb, &[], &[], &[]);
    assert!(values["p0"].len() < 2 * MOST_EXPANDED);
    assert_eq!(values["p19"], "x".repeat(1_000));
}

#[test]
fn a_long_chain_of_values_stays_as_written_where_it_gets_too_deep() {
    let mut chain: Vec<Param> = (0..10_000)
        .map(|n| Param::text(format!("p{n}"), format!("${{p{}}}", n + 1)))
        .collect();
    chain.push(Param::text("p10000", "end"));
    let values = plain(&chain, &[], &[], &[]);
    assert_eq!(values["p9990"], "end");
    assert_eq!(values["p0"], format!("${{p{}}}", DEEPEST + 1));
}

#[test]
fn a_name_is_found_up_to_its_longest_and_not_beyond() {
    let longest = "é".repeat(127) + "x";
    let values = Values::from([(longest.clone(), "v".to_owned())]);
    assert_eq!(substitute(&format!("${{{longest}}}"), &values), "v");
    let open = "${é".repeat(1_000);
    assert_eq!(substitute(&open, &values), open);
}

#[test]
fn the_first_value_that_is_not_empty_wins_between_predecessors() {
    let merged = merge([
        &[output("a", ""), output("b", "1")][..],
        &[output("a", "2"), output("b", "3")][..],
    ]);
    assert_eq!(merged, [output("a", "2"), output("b", "1")]);
    assert_eq!(
        pass_on(merged, &[output("b", "own"), output("c", "4")]),
        [output("a", "2"), output("b", "own"), output("c", "4")]
    );
}

/// 2026-06-15 02:30 in Shanghai, where it is already the day after that in UTC.
fn moment() -> Moment {
    Moment {
        at: Timestamp(1_781_461_800_000_000),
        zone: Zone::parse("Asia/Shanghai").unwrap(),
    }
}

fn values(pairs: &[(&str, &str)]) -> Values {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    pairs.iter().map(owned).collect()
}

#[test]
fn what_the_engine_knows_is_weaker_than_what_anybody_says() {
    let builtins = values(&[
        ("system.biz.date", "20260614"),
        ("system.datetime", "$[yyyy]"),
    ]);
    let resolved = resolve(
        &[
            Param::text("system.biz.date", "20200101"),
            Param::text("at", "${system.datetime}"),
        ],
        &[],
        &[Param::text("system.datetime", "")],
        &[],
        &builtins,
        &moment(),
    );
    let expected = values(&[
        ("system.biz.date", "20200101"),
        ("system.datetime", "$[yyyy]"),
        ("at", "$[yyyy]"),
    ]);
    assert_eq!(resolved, expected);
}

#[test]
fn dates_are_read_in_what_people_wrote_and_never_in_what_tasks_hand_on() {
    let resolved = resolve(
        &[
            Param::text("day", "$[yyyyMMdd-1]"),
            Param::text("path", "/in/${day}/$[HH]"),
            Param::text("told", "${said} $[yyyy]"),
            Param::text("days", "7"),
            Param::text("ago", "$[yyyyMMdd-${days}]"),
        ],
        &[output("said", "$[yyyy] ${day}")],
        &[Param::text("own", "$[this_day()]")],
        &[Param::text("start", "$[yyyy] $[0] ${said}")],
        &Values::new(),
        &moment(),
    );
    let expected = values(&[
        ("day", "20260614"),
        ("path", "/in/20260614/02"),
        ("said", "$[yyyy] ${day}"),
        ("told", "$[yyyy] ${day} 2026"),
        ("days", "7"),
        ("ago", "20260608"),
        ("own", "2026-06-15"),
        ("start", "2026 $[0] $[yyyy] ${day}"),
    ]);
    assert_eq!(resolved, expected);
}

#[test]
fn a_script_reads_its_own_marks_and_none_that_come_in() {
    let known = values(&[
        ("evil", "$[yyyy] ${rows}"),
        ("rows", "42"),
        ("n", "1"),
        ("open", "$["),
        ("format", "MM]$[dd"),
    ]);
    for (written, expected) in [
        ("echo ${rows} $[yyyy-MM-dd-${n}]", "echo 42 2026-06-14"),
        (
            "echo ${evil} ${HOME} $[${n}+1]",
            "echo $[yyyy] ${rows} ${HOME} $[1+1]",
        ),
        // What comes in can neither begin a date nor end one.
        ("${open}yyyy]", "$[yyyy]"),
        ("$[${format}]", "$[MM]$[dd]"),
        ("$[${evil}]", "$[$[yyyy] ${rows}]"),
        ("$[yyyy${missing}]", "$[yyyy${missing}]"),
        ("${${rows}} $${n} $", "${42} $1 $"),
    ] {
        assert_eq!(render(written, &known, &moment()), expected, "{written}");
    }
}

#[test]
fn every_task_knows_itself_its_run_and_its_dates() {
    let mut context = Context {
        workflow: "flow",
        workflow_code: 7,
        project: "daily",
        instance: 1_000,
        task: "load",
        task_code: 9,
        task_instance: "1000-9".to_owned(),
        moment: moment(),
    };
    let expected = values(&[
        ("system.biz.date", "20260614"),
        ("system.biz.curdate", "20260615"),
        ("system.datetime", "20260615023000"),
        ("system.task.instance.id", "1000-9"),
        ("system.task.definition.name", "load"),
        ("system.task.definition.code", "9"),
        ("system.workflow.instance.id", "1000"),
        ("system.workflow.definition.name", "flow"),
        ("system.workflow.definition.code", "7"),
        ("system.project.name", "daily"),
    ]);
    assert_eq!(builtins(&context), expected);
    context.moment.at = Timestamp(i64::MIN);
    assert_eq!(builtins(&context).len(), 7);
}

#[test]
fn dates_that_speak_of_values_do_not_multiply_either() {
    let mut bomb: Vec<Param> = (0..20)
        .map(|n| Param::text(format!("p{n}"), format!("$[${{p{}}}]", n + 1).repeat(3)))
        .collect();
    bomb.push(Param::text("p20", "x"));
    let resolved = resolve(&bomb, &[], &[], &[], &Values::new(), &moment());
    assert!(
        resolved
            .values()
            .all(|value| value.len() < 2 * MOST_EXPANDED)
    );
}

proptest! {
    #[test]
    fn any_text_and_any_value_have_an_answer(text in ".{0,100}", value in ".{0,100}", mark in "[$]?[{\\[]?a?[}\\]]?") {
        let text = format!("{text}{mark}{value}");
        let known = values(&[("a", &value)]);
        let both = substitute(&text, &known);
        prop_assert_eq!(substitute(&text, &Values::new()), text.clone());
        if !text.contains("$[") {
            prop_assert_eq!(render(&text, &known, &moment()), both);
        }
    }

    #[test]
    fn what_comes_in_stays_what_it_is(value in ".{0,60}|[$][{\\[](a|b|yyyy)[}\\]]") {
        let known = values(&[("a", &value), ("b", "B")]);
        prop_assert_eq!(render("<${a}>", &known, &moment()), format!("<{value}>"));
        let handed = [output("a", &value)];
        let own = [Param::text("own", "<${a}>")];
        let resolved = resolve(&[], &handed, &own, &[], &Values::new(), &moment());
        prop_assert_eq!(&resolved["a"], &value);
        prop_assert_eq!(&resolved["own"], &format!("<{value}>"));
    }
}

mod page;
