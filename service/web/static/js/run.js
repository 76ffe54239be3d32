// One answer that is being written, as this page follows it. The server writes it whoever follows: leaving the page, or
// another conversation being shown, ends only the following.

import * as api from "./api.js";
import { queueWords } from "./answer.js";
import { t } from "./words.js";

const RETRY_MS = [500, 1000, 2000, 4000];

export class Run {
  // question: its view, or null where it is shown already; handlers: {onStart(run, event), onEnd(run, event),
  // onRefused(run, error), onBack(conversation)}
  constructor(conversationId, question, view, handlers) {
    this.conversationId = conversationId;
    this.question = question;
    this.view = view;
    this.handlers = handlers;
    this.answerId = null;
    this.hasEnded = false;
    this.wantsStop = false;
    this.onSent = () => {}; // the server has the question, or nobody waits here to know
    this.abort = new AbortController();
  }

  // request: (signal, onEvent) => a stream of the API
  async follow(request) {
    try {
      await request(this.abort.signal, (event) => this.onEvent(event));
    } catch (error) {
      if (this.isLeft) return;
      if (this.answerId === null) {
        this.handlers.onRefused(this, error);
        return;
      }
    }
    if (!this.hasEnded && !this.isLeft) await this.comeBack();
  }

  get isLeft() {
    return this.abort.signal.aborted;
  }

  leave() {
    this.onSent();
    this.abort.abort();
  }

  stop() {
    this.wantsStop = true;
    if (this.answerId === null) return;
    api.stop(this.conversationId, this.answerId).catch(() => {}); // the stream tells how it went
  }

  onEvent(event) {
    if (event.type === "start") this.onStart(event);
    else if (event.type === "text") this.view.append(event.text);
    else if (event.type === "waiting") this.view.wait(queueWords(event.position, event.wait_s));
    else if (event.type === "thinking") this.view.wait(t("thinking"));
    else if (event.type === "end") this.onEnd(event);
  }

  onStart(event) {
    this.answerId = event.answer_id;
    this.onSent();
    this.handlers.onStart(this, event);
    if (this.wantsStop) this.stop();
  }

  onEnd(event) {
    this.hasEnded = true;
    this.view.end(event.state, event.code, event.figures);
    this.handlers.onEnd(this, event);
  }

  // The connection broke: try until the server is there again, and go on from what it has by then.
  async comeBack() {
    this.view.note(t("reconnecting"));
    for (let tries = 0; !this.isLeft; tries += 1) {
      await new Promise((resolve) => { window.setTimeout(resolve, RETRY_MS[Math.min(tries, RETRY_MS.length - 1)]); });
      try {
        const conversation = await api.readConversation(this.conversationId);
        if (!this.isLeft) this.handlers.onBack(conversation);
        return;
      } catch (error) {
        if (error.status === 404) {
          if (!this.isLeft) this.handlers.onRefused(this, error);
          return;
        }
      }
    }
  }
}
