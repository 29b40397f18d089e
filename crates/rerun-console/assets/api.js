// Calls of the API: the endpoints of /v1, behind the session's cookie.
let redraw = () => {};
export const whenChanged = (run) => { redraw = run; };

export const signal = (value) => ({
  get value() { return value; },
  set value(next) { if (next !== value) { value = next; redraw(); } },
});

export const session = signal(undefined);
export const waiting = signal(false);

export class ApiError extends Error {
  constructor(status, body, retryAfter) {
    super(body?.message || `The server returned ${status}.`);
    this.status = status;
    this.code = body?.code || "";
    this.fields = body?.fields || [];
    this.requestId = body?.request_id || "";
    this.retryAfter = retryAfter;
  }
}

export const may = (action) => !!session.value?.actions.includes(action);

export const newKey = () => crypto.randomUUID();

const pause = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));

async function failed(response) {
  let body = null;
  try { body = await response.json(); } catch { /* a proxy's page, for example */ }
  const wait = Number(response.headers.get("retry-after"));
  const error = new ApiError(response.status, body, Number.isFinite(wait) ? wait : 0);
  if (error.code === "auth_error") session.value = null;
  return error;
}

async function send(path, { method = "POST", body, key, type = "application/json", ...rest } = {}) {
  const headers = { "content-type": type };
  if (key) headers["idempotency-key"] = key;
  const response = await fetch(path, { method, headers, body, credentials: "same-origin", ...rest });
  if (!response.ok) throw await failed(response);
  return response;
}

export async function call(path, body = {}, options = {}) {
  const response = await send(`v1/${path}`, { body: JSON.stringify(body), ...options });
  return response.json();
}

export const passes = (error) => !(error instanceof ApiError)
  ? error?.name === "TypeError" : [429, 502, 503, 504].includes(error.status);

export async function steadily(path, body, { key = newKey(), tries = Infinity } = {}) {
  for (let attempt = 0; ; attempt += 1) {
    try {
      const answer = await call(path, body, { key });
      waiting.value = false;
      return answer;
    } catch (error) {
      if (!passes(error) || attempt + 1 >= tries) {
        waiting.value = false;
        throw error;
      }
      waiting.value = true;
      await pause(Math.max(error.retryAfter || 0, Math.min(0.5 * 2 ** attempt, 8)));
    }
  }
}

export const paged = (path, body, list, limit = 100) => async (cursor) => {
  const page = await call(path, { ...body, limit, cursor });
  return { items: page[list], page };
};

export async function* pages(path, body, limit = 1000) {
  let cursor = null;
  do {
    const page = await call(path, { ...body, limit, cursor });
    yield page;
    cursor = page.next_cursor;
  } while (cursor);
}

export async function everything(path, body, list, most = 10000) {
  const items = [];
  for await (const page of pages(path, body)) {
    items.push(...page[list]);
    if (items.length >= most) break;
  }
  return items;
}

export async function findMessage(campaign, run, test, values = []) {
  const named = values.filter((value) => typeof value === "string" && value).sort((a, b) => b.length - a.length);
  const body = { campaign_id: campaign, run_number: run };
  if (named[0]) body.segment = [...named[0]].slice(0, 100).join("");
  for await (const page of pages("campaign/rerun/messages", body, 1000)) {
    const found = page.messages.find(test);
    if (found) return found;
  }
  return null;
}

export function importCsv(group, file, mode, progress, key = newKey()) {
  return new Promise((done, refused) => {
    const request = new XMLHttpRequest();
    const query = new URLSearchParams({ customer_group_id: group });
    if (mode === "replace") query.set("mode", mode);
    request.open("POST", `v1/customer-group/import?${query}`);
    request.setRequestHeader("content-type", "text/csv");
    request.setRequestHeader("idempotency-key", key);
    request.upload.onprogress = (event) => event.lengthComputable && progress(event.loaded / event.total);
    request.onload = () => {
      let body = null;
      try { body = JSON.parse(request.responseText); } catch { /* no JSON */ }
      if (request.status === 200) done(body);
      else {
        if (body?.code === "auth_error") session.value = null;
        refused(new ApiError(request.status, body, 0));
      }
    };
    request.onerror = () => refused(new TypeError("The connection ended before the file was sent."));
    request.send(file);
  });
}

export async function download(path, body, name) {
  const response = await send(`v1/${path}`, { body: JSON.stringify(body) });
  const changed = response.headers.get("x-group-changed") === "true";
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await response.blob());
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  return { changed };
}

export async function whoAmI() {
  try {
    session.value = await (await send("session", { method: "GET" })).json();
  } catch (error) {
    if (!(error instanceof ApiError) || error.status !== 403) throw error;
    session.value = null;
  }
}

export const provider = async () => (await (await send("openid", { method: "GET" })).json()).provider;

export async function signIn(token) {
  const response = await send("session", { body: JSON.stringify({ token }) });
  session.value = await response.json();
}

export async function signOut() {
  await send("session", { method: "DELETE" });
  session.value = null;
}
