//! Makes a test of each case. `build.rs` lists the cases.

include!(concat!(env!("OUT_DIR"), "/cases.rs"));

/// Makes one test for each case of the suite, in one module for each port. `$fresh` names an
/// async function without parameters that makes a [`Fixture`](crate::Fixture) over a store
/// without rows; every test has one of its own.
///
/// The calling crate needs tokio among its dev-dependencies.
///
/// ```no_run
/// use rerun_contract::{Fixture, memory::MemoryStore};
///
/// async fn fresh() -> Fixture<MemoryStore> {
///     Fixture::new(MemoryStore::new())
/// }
///
/// rerun_contract::store_contract!(fresh);
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! store_contract {
    ($fresh:ident) => {
        $crate::each_case!($fresh);
    };
    (@modules $fresh:ident $($module:ident { $($case:ident,)+ })+) => {
        $(
            mod $module {
                $(
                    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                    async fn $case() {
                        $crate::suite::$module::$case(&super::$fresh().await).await;
                    }
                )+
            }
        )+
    };
}
