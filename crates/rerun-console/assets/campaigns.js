// What waits, all campaigns, one campaign with its runs, and two of its runs beside each other.
import { useEffect, useState } from "./preact-hooks.js";
import { call, download, everything, findMessage, may, newKey, paged, steadily } from "./api.js";
import { Difference } from "./diff.js";
import { Scheduled, Spellings } from "./reruns.js";
import {
  Bar, Confirm, Empty, Failed, Field, GroupName, Link, Listed, Loading, More, Opening, Page, Pick, Split, Status, Table, Text, When, count, customers, fieldsOf, go, html,
  many, reason, refine, route, say, segmentName, split, to, useEvery, useLoad, usePages, who,
} from "./ui.js";

const NEEDS = [
  ["Ready for review", "To review", "Messages wait for a review, or for an edit after a rejection."],
  ["Generation failed", "Generation failed", "Some messages could not be generated: retry, or write them."],
  ["Ready to publish", "Ready to publish", "Every message is approved."],
  ["Processing", "Processing", "Messages are being generated."],
];

export function Waiting() {
  const [found, error, again] = useLoad(() => Promise.all(NEEDS.map(([status]) => everything("campaign/list", { status }, "campaigns"))), []);
  const nothing = found && found.every((campaigns) => !campaigns.length);
  return html`<${Page} title="Waiting" about="Campaigns that need a person.">
    ${error && html`<${Failed} error=${error} again=${again} />`}
    ${!found && !error && html`<${Loading} what="campaigns" />`}
    ${nothing && html`<${Empty}>Nothing to do. A campaign appears here when it is launched or rerun. <a href=${to("campaigns")}>All campaigns</a></${Empty}>`}
    ${found && NEEDS.map(([status, title, about], n) => found[n].length > 0
      && html`<${Group} title=${title} about=${about} status=${status} campaigns=${found[n]} fresh=${again} />`)}
  </${Page}>`;
}

/** How many campaigns of a kind are shown at first: each asks for its run. */
const AT_FIRST = 20;

function Group({ title, about, status, campaigns, fresh }) {
  const [most, setMost] = useState(AT_FIRST);
  return html`<section aria-label=${title}><h2>${title} <span class="number">${count(campaigns.length)}</span></h2><p class="quiet">${about}</p>
    <ul class="cards">${campaigns.slice(0, most).map((campaign) => html`<${Card} key=${campaign.id} campaign=${campaign} status=${status} fresh=${fresh} />`)}</ul>
    ${campaigns.length > most && html`<${More} onMore=${() => setMost(most + AT_FIRST)} shown=${most} />`}</section>`;
}

/** In words. While no reused message is rejected, all of them are approved. */
function states({ pending, rejected, approved, published, generating, failed, reused }) {
  const known = approved && reused && !rejected ? ` (${reused === approved ? "all" : count(reused)} reused)` : "";
  return [[pending, "to review"], [rejected, "rejected"], [approved, `approved${known}`], [published, "published"], [generating, "generating"], [failed, "failed"]]
    .filter(([n]) => n > 0).map(([n, what]) => `${count(n)} ${what}`).join(", ");
}

const needy = (status, numbers) => status === "Generation failed" ? status : numbers && !numbers.pending && numbers.rejected ? "Rejected" : "Pending review";

function Card({ campaign, status, fresh }) {
  const [history] = useLoad(() => call("campaign/rerun/history", { campaign_id: campaign.id, limit: 1 }), [campaign.id]);
  const [asked, setAsked] = useState(false);
  const run = history?.runs.find((one) => one.is_current);
  const numbers = run?.messages;
  return html`<li class="card"><div><${Link} class="title" path=${`campaigns/${campaign.id}`} name=${campaign.name} />
    <div class="line"><${Status} value=${campaign.status} />${run && html`<span>run ${run.run_number}, <${GroupName} ...${run.customer_group} /></span>`}</div>
    ${numbers && html`<div class="line quiet"><span>${states(numbers)}</span><span>${customers(run.customer_count)}</span></div>`}</div>
    ${status !== "Ready to publish" ? html`<a class="button main" href=${to(`campaigns/${campaign.id}/review`, { status: needy(status, numbers) })}>Review</a>`
      : may("publish") && html`<button type="button" class="main" onClick=${() => setAsked(true)}>Publish</button>`}
    ${asked && html`<${Publish} campaign=${campaign} onClose=${() => setAsked(false)} fresh=${fresh} />`}</li>`;
}

