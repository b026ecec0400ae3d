// All certificates that the caller may read, page by page, and kept for a while: the screens search and sort them here.

import { ApiError, get, pages, withQuery } from "./api.js";
import { me } from "./session.js";

const KEPT = 60_000;
let loaded = { at: 0, lines: [], unreadable: [] };

/** Read everything anew at the next `load`. */
export function forget() {
  loaded = { at: 0, lines: [], unreadable: [] };
}

/**
 * The lines of all certificates, each with its vault.
 * @param {function(Array, boolean)} show called with the lines so far, and whether these are all
 * @returns {Promise<{lines: Array, unreadable: Array}>} `unreadable`: vaults that could not be read, with the error
 */
export async function load(show, signal) {
  if (Date.now() - loaded.at < KEPT) {
    show(loaded.lines, true);
    return loaded;
  }
  const lines = [], unreadable = [];
  await Promise.all(me.vaults.map(({ name }) => readVault(name, lines, unreadable, show, signal)));
  loaded = { at: Date.now(), lines, unreadable };
  show(lines, true);
  return loaded;
}

async function readVault(vault, lines, unreadable, show, signal) {
  const path = `vaults/${encodeURIComponent(vault)}/certificates`;
  let size = 25; // the first rows at once, then in larger pages
  try {
    let continuation = null;
    do {
      const page = await get(withQuery(path, { max: size, continuation }), signal);
      lines.push(...page.value.map((line) => ({ ...line, vault })));
      show(lines, false);
      ({ continuation } = page);
      size = 100;
    } while (continuation);
  } catch (error) {
    if (!(error instanceof ApiError) || error.status === 0 || error.status === 401) throw error;
    unreadable.push({ vault, error });
  }
}

/** The certificates of all vaults in one of the API's states. */
export async function inState(state, signal) {
  const found = await Promise.all(me.vaults.map(async ({ name }) => {
    const lines = [];
    try {
      for await (const page of pages(`vaults/${encodeURIComponent(name)}/certificates`, { state, max: 100 }, signal)) {
        lines.push(...page.map((line) => ({ ...line, vault: name })));
      }
    } catch (error) {
      if (!(error instanceof ApiError) || error.status === 0 || error.status === 401) throw error;
    }
    return lines;
  }));
  return found.flat();
}

/** The address of a certificate's screen. */
export function addressOf(vault, name) {
  return `#/certificate/${encodeURIComponent(vault)}/${encodeURIComponent(name)}`;
}
