use actix_web::{HttpRequest, web};
use rerun_core::error::{Error, Invalid};
use rerun_core::group::{CustomerFile, ImportMode};
use rerun_core::usecases::FileKey;
use rerun_files::{CsvOptions, CustomerCsv, Separator};
use rerun_wire::api::customer_group::import::Response;
use tokio::task::spawn_blocking;

use crate::answer::{Answer, answered};
use crate::error::{ApiError, Refusal};
use crate::extract::{CsvCall, Required};
use crate::headers::shown;
use crate::routes::params::{customer_group_id, one_of};
use crate::spool::{Spooled, spool, stopped, unreadable};
use crate::state::State;

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
