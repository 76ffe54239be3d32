// The server's API: JSON in and out, and one call that streams an answer as lines of JSON.

const csrfToken = document.querySelector('meta[name="csrf-token"]').content;

export class ApiError extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

export function status() {
  return call("GET", "/api/status");
}

export async function listConversations() {
  return (await call("GET", "/api/conversations")).conversations;
}

export function createConversation() {
  return call("POST", "/api/conversations");
}

export function readConversation(id) {
  return call("GET", path(id));
}

export function deleteConversation(id) {
  return call("DELETE", path(id));
}

// Puts a question and calls onEvent for every event of the answer, until it has ended. Throws ApiError when it is
// refused or the connection is lost, and what fetch throws when `signal` aborts it.
export async function ask(id, content, signal, onEvent) {
  const response = await send("POST", path(id) + "/messages", { content }, signal);
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  for (;;) {
    const { done, value } = await guarded(reader.read(), signal);
    if (done) break;
    const lines = (rest + decoder.decode(value, { stream: true })).split("\n");
    rest = lines.pop();
    for (const line of lines) onEvent(JSON.parse(line));
  }
}

function path(id) {
  return "/api/conversations/" + encodeURIComponent(id);
}

async function call(method, url) {
  const response = await send(method, url);
  return response.status === 204 ? null : response.json();
}

async function send(method, url, body, signal) {
  const headers = { "X-CSRF-Token": csrfToken };
  if (body) headers["Content-Type"] = "application/json";
  const options = { method, headers, signal, credentials: "same-origin", body: body && JSON.stringify(body) };
  const response = await guarded(fetch(url, options), signal);
  if (response.ok) return response;
  if (response.status === 401) window.location.assign("/login");
  throw await refusal(response);
}

async function refusal(response) {
  try {
    const { error } = await response.json();
    return new ApiError(response.status === 429 ? "busy" : error.code, error.message);
  } catch (_) {
    return new ApiError("other", "");
  }
}

// A lost connection is an ApiError like any other; an abort of ours is passed on as it is.
function guarded(promise, signal) {
  return promise.catch((error) => {
    if (signal && signal.aborted) throw error;
    throw new ApiError("connection", String(error));
  });
}
