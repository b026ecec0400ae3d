// The screens of replacements: choose, see what it means, start, watch, stop. For the day on which a CA revokes everything.

import { call, faultsOf, follow, get, pages } from "./api.js";
import { badge, bdi, button, card, facts, fill, h, linesOf, link, say, table } from "./dom.js";
import { confirmed } from "./dialog.js";
import { addressOf, load } from "./estate.js";
import { count, date, dateTime, duration, moment, now, relative } from "./format.js";
import { isAtLeast, me } from "./session.js";

const KINDS = { running: "busy", started: "busy", settled: "good", canceled: "quiet" };
const MEANING = { running: "Renewals are being started.", started: "All renewals were started; some still run.", settled: "All of them have ended.", canceled: "It was stopped: no further renewals are started." };

/** The screen with the form and all replacements. */
export async function replacements(element, { signal }) {
  const { value: authorities } = await get("authorities", signal);
  const form = { authorities, lines: [], preview: h("div", { role: "status" }) };
  const past = h("div");
  fill(element, h("div", { class: "heading" }, h("h1", {}, "Replace everything")),
    h("p", { class: "lead" }, "When an authority revokes or is no longer trusted: all certificates that match get a new version, as fast as the rates allow. Others are not touched."),
    h("div", { class: "form-columns" }, formOf(form), form.preview), card("Replacements so far", past));
  await Promise.all([load((lines) => { form.lines = lines; preview(form); }, signal), listPast(past, signal)]);
}

function formOf(form) {
  const labelled = (name, title, control, help) => {
    control.id = `r-${name}`;
    form[name] = control;
    return h("div", { class: "field" }, h("label", { for: control.id }, title), control, help && h("p", { class: "quiet" }, help));
  };
  const option = (values, all) => h("select", {}, h("option", { value: "" }, all), values.map((one) => h("option", {}, one)));
  return h("form", { class: "card", oninput: () => preview(form), onsubmit: (event) => { event.preventDefault(); start(form); } }, h("fieldset", {}, h("legend", {}, "Which certificates"),
    h("div", { class: "pair" }, labelled("authority", "Renewed by", option(form.authorities.map((one) => one.name), "any authority")), labelled("vault", "In the vault", option(me.vaults.map((one) => one.name), "any vault"))),
    labelled("names", "Names in Key Vault", h("textarea", { rows: 2, spellcheck: "false", placeholder: "www-*" }), "One a line; * stands for any text."),
    h("details", {}, h("summary", {}, "More: issuer, serial numbers, key, age"), h("fieldset", {},
      labelled("issuer", "Issuer", h("input", { placeholder: "CN=R3, O=Let's Encrypt, C=US" })), labelled("serials", "Serial numbers", h("textarea", { rows: 3, spellcheck: "false" }), "In hex, one a line."),
      h("div", { class: "pair" }, labelled("key", "Key", option(["RSA", "EC"], "any")), labelled("before", "Issued before", h("input", { type: "date" }))))),
    h("div", { class: "buttons" }, h("button", { class: "primary" }, "Start…")), form.fault = h("div", { role: "alert" })));
}

function criteriaOf(form) {
  const found = { authority: form.authority.value || undefined, vaults: form.vault.value ? [form.vault.value] : undefined, names: linesOf(form.names), issuer: form.issuer.value.trim() || undefined,
    serial_numbers: linesOf(form.serials), key_type: form.key.value || undefined, issued_before: form.before.value ? `${form.before.value}T00:00:00Z` : undefined };
  return Object.fromEntries(Object.entries(found).filter(([, value]) => value !== undefined && value.length !== 0));
}

function pattern(text) {
  return new RegExp(`^${text.split("*").map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join(".*")}$`, "i");
}

/** The lines that meet what the list tells: authority, vault, name. */
function chosen({ lines }, { authority, vaults, names = [] }) {
  const patterns = names.map(pattern);
  return lines.filter((line) => line.authority && line.enabled && (!authority || line.authority === authority) && (!vaults || vaults.includes(line.vault)) &&
    (!patterns.length || patterns.some((one) => one.test(line.name))));
}

/** How many seconds the renewals of one authority take by its rate; the last of them starts then. */
function secondsFor(authority, number) {
  if (!authority?.rate) return 0;
  const { requests, seconds, burst = requests } = authority.rate;
  return Math.max(0, number - burst) * (seconds / requests);
}

function preview(form) {
  const criteria = criteriaOf(form);
  if (!Object.keys(criteria).some((one) => one !== "vaults")) {
    fill(form.preview, card("What it means", h("p", { class: "quiet" }, "Choose by which authority, name or other property.")));
    return;
  }
  const found = chosen(form, criteria);
  const exact = !criteria.issuer && !criteria.serial_numbers && !criteria.key_type && !criteria.issued_before;
  const groups = [...Map.groupBy(found, (line) => line.authority)].map(([name, lines]) => {
    const authority = form.authorities.find((one) => one.name === name);
    return { name, lines, authority, seconds: secondsFor(authority, lines.length) };
  });
  fill(form.preview, card("What it means", meaning(found, groups, exact)));
}

