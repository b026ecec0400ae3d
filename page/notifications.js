// The screen Notifications: who is told of what, how the last deliveries went, and a test message.

import { call, get } from "./api.js";
import {
  alarm,
  badge,
  bdi,
  button,
  buttons,
  card,
  chips,
  code,
  columns,
  details,
  empty,
  facts,
  fill,
  h,
  heading,
  hint,
  lead,
  li,
  plainList,
  say,
  subheading,
} from "./dom.js";
import { dateTime, relative } from "./format.js";
import { isAtLeast } from "./session.js";

/** The screen. */
export async function notifications(element, { signal }) {
  const { value } = await get("notifications", signal);
  fill(
    element,
    heading("Notifications"),
    lead(
      "Who is told of what. Targets are set in ",
      code("CERTRELAY_NOTIFICATIONS"),
      "; their addresses are not shown, since some are passwords.",
    ),
    value.length ? columns(value.map(target)) : empty("Nobody is told of anything."),
  );
}

function target(one) {
  const last = h("div", {}, lastOf(one));
  const send = button("Send a test message", async () => {
    send.disabled = true;
    try {
      const found = await call("POST", `notifications/${encodeURIComponent(one.name)}/test`);
      fill(last, lastOf({ ...one, [found.delivered ? "last_delivered" : "last_failed"]: found }));
      say(`${one.name}: ${words(found)}`);
    } catch (error) {
      last.append(alarm(bdi(error.message)));
    }
    send.disabled = false;
  });
  return card(
    null,
    subheading(bdi(one.name), badge(one.kind, "quiet")),
    facts([["Sent to", one.host]]),
    last,
    details(`Told of ${one.events.length} events`, chips(one.events.map((event) => li(event)))),
    isAtLeast("Operator") && buttons(send),
  );
}

/** The newest delivery first, and the other one for comparison. */
function lastOf({ last_delivered: delivered, last_failed: failed }) {
  const found = [delivered, failed].filter(Boolean).sort((a, b) => (a.at < b.at ? 1 : -1));
  if (!found.length) return hint("Nothing was delivered yet.");
  return plainList(
    found.map((one, number) =>
      li(
        badge(one.delivered ? "delivered" : "not delivered", one.delivered ? "good" : number ? "quiet" : "bad"),
        " ",
        code(one.event),
        " · ",
        bdi(one.subject),
        " · ",
        h("span", { title: dateTime(one.at).textContent }, relative(one.at)),
        " · ",
        words(one),
      ),
    ),
  );
}

const words = ({ status }) => (status ? `answered with status ${status}` : "no answer");
