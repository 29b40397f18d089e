//! The tables of the query builder are those of the database.

use std::fmt::Write as _;

use diesel::sql_types::{Bool, Text};
use diesel::{Connection, PgConnection, QueryableByName, RunQueryDsl};

const SCHEMA: &str = include_str!("../../src/schema.rs");

#[derive(QueryableByName)]
struct Key {
    #[diesel(sql_type = Text)]
    columns: String,
}

#[derive(QueryableByName)]
struct Column {
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = Bool)]
    is_nullable: bool,
}

/// The type of the query builder for a type of the database.
fn builder_type(kind: &str) -> &str {
    match kind {
        "bool" => "Bool",
        "bytea" => "Binary",
        "int2" => "SmallInt",
        "int4" => "Integer",
        "int8" => "BigInt",
        "jsonb" => "Jsonb",
        "text" => "Text",
        "timestamptz" => "Timestamptz",
        "uuid" => "Uuid",
        other => panic!("a column has the type {other}"),
    }
}

/// A table of the database, as the query builder declares it.
fn declared(conn: &mut PgConnection, table: &str) -> String {
    let key = diesel::sql_query(
        "SELECT string_agg(a.attname, ', ' ORDER BY k.place) AS columns FROM pg_constraint c \
         CROSS JOIN unnest(c.conkey) WITH ORDINALITY AS k(number, place) \
         JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.number \
         WHERE c.conrelid = $1::regclass AND c.contype = 'p'",
    )
    .bind::<Text, _>(table)
    .get_result::<Key>(conn)
    .unwrap();
    let columns = diesel::sql_query(
        "SELECT column_name AS name, udt_name AS kind, is_nullable = 'YES' AS is_nullable \
         FROM information_schema.columns WHERE table_schema = 'public' AND table_name = $1 \
         ORDER BY ordinal_position",
    )
    .bind::<Text, _>(table)
    .load::<Column>(conn)
    .unwrap();
    let mut text = format!("diesel::table! {{\n    {table} ({}) {{\n", key.columns);
    for column in columns {
        let kind = builder_type(&column.kind);
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
    let database = super::common::database();
    let mut conn = PgConnection::establish(database.url()).unwrap();
    let names = SCHEMA.lines().filter_map(|line| {
        let (name, _key) = line.strip_prefix("    ")?.split_once(" (")?;
        Some(name)
    });
    let tables: Vec<String> = names.map(|name| declared(&mut conn, name)).collect();
    let at = SCHEMA.find("diesel::table!").unwrap();
    assert_eq!(&SCHEMA[at..], tables.join("\n"));
}
