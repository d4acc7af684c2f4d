// @ts-check
/** Idempotency-Keys: what is sent twice without an answer between is one and the same. */

/** Works without a secure context too, as on a server in the home network. */
export function freshKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The key of what a form is about to send: another one as soon as something else is sent. */
export class FormKey {
  #content = "";
  #key = "";

  /** @param {unknown} content */
  of(content) {
    const text = JSON.stringify(content);
    if (text !== this.#content) {
      this.#content = text;
      this.#key = freshKey();
    }
    return this.#key;
  }

  /** It was accepted: the same content is a new request from now on. */
  spent() {
    this.#content = "";
  }
}
