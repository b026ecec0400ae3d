// Fields: choices, and filters, which are kept in the address.

import { withQuery } from "./api.js";
import { button, h, hint } from "./dom.js";

/** A choice of one value. `all`: the words for none of them; without these one is always chosen. */
export function choice(values, chosen, all) {
  return h(
    "select",
    {},
    all && h("option", { value: "" }, all),
    values.map((value) => h("option", { value, selected: value === chosen }, value)),
  );
}

/** A field with its label, and a hint below it. */
export function field(id, title, control, help) {
  control.id = id;
  return h("div", { class: "field" }, h("label", { for: id }, title), control, help && hint(help));
}

/** Do it in place of the browser's own way to send a form. */
export const onSubmit = (act) => (event) => {
  event.preventDefault();
  act();
};

/**
 * The filters of a screen. What they hold is in the address, without an entry in the browser's history for each change,
 * so that it can be sent to somebody.
 * @param {string} screen
 * @param {URLSearchParams} query what the address holds
 * @param {object} defaults what each filter holds when nothing is chosen, by name
 * @param {function()} changed
 */
export function filtersOf(screen, query, defaults, changed) {
  const wanted = { ...defaults, ...Object.fromEntries([...query].filter(([name]) => name in defaults)) };
  const set = (changes) => {
    Object.assign(wanted, changes);
    const chosen = Object.entries(wanted).filter(([name, value]) => value !== defaults[name]);
    history.replaceState(null, "", withQuery(`#/${screen}`, Object.fromEntries(chosen)));
    changed();
  };
  const filter = (name, title, control, event) => {
    control.name = name;
    control.addEventListener(event, () => set({ page: defaults.page, [name]: control.value }));
    return h("label", {}, title, control);
  };
  return {
    wanted,
    set,
    choice: (name, title, values) => filter(name, title, choice(values, wanted[name], "all"), "change"),
    input: (name, title, attributes = {}, event = "input") =>
      filter(name, title, h("input", { value: wanted[name], ...attributes }), event),
    form: (...fields) =>
      formOf(
        fields,
        Object.keys(defaults).some((name) => wanted[name] !== defaults[name]),
      ),
  };
}

/** On a phone the first two are shown until somebody asks for more, or all of them if one is in use. */
function formOf(fields, inUse) {
  const form = h("form", { class: "filters", role: "search", onsubmit: onSubmit(() => {}) }, fields);
  if (fields.length < 3 || inUse) return form;
  const more = button("More filters", () => {
    more.remove();
    form.classList.remove("few");
    fields[2].lastChild.focus();
  });
  form.classList.add("few");
  form.append(more);
  return form;
}
