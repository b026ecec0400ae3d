// The screen Calendar: a year of planned renewals and of expiries by day, against what the rates of authorities and
// vaults allow.

import { get, withQuery } from "./api.js";
import { bdi, card, chips, columns, fill, h, heading, hint, li, notice, showError, svg, table } from "./dom.js";
import { linkTo, load, readAuthorities } from "./estate.js";
import { filtersOf } from "./form.js";
import { count, digits, now } from "./format.js";

const DAYS = 365;
const DAY = 86_400_000; // milliseconds
const [CELL, LEFT, TOP] = [15, 30, 18]; // of the picture: a day's width, and what the names of days and months take
const SHOWN = 60; // names in a list
const PAGE = 1000; // renewals
const MONTH = new Intl.DateTimeFormat("en-GB", { month: "short", timeZone: "UTC" });
const FULL = new Intl.DateTimeFormat("en-GB", {
  weekday: "long",
  day: "numeric",
  month: "long",
  year: "numeric",
  timeZone: "UTC",
});
const WEEKDAYS = [
  [0, "Mon"],
  [2, "Wed"],
  [4, "Fri"],
];
const STEPS = { ArrowLeft: -7, ArrowRight: 7, ArrowUp: -1, ArrowDown: 1, PageUp: -28, PageDown: 28 };

/** The screen. */
export async function calendar(element, { query, signal }) {
  const [forecast, authorities, { lines }] = await Promise.all([
    get(withQuery("forecast", { days: DAYS, max: PAGE }), signal),
    readAuthorities(),
    load(() => {}, signal),
  ]);
  const place = h("div", { class: "stack" });
  const filters = filtersOf("calendar", query, { authority: "" }, () => draw());
  const draw = () => fill(place, pictures({ forecast, lines, signal, authority: filters.wanted.authority }));
  fill(
    element,
    heading(
      "Calendar",
      filters.form(
        filters.choice(
          "authority",
          "Authority",
          authorities.map((one) => one.name),
        ),
      ),
    ),
    forecast.unreadable_vaults.map((vault) =>
      notice("bad", `The vault ${vault} cannot be read, or has too many certificates; some or all are missing here.`),
    ),
    place,
  );
  draw();
}

function pictures({ forecast, lines, signal, authority }) {
  const view = {
    forecast,
    authority,
    signal,
    days: daysOf(forecast, lines, authority),
    day: h("div", { role: "status" }),
  };
  return [
    card("Planned renewals", year(view, "renewals"), legend()),
    card("Expiries", hint("When today's versions expire, if nothing renews them."), year(view, "expiries")),
    view.day,
    columns(card("Crowded days", crowded(view)), card("By month", months(view))),
  ];
}

/** For each day: renewals, expiries, and the authorities and vaults with more renewals than their rate allows. */
function daysOf(forecast, lines, authority) {
  const first = Math.floor(now() / DAY);
  const days = Array.from({ length: DAYS }, (_, number) => ({
    number,
    at: (first + number) * DAY,
    renewals: 0,
    expiries: 0,
    over: [],
  }));
  for (const one of forecast.days) {
    const day = days[Date.parse(one.date) / DAY - first];
    if (!day || (authority && one.authority !== authority)) continue;
    day.renewals += one.renewals;
    if (one.capacity !== null && one.renewals > one.capacity) day.over.push(one);
  }
  for (const one of authority ? [] : forecast.vault_days) {
    const day = days[Date.parse(one.date) / DAY - first];
    if (day && one.renewals > one.capacity) day.over.push(one);
  }
  for (const line of lines) {
    const day = days[Math.floor(Date.parse(line.expires ?? "") / DAY) - first];
    if (day && (!authority || line.authority === authority)) ((day.expiring ??= []).push(line), day.expiries++);
  }
  return days;
}

function year(view, what) {
  const { days } = view;
  const offset = (new Date(days[0].at).getUTCDay() + 6) % 7;
  const most = Math.max(1, ...days.map((day) => day[what]));
  const place = (day) => [
    LEFT + Math.floor((day.number + offset) / 7) * CELL,
    TOP + ((day.number + offset) % 7) * CELL,
  ];
  const width = LEFT + Math.ceil((DAYS + offset) / 7) * CELL;
  const cells = days.map((day) => cell(view, day, what, most, place(day)));
  cells[0].setAttribute("tabindex", 0);
  const picture = svg(
    "svg",
    {
      viewBox: `0 0 ${width} ${TOP + 7 * CELL}`,
      role: "group",
      "aria-label": `${what} of a year, by day; arrow keys move`,
      onkeydown: (event) => move(event, cells),
    },
    WEEKDAYS.map(([row, name]) => svg("text", { x: 0, y: TOP + row * CELL + 11, "aria-hidden": "true" }, name)),
    monthNames(days, place),
    cells,
  );
  return h("div", { class: "year" }, picture);
}

