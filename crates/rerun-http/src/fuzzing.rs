//! What the fuzz targets reach of the private parts. No part of the API: it is there with the
//! feature `fuzzing` alone, and changes whenever the parts behind it do.

use std::io::{BufRead, Read};

use actix_web::http::header::HeaderMap;
use actix_web::test::TestRequest;
use futures_util::FutureExt;
use rerun_core::actor::Person;
use rerun_core::group::CustomerRow;
use rerun_core::ids::AccountId;

use crate::auth::{Admitted, Authenticator, Guard};
use crate::csv_import::{self, Import, Options, Stop};
use crate::error::{ApiError, Problem};
use crate::media_type::MediaType;

/// Whom a guard lets in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entrant {
    /// The account of the token.
    pub account_id: AccountId,
    /// The person of the token, at the client's address.
    pub person: Person,
}

/// What `guard` makes of the headers of a call to an endpoint that takes CSV, or else JSON.
///
/// # Errors
/// The code of the error that the client gets.
pub fn admit(guard: &Guard, headers: &HeaderMap, csv: bool) -> Result<Entrant, &'static str> {
    let expected = if csv { MediaType::Csv } else { MediaType::Json };
    let mut request = TestRequest::default();
    for header in headers {
        request = request.append_header(header);
    }
    let told = |error: ApiError| Problem::of(&error).code;
    let request = request.to_http_request();
    let admitted = guard.authenticate(&request).now_or_never();
    let Admitted { account_id, person } = admitted
        .ok_or("the guard waits")?
        .map_err(|denied| told(denied.into()))?;
    expected
        .check(request.headers())
        .map_err(|refusal| told(refusal.into()))?;
    Ok(Entrant { account_id, person })
}

/// The records of a CSV file, each with the line that it starts on, up to the end or the first
/// that is refused; then why it is.
pub fn records(input: impl BufRead) -> (Vec<(u64, Vec<String>)>, Option<String>) {
    let mut records = Vec::new();
    let mut csv = match csv_import::records(input, &Options::default()) {
        Ok(csv) => csv,
        Err(Stop::Refused(invalid)) => return (records, Some(invalid.to_string())),
        Err(Stop::Failed(error)) => return (records, Some(error.to_string())),
    };
    loop {
        match csv.record() {
            Ok(Some(record)) => {
                let values = record.values.into_iter().map(str::to_owned).collect();
                records.push((record.line, values));
            }
            Ok(None) => return (records, None),
            Err(Stop::Refused(invalid)) => return (records, Some(invalid.to_string())),
            Err(Stop::Failed(error)) => return (records, Some(error.to_string())),
        }
    }
}

/// The profile fields that an import names, and its rows.
///
/// # Errors
/// Why header or row is refused, as the client is told.
pub fn import(file: impl Read + Send + 'static) -> Result<(Vec<String>, Vec<CustomerRow>), String> {
    let told = |error| Problem::of(&error).message.into_owned();
    let Import { fields, rows, .. } = csv_import::open(file, &Options::default()).map_err(told)?;
    let rows: Result<_, _> = rows.collect();
    Ok((fields, rows.map_err(|invalid| told(invalid.into()))?))
}
