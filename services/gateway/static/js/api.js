// @ts-check
/** The gateway's REST surface. The only place that knows its addresses. */

/** @typedef {import("./types.js").Snapshot} Snapshot */
/** @typedef {import("./types.js").Problem} Problem */

/** A refusal or a failure, with what the user can do. */
export class ApiError extends Error {
  /** @param {Problem} problem @param {number} status */
  constructor(problem, status) {
    super(problem.title);
    this.problem = problem;
    this.status = status;
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

/**
 * @param {string} path
 * @param {RequestInit} [init]
 * @returns {Promise<{status: number, body: any}>}
 */
async function ask(path, init) {
  let response;
  try {
    response = await fetch(path, { headers: { accept: "application/json" }, ...init });
  } catch (error) {
    if (init?.signal?.aborted) throw error;
    throw new ApiError({ ...UNREACHABLE, detail: error instanceof Error ? error.message : "" }, 0);
  }
  const text = await response.text();
  if (!response.ok) throw new ApiError(readProblem(text, response.status), response.status);
  try {
    return { status: response.status, body: JSON.parse(text) };
  } catch {
    throw new ApiError({ code: "page.unreadable", title: "The server's answer can't be read" }, response.status);
  }
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

const encode = encodeURIComponent;

/** @returns {Promise<import("./types.js").Models>} */
export async function models() {
  return (await ask("/v1/models")).body;
}

/** @param {string|null} cursor @returns {Promise<import("./types.js").Page>} */
export async function listJobs(cursor = null) {
  return (await ask(`/v1/jobs?limit=50${cursor ? `&cursor=${encode(cursor)}` : ""}`)).body;
}

/**
 * Submit one song. Null when it was accepted but its record isn't there yet (202): it will
 * come with the events.
 * @param {import("./types.js").Source} source
 * @param {import("./types.js").Options} options
 * @returns {Promise<Snapshot|null>}
 */
export async function submit(source, options) {
  const { status, body } = await ask("/v1/jobs", {
    method: "POST",
    headers: { "content-type": "application/json", accept: "application/json" },
    body: JSON.stringify({ source, options }),
  });
  return status === 202 ? null : body;
}

/** @param {string} id @param {"cancel"|"retry"} verb @returns {Promise<Snapshot|null>} */
export async function command(id, verb) {
  const { status, body } = await ask(`/v1/jobs/${encode(id)}/${verb}`, { method: "POST" });
  return status === 202 ? null : body;
}

/** @param {string} id @param {AbortSignal} signal @returns {Promise<import("./types.js").Peaks>} */
export async function peaks(id, signal) {
  return (await ask(`/v1/jobs/${encode(id)}/peaks.json`, { signal })).body;
}

/** Where a stem's bytes are. @param {Snapshot} job @param {string} stem @param {boolean} [download] */
export function stemUrl(job, stem, download = false) {
  const file = `${encode(stem)}.${encode(job.options.format)}`;
  return `/v1/jobs/${encode(job.id)}/stems/${file}${download ? "?download=1" : ""}`;
}

/**
 * Send a file. XHR, because fetch can't say how much has left.
 * @param {File} file
 * @param {(sent: number) => void} onprogress share of the bytes, 0 to 1
 * @param {AbortSignal} signal
 * @returns {Promise<{upload: string, bytes: number, filename: string}>}
 */
export function upload(file, onprogress, signal) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", `/v1/uploads?filename=${encode(file.name)}`);
    request.setRequestHeader("content-type", "application/octet-stream");
    request.upload.onprogress = (event) => onprogress(event.total ? event.loaded / event.total : 0);
    request.onerror = () => reject(new ApiError(UNREACHABLE, 0));
    request.onabort = () => reject(signal.reason);
    request.onload = () => {
      if (request.status !== 201 && request.status !== 200) {
        reject(new ApiError(readProblem(request.responseText, request.status), request.status));
        return;
      }
      try {
        resolve(JSON.parse(request.responseText));
      } catch (error) {
        reject(error);
      }
    };
    signal.addEventListener("abort", () => request.abort(), { once: true });
    request.send(file);
  });
}
