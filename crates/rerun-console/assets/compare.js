// Two runs of a campaign beside each other.
import { useState } from "./preact-hooks.js";
import { call, everything, findMessage, paged } from "./api.js";
import { Difference } from "./diff.js";
import { refine, route, to } from "./route.js";
import { Empty, Failed, Listed, Loading, Page, Pick, Text, count, html, segmentName, useLoad, usePages } from "./ui.js";

const NAMES = { added: "only in the later run", removed: "only in the earlier run", kept_same: "same text", kept_changed: "another text" };

export function Compare({ id }) {
  const [known, error, again] = useLoad(async () => ({
    campaign: await call("campaign/get", { campaign_id: id }), runs: await everything("campaign/rerun/history", { campaign_id: id }, "runs", 1000),
  }), [id]);
  if (error) return html`<${Page} title="Compare"><${Failed} error=${error} again=${again} /></${Page}>`;
  if (!known) return html`<${Page} title="Compare"><${Loading} what="the runs" /></${Page}>`;
  const numbers = known.runs.map((run) => run.run_number);
  const later = Number(route.value.query.to) || numbers[0];
  const earlier = Number(route.value.query.from) || numbers[1] || numbers[0];
  const choice = (label, name, value) => html`<${Pick} label=${label} value=${String(value)} set=${(chosen) => refine({ [name]: chosen })}
    options=${known.runs.map((run) => [String(run.run_number), `Run ${run.run_number}, ${run.customer_group.name}`])} />`;
  return html`<${Page} title="Compare" about=${html`<a href=${to(`campaigns/${id}`)}><${Text} value=${known.campaign.name} /></a>`}>
    <form class="filters" onSubmit=${(event) => event.preventDefault()}>${choice("Earlier run", "from", earlier)}${choice("Later run", "to", later)}</form>
    ${numbers.length < 2 || earlier === later ? html`<${Empty}>Choose two runs.</${Empty}>` : html`<${Changes} id=${id} from=${earlier} to=${later} key=${`${earlier}-${later}`} />`}
  </${Page}>`;
}

function Changes({ id, from, to: later }) {
  const pages = usePages(paged("campaign/rerun/diff", { campaign_id: id, from_run: from, to_run: later }, "items"), [id, from, later]);
  const counts = pages.first?.counts;
  return html`${counts && html`<div class="numbers">${Object.entries(NAMES).map(([name, what]) => html`<span><strong>${count(counts[name])}</strong> ${what}</span>`)}</div>`}
    <${Listed} pages=${pages} what="the differences" empty="There are no segments."><ul class="cards">${pages.items.map((item) => html`<${Change} key=${item.segment.key} item=${item} id=${id} from=${from} later=${later} />`)}</ul></${Listed}>`;
}

function Change({ item, id, from, later }) {
  const [open, setOpen] = useState(false);
  return html`<li class="card"><details onToggle=${(event) => setOpen(event.currentTarget.open)}><summary><${Text} value=${segmentName(item.segment)} />
    <span class="quiet">${NAMES[item.change]}</span></summary>${open && html`<${Texts} item=${item} id=${id} from=${from} later=${later} />`}</details></li>`;
}

function Texts({ item, id, from, later }) {
  const [found, error] = useLoad(async () => {
    const values = Object.values(item.segment.attributes);
    const one = (run, wanted) => wanted ? findMessage(id, run, (message) => message.id === wanted, values) : null;
    return Promise.all([one(from, item.from), one(later, item.to)]);
  }, [item.from, item.to]);
  if (error) return html`<${Failed} error=${error} />`;
  if (!found) return html`<${Loading} what="the texts" />`;
  const [before, after] = found.map((message) => message?.content);
  if (!before && !after) return html`<p class="quiet">There is no text yet.</p>`;
  return html`<p><strong><${Difference} from=${before?.subject || ""} to=${after?.subject || ""} /></strong></p><div><${Difference} from=${before?.body || ""} to=${after?.body || ""} /></div>`;
}
