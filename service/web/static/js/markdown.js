// A model's text becomes elements. Two walls: markdown-it never passes HTML through, and DOMPurify then keeps only what
// is listed here. Pictures are left out on purpose: they would be fetched from wherever the model says.

import { typeset } from "./formulas.js";

const TAGS = [
  "p", "br", "hr", "h1", "h2", "h3", "h4", "h5", "h6", "strong", "em", "s", "del", "code", "pre", "blockquote",
  "ul", "ol", "li", "table", "thead", "tbody", "tr", "th", "td", "a", "span",
];
const ALLOWED = {
  ALLOWED_TAGS: TAGS,
  ALLOWED_ATTR: ["href", "title", "start", "class"],
  ALLOWED_URI_REGEXP: /^(?:https?:|mailto:)/i,
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
  RETURN_DOM_FRAGMENT: true,
};
const MAX_COLOURED = 100000; // characters of code; colouring more would be felt

const parser = markdownit({ html: false, linkify: true, breaks: true, highlight: colour });
parser.linkify.set({ fuzzyLink: false, fuzzyEmail: false });
parser.disable("image");
// The parser aligns columns with style attributes, which the content security policy forbids.
for (const rule of ["th_open", "td_open"]) {
  parser.renderer.rules[rule] = (tokens, index, options, _env, renderer) => {
    const style = tokens[index].attrGet("style");
    if (style) tokens[index].attrs = [["class", "align-" + style.replace("text-align:", "")]];
    return renderer.renderToken(tokens, index, options);
  };
}
// \( \), \[ \], $ $, $$ $$ and \begin \end are found by the library; formulas.js sets what they hold.
parser.use(texmath, { engine: { renderToString: String }, delimiters: ["brackets", "dollars", "beg_end"] });
parser.renderer.rules.math_inline = formula("span", "math");
parser.renderer.rules.math_inline_double = formula("span", "math display");
parser.renderer.rules.math_block = formula("p", "math display");
parser.renderer.rules.math_block_eqno = formula("p", "math display");

export function render(text) {
  const fragment = DOMPurify.sanitize(parser.render(text), ALLOWED);
  for (const link of fragment.querySelectorAll("a")) {
    link.target = "_blank";
    link.rel = "noopener noreferrer";
  }
  for (const element of fragment.querySelectorAll(".math")) typeset(element);
  return fragment;
}

// Where the last block of a text begins that may still grow: what stands before it is final.
export function lastBlockAt(text) {
  const blocks = parser.parse(text, {}).filter((token) => token.level === 0 && token.map && token.nesting >= 0);
  const open = blocks.find((block) => opensFormula(text, block));
  const last = open || blocks[blocks.length - 1];
  return last ? offsetOf(text, last.map[0]) : 0;
}

// A formula that has begun and not ended looks like a paragraph.
function opensFormula(text, block) {
  return block.type === "paragraph_open" && /^\s*(\$\$|\\\[|\\begin\{)/.test(text.slice(offsetOf(text, block.map[0])));
}

function offsetOf(text, line) {
  let offset = 0;
  for (let passed = 0; passed < line; passed += 1) offset = text.indexOf("\n", offset) + 1;
  return offset;
}

function formula(tag, name) {
  const close = "</" + tag + ">";
  return (tokens, index) => "<" + tag + ' class="' + name + '">' + parser.utils.escapeHtml(tokens[index].content) + close;
}

function colour(code, language) {
  if (!language || code.length > MAX_COLOURED || !hljs.getLanguage(language)) return "";
  return hljs.highlight(code, { language, ignoreIllegals: true }).value;
}
