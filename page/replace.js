// The screens of replacements: choose, see what it means, start, watch, stop.
// For the day on which a CA revokes everything.

import { call, faultsOf, pages } from "./api.js";
import {
  badge,
  bdi,
  buttons,
  card,
  details,
  facts,
  faultText,
  fill,
  h,
  heading,
  hint,
  lead,
  linesOf,
  link,
  p,
  pair,
  say,
  strong,
  table,
} from "./dom.js";
import { unreadable } from "./certificates.js";
import { confirmed } from "./dialog.js";
import { linkTo, load, readAuthorities } from "./estate.js";
import { choice, field, onSubmit } from "./form.js";
import { count, date, dateTime, digits, duration, moment, now } from "./format.js";
import { KINDS } from "./replacement.js";
import { vaultNames, who } from "./session.js";

const WHICH = "Choose by which authority, name or other property.";

/** The screen with the form and all replacements. */
export async function replacements(element, { signal }) {
  const form = { authorities: await readAuthorities(), lines: [], whole: false, preview: h("div", { role: "status" }) };
  const past = h("div"),
    missing = h("div");
  fill(
    element,
    heading("Replace everything"),
    lead(
      "When an authority revokes or is no longer trusted: all certificates that match get a new version, as fast as ",
      "the rates allow. Others are not touched.",
    ),
    missing,
    h("div", { class: "form-columns" }, formOf(form), form.preview),
    card("Replacements so far", past),
  );
  const show = (lines, whole) => {
    Object.assign(form, { lines, whole });
    preview(form);
  };
  form.loaded = load(show, signal);
  const [estate] = await Promise.all([form.loaded, listPast(past, signal)]);
  fill(missing, estate.unreadable.map(unreadable));
}

function formOf(form) {
  const labelled = (name, title, control, help) => field(`r-${name}`, title, (form[name] = control), help);
  return h(
    "form",
    {
      class: "card",
      oninput: () => preview(form),
      onsubmit: onSubmit(() => start(form)),
    },
    h(
      "fieldset",
      {},
      h("legend", {}, "Which certificates"),
      pair(
        labelled(
          "authority",
          "Renewed by",
          choice(
            form.authorities.map((one) => one.name),
            "",
            "any authority",
          ),
        ),
        labelled("vault", "In the vault", choice(vaultNames(), "", "any vault")),
      ),
      labelled(
        "names",
        "Names in Key Vault",
        h("textarea", { rows: 2, spellcheck: "false", placeholder: "www-*" }),
        "One a line; * stands for any text.",
      ),
      details(
        "More: issuer, serial numbers, key, age",
        h(
          "fieldset",
          {},
          labelled("issuer", "Issuer", h("input", { placeholder: "CN=R3, O=Let's Encrypt, C=US" })),
          labelled("serials", "Serial numbers", h("textarea", { rows: 3, spellcheck: "false" }), "In hex, one a line."),
          pair(
            labelled("key", "Key", choice(["RSA", "EC"], "", "any")),
            labelled("before", "Issued before", h("input", { type: "date" })),
          ),
        ),
      ),
      buttons(h("button", { class: "primary" }, "Start…")),
      (form.fault = h("div", { role: "alert" })),
    ),
  );
}

function criteriaOf(form) {
  const found = {
    authority: form.authority.value || undefined,
    vaults: form.vault.value ? [form.vault.value] : undefined,
    names: linesOf(form.names),
    issuer: form.issuer.value.trim() || undefined,
    serial_numbers: linesOf(form.serials),
    key_type: form.key.value || undefined,
    issued_before: form.before.value ? `${form.before.value}T00:00:00Z` : undefined,
  };
  return Object.fromEntries(Object.entries(found).filter(([, value]) => value !== undefined && value.length !== 0));
}

function pattern(text) {
  return new RegExp(
    `^${text
      .split("*")
      .map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"))
      .join(".*")}$`,
    "i",
  );
}

/** The lines that meet what the list tells: authority, vault, name. */
function chosen({ lines }, { authority, vaults, names = [] }) {
  const patterns = names.map(pattern);
  return lines.filter(
    (line) =>
      line.authority &&
      line.enabled &&
      (!authority || line.authority === authority) &&
      (!vaults || vaults.includes(line.vault)) &&
      (!patterns.length || patterns.some((one) => one.test(line.name))),
  );
}

