//! Changes of the clocks, other people's text, and the ends of the calendar.

use super::*;

fn spans(zone: &str, cycle: &str, value: &str, at: &str) -> Vec<(String, i64)> {
    let moment = moment(zone, at);
    let shown = |(from, until): (Timestamp, Timestamp)| {
        let local = Moment {
            at: from,
            zone: moment.zone.clone(),
        };
        let start = replace("$[yyyy-MM-dd HH:mm]", &local);
        (start, (until.0 - from.0) / 3_600_000_000)
    };
    let found = intervals(cycle, value, &moment).unwrap();
    found.into_iter().map(shown).collect()
}

fn at(zone: &str, text: &str, at: &str) -> String {
    replace(text, &moment(zone, at))
}

#[test]
fn a_day_is_as_long_as_its_zone_makes_it() {
    let day = |zone, value, at| spans(zone, "day", value, at);
    // Clocks go forward on 2026-03-29 and back on 2026-10-25.
    let spring = day("Europe/Berlin", "today", "2026-03-29 12:00:00");
    assert_eq!(spring, [("2026-03-29 00:00".to_owned(), 23)]);
    let autumn = day("Europe/Berlin", "last1Days", "2026-10-26 00:00:00");
    assert_eq!(autumn, [("2026-10-25 00:00".to_owned(), 25)]);
    // Here the clocks go forward at midnight: the day begins at one.
    let late = day("Africa/Cairo", "today", "2026-04-24 12:00:00");
    assert_eq!(late, [("2026-04-24 01:00".to_owned(), 23)]);
    // Samoa crossed the date line and had no 30th.
    let left_out = day("Pacific/Apia", "last2Days", "2011-12-31 12:00:00");
    assert_eq!(left_out, [("2011-12-29 00:00".to_owned(), 24)]);
}

#[test]
fn hours_begin_at_minute_zero_of_the_zone_and_pass_one_by_one() {
    let kolkata = spans("Asia/Kolkata", "hour", "last2Hours", "2026-06-01 10:17:30");
    let expected = [("2026-06-01 08:00", 1), ("2026-06-01 09:00", 1)];
    assert_eq!(kolkata, expected.map(|(at, hours)| (at.to_owned(), hours)));
    // The hour from two to three is passed twice.
    let autumn = spans("Europe/Berlin", "hour", "last3Hours", "2026-10-25 04:30:00");
    let expected = ["2026-10-25 02:00", "2026-10-25 02:00", "2026-10-25 03:00"];
    assert_eq!(autumn, expected.map(|at| (at.to_owned(), 1)));
}

#[test]
fn this_week_and_this_month_reach_from_their_first_day_to_today() {
    let days = |cycle, value, at| -> Vec<String> {
        let found = spans("Asia/Shanghai", cycle, value, at);
        found.into_iter().map(|(from, _)| from).collect()
    };
    let week = days("week", "thisWeek", "2026-06-03 10:00:00");
    let expected = ["2026-06-01 00:00", "2026-06-02 00:00", "2026-06-03 00:00"];
    assert_eq!(week, expected);
    assert_eq!(days("week", "thisWeek", "2026-06-07 10:00:00").len(), 7);
    assert_eq!(days("month", "thisMonth", "2026-06-03 10:00:00"), expected);
    let begin = days("month", "thisMonthBegin", "2026-06-03 10:00:00");
    assert_eq!(begin, ["2026-06-01 00:00"]);
    let end = days("month", "thisMonthEnd", "2024-02-03 10:00:00");
    assert_eq!(end, ["2024-02-29 00:00"]);
}

#[test]
fn what_is_no_value_is_refused_with_the_known_ones() {
    assert_eq!(known_value("month", "thisMonthEnd"), Ok(()));
    assert_eq!(
        known_value("hour", "today").unwrap_err(),
        "`today` is no value of the cycle `hour`; expected one of currentHour, last1Hour, last2Hours, \
         last3Hours, last24Hours"
    );
    assert_eq!(
        known_value("year", "today").unwrap_err(),
        "`year` is no cycle; expected one of hour, day, week, month"
    );
    let long = known_value("day", &"x".repeat(1_000_000)).unwrap_err();
    assert!(long.len() < 200);
    let refused = intervals("day", "bogus", &moment("UTC", "2026-01-01 00:00:00"));
    assert_eq!(
        refused.unwrap_err(),
        known_value("day", "bogus").unwrap_err()
    );
}

