// Review: the list of messages beside the message, decided by single keys.
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "./preact-hooks.js";
import { call, everything, findMessage, may, newKey, session, steadily } from "./api.js";
import { Publish } from "./campaigns.js";
import { Difference } from "./diff.js";
import { drop, flush, held, hold, outcomes, sent, undo } from "./hold.js";
import {
  Confirm, Dialog, Empty, Failed, Field, Link, Loading, Opening, Page, Pick, Status, Text, When, count, customers, dialogOpen, html, many, news, reason, refine,
  route, say, segmentName, to, useEvery, useLoad, who,
} from "./ui.js";

const ROW = 58;
const SPARE = 6;
const LOOK_EVERY_MS = 2000;
const FIRST_PAGE = 100;
const NEXT_PAGE = 1000;
const STATUSES = ["Pending review", "Approved", "Rejected", "Generating", "Generation failed", "Published"];
const SOURCES = ["generated", "reused", "edited", "suggested"];
const KEYS = [
  ["j", "next message"], ["k", "previous message"], ["x", "select the message"], ["a", "approve and go on"],
  ["Shift+A", "approve all that the filter shows"], ["r", "reject with a reason"], ["e", "edit"],
  ["g", "regenerate"], ["s", "use the suggestion"], ["u", "undo what was not sent yet"],
  ["d", "show the difference"], ["/", "find"], ["?", "this list"],
  ["Ctrl+Enter", "save an edit, send a rejection"], ["Esc", "clear the selection; leave an edit, which is kept"], ["Enter, Esc", "leave Find"],
];
const DOING = { approve: "Approving", reject: "Rejecting", regenerate: "Regenerating", adopt: "Taking the suggestion" };

/** Edits that are not saved yet, by message: whoever goes elsewhere finds them again. */
export const drafts = new Map();

/** Says what came by itself: what can be taken back still can. */
const tell = (text) => say(text, false, news.value.undo);
const stageName = (stage) => typeof stage === "string" ? stage : stage.name;
const inTextBox = (node) => !!node?.closest?.("input:not([type=checkbox]):not([type=radio]):not([type=button]), textarea, select, [contenteditable]");

/** Whether this person may pass the stage that a message waits for; the server has the last word. */
function mayPass(campaign, message) {
  const { role_code, user_id } = session.value;
  const stage = campaign.approval_stages.find((one) => stageName(one) === message.approval_stage);
  const mine = (message.provenance?.approvals || []).some((one) => one.user_id === user_id);
  return (!stage?.roles?.length || stage.roles.includes(role_code)) && !(campaign.distinct_reviewers && mine);
}

class Messages {
  list = []; at = new Map(); counts = null; cursor = null; done = false; loading = null; error = null; run = null; regenerated = new Map();

  constructor(campaign, filter, changed) {
    this.campaign = campaign;
    this.filter = filter;
    this.changed = changed;
  }

  body() {
    const { run, status, stage, source, find } = this.filter;
    const body = { campaign_id: this.campaign };
    if (run) body.run_number = Number(run);
    if (status) body.review_status = status;
    if (stage) body.approval_stage = stage;
    if (source) body.source = source;
    if (find) body.segment = [...find].slice(0, 100).join("");
    return body;
  }

  more() {
    if (this.done || this.loading) return this.loading;
    const limit = this.list.length ? NEXT_PAGE : FIRST_PAGE;
    const cursor = this.cursor;
    this.error = null;
    this.loading = call("campaign/rerun/messages", { ...this.body(), limit, cursor }).then((page) => {
      this.run = page.run_number ?? this.run;
      this.counts = page.counts ?? this.counts;
      for (const message of page.messages) {
        if (this.at.has(message.id)) continue;
        this.at.set(message.id, this.list.length);
        this.list.push({ message, page: { cursor, limit } });
      }
      this.cursor = page.next_cursor;
      this.done = !page.next_cursor;
    }, (error) => { this.error = error; }).finally(() => { this.loading = null; this.changed(); });
    this.changed();
    return this.loading;
  }

  get(id) { return this.list[this.at.get(id)]?.message; }

  put(message) {
    const index = this.at.get(message.id);
    if (index !== undefined) this.list[index] = { ...this.list[index], message };
    this.changed();
  }

  async recount() {
    try {
      this.counts = (await call("campaign/rerun/messages", { ...this.body(), limit: 1 })).counts ?? this.counts;
      this.changed();
    } catch { /* the next decision counts again */ }
  }

  /** Reads one message again: first where it was, then wherever it is now. */
  async again(id) {
    const row = this.list[this.at.get(id)];
    if (!row) return null;
    const test = (message) => message.id === id;
    let found = null;
    try {
      const page = await call("campaign/rerun/messages", { ...this.body(), ...row.page });
      found = page.messages.find(test);
      this.counts = page.counts ?? this.counts;
    } catch { /* the page is gone: search */ }
    found = found || await findMessage(this.campaign, this.run ?? row.message.run_number, test, Object.values(row.message.segment.attributes));
    const before = this.regenerated.get(id);
    const ready = found?.review_status !== "Generating";
    if (ready) this.regenerated.delete(id);
    if (before && ready && found?.content) {
      const same = rewritten({ before, now: found }) ? "" : ", the same as before";
      tell(`New text${same}: ${segmentName(found.segment)}.`);
      found = { ...found, rejected_before: before.rejection_reason };
    }
    if (found) this.put(found);
    return found;
  }
}

