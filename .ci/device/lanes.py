"""python lanes.py OUT LANE: attacks on texts, in bfloat16; every scenario's run is kept text by text."""

import sys, traceback
from common import *
from dataclasses import replace
from saerob.attacks.constraints import KLBelow
from saerob.attacks.evaluate import evaluate, outside_texts
from saerob.attacks.scenarios import SCENARIOS
from saerob.core.texts import pairs
from saerob.model.subject import Subject
from saerob.study.presets import AttackSize, Effort

out, lane = Path(sys.argv[1]), sys.argv[2]
small = "tiny" in sys.argv
half = Subject.load(dtype="bfloat16", device="cuda" if torch.cuda.is_available() else "cpu")
main = SCENARIOS["untargeted_suffix"].scaled(candidates=1000, batch=100)
art = outside_texts(HERE / "shared" / "art_science_pairs.csv", limit=98)
news = outside_texts(HERE / "shared" / "ag_news_test.csv.gz", text=[1, 2], limit=300)
replacement = [(f"rows/{s.name}", s, pairs().head(n)) for s, n in AttackSize(others=tuple(
    Effort(name, 100, 24, 50) for name in SCENARIOS if "replacement" in name)).scenarios()]
JOBS = dict(
    replacement=replacement,
    effort0=[("b1/targeted_suffix-0", SCENARIOS["targeted_suffix"], pairs().head(24).iloc[0::2])],
    effort1=[("b1/targeted_suffix-1", SCENARIOS["targeted_suffix"], pairs().head(24).iloc[1::2])],
    held=[("held/art", replace(main, constraint=KLBelow(0.5)), art),
          ("held/news", replace(main, constraint=KLBelow(0.5)), news.head(98)),
          ("elsewhere/news", main, news)],
)
for name, scenario, texts in JOBS[lane]:
    if small: scenario, texts = scenario.scaled(candidates=8, batch=4), texts.head(1)
    t = time.time()
    try:
        for n in range(1, len(texts) + 1):
            evaluate(half, texts.head(n), scenario, out / name)
            log(name, n, f"{time.time() - t:.0f} s")
    except Exception: traceback.print_exc()
