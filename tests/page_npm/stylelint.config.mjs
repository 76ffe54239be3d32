// What the shipped styles use, against the same browsers. Partial support is support: its notes name no gaps of ours.

export default {
  plugins: ["stylelint-no-unsupported-browser-features"],
  rules: {
    "plugin/no-unsupported-browser-features": [true, {
      ignorePartialSupport: true,
      ignore: [
        "css-focus-visible", // base.css shows every focus where it is not known
        "css-not-sel-list", // found wherever :not() stands, also with one selector, which is known since 2013
        "text-size-adjust", // of no consequence on a desktop
        "viewport-unit-variants", // 100dvh stands behind 100vh
      ],
    }],
  },
};