function decided(kind, was, stages, why) {
  const at = new Date().toISOString();
  const message = { ...was, updated_at: at, approval_stage: null };
  if (kind === "regenerate") return { ...message, review_status: "Generating", reused_from: null };
  // A suggestion is for those who decide.
  if (kind === "reject") return { ...message, review_status: "Rejected", rejection_reason: why || null, suggestion: null };
  const names = stages.map(stageName);
  const next = names[names.indexOf(was.approval_stage) + 1];
  if (was.provenance) {
    const { user_id, user_name } = session.value;
    message.provenance = { ...was.provenance, approvals: [...was.provenance.approvals || [], { user_id, user_name, stage: was.approval_stage, approved_at: at }] };
  }
  return next ? { ...message, approval_stage: next } : { ...message, review_status: "Approved", suggestion: null };
}

export function Review({ id }) {
  const [campaign, error, again] = useLoad(() => call("campaign/get", { campaign_id: id }), [id]);
  if (!campaign) return html`<${Opening} title="Review" what="campaign" error=${error} again=${again} />`;
  if (!campaign.current_run_number) {
    return html`<${Page} title="Review" about=${html`<${Link} path=${`campaigns/${id}`} name=${campaign.name} />`}>
      <${Empty}>This campaign has no run yet. Launch it first.</${Empty}></${Page}>`;
  }
  return html`<${Reviewing} campaign=${campaign} again=${again} />`;
}

