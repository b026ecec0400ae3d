// The screen Now: what needs a person, the most urgent first; or that all is well, and since when.

import { ApiError, call, get, wait, withQuery } from "./api.js";
import { badge, bdi, button, fill, h, link, say } from "./dom.js";
import { learnAuthorities, waitsForPeople } from "./byhand.js";
import { addressOf, inState } from "./estate.js";
import { count, dateTime, moment, now as clock, relative, useClock } from "./format.js";
import { isAtLeast } from "./session.js";

const REFRESH = 20, SHOWN = 6, NAMED = 20, DAY = 86_400_000;
const RUNS = { poll: "Poll", sweep: "Sweep", digest: "Digest", crl: "CRLs", event: "Last event" };

/** The screen. It is read anew from time to time. */
export async function now(element, { signal }) {
  await learnAuthorities(signal);
  for (let before = null; ;) {
    const found = await read(signal);
    const needs = needsOf(found);
    draw(element, found, needs);
    const text = needs.length ? count(needs.length, "thing") + " to look at" : "All is well.";
    if (before !== null && text !== before) say(text);
    before = text;
    await wait(REFRESH, signal);
  }
}

async function read(signal) {
  const since = new Date(clock() - DAY).toISOString();
  const operations = (parameters) => get(withQuery("operations", { max: 100, ...parameters }), signal).then((page) => page.value);
  const [status, failing, submitted, failed, expired, expiring, poison] = await Promise.all([
    get("status", signal), operations({ state: "failing" }), operations({ state: "submitted" }), operations({ state: "failed", since }),
    inState("expired", signal), inState("expiring", signal), get("poison", signal).catch(ifAllowed({ value: [] }))]);
  useClock(status.now);
  return { status, failing, waiting: submitted.filter(waitsForPeople), failed, expired, expiring, poison: poison.value };
}

/** What is shown in place of something that the caller may not read. */
const ifAllowed = (instead) => (error) => {
  if (error instanceof ApiError && error.status === 403) return instead;
  throw error;
};

/** Everything that needs somebody, the most urgent first: `[kind, title, list of entries, address of all]`. */
function needsOf({ status, failing, waiting, failed, expired, expiring, poison }) {
  const why = new Map(failing.map((one) => [`${one.vault}/${one.name}`, one]));
  const soon = new Set([...expired, ...expiring].map((one) => `${one.vault}/${one.name}`));
  const others = failing.filter((one) => !soon.has(`${one.vault}/${one.name}`));
  const byExpiry = (a, b) => (a.expires < b.expires ? -1 : 1);
  return [
    ["bad", "Incidents", status.incidents.map(incident)],
    ["bad", "Expired", expired.sort(byExpiry).map((line) => certificateNeed(line, why)), "#/certificates?state=expired"],
    ["warn", "About to expire", expiring.sort(byExpiry).map((line) => certificateNeed(line, why)), "#/certificates?state=expiring"],
    ["warn", "Renewed, and not deployed", (status.not_deployed ?? []).map(deployNeed)],
    ["warn", "Failing, and tried again", byCause(others), "#/history?state=failing"],
    ["busy", "Waiting for people", waiting.map(handNeed), "#/history?state=submitted"],
    ["warn", "Failed in the last day", byCause(failed), "#/history?state=failed"],
    ["warn", "Late", status.runs.filter((run) => run.late).map(lateNeed)],
    ["warn", "Messages that could not be processed", poison.map(poisonNeed)],
  ].filter(([, , list]) => list.length);
}

function need(kind, title, ...content) {
  return h("li", { class: `need ${kind}` }, h("h3", {}, title), content);
}

function incident(one) {
  return need("bad", [badge(one.event, "bad"), bdi(one.subject)], h("p", {}, bdi(one.detail)),
    h("p", {}, h("strong", {}, "Next: "), bdi(one.next_step)), h("p", { class: "quiet" }, "since ", relative(one.since)));
}

function certificateNeed(line, why) {
  const operation = why.get(`${line.vault}/${line.name}`);
  const over = line.state === "expired";
  const reason = operation ? errorOf(operation) : line.authority
    ? h("p", {}, line.renewal_due ? planned(line) : ["No renewal is planned: ", bdi(line.renewal_reason), "."])
    : h("p", {}, "Nobody renews it. Adopt it, or let it expire.");
  return need(over ? "bad" : "warn", [link(addressOf(line.vault, line.name), bdi(line.name)), badge(over ? "expired" : "expires", over ? "bad" : "warn"),
    h("span", { class: "quiet" }, relative(line.expires), ` · ${line.vault}`, line.authority && [" · ", bdi(line.authority)])], reason);
}

function planned(line) {
  const late = moment(line.renewal_due) < clock();
  return [line.failed_renewals > 0 && `${count(line.failed_renewals, "renewal")} failed in a row. `, late ? "Its renewal was due " : "It is renewed ", relative(line.renewal_due),
    late ? "; the next sweep starts it." : [": ", line.renewal_reason, "."]];
}

function deployNeed(where) {
  const [vault, name] = where.split("/");
  return need("warn", [link(addressOf(vault, name), bdi(name)), badge("not-deployed", "warn"), h("span", { class: "quiet" }, vault)],
    h("p", {}, "Its endpoint does not serve the newest version."));
}

function errorOf(operation) {
  const error = operation.error ?? operation.last_error;
  return h("p", {}, bdi(error?.message ?? operation.status_details),
    operation.next_attempt_at && h("span", { class: "quiet" }, " Next try ", relative(operation.next_attempt_at), "."));
}

