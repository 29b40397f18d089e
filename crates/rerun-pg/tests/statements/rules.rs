//! What a PostgreSQL that distributes tables by account takes, as rules on the text of a statement.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a statement has a hundred kinds of parts, and the rules are about few of them"
)]

use std::collections::BTreeSet;
use std::fmt;
use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, Cte, Delete, Expr, FromTable, Insert, Join, JoinConstraint, JoinOperator,
    ObjectName, Query, Select, SelectItem, SetExpr, Statement, TableFactor, TableObject,
    TableWithJoins, Update, UpdateTableFromKind, Value, ValueWithSpan, Visit as _, Visitor,
};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::{Parser, ParserError};

/// The column that tables are distributed by.
const KEY: &str = "account_id";

/// Functions that return rows, where they stand as a value.
const ROW_FUNCTIONS: [&str; 4] = [
    "unnest",
    "generate_series",
    "jsonb_array_elements",
    "jsonb_to_recordset",
];

/// A rule that every statement of the store keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rule {
    /// Each table is filtered by `account_id` as a parameter, where it stands; a row is inserted
    /// with `account_id` as a parameter, or with that of a row that is filtered by it.
    Account,
    /// An `INSERT` is not part of another statement.
    Insert,
    /// Rows are locked in one account.
    Lock,
    /// A function that returns rows is not joined to a table.
    Function,
    /// A subquery that is joined as `LATERAL` has a `FROM` of its own.
    Lateral,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Account => "a table is not filtered by account_id as a parameter",
            Self::Insert => "an INSERT is part of another statement",
            Self::Lock => "rows of more than one account are locked",
            Self::Function => "a function that returns rows is joined to a table",
            Self::Lateral => "a subquery that is joined as LATERAL has no FROM",
        })
    }
}

/// A rule that a statement breaks, and with which table or function.
pub(crate) type Breach = (Rule, String);

/// The rules that a statement breaks. `tables` are those that have an account.
///
/// # Errors
/// When the statement cannot be parsed.
pub(crate) fn breaches(
    statement: &str,
    tables: &BTreeSet<String>,
) -> Result<BTreeSet<Breach>, ParserError> {
    // The parser does not know these locks, which the rules treat as it does those.
    let known = statement
        .replace(" FOR NO KEY UPDATE", " FOR UPDATE")
        .replace(" FOR KEY SHARE", " FOR SHARE");
    let parsed = Parser::parse_sql(&PostgreSqlDialect {}, &known)?;
    let mut look = Look {
        tables,
        named: BTreeSet::new(),
        reads: false,
        functions: BTreeSet::new(),
        found: BTreeSet::new(),
    };
    let _: ControlFlow<()> = parsed.visit(&mut look);
    if look.reads {
        let joined = look.functions.into_iter();
        look.found.extend(joined.map(|name| (Rule::Function, name)));
    }
    Ok(look.found)
}

struct Look<'a> {
    tables: &'a BTreeSet<String>,
    /// The names that `WITH` gives.
    named: BTreeSet<String>,
    /// Whether rows of a table are read, changed or deleted.
    reads: bool,
    functions: BTreeSet<String>,
    found: BTreeSet<Breach>,
}

/// A table in the place where it is read.
struct Place {
    table: String,
    alias: String,
}

/// The name without its path, and without quotes.
fn last_name(name: &ObjectName) -> String {
    name.0.last().map_or_else(String::new, |last| {
        last.as_ident()
            .map_or_else(|| last.to_string(), |name| name.value.clone())
    })
}

