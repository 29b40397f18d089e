//! Reads schedules and their firings, and previews the times of a pattern.

use super::{Kept, ScheduleDetails, Schedules};
use crate::actor::Actor;
use crate::error::{Error, Invalid};
use crate::ids::ScheduleId;
use crate::page::CursorScope;
use crate::ports::Calendar;
use crate::schedule::{CalendarTime, Firing, Outcome};
use crate::timestamp::Timestamp;
use crate::usecases::{Listed, PageQuery, listed};

impl Schedules {
    /// The most times that a preview tells.
    pub const MAX_PREVIEW: usize = 100;

    /// The schedule.
    ///
    /// # Errors
    /// [`Error::ScheduleNotFound`], [`Error::Store`].
    pub async fn get(&self, actor: &Actor, id: ScheduleId) -> Result<ScheduleDetails, Error> {
        let view = self.find(actor, id).await?;
        let at = self.host.clock.now();
        Ok(self.details(Kept { view, at }))
    }

    /// The account's schedules, newest first.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a limit or cursor that is none; [`Error::Store`].
    pub async fn list(
        &self,
        actor: &Actor,
        page: &PageQuery,
    ) -> Result<Listed<ScheduleDetails>, Error> {
        let scope = CursorScope {
            key: self.settings.cursors,
            list: "schedules",
            account: actor.account_id,
            narrowed_by: "",
        };
        let page = page.resolve(scope)?;
        let page = self.store.list_schedules(actor.account_id, page).await?;
        let Listed { items, next_cursor } = listed(page, scope)?;
        let at = self.host.clock.now();
        let items = items
            .into_iter()
            .map(|view| self.details(Kept { view, at }));
        Ok(Listed {
            items: items.collect(),
            next_cursor,
        })
    }

    /// The firings of a schedule, newest first.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a limit or cursor that is none; [`Error::ScheduleNotFound`];
    /// [`Error::Store`].
    pub async fn firings(
        &self,
        actor: &Actor,
        id: ScheduleId,
        outcome: Option<Outcome>,
        page: &PageQuery,
    ) -> Result<Listed<Firing>, Error> {
        let narrowed_by = format!("{id} {}", outcome.map_or("", Outcome::as_str));
        let scope = CursorScope {
            key: self.settings.cursors,
            list: "firings",
            account: actor.account_id,
            narrowed_by: &narrowed_by,
        };
        let page = page.resolve(scope)?;
        self.find(actor, id).await?;
        let firings = self
            .store
            .firings(actor.account_id, id, outcome, page)
            .await?;
        listed(firings, scope)
    }

    /// The times of a pattern after `from`, or after now.
    ///
    /// # Errors
    /// [`Error::Invalid`].
    pub fn preview(
        &self,
        cron: &str,
        time_zone: Option<&str>,
        from: Option<Timestamp>,
        limit: Option<i64>,
    ) -> Result<Vec<CalendarTime>, Error> {
        let from = from.unwrap_or_else(|| self.host.clock.now());
        Self::times_of(&*self.calendar, cron, time_zone, from, limit)
    }

    /// The times of a pattern after `from`, as this calendar knows them.
    ///
    /// # Errors
    /// [`Error::Invalid`].
    pub fn times_of(
        calendar: &dyn Calendar,
        cron: &str,
        time_zone: Option<&str>,
        from: Timestamp,
        limit: Option<i64>,
    ) -> Result<Vec<CalendarTime>, Error> {
        let limit = match limit {
            None => ScheduleDetails::NEXT_TIMES,
            Some(limit) => usize::try_from(limit)
                .ok()
                .filter(|limit| (1..=Self::MAX_PREVIEW).contains(limit))
                .ok_or_else(|| {
                    let most = Self::MAX_PREVIEW;
                    Invalid::new(format!("`limit` must be from 1 to {most}, not {limit}"))
                })?,
        };
        let time_zone = time_zone.unwrap_or("UTC");
        calendar.check_zone(time_zone)?;
        calendar.describe(cron, time_zone)?;
        Ok(calendar.times(cron, time_zone, from, limit)?)
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::super::tests::{NOW, schedules};
    use super::*;
    use crate::ports::MockCalendar;

    fn time(at: Timestamp) -> CalendarTime {
        CalendarTime {
            at,
            local: String::new(),
            clock_change: None,
        }
    }

    #[test]
    fn a_preview_has_the_times_after_a_time_as_many_as_asked_for() {
        let mut calendar = MockCalendar::new();
        calendar.expect_check_zone().returning(|zone| match zone {
            "UTC" | "Europe/Berlin" => Ok(()),
            _ => Err(Invalid::new("unknown zone")),
        });
        calendar.expect_describe().returning(|cron, _| match cron {
            "@hourly" => Ok("Every hour".into()),
            _ => Err(Invalid::new("no pattern")),
        });
        calendar.expect_times().returning(|_, _, from, limit| {
            let hours = (1..).take(limit);
            Ok(hours
                .map(|hours| time(from + TimeDelta::hours(hours)))
                .collect())
        });
        let schedules = schedules(calendar);
        let later = NOW + TimeDelta::days(1);
        for (from, begin) in [(None, NOW), (Some(later), later)] {
            for (limit, times) in [(None, 5), (Some(1), 1), (Some(100), 100)] {
                let found = schedules.preview("@hourly", None, from, limit).unwrap();
                let expected = (1..=times).map(|hours| time(begin + TimeDelta::hours(hours)));
                assert_eq!(found, expected.collect::<Vec<_>>(), "{from:?} {limit:?}");
            }
        }
        for limit in [-1, 0, 101] {
            let refused = schedules.preview("@hourly", None, None, Some(limit));
            assert!(refused.is_err(), "{limit}");
        }
        for (cron, zone) in [("@never", "UTC"), ("@hourly", "Nowhere")] {
            let refused = schedules.preview(cron, Some(zone), None, None);
            assert!(refused.is_err(), "{cron} {zone}");
        }
    }
}
