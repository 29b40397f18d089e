//! Customer groups and their customers.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use rerun_core::audit::{AuditDraft, ImportAudit};
use rerun_core::error::{Invalid, StoreError};
use rerun_core::group::{
    Customer, CustomerFile, CustomerGroup, CustomerRow, DeletedCustomers, ImportMode, Imported,
};
use rerun_core::ids::{AccountId, CustomerGroupId};
use rerun_core::page::{CreatedKey, CustomerKey, Page, PageRequest};
use rerun_core::ports::{
    CustomerGroupStore, DeleteCustomers, DeleteGroup, EraseCustomer, GroupDeletion, IdempotencyKey,
    IdempotentResponse, ImportFailure, ListCustomers, RenameGroup,
};

use super::{Group, MemoryStore, counted, exists_already, newest_first};

#[async_trait]
impl CustomerGroupStore for MemoryStore {
    async fn create_group(
        &self,
        group: &CustomerGroup,
        audit: AuditDraft,
        response: Option<IdempotentResponse>,
    ) -> Result<(), StoreError> {
        self.write_account(group.account_id, |account| {
            let fresh = Group {
                about: group.clone(),
                version: 1,
                customers: BTreeMap::new(),
            };
            if account.groups.insert(group.id, fresh).is_some() {
                return Err(exists_already("the customer group"));
            }
            account.keep(response, group.created_at)?;
            account.record(audit);
            Ok(())
        })
    }

    async fn rename_group(&self, rename: RenameGroup) -> Result<(), StoreError> {
        self.write_account(rename.account_id, |account| {
            let group = account.groups.get_mut(&rename.group_id);
            let group = group
                .filter(|group| group.about.name == rename.from)
                .ok_or(StoreError::Conflict)?;
            group.about.name = rename.to;
            account.keep(rename.response, rename.at)?;
            if let Some(audit) = rename.audit {
                account.record(audit);
            }
            Ok(())
        })
    }

    async fn find_group(
        &self,
        account: AccountId,
        id: CustomerGroupId,
    ) -> Result<Option<CustomerGroup>, StoreError> {
        Ok(self.read(account, |account| {
            account.groups.get(&id).map(|g| g.about.clone())
        }))
    }

    async fn list_groups(
        &self,
        account: AccountId,
        request: PageRequest<CreatedKey>,
    ) -> Result<Page<CustomerGroup, CreatedKey>, StoreError> {
        let groups = self.read(account, |account| {
            account.groups.values().map(|g| g.about.clone()).collect()
        });
        Ok(newest_first(groups, &request, |group| CreatedKey {
            created_at: group.created_at,
            id: group.id.as_uuid(),
        }))
    }

    async fn import_customers(
        &self,
        account: AccountId,
        id: CustomerGroupId,
        file: CustomerFile,
        audit: ImportAudit,
        key: Option<IdempotencyKey>,
    ) -> Result<Imported, ImportFailure> {
        if self.find_group(account, id).await?.is_none() {
            return Err(ImportFailure::GroupNotFound);
        }
        // The rows are pulled before the lock is taken, so that a slow file stops nobody.
        let CustomerFile { fields, mode, rows } = file;
        let rows = rows.collect::<Result<Vec<CustomerRow>, Invalid>>()?;
        let count = |items: usize| u64::try_from(items).map_err(|e| StoreError::Backend(e.into()));
        let read = count(rows.len())?;
        self.write_account(account, |account| {
            let group = account
                .groups
                .get_mut(&id)
                .ok_or(ImportFailure::GroupNotFound)?;
            let before = group.customers.clone();
            let refs: BTreeSet<String> = rows.iter().map(|row| row.customer_ref.clone()).collect();
            if mode == ImportMode::Replace {
                group.customers.clear();
            }
            for row in rows {
                group.take(&fields, row);
            }
            let gone = before
                .keys()
                .filter(|known| !group.customers.contains_key(*known));
            let mut done = Imported {
                rows: read,
                imported: 0,
                updated: 0,
                removed: count(gone.count())?,
                duplicates: read - count(refs.len())?,
                total: 0,
            };
            for (reference, customer) in &group.customers {
                done.total += 1;
                match before.get(reference) {
                    None => done.imported += 1,
                    Some(same) if same == customer => {}
                    Some(_) => done.updated += 1,
                }
            }
            let response = key.map(|key| key.answered(&done)).transpose()?;
            let now = audit.at();
            let fields = mode.fields_after(&group.about.fields, &fields);
            if done.changed() || fields != group.about.fields {
                group.version += 1;
                group.about.fields = fields;
                group.about.customer_count =
                    i64::try_from(done.total).map_err(|e| StoreError::Backend(e.into()))?;
                group.about.updated_at = now;
                account.changed_group(id, now);
                account.record(audit.completed(done));
            }
            account.keep(response, now)?;
            Ok(done)
        })
    }

