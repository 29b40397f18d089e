// The audit log.
import { call } from "./api.js";
import { refine, route, to } from "./route.js";
import { Empty, Failed, Loading, More, Page, Text, When, html, usePages, who } from "./ui.js";

const ACTIONS = ["customer_group.created", "customer_group.imported", "customer_group.updated", "customer_group.deleted", "customers.deleted", "customer.erased",
  "campaign.created", "campaign.updated", "campaign.launched", "campaign.published", "campaign.deleted", "messages.approved", "messages.rejected", "message.edited",
  "message.adopted", "messages.regenerated", "rerun.initiated", "rerun.archived", "rerun.cancelled", "rerun.retried", "run.completed", "run.failed"];

export function Audit() {
  const { campaign, action } = route.value.query;
  const pages = usePages(async (cursor) => {
    const body = { limit: 100, cursor };
    if (campaign) body.campaign_id = campaign;
    if (action) body.action = action;
    const page = await call("audit/list", body);
    return { items: page.entries, page };
  }, [campaign, action]);
  return html`<${Page} title="Audit" about=${campaign && html`Of one campaign. <a href=${to("audit")}>Show all</a>`}>
    <form class="filters" onSubmit=${(event) => event.preventDefault()}><label><span>Action</span><select value=${action || ""} onChange=${(event) => refine({ action: event.currentTarget.value })}>
      <option value="">all</option>${ACTIONS.map((one) => html`<option value=${one}>${one}</option>`)}</select></label></form>
    ${pages.error && html`<${Failed} error=${pages.error} again=${pages.reload} />`}
    ${pages.loading && !pages.items.length && html`<${Loading} what="the log" />`}
    ${!pages.loading && !pages.error && !pages.items.length && html`<${Empty}>No entry fits this filter.</${Empty}>`}
    ${pages.items.length > 0 && html`<div class="scroll" tabindex="0" role="region" aria-label="Audit log"><table class="rows audit"><thead><tr><th scope="col">When</th><th scope="col">Action</th><th scope="col">Who</th><th scope="col">From</th><th scope="col">About</th></tr></thead>
      <tbody>${pages.items.map((entry) => html`<tr key=${entry.id}><td><${When} at=${entry.created_at} /></td><th scope="row">${entry.action}</th>
        <td><${Text} value=${who(entry.user_name, entry.user_id)} />${entry.role_code && html` <span class="quiet">${entry.role_code}</span>`}</td><td>${entry.ip || ""}</td>
        <td>${entry.campaign_id && html`<a href=${to(`campaigns/${entry.campaign_id}`)}>campaign</a> `}${entry.run_number && `run ${entry.run_number} `}<${Details} value=${entry.details} /></td></tr>`)}</tbody></table></div>`}
    ${pages.cursor && html`<${More} onMore=${pages.more} loading=${pages.loading} shown=${pages.items.length} />`}
  </${Page}>`;
}

/** What an entry says besides, without ids, which say nothing to people. */
function Details({ value }) {
  const { before, after, ...rest } = value || {};
  const parts = Object.entries(rest).filter(([name, one]) => one !== null && typeof one !== "object" && !/_u?id$/.test(name));
  return html`<span class="quiet">${(before || after) && html`<span class="detail">${before === after ? before : `${before ?? ""} → ${after ?? ""}`}</span>`}
    ${parts.map(([name, one]) => html`<span class="detail">${name.replaceAll("_", " ")}: <${Text} value=${one} /></span>`)}</span>`;
}
