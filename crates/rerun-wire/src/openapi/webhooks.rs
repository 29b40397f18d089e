//! The section `webhooks`: each type of event with its schema.

use rerun_core::audit::AuditAction;
use rerun_core::feed::{Field, Kind, SHARES, fields, says};
use serde_json::{Value, json};
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::path::OperationBuilder;
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::schema::{
    ArrayBuilder, KnownFormat, ObjectBuilder, OneOfBuilder, Ref, Schema, SchemaFormat, Type,
};
use utoipa::openapi::{HttpMethod, PathItem, Paths, PathsBuilder, RefOr, Required};

use super::docs::Tag;
use super::{examples, schema};

/// The section, and the schemas that it refers to.
pub(super) fn webhooks() -> (Paths, Vec<schema::Named>) {
    let mut paths = PathsBuilder::new();
    let mut schemas = schema::with_references::<schema::EventActor>();
    schemas.extend(schema::with_references::<schema::ImportMode>());
    schemas.extend(schema::with_references::<schema::WebhookStatus>());
    schemas.extend(schema::with_references::<schema::DisabledReason>());
    for action in AuditAction::ALL {
        let name = action.as_str();
        let body = ContentBuilder::new()
            .schema(Some(Ref::from_schema_name(schema_name(name))))
            .example(Some(examples::event(name)))
            .build();
        let body = RequestBodyBuilder::new()
            .required(Some(Required::True))
            .content("application/json", body);
        let operation = OperationBuilder::new()
            .tag(Tag::Events.as_str())
            .summary(Some(name))
            .description(Some(says(name)))
            .operation_id(Some(format!("event_{}", name.replace('.', "_"))))
            .request_body(Some(body.build()))
            .response(
                "200",
                ResponseBuilder::new().description("The receiver has taken the event."),
            );
        paths = paths.path(name, PathItem::new(HttpMethod::Post, operation.build()));
        schemas.push((schema_name(name), event(name)));
    }
    (paths.build(), schemas)
}

/// `campaign.published` is `CampaignPublishedEvent`.
fn schema_name(event_type: &str) -> String {
    let words = event_type.split(['.', '_']).map(|word| {
        let (first, rest) = word.split_at(word.len().min(1));
        first.to_uppercase() + rest
    });
    words.chain(["Event".to_owned()]).collect()
}

fn event(name: &str) -> RefOr<Schema> {
    let mut data = ObjectBuilder::new();
    for field in fields(name) {
        data = data.property(field.name, of_kind(field.kind));
        if field.always {
            data = data.required(field.name);
        }
    }
    let actor = OneOfBuilder::new()
        .item(ObjectBuilder::new().schema_type(Type::Null))
        .item(schema::reference::<schema::EventActor>())
        .description(Some("The person who did it; `null` if the system did it."));
    let data = data.property("actor", actor).required("actor");
    let sequence = ObjectBuilder::new()
        .schema_type(Type::Integer)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
        .minimum(Some(1))
        .description(Some(
            "The number of the event in the account's log: from 1, without gaps.",
        ));
    let event_type = ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some([name]));
    let mut event = ObjectBuilder::new()
        .description(Some(says(name)))
        .property("id", schema::id())
        .property("type", event_type)
        .property("timestamp", schema::reference::<schema::Timestamp>())
        .property("sequence", sequence)
        .property("account_id", schema::id())
        .property("data", data);
    for required in ["id", "type", "timestamp", "sequence", "account_id", "data"] {
        event = event.required(required);
    }
    event.into()
}

fn of_kind(kind: Kind) -> RefOr<Schema> {
    let text = || ObjectBuilder::new().schema_type(Type::String);
    match kind {
        Kind::Id => schema::id().into(),
        Kind::Ids => ArrayBuilder::new().items(schema::id()).into(),
        Kind::RunNumber => schema::reference::<schema::RunNumber>(),
        Kind::Status => schema::reference::<schema::CampaignStatus>(),
        Kind::Count => ObjectBuilder::new()
            .schema_type(Type::Integer)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
            .minimum(Some(0))
            .into(),
        Kind::Shares => {
            let mut shares = ObjectBuilder::new();
            for name in SHARES {
                shares = shares.property(name, of_kind(Kind::Count)).required(name);
            }
            shares.into()
        }
        Kind::Name => text().into(),
        Kind::Names => ArrayBuilder::new().items(text()).into(),
        Kind::Stages => ArrayBuilder::new()
            .items(schema::reference::<schema::ApprovalStage>())
            .into(),
        Kind::Flag => ObjectBuilder::new().schema_type(Type::Boolean).into(),
        Kind::Mode => schema::reference::<schema::ImportMode>(),
        Kind::WebhookStatus => schema::reference::<schema::WebhookStatus>(),
        Kind::DisabledReason => schema::reference::<schema::DisabledReason>(),
        Kind::Outcome => schema::reference::<schema::FiringOutcome>(),
        Kind::Time => schema::reference::<schema::Timestamp>(),
    }
}

impl examples::OfField for Field {
    fn example(&self) -> Value {
        match (self.kind, self.name) {
            (_, "campaign_id") => json!(examples::CAMPAIGN),
            (_, "customer_group_id") => json!(examples::GROUP),
            (_, "webhook_id") => json!(examples::WEBHOOK),
            (_, "job_uid") => json!(examples::JOB),
            (_, "before") => json!("Ready to publish"),
            (_, "after") => json!("Published"),
            (_, "changed") => json!(["name", "template"]),
            (Kind::Id, _) => json!(examples::CONTENT),
            (Kind::Ids, _) => json!([examples::MESSAGE]),
            (Kind::RunNumber, _) => json!(2),
            (Kind::Status, _) => json!("Processing"),
            (Kind::Count, _) => json!(3),
            (Kind::Shares, "segments") => json!({ "matched": 40, "new": 12, "gone": 1 }),
            (Kind::Shares, _) => json!({ "matched": 1800, "new": 95, "gone": 4 }),
            (Kind::Name, _) => json!("Spring sale"),
            (Kind::Names | Kind::Stages, _) => json!(["Review"]),
            (Kind::Flag, _) => json!(true),
            (Kind::Mode, _) => json!("merge"),
            (Kind::WebhookStatus, _) => json!("enabled"),
            (Kind::DisabledReason, _) => json!("failing"),
            (Kind::Outcome, _) => json!("skipped_unchanged"),
            (Kind::Time, _) => json!(examples::STARTED),
        }
    }
}