impl Look<'_> {
    fn is_table(&self, name: &str) -> bool {
        self.tables.contains(name) && !self.named.contains(name)
    }

    fn places(&self, factor: &TableFactor) -> Vec<Place> {
        match factor {
            TableFactor::Table {
                name,
                alias,
                args: None,
                ..
            } => {
                let table = last_name(name);
                let alias = alias.as_ref().map_or(&table, |alias| &alias.name.value);
                let place = Place {
                    alias: alias.clone(),
                    table: table.clone(),
                };
                let is_table = self.is_table(&table);
                is_table.then_some(place).into_iter().collect()
            }
            TableFactor::NestedJoin {
                table_with_joins, ..
            } => {
                let joined = table_with_joins.joins.iter().map(|join| &join.relation);
                let all = std::iter::once(&table_with_joins.relation).chain(joined);
                all.flat_map(|factor| self.places(factor)).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The tables in `from` that neither a condition of a join nor `selection` filters.
    fn unfiltered(&self, from: &[TableWithJoins], selection: Option<&Expr>) -> Vec<String> {
        let mut places = Vec::new();
        let mut filtered = BTreeSet::new();
        for item in from {
            places.extend(self.places(&item.relation));
            for Join {
                relation,
                join_operator,
                ..
            } in &item.joins
            {
                let joined = self.places(relation);
                let (condition, inner) = match join_operator {
                    JoinOperator::Join(JoinConstraint::On(on))
                    | JoinOperator::Inner(JoinConstraint::On(on)) => (Some(on), true),
                    JoinOperator::Left(JoinConstraint::On(on))
                    | JoinOperator::LeftOuter(JoinConstraint::On(on)) => (Some(on), false),
                    _ => (None, false),
                };
                let mut keys = BTreeSet::new();
                condition.inspect(|on| keys_in(on, &mut keys));
                // The condition of an outer join leaves every row of the table before it.
                keys.retain(|key| inner || joined.iter().any(|place| place.alias == *key));
                filtered.extend(keys);
                places.extend(joined);
            }
        }
        selection.inspect(|expr| keys_in(expr, &mut filtered));
        // A name without a table is of the only one that has the column.
        let any = filtered.contains("") && places.len() == 1;
        places.retain(|place| !any && !filtered.contains(&place.alias));
        places.into_iter().map(|place| place.table).collect()
    }

    fn filter(&mut self, from: &[TableWithJoins], selection: Option<&Expr>) {
        for table in self.unfiltered(from, selection) {
            self.found.insert((Rule::Account, table));
        }
    }

    fn insert(&mut self, insert: &Insert) {
        let TableObject::TableName(name) = &insert.table else {
            return;
        };
        let table = last_name(name);
        if !self.is_table(&table) {
            return;
        }
        let place = insert
            .columns
            .iter()
            .position(|name| last_name(name) == KEY);
        let kept =
            place.is_some_and(
                |place| match insert.source.as_ref().map(|source| &*source.body) {
                    Some(SetExpr::Values(values)) => values
                        .rows
                        .iter()
                        .all(|row| row.get(place).is_some_and(is_parameter)),
                    Some(SetExpr::Select(select)) => {
                        let mut keys = BTreeSet::new();
                        select
                            .selection
                            .iter()
                            .for_each(|all| keys_in(all, &mut keys));
                        select.projection.get(place).is_some_and(|item| match item {
                            SelectItem::UnnamedExpr(expr)
                            | SelectItem::ExprWithAlias { expr, .. } => {
                                is_parameter(expr)
                                    || key_of(expr).is_some_and(|of| keys.contains(of))
                            }
                            _ => false,
                        })
                    }
                    _ => false,
                },
            );
        if !kept {
            self.found.insert((Rule::Account, table));
        }
    }
}

/// The tables of which a condition compares the account with a parameter, by their names in the
/// statement.
fn keys_in(condition: &Expr, keys: &mut BTreeSet<String>) {
    match condition {
        Expr::Nested(inner) => keys_in(inner, keys),
        Expr::BinaryOp {
            left,
            op: BinaryOperator::And,
            right,
        } => {
            keys_in(left, keys);
            keys_in(right, keys);
        }
        Expr::BinaryOp {
            left,
            op: BinaryOperator::Eq,
            right,
        } => match (&**left, &**right) {
            (column, value) | (value, column) if is_parameter(value) => {
                keys.extend(key_of(column).map(str::to_owned));
            }
            _ => {}
        },
        _ => {}
    }
}

/// The table whose account this is, by its name in the statement; without one, no name.
fn key_of(column: &Expr) -> Option<&str> {
    match column {
        Expr::Identifier(name) if name.value == KEY => Some(""),
        Expr::CompoundIdentifier(path) => match &path[..] {
            [table, name] if name.value == KEY => Some(&table.value),
            _ => None,
        },
        _ => None,
    }
}

fn is_parameter(expr: &Expr) -> bool {
    match expr {
        Expr::Nested(inner) => is_parameter(inner),
        Expr::Cast { expr, .. } => is_parameter(expr),
        Expr::Value(ValueWithSpan {
            value: Value::Placeholder(_),
            ..
        }) => true,
        _ => false,
    }
}

impl Visitor for Look<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        for Cte { alias, query, .. } in query.with.iter().flat_map(|with| &with.cte_tables) {
            self.named.insert(alias.name.value.clone());
            if let SetExpr::Insert(_) = &*query.body {
                self.found.insert((Rule::Insert, alias.name.value.clone()));
            }
        }
        if let (SetExpr::Select(select), false) = (&*query.body, query.locks.is_empty()) {
            for table in self.unfiltered(&select.from, select.selection.as_ref()) {
                self.found.insert((Rule::Lock, table));
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        self.filter(&select.from, select.selection.as_ref());
        ControlFlow::Continue(())
    }

    fn pre_visit_statement(&mut self, statement: &Statement) -> ControlFlow<()> {
        match statement {
            Statement::Insert(insert) => self.insert(insert),
            Statement::Update(Update {
                table,
                from,
                selection,
                ..
            }) => {
                let mut all = vec![table.clone()];
                if let Some(
                    UpdateTableFromKind::BeforeSet(from) | UpdateTableFromKind::AfterSet(from),
                ) = from
                {
                    all.extend_from_slice(from);
                }
                self.filter(&all, selection.as_ref());
            }
            Statement::Delete(Delete {
                from: FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from),
                using,
                selection,
                ..
            }) => {
                let mut all = from.clone();
                all.extend(using.iter().flatten().cloned());
                self.filter(&all, selection.as_ref());
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        match factor {
            TableFactor::UNNEST { .. } => {
                self.functions.insert("unnest".to_owned());
            }
            TableFactor::Function { name, .. }
            | TableFactor::Table {
                name,
                args: Some(_),
                ..
            } => {
                self.functions.insert(last_name(name));
            }
            TableFactor::Derived {
                lateral: true,
                subquery,
                ..
            } => {
                if let SetExpr::Select(select) = &*subquery.body
                    && select.from.is_empty()
                {
                    self.found.insert((Rule::Lateral, subquery.to_string()));
                }
            }
            other => self.reads |= !self.places(other).is_empty(),
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if let Expr::Function(function) = expr {
            let name = last_name(&function.name);
            if ROW_FUNCTIONS.contains(&name.as_str()) {
                self.functions.insert(name);
            }
        }
        ControlFlow::Continue(())
    }
}

/// A statement, and which rules it breaks with what.
type Example = (&'static str, &'static [(Rule, &'static str)]);

const EXAMPLES: &[Example] = {
    use Rule::{Account, Function, Insert, Lateral, Lock};
    &[
        ("SELECT * FROM messages WHERE account_id = $1", &[]),
        (
            "SELECT * FROM messages m WHERE (m.account_id = $1::uuid AND m.id = ANY($2))",
            &[],
        ),
        (
            "SELECT * FROM messages WHERE id = $1",
            &[(Account, "messages")],
        ),
        (
            "SELECT * FROM messages WHERE account_id = ANY($1)",
            &[(Account, "messages")],
        ),
        (
            "SELECT * FROM messages WHERE account_id = $1 OR id = $2",
            &[(Account, "messages")],
        ),
        (
            "SELECT * FROM messages m JOIN runs r ON r.account_id = m.account_id WHERE m.account_id = $1",
            &[(Account, "runs")],
        ),
        (
            "SELECT * FROM messages m JOIN runs r ON r.account_id = $1 WHERE m.account_id = $2",
            &[],
        ),
        (
            "SELECT * FROM messages m LEFT JOIN runs r ON r.account_id = $1 AND m.account_id = $2",
            &[(Account, "messages")],
        ),
        (
            "SELECT * FROM messages m JOIN LATERAL (SELECT 1 FROM runs \
           WHERE account_id = m.account_id LIMIT 1) r ON true WHERE m.account_id = $1",
            &[(Account, "runs")],
        ),
        (
            "SELECT * FROM messages m LEFT JOIN LATERAL (SELECT (SELECT true FROM runs \
           WHERE account_id = $1 LIMIT 1)) r ON true WHERE m.account_id = $1",
            &[(
                Lateral,
                "SELECT (SELECT true FROM runs WHERE account_id = $1 LIMIT 1)",
            )],
        ),
        (
            "SELECT 1 WHERE EXISTS (SELECT FROM runs r WHERE r.number = $1)",
            &[(Account, "runs")],
        ),
        (
            "WITH runs AS (SELECT 1 AS number) SELECT * FROM runs WHERE number = $1",
            &[],
        ),
        (
            "UPDATE runs SET number = 1 WHERE ctid = ANY($1)",
            &[(Account, "runs")],
        ),
        (
            "UPDATE runs r SET number = 1 FROM segments s WHERE r.account_id = $1 AND s.no = $2",
            &[(Account, "segments")],
        ),
        ("DELETE FROM runs WHERE account_id = $1", &[]),
        (
            r#"DELETE FROM "runs" WHERE (("runs"."account_id" = $1) AND ("runs"."number" = $2))"#,
            &[],
        ),
        (
            r#"DELETE FROM "runs" WHERE ("runs"."number" = $1)"#,
            &[(Account, "runs")],
        ),
        (
            r#"INSERT INTO "runs" ("account_id", "number") VALUES ($1, $2)"#,
            &[],
        ),
        (
            r#"INSERT INTO "runs" ("number") VALUES ($1)"#,
            &[(Account, "runs")],
        ),
        ("DELETE FROM runs WHERE number < $1", &[(Account, "runs")]),
        ("INSERT INTO runs (account_id, number) VALUES ($1, $2)", &[]),
        (
            "INSERT INTO runs (number) VALUES ($1)",
            &[(Account, "runs")],
        ),
        (
            "INSERT INTO runs (number, account_id) SELECT number, account_id FROM messages \
         WHERE account_id = $1",
            &[],
        ),
        (
            "INSERT INTO runs (number, account_id) SELECT r.number, m.account_id \
         FROM messages m JOIN runs r ON r.account_id = $1 WHERE m.id = $2",
            &[(Account, "messages"), (Account, "runs")],
        ),
        (
            "INSERT INTO runs (account_id, number) SELECT $1, n FROM unnest($2::int[]) AS g(n)",
            &[],
        ),
        (
            "WITH a AS (DELETE FROM runs WHERE account_id = $1 RETURNING number) \
         INSERT INTO segments (account_id, no) SELECT $2, number FROM a",
            &[],
        ),
        (
            "WITH a AS (INSERT INTO runs (account_id) VALUES ($1) RETURNING number) \
         SELECT * FROM a",
            &[(Insert, "a")],
        ),
        (
            "SELECT * FROM runs WHERE status = $1 FOR UPDATE SKIP LOCKED",
            &[(Account, "runs"), (Lock, "runs")],
        ),
        ("SELECT * FROM runs WHERE account_id = $1 FOR UPDATE", &[]),
        (
            "SELECT * FROM unnest($1::int[]) WITH ORDINALITY AS w(n, place) \
         JOIN runs r ON r.account_id = $2 AND r.number = w.n",
            &[(Function, "unnest")],
        ),
        (
            "UPDATE runs r SET number = w.n FROM jsonb_to_recordset($1) AS w(n int) \
         WHERE r.account_id = $2",
            &[(Function, "jsonb_to_recordset")],
        ),
        (
            "SELECT (SELECT unnest($1::int[]) LIMIT 1) FROM runs WHERE account_id = $2",
            &[(Function, "unnest")],
        ),
    ]
};

#[test]
fn each_rule_finds_what_breaks_it() {
    let tables = ["messages", "runs", "segments"].map(str::to_owned).into();
    for (statement, expected) in EXAMPLES {
        let found = breaches(statement, &tables).unwrap();
        let expected: BTreeSet<Breach> = expected
            .iter()
            .map(|(rule, what)| (*rule, (*what).to_owned()))
            .collect();
        assert_eq!(found, expected, "{statement}");
    }
}
