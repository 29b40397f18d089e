// Reruns: the customer groups that they go to, starting one, and schedules that start them.
import { useEffect, useRef, useState } from "./preact-hooks.js";
import { call, everything, importCsv, may, newKey, paged, steadily } from "./api.js";
import {
  Bar, Confirm, Dialog, Empty, Facts, Failed, Field, GroupName, Link, Listed, Loading, Opening, Page, Pick, Split, Status, Table, Text, When, count, customers, fieldsOf,
  go, html, many, reason, refine, route, say, segmentName, split, to, useLoad, usePages, who,
} from "./ui.js";

const size = new Intl.NumberFormat(undefined, { notation: "compact", style: "unit", unit: "byte", unitDisplay: "narrow" });

function DropZone({ choose, take, file, share, columns, action = "Import" }) {
  const [over, setOver] = useState(false);
  const pick = (files) => { if (files?.[0]) choose(files[0]); };
  return html`<div class=${over ? "drop over" : "drop"} onDragOver=${(event) => { event.preventDefault(); setOver(true); }} onDragLeave=${() => setOver(false)}
    onDrop=${(event) => { event.preventDefault(); setOver(false); pick(event.dataTransfer.files); }}>
    ${share === null ? html`<label><span>CSV file</span><input type="file" accept=".csv,text/csv,text/plain" onChange=${(event) => pick(event.currentTarget.files)} /></label>
      <p class="quiet">or drop it here. ${columns}</p>
      ${file && html`<p><strong><${Text} value=${file.name} /></strong>, ${size.format(file.size).replace(/(\d)(?=[^\d.,\s])/, "$1 ")} <button type="button" class="main" onClick=${take}>${action}</button></p>`}` : html`<label><span>Importing</span><progress max="1" value=${share}></progress></label>
      <p class="quiet" role="status">${share < 1 ? `${Math.floor(share * 100)} % sent` : "Sent. The server imports it."}</p>`}</div>`;
}

const Imported = ({ result, again }) => html`<p role="status" class="done">${many(result.rows ?? result.imported, "row")} read: ${count(result.imported)} new, ${count(result.updated)} changed${
  result.removed ? `, ${count(result.removed)} removed` : ""}${result.duplicates ? `, ${count(result.duplicates)} given twice` : ""}. The group has ${customers(result.total)}.</p>
  <p><button type="button" onClick=${again}>Import another file</button></p>`;

export function Groups() {
  const { group: only } = route.value.query;
  const pages = usePages(only ? async () => ({ items: [await call("customer-group/get", { customer_group_id: only })], page: {} })
    : paged("customer-group/list", {}, "customer_groups"), [only]);
  const [dialog, setDialog] = useState(null);
  const close = () => { setDialog(null); pages.reload(); };
  return html`<${Page} title="Groups" about=${only && html`One group. <a href=${to("groups")}>Show all</a>`} actions=${may("customer_group_create") && html`<button type="button" class="main" onClick=${() => setDialog({})}>New group</button>`}>
    <${Listed} pages=${pages} what="groups" empty="There are no customer groups yet. Make one and import its customers."><ul class="cards">${pages.items.map((group) => html`<li class="card" key=${group.id}><div><h2><${Text} value=${group.name} /></h2>
      <div class="line"><span>${customers(group.customer_count)}</span><span class="quiet">changed <${When} at=${group.updated_at} /></span></div>
      ${group.fields?.length > 0 && html`<details><summary>${many(group.fields.length, "field")}</summary><ul class="tags">${group.fields.slice(0, 200).map((field) => html`<li><${Text} value=${field} /></li>`)}</ul></details>`}</div>
      ${may("customer_group_import") && html`<button type="button" aria-label=${`Import into ${group.name}`} onClick=${() => setDialog(group)}>Import</button>`}</li>`)}</ul></${Listed}>
    ${dialog && html`<${Import} group=${dialog} onClose=${close} />`}
  </${Page}>`;
}

/** Imports a file into a group, which is created for the file if it is new. */
function Importer({ group, name, mode = "merge", done, handle = { current: null }, picked, ...rest }) {
  const [file, setFile] = useState(null);
  const [share, setShare] = useState(null);
  const [error, setError] = useState(null);
  const [result, setResult] = useState(null);
  const made = useRef(group);
  const choose = (one) => { setFile(one); setError(null); picked?.(one); };
  const take = handle.current = async () => {
    if (share !== null) return;
    setError(null);
    setShare(0);
    try {
      made.current ||= (await steadily("customer-group/create", { name: name.trim() || file.name.replace(/\.csv$/i, "") }, { tries: 5 })).id;
      setResult(await importCsv(made.current, file, mode, setShare));
      setFile(null);
      done(made.current);
    } catch (refused) {
      setError(refused);
    }
    setShare(null);
  };
  return html`${result ? html`<${Imported} result=${result} again=${() => setResult(null)} />` : html`<${DropZone} choose=${choose} take=${take} file=${file} share=${share} ...${rest} />`}
    ${error && html`<${Failed} error=${error} />`}`;
}

