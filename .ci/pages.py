"""What is done to the built pages of the site, whichever renderer made them.

Formulas are set by a copy of KaTeX inside the site. Figures get a text for people who do not see them, wide
tables can be scrolled with the keyboard, notebooks can be opened in Colab, and every link has to lead to
something that exists, the part after `#` included.
"""

import html, re, shutil
from pathlib import Path
from urllib.parse import unquote

KATEX = dict(
    name="katex",
    version="0.16.22",
    sha256="e9e0d167db3175481cbadaff38e8d90b130f6a3ddb451a47e43c577fd511f365",
)
ELSEWHERE = re.compile(r"https?://[^\"']+/katex@[\d.]+/dist/")
TABLE = re.compile(
    r'<div class="(cell-output[^"]*display[^"]*)">(?=\s*(<div[^>]*>\s*)?(<style.*?</style>\s*)?<table)', re.S
)
TITLE = re.compile(r'(<header id="title-block-header".*?)</header>', re.S)


def words_of(markup):
    "The text of a piece of HTML on one line."
    return " ".join(html.unescape(re.sub(r"<[^>]+>", "", markup)).split())


def described(page, start):
    "What the text says about the figure at a position: the last sentence before it, or its section's title."
    before = page[max(0, start - 200_000) : start]
    told = re.findall(r"<(p|h[1-4])\b[^>]*>(.*?)</\1>", before, re.S)
    if not told:
        return "Figure"
    text = told[-1][1]
    sentence = re.split(r"(?<=[.!?:])\s+", words_of(text).rstrip(":"))[-1]
    return f"Figure: {sentence}"[:240] if sentence else "Figure"


def with_alt(page):
    "Every picture that has no text for people who do not see it gets one."

    def fill(m):
        if re.search(r'\balt="[^"]+"', m[0]):
            return m[0]
        text = html.escape(described(page, m.start()))
        return re.sub(r'\s*\balt=""|\s*/?>$', "", m[0]).rstrip("/> ") + f' alt="{text}">'

    return re.sub(r"<img\b[^>]*>", fill, page)


def with_scrolling_tables(page):
    "Wide tables and long lines scroll inside themselves; the keyboard has to reach them."
    page = page.replace("<pre><code>", '<pre tabindex="0"><code>')
    return TABLE.sub(r'<div class="\1" tabindex="0" role="region" aria-label="table">', page)


def with_colab(page, source, repository):
    "Under the title, a link to Colab, for the notebooks that begin with a cell that installs saerob."
    if not source.exists() or "!pip install" not in source.read_text(encoding="utf-8"):
        return page
    colab = f"https://colab.research.google.com/github/{repository}/blob/main/{source.as_posix()}"
    link = f'<p class="page-links"><a href="{colab}">Open in Colab</a></p>'
    return TITLE.sub(lambda m: f"{m[1]}{link}</header>", page, count=1)


def bundle_katex(docs):
    "Put KaTeX into the site: its style, two scripts and its fonts."
    from saerob.core.assets import fetch_npm

    dist, to = fetch_npm(**KATEX) / "dist", docs / "site_libs" / "katex"
    for name in ("katex.min.css", "katex.min.js", "contrib/auto-render.min.js"):
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(dist / name, to / name)
    (to / "fonts").mkdir(exist_ok=True)
    for font in dist.glob("fonts/*.woff2"):
        shutil.copy(font, to / "fonts")


def dead_links(docs):
    "Links between pages that lead to a file or a place in it that is not there, as sentences."
    pages = {p.resolve(): p.read_text(encoding="utf-8") for p in docs.rglob("*.html")}
    ids = {p: set(re.findall(r'\b(?:id|name)="([^"]+)"', text)) for p, text in pages.items()}
    dead = []
    for p, text in pages.items():
        for href in sorted(set(re.findall(r'<a\b[^>]*\bhref="([^"]+)"', text))):
            if re.match(r"[a-z]+:|//", href):
                continue
            path, _, place = html.unescape(href).partition("#")
            target = (p.parent / unquote(path.partition("?")[0])).resolve() if path else p
            if target.is_dir():
                target = target / "index.html"
            where = p.relative_to(docs.resolve())
            if not target.exists():
                dead.append(f"{where}: there is no page {href}")
            elif place and target in ids and unquote(place) not in ids[target] | {"top"}:
                dead.append(f"{where}: there is no place {href}")
    return dead


def finish(docs, repository):
    "Do all of it to a built site; returns the dead links."
    docs, uses_maths = Path(docs), False
    for p in docs.rglob("*.html"):
        page = p.read_text(encoding="utf-8")
        up = "../" * (len(p.relative_to(docs).parts) - 1)
        uses_maths |= bool(ELSEWHERE.search(page))
        page = ELSEWHERE.sub(f"{up}site_libs/katex/", page)
        page = with_scrolling_tables(with_alt(page))
        source = Path("nbs") / p.relative_to(docs).with_suffix(".ipynb")
        p.write_text(with_colab(page, source, repository), encoding="utf-8")
    if uses_maths:
        bundle_katex(docs)
    return dead_links(docs)
