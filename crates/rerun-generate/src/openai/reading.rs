//! Reads the message from a chat endpoint's response.
//!
//! The response is untrusted. Its length is bounded before it is read, the parser bounds the depth
//! of its JSON, and [`MAX_STARTS`] bounds the search for an object in prose.

use reqwest::StatusCode;
use rerun_core::generation::Usage;
use rerun_core::message::Content;
use serde::Deserialize;
use serde_json::{Map, Value};

/// How many braces in prose are tried as the beginning of an object, and how many thoughts are
/// removed.
const MAX_STARTS: usize = 32;

/// The longest name of a model that is kept, in characters.
const MAX_MODEL_LENGTH: usize = 200;

/// Why a response of status 200 is no message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unusable {
    /// It reports an error, and may name that error's status.
    Error(Option<StatusCode>),
    /// The model refuses, with these words.
    Refused(String),
    /// A filter held it back.
    Filtered,
    /// It was cut off.
    CutOff,
    /// It is not what was asked for.
    Other(&'static str),
}

/// What was read of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reading {
    /// The message, or why there is none.
    pub(crate) content: Result<Content, Unusable>,
    /// What the call used, if the response says so.
    pub(crate) usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Choice {
    message: Option<Reply>,
    finish_reason: Option<String>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Reply {
    #[serde(default)]
    content: Value,
    refusal: Option<String>,
}

/// Reads the body of a response.
pub(crate) fn read(body: &[u8]) -> Reading {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let Ok(Value::Object(mut response)) = serde_json::from_slice(body) else {
        return Reading {
            content: Err(NO_COMPLETION),
            usage: None,
        };
    };
    let usage = usage(&response);
    Reading {
        content: content(&mut response),
        usage,
    }
}

const NO_COMPLETION: Unusable = Unusable::Other("endpoint did not return a chat completion");
const NO_OBJECT: Unusable =
    Unusable::Other("response is not a JSON object with the texts `subject` and `body`");
const TWO_OBJECTS: Unusable =
    Unusable::Other("response has more than one JSON object that is a message");

fn content(response: &mut Map<String, Value>) -> Result<Content, Unusable> {
    if let Some(error) = response.get("error").filter(|error| is_error(error)) {
        return Err(Unusable::Error(status_of(error, response)));
    }
    let Some(Value::Array(choices)) = response.remove("choices") else {
        return Err(NO_COMPLETION);
    };
    let choice = choices
        .into_iter()
        .next()
        .ok_or(Unusable::Other("response has no choices"))?;
    let choice: Choice = serde_json::from_value(choice).map_err(|_shape| NO_COMPLETION)?;
    if let Some(error) = choice.error.as_ref().filter(|error| is_error(error)) {
        return Err(Unusable::Error(status_of(error, &Map::new())));
    }
    let refusal = choice.message.as_ref().and_then(|m| m.refusal.as_deref());
    if let Some(refusal) = refusal.filter(|text| !text.trim().is_empty()) {
        return Err(Unusable::Refused(refusal.to_owned()));
    }
    match choice.finish_reason.as_deref() {
        Some("length" | "max_tokens") => return Err(Unusable::CutOff),
        Some("content_filter") => return Err(Unusable::Filtered),
        Some(_) | None => {}
    }
    let message = choice.message.ok_or(NO_COMPLETION)?;
    if let Some(refusal) = refusal_part(&message.content) {
        return Err(Unusable::Refused(refusal.to_owned()));
    }
    message_of(&text_of(message.content))
}

/// Whether a field `error` reports one. Some servers always have the field.
fn is_error(error: &Value) -> bool {
    match error {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.trim().is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Bool(true) | Value::Number(_) => true,
    }
}

/// The status that an error in a response names: as a number or as text, in the error or beside it.
fn status_of(error: &Value, beside: &Map<String, Value>) -> Option<StatusCode> {
    const NAMES: [&str; 4] = ["status", "code", "status_code", "http_status"];
    let status = |value: &Value| {
        let number = match value {
            Value::Number(number) => number.as_u64(),
            Value::String(text) => text.trim().parse().ok(),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        };
        let number = u16::try_from(number?).ok()?;
        let status = StatusCode::from_u16(number).ok()?;
        (status.is_client_error() || status.is_server_error()).then_some(status)
    };
    let inside = NAMES.iter().find_map(|name| status(error.get(name)?));
    inside
        .or_else(|| status(error))
        .or_else(|| NAMES.iter().find_map(|name| status(beside.get(*name)?)))
}

/// What the model refuses with, where content is a list of parts.
fn refusal_part(content: &Value) -> Option<&str> {
    let parts = content.as_array()?;
    parts
        .iter()
        .filter_map(|part| part.get("refusal")?.as_str())
        .find(|text| !text.trim().is_empty())
}

/// Content as one text, or as a list of parts of which the texts count.
fn text_of(content: Value) -> String {
    let part = |part: Value| match part {
        Value::String(text) => Some(text),
        Value::Object(mut part) => {
            let is_text = match part.get("type") {
                None => true,
                Some(kind) => matches!(kind.as_str(), Some("text" | "output_text")),
            };
            match part.remove("text") {
                Some(Value::String(text)) if is_text => Some(text),
                _ => None,
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => None,
    };
    match content {
        Value::String(text) => text,
        Value::Array(parts) => parts.into_iter().filter_map(part).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => String::new(),
    }
}

/// The message in a text. What models write around it is removed, and the rest is read strictly.
fn message_of(text: &str) -> Result<Content, Unusable> {
    let text = text.trim_start_matches('\u{feff}').trim();
    let object = match serde_json::from_str(text) {
        Ok(Value::Object(object)) => object,
        Ok(_) => return Err(NO_OBJECT),
        Err(_prose) => return message_in(without_thoughts(text)),
    };
    content_of(&object).ok_or(NO_OBJECT)
}

/// The message that an object is, if it has both texts.
fn content_of(object: &Map<String, Value>) -> Option<Content> {
    let text = |name: &str| object.get(name)?.as_str().map(str::to_owned);
    let (subject, body) = (text("subject")?, text("body")?);
    Some(Content { subject, body })
}

/// The tags between which models think aloud, in small letters.
const TAGS: [(&str, &str); 2] = [("<think>", "</think>"), ("<thinking>", "</thinking>")];

/// Where an ASCII text in small letters begins in another, whatever the other's case.
fn find_in_any_case(text: &str, small: &str) -> Option<usize> {
    let bytes = text.as_bytes().windows(small.len());
    let mut places = bytes.map(|window| window.eq_ignore_ascii_case(small.as_bytes()));
    places.position(|found| found)
}

/// The text after what a model thinks aloud, `<think>…</think>` or `<thinking>…</thinking>`, before
/// its answer.
fn without_thoughts(mut text: &str) -> &str {
    for _ in 0..MAX_STARTS {
        // A tag further on stands in a text of the message.
        let before = text.split('{').next().unwrap_or_default();
        let begins = TAGS.map(|(begin, end)| (find_in_any_case(before, begin), end));
        let first = begins.into_iter().filter_map(|(at, end)| Some((at?, end)));
        let Some((begin, end)) = first.min() else {
            return text;
        };
        let thought = text.get(begin..).unwrap_or_default();
        // It thinks to the end, if its thought has none.
        let Some(at) = find_in_any_case(thought, end) else {
            return "";
        };
        text = thought.get(at + end.len()..).unwrap_or_default();
    }
    text
}

/// The one message in a text. Some servers leave out the tag that begins a thought: if the text has
/// not one message, what follows the end of a thought may have.
fn message_in(text: &str) -> Result<Content, Unusable> {
    only_message(text).or_else(|unusable| {
        let ends = TAGS.map(|(_, end)| Some(find_in_any_case(text, end)? + end.len()));
        match ends.into_iter().flatten().min() {
            Some(end) => only_message(text.get(end..).unwrap_or_default()),
            None => Err(unusable),
        }
    })
}

/// The one JSON object in a text that is a message, with a code fence, prose or other objects around
/// it.
fn only_message(text: &str) -> Result<Content, Unusable> {
    let mut found = None;
    let mut rest = text;
    for _ in 0..MAX_STARTS {
        let Some(start) = rest.find('{') else { break };
        rest = rest.get(start..).unwrap_or_default();
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
        let after = match values.next() {
            Some(Ok(Value::Object(object))) => {
                let content = content_of(&object);
                if found.is_some() && content.is_some() {
                    return Err(TWO_OBJECTS);
                }
                found = found.or(content);
                values.byte_offset()
            }
            _ => 1,
        };
        rest = rest.get(after..).unwrap_or_default();
    }
    found.ok_or(NO_OBJECT)
}

/// What a response says that it used. Numbers that no call can use are cut.
fn usage(response: &Map<String, Value>) -> Option<Usage> {
    let usage = response.get("usage")?.as_object()?;
    let tokens = |names: [&str; 2]| {
        let number = names.iter().find_map(|name| usage.get(*name)?.as_u64());
        number.map(|number| u32::try_from(number).unwrap_or(u32::MAX))
    };
    let prompt = tokens(["prompt_tokens", "input_tokens"]);
    let completion = tokens(["completion_tokens", "output_tokens"]);
    if prompt.is_none() && completion.is_none() {
        return None;
    }
    let model = response.get("model").and_then(Value::as_str);
    let model = model.map(|model| {
        let shown = model.chars().filter(|c| !c.is_control());
        shown.take(MAX_MODEL_LENGTH).collect::<String>()
    });
    Some(Usage {
        prompt_tokens: prompt.unwrap_or_default(),
        completion_tokens: completion.unwrap_or_default(),
        model: model.filter(|model| !model.is_empty()),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const OBJECT: &str = r#"{"subject": "s", "body": "b"}"#;

    fn of(text: &str) -> Result<(String, String), Unusable> {
        message_of(text).map(|content| (content.subject, content.body))
    }

    #[test]
    fn what_models_write_around_an_object_is_removed() {
        let around = [
            "{}",
            " \n{}\n",
            "\u{feff}{}",
            "```json\n{}\n```",
            "```\n{}\n```\n",
            "Here is your message:\n\n{}",
            "Here is your message:\n```json\n{}\n```\nShall I change it?",
            "<think>\nFirst {\"subject\": \"no\"} then.\n</think>\n\n{}",
            "<think>{\"subject\": \"x\", \"body\": \"y\"}</think>```json\n{}```",
            "<think>a</think><think>b</think>{}",
            "Let me see { and }.</think>\n{}",
            "Let me see {\"subject\": \"no\"}.</think>\n{}",
            "Here is </think>, and here is {}",
            "<thinking>{\"subject\": \"x\", \"body\": \"y\"}</thinking>\n{}",
            "<THINK>{\"subject\": \"x\", \"body\": \"y\"}</Think>\n{}",
            "Maybe {\"subject\": \"x\", \"body\": \"y\"}.</THINKING>\n{}",
            "For the segment {\"country\": \"DE\"} I wrote {}",
            "{} for the segment {\"country\": \"DE\", \"subject\": null}",
            "For {country} I wrote: {}",
        ];
        for around in around {
            let text = around.replace("{}", OBJECT);
            let expected = ("s".to_owned(), "b".to_owned());
            assert_eq!(of(&text), Ok(expected), "{text}");
        }
        // What is inside the object's texts stays.
        let inside = json!({ "subject": "```", "body": "<think>x</think> {\"a\": 1} ```" });
        for text in [inside.to_string(), format!("Sure:\n```\n{inside}\n```")] {
            let (subject, body) = of(&text).unwrap();
            assert_eq!(subject, "```");
            assert_eq!(body, "<think>x</think> {\"a\": 1} ```");
        }
    }

    #[test]
    fn what_is_left_is_read_strictly() {
        for text in [
            "",
            "{}",
            "Here you are: {}",
            "[{\"subject\": \"s\", \"body\": \"b\"}]",
            "{'subject': 's', 'body': 'b'}",
            "{\"subject\": \"s\", \"body\": \"b\",}",
            "{\"subject\": \"s\", \"body\": \"b\"",
            "{\"subject\": \"s\", \"body\": 5}",
            "{\"subject\": null, \"body\": \"b\"}",
            "<think>{\"subject\": \"s\", \"body\": \"b\"}",
            "<THINKING>{\"subject\": \"s\", \"body\": \"b\"}</think>",
            "\"s\"",
            "subject: s\nbody: b",
        ] {
            assert_eq!(of(text), Err(NO_OBJECT), "{text}");
        }
        assert_eq!(of(&format!("{OBJECT} or {OBJECT}")), Err(TWO_OBJECTS));
    }

    #[test]
    fn hostile_depth_and_breadth_end() {
        for text in [
            "{".repeat(1_000_000),
            "{\"a\":".repeat(300_000),
            "[".repeat(1_000_000),
            "<think>".repeat(100_000),
            "</think>".repeat(100_000),
        ] {
            assert_eq!(of(&text), Err(NO_OBJECT));
            let _read = read(text.as_bytes());
        }
    }

    #[test]
    fn content_may_be_a_list_of_parts() {
        assert_eq!(text_of(json!("a")), "a");
        assert_eq!(text_of(json!(["a", "b"])), "ab");
        let parts = json!([
            { "type": "thinking", "text": "hm" },
            { "type": "text", "text": "a" },
            { "type": "output_text", "text": "b" },
            { "text": "c" },
            { "type": "image_url", "image_url": {} },
            7,
        ]);
        assert_eq!(text_of(parts), "abc");
        assert_eq!(text_of(json!(null)), "");
    }

    #[test]
    fn an_error_names_its_status_in_many_ways() {
        let read = |response: Value| read(response.to_string().as_bytes()).content;
        for (error, status) in [
            (json!({ "code": 429, "message": "slow down" }), Some(429)),
            (json!({ "code": "503" }), Some(503)),
            (json!({ "status": 404 }), Some(404)),
            (
                json!({ "status": "RESOURCE_EXHAUSTED", "code": 429 }),
                Some(429),
            ),
            (json!({ "code": "rate_limit_exceeded" }), None),
            (json!({ "code": 200 }), None),
            (json!({ "code": -1 }), None),
            (json!("overloaded"), None),
            (json!(500), Some(500)),
        ] {
            let status = status.map(|status| StatusCode::from_u16(status).unwrap());
            let expected = Err(Unusable::Error(status));
            assert_eq!(read(json!({ "error": error })), expected, "{error}");
            let choice = json!({ "choices": [{ "finish_reason": "error", "error": error }] });
            assert_eq!(read(choice), expected, "{error}");
        }
        let beside = json!({ "error": "too many", "status": 429 });
        assert_eq!(
            read(beside),
            Err(Unusable::Error(Some(StatusCode::TOO_MANY_REQUESTS)))
        );
        for nothing in [json!(null), json!(""), json!({}), json!([]), json!(false)] {
            let choice = json!({ "message": { "content": OBJECT }, "error": nothing });
            let response = json!({ "error": nothing, "choices": [choice] });
            assert!(read(response).is_ok(), "{nothing}");
        }
    }

    #[test]
    fn usage_is_what_the_response_says() {
        let usage = |response: Value| read(response.to_string().as_bytes()).usage;
        let reported =
            json!({ "model": "m-1", "usage": { "prompt_tokens": 7, "completion_tokens": 9 } });
        let expected = Usage {
            prompt_tokens: 7,
            completion_tokens: 9,
            model: Some("m-1".to_owned()),
        };
        assert_eq!(usage(reported), Some(expected));
        let huge = json!({ "model": "\u{0}", "usage": { "prompt_tokens": u64::MAX } });
        let expected = Usage {
            prompt_tokens: u32::MAX,
            completion_tokens: 0,
            model: None,
        };
        assert_eq!(usage(huge), Some(expected));
        for nothing in [
            json!({}),
            json!({ "usage": null }),
            json!({ "usage": { "total_tokens": 9 } }),
            json!({ "usage": { "prompt_tokens": -1, "completion_tokens": "9" } }),
        ] {
            assert_eq!(usage(nothing.clone()), None, "{nothing}");
        }
    }
}