function Import({ group, onClose }) {
  const [name, setName] = useState("");
  const [mode, setMode] = useState("merge");
  const [error, setError] = useState(null);
  const [done, setDone] = useState(false);
  const [file, setFile] = useState(null);
  const take = useRef();
  const create = async (event) => {
    event.preventDefault();
    if (group.id || done) return;
    if (file) { take.current(); return; }
    setError(null);
    try {
      await steadily("customer-group/create", { name: name.trim() }, { tries: 5 });
      say(`${name.trim()} is created.`);
      onClose();
    } catch (refused) {
      setError(refused);
    }
  };
  const has = group.fields?.length ? ` This group has ${group.fields.slice(0, 20).join(", ")}.` : "";
  return html`<${Dialog} title=${group.id ? `Import into ${group.name}` : "New group"} onClose=${onClose}><form class="stack" onSubmit=${create}>
    ${group.id ? html`<${Pick} label="Customers that are in the group and not in the file" value=${mode} set=${setMode} options=${[["merge", "stay"], ["replace", "are removed"]]} />`
      : !done && html`<${Field} label="Name" value=${name} set=${setName} maxlength="200" />`}
    <${Importer} group=${group.id} name=${name} mode=${mode} done=${() => setDone(true)} handle=${take} picked=${setFile} action=${group.id || done ? "Import" : "Create and import"} columns=${`One column is customer_ref; every other column is a field.${has}`} />
    ${error && html`<${Failed} error=${error} />`}
    <div class="buttons">${!group.id && !done && !file && html`<button type="submit" class="main" disabled=${!name.trim()}>Create without customers</button>`}
      <button type="button" onClick=${onClose}>${done ? "Close" : "Cancel"}</button></div></form></${Dialog}>`;
}

const SHOWN = 200;
const REUSE = [
  ["current_run", "the published run", "Only messages of the run that is published now."],
  ["any_run", "any published run", "Earlier runs too. For each segment the newest published message counts."],
  ["any_approved", "anything approved", "Published messages, and those of cancelled runs that every stage had approved. For each segment the newest counts."],
];

