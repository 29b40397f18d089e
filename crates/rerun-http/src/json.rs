//! How a body of JSON is read.

use rerun_files::sniff;
use rerun_wire::json::Object;
use serde::de::DeserializeOwned;

/// Reads a JSON object; the error says where it is not what it should be.
pub(crate) fn from_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    if let Some(what) = sniff::not_json(bytes) {
        return Err(format!("the body must be JSON in UTF-8; {what}"));
    }
    let bytes = bytes.strip_prefix(sniff::UTF_8_MARK).unwrap_or(bytes);
    // Read from bytes, fields that are ignored could hold what is no UTF-8.
    let text =
        str::from_utf8(bytes).map_err(|error| format!("the body is malformed JSON: {error}"))?;
    let mut json = serde_json::Deserializer::from_str(text);
    let body: Object<T> = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        let error = error.into_inner();
        if error.is_data() && path != "." {
            format!("`{path}`: {error}")
        } else if error.is_data() {
            format!("the body: {error}")
        } else {
            format!("the body is malformed JSON: {error}")
        }
    })?;
    json.end()
        .map_err(|error| format!("the body is malformed JSON: {error}"))?;
    Ok(body.0)
}