function Reviewing({ campaign, again }) {
  const [, redraw] = useState(0);
  const changed = useMemo(() => { let due = false; return () => { if (!due) { due = true; queueMicrotask(() => { due = false; redraw((n) => n + 1); }); } }; }, []);
  const { run, status, stage, source, find } = route.value.query;
  const filterKey = JSON.stringify([run, status, stage, source, find]);
  const [turn, setTurn] = useState(0);
  const last = useRef();
  const messages = useMemo(() => {
    const next = new Messages(campaign.id, { run, status, stage, source, find }, changed);
    const before = last.current;
    // They are the run's, whatever the filter.
    if (before && before.filter.run === run) next.counts = before.counts;
    return last.current = next;
  }, [filterKey, turn]);
  const [index, setIndex] = useState(0);
  const [chosen, setChosen] = useState(new Set());
  const [dialog, setDialog] = useState(null);
  const [editing, setEditing] = useState(false);
  const [compare, setCompare] = useState(false);
  const [asHtml, setAsHtml] = useState(false);
  const [conflicts, setConflicts] = useState({});
  const findBox = useRef();
  const list = useRef();
  const wanted = useRef(route.value.query.message);
  const past = !!run && Number(run) !== campaign.current_run_number;
  const stages = campaign.approval_stages;

  useEffect(() => {
    setIndex(0); setChosen(new Set()); setEditing(false);
    messages.more()?.then(async () => {
      const goal = wanted.current;
      wanted.current = null;
      while (goal && !messages.at.has(goal) && !messages.done && !messages.error) await messages.more();
      if (goal) show(messages.at.get(goal) ?? 0);
      // The first page is small, for speed; the list goes on at once.
      messages.more();
    });
  }, [messages]);

  const current = messages.list[Math.min(index, messages.list.length - 1)]?.message;
  const pending = new Map();
  for (const batch of [...sent.value, ...held.value]) for (const item of batch.items) pending.set(item.id, batch.kind);

  useEffect(() => {
    const told = async (kind, items, error, act, answer) => {
      if (act.campaign !== campaign.id) return;
      if (!error) {
        if (kind === "adopt" && answer?.id) {
          messages.put(answer);
          tell("The suggestion is the text now. It waits for a review.");
        } else for (const item of items) {
          const message = messages.get(item.id);
          if (message) messages.put(decided(kind, message, stages, act.reason));
          if (message && kind === "regenerate") messages.regenerated.set(item.id, message);
        }
        again();
        messages.recount();
        return;
      }
      if (![404, 409].includes(error.status)) { say(`Not done: ${reason(error)}`, true); return; }
      say(`Not done: a message changed since you read it. ${reason(error)}`, true);
      for (const item of items) {
        const before = messages.get(item.id);
        const now = await messages.again(item.id).catch(() => null);
        setConflicts((known) => ({ ...known, [item.id]: { before, now, why: reason(error) } }));
      }
    };
    outcomes.add(told);
    return () => outcomes.delete(told);
  }, [messages]);
  // What is generated comes without a word: look for it.
  const awaited = past ? null : current?.review_status === "Generating" ? current.id : [...messages.regenerated.keys()][0];
  useEvery(LOOK_EVERY_MS, awaited, () => messages.again(awaited).catch(() => {}));
  // Going elsewhere sends what is held.
  useEffect(() => () => {
    const waits = number(held);
    if (waits) say(`Sent: ${many(waits, "decision")}.`);
    flush();
  }, []);

  const { counts } = messages;
  const finished = !past && !!counts && !counts.pending && !counts.generating;
  // Somebody else may have decided the last one.
  useEffect(() => { if (finished) again(); }, [finished]);
  const busy = editing || dialog || held.value.length || sent.value.length || Object.keys(conflicts).length;
  useEffect(() => { if (finished && status === "Pending review" && messages.list.length && !busy) setTurn(turn + 1); });

  const show = (next) => {
    const most = messages.list.length - 1;
    const target = Math.max(0, Math.min(next, most));
    if (next >= most - 20) messages.more();
    setIndex(target);
    setEditing(false);
    list.current?.reveal(target);
  };
  const reviewable = (message) => message && !past && message.review_status === "Pending review" && !pending.has(message.id);
  const passable = (message) => reviewable(message) && mayPass(campaign, message);
  const rejectable = (message) => message && !past && ["Pending review", "Approved"].includes(message.review_status) && !pending.has(message.id);
  const remakable = (message) => message && !past && campaign.status !== "Published"
    && ["Pending review", "Approved", "Rejected", "Generation failed"].includes(message.review_status) && !pending.has(message.id);
  const suggestion = proposed(current);
  const takable = reviewable(current) && suggestion && !suggestion.mentions?.length;
  const targets = (fits) => (chosen.size ? [...chosen].map((one) => messages.get(one)) : [current]).filter(fits);
  const nothing = (what) => say(past ? "Messages of past runs cannot be changed." : `Nothing here can be ${what}.`);

  const saySoon = (what) => say(`${what} in 5 seconds.`, false, () => latest.current.takeBack());
  const act = (kind, fits, what, more = {}) => {
    const found = targets(fits);
    if (!found.length) { nothing(what); return; }
    hold({ kind, campaign: campaign.id, items: found.map((message) => ({ id: message.id, content_id: message.content_id })), ...more });
    setConflicts((known) => { const left = { ...known }; for (const one of found) delete left[one.id]; return left; });
    saySoon(`${DOING[kind]} ${many(found.length, "message")}`);
    setChosen(new Set());
    if (!chosen.size) show(index + 1);
  };
  const approve = () => may("messages_review") && act("approve", passable, "approved");
  const reject = () => may("messages_review") && (targets(rejectable).length ? setDialog("reject") : nothing("rejected"));
  const regenerate = () => may("messages_regenerate") && act("regenerate", remakable, "regenerated");
  // These are for one message: with a selection it would not be clear which.
  const single = () => { if (chosen.size) say("This is for one message. Esc clears the selection."); return !chosen.size; };
  const edit = () => { if (!may("messages_edit") || !single()) return; if (remakable(current)) setEditing(true); else nothing("edited"); };
  const adopt = () => {
    if (!single()) return;
    if (!takable || !may("messages_adopt")) { nothing("taken from a suggestion"); return; }
    hold({ kind: "adopt", campaign: campaign.id, items: [{ id: current.id, content_id: current.content_id }] });
    saySoon(DOING.adopt);
  };
  const takeBack = () => {
    const items = undo();
    if (!items) { say("There is nothing to undo: what was decided is sent."); return; }
    const first = messages.at.get(items[0].id);
    if (first !== undefined) { setIndex(first); list.current?.reveal(first); }
    say(`Taken back: ${many(items.length, "decision")}.`);
  };
  const select = () => {
    if (!current) return;
    const next = new Set(chosen);
    if (!next.delete(current.id)) next.add(current.id);
    setChosen(next);
  };

  const onKey = (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing || event.defaultPrevented) return;
    if (dialogOpen() || inTextBox(event.target)) return;
    const done = {
      j: () => show(index + 1), k: () => show(index - 1), x: select, a: approve, A: () => may("messages_review") && !past && setDialog("all"),
      r: reject, e: edit, g: regenerate, s: adopt, u: takeBack, d: () => setCompare(!compare),
      "/": () => findBox.current?.focus(), "?": () => setDialog("keys"), Escape: chosen.size && (() => setChosen(new Set())),
    }[event.key];
    if (!done) return;
    event.preventDefault();
    done();
  };
  const latest = useRef();
  latest.current = { onKey, takeBack };
  useEffect(() => {
    const listen = (event) => latest.current.onKey(event);
    document.addEventListener("keydown", listen);
    return () => document.removeEventListener("keydown", listen);
  }, []);

  // Its name for screen readers stays: the group says how many are selected.
  const decide = (name, fits, run, key, tone = "") => { const { length } = targets(fits); return html`<button type="button" class=${tone} disabled=${!length} onClick=${run}
    aria-keyshortcuts=${key}>${name}${chosen.size > 0 && html`<span aria-hidden="true"> ${count(length)} selected</span>`}</button>`; };
  const waits = number(held);
  const onWay = number(sent);
  const narrowed = find || source || stage || (status && status !== "Pending review");
  const about = html`<${Link} path=${`campaigns/${campaign.id}`} name=${campaign.name} />, run ${run || campaign.current_run_number}
    ${past && html` (past, for reading only)`}`;
  return html`<${Page} title=${past ? "Messages" : "Review"} about=${about} wide actions=${html`
      ${!past && html`<button type="button" onClick=${takeBack} disabled=${!waits} aria-keyshortcuts="u">Undo</button>`}
      <button type="button" onClick=${() => setDialog("keys")} aria-keyshortcuts="?">Keys</button>`}>
    <${Filters} campaign=${campaign} findBox=${findBox}>${may("messages_review") && !past && counts?.pending > 0 && messages.list.length > 0 && (!status || status === "Pending review")
      && html`<button type="button" onClick=${() => setDialog("all")} aria-keyshortcuts="Shift+A">Approve all ${find || source || stage ? "shown" : count(counts.pending)}…</button>`}</${Filters}>
    <p class="quiet tally">${chosen.size > 0 && html`<strong>${count(chosen.size)} selected</strong> <button type="button" class="small" onClick=${() => setChosen(new Set())} aria-keyshortcuts="Escape">Clear selection</button> `}
      ${[waits > 0 && `${count(waits)} not sent yet`, onWay > 0 && `${many(onWay, "decision")} on the way`,
        narrowed && `${count(messages.list.length)}${messages.done ? "" : "+"} shown`,
        counts && `${count(counts.pending)} of ${count(counts.total)} to review${narrowed ? " in all" : ""}`].filter(Boolean).join(" · ")}</p>
    ${finished && !waits && !onWay && html`<${Finished} campaign=${campaign} counts=${counts} publish=${() => setDialog("publish")} />`}
    <${Conflicts} all=${conflicts} dismiss=${() => setConflicts({})} look=${(one) => { const row = messages.at.get(one); if (row !== undefined) show(row); }} />
    ${messages.error && html`<${Failed} error=${messages.error} again=${() => messages.more()} />`}
    ${!messages.list.length && (messages.loading ? html`<${Loading} what="messages" />` : !messages.error && !(finished && status === "Pending review") && html`<${Empty}>No message fits this filter.</${Empty}>`)}
    ${messages.list.length > 0 && html`<div class="review">
      <${List} messages=${messages} index=${index} show=${show} chosen=${chosen} pending=${pending} handle=${list} staged=${stages.length > 1}
        toggle=${(one) => { const next = new Set(chosen); if (!next.delete(one)) next.add(one); setChosen(next); }} />
      <section class="message" aria-label="Message">${current && html`
        <${Detail} key=${current.id} message=${current} campaign=${campaign} compare=${compare} asHtml=${asHtml} setAsHtml=${setAsHtml} pendingKind=${pending.get(current.id)} conflict=${conflicts[current.id]}
          editing=${editing} onEdited=${(message) => { setEditing(false); if (message) messages.put(message); }} messages=${messages}
          buttons=${html`<div class="buttons decide" role="group" aria-label=${chosen.size ? `${count(chosen.size)} selected` : "This message"}>
            ${!past && html`${may("messages_review") && html`${decide("Approve", passable, approve, "a", "main")}${decide("Reject", rejectable, reject, "r")}`}
            ${may("messages_edit") && html`<button type="button" disabled=${chosen.size || !remakable(current)} onClick=${edit} aria-keyshortcuts="e">Edit</button>`}
            ${may("messages_regenerate") && decide("Regenerate", remakable, regenerate, "g")}`}
            ${suggestion && may("messages_adopt") && html`<button type="button" disabled=${chosen.size || !takable} onClick=${adopt} aria-keyshortcuts="s">Use suggestion</button>`}
            <button type="button" aria-pressed=${compare} onClick=${() => setCompare(!compare)} aria-keyshortcuts="d">Difference</button></div>`} />`}
      </section></div>`}
    ${dialog === "keys" && html`<${Dialog} title="Keys" onClose=${() => setDialog(null)}>
      <dl class="keys">${KEYS.map(([name, what]) => html`<div><dt><kbd>${name}</kbd></dt><dd>${what}</dd></div>`)}</dl>
      <div class="buttons"><button type="button" class="main" onClick=${() => setDialog(null)}>Close</button></div></${Dialog}>`}
    ${dialog === "reject" && html`<${Rejection} number=${targets(rejectable).length} onClose=${() => setDialog(null)}
      run=${(why) => act("reject", rejectable, "rejected", { reason: why })} />`}
    ${dialog === "publish" && html`<${Publish} campaign=${campaign} fresh=${() => { again(); setTurn(turn + 1); }} onClose=${() => setDialog(null)} />`}
    ${dialog === "all" && html`<${ApproveAll} messages=${messages} campaign=${campaign} pending=${pending} say=${saySoon} onClose=${() => setDialog(null)} />`}
  </${Page}>`;
}