export function Rerun({ id }) {
  const [campaign, error, again] = useLoad(() => call("campaign/get", { campaign_id: id }), [id]);
  const [groups, noGroups, listAgain] = useLoad(() => everything("customer-group/list", {}, "customer_groups", 5000), []);
  const { group, from } = route.value.query;
  const [plan, setPlan] = useState({});
  const [allow, setAllow] = useState(false);
  const [version, setVersion] = useState(0);
  const [asked, setAsked] = useState(false);
  const [like, setLike] = useState(null);
  const key = useRef(newKey());
  const what = `${group} ${from} ${allow}`;
  const body = { campaign_id: id, new_customer_group_id: group, reuse_from: from || "current_run", allow_missing_fields: allow };
  useEffect(() => {
    key.current = newKey();
    if (!group) { setPlan({}); return undefined; }
    let live = true;
    // While it is made again for new rules, the preview stays, and with it the place on the page.
    setPlan((was) => ({ loading: true, what, found: was.what === what && was.found }));
    call("campaign/rerun/preview", { ...body, limit: SHOWN }).then((found) => live && setPlan({ found, what }), (refused) => live && setPlan({ error: refused }));
    return () => { live = false; };
  }, [group, from, allow, version]);
  const start = async () => {
    const started = await steadily("campaign/rerun/initiate", body, { key: key.current, tries: 8 });
    say(`Run ${started.run_number} has started: ${split(started.segments.matched, started.segments.new)}.`);
    go(`campaigns/${id}`);
  };
  /** Has values mean others from now on, or no longer: those with `undefined`. */
  const declare = async (field, values) => {
    const rules = campaign.segment_by.map((one) => {
      const rule = ruleOf(one);
      return rule.field === field ? { ...rule, values: { ...rule.values, ...values } } : one;
    });
    const said = Object.entries(values).map(([value, other]) => other === undefined ? `${value} is a value of its own again` : `${value} is treated as ${other} from now on`);
    const changed = await steadily("campaign/segmentation/update", { campaign_id: id, segment_by: rules, dry_run: false }, { tries: 3 });
    say(`${said.join(", ")}.${changed.conflicts?.length ? ` In ${many(changed.conflicts.length, "segment")} approved texts differ now; nothing is reused there.` : ""}`);
    again();
    setVersion((n) => n + 1);
  };
  const treat = may("segmentation_update") && campaign?.status === "Published" && ((field, values) => declare(field, values).catch((refused) => say(reason(refused), true)));
  if (!campaign) return html`<${Opening} title="Rerun" what="campaign" error=${error} again=${again} />`;
  const { found } = plan;
  return html`<${Page} title="Rerun" about=${html`<${Link} path=${`campaigns/${id}`} name=${campaign.name} /> <${Status} value=${campaign.status} />`}>
    ${campaign.status !== "Published" && html`<p class="failed">Only published campaigns can be rerun. This one is ${campaign.status}.</p>`}
    <form onSubmit=${(event) => { event.preventDefault(); setAsked(true); }} class="stack">
      <div class="row"><${Pick} label="Customer group" value=${group || ""} set=${(value) => refine({ group: value })} options=${[["", groups ? "Choose a group" : "Loading…"], ...(groups || []).map((one) => [one.id, one.name])]} />
        <${Pick} label="Reuse from" value=${from || "current_run"} set=${(value) => refine({ from: value })} options=${REUSE} /></div>
      <p class="quiet">${REUSE.find(([one]) => one === (from || "current_run"))?.[2]}</p>
      ${noGroups && html`<${Failed} error=${noGroups} again=${listAgain} />`}
      ${may("customer_group_create") && may("customer_group_import") && html`<details><summary>Import a new group</summary>
        <${NewGroup} fields=${fieldsOf(campaign)} done=${(made) => { listAgain(); refine({ group: made }); setVersion((n) => n + 1); }} /></details>`}
      ${plan.loading && html`<${Loading} what="the preview" />`}
      ${plan.error && html`<${Failed} error=${plan.error} again=${() => setVersion((n) => n + 1)} />`}
      ${plan.error?.code === "unknown_segment_field" && html`<p><button type="button" onClick=${() => setAllow(true)}>This is intended: go on without the field</button></p>`}
      <${Spellings} campaign=${campaign} treat=${treat} />
      ${found && html`<${Plan} found=${found} rules=${campaign.segment_by.map(ruleOf)} treat=${treat} ask=${setLike} />`}
      <div class="buttons sticky"><button type="submit" class="main" disabled=${plan.loading || !found || campaign.status !== "Published" || !may("initiate")}>Start rerun</button></div>
    </form>${like && html`<${Like} id=${id} ...${like} treat=${declare} onClose=${() => setLike(null)} />`}${asked && html`<${Start} id=${id} found=${found} run=${start} onClose=${() => setAsked(false)} />`}</${Page}>`;
}

const ruleOf = (one) => typeof one === "string" ? { field: one } : one;

/** The values that a campaign treats as others. */
export function Spellings({ campaign, treat }) {
  const all = campaign.segment_by.map(ruleOf).flatMap(({ field, values }) => Object.entries(values || {}).map((pair) => [field, ...pair]));
  return all.length > 0 && html`<details open=${all.length < 10}><summary>${many(all.length, "value")} treated as others</summary><ul>${all.map(([field, value, other]) => html`<li key=${field + value}><${Text} value=${field} />: <${Text} value=${value} /> as <${Text} value=${other} /> ${treat && html`<button type="button" class="small" aria-label=${`Undo: ${value} as ${other}`} onClick=${() => treat(field, { [value]: undefined })}>Undo</button>`}</li>`)}</ul></details>`;
}

/** Asks which approved value a new one means. Those of the first messages are offered. */
function Like({ id, field, value, treat, onClose }) {
  const [all, error] = useLoad(async () => {
    const { messages } = await call("campaign/rerun/messages", { campaign_id: id, limit: 1000 });
    return [...new Set(messages.map(({ segment }) => segment.attributes[field]).filter(Boolean))].sort();
  }, []);
  const [other, setOther] = useState("");
  return html`<${Confirm} title=${html`Treat <${Text} value=${value} /> as another value of ${field}?`} action="Treat as this" onClose=${onClose}
    run=${async () => { if (!other) throw new Error("Choose a value."); await treat(field, { [value]: other }); }}>
    ${all ? html`<${Pick} label="Approved value" value=${other} set=${setOther} options=${[["", "Choose a value"], ...all]} />` : error ? html`<${Failed} error=${error} />` : html`<${Loading} what="the values" />`}
    <p class="quiet">The campaign's rules change: so it is in each rerun from now on.</p></${Confirm}>`;
}

