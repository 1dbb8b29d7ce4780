//! The contract, case by case; each runs over every store.

mod bound;
mod draws;
mod handed;
mod limits;
mod line;
mod losses;
mod rooms;
mod turns;

use std::future::Future;
use std::pin::Pin;

use usher::domain::line::Settings;

use super::world::{World, settings};

/// A case, ready to run.
pub(crate) type Run = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Makes a test of each case for each store, and a list of all for [`super::planted`].
macro_rules! over_every_store {
    ($($group:ident { $($case:ident)+ })+) => {
        mod memory {
            $($(#[tokio::test]
            async fn $case() {
                super::$group::$case(super::World::memory()).await;
            })+)+
        }
        mod redis {
            $($(#[tokio::test]
            async fn $case() {
                if let Some(world) = super::World::redis().await {
                    super::$group::$case(world).await;
                }
            })+)+
        }
        /// Every case by its name.
        pub(crate) const ALL: &[(&str, fn(World) -> Run)] =
            &[$($((stringify!($case), |world| Box::pin($group::$case(world)))),+),+];
    };
}

over_every_store! {
    line {
        numbers_are_given_in_order_of_arrival
        joining_again_changes_nothing
        a_crowd_larger_than_one_script_call_keeps_its_order
        one_batch_comes_of_many_callers
        a_late_tick_keeps_the_rhythm_and_missed_ones_are_not_made_up
        silence_ends_a_place
        silence_is_counted_from_the_end_of_its_slice
        nobody_is_given_up_early_nor_more_than_an_interval_late
        evictions_are_in_order_of_silence_then_number
        signs_of_life_never_move_back_nor_ahead
        the_evicted_join_again_at_the_tail
        a_sweep_is_bounded
        an_outage_costs_no_place_and_no_turn
        an_outage_costs_nobody_a_pass_that_it_was_not_told_of
        a_clock_set_back_neither_stops_the_line_nor_ticks_twice
        a_clock_set_forward_ends_no_pass_and_no_place
        leaving_is_remembered_an_hour
    }
    draws {
        those_present_come_in_the_drawn_order_and_late_comers_behind
        who_joins_after_the_opening_is_not_in_the_draw_though_no_tick_was_between
        a_gate_that_knows_too_few_admits_nobody_and_the_tick_is_still_due
        the_first_draw_stands
        a_draw_that_was_lost_is_the_same_again
        a_draw_that_a_copy_from_before_lacks_is_put_back
        nobody_overflows_into_a_room_before_its_draw
    }
    bound {
        another_generation_is_made_once_for_who_shows_the_newest
        three_claims_of_old_copies_are_one_too_many
        a_first_claim_is_given_again_until_it_is_shown
        what_is_known_of_a_pass_goes_with_it
        who_takes_a_pass_along_begins_anew
        only_who_has_that_pass_is_heard
    }
    handed {
        a_place_that_is_handed_over_stays_what_it_is_and_is_not_the_holders_before
        one_of_two_who_take_a_place_has_it_and_taking_it_again_changes_nothing
        a_called_place_is_claimed_by_who_takes_it
        a_pass_goes_along_with_its_end_and_the_one_before_is_dead
        a_late_returner_is_handed_over_as_such
        what_is_over_or_anothers_is_not_handed_over
        who_takes_a_place_keeps_it_by_being_there
        a_place_goes_on_and_on_and_only_the_last_has_it
        a_handed_place_does_not_come_back_to_who_had_it
    }
    losses {
        a_line_that_was_lost_comes_back_under_its_old_numbers
        who_was_out_does_not_come_back
        passes_that_gates_remember_count_again
        a_line_that_is_behind_is_brought_up_and_gives_no_number_twice
        a_line_that_is_behind_gives_no_number_before_it_is_brought_up
        a_copy_that_lacks_only_a_claim_is_behind
        no_number_is_given_after_an_outage_before_all_gates_were_heard
        an_outage_ends_with_a_call_for_nobody
        a_pass_that_was_given_back_is_not_good_again
        who_gave_a_pass_back_gets_no_other_where_a_copy_has_it_before_that
        a_pass_that_was_prolonged_after_a_copy_keeps_its_end
        a_pass_counts_again_where_a_copy_has_its_holder_returning_or_out
        a_line_that_nobody_lost_does_not_come_back
    }
    turns {
        a_repeated_claim_returns_the_same_pass
        a_missed_turn_goes_on_and_comes_back_once
        a_returner_after_the_grace_time_is_out
        a_call_past_its_deadline_is_missed_before_the_sweep_says_so
        nobody_overtakes_a_returner
        a_pass_runs_out
        a_revoked_pass_is_told_until_it_would_have_ended
        an_extension_stops_at_the_longest_life
    }
    limits {
        capacity_counts_calls_and_passes
        the_rate_bounds_any_sixty_seconds
        a_full_line_takes_nobody
        a_closed_room_takes_and_admits_nobody
        a_paused_room_takes_and_does_not_admit
        before_the_opening_people_gather_and_nobody_goes_in
        an_operators_word_moves_one_opening_only
        the_capacity_follows_the_app_and_comes_back
        an_operators_capacity_stands_whatever_the_app_does
        overflow_admits_at_once_while_there_is_room_and_nobody_waits
        changes_hold_until_replaced
    }
    rooms {
        a_room_must_be_opened
        opening_again_keeps_the_line
        clearing_begins_a_new_line_with_the_same_limits
        a_number_has_one_holder
        the_line_is_read_by_ranges
        a_trimmed_log_says_so
        a_log_entry_has_five_hundred_numbers_at_most
    }
}

/// No bound that a test's crowd could meet.
fn open_wide() -> Settings {
    Settings { capacity: 100_000, batch: 100_000, ..settings() }
}
