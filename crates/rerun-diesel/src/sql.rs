//! Statements from SQL text that stay prepared.
//!
//! `diesel::sql_query` prepares its statement again for every call. On PostgreSQL that costs a
//! round trip and planning time for each call. These statements are cached by their text.
//!
//! The stores use them for what diesel's query builder cannot say, or would plan again for each call, such as an
//! `UPDATE`.

use std::marker::PhantomData;

use diesel::backend::Backend;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::query_dsl::LoadQuery;
use diesel::result::QueryResult;
use diesel::serialize::ToSql;
use diesel::sql_types::{HasSqlType, Untyped};
use diesel::{Connection, RunQueryDsl};

/// Comparing so many rows with each other costs less than planning a statement.
const FEW_ROWS: usize = 100;

/// A statement with a `?` for each of its values, on every database.
#[must_use = "a statement does nothing until it is loaded or executed"]
pub struct Sql<'a, DB: Backend> {
    text: &'a str,
    cached: bool,
    binds: Vec<Box<dyn QueryFragment<DB> + Send + 'a>>,
}

struct Bound<ST, T> {
    value: T,
    sql_type: PhantomData<fn() -> ST>,
}

/// A database that takes values of this type in the places of this one. Every database does that its
/// types say so of; as a trait of the database it can be asked for once, by
/// [`Dialect`](crate::shared::Dialect).
pub trait Takes<ST, T>: Backend {
    /// Adds a place with its value.
    ///
    /// # Errors
    /// What diesel reports.
    fn push<'b>(value: &'b T, out: AstPass<'_, 'b, Self>) -> QueryResult<()>;
}

impl<ST, T, DB> Takes<ST, T> for DB
where
    DB: Backend + HasSqlType<ST>,
    T: ToSql<ST, DB>,
{
    fn push<'b>(value: &'b T, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        out.push_bind_param::<ST, T>(value)
    }
}

impl<ST, T, DB: Takes<ST, T>> QueryFragment<DB> for Bound<ST, T> {
    fn walk_ast<'b>(&'b self, out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        DB::push(&self.value, out)
    }
}

/// The statement `text`. It must hold no `?` but the places of its values.
pub const fn sql<DB: Backend>(text: &str) -> Sql<'_, DB> {
    Sql {
        text,
        cached: true,
        binds: Vec::new(),
    }
}

impl<'a, DB: Backend> Sql<'a, DB> {
    /// Has the statement planned for each call, with its values at hand, when it is about
    /// many rows: PostgreSQL keeps a plan that it made when a table was empty until it has new
    /// statistics, and such a plan may compare each row with each other. For few rows a planning
    /// takes longer than the statement, however it is planned.
    pub const fn planned_for(mut self, rows: usize) -> Self {
        self.cached = rows <= FEW_ROWS;
        self
    }

    /// The same for a statement about a number of rows that is not known.
    pub const fn planned_each_time(self) -> Self {
        self.planned_for(usize::MAX)
    }

    /// Says what types the columns of its answer have, for rows that are read by position.
    pub const fn columns<ST>(self) -> Typed<'a, DB, ST> {
        Typed {
            statement: self,
            columns: PhantomData,
        }
    }

    /// Gives the next `?` its value.
    pub fn bind<ST, T>(mut self, value: T) -> Self
    where
        DB: Takes<ST, T>,
        T: Send + 'a,
        ST: 'a,
    {
        self.binds.push(Box::new(Bound {
            value,
            sql_type: PhantomData::<fn() -> ST>,
        }));
        self
    }

    /// Gives each of the next `times` `?` this value.
    pub fn bind_times<ST, T>(self, times: usize, value: T) -> Self
    where
        DB: Takes<ST, T>,
        T: Copy + Send + 'a,
        ST: 'a,
    {
        (0..times).fold(self, |statement, _place| statement.bind::<ST, T>(value))
    }
}

impl<DB: Backend> QueryFragment<DB> for Sql<'_, DB> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        if !self.cached {
            out.unsafe_to_cache_prepared();
        }
        let mut binds = self.binds.iter();
        for (index, part) in self.text.split('?').enumerate() {
            if index > 0 {
                let bind = binds.next().ok_or_else(|| mismatch(self.text))?;
                bind.walk_ast(out.reborrow())?;
            }
            out.push_sql(part);
        }
        match binds.next() {
            None => Ok(()),
            Some(_) => Err(mismatch(self.text)),
        }
    }
}

fn mismatch(text: &str) -> diesel::result::Error {
    diesel::result::Error::QueryBuilderError(
        format!("places and values do not match in: {text}").into(),
    )
}

impl<DB: Backend> QueryId for Sql<'_, DB> {
    type QueryId = ();
    // Without a static id the statement cache goes by the text.
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<DB: Backend> Query for Sql<'_, DB> {
    type SqlType = Untyped;
}

impl<DB: Backend, Conn> RunQueryDsl<Conn> for Sql<'_, DB> {}

/// A [statement](sql) whose answer has columns of known types.
#[must_use = "a statement does nothing until it is loaded"]
pub struct Typed<'a, DB: Backend, ST> {
    statement: Sql<'a, DB>,
    columns: PhantomData<fn() -> ST>,
}

impl<DB: Backend, ST> Typed<'_, DB, ST> {
    /// Returns the rows. It is for connections of which only the [kind](crate::shared::Shared) is known.
    ///
    /// # Errors
    /// What diesel reports.
    pub fn read<C, R>(self, conn: &mut C) -> QueryResult<Vec<R>>
    where
        C: Reads<ST, R> + Connection<Backend = DB>,
    {
        conn.rows(self)
    }
}

impl<DB: Backend, ST> QueryFragment<DB> for Typed<'_, DB, ST> {
    fn walk_ast<'b>(&'b self, out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        self.statement.walk_ast(out)
    }
}

impl<DB: Backend, ST> QueryId for Typed<'_, DB, ST> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<DB: Backend, ST> Query for Typed<'_, DB, ST> {
    type SqlType = ST;
}

impl<DB: Backend, ST, Conn> RunQueryDsl<Conn> for Typed<'_, DB, ST> {}

/// A connection that reads rows of this type from columns of these.
pub trait Reads<ST, R>: Connection {
    /// Runs the statement and returns its rows.
    ///
    /// # Errors
    /// What diesel reports.
    fn rows(&mut self, statement: Typed<'_, Self::Backend, ST>) -> QueryResult<Vec<R>>;
}

impl<ST, R, C> Reads<ST, R> for C
where
    C: Connection,
    for<'q> Typed<'q, C::Backend, ST>: LoadQuery<'q, C, R>,
{
    fn rows(&mut self, statement: Typed<'_, C::Backend, ST>) -> QueryResult<Vec<R>> {
        statement.load::<R>(self)
    }
}
