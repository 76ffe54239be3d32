// The chat page: ties the parts together. A conversation's address is /c/<id>, a new one's is /.

import { Announcer } from "./announcer.js";
import * as api from "./api.js";
import { AnswerView } from "./answer.js";
import { holding, pathTo, versionsOf } from "./branches.js";
import { Composer } from "./composer.js";
import { conversationMenu } from "./conversation_menu.js";
import { copyText } from "./copy.js";
import { byId } from "./dom.js";
import { Drafts } from "./drafts.js";
import { EngineStatus } from "./engine_status.js";
import { closeMenu, menuButton } from "./menu.js";
import { Run } from "./run.js";
import { listen, showHelp } from "./shortcuts.js";
import { Sidebar } from "./sidebar.js";
import { Transcript } from "./transcript.js";
import { explain, t } from "./words.js";

function emptyConversation(id) {
  return { id, title: "", leaf_id: null, messages: [], remembers_from: null };
}

class ChatPage {
  constructor() {
    this.currentId = null;
    this.conversation = emptyConversation(null);
    this.run = null; // the answer that this page follows
    this.announcer = new Announcer();
    this.drafts = new Drafts(byId("app").getAttribute("data-user"));
    this.transcript = new Transcript(byId("transcript"), byId("scroll"), {
      onEdit: (message, text) => this.edit(message, text),
      onAgain: (message) => this.again(message),
      onVersion: (message, direction) => this.showVersion(message, direction),
      onBlock: (text) => this.announcer.read(text),
    });
    this.composer = new Composer({
      onSend: (text) => this.send(text),
      onStop: () => this.stop(),
      onChange: (text) => this.drafts.put(this.currentId, text),
      onUp: () => this.editLast(),
    });
    this.sidebar = new Sidebar({
      onOpen: (id, words) => this.go(id, words),
      onNew: () => this.go(null),
      onSearch: () => this.refreshList(),
      menuOf: (conversation) => this.menuOf(conversation),
    });
    this.menuOf = conversationMenu({
      onRenamed: (id, title) => { if (id === this.currentId) this.setTitle(title); this.refreshList(); },
      onDeleted: (id) => this.onDeleted(id),
      attempt: (action) => this.attempt(action),
    });
    this.engine = new EngineStatus((isReady) => this.notice(isReady ? "" : t("model_away_note")));
    this.listen();
  }

  listen() {
    window.addEventListener("popstate", () => this.open(idInAddress()));
    document.addEventListener("visibilitychange", () => { if (!document.hidden) this.catchUp(); });
    const logout = byId("logout-form"); // not there where nobody logs in
    if (logout) logout.addEventListener("submit", () => this.drafts.forgetAll());
    menuButton(byId("title-menu"), () => this.menuOf(this.conversation));
    listen({
      onNew: () => this.go(null),
      onSearch: () => this.sidebar.search(),
      onPrompt: () => this.composer.focus(),
      onAgain: () => this.againLast(),
      onCopy: () => this.copyLast(),
      onHelp: showHelp,
      onEscape: () => closeMenu() || this.sidebar.toggle(false) || this.stop(),
    });
  }

  async start() {
    this.engine.check();
    await Promise.all([this.refreshList(), this.open(idInAddress())]);
  }

  go(id, words) {
    window.history.pushState(null, "", id ? "/c/" + encodeURIComponent(id) : "/");
    return this.open(id, words);
  }

  // words: those that it was found by
  async open(id, words) {
    this.show(id);
    if (!id) return;
    try {
      const conversation = await api.readConversation(id);
      if (this.currentId !== id) return;
      this.draw(conversation);
      if (words) await this.showFound(words);
    } catch (error) {
      this.notice(explain(error));
    }
  }

  show(id) {
    this.leave();
    this.currentId = id;
    this.conversation = emptyConversation(id);
    this.sidebar.select(id);
    this.transcript.clear();
    this.notice(this.engine.isReady === false ? t("model_away_note") : "");
    this.setTitle("");
    byId("welcome").hidden = Boolean(id);
    this.composer.load(this.drafts.get(id));
    this.focusPrompt();
  }

