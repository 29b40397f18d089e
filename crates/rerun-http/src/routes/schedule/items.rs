//! What the endpoints about schedules share.

use rerun_core::error::Invalid;
use rerun_core::ids::ScheduleId;
use rerun_core::{Timestamp, timestamp};
use rerun_wire::api::schedule::items::OfSchedule;

use crate::extract::Required;
use crate::routes::params::schedule_id;

/// The schedule that a body names.
pub(super) fn named(body: OfSchedule) -> Result<ScheduleId, rerun_core::Error> {
    let mut required = Required::default();
    let id = required.text("schedule_id", body.schedule_id);
    required.check()?;
    Ok(schedule_id(&id))
}

/// Reads a time with its offset.
pub(super) fn time(field: &str, text: &str) -> Result<Timestamp, Invalid> {
    timestamp::parse(text).map_err(|error| {
        Invalid::new(format!(
            "`{field}` must be an RFC 3339 date and time with an offset, such as \
             `2026-11-30T09:00:00+01:00`: {error}"
        ))
    })
}
