// All certificates that the caller may read, page by page, and kept for a while: the screens search and sort them here.

import { ApiError, get, pages } from "./api.js";
import { bdi, link } from "./dom.js";
import { me } from "./session.js";

const KEPT = 60_000,
  FIRST = 25,
  PAGE = 100;
let loaded = { at: 0 },
  authorities = { at: 0 };

/** Read everything anew at the next `load`. */
export function forget() {
  loaded = { at: 0 };
}

/** Read everything anew, and draw the screen with it. */
export function reload() {
  forget();
  dispatchEvent(new HashChangeEvent("hashchange"));
}

/**
 * The lines of all certificates, each with its vault.
 * @param {function(Array, boolean)} show called with the lines so far, and whether these are all
 * @returns {Promise<{lines: Array, unreadable: Array}>} `unreadable`: vaults that could not be read, with the error
 */
export async function load(show, signal) {
  if (Date.now() - loaded.at >= KEPT) {
    const lines = [];
    const unreadable = await read(
      { max: PAGE },
      (more) => {
        lines.push(...more);
        show(lines, false);
      },
      signal,
      FIRST,
    );
    loaded = { at: Date.now(), lines, unreadable };
  }
  show(loaded.lines, true);
  return loaded;
}

/** The certificates of all vaults in one of these states, as `load` returns them. */
export async function inStates(states, signal) {
  const lines = [];
  const unreadable = await read({ state: states.join(","), max: PAGE }, (more) => lines.push(...more), signal);
  return { lines, unreadable };
}

async function read(parameters, add, signal, first) {
  const unreadable = [];
  await Promise.all(
    me.vaults.map(async ({ name: vault }) => {
      const path = `vaults/${encodeURIComponent(vault)}/certificates`;
      try {
        for await (const page of pages(path, parameters, signal, first)) add(page.map((line) => ({ ...line, vault })));
      } catch (error) {
        if (!(error instanceof ApiError) || error.status === 0 || error.status === 401) throw error;
        unreadable.push({ vault, error });
      }
    }),
  );
  return unreadable;
}

/** All authorities, as the API lists them. Of several that ask at once, one sends a request; it outlives its screen. */
export async function readAuthorities() {
  if (Date.now() - authorities.at >= KEPT) authorities = { at: Date.now(), answer: get("authorities") };
  const { answer } = authorities;
  try {
    return (await answer).value;
  } catch (error) {
    if (authorities.answer === answer) authorities = { at: 0 };
    throw error;
  }
}

/** The names of all authorities. */
export const authorityNames = async () => (await readAuthorities()).map((one) => one.name);

/** What is the same for a certificate wherever it is named. */
export const keyOf = ({ vault, name }) => `${vault}/${name}`;

/** The address of a certificate's screen. */
export function addressOf(vault, name) {
  return `#/certificate/${encodeURIComponent(vault)}/${encodeURIComponent(name)}`;
}

/** A link to it, by its name. */
export const linkTo = (one, attributes) => link(addressOf(one.vault, one.name), bdi(one.name), attributes);
