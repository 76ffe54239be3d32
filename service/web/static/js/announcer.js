// What a screen reader is told: short words about what happens, and an answer block by block as it grows.

import { byId, clear, el } from "./dom.js";

const KEPT_MS = 15000; // afterwards the text stands in the conversation alone

export class Announcer {
  constructor() {
    this.status = byId("status");
    this.log = byId("spoken");
    this.timer = 0;
  }

  say(words) {
    this.status.textContent = words;
  }

  read(text) {
    window.clearTimeout(this.timer);
    this.log.append(el("p", {}, text));
    this.timer = window.setTimeout(() => clear(this.log), KEPT_MS);
  }
}
