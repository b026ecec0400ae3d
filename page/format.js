// Times, numbers and states in words.

const DAY = 86_400_000;
const SHORT = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric", timeZone: "UTC" });
const LONG = new Intl.DateTimeFormat("en-GB", {
  day: "numeric",
  month: "short",
  year: "numeric",
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  timeZone: "UTC",
});
const RELATIVE = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
let ahead = 0; // milliseconds that the service's clock is ahead of this machine's

/** Count times from the service's clock, as the header `Date` of its answers tells it. */
export function useClock(date) {
  if (date) ahead = Date.parse(date) - Date.now();
}

/** The service's time, in milliseconds. */
export function now() {
  return Date.now() + ahead;
}

/** `2026-11-28T…` or UNIX seconds as a number of milliseconds; NaN without a time. */
export function moment(time) {
  return typeof time === "number" ? time * 1000 : Date.parse(time ?? "");
}

/** 28 Nov 2026, with the second in the title. */
export function date(time) {
  return timed(time, SHORT.format(moment(time)));
}

/** 28 Nov 2026, 20:14:03 UTC. */
export function dateTime(time) {
  return timed(time, `${LONG.format(moment(time))} UTC`);
}

/** In 3 days; 2 hours ago. */
export function relative(time) {
  return timed(time, relativeText(time));
}

export function relativeText(time) {
  if (Number.isNaN(moment(time))) return "";
  const difference = moment(time) - now();
  const steps = [
    ["day", DAY],
    ["hour", 3_600_000],
    ["minute", 60_000],
    ["second", 1000],
  ];
  const [unit, length] = steps.find(([, one]) => Math.abs(difference) >= one) ?? steps.at(-1);
  return RELATIVE.format(Math.trunc(difference / length), unit);
}

function timed(time, text) {
  if (Number.isNaN(moment(time))) return "";
  const element = document.createElement("time");
  element.dateTime = new Date(moment(time)).toISOString();
  element.title = `${LONG.format(moment(time))} UTC`;
  element.textContent = text;
  return element;
}

/** Whole days until then; negative if it is over. */
export function daysUntil(time) {
  return Math.floor((moment(time) - now()) / DAY);
}

/** 2 h 5 min. */
export function duration(seconds) {
  const parts = [
    [86_400, "d"],
    [3600, "h"],
    [60, "min"],
    [1, "s"],
  ];
  const found = [];
  for (const [length, unit] of parts) {
    const count = Math.floor(seconds / length);
    if (count) found.push(`${count} ${unit}`);
    seconds -= count * length;
  }
  return found.slice(0, 2).join(" ") || "less than a second";
}

/** What somebody else wrote, with a full stop behind it, as far as it lacks one. */
export const sentence = (text) => (/[.!?…]$/.test(text) ? text : `${text}.`);

/** 1,234. */
export const digits = (number) => number.toLocaleString("en");

/** 1,234 certificates. */
export function count(number, noun) {
  return `${digits(number)} ${noun}${number === 1 ? "" : "s"}`;
}

/** SHA-256 and serial numbers in groups that can be compared by eye, and that break only between two of them. */
export function fingerprint(hex = "") {
  const pairs = (hex.length % 2 ? `0${hex}` : hex).toUpperCase().match(/../g) ?? [];
  return pairs.flatMap((pair, number) => (number ? [":", document.createElement("wbr"), pair] : [pair]));
}

/** How an operation stands: the words and the colour. */
export function standing(operation) {
  if (operation.status === "completed") return ["completed", "good"];
  if (operation.status === "failed") return ["failed", "bad"];
  if (operation.status === "canceled") return ["canceled", "quiet"];
  if (operation.cancellation_requested) return ["canceling", "warn"];
  return [STEPS[operation.step] ?? operation.step, operation.last_error ? "warn" : "busy"];
}

export const STEPS = {
  requested: "requested",
  pending: "key and CSR made",
  submitted: "at the authority",
  issued: "issued",
  completed: "merged",
  failed: "failed",
  canceled: "canceled",
};

/** The colour of a certificate's state. */
export const STATE_KINDS = {
  new: "busy",
  valid: "good",
  due: "busy",
  expiring: "warn",
  expired: "bad",
  disabled: "quiet",
};
export const STATES = Object.keys(STATE_KINDS);
