//! What was, and who got it.

use std::collections::BTreeMap;

use async_trait::async_trait;
use rerun_core::diff::{DiffCounts, DiffItem, DiffKey};
use rerun_core::error::StoreError;
use rerun_core::ids::{AccountId, CampaignId, MessageId, RunNumber};
use rerun_core::message::{Content, Message};
use rerun_core::page::{MAX_PAGE_BYTES, MessageKey, Page, PageRequest};
use rerun_core::ports::{
    CustomerQuery, CustomerSelection, CustomerValues, Customers, Diff, History, HistoryStore,
    MessageFilter, MessageList, MessageOfRun, MessageSelection, RecipientStore, RunAudience,
    RunMessage,
};
use rerun_core::rekeying::KnownSegment;
use rerun_core::segment::FieldValues;

use super::ledger::same_text;
use super::{Ledger, MemoryStore, Row, page};

#[async_trait]
impl HistoryStore for MemoryStore {
    async fn history(
        &self,
        account: AccountId,
        campaign: CampaignId,
        request: PageRequest<RunNumber>,
    ) -> Result<Option<History>, StoreError> {
        Ok(self.read(account, |account| {
            let ledger = account.campaigns.get(&campaign)?;
            let runs = ledger.runs.values().rev().cloned();
            Some(History {
                status: ledger.campaign.status,
                current_run: ledger.campaign.current_run,
                runs: page(runs, &request, |run| run.number, |one, other| one < other),
            })
        }))
    }

    async fn messages(
        &self,
        account: AccountId,
        campaign: CampaignId,
        selection: MessageSelection,
        request: PageRequest<MessageKey>,
    ) -> Result<Option<MessageList>, StoreError> {
        let every = MessageFilter::default();
        self.filtered_messages(account, campaign, selection, every, request)
            .await
    }

    async fn filtered_messages(
        &self,
        account: AccountId,
        campaign: CampaignId,
        selection: MessageSelection,
        filter: MessageFilter,
        request: PageRequest<MessageKey>,
    ) -> Result<Option<MessageList>, StoreError> {
        let order = |key: &MessageKey| (std::cmp::Reverse(key.run_number), key.segment_no);
        self.read(account, |account| {
            let Some(ledger) = account.campaigns.get(&campaign) else {
                return Ok(None);
            };
            let run_exists = match selection {
                MessageSelection::Run(number) => ledger.runs.contains_key(&number),
                MessageSelection::CurrentRun | MessageSelection::EveryRun => true,
            };
            let mut rows: Vec<&Row> = ledger
                .rows
                .values()
                .filter(|row| match selection {
                    MessageSelection::CurrentRun => {
                        ledger.campaign.current_run == Some(row.bare.run_number)
                    }
                    MessageSelection::Run(number) => row.bare.run_number == number,
                    MessageSelection::EveryRun => true,
                })
                .collect();
            rows.sort_by_key(|row| order(&row.key()));
            let messages = rows
                .into_iter()
                .map(|row| row.message(ledger.run_of(row)?))
                .collect::<Result<Vec<_>, StoreError>>()?;
            let mut taken = Vec::new();
            for message in messages {
                let fits = filter.takes(&message);
                if fits.map_err(|error| StoreError::Backend(error.into()))? {
                    taken.push(message);
                }
            }
            let messages = page(
                taken,
                &request,
                |message| MessageKey {
                    run_number: message.run_number,
                    segment_no: message.segment_no,
                },
                |one, other| order(one) > order(other),
            );
            let approval_stages = ledger.campaign.approval_stages.clone();
            Ok(Some(MessageList {
                current_run: ledger.campaign.current_run,
                approval_stages,
                run_exists,
                messages,
            }))
        })
    }

    async fn find_message(
        &self,
        account: AccountId,
        campaign: CampaignId,
        message: MessageId,
    ) -> Result<Option<Message>, StoreError> {
        self.read(account, |account| {
            let found = account
                .campaigns
                .get(&campaign)
                .and_then(|l| l.rows.get(&message).map(|r| (l, r)));
            found
                .map(|(ledger, row)| row.message(ledger.run_of(row)?))
                .transpose()
        })
    }

    async fn diff(
        &self,
        account: AccountId,
        campaign: CampaignId,
        from: RunNumber,
        to: RunNumber,
        request: PageRequest<DiffKey>,
    ) -> Result<Option<Diff>, StoreError> {
        Ok(self.read(account, |account| {
            let ledger = account.campaigns.get(&campaign)?;
            let of_run = |run: RunNumber| -> BTreeMap<i32, &Row> {
                let rows = ledger
                    .rows
                    .values()
                    .filter(move |row| row.bare.run_number == run);
                rows.map(|row| (row.bare.segment_no, row)).collect()
            };
            let (earlier, later) = (of_run(from), of_run(to));
            let mut numbers: Vec<i32> = earlier.keys().chain(later.keys()).copied().collect();
            numbers.sort_unstable();
            numbers.dedup();
            let mut counts = DiffCounts::default();
            let items: Vec<DiffItem> = numbers
                .into_iter()
                .filter_map(|number| {
                    let (old, new) = (earlier.get(&number), later.get(&number));
                    let same = old.zip(new).is_some_and(|(old, new)| same_text(old, new));
                    let item = DiffItem::new(
                        number,
                        new.or(old)?.bare.segment.clone(),
                        old.map(|row| row.bare.id),
                        new.map(|row| row.bare.id),
                        same,
                    );
                    counts = counts.with(item.change);
                    Some(item)
                })
                .collect();
            let counts = request.after.map_or(counts, |after| after.counts);
            Some(Diff {
                runs_exist: ledger.runs.contains_key(&from) && ledger.runs.contains_key(&to),
                counts,
                items: page(
                    items,
                    &request,
                    |item| item.key(counts),
                    |one, other| one.segment_no > other.segment_no,
                ),
            })
        }))
    }
}

