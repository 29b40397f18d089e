//! What most tests begin with.

use serde_json::{Value, json};

use super::{Answer, Api, Server};

/// Three segments by country and tier, of four customers.
pub(crate) const SPRING: &str = "customer_ref,country,tier\n\
    a,DE,gold\nb,DE,gold\nc,FR,\nd,FR,silver\n";
/// Four segments, of which two are in [`SPRING`], of five customers.
pub(crate) const SUMMER: &str = "customer_ref,country,tier\n\
    a,DE,gold\nd,FR,silver\ne,ES,gold\nf,ES,gold\ng,,gold\n";
/// Two segments that are both in [`SPRING`], of three customers.
pub(crate) const SUMMER_AGAIN: &str = "customer_ref,country,tier\n\
    a,DE,gold\nc,FR,\nx,FR,\n";

/// The texts of one field of a list's items.
pub(crate) fn texts(items: &[Value], field: &str) -> Vec<String> {
    let text = |item: &Value| item[field].as_str().unwrap().to_owned();
    items.iter().map(text).collect()
}

/// The ids of a list's items.
pub(crate) fn ids(items: &[Value]) -> Vec<String> {
    texts(items, "id")
}

/// The value that a message's segment has for a field; empty for none.
pub(crate) fn attribute<'a>(item: &'a Value, field: &str) -> &'a str {
    item["segment"]["attributes"][field]
        .as_str()
        .unwrap_or_default()
}

/// A message's segment as `country/tier`.
pub(crate) fn segment_of(item: &Value) -> String {
    format!("{}/{}", attribute(item, "country"), attribute(item, "tier"))
}

/// The list in a page.
pub(crate) fn body_of(page: &Value, list: &str) -> Vec<Value> {
    page[list].as_array().unwrap().clone()
}

/// An exported file.
pub(crate) struct Exported {
    pub(crate) content_type: String,
    pub(crate) disposition: String,
    pub(crate) text: String,
}

impl Api {
    /// Imports a CSV file.
    pub(crate) async fn import(&self, group: &str, csv: impl Into<Vec<u8>>) -> Answer {
        let path = format!("/v1/customer-group/import?customer_group_id={group}");
        let headers = self.headers().with("content-type", "text/csv");
        let post = reqwest::Method::POST;
        self.send(post, &path, &headers, csv.into()).await
    }

    /// A schedule of a campaign, every day at 09:00 unless something else is given.
    pub(crate) async fn schedule(&self, campaign: &str, with: Value) -> String {
        let mut body = json!({ "campaign_id": campaign, "name": "Daily", "cron": "0 9 * * *" });
        for (name, value) in with.as_object().unwrap() {
            body[name] = value.clone();
        }
        let made = self.ok("schedule/create", body).await;
        made["id"].as_str().unwrap().to_owned()
    }

    /// A group without customers.
    pub(crate) async fn empty_group(&self, name: &str) -> String {
        let group = self
            .ok("customer-group/create", json!({ "name": name }))
            .await;
        group["id"].as_str().unwrap().to_owned()
    }

    /// A group with these customers.
    pub(crate) async fn group(&self, name: &str, csv: &str) -> String {
        let group = self.empty_group(name).await;
        self.import(&group, csv).await.ok();
        group
    }

    /// A draft by country and tier, with these approval stages.
    pub(crate) async fn draft_with(&self, group: &str, stages: &[&str]) -> String {
        let campaign = json!({
            "name": "Hello",
            "customer_group_id": group,
            "segment_by": ["country", "tier"],
            "template": { "subject": "To {{ country }}", "body": "Dear {{ tier }} customer" },
            "approval_stages": stages,
        });
        let campaign = self.ok("campaign/create", campaign).await;
        campaign["id"].as_str().unwrap().to_owned()
    }

    /// A draft by country and tier.
    pub(crate) async fn draft(&self, group: &str) -> String {
        self.draft_with(group, &["Review"]).await
    }

    /// A draft of [`SPRING`], launched: its three messages are to be generated.
    pub(crate) async fn launched(&self) -> String {
        let campaign = self.draft(&self.group("Spring", SPRING).await).await;
        self.ok("campaign/launch", json!({ "campaign_id": campaign }))
            .await;
        campaign
    }

    pub(crate) async fn approve_all(&self, campaign: &str) -> Value {
        let all = json!({ "campaign_id": campaign, "decision": "approve", "all": true });
        self.ok("campaign/messages/review", all).await
    }

