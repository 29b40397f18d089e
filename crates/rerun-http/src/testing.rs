//! The application over mocked ports. A mock without expectations panics when it is called, so
//! that a test of a refusal proves at once that no port was reached.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use actix_web::body::MessageBody;
use actix_web::http::StatusCode;
use actix_web::http::header::HeaderMap;
use actix_web::test::{self, TestRequest};
use actix_web::{App, web};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rerun_core::Timestamp;
use rerun_core::campaign::{ApprovalStages, Campaign, CampaignParts, CampaignStatus, Template};
use rerun_core::group::CustomerGroup;
use rerun_core::ids::{
    AccountId, CampaignId, ContentId, CustomerGroupId, JobId, MessageId, RunNumber, UserId,
};
use rerun_core::message::{
    Approvals, Content, Message, MessageParts, MessageState, Provenance, ReviewStatus, Source,
};
use rerun_core::ports::{
    EveryRole, MockAuditStore, MockBackoff, MockCampaignStore, MockChangedGroupQueue, MockClock,
    MockCustomerGroupStore, MockDeliveryQueue, MockEventCursors, MockEventLog, MockGenerationQueue,
    MockHealthCheck, MockHistoryStore, MockIdGenerator, MockIdempotencyStore, MockRecipientStore,
    MockRerunStore, MockReviewStore, MockScheduleQueue, MockScheduleStore, MockTemplateChecker,
    MockWebhookStore, NoCalendar,
};
use rerun_core::run::{MessageCounts, Run, RunGroup, RunParts, RunStatus, SegmentCounts};
use rerun_core::segment::{Segment, SegmentBy};
use rerun_core::usecases::{
    AuditLog, Campaigns, CustomerGroups, Deliveries, Engine, Events, Generation, Histories, Host,
    Publications, Recipients, RerunSuggestions, Reruns, Reviews, SchedulePorts, Schedules,
    Settings, WebhookPorts, Webhooks,
};
use secrecy::SecretString;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::feed::Waiters;
use crate::{AppState, Intake, Limits, RateLimit, Readiness};
use rerun_auth::{Guard, StaticKey, TokenRules, TokenVerifier};
use rerun_metrics::Metrics;

pub(crate) const SECRET: &str = "a secret of at least thirty-two bytes";
pub(crate) const API_CODE: &str = "the-api-code";
pub(crate) const ACCOUNT: &str = "0193ed20-7b3c-7000-8000-00000000000a";
pub(crate) const USER: &str = "0193ed20-7b3c-7000-8000-00000000000b";
/// An id that is well formed.
pub(crate) const ID: &str = "0193ed20-7b3c-7000-8000-0000000000ff";
/// The whole second that it is in tests, since 1970.
pub(crate) const NOW_SECONDS: i64 = 1_795_424_400;

pub(crate) fn now() -> Timestamp {
    Timestamp::from_timestamp_millis(NOW_SECONDS * 1_000).unwrap()
}

pub(crate) fn account() -> AccountId {
    AccountId::parse(ACCOUNT).unwrap()
}

/// The guard of the tests, with these rules.
fn guard_with(rules: TokenRules, clock: Arc<MockClock>) -> Guard {
    let key = StaticKey::secret(&SecretString::from(SECRET)).unwrap();
    let tokens = TokenVerifier::new(Arc::new(key), Algorithm::HS256, rules, clock);
    Guard::new(tokens, SecretString::from(API_CODE)).unwrap()
}

/// The guard of the tests.
pub(crate) fn guard() -> Guard {
    guard_with(TokenRules::default(), Arc::new(MockClock::new()))
}

/// The ports, to set expectations on.
#[derive(Default)]
pub(crate) struct Mocks {
    pub(crate) groups: MockCustomerGroupStore,
    pub(crate) campaigns: MockCampaignStore,
    pub(crate) history: MockHistoryStore,
    pub(crate) recipients: MockRecipientStore,
    pub(crate) reruns: MockRerunStore,
    pub(crate) reviews: MockReviewStore,
    pub(crate) responses: MockIdempotencyStore,
    pub(crate) audit: MockAuditStore,
    pub(crate) events: MockEventLog,
    pub(crate) webhooks: MockWebhookStore,
    pub(crate) deliveries: MockDeliveryQueue,
    pub(crate) health: MockHealthCheck,
    pub(crate) templates: MockTemplateChecker,
    pub(crate) limits: Limits,
    pub(crate) intake: Intake,
    pub(crate) rate_limit: RateLimit,
    pub(crate) rules: TokenRules,
    pub(crate) readiness: Readiness,
    /// How often the worker was woken.
    pub(crate) woken: Arc<AtomicUsize>,
}

