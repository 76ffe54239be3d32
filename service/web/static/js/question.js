// One question: its text as text, and editing it, which begins a branch.

import { branchSwitch, tool } from "./message_tools.js";
import { copyText } from "./copy.js";
import { ICONS, clear, el } from "./dom.js";
import { t } from "./words.js";

export class QuestionView {
  // actions: {onEdit(message, text), onVersion(message)}
  constructor(text, actions) {
    this.text = text;
    this.actions = actions;
    this.message = null;
    this.bubble = el("div", { class: "bubble" }, text);
    this.foot = el("footer", { class: "message-foot" });
    this.element = el("article", { class: "message question", "data-role": "user", "aria-label": t("you") },
      this.bubble, this.foot);
  }

  // It is kept now; `versions` are all of its versions.
  place(message, versions) {
    this.message = message;
    this.element.setAttribute("data-id", message.id);
    clear(this.foot);
    this.foot.append(tool(ICONS.copy, t("copy_question"), "copy-question", () => copyText(this.text), t("copied")),
      tool(ICONS.edit, t("edit"), "edit when-idle", () => this.edit(this.text)),
      branchSwitch(message, versions, this.actions.onVersion));
  }

  edit(text) {
    const field = el("textarea", { class: "edit-field", rows: "3", "aria-label": t("edit") });
    field.value = text;
    const form = el("form", { class: "edit-form",
      onsubmit: (event) => { event.preventDefault(); this.send(field.value); },
      onkeydown: (event) => this.onKey(event, field) }, field,
    el("p", { class: "edit-note" }, t("edit_note")),
    el("div", { class: "edit-actions" },
      el("button", { type: "button", class: "plain-button", onclick: () => this.endEdit() }, t("cancel")),
      el("button", { type: "submit", class: "main-button" }, t("send"))));
    this.element.classList.add("editing");
    this.element.insertBefore(form, this.bubble);
    this.form = form;
    field.style.height = Math.min(field.scrollHeight + 4, 320) + "px";
    field.focus();
  }

  onKey(event, field) {
    if (event.isComposing || event.keyCode === 229) return;
    if (event.key === "Escape") {
      event.stopPropagation();
      this.endEdit();
    } else if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      this.send(field.value);
    }
  }

  send(text) {
    if (!text.trim()) return;
    this.endEdit();
    this.actions.onEdit(this.message, text);
  }

  endEdit() {
    this.form.remove();
    this.element.classList.remove("editing");
    const button = this.foot.querySelector(".edit");
    if (button) button.focus();
  }
}