function monthNames(days, place) {
  const starts = days.filter((day) => new Date(day.at).getUTCDate() === 1);
  return starts.map((day) => svg("text", { x: place(day)[0], y: 10, "aria-hidden": "true" }, MONTH.format(day.at)));
}

function cell(view, day, what, most, [x, y]) {
  const number = day[what];
  const over = what === "renewals" && day.over.length > 0;
  const level = over ? "over" : number ? `l${Math.max(1, Math.ceil((4 * number) / most))}` : "";
  const text = `${FULL.format(day.at)}: ${digits(number)} ${what}${over ? ", more than a rate allows" : ""}`;
  const open = () => showDay(view, day).catch((error) => showError(view.day, error));
  return svg(
    "rect",
    {
      x,
      y,
      width: CELL - 3,
      height: CELL - 3,
      rx: 3,
      class: `day ${level}`,
      role: "button",
      tabindex: -1,
      "aria-label": text,
      onclick: open,
      onkeydown: (event) => {
        if (event.key === "Enter" || event.key === " ") {
          event.preventDefault();
          open();
        }
      },
    },
    svg("title", {}, text),
  );
}

function move(event, cells) {
  const step = STEPS[event.key];
  const from = cells.indexOf(event.target);
  if (!step || from < 0 || !cells[from + step]) return;
  event.preventDefault();
  cells[from].setAttribute("tabindex", -1);
  cells[from + step].setAttribute("tabindex", 0);
  cells[from + step].focus();
}

function legend() {
  const item = (kind, text) =>
    h(
      "span",
      {},
      svg(
        "svg",
        { width: 12, height: 12, "aria-hidden": "true" },
        svg("rect", { width: 12, height: 12, rx: 3, class: `day ${kind}` }),
      ),
      ` ${text}`,
    );
  return h(
    "p",
    { class: "legend" },
    item("", "none"),
    item("l1", "few"),
    item("l4", "many"),
    item("over", "more than a rate allows: these renewals are spread over the days that follow"),
  );
}

/** The forecast comes page by page, soonest first: get what is missing up to a date. */
async function loadUntil(date, { forecast, signal }) {
  while (forecast.continuation && forecast.renewals.at(-1).due.slice(0, 10) <= date) {
    const { renewals, continuation } = await get(
      withQuery("forecast", { days: DAYS, max: PAGE, continuation: forecast.continuation }),
      signal,
    );
    forecast.renewals.push(...renewals);
    forecast.continuation = continuation;
  }
}

async function showDay(view, day) {
  const { forecast, authority, day: place } = view;
  const date = new Date(day.at).toISOString().slice(0, 10);
  await loadUntil(date, view);
  const isToday = day.number === 0;
  const due = forecast.renewals.filter(
    (one) =>
      (one.due.slice(0, 10) === date || (isToday && one.due.slice(0, 10) < date)) &&
      (!authority || one.authority === authority),
  );
  fill(
    place,
    card(
      FULL.format(day.at),
      day.over.map(overText),
      listOf("renewal", "planned", due),
      listOf("certificate", "expiring", day.expiring ?? []),
    ),
  );
  place.scrollIntoView({ block: "nearest" });
}

/** Whose rate it is: an authority's, or a vault's. */
const holder = (one) => (one.vault ? ["vault ", bdi(one.vault)] : bdi(one.authority));

const overText = (one) =>
  notice("bad", holder(one), `: ${count(one.renewals, "renewal")}, and its rate allows ${digits(one.capacity)} a day.`);

function listOf(noun, what, entries) {
  return [
    h("h3", {}, `${count(entries.length, noun)} ${what}`),
    chips(entries.slice(0, SHOWN).map((one) => li(linkTo(one)))),
    entries.length > SHOWN && hint(`and ${entries.length - SHOWN} more`),
  ];
}

function crowded({ days }) {
  const found = days.filter((day) => day.over.length).slice(0, 12);
  if (!found.length) return hint("None: the rates allow what is planned on every day.");
  return table(
    "Crowded days",
    ["Day", "Whose rate", "Renewals", "It allows"],
    found.flatMap((day) =>
      day.over.map((one) => [FULL.format(day.at), holder(one), digits(one.renewals), digits(one.capacity)]),
    ),
  );
}

function months({ days }) {
  const found = Map.groupBy(days, (day) => new Date(day.at).toISOString().slice(0, 7));
  const sum = (list, what) => list.reduce((total, day) => total + day[what], 0);
  return table(
    "By month",
    ["Month", "Renewals", "Expiries", "Busiest day"],
    [...found].map(([month, list]) => {
      const most = list.reduce((a, b) => (b.renewals > a.renewals ? b : a));
      return [
        month,
        digits(sum(list, "renewals")),
        digits(sum(list, "expiries")),
        most.renewals ? `${digits(most.renewals)} on the ${new Date(most.at).getUTCDate()}.` : "",
      ];
    }),
  );
}
