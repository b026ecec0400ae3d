// The screen New: a form that knows what each authority can do; it shows the request, and each fault where it is.

import { call, faultsOf, get, of } from "./api.js";
import {
  bdi,
  buttons,
  card,
  code,
  copyButton,
  details,
  empty,
  faultText,
  fill,
  h,
  heading,
  li,
  linesOf,
  link,
  pair,
  plainList,
  pre,
  say,
} from "./dom.js";
import { addressOf, forget, readAuthorities } from "./estate.js";
import { choice, onSubmit } from "./form.js";
import { vaultsFor } from "./session.js";

const KEYS = {
  "EC P-256": { kty: "EC", crv: "P-256" },
  "EC P-384": { kty: "EC", crv: "P-384" },
  "EC P-521": { kty: "EC", crv: "P-521" },
  "RSA 2048": { kty: "RSA", key_size: 2048 },
  "RSA 3072": { kty: "RSA", key_size: 3072 },
  "RSA 4096": { kty: "RSA", key_size: 4096 },
};
// The fields of the request that hold one name a line, with the ability that an authority needs for them.
const LISTS = [
  ["dns_names", "DNS names", "www.contoso.example", null],
  ["email_addresses", "E-mail addresses", "", "email"],
  ["ip_addresses", "IP addresses", "", "ip_address"],
  ["uris", "URIs", "", "uri"],
  ["user_principal_names", "User principal names", "", "user_principal_name"],
];

/** The screen. */
export async function create(element, { query, signal }) {
  const vaults = vaultsFor("create_certificate");
  const [authorities, { value: known }] = await Promise.all([readAuthorities(), get("vaults", signal)]);
  const form = { vaults: known.filter((one) => vaults.includes(one.name)), authorities, fields: {}, shown: h("div") };
  form.wanted = query.get("authority");
  if (!form.vaults.length) {
    fill(element, empty("Your role orders no certificates in any vault."));
    return;
  }
  fill(
    element,
    heading("New certificate", link("#/import", "Import a file instead", { class: "button" })),
    h(
      "div",
      { class: "form-columns" },
      formOf(form, query),
      h("div", { class: "stack" }, (form.about = h("div")), form.shown),
    ),
  );
  refresh(form);
}

function field(form, name, title, control, help, pointer = `/${name}`) {
  const id = `f-${name}`;
  control.id = id;
  form.fields[name] = control;
  control.dataset.pointer = pointer;
  const fault = h("p", { class: "fault", id: `${id}-fault`, role: "alert", hidden: true });
  control.setAttribute("aria-describedby", `${id}-fault ${id}-help`);
  return h(
    "div",
    { class: "field", id: `${id}-field` },
    h("label", { for: id }, title),
    control,
    help && h("p", { class: "quiet", id: `${id}-help` }, help),
    fault,
  );
}

function formOf(form, query) {
  const lines = (rows, placeholder) => h("textarea", { rows, spellcheck: "false", placeholder });
  const [first, ...others] = LISTS;
  return h(
    "form",
    {
      class: "card",
      novalidate: true,
      onsubmit: onSubmit(() => order(form)),
      oninput: () => refresh(form),
    },
    h(
      "fieldset",
      {},
      pair(
        field(
          form,
          "vault",
          "Vault",
          choice(
            form.vaults.map((one) => one.name),
            query.get("vault"),
          ),
        ),
        field(form, "authority", "Authority", h("select")),
      ),
      field(
        form,
        "name",
        "Name in Key Vault",
        h("input", {
          required: true,
          maxlength: 127,
          pattern: "[0-9a-zA-Z-]+",
          placeholder: "www-contoso",
          autocomplete: "off",
          value: query.get("name") ?? "",
        }),
        "Letters, digits and hyphens.",
      ),
      field(form, first[0], first[1], lines(3, first[2]), "One a line. A wildcard is *.contoso.example."),
      pair(
        field(form, "key", "Key", choice(Object.keys(KEYS), "RSA 2048"), null, "/policy/key_props"),
        field(form, "validity_days", "Days that it lives", h("input", { type: "number", min: 1, max: 3650 })),
      ),
      details(
        "More: subject, other names, tags",
        h(
          "fieldset",
          {},
          field(
            form,
            "subject",
            "Subject",
            h("input", { placeholder: "CN=www.contoso.example,O=Contoso" }),
            "By default the first name.",
          ),
          others.map(([name, title, placeholder]) => field(form, name, title, lines(2, placeholder), "One a line.")),
          field(form, "tags", "Tags", lines(2, "team=web"), "One a line, as name=value."),
          h(
            "label",
            { class: "check" },
            (form.fields.reuse = h("input", { type: "checkbox" })),
            "Keep the same key for every version",
          ),
        ),
      ),
      buttons(h("button", { class: "primary" }, "Order it")),
      (form.fault = h("div", { role: "alert" })),
    ),
  );
}

/** What the form says now: the authorities of the vault, what the authority can do, the request. */
function refresh(form) {
  const { fields } = form;
  const vault = form.vaults.find((one) => one.name === fields.vault.value);
  if (form.vault !== vault) {
    form.vault = vault;
    // As the settings list them; a program is the first choice.
    const known = form.authorities.filter((one) => vault.authorities.includes(one.name));
    const kept = fields.authority.value || form.wanted || known.find((one) => one.connector !== "manual")?.name;
    fill(
      fields.authority,
      known.map(({ name }) => h("option", { value: name, selected: name === kept }, name)),
    );
  }
  const authority = form.authorities.find((one) => one.name === fields.authority.value);
  if (authority && form.authority !== authority) adapt(form, authority);
  form.authority = authority;
  showRequest(form);
}

