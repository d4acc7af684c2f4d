// @ts-check
/** Sending files. */

import { refusal, unreachable } from "./http.js";

/**
 * Send a file. XHR, because fetch can't say how much has left.
 * @param {File} file
 * @param {(sent: number) => void} onprogress share of the bytes, 0 to 1
 * @param {AbortSignal} signal
 * @returns {Promise<{upload: string, bytes: number, filename: string}>}
 */
export function upload(file, onprogress, signal) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", `/v1/uploads?filename=${encodeURIComponent(file.name)}`);
    request.setRequestHeader("content-type", "application/octet-stream");
    request.upload.onprogress = (event) => onprogress(event.total ? event.loaded / event.total : 0);
    request.onerror = () => reject(unreachable());
    request.onabort = () => reject(signal.reason);
    request.onload = () => {
      if (request.status !== 201 && request.status !== 200) {
        reject(refusal(request.responseText, request.status, request.getResponseHeader("retry-after")));
        return;
      }
      try {
        resolve(JSON.parse(request.responseText));
      } catch (error) {
        reject(error);
      }
    };
    signal.addEventListener("abort", () => request.abort(), { once: true });
    request.send(file);
  });
}
