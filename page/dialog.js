// Questions before something happens. The browser's own dialog keeps the focus inside, and Escape closes it.

import { button, buttons, h } from "./dom.js";

/**
 * Ask before something is done.
 * @param {string} title
 * @param {Array} content what will happen, and fields
 * @param {string} action the word on the button
 * @param {string} [kind] primary or danger
 * @returns {Promise<boolean>} whether the person agreed
 */
export function confirmed(title, content, action, kind = "primary") {
  return new Promise((resolve) => {
    const dialog = h(
      "dialog",
      {
        "aria-labelledby": "dialog-title",
        onclose: () => {
          dialog.remove();
          resolve(dialog.returnValue === "yes");
        },
      },
      h(
        "form",
        { method: "dialog" },
        h("h2", { id: "dialog-title" }, title),
        content,
        buttons(
          button("Cancel", () => dialog.close("no")),
          h("button", { class: kind, value: "yes" }, action),
        ),
      ),
    );
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** Close what is open, unanswered: the screen that it belongs to is left. */
export function closeAll() {
  for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
}

/** Tell something that has to be read. */
export function told(title, ...content) {
  const dialog = h(
    "dialog",
    { "aria-labelledby": "dialog-title", onclose: () => dialog.remove() },
    h("h2", { id: "dialog-title" }, title),
    content,
    buttons(button("Close", () => dialog.close(), "primary")),
  );
  document.body.append(dialog);
  dialog.showModal();
}
