//! A server, somebody who calls it, and what they have in common.

mod api;
mod database;
pub(crate) mod endpoints;
mod exposition;
pub(crate) mod openapi;
mod raw;
pub(crate) mod refusal;
mod server;
mod shape;
mod story;

pub(crate) use api::{Answer, Api, Headers, IP, NAME, token};
pub(crate) use database::Store;
pub(crate) use exposition::Exposition;
pub(crate) use raw::Raw;
pub(crate) use server::{
    API_CODE, CURSORS, MAX_IMPORT_BYTES, MAX_SEGMENTS, SECRET, Server, TRUSTED_PROXY_HOST, settled,
};
pub(crate) use shape::assert_shape;
pub(crate) use story::{SPRING, SUMMER, SUMMER_AGAIN, attribute, body_of, ids, segment_of};

/// Runs each case on SQLite and on PostgreSQL: `case` becomes the tests `sqlite::case` and
/// `postgres::case`.
macro_rules! on_both_stores {
    ($($case:ident),+ $(,)?) => {
        mod sqlite {
            $(#[actix_web::test]
            async fn $case() {
                crate::support::Server::run(crate::support::Store::Sqlite, super::$case).await;
            })+
        }
        mod postgres {
            $(#[actix_web::test]
            async fn $case() {
                crate::support::Server::run(crate::support::Store::Postgres, super::$case).await;
            })+
        }
    };
}
pub(crate) use on_both_stores;
