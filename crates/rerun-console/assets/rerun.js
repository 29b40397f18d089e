// A rerun: choose or import a group, see what it would do, start it.
import { useEffect, useRef, useState } from "./preact-hooks.js";
import { call, everything, importCsv, may, newKey, steadily } from "./api.js";
import { DropZone, Imported } from "./groups.js";
import {
  Bar, Empty, Failed, Field, Loading, Page, Pick, Status, Table, Text, count, customers, go, html, many, reason, refine, route, say,
  segmentName, to, useLoad,
} from "./ui.js";

const SHOWN = 200;
/** Where to look for messages to reuse. */
export const REUSE = [["current_run", "the current run"], ["any_run", "any published run"], ["any_approved", "anything approved"]];

export function Rerun({ id }) {
  const [campaign, error, again] = useLoad(() => call("campaign/get", { campaign_id: id }), [id]);
  const [groups, noGroups, listAgain] = useLoad(() => everything("customer-group/list", {}, "customer_groups", 5000), []);
  const { group, from } = route.value.query;
  const [plan, setPlan] = useState({});
  const [allow, setAllow] = useState(false);
  const [version, setVersion] = useState(0);
  const [busy, setBusy] = useState(false);
  const [failure, setFailure] = useState(null);
  const key = useRef(newKey());
  const body = { campaign_id: id, new_customer_group_id: group, reuse_from: from || "current_run", allow_missing_fields: allow };
  useEffect(() => {
    setFailure(null);
    key.current = newKey();
    if (!group) { setPlan({}); return undefined; }
    let live = true;
    setPlan({ loading: true });
    call("campaign/rerun/preview", { ...body, limit: SHOWN }).then((found) => live && setPlan({ found }), (refused) => live && setPlan({ error: refused }));
    return () => { live = false; };
  }, [group, from, allow, version]);
  const start = async (event) => {
    event.preventDefault();
    setBusy(true);
    setFailure(null);
    try {
      const started = await steadily("campaign/rerun/initiate", body, { key: key.current, tries: 8 });
      say(`Run ${started.run_number} has started: ${count(started.segments.matched)} reused, ${count(started.segments.new)} new.`);
      go(`campaigns/${id}`);
    } catch (refused) {
      setFailure(refused);
      setBusy(false);
    }
  };
  const declare = async (field, values) => {
    const rules = campaign.segment_by.map((one) => {
      const name = typeof one === "string" ? one : one.field;
      if (name !== field) return one;
      const rule = typeof one === "string" ? { field: one } : one;
      return { ...rule, values: { ...(rule.values || {}), ...values } };
    });
    try {
      const changed = await steadily("campaign/segmentation/update", { campaign_id: id, segment_by: rules, dry_run: false }, { tries: 3 });
      say(changed.conflicts?.length ? `Declared. In ${many(changed.conflicts.length, "segment")} approved texts differ now; nothing is reused there.` : "Declared. The preview is made again.");
      again();
      setVersion((n) => n + 1);
    } catch (refused) {
      say(reason(refused), true);
    }
  };
  if (error && !campaign) return html`<${Page} title="Rerun"><${Failed} error=${error} again=${again} /></${Page}>`;
  if (!campaign) return html`<${Page} title="Rerun"><${Loading} what="the campaign" /></${Page}>`;
  const { found } = plan;
  return html`<${Page} title="Rerun" about=${html`<a href=${to(`campaigns/${id}`)}><${Text} value=${campaign.name} /></a> <${Status} value=${campaign.status} />`}>
    ${campaign.status !== "Published" && html`<p class="failed">Only published campaigns can be rerun. This one is ${campaign.status}.</p>`}
    <form onSubmit=${start} class="stack">
      <div class="row"><${Pick} label="Customer group" value=${group || ""} set=${(value) => refine({ group: value })} options=${[["", groups ? "Choose a group" : "Loading…"], ...(groups || []).map((one) => [one.id, one.name])]} />
        <${Pick} label="Reuse from" value=${from || "current_run"} set=${(value) => refine({ from: value })} options=${REUSE} /></div>
      ${noGroups && html`<${Failed} error=${noGroups} again=${listAgain} />`}
      ${may("customer_group_create") && may("customer_group_import") && html`<details><summary>Import a new group</summary>
        <${NewGroup} done=${(made) => { listAgain(); refine({ group: made }); setVersion((n) => n + 1); }} /></details>`}
      ${plan.loading && html`<${Loading} what="the preview" />`}
      ${plan.error && html`<${Failed} error=${plan.error} again=${() => setVersion((n) => n + 1)} />`}
      ${plan.error?.code === "unknown_segment_field" && html`<p><button type="button" onClick=${() => setAllow(true)}>This is intended: go on without the field</button></p>`}
      ${found && html`<${Plan} found=${found} declare=${may("segmentation_update") ? declare : null} />`}
      ${failure && html`<${Failed} error=${failure} />`}
      <div class="buttons"><button type="submit" class="main" disabled=${!found || busy || campaign.status !== "Published" || !may("initiate")}>Start rerun</button></div>
    </form></${Page}>`;
}