    pub(crate) async fn publish(&self, campaign: &str) -> Value {
        self.ok("campaign/publish", json!({ "campaign_id": campaign }))
            .await
    }

    pub(crate) async fn initiate(&self, campaign: &str, group: &str) -> Answer {
        let body = json!({ "campaign_id": campaign, "new_customer_group_id": group });
        self.post("campaign/rerun/initiate", body).await
    }

    pub(crate) async fn cancel(&self, campaign: &str) -> Value {
        self.ok("campaign/rerun/cancel", json!({ "campaign_id": campaign }))
            .await
    }

    pub(crate) async fn campaign(&self, campaign: &str) -> Value {
        self.ok("campaign/get", json!({ "campaign_id": campaign }))
            .await
    }

    pub(crate) async fn history(&self, campaign: &str) -> Value {
        self.ok("campaign/rerun/history", json!({ "campaign_id": campaign }))
            .await
    }

    /// The runs of a campaign, newest first.
    pub(crate) async fn runs(&self, campaign: &str) -> Vec<Value> {
        body_of(&self.history(campaign).await, "runs")
    }

    /// The messages of a campaign's current run.
    pub(crate) async fn messages(&self, campaign: &str) -> Vec<Value> {
        let page = json!({ "campaign_id": campaign });
        body_of(&self.ok("campaign/rerun/messages", page).await, "messages")
    }

    /// The messages of a run.
    pub(crate) async fn messages_of(&self, campaign: &str, run: u32) -> Vec<Value> {
        let page = json!({ "campaign_id": campaign, "run_number": run });
        body_of(&self.ok("campaign/rerun/messages", page).await, "messages")
    }

    /// The current run's message for a segment, given as `country/tier`.
    pub(crate) async fn message(&self, campaign: &str, segment: &str) -> Value {
        let messages = self.messages(campaign).await;
        let found = messages
            .into_iter()
            .find(|message| segment_of(message) == segment);
        found.unwrap()
    }

    /// The audit log, newest first.
    pub(crate) async fn audit(&self) -> Vec<Value> {
        body_of(&self.ok("audit/list", json!({})).await, "entries")
    }

    pub(crate) async fn export(&self, campaign: &str, run: u32, format: &str) -> Exported {
        let body = json!({ "campaign_id": campaign, "run_number": run, "format": format });
        let answer = self.post("campaign/messages/export", body).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        Exported {
            content_type: answer.header("content-type").unwrap().to_owned(),
            disposition: answer.header("content-disposition").unwrap().to_owned(),
            text: answer.text,
        }
    }

    /// Everything that can be read of the account.
    pub(crate) async fn everything(&self) -> Value {
        let campaigns = self.ok("campaign/list", json!({})).await;
        let mut details = Vec::new();
        for id in ids(&body_of(&campaigns, "campaigns")) {
            let all = json!({ "campaign_id": id, "include_archived": true });
            details.push(self.ok("campaign/rerun/messages", all).await);
            details.push(self.history(&id).await);
        }
        json!({
            "campaigns": campaigns,
            "details": details,
            "groups": self.ok("customer-group/list", json!({})).await,
            "audit": self.audit().await,
        })
    }

    /// Does something that must change nothing of the account.
    pub(crate) async fn unchanged(&self, during: impl AsyncFnOnce()) {
        let before = self.everything().await;
        during().await;
        assert_eq!(self.everything().await, before);
    }
}

impl Server {
    /// A campaign of [`SPRING`] whose messages wait for a reviewer.
    pub(crate) async fn generated(&self, api: &Api) -> String {
        let campaign = api.launched().await;
        assert_eq!(self.generate(api, &campaign).await, "Ready for review");
        campaign
    }

    /// A campaign that is published with run 1 for [`SPRING`].
    pub(crate) async fn published(&self, api: &Api) -> String {
        let campaign = self.generated(api).await;
        self.finish(api, &campaign).await;
        campaign
    }

    /// Generates, approves and publishes whatever is left to be.
    pub(crate) async fn finish(&self, api: &Api, campaign: &str) {
        if self.generate(api, campaign).await == "Ready for review" {
            api.approve_all(campaign).await;
        }
        assert_eq!(api.publish(campaign).await["campaign_status"], "Published");
    }

    /// Takes a published campaign to these customers, and publishes it; answers the group.
    pub(crate) async fn rerun(&self, api: &Api, campaign: &str, csv: &str) -> String {
        let group = api.group("Next", csv).await;
        api.initiate(campaign, &group).await.ok();
        self.finish(api, campaign).await;
        group
    }
}
