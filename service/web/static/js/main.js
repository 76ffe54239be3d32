// The chat page: ties the parts together. A conversation's address is /c/<id>, a new one's is /.

import * as api from "./api.js";
import { Composer } from "./composer.js";
import { byId } from "./dom.js";
import { EngineStatus } from "./engine_status.js";
import { Sidebar } from "./sidebar.js";
import { AnswerView, Transcript, questionView, queueWords } from "./transcript.js";
import { explain, t } from "./words.js";

class ChatPage {
  constructor() {
    this.currentId = null;
    this.runs = new Map(); // conversation id -> its growing answer; it goes on when another conversation is shown
    this.transcript = new Transcript(byId("transcript"), byId("scroll"));
    this.composer = new Composer({ onSend: (text) => this.ask(text), onStop: () => this.stop() });
    this.sidebar = new Sidebar({
      onOpen: (id) => this.go(id), onNew: () => this.go(null), onDelete: (id) => this.remove(id),
    });
    this.engine = new EngineStatus((isReady) => this.notice(isReady ? "" : t("model_away_note")));
    window.addEventListener("popstate", () => this.open(idInAddress()));
  }

  async start() {
    this.engine.check();
    await Promise.all([this.refreshList(), this.open(idInAddress())]);
  }

  go(id) {
    window.history.pushState(null, "", id ? "/c/" + encodeURIComponent(id) : "/");
    return this.open(id);
  }

  async open(id) {
    this.show(id);
    if (!id) return;
    try {
      const conversation = await api.readConversation(id);
      if (this.currentId !== id) return;
      const run = this.runs.get(id);
      this.transcript.show(conversation.messages.filter((message) => !run || !run.ids.includes(message.id)));
      if (run) this.transcript.append(run.question, run.view.element);
      this.transcript.toEnd();
      this.setTitle(conversation.title);
    } catch (error) {
      this.notice(explain(error));
    }
  }

  show(id) {
    this.currentId = id;
    this.sidebar.select(id);
    this.transcript.clear();
    this.notice(this.engine.isReady === false ? t("model_away_note") : "");
    this.setTitle("");
    byId("welcome").hidden = Boolean(id);
    this.composer.setBusy(this.runs.has(id));
    this.composer.focus();
  }

  async ask(text) {
    this.notice("");
    const run = this.begin(text);
    try {
      const id = this.currentId || (await this.createConversation(run));
      run.conversationId = id;
      this.runs.set(id, run);
      await api.ask(id, text, run.abort.signal, (event) => this.onEvent(run, event));
      if (!run.hasEnded) this.end(run, "partial"); // the connection closed before the answer said how it ended
    } catch (error) {
      this.onFailure(run, text, error);
    }
    this.runs.delete(run.conversationId);
    this.composer.setBusy(this.runs.has(this.currentId));
    this.refreshList();
  }

  begin(text) {
    const view = new AnswerView(() => { if (view.element.isConnected) this.transcript.follow(); });
    const run = { view, question: questionView(text), abort: new AbortController(), ids: [], hasEnded: false };
    byId("welcome").hidden = true;
    this.transcript.append(run.question, view.element);
    this.transcript.toEnd();
    this.composer.setBusy(true);
    this.announce(t("waiting"));
    return run;
  }

  async createConversation(run) {
    const { id } = await api.createConversation();
    if (!this.currentId && run.view.element.isConnected) {
      this.currentId = id;
      this.sidebar.select(id);
      window.history.pushState(null, "", "/c/" + encodeURIComponent(id));
    }
    return id;
  }

  onEvent(run, event) {
    if (event.type === "start") {
      run.ids = [event.question_id, event.answer_id];
      if (run.conversationId === this.currentId) this.setTitle(event.title);
      this.refreshList();
    } else if (event.type === "text") {
      run.view.append(event.text);
    } else if (event.type === "waiting") {
      run.view.wait(queueWords(event.position, event.wait_s));
    } else if (event.type === "thinking") {
      run.view.wait(t("thinking"));
    } else if (event.type === "end") {
      this.end(run, event.state, event.code, event.figures);
    }
  }

  end(run, state, code, figures) {
    run.hasEnded = true;
    run.view.end(state, code, figures);
    this.announce(state === "complete" ? t("answer_done") : t("state_" + state));
    if (state === "failed") this.engine.check();
  }

  onFailure(run, text, error) {
    if (run.abort.signal.aborted) return this.end(run, "stopped");
    if (run.ids.length) return this.end(run, "partial");
    // Refused before anything was kept: give the question back.
    const isShown = run.view.element.isConnected;
    run.question.remove();
    run.view.element.remove();
    if (isShown) {
      this.composer.fill(text);
      this.notice(explain(error));
    }
    return this.engine.check();
  }

  stop() {
    const run = this.runs.get(this.currentId);
    if (run) run.abort.abort();
  }

  async remove(id) {
    const run = this.runs.get(id);
    if (run) run.abort.abort();
    try {
      await api.deleteConversation(id);
    } catch (error) {
      this.notice(explain(error));
    }
    if (id === this.currentId) this.go(null);
    this.refreshList();
  }

  async refreshList() {
    try {
      this.sidebar.show(await api.listConversations());
    } catch (error) {
      this.notice(explain(error));
    }
  }

  setTitle(title) {
    byId("title").textContent = title || t("new_conversation");
    document.title = title ? title + " – Ferry" : "Ferry";
  }

  notice(text) {
    byId("notice").textContent = text;
    byId("notice").hidden = !text;
  }

  announce(text) {
    byId("status").textContent = text;
  }
}

function idInAddress() {
  const found = /^\/c\/([^/]+)$/.exec(window.location.pathname);
  return found ? decodeURIComponent(found[1]) : null;
}

new ChatPage().start();
