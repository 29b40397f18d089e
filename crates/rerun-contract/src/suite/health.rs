//! Whether the store can be used.

use rerun_core::ports::Store;

use crate::fixture::Fixture;

/// A store that has the schema of its version is healthy, before and after it is written to.
pub async fn a_store_with_its_schema_is_healthy<S: Store + 'static>(f: &Fixture<S>) {
    f.store.check().await.expect("a fresh store");
    f.published(&["DE"]).await;
    f.store.check().await.expect("a store with a campaign");
}
