// The list of conversations: by age, searched, each with its menu; opening and closing it where the window is narrow.

import { ICONS, byId, clear, el, icon } from "./dom.js";
import { menuButton } from "./menu.js";
import { t } from "./words.js";

const SEARCH_MS = 250;
const DAY_S = 86400;

export class Sidebar {
  // handlers: {onOpen(id), onNew(), onSearch(), menuOf(conversation)}
  constructor(handlers) {
    this.handlers = handlers;
    this.list = byId("conversations");
    this.field = byId("search");
    this.items = [];
    this.currentId = null;
    this.timer = 0;
    byId("new-conversation").addEventListener("click", () => { this.toggle(false); handlers.onNew(); });
    byId("open-menu").addEventListener("click", () => this.toggle(true));
    byId("close-menu").addEventListener("click", () => this.toggle(false));
    byId("backdrop").addEventListener("click", () => this.toggle(false));
    this.field.addEventListener("input", () => this.searchSoon());
    this.field.addEventListener("keydown", (event) => this.onSearchKey(event));
    byId("search-form").addEventListener("submit", (event) => { event.preventDefault(); handlers.onSearch(); });
  }

  // What is searched for; empty when nothing is.
  get words() {
    return this.field.value.trim();
  }

  find(id) {
    return this.items.find((item) => item.id === id);
  }

  show(conversations) {
    this.items = conversations;
    this.draw();
  }

  select(id) {
    this.currentId = id;
    this.draw();
  }

  // Says whether there was anything to close.
  toggle(isOpen) {
    const wasOpen = byId("app").classList.contains("menu-open");
    byId("app").classList.toggle("menu-open", isOpen);
    byId("open-menu").setAttribute("aria-expanded", String(isOpen));
    if (isOpen) byId("close-menu").focus();
    else if (wasOpen) byId("open-menu").focus();
    return wasOpen && !isOpen;
  }

  search() {
    if (window.getComputedStyle(byId("open-menu")).display !== "none") this.toggle(true);
    this.field.focus();
    this.field.select();
  }

  searchSoon() {
    window.clearTimeout(this.timer);
    this.timer = window.setTimeout(() => this.handlers.onSearch(), SEARCH_MS);
  }

  onSearchKey(event) {
    if (event.key !== "Escape" || event.isComposing || !this.field.value) return;
    event.stopPropagation();
    this.field.value = "";
    this.handlers.onSearch();
  }

  draw() {
    const focusedId = this.focusedId();
    clear(this.list);
    if (!this.items.length) this.list.append(el("li", { class: "empty" }, t(this.words ? "search_none" : "no_conversations")));
    let age = "";
    for (const item of this.items) {
      const its = this.words ? "" : ageOf(item.updated_at);
      if (its !== age) this.list.append(el("li", { class: "age" }, its));
      age = its;
      this.list.append(this.row(item));
    }
    const again = focusedId && this.list.querySelector('[data-id="' + focusedId + '"] a');
    if (again) again.focus();
  }

  // The list is drawn anew when an answer ends: the keyboard stays where it was.
  focusedId() {
    const row = this.list.contains(document.activeElement) && document.activeElement.closest("[data-id]");
    return row ? row.getAttribute("data-id") : null;
  }

  row(item) {
    const isCurrent = item.id === this.currentId;
    const open = (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return; // a new tab or window, as with any link
      event.preventDefault();
      this.toggle(false);
      this.handlers.onOpen(item.id, this.words);
    };
    const label = t("conversation_menu") + ": " + item.title;
    const dots = el("button", { type: "button", class: "icon-button more", title: t("conversation_menu"), "aria-label": label },
      icon(ICONS.dots));
    return el("li", { class: isCurrent ? "current" : null, "data-id": item.id },
      el("a", { href: "/c/" + encodeURIComponent(item.id), title: item.title,
        "aria-current": isCurrent ? "page" : null, onclick: open }, el("span", { class: "name" }, item.title),
      item.excerpt ? el("span", { class: "excerpt" }, ...marked(item.excerpt, this.words)) : ""),
      menuButton(dots, () => this.handlers.menuOf(item)));
  }
}

// The text with the words that were searched for marked, where they stand in it as they are.
function marked(text, words) {
  const at = words ? text.toLowerCase().indexOf(words.toLowerCase()) : -1;
  if (at < 0) return [text];
  const end = at + words.length;
  return [text.slice(0, at), el("mark", {}, text.slice(at, end)), text.slice(end)];
}

function ageOf(seconds) {
  const today = new Date();
  today.setHours(0, 0, 0, 0);
  const start = today.getTime() / 1000;
  if (seconds >= start) return t("age_today");
  if (seconds >= start - DAY_S) return t("age_yesterday");
  return seconds >= start - 7 * DAY_S ? t("age_week") : t("age_older");
}