function Start({ id, found: { segments, customer_count: all, customer_group: group }, ...rest }) {
  const [now, error] = useLoad(() => call("campaign/rerun/messages", { campaign_id: id, limit: 1 }), []);
  return html`<${Confirm} title=${html`Start a rerun for <${Text} value=${group.name} />?`} action="Start rerun" ...${rest}>
    <p>${many(segments.total, "message")} for ${customers(all)}: ${split(segments.matched, segments.new)}.</p>
    ${now ? html`<p>Run ${now.run_number} with its ${many(now.counts.total, "message")} stays published until the new run is.</p>`
      : error ? html`<${Failed} error=${error} />` : html`<${Loading} what="the numbers" />`}</${Confirm}>`;
}

function NewGroup({ done, fields }) {
  const [name, setName] = useState("");
  return html`<${Field} label="Name of the new group" value=${name} set=${setName} maxlength="200" placeholder="the file's name" />
    <${Importer} name=${name} done=${done} columns=${`This campaign needs the columns ${["customer_ref", ...fields].join(", ")}.`} />`;
}

function Plan({ found, rules, treat, ask }) {
  const { segments } = found;
  const order = (item) => item.outcome === "matched" ? 0 : 1;
  const unseen = (found.fields || []).filter((field) => field.unseen_values?.length || field.unparsed > 0 || field.customers_without_value > 0);
  const spelled = ({ attributes }) => unseen.flatMap(({ name, unseen_values: all }) => all?.filter((one) => one.value === attributes[name] && (one.looks_like ?? false)) || [])[0];
  const likes = (field) => Object.fromEntries(field.unseen_values.filter((one) => one.looks_like !== null && one.looks_like !== undefined).map((one) => [one.value, one.looks_like]));
  return html`<section aria-label="Preview"><h2>Preview</h2>
    <div class="numbers"><strong><${Split} reused=${segments.matched} made=${segments.new} /></strong>
      <span>${customers(found.customer_count)}</span></div>
    <${Bar} reused=${segments.matched} made=${segments.new} total=${segments.total} />
    <p>Afterwards the campaign is <strong>${found.resulting_status}</strong>.
      ${found.needless > 0 && html` <strong>${count(found.needless)}</strong> of the new segments ${found.needless === 1 ? "is" : "are"} new only because values are spelled in another way.`}
      ${found.single_customer_segments > 0 && html` ${many(found.single_customer_segments, "segment")} ${found.single_customer_segments === 1 ? "has" : "have"} one customer only.`}</p>
    ${unseen.map((field) => html`<section class="field" aria-label=${`Field ${field.name}`}><h3><${Text} value=${field.name} /></h3>
      ${field.customers_without_value > 0 && html`<p class="quiet">${customers(field.customers_without_value)} without a value.</p>`}
      ${field.unparsed > 0 && html`<p class="quiet">${customers(field.unparsed)} whose <${Text} value=${field.name} /> is not ${rules.find((one) => one.field === field.name)?.type === "boolean" ? "yes or no" : "a number"}.</p>`}
      ${field.unseen_values?.length > 0 && html`<${Table} kind="stacked" heads=${["New value", "Customers", "Compared with approved values", ""]}>${field.unseen_values.map((one) => html`<tr><th scope="row"><${Text} value=${one.value} /></th><td>${customers(one.customers)}</td>
          <td>${one.looks_like ?? false ? html`looks like <${Text} value=${one.looks_like} />` : html`<span class="quiet">like none of them</span>`}</td>
          <td>${treat && (one.looks_like ?? false ? html`<button type="button" aria-label=${`Treat as ${one.looks_like}: ${one.value}`}
            onClick=${() => treat(field.name, { [one.value]: one.looks_like })}>Treat as <${Text} value=${one.looks_like} /></button>` : html`<button type="button" aria-label=${`Treat as…: ${one.value}`}
            onClick=${() => ask({ field: field.name, value: one.value })}>Treat as…</button>`)}</td></tr>`)}</${Table}>
        ${treat && Object.keys(likes(field)).length > 1 && html`<p><button type="button" onClick=${() => treat(field.name, likes(field))}>Treat all as what they look like in ${field.name}</button></p>`}`}
    </section>`)}
    <section><h3>Segments</h3><p class="quiet">${found.next_cursor ? `The first ${count(found.items.length)} of ${count(segments.total)} segments, of these reused ones first.` : "Reused ones first, then new ones, as in Review."}</p>${found.items.length ? html`<${Table} heads=${["Segment", "Customers", "Outcome"]}>${found.items.toSorted((a, b) => order(a) - order(b)).map((item) => html`<tr><th scope="row"><${Text} value=${segmentName(item.segment)} /></th><td>${count(item.segment.customer_count)}</td>
        <td>${item.outcome === "matched" ? html`<span class="key reused">reuses run ${item.reuses?.run_number}</span>` : html`<span class="key made">new</span>`}
          ${item.outcome !== "matched" && spelled(item.segment) ? html`<span class="quiet">, <${Text} value=${spelled(item.segment).value} /> looks like <${Text} value=${spelled(item.segment).looks_like} /></span>` : item.suggestion && html`<span class="quiet">, suggestion: the message for <${Text} value=${item.suggestion.differs.map((one) => `${one.field} ${one.from ?? "no value"}`).join(", ")} /></span>`}</td></tr>`)}</${Table}>
` : html`<${Empty}>No segments.</${Empty}>`}</section>
  </section>`;
}

