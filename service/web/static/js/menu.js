// A menu that opens at a button: https://www.w3.org/WAI/ARIA/apg/patterns/menu-button/

import { el } from "./dom.js";

const EDGE_PX = 8;
let current = null;

// items: [{label, onPick} or {label, href}]; a link is a file to download
export function menuButton(button, items) {
  button.setAttribute("aria-haspopup", "menu");
  button.setAttribute("aria-expanded", "false");
  button.addEventListener("click", () => {
    const wasOpen = current && current.button === button;
    closeMenu();
    if (!wasOpen) open(button, items());
  });
  return button;
}

export function closeMenu() {
  if (!current) return false;
  const { button, list } = current;
  current = null;
  const hadFocus = list.contains(document.activeElement);
  list.remove();
  button.setAttribute("aria-expanded", "false");
  if (hadFocus && button.isConnected) button.focus();
  return true;
}

function open(button, items) {
  const list = el("div", { class: "menu", role: "menu", "aria-label": button.getAttribute("aria-label"), onkeydown: onKey },
    ...items.map(entry));
  document.body.append(list);
  place(list, button.getBoundingClientRect());
  button.setAttribute("aria-expanded", "true");
  current = { button, list };
  list.firstChild.focus();
}

function entry(item) {
  const pick = () => { closeMenu(); if (item.onPick) item.onPick(); };
  const attributes = { role: "menuitem", tabindex: "-1", class: item.isDanger ? "danger" : null, onclick: pick };
  if (item.href) return el("a", { ...attributes, href: item.href, download: true }, item.label);
  return el("button", { ...attributes, type: "button" }, item.label);
}

function place(list, at) {
  const left = Math.min(at.left, window.innerWidth - list.offsetWidth - EDGE_PX);
  const isBelow = at.bottom + list.offsetHeight + EDGE_PX < window.innerHeight;
  list.style.left = Math.max(EDGE_PX, left) + "px";
  list.style.top = (isBelow ? at.bottom + 4 : Math.max(EDGE_PX, at.top - list.offsetHeight - 4)) + "px";
}

function onKey(event) {
  const all = Array.from(event.currentTarget.children);
  const at = all.indexOf(document.activeElement);
  const targets = { ArrowDown: at + 1, ArrowUp: at - 1 + all.length, Home: 0, End: all.length - 1 };
  if (event.key in targets) {
    event.preventDefault();
    all[targets[event.key] % all.length].focus();
  } else if (event.key === "Tab") {
    closeMenu();
  }
}

document.addEventListener("click", (event) => {
  if (current && !current.list.contains(event.target) && !current.button.contains(event.target)) closeMenu();
});
window.addEventListener("resize", closeMenu);
