use super::audit::{AuditRow, UNLOGGED_COLUMNS, UnloggedRow};
use super::schedules::{FiringRow, ScheduleRow};
use super::webhooks::{ATTEMPT_COLUMNS, AttemptRow, DELIVERY_COLUMNS, DeliveryRow, WebhookRow};
use super::{CampaignRow, GroupRow, KNOWN_SEGMENT_COLUMNS, KnownSegmentRow, MessageRow, RunRow};

/// The last columns of a run, which are one field.
const TOKENS: [&str; 8] = [
    "run_prompt_tokens",
    "run_completion_tokens",
    "run_saved_customers",
    "run_saved_prompt_tokens",
    "run_saved_completion_tokens",
    "run_metered_messages",
    "run_metered_prompt_tokens",
    "run_metered_completion_tokens",
];

/// The names of the columns of a list.
fn names(list: &str) -> Vec<&str> {
    let (mut columns, mut start, mut depth) = (Vec::new(), 0, 0);
    for (place, next) in list.char_indices() {
        match next {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                columns.push(&list[start..place]);
                start = place + 1;
            }
            _ => {}
        }
    }
    columns.push(&list[start..]);
    columns
        .into_iter()
        .map(|column| column.rsplit([' ', '.']).next().unwrap_or(column))
        .collect()
}

#[test]
fn lists_of_columns_have_the_fields_of_their_rows_in_order() {
    for (list, fields) in [
        (crate::group_columns!(), GroupRow::FIELDS),
        (crate::campaign_columns!(), CampaignRow::FIELDS),
        (crate::message_columns!(), MessageRow::FIELDS),
        (crate::audit_columns!(), AuditRow::FIELDS),
        (UNLOGGED_COLUMNS, UnloggedRow::FIELDS),
        (KNOWN_SEGMENT_COLUMNS, KnownSegmentRow::FIELDS),
        (crate::schedule_columns!(), ScheduleRow::FIELDS),
        (crate::firing_columns!(), FiringRow::FIELDS),
        (crate::webhook_columns!(), WebhookRow::FIELDS),
        (crate::bare_webhook_columns!(), WebhookRow::FIELDS),
        (DELIVERY_COLUMNS, DeliveryRow::FIELDS),
        (ATTEMPT_COLUMNS, AttemptRow::FIELDS),
    ] {
        assert_eq!(names(list), fields);
    }
    let (tokens, fields) = RunRow::FIELDS.split_last().unwrap();
    assert_eq!(*tokens, "run_tokens");
    assert_eq!(names(crate::run_columns!()), [fields, &TOKENS].concat());
}
