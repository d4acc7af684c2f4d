// @ts-check
/** Which jobs are looked at, and in which order: the rules of GET /v1/jobs, for live events. Pure. */

/** @typedef {import("../types.js").Snapshot} Snapshot */
/** @typedef {"-created"|"created"|"-updated"|"updated"} Sort */
/** @typedef {{q: string, status: import("../types.js").Status|"", owner: string, sort: Sort}} View */
/** @typedef {{at: number, id: string}} Rank */

/** @type {View} */
export const EVERYTHING = Object.freeze({ q: "", status: "", owner: "", sort: "-created" });

/** Whether anything is left out. @param {View} view */
export const isNarrow = (view) => Boolean(view.q || view.status || view.owner);

/** Whether the songs of a batch are shown together: in a search, each stands for itself. @param {View} view */
export const isGrouped = (view) => !view.q && !view.status && view.sort === EVERYTHING.sort;

/** @param {View} view @param {Snapshot} job */
export function matches({ q, status, owner }, job) {
  if (status && job.status !== status) return false;
  if (owner && job.owner !== owner) return false;
  const words = q.toLowerCase();
  return !q || [job.metadata?.title, job.metadata?.artist, job.source.url, job.id].some((text) => text?.toLowerCase().includes(words));
}

/** @param {View} view @param {{id: string, created_at: string, updated_at: string}} record a job or a batch @returns {Rank} */
export function rankOf({ sort }, { id, created_at, updated_at }) {
  return { at: Date.parse(sort.endsWith("created") ? created_at : updated_at), id };
}

/** Whether `a` stands before `b`. @param {View} view @param {Rank} a @param {Rank} b */
export function precedes({ sort }, a, b) {
  const ascending = a.at - b.at || (a.id < b.id ? -1 : Number(a.id > b.id));
  return sort.startsWith("-") ? ascending > 0 : ascending < 0;
}

/** @param {string} query of the page's address @returns {View} */
export function readView(query) {
  const given = new URLSearchParams(query);
  const sort = given.get("sort") ?? "";
  return {
    q: given.get("q") ?? "",
    status: /** @type {View["status"]} */ (given.get("status") ?? ""),
    owner: given.get("owner") ?? "",
    sort: ["created", "-updated", "updated"].includes(sort) ? /** @type {Sort} */ (sort) : EVERYTHING.sort,
  };
}

/** The page's address for a view; empty for everything. @param {View} view */
export function writeView(view) {
  const given = Object.entries(view).filter(([name, value]) => value && value !== EVERYTHING[/** @type {keyof View} */ (name)]);
  return given.length ? `?${new URLSearchParams(given)}` : "";
}
