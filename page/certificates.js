// The screen Certificates: all vaults; search, filter, sort, CSV; renew, adopt and release many.

import { ApiError, pages, wait } from "./api.js";
import { bdi, button, buttons, csv, empty, fill, h, headed, heading, link, notice, refill, save } from "./dom.js";
import { bulkBar } from "./bulk.js";
import { learnAuthorities } from "./byhand.js";
import { authorityNames, keyOf, load, reload } from "./estate.js";
import { filtersOf } from "./form.js";
import { count, digits, STATES } from "./format.js";
import { cellsOf, COLUMNS } from "./row.js";
import { allLines, matching, openOf, sorted } from "./search.js";
import { vaultNames, vaultsFor } from "./session.js";

const PAGE = 50;
const PAUSE = 500; // milliseconds between two looks at a list that is still being read
const REFRESH = 20; // seconds between two looks at the operations that run
const DEFAULTS = {
  q: "",
  state: "",
  authority: "",
  vault: "",
  tag: "",
  days: "",
  before: "",
  sort: "expires",
  page: "1",
};

/** The screen. The filters are in the address, so that it can be sent to somebody. */
export async function certificates(element, { query, signal }) {
  const view = {
    lines: [],
    whole: false,
    drawn: 0,
    chosen: new Set(),
    open: new Map(),
    ended: new Map(),
    unreadable: [],
  };
  view.filters = filtersOf("certificates", query, DEFAULTS, () => draw(view));
  view.parts = { filters: h("div"), count: h("p", { class: "quiet", role: "status" }), body: h("div"), bar: h("div") };
  fill(element, top(view), view.parts.filters, view.parts.bar, view.parts.count, view.parts.body);
  draw(view);
  view.drawn = 0; // the first rows do not wait
  const show = (lines) => {
    view.lines = lines;
    if (!view.drawn || performance.now() - view.drawn > PAUSE) draw(view);
  };
  view.ready = Promise.all([load(show, signal), readOpen(view, signal), showFilters(view)]);
  const [{ unreadable }] = await view.ready;
  Object.assign(view, { unreadable, whole: true });
  draw(view);
  await watch(view, signal);
}

async function readOpen(view, signal) {
  await learnAuthorities();
  const open = new Map();
  for await (const page of pages("operations", { state: "open", max: 200 }, signal)) {
    for (const operation of page) open.set(keyOf(operation), operation);
  }
  for (const [key, operation] of view.open) if (open.get(key)?.id !== operation.id) view.ended.set(key, operation);
  view.open = open;
}

/** Look again at what runs. What has ended is marked: to read the vaults anew is for the person to ask for. */
async function watch(view, signal) {
  for (;;) {
    await wait(REFRESH, signal);
    try {
      const before = JSON.stringify([...view.open]);
      await readOpen(view, signal);
      if (JSON.stringify([...view.open]) !== before) draw(view);
    } catch (error) {
      if (!(error instanceof ApiError && error.passes)) throw error;
    }
  }
}

function top(view) {
  const add = vaultsFor("create_certificate").length > 0;
  return heading(
    "Certificates",
    buttons(
      button("Refresh", reload),
      button("CSV", ({ target }) => download(view, target)),
      add && link("#/new", "New certificate", { class: "button primary" }),
    ),
  );
}

async function showFilters({ filters, parts }) {
  const authorities = await authorityNames();
  fill(
    parts.filters,
    filters.form(
      filters.input("q", "Search", { type: "search", placeholder: "name, owner, tag, thumbprint" }),
      filters.choice("state", "State", [...STATES, "failing"]),
      filters.choice("authority", "Authority", [...authorities, "none"]),
      filters.choice("vault", "Vault", vaultNames()),
      filters.input("tag", "Tag", { placeholder: "team=web" }),
      filters.input("days", "Expires within days", { type: "number", min: 0, max: 100000 }),
      filters.input("before", "Expires before", { type: "date" }),
    ),
  );
}

function draw(view) {
  const { filters, parts } = view;
  const found = sorted(view, matching(view));
  const pagesInAll = Math.max(1, Math.ceil(found.length / PAGE));
  const page = Math.min(Math.max(1, Number(filters.wanted.page) || 1), pagesInAll);
  const turn = (to) => {
    filters.set({ page: String(to) });
    parts.body.scrollIntoView();
  };
  view.drawn = performance.now();
  fill(parts.count, summary(view, found));
  refill(
    parts.body,
    view.unreadable.map(unreadable),
    list(view, found.slice((page - 1) * PAGE, page * PAGE)),
    pager(page, pagesInAll, turn),
  );
  drawBar(view, found);
}