impl Mocks {
    pub(crate) fn state(self) -> web::Data<AppState> {
        let mut clock = MockClock::new();
        clock.expect_now().returning(now);
        let clock = Arc::new(clock);
        let mut ids = MockIdGenerator::new();
        let made = AtomicU64::new(0);
        ids.expect_next()
            .returning(move || Uuid::from_u64_pair(1, made.fetch_add(1, Ordering::Relaxed)));
        let ids = Arc::new(ids);
        let settings = Settings::default();
        let host = Host::new(clock.clone(), ids.clone());
        let groups = Arc::new(self.groups);
        let campaigns = Arc::new(self.campaigns);
        let reruns = Arc::new(self.reruns);
        let history = Arc::new(self.history);
        let responses = Arc::new(self.responses);
        let deliveries = Arc::new(self.deliveries);
        let events = Arc::new(self.events);
        let reruns_of = Reruns::new(
            reruns.clone(),
            campaigns.clone(),
            responses.clone(),
            host.clone(),
            settings,
        );
        let none = MockEventCursors::new();
        let ports = SchedulePorts {
            store: Arc::new(MockScheduleStore::new()),
            queue: Arc::new(MockScheduleQueue::new()),
            campaigns: campaigns.clone(),
            groups: groups.clone(),
            responses: responses.clone(),
            reruns: reruns_of.clone(),
            calendar: Arc::new(NoCalendar),
            permissions: Arc::new(EveryRole),
        };
        let engine = Engine {
            schedules: Schedules::new(ports, host.clone(), settings),
            webhooks: Webhooks::new(
                Arc::new(self.webhooks),
                deliveries.clone(),
                campaigns.clone(),
                responses.clone(),
                WebhookPorts::default(),
                host.clone(),
            ),
            deliveries: Deliveries::new(deliveries, host.clone()),
            publications: Publications::new(Arc::new(none), events.clone(), host.clone()),
            groups: CustomerGroups::new(groups.clone(), responses.clone(), host.clone()),
            campaigns: Campaigns::new(
                campaigns.clone(),
                groups,
                reruns,
                Arc::new(self.templates),
                responses.clone(),
                host.clone(),
                settings,
            ),
            rerun_suggestions: RerunSuggestions::new(
                Arc::new(MockChangedGroupQueue::new()),
                reruns_of.clone(),
                host.clone(),
            ),
            reruns: reruns_of,
            reviews: Reviews::new(
                Arc::new(self.reviews),
                campaigns.clone(),
                history.clone(),
                responses,
                host.clone(),
                settings,
            ),
            history: Histories::new(history),
            recipients: Recipients::new(Arc::new(self.recipients), campaigns),
            generation: Generation::new(
                Arc::new(MockGenerationQueue::new()),
                Arc::new(MockBackoff::new()),
                host,
                settings.generation,
            ),
            audit: AuditLog::new(Arc::new(self.audit)),
            events: Events::new(events),
        };
        let woken = self.woken;
        web::Data::new(AppState {
            engine,
            health: Arc::new(self.health),
            authenticator: Arc::new(guard_with(self.rules, clock)),
            ids,
            limits: self.limits,
            intake: self.intake,
            rate_limit: self.rate_limit,
            wake: Arc::new(move || {
                woken.fetch_add(1, Ordering::Relaxed);
            }),
            waiters: Waiters::default(),
            readiness: self.readiness,
            metrics: Metrics::default(),
            traces: None,
        })
    }

    /// Posts a JSON body with headers that are all right.
    pub(crate) async fn post(self, path: &str, body: &Value) -> TestResponse {
        self.call(request(path).set_payload(body.to_string())).await
    }

    pub(crate) async fn call(self, request: TestRequest) -> TestResponse {
        let app = App::new().configure(crate::configure(self.state()));
        let app = test::init_service(app).await;
        let response = test::call_service(&app, request.to_request()).await;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.into_body().try_into_bytes();
        let bytes = match body {
            Ok(bytes) => bytes,
            Err(body) => actix_web::body::to_bytes(body).await.unwrap_or_default(),
        };
        TestResponse {
            status,
            headers,
            text: String::from_utf8_lossy(&bytes).into_owned(),
        }
    }
}

