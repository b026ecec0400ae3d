// The screen Authorities: what each authority can do and how it stands; each vault; what was deleted in it.

import { ApiError, call, get, ifAllowed, pages } from "./api.js";
import {
  alarm,
  badge,
  bdi,
  button,
  card,
  chips,
  code,
  columns,
  details,
  facts,
  fill,
  h,
  heading,
  hint,
  li,
  link,
  notice,
  p,
  plainList,
  quiet,
  say,
  showError,
  subheading,
} from "./dom.js";
import { confirmed } from "./dialog.js";
import { readAuthorities } from "./estate.js";
import { count, dateTime, digits, duration, relative } from "./format.js";
import { mayIn } from "./session.js";

/** The screen. Health takes longest, and comes last. */
export async function authorities(element, { signal }) {
  const [list, { value: vaults }, status, failing] = await Promise.all([
    readAuthorities(),
    get("vaults", signal),
    get("status", signal).catch(ifAllowed({ authorities: [], certificates: [] })),
    readFailing(signal),
  ]);
  const asked = list.filter((one) => one.abilities.includes("health"));
  const places = [...asked.map((one) => `authority ${one.name}`), ...vaults.map((one) => `vault ${one.name}`)];
  const health = new Map(places.map((what) => [what, h("span", {}, badge("checking…", "quiet"))]));
  fill(
    element,
    heading("Authorities and vaults"),
    columns(list.map((one) => authority(one, status, failing, health))),
    h("h2", {}, "Vaults"),
    columns(vaults.map((one) => vault(one, health, signal))),
  );
  await check(health, signal);
}

async function readFailing(signal) {
  const found = [];
  for await (const page of pages("operations", { state: "failing", max: 200 }, signal)) found.push(...page);
  return found;
}

async function check(health, signal) {
  let found;
  try {
    found = await get("health/ready", signal);
  } catch (error) {
    if (!(error instanceof ApiError) || error.status !== 503) throw error;
    found = error.parts ? error : { parts: [] };
  }
  const parts = new Map(found.parts.map((part) => [part.what, part]));
  for (const [what, place] of health) {
    const part = parts.get(what);
    fill(place, verdict(part));
    const isTold = place.closest(".card").textContent.includes(part?.detail);
    if (part && !part.ok && !isTold) place.closest(".heading").after(notice("bad", bdi(part.detail)));
  }
}

function verdict(part) {
  if (!part) return badge("not known", "quiet");
  return part.ok ? [badge("answers", "good"), ` in ${part.milliseconds} ms`] : badge("does not answer", "bad");
}

function authority(one, status, failing, health) {
  const state = status.authorities.find((entry) => entry.name === one.name);
  const down = state?.down_since;
  const verdictPlace = health.get(`authority ${one.name}`) ?? quiet("is asked by orders only");
  return card(
    null,
    subheading(bdi(one.name), verdictPlace),
    down && notice("bad", "Down since ", dateTime(down), ", ", relative(down), ": ", bdi(state.detail)),
    facts([
      ["Connector", one.connector],
      ["Last issued", state && (state.issued_at ? relative(state.issued_at) : "not yet")],
      ["Certificates", certificatesOf(one, status)],
      ["Failing", failingOf(one, failing, down)],
      ["Lifetime", `${one.default_validity_days} days unless asked otherwise`],
      ["Rate", one.rate && rateText(one.rate)],
      [
        "Running",
        state &&
          `${count(state.open, "operation")}${one.concurrency ? `; ${count(one.concurrency, "order")} at once` : ""}`,
      ],
      ["Fall-back", one.fallback.length ? one.fallback.join(", then ") : "none"],
      ["Can", one.abilities.length ? one.abilities.join(", ") : "issue only"],
      ["Takes", chips(one.features.map((feature) => li(feature.replaceAll("_", " "))))],
    ]),
    details(
      "Rules",
      facts(Object.entries(one.rules).map(([name, value]) => [name.replaceAll("_", " "), ruleText(value)])),
    ),
  );
}

function certificatesOf({ name }, status) {
  const counts = status.certificates.filter((entry) => entry.authority === name);
  const text = counts.map((entry) => `${digits(entry.count)} ${entry.state}`).join(", ") || "show them";
  return link(`#/certificates?authority=${encodeURIComponent(name)}`, text);
}

function failingOf({ name }, failing, isTold) {
  const mine = failing.filter((operation) => operation.authority === name);
  return mine.length
    ? [
        link(`#/history?state=failing&authority=${encodeURIComponent(name)}`, count(mine.length, "operation")),
        !isTold && h("small", { class: "clip" }, bdi(mine[0].last_error?.message ?? "")),
      ]
    : "none";
}

const rateText = ({ requests, seconds, burst }) =>
  `${count(requests, "order")} in ${duration(seconds)}${burst ? `, ${burst} at once` : ""}`;

function ruleText(value) {
  const text = (one) => (typeof one === "object" ? JSON.stringify(one) : String(one));
  if (Array.isArray(value))
    return value.length
      ? h(
          "ul",
          { class: "names" },
          value.map((one) => li(bdi(text(one)))),
        )
      : "any";
  return value === true ? "yes" : value === false ? "no" : text(value);
}

function vault(one, health, signal) {
  const deleted = h("div");
  const show = button(
    "Show what was deleted",
    () => {
      show.remove();
      showDeleted(one.name, deleted, signal);
    },
    "link",
  );
  return card(
    null,
    subheading(one.name, health.get(`vault ${one.name}`)),
    facts([
      ["Address", code(one.url)],
      ["Authorities", one.authorities.join(", ")],
      ["Certificates", link(`#/certificates?vault=${encodeURIComponent(one.name)}`, "show them")],
      ["Rate", one.rate && rateText(one.rate)],
    ]),
    show,
    deleted,
  );
}

async function showDeleted(name, place, signal) {
  try {
    const { value } = await get(`vaults/${encodeURIComponent(name)}/deletedcertificates`, signal);
    fill(
      place,
      value.length ? plainList(value.map((one) => deletedLine(name, one))) : hint("Nothing that can be recovered."),
    );
  } catch (error) {
    showError(place, error);
  }
}

function deletedLine(vaultName, one) {
  const certificate = one.name ?? one.id.split("/").pop();
  const line = li(
    bdi(certificate),
    " ",
    one.scheduledPurgeDate && quiet("is purged ", relative(one.scheduledPurgeDate)),
    " ",
    mayIn(vaultName, "recover_certificate") && button("Recover", () => recover(vaultName, certificate, line)),
  );
  return line;
}

async function recover(vaultName, certificate, line) {
  const text = "The certificate comes back with all its versions and keys.";
  if (!(await confirmed(`Recover ${certificate}`, [p(text)], "Recover"))) return;
  try {
    await call(
      "POST",
      `vaults/${encodeURIComponent(vaultName)}/deletedcertificates/${encodeURIComponent(certificate)}/recover`,
    );
    say("It is recovered.");
    fill(line, bdi(certificate), " is recovered.");
  } catch (error) {
    line.append(alarm(bdi(error.message)));
  }
}
