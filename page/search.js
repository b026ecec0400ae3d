// Which certificates the list shows, and in what order.

import { keyOf } from "./estate.js";
import { daysUntil, moment, STATES } from "./format.js";

/** All lines, and one for each name whose first version is being made: Key Vault's list has none for it. */
export function allLines(view) {
  const { lines, whole, unreadable, open, ended } = view;
  const creating = [...new Map([...ended, ...open])].filter(([, one]) => one.kind === "create");
  if (!whole || !creating.length) return lines;
  const known = new Set(lines.map(keyOf));
  const isRead = (vault) => !unreadable.some((one) => one.vault === vault);
  const missing = creating.filter(([key, { vault }]) => !known.has(key) && isRead(vault));
  return [...lines, ...missing.map(([, operation]) => unborn(operation))];
}

const unborn = ({ vault, name, authority }) => ({
  ...{ vault, name, authority, state: "new", expires: null, renewal_due: null, failed_renewals: 0, tags: {} },
  renewal_reason: "its first version is being made",
});

/** The lines that the filters let through. */
export function matching(view) {
  const { q, state, authority, vault, tag, days, before } = view.filters.wanted;
  const words = q.toLowerCase().split(/\s+/).filter(Boolean);
  const [tagName, ...tagValue] = tag.split("="); // a value may have that sign, too
  const hasTag = ({ tags }) =>
    Object.hasOwn(tags, tagName) && (!tagValue.length || tags[tagName] === tagValue.join("="));
  return allLines(view).filter((line) => {
    if (vault && line.vault !== vault) return false;
    if (authority && (line.authority ?? "none") !== authority) return false;
    if (state === "failing" ? !isFailing(view, line) : state && line.state !== state) return false;
    if (days !== "" && !(daysUntil(line.expires) <= Number(days))) return false;
    if (before && !(moment(line.expires) < moment(before))) return false;
    if (tag && !hasTag(line)) return false;
    return words.every((word) => searched(line).includes(word));
  });
}

function searched(line) {
  const { name, names, owner, owner_name: known, thumbprint, tags } = line;
  line.searched ??= [name, ...(names ?? []), owner, known, thumbprint, ...Object.entries(tags).flat()]
    .join(" ")
    .toLowerCase();
  return line.searched;
}

/** The operation of a certificate that runs. */
export const openOf = (view, line) => view.open.get(keyOf(line));
const isFailing = (view, line) => Boolean(openOf(view, line)?.last_error);

const LAST = "\uffff"; // what nobody has, behind everything that somebody has

/** The lines in the order that is wanted. */
export function sorted(view, lines) {
  const { sort } = view.filters.wanted;
  const down = sort.startsWith("-"),
    key = sort.replace(/^-/, "");
  const value = (line) =>
    key === "result"
      ? (isFailing(view, line) ? -1 : 0) - line.failed_renewals
      : key === "state"
        ? STATES.length - STATES.indexOf(line.state)
        : key === "owner"
          ? (line.owner_name ?? line.owner ?? LAST)
          : (line[key] ?? LAST);
  const keyed = lines.map((line) => [value(line), line.name, line]);
  const order = (a, b) => (a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : a[1] < b[1] ? -1 : 1);
  return keyed.sort((a, b) => (down ? order(b, a) : order(a, b))).map(([, , line]) => line);
}
