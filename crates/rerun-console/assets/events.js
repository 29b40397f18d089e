// Events: the audit log, and the webhooks that they are sent to.
import { useState } from "./preact-hooks.js";
import { call, may, paged, steadily } from "./api.js";
import { campaigns, groups } from "./reruns.js";
import {
  Check, Confirm, Dialog, Facts, Failed, Field, GroupName, Link, Listed, Opening, Page, Pick, Status, Table, Text, When, count, go, html, many, reason,
  refine, route, say, to, useEvery, useLoad, usePages, who,
} from "./ui.js";

/** The types of entries, which are the types of events too. */
const ACTIONS = Object.entries({
  customer_group: "created imported updated deleted", customers: "deleted", customer: "erased",
  campaign: "created updated launched published deleted rerun_suggested", messages: "approved rejected regenerated", message: "edited adopted",
  rerun: "initiated archived cancelled retried", run: "completed failed", webhook: "created updated deleted secret_rotated disabled",
  schedule: "created updated deleted paused resumed skipped",
}).flatMap(([one, all]) => all.split(" ").map((did) => `${one}.${did}`));

const WORDS = { "rerun.initiated": "Rerun started", "message.adopted": "Suggestion used", "campaign.rerun_suggested": "Rerun suggested" };
const words = (action) => WORDS[action] || (action[0].toUpperCase() + action.slice(1)).replace(/[._]/g, " ");

export function Audit() {
  const [known] = useLoad(async () => new Map([...await campaigns(), ...await groups()]), []);
  const { campaign, action } = route.value.query;
  const pages = usePages(paged("audit/list", { ...(campaign && { campaign_id: campaign }), ...(action && { action }) }, "entries"), [campaign, action]);
  return html`<${Page} title="Audit" about=${campaign && html`Of <${Text} value=${known?.get(campaign) || "one campaign"} />. <a href=${to("audit")}>Show all</a>`}>
    <div class="filters"><${Pick} label="Action" value=${action || ""} set=${(value) => refine({ action: value })}
      options=${[["", "all"], ...ACTIONS.map((one) => [one, words(one)])]} /></div>
    <${Listed} pages=${pages} what="the log" empty="No entry fits this filter."><${Table} label="Audit log" kind="stacked audit" heads=${["When", "Action", "Who", "From", "About"]}>${pages.items.map((entry) => html`<tr key=${entry.id}><td><${When} at=${entry.created_at} /></td><th scope="row">${words(entry.action)}</th>
        <td><${Text} value=${who(entry.user_name, entry.user_id)} />${entry.role_code && html` <span class="quiet">${entry.role_code}</span>`}</td><td>${entry.ip || ""}</td>
        <td>${entry.campaign_id && html`<${Link} path=${`campaigns/${entry.campaign_id}`} name=${known?.get(entry.campaign_id) || "campaign"} /> `}<${Links} entry=${entry} known=${known} /><${Details} value=${entry.details} /></td></tr>`)}</${Table}></${Listed}>
  </${Page}>`;
}

/** What an entry is about, besides its campaign. Ids say nothing to people: they lead there. */
function Links({ entry: { campaign_id: campaign, run_number: run, details }, known }) {
  const { customer_group_id: group, message_ids: [message, more] = [], schedule_id: schedule, webhook_id: webhook } = details;
  const review = (name, query) => html`<a href=${to(`campaigns/${campaign}/review`, { run, ...query })}>${name}</a> `;
  return html`${run && review(`run ${run}`)}${message && !more && review("message", { message })}
    ${group && html`<${GroupName} id=${group} name=${known?.get(group) || details.name || "a group"} /> `}
    ${schedule && html`<a href=${to(`schedules/${schedule}`)}>schedule</a> `}${webhook && html`<a href=${to(`webhooks/${webhook}`)}>webhook</a> `}`;
}

/** What other pages call these. */
const HERE = { matched: "reused", mode: "customers that are not in the file", merge: "stay", replace: "are removed" };

