use actix_web::{HttpRequest, web};
use rerun_core::error::Error;
use rerun_core::group::{CustomerFile, ImportMode};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::task::spawn_blocking;
use utoipa::ToSchema;
use utoipa::openapi::path::{ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Type};

use crate::csv_import;
use crate::error::{ApiError, Refusal};
use crate::extract::{CsvCall, Required, State};
use crate::openapi::{Code, Docs, Tag, examples, schema};
use crate::routes::{customer_group_id, one_of};
use crate::wire::{self, Answer};

#[derive(Deserialize)]
struct Query {
    customer_group_id: Option<String>,
    mode: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = CustomerGroupImportResponse)]
struct Response {
    /// Rows read.
    rows: u64,
    /// New customers.
    imported: u64,
    /// Customers whose values changed.
    updated: u64,
    /// Customers that the group no longer has; always 0 with `mode=merge`.
    removed: u64,
    /// Rows whose `customer_ref` came before in the file. Of the rows with one reference the last
    /// wins.
    duplicates: u64,
    /// Customers in the group.
    total: u64,
    /// The names of the file's profile fields, in the order of its columns.
    #[schema(max_items = 10_000)]
    fields: Vec<String>,
}

pub(crate) fn docs() -> Docs {
    let group = ParameterBuilder::new()
        .name("customer_group_id")
        .parameter_in(ParameterIn::Query)
        .required(utoipa::openapi::Required::True)
        .description(Some("The group that the customers come into."))
        .schema(Some(schema::id()))
        .example(Some(examples::GROUP.into()));
    let mode = ParameterBuilder::new()
        .name("mode")
        .parameter_in(ParameterIn::Query)
        .description(Some(
            "What becomes of the customers and values that the file does not have.",
        ))
        .schema(Some(
            ObjectBuilder::new()
                .schema_type(Type::String)
                .enum_values(Some(ImportMode::ALL.iter().map(|mode| mode.as_str())))
                .default(Some(ImportMode::Merge.as_str().into())),
        ))
        .example(Some(ImportMode::Merge.as_str().into()));
    Docs::csv_call(
        Tag::CustomerGroups,
        "Import customers",
        "A CSV file in UTF-8 with a header row. The column `customer_ref` names the customer; \
         every other column is a profile field. One transaction: a bad row is 400 with its line, \
         and the group stays as it was. With `mode=merge` a customer that the group has is updated: \
         the file's columns replace its values, an empty value deletes, other values and other \
         customers stay. With `mode=replace` the group then has exactly the file's customers with \
         exactly the file's columns; a file without rows is refused.",
        "customer_ref,country,tier\nc-1001,DE,gold\nc-1002,FR,\n",
    )
    .parameter(group)
    .parameter(mode)
    .answers::<Response>(json!({
        "rows": 2,
        "imported": 1,
        "updated": 1,
        "removed": 0,
        "duplicates": 0,
        "total": 120_000,
        "fields": ["country", "tier"],
    }))
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
    let mode = match query.mode.as_deref() {
        Some(text) => one_of("mode", text)?,
        None => ImportMode::Merge,
    };
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
    let file = CustomerFile {
        fields: fields.clone(),
        mode,
        rows,
    };
    let result = state.engine.groups.import(&caller, group, file).await;
    let imported = match (result, failure.get()) {
        (Err(Error::Invalid(_)), Some(error)) => {
            return Err(ApiError::internal(format!(
                "reading the spooled file: {error}"
            )));
        }
        (result, _) => result?,
    };
    wire::json(&Response {
        rows: imported.rows,
        imported: imported.imported,
        updated: imported.updated,
        removed: imported.removed,
        duplicates: imported.duplicates,
        total: imported.total,
        fields,
    })
}
