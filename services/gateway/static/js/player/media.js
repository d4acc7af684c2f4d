// @ts-check
/** What two media elements need to run side by side. */

/** Seconds: below the first a difference is let be; above the second the element is set right. */
const NEGLIGIBLE = 0.008;
const TOO_FAR = 0.3;
/** The largest change of speed, and seconds within which a difference should be gone. */
const MAX_BEND = 0.04;
const HORIZON = 1.5;
/** Seconds to wait for enough data before an element counts as broken. */
const PATIENCE = 30;

/** Bring an element nearer to where the leader is. @param {HTMLAudioElement} audio @param {number} place */
export function bend(audio, place) {
  const ahead = audio.currentTime - place;
  if (Math.abs(ahead) > TOO_FAR) audio.currentTime = place;
  const wanted = Math.abs(ahead) < NEGLIGIBLE || Math.abs(ahead) > TOO_FAR ? 0 : -ahead / HORIZON;
  audio.playbackRate = 1 + Math.max(-MAX_BEND, Math.min(MAX_BEND, wanted));
}

/** Until an element can go on playing. @param {HTMLAudioElement} audio @returns {Promise<void>} */
export function enough(audio) {
  return new Promise((resolve, reject) => {
    const listening = new AbortController();
    const settle = (/** @type {() => void} */ how) => {
      clearTimeout(timer);
      listening.abort();
      how();
    };
    const timer = setTimeout(() => settle(() => reject(new Error("no data came"))), PATIENCE * 1000);
    const look = () => {
      if (audio.error) settle(() => reject(new Error(audio.error?.message || "it can't be decoded")));
      else if (audio.readyState >= 3 && !audio.seeking) settle(resolve);
    };
    for (const event of ["canplay", "canplaythrough", "seeked", "error", "emptied"]) {
      audio.addEventListener(event, look, { signal: listening.signal });
    }
    look();
  });
}