#[test]
fn whole_days_keep_the_time_of_day_and_hours_pass() {
    let berlin = |text| at("Europe/Berlin", text, "2026-03-28 12:00:00");
    assert_eq!(berlin("$[yyyyMMddHHmmss+1]"), "20260329120000");
    assert_eq!(berlin("$[yyyyMMddHHmmss+24/24]"), "20260329130000");
    assert_eq!(berlin("$[yyyyMMddHHmmss+1440/24/60]"), "20260329130000");
    // Midnight of the day after the change is the case in which days of 24 hours name the wrong day.
    let back = at("Europe/Berlin", "$[yyyyMMdd-1]", "2026-03-30 00:00:00");
    assert_eq!(back, "20260329");
    let autumn = at("America/New_York", "$[yyyyMMdd+1]", "2026-11-01 00:00:00");
    assert_eq!(autumn, "20261102");
}

#[test]
fn the_zone_decides_which_day_it_is() {
    let utc = moment("UTC", "2026-06-14 20:00:00");
    let shanghai = Moment {
        zone: Zone::parse("Asia/Shanghai").unwrap(),
        ..utc.clone()
    };
    let text = "$[yyyy-MM-dd HH:mm] $[timestamp(yyyyMMddHHmmss)]";
    assert_eq!(replace(text, &utc), "2026-06-14 20:00 1781467200");
    assert_eq!(replace(text, &shanghai), "2026-06-15 04:00 1781467200");
}

#[test]
fn formats_are_as_java_writes_them() {
    let utc = |text: &str| at("UTC", text, "2026-03-05 07:08:09.012345");
    for (format, expected) in [
        ("yy-M-d H:m:s", "26-3-5 7:8:9"),
        ("yyyy-MM-dd'T'HH:mm:ss.SSS", "2026-03-05T07:08:09.012"),
        ("EEE, d MMM yyyy", "Thu, 5 Mar 2026"),
        ("EEEE d MMMM", "Thursday 5 March"),
        ("yyyy年MM月dd日", "2026年03月05日"),
        ("HH 'o''clock' ''mm''", "07 o'clock '08'"),
        ("yyyyy", "02026"),
    ] {
        assert_eq!(utc(&format!("$[{format}]")), expected, "{format}");
    }
}

#[test]
fn functions_take_an_empty_format_for_a_plain_date() {
    let utc = |text| at("UTC", text, "2024-12-30 08:15:45");
    for (written, expected) in [
        ("$[this_day()]", "2024-12-30"),
        ("$[last_day()]", "2024-12-29"),
        ("$[week_first_day(yyyyMMdd)]", "20241230"),
        ("$[week_end(yyyyMMdd,1-2)]", "20250104"),
        ("$[month_last_day(yyyyMMdd, -(5+5))]", "20240229"),
        ("$[year_week(yyyy-MM-dd,5)]", "2024-53"),
        ("$[year_week(yyyyMMdd)]", "202401"),
        ("$[timestamp(month_begin(yyyyMMdd000000,0))]", "1733011200"),
    ] {
        assert_eq!(utc(written), expected, "{written}");
    }
    assert_eq!(
        at("UTC", "$[year_week(yyyyMMdd)]", "2021-01-03 10:00:00"),
        "202153"
    );
    assert_eq!(
        at("UTC", "$[year_week(yyyyMMdd)]", "2026-01-05 10:00:00"),
        "202602"
    );
}

