// A formula in TeX becomes elements: KaTeX makes them, and DOMPurify keeps what is listed here. KaTeX sets its sizes
// through the elements' style objects, which the content security policy allows; of those, too, only some are kept.

const ALLOWED = {
  ALLOWED_TAGS: [
    "p", "span", "svg", "path", "line", "g", "math", "semantics", "annotation", "mrow", "mi", "mn", "mo", "ms", "mtext",
    "mspace", "msup", "msub", "msubsup", "mfrac", "msqrt", "mroot", "munder", "mover", "munderover", "mtable", "mtr",
    "mtd", "mlabeledtr", "mstyle", "mpadded", "mphantom", "menclose",
  ],
  ALLOWED_ATTR: [
    "class", "style", "aria-hidden", "xmlns", "width", "height", "viewbox", "viewBox", "preserveaspectratio",
    "preserveAspectRatio", "d", "x1", "x2", "y1", "y2", "stroke-width", "encoding", "display", "mathvariant",
    "stretchy", "fence", "separator", "accent", "accentunder", "displaystyle", "scriptlevel", "columnalign",
    "columnspacing", "rowspacing", "columnlines", "rowlines", "linethickness", "lspace", "rspace", "minsize", "maxsize",
    "movablelimits", "notation", "voffset", "mathcolor", "mathbackground",
  ],
  ALLOW_DATA_ATTR: false,
  IN_PLACE: true,
};
const STYLE = /^(?:-webkit-)?(?:width|min-width|height|top|left|bottom|vertical-align|position|color|background-color|margin|padding|border|transform)/;
const OPTIONS = { throwOnError: true, strict: false, trust: false, maxSize: 40, maxExpand: 300 };

export function typeset(element) {
  const tex = element.textContent;
  try {
    katex.render(tex, element, { ...OPTIONS, displayMode: element.classList.contains("display") });
  } catch (_) {
    element.textContent = tex; // no formula after all: shown as it was written
    element.classList.add("unset");
    return;
  }
  DOMPurify.sanitize(element, ALLOWED);
  for (const part of element.querySelectorAll("[style]")) {
    for (const name of Array.from(part.style)) if (!STYLE.test(name)) part.style.removeProperty(name);
  }
}
