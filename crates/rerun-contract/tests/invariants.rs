//! Random sequences of commands on the store in memory.

use rerun_contract::Fixture;
use rerun_contract::memory::MemoryStore;

#[test]
fn no_sequence_of_commands_breaks_an_invariant() {
    rerun_contract::model::run_sequences(300, async || Fixture::new(MemoryStore::new()));
}
