// One operation as people look at it: every transition, live while it runs.

import { badge, bdi, code, details, facts, h, quiet, strong } from "./dom.js";
import { dateTime, duration, moment, relative, sentence, standing, STEPS } from "./format.js";
import { who } from "./session.js";

const ROAD = ["requested", "pending", "submitted", "issued", "completed"];
const MEANING = {
  requested: "Accepted; nothing is in Key Vault yet.",
  pending: "Key Vault has made the key and the CSR.",
  submitted: "The authority has the order.",
  issued: "The authority has issued the certificate; it is verified before it is merged.",
  completed: "The new version is in Key Vault.",
  failed: "It ended without a new version.",
  canceled: "No new version was made.",
};

/** The operation's progress, its transitions, and its last error. */
export function timeline(operation) {
  const [words, kind] = standing(operation);
  const error = operation.error ?? operation.last_error;
  return h(
    "div",
    { class: "operation" },
    h(
      "p",
      { class: "operation-title" },
      badge(words, kind),
      " ",
      strong(titleOf(operation)),
      " ",
      quiet("asked by ", who(operation), " ", relative(operation.requested_at)),
    ),
    operation.status === "inProgress" && road(operation),
    error &&
      h(
        "p",
        { class: operation.error ? "notice bad" : "notice warn" },
        strong(error.code),
        " ",
        bdi(sentence(error.message)),
        operation.next_attempt_at && [" Next try ", relative(operation.next_attempt_at), "."],
      ),
    h(
      "ol",
      { class: "transitions" },
      operation.transitions.map((one, number) => transition(operation, one, number)),
    ),
    more(operation),
  );
}

const KINDS = { create: "New version", renew: "Renewal", import: "Import" };
const titleOf = (operation) =>
  `${KINDS[operation.kind] ?? operation.kind}${operation.authority ? ` by ${operation.authority}` : ""}`;

function road(operation) {
  const reached = ROAD.indexOf(operation.step);
  return h(
    "ol",
    { class: "road", "aria-label": "Progress" },
    ROAD.map((step, number) =>
      h(
        "li",
        {
          class: number < reached ? "done" : number === reached ? "here" : "",
          "aria-current": number === reached ? "step" : null,
        },
        STEPS[step],
      ),
    ),
  );
}

function transition(operation, one, number) {
  const before = operation.transitions[number - 1];
  const after = before ? `${duration((moment(one.at) - moment(before.at)) / 1000)} later` : "";
  return h(
    "li",
    { class: one.step },
    strong(STEPS[one.step] ?? one.step),
    " ",
    quiet(dateTime(one.at), after && ` · ${after}`),
    h("br"),
    one.detail ? bdi(one.detail) : MEANING[one.step],
  );
}

function more(operation) {
  const open = operation.status === "inProgress";
  return details(
    "Details",
    facts([
      ["Operation", code(operation.id)],
      ["Asked by", operation.requested_by_name && code(operation.requested_by)],
      ["Why", operation.reason && bdi(operation.reason)],
      ["Order at the authority", operation.request_id && code(operation.request_id)],
      ["Next look", open && operation.next_attempt_at && dateTime(operation.next_attempt_at)],
      ["Given up at", open && operation.deadline && dateTime(operation.deadline)],
      ["Took", operation.ended_at && duration((moment(operation.ended_at) - moment(operation.requested_at)) / 1000)],
      ["New version", operation.target && code(operation.target.split("/").pop())],
    ]),
  );
}
