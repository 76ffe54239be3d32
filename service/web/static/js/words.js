// The page's words in the user's language; the server puts the dictionary into the page.

const dictionary = JSON.parse(document.getElementById("strings").textContent);

export function t(key) {
  return dictionary[key] || key;
}

// A text with {names} in it, filled with values.
export function fill(text, values) {
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}

// What to tell the user about an ApiError: our own words for the codes we know.
export function explain(error) {
  const known = dictionary["error_" + error.code] || (error.status === 429 && t("error_busy"));
  return known || error.message || t("error_other");
}

// Why an answer broke off, where its code says more than that it did.
export function explainEnd(state, code) {
  return (code && dictionary["error_" + code]) || t("state_" + state);
}
