// The page's words in the user's language; the server puts the dictionary into the page.

const dictionary = JSON.parse(document.getElementById("strings").textContent);

export function t(key) {
  return dictionary[key] || key;
}

// What to tell the user about an ApiError: our own words for the codes we know.
export function explain(error) {
  return dictionary["error_" + error.code] || error.message || t("error_other");
}
