// @ts-check

/** The stems can't be played by this browser; they can still be downloaded. */
export class UnplayableError extends Error {}
