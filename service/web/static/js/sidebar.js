// The list of conversations, with deleting, and opening and closing it where the window is narrow.

import { ICONS, byId, clear, el, icon } from "./dom.js";
import { t } from "./words.js";

export class Sidebar {
  // handlers: {onOpen(id), onNew(), onDelete(id)}
  constructor(handlers) {
    this.handlers = handlers;
    this.list = byId("conversations");
    this.items = [];
    this.currentId = null;
    this.deletingId = null;
    byId("new-conversation").addEventListener("click", () => { this.toggle(false); handlers.onNew(); });
    byId("open-menu").addEventListener("click", () => this.toggle(true));
    byId("close-menu").addEventListener("click", () => this.toggle(false));
    byId("backdrop").addEventListener("click", () => this.toggle(false));
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.toggle(false);
    });
  }

  show(conversations) {
    this.items = conversations;
    this.draw();
  }

  select(id) {
    this.currentId = id;
    this.draw();
  }

  toggle(isOpen) {
    const wasOpen = byId("app").classList.contains("menu-open");
    byId("app").classList.toggle("menu-open", isOpen);
    byId("open-menu").setAttribute("aria-expanded", String(isOpen));
    if (isOpen) byId("close-menu").focus();
    else if (wasOpen) byId("open-menu").focus();
  }

  draw() {
    clear(this.list);
    if (!this.items.length) this.list.append(el("li", { class: "empty" }, t("no_conversations")));
    for (const item of this.items) this.list.append(item.id === this.deletingId ? this.asking(item) : this.row(item));
  }

  row(item) {
    const isCurrent = item.id === this.currentId;
    const open = (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return; // a new tab or window, as with any link
      event.preventDefault();
      this.toggle(false);
      this.handlers.onOpen(item.id);
    };
    return el("li", { class: isCurrent ? "current" : null },
      el("a", { href: "/c/" + encodeURIComponent(item.id), title: item.title,
        "aria-current": isCurrent ? "page" : null, onclick: open }, item.title),
      el("button", { type: "button", class: "icon-button remove", title: t("delete"),
        "aria-label": t("delete") + ": " + item.title, onclick: () => this.askDelete(item.id) }, icon(ICONS.trash)));
  }

  asking(item) {
    const confirm = el("button", { type: "button", class: "danger", onclick: () => {
      this.deletingId = null;
      this.handlers.onDelete(item.id);
    } }, t("delete"));
    const cancel = el("button", { type: "button", class: "quiet", onclick: () => this.askDelete(null) }, t("cancel"));
    return el("li", { class: "asking" }, el("span", {}, t("delete_ask")), confirm, cancel);
  }

  askDelete(id) {
    this.deletingId = id;
    this.draw();
    const confirm = this.list.querySelector(".danger");
    if (confirm) confirm.focus();
  }
}
