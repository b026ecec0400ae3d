// The policy of the next version, and the tags: as people read them, and as JSON to change.

import { call, get, of } from "./api.js";
import { bdi, button, buttons, chips, code, facts, faultText, fill, h, hint, p, say } from "./dom.js";
import { confirmed } from "./dialog.js";
import { may } from "./session.js";

const OWN = /^certrelay-(authority|renewal|validity-days)$/; // the API keeps them; it takes the others from people
const TRIGGERS = {
  lifetime_percentage: (n) => `at ${n} % of the lifetime`,
  days_before_expiry: (n) => `${n} days before expiry`,
};

/** The policy and tags of a certificate. */
export function policyCard(screen) {
  const { vault, detail } = screen;
  const { policy = {}, tags = {} } = detail;
  const box = h("div");
  fill(
    box,
    readable(policy),
    h("h3", {}, "Tags"),
    tagList(tags),
    buttons(
      may(vault, "update_certificate_policy", detail.owner) &&
        button("Edit the policy…", () => edit(screen, box, "policy")),
      may(vault, "update_certificate", detail.owner) && button("Edit the tags…", () => edit(screen, box, "tags")),
    ),
  );
  return box;
}

function readable({
  key_props: key = {},
  x509_props: x509 = {},
  lifetime_actions: actions = [],
  issuer = {},
  secret_props: secret = {},
}) {
  const size = key.crv || (key.key_size ? `${key.key_size} bits` : "");
  return facts([
    [
      "Key",
      [
        `${key.kty ?? "?"} ${size}`,
        key.reuse_key ? ", the same for every version" : ", a new one for every version",
        key.exportable === false && ", not exportable",
      ],
    ],
    ["Subject", x509.subject && bdi(x509.subject)],
    ["Lifetime", x509.validity_months && `${x509.validity_months} months`],
    ["Issuer", issuer.name === "Unknown" ? "not one of Key Vault's own (Unknown)" : issuer.name],
    [
      "At the end",
      actions.map(({ action, trigger }) =>
        h(
          "div",
          {},
          action.action_type,
          " ",
          ...Object.entries(trigger).map(([kind, number]) => TRIGGERS[kind]?.(number)),
        ),
      ),
    ],
    ["Content", secret.contentType],
  ]);
}

function tagList(tags) {
  const shown = Object.entries(tags);
  if (!shown.length) return hint("None.");
  return chips(
    shown.map(([name, value]) => h("li", { class: OWN.test(name) ? "own" : "" }, bdi(name), " = ", bdi(value))),
  );
}

async function edit(screen, box, what) {
  const { vault, name, detail } = screen;
  const start =
    what === "policy" ? editable(await get(of(vault, name, "/policy"), screen.signal)) : others(detail.tags ?? {});
  const text = h("textarea", {
    id: `edit-${what}`,
    rows: 18,
    spellcheck: "false",
    class: "code",
    value: JSON.stringify(start, null, 2),
  });
  const fault = h("div", { role: "alert" });
  const explained =
    what === "policy"
      ? "It applies from the next version on. Fields that you leave out keep their values."
      : "These replace all tags but CertRelay's own.";
  fill(
    box,
    h("label", { for: `edit-${what}` }, what === "policy" ? "Policy" : "Tags"),
    hint(explained),
    text,
    fault,
    buttons(
      button("Save", () => store(screen, what, text.value, fault), "primary"),
      button("Back", () => fill(box, policyCard(screen))),
    ),
  );
  text.focus();
}

/** The policy without what Key Vault alone sets. */
function editable(policy) {
  const { id, attributes, ...kept } = policy;
  return kept;
}

const others = (tags) => Object.fromEntries(Object.entries(tags).filter(([name]) => !OWN.test(name)));

async function store(screen, what, written, fault) {
  try {
    await send(screen, what, JSON.parse(written), false);
    say("Saved.");
    await screen.reload();
  } catch (error) {
    fill(
      fault,
      faultText(bdi(error.message)),
      (error.faults ?? []).map((one) => faultText(code(one.pointer), " ", bdi(one.detail))),
    );
  }
}

async function send({ vault, name }, what, body, force) {
  const [path, sent] =
    what === "policy"
      ? [of(vault, name, `/policy${force ? "?force=true" : ""}`), body]
      : [of(vault, name), { tags: body, ...(force ? { force } : {}) }];
  try {
    return await call("PATCH", path, { body: sent });
  } catch (error) {
    const asks = error.offersForce && !force;
    if (
      !asks ||
      !(await confirmed("This has a consequence", [p(bdi(error.message))], "Save it all the same", "danger"))
    )
      throw error;
    return send({ vault, name }, what, body, true);
  }
}
