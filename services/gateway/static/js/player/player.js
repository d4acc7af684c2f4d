// @ts-check
/** The mixer of one job: of its stems, or of what is ready of them until they are done. */

import { peaks, piece, stemUrl } from "../api/jobs.js";
import { h, setData, setText } from "../dom.js";
import { stemLabel, titleOf } from "../format.js";
import { engineFor } from "./engine.js";
import { Growth } from "./growth.js";
import { listenToKeys } from "./keys.js";
import { Lane } from "./lane.js";
import { Loop } from "./loop.js";
import * as mixing from "./mix.js";
import { PieceEngine } from "./piece-engine.js";
import { readySeconds } from "./playable.js";
import { scrub } from "./scrub.js";
import { Transport } from "./transport.js";
import { UnplayableError } from "./unplayable.js";
import { peaksOf } from "./waveform.js";

/** @typedef {import("../types.js").Snapshot} Snapshot */
/** @typedef {import("./mix.js").Channel} Channel */

/** Milliseconds between two updates of what assistive software and tests read. */
const REPORT_MS = 100;
const FALLBACK_POINTS = 1000;
const GROWING = "This song is still being taken apart.";
const WAITING = "Waiting for the separator. It goes on by itself.";
const DONE = "The song is done: these are its finished stems.";

export class Player {
  #job;
  #context;
  #abort = new AbortController();
  #lanes;
  #transport;
  /** @type {import("./engine.js").Engine} */
  #engine;
  /** Plays until the stems are done. @type {PieceEngine|null} */
  #pieces = null;
  /** @type {Growth|null} */
  #growth = null;
  #master = 1;
  /** @type {Channel[]} */
  #mix;
  #loop;
  #note = h("p", { class: "player-note quiet", role: "status", "data-testid": "player-note" });
  #frame = 0;
  #reported = 0;
  /** Names that were asked of the engine. @type {Set<string>} */
  #asked = new Set();