const Finished = ({ campaign: { id, status }, counts: { rejected, failed }, publish }) => html`<div class="done buttons"><span>${{ Published: "This run is published.", "Ready to publish": "Every message is approved." }[status] || "No message waits for a review."}</span>
  ${[[rejected, "rejected", "Rejected", "an edit or a new generation"], [failed, "failed", "Generation failed", "a retry or an edit"]].map(([n, what, filter, needs]) => n > 0
    && html`<a href=${to(`campaigns/${id}/review`, { status: filter })}>${many(n, `${what} message`)} ${n === 1 ? "waits" : "wait"} for ${needs}</a>`)}
  ${status === "Ready to publish" && may("publish") && html`<button type="button" class="main" onClick=${publish}>Publish</button>`}
  <a href=${to("waiting")}>Back to Waiting</a></div>`;

/** The suggestion of a message, unless it is its text already. */
const proposed = (message) => message?.reused_from?.message_id !== message?.suggestion?.message_id ? message?.suggestion : null;
const number = ({ value }) => value.reduce((sum, batch) => sum + batch.items.length, 0);
const rewritten = ({ before, now }) => !!now?.content && (before?.content?.subject !== now.content.subject || before?.content?.body !== now.content.body);

/** Decisions that were not taken since somebody was faster. The place in the list stays. */
function Conflicts({ all, dismiss, look }) {
  const known = Object.entries(all);
  if (!known.length) return null;
  const other = known.filter(([, one]) => rewritten(one));
  const decided = known.length - other.length;
  return html`<section class="failed" aria-label="Changed meanwhile"><p>${many(known.length, "message")} changed since you read ${known.length === 1 ? "it" : "them"}. Your decision there was not taken.
      ${decided > 0 && html` ${count(decided)} had been decided by somebody else.`}</p>
    ${other.slice(0, 5).map(([id, { now }]) => html`<div key=${id}><p><strong><${Text} value=${segmentName(now.segment)} /></strong> now says: <strong><${Text} value=${now.content.subject} /></strong></p>
      <p class="text clipped"><${Text} value=${now.content.body.slice(0, 2000)} /></p><p><button type="button" onClick=${() => look(id)}>Look at ${segmentName(now.segment)}</button></p></div>`)}
    ${other.length > 5 && html`<p>${count(other.length - 5)} more have another text.</p>`}
    <p><button type="button" onClick=${dismiss}>Dismiss</button></p></section>`;
}

