//! The endpoint's own error text, for calls that gave no message.

use serde_json::Value;

use crate::Secrets;

/// How many characters of it are shown.
const SHOWN: usize = 300;

/// The first characters of what the body of a response reports, whatever its shape: the message of
/// an error if there is one, else the body. Empty if there is nothing.
pub(crate) fn reported(body: &[u8], secrets: &Secrets) -> String {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let text = match serde_json::from_slice::<Value>(body) {
        Ok(response) => message(&response).unwrap_or_else(|| response.to_string()),
        Err(_other) => String::from_utf8_lossy(body).into_owned(),
    };
    shown(&text, secrets)
}

/// The first characters of a text of the endpoint.
pub(super) fn shown(text: &str, secrets: &Secrets) -> String {
    // One more, which becomes the ellipsis of a longer text.
    secrets.foreign(text, SHOWN + 1)
}

/// The message of an error, with its code, if that is a word.
fn message(response: &Value) -> Option<String> {
    const MESSAGES: [&str; 4] = ["message", "detail", "error_description", "title"];
    let choice = response.pointer("/choices/0/error");
    let error = choice.or_else(|| response.get("error"));
    let error = error.filter(|error| !error.is_null()).unwrap_or(response);
    let text = |value: &Value| match value {
        Value::String(text) if !text.trim().is_empty() => Some(text.clone()),
        Value::Object(_) | Value::Array(_) => Some(value.to_string()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    };
    if error.is_string() {
        return text(error);
    }
    let message = MESSAGES.iter().find_map(|name| text(error.get(*name)?))?;
    let code = |name: &str| error.get(name)?.as_str().filter(|code| !code.is_empty());
    match code("code").or_else(|| code("type")) {
        Some(code) if !message.contains(code) => Some(format!("{code}: {message}")),
        _ => Some(message),
    }
}

/// Whether a refusal is about the way in which JSON was asked for. There is no code for it, and
/// every server has its own words.
pub(super) fn is_about_format(body: &[u8]) -> bool {
    const WORDS: [&str; 12] = [
        "response_format",
        "response format",
        "responseformat",
        "json_schema",
        "json_object",
        "json mode",
        "json object",
        "structured output",
        "structured_output",
        "requested parameters",
        "schema",
        "grammar",
    ];
    let text = String::from_utf8_lossy(body).to_lowercase();
    WORDS.iter().any(|word| text.contains(word))
}

/// Whether a refusal says that the bound on tokens has the newer name.
pub(super) fn names_newer_limit(body: &[u8]) -> bool {
    String::from_utf8_lossy(body)
        .to_lowercase()
        .contains("max_completion_tokens")
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;

    #[test]
    fn what_is_reported_is_shown_whatever_its_shape() {
        let shown = |body: &str| reported(body.as_bytes(), &Secrets::default());
        for (body, expected) in [
            (
                r#"{"error": {"message": "Pay.", "code": "insufficient_quota"}}"#,
                "insufficient_quota: Pay.",
            ),
            (
                r#"{"error": {"message": "No.", "code": null, "type": "invalid"}}"#,
                "invalid: No.",
            ),
            (r#"{"error": {"message": "No.", "code": ""}}"#, "No."),
            (
                r#"{"error": {"message": "No.", "type": "invalid_request_error"}}"#,
                "invalid_request_error: No.",
            ),
            (
                r#"{"error": {"code": 429, "message": "Slow down"}}"#,
                "Slow down",
            ),
            (r#"{"error": "model is loading"}"#, "model is loading"),
            (r#"{"message": "Unauthorised"}"#, "Unauthorised"),
            (
                r#"{"detail": [{"loc": ["body"], "msg": "wrong"}]}"#,
                r#"[{"loc":["body"],"msg":"wrong"}]"#,
            ),
            (
                r#"{"choices": [{"error": {"message": "upstream"}}]}"#,
                "upstream",
            ),
            (r#"{"reason": 5}"#, r#"{"reason":5}"#),
            ("[1]", "[1]"),
            ("<h1>Bad gateway</h1>\n", "<h1>Bad gateway</h1>"),
            (
                "upstream\r\nconnect error\u{1b}[2J",
                "upstream\\r\\nconnect error\\u{1b}[2J",
            ),
            ("\u{feff}\"no\"", "no"),
            ("", ""),
        ] {
            assert_eq!(shown(body), expected, "{body}");
        }
        assert_eq!(
            reported(b"\xff\xfe", &Secrets::default()),
            "\u{fffd}\u{fffd}"
        );
    }

    #[test]
    fn three_hundred_characters_are_shown_and_no_secret() {
        let key = SecretString::from("sk-hunter2-0123456789");
        let secrets = Secrets::new([&key]);
        let long = format!("{}{}", "x".repeat(295), "sk-hunter2-0123456789 y");
        let text = reported(long.as_bytes(), &secrets);
        assert_eq!(text, format!("{}***", "x".repeat(295)) + " y");
        let text = reported("\u{e9}".repeat(1_000).as_bytes(), &secrets);
        assert_eq!(text, "\u{e9}".repeat(300) + "\u{2026}");
    }
}
