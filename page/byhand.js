// An order behind which people are: the CSR to copy or save, and a place for the certificate that they send back.

import { call, of } from "./api.js";
import { bdi, button, copyButton, fill, h, save, say } from "./dom.js";
import { may } from "./session.js";

const CHAIN = "application/x-pem-file", BINARY = "application/octet-stream";

/** The part of the screen for one operation; it stays while the operation is followed, with what was typed into it. */
export function byHand(screen) {
  const element = h("div");
  let drawn = false;
  return { shown(operation) {
    const waits = operation.status === "inProgress" && operation.step === "submitted" && waitsForPeople(operation);
    if (!waits) { fill(element); drawn = false; }
    else if (!drawn) { drawn = true; draw(element, screen); }
    return element;
  } };
}

/** Whether people, not a program, are to sign the CSR. */
export function waitsForPeople(operation) {
  return connectors.get(operation.authority) === "manual";
}

const connectors = new Map();

/** Tell which authorities are people: those with the connector `manual`. */
export async function learnAuthorities(signal) {
  if (connectors.size) return;
  const { value } = await call("GET", "authorities", { signal });
  value.forEach((one) => connectors.set(one.name, one.connector));
}

async function draw(element, screen) {
  const { vault, name, signal } = screen;
  fill(element, h("p", { class: "quiet" }, "Fetching the CSR…"));
  try {
    const response = await call("GET", of(vault, name, "/pending/csr?format=pem"), { raw: true, signal });
    fill(element, csrPart(name, await response.text()), mayAnswer(screen) ? answerPart(screen) : null);
  } catch (error) {
    if (error.name !== "AbortError") fill(element, h("p", { class: "notice bad" }, bdi(error.message)));
  }
}

const mayAnswer = ({ vault, detail }) => may(vault, "merge_certificate", detail?.owner);

function csrPart(name, pem) {
  return h("section", { class: "hand" }, h("h3", {}, "1. Have this CSR signed"),
    h("pre", { class: "pem", tabindex: 0, "aria-label": "CSR" }, pem), h("div", { class: "buttons" },
      copyButton(pem, "The CSR is copied."),
      button("Save as a file", () => save(`${name}.csr`, pem, "application/pkcs10"))));
}

function answerPart(screen) {
  const text = h("textarea", { id: "answer", rows: 5, spellcheck: "false", placeholder: "-----BEGIN CERTIFICATE-----" });
  const file = h("input", { type: "file", id: "answer-file", "aria-label": "File with the certificate", onchange: async () => {
    if (file.files[0]) await send(screen, await file.files[0].arrayBuffer(), told);
  } });
  const told = h("p", { role: "alert" });
  const place = h("section", { class: "hand drop", ondragover: (event) => event.preventDefault(), ondrop: async (event) => {
    event.preventDefault();
    if (event.dataTransfer.files[0]) await send(screen, await event.dataTransfer.files[0].arrayBuffer(), told);
  } }, h("h3", {}, "2. Bring the certificate"),
  h("p", {}, "PEM, DER or PKCS#7, with its chain in any order: drop the file here, choose it, or paste the text. It is verified like any other before it is merged."),
  file, h("label", { for: "answer" }, "Certificate and chain"), text,
  h("div", { class: "buttons" }, button("Hand it in", () => send(screen, text.value, told), "primary")), told);
  return place;
}

async function send(screen, content, told) {
  const isText = typeof content === "string";
  try {
    await call("POST", of(screen.vault, screen.name, "/pending/merge"), { text: content, type: isText ? CHAIN : BINARY });
    say("It is handed in.");
    await screen.reload();
  } catch (error) {
    told.className = "fault";
    fill(told, bdi(error.message));
  }
}