#[async_trait]
impl RecipientStore for MemoryStore {
    async fn run_audience(
        &self,
        account: AccountId,
        campaign: CampaignId,
        run: RunNumber,
    ) -> Result<Option<RunAudience>, StoreError> {
        Ok(self.read(account, |account| {
            let ledger = account.campaigns.get(&campaign)?;
            let run = ledger.runs.get(&run)?;
            let started_with = ledger.group_versions.get(&run.number);
            let group = account.groups.get(&run.group.id);
            Some(RunAudience {
                group_id: run.group.id,
                group_version: group.map(|group| group.version),
                changed: group.is_none_or(|group| Some(&group.version) != started_with),
                segment_by: ledger.rules.get(&run.number).cloned(),
            })
        }))
    }

    async fn run_messages(
        &self,
        account: AccountId,
        campaign: CampaignId,
        run: RunNumber,
        with_attributes: bool,
        request: PageRequest<i32>,
    ) -> Result<Page<RunMessage, i32>, StoreError> {
        Ok(self.read(account, |account| {
            let ledger = account.campaigns.get(&campaign);
            let known = ledger.map(Ledger::known_segments).unwrap_or_default();
            let known: BTreeMap<i32, KnownSegment> = known
                .into_iter()
                .map(|segment| (segment.no, segment))
                .collect();
            let rows = ledger.iter().flat_map(|ledger| ledger.rows.values());
            let rows = rows.filter(|row| row.bare.run_number == run);
            let messages = rows.filter_map(|row| {
                let segment = known.get(&row.bare.segment_no)?;
                Some(RunMessage {
                    segment_no: segment.no,
                    key: segment.key,
                    attributes: with_attributes.then(|| segment.attributes.clone()),
                    types: segment.types.clone(),
                    id: row.bare.id,
                })
            });
            let mut messages: Vec<RunMessage> = messages.collect();
            messages.sort_by_key(|message| message.segment_no);
            page(
                messages,
                &request,
                |message| message.segment_no,
                |one, other| one > other,
            )
        }))
    }

    async fn customers(&self, query: CustomerQuery) -> Result<Customers, StoreError> {
        Ok(self.read(query.account_id, |account| {
            let Some(group) = account.groups.get(&query.group_id) else {
                return Customers {
                    group_version: None,
                    customers: Vec::new(),
                    next: None,
                };
            };
            let excluded = query.excluded.and_then(|id| account.groups.get(&id));
            let names = query.segment_by.sorted();
            let (after, only) = match query.which {
                CustomerSelection::After(after) => (after.unwrap_or_default(), None),
                CustomerSelection::Only(only) => (String::new(), Some(only)),
            };
            let value = |profile: &BTreeMap<String, String>, name: &&str| {
                let value = profile.get(*name)?;
                Some(FieldValues::counted(value).to_owned())
            };
            let mut customers = Vec::new();
            let (mut seen, mut bytes, mut next) = (0, 0, None);
            for (customer, profile) in &group.customers {
                if *customer <= after || only.as_ref().is_some_and(|only| only != customer) {
                    continue;
                }
                seen += 1;
                if excluded.is_none_or(|group| !group.customers.contains_key(customer)) {
                    let customer = CustomerValues {
                        customer_ref: customer.clone(),
                        values: names.iter().map(|name| value(profile, name)).collect(),
                    };
                    bytes += customer.bytes();
                    customers.push(customer);
                }
                if seen == query.limit || bytes >= MAX_PAGE_BYTES {
                    next = Some(customer.clone());
                    break;
                }
            }
            Customers {
                group_version: Some(group.version),
                customers,
                next,
            }
        }))
    }

    async fn message_contents(
        &self,
        account: AccountId,
        campaign: CampaignId,
        ids: Vec<MessageId>,
    ) -> Result<Vec<(MessageId, Option<Content>)>, StoreError> {
        Ok(self.read(account, |account| {
            let ledger = account.campaigns.get(&campaign);
            let row = |id: MessageId| Some((id, ledger?.rows.get(&id)?));
            let rows = ids.into_iter().filter_map(row);
            rows.map(|(id, row)| (id, row.text.as_ref().map(|text| text.content.clone())))
                .collect()
        }))
    }

    async fn message_of_run(
        &self,
        account: AccountId,
        campaign: CampaignId,
        run: RunNumber,
        which: MessageOfRun,
    ) -> Result<Option<Message>, StoreError> {
        let id = match which {
            MessageOfRun::Id(id) => Some(id),
            MessageOfRun::Segment(key) => self.read(account, |account| {
                let ledger = account.campaigns.get(&campaign)?;
                let mut known = ledger.known_segments().into_iter();
                let known = known.find(|known| known.key == key && known.displaced.is_none())?;
                let key = MessageKey {
                    run_number: run,
                    segment_no: known.no,
                };
                let mut rows = ledger.rows.values();
                Some(rows.find(|row| row.key() == key)?.bare.id)
            }),
        };
        let Some(id) = id else { return Ok(None) };
        let message = self.find_message(account, campaign, id).await?;
        Ok(message.filter(|message| message.run_number == run))
    }
}
