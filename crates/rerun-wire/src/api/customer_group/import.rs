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
    /// How many rows were read.
    pub rows: u64,
    /// How many customers were added to the group.
    pub imported: u64,
    /// How many customers had values that changed.
    pub updated: u64,
    /// How many customers were removed from the group; always 0 with `mode=merge`.
    pub removed: u64,
    /// How many rows had a `customer_ref` that an earlier row of the file had. Of the rows with one
    /// reference, the last is used.
    pub duplicates: u64,
    /// How many customers are in the group after the import.
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
        .description(Some("The id of the group to import the customers into."))
        .schema(Some(schema::id()))
        .example(Some(examples::GROUP.into()));
    let mode = ParameterBuilder::new()
        .name("mode")
        .parameter_in(ParameterIn::Query)
        .description(Some(
            "What happens to customers and values that the file does not contain: `merge` keeps \
             them, `replace` removes them.",
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
        "Imports a CSV file with a header row, in UTF-8, or in UTF-16 with a byte order mark. The \
         column `customer_ref` contains the reference of the customer; every other column is a \
         profile field. Values are separated by commas, semicolons or tabs; the server finds the \
         separator in the header. Misplaced and unclosed quotes are errors. The import is one \
         transaction: if a row is bad, the response is 400 and contains the number of its line, \
         and the group stays as it was. With `mode=merge`, customers that are already in the \
         group are updated: the columns of the file replace their values, an empty value deletes \
         the value, and other values and other customers stay. With `mode=replace`, the group \
         afterwards contains exactly the customers of the file with exactly the columns of the \
         file; a file without rows is refused.",
        "customer_ref,country,tier\nc-1001,DE,gold\nc-1002,FR,\n",
    )
    .parameter(group)
    .parameter(mode)
    .parameter(text_parameter(
        "delimiter",
        "The separator: a comma, a semicolon or a tab. By default the server takes it from a \
         first line such as `sep=;`, or from the header.",
        ObjectBuilder::new()
            .schema_type(Type::String)
            .enum_values(Some([",", ";", "\t"])),
    ))
    .parameter(text_parameter(
        "ref_column",
        "The column that contains the reference of the customer, by default `customer_ref`. If \
         another column is given, a column `customer_ref` is a profile field.",
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
