// A window inside the page that holds the keyboard until it is closed. (<dialog> came to Firefox in 2022.)

import { ICONS, el, icon } from "./dom.js";
import { t } from "./words.js";

const FOCUSABLE = "button, a[href], input, textarea, select, [tabindex='0']";

// Shows it and puts the focus on its first field, else its last button. Returns how to close it.
export function openDialog(title, ...content) {
  const before = document.activeElement;
  const close = () => {
    layer.remove();
    if (before && before.isConnected) before.focus();
  };
  const heading = el("h2", { id: "dialog-title" }, title);
  const cross = el("button", { type: "button", class: "icon-button", title: t("close"), "aria-label": t("close"),
    onclick: close }, icon(ICONS.cross));
  const box = el("div", { class: "dialog", role: "dialog", "aria-modal": "true", "aria-labelledby": "dialog-title" },
    el("div", { class: "dialog-head" }, heading, cross), ...content);
  const layer = el("div", { class: "dialog-layer", onkeydown: (event) => onKey(event, box, close),
    onclick: (event) => { if (event.target === layer) close(); } }, box);
  document.body.append(layer);
  focusFirst(box);
  return close;
}

export function confirmDelete(title, onConfirm) {
  const remove = el("button", { type: "button", class: "danger-button", onclick: () => { close(); onConfirm(); } }, t("delete"));
  const close = openDialog(t("delete_ask"), el("p", { class: "dialog-name" }, title), el("p", {}, t("delete_note")),
    el("div", { class: "dialog-actions" }, cancelButton(() => close()), remove));
}

export function askTitle(title, onAnswer) {
  const field = el("input", { id: "dialog-field", value: title, maxlength: "120", autocomplete: "off" });
  const form = el("form", { onsubmit: (event) => {
    event.preventDefault();
    if (!field.value.trim()) return;
    close();
    onAnswer(field.value.trim());
  } }, el("label", { for: "dialog-field" }, t("title")), field,
  el("div", { class: "dialog-actions" }, cancelButton(() => close()),
    el("button", { type: "submit", class: "main-button" }, t("save"))));
  const close = openDialog(t("rename"), form);
  field.select();
}

function cancelButton(onclick) {
  return el("button", { type: "button", class: "plain-button", onclick }, t("cancel"));
}

function focusFirst(box) {
  const buttons = box.querySelectorAll("button");
  (box.querySelector("input") || buttons[buttons.length - 1]).focus();
}

function onKey(event, box, close) {
  event.stopPropagation(); // the page's own keys rest meanwhile
  if (event.isComposing) return;
  if (event.key === "Escape") close();
  if (event.key !== "Tab") return;
  const all = box.querySelectorAll(FOCUSABLE);
  const edge = event.shiftKey ? all[0] : all[all.length - 1];
  if (document.activeElement !== edge) return;
  event.preventDefault();
  (event.shiftKey ? all[all.length - 1] : all[0]).focus();
}
