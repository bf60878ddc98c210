"""The gallery's pictures are copies of those that stand on its pages.

`gallery.py` (or `make gallery`) renews them, which takes seconds and runs no page; `gallery.py --check` says
which are stale. How a picture is found is the gallery's own code, so its cells up to the first figure are run.
"""

import ast, base64, contextlib, json, sys
from pathlib import Path

NBS = Path(__file__).resolve().parent.parent / "nbs"
GALLERY = NBS / "gallery.ipynb"
NO_PICTURE = {"image/png": "", "text/plain": ["<IPython.core.display.Image object>"]}


def figures(cells):
    "Every cell that shows a picture of a page: the call, the cell, and the picture as it is on the page now."
    scope = {}
    for cell in (c for c in cells if c["cell_type"] == "code"):
        last = ast.unparse(ast.parse("".join(cell["source"])).body[-1])
        if last.startswith("figure_of("):
            yield last, cell, eval(last, scope).data
        elif "figure_of" not in scope:
            exec("".join(cell["source"]), scope)


def stale(renew=False):
    "Figures that are not byte for byte those of their pages; `renew` puts them right."
    gallery, found = json.loads(GALLERY.read_text(encoding="utf-8")), []
    with contextlib.chdir(NBS):
        for call, cell, picture in figures(gallery["cells"]):
            data = next((o["data"] for o in cell["outputs"] if "image/png" in o.get("data", {})), NO_PICTURE)
            if base64.b64decode("".join(data["image/png"])) == picture:
                continue
            found.append(call)
            data = data | {"image/png": base64.b64encode(picture).decode()}
            shown = dict(data=data, execution_count=None, metadata={}, output_type="execute_result")
            cell["outputs"] = [shown]
    if renew and found:
        text = json.dumps(gallery, indent=1, ensure_ascii=False, sort_keys=True)
        GALLERY.write_text(text + "\n", encoding="utf-8")
    return found


if __name__ == "__main__":
    check = "--check" in sys.argv
    found = stale(renew=not check)
    for call in found:
        print("stale:" if check else "renewed:", call)
    sys.exit(check and bool(found))
