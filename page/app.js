// The frame: who is signed in, the navigation, and one screen at a time, each with its own address.

import { ApiError, functionKey, keepKey, onReachable, wait } from "./api.js";
import { closeAll, told } from "./dialog.js";
import { field, onSubmit } from "./form.js";
import { alarm, bdi, button, buttons, code, fill, h, hint, link, p, say } from "./dom.js";
import { hasSignIn, highestRole, identify, isAtLeast, me } from "./session.js";
import { authorities } from "./authorities.js";
import { calendar } from "./calendar.js";
import { certificate } from "./certificate.js";
import { certificates } from "./certificates.js";
import { doctor } from "./doctor.js";
import { history } from "./history.js";
import { create } from "./create.js";
import { importFile } from "./import.js";
import { notifications } from "./notifications.js";
import { now } from "./now.js";
import { replacements } from "./replace.js";
import { replacement } from "./replacement.js";

// What comes after `#/`; a screen is a function of the element to fill, the rest of the address, and a signal for its
// end.
const SCREENS = {
  now: [now, "Now", "Reader"],
  certificates: [certificates, "Certificates", "Reader"],
  certificate: [certificate, ""],
  new: [create, "New", "Requester"],
  import: [importFile, ""],
  calendar: [calendar, "Calendar", "Reader"],
  authorities: [authorities, "Authorities", "Reader"],
  history: [history, "History", "Reader"],
  replace: [replacements, "Replace", "Administrator"],
  replacement: [replacement, ""],
  doctor: [doctor, "Doctor", "Reader"],
  notifications: [notifications, "Notifications", "Reader"],
};
const PARENT = { certificate: "certificates", import: "new", replacement: "replace" };
const main = document.getElementById("main");
let leaving = new AbortController();

/** The address as a screen's name, the parts of its path, and its parameters. */
function address() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const [screen, ...parts] = path.split("/").map(decoded);
  return { screen: SCREENS[screen] ? screen : "now", parts, query: new URLSearchParams(query) };
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

async function show(moveFocus = true) {
  leaving.abort();
  leaving = new AbortController();
  const { signal } = leaving;
  const { screen, parts, query } = address();
  navigation(PARENT[screen] ?? screen);
  const content = h("div", { class: `screen ${screen}` }, hint("Loading…"));
  fill(main, content);
  document.title = `${SCREENS[screen][1] || parts.at(-1) || "CertRelay"} · CertRelay`;
  if (moveFocus) main.focus({ preventScroll: true });
  try {
    await SCREENS[screen][0](content, { parts, query, signal });
  } catch (error) {
    if (error.name !== "AbortError") await failed(content, error, signal);
  }
}

async function failed(content, error, signal) {
  if (error instanceof ApiError && error.status === 401) {
    start();
    return;
  }
  if (!(error instanceof ApiError)) console.error(error);
  fill(
    content,
    trouble(error, () => show(false)),
  );
  if (!(error instanceof ApiError && error.passes)) return;
  try {
    await wait(Math.min(error.retryAfter, 30), signal);
    show(false);
  } catch {
    /* the screen was left */
  }
}

/** What went wrong, in the API's words. */
export function trouble(error, again) {
  const title =
    error.status === 404
      ? "There is no such thing"
      : error.status === 403
        ? "You may not see this"
        : error.status === 0
          ? "CertRelay does not answer"
          : "That did not work";
  return h(
    "section",
    { class: "card trouble", role: "alert" },
    h("h1", {}, title),
    p(bdi(error.message)),
    error.correlation && hint("In the log: ", code(error.correlation)),
    again && button("Try again", again, "primary"),
  );
}

function navigation(current) {
  const shown = Object.entries(SCREENS).filter(([, [, title, role]]) => title && isAtLeast(role));
  fill(
    document.getElementById("nav"),
    shown.map(([name, [, title]]) => link(`#/${name}`, title, { "aria-current": name === current ? "page" : null })),
  );
}

function who() {
  const out = functionKey()
    ? button(
        "Forget the key",
        () => {
          keepKey("");
          location.reload();
        },
        "link",
      )
    : link("/.auth/logout?post_logout_redirect_uri=/", "Sign out");
  const role = h("span", { class: "role", title: me.display_name || me.name }, highestRole());
  fill(document.getElementById("who"), bdi(me.display_name, { class: "quiet clip" }), role, out);
}

/** Ask for a function key, and keep it for this tab. */
function askForKey(wrong) {
  const control = h("input", { type: "password", name: "key", required: true, autocomplete: "off" });
  const form = h(
    "form",
    {
      class: "card narrow",
      onsubmit: onSubmit(() => {
        keepKey(control.value.trim());
        start();
      }),
    },
    h("h1", {}, "Sign in"),
    p("This deployment is opened by a function key. The page keeps it until the tab is closed, and nowhere else."),
    wrong && alarm("This key does not open it."),
    field("key", "Function key", control),
    buttons(h("button", { class: "primary" }, "Continue")),
  );
  fill(main, form);
  control.focus();
}

function askToSignIn() {
  const target = `/.auth/login/aad?${new URLSearchParams({ post_login_redirect_uri: `/${location.hash}` })}`;
  fill(
    main,
    h(
      "section",
      { class: "card narrow" },
      h("h1", {}, "Sign in"),
      p("Your organization's account decides what you see and may do here."),
      p(link(target, "Sign in with Microsoft Entra ID", { class: "button primary" })),
    ),
  );
}

async function start() {
  try {
    await identify();
  } catch (error) {
    await notIdentified(error);
    return;
  }
  who();
  if (!isAtLeast("Reader")) {
    fill(
      main,
      h(
        "section",
        { class: "card narrow" },
        h("h1", {}, "You have no role here"),
        p("You are signed in as ", bdi(me.display_name), " ", code(me.name), "."),
        p("Ask an administrator of CertRelay for a role."),
      ),
    );
    return;
  }
  show(false);
}

async function notIdentified(error) {
  if (error.status === 401) {
    const wrong = functionKey() !== "";
    keepKey("");
    if (await hasSignIn()) askToSignIn();
    else askForKey(wrong);
    return;
  }
  fill(main, trouble(error, start));
  if (error.passes) {
    await wait(error.retryAfter);
    start();
  }
}

onReachable((yes) => {
  const banner = document.getElementById("banner");
  banner.hidden = yes;
  banner.textContent = yes ? "" : "CertRelay does not answer. What you see may be old; the page tries again by itself.";
  if (yes) say("CertRelay answers again.");
});
// What a click begins and nobody waits for ends here, so that no error is lost.
addEventListener("unhandledrejection", (event) => {
  if (!(event.reason instanceof ApiError || event.reason?.name === "AbortError")) return;
  event.preventDefault();
  if (event.reason instanceof ApiError) told("That did not work", p(bdi(event.reason.message)));
});
addEventListener("hashchange", () => {
  closeAll();
  if (me) show();
});
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
start();
