// What can be done with one certificate. Each action says first what will happen, and what the API refuses is shown.

import { call, of } from "./api.js";
import { bdi, button, code, h, li, notice, p, say } from "./dom.js";
import { confirmed, told } from "./dialog.js";
import { authorityNames, forget } from "./estate.js";
import { choice, field } from "./form.js";
import { relativeText } from "./format.js";
import { may } from "./session.js";

const REASONS = [
  "unspecified",
  "keyCompromise",
  "cACompromise",
  "affiliationChanged",
  "superseded",
  "cessationOfOperation",
  "privilegeWithdrawn",
];

/** The buttons that this caller may use now. */
export function actions(screen, pending) {
  const { vault, detail } = screen;
  const open = pending?.status === "inProgress";
  const can = (route) => may(vault, route, detail?.owner ?? pending?.owner);
  const managed = Boolean(detail?.tags?.["certrelay-authority"]);
  const offered = [
    detail && managed && !open && can("renew_certificate") && ["Renew now", renew, "primary"],
    open && !pending.cancellation_requested && can("cancel_certificate_operation") && ["Cancel", cancel, ""],
    detail && !managed && can("adopt_certificate") && ["Adopt…", adopt, "primary"],
    detail && can("update_certificate") && [detail.attributes.enabled ? "Disable…" : "Enable…", enable, ""],
    detail && managed && can("release_certificate") && ["Release…", release, ""],
    detail && can("transfer_certificate") && ["Transfer…", transfer, ""],
    open && can("delete_certificate_operation") && ["Delete the operation…", deleteOperation, "danger"],
    detail && can("revoke_certificate") && ["Revoke…", revoke, "danger"],
    detail && can("delete_certificate") && ["Delete…", remove, "danger"],
  ].filter(Boolean);
  return offered.map(([title, run, kind]) => button(title, () => attempt(() => run(screen, pending)), kind));
}

/** Do it, and tell what the API says against it. */
async function attempt(action) {
  try {
    await action();
  } catch (error) {
    if (error.name === "AbortError") return;
    told(
      "That was refused",
      p(bdi(error.message)),
      error.faults?.length > 1 &&
        h(
          "ul",
          {},
          error.faults.map((fault) => li(code(fault.pointer), " ", bdi(fault.detail))),
        ),
    );
  }
}

/** Call the API; if it names a consequence (409), ask whether it shall happen all the same. */
async function unlessRefused(send, title) {
  try {
    return await send(false);
  } catch (error) {
    if (!error.offersForce) throw error;
    if (!(await confirmed(title, [p(bdi(error.message))], "Do it all the same", "danger")))
      throw new DOMException("", "AbortError");
    return send(true);
  }
}

async function done(screen, text) {
  say(text);
  forget();
  await screen.reload();
}

async function renew(screen) {
  const { vault, name, detail } = screen;
  const authority = detail.tags["certrelay-authority"];
  const text =
    `${authority} is asked for a new version now, with the same policy, names and tags. ` +
    "The version that is used today stays valid.";
  if (!(await confirmed(`Renew ${name}`, [p(text)], "Renew"))) return;
  screen.key ??= crypto.randomUUID(); // the same until it is answered: then it is done once
  await call("POST", of(vault, name, "/renew"), { body: {}, headers: { "Idempotency-Key": screen.key } });
  screen.key = null;
  await done(screen, "The renewal is requested.");
}

async function cancel(screen, pending) {
  const text =
    "The operation ends without a new version, unless the certificate is merged first. " +
    "An order at the authority is withdrawn where it can be.";
  if (!(await confirmed(`Cancel the operation of ${screen.name}`, [p(text)], "Cancel it", "danger"))) return;
  await call("PATCH", of(screen.vault, screen.name, "/pending"), { body: { cancellation_requested: true } });
  await done(screen, `The cancellation of ${pending.id} is requested.`);
}

