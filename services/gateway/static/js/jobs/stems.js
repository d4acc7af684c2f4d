// @ts-check
/** A finished job's downloads, while its mixer (which has its own) is closed. */

import { stemUrl } from "../api/jobs.js";
import { h } from "../dom.js";
import { size, stemClass, stemLabel } from "../format.js";
import { icon } from "../icons.js";

export class StemLinks {
  element = h("ul", { class: "stem-links" });
  #shown = "";

  /** @param {import("../types.js").Snapshot} job @param {boolean} open whether its mixer is open */
  update(job, open) {
    const stems = job.status === "completed" && !open ? job.stems : [];
    const key = JSON.stringify(stems);
    if (key === this.#shown) return;
    this.#shown = key;
    this.element.replaceChildren(...stems.map((stem) =>
      h("li", {}, h("a", {
        class: `stem-link ${stemClass(stem.name)}`,
        href: stemUrl(job, stem.name, true),
        download: "",
        title: `Download, ${size(stem.bytes)}`,
        "data-testid": "stem-link",
        "data-stem": stem.name,
      }, stemLabel(stem.name), icon("download")))));
    this.element.hidden = stems.length === 0;
  }
}
