//! What an endpoint says about itself, and the operation that is made of it.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa::openapi::content::{Content, ContentBuilder};
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::extensions::Extensions;
use utoipa::openapi::header::{Header, HeaderBuilder};
use utoipa::openapi::path::{Operation, OperationBuilder, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::schema::{
    AnyOf, KnownFormat, Object, ObjectBuilder, Schema, SchemaFormat, Type,
};
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{RefOr, Required};

use super::error::ErrorBody;
use super::{examples, schema};
use crate::codes::Code;

/// The name of the scheme of the token.
pub(super) const TOKEN: &str = "token";
/// The name of the scheme of the API code.
pub(super) const API_CONTEXT: &str = "apiContext";

/// What an endpoint is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tag {
    Reruns,
    Campaigns,
    Messages,
    CustomerGroups,
    Schedules,
    Audit,
    Events,
    Webhooks,
    Operations,
}

impl Tag {
    pub(super) const ALL: [Self; 9] = [
        Self::Reruns,
        Self::Campaigns,
        Self::Messages,
        Self::CustomerGroups,
        Self::Schedules,
        Self::Audit,
        Self::Events,
        Self::Webhooks,
        Self::Operations,
    ];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Reruns => "Reruns",
            Self::Campaigns => "Campaigns",
            Self::Messages => "Messages",
            Self::CustomerGroups => "Customer groups",
            Self::Schedules => "Schedules",
            Self::Audit => "Audit",
            Self::Events => "Events",
            Self::Webhooks => "Webhooks",
            Self::Operations => "Operations",
        }
    }

    pub(super) const fn description(self) -> &'static str {
        match self {
            Self::Reruns => {
                "Rerun a published campaign for a new customer group, and read the history of its \
                 runs."
            }
            Self::Campaigns => "Create, change, launch and publish campaigns.",
            Self::Messages => "Review, edit, regenerate and export a campaign's messages.",
            Self::CustomerGroups => {
                "Create customer groups, and import, list and delete customers."
            }
            Self::Schedules => "Start reruns at given times.",
            Self::Audit => "Read who did what, and when.",
            Self::Events => "Read what happened in the account, for use in other systems.",
            Self::Webhooks => "Send events to other systems.",
            Self::Operations => "Endpoints for probes and tools. They need no headers.",
        }
    }
}

type Schemas = Vec<schema::Named>;

