// What an answer's blocks get around them: code its language and a button to copy it, wide things a frame that scrolls.

import { copyButton } from "./copy.js";
import { el } from "./dom.js";
import { t } from "./words.js";

export function dress(fragment) {
  for (const pre of fragment.querySelectorAll("pre")) frameCode(pre);
  for (const table of fragment.querySelectorAll("table")) frame(table, "table", t("table"));
  for (const formula of fragment.querySelectorAll("p.math")) scrollable(formula, t("formula"));
}

function frameCode(pre) {
  const code = pre.querySelector("code") || pre;
  const language = (/(?:^|\s)language-(\S+)/.exec(code.className) || [])[1] || "";
  const head = el("div", { class: "code-head" }, el("span", {}, language), copyButton(() => code.textContent));
  const around = el("div", { class: "code" }, head);
  pre.replaceWith(around);
  scrollable(pre, t("code"));
  around.append(pre);
}

function frame(element, name, label) {
  const around = el("div", { class: name });
  scrollable(around, label);
  element.replaceWith(around);
  around.append(element);
}

// What is too wide can be scrolled with the keyboard.
function scrollable(element, label) {
  element.tabIndex = 0;
  element.setAttribute("role", "group");
  element.setAttribute("aria-label", label);
}
