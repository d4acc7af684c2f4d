// @ts-check
/** What the server says of itself. */

import { ask } from "./http.js";

/** @returns {Promise<import("../types.js").Models>} */
export async function models() {
  return (await ask("/v1/models")).body;
}

/** @returns {Promise<import("../types.js").Stats>} */
export async function stats() {
  return (await ask("/v1/stats")).body;
}
