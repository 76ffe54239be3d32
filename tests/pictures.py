"""Take the pictures of docs/images, of a real web tier in a real browser.

PYTHONPATH=. .venv/bin/python tests/pictures.py FOLDER
With --all every page at three widths, in both languages and themes: to be looked at after the pages have changed.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from browser_flow import ANSWER as ANSWERS
from browser_flow import chromium, last_answer, new_context, send
from playwright.sync_api import Browser, Page, expect
from web_process import PASSWORD, WebProcess, web_process

SIZES = {360: 740, 1024: 768, 1920: 1080}
PEOPLE = {"en": "alice", "zh": "李雷"}
ALL = [f"{language} {theme}" for language in PEOPLE for theme in ("light", "dark")]
MODEL = "Qwen/Qwen1.5-0.5B-Chat"
PAGES = {
    "account": "/account",
    "admin": "/admin",
    "api": "/api/docs",
    "audit": "/audit",
    "users": "/admin/users",
    "user": "/admin/users/1",
    "keys": "/admin/keys",
    "key": "/admin/keys/1",
    "settings": "/admin/settings",
    "release": "/admin/release",
    "password": "/account/password",
    "consent": "/consent",
    "nowhere": "/nowhere",
}
ASKED = {
    "en": (
        "Which ferries leave before noon?",
        "Summarise the minutes of Monday's meeting",
        "Translate the notice for the quay into Chinese",
    ),
    "zh": ("上午有哪些渡轮？", "总结周一的会议纪要", "把码头通知翻译成英文"),
}
QUESTION = {"en": "How long does the crossing from Oslo to Moss take?", "zh": "从奥斯陆到莫斯的渡轮需要多长时间？"}
SECOND = {"en": "And the way back?", "zh": "那么返程呢？"}
ANSWER = {
    "en": r"The time follows from distance and speed: \(t = \frac{d}{v}\). "
    r"""For \(d = 42\,\mathrm{km}\) and \(v = 28\,\mathrm{km/h}\):

$$t = \frac{42}{28} = 1.5\,\mathrm{h}$$

As a function:

```python
def crossing_time(distance_km: float, speed_kmh: float = 28.0) -> float:
    \"""Return the hours that a crossing takes.\"""
    return distance_km / speed_kmh  # 1.5
```

| Ferry | Route | Distance | Hours |
|---|:-:|--:|--:|
| Aurora | Oslo – Moss | 42 km | 1.5 |
| Polar Star | Moss – Horten | 10 km | 0.4 |

1. Check the **departure board** first.
2. In heavy seas it takes about `15 min` longer.
""".replace(r"\"", '"'),
    "zh": r"""所需时间由距离和航速决定：\(t = \frac{d}{v}\)。当 \(d = 42\,\mathrm{km}\)、\(v = 28\,\mathrm{km/h}\) 时：

$$t = \frac{42}{28} = 1.5\,\mathrm{h}$$

写成函数：

```python
def crossing_time(distance_km: float, speed_kmh: float = 28.0) -> float:
    return distance_km / speed_kmh  # 1.5 小时
```

| 渡轮 | 航线 | 距离 | 小时 |
|---|:-:|--:|--:|
| 北极星 | 上海 – 普陀 | 98 km | 3.5 |

1. 请先查看**码头公告**。
2. 遇大风浪约多 `15 分钟`。
""",
}
BACK = {"en": "About an hour and a half as well.", "zh": "约一个半小时。"}


def main(folder: Path, is_all: bool) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place, web_process(Path(place)) as web, chromium(web.front) as browser:
        web.engine.health = (200, {"status": "ok", "model": MODEL})
        for name in PEOPLE.values():
            web.add_user(name, "administrator")
        web.add_user("olga", "auditor")
        web.admin("key", "add", "monthly report", "--user", "alice")
        web.add_key("translation service")
        for way in ALL:
            with opened(browser, web, way) as page:
                take_chat(page, folder, way, is_all)
                for name in PAGES if is_all else list(PAGES)[:4]:
                    if is_all or way == "en light":
                        take(page, web, folder, name, way, list(SIZES) if is_all else [1024])


@contextmanager
def opened(browser: Browser, web: WebProcess, way: str) -> Iterator[Page]:
    """Give a person's page, logged in, with some conversations."""
    language, theme = way.split()
    client = web.login(PEOPLE[language])
    if not client.get("/api/conversations").json()["conversations"]:
        for question in ASKED[language]:
            path = f"/api/conversations/{client.post('/api/conversations').json()['id']}"
            client.post(f"{path}/messages", json={"content": question})
    client.post("/logout", data={"csrf_token": client.headers["X-CSRF-Token"]})
    context = new_context(browser, web.front)
    page = context.new_page()
    for choice in (f"lang={language}", f"theme={theme}"):
        page.goto(f"{web.url}/login?{choice}")
    page.fill("#username", PEOPLE[language])
    page.fill("#password", PASSWORD)
    page.click("button[type=submit]")
    expect(page.locator("#prompt")).to_be_enabled()
    converse(page, web, language)
    yield page
    context.close()


def converse(page: Page, web: WebProcess, language: str) -> None:
    """Ask what the pictures show; the engine's stand-in says what it is told to."""
    if page.locator("#conversations a", has_text=QUESTION[language]).count():
        page.locator("#conversations a", has_text=QUESTION[language]).first.click()
        return
    for question, answer in ((QUESTION, ANSWER), (SECOND, BACK)):
        web.engine.answers[question[language]] = answer[language]
        send(page, question[language])
        last_answer(page)
    page.locator(ANSWERS).last.locator(".again").click()
    expect(page.locator(".branches")).to_contain_text("2 / 2")
    last_answer(page)


def take_chat(page: Page, folder: Path, way: str, is_all: bool) -> None:
    if not is_all and way not in ("en light", "zh dark"):
        return
    for width, height in SIZES.items():
        page.set_viewport_size({"width": width, "height": height})
        page.locator("#scroll").evaluate("element => { element.scrollTop = 0; }")
        page.wait_for_timeout(300)
        page.screenshot(path=folder / f"chat-{width}-{way.replace(' ', '-')}.png")


def take(page: Page, web: WebProcess, folder: Path, name: str, way: str, widths: list[int]) -> None:
    page.goto(f"{web.url}{PAGES[name]}")
    if name == "admin":
        let_it_work(page, web)
    for width in widths:
        page.set_viewport_size({"width": width, "height": SIZES[width]})
        page.wait_for_timeout(200)
        page.screenshot(path=folder / f"{name}-{width}-{way.replace(' ', '-')}.png", full_page=len(widths) > 1)


def let_it_work(page: Page, web: WebProcess, seconds: int = 40) -> None:
    """Have the engine's stand-in tell of some work, which the page asks about every two seconds."""
    whole = web.engine.metrics
    for second in range(0, seconds, 2):
        told = {"2\n": 1 + second // 8 % 3, "1\n": second // 6 % 3, "0.25\n": 0.25 + second % 14 / 100}
        told |= {"1200\n": 1200 + 9 * second + second % 7 * 4, "3400\n": 3400 + 31 * second}
        web.engine.metrics = whole
        for standing, here in told.items():
            web.engine.metrics = web.engine.metrics.replace(f"}} {standing}", f"}} {here}\n")
        page.wait_for_timeout(2000)
    web.engine.metrics = whole


if __name__ == "__main__":
    main(Path(sys.argv[1]), "--all" in sys.argv[2:])
