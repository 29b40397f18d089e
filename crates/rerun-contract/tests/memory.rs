//! The suite on the store in memory.

use rerun_contract::Fixture;
use rerun_contract::memory::MemoryStore;

async fn fresh() -> Fixture<MemoryStore> {
    Fixture::new(MemoryStore::new())
}

rerun_contract::store_contract!(fresh);
