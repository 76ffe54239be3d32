// Syntax and features of every script that is shipped, against Chrome 79 and Firefox 78 (BROWSERSLIST names them too).

import js from "@eslint/js";
import compat from "eslint-plugin-compat";
import es from "eslint-plugin-es-x";
import globals from "globals";

// Chrome 80 and Firefox 74 brought the first two; the rest of ES2020 both browsers have.
const rules = { "es-x/no-optional-chaining": "error", "es-x/no-nullish-coalescing-operators": "error" };
for (const year of ["es2021", "es2022", "es2023", "es2024", "esnext"]) {
  Object.assign(rules, es.configs["flat/no-new-in-" + year].rules);
}

// Arrays have methods of these names since ES5.
for (const name of Object.keys(rules)) if (name.startsWith("es-x/no-iterator-prototype-")) rules[name] = "off";

const libraries = { markdownit: "readonly", DOMPurify: "readonly", hljs: "readonly", katex: "readonly", texmath: "readonly" };

export default [
  { linterOptions: { reportUnusedDisableDirectives: "off" }, plugins: { "es-x": es, compat } },
  {
    files: ["service/web/static/js/**/*.js"],
    languageOptions: { ecmaVersion: 2020, sourceType: "module", globals: { ...globals.browser, ...libraries } },
    settings: { "es-x": { aggressive: true }, lintAllEsApis: true },
    rules: { ...js.configs.recommended.rules, "no-unused-vars": ["error", { caughtErrors: "none" }], ...rules, "compat/compat": "error" },
  },
  {
    files: ["service/web/static/vendor/**/*.js"],
    languageOptions: { ecmaVersion: 2020, sourceType: "script", globals: globals.browser },
    settings: { lintAllEsApis: true },
    rules: { ...rules, "compat/compat": "error" },
  },
];