  draw(conversation) {
    this.leave();
    this.conversation = conversation;
    this.setTitle(conversation.title);
    this.transcript.show(conversation);
    if (conversation.answering) this.attach(conversation.answering);
  }

  // What another tab did meanwhile.
  async catchUp() {
    this.engine.check();
    this.refreshList();
    const { id, leaf_id: leafId } = this.conversation;
    if (!id || this.run) return;
    const conversation = await api.readConversation(id).catch(() => null);
    if (!conversation || this.currentId !== id || this.run) return;
    if (conversation.answering || conversation.leaf_id !== leafId) this.draw(conversation);
  }

  // --- answers ---

  async send(text) {
    this.notice("");
    byId("welcome").hidden = true;
    const run = this.begin(this.transcript.addQuestion(text), this.transcript.addAnswer());
    const draftOf = this.currentId;
    run.onSent = () => this.drafts.drop(draftOf, text);
    run.giveBack = () => { run.onSent(); this.composer.fill(text); };
    await run.follow(async (signal, onEvent) => {
      run.conversationId = run.conversationId || (await this.create(run));
      return api.ask(run.conversationId, { content: text }, signal, onEvent);
    });
  }

  edit(message, text) {
    this.transcript.cutBelow(message.parent_id);
    const run = this.begin(this.transcript.addQuestion(text), this.transcript.addAnswer());
    run.giveBack = () => {
      this.draw(this.conversation);
      this.transcript.find(message.id).edit(text);
    };
    const question = { content: text, parent_id: message.parent_id };
    run.follow((signal, onEvent) => api.ask(run.conversationId, question, signal, onEvent));
  }

  again(message) {
    this.transcript.cutBelow(message.parent_id);
    const run = this.begin(null, this.transcript.addAnswer());
    run.giveBack = () => this.draw(this.conversation);
    run.follow((signal, onEvent) => api.askAgain(run.conversationId, message.parent_id, signal, onEvent));
  }

  // Follow an answer that was being written before this page came. It may stand in another branch than is shown.
  attach(answerId) {
    const view = this.transcript.find(answerId) || new AnswerView({ onDraw() {}, onBlock() {} });
    view.restart();
    const run = this.begin(null, view);
    run.giveBack = () => {};
    run.answerId = answerId;
    run.follow((signal, onEvent) => api.follow(run.conversationId, answerId, signal, onEvent));
  }

  begin(question, view) {
    const run = new Run(this.currentId, question, view, {
      onStart: (...given) => this.onStart(...given),
      onEnd: (...given) => this.onEnd(...given),
      onRefused: (...given) => this.onRefused(...given),
      onBack: (conversation) => this.draw(conversation),
    });
    this.setRun(run);
    this.focusPrompt(); // what the keyboard was on may be gone
    this.transcript.toEnd();
    this.announcer.say(t("waiting"));
    return run;
  }

  async create(run) {
    const { id } = await api.createConversation();
    if (this.run === run) {
      this.currentId = id;
      this.conversation = emptyConversation(id);
      this.sidebar.select(id);
      window.history.pushState(null, "", "/c/" + encodeURIComponent(id));
    }
    return id;
  }

  onStart(run, event) {
    if (this.run !== run) return;
    const { messages } = this.conversation;
    if (run.question && !run.question.message) {
      const above = this.transcript.views[this.transcript.views.indexOf(run.question) - 1];
      const parentId = above ? above.message.id : null;
      const question = { id: event.question_id, parent_id: parentId, role: "user", content: run.question.text };
      messages.push(question);
      run.question.place(question, versionsOf(messages, question));
    }
    if (!messages.some((message) => message.id === event.answer_id)) {
      messages.push({ id: event.answer_id, parent_id: event.question_id, role: "assistant", content: "", state: "partial" });
    }
    const answer = messages.find((message) => message.id === event.answer_id);
    run.view.place(answer, versionsOf(messages, answer));
    if (run.view.element.isConnected) this.conversation.leaf_id = answer.id;
    this.setTitle(event.title);
    this.transcript.markMemory(event.remembers_from);
    this.conversation.remembers_from = event.remembers_from;
    this.refreshList();
  }