function Filters({ campaign, findBox, children }) {
  const { status, stage, source, find } = route.value.query;
  const [text, setText] = useState(find || "");
  useEffect(() => setText(find || ""), [find]);
  const timer = useRef();
  const search = (value, wait) => { clearTimeout(timer.current); timer.current = setTimeout(() => refine({ find: value, message: "" }), wait); };
  useEffect(() => () => clearTimeout(timer.current), []);
  // A select takes letters for itself: after a choice by the mouse they are for the list again.
  const byKey = useRef();
  const choice = (label, name, value, all, options) => html`<${Pick} label=${label} value=${value || ""} set=${(chosen) => refine({ [name]: chosen, message: "" })}
    options=${[["", all], ...options]} />`;
  return html`<form class="filters" role="search" onSubmit=${(event) => { event.preventDefault(); search(text, 0); findBox.current.blur(); }}
    onPointerDown=${() => { byKey.current = false; }} onKeyDown=${() => { byKey.current = true; }}
    onChange=${({ target }) => target.tagName === "SELECT" && !byKey.current && target.blur()}>
    <label><span>Find</span><input type="text" ref=${findBox} value=${text} maxlength="100" placeholder="in segments" aria-keyshortcuts="/"
      onInput=${(event) => { setText(event.currentTarget.value); search(event.currentTarget.value, 300); }}
      onKeyDown=${(event) => { if (event.key === "Escape") { event.preventDefault(); event.currentTarget.blur(); } }} /></label>
    ${choice("Status", "status", status, "all", STATUSES)}
    ${choice("Source", "source", source, "all", SOURCES)}
    ${campaign.approval_stages.length > 1 && choice("Stage", "stage", stage, "all", campaign.approval_stages.map(stageName))}${children}
  </form>`;
}

