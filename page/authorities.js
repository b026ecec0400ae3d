// The screen Authorities: what each authority can do and how it stands; each vault; what was deleted in it.

import { ApiError, call, get } from "./api.js";
import { badge, bdi, button, card, facts, fill, h, link, say } from "./dom.js";
import { confirmed } from "./dialog.js";
import { count, duration, relative } from "./format.js";
import { mayIn } from "./session.js";

/** The screen. Health takes longest, and comes last. */
export async function authorities(element, { signal }) {
  const [{ value: list }, { value: vaults }, status, failing] = await Promise.all([get("authorities", signal), get("vaults", signal),
    get("status", signal), get("operations?state=failing&max=200", signal)]);
  const health = new Map([...list.map((one) => `authority ${one.name}`), ...vaults.map((one) => `vault ${one.name}`)].map((what) => [what, h("span", {}, badge("checking…", "quiet"))]));
  fill(element, h("div", { class: "heading" }, h("h1", {}, "Authorities and vaults")),
    h("div", { class: "columns" }, list.map((one) => authority(one, status, failing.value, health))),
    h("h2", {}, "Vaults"), h("div", { class: "columns" }, vaults.map((one) => vault(one, health, signal))));
  await check(health, signal);
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
    if (part && !part.ok) place.closest(".heading").after(h("p", { class: "notice bad" }, bdi(part.detail)));
  }
}

function verdict(part) {
  if (!part) return badge("not known", "quiet");
  return part.ok ? [badge("answers", "good"), ` in ${part.milliseconds} ms`] : badge("does not answer", "bad");
}

function authority(one, status, failing, health) {
  const counts = status.certificates.filter((entry) => entry.authority === one.name);
  const total = counts.reduce((sum, entry) => sum + entry.count, 0);
  const mine = failing.filter((operation) => operation.authority === one.name);
  const down = status.incidents.find((incident) => incident.event === "authority-down" && incident.subject === one.name);
  return card(null, h("div", { class: "heading" }, h("h2", {}, bdi(one.name)), health.get(`authority ${one.name}`)),
    down && h("p", { class: "notice bad" }, bdi(down.detail)),
    facts([
      ["Connector", one.connector],
      ["Certificates", link(`#/certificates?authority=${encodeURIComponent(one.name)}`, total ? `${total}: ${counts.map((entry) => `${entry.count} ${entry.state}`).join(", ")}` : "show them")],
      ["Failing", mine.length ? [link(`#/history?state=failing&authority=${encodeURIComponent(one.name)}`, count(mine.length, "operation")),
        h("small", { class: "clip" }, bdi(mine[0].last_error?.message ?? ""))] : "none"],
      ["Lifetime", `${one.default_validity_days} days unless asked otherwise`],
      ["Rate", one.rate && rateText(one.rate)],
      ["Fall-back", one.fallback.length ? one.fallback.join(", then ") : "none"],
      ["At once", one.concurrency && `${one.concurrency} orders`],
      ["Can", one.abilities.length ? one.abilities.join(", ") : "issue only"],
      ["Takes", h("ul", { class: "tags" }, one.features.map((feature) => h("li", {}, feature.replaceAll("_", " "))))],
    ]), h("details", {}, h("summary", {}, "Rules"), facts(Object.entries(one.rules).map(([name, value]) => [name.replaceAll("_", " "), ruleText(value)]))));
}

const rateText = ({ requests, seconds, burst }) => `${count(requests, "order")} in ${duration(seconds)}${burst ? `, ${burst} at once` : ""}`;

function ruleText(value) {
  if (Array.isArray(value)) return value.length ? h("ul", { class: "names" }, value.map((one) => h("li", {}, bdi(typeof one === "object" ? JSON.stringify(one) : one)))) : "any";
  if (typeof value === "object") return JSON.stringify(value);
  return value === true ? "yes" : value === false ? "no" : String(value);
}

function vault(one, health, signal) {
  const deleted = h("div");
  return card(null, h("div", { class: "heading" }, h("h2", {}, one.name), health.get(`vault ${one.name}`)), facts([
    ["Address", h("code", {}, one.url)], ["Authorities", one.authorities.join(", ")],
    ["Certificates", link(`#/certificates?vault=${encodeURIComponent(one.name)}`, "show them")]]),
  one.rate && facts([["Rate", rateText(one.rate)]]), button("Show what was deleted", (event) => { event.target.remove(); showDeleted(one.name, deleted, signal); }, "link"), deleted);
}

async function showDeleted(name, place, signal) {
  try {
    const { value } = await get(`vaults/${encodeURIComponent(name)}/deletedcertificates`, signal);
    fill(place, value.length ? h("ul", { class: "plainlist" }, value.map((one) => deletedLine(name, one))) : h("p", { class: "quiet" }, "Nothing that can be recovered."));
  } catch (error) {
    if (error.name !== "AbortError") fill(place, h("p", { class: "notice bad" }, bdi(error.message)));
  }
}

function deletedLine(vaultName, one) {
  const certificate = one.name ?? one.id.split("/").pop();
  const line = h("li", {}, bdi(certificate), " ", h("span", { class: "quiet" }, one.scheduledPurgeDate && ["is purged ", relative(one.scheduledPurgeDate)]), " ",
    mayIn(vaultName, "recover_certificate") && button("Recover", async () => {
      const text = "The certificate comes back with all its versions and keys.";
      if (!(await confirmed(`Recover ${certificate}`, [h("p", {}, text)], "Recover"))) return;
      try {
        await call("POST", `vaults/${encodeURIComponent(vaultName)}/deletedcertificates/${encodeURIComponent(certificate)}/recover`);
        say("It is recovered.");
        fill(line, bdi(certificate), " is recovered.");
      } catch (error) {
        line.append(h("p", { class: "fault", role: "alert" }, bdi(error.message)));
      }
    }));
  return line;
}
