// Small helpers to build elements. Text always goes in as text: nothing here parses HTML.

const SVG = "http://www.w3.org/2000/svg";

export function byId(id) {
  return document.getElementById(id);
}

// el("button", {class: "quiet", "data-id": 7, onclick: fn}, "Text", otherElement)
export function el(name, attributes, ...children) {
  const element = document.createElement(name);
  for (const key of Object.keys(attributes || {})) {
    const value = attributes[key];
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

export function icon(path) {
  const svg = document.createElementNS(SVG, "svg");
  const attributes = {
    class: "icon", viewBox: "0 0 24 24", width: "16", height: "16", fill: "none", stroke: "currentColor",
    "stroke-width": "2", "stroke-linecap": "round", "stroke-linejoin": "round", "aria-hidden": "true",
    focusable: "false",
  };
  for (const key of Object.keys(attributes)) svg.setAttribute(key, attributes[key]);
  const line = document.createElementNS(SVG, "path");
  line.setAttribute("d", path);
  svg.append(line);
  return svg;
}

export const ICONS = {
  trash: "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13M10 11v5M14 11v5",
  copy: "M9 9h11v11H9zM5 15H4V4h11v1",
  check: "M5 13l4 4L19 7",
};

export function clear(element) {
  while (element.firstChild) element.removeChild(element.firstChild);
}
