// An order behind which people are: the CSR to copy or save, and a place for the certificate that they send back.

import { call, of } from "./api.js";
import { alarm, bdi, button, buttons, card, copyButton, fill, h, hint, p, pre, save, say, showError } from "./dom.js";
import { readAuthorities } from "./estate.js";
import { may } from "./session.js";

const CHAIN = "application/x-pem-file",
  BINARY = "application/octet-stream";

/** The part of the screen for an order that waits for people. */
export function byHand(screen) {
  const element = h("div", { class: "columns" });
  draw(element, screen);
  return element;
}

/** Whether people, not a program, are to sign the CSR now. */
export function waitsForPeople({ status, step, authority }) {
  return status === "inProgress" && step === "submitted" && connectors.get(authority) === "manual";
}

const connectors = new Map();

/** Learn which authorities are people: those with the connector `manual`. */
export async function learnAuthorities() {
  for (const one of await readAuthorities()) connectors.set(one.name, one.connector);
}

async function draw(element, screen) {
  const { vault, name, signal } = screen;
  fill(element, hint("Fetching the CSR…"));
  try {
    const response = await call("GET", of(vault, name, "/pending/csr?format=pem"), { raw: true, signal });
    fill(element, csrPart(name, await response.text()), mayAnswer(screen) ? answerPart(screen) : null);
  } catch (error) {
    showError(element, error);
  }
}

const mayAnswer = ({ vault, detail, open }) => may(vault, "merge_certificate", detail?.owner ?? open?.owner);

function csrPart(name, pem) {
  return card(
    "1. Have this CSR signed",
    pre("CSR", pem),
    buttons(
      copyButton(pem, "The CSR is copied."),
      button("Save as a file", () => save(`${name}.csr`, pem, "application/pkcs10")),
    ),
  );
}

function answerPart(screen) {
  const text = h("textarea", {
    id: "answer",
    rows: 5,
    spellcheck: "false",
    placeholder: "-----BEGIN CERTIFICATE-----",
  });
  const file = h("input", {
    type: "file",
    id: "answer-file",
    "aria-label": "File with the certificate",
    onchange: () => bring(file.files[0]),
  });
  const told = alarm();
  const bring = async (dropped) => {
    if (dropped) await send(screen, await dropped.arrayBuffer(), told);
  };
  const place = card(
    "2. Bring the certificate",
    p(
      "PEM, DER or PKCS#7, with its chain in any order: drop the file here, choose it, or paste the text. ",
      "It is verified like any other before it is merged.",
    ),
    file,
    h("label", { for: "answer" }, "Certificate and chain"),
    text,
    buttons(button("Hand it in", () => send(screen, text.value, told), "primary")),
    told,
  );
  place.classList.add("hand");
  place.addEventListener("dragover", (event) => event.preventDefault());
  place.addEventListener("drop", (event) => {
    event.preventDefault();
    bring(event.dataTransfer.files[0]);
  });
  return place;
}

async function send(screen, content, told) {
  const isText = typeof content === "string";
  try {
    await call("POST", of(screen.vault, screen.name, "/pending/merge"), {
      text: content,
      type: isText ? CHAIN : BINARY,
    });
    say("It is handed in.");
    await screen.reload();
  } catch (error) {
    fill(told, bdi(error.message));
  }
}