/// What an endpoint says about itself.
pub(crate) struct Docs {
    tag: Tag,
    summary: &'static str,
    description: &'static str,
    guarded: bool,
    keyed: bool,
    parameters: Vec<ParameterBuilder>,
    request: Option<(&'static str, ContentBuilder)>,
    status: u16,
    answers: Vec<(&'static str, ContentBuilder)>,
    headers: Vec<(&'static str, Header)>,
    codes: Vec<Code>,
    schemas: Schemas,
}

impl Docs {
    fn new(tag: Tag, summary: &'static str, description: &'static str) -> Self {
        Self {
            tag,
            summary,
            description,
            guarded: false,
            keyed: false,
            parameters: Vec::new(),
            request: None,
            status: 200,
            answers: Vec::new(),
            headers: Vec::new(),
            codes: Vec::new(),
            schemas: Vec::new(),
        }
    }

    /// A call whose headers are checked. Of errors it has those that each of them may have.
    fn guarded(tag: Tag, summary: &'static str, description: &'static str) -> Self {
        let codes = [
            Code::InvalidRequest,
            Code::AuthError,
            Code::Unauthorized,
            Code::PayloadTooLarge,
            Code::UnsupportedMediaType,
            Code::RateLimited,
            Code::InternalError,
            Code::Unavailable,
        ];
        Self {
            guarded: true,
            codes: codes.to_vec(),
            ..Self::new(tag, summary, description)
        }
    }

    /// A call with a JSON body.
    pub(crate) fn call<Q: ToSchema>(
        tag: Tag,
        summary: &'static str,
        description: &'static str,
        example: Value,
    ) -> Self {
        let mut docs = Self::guarded(tag, summary, description);
        if has_required_fields(&Q::schema()) {
            docs.codes.push(Code::MissingRequiredFields);
        }
        let body = docs.reference::<Q>();
        docs.request = Some((
            "application/json",
            ContentBuilder::new()
                .schema(Some(body))
                .example(Some(example)),
        ));
        docs
    }

    /// A call with a CSV body.
    pub(crate) fn csv_call(
        tag: Tag,
        summary: &'static str,
        description: &'static str,
        example: &str,
    ) -> Self {
        let mut docs = Self::guarded(tag, summary, description);
        docs.codes.push(Code::MissingRequiredFields);
        let file = Object::with_type(Type::String);
        docs.request = Some((
            "text/csv",
            ContentBuilder::new()
                .schema(Some(file))
                .example(Some(example.into())),
        ));
        docs
    }

    /// For probes and tools: it needs no header and never fails.
    pub(crate) fn open(summary: &'static str, description: &'static str) -> Self {
        Self::new(Tag::Operations, summary, description)
    }

    /// It may carry an `idempotency-key`.
    pub(crate) fn keyed(mut self) -> Self {
        self.keyed = true;
        self.refuses(&[Code::IdempotencyKeyReused])
    }

    /// It takes a parameter.
    pub(crate) fn parameter(mut self, parameter: ParameterBuilder) -> Self {
        self.parameters.push(parameter);
        self
    }

    /// It answers JSON.
    pub(crate) fn answers<A: ToSchema>(mut self, example: Value) -> Self {
        let body = self.reference::<A>();
        let content = ContentBuilder::new().schema(Some(body));
        self.answers
            .push(("application/json", content.example(Some(example))));
        self
    }

    /// It answers a text of this media type.
    pub(crate) fn answers_text(
        mut self,
        media_type: &'static str,
        schema: impl Into<RefOr<Schema>>,
        example: &str,
    ) -> Self {
        let content = ContentBuilder::new().schema(Some(schema));
        self.answers
            .push((media_type, content.example(Some(example.into()))));
        self
    }

    /// It returns JSON lines, each of this type. OpenAPI 3.1 has no word for the schema of a line:
    /// it stands in `x-item-schema`.
    pub(crate) fn answers_lines<T: ToSchema>(mut self, example: &Value) -> Self {
        let line = json!(self.reference::<T>());
        let extensions = Extensions::builder().add("x-item-schema", line).build();
        let content = ContentBuilder::new()
            .schema(Some(Object::with_type(Type::String)))
            .example(Some(format!("{example}\n").into()))
            .extensions(Some(extensions));
        self.answers.push(("application/x-ndjson", content));
        self
    }

    /// It answers JSON of a form that this document does not describe.
    pub(crate) fn answers_json(mut self, schema: impl Into<RefOr<Schema>>) -> Self {
        let content = ContentBuilder::new().schema(Some(schema));
        self.answers.push(("application/json", content));
        self
    }

    /// It answers bytes of this media type.
    pub(crate) fn answers_bytes(mut self, media_type: &'static str) -> Self {
        self.answers.push((media_type, ContentBuilder::new()));
        self
    }

    /// What it answers has the headers of a page.
    pub(crate) fn page_headers(self) -> Self {
        self.header(
            "content-security-policy",
            "Allows the page to load files from this server only.",
            "default-src 'none'; script-src 'self'",
        )
        .header(
            "x-content-type-options",
            "Stops browsers from guessing another media type.",
            "nosniff",
        )
        .header(
            "x-frame-options",
            "Stops other pages from showing this page in a frame.",
            "DENY",
        )
        .header(
            "referrer-policy",
            "Makes browsers send no referrer when a link is followed.",
            "no-referrer",
        )
        .header(
            "cache-control",
            "Makes clients check for a newer version before they use a stored copy.",
            "no-cache",
        )
    }

    /// It answers with this status, and no body.
    pub(crate) fn answers_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// What it answers has a header.
    pub(crate) fn header(mut self, name: &'static str, description: &str, example: &str) -> Self {
        self.headers.push((name, text_header(description, example)));
        self
    }

    /// It may answer these errors, too.
    pub(crate) fn refuses(mut self, codes: &[Code]) -> Self {
        self.codes.extend(codes);
        self
    }

    fn reference<T: ToSchema>(&mut self) -> RefOr<Schema> {
        self.schemas.extend(schema::with_references::<T>());
        schema::reference::<T>()
    }

    /// The operation of the endpoint at this path, and the schemas that it refers to.
    pub(super) fn operation(mut self, path: &str) -> (Operation, Schemas) {
        let mut operation = OperationBuilder::new()
            .tag(self.tag.as_str())
            .summary(Some(self.summary))
            .description(Some(self.description))
            .operation_id(Some(operation_id(path)));
        if self.guarded {
            let both: SecurityRequirement = SecurityRequirement::new::<_, _, String>(TOKEN, [])
                .add::<_, _, String>(API_CONTEXT, []);
            operation = operation.security(both).parameter(client_ip());
        }
        if self.keyed {
            operation = operation.parameter(idempotency_key());
        }
        operation = operation.parameter(request_id());
        for parameter in std::mem::take(&mut self.parameters) {
            operation = operation.parameter(parameter);
        }
        if let Some((media_type, content)) = self.request.take() {
            let body = RequestBodyBuilder::new().required(Some(Required::True));
            operation =
                operation.request_body(Some(body.content(media_type, content.build()).build()));
        }
        operation = operation.response(self.status.to_string(), self.success());
        let mut by_status: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
        for code in self.codes {
            by_status.entry(code.status()).or_default().push(code);
        }
        for (status, codes) in by_status {
            operation = operation.response(status.to_string(), refusal(status, &codes));
        }
        (operation.build(), self.schemas)
    }

    fn success(&mut self) -> Response {
        let description = match self.status {
            302 | 308 => "Redirect to the page.",
            _ => "The request succeeded.",
        };
        let mut response = ResponseBuilder::new()
            .description(description)
            .header("x-request-id", answered_request_id());
        if self.keyed {
            let schema = ObjectBuilder::new()
                .schema_type(Type::String)
                .enum_values(Some(["true"]));
            let header = HeaderBuilder::new().schema(Some(schema)).description(Some(
                "Sent if the request repeats an earlier one with this key: nothing was done, and \
                 this is the first response.",
            ));
            response = response.header("idempotent-replay", header.build());
        }
        for (name, header) in std::mem::take(&mut self.headers) {
            response = response.header(name, header);
        }
        for (media_type, content) in std::mem::take(&mut self.answers) {
            response = response.content(media_type, content.build());
        }
        response.build()
    }
}

fn has_required_fields(schema: &RefOr<Schema>) -> bool {
    matches!(schema, RefOr::T(Schema::Object(object)) if !object.required.is_empty())
}

/// `/v1/campaign/rerun/history` is `campaign_rerun_history`.
fn operation_id(path: &str) -> String {
    let path = path.strip_prefix("/v1").unwrap_or(path);
    // The slash at the end is all that tells one path from another.
    let path = if path.ends_with('/') {
        format!("{path}slash")
    } else {
        path.to_owned()
    };
    let words = path.split(|c: char| !c.is_ascii_alphanumeric());
    words
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join("_")
}

fn text_header(description: &str, example: &str) -> Header {
    HeaderBuilder::new()
        .schema(Some(Object::with_type(Type::String)))
        .description(Some(description))
        .example(Some(example.into()))
        .build()
}

fn answered_request_id() -> Header {
    let schema = ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some(schema::REQUEST_ID));
    HeaderBuilder::new()
        .schema(Some(schema))
        .description(Some(
            "The id of the request: the `x-request-id` that the client sent if it is valid, else \
             an id that the server created.",
        ))
        .example(Some(examples::REQUEST.into()))
        .build()
}

fn retry_after() -> Header {
    let seconds = ObjectBuilder::new()
        .schema_type(Type::Integer)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int32)))
        .minimum(Some(0));
    HeaderBuilder::new()
        .schema(Some(seconds))
        .description(Some(
            "Seconds after which the same request may be sent again.",
        ))
        .example(Some(1.into()))
        .build()
}

