//! A file as a response, piece by piece.

use actix_web::http::header;
use actix_web::web::Bytes;
use actix_web::{HttpResponse, HttpResponseBuilder};
use futures_util::stream::{self, Stream};
use rerun_core::error::chain;
use rerun_files::Format;
use tracing::{Instrument, Span};

use crate::error::ApiError;

/// A file that is made piece by piece.
pub(crate) trait Export {
    /// What comes after the pieces that were made so far.
    type Rest;

    /// Makes the next piece, and returns it with the rest; `None` at the end of the file. It is
    /// called when the client has taken the piece before.
    async fn piece(&mut self, rest: Self::Rest) -> Result<Option<(Bytes, Self::Rest)>, ApiError>;
}

/// The start of a response with a file of this name, without the extension.
pub(crate) fn file(name: &str, format: Format) -> HttpResponseBuilder {
    let extension = format.extension();
    let disposition = format!("attachment; filename=\"{name}.{extension}\"");
    let mut response = HttpResponse::Ok();
    response
        .insert_header((header::CONTENT_TYPE, format.content_type()))
        .insert_header((header::CONTENT_DISPOSITION, disposition));
    response
}

/// The pieces of a file as a body. The first part is read before the status is sent, so that what
/// is not there is refused. A later failure breaks the body off.
pub(crate) fn pieces<E: Export>(
    export: E,
    first: E::Rest,
) -> impl Stream<Item = Result<Bytes, ApiError>> {
    let span = Span::current();
    stream::try_unfold((export, first, span), |(mut export, rest, span)| async {
        let next = async {
            let piece = export.piece(rest).await;
            if let Err(error) = &piece {
                tracing::error!(cause = chain(error), "the export broke off");
            }
            piece
        };
        let next = next.instrument(span.clone()).await?;
        Ok(next.map(|(piece, rest)| (piece, (export, rest, span))))
    })
}
