// @ts-check
/**
 * Which stem is heard, and how loud. Pure rules over plain values.
 *
 * `instrumental` is everything but the vocals, so it and the single instruments are two ways to
 * hear the same sound: turning one of them on turns the other off.
 */

/** @typedef {{name: string, level: number, muted: boolean, solo: boolean}} Channel */
/** @typedef {"all"|"karaoke"|"acappella"} Preset */

export const INSTRUMENTAL = "instrumental";
export const VOCALS = "vocals";
/** A fader's position: 100 leaves the stem as it is. */
export const UNITY = 100;
export const TOP = 125;

/** Whether the stems hold the instruments both one by one and as a whole. @param {string[]} names */
export function hasBoth(names) {
  return names.includes(INSTRUMENTAL) && names.some(isInstrument);
}

/** @param {string} name */
function isInstrument(name) {
  return name !== INSTRUMENTAL && name !== VOCALS;
}

/** The mix to begin with: the song as it was. @param {string[]} names @returns {Channel[]} */
export function initialMix(names) {
  const both = hasBoth(names);
  return names.map((name) => ({ name, level: UNITY, muted: both && name === INSTRUMENTAL, solo: false }));
}

/**
 * The mix with at most `limit` stems heard: vocals and instrumental, which make the whole song,
 * or else the first ones.
 * @param {Channel[]} mix
 * @param {number} limit
 * @returns {Channel[]}
 */
export function fitTo(mix, limit) {
  const heard = mix.filter((channel) => !channel.muted).map((channel) => channel.name);
  if (heard.length <= limit) return mix;
  const pair = [VOCALS, INSTRUMENTAL].every((name) => mix.some((channel) => channel.name === name));
  const kept = pair ? [VOCALS, INSTRUMENTAL] : heard.slice(0, limit);
  return mix.map((channel) => ({ ...channel, muted: !kept.includes(channel.name) }));
}

/** What a fader's position does to the samples: squared, as ears expect. @param {number} level */
export function taper(level) {
  return (level / UNITY) ** 2;
}

/** What each stem is multiplied with. @param {Channel[]} mix @returns {Map<string, number>} */
export function gains(mix) {
  const soloed = mix.some((channel) => channel.solo);
  return new Map(mix.map(({ name, level, muted, solo }) => [name, (soloed ? solo : !muted) ? taper(level) : 0]));
}

/** @param {Channel[]} mix @param {string} name @param {number} level @returns {Channel[]} */
export function setLevel(mix, name, level) {
  return mix.map((channel) => (channel.name === name ? { ...channel, level } : channel));
}

/** @param {Channel[]} mix @param {string} name @returns {Channel[]} */
export function toggleSolo(mix, name) {
  return mix.map((channel) => (channel.name === name ? { ...channel, solo: !channel.solo } : channel));
}

/** @param {Channel[]} mix @param {string} name @returns {Channel[]} */
export function toggleMute(mix, name) {
  const unmuting = mix.find((channel) => channel.name === name)?.muted ?? false;
  return mix.map((channel) => {
    if (channel.name === name) return { ...channel, muted: !channel.muted };
    const sameSound = name === INSTRUMENTAL ? isInstrument(channel.name) : isInstrument(name) && channel.name === INSTRUMENTAL;
    return unmuting && sameSound ? { ...channel, muted: true } : channel;
  });
}

/** The presets that make a difference for these stems. @param {string[]} names @returns {Preset[]} */
export function presetsFor(names) {
  return names.includes(VOCALS) && names.length > 1 ? ["all", "karaoke", "acappella"] : [];
}

/** @param {Channel[]} mix @param {Preset} preset @returns {Channel[]} */
export function applyPreset(mix, preset) {
  const names = mix.map((channel) => channel.name);
  const base = new Map(initialMix(names).map((channel) => [channel.name, channel.muted]));
  return mix.map((channel) => {
    const isVocals = channel.name === VOCALS;
    const off = (preset === "karaoke" && isVocals) || (preset === "acappella" && !isVocals);
    return { ...channel, solo: false, muted: off || (base.get(channel.name) ?? false) };
  });
}

/** The preset that the mix is in, faders aside. @param {Channel[]} mix @returns {Preset|null} */
export function presetOf(mix) {
  if (mix.some((channel) => channel.solo)) return null;
  const key = (/** @type {Channel[]} */ channels) => channels.map((channel) => Number(channel.muted)).join("");
  const found = presetsFor(mix.map((channel) => channel.name)).find((preset) => key(applyPreset(mix, preset)) === key(mix));
  return found ?? null;
}
