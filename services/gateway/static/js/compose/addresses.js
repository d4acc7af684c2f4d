// @ts-check
/** Reading addresses out of what people paste. Pure. */

/**
 * The http(s) addresses in a text, and the words that are none.
 * `example.com/song` is taken as https.
 * @param {string} text
 * @returns {{urls: string[], wrong: string[]}}
 */
export function readAddresses(text) {
  /** @type {string[]} */
  const urls = [];
  /** @type {string[]} */
  const wrong = [];
  for (const word of text.split(/\s+/).filter(Boolean)) {
    const url = asUrl(word) ?? (/^[\w-]+(\.[\w-]+)+(:\d+)?\//.test(word) ? asUrl(`https://${word}`) : null);
    if (url === null) wrong.push(word);
    else if (!urls.includes(url)) urls.push(url);
  }
  return { urls, wrong };
}

/** @param {string} word */
function asUrl(word) {
  try {
    const url = new URL(word);
    return url.protocol === "http:" || url.protocol === "https:" ? word : null;
  } catch {
    return null;
  }
}
