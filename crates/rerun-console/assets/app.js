// The console: who is signed in, where one is, and what is announced.
import { render } from "./preact.js";
import { useEffect, useRef, useState } from "./preact-hooks.js";
import { may, provider, session, signIn, signOut, waiting, whenChanged, whoAmI } from "./api.js";
import { Campaign, Campaigns, Compare, Waiting } from "./campaigns.js";
import { Audit, Webhook, Webhooks } from "./events.js";
import { flush, held, outcomes, resume, sent } from "./hold.js";
import { EditSchedule, Groups, Rerun, Schedule, Schedules } from "./reruns.js";
import { Review, drafts } from "./review.js";
import { Empty, Failed, Loading, Page, Text, html, news, reason, route, say, to } from "./ui.js";

const PAGES = [["waiting", "Waiting", "list"], ["campaigns", "Campaigns", "list"], ["groups", "Groups", "customer_group_list"],
  ["schedules", "Schedules", "schedule_list"], ["webhooks", "Webhooks", "webhook_list"], ["audit", "Audit", "audit_list"]];

function SignIn({ refusal }) {
  const [token, setToken] = useState("");
  const [error, setError] = useState(refusal);
  const [busy, setBusy] = useState(false);
  const [elsewhere, setElsewhere] = useState("");
  const box = useRef();
  useEffect(() => { document.title = "Sign in · Rerun console"; provider().then(setElsewhere, () => {}); }, []);
  const submit = async (event) => {
    event.preventDefault();
    setBusy(true);
    setError(null);
    try {
      await signIn(token.trim());
    } catch (refused) {
      setBusy(false);
      setError(refused);
      box.current?.focus();
    }
  };
  const said = error && (error.code === "auth_error" ? "The token was refused: it is damaged, expired or of another server." : reason(error));
  return html`<main class="sign-in"><h1>Sign in</h1>
    ${elsewhere && html`<p><a class="button main" href="openid/start" onClick=${() => { sessionStorage.at = location.hash; }}>Sign in with ${elsewhere}</a></p>`}
    <form class="stack" onSubmit=${submit}><label><span>Token</span><input type="text" ref=${box} value=${token} autocomplete="off" autocapitalize="off" spellcheck=${false} required
      aria-invalid=${error ? "true" : null} onInput=${(event) => setToken(event.currentTarget.value)} /></label>
    ${said && html`<p class="failed" role="alert">${said}</p>`}
    <div class="buttons"><button type="submit" class="main" disabled=${busy}>Sign in</button></div></form>
    <p class="quiet">Paste the token that you were given. On the machine of the server, <code>rerun-http console</code> prints a link that signs you in.</p></main>`;
}

function Here() {
  const [first, id, third] = route.value.path;
  const views = !id ? { waiting: Waiting, campaigns: Campaigns, groups: Groups, schedules: Schedules, webhooks: Webhooks, audit: Audit }
    : first === "campaigns" ? { "": Campaign, review: Review, rerun: Rerun, compare: Compare } : first === "webhooks" ? { "": Webhook }
    : first === "schedules" ? { "": id === "new" ? EditSchedule : Schedule, edit: EditSchedule } : {};
  const name = id ? third || "" : first || "waiting";
  const View = Object.hasOwn(views, name) && views[name];
  if (View) return html`<${View} id=${id === "new" ? null : id} key=${location.hash.split("?")[0]} />`;
  return html`<${Page} title="Not found"><${Empty}>There is no such page. <a href=${to("waiting")}>What waits</a></${Empty}></${Page}>`;
}

function Announcements() {
  const { text, alert, undo } = news.value;
  return html`<div class="news"><div role="status" aria-live="polite">${!alert && text && html`<p>${text}</p>`}</div>
    <div role="alert">${alert && text && html`<p>${text}</p>`}</div>
    ${undo && held.value.length > 0 && html`<button type="button" onClick=${undo}>Undo</button>`}
    ${waiting.value && html`<p class="away" role="status">The server cannot be reached or has no time. What you decided is kept and sent again.</p>`}</div>`;
}

/** The page of the navigation that one came from: *Waiting* leads to campaigns, too. */
let section = "";

function Frame() {
  const [first = "waiting", id] = route.value.path;
  if (!(id && first === "campaigns" && section === "waiting")) section = first;
  const { user_name, user_id } = session.value;
  const leave = async () => {
    flush();
    try { await signOut(); drafts.clear(); } catch (error) { say(reason(error), true); }
  };
  return html`<header class="top"><a class="skip" href="#content" onClick=${(event) => { event.preventDefault(); document.querySelector("h1")?.focus(); }}>Skip to the content</a><nav aria-label="Main"><ul>${PAGES.filter(([, , action]) => may(action)).map(([path, name]) => html`<li><a href=${to(path)} aria-current=${section === path ? id ? "true" : "page" : null}>${name}</a></li>`)}</ul></nav>
      <div class="me"><span class="who"><${Text} value=${user_name || user_id} /></span><button type="button" onClick=${leave}>Sign out</button></div></header>
    <${Here} /><${Announcements} />`;
}

function App({ refusal }) {
  const [error, setError] = useState(null);
  const start = () => { setError(null); whoAmI().catch(setError); };
  useEffect(() => { if (session.value === undefined) start(); }, []);
  useEffect(() => { if (session.value) resume(); }, [session.value]);
  if (error) return html`<main class="sign-in"><h1>Rerun console</h1><${Failed} error=${error} again=${start} /></main>`;
  if (session.value === undefined) return html`<main class="sign-in"><h1>Rerun console</h1><${Loading} /></main>`;
  if (session.value === null) return html`<${SignIn} refusal=${refusal} />`;
  return html`<${Frame} />`;
}

// Review tells of its own messages; elsewhere a refusal must not be lost.
outcomes.add((kind, items, error, act) => {
  const { path } = route.value;
  if (error && !(path[1] === act.campaign && path[2] === "review")) say(`A decision was not taken: ${reason(error)}`, true);
});

addEventListener("beforeunload", (event) => {
  // What is on its way is kept and sent again when the page comes back; only a server that is away makes it wait.
  if (drafts.size || (waiting.value && sent.value.length)) event.preventDefault();
});

// A link that signs in, opened where the console is open already.
addEventListener("hashchange", () => { if (location.hash.startsWith("#token=")) location.reload(); });

async function start() {
  let refusal = null;
  // Back from the provider: on with the page where one was.
  if (!location.hash) location.hash = sessionStorage.at || "";
  delete sessionStorage.at;
  const link = location.hash.match(/^#token=([^&]+)$/);
  if (link) {
    // Neither the address line nor the history may keep it.
    history.replaceState(null, "", "#/waiting");
    dispatchEvent(new HashChangeEvent("hashchange"));
    try { await signIn(decodeURIComponent(link[1])); } catch (error) { session.value = null; refusal = error; }
  }
  draw(refusal);
}

/** Draws the page, and draws it again when a signal changes: once for all that change together. */
function draw(refusal) {
  let due = false;
  const soon = () => {
    if (due) return;
    due = true;
    queueMicrotask(() => { due = false; render(html`<${App} refusal=${refusal} />`, document.getElementById("app")); });
  };
  whenChanged(soon);
  soon();
}
start();
