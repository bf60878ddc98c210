"Ratings of written texts, part by part, with the functions of `nbs/experiments/steered_grid.ipynb`."

import json, os
import numpy as np, pandas as pd
from common import HERE, notebook_functions
from saerob.core.texts import instructions
from saerob.judging.offline import OfflineJudge
from saerob.latents.activations import load_stats
from saerob.steering.utility import _partners

NB = notebook_functions(HERE / "steered_grid.ipynb")
if "SHARES" in os.environ: NB["SHARES"] = tuple(map(float, os.environ["SHARES"].split()))
concept_at, steered_rows = NB["concept_at"], NB["steered_rows"]
RATINGS = ["concept", "concept_lens", "instruction", "fluency", "score"]


def used_instructions(folder):
    "The instructions that the texts answer; ten unsteered texts were written to each."
    n = len(np.load(folder / "base" / "unsteered.npz")["ids"]) // 10
    return instructions().instruction.tolist()[:n]


def judge_of(s, folder):
    "The judge, with thresholds from the unsteered answers of this folder."
    answers = np.load(folder / "base" / "unsteered.npz")["ids"]
    return OfflineJudge(s).calibrated([NB["text_of"](s, row)[0] for row in answers])


def texts_of(s, folder, name, part, prompts, beside):
    "Texts of a part of an SAE's latents; `beside` of them get a random direction beside them."
    place = folder / "saes" / name
    z = np.load(place / f"texts-{part}.npz")
    latents = z["latents"].tolist()
    at = np.ix_(range(len(latents)), NB["rated_shares"](z["shares"]), range(len(prompts)))
    own = steered_rows(s, z["ids"][at], z["nll"][at], latents, prompts, "latent")
    other = own.assign(condition="mismatched concept", rated_for=own.latent.map(_partners(latents, 0)))
    parts = [own, other, NB["plain_rows"](s, folder, latents, prompts)]
    if part == "0":
        block = name.split("-")[0].removeprefix("block")
        parts.append(NB["random_rows"](s, folder, block, latents[:beside], prompts))
        if (place / "baselines.npz").exists():
            file = place / "baselines.npz"
            parts.append(NB["baseline_rows"](s, file, latents, prompts, z["shares"]))
    return pd.concat(parts, ignore_index=True)


def rate_part(s, judge, folder, name, part, beside):
    "Rated texts of a part of one SAE's latents, what is known of these latents, and some of the texts."
    stats = load_stats(folder / "saes" / name / "stats")
    lens = json.loads((folder / "saes" / name / "lens.json").read_text())
    ids = stats.contexts(s).ids
    texts = texts_of(s, folder, name, part, used_instructions(folder), beside)
    latents = list(dict.fromkeys(texts.latent))
    concepts = {i: concept_at(s, i, ids, stats.places(i), lens[str(i)]) for i in latents}
    full = NB["rate_written"](judge, texts, concepts)
    rated = NB["one_per_prompt"](full).assign(sae=name)
    own = full[(full.condition == "latent") & full.latent.isin(latents[:beside])]
    about = stats.table.loc[latents, ["frequency", "mean_active"]].assign(sae=name)
    about["kind"] = [NB["kind_at"](s, ids, stats.places(i)) for i in latents]
    about["words"] = [" | ".join(concepts[i].tokens) for i in latents]
    about["examples"] = ["\n".join(concepts[i].examples[:5]) for i in latents]
    return rated, about.rename_axis("latent").reset_index(), own[["latent", "factor", "prompt", "text"]]


def save_part(folder, name, part, rated, latents, words):
    "Keep a rated part; and what was written for its first latents."
    (folder / "rated").mkdir(exist_ok=True)
    small = rated.astype({c: "float32" for c in [*RATINGS, "factor"]})
    small = small.astype({c: "category" for c in ("sae", "condition", "prompt")})
    for what, table in dict(texts=small, latents=latents, words=words).items():
        table.to_parquet(folder / "rated" / f"{name}-{part}-{what}.parquet", compression="zstd", index=False)