const OUTCOMES = {
  started: "started", skipped_unchanged: "skipped, nothing to do", skipped_overlap: "skipped, not published", waiting: "waits", missed: "missed", refused: "refused",
};
const WHEN = [["group_changed", "the group changed"], ["new_segments", "there are new segments"], ["always", "always (no condition)"]];
const OVERLAP = [["skip", "skip this time"], ["wait", "wait until it is published"], ["replace", "cancel the unpublished rerun"]];
const LATE = [["86400", "start up to a day late"], ["3600", "start up to an hour late"], ["604800", "start up to a week late"], ["0", "skip that time"]];
const REPEAT = [["day", "every day"], ["week", "every week"], ["cron", "by a pattern"], ["once", "once"]];
const DAYS = ["MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"].map((name, n) => [name, new Intl.DateTimeFormat(undefined, { weekday: "long", timeZone: "UTC" }).format(new Date(Date.UTC(2024, 0, n + 1)))]);
const CHANGES = { skipped: "the clocks go forward: this is the first time after", repeated: "the clocks go back: this time comes twice, and counts once" };

function zoned(timeZone, options) {
  try { return new Intl.DateTimeFormat(undefined, { timeZone, ...options }); } catch { return new Intl.DateTimeFormat(undefined, { timeZone: "UTC", ...options }); }
}
const LOCAL = { weekday: "short", day: "numeric", month: "short", year: "numeric", hour: "numeric", minute: "2-digit", timeZoneName: "short" };
function offset(zone, at) {
  const name = zoned(zone, { timeZoneName: "longOffset" }).formatToParts(at).find((part) => part.type === "timeZoneName").value;
  const [, sign, hours, minutes] = name.match(/([+-])(\d+):(\d+)/) || [];
  return sign ? Number(`${sign}1`) * (Number(hours) * 60 + Number(minutes)) * 60000 : 0;
}
/** The instant of a local time, as a form has it. */
export function instant(local, zone) {
  const at = Date.parse(`${local}Z`);
  const near = at - offset(zone, at);
  return new Date(at - offset(zone, near)).toISOString();
}
const localOf = (at, zone) => at ? new Date(Date.parse(at) + offset(zone, Date.parse(at))).toISOString().slice(0, 16) : "";

const relative = new Intl.RelativeTimeFormat(undefined, { numeric: "auto" });
function inWords(at) {
  const minutes = (Date.parse(at) - Date.now()) / 60000;
  const unit = Math.abs(minutes) >= 1440 ? "day" : Math.abs(minutes) >= 60 ? "hour" : "minute";
  return relative.format(Math.round(minutes / { day: 1440, hour: 60, minute: 1 }[unit]), unit);
}
const At = ({ at, zone }) => html`<time datetime=${at}>${zoned(zone, LOCAL).format(new Date(at))}</time> <span class="quiet">${inWords(at)}</span>`;
const statusOf = (status) => status[0].toUpperCase() + status.slice(1);
const title = (pairs, value) => (pairs.find(([one]) => one === String(value)) || [, String(value)])[1];

const Fired = ({ firing, campaign }) => html`<${Status} value=${OUTCOMES[firing.outcome]} />
  ${firing.run_number && html` <a href=${to(`campaigns/${campaign}`)}>run ${firing.run_number}</a>`}${firing.reason && html` <span class="quiet"><${Text} value=${firing.reason.replaceAll("_", " ")} /></span>`}`;

const Next = ({ schedule: { at, next_times: [next], note, time_zone: zone, status, description } }) => html`<div class="line"><${Status} value=${statusOf(status)} />
  <span>${at ? html`Once, <${At} at=${at} zone=${zone} />` : html`<${Text} value=${description} />`}</span></div>
  ${!at && next && html`<div>next: <${At} at=${next} zone=${zone} /></div>`}${note && html`<div>Paused: <${Text} value=${note} /></div>`}`;

