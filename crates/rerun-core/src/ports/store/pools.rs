use std::time::Duration;

/// How the connections of a pool are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolUsage {
    /// The most connections that it may have.
    pub size: u32,
    /// Connections that a job uses now.
    pub in_use: u32,
    /// Connections that are open and wait for a job.
    pub idle: u32,
    /// Jobs that wait for a connection now.
    pub waiting: u64,
    /// Jobs that waited too long and were given up.
    pub timeouts: u64,
    /// How long jobs waited, from the beginning.
    pub waits: Waits,
}

/// How many jobs waited how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Waits {
    /// For each of [`Waits::BOUNDS`] the jobs that waited no longer, but longer than the bound
    /// before; then those that waited longer than every bound.
    pub jobs: [u64; Waits::BOUNDS.len() + 1],
    /// The sum of all waits, in microseconds.
    pub total_micros: u64,
}

impl Waits {
    /// Upper bounds of the groups that waits are counted in. Most jobs find a free connection.
    pub const BOUNDS: [Duration; 6] = [
        Duration::from_micros(100),
        Duration::from_millis(1),
        Duration::from_millis(10),
        Duration::from_millis(100),
        Duration::from_secs(1),
        Duration::from_secs(5),
    ];
}

/// Tells an operator how a store uses its connections. A store that has none need not implement
/// it.
pub trait PoolGauge: Send + Sync {
    /// The usage of each pool, with a word for what the pool is for.
    fn pools(&self) -> Vec<(&'static str, PoolUsage)>;
}