/** Shows the rows that are in view, and no others. */
function List({ messages, index, show, chosen, pending, toggle, handle, staged }) {
  const box = useRef();
  const [top, setTop] = useState(0);
  const [height, setHeight] = useState(600);
  useEffect(() => {
    const watch = new ResizeObserver(([entry]) => setHeight(entry.contentRect.height));
    watch.observe(box.current);
    return () => watch.disconnect();
  }, []);
  const moved = useRef(false);
  const button = () => box.current.querySelector("[aria-current=true] button");
  // Who left a filter goes on in the list that it made.
  useEffect(() => { if (document.activeElement === document.body) button()?.focus(); }, []);
  handle.current = {
    reveal(row) {
      const node = box.current;
      if (!node) return;
      if (row * ROW < node.scrollTop) node.scrollTop = row * ROW;
      else if ((row + 1) * ROW > node.scrollTop + node.clientHeight) node.scrollTop = (row + 1) * ROW - node.clientHeight;
      setTop(node.scrollTop);
      moved.current = true;
    },
  };
  // The focus goes with the current message, also after a dialog. Who is elsewhere on the page stays there.
  useLayoutEffect(() => {
    if (dialogOpen()) return;
    const here = document.activeElement;
    const free = moved.current && (here === document.body || here?.tagName === "H1" || here?.closest(".news"));
    if (here !== button() && (free || box.current.contains(here))) button()?.focus({ preventScroll: true });
    moved.current = false;
  });
  const all = messages.list.length;
  const first = Math.max(0, Math.floor(top / ROW) - SPARE);
  const last = Math.min(all, Math.ceil((top + height) / ROW) + SPARE);
  const rows = messages.list.slice(first, last);
  useEffect(() => { if (last > all - 50 && !messages.error) messages.more(); });
  const onScroll = (event) => setTop(event.currentTarget.scrollTop);
  return html`<div class="list" ref=${box} onScroll=${onScroll}>
    <ul aria-label="Messages" style=${{ paddingTop: `${first * ROW}px`, paddingBottom: `${(all - last) * ROW}px` }}>
      ${rows.map(({ message }, offset) => {
        const row = first + offset;
        const name = segmentName(message.segment);
        const kind = pending.get(message.id);
        return html`<li key=${message.id} aria-setsize=${messages.done ? all : -1} aria-posinset=${row + 1} class=${kind || ["Approved", "Rejected", "Published"].includes(message.review_status) ? "decided" : ""} aria-current=${row === index ? "true" : null}>
          <input type="checkbox" tabindex="-1" aria-label=${`Select ${name}`} checked=${chosen.has(message.id)} onChange=${() => toggle(message.id)} />
          <button type="button" tabindex=${row === index ? 0 : -1} onClick=${() => show(row)}>
            <span class="name"><${Text} value=${name} /></span>
            <span class="line">${kind ? html`<span class="status busy">${DOING[kind]}…</span>` : html`<${Status} value=${message.review_status} />`}
            ${message.approval_stage && staged && html`<span>${message.approval_stage}</span>`}
              <span class="name"><${Text} value=${message.content?.subject.slice(0, 200)} /></span></span></button></li>`;
      })}</ul></div>`;
}

const row = () => document.querySelector(".list [aria-current=true] button");

/** A body as HTML, in a sandbox with the policy of frame.html: it loads nothing. Frames and links would connect in advance, past any policy. */
function Rendered({ body }) {
  const frame = useRef();
  const show = () => {
    const inner = frame.current.contentDocument?.querySelector("iframe");
    if (inner) inner.srcdoc = `<style>a { color: #00e; text-decoration: underline }</style><body tabindex="0">${body.replace(/<i?frame|href/gi, "$&-")}`;
  };
  useEffect(show, [body]);
  // A click into the message would keep the keys in there. Who comes by Tab scrolls by keys.
  useEffect(() => {
    let byTab = false;
    const note = ({ type, key = "" }) => {
      if (type !== "blur") byTab = key === "Tab";
      else setTimeout(() => { if (!byTab && document.activeElement === frame.current) row()?.focus({ preventScroll: true }); });
    };
    const events = ["blur", "keydown", "pointermove"];
    events.forEach((one) => addEventListener(one, note));
    return () => events.forEach((one) => removeEventListener(one, note));
  }, []);
  return html`<iframe class="html" ref=${frame} src="frame.html" title="Message" onLoad=${show}></iframe>`;
}

function Detail({ message, campaign, compare, asHtml, setAsHtml, pendingKind, conflict, editing, onEdited, buttons, messages }) {
  const { content, segment } = message;
  const suggestion = proposed(message);
  const approvals = message.provenance?.approvals || [];
  const tagged = /<[a-z!/]/i.test(content?.body);
  return html`<article>
    <div class="facts"><${Status} value=${message.review_status} />${message.approval_stage && html`<span>Stage: ${message.approval_stage}</span>`}
      <span>Source: ${message.source}</span><span>${customers(segment.customer_count)}</span>
      ${pendingKind && html`<span class="status busy">${DOING[pendingKind]}, not sent yet</span>`}</div>
    ${conflict && html`<div class="failed"><p>This message changed since you read it: ${conflict.why}. Below is what it is now.</p></div>
      ${rewritten(conflict) && conflict.before?.content && html`<div class="compared"><h3>What changed</h3><p><${Difference} from=${conflict.before.content.subject} to=${conflict.now.content.subject} /></p>
        <div><${Difference} from=${conflict.before.content.body} to=${conflict.now.content.body} /></div></div>`}`}
    ${!editing && buttons}
    ${!editing && drafts.has(message.id) && html`<p class="failed">You have an edit here that is not saved. Edit goes on with it.</p>`}
    ${compare && html`<${Compared} message=${message} campaign=${campaign} suggestion=${suggestion} />`}
    ${editing ? html`<${Editor} message=${message} campaign=${campaign} onDone=${onEdited} messages=${messages} />` : html`
      <h2 class="subject">${content ? html`<${Text} value=${content.subject} />` : "No content yet"}</h2>
      ${tagged && html`<div class="buttons small" role="group" aria-label="Body as">${["Code", "HTML"].map((one, n) => html`<button type="button" aria-pressed=${asHtml === !!n}
        onClick=${() => setAsHtml(!!n)}>${one}</button>`)}</div>`}
      ${tagged && asHtml && html`<p class="quiet">Pictures from elsewhere are not loaded; links are off.</p>`}
      ${tagged && asHtml ? html`<${Rendered} body=${content.body} />` : content ? html`<div class="body text"><${Text} value=${content.body} /></div>` : message.review_status === "Generating"
        && html`<p class="quiet">The message is being generated.</p>`}`}
    ${message.error && html`<p class="failed">Generation failed: <${Text} value=${message.error} /></p>`}
    ${message.rejection_reason && html`<p class="failed">Rejected: <${Text} value=${message.rejection_reason} /></p>`}
    ${message.rejected_before && html`<p class="quiet">Rejected before: <${Text} value=${message.rejected_before} /></p>`}
    ${suggestion && html`<${Suggestion} suggestion=${suggestion} />`}
    <table class="fields"><caption>Segment</caption><tbody>${Object.entries(segment.attributes).map(([name, value]) => html`<tr>
      <th scope="row"><${Text} value=${name} /></th><td>${value === null ? html`<em>no value</em>` : html`<${Text} value=${value} />`}</td></tr>`)}</tbody></table>
    <ul class="past">${message.reused_from && html`<li>Reused from run ${message.reused_from.run_number}.</li>`}
      ${message.provenance && ![message.run_number, message.reused_from?.run_number].includes(message.provenance.run_number) && html`<li>Written in run ${message.provenance.run_number}.</li>`}
      ${approvals.map((one) => html`<li>Approved by <${Text} value=${who(one.user_name, one.user_id)} /> in the ${one.stage} stage${message.provenance.run_number !== message.run_number && ` in run ${message.provenance.run_number}`}, <${When} at=${one.approved_at} /></li>`)}
      <li>Last changed <${When} at=${message.updated_at} /></li></ul>
  </article>`;
}

