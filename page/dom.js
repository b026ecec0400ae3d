// Makes elements. Text is only ever set as text, so that no name in a certificate can become markup.

import { digits } from "./format.js";

const SVG = "http://www.w3.org/2000/svg";

/**
 * An element.
 * @param {string} tag its name
 * @param {object} [attributes] `onclick` and the like are listeners; true is an empty attribute; false and null: none
 * @param {...(Node|string|number|Array|null|false)} children what is in it; strings become text
 */
export function h(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** An element of SVG. */
export function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (name === "value") element.value = value;
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...nodesOf(children));
  return element;
}

function nodesOf(children) {
  const shown = children.flat(Infinity).filter((child) => child != null && child !== false);
  return shown.map((child) => (child instanceof Node ? child : document.createTextNode(String(child))));
}

/** Text from elsewhere: its direction of writing cannot disturb what is around it. */
export function bdi(text, attributes = {}) {
  return h("bdi", attributes, text);
}

export const p = (...children) => h("p", {}, children);
export const li = (...children) => h("li", {}, children);
export const strong = (...children) => h("strong", {}, children);
export const small = (...children) => h("small", {}, children);
export const code = (...children) => h("code", {}, children);

/** Words of less weight. */
export const quiet = (...children) => h("span", { class: "quiet" }, children);

/** A paragraph of less weight. */
export const hint = (...children) => h("p", { class: "quiet" }, children);

/** What a screen is about, below its heading. */
export const lead = (...children) => h("p", { class: "lead" }, children);

/** A paragraph that must not be overlooked. `kind`: bad, warn or good. */
export const notice = (kind, ...children) => h("p", { class: `notice ${kind}` }, children);

/** The heading of a screen, with what is beside it. */
export const heading = (title, ...besides) => h("div", { class: "heading" }, h("h1", {}, title), besides);

/** A row of buttons. */
export const buttons = (...children) => h("div", { class: "buttons" }, children);

/** Cards side by side, as far as there is room. */
export const columns = (...children) => h("div", { class: "columns" }, children);

/** Two fields side by side. */
export const pair = (...children) => h("div", { class: "pair" }, children);

/** What is shown when somebody asks for it. */
export const details = (title, ...children) => h("details", {}, h("summary", {}, title), children);

/** Short texts in boxes, in as few lines as they fit. `items`: of a list. */
export const chips = (...items) => h("ul", { class: "tags" }, items);

/** A list without marks. */
export const plainList = (...items) => h("ul", { class: "plainlist" }, items);

/** In place of a list that has nothing. */
export const empty = (text) => h("p", { class: "empty" }, text);

/** What is wrong, in a place that is announced. */
export const faultText = (...children) => h("p", { class: "fault" }, children);

/** What has gone wrong; it is announced. */
export const alarm = (...children) => h("p", { class: "fault", role: "alert" }, children);

/** Text as it is, with its line ends. `label`: what it is. */
export const pre = (label, text) => h("pre", { class: "pem", tabindex: 0, "aria-label": label }, text);

/** The heading of a card, with what is beside it. */
export const subheading = (title, ...besides) => h("div", { class: "heading" }, h("h2", {}, title), besides);

/** Put new content into an element. */
export function fill(element, ...children) {
  element.replaceChildren(...nodesOf(children));
  return element;
}

/** Show in an element what went wrong; nothing if only the screen was left. */
export function showError(element, error) {
  if (error.name !== "AbortError") fill(element, h("p", { class: "notice bad", role: "alert" }, bdi(error.message)));
}

const likeness = (one) =>
  [one.tagName, one.getAttribute("href"), one.getAttribute("aria-label"), one.textContent].join("\n");

/** The same for what is drawn again and again: the control that had the focus has it again. */
export function refill(element, ...children) {
  const focused = element.contains(document.activeElement) && likeness(document.activeElement);
  fill(element, ...children);
  if (!focused) return;
  const again = [...element.querySelectorAll("a, button, input, select, summary, [tabindex]")].find(
    (one) => likeness(one) === focused,
  );
  again?.focus({ preventScroll: true });
}

/** Say it to people who cannot see that something has changed. */
export function say(text) {
  document.getElementById("said").textContent = text;
}

/** A link to a screen. */
export function link(address, text, attributes = {}) {
  return h("a", { href: address, ...attributes }, text);
}

/** A button. `kind`: primary, danger or empty. */
export function button(text, onclick, kind = "", attributes = {}) {
  return h("button", { type: "button", class: kind, onclick, ...attributes }, text);
}

/** A button that copies a text. */
export function copyButton(text, said = "Copied.") {
  const copied = button("Copy", () =>
    navigator.clipboard.writeText(text).then(
      () => say(said),
      () =>
        copied.after(
          " ",
          h("span", { class: "fault", role: "alert" }, "The browser does not allow it: select the text."),
        ),
    ),
  );
  return copied;
}

/** The lines that a field holds, without empty ones. */
export const linesOf = (control) =>
  control.value
    .split("\n")
    .map((line) => line.trim())
    .filter(Boolean);

/** A heading with what belongs to it, in a box. */
export function card(title, ...children) {
  return h("section", { class: "card" }, title && h("h2", {}, title), children);
}

/** Names and values. */
export function facts(pairs) {
  const shown = pairs.filter(([, value]) => value != null && value !== "" && value !== false);
  return h(
    "dl",
    { class: "facts" },
    shown.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]),
  );
}

/** A word in a coloured shape. `kind`: good, warn, bad, busy or quiet. */
export function badge(text, kind) {
  return h("span", { class: `badge ${kind}` }, text);
}

/** The element of a table. `heads`: its head cells; `body`: the element of its rows. */
export function headed(caption, heads, body, attributes) {
  return h(
    "table",
    attributes,
    h("caption", { class: "visually-hidden" }, caption),
    h("thead", {}, h("tr", {}, heads)),
    body,
  );
}

/** A head cell of a column. */
export const columnHead = (title) => h("th", { scope: "col" }, title);

/** A table. `columns`: texts or nodes; `rows`: arrays of cells. */
export function table(caption, columns, rows, attributes = {}) {
  return h(
    "div",
    { class: "scroll", tabindex: 0, role: "region", "aria-label": caption },
    headed(
      caption,
      columns.map(columnHead),
      h(
        "tbody",
        {},
        rows.map((cells) =>
          h(
            "tr",
            {},
            cells.map((cell, number) =>
              h("td", { "data-label": typeof columns[number] === "string" ? columns[number] : null }, cell),
            ),
          ),
        ),
      ),
      attributes,
    ),
  );
}

/** A list of texts of which the first ones are shown, and the others when somebody asks. */
export function longList(texts, shown = 12) {
  const item = (text) => li(bdi(text));
  const list = h("ul", { class: "names" }, texts.slice(0, shown).map(item));
  if (texts.length <= shown) return list;
  const all = button(
    `Show all ${digits(texts.length)}`,
    () => {
      list.append(...texts.slice(shown).map(item));
      all.remove();
    },
    "link",
  );
  return h("div", {}, list, all);
}

/** Let the browser save a text as a file. */
export function save(name, text, type) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

const FORMULA = /^ *[=+\-@\t\r\n|\uff1d\uff0b\uff0d\uff20]/; // as handlers/csv_text.py has it

/** Texts as CSV (RFC 4180). What a spreadsheet would take for a formula gets an apostrophe. */
export function csv(columns, rows) {
  const cell = (value) => {
    const text = value == null ? "" : String(value);
    return `"${(FORMULA.test(text) ? "'" + text : text).replaceAll('"', '""')}"`;
  };
  return [columns, ...rows].map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
}
