"""python fronts.py OUT shard n_shards [fake]: exact fronts in float32."""

import sys, traceback
from common import *

out, shard, n = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
fake = "fake" in sys.argv or "tiny" in sys.argv
if "fake" in sys.argv:
    import fakecuda
import pandas as pd

root = HERE.parent
g = notebook_functions(HERE / "constrained.ipynb", "optima = read_table")
from saerob.model.subject import Subject
from saerob.model.loading import load_sae
from saerob.core.texts import pairs
from saerob.core.records import Run

if fake:
    if "fake" in sys.argv:
        fakecuda.start()
    from saerob.testing import tiny_subject

    lm = tiny_subject(max_tokens=256)
    lm.model.to("cuda")
    lm.sae.to("cuda")
    many = {"topk": lm, "jumprelu": lm}
    options = dict(tokens=lm.vocab[:180], budget=80, searches={"random": g["Random"](batch=20, top_k=10**5)})
    others = g["residuals"](lm, pairs().x2[:6].tolist()).readouts
else:
    import saerob.attacks.fragility as fr

    first_init = fr.FixedDirections.__init__

    def init(self, W, centre, k=40):
        first_init(self, W.cuda(), centre.cuda(), k)

    fr.FixedDirections.__init__ = init
    lm = Subject.load(device="cuda", dtype="float32")
    res = g["residuals"](lm, pairs().x2[:40].tolist())
    ten = g["encoders"](lm, res)
    many = {name: ten[name] for name in g["TRAINED"] + g["UNTRAINED"]}
    others = res.readouts
    options = {}
texts = pd.read_csv(HERE / "texts.csv")
texts = texts[texts.front]
texts = texts.iloc[shard::n]
if fake:
    texts = texts.head(2).assign(x1=["Rain fell.", "A choir sang."])
log("loaded", lm, list(many), len(texts))
with Run(out / f"fronts-{shard}", dict(constraints=list(g["CONSTRAINTS"])), 0, lm.identity()) as run:
    for row in texts.itertuples():
        t = time.time()
        try:
            run.add(row.key, **g["front_of_text"](lm, many, row.x1, others, **options))
            log(row.key, f"{time.time() - t:.1f} s")
        except Exception:
            traceback.print_exc()
