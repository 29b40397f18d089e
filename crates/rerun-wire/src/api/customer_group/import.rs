use rerun_core::group::ImportMode;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use utoipa::openapi::path::{ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Type};

use crate::codes::Code;
use crate::openapi::{Docs, Tag, examples, schema};

#[derive(Serialize, ToSchema)]
#[schema(as = CustomerGroupImportResponse)]
pub struct Response {
    /// Rows read.
    pub rows: u64,
    /// New customers.
    pub imported: u64,
    /// Customers whose values changed.
    pub updated: u64,
    /// Customers that the group no longer has; always 0 with `mode=merge`.
    pub removed: u64,
    /// Rows whose `customer_ref` came before in the file. Of the rows with one reference the last
    /// wins.
    pub duplicates: u64,
    /// Customers in the group.
    pub total: u64,
    /// The names of the file's profile fields, in the order of its columns.
    #[schema(max_items = 10_000)]
    pub fields: Vec<String>,
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