function adapt(form, authority) {
  for (const [name, , , feature] of LISTS.slice(1))
    document.getElementById(`f-${name}-field`).hidden = !authority.features.includes(feature);
  form.fields.validity_days.placeholder = String(authority.default_validity_days);
  const types = authority.rules.key_types ?? ["RSA", "EC"];
  for (const option of form.fields.key.options) option.disabled = !types.includes(KEYS[option.value].kty);
  fill(form.about, card(`About ${authority.name}`, plainList(rulesOf(authority).map((text) => li(text)))));
}

function rulesOf({ connector, features, rules, default_validity_days: days }) {
  const most = rules.max_validity_days ? `, at most ${rules.max_validity_days}` : "";
  return [
    connector === "manual"
      ? "People sign the CSR; you or they bring the certificate back."
      : `It issues by itself (${connector}).`,
    `Certificates live ${days} days unless you ask otherwise${most}.`,
    rules.names?.length
      ? [
          "It issues for: ",
          rules.names.map((name, number) => [
            number > 0 && ", ",
            code(typeof name === "string" ? name : JSON.stringify(name)),
          ]),
        ]
      : "No rule here restricts the names.",
    `Keys: ${(rules.key_types ?? []).join(", ")}; RSA of at least ${rules.minimum_rsa_size} bits.`,
    features.includes("wildcard") ? "Wildcards are fine." : "It issues no wildcards.",
  ];
}

function requestOf({ fields }) {
  const body = { authority: fields.authority.value };
  for (const [name] of LISTS)
    if (!fields[name].parentElement.hidden && linesOf(fields[name]).length) body[name] = linesOf(fields[name]);
  if (fields.subject.value.trim()) body.subject = fields.subject.value.trim();
  if (fields.validity_days.value) body.validity_days = Number(fields.validity_days.value);
  body.policy = { key_props: { ...KEYS[fields.key.value], ...(fields.reuse.checked ? { reuse_key: true } : {}) } };
  const tags = linesOf(fields.tags).map((line) => line.split(/=(.*)/s, 2));
  if (tags.length) body.tags = Object.fromEntries(tags.map(([name, value]) => [name.trim(), (value ?? "").trim()]));
  return body;
}

const pathOf = ({ fields }) => of(fields.vault.value, fields.name.value.trim() || "NAME", "/create");

function showRequest(form) {
  const json = JSON.stringify(requestOf(form), null, 2);
  const quoted = json.replaceAll("'", `'\\''`);
  const curl = `curl -fsS -H "x-functions-key: $KEY" --json '${quoted}' \\\n  "${location.origin}/api/${pathOf(form)}"`;
  const open = form.shown.querySelector("details")?.open;
  fill(
    form.shown,
    card(
      "The request",
      pre("The request as JSON", json),
      h(
        "details",
        { open },
        h("summary", {}, "As a command"),
        pre("The request as a curl command", curl),
        copyButton(curl),
      ),
    ),
  );
}

async function order(form) {
  showFaults(form, []);
  const name = form.fields.name.value.trim();
  if (!name) {
    showFaults(form, [{ pointer: "/name", detail: "The certificate needs a name in Key Vault." }]);
    return;
  }
  const button_ = form.fields.name.form.querySelector("button.primary");
  button_.disabled = true;
  const body = requestOf(form); // sent again unchanged, it orders nothing twice
  if (form.sent !== JSON.stringify(body)) [form.sent, form.key] = [JSON.stringify(body), crypto.randomUUID()];
  try {
    await call("POST", pathOf(form), { body, headers: { "Idempotency-Key": form.key } });
    forget();
    say(`${name} is ordered.`);
    location.hash = addressOf(form.fields.vault.value, name);
  } catch (error) {
    showFaults(form, faultsOf(error));
  } finally {
    button_.disabled = false;
  }
}

/** Each fault at the field that it is about, by its JSON pointer; the others below the form. */
function showFaults(form, faults) {
  fill(form.fault);
  for (const control of Object.values(form.fields)) mark(control, []);
  const left = [];
  for (const fault of faults) {
    const control = Object.values(form.fields).find(
      (one) =>
        one.dataset.pointer &&
        (fault.pointer === one.dataset.pointer || fault.pointer.startsWith(`${one.dataset.pointer}/`)),
    );
    if (control) mark(control, [...(control.faults ?? []), lineOf(fault, control)]);
    else left.push(faultText(bdi(fault.detail)));
  }
  fill(form.fault, left);
  form.fields.name.form.querySelector("[aria-invalid=true]")?.focus();
}

/** A fault of an item names its line. */
function lineOf({ pointer, detail }, control) {
  const index = pointer.slice(control.dataset.pointer.length + 1);
  return /^\d+$/.test(index) ? `Line ${Number(index) + 1}: ${detail}` : detail;
}

function mark(control, faults) {
  control.faults = faults;
  const place = document.getElementById(`${control.id}-fault`);
  if (!place) return;
  place.hidden = !faults.length;
  place.textContent = faults.join("\n");
  control.setAttribute("aria-invalid", String(faults.length > 0));
  if (faults.length) control.closest("details")?.setAttribute("open", "");
}