const named = (all) => all.map((one) => [one.id, one.name]);
export const campaigns = async () => may("list") ? named(await everything("campaign/list", {}, "campaigns", 5000)) : [];
export const groups = async () => may("customer_group_list") ? named(await everything("customer-group/list", {}, "customer_groups", 5000)) : [];

export function Schedules() {
  const pages = usePages(paged("schedule/list", {}, "schedules"), []);
  const [known] = useLoad(campaigns, []);
  return html`<${Page} title="Schedules" about="When reruns start by themselves. Nothing is ever published by a schedule."
    actions=${may("schedule_create") && html`<a class="button main" href=${to("schedules/new")}>New schedule</a>`}>
    <${Listed} pages=${pages} what="schedules" empty="There are no schedules yet."><ul class="cards">${pages.items.map((one) => html`<li class="card" key=${one.id}><div>
      <${Link} class="title" path=${`schedules/${one.id}`} name=${one.name} />
      <div class="quiet"><${Text} value=${title(known || [], one.campaign_id).replace(one.campaign_id, "")} /></div><${Next} schedule=${one} />
      ${one.last_firing && html`<div>last: <${Fired} firing=${one.last_firing} campaign=${one.campaign_id} /></div>`}</div></li>`)}</ul></${Listed}></${Page}>`;
}

export function Scheduled({ id }) {
  const [all] = useLoad(async () => may("schedule_list") ? everything("schedule/list", {}, "schedules") : [], [id]);
  const mine = (all || []).filter((one) => one.campaign_id === id);
  return mine.length > 0 && html`<section aria-label="Schedules"><h2>Schedules</h2><ul class="cards">${mine.map((one) => html`<li class="card"><div><${Link} path=${`schedules/${one.id}`} name=${one.name} />
    <${Next} schedule=${one} /></div></li>`)}</ul></section>`;
}

export function Schedule({ id }) {
  const [schedule, error, again] = useLoad(() => call("schedule/get", { schedule_id: id }), [id]);
  const [known] = useLoad(async () => new Map([...await campaigns(), ...await groups()]), []);
  const { outcome } = route.value.query;
  const readable = may("schedule_firings");
  const pages = usePages(async (cursor) => readable ? paged("schedule/firings", { schedule_id: id, ...(outcome && { outcome }) }, "firings")(cursor)
    : { items: [], page: {} }, [id, outcome]);
  const [dialog, setDialog] = useState("");
  const [note, setNote] = useState("");
  if (!schedule) return html`<${Opening} title="Schedule" error=${error} again=${again} />`;
  const { time_zone: zone, campaign_id: campaign, status } = schedule;
  const act = (path, body, said) => async () => {
    const answer = await steadily(path, { schedule_id: id, ...body }, { tries: 5 });
    say(said(answer));
    if (path === "schedule/delete") { go("schedules"); return; }
    again();
    pages.reload();
  };
  const resume = () => act("schedule/resume", {}, () => "Resumed.")().catch((refused) => say(reason(refused), true));
  const button = (name, open, tone = "") => may(`schedule_${name.toLowerCase()}`) && html`<button type="button" class=${tone} onClick=${open || (() => setDialog(name))}>${name}</button>`;
  const confirm = (name, heading, run, text, more) => dialog === name && html`<${Confirm} key=${name} title=${heading} action=${name} danger=${name === "Delete"} run=${run}
    onClose=${() => setDialog("")}><p>${text}</p>${more}</${Confirm}>`;
  return html`<${Page} title=${schedule.name} about=${html`<a href=${to("schedules")}>Schedules</a>`} actions=${html`
      ${status === "paused" && button("Resume", resume, "main")}${button("Trigger")}
      ${may("schedule_update") && html`<a class="button" href=${to(`schedules/${id}/edit`)}>Edit</a>`}
      ${status === "active" && button("Pause")}${button("Delete")}`}>
    <${Next} schedule=${schedule} />
    <${Facts} all=${[["Campaign", html`<${Link} path=${`campaigns/${campaign}`} name=${known?.get(campaign) || "the campaign"} />`],
      ["Next times", schedule.next_times.length > 0 && html`<ul>${schedule.next_times.map((at) => html`<li><${At} at=${at} zone=${zone} /></li>`)}</ul>`],
      ["Cron pattern", schedule.cron && html`<code>${schedule.cron}</code> in ${zone}`],
      ["Customer group", schedule.customer_group_id ? html`<${GroupName} id=${schedule.customer_group_id} name=${known?.get(schedule.customer_group_id) || "a group of its own"} />` : "that of the newest run"],
      ["Starts only if", title(WHEN, schedule.when)], ["If not published", title(OVERLAP, schedule.overlap)], ["Reuses", title(REUSE, schedule.reuse_from)],
      ["Ends", schedule.ends_at && html`<${At} at=${schedule.ends_at} zone=${zone} />`],
      ["Created", html`by <${Text} value=${who(schedule.created_by_name, schedule.created_by)} />, <${When} at=${schedule.created_at} />`]]} />
    ${readable && html`<section aria-label="Firings"><h2>What became of its times</h2>
      <div class="filters"><${Pick} label="Outcome" value=${outcome || ""} set=${(value) => refine({ outcome: value })} options=${[["", "all"], ...Object.entries(OUTCOMES)]} /></div>
      <${Listed} pages=${pages} what="firings" empty=${outcome ? "No time had this outcome." : "None of its times has come yet."}><${Table} label="List of firings" heads=${["Time", "Outcome"]}>${pages.items.map((one) => html`<tr key=${one.scheduled_for + one.triggered}><th scope="row">${zoned(zone, LOCAL).format(new Date(one.scheduled_for))}
          ${one.triggered && html` <span class="quiet">triggered</span>`}</th><td><${Fired} firing=${one} campaign=${campaign} /></td></tr>`)}</${Table}></${Listed}></section>`}
    ${confirm("Trigger", "Trigger this schedule now?", act("schedule/trigger", {}, (firing) => `The schedule fired: ${OUTCOMES[firing.outcome]}${firing.run_number ? `, run ${firing.run_number}` : ""}.`),
      "It decides as at one of its times. Its times stay as they are.")}
    ${confirm("Pause", "Pause this schedule?", act("schedule/pause", note.trim() ? { note: note.trim() } : {}, () => "Paused."), "Its times pass, and are not made up for.",
      html`<${Field} label="Note, if you like" value=${note} set=${setNote} maxlength="2000" />`)}
    ${confirm("Delete", "Delete this schedule?", act("schedule/delete", {}, () => "Deleted."), "The runs that it started stay.")}
  </${Page}>`;
}

