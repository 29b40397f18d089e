// Customer groups: what is in them, and imports.
import { useRef, useState } from "./preact-hooks.js";
import { importCsv, may, paged, steadily } from "./api.js";
import { Dialog, Failed, Field, Listed, Page, Pick, Text, When, count, customers, html, many, say, usePages } from "./ui.js";

/** Takes a file by drop or by choice. */
export function DropZone({ take, share }) {
  const [over, setOver] = useState(false);
  const pick = (files) => { if (files?.[0]) take(files[0]); };
  return html`<div class=${over ? "drop over" : "drop"} onDragOver=${(event) => { event.preventDefault(); setOver(true); }} onDragLeave=${() => setOver(false)}
    onDrop=${(event) => { event.preventDefault(); setOver(false); pick(event.dataTransfer.files); }}>
    ${share === null || share === undefined ? html`<label><span>CSV file</span><input type="file" accept=".csv,text/csv,text/plain" onChange=${(event) => pick(event.currentTarget.files)} /></label>
      <p class="quiet">or drop it here. One column is customer_ref; every other column is a field.</p>` : html`<label><span>Importing</span><progress max="1" value=${share}></progress></label>
      <p class="quiet" role="status">${share < 1 ? `${Math.floor(share * 100)} % sent` : "Sent. The server imports it."}</p>`}</div>`;
}

export const Imported = ({ result }) => html`<p role="status" class="done">${many(result.rows ?? result.imported, "row")} read: ${count(result.imported)} new, ${count(result.updated)} changed${
  result.removed ? `, ${count(result.removed)} removed` : ""}${result.duplicates ? `, ${count(result.duplicates)} given twice` : ""}. The group has ${customers(result.total)}.</p>`;

export function Groups() {
  const pages = usePages(paged("customer-group/list", {}, "customer_groups"), []);
  const [dialog, setDialog] = useState(null);
  const close = () => { setDialog(null); pages.reload(); };
  return html`<${Page} title="Groups" actions=${may("customer_group_create") && html`<button type="button" class="main" onClick=${() => setDialog({})}>New group</button>`}>
    <${Listed} pages=${pages} what="groups" empty="There are no customer groups yet. Make one and import its customers."><ul class="cards">${pages.items.map((group) => html`<li class="card" key=${group.id}><div><h2><${Text} value=${group.name} /></h2>
      <div class="line"><span>${customers(group.customer_count)}</span><span class="quiet">changed <${When} at=${group.updated_at} /></span></div>
      ${group.fields?.length > 0 && html`<details><summary>${many(group.fields.length, "field")}</summary><ul class="tags">${group.fields.slice(0, 200).map((field) => html`<li><${Text} value=${field} /></li>`)}</ul></details>`}</div>
      ${may("customer_group_import") && html`<button type="button" aria-label=${`Import into ${group.name}`} onClick=${() => setDialog(group)}>Import</button>`}</li>`)}</ul></${Listed}>
    ${dialog && html`<${Import} group=${dialog} onClose=${close} />`}
  </${Page}>`;
}

function Import({ group, onClose }) {
  const [name, setName] = useState("");
  const [mode, setMode] = useState("merge");
  const [share, setShare] = useState(null);
  const [error, setError] = useState(null);
  const [result, setResult] = useState(null);
  const made = useRef(group.id);
  const take = async (file) => {
    setError(null);
    setResult(null);
    setShare(0);
    try {
      if (!made.current) {
        const created = await steadily("customer-group/create", { name: name.trim() || file.name.replace(/\.csv$/i, "") }, { tries: 5 });
        made.current = created.id;
      }
      setResult(await importCsv(made.current, file, mode, setShare));
    } catch (refused) {
      setError(refused);
    }
    setShare(null);
  };
  const create = async (event) => {
    event.preventDefault();
    setError(null);
    try {
      await steadily("customer-group/create", { name: name.trim() }, { tries: 5 });
      say("Created.");
      onClose();
    } catch (refused) {
      setError(refused);
    }
  };
  return html`<${Dialog} title=${group.id ? `Import into ${group.name}` : "New group"} onClose=${onClose}><form class="stack" onSubmit=${create}>
    ${!group.id && html`<${Field} label="Name" value=${name} set=${setName} maxlength="200" />`}
    ${group.id && html`<${Pick} label="Customers that are in the group and not in the file" value=${mode} set=${setMode} options=${[["merge", "stay"], ["replace", "are removed"]]} />`}
    <${DropZone} take=${take} share=${share} />
    ${error && html`<${Failed} error=${error} />`}${result && html`<${Imported} result=${result} />`}
    <div class="buttons">${!group.id && !result && html`<button type="submit" class="main" disabled=${!name.trim()}>Create without customers</button>`}
      <button type="button" onClick=${onClose}>Close</button></div></form></${Dialog}>`;
}
