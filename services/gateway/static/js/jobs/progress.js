// @ts-check
/** How far a job is: three steps, and one line that becomes four where the song comes apart. */

import { freshId, h, setData, setText, svg } from "../dom.js";
import { activityWords } from "../format.js";
import { icon } from "../icons.js";
import { isAtWork } from "../store.js";
import { timeLeft } from "../times.js";

/** @type {[import("../types.js").Phase, string][]} */
const STEPS = [["download", "Download"], ["separation", "Separate"], ["finalization", "Finish"]];

/** The song's line in a box of 100 × 16: it splits at 30, where separation begins. */
const LINES = [
  ["line-in", "M0 8H28"],
  ["stem-vocals", "M28 8C31 8 31 1.5 34 1.5H100"],
  ["stem-drums", "M28 8C31 8 31 5.8 34 5.8H100"],
  ["stem-bass", "M28 8C31 8 31 10.2 34 10.2H100"],
  ["stem-other", "M28 8C31 8 31 14.5 34 14.5H100"],
];

export class ProgressView {
  /** @type {HTMLElement[]} */
  #steps;
  #percent = h("span", { class: "percent" });
  #doing = h("span", { class: "doing" });
  #left = h("span", { class: "left" });
  #bar;

  constructor() {
    this.#steps = STEPS.map(([phase, label]) =>
      h("li", { class: "step", "data-phase": phase }, h("span", { class: "step-dot" }, icon("check")), label));
    const id = freshId("progress");
    this.#bar = h("div", { class: "bar", id, role: "progressbar", "aria-label": "Progress", "aria-valuemin": 0, "aria-valuemax": 100 },
      lines("bar-track"), lines("bar-fill"), h("span", { class: "bar-head" }));
    this.element = h("div", { class: "progress", "data-testid": "progress" },
      h("ol", { class: "steps" }, ...this.#steps),
      this.#percent,
      this.#bar,
      h("p", { class: "status-line" }, this.#doing, this.#left));
  }

  /** @param {import("../store.js").Entry} entry @param {number} now */
  update({ job, progress, live }, now) {
    const at = STEPS.findIndex(([phase]) => phase === job.phase);
    const running = isAtWork(job);
    this.#steps.forEach((step, index) => {
      const state = index < at ? "done" : index === at ? (running ? "active" : "stopped") : "ahead";
      setData(step, "state", state);
      if (state === "active") step.setAttribute("aria-current", "step");
      else step.removeAttribute("aria-current");
    });
    this.#bar.style.setProperty("--at", `${progress}%`);
    this.#bar.setAttribute("aria-valuenow", String(Math.round(progress)));
    setText(this.#percent, `${Math.floor(progress)}%`);
    setText(this.#doing, running ? doing(job, live) : "");
    setText(this.#left, running ? timeLeft(live?.eta ?? job.eta, now) : "");
    setData(this.element, "running", running ? "" : null);
  }
}

/** @type {Record<import("../types.js").Phase, string>} */
const BEGINNING = { download: "Getting the song", separation: "Preparing the model", finalization: "Putting the stems together" };

/** @param {import("../types.js").Snapshot} job @param {import("../types.js").Progress|null} live */
function doing(job, live) {
  if (live) return [activityWords(live.activity), live.note].filter(Boolean).join(", ");
  const parts = job.separation;
  const counted = job.phase === "separation" && parts ? `${parts.chunks_done} of ${parts.chunks} parts done` : "";
  return [newsOf(job), counted].filter(Boolean).join(", ") || (job.phase ? BEGINNING[job.phase] : "");
}

/** What the history says since the phase began: a second try, and when. @param {import("../types.js").Snapshot} job */
function newsOf({ timeline, follows }) {
  if (follows !== null) return "";
  const [before, last] = timeline.slice(-2);
  return last && before.status === last.status && before.phase === last.phase ? (last.note ?? "") : "";
}

/** @param {string} className */
function lines(className) {
  return svg("svg", { class: className, viewBox: "0 0 100 16", preserveAspectRatio: "none", "aria-hidden": "true", focusable: "false" },
    ...LINES.map(([name, d]) => svg("path", { class: name, d })));
}