const made = (numbers) => numbers.total - numbers.reused;

export function Publish({ campaign, onClose, fresh }) {
  const [history, error] = useLoad(() => call("campaign/rerun/history", { campaign_id: campaign.id, limit: 1 }), []);
  const run = history?.runs[0];
  const publish = async () => {
    const { published_messages } = await steadily("campaign/publish", { campaign_id: campaign.id }, { tries: 5 });
    say(`Published ${many(published_messages, "message")}.`);
    fresh();
  };
  return html`<${Confirm} title=${html`Publish <${Text} value=${campaign.name} />?`} action="Publish" onClose=${onClose} run=${publish}>
    ${run ? html`<p>Run ${run.run_number} has ${many(run.messages.total, "message")} for ${customers(run.customer_count)}: ${split(run.messages.reused, made(run.messages))}.</p>`
      : error ? html`<${Failed} error=${error} />` : html`<${Loading} what="the numbers" />`}<p>Published messages cannot be changed.</p></${Confirm}>`;
}

const STATUSES = ["Draft", "Processing", "Generation failed", "Ready for review", "Ready to publish", "Published"];

export function Campaigns() {
  const status = route.value.query.status || "";
  const pages = usePages(paged("campaign/list", status ? { status } : {}, "campaigns"), [status]);
  return html`<${Page} title="Campaigns" actions=${html`<label class="inline"><span>Status</span>
      <select value=${status} onChange=${(event) => go("campaigns", { status: event.currentTarget.value })}>
      <option value="">all</option>${STATUSES.map((one) => html`<option value=${one}>${one}</option>`)}</select></label>`}>
    <${Listed} pages=${pages} what="campaigns" empty=${status ? "No campaign has this status." : "There are no campaigns yet. Campaigns are created with the API."}><${Table} kind="stacked" heads=${["Name", "Status", "Run", "Changed"]}>${pages.items.map((one) => html`<tr key=${one.id}><th scope="row"><${Link} path=${`campaigns/${one.id}`} name=${one.name} /></th>
        <td><${Status} value=${one.status} /></td><td>${one.current_run_number ? `run ${one.current_run_number}` : "no run yet"}</td><td><${When} at=${one.updated_at} /></td></tr>`)}</${Table}></${Listed}>
  </${Page}>`;
}

const LOOK_EVERY_MS = 2000;

