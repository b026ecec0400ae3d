// The screen Certificates: all vaults; search, filter, sort, CSV; renew, adopt and release many.

import { get, withQuery } from "./api.js";
import { badge, bdi, button, csv, fill, h, link, save, say } from "./dom.js";
import { addressOf, forget, load } from "./estate.js";
import { STATES, STATE_KINDS, count, date, daysUntil, relativeText } from "./format.js";
import { bulkBar } from "./bulk.js";
import { me, ownerText, vaultsFor } from "./session.js";

const PAGE = 50;
const DEFAULTS = { q: "", state: "", authority: "", vault: "", tag: "", days: "", sort: "expires", page: "1" };
const COLUMNS = [
  ["name", "Name"], ["state", "State"], ["vault", "Vault"], ["authority", "Renewed by"], ["owner", "Owner"], ["expires", "Expires"],
  ["renewal_due", "Next renewal"], ["result", "Last result"],
];

/** The screen. The filters are in the address, so that it can be sent to somebody. */
export async function certificates(element, { query, signal }) {
  const view = { wanted: { ...DEFAULTS, ...Object.fromEntries(query) }, lines: [], whole: false, chosen: new Set(),
    failing: new Map(), unreadable: [] };
  const parts = { count: h("p", { class: "quiet", role: "status" }), body: h("div"), bar: h("div") };
  const redraw = () => draw(view, parts, redraw);
  fill(element, heading(view), filters(view, redraw), parts.bar, parts.count, parts.body);
  const show = (lines, whole) => {
    Object.assign(view, { lines, whole });
    redraw();
  };
  const [{ unreadable }] = await Promise.all([load(show, signal), readFailing(view, signal)]);
  view.unreadable = unreadable;
  redraw();
}

async function readFailing(view, signal) {
  const page = await get("operations?state=failing&max=200", signal);
  view.failing = new Map(page.value.map((one) => [`${one.vault}/${one.name}`, one]));
}

function heading(view) {
  const add = vaultsFor("create_certificate").length > 0;
  return h("div", { class: "heading" }, h("h1", {}, "Certificates"), h("div", { class: "buttons" },
    button("Refresh", () => { forget(); dispatchEvent(new HashChangeEvent("hashchange")); }),
    button("CSV", () => download(view)),
    add && link("#/new", "New certificate", { class: "button primary" })));
}

function filters(view, redraw) {
  const change = (name) => (event) => {
    view.wanted[name] = event.target.value;
    view.wanted.page = "1";
    remember(view.wanted);
    redraw();
  };
  const select = (name, title, values, all) => h("label", {}, title, h("select", { name, onchange: change(name) },
    h("option", { value: "" }, all), values.map((value) =>
      h("option", { value, selected: view.wanted[name] === value }, value))));
  const input = (name, title, attributes) => h("label", {}, title,
    h("input", { name, value: view.wanted[name], oninput: change(name), ...attributes }));
  const authority = select("authority", "Authority", [], "all");
  get("authorities").then((found) => authority.replaceWith(
    select("authority", "Authority", [...found.value.map((one) => one.name), "none"], "all"))).catch(() => {});
  return h("form", { class: "filters", role: "search", onsubmit: (event) => event.preventDefault() },
    input("q", "Search", { type: "search", placeholder: "name, owner, tag, thumbprint" }),
    select("state", "State", [...STATES, "failing"], "all"),
    authority,
    select("vault", "Vault", me.vaults.map((one) => one.name), "all"),
    input("tag", "Tag", { placeholder: "team=web" }),
    input("days", "Expires within days", { type: "number", min: 0, max: 100000, class: "short" }));
}

/** Put the filters into the address, without a new entry in the browser's history. */
function remember(wanted) {
  const chosen = Object.entries(wanted).filter(([name, value]) => value !== DEFAULTS[name]);
  history.replaceState(null, "", withQuery("#/certificates", Object.fromEntries(chosen)));
}

