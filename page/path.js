// A certificate and the path to its root, with bars for their validity on one scale.

import { bdi, code, details, facts, h, hint, longList, quiet } from "./dom.js";
import { date, digits, fingerprint, moment, now, relativeText } from "./format.js";

const DAY = 86_400_000;

/** The contents of the certificate. */
export function contents(found) {
  const names = [
    ["DNS names", found.dns_names],
    ["E-mail addresses", found.email_addresses],
    ["IP addresses", found.ip_addresses],
    ["URIs", found.uris],
  ].filter(([, list]) => list?.length);
  return facts([
    ["Subject", found.subject !== undefined && (found.subject ? bdi(found.subject) : quiet("empty"))],
    ...names.map(([title, list]) => [`${title}${list.length > 1 ? ` (${digits(list.length)})` : ""}`, longList(list)]),
    ["Issuer", found.issuer && bdi(found.issuer)],
    ["Key", found.key_type && `${found.key_type}, ${found.key_size} bits`],
    [
      "Valid",
      found.not_before && [
        date(found.not_before),
        " to ",
        date(found.not_after),
        ` (${relativeText(found.not_after)})`,
      ],
    ],
    ["Serial number", found.serial_number && code(fingerprint(found.serial_number))],
    ["SHA-1", found.x5t && code(fingerprint(hexOf(found.x5t)))],
    ["SHA-256", code(fingerprint(found.thumbprint_sha256))],
  ]);
}

/** Key Vault's `x5t`, which is base64url, as people compare it. */
function hexOf(text) {
  const octets = [...atob(text.replaceAll("-", "+").replaceAll("_", "/"))];
  return octets.map((one) => one.charCodeAt(0).toString(16).padStart(2, "0")).join("");
}

/** The path from the certificate to the root, the root first, as in a tree. */
export function pathOf(chain) {
  const dated = chain.filter((one) => one.not_before);
  if (!dated.length) return hint("The chain is not known: CertRelay did not merge or import this version.");
  const window = scale(dated[0]);
  return h(
    "ol",
    { class: "path" },
    [...chain].reverse().map((one, level) => link(one, level, window, chain.length)),
  );
}

/** The time that the bars show: the certificate's own validity and a little around it. */
function scale(leaf) {
  const begin = moment(leaf.not_before),
    end = moment(leaf.not_after);
  const margin = Math.max((end - begin) * 0.15, DAY / 24);
  return { begin: Math.min(begin, now()) - margin, end: Math.max(end, now()) + margin };
}

function link(one, level, window, length) {
  const role =
    level === length - 1 ? "This certificate" : level === 0 && one.subject === one.issuer ? "Root" : "Issuer";
  return h(
    "li",
    { class: `level-${Math.min(level, 4)}` },
    h(
      "div",
      { class: "path-name" },
      quiet(role),
      " ",
      bdi(one.subject || one.dns_names?.[0] || "without a subject", { class: "strong" }),
    ),
    one.not_before ? bar(one, window) : hint("It cannot be read."),
    details("Contents", contents(one)),
  );
}

function bar(one, { begin, end }) {
  const at = (time) => Math.min(100, Math.max(0, (100 * (moment(time) - begin)) / (end - begin)));
  const from = at(one.not_before),
    to = at(one.not_after);
  const filled = h("span", { class: moment(one.not_after) < now() ? "valid over" : "valid" });
  filled.style.left = `${from}%`;
  filled.style.width = `${Math.max(to - from, 0.5)}%`;
  const today = h("span", { class: "today", title: "now" });
  today.style.left = `${(100 * (now() - begin)) / (end - begin)}%`;
  return h(
    "div",
    {},
    h("div", { class: "bar", "aria-hidden": "true" }, filled, today),
    h(
      "div",
      { class: "bar-dates quiet" },
      h("span", {}, date(one.not_before)),
      h("span", {}, "until ", date(one.not_after)),
    ),
  );
}
