//! Rows that a statement finds once, and then again by their places (`ctid`).

use std::fmt;

use diesel::pg::Pg;
use diesel::sql_types::Bool;
use diesel::{PgConnection, QueryResult, QueryableByName, RunQueryDsl};
use rerun_core::ids::AccountId;
use rerun_diesel::sql::Sql;
use rerun_diesel::types::Id;

/// How a statement names places.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Places {
    /// Alone. With any other condition, a planner with wrong statistics reads all of an account's rows.
    #[default]
    Alone,
    /// With the account, where tables are distributed by account. There, a place alone does not say which row.
    OfAccount,
}

#[derive(QueryableByName)]
struct Distributed {
    #[diesel(sql_type = Bool)]
    distributed: bool,
}

/// A further condition on a row.
pub(crate) struct Condition<'a>(Option<&'a str>);

impl fmt::Display for Condition<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(row) => write!(f, " AND {row}.account_id = ?"),
            None => Ok(()),
        }
    }
}

impl Places {
    /// What this database needs.
    ///
    /// # Errors
    /// What diesel reports.
    pub(crate) fn of(conn: &mut PgConnection) -> QueryResult<Self> {
        let found = diesel::sql_query(
            "SELECT EXISTS (SELECT FROM pg_proc WHERE proname = 'create_distributed_table') \
               AS distributed",
        )
        .get_result::<Distributed>(conn)?;
        Ok(if found.distributed {
            Self::OfAccount
        } else {
            Self::Alone
        })
    }

    /// What a condition on the place of a row needs in addition. [`bind`](Self::bind) gives it its value.
    pub(crate) fn condition(self, row: &str) -> Condition<'_> {
        Condition((self == Self::OfAccount).then_some(row))
    }

    /// Gives a [`condition`](Self::condition) its value.
    pub(crate) fn bind(self, statement: Sql<'_, Pg>, account: AccountId) -> Sql<'_, Pg> {
        match self {
            Self::Alone => statement,
            Self::OfAccount => statement.bind::<Id, _>(account.as_uuid()),
        }
    }
}
