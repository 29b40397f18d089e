use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::actor::Actor;
use crate::campaign::{ApprovalStages, Campaign};
use crate::error::{Error, IllegalTransition, StoreError};
use crate::ids::{AccountId, CampaignId, CustomerGroupId, MessageId, RunNumber};
use crate::message::{Content, Message};
use crate::page::{Limit, MAX_PAGE_BYTES, PageRequest};
use crate::ports::{
    CampaignStore, CustomerQuery, CustomerSelection, CustomerValues, MessageOfRun, RecipientStore,
    RunAudience,
};
use crate::segment::{SegmentBy, SegmentKey};

/// How many customers are in memory at once.
const CUSTOMERS: u32 = 5_000;

/// A list of recipients that somebody asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecipientRequest {
    /// The campaign.
    pub campaign: CampaignId,
    /// The run; the current one when not given.
    pub run: Option<RunNumber>,
    /// A run whose group's customers are left out.
    pub exclude_run: Option<RunNumber>,
    /// Whether to return the message's content, too.
    pub content: bool,
}

/// A customer, and the message for the customer's segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    /// The customer's reference.
    pub customer_ref: String,
    /// The segment that the customer is in now.
    pub segment_key: SegmentKey,
    /// The run's message for the segment; `None` when the run has none.
    pub message: Option<MessageId>,
    /// The message's content, if it was asked for and exists.
    pub content: Option<Arc<Content>>,
}

/// The message that one customer gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageForCustomer {
    /// The run that the message is of.
    pub run: RunNumber,
    /// Whether the group was changed since the run started.
    pub group_changed: bool,
    /// The customer's reference, as the group has it.
    pub customer_ref: String,
    /// The segment that the customer is in now.
    pub segment_key: SegmentKey,
    /// The campaign's stages, which the message's state counts.
    pub approval_stages: ApprovalStages,
    /// The run's message for the segment; `None` when the run has none.
    pub message: Option<Message>,
}

/// Who gets which message.
#[derive(Clone)]
pub struct Recipients {
    store: Arc<dyn RecipientStore>,
    campaigns: Arc<dyn CampaignStore>,
}

impl Recipients {
    /// Over these ports.
    #[must_use]
    pub fn new(store: Arc<dyn RecipientStore>, campaigns: Arc<dyn CampaignStore>) -> Self {
        Self { store, campaigns }
    }

    async fn audience(
        &self,
        actor: &Actor,
        campaign: CampaignId,
        run: RunNumber,
    ) -> Result<RunAudience, Error> {
        let found = self
            .store
            .run_audience(actor.account_id, campaign, run)
            .await?;
        found.ok_or(Error::RunNotFound)
    }

    /// A campaign and one of its runs: the current one when no number is given.
    async fn run(
        &self,
        actor: &Actor,
        campaign: CampaignId,
        run: Option<RunNumber>,
    ) -> Result<(Campaign, RunNumber, RunAudience), Error> {
        let found = self.campaigns.find_campaign(actor.account_id, campaign);
        let campaign = found.await?.ok_or(Error::CampaignNotFound)?;
        let run = run.or(campaign.current_run).ok_or(Error::RunNotFound)?;
        let audience = self.audience(actor, campaign.id, run).await?;
        Ok((campaign, run, audience))
    }

    /// Keys of which some are from before a change of rules would name the wrong messages.
    async fn rules_have_stayed(&self, campaign: &Campaign) -> Result<(), Error> {
        let now = self
            .campaigns
            .find_campaign(campaign.account_id, campaign.id);
        let now = now.await?.ok_or(Error::CampaignNotFound)?;
        if now.segment_by != campaign.segment_by {
            return Err(Error::Store(StoreError::Unavailable(
                "the campaign's value rules changed while its recipients were read".into(),
            )));
        }
        Ok(())
    }

