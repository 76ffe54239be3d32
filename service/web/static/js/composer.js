// Where the question is written: Enter sends, Shift+Enter starts a line, an input method's Enter does neither.

import { byId } from "./dom.js";

const MAX_HEIGHT_PX = 220;

export class Composer {
  // handlers: {onSend(text), onStop()}
  constructor(handlers) {
    this.field = byId("prompt");
    this.sendButton = byId("send");
    this.stopButton = byId("stop");
    this.isBusy = false;
    this.onSend = handlers.onSend;
    byId("composer").addEventListener("submit", (event) => { event.preventDefault(); this.send(); });
    this.stopButton.addEventListener("click", handlers.onStop);
    this.field.addEventListener("input", () => this.refresh());
    this.field.addEventListener("keydown", (event) => this.onKey(event));
    this.field.disabled = false; // until here an Enter would have gone nowhere
    this.refresh();
  }

  setBusy(isBusy) {
    this.isBusy = isBusy;
    this.refresh();
  }

  fill(text) {
    this.field.value = text;
    this.refresh();
    this.focus();
  }

  focus() {
    this.field.focus();
  }

  send() {
    const text = this.field.value;
    if (this.isBusy || !text.trim()) return;
    this.fill("");
    this.onSend(text);
  }

  onKey(event) {
    // 229 is what browsers report for keys that an input method is still using.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
    event.preventDefault();
    this.send();
  }

  refresh() {
    this.sendButton.disabled = !this.field.value.trim();
    this.sendButton.hidden = this.isBusy;
    this.stopButton.hidden = !this.isBusy;
    this.field.style.height = "auto";
    this.field.style.height = Math.min(this.field.scrollHeight, MAX_HEIGHT_PX) + "px";
  }
}
