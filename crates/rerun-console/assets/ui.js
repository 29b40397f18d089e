// What all pages are made of, and where one is: the part of the address after #, which no server sees.
import { h, Fragment } from "./preact.js";
import { useEffect, useRef, useState } from "./preact-hooks.js";
import htm from "./htm.js";
import { ApiError, may, signal } from "./api.js";

export const html = htm.bind(h);
export { Fragment };

function read() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  return { path: path.split("/").filter(Boolean).map((part) => { try { return decodeURIComponent(part); } catch { return part; } }),
    query: Object.fromEntries(new URLSearchParams(query)) };
}

export const route = signal(read());
addEventListener("hashchange", () => { route.value = read(); });

export function to(path, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== "");
  const text = new URLSearchParams(given).toString();
  return `#/${path}${text ? `?${text}` : ""}`;
}

export function go(path, query) { location.hash = to(path, query); }

/** Changes the filters of this page without a new entry in the history of the browser. */
export function refine(query) {
  history.replaceState(null, "", to(route.value.path.join("/"), { ...route.value.query, ...query }));
  route.value = read();
}

/** What a screen reader is told, and everybody sees for a while. */
export const news = signal({ text: "", alert: false, undo: null });
let quiet;
export function say(text, alert = false, undo = null) {
  clearTimeout(quiet);
  news.value = { text, alert, undo };
  quiet = setTimeout(() => say(""), alert ? 15000 : 6000);
}

const number = new Intl.NumberFormat();
export const count = (n) => number.format(n ?? 0);
export const many = (n, one, more = `${one}s`) => `${count(n)} ${n === 1 ? one : more}`;
export const customers = (n) => many(n, "customer");
const moment = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
export const When = ({ at }) => at
  ? html`<time datetime=${at} title=${at}>${moment.format(new Date(at))}</time>` : null;
export const who = (name, id) => name || (id ? `user ${id.slice(-6)}` : "the system");

export function reason(error) {
  if (error instanceof ApiError) {
    if (error.status === 503) return "The server has no time for this now. Try again.";
    if (error.code === "unauthorized") return "Your role may not do this.";
    const fields = error.fields.length ? `: ${error.fields.join(", ")}` : "";
    return `${error.message}${fields}`;
  }
  if (error?.name === "TypeError") return "The server cannot be reached. Try again.";
  return String(error?.message || error);
}

const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/gu;
const LONG = 20000;

