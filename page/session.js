// Who is signed in, and what the page may offer them. The API decides; the page only leaves out what it would refuse.

import { call } from "./api.js";
import { bdi } from "./dom.js";

const RANKS = ["Reader", "Requester", "Operator", "Administrator"];
export let me = null;

/** Ask the API who calls. Raises ApiError; 401 means that somebody has to sign in. */
export async function identify() {
  me = await call("GET", "me");
  return me;
}

/** Whether App Service authentication is on. Without it the page needs a function key. */
export async function hasSignIn() {
  const response = await fetch("/.auth/me", { headers: { "X-Requested-With": "XMLHttpRequest" } });
  return response.status !== 404;
}

/** Whether the caller may call a route (by operationId) in a vault. */
export function mayIn(vault, route) {
  return me?.vaults.some((one) => one.name === vault && one.routes.includes(route)) ?? false;
}

/** The same for one certificate: a Requester needs to own it. */
export function may(vault, route, owner) {
  if (!mayIn(vault, route)) return false;
  const role = me.vaults.find((one) => one.name === vault).role;
  return role !== "Requester" || me.ids.includes(owner);
}

/** All vaults that the caller may read. */
export const vaultNames = () => me.vaults.map((one) => one.name);

/** The vaults in which the caller may call a route. */
export function vaultsFor(route) {
  return (me?.vaults ?? []).filter((one) => one.routes.includes(route)).map((one) => one.name);
}

/** Whether the caller has a role, or a higher one, anywhere. */
export function isAtLeast(role) {
  const roles = [me?.role, ...(me?.vaults ?? []).map((one) => one.role)].filter(Boolean);
  return roles.some((one) => RANKS.indexOf(one) >= RANKS.indexOf(role));
}

/** The caller's highest role, for the corner of the page. */
export function highestRole() {
  return RANKS.findLast(isAtLeast) ?? "no role";
}

/** Somebody by name, or by the id where the name is not known; the id is in the title. `key`: of `found`. */
export function who(found, key = "requested_by", attributes = {}) {
  const id = found[key];
  if (!id) return "nobody";
  const name = found[`${key}_name`] || id;
  const isMe = me.ids.includes(id.toLowerCase()) && id !== "function key";
  return bdi(isMe ? `you (${name})` : name, { title: id, ...attributes });
}
