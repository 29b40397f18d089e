//! The demo: the whole story of a campaign and its rerun, told by requests as a user makes them.

mod client;
mod customers;

use std::time::{Duration, Instant};

use comfy_table::{CellAlignment, Table, presets};
use serde::Deserialize;
use serde_json::json;

pub use client::{Client, DemoError};

const SUBJECT: &str = "A summer offer for our {{ tier | default(\"valued\") }} customers in \
                       {{ country }}";
const BODY: &str = "Hello,\n\nas a {{ tier | default(\"valued\") }} customer in {{ country }} you \
                    get our summer offer two weeks before everybody else.";

const AUTUMN_SUBJECT: &str =
    "Autumn for our {{ tier | default(\"valued\") }} customers in {{ country }}";
const AUTUMN_BODY: &str = "Hello,\n\nas a {{ tier | default(\"valued\") }} customer in {{ country }} you \
                           are the first to see our autumn collection.";

/// How often to look whether the messages are there.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// When to stop looking.
const PATIENCE: Duration = Duration::from_mins(1);

/// What the story leaves behind, for whoever wants to go on from there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The campaign, published on its second run.
    pub campaign_id: String,
    /// The group of the first run.
    pub first_group_id: String,
}

#[derive(Deserialize)]
struct Id {
    id: String,
}

#[derive(Deserialize)]
struct Imported {
    total: u64,
}

#[derive(Deserialize, Clone, Copy)]
struct Segments {
    total: u64,
    matched: u64,
    new: u64,
}

#[derive(Deserialize)]
struct Planned {
    segments: Segments,
    resulting_status: String,
}

#[derive(Deserialize)]
struct Started {
    run_number: u32,
    segments: Segments,
    archived_messages: u64,
    campaign_status: String,
}

#[derive(Deserialize)]
struct Reviewed {
    reviewed_messages: u64,
}

#[derive(Deserialize)]
struct Published {
    published_messages: u64,
}

#[derive(Deserialize)]
struct History {
    campaign_status: String,
    runs: Vec<Run>,
}

#[derive(Deserialize)]
struct Run {
    #[serde(rename = "run_number")]
    number: u32,
    status: String,
    is_current: bool,
    customer_group: Named,
    customer_count: u64,
    segments: Segments,
    messages: Messages,
    saved: Saved,
}

#[derive(Deserialize)]
struct Saved {
    messages: u64,
    customers: u64,
    prompt_tokens: u64,
    completion_tokens: u64,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
struct Messages {
    total: u64,
    reused: u64,
    generated: u64,
    generating: u64,
    archived: u64,
}

#[derive(Deserialize)]
struct MessageList {
    messages: Vec<Message>,
}

#[derive(Deserialize)]
struct Message {
    content: Content,
    source: String,
}

#[derive(Deserialize)]
struct Content {
    subject: String,
}

/// Tells the story on the server that `client` calls; `say` is given a line at a time.
///
/// # Errors
/// [`DemoError`] for the first request that was refused or not answered.
pub async fn tell(client: &Client, say: &dyn Fn(&str)) -> Result<Told, DemoError> {
    let story = Story { client, say };
    let [customers_2025, customers_2026] = customers::audiences()?;
    story.heading("2025: a new campaign, in which every message is generated and reviewed");
    let first_group_id = story.import("Customers 2025", customers_2025).await?;
    let campaign: Id = client
        .post(
            "campaign/create",
            &json!({
                "name": "Summer offer",
                "customer_group_id": first_group_id,
                "segment_by": customers::segment_by(),
                "template": { "subject": SUBJECT, "body": BODY },
            }),
        )
        .await?;
    let campaign_id = campaign.id;
    let this = json!({ "campaign_id": campaign_id });
    story.done(
        "created the campaign \"Summer offer\": one message for each country, tier and range of \
         spending",
    );
    let launched: Started = client.post("campaign/launch", &this).await?;
    let Segments { new, .. } = launched.segments;
    story.done(&format!(
        "launched it: it has {new} segments, so {new} messages are generated"
    ));
    story.finish_run(&this).await?;

    story.heading("2026: the audience has changed, so the campaign is rerun");
    let second_group_id = story.import("Customers 2026", customers_2026).await?;
    let rerun = json!({ "campaign_id": campaign_id, "new_customer_group_id": second_group_id });
    story.done(
        "this export writes UK for GB, tiers in capitals and amounts with commas:\n    the \
         campaign's value rules treat them as the same values",
    );
    let planned: Planned = client.post("campaign/rerun/preview", &rerun).await?;
    let Segments {
        total,
        matched,
        new,
    } = planned.segments;
    story.done(&format!(
        "previewed the rerun: {matched} of {total} segments have an approved message, {new} are \
         new;\n    after generation the campaign would be \"{}\"",
        planned.resulting_status
    ));
    let started: Started = client.post("campaign/rerun/initiate", &rerun).await?;
    let Started {
        run_number,
        segments: Segments { matched, new, .. },
        ..
    } = started;
    story.done(&format!(
        "started run {run_number}: {matched} messages are reused, {new} are generated, and the {} \
         of run 1 are archived",
        started.archived_messages
    ));
    if started.campaign_status == "Processing" {
        story.finish_run(&this).await?;
    }
    story.sample(&campaign_id).await?;

    story.heading("The history of the campaign");
    let history: History = client.post("campaign/rerun/history", &this).await?;
    say(&table(&history).to_string());
    if let Some(run) = history.runs.iter().find(|run| run.is_current) {
        say(&format!(
            "\n  The campaign is {}. {}",
            history.campaign_status,
            saved_line(run)
        ));
    }
    story
        .leave_to_review(&first_group_id, &second_group_id)
        .await?;
    Ok(Told {
        campaign_id,
        first_group_id,
    })
}

struct Story<'a> {
    client: &'a Client,
    say: &'a dyn Fn(&str),
}

