// A text that grows, drawn so that a long one costs no more than a short one: what is final is drawn once, and only the
// last block again and again, the less often the longer it takes.

import { clear } from "./dom.js";
import { dress } from "./dressing.js";
import { lastBlockAt, render } from "./markdown.js";

const FRAME_MS = 16;
const SHARE = 4; // of the time, at most a fourth is spent on drawing

export class GrowingText {
  // handlers: {onDraw(), onBlock(text)}
  constructor(body, handlers) {
    this.body = body;
    this.handlers = handlers;
    this.text = "";
    this.restart();
  }

  // What is shown stays until something else has come.
  restart() {
    this.text = "";
    this.finalTo = 0;
    this.isClean = false;
    this.last = [];
    this.timer = 0;
    this.pauseMs = FRAME_MS;
  }

  append(text) {
    this.text += text.replace(/\r\n?/g, "\n");
    if (!this.timer) this.timer = window.setTimeout(() => this.draw(), this.pauseMs);
  }

  // Draw all of it at once, by the rules for a whole text: a link may be explained below where it is used.
  finish() {
    window.clearTimeout(this.timer);
    this.speak(render(this.text.slice(this.finalTo)));
    const whole = document.createElement("div");
    whole.append(dressed(render(this.text)));
    if (whole.innerHTML === this.body.innerHTML) return;
    clear(this.body);
    this.body.append(...Array.from(whole.childNodes));
    this.handlers.onDraw();
  }

  draw() {
    const startedAt = performance.now();
    this.timer = 0;
    const rest = this.text.slice(this.finalTo);
    const at = lastBlockAt(rest);
    this.removeLast();
    if (at > 0) this.settle(rest.slice(0, at));
    const fragment = dressed(render(rest.slice(at)));
    this.last = Array.from(fragment.childNodes);
    this.body.append(fragment);
    this.handlers.onDraw();
    this.pauseMs = Math.max(FRAME_MS, (performance.now() - startedAt) * SHARE);
  }

  settle(text) {
    const fragment = render(text);
    this.speak(fragment);
    this.body.append(dressed(fragment));
    this.finalTo += text.length;
  }

  removeLast() {
    if (!this.isClean) clear(this.body);
    this.isClean = true;
    for (const node of this.last) node.remove();
  }

  speak(fragment) {
    const copy = fragment.cloneNode(true);
    for (const part of copy.querySelectorAll(".katex-html, annotation")) part.remove(); // a formula stands there thrice
    for (const block of copy.childNodes) {
      const words = block.textContent.trim();
      if (words) this.handlers.onBlock(words);
    }
  }
}

function dressed(fragment) {
  dress(fragment);
  return fragment;
}
