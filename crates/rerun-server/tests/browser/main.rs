//! The console in a real Chromium, before the real command over either kind of database.
//!
//! They need `chromium` and `chromedriver` (Debian's packages chromium and chromium-driver). Elements
//! are found by role and name, as the browser itself tells them to a screen reader.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "the lints' exemption for tests misses their helpers"
)]

mod attack;
mod driver;
mod looks;
mod numbers;
mod openid;
#[path = "../provider/mod.rs"]
mod provider;
mod reviewers;
mod schedules;
mod story;
mod ways;
mod webhooks;
mod world;

use std::time::Duration;

/// The longest that anything may take before a test fails.
const PATIENCE: Duration = Duration::from_mins(3);

/// Runs each case on SQLite and on PostgreSQL: `case` becomes the tests `sqlite::case` and
/// `postgres::case`.
macro_rules! on_both_stores {
    ($($case:ident),+ $(,)?) => {
        mod sqlite {
            $(#[actix_web::test]
            async fn $case() {
                let world = crate::world::World::start(crate::world::Store::Sqlite);
                super::$case(world, crate::driver::Browser::start().await).await;
            })+
        }
        mod postgres {
            $(#[actix_web::test]
            async fn $case() {
                let world = crate::world::World::start(crate::world::Store::Postgres);
                super::$case(world, crate::driver::Browser::start().await).await;
            })+
        }
    };
}
use on_both_stores;