function Suggestion({ suggestion }) {
  const { differs = [], evidence, mentions = [] } = suggestion;
  return html`<section class="suggestion" aria-label="Suggestion"><h3>Suggestion from run ${suggestion.run_number}</h3>
    ${mentions.length > 0 && html`<p class="failed">Cannot be used here: the text mentions ${mentions.map((one, n) => html`${n > 0 && ", "}<${Text} value=${one} />`)}.</p>`}
    <ul>${differs.map((one) => html`<li><${Text} value=${one.field} /> was <${Text} value=${one.from ?? "no value"} />, here it is <${Text} value=${one.to ?? "no value"} /></li>`)}</ul>
    ${evidence && evidence.pairs > 0 && !mentions.length && html`<p>In ${count(evidence.same)} of ${count(evidence.pairs)} approved pairs that differ only in ${
      differs.length > 1 ? "one of these" : html`<${Text} value=${differs[0]?.field} />`}, the text is otherwise the same.</p>`}</section>`;
}

function Compared({ message, campaign, suggestion }) {
  const [found, error, , loading] = useLoad(async () => {
    if (suggestion) {
      const values = { ...message.segment.attributes };
      for (const one of suggestion.differs || []) values[one.field] = one.from;
      const other = await findMessage(campaign.id, suggestion.run_number, (one) => one.id === suggestion.message_id, Object.values(values));
      return other && { title: `Difference from the suggestion (run ${suggestion.run_number})`, other };
    }
    for (let run = message.run_number - 1; run > 0 && run > message.run_number - 4; run -= 1) {
      const other = await findMessage(campaign.id, run, (one) => one.segment.key === message.segment.key && one.content, Object.values(message.segment.attributes))
        .catch(() => null);
      if (other) return { title: `Difference from run ${run}`, other };
    }
    return null;
  }, [message.id, message.content_id, suggestion?.message_id]);
  if (loading) return html`<${Loading} what="the other text" />`;
  if (error) return html`<${Failed} error=${error} />`;
  if (!found?.other?.content || !message.content) return html`<p class="quiet">There is no earlier text of this segment to compare with.</p>`;
  return html`<section class="compared" aria-label="Difference"><h3>${found.title}</h3>
    ${rewritten({ before: found.other, now: message }) ? html`<p><${Difference} from=${found.other.content.subject} to=${message.content.subject} /></p>
    <div><${Difference} from=${found.other.content.body} to=${message.content.body} /></div>` : html`<p>No difference.</p>`}</section>`;
}