function Details({ value }) {
  const { before, after, ...rest } = value || {};
  const parts = Object.entries(rest).filter(([name, one]) => one !== null && one !== 0 && typeof one !== "object" && !/_u?id$/.test(name));
  return html`<span class="quiet">${(before || after) && html`<span class="detail">${before === after ? before : `${before ?? ""} → ${after ?? ""}`}</span>`}
    ${parts.map(([name, one]) => html`<span class="detail">${HERE[name] || name.replaceAll("_", " ")}: <${Text} value=${name === "mode" ? HERE[one] : one} /></span>`)}</span>`;
}

const WHY = {
  requested: "Somebody disabled it.", gone: "Its receiver wants no more events: it responded with status 410.",
  failing: "Nothing could be delivered for five days.",
};
const ERRORS = {
  not_allowed: "the address is not allowed", not_signed: "the server has nothing to sign with", not_resolved: "the name has no address",
  not_connected: "nobody takes the connection", tls: "the certificate was not accepted", timed_out: "the receiver took too long",
  broken: "the connection broke", interrupted: "the sender stopped",
};
const STATES = ["pending", "delivered", "failed"];
const LOOK_EVERY_MS = 4000;
const PAGE = 50;

const nameOf = (webhook) => webhook.description || webhook.url;
const statusOf = (webhook) => webhook.status === "disabled" ? "Disabled" : webhook.failing_since ? "Failing" : "Enabled";
const ended = ({ status, error, duration_ms }) => `${status ? `status ${status}` : ERRORS[error] || error}, ${count(duration_ms)} ms`;

const State = ({ webhook }) => html`<div class="line"><${Status} value=${statusOf(webhook)} />
  <span>${webhook.pending > 0 ? `${many(webhook.pending, "event")} pending` : "nothing pending"}</span>
  ${webhook.failing_since && html`<span>every attempt has failed since <${When} at=${webhook.failing_since} /></span>`}
  ${webhook.disabled_reason && html`<span>${WHY[webhook.disabled_reason]}</span>`}</div>`;

export function Webhooks() {
  const pages = usePages(paged("webhook/list", {}, "webhooks"), []);
  const [dialog, setDialog] = useState(null);
  const created = (made) => { setDialog(made ? { secret: made.secret } : null); if (made) pages.reload(); };
  return html`<${Page} title="Webhooks" about="Addresses that are told about events."
    actions=${may("webhook_create") && html`<button type="button" class="main" onClick=${() => setDialog({})}>New webhook</button>`}>
    <${Listed} pages=${pages} what="webhooks" empty="There are no webhooks yet."><ul class="cards">${pages.items.map((webhook) => html`<li class="card" key=${webhook.id}><div>
      <${Link} class="title" path=${`webhooks/${webhook.id}`} name=${nameOf(webhook)} />
      ${webhook.description && html`<div class="quiet"><${Text} value=${webhook.url} /></div>`}<${State} webhook=${webhook} /></div></li>`)}</ul></${Listed}>
    ${dialog && (dialog.secret ? html`<${Secret} key="secret" secret=${dialog.secret} onClose=${() => setDialog(null)} />` : html`<${Edit} key="new" onDone=${created} />`)}
  </${Page}>`;
}

function Secret({ secret, until, onClose }) {
  // A dialog says what it has to say inside itself: nothing outside is read aloud.
  const [said, setSaid] = useState("");
  const copy = async (event) => {
    event.currentTarget.form.elements[0].select();
    try {
      await navigator.clipboard.writeText(secret);
      setSaid("Copied.");
    } catch {
      setSaid("The browser does not allow this. The secret is selected: copy it by hand.");
    }
  };
  return html`<${Dialog} title="The secret" onClose=${onClose}><form onSubmit=${(event) => event.preventDefault()}>
    <p>The receiver needs it to check signatures. Keep it now: it is not shown again.</p>
    <${Field} label="Secret" value=${secret} readonly spellcheck=${false} />
    ${until && html`<p class="quiet">The secret before signs too until <${When} at=${until} />.</p>`}
    <p role="status">${said}</p>
    <div class="buttons"><button type="button" class="main" onClick=${copy}>Copy</button><button type="button" onClick=${onClose}>Close</button></div></form></${Dialog}>`;
}

