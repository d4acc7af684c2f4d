// @ts-check
/**
 * Stems streamed by <audio> elements, for tracks too long to be decoded into memory.
 *
 * Media elements run on clocks of their own. The first audible one leads; the others are bent
 * towards it by small changes of speed, or set right when they are far off. Only audible stems
 * hold a connection, as browsers allow six to a host.
 */

import { bend, enough } from "./media.js";
import { UnplayableError } from "./unplayable.js";

/** @typedef {{name: string, url: string, audio: HTMLAudioElement, gain: GainNode, level: number, attached: boolean}} Voice */

/** Milliseconds between two looks at whether the elements are still together. */
const CHECK_MS = 250;
/** Streams at once: with the event stream, and something left of the six connections. */
const STREAMS = 4;

export class StreamEngine {
  kind = "stream";
  limit = STREAMS;
  playing = false;
  stalled = false;
  #setup;
  #context;
  /** @type {Map<string, Voice>} */
  #voices = new Map();
  #master;
  #offset = 0;
  #timer = 0;
  /** The turn of the alignment that is under way, or 0. */
  #aligning = 0;
  #serial = 0;
  #gone = false;
  /** @type {import("./engine.js").Span|null} */
  #loop = null;

  /** @param {import("./engine.js").EngineSetup} setup */
  constructor(setup) {
    this.#setup = setup;
    this.#context = setup.context;
    this.duration = setup.seconds;
    this.#master = new GainNode(this.#context);
    this.#master.connect(this.#context.destination);
    for (const { name, url } of setup.stems) {
      const audio = new Audio();
      audio.preload = "auto";
      audio.preservesPitch = false;
      const gain = new GainNode(this.#context, { gain: 0 });
      new MediaElementAudioSourceNode(this.#context, { mediaElement: audio }).connect(gain).connect(this.#master);
      this.#voices.set(name, { name, url, audio, gain, level: 0, attached: false });
    }
  }

  get position() {
    const leader = this.#leader();
    if (!this.playing || !leader || this.#aligning) return this.#offset;
    return Math.min(leader.audio.currentTime, this.duration);
  }

  /** @param {string[]} names */
  async prepare(names) {
    await this.#ready(names.map((name) => this.#voice(name)));
    this.#setup.onload(1);
  }

  async play() {
    if (this.playing) return;
    await this.#context.resume();
    if (this.#offset >= this.duration - 0.05) this.#offset = this.#loop?.start ?? 0;
    this.playing = true;
    this.#timer = setInterval(() => this.#check(), CHECK_MS);
    this.#setup.onchange();
    await this.#align(this.#offset);
  }

  pause() {
    if (!this.playing) return;
    this.#offset = this.position;
    this.#halt();
    this.#setup.onchange();
  }

  /** @param {number} seconds */
  seek(seconds) {
    this.#offset = Math.min(Math.max(0, seconds), this.duration);
    if (this.playing) this.#align(this.#offset);
    else for (const { audio } of this.#attached()) audio.currentTime = this.#offset;
  }

  /** @param {import("./engine.js").Span|null} span */
  setLoop(span) {
    this.#loop = span;
    const here = this.position;
    if (span && (here < span.start || here >= span.end)) this.seek(span.start);
  }

  /** @param {string} name @param {number} gain */
  setGain(name, gain) {
    const voice = this.#voice(name);
    const appears = voice.level === 0 && gain > 0;
    voice.level = gain;
    voice.gain.gain.setTargetAtTime(gain, this.#context.currentTime, 0.012);
    if (appears && this.playing && !voice.attached) this.#align(this.position);
  }

  /** @param {number} gain */
  setMaster(gain) {
    this.#master.gain.setTargetAtTime(gain, this.#context.currentTime, 0.012);
  }

  buffer() {
    return null;
  }

  dispose() {
    this.#gone = true;
    this.#halt();
    for (const voice of this.#voices.values()) {
      this.#detach(voice);
      voice.gain.disconnect();
    }
    this.#master.disconnect();
  }

  /** Hold everything, go to one place, and start together. @param {number} place */
  async #align(place) {
    const turn = ++this.#serial;
    this.#aligning = turn;
    this.#offset = place;
    for (const { audio } of this.#attached()) audio.pause();
    const voices = this.#audible();
    for (const voice of voices) {
      this.#attach(voice);
      voice.audio.playbackRate = 1;
      voice.audio.currentTime = place;
    }
    this.#stall(true);
    try {
      await this.#ready(voices);
    } catch {
      if (turn === this.#aligning) this.pause();
      return;
    }
    if (turn !== this.#aligning || !this.playing) return;
    await Promise.allSettled(voices.map(({ audio }) => audio.play()));
    if (turn !== this.#aligning) return;
    this.#aligning = 0;
    this.#stall(false);
  }

  #check() {
    if (!this.playing || this.#aligning) return;
    const leader = this.#leader();
    if (!leader) return;
    const place = leader.audio.currentTime;
    if (this.#loop && place >= this.#loop.end) {
      this.#align(this.#loop.start);
      return;
    }
    if (leader.audio.ended || place >= this.duration) {
      this.#offset = this.duration;
      this.#halt();
      this.#setup.onchange();
      return;
    }
    const voices = this.#audible();
    if (voices.some(({ audio, attached }) => !attached || (audio.readyState < 3 && !audio.ended))) {
      this.#align(place);
      return;
    }
    for (const voice of voices) if (voice !== leader) bend(voice.audio, place);
  }

  /** @param {Voice[]} voices */
  async #ready(voices) {
    await Promise.all(voices.map(async (voice) => {
      this.#attach(voice);
      await enough(voice.audio).catch((error) => {
        if (!this.#gone) throw new UnplayableError(`${voice.name}: ${error.message}`);
      });
      if (Number.isFinite(voice.audio.duration)) this.duration = voice.audio.duration;
    }));
  }

  /** @param {Voice} voice */
  #attach(voice) {
    if (voice.attached) return;
    const held = this.#attached();
    const silent = held.find(({ level }) => level === 0);
    if (held.length >= STREAMS && silent) this.#detach(silent);
    voice.audio.src = voice.url;
    voice.audio.currentTime = this.#offset;
    voice.attached = true;
  }

  /** @param {Voice} voice */
  #detach(voice) {
    voice.audio.pause();
    voice.audio.removeAttribute("src");
    voice.audio.load();
    voice.attached = false;
  }

  #halt() {
    this.playing = false;
    this.#aligning = 0;
    clearInterval(this.#timer);
    for (const { audio } of this.#voices.values()) audio.pause();
    this.#stall(false);
  }

  /** @param {boolean} stalled */
  #stall(stalled) {
    if (this.stalled === stalled) return;
    this.stalled = stalled;
    this.#setup.onchange();
  }

  #audible() {
    return [...this.#voices.values()].filter(({ level }) => level > 0);
  }

  #attached() {
    return [...this.#voices.values()].filter(({ attached }) => attached);
  }

  #leader() {
    return this.#audible().find(({ attached }) => attached) ?? this.#attached().find(({ audio }) => !audio.paused);
  }

  /** @param {string} name @returns {Voice} */
  #voice(name) {
    const voice = this.#voices.get(name);
    if (!voice) throw new Error(`no such stem: ${name}`);
    return voice;
  }
}
