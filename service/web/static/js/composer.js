// Where the question is written: Enter sends, Shift+Enter starts a line, an input method's Enter does neither.

import { byId } from "./dom.js";

const MAX_HEIGHT_PX = 220;

export class Composer {
  // handlers: {onSend(text), onStop(), onChange(text), onUp()}
  constructor(handlers) {
    this.handlers = handlers;
    this.field = byId("prompt");
    this.sendButton = byId("send");
    this.stopButton = byId("stop");
    this.isBusy = false;
    byId("composer").addEventListener("submit", (event) => { event.preventDefault(); this.send(); });
    this.stopButton.addEventListener("click", handlers.onStop);
    this.field.addEventListener("input", () => { this.refresh(); handlers.onChange(this.field.value); });
    this.field.addEventListener("keydown", (event) => this.onKey(event));
    this.field.disabled = false; // until here an Enter would have gone nowhere
    this.refresh();
  }

  setBusy(isBusy) {
    const hadFocus = document.activeElement === this.stopButton;
    this.isBusy = isBusy;
    this.refresh();
    if (hadFocus && !isBusy) this.focus(); // the button under the keyboard is gone
  }

  // Show what was written and not sent yet.
  load(text) {
    this.field.value = text;
    this.refresh();
  }

  // Write for the user, as if they had.
  fill(text) {
    this.load(text);
    this.handlers.onChange(text);
    this.focus();
  }

  focus() {
    this.field.focus();
  }

  send() {
    const text = this.field.value;
    if (this.isBusy || !text.trim()) return;
    this.load(""); // its draft is dropped when the server has it
    this.focus();
    this.handlers.onSend(text);
  }

  onKey(event) {
    // 229 is what browsers report for keys that an input method is still using.
    if (event.isComposing || event.keyCode === 229) return;
    if (event.key === "ArrowUp" && !this.field.value && this.handlers.onUp()) event.preventDefault();
    if (event.key !== "Enter" || event.shiftKey || event.altKey) return;
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