function matching(view) {
  const { q, state, authority, vault, tag, days } = view.wanted;
  const words = q.toLowerCase().split(/\s+/).filter(Boolean);
  const [tagName, tagValue] = tag.split("=");
  return view.lines.filter((line) => {
    if (vault && line.vault !== vault) return false;
    if (authority && (line.authority ?? "none") !== authority) return false;
    if (state === "failing" ? !failureOf(view, line) : state && line.state !== state) return false;
    if (days !== "" && !(daysUntil(line.expires) <= Number(days))) return false;
    if (tag && !(tagName in line.tags && (tagValue === undefined || line.tags[tagName] === tagValue))) return false;
    return words.every((word) => searched(line).includes(word));
  });
}

function searched(line) {
  line.searched ??= [line.name, ...line.names ?? [], line.owner, line.thumbprint, ...Object.entries(line.tags).flat()].join(" ").toLowerCase();
  return line.searched;
}

const failureOf = (view, line) => view.failing.get(`${line.vault}/${line.name}`);

function sorted(view, lines) {
  const down = view.wanted.sort.startsWith("-");
  const key = view.wanted.sort.replace(/^-/, "");
  const value = (line) => key === "result" ? (failureOf(view, line) ? -1 - line.failed_renewals : -line.failed_renewals)
    : key === "state" ? STATES.length - STATES.indexOf(line.state) : line[key] ?? "￿";
  const order = (a, b) => (value(a) < value(b) ? -1 : value(a) > value(b) ? 1 : a.name < b.name ? -1 : 1);
  return [...lines].sort((a, b) => (down ? order(b, a) : order(a, b)));
}

function draw(view, parts, redraw) {
  const found = sorted(view, matching(view));
  const pagesInAll = Math.max(1, Math.ceil(found.length / PAGE));
  const page = Math.min(Math.max(1, Number(view.wanted.page) || 1), pagesInAll);
  const turn = (to) => { view.wanted.page = String(to); remember(view.wanted); redraw(); parts.body.scrollIntoView(); };
  const shown = found.slice((page - 1) * PAGE, page * PAGE);
  fill(parts.count, summary(view, found));
  const focus = document.activeElement?.dataset?.sort;
  fill(parts.body, view.unreadable.map(unreadable), list(view, shown, redraw), pager(page, pagesInAll, turn));
  if (focus) parts.body.querySelector(`[data-sort="${focus}"]`)?.focus();
  drawBar(view, parts, redraw);
}

function drawBar(view, parts, redraw) {
  const chosen = view.lines.filter((line) => view.chosen.has(`${line.vault}/${line.name}`));
  fill(parts.bar, chosen.length ? bulkBar(chosen, () => { view.chosen.clear(); redraw(); }) : null);
}

function summary(view, found) {
  const all = view.lines.length;
  const text = found.length === all ? count(all, "certificate") : `${found.length.toLocaleString("en")} of ${count(all, "certificate")}`;
  if (view.whole) say(text);
  return view.whole ? text : `${text} so far, reading the vaults…`;
}

function unreadable({ vault, error }) {
  return h("p", { class: "notice bad" }, `The vault ${vault} cannot be read: `, bdi(error.message));
}

function list(view, lines, redraw) {
  if (!lines.length) return h("p", { class: "empty" }, view.whole ? "No certificate matches." : "Reading the vaults…");
  return h("div", { class: "scroll" }, h("table", { class: "list" },
    h("caption", { class: "visually-hidden" }, "Certificates"),
    h("thead", {}, h("tr", {}, h("th", { scope: "col", class: "choose" }, chooseAll(view, lines, redraw)),
      COLUMNS.map(([key, title]) => sortable(view, key, title, redraw)))),
    h("tbody", {}, lines.map((line) => row(view, line, redraw)))));
}

function sortable(view, key, title, redraw) {
  const down = view.wanted.sort === `-${key}`, up = view.wanted.sort === key;
  const sort = () => { view.wanted.sort = up ? `-${key}` : key; remember(view.wanted); redraw(); };
  return h("th", { scope: "col", "aria-sort": up ? "ascending" : down ? "descending" : null },
    h("button", { type: "button", class: "sort", "data-sort": key, onclick: sort }, title,
      h("span", { "aria-hidden": "true" }, up ? " ▲" : down ? " ▼" : "")));
}

