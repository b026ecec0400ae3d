// Where a certificate is served, and what was seen there last.

import { badge, bdi, card, code, facts, p, small } from "./dom.js";
import { date, dateTime, fingerprint, relative } from "./format.js";

const STATES = {
  deployed: ["serves the newest version", "good"],
  pending: ["serves another certificate; there is time left", "busy"],
  "not-deployed": ["does not serve the newest version", "bad"],
  unreachable: ["could not be looked at", "warn"],
  unseen: ["has not been looked at yet", "quiet"],
  "not-allowed": ["is not looked at: the setting CERTRELAY_ENDPOINTS does not allow it", "quiet"],
};

/** The card of one certificate's endpoint. */
export function endpointCard({ address, state, served, error, ...times }) {
  const [words, kind] = STATES[state];
  const at = (time) => time && [dateTime(time), " (", relative(time), ")"];
  return card(
    "Where it is served",
    p(badge(state, kind), " ", bdi(address, { class: "strong" }), ` ${words}.`),
    facts([
      ["Serves", served && seen(state, served)],
      ["Newest version since", at(times.newest_since)],
      ["To be served by", state === "pending" && at(times.deploy_until)],
      ["Looked at", at(times.looked_at)],
      ["Error", error && bdi(error)],
      ["Unreachable since", at(times.unreachable_since)],
    ]),
  );
}

function seen(state, { thumbprint, not_before: begins, expires, earlier_version: earlier }) {
  const which = state === "deployed" ? "the newest version" : earlier ? "an earlier version" : "another certificate";
  return [
    which,
    begins && [", valid from ", date(begins)],
    expires && [" to ", date(expires), " (", relative(expires), ")"],
    small("SHA-1 ", code(fingerprint(thumbprint))),
  ];
}
