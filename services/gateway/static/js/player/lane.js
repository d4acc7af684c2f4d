// @ts-check
/** One stem in the mixer: name, mute, solo, fader, waveform, download. */

import { freshId, h, setData, setText } from "../dom.js";
import { decibels, size, stemClass, stemLabel } from "../format.js";
import { icon } from "../icons.js";
import { TOP, UNITY, taper } from "./mix.js";
import { Waveform } from "./waveform.js";

/**
 * @typedef {object} LaneActions
 * @property {(name: string) => void} mute
 * @property {(name: string) => void} solo
 * @property {(name: string, level: number) => void} level
 */

export class Lane {
  waveform = new Waveform();
  #mute;
  #solo;
  #fader;
  #level = h("output", { class: "level" });
  #download = h("span", { class: "lane-download" });

  /** @param {string} name @param {LaneActions} on */
  constructor(name, on) {
    const label = stemLabel(name);
    this.name = name;
    this.#mute = toggle("M", `Mute ${label}`, "mute", () => on.mute(name));
    this.#solo = toggle("S", `Solo ${label}`, "solo", () => on.solo(name));
    this.#fader = h("input", {
      type: "range", min: "0", max: String(TOP), step: "1", value: String(UNITY),
      id: freshId("fader"), class: "fader", title: "Double-click for 0 dB", "data-testid": "fader",
      oninput: () => on.level(name, Number(this.#fader.value)),
      ondblclick: () => on.level(name, UNITY),
    });
    this.element = h("div", { class: `lane ${stemClass(name)}`, role: "group", "aria-label": label, "data-stem": name, "data-testid": "lane" },
      h("span", { class: "lane-name" }, label),
      h("div", { class: "toggles" }, this.#mute, this.#solo),
      h("div", { class: "fader-box" },
        h("label", { class: "unseen", for: this.#fader.id }, `Volume of ${label}`), this.#fader, this.#level),
      this.waveform.element,
      this.#download);
  }

  /** The stem's file is there. @param {number} bytes @param {string} url */
  offer(bytes, url) {
    const words = `Download ${stemLabel(this.name)}, ${size(bytes)}`;
    this.#download.replaceChildren(h("a", {
      class: "button icon-only", href: url, download: "", title: words, "aria-label": words, "data-testid": "download",
    }, icon("download")));
  }

  /** @param {import("./mix.js").Channel} channel @param {boolean} heard */
  update(channel, heard) {
    const text = decibels(taper(channel.level));
    this.#mute.setAttribute("aria-pressed", String(channel.muted));
    this.#solo.setAttribute("aria-pressed", String(channel.solo));
    if (Number(this.#fader.value) !== channel.level) this.#fader.value = String(channel.level);
    this.#fader.style.setProperty("--fill", `${(channel.level / TOP) * 100}%`);
    this.#fader.setAttribute("aria-valuetext", text);
    setText(this.#level, text);
    setData(this.element, "heard", String(heard));
  }

  /** @param {boolean} loading */
  loading(loading) {
    setData(this.element, "loading", loading ? "" : null);
  }

  dispose() {
    this.waveform.dispose();
  }
}

/** @param {string} letter @param {string} label @param {string} id @param {() => void} onclick */
function toggle(letter, label, id, onclick) {
  return h("button", { type: "button", class: `toggle ${id}`, "aria-label": label, title: label, "aria-pressed": "false", "data-testid": id, onclick }, letter);
}
