// The screen of one certificate: what happens now, what it is, its plan, its versions, its history.

import { ApiError, call, follow, get, of, withQuery } from "./api.js";
import {
  badge,
  bdi,
  button,
  card,
  columns,
  empty,
  fill,
  h,
  hint,
  lead,
  li,
  link,
  p,
  plainList,
  refill,
  save,
  say,
  showError,
  strong,
  table,
} from "./dom.js";
import { actions } from "./actions.js";
import { byHand, learnAuthorities, waitsForPeople } from "./byhand.js";
import { endpointCard } from "./endpoint.js";
import { forget } from "./estate.js";
import { date, dateTime, daysUntil, moment, now, relativeText, STATE_KINDS } from "./format.js";
import { contents, pathOf } from "./path.js";
import { policyCard } from "./policy.js";
import { mayIn, who } from "./session.js";
import { timeline } from "./timeline.js";

/** The screen. It stays the same while an operation runs: only what changes is drawn again. */
export async function certificate(element, { parts: [vault, name], signal }) {
  const screen = { vault, name, signal, element, parts: {} };
  for (const part of ["top", "operation", "hand", "rest"]) screen.parts[part] = h("div", { class: "stack" });
  screen.reload = () => draw(screen).catch((error) => showError(screen.parts.top, error));
  const [found] = await Promise.all([read(screen), learnAuthorities()]);
  fill(element, Object.values(screen.parts));
  drawAll(screen, found);
  await watch(screen);
}

async function read({ vault, name, signal }) {
  const [detail, pending] = await Promise.all([
    missing(get(of(vault, name), signal)),
    missing(get(of(vault, name, "/pending"), signal)),
  ]);
  if (!detail && !pending)
    throw new ApiError(404, { detail: `There is no certificate ${name} in the vault ${vault}.` }, 0);
  return { detail, pending };
}

/** The answer, or null if there is nothing. */
async function missing(answer) {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return null;
    throw error;
  }
}

async function draw(screen) {
  forget();
  drawAll(screen, await read(screen));
  await watch(screen);
}

function drawAll(screen, { detail, pending }) {
  screen.detail = detail?.cer ? detail : null; // Key Vault shows a name before it has its first version
  screen.open = pending?.status === "inProgress" ? pending : null;
  drawTop(screen, pending);
  drawOperation(screen, pending);
  if (screen.detail) drawRest(screen);
  else fill(screen.parts.rest, empty("There is no version yet."), !screen.open && again(screen, pending));
}

/** After a first order without success. */
function again({ vault, name }, { authority }) {
  if (!mayIn(vault, "create_certificate")) return null;
  return p(link(withQuery("#/new", { vault, name, authority }), "Order it again", { class: "button" }));
}

function drawTop(screen, pending) {
  const { vault, name, detail } = screen;
  const state = detail ? stateOf(detail) : "new";
  refill(
    screen.parts.top,
    h(
      "p",
      { class: "crumbs" },
      link("#/certificates", "Certificates"),
      " / ",
      link(`#/certificates?vault=${encodeURIComponent(vault)}`, vault),
    ),
    h(
      "div",
      { class: "heading" },
      h("h1", {}, bdi(name), " ", badge(state, STATE_KINDS[state])),
      h("div", { class: "buttons", role: "group", "aria-label": "Actions" }, actions(screen, pending)),
    ),
    detail && plan(detail),
  );
}

function stateOf({ attributes, renewal }) {
  if (!attributes.enabled) return "disabled";
  if (attributes.exp && moment(attributes.exp) <= now()) return "expired";
  return renewal.due && moment(renewal.due) <= now() ? "due" : "valid";
}

function plan(detail) {
  const { attributes, renewal, tags = {}, signed_by: signer, fallback } = detail;
  const authority = tags["certrelay-authority"];
  const expires = attributes.exp
    ? [
        strong(daysUntil(attributes.exp) < 0 ? "expired " : "expires ", relativeText(attributes.exp)),
        ", on ",
        date(attributes.exp),
      ]
    : "never expires";
  const next = renewal.due
    ? [
        "Its next renewal is due ",
        strong(relativeText(renewal.due)),
        " (",
        date(renewal.due),
        "): ",
        renewal.reason,
        ".",
      ]
    : ["It is not renewed: ", renewal.reason, "."];
  return lead(
    "It ",
    expires,
    ". ",
    next,
    authority && [" Renewed by ", bdi(authority, { class: "strong" }), "."],
    signer && [
      " This version was signed by ",
      bdi(signer, { class: "strong" }),
      fallback && [", a fall-back of ", bdi(fallback.of), " since ", dateTime(fallback.since), ": ", bdi(fallback.why)],
      ".",
    ],
    " Owned by ",
    who(detail, "owner"),
    ".",
  );
}

