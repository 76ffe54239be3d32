// The messages of one conversation: shows saved ones, and an answer while it grows.

import { copyButton } from "./copy.js";
import { clear, el } from "./dom.js";
import { render } from "./markdown.js";
import { explainEnd, fill, t } from "./words.js";

const NEAR_END_PX = 80;

export class Transcript {
  constructor(list, scroll) {
    this.list = list;
    this.scroll = scroll;
    this.isAtEnd = true;
    scroll.addEventListener("scroll", () => {
      this.isAtEnd = scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < NEAR_END_PX;
    });
  }

  clear() {
    clear(this.list);
  }

  show(messages) {
    this.clear();
    for (const message of messages) {
      if (message.role === "user") this.append(questionView(message.content));
      else this.append(savedAnswer(message).element);
    }
    this.toEnd();
  }

  append(...elements) {
    this.list.append(...elements);
  }

  toEnd() {
    this.isAtEnd = true;
    this.scroll.scrollTop = this.scroll.scrollHeight;
  }

  // Follow a growing answer, unless the user has scrolled up to read.
  follow() {
    if (this.isAtEnd) this.scroll.scrollTop = this.scroll.scrollHeight;
  }
}

export function questionView(text) {
  return el("article", { class: "message question", "data-role": "user", "aria-label": t("you") },
    el("div", { class: "bubble" }, text));
}

// An answer: append() while it grows, end() when it has. Drawn at most once a frame, however fast the pieces come.
export class AnswerView {
  constructor(onDraw) {
    this.text = "";
    this.onDraw = onDraw || (() => {});
    this.isDrawPending = false;
    this.body = el("div", { class: "answer-body" }, waiting(t("waiting")));
    this.foot = el("footer", { class: "answer-foot" });
    this.element = el("article", { class: "message answer", "data-role": "assistant", "aria-label": t("model"),
      "aria-busy": "true", "data-state": "streaming" }, this.body, this.foot);
  }

  append(text) {
    this.text += text;
    if (this.isDrawPending) return;
    this.isDrawPending = true;
    window.requestAnimationFrame(() => {
      this.isDrawPending = false;
      this.draw();
    });
  }

  // What there is to tell while no text has come yet.
  wait(words) {
    if (this.text) return;
    clear(this.body);
    this.body.append(waiting(words));
  }

  end(state, code, figures) {
    this.element.setAttribute("aria-busy", "false");
    this.element.setAttribute("data-state", state);
    this.draw();
    clear(this.foot);
    if (state !== "complete") this.foot.append(el("p", { class: "state" }, explainEnd(state, code)));
    if (this.text) this.foot.append(copyButton(() => this.text));
    const words = figureWords(figures || {});
    if (words) this.foot.append(el("details", { class: "figures" }, el("summary", {}, t("figures")), el("p", {}, words)));
  }

  draw() {
    const fragment = render(this.text);
    fragment.querySelectorAll("pre").forEach(frameCode);
    fragment.querySelectorAll("table").forEach(frameTable);
    clear(this.body);
    this.body.append(fragment);
    this.onDraw();
  }
}

function savedAnswer(message) {
  const view = new AnswerView();
  view.text = message.content;
  view.end(message.state);
  return view;
}

export function queueWords(position, seconds) {
  return fill(t("waiting_queue"), { position, seconds: Math.max(1, Math.round(seconds)) });
}

// "12.3 tokens a second · …", as far as the server told.
function figureWords(figures) {
  const words = [];
  if (figures.tokens_per_s) words.push(fill(t("figures_speed"), { speed: figures.tokens_per_s }));
  if (figures.answer_tokens) words.push(fill(t("figures_answer"), { count: figures.answer_tokens }));
  if (figures.prompt_tokens) {
    words.push(fill(t("figures_prompt"), { count: figures.prompt_tokens, cached: figures.cached_tokens || 0 }));
  }
  return words.join(" · ");
}

function waiting(words) {
  return el("p", { class: "waiting" }, el("span", { class: "pulse", "aria-hidden": "true" }), words);
}

function frameCode(pre) {
  const code = pre.querySelector("code") || pre;
  const language = (/(?:^|\s)language-(\S+)/.exec(code.className) || [])[1] || "";
  const head = el("div", { class: "code-head" }, el("span", {}, language), copyButton(() => code.textContent));
  const frame = el("div", { class: "code" }, head);
  pre.replaceWith(frame);
  pre.tabIndex = 0; // wide code can be scrolled with the keyboard
  frame.append(pre);
}

function frameTable(table) {
  const frame = el("div", { class: "table", tabindex: "0" });
  table.replaceWith(frame);
  frame.append(table);
}
