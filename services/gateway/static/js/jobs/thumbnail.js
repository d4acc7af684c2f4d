// @ts-check
/** A song's picture, ours or from wherever the source says; a glyph in a colour of its own until then. */

import { h, setData } from "../dom.js";
import { icon } from "../icons.js";

const HUES = 6;

export class Thumbnail {
  #shown = "";

  /** @param {string} id of the job: decides the glyph's colour */
  constructor(id) {
    let sum = 0;
    for (const character of id) sum = (sum * 31 + character.charCodeAt(0)) >>> 0;
    this.element = h("div", { class: "thumb", "data-hue": String(sum % HUES), "data-state": "none" }, icon("note"));
  }

  /** @param {(string|null|undefined)[]} addresses the best first: the next is tried where one has no picture */
  update(addresses) {
    const urls = addresses.map(safe).filter(Boolean);
    const key = urls.join(" ");
    if (key === this.#shown) return;
    this.#shown = key;
    this.element.querySelector("img")?.remove();
    setData(this.element, "state", "none");
    if (!urls.length) return;
    const image = h("img", { alt: "", loading: "lazy", decoding: "async", referrerPolicy: "no-referrer" });
    image.onload = () => setData(this.element, "state", "loaded");
    image.onerror = () => {
      const next = urls.shift();
      if (next) image.src = next;
      else image.remove();
    };
    this.element.append(image);
    image.src = /** @type {string} */ (urls.shift());
  }
}

/** @param {string|null|undefined} address what the source calls a picture: only http(s) is followed */
function safe(address) {
  if (!address) return "";
  try {
    const url = new URL(address, location.href);
    return url.protocol === "https:" || url.protocol === "http:" ? url.href : "";
  } catch {
    return "";
  }
}
