// The difference of two texts by words.
import { html, Text } from "./ui.js";

const MOST = 4_000_000;
const words = (text) => String(text ?? "").match(/\s+|[\p{L}\p{N}_]+|[^\s\p{L}\p{N}_]/gu) || [];

/** Parts in order, each `[kind, text]`: `same`, `gone` or `new`. `null` when the texts are too long. */
export function difference(from, to) {
  const a = words(from), b = words(to);
  let start = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start += 1;
  let end = 0;
  while (end < a.length - start && end < b.length - start && a[a.length - 1 - end] === b[b.length - 1 - end]) end += 1;
  const x = a.slice(start, a.length - end), y = b.slice(start, b.length - end);
  if (x.length * y.length > MOST) return null;
  const width = y.length + 1;
  const longest = new Uint32Array((x.length + 1) * width);
  for (let i = x.length - 1; i >= 0; i -= 1) {
    for (let j = y.length - 1; j >= 0; j -= 1) {
      longest[i * width + j] = x[i] === y[j] ? longest[(i + 1) * width + j + 1] + 1
        : Math.max(longest[(i + 1) * width + j], longest[i * width + j + 1]);
    }
  }
  const parts = [];
  const add = (kind, text) => {
    const last = parts.at(-1);
    if (last && last[0] === kind) last[1] += text;
    else if (text) parts.push([kind, text]);
  };
  add("same", a.slice(0, start).join(""));
  let i = 0, j = 0;
  while (i < x.length || j < y.length) {
    if (i < x.length && j < y.length && x[i] === y[j]) { add("same", x[i]); i += 1; j += 1; }
    else if (j >= y.length || (i < x.length && longest[(i + 1) * width + j] >= longest[i * width + j + 1])) { add("gone", x[i]); i += 1; }
    else { add("new", y[j]); j += 1; }
  }
  add("same", a.slice(a.length - end).join(""));
  return parts;
}

export function Difference({ from, to }) {
  const parts = difference(from, to);
  if (!parts) return html`<del class="text"><${Text} value=${from} /></del><ins class="text"><${Text} value=${to} /></ins>`;
  return html`<span class="text">${parts.map(([kind, text]) => kind === "same" ? html`<${Text} value=${text} />`
    : kind === "gone" ? html`<del><${Text} value=${text} /></del>` : html`<ins><${Text} value=${text} /></ins>`)}</span>`;
}