function Edit({ webhook, onDone }) {
  const [draft, setDraft] = useState({
    url: webhook?.url || "", description: webhook?.description || "", some: webhook?.types ? "some" : "", types: webhook?.types || [],
    campaign: webhook?.campaign_id || "", ordered: !!webhook?.ordered,
  });
  const [all] = useLoad(campaigns, []);
  const [done] = useState({});
  const set = (name) => (value) => setDraft((was) => ({ ...was, [name]: value }));
  const toggle = (type) => set("types")(draft.types.includes(type) ? draft.types.filter((one) => one !== type) : [...draft.types, type]);
  const run = async () => {
    const { url, description, types, campaign, ordered } = draft;
    if (draft.some && !types.length) throw new Error("Choose at least one type of event.");
    const body = { url: url.trim(), description: description.trim(), ordered };
    if (webhook) {
      done.webhook = await steadily("webhook/update", { ...body, webhook_id: webhook.id, types: draft.some ? types : [], campaign_id: campaign }, { tries: 5 });
    } else {
      if (draft.some) body.types = types;
      if (campaign) body.campaign_id = campaign;
      done.webhook = await steadily("webhook/create", body, { tries: 5 });
    }
  };
  const known = [...(all || [])];
  if (draft.campaign && !known.some(([id]) => id === draft.campaign)) known.unshift([draft.campaign, "the campaign that it has"]);
  return html`<${Confirm} title=${webhook ? "Edit the webhook" : "New webhook"} action=${webhook ? "Save" : "Create"} run=${run} onClose=${() => onDone(done.webhook)}>
    <div class="stack"><${Field} label="URL" value=${draft.url} set=${set("url")} required maxlength="2000" inputmode="url" autocapitalize="off" spellcheck=${false} placeholder="the receiver's address" />
    <${Field} label="Description" value=${draft.description} set=${set("description")} maxlength="1000" placeholder="what it is for" />
    <${Pick} label="Campaign" value=${draft.campaign} set=${set("campaign")} options=${[["", "all campaigns"], ...known]} />
    <${Pick} label="Events" value=${draft.some} set=${set("some")} options=${[["", "all types"], ["some", "some types"]]} />
    ${draft.some && html`<fieldset class="clipped"><legend>Types</legend>${ACTIONS.map((type) => html`<${Check} label=${type} checked=${draft.types.includes(type)} toggle=${() => toggle(type)} />`)}</fieldset>`}
    <${Check} label="In order: an event waits until the one before is delivered or given up" checked=${draft.ordered} toggle=${() => set("ordered")(!draft.ordered)} /></div></${Confirm}>`;
}

