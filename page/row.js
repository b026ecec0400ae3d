// One certificate in the list: its columns, and how it goes with its renewal.

import { badge, bdi, button, h, quiet, small } from "./dom.js";
import { waitsForPeople } from "./byhand.js";
import { linkTo, reload } from "./estate.js";
import { count, date, digits, relative, relativeText, standing, STATE_KINDS } from "./format.js";
import { who } from "./session.js";

/** What a list is sorted by, and the title, of each column. */
export const COLUMNS = [
  ["name", "Name"],
  ["state", "State"],
  ["vault", "Vault"],
  ["authority", "Renewed by"],
  ["owner", "Owner"],
  ["expires", "Expires"],
  ["renewal_due", "Next renewal"],
  ["result", "How it goes"],
];

/** The cells. `operation`: the one that runs; `ended`: one that has ended since the list was read. */
export function cellsOf(line, operation, ended) {
  const clipped = (text) => h("small", { class: "clip", title: text }, text);
  return [
    [linkTo(line, { class: "strong name" }), namesOf(line)],
    badge(line.state, STATE_KINDS[line.state]),
    line.vault,
    line.authority ? bdi(line.authority) : quiet("nobody"),
    line.owner
      ? who(line, "owner", { class: "clip" })
      : line.state === "new" && operation
        ? [who(operation), small("has asked for it")]
        : quiet("nobody"),
    line.expires ? [date(line.expires), small(relativeText(line.expires))] : line.state === "new" ? "" : "never",
    [
      line.renewal_due ? [date(line.renewal_due), small(relativeText(line.renewal_due))] : quiet("not planned"),
      clipped(line.renewal_reason),
    ],
    result(line, operation, ended),
  ];
}

/** The names in the newest version, as far as CertRelay has made it; its own page has them all. */
function namesOf({ name, names, more_names: more }) {
  const others = (names ?? []).filter((one) => one !== name);
  return others.length
    ? h(
        "small",
        { class: "clip", title: others.join(" ") },
        bdi(others.slice(0, 3).join(", ")),
        others.length + more > 3 && ` and ${digits(others.length + more - 3)} more`,
      )
    : null;
}

/** What its open operation does or waits for, or how the last renewals ended. */
function result(line, operation, ended) {
  return [
    progress(line, operation, ended),
    line.endpoint?.state === "not-deployed" && [" ", badge("not deployed", "bad")],
  ];
}

function progress({ state, failed_renewals: failures, last_failure: failure }, operation, ended) {
  const why = (text) => text && h("small", { class: "clip", title: text }, bdi(text));
  const failed = failures > 0 && [small(`${count(failures, "renewal")} failed in a row`), why(failure)];
  if (operation?.last_error) {
    const { last_error: error, next_attempt_at: next } = operation;
    return [badge("failing", "warn"), why(error.message), next && small("next try ", relative(next))];
  }
  if (!operation && ended)
    return [
      badge("has ended", "quiet"),
      " ",
      button("Refresh", reload, "link", {
        "aria-label": `Refresh, since the ${ended.kind} of ${ended.name} has ended`,
      }),
    ];
  if (operation)
    return [waitsForPeople(operation) ? badge("waits for people", "busy") : badge(...standing(operation)), failed];
  if (failures) return [badge("failed", "bad"), failed];
  return quiet(["expired", "expiring"].includes(state) ? "nothing is under way" : "no trouble");
}
