// The screen History: all operations, who asked for them and how they ended. The auditor's page.

import { call, get, withQuery } from "./api.js";
import {
  badge,
  bdi,
  button,
  buttons,
  columnHead,
  fill,
  h,
  headed,
  heading,
  hint,
  save,
  say,
  showError,
  small,
} from "./dom.js";
import { linkTo, readAuthorities } from "./estate.js";
import { filtersOf } from "./form.js";
import { count, dateTime, duration, moment, standing } from "./format.js";
import { vaultNames, who } from "./session.js";
import { timeline } from "./timeline.js";

const STATES = [
  "open",
  "failing",
  "crowded",
  "requested",
  "pending",
  "submitted",
  "issued",
  "completed",
  "failed",
  "canceled",
];
const COLUMNS = ["Certificate", "What", "How it stands", "Authority", "Asked by", "When", "Took"];
const DEFAULTS = { name: "", state: "", vault: "", authority: "", since: "" };
const MAX = 50;

/** The screen. */
export async function history(element, { query, signal }) {
  const view = { signal, body: h("tbody"), more: h("div"), count: h("p", { class: "quiet", role: "status" }) };
  view.filters = filtersOf("history", query, DEFAULTS, () => begin(view).catch((error) => showError(view.more, error)));
  const authorities = await readAuthorities();
  fill(
    element,
    heading("History", buttons(button("CSV", (event) => download(view, event.target)))),
    filterForm(view.filters, authorities),
    view.count,
    tableOf(view),
    view.more,
  );
  await begin(view);
}

function filterForm(filters, authorities) {
  return filters.form(
    filters.input("name", "Name begins with", { type: "search" }, "change"),
    filters.choice("state", "State", STATES),
    filters.choice("vault", "Vault", vaultNames()),
    filters.choice(
      "authority",
      "Authority",
      authorities.map((one) => one.name),
    ),
    filters.input("since", "Asked since", { type: "date" }, "change"),
  );
}

/** The parameters of the API for what the filters hold. */
function parametersOf({ filters: { wanted } }) {
  return { ...wanted, name: wanted.name.trim(), since: wanted.since && `${wanted.since}T00:00:00Z` };
}

function tableOf(view) {
  return h("div", { class: "scroll" }, headed("Operations", COLUMNS.map(columnHead), view.body, { class: "list" }));
}

/** Read the list from its beginning; an earlier reading that still goes on is given up. */
async function begin(view) {
  view.reading?.abort();
  view.reading = new AbortController();
  Object.assign(view, { continuation: null, found: 0 });
  fill(view.body);
  await more(view);
}

async function more(view) {
  const signal = AbortSignal.any([view.signal, view.reading.signal]);
  fill(view.more, hint("Loading…"));
  do {
    // a page may be empty before the end
    const page = await get(
      withQuery("operations", { ...parametersOf(view), max: MAX, continuation: view.continuation }),
      signal,
    );
    view.continuation = page.continuation;
    view.found += page.value.length;
    view.body.append(...page.value.map(row));
    if (page.value.length) break;
  } while (view.continuation);
  fill(
    view.count,
    view.found ? `${count(view.found, "operation")}${view.continuation ? ", and more" : ""}` : "No operation matches.",
  );
  fill(
    view.more,
    view.continuation &&
      h(
        "div",
        { class: "pager" },
        button("Show more", () => more(view).catch((error) => showError(view.more, error)), "primary"),
      ),
  );
}

function row(operation) {
  const [words, kind] = standing(operation);
  const error = operation.error ?? operation.last_error;
  const took = operation.ended_at
    ? duration((moment(operation.ended_at) - moment(operation.requested_at)) / 1000)
    : "still running";
  const cells = [
    [linkTo(operation, { class: "strong name" }), small(operation.vault)],
    [operation.kind, operation.reason && h("small", { class: "clip" }, bdi(operation.reason))],
    [badge(words, kind), error && h("small", { class: "clip", title: error.message }, bdi(error.message))],
    operation.authority ? bdi(operation.authority) : operation.issuer.name,
    who(operation),
    dateTime(operation.requested_at),
    took,
  ];
  const line = h(
    "tr",
    {},
    cells.map((cell, number) => h("td", { "data-label": COLUMNS[number] }, cell)),
  );
  line.lastChild.append(" ", expander(line, operation));
  return line;
}

function expander(line, operation) {
  const steps = h("tr", {}, h("td", { colspan: COLUMNS.length, class: "wide" }));
  const toggle = button(
    "Steps",
    () => {
      const open = !steps.isConnected;
      toggle.setAttribute("aria-expanded", String(open));
      if (open) fill(steps.firstChild, timeline(operation));
      if (open) line.after(steps);
      else steps.remove();
    },
    "link",
    { "aria-expanded": "false", "aria-label": `Steps of ${operation.name}` },
  );
  return toggle;
}

/** All pages as one CSV file, as the API writes them. */
async function download(view, pressed) {
  pressed.disabled = true;
  const parts = [];
  try {
    for (let continuation = null, first = true; first || continuation; first = false) {
      const path = withQuery("operations", { ...parametersOf(view), max: 200, format: "csv", continuation });
      const response = await call("GET", path, { raw: true, signal: view.signal });
      continuation = response.headers.get("x-continuation");
      const text = await response.text();
      parts.push(first ? text : text.slice(text.indexOf("\n") + 1));
    }
    save("operations.csv", parts.join(""), "text/csv;charset=utf-8");
    say("The file is saved.");
  } catch (error) {
    showError(view.more, error);
  } finally {
    pressed.disabled = false;
  }
}