export function Webhook({ id }) {
  const [webhook, error, again] = useLoad(() => call("webhook/get", { webhook_id: id }), [id]);
  const { state } = route.value.query;
  const readable = may("webhook_deliveries");
  const pages = usePages(async (cursor) => readable ? paged("webhook/deliveries", { webhook_id: id, ...(state && { state }) }, "deliveries", PAGE)(cursor)
    : { items: [], page: {} }, [id, state]);
  const [dialog, setDialog] = useState(null);
  const [test, setTest] = useState(null);
  const fresh = () => { again(); if (pages.items.length <= PAGE) pages.reload(); };
  useEvery(LOOK_EVERY_MS, webhook?.pending > 0, fresh);
  if (!webhook) return html`<${Opening} title="Webhook" error=${error} again=${again} />`;
  const close = () => setDialog(null);
  const changed = (done) => { close(); if (done) fresh(); };
  const send = async () => {
    setTest({ text: "Sending a test…" });
    try {
      const result = await call("webhook/test", { webhook_id: id });
      setTest({ text: `The test was ${result.delivered ? "" : "not "}delivered: ${ended(result)}.`, tone: result.delivered ? "done" : "failed" });
    } catch (refused) {
      setTest({ text: reason(refused), tone: "failed" });
    }
  };
  const act = (path, body, said) => async () => {
    const answer = await steadily(path, { webhook_id: id, ...body }, { tries: 5 });
    say(typeof said === "string" ? said : said(answer));
    if (path === "webhook/delete") go("webhooks");
    else fresh();
  };
  const button = (action, name, open, tone = "") => may(action) && html`<button type="button" class=${tone} onClick=${open}>${name}</button>`;
  const enabled = webhook.status === "enabled";
  return html`<${Page} title=${nameOf(webhook)} about=${html`<a href=${to("webhooks")}>Webhooks</a>`} actions=${html`
      ${!enabled && button("webhook_update", "Enable", () => setDialog("enable"), "main")}
      ${button("webhook_test", "Test", send)}${button("webhook_update", "Edit", () => setDialog("edit"))}
      ${enabled && button("webhook_replay", "Replay", () => setDialog("replay"))}
      ${button("webhook_rotate_secret", "Rotate secret", () => setDialog("rotate"))}
      ${enabled && button("webhook_update", "Disable", () => setDialog("disable"))}${button("webhook_delete", "Delete", () => setDialog("delete"))}`}>
    <${State} webhook=${webhook} />
    <div role="status">${test && html`<p class=${test.tone}>${test.text}</p>`}</div>
    <${Facts} all=${[["URL", html`<${Text} value=${webhook.url} />`],
      ["Events", html`${webhook.types?.join(", ") || "all types"}${webhook.campaign_id && html`, of <a href=${to(`campaigns/${webhook.campaign_id}`)}>one campaign</a>`}`],
      ["Order", webhook.ordered ? "an event waits for the one before" : "as they come"],
      ["Next", webhook.delivered_sequence ? `what comes after event ${count(webhook.delivered_sequence)}` : "the first event"]]} />
    ${readable && html`<section aria-label="Deliveries"><h2>Deliveries</h2>
      <div class="filters"><${Pick} label="State" value=${state || ""} set=${(value) => refine({ state: value })} options=${[["", "all"], ...STATES]} /></div>
      <${Deliveries} pages=${pages} state=${state} enabled=${enabled} /></section>`}
    ${dialog === "edit" && html`<${Edit} key="edit" webhook=${webhook} onDone=${changed} />`}
    ${dialog === "enable" && html`<${Enable} key="enable" webhook=${webhook} onClose=${close} fresh=${fresh} />`}
    ${dialog === "replay" && html`<${Replay} key="replay" act=${act} onClose=${close} />`}
    ${dialog === "rotate" && html`<${Rotate} key="rotate" id=${id} onDone=${(made) => setDialog(made || null)} />`}
    ${dialog?.secret && html`<${Secret} key="secret" secret=${dialog.secret} until=${dialog.previous_secret_until} onClose=${close} />`}
    ${dialog === "disable" && html`<${Confirm} key="disable" title="Disable this webhook?" action="Disable" onClose=${close}
      run=${act("webhook/update", { status: "disabled" }, "Disabled.")}><p>Nothing is sent to it any more. What happens meanwhile is not lost: it can be sent once the webhook is enabled again.</p></${Confirm}>`}
    ${dialog === "delete" && html`<${Confirm} key="delete" title="Delete this webhook?" action="Delete" danger onClose=${close}
      run=${act("webhook/delete", {}, "Deleted.")}><p>Nothing is sent to it any more, and its deliveries are not shown any more.</p></${Confirm}>`}
  </${Page}>`;
}