  /** @param {Snapshot} job @param {AudioContext} context */
  constructor(job, context) {
    this.#job = job;
    this.#context = context;
    const finished = job.status === "completed";
    const names = finished ? job.stems.map((stem) => stem.name) : (job.separation?.stems ?? []);
    this.#engine = finished ? this.#finishedEngine(job) : this.#pieceEngine(job, names);
    this.#mix = mixing.fitTo(mixing.initialMix(names), this.#engine.limit);
    this.#lanes = names.map((name) => new Lane(name, {
      mute: (name) => this.#remix(mixing.toggleMute(this.#mix, name)),
      solo: (name) => this.#remix(mixing.toggleSolo(this.#mix, name)),
      level: (name, level) => this.#remix(mixing.setLevel(this.#mix, name, level)),
    }));
    this.#transport = new Transport(mixing.presetsFor(names), {
      toggle: () => this.#toggle(),
      seek: (seconds) => this.#seek(seconds),
      loop: () => this.#loop.toggle(),
      master: (gain) => {
        this.#master = gain;
        this.#engine.setMaster(gain);
      },
      preset: (preset) => this.#remix(mixing.applyPreset(this.#mix, preset)),
    });
    this.element = this.#build(names);
    this.#loop = new Loop(this.element, () => this.#engine, (span) => this.#transport.looping(span !== null));
    if (finished) this.#offer(job);
    else {
      this.#growth = new Growth(this.element, this.#lanes);
      this.#note.before(this.#growth.element);
      this.#grow(job);
    }
  }

  /** @param {Snapshot} job */
  #finishedEngine(job) {
    return engineFor({
      context: this.#context,
      seconds: job.seconds ?? 0,
      stems: job.stems.map((stem) => ({ name: stem.name, bytes: stem.bytes, url: stemUrl(job, stem.name) })),
      onchange: () => this.#sync(),
      onload: (share) => this.#loading(share),
    });
  }

  /** @param {Snapshot} job @param {string[]} names */
  #pieceEngine(job, names) {
    const { chunks = 0, piece_seconds = 0 } = job.separation ?? {};
    this.#pieces = new PieceEngine({
      context: this.#context,
      names,
      seconds: job.seconds ?? 0,
      pieceSeconds: piece_seconds,
      count: chunks,
      ready: readySeconds(job),
      fetch: (name, n, signal) => piece(job.id, n, name, signal),
      onchange: () => this.#sync(),
      onpiece: (name, n, buffer) => this.#growth?.draw(name, n * piece_seconds, buffer),
    });
    return this.#pieces;
  }

  /** What is known of the job now: more of it can be heard, or all is done. @param {Snapshot} job */
  update(job) {
    this.#job = job;
    if (!this.#pieces) return;
    if (job.status !== "completed") {
      this.#grow(job);
      return;
    }
    const pieces = this.#pieces;
    this.#pieces = null;
    this.#complete(job, pieces);
  }

  /** @param {Snapshot} job */
  #grow(job) {
    this.#growth?.update(job);
    this.#pieces?.grow(readySeconds(job));
  }

  /** Fetch the finished stems while the pieces play on, then let them take over where those are. @param {Snapshot} job @param {PieceEngine} pieces */
  async #complete(job, pieces) {
    const engine = this.#finishedEngine(job);
    const mix = mixing.fitTo(this.#mix, engine.limit);
    const gains = mixing.gains(mix);
    for (const [name, gain] of gains) engine.setGain(name, gain);
    engine.setMaster(this.#master);
    const heard = [...gains].filter(([, gain]) => gain > 0).map(([name]) => name);
    try {
      await engine.prepare(heard);
    } catch (error) {
      engine.dispose();
      if (this.#abort.signal.aborted) return;
      pieces.pause();
      this.#engine = pieces;
      this.#unplayable(error);
      return;
    }
    if (this.#abort.signal.aborted) {
      engine.dispose();
      return;
    }
    this.#engine = engine;
    this.#asked = new Set(heard);
    this.#loop.hand();
    const left = engine.takeOver && pieces.leave();
    if (left) engine.takeOver?.(left);
    else {
      const { position, playing } = pieces;
      pieces.dispose();
      engine.seek(position);
      if (playing) await engine.play();
    }
    this.#growth?.end();
    this.#growth = null;
    this.#offer(job);
    setData(this.element, "engine", engine.kind);
    this.#remix(mixing.fitTo(this.#mix, engine.limit));
    setText(this.#note, DONE);
    this.#opened();
    await this.#drawPeaks();
  }

  /** The stems' files are there. @param {Snapshot} job */
  #offer(job) {
    for (const { name, bytes } of job.stems) {
      this.#lanes.find((lane) => lane.name === name)?.offer(bytes, stemUrl(job, name, true));
    }
  }

  /** @param {string[]} names */
  #build(names) {
    const both = mixing.hasBoth(names);
    const lanes = h("div", { class: "lanes" });
    for (const lane of [...this.#lanes].sort((a, b) => Number(a.name === mixing.INSTRUMENTAL) - Number(b.name === mixing.INSTRUMENTAL))) {
      if (both && lane.name === mixing.INSTRUMENTAL) {
        lanes.append(h("p", { class: "lane-divider quiet" }, "All instruments in one track, instead of the single ones"));
      }
      lanes.append(lane.element);
    }
    scrub(lanes, {
      seek: (share) => this.#seek(share * this.#engine.duration),
      span: (start, end, done) => this.#loop.mark(start, end, done),
    });
    return h("section", {
      class: "player", "aria-label": `Mixer for ${titleOf(this.#job)}`,
      "data-testid": "player", "data-state": "loading", "data-engine": this.#engine.kind, "data-position": "0.00",
    }, this.#transport.element, this.#transport.presets, lanes, this.#note);
  }

  /** Fetch what is heard first. */
  async open() {
    listenToKeys({
      toggle: () => this.#toggle(),
      nudge: (seconds) => this.#seek(this.#engine.position + seconds),
      start: () => this.#seek(0),
      loop: () => this.#loop.toggle(),
    }, this.#abort.signal);
    this.#drawMix();
    this.#place();
    this.#loading(0);
    const drawn = this.#pieces ? null : this.#drawPeaks();
    try {
      await this.#prepare();
    } catch (error) {
      if (!this.#abort.signal.aborted) this.#unplayable(error);
      return;
    }
    if (this.#abort.signal.aborted) return;
    setText(this.#note, this.#engine.kind === "stream"
      ? `A long track: its stems are streamed, up to ${this.#engine.limit} at once.`
      : "");
    this.#opened();
    await drawn;
  }

  #opened() {
    setData(this.element, "duration", this.#engine.duration.toFixed(2));
    this.#sync();
  }

  dispose() {
    this.#abort.abort();
    cancelAnimationFrame(this.#frame);
    this.#engine.dispose();
    for (const lane of this.#lanes) lane.dispose();
    this.element.remove();
  }

  /** Load the stems that are heard and not there yet. */
  async #prepare() {
    const gains = mixing.gains(this.#mix);
    for (const [name, gain] of gains) this.#engine.setGain(name, gain);
    const missing = [...gains].filter(([name, gain]) => gain > 0 && !this.#asked.has(name)).map(([name]) => name);
    if (!missing.length) return;
    for (const name of missing) this.#asked.add(name);
    const lanes = this.#lanes.filter((lane) => missing.includes(lane.name));
    for (const lane of lanes) lane.loading(true);
    try {
      await this.#engine.prepare(missing);
    } catch (error) {
      for (const name of missing) this.#asked.delete(name);
      throw error;
    } finally {
      for (const lane of lanes) lane.loading(false);
    }
  }

  /** @param {Channel[]} mix */
  #remix(mix) {
    const heard = [...mixing.gains(mix).values()].filter((gain) => gain > 0).length;
    if (heard > this.#engine.limit) {
      setText(this.#note, `In a track this long, ${this.#engine.limit} stems can be heard at once. Mute another one first.`);
      return;
    }
    this.#mix = mix;
    this.#drawMix();
    if (this.#state === "unplayable") return;
    this.#prepare().catch((error) => {
      if (!this.#abort.signal.aborted) setText(this.#note, `That stem can't be loaded: ${error.message}`);
    });
  }

  #drawMix() {
    const gains = mixing.gains(this.#mix);
    for (const channel of this.#mix) {
      this.#lanes.find((lane) => lane.name === channel.name)?.update(channel, (gains.get(channel.name) ?? 0) > 0);
    }
    this.#transport.preset(mixing.presetOf(this.#mix));
  }

  async #drawPeaks() {
    try {
      const { stems } = await peaks(this.#job.id, this.#abort.signal);
      for (const lane of this.#lanes) lane.waveform.show(stems[lane.name] ?? []);
    } catch {
      // The waveforms are a comfort: measure what has been decoded, and play on.
      await this.#prepare().catch(() => undefined);
      for (const lane of this.#lanes) {
        const buffer = this.#engine.buffer(lane.name);
        if (buffer) lane.waveform.show(peaksOf(buffer, FALLBACK_POINTS));
      }
    }
  }

  async #toggle() {
    if (this.#state === "loading" || this.#state === "unplayable") return;
    if (this.#engine.playing) this.#engine.pause();
    else await this.#engine.play();
  }

  /** @param {number} seconds */
  #seek(seconds) {
    this.#loop.leaveUnless(seconds);
    this.#engine.seek(seconds);
    this.#place();
  }

  get #state() {
    return this.element.dataset.state;
  }

  /** Show what the engine does, and follow it while it plays. */
  #sync() {
    if (this.#abort.signal.aborted || !this.element || this.#state === "unplayable") return;
    const { playing, stalled } = this.#engine;
    const before = this.#state;
    setData(this.element, "state", playing ? "playing" : before === "loading" ? "ready" : "paused");
    setData(this.element, "stalled", stalled ? "" : null);
    if (this.#growth && before !== "loading") setText(this.#note, stalled ? WAITING : GROWING);
    this.#transport.playing(playing);
    cancelAnimationFrame(this.#frame);
    this.#place();
    if (playing) this.#follow();
  }

  #follow() {
    this.#frame = requestAnimationFrame(() => {
      this.#place();
      if (this.#engine.playing) this.#follow();
    });
  }

  #place() {
    const { position, duration } = this.#engine;
    this.element.style.setProperty("--at", `${duration ? (position / duration) * 100 : 0}%`);
    const now = performance.now();
    if (this.#engine.playing && now - this.#reported < REPORT_MS) return;
    this.#reported = now;
    setData(this.element, "position", position.toFixed(2));
    this.#transport.place(position, duration);
  }

  /** @param {number} share */
  #loading(share) {
    if (this.#state === "loading") setText(this.#note, `Loading the stems, ${Math.round(share * 100)}%`);
  }

  /** @param {unknown} error */
  #unplayable(error) {
    setData(this.element, "state", "unplayable");
    const format = this.#job.options.format.toUpperCase();
    setText(this.#note, error instanceof UnplayableError
      ? `This browser can't play these ${format} files. Every stem can still be downloaded.`
      : `The stems can't be loaded (${error instanceof Error ? error.message : error}). They can still be downloaded: ${this.#job.stems.map((stem) => stemLabel(stem.name)).join(", ")}.`);
  }
}
