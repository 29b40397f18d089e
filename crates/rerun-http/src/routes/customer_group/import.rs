use actix_web::{HttpRequest, web};
use rerun_core::error::Error;
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;

use crate::csv_import;
use crate::error::{ApiError, Refusal};
use crate::extract::{CsvCall, Required, State};
use crate::routes::customer_group_id;
use crate::wire::{Answer, json};

#[derive(Deserialize)]
struct Query {
    customer_group_id: Option<String>,
}

#[derive(Serialize)]
struct Response {
    imported: u64,
    updated: u64,
    total: u64,
}

/// `POST /v1/customer-group/import`
pub(crate) async fn handle(state: State, request: HttpRequest, call: CsvCall) -> Answer {
    let CsvCall { caller, body } = call;
    let query = web::Query::<Query>::from_query(request.query_string())
        .map_err(|error| Refusal::Malformed(format!("the query string: {error}")))?
        .into_inner();
    let mut required = Required::default();
    let group = required.text("customer_group_id", query.customer_group_id);
    required.check()?;
    let group = customer_group_id(&group);
    // Nobody should send a large file to learn that its group is not there.
    state.engine.groups.get(&caller, group).await?;
    let file = csv_import::spool(body).await?;
    let opened = spawn_blocking(move || csv_import::open(file))
        .await
        .map_err(ApiError::internal)?;
    let csv_import::Import {
        fields,
        rows,
        failure,
    } = opened?;
    let result = state
        .engine
        .groups
        .import(&caller, group, fields, rows)
        .await;
    let imported = match (result, failure.get()) {
        (Err(Error::Invalid(_)), Some(error)) => {
            return Err(ApiError::internal(format!(
                "reading the spooled file: {error}"
            )));
        }
        (result, _) => result?,
    };
    json(&Response {
        imported: imported.imported,
        updated: imported.updated,
        total: imported.total,
    })
}