function chooseAll(view, lines, redraw) {
  const keys = lines.map((line) => `${line.vault}/${line.name}`);
  return h("input", { type: "checkbox", "aria-label": "Choose all on this page", checked: keys.every((key) => view.chosen.has(key)),
    onchange: (event) => { keys.forEach((key) => toggle(view.chosen, key, event.target.checked)); redraw(); } });
}

function toggle(set, key, on) {
  if (on) set.add(key);
  else set.delete(key);
}

function row(view, line, redraw) {
  const key = `${line.vault}/${line.name}`;
  const box = h("input", { type: "checkbox", "aria-label": `Choose ${line.name}`, checked: view.chosen.has(key),
    onchange: (event) => { toggle(view.chosen, key, event.target.checked); redraw(); } });
  const cells = [
    [link(addressOf(line.vault, line.name), bdi(line.name), { class: "strong name" }), namesOf(line)],
    badge(line.state, STATE_KINDS[line.state]),
    line.vault,
    line.authority ? bdi(line.authority) : h("span", { class: "quiet" }, "nobody"),
    line.owner ? bdi(ownerText(line.owner), { class: "clip" }) : h("span", { class: "quiet" }, "nobody"),
    line.expires ? [date(line.expires), h("small", {}, relativeText(line.expires))] : "never",
    line.renewal_due ? [date(line.renewal_due), h("small", {}, relativeText(line.renewal_due)), h("small", { class: "clip", title: line.renewal_reason }, line.renewal_reason)]
      : h("span", { class: "quiet", title: line.renewal_reason }, "not planned"),
    result(failureOf(view, line), line),
  ];
  return h("tr", {}, h("td", { class: "choose" }, box),
    cells.map((cell, number) => h("td", { "data-label": COLUMNS[number][1] }, cell)));
}

/** The names in the newest version, as far as CertRelay has made it; its own page has them all. */
function namesOf({ name, names, more_names: more }) {
  const others = (names ?? []).filter((one) => one !== name);
  return others.length ? h("small", { class: "clip", title: others.join(" ") }, bdi(others.slice(0, 3).join(", ")),
    others.length + more > 3 && ` and ${(others.length + more - 3).toLocaleString("en")} more`) : null;
}

function result(operation, { failed_renewals: failures }) {
  if (!operation && failures) return [badge("failed", "bad"), h("small", {}, `${count(failures, "renewal")} in a row`)];
  if (!operation) return h("span", { class: "quiet" }, "no trouble");
  const error = operation.error ?? operation.last_error;
  return [badge("failing", "warn"), error && h("small", { class: "clip", title: error.message }, bdi(error.message))];
}

function pager(page, pagesInAll, turn) {
  if (pagesInAll === 1) return null;
  return h("nav", { class: "pager", "aria-label": "Pages" },
    button("First", () => turn(1), "", { disabled: page === 1 }),
    button("Previous", () => turn(page - 1), "", { disabled: page === 1 }),
    h("span", {}, `Page ${page} of ${pagesInAll}`),
    button("Next", () => turn(page + 1), "", { disabled: page === pagesInAll }),
    button("Last", () => turn(pagesInAll), "", { disabled: page === pagesInAll }));
}

function download(view) {
  const rows = sorted(view, matching(view)).map((line) => [line.vault, line.name, line.state, line.authority, line.owner, line.expires,
    line.renewal_due, line.renewal_reason, (line.names ?? []).join(" "), line.more_names, line.failed_renewals, line.thumbprint, Object.entries(line.tags).map((pair) => pair.join("=")).join("; "),
    (failureOf(view, line)?.last_error ?? {}).message]);
  const columns = ["vault", "name", "state", "authority", "owner", "expires", "renewal_due", "renewal_reason", "names", "more_names",
    "failed_renewals", "thumbprint", "tags", "last_error"];
  save("certificates.csv", csv(columns, rows), "text/csv;charset=utf-8");
}
