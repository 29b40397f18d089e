use actix_web::{HttpRequest, web};
use rerun_core::error::Error;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::task::spawn_blocking;
use utoipa::ToSchema;
use utoipa::openapi::path::{ParameterBuilder, ParameterIn};

use crate::csv_import;
use crate::error::{ApiError, Refusal};
use crate::extract::{CsvCall, Required, State};
use crate::openapi::{Code, Docs, Tag, examples, schema};
use crate::routes::customer_group_id;
use crate::wire::{self, Answer};

#[derive(Deserialize)]
struct Query {
    customer_group_id: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = CustomerGroupImportResponse)]
struct Response {
    /// New customers.
    imported: u64,
    /// Customers whose values changed.
    updated: u64,
    /// Customers in the group.
    total: u64,
}

pub(crate) fn docs() -> Docs {
    let group = ParameterBuilder::new()
        .name("customer_group_id")
        .parameter_in(ParameterIn::Query)
        .required(utoipa::openapi::Required::True)
        .description(Some("The group that the customers come into."))
        .schema(Some(schema::id()))
        .example(Some(examples::GROUP.into()));
    Docs::csv_call(
        Tag::CustomerGroups,
        "Import customers",
        "A CSV file in UTF-8 with a header row. The column `customer_ref` names the customer; \
         every other column is a profile field. One transaction: a bad row is 400 with its line, \
         and the group stays as it was. Customers that the group has are updated.",
        "customer_ref,country,tier\nc-1001,DE,gold\nc-1002,FR,\n",
    )
    .parameter(group)
    .answers::<Response>(json!({ "imported": 1, "updated": 1, "total": 120_000 }))
    .refuses(&[Code::CustomerGroupNotFound])
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
    wire::json(&Response {
        imported: imported.imported,
        updated: imported.updated,
        total: imported.total,
    })
}
