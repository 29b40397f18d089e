//! Creates the data that measurements start from, through the public API only.

use std::fmt::Write;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::api::{self, Account, Api};
use crate::{Failure, Outcome};

/// How often a campaign is asked whether its messages have been generated.
const POLL: Duration = Duration::from_millis(2);

/// How many callers seed at once.
const SEEDERS: usize = 4;

/// The fields that campaigns are segmented by, in the order of their names, and as stores keep
/// them.
pub(crate) const FIELDS: [&str; 2] = ["country", "interest"];
pub(crate) const FIELDS_JSON: &str = r#"["country","interest"]"#;

/// How many interests there are for each country.
const INTERESTS: u32 = 200;

/// A customer group to be: so many customers in so many segments.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Audience {
    pub(crate) customers: u32,
    pub(crate) segments: u32,
}

impl Audience {
    /// As many customers as segments.
    pub(crate) fn of_segments(segments: u32) -> Self {
        Self {
            customers: segments,
            segments,
        }
    }

    /// Its customers, as a file to import.
    pub(crate) fn csv(self) -> String {
        let mut csv = String::from("customer_ref,country,interest,email,first_name,plan,since\n");
        for customer in 0..self.customers {
            let Customer {
                reference,
                country,
                interest,
                email,
                first_name,
                plan,
                since,
            } = self.customer(customer);
            // Writing to a String cannot fail.
            let _ = writeln!(
                csv,
                "{reference},{country},{interest},{email},{first_name},{plan},{since}"
            );
        }
        csv
    }

    /// What the first customer is called.
    pub(crate) const FIRST: &'static str = "c-00000000";

    pub(crate) fn customer(self, number: u32) -> Customer {
        let segment = number % self.segments.max(1);
        Customer {
            reference: format!("c-{number:08}"),
            country: format!("country-{}", segment / INTERESTS),
            interest: format!("interest-{}", segment % INTERESTS),
            email: format!("customer.{number}@example.com"),
            first_name: format!("Name{}", number % 997),
            plan: format!("plan-{}", number % 5),
            since: format!("20{:02}-{:02}-01", number % 25, number % 12 + 1),
        }
    }
}

/// What an import says of a customer.
pub(crate) struct Customer {
    pub(crate) reference: String,
    pub(crate) country: String,
    pub(crate) interest: String,
    pub(crate) email: String,
    pub(crate) first_name: String,
    pub(crate) plan: String,
    pub(crate) since: String,
}

/// A campaign that is rerun on a group over and over.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    pub(crate) account: Account,
    pub(crate) campaign: Uuid,
    pub(crate) group: Uuid,
    /// The number of its current run.
    pub(crate) run: i32,
    /// The number of its segments.
    pub(crate) segments: u32,
}

impl Subject {
    /// The bytes of a request about the campaign.
    pub(crate) fn request(&self, path: &str, more: &Value) -> Vec<u8> {
        self.account.request(path, &self.body(more))
    }

    fn body(&self, more: &Value) -> Value {
        let mut body = json!({ "campaign_id": self.campaign });
        if let (Some(body), Some(more)) = (body.as_object_mut(), more.as_object()) {
            body.extend(more.clone());
        }
        body
    }

    pub(crate) fn call(&self, api: &mut Api, path: &str, more: &Value) -> Outcome<Value> {
        api.call(&self.account, path, &self.body(more))
    }

    pub(crate) fn initiate(&self) -> Vec<u8> {
        self.request(
            "campaign/rerun/initiate",
            &json!({ "new_customer_group_id": self.group }),
        )
    }

    /// Publishes what the last initiate started, which matched everything.
    pub(crate) fn publish(&mut self, api: &mut Api) -> Outcome<()> {
        let published = self.call(api, "campaign/publish", &json!({}))?;
        let count = published.get("published_messages").and_then(Value::as_u64);
        if count != Some(u64::from(self.segments)) {
            return Err(format!("{published} in place of {} messages", self.segments).into());
        }
        self.run += 1;
        Ok(())
    }
}

/// A new group with its customers.
pub(crate) fn group(api: &mut Api, account: &Account, audience: Audience) -> Outcome<Uuid> {
    let group = empty_group(api, account)?;
    api.import(account, group, audience.csv().as_bytes())?;
    Ok(group)
}

pub(crate) fn empty_group(api: &mut Api, account: &Account) -> Outcome<Uuid> {
    let made = api.call(
        account,
        "customer-group/create",
        &json!({ "name": "Audience" }),
    )?;
    api::id(&made, "id")
}