#[test]
fn what_is_no_date_stays_as_written() {
    for text in [
        "$[0]",
        "$[1+2]",
        "echo $[x+1] $[$[i]*2]",
        "$['store']['book'][0]",
        "$[[*].pageId]",
        "$[",
        "$[]",
        "$[yyyyMMdd",
        "$[this_day(yyyyMMdd,1)]",
        "$[add_months(yyyyMMdd)]",
        "$[add_months(yyyyMMdd,1,2)]",
        "$[add_months(yyyyMMdd,1/0)]",
        "$[yyyyMMdd-1/0]",
        "$[yyyyMMdd-1/(]",
        "$[yyyyMMdd+9999999999999999999]",
        "$[yyyyMMdd+9223372036854775807]",
        "$[yyyyMMdd+9223372036854775807/24]",
        "$[yyyyMMdd-5000*365]",
        "$[HHHHH]",
        "$[yyyyyyyyyyyyyyyyyyyyyyyyyyyyy]",
        "$[timestamp(yyyyMMdd)]",
        "$[timestamp(yyyy1301000000)]",
        "$[yyyy'open]",
    ] {
        assert_eq!(at("UTC", text, "2026-01-01 00:00:00"), text);
    }
    // One that is none does not hide one that is.
    assert_eq!(
        at("UTC", "$[[$[yyyy]] $[x]$[MM]", "2026-01-01 00:00:00"),
        "$[[2026] $[x]01"
    );
    let no_date = Moment {
        at: Timestamp(i64::MAX),
        zone: Zone::default(),
    };
    assert_eq!(replace("$[yyyy]", &no_date), "$[yyyy]");
    assert!(intervals("day", "today", &no_date).is_err());
}

#[test]
fn a_zone_is_written_as_its_name() {
    let zone = Zone::parse("asia/shanghai").unwrap();
    assert_eq!(serde_json::to_string(&zone).unwrap(), "\"Asia/Shanghai\"");
    assert_eq!(
        serde_json::from_str::<Zone>("\"Asia/Shanghai\"").unwrap(),
        zone
    );
    assert_eq!(Zone::default(), Zone::parse("UTC").unwrap());
    for bad in [
        "",
        "Mars",
        "GMT+8",
        "Etc/Unknown",
        "+08:00",
        "../etc/passwd",
    ] {
        let refused = Zone::parse(bad).unwrap_err();
        assert!(refused.contains("IANA"), "{bad}: {refused}");
    }
    assert!(serde_json::from_str::<Zone>("\"Mars\"").is_err());
}

proptest! {
    #[test]
    fn any_text_at_any_time_has_an_answer(text in ".{0,200}", at: i64, cycle in ".{0,8}") {
        let moment = Moment { at: Timestamp(at), zone: Zone::parse("Europe/Berlin").unwrap() };
        let inside = format!("$[{text}]");
        if !text.contains("$[") {
            prop_assert_eq!(&replace(&text, &moment), &text);
        }
        prop_assert!(replace(&inside, &moment).len() <= 2 * inside.len() + 400);
        prop_assert!(intervals(&cycle, &text, &moment).is_err());
    }

    #[test]
    fn what_looks_like_a_date_has_an_answer(
        inside in "(add_months|month_end|week_last_day|year_week|timestamp)?[(]?[yMdHmsSE'-]{0,12}[,+-]{0,2}[0-9*/()+-]{0,40}[)]?",
        at: i64,
    ) {
        let moment = Moment { at: Timestamp(at), zone: Zone::parse("Australia/Lord_Howe").unwrap() };
        let replaced = replace(&format!("$[{inside}]"), &moment);
        prop_assert!(replaced.len() < 500);
    }

    #[test]
    fn every_known_value_has_an_answer_that_is_in_order(at in -62_000_000_000_000_000i64..250_000_000_000_000_000) {
        let moment = Moment { at: Timestamp(at), zone: Zone::parse("America/Sao_Paulo").unwrap() };
        for (cycle, value) in [("hour", "last24Hours"), ("day", "last7Days"), ("week", "lastWeek"), ("month", "lastMonth"), ("month", "thisMonth")] {
            let found = intervals(cycle, value, &moment).unwrap();
            prop_assert!(found.iter().all(|(from, until)| from < until));
            prop_assert!(found.windows(2).all(|two| two[0].1 == two[1].0));
        }
    }
}
