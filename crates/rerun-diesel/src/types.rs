//! Column types that both databases have under one name.

/// A UUID: `uuid` on PostgreSQL, a blob of 16 bytes on SQLite.
#[derive(
    Debug, Clone, Copy, Default, diesel::sql_types::SqlType, diesel::query_builder::QueryId,
)]
#[cfg_attr(
    feature = "postgres",
    diesel(postgres_type(oid = 2950, array_oid = 2951))
)]
#[cfg_attr(feature = "sqlite", diesel(sqlite_type(name = "Binary")))]
pub struct Id;

/// A point in time: `timestamptz` on PostgreSQL, milliseconds since 1970 on SQLite.
#[derive(
    Debug, Clone, Copy, Default, diesel::sql_types::SqlType, diesel::query_builder::QueryId,
)]
#[cfg_attr(
    feature = "postgres",
    diesel(postgres_type(oid = 1184, array_oid = 1185))
)]
#[cfg_attr(feature = "sqlite", diesel(sqlite_type(name = "Long")))]
pub struct Time;

#[cfg(feature = "postgres")]
mod postgres {
    use std::io::Write;

    use chrono::{DateTime, Utc};
    use diesel::deserialize::{self, FromSql};
    use diesel::pg::{Pg, PgValue};
    use diesel::serialize::{self, IsNull, Output, ToSql};
    use diesel::sql_types::Timestamptz;
    use uuid::Uuid;

    use super::{Id, Time};

    impl ToSql<Id, Pg> for Uuid {
        fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
            out.write_all(self.as_bytes())?;
            Ok(IsNull::No)
        }
    }

    impl FromSql<Id, Pg> for Uuid {
        fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
            Ok(Uuid::from_slice(value.as_bytes())?)
        }
    }

    impl ToSql<Time, Pg> for DateTime<Utc> {
        fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
            ToSql::<Timestamptz, Pg>::to_sql(self, out)
        }
    }

    impl FromSql<Time, Pg> for DateTime<Utc> {
        fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
            FromSql::<Timestamptz, Pg>::from_sql(value)
        }
    }
}

#[cfg(feature = "sqlite")]
pub use sqlite::{At, Uid};

#[cfg(feature = "sqlite")]
mod sqlite {
    use chrono::{DateTime, Utc};
    use diesel::backend::Backend;
    use diesel::deserialize::{self, FromSql};
    use diesel::expression::AsExpression;
    use diesel::serialize::{self, IsNull, Output, ToSql};
    use diesel::sql_types::{BigInt, Binary};
    use diesel::sqlite::Sqlite;
    use uuid::Uuid;

    use super::{Id, Time};

    /// A UUID as a value of the query builder, which takes values of this crate's types alone for columns of
    /// this crate's types.
    #[derive(Debug, Clone, Copy, AsExpression)]
    #[diesel(sql_type = Id)]
    pub struct Uid(pub Uuid);

    /// A point in time as a value of the query builder.
    #[derive(Debug, Clone, Copy, AsExpression)]
    #[diesel(sql_type = Time)]
    pub struct At(pub DateTime<Utc>);

    impl ToSql<Id, Sqlite> for Uid {
        fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> serialize::Result {
            ToSql::<Id, Sqlite>::to_sql(&self.0, out)
        }
    }

    impl ToSql<Time, Sqlite> for At {
        fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> serialize::Result {
            ToSql::<Time, Sqlite>::to_sql(&self.0, out)
        }
    }

    impl ToSql<Id, Sqlite> for Uuid {
        fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> serialize::Result {
            out.set_value(self.as_bytes().as_slice());
            Ok(IsNull::No)
        }
    }

    impl FromSql<Id, Sqlite> for Uuid {
        fn from_sql(value: <Sqlite as Backend>::RawValue<'_>) -> deserialize::Result<Self> {
            let bytes = <Vec<u8> as FromSql<Binary, Sqlite>>::from_sql(value)?;
            Ok(Uuid::from_slice(&bytes)?)
        }
    }

    impl ToSql<Time, Sqlite> for DateTime<Utc> {
        fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> serialize::Result {
            out.set_value(self.timestamp_millis());
            Ok(IsNull::No)
        }
    }

    impl FromSql<Time, Sqlite> for DateTime<Utc> {
        fn from_sql(value: <Sqlite as Backend>::RawValue<'_>) -> deserialize::Result<Self> {
            let millis = <i64 as FromSql<BigInt, Sqlite>>::from_sql(value)?;
            DateTime::from_timestamp_millis(millis)
                .ok_or_else(|| format!("{millis} is no point in time").into())
        }
    }
}