  onEnd(run, event) {
    if (run.view.message) Object.assign(run.view.message, event.figures, { content: run.view.text, state: event.state });
    this.announcer.say(event.state === "complete" ? t("answer_done") : t("state_" + event.state));
    if (event.state === "failed") this.engine.check();
    if (this.run === run) this.setRun(null);
    this.refreshList();
  }

  // Nothing was kept of it: give back what was asked.
  onRefused(run, error) {
    if (this.run !== run) return;
    this.setRun(null);
    if (run.question) run.question.element.remove();
    run.view.element.remove();
    this.transcript.views = this.transcript.views.filter((view) => view !== run.question && view !== run.view);
    run.giveBack();
    this.notice(explain(error));
    this.engine.check();
  }

  setRun(run) {
    this.run = run;
    this.composer.setBusy(Boolean(run));
    byId("transcript").classList.toggle("busy", Boolean(run));
  }

  leave() {
    if (this.run) this.run.leave();
    this.setRun(null);
  }

  stop() {
    if (this.run) this.run.stop();
  }

  // --- what the keyboard asks for ---

  editLast() {
    const view = this.transcript.last((one) => one.bubble && one.message);
    if (!view || this.run) return false;
    view.edit(view.text);
    return true;
  }

  againLast() {
    const view = this.transcript.last((one) => one.growing && one.message);
    if (view && !this.run) this.again(view.message);
  }

  async copyLast() {
    const view = this.transcript.last((one) => one.growing && one.text);
    if (view && (await copyText(view.text))) this.announcer.say(t("copied"));
  }

  // --- conversations ---

  async showVersion(message, direction) {
    await this.attempt(() => this.showBranch(message.id));
    this.focusVersion(message.id, direction);
  }

  async showBranch(messageId) {
    const { id } = this.conversation;
    await api.changeConversation(id, { leaf_id: messageId });
    const conversation = await api.readConversation(id);
    if (this.currentId === id) this.draw(conversation);
  }

  // Show where the words stand that the conversation was found by.
  async showFound(words) {
    const { messages, leaf_id: leafId } = this.conversation;
    const found = holding(messages, leafId, words);
    if (!found) return;
    if (!pathTo(messages, leafId).includes(found) && !this.run) await this.showBranch(found.id);
    this.transcript.mark(found.id, words);
  }

  focusVersion(id, direction) {
    const view = this.transcript.find(id);
    if (!view) return;
    view.element.scrollIntoView({ block: "nearest" });
    const button = view.foot.querySelector("." + direction + ":not([disabled])") || view.foot.querySelector(".branches .tool:not([disabled])");
    if (button) button.focus();
  }

  onDeleted(id) {
    this.drafts.put(id, "");
    if (id === this.currentId) this.go(null);
    this.refreshList();
  }

  async refreshList() {
    const { words } = this.sidebar;
    const found = await this.attempt(() => api.listConversations(words));
    if (found && words === this.sidebar.words) this.sidebar.show(found);
  }

  async attempt(action) {
    try {
      return await action();
    } catch (error) {
      this.notice(explain(error));
      return null;
    }
  }

  // Not where it would bring up a keyboard on the screen.
  focusPrompt() {
    if (!window.matchMedia("(hover: none)").matches) this.composer.focus();
  }

  setTitle(title) {
    this.conversation.title = title;
    byId("title").textContent = title || t("new_conversation");
    byId("title-menu").hidden = !title;
    document.title = title ? title + " – Ferry" : "Ferry";
  }

  notice(text) {
    byId("notice").textContent = text;
    byId("notice").hidden = !text;
  }
}

function idInAddress() {
  const found = /^\/c\/([^/]+)$/.exec(window.location.pathname);
  return found ? decodeURIComponent(found[1]) : null;
}

new ChatPage().start();
