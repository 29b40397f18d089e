//! The time that value rules and suggestions add to a rerun. Reruns with and without them take turns.

use serde_json::{Value, json};

use super::initiate::change;
use crate::bench::{Bench, Turns};
use crate::figures::{Figures, Turn};
use crate::load::Load;
use crate::seed::{self, Audience, FIELDS, Subject};
use crate::{Outcome, progress};

/// Rules on each field, which make the segments that there are without them.
fn rules() -> Value {
    let field = |name: &str| {
        json!({
            "field": name,
            "normalise": ["collapse_spaces", "casefold", "separators"],
            "null": ["n/a", "-"],
            "values": { "renamed": "kept" },
        })
    };
    json!(FIELDS.map(field))
}

/// Requests of the same kind with something and without it.
pub(super) struct Compared {
    pub(super) with: Turns,
    without: Turns,
}

impl Compared {
    /// Lets both take turns, the first of each left out. In every other round the other one begins, so that
    /// what follows on either costs both the same.
    pub(super) fn measure(
        bench: &Bench<'_>,
        rounds: u32,
        mut with: impl FnMut(&Bench<'_>) -> Outcome<Turn>,
        mut without: impl FnMut(&Bench<'_>) -> Outcome<Turn>,
    ) -> Outcome<Self> {
        let (mut both, mut none) = (Turns::default(), Turns::default());
        for round in 0..=rounds {
            let (first, second) = if round % 2 == 0 {
                let first = without(bench)?;
                (first, with(bench)?)
            } else {
                let second = with(bench)?;
                (without(bench)?, second)
            };
            if round > 0 {
                none.server.push(first);
                both.server.push(second);
            }
        }
        Ok(Self {
            with: both,
            without: none,
        })
    }

    /// The median times with it and without it.
    pub(super) fn medians(&self) -> (f64, f64) {
        let median = |turns: &Turns| Figures::of(&turns.server, 1).p50_ms;
        (median(&self.with), median(&self.without))
    }
}

/// One request, timed.
pub(super) fn once(bench: &Bench<'_>, request: Vec<u8>) -> Outcome<Turn> {
    let mut load = Load::open(bench.address(), 1)?;
    bench.meter().turn(|| load.each(&[request]))
}

fn preview(subject: &Subject) -> Vec<u8> {
    let group = json!({ "new_customer_group_id": subject.group, "limit": 100 });
    subject.request("campaign/rerun/preview", &group)
}

pub(super) fn with_rules(bench: &mut Bench<'_>) -> Outcome<()> {
    let audience = Audience {
        customers: bench.options.size(1_000_000),
        segments: bench.options.size(10_000),
    };
    progress(&format!(
        "rules-10k-1m: seeding {} customers in {} segments",
        audience.customers, audience.segments
    ));
    let account = bench.account()?;
    let mut api = bench.api()?;
    let group = seed::group(&mut api, &account, audience)?;
    let mut campaign =
        |fields: Value| seed::published_by(&mut api, &account, group, audience.segments, &fields);
    let mut plain = campaign(json!(FIELDS))?;
    let mut ruled = campaign(rules())?;
    bench.settle()?;
    let rounds = bench.options.rounds() * 2;
    if bench.wants("preview-10k-1m-rules") {
        let first = |subject: &Subject| {
            let subject = subject.clone();
            move |bench: &Bench<'_>| {
                change(bench, &subject)?;
                once(bench, preview(&subject))
            }
        };
        let compared = Compared::measure(bench, rounds, first(&ruled), first(&plain))?;
        record_ratio(bench, "preview-10k-1m-rules", &compared);
    }
    if bench.wants("initiate-10k-1m-rules") {
        let compared = Compared::measure(
            bench,
            rounds,
            |bench| first_initiate(bench, &mut ruled),
            |bench| first_initiate(bench, &mut plain),
        )?;
        record_ratio(bench, "initiate-10k-1m-rules", &compared);
    }
    Ok(())
}

/// Of a group that has changed. What was started is published outside of the time that is measured.
fn first_initiate(bench: &Bench<'_>, subject: &mut Subject) -> Outcome<Turn> {
    change(bench, subject)?;
    let turn = once(bench, subject.initiate())?;
    subject.publish(&mut bench.api()?)?;
    Ok(turn)
}

fn record_ratio(bench: &mut Bench<'_>, name: &str, compared: &Compared) {
    let (with, without) = compared.medians();
    let note = format!(
        "{:.2} × of {without:.1} ms without rules; to reach: 1.3 ×",
        with / without
    );
    bench.record_noting(name, &compared.with, 1, Some(note));
}

pub(super) fn suggestions(bench: &mut Bench<'_>) -> Outcome<()> {
    let approved = bench.options.size(10_000);
    let new = bench.options.size(1_000);
    progress(&format!(
        "suggestions-1k-of-10k: seeding {approved} approved and {new} new segments"
    ));
    let account = bench.account()?;
    let mut api = bench.api()?;
    let group = seed::group(&mut api, &account, Audience::of_segments(approved))?;
    let matched = seed::published(&mut api, &account, group, approved)?;
    let wider = Audience::of_segments(approved + new);
    let wider = Subject {
        group: seed::group(&mut api, &account, wider)?,
        ..matched.clone()
    };
    // A first run has nothing to suggest.
    let alone = seed::group(&mut api, &account, Audience::of_segments(new))?;
    let first = Subject {
        campaign: seed::draft(&mut api, &account, alone)?,
        ..matched.clone()
    };
    bench.settle()?;
    let rounds = bench.options.rounds() * 2;
    let compared = Compared::measure(
        bench,
        rounds,
        |bench| and_cancel(bench, &wider, wider.initiate()),
        |bench| and_cancel(bench, &matched, matched.initiate()),
    )?;
    let mut launches = Turns::default();
    for _ in 0..rounds {
        let launch = first.request("campaign/launch", &json!({}));
        launches.server.push(and_cancel(bench, &first, launch)?);
    }
    let (with, without) = compared.medians();
    let launch = Figures::of(&launches.server, 1).p50_ms;
    let note = format!(
        "{:.1} ms more than {without:.1} ms for the {approved} matched segments and {launch:.1} ms \
         to launch the {new} new ones in a first run; to reach: 150 ms more",
        with - without - launch
    );
    bench.record_noting("suggestions-1k-of-10k", &compared.with, 1, Some(note));
    Ok(())
}

/// The run is taken back outside of the time that is measured, so that its new segments are new
/// again.
fn and_cancel(bench: &Bench<'_>, subject: &Subject, request: Vec<u8>) -> Outcome<Turn> {
    let turn = once(bench, request)?;
    subject.call(&mut bench.api()?, "campaign/rerun/cancel", &json!({}))?;
    Ok(turn)
}
