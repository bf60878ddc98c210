import json, os, sys, time, torch
from pathlib import Path

HERE = Path(__file__).resolve().parent


def notebook_functions(path, upto=None):
    "Definitions of a notebook, without the cells that run something."
    import ast

    g = {"__name__": "notebook"}
    for c in json.load(open(path))["cells"]:
        src = "".join(c["source"])
        if c["cell_type"] != "code" or src.startswith("%"):
            continue
        if upto and upto in src:
            break
        if "#| slow" in src:
            continue
        tree = ast.parse(src)
        keep = [
            n
            for n in tree.body
            if isinstance(n, (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef))
            or (
                isinstance(n, ast.Assign)
                and all(isinstance(t, ast.Name) and t.id.isupper() for t in n.targets)
            )
        ]
        for n in keep:
            try:
                exec(compile(ast.Module([n], []), str(path), "exec"), g)
            except Exception as e:
                print("skipped", ast.unparse(n)[:60], repr(e)[:100])
    return g


def log(*a):
    print(f"[{time.strftime('%H:%M:%S')}]", *a, flush=True)
