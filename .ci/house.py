"""The rules of the house that a machine can check: floors, shown code, style, provenance, gallery, size.

`house.py` runs all of them and prints what it finds; the exit code is the number of rules broken.
`house.py floors` runs one.
"""

import ast, gzip, json, re, subprocess, sys
from pathlib import Path

from gallery import stale

ROOT = Path(__file__).resolve().parent.parent
NBS, PACKAGE, RESULTS = ROOT / "nbs", ROOT / "saerob", ROOT / "data" / "results"
FLOORS = {
    "core": 0,
    "model": 1,
    "testing": 1,
    "saes": 2,
    "latents": 3,
    "judging": 4,
    "attacks": 5,
    "steering": 5,
    "defences": 6,
    "study": 7,
    "app": 8,
}
LIGHT = {  # importing this must not load those
    "saerob": ["torch"],
    "saerob.core.records": ["torch"],
    "saerob.attacks": [
        "sae_lens",
        "sentence_transformers",
        "matplotlib.pyplot",
        "saerob.saes",
        "saerob.judging",
        "saerob.steering",
    ],
    "saerob.steering": [
        "sae_lens",
        "sentence_transformers",
        "matplotlib.pyplot",
        "saerob.saes",
        "saerob.attacks",
    ],
}
LIMIT_MB = 48  # everything git tracks; a call of the device tool takes 64 MiB
WIDTH = 110  # columns of a line of code
RUFF = "E501,E702,E711,E712,E713,E714,E721,E722,E731,E741,E9,F401,F402,F541,F632,F821,F823,F841"


def notebooks():
    "All notebooks that are published, in order."
    return sorted(
        p for p in NBS.rglob("*.ipynb") if not any(part[0] in "._" for part in p.relative_to(NBS).parts)
    )


def code_cells(path):
    "The sources of a notebook's code cells."
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]


def modules():
    "Module name to file, for every module of the package."
    files = [p for p in PACKAGE.rglob("*.py") if p.name not in ("_modidx.py",)]
    return {".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): p for p in files}


def imported(path, name):
    "What a module imports from this package: (module, is the import at the top level)."
    tree = ast.parse(path.read_text(encoding="utf-8"))
    top = set(map(id, tree.body))
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, *([node.module] if node.module else [])])
            if base.split(".")[0] == "saerob":
                yield from ((f"{base}.{a.name}", id(node) in top) for a in node.names)
        if isinstance(node, ast.Import):
            yield from ((a.name, id(node) in top) for a in node.names if a.name.split(".")[0] == "saerob")


def floors():
    "Imports go downwards only, and never in a circle."
    there, wrong, edges = modules(), [], {}
    for name, path in there.items():
        parts = name.split(".")
        if len(parts) < 2 or parts[1] == "__main__":
            continue  # these two re-export from everywhere, lazily
        for target, at_top in imported(path, name):
            while target not in there and "." in target:
                target = target.rpartition(".")[0]
            other = target.split(".")
            if len(other) < 2 or target == name:
                continue
            mine, its = FLOORS[parts[1]], FLOORS[other[1]]
            if its > mine or (
                its == mine and parts[1] != other[1] and {parts[1], other[1]} == {"attacks", "steering"}
            ):
                wrong.append(
                    f"{name} (floor {mine}) imports {target} (floor {its}): imports go downwards only"
                )
            if at_top and path.name != "__init__.py":
                edges.setdefault(name, set()).add(target)
    return wrong + circles(edges)


def circles(edges):
    "Circles among modules, as sentences."
    found, done = [], set()

    def visit(name, trail):
        if name in trail:
            return found.append("a circle of imports: " + " → ".join([*trail[trail.index(name) :], name]))
        if name in done:
            return
        for n in sorted(edges.get(name, ())):
            visit(n, [*trail, name])
        done.add(name)

    for name in sorted(edges):
        visit(name, [])
    return found


def light():
    "What a room does not need is not loaded with it."
    wrong = []
    for module, heavy in LIGHT.items():
        program = f"import sys, {module}; print([m for m in {heavy} if m in sys.modules])"
        r = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
        loaded = r.stdout.strip() if r.returncode == 0 else r.stderr.strip().splitlines()[-1]
        if loaded != "[]":
            wrong.append(f"importing {module} loads {loaded}")
    return wrong


def shown():
    "The site shows the source (`#| exports`); a notebook opens with a title and a one-line subtitle."
    wrong = []
    for path in notebooks():
        where = path.relative_to(ROOT)
        mute = sum(bool(re.search(r"^#\|\s*export\b(?!s)", c, re.M)) for c in code_cells(path))
        if mute:
            wrong.append(
                f"{where}: {mute} cells are `#| export`, whose source the site leaves out; use `#| exports`"
            )
        first = [
            "".join(c["source"])
            for c in json.loads(path.read_text(encoding="utf-8"))["cells"]
            if c["cell_type"] == "markdown"
        ][:2]
        if not any(re.match(r"#\s+\S.*\n+>\s+\S", m.lstrip("-\n")) for m in first):
            wrong.append(f"{where} does not open with an H1 and a > subtitle")
        if re.search(r"(?<![\w.:/])/(work|root|tmp|home)/\w", path.read_text(encoding="utf-8")):
            wrong.append(f"{where} holds an absolute path of some machine")
    return wrong


