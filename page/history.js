// The screen History: all operations, who asked for them and how they ended. The auditor's page.

import { call, get, withQuery } from "./api.js";
import { badge, bdi, button, fill, h, link, save, say } from "./dom.js";
import { addressOf } from "./estate.js";
import { count, dateTime, duration, moment, standing } from "./format.js";
import { me } from "./session.js";
import { timeline } from "./timeline.js";

const STATES = ["open", "failing", "crowded", "requested", "pending", "submitted", "issued", "completed", "failed", "canceled"];
const COLUMNS = ["Certificate", "What", "How it stands", "Authority", "Asked by", "When", "Took"];
const MAX = 50;

/** The screen. */
export async function history(element, { query, signal }) {
  const wanted = Object.fromEntries(query);
  const view = { wanted, continuation: null, found: [], signal, body: h("tbody"), more: h("div"), count: h("p", { class: "quiet", role: "status" }) };
  fill(element, h("div", { class: "heading" }, h("h1", {}, "History"), h("div", { class: "buttons" },
    button("CSV", (event) => download(view, event.target)))), await filters(view), view.count, tableOf(view), view.more);
  await more(view);
}

async function filters({ wanted, signal }) {
  const authorities = (await get("authorities", signal)).value.map((one) => one.name);
  const change = (name) => (event) => go({ ...wanted, [name]: event.target.value });
  const select = (name, title, values) => h("label", {}, title, h("select", { name, onchange: change(name) }, h("option", { value: "" }, "all"),
    values.map((value) => h("option", { value, selected: wanted[name] === value }, value))));
  return h("form", { class: "filters", role: "search", onsubmit: (event) => event.preventDefault() },
    select("state", "State", STATES), select("vault", "Vault", me.vaults.map((one) => one.name)), select("authority", "Authority", authorities),
    h("label", {}, "Asked since", h("input", { type: "date", name: "since", value: (wanted.since ?? "").slice(0, 10), onchange: (event) =>
      go({ ...wanted, since: event.target.value ? `${event.target.value}T00:00:00Z` : "" }) })));
}

function go(wanted) {
  location.hash = withQuery("#/history", wanted);
}

function tableOf(view) {
  return h("div", { class: "scroll" }, h("table", { class: "list" }, h("caption", { class: "visually-hidden" }, "Operations"),
    h("thead", {}, h("tr", {}, COLUMNS.map((title) => h("th", { scope: "col" }, title)))), view.body));
}

async function more(view) {
  fill(view.more, h("p", { class: "quiet" }, "Loading…"));
  do { // a page may be empty before the end
    const page = await get(withQuery("operations", { ...view.wanted, max: MAX, continuation: view.continuation }), view.signal);
    view.continuation = page.continuation;
    view.found.push(...page.value);
    view.body.append(...page.value.map(row));
    if (page.value.length) break;
  } while (view.continuation);
  const text = view.found.length ? `${count(view.found.length, "operation")}${view.continuation ? ", and more" : ""}` : "No operation matches.";
  fill(view.count, text);
  fill(view.more, view.continuation && h("div", { class: "pager" }, button("Show more", () => more(view), "primary")));
}

function row(operation) {
  const [words, kind] = standing(operation);
  const error = operation.error ?? operation.last_error;
  const took = operation.ended_at ? duration((moment(operation.ended_at) - moment(operation.requested_at)) / 1000) : "still running";
  const cells = [
    [link(addressOf(operation.vault, operation.name), bdi(operation.name), { class: "strong name" }), h("small", {}, operation.vault)],
    [operation.kind, operation.reason && h("small", { class: "clip" }, bdi(operation.reason))],
    [badge(words, kind), error && h("small", { class: "clip", title: error.message }, bdi(error.message))],
    operation.authority ? bdi(operation.authority) : operation.issuer.name, bdi(operation.requested_by), dateTime(operation.requested_at), took,
  ];
  const line = h("tr", {}, cells.map((cell, number) => h("td", { "data-label": COLUMNS[number] }, cell)));
  line.lastChild.append(" ", expander(line, operation));
  return line;
}

function expander(line, operation) {
  const toggle = button("Steps", () => {
    const open = toggle.getAttribute("aria-expanded") === "true";
    toggle.setAttribute("aria-expanded", String(!open));
    if (open) line.nextSibling.remove();
    else line.after(h("tr", {}, h("td", { colspan: COLUMNS.length, class: "wide" }, timeline(operation))));
  }, "link", { "aria-expanded": "false", "aria-label": `Steps of ${operation.name}` });
  return toggle;
}

/** All pages as one CSV file, as the API writes them. */
async function download(view, pressed) {
  pressed.disabled = true;
  const parts = [];
  try {
    for (let continuation = null, first = true; first || continuation; first = false) {
      const path = withQuery("operations", { ...view.wanted, max: 200, format: "csv", continuation });
      const response = await call("GET", path, { raw: true, signal: view.signal });
      continuation = response.headers.get("x-continuation");
      const text = await response.text();
      parts.push(first ? text : text.slice(text.indexOf("\n") + 1));
    }
    save("operations.csv", parts.join(""), "text/csv;charset=utf-8");
    say("The file is saved.");
  } finally {
    pressed.disabled = false;
  }
}