function drawBar(view, found) {
  const chosen = view.lines.filter((line) => view.chosen.has(keyOf(line)));
  const existing = found.filter((line) => line.state !== "new");
  const choose = (lines) => {
    view.chosen = new Set(lines.map(keyOf));
    draw(view);
  };
  refill(
    view.parts.bar,
    chosen.length
      ? bulkBar(
          chosen,
          existing.length > chosen.length &&
            button(`Choose all ${digits(existing.length)}`, () => choose(existing), "link"),
          () => choose([]),
        )
      : null,
  );
}

function summary(view, found) {
  const all = allLines(view).length;
  const text =
    found.length === all ? count(all, "certificate") : `${digits(found.length)} of ${count(all, "certificate")}`;
  return view.whole ? text : `${text} so far, reading the vaults…`;
}

/** That a vault is missing here, and why. */
export function unreadable({ vault, error }) {
  return notice("bad", `The vault ${vault} cannot be read: `, bdi(error.message));
}

function row(view, line) {
  const key = keyOf(line);
  return h(
    "tr",
    {},
    h("td", { class: "choose" }, line.state !== "new" && checkbox(view, `Choose ${line.name}`, [key])),
    cellsOf(line, view.open.get(key), view.ended.get(key)).map((cell, number) =>
      h("td", { "data-label": COLUMNS[number][1] }, cell),
    ),
  );
}

function list(view, lines) {
  if (!lines.length) {
    return empty(view.whole ? "No certificate matches." : "Reading the vaults…");
  }
  return h(
    "div",
    { class: "scroll" },
    headed(
      "Certificates",
      [
        h("th", { scope: "col", class: "choose" }, chooseAll(view, lines)),
        COLUMNS.map(([key, title]) => sortable(view.filters, key, title)),
      ],
      h(
        "tbody",
        {},
        lines.map((line) => row(view, line)),
      ),
      { class: "list" },
    ),
  );
}

function sortable({ wanted, set }, key, title) {
  const down = wanted.sort === `-${key}`,
    up = wanted.sort === key;
  return h(
    "th",
    { scope: "col", "aria-sort": up ? "ascending" : down ? "descending" : null },
    button(title, () => set({ sort: up ? `-${key}` : key }), "sort"),
  );
}

function chooseAll(view, lines) {
  const existing = lines.filter((line) => line.state !== "new");
  return checkbox(view, "Choose all on this page", existing.map(keyOf));
}

function checkbox(view, label, keys) {
  return h("input", {
    type: "checkbox",
    "aria-label": label,
    checked: keys.every((key) => view.chosen.has(key)),
    onchange: ({ target }) => {
      for (const key of keys) view.chosen[target.checked ? "add" : "delete"](key);
      draw(view);
    },
  });
}

function pager(page, pagesInAll, turn) {
  if (pagesInAll === 1) return null;
  const to = (title, target) =>
    button(title, () => turn(target), "", { disabled: target < 1 || target > pagesInAll || target === page });
  return h(
    "nav",
    { class: "pager", "aria-label": "Pages" },
    to("First", 1),
    to("Previous", page - 1),
    h("span", {}, `Page ${page} of ${pagesInAll}`),
    to("Next", page + 1),
    to("Last", pagesInAll),
  );
}

const CSV = [
  "vault",
  "name",
  "state",
  "authority",
  "owner",
  "owner_name",
  "expires",
  "renewal_due",
  "renewal_reason",
  "names",
  "more_names",
  "failed_renewals",
  "last_failure",
  "thumbprint",
  "tags",
];

/** As a file, when all vaults are read. */
async function download(view, pressed) {
  pressed.disabled = true;
  await view.ready.finally(() => {
    pressed.disabled = false;
  });
  const rows = sorted(view, matching(view)).map((line) => {
    const written = {
      ...line,
      names: (line.names ?? []).join(" "),
      tags: Object.entries(line.tags)
        .map((pair) => pair.join("="))
        .join("; "),
    };
    return [...CSV.map((name) => written[name]), openOf(view, line)?.last_error?.message];
  });
  save("certificates.csv", csv([...CSV, "last_error"], rows), "text/csv;charset=utf-8");
}