pub(crate) struct TestResponse {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl TestResponse {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {}", self.text))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// Status, code and message of an error; its form is checked on the way.
    pub(crate) fn error(&self) -> (u16, String, String) {
        let body = self.json();
        assert_eq!(body["status"], self.status.as_u16(), "{body}");
        assert_eq!(
            body["request_id"].as_str(),
            self.header("x-request-id"),
            "{body}"
        );
        let text = |name: &str| body[name].as_str().unwrap().to_owned();
        (self.status.as_u16(), text("code"), text("message"))
    }
}

pub(crate) fn claims() -> Value {
    json!({ "user_id": USER, "account_id": ACCOUNT, "role_code": "ADMIN", "exp": NOW_SECONDS + 60 })
}

pub(crate) fn token(header: &Header, claims: &Value, secret: &str) -> String {
    jsonwebtoken::encode(header, claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap()
}

pub(crate) fn bearer(claims: &Value) -> String {
    format!("Bearer {}", token(&Header::default(), claims, SECRET))
}

pub(crate) fn auth_context() -> String {
    json!({ "api_access": true, "api_code": API_CODE }).to_string()
}

/// A request with headers that are all right.
pub(crate) fn request(path: &str) -> TestRequest {
    TestRequest::post()
        .uri(path)
        .insert_header(("authorization", bearer(&claims())))
        .insert_header(("x-auth-context", auth_context()))
        .insert_header(("x-ip", "203.0.113.7"))
        .insert_header(("content-type", "application/json"))
}

pub(crate) fn group() -> CustomerGroup {
    CustomerGroup {
        account_id: account(),
        id: CustomerGroupId::parse(ID).unwrap(),
        name: "Spring".into(),
        customer_count: 3,
        fields: vec!["country".into(), "tier".into()],
        created_at: now(),
        updated_at: now(),
    }
}

pub(crate) fn campaign(status: CampaignStatus) -> Campaign {
    let run = (status != CampaignStatus::Draft).then_some(RunNumber::FIRST);
    Campaign::from_parts(CampaignParts {
        account_id: account(),
        id: CampaignId::parse(ID).unwrap(),
        name: "Hello".into(),
        customer_group_id: CustomerGroupId::parse(ID).unwrap(),
        segment_by: SegmentBy::new(&["country", "tier"]).unwrap(),
        template: Template {
            subject: "Hi".into(),
            body: "Dear {{ tier }}".into(),
        },
        brief: None,
        approval_stages: ApprovalStages::new(&["Draft", "Legal"]).unwrap(),
        distinct_reviewers: false,
        suggest_reruns: true,
        status,
        current_run: run,
        last_run: run,
        version: 3,
        created_by: UserId::parse(USER).unwrap(),
        created_at: now(),
        updated_at: now(),
    })
    .unwrap()
}

/// Run 1 of [`campaign`], with one published message.
pub(crate) fn run() -> Run {
    Run::from_parts(RunParts {
        number: RunNumber::FIRST,
        job_uid: JobId::parse(ID),
        status: RunStatus::Completed,
        synthesised: false,
        group: RunGroup {
            id: group().id,
            name: "Spring".into(),
        },
        customer_count: 3,
        segments: SegmentCounts {
            total: 1,
            matched: 0,
            new: 1,
        },
        counts: MessageCounts::default().add(ReviewStatus::Published, Source::Generated, 1),
        resulting_status: CampaignStatus::ReadyForReview,
        initiated_by: UserId::parse(USER),
        initiated_by_name: None,
        schedule_id: None,
        previous_run: None,
        error: None,
        cancel_reason: None,
        started_at: now(),
        completed_at: Some(now()),
        archived_at: None,
        usage: rerun_core::generation::TokenCounts::default(),
        saved: rerun_core::generation::Saved::default(),
        metered: rerun_core::generation::Metered::default(),
    })
    .unwrap()
}

pub(crate) fn segment() -> Segment {
    let by = SegmentBy::new(&["country", "tier"]).unwrap();
    by.segment(|field| (field == "country").then_some("DE"), 3)
}

/// A message of [`run`].
pub(crate) fn message(state: MessageState) -> Message {
    let (id, run) = (MessageId::parse(ID).unwrap(), RunNumber::FIRST);
    Message::from_parts(MessageParts {
        content_id: ContentId::parse("0193ed20-7b3c-7000-8000-0000000000cc"),
        content: Some(Content {
            subject: "Hi".into(),
            body: "Dear, \"you\"\n=1+1".into(),
        }),
        state,
        provenance: Some(Provenance {
            run_number: run,
            approvals: Approvals::from_stored("[]".into()),
        }),
        ..MessageParts::generating(id, run, 1, segment(), now())
    })
    .unwrap()
}
