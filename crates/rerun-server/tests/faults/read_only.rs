//! A PostgreSQL that takes no writes for a while.

use diesel::connection::SimpleConnection;
use diesel::{Connection, PgConnection};
use serde_json::json;

use crate::api::{Api, Reply};
use crate::wait::until;
use crate::world::{Store, World};

async fn create(api: &Api) -> Reply {
    let body = json!({ "name": "g" }).to_string();
    api.send("customer-group/create", "application/json", body)
        .await
}

/// Changes a setting of the database, for sessions that begin later.
fn alter(admin: &mut PgConnection, setting: &str) {
    let alter = format!(
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I {setting}', current_database()); END $$"
    );
    admin.batch_execute(&alter).unwrap();
}

fn is_ok(reply: &Reply) -> bool {
    matches!(reply, Reply::Answer { status: 200, .. })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_that_was_read_only_is_written_again_at_once() {
    let world = World::with(Store::postgres(), &[]);
    let server = world.serve(0).await;
    let api = Api::new(&world, &server);
    let mut admin = PgConnection::establish(&world.url()).unwrap();
    assert!(is_ok(&create(&api).await));
    let mut groups = 1;
    for _ in 0..2 {
        alter(&mut admin, "SET default_transaction_read_only = on");
        // What is read when a session begins; those that are there go.
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                   WHERE datname = current_database() AND pid <> pg_backend_pid()";
        admin.batch_execute(end).unwrap();
        // Several connections that are read-only, if there were to be any.
        for _ in 0..3 {
            let replies = [create(&api), create(&api), create(&api)];
            for reply in futures_util::future::join_all(replies).await {
                assert!(reply.is_unavailable(), "{reply:?}");
            }
            let ready = api.ready().await;
            assert!(ready.is_unavailable(), "{ready:?}");
            let listed = api.pages("customer-group/list", json!({}), "customer_groups");
            assert_eq!(listed.await.len(), groups);
        }
        // Without an end to the sessions: those of the server were made while it was read-only.
        alter(&mut admin, "RESET default_transaction_read_only");
        // Who only reads makes no connection that stays read-only.
        until("a write", async || {
            api.pages("customer-group/list", json!({}), "customer_groups")
                .await;
            is_ok(&create(&api).await).then_some(())
        })
        .await;
        for _ in 0..16 {
            let reply = create(&api).await;
            assert!(is_ok(&reply), "{reply:?}");
            groups += 1;
        }
        groups += 1;
        let ready = api.ready().await;
        assert!(is_ok(&ready), "{ready:?}");
    }
    assert_eq!(server.process.terminate().await, Some(0));
    world.check().await;
}
