"""Build the site (`site.py docs`), or the README from `nbs/index.ipynb` (`site.py readme [--check]`).

The site goes to `_docs/`. With the `quarto` binary it is nbdev's own, made by `nbdev_docs`. Without it the
same processed notebooks are rendered by smalldocs, which is pure Python. `nbdev_docs` is never called without
the binary: it would try to download and install it.
"""

import base64, json, os, re, shutil, subprocess, sys, tempfile
from functools import cache
from pathlib import Path

from pages import finish

ROOT = Path(__file__).resolve().parent.parent
NBS, PROC, DOCS = ROOT / "nbs", ROOT / "_proc", ROOT / "_docs"


def process():
    "Let nbdev turn `nbs/` into `_proc/`, with documentation for exported cells. Returns the site's URL."
    from nbdev.config import get_config
    from nbdev.quarto import nbdev_sidebar, refresh_quarto_yml
    from nbdev.serve import proc_nbs

    cfg = get_config()
    for old in PROC.rglob("*.ipynb"):
        if not (NBS / old.relative_to(PROC)).exists():
            old.unlink()
    refresh_quarto_yml()
    nbdev_sidebar.__wrapped__()
    proc_nbs(n_workers=2)
    return f"{cfg.doc_host}{cfg.doc_baseurl}/"


def smalldocs():
    "Render `_proc/` with smalldocs; links to this site's own pages become relative."
    from smalldocs import highlight
    from smalldocs.site import build

    highlight.css_class = cache(highlight.css_class)  # asked 600,000 times for a few thousand different tokens
    url = process()
    with tempfile.TemporaryDirectory() as tmp:
        src = Path(tmp) / "src"
        shutil.copytree(PROC, src)
        for page in [*src.rglob("*.ipynb"), src / "sidebar.yml"]:
            up = "../" * (len(page.relative_to(src).parts) - 1)
            page.write_text(page.read_text(encoding="utf-8").replace(url, up), encoding="utf-8")
        site = build(src, quiet=True)
        shutil.rmtree(DOCS, ignore_errors=True)
        shutil.move(site.out, DOCS)
    for w in site.warnings:  # broken links are among them
        if not re.search("output-file|respect-user-color-scheme", w):
            print("warning:", w)  # both are for Quarto
    print(f"{len(site.pages)} pages in {DOCS.name}/, rendered by smalldocs (no quarto on this machine)")
    return len(site.broken)


def unlisted():
    "Say which notebooks the sidebar leaves out, or names although they do not exist; returns how many."
    there = {p.relative_to(NBS).as_posix() for p in NBS.rglob("*.ipynb") if p.parent.name[0] not in "._"}
    listed = set(re.findall(r"[\w./]+\.ipynb", (NBS / "sidebar.yml").read_text()))
    for n in sorted(there - listed):
        print(f"nbs/sidebar.yml does not list {n}")
    for n in sorted(listed - there):
        print(f"nbs/sidebar.yml lists {n}, which does not exist")
    return len(there ^ listed)


def docs():
    "Build the site; returns the number of things that are wrong with it."
    wrong = unlisted()
    if shutil.which("quarto"):
        wrong += subprocess.run([Path(sys.executable).parent / "nbdev_docs"], cwd=ROOT).returncode
    else:
        wrong += smalldocs()
    dead = finish(DOCS, "saerob/saerob")
    for line in dead:
        print(line)
    return wrong + len(dead)


def from_nbs(md):
    "Point relative links and images at `nbs/`, where the README's reader finds them."
    return re.sub(r"(\]\()(?!\w+:|#|/)", r"\1nbs/", md)


def output_md(out, files):
    "One stored output as Markdown: a picture, Markdown, or text in a fence. Pictures are added to `files`."
    data = out.get("data", {"text/plain": out.get("text", "")})
    text = lambda mime: "".join(data[mime]).rstrip()
    if "image/png" in data:
        path = f"nbs/images/readme-{len(files) + 1}.png"
        files[path] = base64.b64decode(text("image/png"))
        return f"![]({path})"
    if "text/markdown" in data:
        return from_nbs(text("text/markdown"))
    return f"```\n{text('text/plain')}\n```" if data.get("text/plain") else ""


def readme():
    "What README.md and its pictures should be, as a dict from path to bytes."
    files, parts = {}, ["<!-- Made from nbs/index.ipynb by `make readme`; edit that notebook. -->"]
    for cell in json.loads((NBS / "index.ipynb").read_text(encoding="utf-8"))["cells"]:
        lines = "".join(cell["source"]).splitlines()
        flags = " ".join(l for l in lines if l.startswith("#|"))
        code = "\n".join(l for l in lines if not l.startswith("#|")).strip()
        if re.search(r"\| *(hide\b|include: *false)", flags):
            continue
        if cell["cell_type"] == "markdown":
            parts.append(from_nbs(code))
        if cell["cell_type"] != "code":
            continue
        if code and not re.search(r"\| *echo: *false", flags):
            parts.append(f"```python\n{code}\n```")
        parts += [output_md(o, files) for o in cell["outputs"]]
    files["README.md"] = ("\n\n".join(p for p in parts if p) + "\n").encode()
    return files


def write_readme(check=False):
    "Write README.md, or with `check` only compare; returns the number of files that differ."
    stale = {p: b for p, b in readme().items() if not (ROOT / p).exists() or (ROOT / p).read_bytes() != b}
    for path, content in stale.items():
        print(f"{path} is not what nbs/index.ipynb says: run `make readme`" if check else f"wrote {path}")
        if not check:
            (ROOT / path).write_bytes(content)
    return len(stale) if check else 0


if __name__ == "__main__":
    os.chdir(ROOT)
    todo = {"docs": docs, "readme": lambda: write_readme("--check" in sys.argv)}
    sys.exit(min(1, todo[sys.argv[1]]()))
