// The server's API: JSON in and out, and one call that streams an answer as lines of JSON.

const csrfToken = document.querySelector('meta[name="csrf-token"]').content;

export class ApiError extends Error {
  constructor(code, message, status) {
    super(message);
    this.code = code;
    this.status = status;
  }
}

export function status() {
  return call("GET", "/api/status");
}

export async function listConversations(words) {
  const query = words ? "?q=" + encodeURIComponent(words) : "";
  return (await call("GET", "/api/conversations" + query)).conversations;
}

export function createConversation() {
  return call("POST", "/api/conversations");
}

export function readConversation(id) {
  return call("GET", path(id));
}

// changes: {title} or {leaf_id: the message whose branch is shown}
export function changeConversation(id, changes) {
  return call("PATCH", path(id), changes);
}

export function deleteConversation(id) {
  return call("DELETE", path(id));
}

export function exportAddress(id, format) {
  return path(id) + "/export?format=" + format;
}

export function stop(id, answerId) {
  return call("POST", message(id, answerId) + "/stop");
}

// These call onEvent for every event of an answer, until it has ended. They throw ApiError when it is refused or the
// connection is lost, and what fetch throws when `signal` aborts it, which does not stop the answer.

// question: {content, parent_id}; without parent_id it goes after the branch that is shown
export function ask(id, question, signal, onEvent) {
  return stream("POST", path(id) + "/messages", question, signal, onEvent);
}

export function askAgain(id, questionId, signal, onEvent) {
  return stream("POST", message(id, questionId) + "/answers", null, signal, onEvent);
}

export function follow(id, answerId, signal, onEvent) {
  return stream("GET", message(id, answerId) + "/events", null, signal, onEvent);
}

async function stream(method, url, body, signal, onEvent) {
  const response = await send(method, url, body, signal);
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

function message(id, messageId) {
  return path(id) + "/messages/" + messageId;
}

async function call(method, url, body) {
  const response = await send(method, url, body);
  return response.status === 204 ? null : response.json();
}

async function send(method, url, body, signal) {
  const headers = { "X-CSRF-Token": csrfToken };
  if (body) headers["Content-Type"] = "application/json";
  const options = { method, headers, signal, credentials: "same-origin", body: body && JSON.stringify(body) };
  const response = await guarded(fetch(url, options), signal);
  if (response.ok) return response;
  const error = await refusal(response);
  if (response.status === 401) window.setTimeout(logInAgain); // once whoever asked has what was asked back
  throw error;
}

// The login has ended: the page to log in says so, and leads back here (service/web/pages.py).
function logInAgain() {
  document.cookie = "ferry_left=" + window.location.pathname + "; Path=/; Max-Age=3600; SameSite=Lax";
  window.location.assign("/login");
}

async function refusal(response) {
  try {
    const { error } = await response.json();
    return new ApiError(error.code, error.message, response.status);
  } catch (_) {
    return new ApiError("other", "", response.status);
  }
}

// A lost connection is an ApiError like any other; an abort of ours is passed on as it is.
function guarded(promise, signal) {
  return promise.catch((error) => {
    if (signal && signal.aborted) throw error;
    throw new ApiError("connection", String(error));
  });
}