impl Story<'_> {
    fn heading(&self, text: &str) {
        (self.say)(&format!("\n{text}"));
    }

    fn done(&self, text: &str) {
        (self.say)(&format!("  ✓ {text}"));
    }

    async fn import(&self, name: &str, csv: Vec<u8>) -> Result<String, DemoError> {
        let group: Id = self
            .client
            .post("customer-group/create", &json!({ "name": name }))
            .await?;
        let path = format!("customer-group/import?customer_group_id={}", group.id);
        let Imported { total } = self.client.post_csv(&path, csv).await?;
        self.done(&format!("imported {total} customers into \"{name}\""));
        Ok(group.id)
    }

    /// Reruns a second campaign and leaves its new messages unreviewed, so that the console has work.
    async fn leave_to_review(&self, first: &str, second: &str) -> Result<(), DemoError> {
        let quiet = Story {
            client: self.client,
            say: &|_| (),
        };
        let name = "Autumn offer";
        let create = json!({
            "name": name, "customer_group_id": first, "segment_by": customers::segment_by(),
            "template": { "subject": AUTUMN_SUBJECT, "body": AUTUMN_BODY },
        });
        let campaign: Id = self.client.post("campaign/create", &create).await?;
        let this = json!({ "campaign_id": campaign.id });
        let _launched: Started = self.client.post("campaign/launch", &this).await?;
        quiet.finish_run(&this).await?;
        let rerun = json!({ "campaign_id": campaign.id, "new_customer_group_id": second });
        let started: Started = self.client.post("campaign/rerun/initiate", &rerun).await?;
        quiet.generated(&this).await?;
        let Segments { matched, new, .. } = started.segments;
        self.heading("Your turn");
        self.done(&format!(
            "another campaign, \"{name}\", was rerun too: {matched} messages were reused, and \
             {new} wait for your review"
        ));
        Ok(())
    }

    /// Waits until the messages are there, has them all approved, and publishes.
    async fn finish_run(&self, this: &serde_json::Value) -> Result<(), DemoError> {
        self.generated(this).await?;
        let mut approval = this.clone();
        approval["decision"] = "approve".into();
        approval["all"] = true.into();
        let Reviewed { reviewed_messages } = self
            .client
            .post("campaign/messages/review", &approval)
            .await?;
        self.done(&format!("a reviewer approved {reviewed_messages} messages"));
        let Published { published_messages } = self.client.post("campaign/publish", this).await?;
        self.done(&format!("published all {published_messages}"));
        Ok(())
    }

    /// Waits until the messages are there.
    async fn generated(&self, this: &serde_json::Value) -> Result<(), DemoError> {
        let begun = Instant::now();
        let mut generated = 0;
        loop {
            let history: History = self.client.post("campaign/rerun/history", this).await?;
            let run = history
                .runs
                .first()
                .ok_or(DemoError::Unexpected("no run"))?;
            // A message that is being generated counts by its source already.
            let open = run.messages.generating;
            let now = run.messages.generated.saturating_sub(open);
            if now > generated {
                generated = now;
                let open = if open > 0 {
                    format!(", {open} to go")
                } else {
                    String::new()
                };
                self.done(&format!("generated {generated} messages{open}"));
            }
            match history.campaign_status.as_str() {
                "Processing" if begun.elapsed() < PATIENCE => tokio::time::sleep(LOOK_EVERY).await,
                "Ready for review" => return Ok(()),
                "Processing" => return Err(DemoError::Unexpected("generation takes too long")),
                _ => {
                    return Err(DemoError::Unexpected(
                        "the campaign is not ready for review",
                    ));
                }
            }
        }
    }

    /// Shows what a reused and a new message say.
    async fn sample(&self, campaign_id: &str) -> Result<(), DemoError> {
        let all = json!({ "campaign_id": campaign_id, "run_number": 2 });
        let list: MessageList = self.client.post("campaign/rerun/messages", &all).await?;
        for source in ["reused", "generated"] {
            if let Some(message) = list
                .messages
                .iter()
                .find(|message| message.source == source)
            {
                (self.say)(&format!("    {source}: \"{}\"", message.content.subject));
            }
        }
        Ok(())
    }
}

/// What the run saved. The demo's templates use no tokens; a language model's endpoint reports them.
fn saved_line(run: &Run) -> String {
    let Saved {
        messages,
        customers,
        prompt_tokens,
        completion_tokens,
    } = run.saved;
    let tokens = match prompt_tokens + completion_tokens {
        0 => String::new(),
        tokens => format!(", which saved about {tokens} tokens"),
    };
    format!(
        "Run {}: {messages} of {} messages, for {customers} customers, were neither generated nor \
         reviewed again{tokens}.",
        run.number, run.messages.total
    )
}

fn table(history: &History) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_BORDERS_ONLY).set_header([
        "run",
        "customer group",
        "customers",
        "segments",
        "reused",
        "generated",
        "archived",
        "status",
    ]);
    for run in &history.runs {
        let current = if run.is_current { ", current" } else { "" };
        table.add_row([
            run.number.to_string(),
            run.customer_group.name.clone(),
            run.customer_count.to_string(),
            run.segments.total.to_string(),
            run.messages.reused.to_string(),
            run.messages.generated.to_string(),
            run.messages.archived.to_string(),
            format!("{}{current}", run.status),
        ]);
    }
    for numbers in [0, 2, 3, 4, 5, 6] {
        if let Some(column) = table.column_mut(numbers) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}
