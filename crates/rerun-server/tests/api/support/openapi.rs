//! Holds every answer that a test gets against the OpenAPI document.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};

use jsonschema::Validator;
use reqwest::Method;
use serde_json::{Value, json};

use super::Answer;

/// The document that the server publishes.
pub(crate) static DOCUMENT: LazyLock<Document> =
    LazyLock::new(|| Document::new(serde_json::from_str(rerun_wire::openapi()).unwrap()));

/// Headers that belong to HTTP itself.
const OF_HTTP: [&str; 6] = [
    "allow",
    "connection",
    "content-length",
    "content-type",
    "date",
    "transfer-encoding",
];

pub(crate) struct Document {
    pub(crate) json: Value,
    /// The schemas, taking no field that they do not name.
    closed: Value,
    validators: Mutex<HashMap<String, Arc<Validator>>>,
}

impl Document {
    fn new(json: Value) -> Self {
        let mut closed = json["components"].clone();
        close(&mut closed);
        Self {
            json,
            closed,
            validators: Mutex::default(),
        }
    }

    /// What is wrong with a value by a schema of the document, with all that it refers to. An
    /// open one takes fields that it does not name.
    pub(crate) fn check(&self, schema: &Value, open: bool, value: &Value) -> Result<(), String> {
        let key = format!("{open} {schema}");
        let mut validators = self.validators.lock().unwrap();
        let validator = validators.entry(key).or_insert_with(|| {
            let components = if open {
                &self.json["components"]
            } else {
                &self.closed
            };
            let whole = json!({ "components": components, "allOf": [schema] });
            let options = jsonschema::draft202012::options().should_validate_formats(true);
            Arc::new(options.build(&whole).unwrap())
        });
        let validator = Arc::clone(validator);
        drop(validators);
        let wrong: Vec<String> = validator
            .iter_errors(value)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        if wrong.is_empty() {
            Ok(())
        } else {
            Err(wrong.join("; "))
        }
    }

    /// The path of the document that a request's path is on, with its methods.
    fn path(&self, path: &str) -> Option<&Value> {
        let paths = self.json["paths"].as_object().unwrap();
        paths.get(path).or_else(|| {
            let found = paths.iter().find(|(template, _)| {
                template.split_once('{').is_some_and(|(before, _)| {
                    path.strip_prefix(before)
                        .is_some_and(|rest| !rest.is_empty() && !rest.contains('/'))
                })
            });
            found.map(|(_, item)| item)
        })
    }

    /// Checks an answer: that its status is documented, its headers are, and its body is as the
    /// document says; and that what was sent is, too, when it was accepted.
    #[track_caller]
    pub(crate) fn holds(&self, method: &Method, sent: &[u8], answer: &Answer) {
        let path = answer.path.split('?').next().unwrap_or_default();
        // The document describes the endpoints once, and nothing else of the console.
        let path = match path.strip_prefix("/console") {
            Some(rest) if rest.starts_with("/v1/") => rest,
            Some(_) => return,
            None => path,
        };
        let said = format!(
            "{method} {}: {} {}",
            answer.path, answer.status, answer.text
        );
        let id = answer.header("x-request-id");
        assert!(id.is_some(), "{said}: no id");
        let Some(item) = self.path(path) else {
            return self.is_error(answer, &["not_found"], &said);
        };
        let name = match method.as_str() {
            "HEAD" => "get".to_owned(),
            other => other.to_lowercase(),
        };
        let Some(operation) = item.get(name) else {
            let allow = answer.header("allow").unwrap_or_default();
            let allowed = |method: &String| allow.contains(&method.to_uppercase());
            assert!(item.as_object().unwrap().keys().all(allowed), "{said}");
            return self.is_error(answer, &["method_not_allowed"], &said);
        };
        let response = &operation["responses"][answer.status.to_string()];
        assert!(response.is_object(), "{said}: the status is not documented");
        self.headers(response, answer, &said);
        if *method == Method::HEAD {
            return;
        }
        if answer.status >= 400 {
            let examples = &response["content"]["application/json"]["examples"];
            let codes = examples.as_object().unwrap().keys();
            self.is_error(
                answer,
                &codes.map(String::as_str).collect::<Vec<_>>(),
                &said,
            );
        } else {
            self.body(response, answer, &said);
            self.request(operation, sent, &said);
        }
    }

