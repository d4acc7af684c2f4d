// @ts-check
/** Asking the gateway, and what it can answer. */

/** @typedef {import("../types.js").Problem} Problem */

/** Answers that may come with a time after which to ask again. */
const PATIENCE = new Set([429, 503]);

/** A refusal or a failure, with what the user can do. */
export class ApiError extends Error {
  /**
   * @param {Problem} problem
   * @param {number} status 0 when there was no answer
   * @param {number|null} [retryAfter] seconds until the same may be asked again
   */
  constructor(problem, status, retryAfter = null) {
    super(problem.title);
    this.problem = problem;
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

/** @type {Problem} */
const UNREACHABLE = {
  code: "page.unreachable",
  title: "The server can't be reached",
  hint: "Check that Stembus is running; this page goes on by itself as soon as it answers.",
  retryable: true,
};

/** Any thrown value as a problem. @param {unknown} error @returns {Problem} */
export function problemOf(error) {
  if (error instanceof ApiError) return error.problem;
  return { code: "page.error", title: "Something went wrong on this page", detail: String(error) };
}

/** A problem in one paragraph. @param {Problem} problem */
export function sentences({ title, detail, hint }) {
  return [detail ? `${title}: ${detail}.` : `${title}.`, hint].filter(Boolean).join(" ").replaceAll("..", ".");
}

/** No answer at all. @param {string} [detail] */
export function unreachable(detail) {
  return new ApiError({ ...UNREACHABLE, detail }, 0);
}

/** What an answer that is no success says. @param {string} text @param {number} status @param {string|null} retryAfter the header */
export function refusal(text, status, retryAfter) {
  return new ApiError(readProblem(text, status), status, PATIENCE.has(status) ? readSeconds(retryAfter) : null);
}

/**
 * @param {string} path
 * @param {RequestInit} [init]
 * @returns {Promise<{status: number, body: any}>} the body is null where there is none
 */
export async function ask(path, init) {
  let response;
  let text;
  try {
    response = await fetch(path, { ...init, headers: { accept: "application/json", ...init?.headers } });
    text = await response.text();
  } catch (error) {
    if (init?.signal?.aborted) throw error;
    throw unreachable(error instanceof Error ? error.message : "");
  }
  if (!response.ok) throw refusal(text, response.status, response.headers.get("retry-after"));
  if (!text) return { status: response.status, body: null };
  try {
    return { status: response.status, body: JSON.parse(text) };
  } catch {
    throw new ApiError({ code: "page.unreadable", title: "The server's answer can't be read" }, response.status);
  }
}

/** What is not JSON, whole. @param {string} path @param {AbortSignal} signal @returns {Promise<ArrayBuffer>} */
export async function askBytes(path, signal) {
  let response;
  try {
    response = await fetch(path, { signal });
    if (response.ok) return await response.arrayBuffer();
  } catch (error) {
    if (signal.aborted) throw error;
    throw unreachable(error instanceof Error ? error.message : "");
  }
  throw refusal(await response.text(), response.status, response.headers.get("retry-after"));
}

/** @param {string} path @param {object} [body] @param {string} [key] Idempotency-Key: the same one, the same request */
export function post(path, body, key) {
  /** @type {Record<string, string>} */
  const headers = {};
  if (body) headers["content-type"] = "application/json";
  if (key) headers["idempotency-key"] = key;
  return ask(path, { method: "POST", headers, body: body && JSON.stringify(body) });
}

/** @param {string} text @param {number} status @returns {Problem} */
function readProblem(text, status) {
  try {
    const problem = JSON.parse(text);
    if (typeof problem.title === "string") return problem;
  } catch {
    // Not ours: a proxy's page. The status is all there is.
  }
  return { code: "page.http", title: `The server answered with status ${status}`, retryable: status >= 500 };
}

/** @param {string|null} header seconds, or a date @returns {number|null} */
function readSeconds(header) {
  if (!header) return null;
  const seconds = /^\d+$/.test(header) ? Number(header) : (Date.parse(header) - Date.now()) / 1000;
  return Number.isFinite(seconds) ? Math.max(1, seconds) : null;
}