    /// Visits the messages of a run: the key that the run's rules make of each segment, the key that is
    /// shown, and the message's id. The segments' values are read page by page, and none is kept.
    async fn each_message(
        &self,
        campaign: &Campaign,
        run: RunNumber,
        audience: &RunAudience,
        mut visit: impl FnMut(SegmentKey, SegmentKey, MessageId) + Send,
    ) -> Result<(), Error> {
        let (account, id) = (campaign.account_id, campaign.id);
        let rules = audience.segment_by.as_ref();
        let mut after = None;
        loop {
            let (store, with_attributes) = (&self.store, rules.is_some());
            let limit = Limit::default();
            let request = PageRequest { limit, after };
            let page = store
                .run_messages(account, id, run, with_attributes, request)
                .await?;
            for message in page.items {
                let key = match (rules, &message.attributes) {
                    (Some(rules), Some(attributes)) => {
                        let types = match message.types {
                            Some(types) => types,
                            None => rules.types_of(attributes, message.key)?,
                        };
                        rules.key_of_attributes(attributes, &types)?
                    }
                    (Some(_), None) | (None, _) => message.key,
                };
                visit(key, message.key, message.id);
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        self.rules_have_stayed(campaign).await
    }

    /// The message that one customer of a run's group gets, as [`Recipients::list`] finds it.
    /// `customer` is what [`Customer::reference`](crate::group::Customer::reference) makes of a reference; `None` names nobody.
    ///
    /// Its cost does not grow with the run, unless the campaign's rules were changed after the run
    /// started: then it reads the values of the run's segments, a page at a time.
    ///
    /// # Errors
    /// In this order: [`Error::CampaignNotFound`]; [`Error::RunNotFound`], also for a campaign
    /// without a run; [`Error::CustomerGroupNotFound`] when the run's group is not there any more;
    /// [`Error::CustomerNotFound`] when the group has no such customer now; [`Error::Store`], also
    /// when the rules changed in the meantime.
    pub async fn get(
        &self,
        actor: &Actor,
        campaign: CampaignId,
        run: Option<RunNumber>,
        customer: Option<&str>,
    ) -> Result<MessageForCustomer, Error> {
        let (campaign, run, audience) = self.run(actor, campaign, run).await?;
        let version = audience.group_version.ok_or(Error::CustomerGroupNotFound)?;
        let customer = customer.ok_or(Error::CustomerNotFound)?;
        let (account, own_rules) = (actor.account_id, audience.segment_by.as_ref());
        let segment_by = own_rules.unwrap_or(&campaign.segment_by);
        let query = CustomerQuery {
            account_id: account,
            group_id: audience.group_id,
            segment_by: segment_by.clone(),
            excluded: None,
            which: CustomerSelection::Only(customer.to_owned()),
            limit: 1,
        };
        let found = self.store.customers(query).await?;
        let now = found.group_version.ok_or(Error::CustomerGroupNotFound)?;
        let customer = found.customers.into_iter().next();
        let customer = customer.ok_or(Error::CustomerNotFound)?;
        let key = segment_by.key(customer.values.iter().map(Option::as_deref));
        let (mut segment_key, mut which) = (key, Some(MessageOfRun::Segment(key)));
        if own_rules.is_some() {
            which = None;
            // Of several with one key the last one counts, as in a list.
            let visit = |other, shown, id| {
                if other == key {
                    (segment_key, which) = (shown, Some(MessageOfRun::Id(id)));
                }
            };
            self.each_message(&campaign, run, &audience, visit).await?;
        }
        let message = match which {
            Some(which) => {
                let read = self.store.message_of_run(account, campaign.id, run, which);
                read.await?
            }
            None => None,
        };
        self.rules_have_stayed(&campaign).await?;
        Ok(MessageForCustomer {
            run,
            group_changed: audience.changed || now != version,
            customer_ref: customer.customer_ref,
            segment_key,
            approval_stages: campaign.approval_stages.clone(),
            message,
        })
    }

    /// The customers of a run's group as it is now, each with the run's message for the segment
    /// that the customer is in. They are read bit by bit, see [`RecipientList::next`].
    ///
    /// # Errors
    /// In this order: [`Error::CampaignNotFound`]; [`Error::RunNotFound`], also for a campaign
    /// without a run; [`Error::CustomerGroupNotFound`] when the group of a run is not there any
    /// more; [`Error::IllegalTransition`] when both runs have the same group; [`Error::Store`].
    pub async fn list(
        &self,
        actor: &Actor,
        request: RecipientRequest,
    ) -> Result<RecipientList, Error> {
        let found = self.run(actor, request.campaign, request.run);
        let (campaign, run, audience) = found.await?;
        let mut excluded = None;
        if let Some(run) = request.exclude_run {
            let other = self.audience(actor, campaign.id, run).await?;
            other.group_version.ok_or(Error::CustomerGroupNotFound)?;
            excluded = Some(other.group_id);
        }
        let group_version = audience.group_version.ok_or(Error::CustomerGroupNotFound)?;
        if excluded == Some(audience.group_id) {
            return Err(IllegalTransition::SameGroup.into());
        }
        let mut messages = Vec::new();
        let visit = |key, shown, id| messages.push((key, shown, id));
        self.each_message(&campaign, run, &audience, visit).await?;
        // A run's customers are in the segments that its own rules made.
        let of_now = || campaign.segment_by.clone();
        let segment_by = audience.segment_by.unwrap_or_else(of_now);
        Ok(RecipientList {
            store: Arc::clone(&self.store),
            account: actor.account_id,
            campaign: campaign.id,
            run,
            group: audience.group_id,
            group_version,
            group_changed: audience.changed,
            segment_by,
            excluded,
            keys: HashMap::new(),
            key_bytes: 0,
            messages: RunMessages::new(messages),
            with_content: request.content,
            after: None,
            at_end: false,
            waiting: VecDeque::new(),
            contents: HashMap::new(),
            content_bytes: 0,
        })
    }
}

/// The messages of a run with the keys of their segments, by the keys that the run's rules make. With a
/// million of them, a map would be three times as large.
struct RunMessages(Vec<(SegmentKey, SegmentKey, MessageId)>);

impl RunMessages {
    fn new(mut messages: Vec<(SegmentKey, SegmentKey, MessageId)>) -> Self {
        // Of several with one key the last one counts, so their order must stay.
        messages.sort_by_key(|(key, _, _)| *key);
        Self(messages)
    }

    fn find(&self, key: SegmentKey) -> Option<(SegmentKey, MessageId)> {
        let end = self.0.partition_point(|(other, _, _)| *other <= key);
        let (other, shown, id) = self.0.get(end.checked_sub(1)?)?;
        (*other == key).then_some((*shown, *id))
    }
}

/// A list of recipients that is being read. It holds the keys of the run's segments, a bounded
/// number of customers, and a bounded number of bytes of content.
pub struct RecipientList {
    store: Arc<dyn RecipientStore>,
    account: AccountId,
    campaign: CampaignId,
    run: RunNumber,
    group: CustomerGroupId,
    group_version: i64,
    group_changed: bool,
    segment_by: SegmentBy,
    excluded: Option<CustomerGroupId>,
    /// The keys of combinations of values.
    keys: HashMap<Vec<Option<String>>, SegmentKey>,
    key_bytes: usize,
    messages: RunMessages,
    with_content: bool,
    after: Option<String>,
    at_end: bool,
    waiting: VecDeque<Recipient>,
    contents: HashMap<MessageId, Option<Arc<Content>>>,
    content_bytes: usize,
}

impl RecipientList {
    /// The run whose messages they get.
    #[must_use]
    pub const fn run(&self) -> RunNumber {
        self.run
    }

    /// Whether the group was changed since the run started.
    #[must_use]
    pub const fn group_changed(&self) -> bool {
        self.group_changed
    }

    /// The key of the segment with these values. Value rules cost much more than a look-up, and many
    /// customers share a combination of values: keys are kept, up to a number of bytes.
    fn key(&mut self, values: Vec<Option<String>>) -> SegmentKey {
        if let Some(known) = self.keys.get(&values) {
            return *known;
        }
        let key = self.segment_by.key(values.iter().map(Option::as_deref));
        let lengths = values.iter().map(|value| {
            let text = value.as_ref().map_or(0, String::len);
            text + size_of::<Option<String>>()
        });
        self.key_bytes += lengths.sum::<usize>() + size_of::<SegmentKey>();
        if self.key_bytes > MAX_PAGE_BYTES {
            self.keys.clear();
            self.key_bytes = 0;
        }
        self.keys.insert(values, key);
        key
    }

    /// The recipient with these values.
    fn recipient(&mut self, customer: CustomerValues) -> Recipient {
        let key = self.key(customer.values);
        let found = self.messages.find(key);
        Recipient {
            customer_ref: customer.customer_ref,
            segment_key: found.map_or(key, |(key, _)| key),
            message: found.map(|(_, id)| id),
            content: None,
        }
    }

    async fn read_customers(&mut self) -> Result<(), Error> {
        let page = self
            .store
            .customers(CustomerQuery {
                account_id: self.account,
                group_id: self.group,
                segment_by: self.segment_by.clone(),
                excluded: self.excluded,
                which: CustomerSelection::After(self.after.take()),
                limit: CUSTOMERS,
            })
            .await?;
        // A list of which one half is from before an import would name the wrong messages.
        if page.group_version != Some(self.group_version) {
            return Err(Error::Store(StoreError::Unavailable(
                "the customer group changed while its recipients were read".into(),
            )));
        }
        self.at_end = page.next.is_none();
        self.after = page.next;
        let recipients: Vec<Recipient> = page
            .customers
            .into_iter()
            .map(|customer| self.recipient(customer))
            .collect();
        self.waiting.extend(recipients);
        Ok(())
    }

    /// Reads what the messages of the next recipients say, as much as fits.
    async fn read_contents(&mut self) -> Result<(), Error> {
        if self.content_bytes >= MAX_PAGE_BYTES {
            self.contents.clear();
            self.content_bytes = 0;
        }
        let mut ids: Vec<MessageId> = Vec::new();
        let mut seen = std::collections::HashSet::new();
        for id in self.waiting.iter().filter_map(|waiting| waiting.message) {
            if !self.contents.contains_key(&id) && seen.insert(id) {
                ids.push(id);
            }
        }
        let wanted = ids.first().copied();
        let found = self
            .store
            .message_contents(self.account, self.campaign, ids)
            .await?;
        for (id, content) in found {
            let content = content.map(Arc::new);
            self.content_bytes += content.as_ref().map_or(0, |text| bytes(text));
            self.contents.insert(id, content);
        }
        match wanted {
            Some(id) if !self.contents.contains_key(&id) => Err(Error::MessageNotFound),
            Some(_) | None => Ok(()),
        }
    }

    /// The next recipients, by the bytes of their references; `None` at the end. There may be
    /// none among the customers that were looked at.
    ///
    /// # Errors
    /// [`Error::Store`], also when the group changed in the meantime; [`Error::MessageNotFound`] when a
    /// message was deleted in the meantime.
    pub async fn next(&mut self) -> Result<Option<Vec<Recipient>>, Error> {
        if self.waiting.is_empty() {
            if self.at_end {
                return Ok(None);
            }
            self.read_customers().await?;
        }
        if !self.with_content {
            return Ok(Some(std::mem::take(&mut self.waiting).into()));
        }
        let mut recipients = Vec::new();
        let mut size = 0;
        while let Some(mut next) = self.waiting.pop_front() {
            if let Some(id) = next.message {
                let Some(content) = self.contents.get(&id) else {
                    self.waiting.push_front(next);
                    if recipients.is_empty() {
                        self.read_contents().await?;
                        continue;
                    }
                    break;
                };
                next.content.clone_from(content);
                size += content.as_ref().map_or(0, |text| bytes(text));
            }
            recipients.push(next);
            if size >= MAX_PAGE_BYTES {
                break;
            }
        }
        Ok(Some(recipients))
    }
}

fn bytes(content: &Content) -> usize {
    content.subject.len() + content.body.len()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use uuid::Uuid;

    use super::*;
    use crate::campaign::{CampaignParts, CampaignStatus, Template};
    use crate::ids::UserId;
    use crate::ports::{Customers, MockCampaignStore, MockRecipientStore};
    use crate::timestamp::Timestamp;

    fn message(country: &str) -> MessageId {
        MessageId::new(Uuid::from_u128(match country {
            "DE" => 1,
            "FR" => 2,
            _ => 3,
        }))
    }

    /// A list of customers of these countries, for each of which the run has a message.
    fn list(mut store: MockRecipientStore, countries: &'static [&str]) -> RecipientList {
        let customer = |(place, country): (usize, &&str)| CustomerValues {
            customer_ref: place.to_string(),
            values: vec![Some((*country).to_owned())],
        };
        store.expect_customers().returning(move |_| {
            Ok(Customers {
                group_version: Some(1),
                customers: countries.iter().enumerate().map(customer).collect(),
                next: None,
            })
        });
        let segment_by = SegmentBy::new(&["country"]).unwrap();
        let messages = countries.iter().map(|country| {
            let key = segment_by.key([Some(*country)]);
            (key, key, message(country))
        });
        RecipientList {
            store: Arc::new(store),
            account: AccountId::new(Uuid::nil()),
            campaign: CampaignId::new(Uuid::nil()),
            run: RunNumber::FIRST,
            group: CustomerGroupId::new(Uuid::nil()),
            group_version: 1,
            group_changed: false,
            messages: RunMessages::new(messages.collect()),
            segment_by,
            excluded: None,
            keys: HashMap::new(),
            key_bytes: 0,
            with_content: true,
            after: None,
            at_end: false,
            waiting: VecDeque::new(),
            contents: HashMap::new(),
            content_bytes: 0,
        }
    }

    #[tokio::test]
    async fn contents_are_read_once_for_many_recipients_and_let_go_when_they_fill_a_page() {
        let asked: Arc<Mutex<Vec<Vec<MessageId>>>> = Arc::default();
        let requests = Arc::clone(&asked);
        let mut store = MockRecipientStore::new();
        // Half a page each; a store returns as many as fill a page.
        store.expect_message_contents().returning(move |_, _, ids| {
            let contents = ids.iter().take(2).map(|id| {
                let content = Content {
                    subject: "s".into(),
                    body: "b".repeat(MAX_PAGE_BYTES / 2 - 1),
                };
                (*id, Some(content))
            });
            let contents = contents.collect();
            requests.lock().unwrap().push(ids);
            Ok(contents)
        });
        let mut list = list(store, &["DE", "DE", "FR", "IT", "DE"]);
        let mut pages = Vec::new();
        while let Some(page) = list.next().await.unwrap() {
            assert!(page.iter().all(|recipient| recipient.content.is_some()));
            let messages = page.iter().filter_map(|recipient| recipient.message);
            pages.push(messages.collect::<Vec<_>>());
        }
        let [de, fr, it] = ["DE", "FR", "IT"].map(message);
        assert_eq!(pages, [vec![de, de], vec![fr], vec![it, de]]);
        assert_eq!(*asked.lock().unwrap(), [vec![de, fr, it], vec![it, de]]);
    }

    #[tokio::test]
    async fn a_message_that_was_deleted_meanwhile_ends_the_list() {
        let mut store = MockRecipientStore::new();
        let none = |_, _, _| Ok(Vec::new());
        store.expect_message_contents().times(1).returning(none);
        let ended = list(store, &["DE"]).next().await;
        assert!(matches!(ended, Err(Error::MessageNotFound)), "{ended:?}");
    }

    /// A published campaign that is segmented by this field.
    fn campaign(field: &str) -> Campaign {
        let run = Some(RunNumber::FIRST);
        let parts = CampaignParts {
            account_id: AccountId::new(Uuid::nil()),
            id: CampaignId::new(Uuid::nil()),
            name: "Offers".into(),
            customer_group_id: CustomerGroupId::new(Uuid::nil()),
            segment_by: SegmentBy::new(&[field]).unwrap(),
            template: Template::default(),
            brief: None,
            approval_stages: ApprovalStages::default(),
            distinct_reviewers: false,
            suggest_reruns: true,
            status: CampaignStatus::Published,
            current_run: run,
            last_run: run,
            version: 1,
            created_by: UserId::new(Uuid::nil()),
            created_at: Timestamp::UNIX_EPOCH,
            updated_at: Timestamp::UNIX_EPOCH,
        };
        Campaign::from_parts(parts).unwrap()
    }

    /// What becomes of a look-up when the group has this version in the end and the campaign is
    /// segmented by this field; it began with version 1 and `country`.
    async fn looked_up(
        group_version: Option<i64>,
        field: &'static str,
    ) -> Result<MessageForCustomer, Error> {
        let mut store = MockRecipientStore::new();
        store.expect_run_audience().returning(|_, _, _| {
            Ok(Some(RunAudience {
                group_id: CustomerGroupId::new(Uuid::nil()),
                group_version: Some(1),
                changed: false,
                segment_by: None,
            }))
        });
        store.expect_customers().returning(move |_| {
            let customer = CustomerValues {
                customer_ref: "C-1".into(),
                values: vec![Some("DE".into())],
            };
            Ok(Customers {
                group_version,
                customers: group_version.map(|_| customer).into_iter().collect(),
                next: None,
            })
        });
        let none = |_, _, _, _| Ok(None);
        store.expect_message_of_run().returning(none);
        let mut campaigns = MockCampaignStore::new();
        let fields = Mutex::new(["country", field].into_iter());
        campaigns
            .expect_find_campaign()
            .returning(move |_, _| Ok(fields.lock().unwrap().next().map(campaign)));
        let recipients = Recipients::new(Arc::new(store), Arc::new(campaigns));
        let id = CampaignId::new(Uuid::nil());
        let actor = Actor::system(AccountId::new(Uuid::nil()));
        recipients.get(&actor, id, None, Some("C-1")).await
    }

    #[tokio::test]
    async fn a_look_up_beside_a_change_is_right_or_fails() {
        let beside = async |version| {
            let found = looked_up(version, "country").await;
            found.map(|found| found.group_changed)
        };
        assert!(matches!(beside(Some(1)).await, Ok(false)));
        assert!(matches!(beside(Some(2)).await, Ok(true)));
        let deleted = beside(None).await;
        assert!(matches!(deleted, Err(Error::CustomerGroupNotFound)));
        let other_rules = looked_up(Some(1), "tier").await;
        let failed = matches!(other_rules, Err(Error::Store(StoreError::Unavailable(_))));
        assert!(failed, "{other_rules:?}");
    }

    #[test]
    fn keys_of_values_are_kept_up_to_a_number_of_bytes() {
        let mut list = list(MockRecipientStore::new(), &[]);
        let frame = size_of::<Option<String>>() + size_of::<SegmentKey>();
        let text = "x".repeat((MAX_PAGE_BYTES / 4) - frame - 1);
        let kept = |last: &str| {
            let values = vec![Some(format!("{text}{last}"))];
            let key = list.segment_by.key(values.iter().map(Option::as_deref));
            assert_eq!(list.key(values.clone()), key);
            assert_eq!(list.key(values), key);
            list.keys.len()
        };
        let kept = ["1", "2", "3", "4", "5", "6"].map(kept);
        assert_eq!(kept, [1, 2, 3, 4, 1, 2]);
    }
}
