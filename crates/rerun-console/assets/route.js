// Where one is: the part of the address after #, which no server sees.
import { signal } from "./signals-core.js";

function read() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  return { path: path.split("/").filter(Boolean).map((part) => { try { return decodeURIComponent(part); } catch { return part; } }),
    query: Object.fromEntries(new URLSearchParams(query)) };
}

export const route = signal(read());
addEventListener("hashchange", () => { route.value = read(); });

/** The address of a page. Filters that are empty are left out. */
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
