// @ts-check
/** At most one player is open; opening another one frees what the last one held. */

import { isGrowing } from "./playable.js";
import { Player } from "./player.js";

/** The rate of the stems (contracts/audio.py): nothing is resampled on its way. */
const SAMPLE_RATE = 44100;

export class PlayerHost {
  /** @type {AudioContext|null} */
  #context = null;
  /** @type {{id: string, player: Player}|null} */
  #open = null;
  #onchange;

  /** @param {(id: string, open: boolean) => void} onchange */
  constructor(onchange) {
    this.#onchange = onchange;
  }

  /** @param {import("../types.js").Snapshot} job @param {HTMLElement} mount */
  toggle(job, mount) {
    const again = this.#open?.id === job.id;
    this.close();
    if (again) return;
    this.#context ??= new AudioContext({ sampleRate: SAMPLE_RATE, latencyHint: "playback" });
    const player = new Player(job, this.#context);
    this.#open = { id: job.id, player };
    mount.replaceChildren(player.element);
    this.#onchange(job.id, true);
    player.open();
  }

  /** What is known of a job now. @param {import("../types.js").Snapshot} job */
  update(job) {
    if (this.#open?.id !== job.id) return;
    if (job.status === "completed" || isGrowing(job)) this.#open.player.update(job);
    else this.close();
  }

  /** The job is no longer on the page. @param {string} id */
  forget(id) {
    if (this.#open?.id === id) this.close();
  }

  close() {
    if (!this.#open) return;
    const { id, player } = this.#open;
    this.#open = null;
    player.dispose();
    this.#context?.suspend();
    this.#onchange(id, false);
  }
}
