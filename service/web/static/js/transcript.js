// The messages of one conversation: the branch that is shown, from top to bottom, and following its growing end.

import { AnswerView } from "./answer.js";
import { pathTo, versionsOf } from "./branches.js";
import { byId, clear, el } from "./dom.js";
import { QuestionView } from "./question.js";
import { t } from "./words.js";

const NEAR_END_PX = 80;

export class Transcript {
  // actions: those of questions and answers
  constructor(list, scroll, actions) {
    this.list = list;
    this.scroll = scroll;
    this.actions = { ...actions, onDraw: () => this.follow() };
    this.views = [];
    this.isAtEnd = true;
    this.endButton = byId("to-end");
    this.endButton.addEventListener("click", () => this.toEnd());
    scroll.addEventListener("scroll", () => {
      this.isAtEnd = scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < NEAR_END_PX;
      this.endButton.hidden = this.isAtEnd;
    });
  }

  clear() {
    clear(this.list);
    this.views = [];
    this.endButton.hidden = true;
  }

  show(conversation) {
    this.clear();
    for (const message of pathTo(conversation.messages, conversation.leaf_id)) {
      this.append(this.viewOf(message, versionsOf(conversation.messages, message)));
    }
    this.markMemory(conversation.remembers_from);
    this.toEnd();
  }

  viewOf(message, versions) {
    if (message.role !== "user") return AnswerView.of(message, versions, this.actions);
    const view = new QuestionView(message.content, this.actions);
    view.place(message, versions);
    return view;
  }

  addQuestion(text) {
    return this.append(new QuestionView(text, this.actions));
  }

  addAnswer() {
    return this.append(new AnswerView(this.actions));
  }

  append(view) {
    this.views.push(view);
    this.list.append(view.element);
    return view;
  }

  find(id) {
    return this.views.find((view) => view.message && view.message.id === id);
  }

  last(isMeant) {
    return this.views.filter(isMeant).pop();
  }

  // Remove what stands below a message; all of it without one.
  cutBelow(id) {
    const keep = this.views.findIndex((view) => view.message && view.message.id === id) + 1;
    for (const view of this.views.splice(keep)) view.element.remove();
  }

  // Show where the model's memory begins; nothing where it has all of the conversation.
  markMemory(id) {
    const old = this.list.querySelector(".memory");
    if (old) old.remove();
    const view = this.find(id);
    if (!view || view === this.views[0]) return;
    this.list.insertBefore(el("p", { class: "memory", role: "note" }, el("span", {}, t("memory"))), view.element);
  }

  // Mark words where they first stand in a message, and show that place.
  mark(id, words) {
    const view = this.find(id);
    if (!view) return;
    const texts = document.createTreeWalker(view.element, NodeFilter.SHOW_TEXT);
    let place = view.element;
    while (place === view.element && texts.nextNode()) {
      const at = texts.currentNode.data.toLowerCase().indexOf(words.toLowerCase());
      if (at < 0 || at + words.length > texts.currentNode.length) continue;
      const range = document.createRange();
      range.setStart(texts.currentNode, at);
      range.setEnd(texts.currentNode, at + words.length);
      place = el("mark", {});
      range.surroundContents(place);
    }
    place.scrollIntoView({ block: place === view.element ? "start" : "center" });
  }

  toEnd() {
    this.isAtEnd = true;
    this.endButton.hidden = true;
    this.scroll.scrollTop = this.scroll.scrollHeight;
  }

  // Follow a growing answer, unless the user has scrolled up to read.
  follow() {
    if (this.isAtEnd) this.scroll.scrollTop = this.scroll.scrollHeight;
  }
}
