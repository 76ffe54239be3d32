// One answer: waiting, growing, ended.

import { branchSwitch, tool } from "./message_tools.js";
import { copyButton } from "./copy.js";
import { ICONS, clear, el } from "./dom.js";
import { GrowingText } from "./growing_text.js";
import { explainEnd, fill, t } from "./words.js";

export class AnswerView {
  // actions: {onAgain(message), onVersion(message), onDraw(), onBlock(text)}
  constructor(actions) {
    this.actions = actions;
    this.message = null;
    this.body = el("div", { class: "answer-body" });
    this.foot = el("footer", { class: "answer-foot" });
    this.element = el("article", { class: "message answer", "data-role": "assistant", "aria-label": t("model") },
      this.body, this.foot);
    this.growing = new GrowingText(this.body, { onDraw: () => actions.onDraw(), onBlock: (text) => this.speak(text) });
    this.begin(t("waiting"));
  }

  get text() {
    return this.growing.text;
  }

  // A saved message, as it is.
  static of(message, versions, actions) {
    const view = new AnswerView(actions);
    view.isQuiet = true;
    view.growing.append(message.content);
    view.place(message, versions);
    view.end(message.state, "", message);
    view.isQuiet = false;
    return view;
  }

  // Its text comes from the beginning now, and what is shown stays until it does.
  restart() {
    const hadText = Boolean(this.text);
    this.growing.restart();
    this.begin(hadText ? "" : t("waiting"));
  }

  begin(words) {
    this.element.setAttribute("aria-busy", "true");
    this.element.setAttribute("data-state", "streaming");
    clear(this.foot);
    if (words) this.wait(words);
  }

  place(message, versions) {
    this.message = message;
    this.versions = versions;
    this.element.setAttribute("data-id", message.id);
  }

  append(text) {
    this.growing.append(text);
  }

  // What there is to tell while no text has come yet.
  wait(words) {
    if (this.text) return;
    clear(this.body);
    this.body.append(el("p", { class: "waiting" }, el("span", { class: "pulse", "aria-hidden": "true" }), words));
  }

  // What there is to tell below the text while it is not growing.
  note(words) {
    clear(this.foot);
    this.foot.append(el("p", { class: "state" }, words));
  }

  end(state, code, figures) {
    this.element.setAttribute("aria-busy", "false");
    this.element.setAttribute("data-state", state);
    this.growing.finish();
    this.drawFoot(state, code, figures || {});
  }

  drawFoot(state, code, figures) {
    clear(this.foot);
    if (state !== "complete") this.foot.append(el("p", { class: "state" }, explainEnd(state, code)));
    if (this.text) this.foot.append(copyButton(() => this.text));
    if (this.message) {
      const again = tool(ICONS.again, t("again"), "again when-idle", () => this.actions.onAgain(this.message));
      again.append(t("again"));
      // Behind the buttons: they stay where they are when another answer comes.
      this.foot.append(again, branchSwitch(this.message, this.versions, this.actions.onVersion));
    }
    const words = figureWords(figures);
    if (words) this.foot.append(el("details", { class: "figures" }, el("summary", {}, t("figures")), el("p", {}, words)));
  }

  speak(text) {
    if (!this.isQuiet) this.actions.onBlock(text);
  }
}

// "12.3 tokens a second · …", as far as the server told.
function figureWords(figures) {
  const words = [];
  if (figures.tokens_per_s) words.push(fill(t("figures_speed"), { speed: Math.round(figures.tokens_per_s * 10) / 10 }));
  if (figures.answer_tokens) words.push(fill(t("figures_answer"), { count: figures.answer_tokens }));
  if (figures.prompt_tokens) {
    words.push(fill(t("figures_prompt"), { count: figures.prompt_tokens, cached: figures.cached_tokens || 0 }));
  }
  return words.join(" · ");
}

export function queueWords(position, seconds) {
  return fill(t("waiting_queue"), { position, seconds: Math.max(1, Math.round(seconds)) });
}
