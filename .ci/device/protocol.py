"""python protocol.py OUT job n_jobs [fake]: the protocol under constraints, on many texts, architectures and seeds."""

import sys, traceback
from common import *
from dataclasses import replace

out, shard, n = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
fake = "fake" in sys.argv or "tiny" in sys.argv
if "fake" in sys.argv:
    import fakecuda
import pandas as pd

root = HERE.parent
g = notebook_functions(HERE / "constrained.ipynb", "optima = read_table")
from saerob.model.subject import Subject
from saerob.model.loading import load_sae
from saerob.attacks.evaluate import evaluate
from saerob.attacks.searches import GCG

if fake:
    if "fake" in sys.argv:
        fakecuda.start()
    from saerob.testing import tiny_subject

    lm = tiny_subject(max_tokens=256)
    lm.model.to("cuda")
    lm.sae.to("cuda")
    subjects = {a: lm for a in g["TRAINED"]}
else:
    lm = Subject.load(device="cuda", dtype="float32")
    subjects = {a: lm.with_sae(load_sae(a, "cuda")) for a in g["TRAINED"]}
MAIN, C = g["MAIN"], g["CONSTRAINTS"]
texts = pd.read_csv(HERE / "texts.csv")
by = {d.split()[0]: t.reset_index(drop=True) for d, t in texts.groupby("dataset", sort=False)}
WORDS = ["KL ≤ 0.5", "none", "same next token", "same 12 tokens", "KL ≤ natural"]
jobs = []  # (name, sae, texts, constraint, seed) in order of importance
for words in WORDS:
    jobs.append(("topk", "shipped", 24, words, 0))
for d in ("AG", "Art"):
    for words in WORDS[:3]:
        jobs.append(("topk", d, 48, words, 0))
for a in g["TRAINED"][1:]:
    for words in WORDS[:2]:
        jobs.append((a, "shipped", 24, words, 0))
for words in WORDS[:3]:
    jobs.append(("topk", "shipped", 120, words, 0))
for d in ("AG", "Art"):
    jobs.append(("topk", d, 98, WORDS[0], 0))
for seed in (1, 2):
    for words in WORDS[:2]:
        jobs.append(("topk", "shipped", 48, words, seed))
if fake:
    jobs = jobs[:5]
for i, (a, d, many, words, seed) in enumerate(jobs):
    part = by[d].head(many)
    part = part.iloc[shard::n]
    scenario = replace(MAIN, constraint=C[words])
    if fake:
        part = part.head(2).assign(
            x1=["Rain fell.", "A choir sang."][: len(part.head(2))],
            x2=["A dog.", "Snow."][: len(part.head(2))],
        )
        scenario = replace(scenario, search=GCG(batch=8), budget=20)
    cols = [c for c in ("id", "x1", "x2", "x1_paraphrase") if c in part and part[c].notna().all()]
    name = f"{a}-{d}-{list(C).index(words)}-s{seed}-p{shard}"
    t = time.time()
    try:
        r = evaluate(subjects[a], part[cols], scenario, out / name, seed=seed)
        log(name, len(part), f"{time.time() - t:.1f} s")
    except Exception:
        traceback.print_exc()