function Editor({ message, campaign, onDone, messages }) {
  const { id, content, content_id } = message;
  const first = { subject: content?.subject || "", body: content?.body || "", based: content_id };
  const [draft, setDraft] = useState(drafts.get(id) || first);
  const { subject, body, based } = draft;
  const set = (name) => (value) => {
    const next = { ...(drafts.get(id) || draft), [name]: value };
    if (next.subject === first.subject && next.body === first.body) drafts.delete(id);
    else drafts.set(id, next);
    setDraft(next);
  };
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState(null);
  const [now, setNow] = useState(null);
  const box = useRef();
  const key = useRef(newKey());
  useEffect(() => { box.current?.focus(); }, []);
  const leave = (saved) => { onDone(saved); setTimeout(() => row()?.focus()); };
  const save = async (event) => {
    event?.preventDefault();
    if (busy) return;
    setBusy(true);
    setError(null);
    drop(id);
    try {
      const edited = { campaign_id: campaign.id, message_id: id, content: { subject, body } };
      if (based) edited.content_id = based;
      const saved = await steadily("campaign/messages/edit", edited, { key: key.current });
      say("The edit is saved. The message waits for a review.");
      drafts.delete(id);
      leave(saved);
      messages.recount();
    } catch (refused) {
      key.current = newKey();
      setBusy(false);
      setError(refused);
      if (refused.status === 409) {
        const found = await messages.again(id).catch(() => null);
        setNow(found);
        if (found) set("based")(found.content_id);
        say("Not saved: the message changed since you read it. The new text is shown.", true);
      }
    }
  };
  const keys = (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) save(event);
    if (event.key === "Escape") { event.preventDefault(); leave(); }
  };
  return html`<form class="editor" onSubmit=${save} onKeyDown=${keys}>
    <${Field} label="Subject" ref=${box} value=${subject} set=${set("subject")} />
    <label><span>Body</span><textarea rows="8" value=${body} onInput=${(event) => set("body")(event.currentTarget.value)}></textarea></label>
    ${error && html`<${Failed} error=${error} />`}
    ${now?.content && html`<div class="failed"><p>The message changed. It now says:</p><p><strong><${Text} value=${now.content.subject} /></strong></p>
      <div class="text"><${Text} value=${now.content.body} /></div><p>Saving again replaces it.</p></div>`}
    <div class="buttons"><button type="submit" class="main" disabled=${busy} aria-keyshortcuts="Control+Enter">Save</button>
    <button type="button" onClick=${() => { drafts.delete(id); leave(); }}>Discard</button>
    <span class="quiet"><kbd>Ctrl+Enter</kbd> saves, <kbd>Esc</kbd> leaves and keeps the text for later.</span></div></form>`;
}

function Rejection({ number, run, onClose }) {
  const [why, setWhy] = useState("");
  const [empty, setEmpty] = useState(false);
  const box = useRef();
  useEffect(() => { box.current?.focus(); }, []);
  const submit = (event) => {
    event.preventDefault();
    if (!why.trim()) { box.current?.focus(); setEmpty(true); return; }
    onClose();
    run(why.trim());
  };
  return html`<${Dialog} title=${`Reject ${many(number, "message")}`} onClose=${onClose}><form noValidate onSubmit=${submit}>
    <label><span>Reason</span><textarea rows="3" ref=${box} value=${why} required maxlength="2000" onInput=${(event) => setWhy(event.currentTarget.value)}
      aria-keyshortcuts="Control+Enter" onKeyDown=${(event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) submit(event); }}></textarea></label>
    ${empty && !why.trim() && html`<p class="failed" role="alert">Say why, so that the next text is better.</p>`}
    <p class="quiet"><kbd>Ctrl+Enter</kbd> rejects, <kbd>Esc</kbd> cancels.</p>
    <div class="buttons"><button type="submit" class="danger">Reject</button><button type="button" onClick=${onClose}>Cancel</button></div></form></${Dialog}>`;
}

/** Approves the texts that the filter shows now: the ids name them, so that nobody approves what was not listed. */
function ApproveAll({ messages, campaign, pending, say, onClose }) {
  const [all, error] = useLoad(async () => {
    const waiting = (await everything("campaign/rerun/messages", messages.body(), "messages", 1_000_000))
      .filter((message) => message.review_status === "Pending review" && mayPass(campaign, message) && !pending.has(message.id));
    const isNewer = ({ id, content_id }) => messages.get(id) && messages.get(id).content_id !== content_id;
    const changed = waiting.filter(isNewer);
    const found = waiting.filter((message) => !isNewer(message));
    changed.forEach((message) => messages.put(message));
    return { found, changed: changed.length };
  }, []);
  const found = all?.found;
  const changed = all?.changed > 0 && html`<p>${many(all.changed, "message")} left out: the text is newer than what you read. The list shows it now.</p>`;
  const by = (source) => found.filter((message) => message.source === source).length;
  const run = async () => {
    for (let from = 0; from < found.length; from += 5000) {
      const items = found.slice(from, from + 5000).map((message) => ({ id: message.id, content_id: message.content_id }));
      hold({ kind: "approve", campaign: campaign.id, items });
    }
    say(`${DOING.approve} ${many(found.length, "message")}`);
  };
  if (!found?.length) {
    return html`<${Dialog} title="Approve all" onClose=${onClose}>${error ? html`<${Failed} error=${error} />` : found ? changed || html`<p>No message of this filter waits for your review.</p>`
      : html`<${Loading} what="the messages" />`}<div class="buttons"><button type="button" onClick=${onClose}>Close</button></div></${Dialog}>`;
  }
  return html`<${Confirm} title=${`Approve ${many(found.length, "message")}?`} action="Approve all" run=${run} onClose=${onClose}>
    <p>All messages of this filter that wait for a review, for ${customers(found.reduce((sum, one) => sum + one.segment.customer_count, 0))}:</p>
    <ul>${SOURCES.filter((source) => by(source)).map((source) => html`<li>${count(by(source))} ${source}</li>`)}</ul>${changed}</${Confirm}>`;
}
