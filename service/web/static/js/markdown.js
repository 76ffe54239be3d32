// A model's text becomes elements. Two walls: markdown-it never passes HTML through, and DOMPurify then keeps only what
// is listed here. Pictures are left out on purpose: they would be fetched from wherever the model says.

/* global markdownit, DOMPurify */

const TAGS = [
  "p", "br", "hr", "h1", "h2", "h3", "h4", "h5", "h6", "strong", "em", "s", "del", "code", "pre", "blockquote",
  "ul", "ol", "li", "table", "thead", "tbody", "tr", "th", "td", "a",
];
const ALLOWED = {
  ALLOWED_TAGS: TAGS,
  ALLOWED_ATTR: ["href", "title", "start", "class"],
  ALLOWED_URI_REGEXP: /^(?:https?:|mailto:)/i,
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
  RETURN_DOM_FRAGMENT: true,
};

const parser = markdownit({ html: false, linkify: true, breaks: true });
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

export function render(text) {
  const fragment = DOMPurify.sanitize(parser.render(text), ALLOWED);
  for (const link of fragment.querySelectorAll("a")) {
    link.target = "_blank";
    link.rel = "noopener noreferrer";
  }
  return fragment;
}
