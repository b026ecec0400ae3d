// The screen Now: what needs a person, the most urgent first; or that all is well, and since when.

import { get, ifAllowed, wait, withQuery } from "./api.js";
import { badge, button, h, heading, hint, link, p, refill, say } from "./dom.js";
import { learnAuthorities, waitsForPeople } from "./byhand.js";
import { inStates } from "./estate.js";
import { count, dateTime, digits, now as clock, relative } from "./format.js";
import { needsOf, RUNS } from "./needs.js";

const REFRESH = 20; // seconds
const SHOWN = 6; // entries of a group
const DAY = 86_400_000; // milliseconds
// In place of the status for somebody who may not see all vaults.
const HIDDEN = { runs: [], authorities: [], certificates: [], incidents: [], not_deployed: [] };
// In place of the certificates until they are read.
const UNREAD = { expired: [], expiring: [], unreadable: [], reading: true };

/** The screen. It is read anew from time to time, while somebody can see it. */
export async function now(element, { signal }) {
  await learnAuthorities();
  let show = (found) => draw(element, { ...found, ...UNREAD });
  for (let before = null; ; show = () => {}) {
    const needs = draw(element, await read(signal, show));
    const text = needs ? count(needs, "thing") + " to look at" : "All is well.";
    if (before !== null && text !== before) say(text);
    before = text;
    await wait(REFRESH, signal);
  }
}

/** Everything there is to show. Many certificates take longest: `show` is called with the rest when that is there. */
async function read(signal, show) {
  const [rest, { lines, unreadable }] = await Promise.all([
    readRest(signal).then((found) => (show(found), found)),
    inStates(["expired", "expiring"], signal),
  ]);
  lines.sort((a, b) => (a.expires < b.expires ? -1 : 1));
  const [expired, expiring] = ["expired", "expiring"].map((state) => lines.filter((line) => line.state === state));
  return { ...rest, expired, expiring, unreadable };
}

async function readRest(signal) {
  const since = new Date(clock() - DAY).toISOString();
  const operations = (parameters) =>
    get(withQuery("operations", { max: 100, ...parameters }), signal).then((page) => page.value);
  const [status, failing, submitted, failed, poison] = await Promise.all([
    get("status", signal).catch(ifAllowed(HIDDEN)),
    operations({ state: "failing" }),
    operations({ state: "submitted" }),
    operations({ state: "failed", since }),
    get("poison", signal).catch(ifAllowed({ value: [] })),
  ]);
  return { status, failing, waiting: submitted.filter(waitsForPeople), failed, poison: poison.value };
}

/** Draw it, and return how many groups of things need somebody. */
function draw(element, found) {
  const needs = needsOf(found);
  const open = new Set([...element.querySelectorAll("section[data-all]")].map((one) => one.dataset.all));
  refill(
    element,
    heading(needs.length ? "What needs you now" : "Now", hint("as of ", dateTime(new Date(clock()).toISOString()))),
    tiles(found),
    found.reading && hint("Reading the vaults for what expires…"),
    needs.length ? needs.map((one) => group(one, open)) : !found.reading && well(found.status),
    runs(found.status),
  );
  return needs.length;
}

function tiles({ status, reading, expired, expiring, failing, failed, waiting }) {
  const tile = (number, text, address, kind) =>
    h(
      "a",
      { class: `tile ${number ? kind : ""}`, href: address },
      h("b", {}, number == null ? "…" : digits(number)),
      h("span", {}, text),
    );
  const total = status.certificates.reduce((sum, one) => sum + one.count, 0);
  return h(
    "div",
    { class: "tiles" },
    tile(reading ? null : expired.length, "expired", "#/certificates?state=expired", "bad"),
    tile(reading ? null : expiring.length, "about to expire", "#/certificates?state=expiring", "warn"),
    tile(failing.length, "failing", "#/history?state=failing", "warn"),
    tile(failed.length, "failed in the last day", "#/history?state=failed", "bad"),
    tile(waiting.length, "waiting for people", "#/history?state=submitted", "busy"),
    status.operations && tile(status.operations.open, "operations running", "#/history?state=open", "busy"),
    total > 0 && tile(total, "certificates", "#/certificates", "good"),
  );
}

function group([, title, list, address], open) {
  const whole = open.has(title);
  const shown = h("ul", { class: "needs" }, whole ? list : list.slice(0, SHOWN));
  const section = h(
    "section",
    { "data-all": whole ? title : null },
    h("h2", {}, title, list.length > 1 && ` (${list.length})`),
    shown,
  );
  if (list.length > SHOWN && !whole) {
    const more = button(
      `Show the other ${list.length - SHOWN}`,
      () => {
        shown.append(...list.slice(SHOWN));
        section.dataset.all = title;
        more.remove();
      },
      "link",
    );
    section.append(p(more, address && [" · ", link(address, "as a list")]));
  }
  return section;
}

function well(status) {
  const sweep = status.runs.find((run) => run.name === "sweep");
  return h(
    "section",
    { class: "well" },
    h("h2", {}, "All is well"),
    p(
      sweep?.succeeded_at
        ? ["The last sweep ended ", relative(sweep.succeeded_at), ", and nothing waits for anybody."]
        : `Nothing waits for anybody.${sweep ? " The first sweep has not run yet." : ""}`,
    ),
  );
}

function runs(status) {
  return h(
    "p",
    { class: "legend" },
    status.version && h("span", {}, `CertRelay ${status.version}`),
    status.runs.map((run) =>
      h(
        "span",
        {},
        `${RUNS[run.name] ?? run.name}: `,
        run.ended_at ? relative(run.ended_at) : "not yet",
        run.ok === false && [" ", badge("failed", "bad")],
        run.late && [" ", badge("late", "warn")],
      ),
    ),
  );
}
