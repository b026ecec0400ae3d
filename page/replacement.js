// The screen of one replacement, live until it is settled.

import { call, follow } from "./api.js";
import { badge, bdi, button, card, h, lead, link, p, refill, table } from "./dom.js";
import { confirmed } from "./dialog.js";
import { linkTo } from "./estate.js";
import { count, digits, relative } from "./format.js";
import { isAtLeast, who } from "./session.js";

/** The colour of its state. */
export const KINDS = { running: "busy", started: "busy", settled: "good", canceled: "quiet" };
const MEANING = {
  running: "Renewals are being started.",
  started: "All renewals were started; some still run.",
  settled: "All of them have ended.",
  canceled: "It was stopped: no further renewals are started.",
};

/** The screen of one replacement, live until it is settled. */
export async function replacement(element, { parts: [id], signal }) {
  const draw = (job) =>
    refill(
      element,
      h("p", { class: "crumbs" }, link("#/replace", "Replace everything")),
      h("div", { class: "heading" }, h("h1", {}, "Replacement ", badge(job.state, KINDS[job.state])), stop(job)),
      lead(MEANING[job.state], " Asked by ", who(job), " ", relative(job.requested_at), "."),
      card("Progress", progress(job)),
      job.refused?.length > 0 && card("Refused", refused(job.refused)),
    );
  await follow(
    `replacements/${encodeURIComponent(id)}`,
    draw,
    (job) => job.state === "settled" || job.state === "canceled",
    signal,
  );
}

function progress({ progress: { matched, ...counts }, looked_at: looked }) {
  const ended = (counts.completed ?? 0) + (counts.failed ?? 0) + (counts.canceled ?? 0) + (counts.refused ?? 0);
  return [
    h("progress", { max: matched || 1, value: ended, "aria-label": "Ended renewals" }),
    p(`${ended} of ${count(matched, "renewal")} ended; ${count(looked, "certificate")} looked at.`),
    h(
      "div",
      { class: "tiles" },
      Object.entries(counts).map(([name, number]) =>
        h(
          "div",
          { class: `tile ${TILES[name] ?? ""}` },
          h("b", {}, digits(number)),
          h("span", {}, name === "inProgress" ? "in progress" : name),
        ),
      ),
    ),
  ];
}

const TILES = { completed: "good", failed: "bad", refused: "bad", inProgress: "busy", waiting: "warn" };

function refused(list) {
  return table(
    "Refused",
    ["Certificate", "Vault", "Why"],
    list.map((one) => [one.name ? linkTo(one) : "the whole vault", one.vault, bdi(one.detail)]),
  );
}

function stop(job) {
  if (!isAtLeast("Administrator") || !["running", "started"].includes(job.state)) return null;
  return button(
    "Stop…",
    async () => {
      const text = "No further renewals are started. Those that were started go on.";
      if (await confirmed("Stop the replacement", [p(text)], "Stop it", "danger"))
        await call("DELETE", `replacements/${encodeURIComponent(job.id)}`);
    },
    "danger",
  );
}
