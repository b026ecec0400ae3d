// The screen Doctor: what is wrong with this deployment and how it is mended.

import { get } from "./api.js";
import { badge, bdi, button, card, copyButton, fill, h, heading, lead, p, pre, say, strong } from "./dom.js";
import { count } from "./format.js";

/** The screen. */
export async function doctor(element, { signal }) {
  const body = h("div", { class: "stack" });
  fill(
    element,
    heading(
      "Doctor",
      button("Examine again", () => examine(body, signal), "primary"),
    ),
    lead(
      "It looks at the settings, each right in each vault, the authorities, the timers and the clock. ",
      "It changes nothing.",
    ),
    body,
  );
  await examine(body, signal);
}

async function examine(body, signal) {
  fill(body, h("p", { class: "quiet", role: "status" }, "Examining; this may take some seconds…"));
  const { findings } = await get("doctor", signal);
  const wrong = findings.filter((one) => !one.ok),
    well = findings.filter((one) => one.ok);
  say(wrong.length ? `${count(wrong.length, "finding")}.` : "Nothing is wrong.");
  fill(
    body,
    wrong.length
      ? h("ul", { class: "needs" }, wrong.map(finding))
      : h("section", { class: "well" }, h("h2", {}, "Nothing is wrong"), p(`${count(well.length, "thing")} examined.`)),
    card(
      `Well (${well.length})`,
      h(
        "dl",
        { class: "facts" },
        well.map((one) => [h("dt", {}, bdi(one.what)), h("dd", {}, bdi(one.detail))]),
      ),
    ),
  );
}

function finding(one) {
  return h(
    "li",
    { class: "need bad" },
    h("h3", {}, badge("wrong", "bad"), bdi(one.what)),
    p(bdi(one.detail)),
    one.mend && [p(strong("To mend it:")), pre("How it is mended", one.mend), copyButton(one.mend)],
  );
}
