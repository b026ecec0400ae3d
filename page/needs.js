// The entries of the screen Now: one for each thing that needs a person.

import { call } from "./api.js";
import {
  alarm,
  badge,
  bdi,
  button,
  buttons,
  chips,
  code,
  fill,
  h,
  hint,
  li,
  link,
  p,
  quiet,
  say,
  strong,
} from "./dom.js";
import { addressOf, keyOf, linkTo } from "./estate.js";
import { count, dateTime, moment, now as clock, relative, sentence } from "./format.js";
import { isAtLeast } from "./session.js";

const NAMED = 20; // certificates that are named of many that fail for one reason

/** The timers, by the name that the status has for them. */
export const RUNS = { poll: "Poll", sweep: "Sweep", digest: "Digest", crl: "CRLs", event: "Last event" };

/** Everything that needs somebody, the most urgent first: `[kind, title, list of entries, address of all]`. */
export function needsOf({ status, failing, waiting, failed, expired, expiring, poison, unreadable }) {
  const why = new Map(failing.map((one) => [keyOf(one), one]));
  const soon = new Set([...expired, ...expiring].map(keyOf));
  const others = failing.filter((one) => !soon.has(keyOf(one)));
  const isTold = (event, subject) => status.incidents.some((one) => one.event === event && one.subject === subject);
  const down = status.authorities.filter((one) => one.down_since && !isTold("authority-down", one.name));
  const unread = unreadable.filter(({ vault }) => !isTold("vault-unreadable", vault));
  return [
    ["bad", "Incidents", status.incidents.map(incident)],
    ["bad", "Vaults that cannot be read", unread.map(vaultNeed)],
    ["bad", "Authorities that are down", down.map(authorityNeed), "#/authorities"],
    ["bad", "Expired", expired.map((line) => certificateNeed(line, why)), "#/certificates?state=expired"],
    ["warn", "About to expire", expiring.map((line) => certificateNeed(line, why)), "#/certificates?state=expiring"],
    ["warn", "Renewed, and not deployed", status.not_deployed.map(deployNeed)],
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
  return need(
    "bad",
    [badge(one.event, "bad"), bdi(one.subject)],
    p(bdi(one.detail)),
    p(strong("Next: "), bdi(one.next_step)),
    hint("since ", dateTime(one.since), ", ", relative(one.since)),
  );
}

function vaultNeed({ vault, error }) {
  return need("bad", [badge("unreadable", "bad"), bdi(vault)], p(bdi(error.message)));
}

function authorityNeed({ name, down_since: since, detail }) {
  return need(
    "bad",
    [bdi(name), badge("down", "bad"), quiet("since ", dateTime(since), ", ", relative(since))],
    p(bdi(detail)),
  );
}

function certificateNeed(line, why) {
  const operation = why.get(keyOf(line));
  const over = line.state === "expired";
  const reason = operation
    ? errorOf(operation)
    : line.authority
      ? p(line.renewal_due ? planned(line) : ["No renewal is planned: ", bdi(line.renewal_reason), "."])
      : p(`Nobody renews it. Adopt it, or ${over ? "delete it" : "let it expire"}.`);
  return need(
    over ? "bad" : "warn",
    [
      linkTo(line),
      badge(over ? "expired" : "expires", over ? "bad" : "warn"),
      quiet(relative(line.expires), ` · ${line.vault}`, line.authority && [" · ", bdi(line.authority)]),
    ],
    reason,
  );
}

function planned(line) {
  const late = moment(line.renewal_due) < clock();
  return [
    line.failed_renewals > 0 &&
      `${count(line.failed_renewals, "renewal")} failed in a row${line.last_failure ? `: ${line.last_failure}` : ""}. `,
    late ? "Its renewal was due " : "It is renewed ",
    relative(line.renewal_due),
    late ? "; the next sweep starts it." : [": ", line.renewal_reason, "."],
  ];
}

function deployNeed(where) {
  const [vault, name] = where.split("/");
  return need(
    "warn",
    [link(addressOf(vault, name), bdi(name)), badge("not-deployed", "warn"), quiet(vault)],
    p("Its endpoint does not serve the newest version."),
  );
}

function errorOf(operation) {
  const error = operation.error ?? operation.last_error;
  return p(
    bdi(sentence(error?.message ?? operation.status_details)),
    operation.next_attempt_at && quiet(" Next try ", relative(operation.next_attempt_at), "."),
  );
}

function operationNeed(operation) {
  return need(
    operation.status === "failed" ? "bad" : "warn",
    [
      linkTo(operation),
      badge(operation.status === "failed" ? "failed" : "failing", operation.status === "failed" ? "bad" : "warn"),
      quiet(
        `${operation.kind} · ${operation.vault} · ${operation.authority} · `,
        relative(operation.ended_at || operation.requested_at),
      ),
    ],
    errorOf(operation),
  );
}

/** One entry for each operation, and one for all of an authority that have the same error. */
function byCause(operations) {
  const causes = Map.groupBy(operations, ({ authority, error, last_error: last }) =>
    JSON.stringify([authority, (error ?? last)?.code, (error ?? last)?.message]),
  );
  return [...causes.values()].flatMap((list) => (list.length < 3 ? list.map(operationNeed) : [causeNeed(list)]));
}

function causeNeed(list) {
  const [first] = list;
  const failed = first.status === "failed";
  return need(
    failed ? "bad" : "warn",
    [
      bdi(first.authority),
      badge(`${list.length} ${failed ? "failed" : "failing"}`, failed ? "bad" : "warn"),
      quiet("for the same reason"),
    ],
    errorOf(first),
    chips(
      list.slice(0, NAMED).map((one) => li(linkTo(one))),
      list.length > NAMED && li(`and ${list.length - NAMED} more`),
    ),
  );
}

function handNeed(operation) {
  return need(
    "busy",
    [
      linkTo(operation),
      badge("waits for people", "busy"),
      quiet(bdi(operation.authority), " · asked ", relative(operation.requested_at)),
    ],
    p(
      "Its CSR has to be signed, and the certificate brought back. ",
      operation.deadline && ["Given up ", relative(operation.deadline), "."],
    ),
    link(addressOf(operation.vault, operation.name), "Open the CSR"),
  );
}

function lateNeed(run) {
  return need(
    "warn",
    [badge("late", "warn"), RUNS[run.name]],
    p(
      "By its schedule ",
      code(run.schedule),
      " it should have run. Last success: ",
      run.succeeded_at ? relative(run.succeeded_at) : "never",
      ".",
    ),
  );
}

function poisonNeed(message) {
  const act = (method, rest, text) => async (event) => {
    event.target.disabled = true;
    const place = event.target.closest(".need");
    try {
      await call(method, `poison/${encodeURIComponent(message.id)}${rest}`);
      fill(place, p(text));
      say(text);
    } catch (error) {
      place.append(alarm(bdi(error.message)));
    }
  };
  return need(
    "warn",
    [badge(message.queue, "warn"), bdi(message.subject)],
    p(bdi(message.reason)),
    hint(relative(message.at)),
    isAtLeast("Operator") &&
      buttons(
        button("Try it again", act("POST", "/retry", "It is in its queue again.")),
        button("Forget it", act("DELETE", "", "It is forgotten."), "danger"),
      ),
  );
}
