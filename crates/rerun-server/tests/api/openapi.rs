//! The OpenAPI document: that it is one, that it tells of every endpoint, and that its examples
//! are right. That it tells the truth of every answer is checked wherever a test gets one, see
//! `support::openapi`.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::openapi::DOCUMENT;
use crate::support::{Headers, Server, on_both_stores};

on_both_stores!(
    the_document_is_served,
    every_documented_operation_is_there,
    the_page_is_served_with_all_its_files,
);

/// Every operation with its path and method.
fn operations() -> impl Iterator<Item = (&'static str, &'static str, &'static Value)> {
    let paths = DOCUMENT.json["paths"].as_object().unwrap();
    paths.iter().flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().iter();
        methods.map(move |(method, operation)| (&**path, &**method, operation))
    })
}

/// Calls with every value in the document, and where it stands.
fn walk<'a>(value: &'a Value, place: &str, visit: &mut dyn FnMut(&'a Value, &str)) {
    visit(value, place);
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let name = name.replace('~', "~0").replace('/', "~1");
                walk(value, &format!("{place}/{name}"), visit);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                walk(value, &format!("{place}/{index}"), visit);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The schemas that a schema names, and those that they name.
fn reached(schema: &Value, found: &mut BTreeSet<String>) {
    let mut named = Vec::new();
    walk(schema, "", &mut |value, _| {
        let name = value.get("$ref").and_then(Value::as_str);
        named.extend(name.and_then(|name| name.strip_prefix("#/components/schemas/")));
    });
    for name in named.into_iter().map(ToOwned::to_owned).collect::<Vec<_>>() {
        if found.insert(name.clone()) {
            reached(&DOCUMENT.json["components"]["schemas"][name], found);
        }
    }
}

#[test]
fn it_is_valid_openapi_3_1() {
    // The schema of OpenAPI 3.1 as its makers publish it.
    let schema: Value = serde_json::from_str(include_str!("data/openapi-3.1.schema.json")).unwrap();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    let wrong: Vec<String> = validator
        .iter_errors(&DOCUMENT.json)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert_eq!(wrong, Vec::<String>::new());
    assert_eq!(DOCUMENT.json["openapi"], "3.1.0");
    assert_eq!(DOCUMENT.json["info"]["version"], env!("CARGO_PKG_VERSION"));
    for (name, schema) in DOCUMENT.json["components"]["schemas"].as_object().unwrap() {
        assert!(jsonschema::draft202012::meta::is_valid(schema), "{name}");
    }
}

#[test]
fn every_reference_leads_somewhere_and_every_schema_is_used() {
    let mut names = BTreeSet::new();
    walk(&DOCUMENT.json, "", &mut |value, place| {
        if let Some(target) = value.get("$ref").and_then(Value::as_str) {
            let pointer = target.strip_prefix('#').unwrap();
            assert!(
                DOCUMENT.json.pointer(pointer).is_some(),
                "{place}: {target}"
            );
            names.extend(target.strip_prefix("#/components/schemas/"));
        }
    });
    let schemas = DOCUMENT.json["components"]["schemas"].as_object().unwrap();
    let known: BTreeSet<&str> = schemas.keys().map(String::as_str).collect();
    assert_eq!(known, names);
}

#[test]
fn it_tells_of_every_endpoint_and_of_no_other() {
    let documented: BTreeSet<(String, String)> = operations()
        .map(|(path, method, _)| (method.to_uppercase(), path.to_owned()))
        .collect();
    let there: BTreeSet<(String, String)> = rerun_wire::ENDPOINTS
        .iter()
        .map(|endpoint| (endpoint.method.to_owned(), endpoint.path.to_owned()))
        .collect();
    assert_eq!(documented, there);
}

#[test]
fn every_operation_is_told_in_full() {
    let tags: Vec<&Value> = DOCUMENT.json["tags"].as_array().unwrap().iter().collect();
    let tags: Vec<&Value> = tags.into_iter().map(|tag| &tag["name"]).collect();
    let mut ids = BTreeSet::new();
    for (path, _, operation) in operations() {
        assert!(
            ids.insert(operation["operationId"].as_str().unwrap()),
            "{path}"
        );
        assert!(!operation["summary"].as_str().unwrap().is_empty(), "{path}");
        assert!(
            !operation["description"].as_str().unwrap().is_empty(),
            "{path}"
        );
        assert!(tags.contains(&&operation["tags"][0]), "{path}");
        let guarded = path.starts_with("/v1/");
        assert_eq!(operation["security"].is_array(), guarded, "{path}");
        let parameters = operation["parameters"].as_array().unwrap();
        let has = |name: &str| parameters.iter().any(|parameter| parameter["name"] == name);
        assert!(has("x-request-id"), "{path}");
        assert_eq!(has("x-ip"), guarded, "{path}");
        assert_eq!(
            has("idempotency-key"),
            operation["responses"]["422"].is_object(),
            "{path}"
        );
        for (status, response) in operation["responses"].as_object().unwrap() {
            let headers = &response["headers"];
            assert!(headers["x-request-id"].is_object(), "{path} {status}");
            let later = headers["retry-after"].is_object();
            assert_eq!(
                later,
                ["429", "503"].contains(&&**status),
                "{path} {status}"
            );
        }
        if guarded {
            for status in ["200", "400", "403", "413", "415", "429", "500", "503"] {
                let response = &operation["responses"][status];
                assert!(response.is_object(), "{path} {status}");
            }
            let required = |schema: &Value| schema["required"].is_array();
            let body = &operation["requestBody"]["content"];
            let schema = body["application/json"]["schema"]["$ref"].as_str();
            let needs =
                schema.is_none_or(|name| required(DOCUMENT.json.pointer(&name[1..]).unwrap()));
            assert_eq!(operation["responses"]["401"].is_object(), needs, "{path}");
        }
    }
}

#[test]
fn examples_are_what_they_are_examples_of() {
    let mut seen = 0;
    let parts = json!([DOCUMENT.json["paths"], DOCUMENT.json["webhooks"]]);
    walk(&parts, "", &mut |value, place| {
        let Some(schema) = value.get("schema") else {
            return;
        };
        let named = value["examples"].as_object().into_iter().flatten();
        let examples = value.get("example").into_iter();
        for example in examples.chain(named.map(|(_, example)| &example["value"])) {
            seen += 1;
            let checked = DOCUMENT.check(schema, false, example);
            assert_eq!(checked, Ok(()), "{place}");
        }
    });
    assert!(seen > 400, "{seen}");
    for (path, _, operation) in operations() {
        let contents = [&operation["requestBody"], &operation["responses"]["200"]];
        for (media_type, content) in contents
            .into_iter()
            .filter_map(|part| part["content"].as_object())
            .flatten()
            .filter(|_| path.starts_with("/v1/"))
        {
            assert!(content.get("example").is_some(), "{path} {media_type}");
        }
    }
}

#[test]
fn answers_leave_no_field_out() {
    let mut answers = BTreeSet::new();
    for (_, _, operation) in operations() {
        reached(&operation["responses"], &mut answers);
    }
    // A declaration of rules comes back with the keys that it was made with, and a recipient has its
    // content only when it is asked for. A webhook has its secret when it is made.
    let with_optional_fields = ["Error", "Recipient", "SegmentFieldRules", "Webhook"];
    let names = answers.iter();
    for name in names.filter(|name| !with_optional_fields.contains(&name.as_str())) {
        let schema = &DOCUMENT.json["components"]["schemas"][name];
        let fields = schema["properties"].as_object().into_iter().flatten();
        let fields: BTreeSet<&str> = fields.map(|(field, _)| field.as_str()).collect();
        let required = schema["required"].as_array().into_iter().flatten();
        let required: BTreeSet<&str> = required.map(|field| field.as_str().unwrap()).collect();
        assert_eq!(required, fields, "{name}");
    }
}

#[test]
fn every_action_is_an_event() {
    let documented = DOCUMENT.json["webhooks"].as_object().unwrap();
    let documented: BTreeSet<&str> = documented.keys().map(String::as_str).collect();
    let actions = rerun_core::audit::AuditAction::ALL.iter();
    let actions: BTreeSet<&str> = actions.map(|action| action.as_str()).collect();
    assert_eq!(documented, actions);
    for (name, webhook) in DOCUMENT.json["webhooks"].as_object().unwrap() {
        let operation = &webhook["post"];
        assert!(
            !operation["description"].as_str().unwrap().is_empty(),
            "{name}"
        );
        let body = &operation["requestBody"]["content"]["application/json"];
        DOCUMENT.holds_event(&body["example"]);
        // No event has a field that is not of its type.
        for secret in ["ip", "reason", "request_id"] {
            let mut more = body["example"].clone();
            more["data"][secret] = json!("x");
            assert!(
                DOCUMENT.check(&body["schema"], false, &more).is_err(),
                "{name}"
            );
        }
    }
}

async fn the_document_is_served(server: &Server) {
    let answer = server.account().get("/openapi.json").await;
    assert_eq!(answer.ok(), DOCUMENT.json);
}

async fn every_documented_operation_is_there(server: &Server) {
    let api = server.account();
    for (path, method, operation) in operations() {
        let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
        let path = path.replace("{file}", "index.css");
        let there = match path.as_str() {
            "/" => 302,
            "/docs/" => 308,
            _ => 200,
        };
        let answer = api.send(method, &path, &Headers(Vec::new()), "").await;
        let guarded = operation["security"].is_array();
        let expected = if guarded { 403 } else { there };
        assert_eq!(answer.status, expected, "{path}");
    }
}

async fn the_page_is_served_with_all_its_files(server: &Server) {
    let api = server.account();
    let page = api.get("/docs").await;
    assert_eq!(
        page.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("default-src 'none'"), "{policy}");
    assert!(policy.contains("connect-src 'self'"), "{policy}");
    let files: Vec<&str> = page
        .text
        .split(['"'])
        .filter(|part| part.starts_with("docs/"))
        .collect();
    let documented = &DOCUMENT.json["paths"]["/docs/{file}"]["get"]["parameters"];
    let documented = documented.as_array().unwrap();
    let documented = documented
        .iter()
        .find(|parameter| parameter["name"] == "file");
    let named: BTreeSet<String> = files.iter().map(|file| file[5..].to_owned()).collect();
    let known = &documented.unwrap()["schema"]["enum"];
    let known: BTreeSet<String> = serde_json::from_value(known.clone()).unwrap();
    assert_eq!(named, known);
    for file in files {
        let answer = api.get(&format!("/{file}")).await;
        assert_eq!(answer.status, 200, "{file}");
        assert!(!answer.text.is_empty(), "{file}");
    }
    let start = api.get("/docs/swagger-initializer.js").await;
    assert!(
        start.text.contains("\"url\": \"openapi.json\""),
        "{}",
        start.text
    );
    // Also what Swagger UI brings along and the page does not need.
    for other in ["/docs/index.html", "/docs/x", "/docs/..%2fCargo.toml"] {
        assert_eq!(api.get(other).await.status, 404, "{other}");
    }
    let root = api.get("/").await;
    assert_eq!((root.status, root.header("location")), (302, Some("docs")));
    assert!(root.text.contains("/docs"), "{}", root.text);
    let slash = api.get("/docs/").await;
    assert_eq!(
        (slash.status, slash.header("location")),
        (308, Some("../docs"))
    );
}