async function deleteOperation(screen) {
  const text =
    "This is for an operation that is stuck: it is deleted, in Key Vault too, so that the name is free again. " +
    "An order at the authority stays there.";
  if (!(await confirmed(`Delete the operation of ${screen.name}`, [p(text)], "Delete it", "danger"))) return;
  await call("DELETE", of(screen.vault, screen.name, "/pending"));
  await done(screen, "The operation is deleted.");
}

async function adopt(screen) {
  const select = choice(await authorityNames());
  const days = h("input", { type: "number", min: 1, max: 3650, placeholder: "as long as now" });
  const fields = [
    p("The authority renews it from now on. The version that it has stays as it is."),
    field("adopt-authority", "Authority", select),
    field("adopt-days", "Days that the next versions live", days),
  ];
  if (!(await confirmed(`Adopt ${screen.name}`, fields, "Adopt"))) return;
  const body = { authority: select.value, ...(days.value ? { validity_days: Number(days.value) } : {}) };
  await unlessRefused(
    (force) => call("POST", of(screen.vault, screen.name, "/adopt"), { body: force ? { ...body, force } : body }),
    "Adopt",
  );
  await done(screen, "It is adopted.");
}

async function release(screen) {
  const { attributes } = screen.detail;
  const end = attributes.exp ? ` It expires ${relativeText(attributes.exp)} unless something else renews it.` : "";
  const text = `CertRelay will no longer renew it. Nothing else changes.${end}`;
  if (!(await confirmed(`Release ${screen.name}`, [p(text)], "Release", "danger"))) return;
  await call("POST", of(screen.vault, screen.name, "/release"));
  await done(screen, "It is released.");
}

async function enable(screen) {
  const enabled = !screen.detail.attributes.enabled;
  const text = enabled
    ? "Applications can read the newest version again."
    : "Applications can no longer read the newest version, and it is not renewed.";
  if (
    !(await confirmed(
      `${enabled ? "Enable" : "Disable"} ${screen.name}`,
      [p(text)],
      enabled ? "Enable" : "Disable",
      enabled ? "primary" : "danger",
    ))
  )
    return;
  await unlessRefused(
    (force) => call("PATCH", of(screen.vault, screen.name), { body: force ? { enabled, force } : { enabled } }),
    "Disable",
  );
  await done(screen, enabled ? "It is enabled." : "It is disabled.");
}

async function transfer(screen) {
  const owner = h("input", { required: true, placeholder: "00000000-0000-0000-0000-000000000000" });
  const fields = [
    p("The new owner may renew it and order new versions with the same names. The history keeps all owners."),
    field("new-owner", "Object id or application id in Entra ID, or “function key”", owner),
  ];
  if (!(await confirmed(`Transfer ${screen.name}`, fields, "Transfer"))) return;
  await call("PUT", of(screen.vault, screen.name, "/owner"), { body: { owner: owner.value.trim() } });
  await done(screen, "It is transferred.");
}

async function revoke(screen) {
  const { vault, name, detail } = screen;
  const reason = choice(REASONS);
  const replace = h("input", {
    type: "checkbox",
    id: "replace",
    checked: Boolean(detail.tags?.["certrelay-authority"]),
  });
  const fields = [
    notice("bad", "Whoever checks for revocation refuses this version from then on. This cannot be undone."),
    field("reason", "Reason (RFC 5280)", reason),
    h("label", { class: "check" }, replace, "Order a replacement at once"),
  ];
  if (!(await confirmed(`Revoke ${name}`, fields, "Revoke this version", "danger"))) return;
  const body = { reason: reason.value, version: detail.version, replace: replace.checked };
  await call("POST", of(vault, name, "/revoke"), { body });
  await done(screen, "The version is revoked.");
}

async function remove(screen) {
  const text =
    "All versions, their keys and secrets are deleted; applications can no longer read them. " +
    "It can be recovered during the vault's retention period, on the screen Authorities.";
  if (!(await confirmed(`Delete ${screen.name}`, [p(text)], "Delete it", "danger"))) return;
  await call("DELETE", of(screen.vault, screen.name));
  forget();
  say("It is deleted.");
  location.hash = "#/certificates";
}
