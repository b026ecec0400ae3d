// The screen Import: a file with a key, dropped or chosen. It is read here, sent once, and kept nowhere.

import { digits } from "./format.js";
import { call, faultsOf, of } from "./api.js";
import { bdi, button, buttons, card, empty, faultText, fill, h, heading, lead, li, link, p, pair, say } from "./dom.js";
import { forget, linkTo } from "./estate.js";
import { choice, field, onSubmit } from "./form.js";
import { vaultsFor } from "./session.js";

/** The screen. */
export async function importFile(element) {
  const vaults = vaultsFor("import_certificate");
  if (!vaults.length) {
    fill(element, empty("Your role imports no certificates into any vault."));
    return;
  }
  const form = { file: null, outcome: h("div", { role: "status" }) };
  fill(
    element,
    heading("Import a certificate", link("#/new", "Order one instead", { class: "button" })),
    lead(
      "A PFX, PEM or DER file with its private key. ",
      "The page reads it, sends it once to CertRelay, and keeps nothing of it.",
    ),
    formOf(form, vaults),
    form.outcome,
  );
}

function formOf(form, vaults) {
  form.vault = choice(vaults);
  form.name = h("input", {
    required: true,
    maxlength: 127,
    pattern: "[0-9a-zA-Z\\-]+",
    autocomplete: "off",
  });
  form.password = h("input", { type: "password", autocomplete: "off" });
  form.strict = h("input", { type: "checkbox" });
  form.chosen = h("p", { class: "strong" });
  const file = h("input", { type: "file", id: "i-file", onchange: () => choose(form, file.files[0]) });
  const zone = h(
    "div",
    {
      class: "dropzone",
      ondragover: (event) => {
        event.preventDefault();
        zone.classList.add("over");
      },
      ondragleave: () => zone.classList.remove("over"),
      ondrop: (event) => {
        event.preventDefault();
        zone.classList.remove("over");
        choose(form, event.dataTransfer.files[0]);
      },
    },
    h("label", { for: "i-file" }, "Drop the file here, or choose it"),
    file,
    form.chosen,
  );
  return h(
    "form",
    {
      class: "card",
      onsubmit: onSubmit(() => send(form, false)),
    },
    h(
      "fieldset",
      {},
      zone,
      pair(field("i-vault", "Vault", form.vault), field("i-name", "Name in Key Vault", form.name)),
      field("i-password", "Password of the file, if it has one", form.password),
      h("label", { class: "check" }, form.strict, "Refuse it if Key Vault would not take it as it is"),
      buttons(h("button", { class: "primary" }, "Import it")),
    ),
  );
}

function choose(form, file) {
  if (!file) return;
  form.file = file;
  form.chosen.textContent = `${file.name}, ${digits(file.size)} bytes`;
  form.name.value ||= file.name
    .replace(/\.\w+$/, "")
    .replace(/[^0-9a-zA-Z]+/g, "-")
    .replace(/^-+|-+$/g, "");
}

async function send(form, force) {
  if (!form.file) {
    fill(form.outcome, faultText("Choose a file first."));
    return;
  }
  try {
    const body = {
      value: await base64(form.file),
      ...(form.password.value ? { pwd: form.password.value } : {}),
      ...(form.strict.checked ? { strict: true } : {}),
      ...(force ? { force } : {}),
    };
    const answer = await call("POST", of(form.vault.value, form.name.value.trim(), "/import"), { body });
    forget();
    done(form, answer);
  } catch (error) {
    refused(form, error, force);
  }
}

function done(form, answer) {
  form.password.value = "";
  form.file = null;
  say("Imported.");
  fill(
    form.outcome,
    card(
      "Imported",
      p(linkTo(answer), answer.imported ? " has a new version." : " had this version already."),
      answer.changes.length > 0 && [
        p("To please Key Vault:"),
        h(
          "ul",
          {},
          answer.changes.map((one) => li(bdi(one))),
        ),
      ],
    ),
  );
}

function refused(form, error, force) {
  const canForce = error.offersForce && !force;
  fill(
    form.outcome,
    h(
      "div",
      { class: "notice bad", role: "alert" },
      faultsOf(error).map((one) => p(bdi(one.detail))),
      canForce && button("Import it all the same", () => send(form, true), "danger"),
    ),
  );
}

/** A file in base64. */
function base64(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.split(",", 2)[1] ?? "");
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });
}