export function Campaign({ id }) {
  const [campaign, error, again] = useLoad(() => call("campaign/get", { campaign_id: id }), [id]);
  const [version, setVersion] = useState(0);
  const history = usePages(paged("campaign/rerun/history", { campaign_id: id }, "runs", 20), [id, version]);
  const [dialog, setDialog] = useState(null);
  const fresh = () => { again(); setVersion((n) => n + 1); };
  useEvery(LOOK_EVERY_MS, campaign?.status === "Processing", fresh);
  if (!campaign) return html`<${Opening} title="Campaign" error=${error} again=${again} />`;
  const { status } = campaign;
  const current = history.items.find((run) => run.is_current);
  // A rerun replaces what is published only when it is published itself.
  const live = history.items.find((run) => run.messages.published);
  const cancellable = current && ["Processing", "Generation failed", "Ready for review", "Ready to publish"].includes(status);
  const act = (path, body, said) => async () => {
    const answer = await steadily(path, { campaign_id: id, ...body }, { tries: 5 });
    say(said(answer));
    fresh();
  };
  return html`<${Page} title=${campaign.name} about=${html`<${Status} value=${status} /> <span>by ${fieldsOf(campaign).join(", ")}</span>`}
    actions=${html`
      ${current && html`<a class=${status === "Ready for review" ? "button main" : "button"} href=${to(`campaigns/${id}/review`, status === "Ready for review" ? { status: needy(status, current.messages) } : {})}>Review</a>`}
      ${status === "Published" && may("initiate") && html`<a class="button main" href=${to(`campaigns/${id}/rerun`)}>Rerun</a>`}
      ${status === "Draft" && may("launch") && html`<button type="button" class="main" onClick=${() => setDialog("launch")}>Launch</button>`}
      ${status === "Ready to publish" && may("publish") && html`<button type="button" class="main" onClick=${() => setDialog("publish")}>Publish</button>`}
      ${status === "Generation failed" && may("retry") && html`<button type="button" class="main" onClick=${() => setDialog("retry")}>Retry</button>`}
      ${cancellable && may("cancel") && html`<button type="button" onClick=${() => setDialog("cancel")}>Cancel run</button>`}
      ${history.items.length > 1 && html`<a class="button" href=${to(`campaigns/${id}/compare`)}>Compare</a>`}
      ${may("schedule_create") && html`<a class="button" href=${to("schedules/new", { campaign: id })}>Schedule</a>`}
      ${may("audit_list") && html`<a class="button" href=${to("audit", { campaign: id })}>History of changes</a>`}`}>
    ${status === "Published" && current && html`<${Suggested} campaign=${id} run=${current} />`}
    <section aria-label="Runs"><h2>Runs</h2>
      <${Listed} pages=${history} what="runs" empty="This campaign has not run yet."><ol class="runs" reversed>${history.items.map((run) => html`<${Run} key=${run.run_number} run=${run} live=${run === live} campaign=${campaign} />`)}</ol></${Listed}></section>
    <${Scheduled} id=${id} />
    <section aria-label="Template"><h2>Template</h2><p><strong><${Text} value=${campaign.template.subject} /></strong></p>
      <div class="text body"><${Text} value=${campaign.template.body} /></div>
      <${Spellings} campaign=${campaign} />
      ${campaign.brief && html`<h3>Brief</h3><div class="text"><${Text} value=${campaign.brief} /></div>`}
      <p class="quiet">Approval: ${campaign.approval_stages.map((one) => typeof one === "string" ? one : `${one.name} (${(one.roles || []).join(", ")})`).join(", then ")}</p></section>
    ${dialog === "publish" && html`<${Publish} campaign=${campaign} onClose=${() => setDialog(null)} fresh=${fresh} />`}
    ${dialog === "launch" && html`<${Confirm} title="Launch this campaign?" action="Launch" onClose=${() => setDialog(null)}
      run=${act("campaign/launch", {}, (answer) => `Run ${answer.run_number} has started.`)}><p>A message is generated for each segment of its group.</p></${Confirm}>`}
    ${dialog === "retry" && html`<${Confirm} title="Generate the failed messages again?" action="Retry" onClose=${() => setDialog(null)}
      run=${act("campaign/rerun/retry", {}, (answer) => `${many(answer.queued_messages, "message")} are generated again.`)}>
      <p>${current?.error && html`<${Text} value=${current.error} />`}</p></${Confirm}>`}
    ${dialog === "cancel" && html`<${Cancel} id=${id} run=${current} live=${live} onClose=${() => setDialog(null)} fresh=${fresh} />`}
  </${Page}>`;
}

function Suggested({ campaign, run }) {
  const [entry] = useLoad(async () => may("audit_list")
    ? (await call("audit/list", { campaign_id: campaign, action: "campaign.rerun_suggested", limit: 1 })).entries[0] : null, [campaign, run.run_number]);
  if (!entry || entry.run_number !== run.run_number) return null;
  const { segments, customer_group_id: group } = entry.details;
  return html`<p class="done">${many(segments.new, "new segment")} since run ${run.run_number}${segments.gone > 0 && `, and ${count(segments.gone)} gone`}.
    ${may("initiate") && html` <a href=${to(`campaigns/${campaign}/rerun`, { group })}>Look at the rerun</a>`}</p>`;
}

