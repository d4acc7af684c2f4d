// @ts-check
/** The addresses of jobs. */

import { ask, askBytes, post } from "./http.js";

/** @typedef {import("../types.js").Snapshot} Snapshot */
/** @typedef {"cancel"|"retry"|"hold"|"release"|"front"} Verb */

const encode = encodeURIComponent;

/**
 * A page of jobs. Members of `query` that are empty are left out.
 * @param {Record<string, string|number|null|undefined>} query
 * @param {AbortSignal} [signal]
 * @returns {Promise<import("../types.js").Page>}
 */
export async function listJobs(query, signal) {
  const given = Object.entries(query).filter(([, value]) => value);
  const words = new URLSearchParams(given.map(([name, value]) => [name, String(value)]));
  return (await ask(`/v1/jobs?${words}`, { signal })).body;
}

/**
 * Submit one song. Null when it was accepted but its record isn't there yet (202): it will
 * come with the events.
 * @param {import("../types.js").Source} source
 * @param {import("../types.js").Options} options
 * @param {import("../types.js").Terms} terms
 * @param {string} key
 * @returns {Promise<Snapshot|null>}
 */
export async function submitJob(source, options, terms, key) {
  return settled(await post("/v1/jobs", { source, options, ...terms }, key));
}

/** @param {string} id @param {Verb} verb */
export async function command(id, verb) {
  return settled(await post(`/v1/jobs/${encode(id)}/${verb}`));
}

/** @param {string} id @param {import("../types.js").Priority} priority */
export async function prioritize(id, priority) {
  return settled(await post(`/v1/jobs/${encode(id)}/priority`, { priority }));
}

/** Remove a job that has ended, and its stems. @param {string} id */
export async function deleteJob(id) {
  await ask(`/v1/jobs/${encode(id)}`, { method: "DELETE" });
}

/** @param {string} id @param {AbortSignal} signal @returns {Promise<import("../types.js").Peaks>} */
export async function peaks(id, signal) {
  return (await ask(`/v1/jobs/${encode(id)}/peaks.json`, { signal })).body;
}

/** A piece of a stem of a song that is not done yet. @param {string} id @param {number} n @param {string} stem @param {AbortSignal} signal */
export function piece(id, n, stem, signal) {
  return askBytes(`/v1/jobs/${encode(id)}/pieces/${n}/${encode(stem)}.wav`, signal);
}

/** Where a stem's bytes are. @param {Snapshot} job @param {string} stem @param {boolean} [download] */
export function stemUrl(job, stem, download = false) {
  const file = `${encode(stem)}.${extensionOf(job.options.format)}`;
  return `/v1/jobs/${encode(job.id)}/stems/${file}${download ? "?download=1" : ""}`;
}

/** Where a song's picture is; another picture has another address. @param {Snapshot} job @param {{id: string}} cover */
export function coverUrl(job, cover) {
  return `/v1/jobs/${encode(job.id)}/cover?v=${encode(cover.id)}`;
}

/** Where all of a finished song is, in one file. @param {Snapshot} job */
export function bundleUrl(job) {
  return `/v1/jobs/${encode(job.id)}/stems.zip`;
}

/** As AudioFormat.extension says it. @param {import("../types.js").Format} format */
function extensionOf(format) {
  return format.startsWith("wav") ? "wav" : format;
}

/** @param {{status: number, body: any}} answer @returns {Snapshot|null} */
function settled({ status, body }) {
  return status === 202 ? null : body;
}