/// A new campaign, a draft.
pub(crate) fn draft(api: &mut Api, account: &Account, group: Uuid) -> Outcome<Uuid> {
    draft_by(api, account, group, &json!(FIELDS))
}

/// The same, with the fields of its segments and their rules.
fn draft_by(api: &mut Api, account: &Account, group: Uuid, fields: &Value) -> Outcome<Uuid> {
    let body = "Dear customer in {{ country }},\n\nthis spring we have put together what is new in \
        {{ interest }}, and a few things that have been favourites for years. Have a look at the \
        collection, take your time, and tell us what you would like to see more of. Members get \
        free delivery until the end of the month; everything else is on the page that this \
        message links to.\n\nWarm regards from all of us";
    let campaign = json!({
        "name": "Spring",
        "customer_group_id": group,
        "segment_by": fields,
        "template": { "subject": "New in {{ interest }} for {{ country }}", "body": body },
    });
    let made = api.call(account, "campaign/create", &campaign)?;
    api::id(&made, "id")
}

/// Waits until a campaign's messages have been generated.
pub(crate) fn generated(api: &mut Api, account: &Account, campaign: Uuid) -> Outcome<()> {
    loop {
        let found = api.call(account, "campaign/get", &json!({ "campaign_id": campaign }))?;
        match api::text(&found, "status")? {
            "Processing" => thread::sleep(POLL),
            "Ready for review" => return Ok(()),
            other => return Err(format!("a campaign became `{other}`").into()),
        }
    }
}

/// A new campaign whose first run is published.
pub(crate) fn published(
    api: &mut Api,
    account: &Account,
    group: Uuid,
    segments: u32,
) -> Outcome<Subject> {
    published_by(api, account, group, segments, &json!(FIELDS))
}

/// The same, with the fields of its segments and their rules.
pub(crate) fn published_by(
    api: &mut Api,
    account: &Account,
    group: Uuid,
    segments: u32,
    fields: &Value,
) -> Outcome<Subject> {
    let campaign = draft_by(api, account, group, fields)?;
    let mut subject = Subject {
        account: account.clone(),
        campaign,
        group,
        run: 0,
        segments,
    };
    subject.call(api, "campaign/launch", &json!({}))?;
    generated(api, account, campaign)?;
    let approve = json!({ "decision": "approve", "all": true });
    subject.call(api, "campaign/messages/review", &approve)?;
    subject.publish(api)?;
    Ok(subject)
}

/// Does something with each item, several at once, each caller with a connection of its own;
/// answers in the order of the items.
pub(crate) fn parallel<I: Send, T: Send>(
    address: SocketAddr,
    items: impl IntoIterator<Item = I>,
    job: impl Fn(&mut Api, I) -> Outcome<T> + Sync,
) -> Outcome<Vec<T>> {
    let mut shares: Vec<Vec<(usize, I)>> = (0..SEEDERS).map(|_| Vec::new()).collect();
    for (index, item) in items.into_iter().enumerate() {
        if let Some(share) = shares.get_mut(index % SEEDERS) {
            share.push((index, item));
        }
    }
    let done = thread::scope(|scope| {
        let job = &job;
        let threads: Vec<_> = shares
            .into_iter()
            .map(|share| {
                scope.spawn(move || {
                    let mut api = Api::open(address)?;
                    let each = |(index, item)| Ok((index, job(&mut api, item)?));
                    share.into_iter().map(each).collect::<Outcome<Vec<_>>>()
                })
            })
            .collect();
        let join = |thread: thread::ScopedJoinHandle<'_, Outcome<Vec<(usize, T)>>>| {
            thread
                .join()
                .map_err(|_panic| Failure::from("a seeder panicked"))?
        };
        threads.into_iter().map(join).collect::<Outcome<Vec<_>>>()
    })?;
    let mut done: Vec<(usize, T)> = done.into_iter().flatten().collect();
    done.sort_unstable_by_key(|(index, _)| *index);
    Ok(done.into_iter().map(|(_, made)| made).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn an_audience_has_the_segments_that_it_says() {
        let audience = Audience {
            customers: 900,
            segments: 450,
        };
        let csv = audience.csv();
        let segments: BTreeSet<String> = csv
            .lines()
            .skip(1)
            .map(|line| {
                let values: Vec<&str> = line.split(',').collect();
                format!("{},{}", values[1], values[2])
            })
            .collect();
        assert_eq!(segments.len(), 450);
        assert_eq!(csv.lines().count(), 901);
    }
}
