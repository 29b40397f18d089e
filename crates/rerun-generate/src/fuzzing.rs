//! What the fuzz targets reach of the private parts. No part of the API: it is there with the
//! feature `fuzzing` alone, and changes whenever the parts behind it do.

use secrecy::SecretString;

use crate::Secrets;
use crate::openai::{reading, reported};

/// What is read of the body of a language model's response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Subject and body of the message, or why there is none.
    pub content: Result<(String, String), String>,
    /// The model that was used, if the response says so.
    pub model: Option<String>,
    /// What is shown of the response when it is of no use.
    pub reported: String,
}

/// Reads the body of a response, of which `secret` must not be shown.
#[must_use]
pub fn answer(body: &[u8], secret: &str) -> Answer {
    let reading = reading::read(body);
    let secrets = Secrets::new([&SecretString::from(secret)]);
    Answer {
        content: reading
            .content
            .map(|content| (content.subject, content.body))
            .map_err(|unusable| format!("{unusable:?}")),
        model: reading.usage.and_then(|usage| usage.model),
        reported: reported(body, &secrets),
    }
}
