// Speaks the public API. Nothing else of the page sends a request.

import { useClock } from "./format.js";

const KEY = "certrelay-key";
const listeners = new Set();
let down = false;

/** What the API refused, or that it cannot be reached: `status` is 0 then. */
export class ApiError extends Error {
  constructor(status, problem, retryAfter) {
    super(problem.detail || problem.title || `The API answered ${status}.`);
    this.status = status;
    this.code = problem.code || "";
    this.faults = problem.errors || [];
    this.parts = problem.parts;
    this.correlation = problem.correlation_id || "";
    this.retryAfter = retryAfter;
  }

  /** Whether the same request may well succeed later. */
  get passes() {
    return this.status === 0 || this.status === 503 || this.status === 429 || this.status >= 502;
  }

  /** Whether it names a consequence: with `force` the same request would be done. */
  get offersForce() {
    return this.status === 409 && /force/.test(this.message);
  }
}

/** The faults of a refused request, with JSON pointers; without any, what went wrong as the only one. */
export const faultsOf = (error) => (error.faults?.length ? error.faults : [{ pointer: "", detail: error.message }]);

/** The function key of this tab; empty without one. */
export function functionKey() {
  return sessionStorage.getItem(KEY) || "";
}

/** Keep a function key for this tab; empty forgets it. */
export function keepKey(key) {
  if (key) sessionStorage.setItem(KEY, key);
  else sessionStorage.removeItem(KEY);
}

/** Tell whether the API can be reached, whenever that changes. */
export function onReachable(listener) {
  listeners.add(listener);
}

function reachable(yes) {
  if (down === !yes) return;
  down = !yes;
  listeners.forEach((listener) => listener(yes));
}

/**
 * Call the API.
 * @param {string} method
 * @param {string} path after `/api/`
 * @param {object} [options] `body`: JSON; `text`: a body as it is, of the `type`; `headers`; `signal`; `raw`: the
 *   response itself instead of its JSON
 * @throws {ApiError}
 */
export async function call(method, path, options = {}) {
  const response = await sent(method, `/api/${path}`, options);
  // What is in front of the app may answer, too.
  reachable(response.status < 502 || response.headers.has("x-correlation-id"));
  useClock(response.headers.get("Date"));
  if (!response.ok) throw await refusal(response);
  if (options.raw) return response;
  const text = await response.text();
  return text ? JSON.parse(text) : null;
}

async function sent(method, url, { body, text, type, headers = {}, signal }) {
  const all = { "X-Requested-With": "XMLHttpRequest", ...headers };
  if (functionKey()) all["x-functions-key"] = functionKey();
  if (body !== undefined) all["Content-Type"] = "application/json";
  if (text !== undefined) all["Content-Type"] = type;
  try {
    const content = body !== undefined ? JSON.stringify(body) : text;
    return await fetch(url, { method, headers: all, body: content, signal, redirect: "manual" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    reachable(false);
    throw new ApiError(0, { detail: "CertRelay does not answer. The page tries again by itself." }, 3);
  }
}

async function refusal(response) {
  if (response.type === "opaqueredirect") return new ApiError(401, { detail: "You are not signed in." }, 0);
  const problem = await response.json().catch(() => ({}));
  return new ApiError(response.status, problem, Number(response.headers.get("Retry-After")) || 5);
}

/** GET. */
export const get = (path, signal) => call("GET", path, { signal });

/** For what not everybody may read: in place of a refusal, `instead`. */
export const ifAllowed = (instead) => (error) => {
  if (error instanceof ApiError && error.status === 403) return instead;
  throw error;
};

/** The path of a certificate. */
export function of(vault, name, rest = "") {
  return `vaults/${encodeURIComponent(vault)}/certificates/${encodeURIComponent(name)}${rest}`;
}

/** A path with those parameters that have a value. */
export function withQuery(path, parameters) {
  const kept = Object.entries(parameters).filter(([, value]) => value != null && value !== "");
  return kept.length ? `${path}?${new URLSearchParams(kept)}` : path;
}

/** Every page of a list, one after the other. `first`: how many the first page has at most, to have it soon. */
export async function* pages(path, parameters, signal, first = parameters.max) {
  let continuation = null;
  do {
    const max = continuation ? parameters.max : first;
    const page = await get(withQuery(path, { ...parameters, max, continuation }), signal);
    yield page.value;
    continuation = page.continuation;
  } while (continuation);
}

/** Wait; while nobody can see the tab, until it is shown again. Ends with an AbortError when the screen is left. */
export function wait(seconds, signal) {
  return new Promise((resolve, reject) => {
    const listening = new AbortController();
    const end = (settle, value) => {
      clearTimeout(timer);
      listening.abort();
      settle(value);
    };
    const leave = () => end(reject, new DOMException("left", "AbortError"));
    let due = false;
    const look = () => {
      if (due && document.visibilityState !== "hidden") end(resolve);
    };
    const timer = setTimeout(() => {
      due = true;
      look();
    }, seconds * 1000);
    document.addEventListener("visibilitychange", look, { signal: listening.signal });
    signal?.addEventListener("abort", leave, { signal: listening.signal });
    if (signal?.aborted) leave();
  });
}

/**
 * Follow something that changes, at the pace of `Retry-After`, through outages, until `isOver`.
 * @param {string} path
 * @param {function(object)} show what is to happen with each answer
 * @param {function(object): boolean} isOver
 */
export async function follow(path, show, isOver, signal) {
  for (;;) {
    let pause = 2;
    try {
      const response = await call("GET", path, { raw: true, signal });
      const found = await response.json();
      show(found);
      if (isOver(found)) return found;
      pause = Number(response.headers.get("Retry-After")) || pause;
    } catch (error) {
      if (!(error instanceof ApiError) || !error.passes) throw error;
      pause = error.retryAfter;
    }
    await wait(Math.min(pause, 30), signal);
  }
}