function Cancel({ id, run, live, onClose, fresh }) {
  const [why, setWhy] = useState("");
  const [key] = useState(newKey);
  const cancel = async () => {
    const body = { campaign_id: id };
    if (why.trim()) body.reason = why.trim();
    const answer = await steadily("campaign/rerun/cancel", body, { key, tries: 5 });
    say(`Run ${answer.run_number} is cancelled. The campaign is ${answer.campaign_status}.`);
    fresh();
  };
  return html`<${Confirm} title=${`Cancel run ${run.run_number}?`} action="Cancel run" leave="Keep the run" danger run=${cancel} onClose=${onClose}>
    <p>${live ? `Run ${live.run_number} stays published.` : "The campaign becomes a draft again."} The cancelled run stays in the history.</p>
    <${Field} label="Reason, if you like" value=${why} set=${setWhy} maxlength="1000" /></${Confirm}>`;
}

function Run({ run, live, campaign }) {
  const numbers = run.messages;
  const sum = (tokens) => (tokens?.prompt_tokens || 0) + (tokens?.completion_tokens || 0);
  const tokens = sum(run.usage);
  const saved = run.saved || { messages: numbers.reused, customers: 0 };
  const savedTokens = sum(saved);
  const [busy, setBusy] = useState("");
  const save = (path, body, name) => async () => {
    setBusy(path);
    try {
      const { changed } = await download(path, { campaign_id: campaign.id, run_number: run.run_number, ...body }, name);
      say(`${name} is saved.${changed ? " The group was changed after this run was started." : ""}`);
    } catch (error) {
      say(reason(error), true);
    }
    setBusy("");
  };
  const file = `${campaign.name.replace(/[^\p{L}\p{N}]+/gu, "-").slice(0, 60) || "campaign"}-run-${run.run_number}`;
  const open = run.is_current && campaign.status !== "Published";
  // A run is complete when nothing is left to generate: people ask what is left to do.
  const status = live ? "Published now" : open && run.status === "Completed" ? numbers.pending ? `${count(numbers.pending)} to review` : campaign.status : run.status;
  return html`<li class=${run.is_current ? "run current" : "run"}>
    <h3><a href=${to(`campaigns/${campaign.id}/review`, run.is_current ? {} : { run: run.run_number })}>Run ${run.run_number}</a>${" "}<span class="group"><${GroupName} ...${run.customer_group} /></span></h3>
    <div class="line"><${Status} value=${status} />${run.is_current && !live && html`<span>newest run</span>`}<span>${customers(run.customer_count)}</span>
      <span>started <${When} at=${run.started_at} /></span>${(run.initiated_by || run.initiated_by_name) && html`<span>by <${Text} value=${who(run.initiated_by_name, run.initiated_by)} /></span>`}</div>
    <${Bar} reused=${numbers.reused} made=${made(numbers)} total=${numbers.total} />
    <div class="line"><${Split} reused=${numbers.reused} made=${made(numbers)} />
      <span class="quiet">${states(numbers)}</span></div>
    ${(saved.messages > 0 || tokens > 0) && html`<p class="quiet">${saved.messages > 0 && html`${many(saved.messages, "text")}${saved.customers > 0 && html` for ${customers(saved.customers)}`} did not have to be written and reviewed again. `}
      ${savedTokens > 0 && html`That saved about ${count(savedTokens)} tokens. `}${tokens > 0 && html`The model used ${count(tokens)} tokens.`}</p>`}
    ${run.error && html`<p class="failed"><${Text} value=${run.error} /></p>`}
    ${run.cancel_reason && html`<p class="quiet">Cancelled: <${Text} value=${run.cancel_reason} /></p>`}
    ${open && html`<p class="quiet">Not published yet: what you export now can still change.</p>`}
    <div class="buttons small">${may("messages_export") && html`<button type="button" disabled=${!!busy} aria-label=${`Export messages of run ${run.run_number}`}
        onClick=${save("campaign/messages/export", { format: "csv", spreadsheet: true }, `${file}-messages.csv`)}>Export messages</button>`}
      ${may("recipients_export") && html`<button type="button" disabled=${!!busy} aria-label=${`Export recipients of run ${run.run_number}`}
        onClick=${save("campaign/recipients/export", { format: "csv", spreadsheet: true, content: true }, `${file}-recipients.csv`)}>Export recipients</button>`}</div></li>`;
}

