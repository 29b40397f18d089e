// The audit log.
import { paged } from "./api.js";
import { Listed, Page, Pick, Table, Text, When, html, refine, route, to, usePages, who } from "./ui.js";

/** The types of entries, which are the types of events too. */
export const ACTIONS = ["customer_group.created", "customer_group.imported", "customer_group.updated", "customer_group.deleted", "customers.deleted", "customer.erased",
  "campaign.created", "campaign.updated", "campaign.launched", "campaign.published", "campaign.deleted", "messages.approved", "messages.rejected", "message.edited",
  "message.adopted", "messages.regenerated", "rerun.initiated", "rerun.archived", "rerun.cancelled", "rerun.retried", "run.completed", "run.failed",
  "webhook.created", "webhook.updated", "webhook.deleted", "webhook.secret_rotated", "webhook.disabled",
  "schedule.created", "schedule.updated", "schedule.deleted", "schedule.paused", "schedule.resumed", "schedule.skipped", "campaign.rerun_suggested"];

export function Audit() {
  const { campaign, action } = route.value.query;
  const pages = usePages(paged("audit/list", { ...(campaign && { campaign_id: campaign }), ...(action && { action }) }, "entries"), [campaign, action]);
  return html`<${Page} title="Audit" about=${campaign && html`Of one campaign. <a href=${to("audit")}>Show all</a>`}>
    <form class="filters" onSubmit=${(event) => event.preventDefault()}><${Pick} label="Action" value=${action || ""} set=${(value) => refine({ action: value })}
      options=${[["", "all"], ...ACTIONS.map((one) => [one, one])]} /></form>
    <${Listed} pages=${pages} what="the log" empty="No entry fits this filter."><${Table} label="Audit log" kind="audit" heads=${["When", "Action", "Who", "From", "About"]}>${pages.items.map((entry) => html`<tr key=${entry.id}><td><${When} at=${entry.created_at} /></td><th scope="row">${entry.action}</th>
        <td><${Text} value=${who(entry.user_name, entry.user_id)} />${entry.role_code && html` <span class="quiet">${entry.role_code}</span>`}</td><td>${entry.ip || ""}</td>
        <td>${entry.campaign_id && html`<a href=${to(`campaigns/${entry.campaign_id}`)}>campaign</a> `}${entry.run_number && `run ${entry.run_number} `}<${Details} value=${entry.details} /></td></tr>`)}</${Table}></${Listed}>
  </${Page}>`;
}

/** What an entry says besides, without ids, which say nothing to people. */
function Details({ value }) {
  const { before, after, ...rest } = value || {};
  const parts = Object.entries(rest).filter(([name, one]) => one !== null && typeof one !== "object" && !/_u?id$/.test(name));
  return html`<span class="quiet">${(before || after) && html`<span class="detail">${before === after ? before : `${before ?? ""} → ${after ?? ""}`}</span>`}
    ${parts.map(([name, one]) => html`<span class="detail">${name.replaceAll("_", " ")}: <${Text} value=${one} /></span>`)}</span>`;
}
