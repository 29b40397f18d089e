// Schedules: when reruns start by themselves, and what became of it.
import { useEffect, useState } from "./preact-hooks.js";
import { call, everything, may, paged, steadily } from "./api.js";
import { REUSE } from "./rerun.js";
import {
  Confirm, Facts, Failed, Field, Listed, Loading, Page, Pick, Status, Table, Text, When, go, html, reason, refine, route, say, to, useLoad,
  usePages, who,
} from "./ui.js";

const OUTCOMES = {
  started: "started", skipped_unchanged: "skipped, nothing to do", skipped_overlap: "skipped, not published", waiting: "waits", missed: "missed", refused: "refused",
};
const WHEN = [["group_changed", "if the group changed"], ["new_segments", "if there are new segments"], ["always", "always"]];
const OVERLAP = [["skip", "let the time pass"], ["wait", "wait until it is published"], ["replace", "cancel the rerun that is not published"]];
const LATE = [["86400", "a day"], ["3600", "an hour"], ["604800", "a week"], ["0", "not at all"]];
const REPEAT = [["day", "every day"], ["week", "every week"], ["cron", "by a pattern"], ["once", "once"]];
const DAYS = ["MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"].map((name, n) => [name, new Intl.DateTimeFormat(undefined, { weekday: "long", timeZone: "UTC" }).format(new Date(Date.UTC(2024, 0, n + 1)))]);
const CHANGES = { skipped: "the clocks go forward: this is the first time after", repeated: "the clocks go back: this time comes twice, and counts once" };

/** A formatter for a time zone; for one that the browser does not know, in UTC. */
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

/** What a schedule is about to do, in words. */
const Next = ({ schedule: { at, next_times: [next], note, time_zone: zone, status, description } }) => html`<div class="line"><${Status} value=${statusOf(status)} />
  <span>${at ? html`Once, <${At} at=${at} zone=${zone} />` : html`<${Text} value=${description} />`}</span></div>
  ${!at && next && html`<div>next: <${At} at=${next} zone=${zone} /></div>`}${note && html`<div>Paused: <${Text} value=${note} /></div>`}`;

const named = (all) => all.map((one) => [one.id, one.name]);
const campaigns = async () => may("list") ? named(await everything("campaign/list", {}, "campaigns", 5000)) : [];
const groups = async () => may("customer_group_list") ? named(await everything("customer-group/list", {}, "customer_groups", 5000)) : [];

export function Schedules() {
  const pages = usePages(paged("schedule/list", {}, "schedules"), []);
  const [known] = useLoad(campaigns, []);
  return html`<${Page} title="Schedules" about="When reruns start by themselves. Nothing is ever published by a schedule."
    actions=${may("schedule_create") && html`<a class="button main" href=${to("schedules/new")}>New schedule</a>`}>
    <${Listed} pages=${pages} what="schedules" empty="There are no schedules yet."><ul class="cards">${pages.items.map((one) => html`<li class="card" key=${one.id}><div>
      <a class="title" href=${to(`schedules/${one.id}`)}><${Text} value=${one.name} /></a>
      <div class="quiet"><${Text} value=${title(known || [], one.campaign_id).replace(one.campaign_id, "")} /></div><${Next} schedule=${one} />
      ${one.last_firing && html`<div>last: <${Fired} firing=${one.last_firing} campaign=${one.campaign_id} /></div>`}</div></li>`)}</ul></${Listed}></${Page}>`;
}

/** The schedules of a campaign, on its page. */
export function Scheduled({ id }) {
  const [all] = useLoad(async () => may("schedule_list") ? everything("schedule/list", {}, "schedules") : [], [id]);
  const mine = (all || []).filter((one) => one.campaign_id === id);
  return mine.length > 0 && html`<section aria-label="Schedules"><h2>Schedules</h2><ul class="cards">${mine.map((one) => html`<li class="card"><div><a href=${to(`schedules/${one.id}`)}><${Text} value=${one.name} /></a>
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
  if (!schedule) return html`<${Page} title="Schedule">${error ? html`<${Failed} error=${error} again=${again} />` : html`<${Loading} what="the schedule" />`}</${Page}>`;
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
    <${Facts} all=${[["Campaign", html`<a href=${to(`campaigns/${campaign}`)}><${Text} value=${known?.get(campaign) || "the campaign"} /></a>`],
      ["Next times", schedule.next_times.length > 0 && html`<ul>${schedule.next_times.map((at) => html`<li><${At} at=${at} zone=${zone} /></li>`)}</ul>`],
      ["Pattern", schedule.cron && html`<code>${schedule.cron}</code> in ${zone}`],
      ["Customer group", schedule.customer_group_id ? html`<${Text} value=${known?.get(schedule.customer_group_id) || "a group of its own"} />` : "that of the current run"],
      ["Starts", title(WHEN, schedule.when)], ["Not published", title(OVERLAP, schedule.overlap)], ["Reuses", title(REUSE, schedule.reuse_from)],
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
  if (!found) return html`<${Page} title=${heading}>${error ? html`<${Failed} error=${error} again=${again} />` : html`<${Loading} />`}</${Page}>`;
  return html`<${Page} title=${heading} about=${html`<a href=${to(id ? `schedules/${id}` : "schedules")}>${id ? html`<${Text} value=${found.schedule.name} />` : "Schedules"}</a>`}><${Form} ...${found} /></${Page}>`;
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
      say("Saved.");
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
      ${repeat === "cron" && html`<${Field} label="Pattern" value=${draft.cron} set=${set("cron")} required maxlength="200" spellcheck=${false} />`}
      ${repeat === "once" ? html`<${Field} type="datetime-local" label="Time" value=${draft.at} set=${set("at")} required />`
        : repeat !== "cron" && html`<${Field} type="time" label="Time" value=${draft.time} set=${set("time")} required />`}
      ${pick("Time zone", "time_zone", zones.map((one) => [one, one]))}</div>
    ${cron && may("schedule_preview") && html`<${Preview} cron=${cron} zone=${zone} />`}
    <div class="filters"><${Pick} label="Customer group" value=${draft.customer_group_id} set=${set("customer_group_id")} options=${[...(schedule?.customer_group_id ? [] : [["", "that of the current run"]]), ...known]} />
      ${pick("Start", "when", WHEN)}${pick("If the campaign is not published", "overlap", OVERLAP)}${pick("Reuse from", "reuse_from", REUSE)}
      ${pick("Make up for a time that is late by", "catch_up_seconds", LATE)}<${Field} type="datetime-local" label="End" value=${draft.ends_at} set=${set("ends_at")} required=${!!schedule?.ends_at} /></div>
    ${error && html`<${Failed} error=${error} />`}
    <div class="buttons"><button type="submit" class="main" disabled=${busy}>${schedule ? "Save" : "Create"}</button></div></form>`;
}

/** The next times of a pattern, and those that a clock change moves. */
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