function meaning(found, groups, exact) {
  const longest = groups.reduce((a, b) => (b.seconds > a.seconds ? b : a), { seconds: 0, lines: [] });
  const last = longest.lines.at(-1) ?? found.at(-1);
  const end = now() + longest.seconds * 1000;
  const late = groups.flatMap(({ lines, authority }) => lines.filter((line, number) => moment(line.expires) < now() + secondsFor(authority, number + 1) * 1000));
  return [h("p", { class: "lead" }, h("strong", {}, `${exact ? "" : "At most "}${count(found.length, "certificate")}`), found.length === 1 ? " gets" : " get", " a new version."), facts([
    ["By the rates", longest.seconds ? ["the last renewal starts in ", h("strong", {}, duration(longest.seconds)), ", ", dateTime(new Date(end).toISOString())] : "no rate limits it: all start as fast as the vaults allow"],
    ["The last one", last && [link(addressOf(last.vault, last.name), bdi(last.name)), ", which expires ", date(last.expires)]],
    ["Too late", late.length ? [h("strong", {}, count(late.length, "certificate")), " expire before their turn"] : "none expires before its turn"]]),
  groups.length > 0 && table("By authority", ["Authority", "Certificates", "Takes"], groups.map((one) => [bdi(one.name), one.lines.length.toLocaleString("en"), one.seconds ? duration(one.seconds) : "no limit"]))];
}

async function start(form) {
  fill(form.fault);
  const criteria = criteriaOf(form), found = chosen(form, criteria);
  const text = `Up to ${count(found.length, "certificate")} will be renewed. Stopping it later leaves those that were started.`;
  if (!(await confirmed("Start the replacement", [h("p", {}, text)], "Start it", "danger"))) return;
  try {
    const job = await call("POST", "replacements", { body: criteria, headers: { "Idempotency-Key": crypto.randomUUID() } });
    say("It is started.");
    location.hash = `#/replacement/${job.id}`;
  } catch (error) {
    fill(form.fault, faultsOf(error).map((one) => h("p", { class: "fault" }, bdi(one.detail))));
  }
}

async function listPast(place, signal) {
  const found = [];
  for await (const page of pages("replacements", { max: 100 }, signal)) found.push(...page);
  fill(place, found.length ? table("Replacements", ["Started", "By", "State", "Looked at"], found.map((one) => [link(`#/replacement/${one.id}`, dateTime(one.requested_at)), bdi(one.requested_by),
    badge(one.state, KINDS[one.state]), one.looked_at.toLocaleString("en")])) : h("p", { class: "quiet" }, "None."));
}

/** The screen of one replacement, live until it is settled. */
export async function replacement(element, { parts: [id], signal }) {
  const draw = (job) => fill(element, h("p", { class: "crumbs" }, link("#/replace", "Replace everything")), h("div", { class: "heading" },
    h("h1", {}, "Replacement ", badge(job.state, KINDS[job.state])), stop(job)), h("p", { class: "lead" }, MEANING[job.state], " Asked by ", bdi(job.requested_by), " ", relative(job.requested_at), "."),
  card("Progress", progress(job)), job.refused?.length > 0 && card("Refused", refused(job.refused)));
  await follow(`replacements/${encodeURIComponent(id)}`, draw, (job) => job.state === "settled" || job.state === "canceled", signal);
}

function progress({ progress: { matched, ...counts }, looked_at: looked }) {
  const ended = (counts.completed ?? 0) + (counts.failed ?? 0) + (counts.canceled ?? 0) + (counts.refused ?? 0);
  return [h("progress", { max: matched || 1, value: ended, "aria-label": "Ended renewals" }), h("p", {}, `${ended} of ${count(matched, "renewal")} ended; ${count(looked, "certificate")} looked at.`),
    h("div", { class: "tiles" }, Object.entries(counts).map(([name, number]) => h("div", { class: `tile ${TILES[name] ?? ""}` }, h("b", {}, number.toLocaleString("en")), h("span", {}, name === "inProgress" ? "in progress" : name))))];
}

const TILES = { completed: "good", failed: "bad", refused: "bad", inProgress: "busy", waiting: "warn" };

function refused(list) {
  return table("Refused", ["Certificate", "Vault", "Why"], list.map((one) => [one.name ? link(addressOf(one.vault, one.name), bdi(one.name)) : "the whole vault", one.vault, bdi(one.detail)]));
}

function stop(job) {
  if (!isAtLeast("Administrator") || !["running", "started"].includes(job.state)) return null;
  return button("Stop…", async () => {
    const text = "No further renewals are started. Those that were started go on.";
    if (await confirmed("Stop the replacement", [h("p", {}, text)], "Stop it", "danger")) await call("DELETE", `replacements/${encodeURIComponent(job.id)}`);
  }, "danger");
}