/** What is typed into the part for people stays: it is drawn once for each order. */
function drawOperation(screen, pending) {
  const { operation, hand } = screen.parts;
  const order = pending && waitsForPeople(pending) ? pending.id : null;
  if (screen.order !== order) {
    screen.order = order;
    fill(hand, order && byHand(screen));
  }
  if (!pending || isOld(pending)) {
    fill(operation);
    return;
  }
  const title = pending.status === "inProgress" ? "Happening now" : "Last operation";
  const open = operation.querySelector("details")?.open;
  refill(operation, card(title, timeline(pending)));
  if (open) operation.querySelector("details").open = true;
}

/** Whether an operation that ended well is a thing of the past, which the history has. */
function isOld({ status, ended_at: ended }) {
  return status === "completed" && now() - moment(ended) > 900_000;
}

/** Follow the open operation, and read everything anew at its end. */
async function watch(screen) {
  screen.watching?.abort();
  if (!screen.open) return;
  screen.watching = new AbortController();
  const { vault, name } = screen,
    signal = AbortSignal.any([screen.signal, screen.watching.signal]);
  const id = screen.open.id;
  const path = of(vault, name, `/pending?request_id=${encodeURIComponent(id)}`);
  let step = screen.open.step;
  const ended = await follow(
    path,
    (operation) => {
      drawOperation(screen, operation);
      if (operation.step !== step) say(`${name}: ${operation.step}`);
      if (operation.step !== step || operation.cancellation_requested) drawTop(screen, operation);
      step = operation.step;
    },
    (operation) => operation.status !== "inProgress",
    signal,
  );
  forget();
  say(`${name}: ${ended.status}`);
  drawAll(screen, await read(screen));
}

function drawRest(screen) {
  const { detail } = screen;
  const versions = h("div"),
    history = h("div"),
    policy = h("div");
  fill(
    screen.parts.rest,
    columns(card("Contents", contents(detail)), card("Path", pathOf(detail.path ?? []), pem(screen))),
    detail.endpoint && endpointCard(detail.endpoint),
    columns(card("Versions", versions), card("Policy and tags", policy)),
    card("History", history),
  );
  lazily(versions, screen, "/versions", (found) => versionTable(found.value, detail.version));
  lazily(history, screen, "/history", (found) => historyList(found));
  fill(policy, policyCard(screen));
}

async function lazily(place, { vault, name, signal }, rest, show) {
  fill(place, hint("Loading…"));
  try {
    fill(place, show(await call("GET", of(vault, name, rest), { signal })));
  } catch (error) {
    showError(place, error);
  }
}

function pem({ name, detail }) {
  const text = (detail.chain ?? []).join("");
  if (!text) return null;
  return p(button("Download the chain (PEM)", () => save(`${name}.pem`, text, "application/x-pem-file")));
}

function versionTable(versions, newest) {
  const rows = [...versions]
    .sort((a, b) => (b.attributes.created ?? 0) - (a.attributes.created ?? 0))
    .map((one) => [
      [
        h("code", { title: one.version }, one.version.slice(0, 8)),
        one.version === newest && [" ", badge("newest", "busy")],
      ],
      date(one.attributes.created),
      one.attributes.exp ? date(one.attributes.exp) : "never",
      one.attributes.enabled ? badge("enabled", "good") : badge("disabled", "quiet"),
    ]);
  return table("Versions", ["Version", "Made", "Expires", "State"], rows);
}

function historyList({ value, owners }) {
  const list = value.map((operation) =>
    h("details", { class: "past" }, h("summary", {}, summary(operation)), timeline(operation)),
  );
  const owned = owners.map((one) =>
    li("Owned by ", who(one, "owner"), " since ", dateTime(one.since), ": ", one.why, " by ", who(one, "by")),
  );
  return [list.length ? list : hint("No operation of CertRelay has ended yet."), owned.length > 0 && plainList(owned)];
}

const KINDS = { completed: "good", failed: "bad", canceled: "quiet" };

function summary(operation) {
  return [
    badge(operation.status, KINDS[operation.status]),
    " ",
    operation.kind,
    " · ",
    date(operation.ended_at || operation.requested_at),
    " · asked by ",
    who(operation),
    operation.error && [" · ", bdi(operation.error.message, { class: "clip" })],
  ];
}