fn client_ip() -> ParameterBuilder {
    let address = |format: KnownFormat| {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(format)))
    };
    let either = AnyOf::builder()
        .item(address(KnownFormat::Ipv4))
        .item(address(KnownFormat::Ipv6));
    ParameterBuilder::new()
        .name("x-ip")
        .parameter_in(ParameterIn::Header)
        .required(Required::True)
        .description(Some(
            "The IPv4 or IPv6 address of the client, which is recorded in the audit log. If it is \
             missing or not an IP address, the response is 403 `Unauthorized`.",
        ))
        .schema(Some(either))
        .example(Some("203.0.113.7".into()))
}

// The optional headers have no example: Swagger UI would send it with every call, and the second
// call with one key is not what somebody who tries the API expects.
fn idempotency_key() -> ParameterBuilder {
    let key = ObjectBuilder::new()
        .schema_type(Type::String)
        .min_length(Some(1))
        .max_length(Some(255))
        .pattern(Some("^[!-~]([ -~]*[!-~])?$"));
    ParameterBuilder::new()
        .name("idempotency-key")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(
            "If a request with the same key and body is repeated within 24 hours, nothing is done \
             and the first response is returned. If a key is used again in the account with \
             another body or at another endpoint, the response is 422. Requests that failed are \
             not remembered: they can be repeated with the same key.",
        ))
        .schema(Some(key))
}

fn request_id() -> ParameterBuilder {
    ParameterBuilder::new()
        .name("x-request-id")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(
            "An id for this request: 1 to 128 letters, digits, `.`, `_` and `-`. If it is missing \
             or invalid, the server creates an id.",
        ))
        .schema(Some(Object::with_type(Type::String)))
}

/// The answer of all errors that have one status.
fn refusal(status: u16, codes: &[Code]) -> Response {
    let whens: Vec<String> = codes
        .iter()
        .map(|code| format!("`{}`: {}.", code.as_str(), code.when()))
        .collect();
    let examples = codes.iter().map(|code| {
        let mut value = json!({
            "status": status,
            "code": code.as_str(),
            "message": code.message(),
            "request_id": examples::REQUEST,
        });
        if *code == Code::MissingRequiredFields {
            value["fields"] = json!(["campaign_id"]);
        }
        let varies = if code.is_fixed() {
            ""
        } else {
            " The message varies."
        };
        let example = ExampleBuilder::new()
            .summary(code.as_str())
            .description(format!("{}.{varies}", code.remedy()))
            .value(Some(value));
        (code.as_str(), example.build())
    });
    let content: Content = ContentBuilder::new()
        .schema(Some(schema::reference::<ErrorBody<'_>>()))
        .examples_from_iter(examples)
        .build();
    let mut response = ResponseBuilder::new()
        .description(whens.join("\n\n"))
        .header("x-request-id", answered_request_id())
        .content("application/json", content);
    if matches!(status, 429 | 503) {
        response = response.header("retry-after", retry_after());
    }
    response.build()
}