def lint():
    "ruff: the whole set over every notebook, undefined names over the package that is exported from them."
    found = []
    for rules, where in ((RUFF, "nbs"), ("E9,F821,F823", "saerob")):
        cmd = [
            Path(sys.executable).parent / "ruff",
            "check",
            "--no-cache",
            "--output-format",
            "concise",
            "--line-length",
            str(WIDTH),
            "--select",
            rules,
            where,
        ]
        r = subprocess.run(cmd, cwd=ROOT, capture_output=True, text=True)
        found += [line for line in r.stdout.splitlines() if re.search(r":\d+:\d+:", line)]
    return found


def two_on_a_line():
    "One parameter a line in documented signatures: nbdev loses the comment of the second."
    wrong = []
    for path in notebooks():
        for cell in code_cells(path):
            if not re.search(r"^#\|\s*exports?\b", cell, re.M):
                continue
            for line in cell.splitlines():
                code, _, comment = line.partition("  # ")
                inside = re.match(r"\s+\w+\s*(:[^=,]+)?(=[^,]+)?,\s*\w+\s*(:|=)", code)
                if (
                    comment
                    and inside
                    and not code.strip().startswith(("self.", "return", "assert"))
                    and code.rstrip().endswith((",", "):"))
                ):
                    wrong.append(
                        f"{path.relative_to(ROOT)}: two parameters share a comment: {line.strip()[:90]}"
                    )
    return wrong


def manifest_of(path):
    "The manifest inside a table, or None."
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as f:
        head = f.readline()
    if path.suffix == ".json":
        return json.loads(path.read_text(encoding="utf-8")).get("manifest")
    return json.loads(head[1:]) if head.startswith("# {") else None


def provenance():
    "Every table has a manifest, is written by code that is here, and is read by somebody."
    wrong, sources = [], {p: p.read_text(encoding="utf-8") for p in [*notebooks(), *PACKAGE.rglob("*.py")]}
    everything = "\n".join(sources.values())
    for path in sorted(p for p in RESULTS.iterdir() if p.is_file()):
        try:
            m = manifest_of(path)
        except (json.JSONDecodeError, UnicodeDecodeError) as e:
            wrong.append(f"{path.name}: its first line is no manifest ({e})")
            continue
        stem = path.name.split(".")[0]
        if not m:
            wrong.append(f"{path.name} has no manifest: write it with saerob.core.results.save_table")
        elif not exists(m.get("made_by", "")):
            wrong.append(f"{path.name} says it is made by {m.get('made_by')!r}, which is not here")
        family = re.sub(r"_(topk|batchtopk|relu|gated|jumprelu)$", "_", stem)
        if stem not in everything and family not in everything:
            wrong.append(f"{path.name} is an orphan: no notebook and no module names it")
    return wrong


def exists(made_by):
    "Is this a notebook, or a function of the package?"
    if made_by.endswith(".ipynb"):
        return (NBS / made_by.removeprefix("nbs/")).exists()
    module, _, name = made_by.rpartition(".")
    files = modules()
    while module and module not in files:
        module, _, name = module.rpartition(".")[0], "", module.rpartition(".")[2]
    return (
        bool(module)
        and re.search(
            rf"^(def|class) {re.escape(name)}\b|^@patch.*\n.*def {re.escape(name)}\b",
            files[module].read_text(encoding="utf-8"),
            re.M,
        )
        is not None
    )


def gallery():
    "The pictures of the gallery are those of its pages (`make gallery` renews them)."
    return [f"nbs/gallery.ipynb: {call} is not the picture that its page has now" for call in stale()]


def size():
    "Everything git tracks stays light."
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True).stdout.split(
        "\0"
    )
    files = [(ROOT / n) for n in names if n and (ROOT / n).is_file()]
    mb = sum(f.stat().st_size for f in files) / 1e6
    biggest = ", ".join(
        f"{f.relative_to(ROOT)} {f.stat().st_size / 1e6:.1f}"
        for f in sorted(files, key=lambda f: -f.stat().st_size)[:5]
    )
    return (
        [f"tracked files weigh {mb:.1f} MB, {LIMIT_MB} are allowed; the biggest: {biggest}"]
        if mb > LIMIT_MB
        else []
    )


RULES = [floors, light, shown, lint, two_on_a_line, provenance, gallery, size]


def main(names):
    "Run rules; returns how many are broken."
    broken = 0
    for rule in [r for r in RULES if not names or r.__name__ in names]:
        found = rule()
        broken += bool(found)
        print(f"{'pass' if not found else 'FAIL'}  {rule.__name__}: {rule.__doc__}")
        for line in found[:60]:
            print("      " + line)
        if len(found) > 60:
            print(f"      … and {len(found) - 60} more")
    return broken


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