    #[track_caller]
    fn headers(&self, response: &Value, answer: &Answer, said: &str) {
        let documented = response["headers"].as_object().unwrap();
        for (name, value) in &answer.headers {
            let name = name.as_str();
            if OF_HTTP.contains(&name) {
                continue;
            }
            let header = documented.get(name);
            let header = header.unwrap_or_else(|| panic!("{said}: {name} is not documented"));
            let value = value.to_str().unwrap();
            let value = if header["schema"]["type"] == "integer" {
                serde_json::from_str(value).unwrap()
            } else {
                json!(value)
            };
            if let Err(wrong) = self.check(&header["schema"], false, &value) {
                panic!("{said}: {name}: {wrong}");
            }
        }
        for name in documented
            .keys()
            .filter(|name| *name != "idempotent-replay")
        {
            assert!(answer.header(name).is_some(), "{said}: no {name}");
        }
    }

    #[track_caller]
    fn body(&self, response: &Value, answer: &Answer, said: &str) {
        let media_type = answer.header("content-type").unwrap_or_default();
        let media_type = media_type.split(';').next().unwrap_or_default();
        let Some(content) = response.get("content") else {
            assert_eq!(answer.text, "", "{said}: a body is not documented");
            return;
        };
        let content = &content[media_type];
        assert!(
            content.is_object(),
            "{said}: {media_type} is not documented"
        );
        let checked = match media_type {
            "application/json" => self.check(&content["schema"], false, &answer.json()),
            "application/x-ndjson" => answer.text.lines().try_for_each(|line| {
                self.check(
                    &content["x-item-schema"],
                    false,
                    &serde_json::from_str(line).unwrap(),
                )
            }),
            _ => Ok(()),
        };
        if let Err(wrong) = checked {
            panic!("{said}: {wrong}");
        }
        if answer.path == "/v1/event/list" {
            let page = answer.json();
            for event in page["events"].as_array().unwrap() {
                self.holds_event(event);
            }
        }
    }

    /// Checks that an event is as `webhooks` says for its type.
    #[track_caller]
    pub(crate) fn holds_event(&self, event: &Value) {
        let webhook = &self.json["webhooks"][event["type"].as_str().unwrap()]["post"];
        let schema = &webhook["requestBody"]["content"]["application/json"]["schema"];
        assert!(schema.is_object(), "{event}: the type is not documented");
        assert_eq!(self.check(schema, false, event), Ok(()), "{event}");
    }

    #[track_caller]
    fn request(&self, operation: &Value, sent: &[u8], said: &str) {
        let content = &operation["requestBody"]["content"]["application/json"];
        if !content.is_object() {
            return;
        }
        let sent: Value = serde_json::from_slice(sent).unwrap();
        if let Err(wrong) = self.check(&content["schema"], true, &sent) {
            panic!("{said}: {sent} was accepted: {wrong}");
        }
    }

    #[track_caller]
    fn is_error(&self, answer: &Answer, codes: &[&str], said: &str) {
        // Nobody answers `HEAD` with a body.
        if answer.text.is_empty() && answer.status == 404 {
            return;
        }
        assert_eq!(
            answer.header("content-type"),
            Some("application/json"),
            "{said}"
        );
        let body = answer.json();
        let error = json!({ "$ref": "#/components/schemas/Error" });
        if let Err(wrong) = self.check(&error, false, &body) {
            panic!("{said}: {wrong}");
        }
        let code = body["code"].as_str().unwrap();
        assert!(codes.contains(&code), "{said}: {code} is not documented");
        assert_eq!(body["status"], answer.status, "{said}");
    }
}

/// Has every object of a schema take only the fields that it names.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            fields.values_mut().for_each(close);
            if fields.get("properties").is_some_and(Value::is_object)
                && fields.get("type") == Some(&json!("object"))
            {
                fields.insert("additionalProperties".to_owned(), json!(false));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