function Deliveries({ pages, state, enabled }) {
  const next = (one) => one.next_attempt_at ? html`<${When} at=${one.next_attempt_at} />` : one.state === "pending" && !enabled ? "when it is enabled" : "";
  return html`<${Listed} pages=${pages} what="deliveries" empty=${state ? "No delivery is in this state." : "Nothing was sent yet."}><${Table} label="List of deliveries" kind="stacked deliveries" heads=${["Event", "Type", "State", "Next attempt", "Attempts"]}>${pages.items.map((one) => html`<tr key=${one.event_id}><th scope="row">${count(one.sequence)}</th>
      <td>${one.type}</td><td><${Status} value=${one.state} /></td><td>${next(one)}</td>
      <td>${one.attempts.length > 0 ? html`<details><summary>${many(one.attempts.length, "attempt")}<span class="quiet">${ended(one.attempts.at(-1))}</span></summary>
        <ol>${one.attempts.map((attempt) => html`<li><${When} at=${attempt.at} />: ${ended(attempt)}</li>`)}</ol></details>` : "none yet"}</td></tr>`)}</${Table}></${Listed}>`;
}

function Enable({ webhook, onClose, fresh }) {
  const [from, setFrom] = useState("");
  const [number, setNumber] = useState("");
  const [again, setAgain] = useState(webhook.disabled_reason === "failing");
  const after = webhook.delivered_sequence;
  const run = async () => {
    await steadily("webhook/update", { webhook_id: webhook.id, status: "enabled", after_sequence: from ? Number(number) : after }, { tries: 5 });
    if (again) {
      const { queued } = await steadily("webhook/replay", { webhook_id: webhook.id, failed: true }, { tries: 5 });
      say(`Enabled. ${many(queued, "event")} that had been given up ${queued === 1 ? "is" : "are"} sent again.`);
    } else {
      say("Enabled.");
    }
    fresh();
  };
  return html`<${Confirm} title="Enable this webhook?" action="Enable" run=${run} onClose=${onClose}><div class="stack">
    <${Pick} label="It gets events" value=${from} set=${setFrom} options=${[["", `from the event after the last delivered one (${count(after + 1)})`], ["after", "after another event"]]} />
    ${from && html`<${Field} label="After the event with the number" value=${number} set=${setNumber} required inputmode="numeric" pattern="[0-9]+" title="a number" />`}
    ${may("webhook_replay") && html`<${Check} label="Send again what was given up before" checked=${again} toggle=${() => setAgain(!again)} />`}</div></${Confirm}>`;
}

function Replay({ act, onClose }) {
  const [what, setWhat] = useState("failed");
  const [first, setFirst] = useState("");
  const [last, setLast] = useState("");
  const body = what === "failed" ? { failed: true } : { from_sequence: Number(first), to_sequence: Number(last) };
  const numeric = { required: true, inputmode: "numeric", pattern: "[0-9]+", title: "a number" };
  return html`<${Confirm} title="Send events again" action="Replay" onClose=${onClose} run=${act("webhook/replay", body, ({ queued }) => `${many(queued, "event")} queued.`)}><div class="stack">
    <p>Each event has the id that it had, so that a receiver recognises it.</p>
    <${Pick} label="Events" value=${what} set=${setWhat} options=${[["failed", "that were given up"], ["range", "of a range of numbers"]]} />
    ${what === "range" && html`<div class="row"><${Field} label="First event" value=${first} set=${setFirst} ...${numeric} /><${Field} label="Last event" value=${last} set=${setLast} ...${numeric} /></div>`}</div></${Confirm}>`;
}

function Rotate({ id, onDone }) {
  const [keep, setKeep] = useState("86400");
  const [done] = useState({});
  const run = async () => { done.made = await steadily("webhook/rotate-secret", { webhook_id: id, keep_previous_seconds: Number(keep) }, { tries: 5 }); };
  return html`<${Confirm} title="Rotate the secret?" action="Rotate secret" run=${run} onClose=${() => onDone(done.made)}>
    <p>The receiver gets a new secret. Until it has it, both sign.</p>
    <${Pick} label="The secret of now signs too" value=${keep} set=${setKeep} options=${[["3600", "for an hour"], ["86400", "for a day"], ["604800", "for a week"], ["0", "no longer: it has leaked"]]} /></${Confirm}>`;
}