function operationNeed(operation) {
  return need(operation.status === "failed" ? "bad" : "warn", [link(addressOf(operation.vault, operation.name), bdi(operation.name)),
    badge(operation.status === "failed" ? "failed" : "failing", operation.status === "failed" ? "bad" : "warn"),
    h("span", { class: "quiet" }, `${operation.kind} · ${operation.vault} · ${operation.authority} · `, relative(operation.ended_at || operation.requested_at))], errorOf(operation));
}

/** One entry for each operation, and one for all of an authority that have the same error. */
function byCause(operations) {
  const causes = Map.groupBy(operations, ({ authority, error, last_error: last }) => JSON.stringify([authority, (error ?? last)?.code, (error ?? last)?.message]));
  return [...causes.values()].flatMap((list) => (list.length < 3 ? list.map(operationNeed) : [causeNeed(list)]));
}

function causeNeed(list) {
  const [first] = list;
  const failed = first.status === "failed";
  return need(failed ? "bad" : "warn", [bdi(first.authority), badge(`${list.length} ${failed ? "failed" : "failing"}`, failed ? "bad" : "warn"),
    h("span", { class: "quiet" }, "for the same reason")], errorOf(first), h("ul", { class: "tags" }, list.slice(0, NAMED).map((one) =>
    h("li", {}, link(addressOf(one.vault, one.name), bdi(one.name)))), list.length > NAMED && h("li", {}, `and ${list.length - NAMED} more`)));
}

function handNeed(operation) {
  return need("busy", [link(addressOf(operation.vault, operation.name), bdi(operation.name)), badge("waits for people", "busy"),
    h("span", { class: "quiet" }, bdi(operation.authority), " · asked ", relative(operation.requested_at))],
  h("p", {}, "Its CSR has to be signed, and the certificate brought back. ", operation.deadline && ["Given up ", relative(operation.deadline), "."]),
  link(addressOf(operation.vault, operation.name), "Open the CSR"));
}

function lateNeed(run) {
  return need("warn", [badge("late", "warn"), RUNS[run.name]], h("p", {}, "By its schedule ", h("code", {}, run.schedule), " it should have run. Last success: ",
    run.succeeded_at ? relative(run.succeeded_at) : "never", "."));
}

function poisonNeed(message) {
  const act = (method, rest, text) => async (event) => {
    event.target.disabled = true;
    const place = event.target.closest(".need");
    try {
      await call(method, `poison/${encodeURIComponent(message.id)}${rest}`);
      fill(place, h("p", {}, text));
      say(text);
    } catch (error) {
      place.append(h("p", { class: "fault", role: "alert" }, bdi(error.message)));
    }
  };
  return need("warn", [badge(message.queue, "warn"), bdi(message.subject)], h("p", {}, bdi(message.reason)), h("p", { class: "quiet" }, relative(message.at)),
    isAtLeast("Operator") && h("div", { class: "buttons" }, button("Try it again", act("POST", "/retry", "It is in its queue again.")),
      button("Forget it", act("DELETE", "", "It is forgotten."), "danger")));
}

function draw(element, found, needs) {
  const open = new Set([...element.querySelectorAll("section[data-all]")].map((one) => one.dataset.all));
  fill(element, h("div", { class: "heading" }, h("h1", {}, needs.length ? "What needs you now" : "Now"),
    h("p", { class: "quiet" }, "as of ", dateTime(found.status.now))),
  tiles(found), needs.length ? needs.map((one) => group(one, open)) : well(found.status), runs(found.status));
}

function tiles({ status, expired, expiring, failing, failed, waiting }) {
  const tile = (number, text, address, kind) => h("a", { class: `tile ${number ? kind : ""}`, href: address }, h("b", {}, number.toLocaleString("en")), h("span", {}, text));
  const total = status.certificates.reduce((sum, one) => sum + one.count, 0);
  return h("div", { class: "tiles" },
    tile(expired.length, "expired", "#/certificates?state=expired", "bad"),
    tile(expiring.length, "about to expire", "#/certificates?state=expiring", "warn"),
    tile(failing.length, "failing", "#/history?state=failing", "warn"),
    tile(failed.length, "failed in the last day", "#/history?state=failed", "bad"),
    tile(waiting.length, "waiting for people", "#/history?state=submitted", "busy"),
    tile(status.operations.open, "operations running", "#/history?state=open", "busy"),
    total > 0 && tile(total, "certificates", "#/certificates", "good"));
}

function group([, title, list, address], open) {
  const whole = open.has(title);
  const shown = h("ul", { class: "needs" }, whole ? list : list.slice(0, SHOWN));
  const section = h("section", { "data-all": whole ? title : null }, h("h2", {}, title, list.length > 1 && ` (${list.length})`), shown);
  if (list.length > SHOWN && !whole) {
    const more = button(`Show the other ${list.length - SHOWN}`, () => {
      shown.append(...list.slice(SHOWN));
      section.dataset.all = title;
      more.remove();
    }, "link");
    section.append(h("p", {}, more, address && [" · ", link(address, "as a list")]));
  }
  return section;
}

function well(status) {
  const sweep = status.runs.find((run) => run.name === "sweep");
  return h("section", { class: "well" }, h("h2", {}, "All is well"), h("p", {}, sweep?.succeeded_at
    ? ["The last sweep ended ", relative(sweep.succeeded_at), ", and nothing waits for anybody."] : "Nothing waits for anybody. The first sweep has not run yet."));
}

function runs(status) {
  return h("p", { class: "legend" }, status.runs.map((run) => h("span", {}, `${RUNS[run.name] ?? run.name}: `,
    run.ended_at ? relative(run.ended_at) : "not yet", run.ok === false && [" ", badge("failed", "bad")], run.late && [" ", badge("late", "warn")])));
}