    async fn delete_group(&self, delete: DeleteGroup) -> Result<GroupDeletion, StoreError> {
        self.write_account(delete.author.actor.account_id, |account| {
            let id = delete.group_id;
            let in_use = account.campaigns.values().any(|ledger| {
                match ledger
                    .campaign
                    .current_run
                    .and_then(|n| ledger.runs.get(&n))
                {
                    Some(run) => run.group.id == id,
                    None => ledger.campaign.customer_group_id == id,
                }
            });
            let in_use = in_use
                || account
                    .schedules
                    .values()
                    .any(|planned| planned.schedule.customer_group_id == Some(id));
            if in_use {
                return Ok(GroupDeletion::InUse);
            }
            let Some(group) = account.groups.remove(&id) else {
                return Ok(GroupDeletion::NotFound);
            };
            let customers = counted(group.customers.len())?;
            let response = delete.key.as_ref().map(|key| key.answered(&customers));
            account.keep(response.transpose()?, delete.author.at)?;
            account.record(delete.audit(group.about.name, customers));
            Ok(GroupDeletion::Deleted(customers))
        })
    }

    async fn list_customers(
        &self,
        list: ListCustomers,
    ) -> Result<Page<Customer, CustomerKey>, StoreError> {
        Ok(self.read(list.account_id, |account| {
            let group = account.groups.get(&list.group_id);
            let customers = group.into_iter().flat_map(|group| &group.customers);
            let after = list.page.after.map(|CustomerKey(after)| after);
            let after = after.unwrap_or_default();
            let wanted = |name: &&String| {
                **name > after
                    && list
                        .customer_refs
                        .as_ref()
                        .is_none_or(|refs| refs.contains(name))
            };
            let customers = customers
                .filter(|(name, _)| wanted(name))
                .map(|(name, profile)| Customer {
                    customer_ref: name.clone(),
                    profile: profile.clone(),
                });
            Page::from_surplus(customers, list.page.limit, |customer| {
                CustomerKey(customer.customer_ref.clone())
            })
        }))
    }

    async fn delete_customers(
        &self,
        delete: DeleteCustomers,
    ) -> Result<Option<DeletedCustomers>, StoreError> {
        self.write_account(delete.author.actor.account_id, |account| {
            let Some(group) = account.groups.get_mut(&delete.group_id) else {
                return Ok(None);
            };
            let before = group.customers.len();
            let refs = &delete.customer_refs;
            group.customers.retain(|name, _| !refs.contains(name));
            let done = DeletedCustomers {
                deleted_customers: counted(before - group.customers.len())?,
                total: counted(group.customers.len())?,
            };
            let now = delete.author.at;
            let response = delete.key.as_ref().map(|key| key.answered(&done));
            if done.deleted_customers > 0 {
                group.changed(now)?;
                account.record(delete.audit(done));
            }
            account.keep(response.transpose()?, now)?;
            Ok(Some(done))
        })
    }

    async fn erase_customer(&self, erase: EraseCustomer) -> Result<u64, StoreError> {
        self.write_account(erase.author.actor.account_id, |account| {
            let now = erase.author.at;
            let mut groups = 0;
            for group in account.groups.values_mut() {
                if group.customers.remove(&erase.customer_ref).is_some() {
                    group.changed(now)?;
                    groups += 1;
                }
            }
            if groups > 0 {
                let response = erase.key.as_ref().map(|key| key.answered(&groups));
                account.keep(response.transpose()?, now)?;
                account.record(erase.audit(groups));
            }
            Ok(groups)
        })
    }
}
