"""An HTML page as a test reads it: its text, links, forms and table rows, and what must be in none."""

import http.client
from html.parser import HTMLParser
from urllib.parse import urlencode

VOID = {"meta", "link", "input", "img", "br"}
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


class Page(HTMLParser):
    """A page's parts. Raises AssertionError where a page holds inline script or style, or tags that do not match."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        super().__init__(convert_charrefs=True)
        self.status, self.headers, self.html = status, headers, body.decode()
        self.words: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.forms: list[dict] = []
        self._open: list[str] = []
        self.feed(self.html)
        self.close()
        assert not self._open, self._open

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def links(self) -> list[str]:
        return [values["href"] for tag, values in self.tags if tag == "a"]

    def form(self, action: str, **fields: str) -> dict:
        """The only form with this action and these fields."""
        fits = [f for f in self.forms if f["action"] == action and fields.items() <= f["fields"].items()]
        assert len(fits) == 1, (action, fields, self.forms)
        return fits[0]

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        assert "style" not in values, f"<{tag} style=...>"
        assert tag not in ("style", "iframe", "object", "embed", "base"), tag
        assert not [name for name in values if name.startswith(("on", "hx-on", "hx-vals"))], (tag, values)
        assert tag != "script" or values["src"].startswith("/static/"), values
        self.tags.append((tag, values))
        if tag not in VOID:
            self._open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th") and self.rows:
            self.rows[-1].append("")
        if tag == "form":
            self.forms.append({"action": values["action"], "method": values["method"], "fields": {}})
        if tag in ("input", "textarea") and self.forms and "name" in values:
            self.forms[-1]["fields"][values["name"]] = values.get("value", "")

    def handle_endtag(self, tag):
        assert self._open.pop() == tag, tag

    def handle_data(self, data):
        self.words.append(data)
        if self.rows and self.rows[-1] and {"td", "th"} & set(self._open):
            self.rows[-1][-1] += data


class BrowserLike:
    """Asks as a browser does that runs no scripts: it follows no redirect by itself, and keeps one cookie."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.cookie = ""

    def get(self, target: str, **headers: str) -> Page:
        return self._page("GET", target, None, headers)

    def post(self, target: str, fields: dict, *, site: str = "same-origin", **headers: str) -> Page:
        origin = {"Origin": f"http://127.0.0.1:{self.port}", "Sec-Fetch-Site": site}
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        return self._page("POST", target, urlencode(fields), origin | kind | headers)

    def send(self, form: dict, **changes: str) -> Page:
        """Press a form's button, and look at the page that follows."""
        assert form["method"] == "post"
        answer = self.post(form["action"], form["fields"] | changes)
        return self.get(answer.headers["location"]) if answer.status == 303 else answer

    def _page(self, method, target, body, headers) -> Page:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        cookie = {"Cookie": self.cookie} if self.cookie else {}
        try:
            connection.request(method, target, body, BROWSER | cookie | headers)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        found = {name.lower(): value for name, value in answer.getheaders()}
        if "set-cookie" in found:
            self.cookie = found["set-cookie"].split(";")[0]
        html = content if "html" in found.get("content-type", "") else b""
        return Page(answer.status, found, html)
