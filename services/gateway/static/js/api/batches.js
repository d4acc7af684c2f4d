// @ts-check
/** The addresses of batches. */

import { ask, post } from "./http.js";

/** @typedef {import("../types.js").Batch} Batch */

const encode = encodeURIComponent;

/** @param {string|null} cursor @param {AbortSignal} [signal] @returns {Promise<{batches: Batch[], next: string|null}>} */
export async function listBatches(cursor, signal) {
  return (await ask(`/v1/batches?limit=50${cursor ? `&cursor=${encode(cursor)}` : ""}`, { signal })).body;
}

/** @param {string} id @returns {Promise<Batch>} */
export async function showBatch(id) {
  return (await ask(`/v1/batches/${encode(id)}`)).body;
}

/**
 * Submit many songs at once. Null when they were accepted but the record isn't there yet (202).
 * @param {{urls?: string[], uploads?: string[], playlist?: string}} songs
 * @param {import("../types.js").Options} options
 * @param {import("../types.js").Terms} terms
 * @param {string} key
 * @returns {Promise<Batch|null>}
 */
export async function submitBatch(songs, options, terms, key) {
  return settled(await post("/v1/batches", { ...songs, options, ...terms }, key));
}

/** @param {string} id @param {"cancel"|"retry"} verb */
export async function commandBatch(id, verb) {
  return settled(await post(`/v1/batches/${encode(id)}/${verb}`));
}

/** @param {{status: number, body: any}} answer @returns {Batch|null} */
function settled({ status, body }) {
  return status === 202 ? null : body;
}