export function EditSchedule({ id }) {
  const [found, error, again] = useLoad(async () => ({ schedule: id && await call("schedule/get", { schedule_id: id }), campaigns: await campaigns(), groups: await groups() }), [id]);
  const heading = id ? "Edit schedule" : "New schedule";
  if (!found) return html`<${Opening} title=${heading} what="form" error=${error} again=${again} />`;
  return html`<${Page} title=${heading} about=${html`<${Link} path=${id ? `schedules/${id}` : "schedules"} name=${id ? found.schedule.name : "Schedules"} />`}><${Form} ...${found} /></${Page}>`;
}

/** A pattern as the form's choices, if it is one of theirs. */
function choices(schedule) {
  const [, minute, hour, day] = schedule?.cron?.match(/^(\d\d?) (\d\d?) \* \* (\*|[A-Z]{3})$/) || [];
  return { repeat: schedule?.at ? "once" : schedule && !day ? "cron" : day === "*" ? "day" : "week",
    time: day ? `${hour.padStart(2, "0")}:${minute.padStart(2, "0")}` : "09:00", day: day?.length > 1 ? day : "MON" };
}

function Form({ schedule, campaigns: all, groups: known }) {
  const here = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const [first] = useState(() => {
    const { campaign = "" } = route.value.query;
    const given = schedule || { name: "", campaign_id: campaign, time_zone: here, when: "group_changed", overlap: "skip", reuse_from: "current_run", catch_up_seconds: 86400 };
    return { ...given, ...choices(schedule), customer_group_id: given.customer_group_id || "", cron: given.cron || "0 9 * * MON", catch_up_seconds: String(given.catch_up_seconds),
      at: localOf(given.at, given.time_zone), ends_at: localOf(given.ends_at, given.time_zone) };
  });
  const [draft, setDraft] = useState(first);
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);
  const set = (name) => (value) => setDraft((was) => ({ ...was, [name]: value }));
  const { repeat, time_zone: zone } = draft;
  const [hour, minute] = draft.time.split(":").map(Number);
  const at = `${minute || 0} ${hour || 0}`;
  const cron = repeat === "once" ? null : { day: `${at} * * *`, week: `${at} * * ${draft.day}`, cron: draft.cron.trim() }[repeat];
  const zones = [...new Set(["UTC", zone, here, ...Intl.supportedValuesOf("timeZone")])].sort();
  const submit = async (event) => {
    event.preventDefault();
    setBusy(true);
    setError(null);
    try {
      // What stays the same is not sent: times that are given again would count from now on.
      /** @type {any} */
      const body = {};
      for (const name of ["name", "time_zone", "customer_group_id", "when", "overlap", "reuse_from", "catch_up_seconds"]) {
        if (draft[name] && (!schedule || draft[name] !== first[name])) body[name] = name === "catch_up_seconds" ? Number(draft[name]) : draft[name];
      }
      if (cron) {
        if (cron !== schedule?.cron) body.cron = cron;
      } else if (!schedule?.at || draft.at !== first.at || zone !== first.time_zone) {
        body.at = instant(draft.at, zone);
      }
      if (draft.ends_at !== first.ends_at) body.ends_at = instant(draft.ends_at, zone);
      let made = schedule;
      if (!schedule) made = await steadily("schedule/create", { ...body, campaign_id: draft.campaign_id }, { tries: 5 });
      else if (Object.keys(body).length) await steadily("schedule/update", { ...body, schedule_id: schedule.id }, { tries: 5 });
      say(`${draft.name} is saved.`);
      go(`schedules/${made.id}`);
    } catch (refused) {
      setError(refused);
      setBusy(false);
    }
  };
  // What the API can have and the form does not offer is offered as it is.
  const pick = (label, name, options) => html`<${Pick} label=${label} value=${draft[name]} set=${set(name)} options=${options.some(([one]) => one === draft[name]) ? options : [[draft[name], draft[name]], ...options]} />`;
  return html`<form class="stack" onSubmit=${submit}>
    <${Field} label="Name" value=${draft.name} set=${set("name")} required maxlength="255" />
    ${!schedule && html`<${Pick} label="Campaign" value=${draft.campaign_id} set=${set("campaign_id")} options=${[["", "Choose a campaign"], ...all]} />`}
    <div class="filters">${pick("Repeat", "repeat", REPEAT)}
      ${repeat === "week" && pick("Day", "day", DAYS)}
      ${repeat === "cron" && html`<${Field} label="Cron pattern" value=${draft.cron} set=${set("cron")} required maxlength="200" spellcheck=${false} />`}
      ${repeat === "once" ? html`<${Field} type="datetime-local" label="Time" value=${draft.at} set=${set("at")} required />`
        : repeat !== "cron" && html`<${Field} type="time" label="Time" value=${draft.time} set=${set("time")} required />`}
      ${pick("Time zone", "time_zone", zones)}</div>
    ${repeat === "cron" && html`<p class="quiet">A cron pattern names minute, hour, day of the month, month and weekday.</p>`}
    ${cron && may("schedule_preview") && html`<${Preview} cron=${cron} zone=${zone} />`}
    <div class="filters wide"><${Pick} label="Customer group" value=${draft.customer_group_id} set=${set("customer_group_id")} options=${[...(schedule?.customer_group_id ? [] : [["", "that of the newest run"]]), ...known]} />
      ${pick("Start only if", "when", WHEN)}${pick("If the campaign is not published", "overlap", OVERLAP)}${pick("Reuse from", "reuse_from", REUSE)}
      ${pick("If the server was down at the time", "catch_up_seconds", LATE)}<${Field} type="datetime-local" label="End (optional)" value=${draft.ends_at} set=${set("ends_at")} required=${!!schedule?.ends_at} /></div>
    ${error && html`<${Failed} error=${error} />`}
    <div class="buttons"><button type="submit" class="main" disabled=${busy}>${schedule ? "Save" : "Create"}</button>
      <a class="button" href=${to(schedule ? `schedules/${schedule.id}` : "schedules")}>Cancel</a></div></form>`;
}

function Preview({ cron, zone }) {
  const [found, setFound] = useState({});
  useEffect(() => {
    let live = true;
    const timer = setTimeout(() => call("schedule/preview", { cron, time_zone: zone, limit: 100 })
      .then(({ times }) => live && setFound({ times }), (error) => live && setFound({ error })), 300);
    return () => { live = false; clearTimeout(timer); };
  }, [cron, zone]);
  const shown = (found.times || []).filter((one, n) => n < 5 || one.clock_change).slice(0, 8);
  return html`<section aria-label="Next times" role="status">${found.error && html`<p class="failed">${reason(found.error)}</p>`}
    ${shown.length > 0 && html`<h2>Next times</h2><ul>${shown.map((one) => html`<li>${zoned(zone, LOCAL).format(new Date(one.at))}${one.clock_change && html` <span class="quiet">${CHANGES[one.clock_change]}</span>`}</li>`)}</ul>`}</section>`;
}
