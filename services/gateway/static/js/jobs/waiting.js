// @ts-check
/** A job before it starts: its place in line, when it will start, and what it waits for. */

import { h, setData, setText } from "../dom.js";
import { ordinal } from "../format.js";
import { icon } from "../icons.js";
import { moment, soon, when } from "../times.js";
import { noteBox } from "./problem.js";

/** @typedef {import("../types.js").Snapshot} Snapshot */

/** Places up to this one are told live; those behind are as old as the page's last look. */
const LIVE_PLACES = 50;

export class WaitingView {
  #place = h("strong", { class: "place", "data-testid": "place" });
  #times = h("span", { class: "quiet", "data-testid": "estimate" });
  #note = h("div", { class: "note-slot" });
  #noted = "";

  constructor() {
    this.element = h("div", { class: "waiting", "data-testid": "waiting" },
      h("p", { class: "waiting-line" }, icon("clock"), this.#place, this.#times), this.#note);
  }

  /** @param {Snapshot} job @param {number} now */
  update(job, now) {
    this.element.hidden = job.status !== "pending" && job.status !== "scheduled";
    if (this.element.hidden) return;
    setData(this.element, "held", job.held ? "" : null);
    setText(this.#place, placeWords(job, now));
    setText(this.#times, timeWords(job, now));
    const waits = job.held ? null : job.waits_for;
    const key = JSON.stringify(waits ?? null);
    if (key === this.#noted) return;
    this.#noted = key;
    this.#note.replaceChildren(...(waits ? [noteBox(waits)] : []));
  }
}

/** @param {Snapshot} job @param {number} now */
function placeWords({ status, held, position, run_at, follows }, now) {
  if (held) return "On hold";
  if (follows !== null) return "Already being made";
  if (status === "scheduled") return run_at ? `Starts ${when(run_at, now)}` : "Starts later";
  if (position === null) return "In line";
  if (position === 1) return "Next in line";
  return `${position > LIVE_PLACES ? "about " : ""}${ordinal(position)} in line`;
}

/** @param {Snapshot} job @param {number} now */
function timeWords({ status, held, run_at, starts_at, eta, deadline, waits_for }, now) {
  const due = deadline ? `to be done by ${moment(deadline, now)}` : "";
  const later = status === "scheduled" && run_at ? `not before ${moment(run_at, now)}` : "";
  if (held) return ["starts once you release it", later, due].filter(Boolean).join(", ");
  if (waits_for) return due;
  const start = soon(starts_at, now);
  const end = soon(eta, now);
  return [start && `starts ${start}`, end && `done ${end}`, due].filter(Boolean).join(", ");
}
