//! The tables of the query builder are those of the database.

use std::collections::HashMap;
use std::fmt::Write as _;

use diesel::sql_types::{Bool, Text};
use diesel::{Connection, QueryableByName, RunQueryDsl, SqliteConnection};

const SCHEMA: &str = include_str!("../../src/schema.rs");

/// How each table begins.
const TYPES: &str = "diesel::table! {
    use diesel::sql_types::{BigInt, Binary, Bool, Integer, Nullable, SmallInt, Text};
    use rerun_diesel::types::{Id, Time as Moment};

";

#[derive(QueryableByName)]
struct Column {
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = Bool)]
    is_nullable: bool,
}

#[derive(QueryableByName)]
struct Key {
    #[diesel(sql_type = Text)]
    columns: String,
}

/// What the database calls a type of the query builder.
fn kind(builder_type: &str) -> &str {
    match builder_type {
        "BigInt" | "Bool" | "Integer" | "Moment" | "SmallInt" => "INTEGER",
        "Binary" | "Id" => "BLOB",
        "Text" => "TEXT",
        other => panic!("a column has the type {other}"),
    }
}

/// The types of the query builder's columns, by table and column.
fn types() -> HashMap<(&'static str, &'static str), &'static str> {
    let mut types = HashMap::new();
    let mut table = "";
    for line in SCHEMA.lines() {
        let Some(line) = line.strip_prefix("    ") else {
            continue;
        };
        if let Some((name, _key)) = line.split_once(" (") {
            table = name;
        } else if let Some((column, kind)) = line.trim().split_once(" -> ") {
            let kind = kind.trim_end_matches([',', '>']);
            types.insert((table, column), kind.trim_start_matches("Nullable<"));
        }
    }
    types
}

/// A table of the database, as the query builder declares it. SQLite does not tell an integer from a point in time, so
/// `types` says what an integer is.
fn declared(
    conn: &mut SqliteConnection,
    table: &str,
    types: &HashMap<(&str, &str), &str>,
) -> String {
    let key = diesel::sql_query(
        "SELECT group_concat(name, ', ') AS columns FROM ( \
           SELECT name FROM pragma_table_info(?) WHERE pk > 0 ORDER BY pk)",
    )
    .bind::<Text, _>(table)
    .get_result::<Key>(conn)
    .unwrap();
    let columns = diesel::sql_query(
        "SELECT name, type AS kind, \"notnull\" = 0 AS is_nullable FROM pragma_table_info(?) \
         ORDER BY cid",
    )
    .bind::<Text, _>(table)
    .load::<Column>(conn)
    .unwrap();
    let mut text = format!("{TYPES}    {table} ({}) {{\n", key.columns);
    for column in columns {
        let found = types.get(&(table, column.name.as_str())).copied();
        let kind = found
            .filter(|found| kind(found) == column.kind)
            .unwrap_or(&column.kind);
        let kind = if column.is_nullable {
            format!("Nullable<{kind}>")
        } else {
            kind.to_owned()
        };
        writeln!(text, "        {} -> {kind},", column.name).unwrap();
    }
    text + "    }\n}\n"
}

#[test]
fn the_tables_of_the_query_builder_are_those_of_the_database() {
    let (url, _folder) = super::common::database();
    let mut conn = SqliteConnection::establish(&url).unwrap();
    let types = types();
    let names = SCHEMA.lines().filter_map(|line| {
        let (name, _key) = line.strip_prefix("    ")?.split_once(" (")?;
        Some(name)
    });
    let tables: Vec<String> = names
        .map(|name| declared(&mut conn, name, &types))
        .collect();
    let at = SCHEMA.find("diesel::table!").unwrap();
    assert_eq!(&SCHEMA[at..], tables.join("\n"));
}
