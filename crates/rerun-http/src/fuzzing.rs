//! What the fuzz targets reach of the private parts. No part of the API: it is there with the
//! feature `fuzzing` alone, and changes whenever the parts behind it do.

use actix_web::http::header::HeaderMap;
use actix_web::test::TestRequest;
use futures_util::FutureExt;
use rerun_core::actor::Person;
use rerun_core::ids::AccountId;

use rerun_auth::{Admitted, Guard};

use crate::auth::Authenticator;
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
    let told = |error: ApiError| Problem::of(&error).code.as_str();
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