const named = (from, later) => ({ kept_changed: "different text", added: `only in run ${later}`, removed: `only in run ${from}`, kept_same: "same text" });
/** How many segments of those that are shown are looked for at once. */
const AT_ONCE = 20;

export function Compare({ id }) {
  const [known, error, again] = useLoad(async () => ({
    campaign: await call("campaign/get", { campaign_id: id }), runs: await everything("campaign/rerun/history", { campaign_id: id }, "runs", 1000),
  }), [id]);
  if (!known) return html`<${Opening} title="Compare" what="runs" error=${error} again=${again} />`;
  const numbers = known.runs.map((run) => run.run_number);
  const { query } = route.value;
  const first = Number(query.from) || numbers[1] || numbers[0];
  const second = Number(query.to) || numbers[0];
  const choice = (label, name, value) => html`<${Pick} label=${label} value=${String(value)} set=${(chosen) => refine({ [name]: chosen })}
    options=${known.runs.map((run) => [String(run.run_number), `Run ${run.run_number}, ${run.customer_group.name}`])} />`;
  return html`<${Page} title="Compare" about=${html`<${Link} path=${`campaigns/${id}`} name=${known.campaign.name} />`}>
    <div class="filters wide">${choice("From", "from", first)}${choice("To", "to", second)}
      <${Pick} label="Show" value=${query.change || ""} set=${(change) => refine({ change })} options=${[["", "what differs"], ["all", "all segments"], ...Object.entries(named(first, second))]} /></div>
    ${numbers.length < 2 || first === second ? html`<${Empty}>Choose two runs.</${Empty}>`
      : html`<${Changes} id=${id} from=${first} to=${second} change=${query.change || ""} key=${`${first}-${second}`} />`}
  </${Page}>`;
}

function Changes({ id, from, to: later, change }) {
  const pages = usePages(paged("campaign/rerun/diff", { campaign_id: id, from_run: from, to_run: later }, "items"), [id, from, later]);
  const counts = pages.first?.counts;
  const names = named(from, later);
  const changes = Object.entries(names);
  const fits = (one) => change === "all" || (change ? one === change : one !== "kept_same");
  const items = pages.items.filter((item) => fits(item.change));
  const wanted = changes.reduce((sum, [name]) => sum + (fits(name) ? counts?.[name] : 0), 0);
  useEffect(() => { if (!pages.loading && !pages.error && pages.cursor && items.length < Math.min(AT_ONCE, wanted)) pages.more(); });
  return html`${counts && html`<div class="numbers">${changes.map(([name, what]) => html`<a href=${to(route.value.path.join("/"), { ...route.value.query, change: name })}
      aria-current=${name === change ? "true" : null}><strong>${count(counts[name])}</strong> ${what}</a>`)}</div>`}
    <${Listed} pages=${{ ...pages, items }} what="the differences" empty=${change ? "There are no such segments." : "Nothing differs."}><ul class="cards">${items.map((item) => html`<${Change} key=${item.segment.key} item=${item} name=${names[item.change]} id=${id} from=${from} later=${later} />`)}</ul></${Listed}>`;
}

function Change({ item, name, ...rest }) {
  const [open, setOpen] = useState(false);
  return html`<li class="card"><details onToggle=${(event) => setOpen(event.currentTarget.open)}><summary><${Text} value=${segmentName(item.segment)} />
    <span class="quiet">${name}</span></summary>${open && html`<${Texts} item=${item} ...${rest} />`}</details></li>`;
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
