// Actions on many certificates at once: each is one call, a few at a time, and each refusal is shown.

import { call, of } from "./api.js";
import { bdi, button, card, fill, h, li, p, say, strong } from "./dom.js";
import { confirmed } from "./dialog.js";
import { authorityNames, forget, linkTo } from "./estate.js";
import { choice, field } from "./form.js";
import { count } from "./format.js";
import { mayIn } from "./session.js";

const AT_ONCE = 4;

/** The bar for the chosen certificates. `more`: a button that chooses more of them; `done`: choose none. */
export function bulkBar(lines, more, done) {
  const offered = (route) => lines.filter((line) => mayIn(line.vault, route));
  const action = (title, route, kind, run, managed) => {
    const fit = offered(route).filter((line) => managed === undefined || Boolean(line.authority) === managed);
    return fit.length ? button(`${title} ${fit.length}`, () => run(fit, done), kind) : null;
  };
  return h(
    "div",
    { class: "bulk", role: "group", "aria-label": "With the chosen certificates" },
    strong(`${count(lines.length, "certificate")} chosen`),
    action("Renew", "renew_certificate", "primary", renew, true),
    action("Adopt", "adopt_certificate", "", adopt, false),
    action("Release", "release_certificate", "", release, true),
    more,
    button("Choose none", done, "link"),
  );
}

async function renew(lines, done) {
  const text = `${count(lines.length, "new version")} will be ordered now, due or not, within the authorities' rates.`;
  if (await confirmed("Renew", [p(text), names(lines)], "Renew")) {
    await run("Renewing", lines, (line) => call("POST", of(line.vault, line.name, "/renew"), { body: {} }), done);
  }
}

async function release(lines, done) {
  const text =
    "CertRelay will no longer renew them. They stay as they are, and expire unless something else renews them.";
  if (await confirmed("Release", [p(text), names(lines)], "Release", "danger")) {
    await run("Releasing", lines, (line) => call("POST", of(line.vault, line.name, "/release")), done);
  }
}

async function adopt(lines, done) {
  const select = choice(await authorityNames());
  const text = "The authority will renew them from now on. The versions that they have stay.";
  if (await confirmed("Adopt", [p(text), field("adopter", "Authority", select), names(lines)], "Adopt")) {
    const body = { authority: select.value };
    await run("Adopting", lines, (line) => call("POST", of(line.vault, line.name, "/adopt"), { body }), done);
  }
}

function names(lines) {
  const shown = lines.slice(0, 8).map((line) => li(bdi(line.name)));
  return h("ul", { class: "names" }, shown, lines.length > 8 && li(`and ${lines.length - 8} more`));
}

async function run(title, lines, one, done) {
  const bar = h("progress", { max: lines.length, value: 0, "aria-label": title });
  const refused = h("ul", { class: "plainlist" });
  const text = h("p", { role: "status" });
  const place = card(title, bar, text, refused);
  document.querySelector(".bulk").parentElement.before(place);
  done();
  let ended = 0;
  const waiting = [...lines];
  const worker = async () => {
    for (let line = waiting.shift(); line; line = waiting.shift()) {
      await one(line).catch((error) => refused.append(li(linkTo(line), ": ", bdi(error.message))));
      bar.value = ++ended;
      fill(text, `${ended} of ${lines.length} done, ${refused.children.length} refused`);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  forget();
  say(`${title} is done.`);
  place.append(button("Close", () => place.remove(), "primary"));
}
