//! Schedules that are due at once, with several servers that are killed at random.

use std::time::Duration;

use rerun_contract::Fixture;
use rerun_contract::fixture::{caller, hourly, run_number};
use rerun_core::ids::{CampaignId, ScheduleId};
use rerun_core::ports::{self, Clock};
use rerun_core::schedule::Outcome;
use rerun_core::usecases::{Engine, NewSchedule, PageQuery, Settings};
use rerun_generate::SystemClock;
use rerun_pg::PgStore;
use rerun_server::config::{Database, DatabaseUrl};
use rerun_server::store::{Services, StorePorts, migrate};
use rerun_sqlite::SqliteStore;

use crate::process::Process;
use crate::wait::until;
use crate::world::{Store, World};
use crate::{chance, number, tell};

const MOST: u32 = 10_000;

/// The use cases over the world's database, and so many published campaigns in it.
async fn filled(world: &World, campaigns: u64) -> (Engine, Vec<CampaignId>) {
    let url = world.url();
    let database = if url.starts_with("sqlite:") {
        DatabaseUrl::Sqlite(url.clone())
    } else {
        DatabaseUrl::Postgres(url.clone())
    };
    migrate(&database).unwrap();
    let settings = Settings {
        schedules_per_account: MOST,
        ..Settings::default()
    };
    let published = match &database {
        DatabaseUrl::Sqlite(_) => {
            let options = rerun_sqlite::Options::default();
            published(SqliteStore::connect(&url, &options).unwrap(), campaigns).await
        }
        DatabaseUrl::Postgres(_) => {
            let options = rerun_pg::Options::default();
            published(PgStore::connect(&url, &options).unwrap(), campaigns).await
        }
    };
    let database = Database::new(database, 4);
    let open = StorePorts::open(&database, &Services::default(), settings).unwrap();
    (open.engine, published)
}

async fn published(store: impl ports::Store + 'static, campaigns: u64) -> Vec<CampaignId> {
    let fixture = Fixture::new(store);
    // What the servers do comes after it.
    fixture
        .clock
        .set(SystemClock.now() - Duration::from_hours(1));
    let mut all = Vec::new();
    for _ in 0..campaigns {
        all.push(fixture.published(&["DE"]).await);
    }
    all
}

/// A schedule with a single time, soon.
async fn soon(engine: &Engine, campaign: CampaignId) -> ScheduleId {
    let new = NewSchedule {
        name: "Soon".into(),
        cron: None,
        at: Some(SystemClock.now() + Duration::from_secs(1)),
        ..hourly(campaign)
    };
    let made = engine.schedules.create(&caller(), new, None).await;
    made.unwrap().outcome.view.schedule.id
}

/// How many schedules have fired.
async fn fired(engine: &Engine) -> usize {
    let page = PageQuery {
        limit: Some(MOST.into()),
        cursor: None,
    };
    let listed = engine.schedules.list(&caller(), &page).await.unwrap();
    let fired = listed.items.iter();
    fired
        .filter(|details| details.view.last_firing.is_some())
        .count()
}

async fn each_time_fires_once(place: Store) {
    let schedules = number("RERUN_TEST_SCHEDULES").unwrap_or(60);
    let servers = number("RERUN_TEST_SERVERS").unwrap_or(3);
    let kills = number("RERUN_TEST_KILLS").unwrap_or(4);
    let mut chance = chance();
    let world = World::with(place, &[]);
    let (engine, campaigns) = filled(&world, schedules).await;
    let mut ids = Vec::new();
    for campaign in &campaigns {
        ids.push(soon(&engine, *campaign).await);
    }
    let mut running: Vec<Process> = (0..servers).map(|_| world.start_server(0)).collect();
    let mut seen = Vec::new();
    for kill in 1..=kills {
        let least = chance.u64(0..=schedules * kill / (kills + 1));
        let least = usize::try_from(least).unwrap();
        let at_the_kill = until("firings", async || {
            let fired = fired(&engine).await;
            (fired >= least).then_some(fired)
        })
        .await;
        seen.push(at_the_kill);
        running.swap_remove(chance.usize(..running.len())).kill();
        running.push(world.start_server(0));
    }
    // What a killed server had leased comes due again when the lease ends.
    until("all firings", async || {
        (fired(&engine).await == ids.len()).then_some(())
    })
    .await;
    tell(&format!(
        "{schedules} schedules, {servers} servers, {kills} kills after {seen:?} firings"
    ));
    for process in running {
        process.kill();
    }
    for (campaign, id) in campaigns.iter().zip(&ids) {
        let page = PageQuery::default();
        let firings = engine.schedules.firings(&caller(), *id, None, &page).await;
        let firings = firings.unwrap().items;
        assert_eq!(firings.len(), 1, "{firings:?}");
        assert_eq!(firings[0].outcome, Outcome::Started);
        assert_eq!(firings[0].run_number, Some(run_number(2)));
        let campaign = engine.campaigns.get(&caller(), *campaign).await.unwrap();
        assert_eq!(campaign.last_run, Some(run_number(2)));
    }
    world.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_time_fires_once_when_servers_are_killed_on_sqlite() {
    each_time_fires_once(Store::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_time_fires_once_when_servers_are_killed_on_postgres() {
    each_time_fires_once(Store::postgres()).await;
}
