use actix_web::{HttpRequest, web};
use rerun_core::error::{Error, Invalid};
use rerun_core::group::{CustomerFile, ImportMode};
use rerun_core::usecases::FileKey;
use rerun_files::{CsvOptions, CustomerCsv, Separator};
use serde::Serialize;
use serde_json::json;
use tokio::task::spawn_blocking;
use utoipa::ToSchema;
use utoipa::openapi::path::{ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Type};

use crate::error::{ApiError, Refusal};
use crate::extract::{CsvCall, Required};
use crate::headers::shown;
use crate::openapi::{Code, Docs, Tag, examples, schema};
use crate::routes::params::{customer_group_id, one_of};
use crate::spool::{Spooled, spool, stopped, unreadable};
use crate::state::State;
use crate::wire::{Answer, answered};

/// The parameters of the query string.
#[derive(Debug, Default, PartialEq, Eq)]
struct Query {
    customer_group_id: Option<String>,
    mode: Option<ImportMode>,
    delimiter: Option<Separator>,
    ref_column: Option<String>,
}

impl Query {
    /// The names of the parameters.
    const NAMES: [&str; 4] = ["customer_group_id", "mode", "delimiter", "ref_column"];

    /// Reads a query string. A parameter that is misspelt or given twice is refused: an import
    /// would do something else than was meant.
    fn parse(text: &str) -> Result<Self, ApiError> {
        let pairs = web::Query::<Vec<(String, String)>>::from_query(text)
            .map_err(|error| Refusal::Malformed(format!("the query string: {error}")))?
            .into_inner();
        let mut query = Self::default();
        let mut seen: Vec<&str> = Vec::new();
        for (name, value) in &pairs {
            if seen.contains(&name.as_str()) {
                let name = shown(name.as_bytes());
                return Err(Invalid::new(format!("the parameter `{name}` is given twice")).into());
            }
            seen.push(name);
            match name.as_str() {
                "customer_group_id" => query.customer_group_id = Some(value.clone()),
                "mode" => query.mode = Some(one_of("mode", value)?),
                "delimiter" => {
                    let separator = Separator::parse(value).ok_or_else(|| {
                        Invalid::new(
                            "`delimiter` must be `,` or `;` or a tab (`%09` in a query string)",
                        )
                    });
                    query.delimiter = Some(separator?);
                }
                "ref_column" => query.ref_column = Some(value.clone()),
                unknown => {
                    let unknown = shown(unknown.as_bytes());
                    let known = Self::NAMES.join("`, `");
                    return Err(Invalid::new(format!(
                        "there is no parameter `{unknown}`; the parameters are `{known}`"
                    ))
                    .into());
                }
            }
        }
        Ok(query)
    }
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
        "A CSV file with a header row, in UTF-8, or in UTF-16 with a byte order mark. The column \
         `customer_ref` names the customer; every other column is a profile field. Values are \
         separated by commas, semicolons or tabs: the header shows by which. Quotes are read \
         strictly. One transaction: a bad row is 400 with its line, and the group stays as it \
         was. With `mode=merge` a customer that the group has is updated: the file's columns \
         replace its values, an empty value deletes, other values and other customers stay. With \
         `mode=replace` the group then has exactly the file's customers with exactly the file's \
         columns; a file without rows is refused.",
        "customer_ref,country,tier\nc-1001,DE,gold\nc-1002,FR,\n",
    )
    .parameter(group)
    .parameter(mode)
    .parameter(text_parameter(
        "delimiter",
        "The separator: a comma, a semicolon or a tab. Without it the file tells, by a first \
         line `sep=;` or by its header.",
        ObjectBuilder::new()
            .schema_type(Type::String)
            .enum_values(Some([",", ";", "\t"])),
    ))
    .parameter(text_parameter(
        "ref_column",
        "The column that names the customer. With another one, a column `customer_ref` is a \
         profile field. The default is `customer_ref`.",
        ObjectBuilder::new()
            .schema_type(Type::String)
            .min_length(Some(1)),
    ))
    .keyed()
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

/// A parameter that may be left out.
fn text_parameter(name: &str, description: &str, schema: ObjectBuilder) -> ParameterBuilder {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Query)
        .required(utoipa::openapi::Required::False)
        .description(Some(description))
        .schema(Some(schema))
}

/// `POST /v1/customer-group/import`
pub(crate) async fn handle(state: State, request: HttpRequest, call: CsvCall) -> Answer {
    let CsvCall {
        place: _place,
        key,
        caller,
        body,
    } = call;
    let query = Query::parse(request.query_string())?;
    let mut required = Required::default();
    let group = required.text("customer_group_id", query.customer_group_id);
    required.check()?;
    let group = customer_group_id(&group);
    let mode = query.mode.unwrap_or(ImportMode::Merge);
    // Nobody should send a large file to learn that its group is not there.
    state.engine.groups.get(&caller, group).await?;
    let defaults = CsvOptions::default();
    let options = CsvOptions {
        ref_column: query.ref_column.unwrap_or(defaults.ref_column),
        separator: query.delimiter,
    };
    let read_as = options.read_as();
    let Spooled { file, sha256 } = spool(body).await?;
    let opened = spawn_blocking(move || CustomerCsv::open(file, &options))
        .await
        .map_err(ApiError::internal)?;
    let CustomerCsv {
        fields,
        rows,
        failure,
    } = opened.map_err(stopped)?;
    let file = CustomerFile {
        fields: fields.clone(),
        mode,
        rows,
    };
    let key = key.as_deref().map(|key| FileKey {
        key,
        sha256,
        read_as: &read_as,
    });
    let result = state.engine.groups.import(&caller, group, file, key).await;
    let imported = match (result, failure.get()) {
        (Err(Error::Invalid(_)), Some(error)) => {
            return Err(unreadable(error));
        }
        (result, _) => result?,
    };
    answered(&imported, |imported| Response {
        rows: imported.rows,
        imported: imported.imported,
        updated: imported.updated,
        removed: imported.removed,
        duplicates: imported.duplicates,
        total: imported.total,
        fields,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_known_and_given_once() {
        let query = Query::parse("delimiter=%09&customer_group_id=g&ref_column=id%201").unwrap();
        assert_eq!(
            query,
            Query {
                customer_group_id: Some("g".into()),
                mode: None,
                delimiter: Some(Separator::Tab),
                ref_column: Some("id 1".into()),
            }
        );
        for raw in ["delimiter=;", "delimiter=%3B"] {
            let query = Query::parse(raw).unwrap();
            assert_eq!(query.delimiter, Some(Separator::Semicolon));
        }
        assert_eq!(Query::parse("").unwrap(), Query::default());
        for (text, said) in [
            (
                "deliminator=;",
                "no parameter `deliminator`; the parameters are `customer",
            ),
            ("Delimiter=;", "no parameter `Delimiter`"),
            ("mode=sync", "`mode`"),
            ("ref_column=a&ref_column=a", "`ref_column` is given twice"),
            ("delimiter=|", "`delimiter` must be"),
            ("delimiter=comma", "`delimiter` must be"),
            ("delimiter=", "`delimiter` must be"),
        ] {
            let error = Query::parse(text).unwrap_err().to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
