// @ts-check
/** One job on the page. Built once, then only what changed is written. */

import { stemUrl } from "../api.js";
import { freshId, h, setData, setText } from "../dom.js";
import { ago, clock, shortUrl, size, statusWord, stemClass, stemLabel, titleOf, when } from "../format.js";
import { icon } from "../icons.js";
import { isOver } from "../store.js";
import { problemBox } from "./problem.js";
import { ProgressView } from "./progress.js";
import { Thumbnail } from "./thumbnail.js";
import { Timeline } from "./timeline.js";

/** @typedef {import("../types.js").Snapshot} Snapshot */
/**
 * @typedef {object} CardActions
 * @property {(id: string, verb: "cancel"|"retry") => Promise<void>} command
 * @property {(id: string, mount: HTMLElement) => void} togglePlayer
 * @property {(job: Snapshot) => string|undefined} filename of an upload from this page
 */

export class Card {
  #id;
  #on;
  #thumb;
  #title = h("h3", { id: freshId("title"), class: "title" });
  #byline = h("p", { class: "byline quiet" });
  #chip = h("span", { class: "chip", "data-testid": "status" });
  #actions = h("div", { class: "actions" });
  #progress = new ProgressView();
  #problem = h("div", { class: "problem-slot" });
  #stems = h("ul", { class: "stem-links" });
  #facts = h("p", { class: "facts quiet" });
  #timeline = new Timeline();
  /** What the parts that are rebuilt as a whole were built from. */
  #built = { actions: "", problem: "", stems: "" };
  #open = false;
  /** @type {import("../store.js").Entry|null} */
  #entry = null;

  /** @param {string} id @param {CardActions} on */
  constructor(id, on) {
    this.#id = id;
    this.#on = on;
    this.#thumb = new Thumbnail(id);
    this.mount = h("div", { class: "player-slot" });
    this.element = h("article", { class: "card", "data-job-id": id, "data-testid": "job", "aria-labelledby": this.#title.id },
      h("div", { class: "card-head" },
        this.#thumb.element,
        h("div", { class: "card-words" }, this.#title, this.#byline),
        this.#chip),
      this.#progress.element,
      this.#problem,
      h("div", { class: "card-row" }, this.#actions, this.#stems, this.mount,
        h("div", { class: "card-foot" }, this.#facts, this.#timeline.element)));
  }

  /** The player of this job was opened or closed. @param {boolean} open */
  playing(open) {
    this.#open = open;
    setData(this.element, "player", open ? "open" : null);
    if (this.#entry) this.update(this.#entry, Date.now());
  }

  /** @param {import("../store.js").Entry} entry @param {number} now */
  update(entry, now) {
    this.#entry = entry;
    const { job, progress } = entry;
    setData(this.element, "status", job.status);
    setData(this.element, "phase", job.phase);
    setData(this.element, "progress", progress.toFixed(1));
    setText(this.#title, titleOf(job, this.#on.filename(job)));
    this.#title.title = job.source.url ?? "";
    setText(this.#byline, byline(job, now));
    setText(this.#chip, statusWord(job));
    this.#thumb.update(job.metadata?.thumbnail);
    const moving = job.status === "processing";
    const stopped = (job.status === "failed" || job.status === "cancelled") && progress > 0;
    this.#progress.element.hidden = !moving && !stopped;
    if (moving || stopped) this.#progress.update(entry, now);
    this.#drawProblem(job);
    this.#drawActions(job);
    this.#drawStems(job);
    setText(this.#facts, facts(job));
    this.#timeline.update(job.timeline);
  }

  /** @param {Snapshot} job */
  #drawProblem(job) {
    const problem = job.status === "failed" ? job.error : null;
    if (!this.#changed("problem", problem)) return;
    this.#problem.replaceChildren(...(problem ? [problemBox(problem)] : []));
  }

  /** @param {Snapshot} job */
  #drawActions(job) {
    const playable = job.status === "completed" && job.stems.length > 0;
    if (!this.#changed("actions", [job.status, playable, this.#open])) return;
    const had = this.#actions.contains(document.activeElement);
    this.#actions.replaceChildren();
    if (playable) {
      this.#actions.append(h("button", {
        type: "button",
        class: `button ${this.#open ? "" : "primary"}`,
        "data-testid": "open-player",
        "aria-expanded": String(this.#open),
        onclick: () => this.#on.togglePlayer(this.#id, this.mount),
      }, icon(this.#open ? "close" : "sliders"), this.#open ? "Close the mixer" : "Open the mixer"));
    } else if (job.status === "failed" || job.status === "cancelled") {
      this.#actions.append(this.#commandButton("retry", icon("retry"), "Retry"));
    } else if (!isOver(job)) {
      this.#actions.append(this.#commandButton("cancel", icon("stop"), "Cancel"));
    }
    if (had) this.#actions.querySelector("button")?.focus();
  }

  /** @param {"cancel"|"retry"} verb @param {Element} picture @param {string} words */
  #commandButton(verb, picture, words) {
    const button = h("button", {
      type: "button",
      class: "button",
      "data-testid": verb,
      onclick: async () => {
        button.disabled = true;
        try {
          await this.#on.command(this.#id, verb);
        } finally {
          button.disabled = false;
        }
      },
    }, picture, words, h("span", { class: "unseen" }, ` ${this.#title.textContent}`));
    return button;
  }

  /** Downloads, while the mixer (which has its own) is closed. @param {Snapshot} job */
  #drawStems(job) {
    const stems = job.status === "completed" && !this.#open ? job.stems : [];
    if (!this.#changed("stems", stems)) return;
    this.#stems.replaceChildren(...stems.map((stem) =>
      h("li", {}, h("a", {
        class: `stem-link ${stemClass(stem.name)}`,
        href: stemUrl(job, stem.name, true),
        download: "",
        title: `Download, ${size(stem.bytes)}`,
        "data-testid": "stem-link",
        "data-stem": stem.name,
      }, stemLabel(stem.name), icon("download")))));
    this.#stems.hidden = stems.length === 0;
  }

  /** @param {"actions"|"problem"|"stems"} part @param {unknown} made */
  #changed(part, made) {
    const key = JSON.stringify(made ?? null);
    if (this.#built[part] === key) return false;
    this.#built[part] = key;
    return true;
  }
}

/** @param {Snapshot} job @param {number} now */
function byline(job, now) {
  const { metadata, source } = job;
  const seconds = job.seconds ?? metadata?.duration;
  const origin = source.url && metadata?.title ? shortUrl(source.url).split("/")[0] : null;
  const moment = job.status === "scheduled" && job.run_at ? `starts ${when(job.run_at, now)}` : ago(job.finished_at ?? job.created_at, now);
  return [metadata?.artist, seconds ? clock(seconds) : null, origin, moment].filter(Boolean).join(" · ");
}

/** @param {Snapshot} job */
function facts(job) {
  const model = job.separation?.model ?? (job.options.model === "auto" ? null : job.options.model);
  return [model ? `Model ${model}` : null, job.original, job.options.format.toUpperCase()].filter(Boolean).join(" · ");
}
