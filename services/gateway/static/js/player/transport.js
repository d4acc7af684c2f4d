// @ts-check
/** Play, place in the song, loop, master volume, presets. */

import { freshId, h, setText } from "../dom.js";
import { icon } from "../icons.js";
import { clock, spokenTime } from "../times.js";
import { taper } from "./mix.js";

/** @type {Record<import("./mix.js").Preset, string>} */
const PRESETS = { all: "Whole song", karaoke: "Karaoke", acappella: "A cappella" };

/**
 * @typedef {object} TransportActions
 * @property {() => void} toggle
 * @property {(seconds: number) => void} seek
 * @property {() => void} loop
 * @property {(gain: number) => void} master
 * @property {(preset: import("./mix.js").Preset) => void} preset
 */

export class Transport {
  #play;
  #loop;
  #time = h("span", { class: "time" });
  #seek;
  /** @type {Map<string, HTMLButtonElement>} */
  #presets = new Map();
  #dragging = false;

  /** @param {import("./mix.js").Preset[]} presets @param {TransportActions} on */
  constructor(presets, on) {
    this.#play = h("button", { type: "button", class: "play", disabled: true, "data-testid": "play", "aria-label": "Play", onclick: on.toggle }, icon("play"), icon("pause"));
    this.#loop = h("button", { type: "button", class: "button icon-only", "aria-pressed": "false", "aria-label": "Loop", title: "Loop (L). Drag over a waveform to choose a part.", "data-testid": "loop", onclick: on.loop }, icon("loop"));
    this.#seek = h("input", {
      type: "range", min: "0", max: "1", step: "0.01", value: "0", id: freshId("seek"), class: "seek", "data-testid": "seek",
      onpointerdown: () => { this.#dragging = true; },
      oninput: () => on.seek(Number(this.#seek.value)),
      onchange: () => { this.#dragging = false; },
      onpointerup: () => { this.#dragging = false; },
    });
    const volume = h("input", {
      type: "range", min: "0", max: "100", step: "1", value: "100", id: freshId("volume"), class: "fader volume", "data-testid": "master",
      oninput: () => {
        volume.style.setProperty("--fill", `${volume.value}%`);
        on.master(taper(Number(volume.value)));
      },
    });
    volume.style.setProperty("--fill", "100%");
    for (const preset of presets) {
      this.#presets.set(preset, h("button", { type: "button", class: "preset", "aria-pressed": "false", "data-preset": preset, onclick: () => on.preset(preset) }, PRESETS[preset]));
    }
    this.element = h("div", { class: "transport" },
      this.#play,
      h("label", { class: "unseen", for: this.#seek.id }, "Place in the song"),
      h("div", { class: "seek-box" }, this.#time, this.#seek),
      this.#loop,
      h("div", { class: "volume-box" }, h("label", { for: volume.id, title: "Master volume" }, icon("volume"), h("span", { class: "unseen" }, "Master volume")), volume));
    this.presets = presets.length
      ? h("div", { class: "presets", role: "group", "aria-label": "Presets" }, ...this.#presets.values())
      : null;
  }

  /** @param {boolean} playing */
  playing(playing) {
    this.#play.disabled = false;
    this.#play.setAttribute("aria-label", playing ? "Pause" : "Play");
    this.#play.classList.toggle("is-playing", playing);
  }

  /** @param {number} position @param {number} duration */
  place(position, duration) {
    setText(this.#time, `${clock(position)} / ${clock(duration)}`);
    this.#seek.max = String(duration);
    if (!this.#dragging) this.#seek.value = String(position);
    this.#seek.style.setProperty("--fill", `${duration ? (position / duration) * 100 : 0}%`);
    this.#seek.setAttribute("aria-valuetext", `${spokenTime(position)} of ${spokenTime(duration)}`);
  }

  /** @param {boolean} on */
  looping(on) {
    this.#loop.setAttribute("aria-pressed", String(on));
  }

  /** @param {import("./mix.js").Preset|null} chosen */
  preset(chosen) {
    for (const [name, button] of this.#presets) button.setAttribute("aria-pressed", String(name === chosen));
  }
}