function NewGroup({ done }) {
  const [name, setName] = useState("");
  const [share, setShare] = useState(null);
  const [error, setError] = useState(null);
  const [result, setResult] = useState(null);
  const take = async (file) => {
    setError(null);
    setShare(0);
    try {
      const group = await steadily("customer-group/create", { name: name.trim() || file.name.replace(/\.csv$/i, "") }, { tries: 5 });
      setResult(await importCsv(group.id, file, "merge", setShare));
      done(group.id);
    } catch (refused) {
      setError(refused);
    }
    setShare(null);
  };
  return html`<${Field} label="Name of the new group" value=${name} set=${setName} maxlength="200" placeholder="the file's name" />
    <${DropZone} take=${take} share=${share} />${error && html`<${Failed} error=${error} />`}${result && html`<${Imported} result=${result} />`}`;
}

function Plan({ found, declare }) {
  const { segments } = found;
  const unseen = (found.fields || []).filter((field) => field.unseen_values?.length || field.unparsed > 0 || field.customers_without_value > 0);
  const likes = (field) => Object.fromEntries(field.unseen_values.filter((one) => one.looks_like !== null && one.looks_like !== undefined).map((one) => [one.value, one.looks_like]));
  return html`<section aria-label="Preview"><h2>Preview</h2>
    <div class="numbers"><strong class="key reused">${count(segments.matched)} reused</strong><strong class="key made">${count(segments.new)} new</strong>
      <span>${customers(found.customer_count)}</span></div>
    <${Bar} reused=${segments.matched} made=${segments.new} total=${segments.total} />
    <p>Afterwards the campaign is <strong>${found.resulting_status}</strong>.
      ${found.needless > 0 && html` <strong>${count(found.needless)}</strong> of the new segments ${found.needless === 1 ? "is" : "are"} new only because values are spelled in another way.`}
      ${found.single_customer_segments > 0 && html` ${many(found.single_customer_segments, "segment")} ${found.single_customer_segments === 1 ? "has" : "have"} one customer only.`}</p>
    ${unseen.map((field) => html`<section class="field" aria-label=${`Field ${field.name}`}><h3><${Text} value=${field.name} /></h3>
      ${field.customers_without_value > 0 && html`<p class="quiet">${customers(field.customers_without_value)} without a value.</p>`}
      ${field.unparsed > 0 && html`<p class="quiet">${customers(field.unparsed)} with a value that cannot be read as its type.</p>`}
      ${field.unseen_values?.length > 0 && html`<${Table} heads=${["New value", "Customers", "Looks like", ""]}>${field.unseen_values.map((one) => html`<tr><th scope="row"><${Text} value=${one.value} /></th><td>${count(one.customers)}</td>
          <td>${one.looks_like ?? false ? html`<${Text} value=${one.looks_like} />` : html`<span class="quiet">nothing approved</span>`}</td>
          <td>${declare && (one.looks_like ?? false) && html`<button type="button" aria-label=${`Declare the same: ${one.value} and ${one.looks_like}`}
            onClick=${() => declare(field.name, { [one.value]: one.looks_like })}>Declare the same</button>`}</td></tr>`)}</${Table}>
        ${declare && Object.keys(likes(field)).length > 1 && html`<p><button type="button" onClick=${() => declare(field.name, likes(field))}>Declare all that look alike in ${field.name}</button></p>`}`}
    </section>`)}
    <h3>Segments</h3>${found.items.length ? html`<${Table} heads=${["Segment", "Customers", "Outcome"]}>${found.items.map((item) => html`<tr><th scope="row"><${Text} value=${segmentName(item.segment)} /></th><td>${count(item.segment.customer_count)}</td>
        <td>${item.outcome === "matched" ? html`<span class="key reused">reuses run ${item.reuses?.run_number}</span>` : html`<span class="key made">new</span>`}
          ${item.suggestion && html` <span class="quiet">near: ${item.suggestion.differs.map((one) => `${one.field} ${one.from ?? "no value"}`).join(", ")}</span>`}</td></tr>`)}</${Table}>
      ${found.next_cursor && html`<p class="quiet">The first ${count(found.items.length)} of ${count(segments.total)} segments.</p>`}` : html`<${Empty}>No segments.</${Empty}>`}
  </section>`;
}