/** A text of somebody else's: isolated, with characters that hide or reorder shown by their code. */
export function Text({ value }) {
  const [whole, setWhole] = useState(false);
  const text = String(value ?? "");
  const shown = whole || text.length <= LONG ? text : text.slice(0, LONG);
  const parts = [];
  let from = 0;
  for (const match of shown.matchAll(HIDDEN)) {
    if (match[0] === "\u200d") continue;
    parts.push(shown.slice(from, match.index));
    const code = `U+${match[0].codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;
    parts.push(html`<span class="code">${code}</span>`);
    from = match.index + match[0].length;
  }
  parts.push(shown.slice(from));
  return html`<bdi>${parts}</bdi>${shown.length < text.length && html`
    <p><button type="button" onClick=${() => setWhole(true)}>Show all ${count(text.length)} characters</button></p>`}`;
}

/** A link to something of somebody else's name. */
export const Link = ({ path, query, name, ...rest }) => html`<a href=${to(path, query)} ...${rest}><${Text} value=${name} /></a>`;

export const Loading = ({ what = "" }) => html`<p class="quiet" role="status">Loading ${what}…</p>`;
export const Empty = ({ children }) => html`<p class="empty">${children}</p>`;
export const Failed = ({ error, again }) => html`<div class="failed" role="alert"><p>${reason(error)}</p>
  ${again && html`<button type="button" onClick=${again}>Try again</button>`}</div>`;

/** @type {import("./shapes").UseLoad} */
export const useLoad = (load, keys) => {
  const [state, setState] = useState({ value: null, error: null, loading: true });
  const [again, setAgain] = useState(0);
  useEffect(() => {
    let live = true;
    setState((was) => ({ ...was, error: null, loading: true }));
    load().then(
      (value) => live && setState({ value, error: null, loading: false }),
      (error) => live && setState((was) => ({ ...was, error, loading: false })),
    );
    return () => { live = false; };
  }, [...keys, again]);
  return [state.value, state.error, () => setAgain((n) => n + 1), state.loading];
};

/** Its `h1` gets the focus when the page opens. */
export function Page({ title, about, children, actions, wide }) {
  const heading = useRef();
  useEffect(() => { document.title = `${title} · Rerun console`; }, [title]);
  useEffect(() => { heading.current?.focus({ preventScroll: true }); window.scrollTo(0, 0); }, []);
  return html`<main id="content" class=${wide ? "wide" : ""}><header class="head">
    <div><h1 tabindex="-1" ref=${heading}><${Text} value=${title} /></h1>${about && html`<div class="about">${about}</div>`}</div>
    ${actions && html`<div class="actions">${actions}</div>`}</header>${children}</main>`;
}

export const Opening = ({ title, error, again, what = title.toLowerCase() }) => html`<${Page} title=${title}>
  ${error ? html`<${Failed} error=${error} again=${again} />` : html`<${Loading} what=${`the ${what}`} />`}</${Page}>`;

export const dialogOpen = () => !!document.querySelector("dialog[open]");

export function Dialog({ title, onClose, children }) {
  const dialog = useRef();
  useEffect(() => {
    const before = document.activeElement;
    const node = dialog.current;
    node.showModal();
    return () => {
      node.close();
      // What ran the action may have moved the focus already.
      if (document.activeElement !== document.body && !node.contains(document.activeElement)) return;
      const target = before && before !== document.body && before.isConnected ? before : document.querySelector("h1");
      target?.focus();
    };
  }, []);
  return html`<dialog ref=${dialog} aria-labelledby="dialog-title"
    onCancel=${(event) => { event.preventDefault(); onClose(); }}>
    <h2 id="dialog-title">${title}</h2>${children}</dialog>`;
}

export function Confirm({ title, action, run, onClose, children, danger, leave = "Cancel" }) {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState(null);
  const submit = async (event) => {
    event.preventDefault();
    setBusy(true);
    setError(null);
    try {
      await run();
      onClose();
    } catch (refused) {
      setError(refused);
      setBusy(false);
    }
  };
  return html`<${Dialog} title=${title} onClose=${onClose}><form onSubmit=${submit}>${children}
    ${error && html`<${Failed} error=${error} />`}
    <div class="buttons"><button type="submit" class=${danger ? "danger" : "main"} disabled=${busy}>${action}</button>
    <button type="button" onClick=${onClose}>${leave}</button></div></form></${Dialog}>`;
}

export const Field = ({ label, value, set, ...rest }) => html`<label><span>${label}</span><input type="text" value=${value}
  onInput=${(event) => set?.(event.currentTarget.value)} ...${rest} /></label>`;

export const Pick = ({ label, value, set, options }) => html`<label><span>${label}</span><select value=${value} onChange=${(event) => set(event.currentTarget.value)}>
  ${options.map((one) => typeof one === "string" ? [one, one] : one).map(([one, name]) => html`<option value=${one}>${name}</option>`)}</select></label>`;

export const Check = ({ label, checked, toggle }) => html`<label class="choice"><input type="checkbox" checked=${checked} onChange=${toggle} /> <span>${label}</span></label>`;

/** A table. With a label it can be scrolled by the keyboard: it needs one if nothing in it takes the focus. */
export const Table = ({ heads, label, kind = "", children }) => html`<div class="scroll" ...${label && { tabindex: 0, role: "region", "aria-label": label }}><table class="rows ${kind}">
  <thead><tr>${heads.map((one) => one ? html`<th scope="col">${one}</th>` : html`<td></td>`)}</tr></thead><tbody>${children}</tbody></table></div>`;

export const Facts = ({ all }) => html`<table class="fields"><tbody>${all.map(([name, value]) => value && html`<tr><th scope="row">${name}</th><td>${value}</td></tr>`)}</tbody></table>`;

const TONES = {
  Published: "good", Approved: "good", Completed: "good", "Ready to publish": "good",
  "Published now": "good", "Generation failed": "bad", Rejected: "bad", Failed: "bad", Cancelled: "dim", Draft: "dim",
  Enabled: "good", Failing: "bad", Disabled: "bad", delivered: "good", failed: "bad",
  Active: "good", Paused: "dim", Ended: "dim", started: "good", missed: "bad", refused: "bad",
};
export const Status = ({ value }) => html`<span class="status ${TONES[value] || "busy"}">${value}</span>`;

export const GroupName = ({ id, name }) => html`<${may("customer_group_get") ? Link : Text} path="groups" query=${{ group: id }} name=${name} value=${name} />`;

export const split = (reused, made) => `${count(reused)} reused, ${count(made)} new`;
export const Split = ({ reused, made }) => html`<span class="key reused">${count(reused)} reused</span> <span class="key made">${count(made)} new</span>`;

export function Bar({ reused, made, total }) {
  const part = (n) => `${total ? (100 * n) / total : 0}%`;
  return html`<div class="bar" aria-hidden="true"><span class="reused" style=${{ width: part(reused) }}></span>
    <span class="made" style=${{ width: part(made) }}></span></div>`;
}

export const fieldsOf = (campaign) => campaign.segment_by.map((one) => typeof one === "string" ? one : one.field);
export const segmentName = (segment) => Object.values(segment?.attributes || {})
  .map((value) => value ?? "no value").join(" · ") || "everybody";

export const More = ({ onMore, loading, shown }) => html`<p class="more">
  <button type="button" onClick=${onMore} disabled=${loading}>Show more</button> <span class="quiet">${count(shown)} shown</span></p>`;

/** @type {import("./shapes").UsePages} */
export const usePages = (load, keys) => {
  const [state, setState] = useState({ items: [], cursor: null, first: null, loading: true, error: null });
  const turn = useRef(0);
  const next = async (fresh) => {
    const mine = fresh ? (turn.current += 1) : turn.current;
    setState((was) => ({ ...was, loading: true, error: null }));
    try {
      const { items, page } = await load(fresh ? null : state.cursor);
      if (mine !== turn.current) return;
      setState((was) => ({
        items: fresh ? items : [...was.items, ...items], cursor: page.next_cursor,
        first: fresh ? page : was.first, loading: false, error: null,
      }));
    } catch (error) {
      if (mine === turn.current) setState((was) => ({ ...was, loading: false, error }));
    }
  };
  useEffect(() => { next(true); return () => { turn.current += 1; }; }, keys);
  return { ...state, more: () => next(false), reload: () => next(true) };
};

export const Listed = ({ pages, what, empty, children }) => html`${pages.error && html`<${Failed} error=${pages.error} again=${pages.reload} />`}
  ${pages.items.length > 0 ? children : pages.loading ? html`<${Loading} what=${what} />` : !pages.error && html`<${Empty}>${empty}</${Empty}>`}
  ${pages.cursor && html`<${More} onMore=${pages.more} loading=${pages.loading} shown=${pages.items.length} />`}`;

/** Does something again and again while `active`. A page that nobody sees does nothing. */
export function useEvery(milliseconds, active, work) {
  const latest = useRef(work);
  latest.current = work;
  useEffect(() => {
    if (!active) return undefined;
    const timer = setInterval(() => document.hidden || latest.current(), milliseconds);
    return () => clearInterval(timer);
  }, [!!active, milliseconds]);
}
