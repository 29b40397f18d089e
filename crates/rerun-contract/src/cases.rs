//! The only list of all cases.

/// Makes one test for each case of the suite, in one module for each port. `$fresh` names an
/// async function without parameters that makes a [`Fixture`](crate::Fixture) over a store
/// without rows; every test has one of its own.
///
/// The calling crate needs tokio among its dev-dependencies.
///
/// ```no_run
/// use rerun_contract::{Fixture, memory::MemoryStore};
///
/// async fn fresh() -> Fixture<MemoryStore> {
///     Fixture::new(MemoryStore::new())
/// }
///
/// rerun_contract::store_contract!(fresh);
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! store_contract {
    ($fresh:ident) => {
        $crate::store_contract! { @modules $fresh
            groups {
                a_group_comes_back_as_it_was_made,
                an_unknown_group_is_not_found,
                a_groups_id_is_taken_once,
                a_group_gets_another_name_once,
                groups_are_listed_newest_first,
                a_page_of_groups_ends_at_its_bytes,
                a_list_goes_on_after_any_key,
                an_import_counts_what_it_did,
                a_group_keeps_the_names_of_its_fields,
                a_replacement_leaves_only_the_file,
                a_replacement_compares_values_not_their_order,
                a_replacement_without_rows_is_refused,
                rows_of_one_customer_are_counted,
                an_unchanged_import_leaves_no_trace,
                an_import_without_rows_is_fine,
                columns_replace_and_other_fields_stay,
                the_last_row_of_a_customer_wins,
                references_are_taken_literally,
                field_names_are_taken_literally,
                a_refused_row_changes_nothing,
                a_large_import_goes_through,
                imports_at_once_all_count,
            }
            schedules {
                a_schedule_comes_back_as_it_was_made,
                a_schedule_holds_its_group,
                an_account_has_a_number_of_schedules,
                schedules_are_listed_newest_first,
                another_accounts_schedule_is_not_found,
                a_key_keeps_what_was_done_to_a_schedule,
            }
            firings {
                a_time_starts_one_run,
                servers_at_once_fire_each_time_once,
                an_operator_sees_that_nothing_fires,
                a_lease_keeps_others_away_until_it_ends,
                an_unchanged_group_is_skipped,
                a_group_without_new_segments_is_skipped,
                the_last_missed_time_is_made_up_for,
                what_is_too_old_is_missed,
                a_long_outage_is_written_down,
                a_clock_that_changes_fires_nothing_twice,
                a_pause_is_not_made_up_for,
                five_refusals_pause_a_schedule,
                refusals_have_their_codes,
                a_deleted_group_is_refused,
                a_trigger_moves_no_time,
                a_trigger_does_not_wait_beside_another,
                a_stale_decision_is_not_written,
                no_schedule_ever_publishes,
            }
            overlaps {
                a_time_passes_while_a_run_is_open,
                one_firing_waits_until_the_campaign_is_published,
                an_unpublished_rerun_is_replaced,
                a_rerun_is_cancelled_only_for_one_that_starts,
            }
            customers {
                customers_are_listed_by_reference,
                a_page_of_customers_ends_at_its_bytes,
                deleted_customers_are_not_counted,
                an_erased_customer_is_in_no_group,
                a_deleted_group_is_out_of_reach,
                a_group_in_use_stays,
                a_deletion_and_a_rerun_for_the_group_exclude_each_other,
                a_deletion_and_a_draft_for_the_group_exclude_each_other,
                deletions_beside_an_import_are_counted,
                a_group_is_deleted_while_it_is_imported,
                a_campaign_is_deleted_while_its_group_is_imported,
                a_deletion_beside_a_rerun_is_before_or_after_it,
                recipients_break_off_when_their_group_changes,
                a_change_in_the_instant_of_the_start_is_a_change,
            }
            campaigns {
                a_campaign_comes_back_as_it_was_made,
                an_update_is_stored_as_it_was_asked_for,
                a_template_is_tried_on_the_largest_segments,
                a_stale_update_is_a_conflict,
                a_deleted_campaign_is_out_of_reach,
                a_deletion_and_a_rerun_exclude_each_other,
                a_deleted_campaigns_late_results_are_dropped,
                lists_of_a_deleted_campaign_do_not_just_end,
                an_unknown_campaign_is_not_found,
                a_campaigns_id_is_taken_once,
                campaigns_are_listed_by_status,
                a_page_of_campaigns_ends_at_its_bytes,
            }
            campaign_imports {
                an_imported_campaign_has_a_synthesised_run,
                an_imported_campaign_can_be_rerun,
                a_refused_campaign_import_leaves_nothing,
                a_large_campaign_is_imported,
            }
            segments {
                segments_are_grouped_as_the_domain_groups,
                values_of_two_fields_do_not_run_together,
                counts_follow_the_group,
                one_segment_more_than_the_limit_is_answered,
                fields_count_the_customers_with_a_value,
                fields_with_a_value_are_told,
                fields_are_told_with_too_many_segments,
                values_that_are_too_long_are_told,
                segments_are_read_by_key,
                published_messages_are_offered_for_reuse,
            }
            rules {
                rules_make_the_segments_of_the_oracle,
                counts_by_rules_are_kept_apart,
                rules_have_bounds,
                a_preview_tells_of_unseen_values,
            }
            rekeying {
                segments_follow_other_rules,
                nothing_is_reused_in_a_conflict,
                values_stay_what_they_were,
                keys_change_places,
                rules_change_between_runs_only,
                a_new_message_is_spelled_as_its_group_is,
            }
            changed_rules {
                random_rules_give_segments_the_keys_of_the_oracle,
                a_preview_reads_values_as_keys_do,
                the_nearest_message_is_found_as_keys_tell,
                generators_see_what_the_rules_of_now_show,
            }
            suggestions {
                the_nearest_message_is_suggested,
                a_suggestion_is_taken_by_a_person,
                a_text_about_another_segment_is_not_taken,
                a_suggested_message_is_an_example,
            }
            runs {
                a_launch_makes_run_and_messages,
                a_rerun_reuses_generates_and_archives,
                a_rerun_with_nothing_new_is_complete_at_once,
                content_travels_through_many_runs,
                a_stale_campaign_is_a_conflict,
                a_stale_group_is_a_conflict,
                one_of_many_initiates_succeeds,
                one_of_many_launches_succeeds,
                imports_and_reruns_at_once_do_not_mix,
                a_preview_writes_nothing,
                a_field_that_nobody_has_is_refused,
                a_long_value_to_segment_by_is_refused,
                archiving_again_changes_nothing,
                the_context_has_the_wanted_group,
                many_segments_go_through_a_whole_life,
                content_with_a_placeholder_is_not_reused,
            }
            cancellations {
                a_cancelled_rerun_gives_the_previous_run_back,
                late_results_of_a_cancelled_run_are_dropped,
                a_cancelled_first_run_leads_to_a_draft,
                a_run_is_cancelled_from_every_state,
                a_stale_cancellation_is_a_conflict,
                a_cancellation_keeps_what_was_settled_meanwhile,
                publish_and_cancel_exclude_each_other,
                workers_and_a_cancellation_at_once,
            }
            reviews {
                an_approval_passes_one_stage,
                all_means_all_that_are_pending,
                the_last_approval_makes_a_campaign_ready,
                named_messages_change_all_or_none,
                a_review_of_one_stage_leaves_the_others,
                a_decision_is_about_the_content_that_was_read,
                an_unknown_stage_is_refused,
                refs_tell_run_state_and_author,
                a_stale_change_is_a_conflict,
                a_change_of_nothing_writes_nothing,
                publishing_publishes_every_message,
                own_edits_can_be_left_out,
                stages_and_reviewers_are_told_apart,
                reviewers_at_once_all_get_through,
                one_stage_is_passed_once,
                reviewers_and_workers_at_once,
            }
            contents {
                an_edit_leaves_the_reused_content_alone,
                regenerated_messages_are_reviewed_again,
                a_regeneration_can_fail,
                a_failed_message_is_written_by_hand,
                a_retry_queues_what_failed,
                two_edits_at_once_are_one_after_the_other,
                a_contents_id_is_taken_once,
                an_unfilled_placeholder_is_not_approved,
                no_change_lets_a_placeholder_through,
                an_error_goes_when_its_message_moves_on,
            }
            history {
                runs_are_paged_newest_first,
                a_draft_has_no_runs,
                an_unknown_campaign_has_no_history,
                messages_are_paged_in_order,
                pages_of_messages_are_stable,
                deep_pages_are_reached,
                filters_take_what_they_say,
                a_page_of_messages_ends_at_its_bytes,
                a_page_of_segments_ends_at_its_bytes,
                a_page_of_runs_and_entries_ends_at_its_bytes,
                a_diff_tells_what_changed,
                a_run_does_not_differ_from_itself,
                any_two_runs_are_compared,
                counts_follow_the_messages,
                cursors_belong_to_their_list,
            }
            generation {
                a_task_tells_all_that_a_generator_needs,
                no_message_is_leased_twice,
                workers_at_once_share_the_queue,
                generated_messages_wait_for_review,
                a_result_is_stored_once,
                settlements_at_once_store_once,
                settlements_of_one_run_at_once_all_count,
                an_expired_lease_is_taken_over,
                a_lease_lives_up_to_its_end,
                a_lease_is_renewed_while_it_lives,
                a_released_message_is_due_at_once,
                a_failed_attempt_waits_its_time,
                an_early_failure_is_told_at_the_end,
                a_generated_placeholder_is_a_failed_attempt,
                a_generated_subject_is_one_line,
                outcomes_of_all_kinds_are_settled_together,
                the_longest_due_comes_first,
                one_lease_serves_several_accounts,
                results_for_the_wrong_run_are_dropped,
                an_old_lease_does_not_fill_a_regenerated_message,
                an_empty_queue_leases_nothing,
                the_backlog_counts_what_waits,
                the_backlog_tells_since_when_something_is_due,
            }
            queue {
                what_is_put_off_uses_patience_and_no_attempt,
                a_failure_for_good_ends_at_once,
                a_clock_set_back_stops_nothing,
                a_clock_set_forward_stops_nothing,
                a_live_lease_outlasts_a_clock_set_back,
                clocks_may_differ_a_little,
                accounts_take_turns,
                accounts_take_turns_from_lease_to_lease,
                what_is_due_before_the_last_lease_is_found,
                a_long_queue_does_not_delay_another_account,
                a_lease_is_bounded_by_bytes,
                usage_is_summed_on_the_run,
                a_reused_message_costs_nothing,
                a_run_knows_what_reuse_saved,
                the_end_of_a_run_is_reported,
            }
            idempotency {
                a_response_is_kept_with_its_change,
                a_used_key_is_a_conflict,
                a_refused_change_keeps_no_response,
                a_key_is_kept_for_a_day,
                old_responses_are_forgotten,
                a_request_is_replayed,
                everything_that_writes_is_replayed,
                an_edit_is_replayed_as_it_was,
                a_repeated_review_passes_one_stage,
                a_change_of_nothing_is_remembered,
                a_key_is_good_for_one_endpoint,
                a_stated_default_is_the_same_body,
                requests_at_once_get_one_response,
                launches_at_once_get_one_response,
                reviews_at_once_get_one_response,
                imports_with_one_key_are_one,
                creations_at_once_get_one_response,
                one_key_at_once_does_one_thing,
            }
            replays {
                an_update_is_replayed_as_it_was,
                a_renaming_is_replayed_as_it_was,
                an_adoption_is_replayed_as_it_was,
            }
            health {
                a_store_with_its_schema_is_healthy,
            }
            audit {
                an_empty_log_is_whole,
                every_change_writes_one_entry,
                the_chain_is_whole,
                the_chain_is_read_in_parts,
                the_chain_has_no_gaps_under_load,
                entries_are_listed_newest_first,
                events_are_read_by_number,
                heads_of_accounts_are_read_at_once,
            }
            webhooks {
                a_webhook_comes_back_as_it_was_made,
                a_webhook_may_begin_in_the_past,
                webhooks_are_listed_newest_first,
                an_account_has_so_many_webhooks,
                a_refused_webhook_leaves_no_trace,
                a_webhook_is_changed_field_by_field,
                a_webhook_is_given_campaigns_that_exist,
                a_secret_is_rotated,
                a_creation_with_a_key_happens_once,
                a_deleted_webhook_is_out_of_reach,
                a_webhook_changes_from_what_was_seen,
                a_webhook_belongs_to_its_account,
                a_webhook_is_disabled_and_enabled,
            }
            deliveries {
                each_event_is_queued_once_for_each_webhook,
                a_webhook_gets_what_it_wants,
                a_webhook_has_four_on_their_way,
                an_ordered_webhook_gets_one_after_the_other,
                a_delivery_is_given_up_after_eleven_attempts,
                a_lost_lease_changes_nothing,
                attempts_count_before_they_end,
                a_released_delivery_is_due_at_once,
                a_webhook_that_is_gone_is_disabled,
                a_webhook_that_fails_for_five_days_is_disabled,
                enabling_after_a_number_skips_what_was_before,
                a_range_is_sent_again,
                what_failed_is_sent_again,
                a_replay_does_not_wait,
                deliveries_go_on_when_the_clock_goes_back,
                accounts_share_a_lease_of_deliveries,
                old_deliveries_are_swept,
                a_disabled_webhook_costs_nothing,
            }
            rerun_suggestions {
                imports_lead_to_one_suggestion,
                imports_without_end_are_previewed,
                a_suggestion_is_not_repeated,
                who_wants_suggestions_gets_them,
                a_refused_rerun_is_not_suggested,
                an_outlook_goes_by_the_rules_of_now,
                a_changed_group_is_taken_once,
                a_released_group_is_due_at_once,
                previews_go_on_when_the_clock_goes_back,
                a_stale_outlook_is_a_conflict,
                accounts_take_turns_at_previews,
                foreign_runs_have_no_segments,
            }
            outages {
                a_receiver_that_is_away_for_60_hours_gets_everything,
                a_change_does_not_hurry_retries,
                what_waits_for_a_sender_for_a_week_is_sent,
                a_sender_that_returns_judges_by_the_rules,
            }
            cursors {
                a_stream_begins_before_the_first_event,
                a_place_moves_under_its_lease,
                a_live_lease_keeps_others_out,
                a_lease_ends,
                a_lost_lease_moves_nothing,
                a_lease_of_a_future_clock_does_not_count,
                accounts_with_unpublished_events_are_found_in_order,
                the_oldest_unpublished_event_is_known,
                events_are_published_once_and_in_order,
                the_stream_says_where_to_go_on,
                a_stream_of_another_log_gets_nothing,
                an_outage_keeps_what_is_published,
                a_slow_broker_keeps_its_lease,
            }
            isolation {
                foreign_ids_read_nothing,
                foreign_groups_have_no_segments,
                foreign_messages_are_not_reused,
                foreign_ids_change_nothing,
                an_own_campaign_opens_nothing_foreign,
                forged_decisions_change_nothing,
                accounts_with_the_same_ids_do_not_meet,
            }
        }
    };
    (@modules $fresh:ident $($module:ident { $($case:ident,)+ })+) => {
        $(
            mod $module {
                $(
                    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                    async fn $case() {
                        $crate::suite::$module::$case(&super::$fresh().await).await;
                    }
                )+
            }
        )+
    };
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    /// A case that is written but not listed would never run.
    #[test]
    fn every_case_is_listed() {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let listed = fs::read_to_string(source.join("cases.rs")).unwrap();
        let mut modules = 0;
        for file in fs::read_dir(source.join("suite")).unwrap() {
            let path = file.unwrap().path();
            let module = path.file_stem().unwrap().to_str().unwrap();
            if module == "mod" {
                continue;
            }
            modules += 1;
            let text = fs::read_to_string(&path).unwrap();
            let cases: Vec<&str> = text
                .lines()
                .filter_map(|line| line.strip_prefix("pub async fn ")?.split('<').next())
                .collect();
            assert!(!cases.is_empty(), "`{module}` has no case");
            let (_, rest) = listed
                .split_once(&format!("\n            {module} {{\n"))
                .unwrap_or_else(|| panic!("`{module}` is not in the list"));
            let (block, _) = rest.split_once("\n            }\n").unwrap();
            for case in cases {
                assert!(
                    block.lines().any(|line| line.trim() == format!("{case},")),
                    "`{module}::{case}` is not in the list"
                );
            }
        }
        assert!(modules >= 19, "{modules} modules of cases were found");
    }
}