/** How many seconds the renewals of one authority take by its rate; the last of them starts then. */
function secondsFor(authority, number) {
  if (!authority?.rate) return 0;
  const { requests, seconds, burst = requests } = authority.rate;
  return Math.max(0, number - burst) * (seconds / requests);
}

/** Whether it says more than in which vault. */
const isEnough = (criteria) => Object.keys(criteria).some((one) => one !== "vaults");

function preview(form) {
  const criteria = criteriaOf(form);
  if (!isEnough(criteria)) {
    fill(form.preview, card("What it means", hint(WHICH)));
    return;
  }
  const found = chosen(form, criteria);
  const exact = !criteria.issuer && !criteria.serial_numbers && !criteria.key_type && !criteria.issued_before;
  const groups = [...Map.groupBy(found, (line) => line.authority)].map(([name, lines]) => {
    const authority = form.authorities.find((one) => one.name === name);
    return { name, lines, authority, seconds: secondsFor(authority, lines.length) };
  });
  const more = !form.whole && hint("The vaults are still being read: it may be more.");
  fill(form.preview, card("What it means", more, meaning(found, groups, exact)));
}

function meaning(found, groups, exact) {
  const longest = groups.reduce((a, b) => (b.seconds > a.seconds ? b : a), { seconds: 0, lines: [] });
  const last = longest.lines.at(-1) ?? found.at(-1);
  const end = now() + longest.seconds * 1000;
  const late = groups.flatMap(({ lines, authority }) =>
    lines.filter((line, number) => moment(line.expires) < now() + secondsFor(authority, number + 1) * 1000),
  );
  return [
    lead(
      strong(`${exact ? "" : "At most "}${count(found.length, "certificate")}`),
      found.length === 1 ? " gets" : " get",
      " a new version.",
    ),
    facts([
      [
        "By the rates",
        longest.seconds
          ? [
              "the last renewal starts in ",
              strong(duration(longest.seconds)),
              ", ",
              dateTime(new Date(end).toISOString()),
            ]
          : "no rate limits it: all start as fast as the vaults allow",
      ],
      ["The last one", last && [linkTo(last), ", which expires ", date(last.expires)]],
      [
        "Too late",
        late.length
          ? [strong(count(late.length, "certificate")), " expire before their turn"]
          : "none expires before its turn",
      ],
    ]),
    groups.length > 0 &&
      table(
        "By authority",
        ["Authority", "Certificates", "Takes"],
        groups.map((one) => [
          bdi(one.name),
          digits(one.lines.length),
          one.seconds ? duration(one.seconds) : "no limit",
        ]),
      ),
  ];
}

async function start(form) {
  fill(form.fault);
  const criteria = criteriaOf(form);
  if (!isEnough(criteria)) {
    fill(form.fault, faultText(WHICH));
    return;
  }
  fill(form.fault, !form.whole && hint("The vaults are still being read; the question comes when all of them are."));
  await form.loaded;
  fill(form.fault);
  const found = chosen(form, criteria);
  const most = count(found.length, "certificate");
  const text = `Up to ${most} will be renewed. Stopping it later leaves those that were started.`;
  if (!(await confirmed("Start the replacement", [p(text)], "Start it", "danger"))) return;
  // What is sent again unchanged, because its answer was lost, starts nothing twice.
  if (form.sent !== JSON.stringify(criteria)) [form.sent, form.key] = [JSON.stringify(criteria), crypto.randomUUID()];
  try {
    const job = await call("POST", "replacements", { body: criteria, headers: { "Idempotency-Key": form.key } });
    say("It is started.");
    location.hash = `#/replacement/${job.id}`;
  } catch (error) {
    fill(
      form.fault,
      faultsOf(error).map((one) => faultText(bdi(one.detail))),
    );
  }
}

async function listPast(place, signal) {
  const found = [];
  for await (const page of pages("replacements", { max: 100 }, signal)) found.push(...page);
  fill(
    place,
    found.length
      ? table(
          "Replacements",
          ["Started", "By", "State", "Looked at"],
          found.map((one) => [
            link(`#/replacement/${one.id}`, dateTime(one.requested_at)),
            who(one),
            badge(one.state, KINDS[one.state]),
            digits(one.looked_at),
          ]),
        )
      : hint("None."),
  );
}
