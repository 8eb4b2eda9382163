//! What every log promises, claimed once and run on memory, SQLite and PostgreSQL.
//!
//! Each claim is an `async fn` in one of the modules below; the table at the end of this file runs all
//! of them on all three. What only a real database can break has modules of its own.

#![allow(clippy::unwrap_used)] // all of this is test code, also what stands outside a test function

mod appending;
mod blobs;
mod leases;
mod letters;
mod model;
mod reading;
mod restarts;
mod schema;
mod sharing;
mod standings;
mod suspicion;
mod tampering;
mod world;

/// Runs every claim on every kind of log.
macro_rules! claims {
    ($($module:ident :: { $($claim:ident),* $(,)? })*) => {
        mod memory { $($(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $claim() { crate::$module::$claim(crate::world::World::memory()).await; }
        )*)* }
        mod sqlite { $($(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $claim() { crate::$module::$claim(crate::world::World::sqlite().await).await; }
        )*)* }
        mod postgres { $($(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $claim() { crate::$module::$claim(crate::world::World::postgres().await).await; }
        )*)* }
    };
}

claims! {
    appending::{
        events_are_numbered_without_a_gap_and_come_back_unchanged,
        an_append_with_an_older_epoch_is_fenced_and_writes_nothing,
        an_append_from_another_head_is_contended_and_writes_nothing,
        an_append_to_no_shard_is_contended,
        an_append_after_another_past_of_the_same_length_is_contended,
        malformed_appends_are_refused_at_the_door,
        an_event_of_a_stream_is_written_once_and_the_append_around_it_not_at_all,
        events_of_several_streams_become_durable_together,
        an_append_of_any_size_is_written_whole,
        appends_queued_back_to_back_chain_in_their_order,
        after_a_refused_append_those_that_built_on_it_are_refused_too,
        a_refused_append_does_not_harm_the_others_in_its_batch,
        four_writers_and_a_tailing_reader_lose_nothing,
    }
    leases::{
        a_free_shard_is_taken_once,
        an_ended_lease_can_be_taken_by_another_and_fences_the_first,
        a_renewed_lease_stays,
        a_lost_lease_is_not_renewed,
        a_released_shard_is_free_at_once_and_only_its_owner_releases_it,
        an_owner_takes_its_own_shards_again_with_a_new_epoch,
        free_shards_are_taken_before_held_ones,
        owners_that_come_together_share_the_shards,
        an_heir_takes_what_it_was_asked_to_take_and_nobody_else_does,
        a_question_that_was_taken_back_is_no_question,
        engines_that_announce_themselves_are_known_until_their_time_has_come,
        who_waits_for_shards_is_woken_when_they_may_change_hands,
    }
    letters::{
        letters_are_taken_once_by_shard_and_in_their_order,
        a_letter_is_no_event,
    }
    reading::{
        pages_follow_each_other,
        a_stream_is_read_alone_and_in_order,
        an_instance_is_read_with_its_tasks_and_with_nobody_elses,
        what_runs_share_is_listed_and_the_runs_are_not,
        shards_say_where_they_are,
    }
    standings::{
        what_stood_is_kept_by_shard_and_comes_back_unchanged,
        a_late_standing_does_not_replace_a_later_one,
        a_standing_that_cannot_be_read_is_none,
    }
    blobs::{
        a_large_payload_comes_back_byte_for_byte,
        a_payload_that_looks_like_a_reference_is_not_one,
    }
    suspicion::{
        a_whole_log_has_no_problems,
        a_stream_with_a_gap_is_a_problem,
        an_event_that_is_not_what_was_hashed_is_a_problem,
        an_unknown_event_is_corrupt_and_never_skipped,
    }
}
