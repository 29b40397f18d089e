//! The parts that cost processor time without touching a database: keys of segments, plans, the
//! writing of a time, and the check of a token.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rerun_auth::{StaticKey, TokenRules, TokenVerifier};
use rerun_core::Timestamp;
use rerun_core::campaign::{ApprovalStages, Campaign, CampaignParts, CampaignStatus, Template};
use rerun_core::group::CustomerGroup;
use rerun_core::ids::{AccountId, CampaignId, CustomerGroupId, MessageId, RunNumber, UserId};
use rerun_core::message::{ReviewStatus, Source};
use rerun_core::plan::{Audience, ReuseCandidate, ReuseFrom, RunPlan, SegmentCandidate};
use rerun_core::run::{MessageCounts, Run, RunGroup, RunParts, RunStatus, SegmentCounts};
use rerun_core::segment::{FieldValues, SegmentBy};
use rerun_generate::SystemClock;
use secrecy::SecretString;
use uuid::Uuid;

const SEGMENTS: u32 = 100_000;

fn values(number: u32) -> (String, String) {
    (
        format!("country-{}", number / 200),
        format!("interest-{}", number % 200),
    )
}

fn keys(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("segments");
    group.throughput(Throughput::Elements(1));
    let (country, interest) = values(4_321);
    let values = [Some(country.as_str()), Some(interest.as_str())];
    let Ok(by) = SegmentBy::new(&["country", "interest"]) else {
        return;
    };
    group.bench_function("key of two fields", |bencher| {
        bencher.iter(|| by.key(black_box(values)));
    });
    group.bench_function("segment of two fields", |bencher| {
        bencher.iter(|| by.segment_of(black_box(values), 7));
    });
    group.finish();
}

fn candidates(by: &SegmentBy, current: RunNumber) -> Vec<SegmentCandidate> {
    (0..SEGMENTS)
        .map(|number| {
            let (country, interest) = values(number);
            let key = by.key([Some(country.as_str()), Some(interest.as_str())]);
            SegmentCandidate {
                key,
                customer_count: 10,
                reusable: Some(ReuseCandidate {
                    message_id: MessageId::new(Uuid::from_u128(number.into())),
                    run_number: current,
                    status: ReviewStatus::Published,
                }),
            }
        })
        .collect()
}

fn published() -> Option<(Campaign, Run)> {
    let now = Timestamp::UNIX_EPOCH;
    let run = RunNumber::new(1)?;
    let group = CustomerGroupId::new(Uuid::from_u128(1));
    let user = UserId::new(Uuid::from_u128(2));
    let campaign = Campaign::from_parts(CampaignParts {
        account_id: AccountId::new(Uuid::from_u128(3)),
        id: CampaignId::new(Uuid::from_u128(4)),
        name: "Spring".to_owned(),
        customer_group_id: group,
        segment_by: SegmentBy::new(&["country", "interest"]).ok()?,
        template: Template {
            subject: "New in {{ country }}".to_owned(),
            body: "Have a look.".to_owned(),
        },
        brief: None,
        approval_stages: ApprovalStages::new(&["Review"]).ok()?,
        distinct_reviewers: false,
        suggest_reruns: true,
        status: CampaignStatus::Published,
        current_run: Some(run),
        last_run: Some(run),
        version: 1,
        created_by: user,
        created_at: now,
        updated_at: now,
    })
    .ok()?;
    let run = Run::from_parts(RunParts {
        number: run,
        job_uid: None,
        status: RunStatus::Completed,
        synthesised: true,
        group: RunGroup {
            id: group,
            name: "Everybody".to_owned(),
        },
        customer_count: 10 * i64::from(SEGMENTS),
        segments: SegmentCounts {
            total: SEGMENTS,
            matched: 0,
            new: SEGMENTS,
        },
        counts: MessageCounts::default().add(ReviewStatus::Published, Source::Generated, SEGMENTS),
        resulting_status: CampaignStatus::ReadyForReview,
        initiated_by: Some(user),
        initiated_by_name: None,
        schedule_id: None,
        previous_run: None,
        error: None,
        cancel_reason: None,
        started_at: now,
        completed_at: Some(now),
        archived_at: None,
        usage: rerun_core::generation::TokenCounts::default(),
        saved: rerun_core::generation::Saved::default(),
        metered: rerun_core::generation::Metered::default(),
    })
    .ok()?;
    Some((campaign, run))
}

fn plans(criterion: &mut Criterion) {
    let Some((campaign, run)) = published() else {
        return;
    };
    let candidates = candidates(&campaign.segment_by, run.number);
    let everybody = FieldValues {
        customers: run.customer_count,
        ..FieldValues::default()
    };
    let customers = CustomerGroup {
        account_id: campaign.account_id,
        id: run.group.id,
        name: run.group.name.clone(),
        customer_count: run.customer_count,
        fields: Vec::new(),
        created_at: campaign.created_at,
        updated_at: campaign.updated_at,
    };
    let mut group = criterion.benchmark_group("plan");
    group.throughput(Throughput::Elements(SEGMENTS.into()));
    group.bench_function("of 100,000 segments, all matched", |bencher| {
        let plan = || {
            let reuse = ReuseFrom::CurrentRun;
            let audience = Audience {
                group: &customers,
                segments: black_box(&candidates),
                fields: &[everybody, everybody],
                allow_missing_fields: false,
                limit: SEGMENTS,
            };
            RunPlan::rerun(&campaign, Some(&run), reuse, &audience)
        };
        bencher.iter_batched(|| (), |()| plan(), BatchSize::LargeInput);
    });
    group.finish();
}

fn times(criterion: &mut Criterion) {
    let now = Timestamp::UNIX_EPOCH;
    criterion.bench_function("a time as text", |bencher| {
        bencher.iter(|| rerun_core::timestamp::format(black_box(now)));
    });
    criterion.bench_function("a time in JSON", |bencher| {
        let mut json = Vec::with_capacity(64);
        bencher.iter(|| {
            json.clear();
            let mut serializer = serde_json::Serializer::new(&mut json);
            rerun_core::timestamp::serialize(black_box(&now), &mut serializer)
        });
    });
}

fn tokens(criterion: &mut Criterion) {
    let secret = "a secret of at least thirty-two bytes";
    let id = Uuid::from_u128(1);
    let claims = serde_json::json!({
        "account_id": id, "user_id": id, "role_code": "ADMIN", "exp": 4_102_444_800_u64,
    });
    let key = EncodingKey::from_secret(secret.as_bytes());
    let (Ok(token), Ok(key)) = (
        jsonwebtoken::encode(&Header::default(), &claims, &key),
        StaticKey::secret(&SecretString::from(secret)),
    ) else {
        return;
    };
    let verifier = TokenVerifier::new(
        Arc::new(key),
        Algorithm::HS256,
        TokenRules::default(),
        Arc::new(SystemClock),
    );
    criterion.bench_function("check of a token, HS256", |bencher| {
        bencher.iter(|| verifier.verify(black_box(&token)));
    });
}

criterion_group!(core, keys, plans, times, tokens);
criterion_main!(core);
