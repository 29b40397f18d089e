// Decisions that wait five seconds before they are sent, so that undo is real. What is sent is kept
// until the server has answered: with its idempotency key it can be sent again, and counts once.
import { ApiError, call, newKey, passes, session, signal, waiting } from "./api.js";

const HOLD_MS = 5000;
/** Decisions that follow each other within this time are sent as one call. */
const JOIN_MS = 2000;
const MOST = 5000;
/** The largest body that a browser still sends while its page goes away. */
const LEAVING_BYTES = 60000;

/** Batches that wait: what can be taken back. */
export const held = signal([]);
export const sent = signal([]);
/** Told of what became of items: `(kind, items, error, act)`. */
export const outcomes = new Set();

let timer;
let sending = false;
const owner = () => session.value ? `${session.value.account_id}/${session.value.user_id}` : "";
const store = () => `rerun.held.${owner()}`;

function keep() {
  if (!owner()) return;
  try {
    const all = [...sent.value, ...held.value];
    if (all.length) sessionStorage.setItem(store(), JSON.stringify(all));
    else sessionStorage.removeItem(store());
  } catch { /* no room, or switched off: then only this page knows */ }
}

function schedule() {
  clearTimeout(timer);
  const first = held.value[0];
  if (first) timer = setTimeout(ripe, Math.max(0, first.due - Date.now()));
}

function ripe() {
  const now = Date.now();
  release(held.value.filter((batch) => batch.due <= now));
  schedule();
}

function release(batches) {
  if (!batches.length) return;
  held.value = held.value.filter((batch) => !batches.includes(batch));
  sent.value = [...sent.value, ...batches];
  keep();
  work();
}

const same = (a, b) => a.kind === b.kind && a.campaign === b.campaign && a.reason === b.reason && a.stage === b.stage;

/** @param {import("./shapes").Act} act */
export function hold(act) {
  const now = Date.now();
  const step = { items: act.items };
  const last = held.value.at(-1);
  if (last && same(last, act) && act.kind !== "adopt" && now - last.opened < JOIN_MS && last.items.length + act.items.length <= MOST) {
    last.steps.push(step);
    last.items = [...last.items, ...act.items];
    last.due = now + HOLD_MS;
    held.value = [...held.value];
  } else {
    held.value = [...held.value, { ...act, steps: [step], opened: now, due: now + HOLD_MS, key: newKey() }];
  }
  keep();
  schedule();
}

export function undo() {
  const last = held.value.at(-1);
  if (!last) return null;
  const step = last.steps.pop();
  if (last.steps.length) {
    last.items = last.steps.flatMap((one) => one.items);
    held.value = [...held.value];
  } else {
    held.value = held.value.slice(0, -1);
  }
  keep();
  schedule();
  return step.items;
}

/** Takes back what is held for a message, before it is changed in another way. */
export function drop(id) {
  for (const batch of held.value) {
    for (const step of batch.steps) step.items = step.items.filter((item) => item.id !== id);
    batch.steps = batch.steps.filter((step) => step.items.length);
    batch.items = batch.steps.flatMap((step) => step.items);
  }
  held.value = held.value.filter((batch) => batch.items.length);
  keep();
  schedule();
}

export function flush() { release(held.value); }

/** @returns {[any, any]} the path and the body of a batch */
function request(batch) {
  const campaign_id = batch.campaign;
  const ids = batch.items.map((item) => item.id);
  if (batch.kind === "regenerate") return ["campaign/messages/regenerate", { campaign_id, message_ids: ids }];
  if (batch.kind === "adopt") {
    const [item] = batch.items;
    return ["campaign/messages/adopt", { campaign_id, message_id: item.id, content_id: item.content_id }];
  }
  const body = { campaign_id, decision: batch.kind };
  if (batch.items.every((item) => item.content_id)) {
    body.items = batch.items.map((item) => ({ message_id: item.id, content_id: item.content_id }));
  } else {
    body.message_ids = ids;
  }
  if (batch.reason) body.reason = batch.reason;
  return ["campaign/messages/review", body];
}

const tell = (batch, items, error, answer) => outcomes.forEach((told) => told(batch.kind, items, error, batch, answer));

async function work() {
  if (sending) return;
  sending = true;
  let attempt = 0;
  while (sent.value.length && session.value) {
    const [batch] = sent.value;
    let more = [];
    try {
      const [path, body] = request(batch);
      const answer = await call(path, body, { key: batch.key });
      tell(batch, batch.items, null, answer);
    } catch (error) {
      if (passes(error)) {
        waiting.value = true;
        const wait = Math.max(error.retryAfter || 0, Math.min(0.5 * 2 ** attempt, 8));
        attempt += 1;
        await new Promise((done) => setTimeout(done, wait * 1000));
        continue;
      }
      if (error instanceof ApiError && error.code === "auth_error") break;
      // One of them stops all: halves find it.
      if (batch.items.length > 1 && error instanceof ApiError && [403, 404, 409].includes(error.status)) {
        const middle = Math.ceil(batch.items.length / 2);
        more = [batch.items.slice(0, middle), batch.items.slice(middle)].map((items) => ({ ...batch, items, key: newKey() }));
      } else {
        tell(batch, batch.items, error);
      }
    }
    attempt = 0;
    waiting.value = false;
    sent.value = [...more, ...sent.value.slice(1)];
    keep();
  }
  sending = false;
}

let whose = "";
/** Goes on with what an earlier page of the same person left. What another person left waits for that person. */
export function resume() {
  if (!owner()) return;
  if (whose && whose !== owner()) {
    held.value = [];
    sent.value = [];
  }
  whose = owner();
  let left = [];
  try { left = JSON.parse(sessionStorage.getItem(store()) || "[]"); } catch { /* damaged */ }
  const known = new Set([...sent.value, ...held.value].map((batch) => batch.key));
  left = left.filter((batch) => batch && Array.isArray(batch.items) && batch.items.length && !known.has(batch.key));
  sent.value = [...sent.value, ...left];
  work();
}

/** The page goes away: what is held is sent while the browser still can. */
function leave() {
  release(held.value);
  let room = LEAVING_BYTES;
  for (const batch of sent.value) {
    const [path, body] = request(batch);
    const text = JSON.stringify(body);
    if (text.length > room) break;
    room -= text.length;
    fetch(`v1/${path}`, { method: "POST", keepalive: true, credentials: "same-origin", body: text,
      headers: { "content-type": "application/json", "idempotency-key": batch.key } }).catch(() => {});
  }
}
addEventListener("pagehide", leave);
document.addEventListener("visibilitychange", () => { if (document.visibilityState === "hidden") flush(); });
