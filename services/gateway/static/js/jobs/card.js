// @ts-check
/** One job on the page. Built once, then only what changed is written. */

import { coverUrl } from "../api/jobs.js";
import { deedButton } from "../button.js";
import { freshId, h, setData, setText } from "../dom.js";
import { chipWord, shortUrl, titleOf } from "../format.js";
import { icon } from "../icons.js";
import { isAtWork } from "../store.js";
import { ago, clock } from "../times.js";
import { Actions } from "./actions.js";
import { problemBox } from "./problem.js";
import { ProgressView } from "./progress.js";
import { StemLinks } from "./stems.js";
import { Thumbnail } from "./thumbnail.js";
import { Timeline } from "./timeline.js";
import { WaitingView } from "./waiting.js";

/** @typedef {import("../types.js").Snapshot} Snapshot */
/**
 * @typedef {import("./actions.js").JobDeeds & {
 *   takePlaylist: (job: Snapshot) => Promise<void>,
 *   filename: (job: Snapshot) => string|undefined,
 * }} CardDeeds `filename`: of an upload from this page
 */

export class Card {
  #on;
  #thumb;
  #title = h("h3", { id: freshId("title"), class: "title" });
  #byline = h("p", { class: "byline quiet" });
  #chip = h("span", { class: "chip", "data-testid": "status" });
  #actions;
  #waiting = new WaitingView();
  #progress = new ProgressView();
  #problem = h("div", { class: "problem-slot" });
  #stems = new StemLinks();
  #facts = h("p", { class: "facts quiet" });
  #timeline = new Timeline();
  #problemShown = "";
  #open = false;
  /** @type {import("../store.js").Entry|null} */
  #entry = null;

  /** @param {string} id @param {CardDeeds} on */
  constructor(id, on) {
    this.#on = on;
    this.#thumb = new Thumbnail(id);
    this.mount = h("div", { class: "player-slot" });
    this.#actions = new Actions(id, this.#title.id, this.mount, on);
    this.element = h("article", { class: "card", "data-job-id": id, "data-testid": "job", "aria-labelledby": this.#title.id },
      h("div", { class: "card-head" },
        this.#thumb.element,
        h("div", { class: "card-words" }, this.#title, this.#byline),
        this.#chip),
      this.#waiting.element,
      this.#progress.element,
      this.#problem,
      h("div", { class: "card-row" }, this.#actions.element, this.#stems.element, this.mount,
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
    setData(this.element, "held", job.held ? "" : null);
    setData(this.element, "position", job.position === null ? null : String(job.position));
    setText(this.#title, titleOf(job, this.#on.filename(job)));
    this.#title.title = job.source.url ?? "";
    setText(this.#byline, byline(job, now));
    setText(this.#chip, chipWord(job));
    this.#thumb.update(picturesOf(job));
    this.#waiting.update(job, now);
    const moving = isAtWork(job);
    const stopped = (job.status === "failed" || job.status === "cancelled") && progress > 0;
    this.#progress.element.hidden = !moving && !stopped;
    if (moving || stopped) this.#progress.update(entry, now);
    this.#drawProblem(job);
    this.#actions.update(job, this.#open);
    this.#stems.update(job, this.#open);
    setText(this.#facts, facts(job));
    this.#timeline.update(job.timeline);
  }

  /** @param {Snapshot} job */
  #drawProblem(job) {
    const problem = job.status === "failed" ? job.error : null;
    const key = JSON.stringify(problem);
    if (key === this.#problemShown) return;
    this.#problemShown = key;
    const remedies = problem?.code === "source.playlist" && job.source.url ? [this.#playlistButton()] : [];
    this.#problem.replaceChildren(...(problem ? [problemBox(problem, ...remedies)] : []));
  }

  #playlistButton() {
    return deedButton({
      testid: "take-playlist",
      picture: icon("stack"),
      words: "Take all songs of this playlist",
      kind: "plain",
      about: this.#title.id,
      deed: async () => {
        if (this.#entry) await this.#on.takePlaylist(this.#entry.job);
      },
    });
  }
}

/** Our own copy of a song's picture, then where its source has it. @param {Snapshot} job */
function picturesOf(job) {
  const { cover, thumbnail } = job.metadata ?? {};
  return [cover ? coverUrl(job, cover) : null, thumbnail];
}

/** @param {Snapshot} job @param {number} now */
function byline(job, now) {
  const { metadata, source } = job;
  const seconds = job.seconds ?? metadata?.duration;
  const origin = source.url && metadata?.title ? shortUrl(source.url).split("/")[0] : null;
  return [
    metadata?.artist,
    seconds ? clock(seconds) : null,
    origin,
    job.owner ? `for ${job.owner}` : null,
    ago(job.finished_at ?? job.created_at, now),
  ].filter(Boolean).join(" · ");
}

/** What a remark means for whoever listens. @type {Record<import("../types.js").Remark, string>} */
const REMARKS = {
  "dsp.mono": "This song is mono, so there is no middle to find the voice in: expect much of the band in the vocals.",
  "dsp.narrow": "Nearly all of this song is in the middle, where the voice is: expect some of the band in the vocals.",
  "dsp.faint": "Hardly anything was found in the middle, where the voice is looked for: if somebody sings, they stand elsewhere.",
};

/** @param {Snapshot} job */
function facts(job) {
  const model = job.separation?.model ?? (job.options.model === "auto" ? null : job.options.model);
  const shifts = job.separation?.shifts ?? 0;
  return [
    model ? `Model ${model}` : null,
    job.separation?.precision === "fast" ? "computed fast" : null,
    shifts ? `${shifts} shift${shifts > 1 ? "s" : ""}` : null,
    job.original,
    job.options.format.toUpperCase(),
    job.loudness === null ? null : `${job.loudness.toFixed(1)} LUFS`,
    job.gain < 1 ? `turned down by ${(-20 * Math.log10(job.gain)).toFixed(1)} dB` : null,
    ...job.remarks.map((remark) => REMARKS[remark]),
  ].filter(Boolean).join(" · ");
}
