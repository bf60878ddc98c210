"""python grid.py write OUT k n rows | tables OUT layer n | row OUT layer arch seed | extra OUT | base OUT layers…  [fake]"""

import sys, traceback, pickle, itertools, gzip
from common import *
import numpy as np, pandas as pd

what, out = sys.argv[1], Path(sys.argv[2])
args = [a for a in sys.argv[3:] if a not in ("fake", "tiny")]
fake = "fake" in sys.argv or "tiny" in sys.argv
if "fake" in sys.argv:
    import fakecuda
from saerob.core.texts import brown, pairs, instructions
from saerob.latents.activations import latent_stats_of, save_stats
from saerob.latents.directions import unembedding_alignment, decoder_rows, diffmean
from saerob.steering.utility import corpus_snippets, prompting_for
from saerob.attacks.local_stability import retention, worst_case
from saerob.attacks.oracle import every_token
from saerob.judging.concepts import concepts_of
from saerob.judging.detection import windows
from saerob.judging.offline import NEUTRAL_REQUEST
from saerob.latents.activations import corpus_contexts
from saerob.model.contexts import Contexts, contexts_of
from saerob.model.generation import prompt_ids
from saerob.model.loading import load_sae
from saerob.model.readout import tokenise
from saerob.model.subject import Subject
from saerob.saes.quality import quality, evenly
from saerob.saes.train import (
    ActivationStream,
    collect_activations,
    new_sae,
    save_inference_sae,
    train,
    learning_curves,
    about_training,
)
from saerob.steering.interventions import Add, BatchEdit, Clamp, Doses
from saerob.steering.scores import input_score, latent_scores

CORPUS = Path(os.environ.get("CORPUS", "/tmp/corpus"))
STEPS = int(os.environ.get("STEPS", 2000))
BATCH = int(os.environ.get("BATCH", 4096))
D_SAE = int(os.environ.get("D_SAE", 4096))
N_LAT = int(os.environ.get("N_LAT", 120))
N_BASE = int(os.environ.get("N_BASE", 30))
N_TAIL = 10
NEW = 32
L0S = (20, 40, 80, 130)
ACTS = Path(os.environ.get("ACTS", "/dev/shm"))
SHARES = (0.15, 0.3, 0.45, 0.6, 0.8)  # of the median residual norm
ARCH_SEED = {a: i for i, a in enumerate(("topk", "batchtopk", "relu", "gated", "jumprelu"))}
torch.set_num_threads(2)


def subject(layer, dtype="bfloat16"):
    if fake:
        from saerob.testing import tiny_subject

        s = tiny_subject(max_tokens=256, layer=1)
        s.model.to("cuda")
        s.sae = None
        return s
    return Subject.load(sae=None, layer=layer, device="cuda", dtype=dtype)


def corpus(s):
    "Brown's training split, and what the LM wrote; the last 64 written texts are held out."
    parts = [np.load(f) for f in sorted(CORPUS.glob("*.npy"))]
    own = torch.from_numpy(np.concatenate(parts).astype(np.int64))
    ended = torch.isin(own, torch.tensor(sorted(s.end_ids()))).cumsum(1) > 0
    mask = ~ended
    mask[:, 0] = False
    d = brown()
    text = d[d.split == "train"].text
    if fake:
        text = text.head(4)
    b = contexts_of(s, text)
    train_ = Contexts(torch.cat([b.ids, own[64:]]), torch.cat([b.mask, mask[64:]]))
    return train_, Contexts(own[:64], mask[:64])


@torch.no_grad()
def write_acts(s, contexts, file, batch=512):
    "Residuals of a block, shuffled by context, in one file that every process reads."
    order = torch.randperm(len(contexts), generator=torch.Generator().manual_seed(0))
    n = int(contexts.mask.sum())
    draft = np.lib.format.open_memmap(str(file) + ".draft.npy", "w+", np.float16, (n, s.d_model))
    at = 0
    for rows in order.split(batch):
        c = contexts[rows]
        h = s.resid(c.ids.to(s.device), pos=None, chunk=batch)
        h = h[c.mask.to(s.device)].clamp(-65504, 65504).half().cpu().numpy()
        draft[at:at + len(h)] = h
        at += len(h)
    draft.flush()
    os.rename(str(file) + ".draft.npy", file)


def acts_file(layer):
    return ACTS / f"acts-{layer}.npy"


def acts_of(layer, wait=200):
    t0 = time.time()
    while not acts_file(layer).exists():
        if time.time() - t0 > wait:
            raise TimeoutError(f"no activations of block {layer}")
        time.sleep(0.5)
    acts = torch.from_numpy(np.load(acts_file(layer)))
    return acts if fake else acts.cuda()


class SmallL2:
    "Adds the squared weights to an SAE's loss."

    def __init__(self, sae, coefficient=1e-3):
        self.sae, self.coefficient, self.forward = sae, coefficient, sae.training_forward_pass

    def __call__(self, step):
        out = self.forward(step)
        weights = [w for w in self.sae.parameters() if w.ndim == 2]
        out.loss = out.loss + self.coefficient * sum(w.square().sum() for w in weights)
        return out


def train_members(s, acts, members, folder):
    "members: (name, arch, l0, seed)"
    stream = ActivationStream(acts, BATCH, 0)
    saes = {
        name: new_sae(arch.split("-")[0], l0, s.d_model, D_SAE, seed, STEPS // 4, "cuda")
        for name, arch, l0, seed in members
    }
    if fake:
        for sae in saes.values():
            sae.to("cuda")
    for (name, arch, _, _) in members:
        if arch.endswith("-l2"):
            saes[name].training_forward_pass = SmallL2(saes[name])
    targets = {name: l0 for name, arch, l0, _ in members if "topk" not in arch}
    controllers = train(saes, stream, STEPS, targets, None, lr=1e-3, speed=8 / STEPS, start=STEPS // 6)
    curves = learning_curves(controllers, "sae")
    for name, arch, l0, seed in members:
        about = about_training(s, STEPS * BATCH) | dict(context_size=128)
        save_inference_sae(saes[name], stream, folder / name, **about, l0_target=l0, seed=seed)
    return curves


def residual_norm(s):
    c = evenly(corpus_contexts(s), 64)
    h = s.resid(c.ids.to(s.device), pos=None)[c.mask.to(s.device)].float()
    return h.norm(dim=-1).median().item()


def rows_of_prompts(s, prompts):
    return [prompt_ids(s, p) for p in prompts]


@torch.no_grad()
def steered(s, vectors, unit, prompts, seeds, shares=SHARES, chunk=2048):
    "Texts [n_vectors, n_shares, n_prompts, NEW] pushed along unit vectors [n, d] at shares of the residual's norm."
    asked = rows_of_prompts(s, prompts)
    index = list(itertools.product(range(len(vectors)), range(len(shares)), range(len(prompts))))
    v = torch.nn.functional.normalize(vectors.float(), dim=1)
    which = torch.tensor([i for i, _, _ in index], device=s.device)
    amounts = torch.tensor([shares[j] * unit for _, j, _ in index], device=s.device)
    latents = torch.zeros(len(index), dtype=torch.long, device=s.device)
    ids = []
    for k in range(0, len(index), chunk):
        part = slice(k, k + chunk)
        edit = BatchEdit(s, Add(), Doses(latents[part], v[which[part]], amounts[part]))
        rows = [asked[p] for _, _, p in index[part]]
        ids.append(
            s.generate(
                rows,
                NEW,
                1.0,
                200,
                seeds[part] if not isinstance(seeds, int) else [seeds + k + i for i in range(len(rows))],
                edit,
                "all",
                chunk=chunk,
            ).cpu()
        )
    return torch.cat(ids)


@torch.no_grad()
def nll_of(s, ids, chunk=256):
    "Mean nats per token by the unsteered LM after a neutral request, up to the end of each text."
    prompt = prompt_ids(s, NEUTRAL_REQUEST)
    past = s.prefix(torch.tensor([prompt[:-1]], device=s.device), all_blocks=True)
    ends = torch.tensor(sorted(s.end_ids()))
    over = (torch.isin(ids, ends) | (ids < 0)).cumsum(1) > 0
    rows = torch.cat([torch.full((len(ids), 1), prompt[-1]), ids.clamp(min=0)], 1)
    nll = torch.cat([s.nll(part.to(s.device), past=past, chunk=chunk).cpu() for part in rows.split(4096)])
    n = (~over).sum(1)
    return torch.where(n > 0, (nll * ~over).sum(1) / n.clamp(min=1), torch.tensor(float("nan")))


def prompts_used():
    p = instructions().instruction.tolist()[:10]
    return p[:2] if fake else p


def save(file, **arrays):
    file.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(file, **arrays)


def topics_table():
    return pd.read_csv(HERE / "topics.csv")


@torch.no_grad()
def topic_latents(t, top=3):
    "Latents [n_topics, top] that best tell a topic's examples (the first half) from the other topics', by AUROC-like d'."
    d = topics_table()
    d["half"] = d.groupby("topic").cumcount() % 2
    d = d[d.half == 0]
    z = torch.stack(
        [
            (t.encode(t.resid(t.tokens(x), pos=slice(1, None))[0]).float() > 0).float().mean(0)
            for x in d.example
        ]
    )
    names = list(dict.fromkeys(d.topic))
    best = []
    for n in names:
        own = torch.tensor((d.topic == n).to_numpy(), device=z.device)
        gap = (z[own].mean(0) - z[~own].mean(0)) / (z.std(0) + 0.02)
        best.append(gap.topk(top).indices)
    return names, torch.stack(best)


def write_topic_latents(t, n, unit, prompts, res):
    names, found = topic_latents(t, 1 if fake else 3)
    vec = decoder_rows(t, found.flatten().tolist()).float()
    ids = steered(t, vec, unit, prompts, 40_000_000)
    shape = (*found.shape, len(SHARES), len(prompts))
    save(
        res / n / "topic_texts.npz",
        ids=ids.numpy().astype(np.uint16).reshape(*shape, NEW),
        nll=nll_of(t, ids).numpy().astype(np.float16).reshape(shape),
        latents=found.cpu().numpy(),
        topics=np.array(names),
        shares=np.array(SHARES),
        unit=unit,
    )


def write_baselines(t, n, stats, latents, unit, prompts, res):
    "Texts of DiffMean directions of latents' examples, and of prompts that ask for their words."
    concepts = concepts_of(t, latents, stats)
    with_examples = [l for l in latents if concepts[l].examples]
    snippets = corpus_snippets(t, stats)
    vec = torch.stack([diffmean(t, str(l), concepts[l].examples, snippets).vector for l in with_examples])
    ids = steered(t, vec.to(t.device), unit, prompts, 80_000_000)
    shape = (len(with_examples), len(SHARES), len(prompts))
    asks = [prompting_for(concepts[l]) for l in with_examples]
    asked = [a.template.format(prompt=p, concept=a.concept) for a in asks for p in prompts]
    seeds = list(range(90_000_000, 90_000_000 + len(asked)))
    ids2 = t.with_sae(None, layer=t.layer).generate(
        rows_of_prompts(t, asked), NEW, 1.0, 200, seeds, chunk=2048
    ).cpu()
    save(
        res / n / "baselines.npz",
        diffmean=ids.clamp(min=0).numpy().astype(np.uint16).reshape(*shape, NEW),
        diffmean_nll=nll_of(t, ids).numpy().astype(np.float16).reshape(shape),
        prompting=ids2.clamp(min=0).numpy().astype(np.uint16).reshape(len(with_examples), len(prompts), NEW),
        prompting_nll=nll_of(t, ids2).numpy().astype(np.float16).reshape(len(with_examples), len(prompts)),
        latents=np.array(with_examples),
    )


def measure(s, names, folder, layer, heldout):
    subjects = {n: s.with_sae(load_sae(folder / n, "cpu" if fake else "cuda"), layer=s.layer) for n in names}
    if fake:
        for t in subjects.values():
            t.sae.to("cuda")
    t0 = time.time()
    res = out / "saes"
    res.mkdir(parents=True, exist_ok=True)
    q = quality(subjects, heldout, 16)
    q["text"] = "written by the LM"
    wiki = contexts_of(s, (HERE / "wiki.txt").read_text().split("\n\n")[:200])
    wiki = evenly(wiki, 64)
    q2 = quality(subjects, wiki, 16)
    q2["text"] = "encyclopaedia"
    pd.concat([q, q2]).rename_axis("sae").to_csv(res / f"quality-{names[0]}.csv")
    log(names[0], "quality", f"{time.time() - t0:.0f} s", q.fvu.round(2).tolist(), q.l0.round(0).tolist())
    t0 = time.time()
    stats = latent_stats_of(subjects, n_contexts=8 if fake else 512)
    for n in names:
        save_stats(stats[n], res / n / "stats")
    unit = residual_norm(s)
    prompts = prompts_used()
    sample = {}
    for n, t in subjects.items():
        try:
            live = stats[n].live(0 if fake else 15)
            rng = np.random.default_rng(0)
            some = live if len(live) <= 1000 else live[np.sort(rng.choice(len(live), 1000, replace=False))]
            scores = latent_scores(t, some, stats=stats[n], n_tokens=20)
            by_prefix = latent_scores(t, some, stats=stats[n], n_tokens=20, unit="prefix")
            scores = scores.join(by_prefix[["delta_c", "output_score", "kl"]], rsuffix="_prefix")
            clamped = latent_scores(t, some, stats=stats[n], n_tokens=20, intervention=Clamp())
            scores = scores.join(clamped[["delta_c", "output_score", "p_int"]], rsuffix="_clamp")
            groups = dict(
                random=scores.sample(min(N_LAT, len(scores)), random_state=0).index,
                low=scores.delta_c.nsmallest(N_TAIL).index,
                high=scores.delta_c.nlargest(N_TAIL).index,
                output=scores.output_score.nlargest(N_TAIL).index,
            )
            chosen = pd.DataFrame(
                [dict(latent=int(l), group=g, order=i) for g, ls in groups.items() for i, l in enumerate(ls)]
            )
            chosen = chosen.drop_duplicates("latent").set_index("latent")
            chosen = chosen.join(scores[[c for c in scores if c not in chosen]])
            chosen = chosen.join(
                input_score(t, chosen.index, stats=stats[n])[["input_score", "input_score_next"]]
            )
            chosen = chosen.join(unembedding_alignment(t, chosen.index))
            chosen = chosen.join(retention(t, chosen.index, stats[n]), rsuffix="_retention")
            chosen["lens"] = [
                " ".join(map(str, r))
                for r in __import__("saerob.latents.directions", fromlist=["logit_lens"])
                .logit_lens(t, chosen.index, 20)
                .tolist()
            ]
            chosen.to_csv(res / n / "latents.csv", float_format="%.6g")
            sample[n] = chosen.index.tolist()
        except Exception:
            traceback.print_exc()
    log(names[0], "scores", f"{time.time() - t0:.0f} s")
    t0 = time.time()
    for n in sample:
        try:
            ls = sample[n]
            vec = decoder_rows(subjects[n], ls).float()
            seeds = 10_000_000
            ids = steered(subjects[n], vec, unit, prompts, seeds)
            nll = nll_of(s, ids)
            shape = (len(ls), len(SHARES), len(prompts))
            save(
                res / n / "texts.npz",
                ids=ids.clamp(min=0).numpy().astype(np.uint16).reshape(*shape, NEW),
                nll=nll.numpy().astype(np.float16).reshape(shape),
                latents=np.array(ls),
                shares=np.array(SHARES),
                unit=unit,
                vectors=vec.cpu().numpy().astype(np.float16),
            )
        except Exception:
            traceback.print_exc()
    for n in sample:
        try:
            write_baselines(subjects[n], n, stats[n], sample[n][:N_BASE], unit, prompts, res)
        except Exception:
            traceback.print_exc()
    for n in sample:
        try:
            if n.endswith("-40") or fake:
                write_topic_latents(subjects[n], n, unit, prompts, res)
        except Exception:
            traceback.print_exc()
    log(names[0], "texts", f"{time.time() - t0:.0f} s")
    t0 = time.time()
    # exact worst token, texts as they are ready
    rows = []
    for i, row in enumerate(pairs()[: 2 if fake else 8].itertuples()):
        try:
            tab = every_token(s, row.x1, tokens=s.vocab[:64] if fake else None)
            unrelated = s.resid(tokenise(s, row.x2).ids)[0].float()
            for n, t in subjects.items():
                rows.append(dict(sae=n, text=row.id, **worst_case(t, tab, unrelated)._asdict()))
        except Exception:
            traceback.print_exc()
    pd.DataFrame(rows).to_csv(res / f"worst-{names[0]}.csv", index=False, float_format="%.5g")
    log(names[0], "worst", f"{time.time() - t0:.0f} s")
    t0 = time.time()
    try:
        w = windows(
            {n: subjects[n] for n in sample}, sample, corpus_contexts(s, n_contexts=8 if fake else 512)
        )
        for n in sample:
            kept = {k: v for k, v in vars(w[n]).items() if k != "contexts"}
            pickle.dump(kept, gzip.open(res / n / "windows.pkl.gz", "wb"))
    except Exception:
        traceback.print_exc()
    log(names[0], "windows", f"{time.time() - t0:.0f} s")


if "fake" in sys.argv:
    fakecuda.start()
out.mkdir(parents=True, exist_ok=True)
if what == "write":
    k, n, rows = map(int, args[:3])
    s = subject(0)
    CORPUS.mkdir(parents=True, exist_ok=True)
    length = 128
    for b in range(k, 1000, n):
        if b * rows >= int(os.environ.get("TEXTS", 32768)):
            break
        t0 = time.time()
        seeds = list(range(b * rows, (b + 1) * rows))
        y = s.generate([[s.bos_id]] * rows, length - 1, temperature=0.9, top_k=100, seeds=seeds, chunk=rows)
        y = torch.cat([torch.full((rows, 1), s.bos_id), y.cpu().clamp(min=0)], 1).numpy().astype(np.uint16)
        np.save(CORPUS / f".{b:03}.npy", y)
        os.rename(CORPUS / f".{b:03}.npy", CORPUS / f"{b:03}.npy")
        log("wrote", b, y.shape, f"{time.time() - t0:.0f} s")
elif what == "tables":
    layers = [int(a) for a in args]
    for row in pairs()[: 2 if fake else 8].itertuples():
        for layer in layers:
            s = subject(layer) if row.Index == 0 or fake else s_of[layer]
            s_of = globals().setdefault("s_of", {})
            s_of[layer] = s
            t0 = time.time()
            every_token(s, row.x1, tokens=s.vocab[:64] if fake else None)
            log("table", layer, row.id, f"{time.time() - t0:.1f} s")
elif what == "row":
    layer, arch, seed = int(args[0]), args[1], int(args[2])
    s = subject(layer)
    train_, heldout = corpus(s)
    t0 = time.time()
    acts = acts_of(layer)
    log("acts", layer, arch, tuple(acts.shape), f"{time.time() - t0:.0f} s")
    l0s = (4, 8) if fake else L0S
    members = [
        (
            f"block{layer}-{arch}-{l0}" + (f"-seed{seed}" if seed else ""),
            arch,
            l0,
            1000 * seed + 100 * ARCH_SEED[arch.split("-")[0]] + i,
        )
        for i, l0 in enumerate(l0s)
    ]
    t0 = time.time()
    folder = out / "trained"
    curves = train_members(s, acts, members, folder)
    log("trained", layer, arch, f"{time.time() - t0:.0f} s")
    curves.to_csv(out / f"curves-{layer}-{arch}-{seed}.csv", index=False, float_format="%.4g")
    del acts
    if not fake:
        torch.cuda.empty_cache()
    measure(s, [m[0] for m in members], folder, layer, heldout)
    log("DONE", layer, arch, seed)
elif what == "acts":
    s = subject(int(args[0]))
    t0 = time.time()
    write_acts(s, corpus(s)[0], acts_file(int(args[0])))
    log("acts", args[0], f"{time.time() - t0:.0f} s")
elif what == "extra":
    for layer in [1] if fake else [int(a) for a in args]:
        s = subject(layer)
        train_, heldout = corpus(s)
        if not acts_file(layer).exists():
            write_acts(s, train_, acts_file(layer))
        acts = acts_of(layer)
        acts_file(layer).unlink()
        name = f"block{layer}-topk-40"
        train_members(s, acts, [(name, "topk", 4 if fake else 40, 2)], out / "trained")
        del acts
        if not fake:
            torch.cuda.empty_cache()
        measure(s, [name], out / "trained", layer, heldout)
        log("DONE", layer)
elif what == "base":
    topics = topics_table()
    topics["half"] = topics.groupby("topic").cumcount() % 2
    names = list(dict.fromkeys(topics.topic))
    asks = topics.drop_duplicates("topic").request.tolist()
    if fake:
        names = names[:2]
    prompts = prompts_used()
    for layer in map(int, args):
        t0 = time.time()
        s = subject(layer)
        unit = residual_norm(s)
        g = torch.Generator().manual_seed(0)
        random = torch.randn(30, s.d_model, generator=g).to(s.device)
        ids = steered(s, random, unit, prompts, 20_000_000)
        save(
            out / "base" / f"random-{layer}.npz",
            ids=ids.numpy().astype(np.uint16),
            nll=nll_of(s, ids).numpy(),
            shares=np.array(SHARES),
            unit=unit,
        )
        first = topics[topics.half == 0]
        vec = torch.stack(
            [
                diffmean(
                    s, n, first.example[first.topic == n].tolist(), first.example[first.topic != n].tolist()
                ).vector
                for n in names
            ]
        )
        ids = steered(s, vec.to(s.device), unit, prompts, 50_000_000)
        shape = (len(names), len(SHARES), len(prompts))
        save(
            out / "base" / f"diffmean-{layer}.npz",
            ids=ids.numpy().astype(np.uint16).reshape(*shape, NEW),
            nll=nll_of(s, ids).numpy().reshape(shape),
            topics=np.array(names),
            shares=np.array(SHARES),
            unit=unit,
        )
        if layer == int(args[0]):
            rows = [r for r in rows_of_prompts(s, asks) for _ in range(10)]
            ids = s.generate(
                rows, NEW, 1.0, 200, list(range(60_000_000, 60_000_000 + len(rows))), chunk=1024
            ).cpu()
            save(
                out / "base" / "requests.npz",
                ids=ids.numpy().astype(np.uint16),
                nll=nll_of(s, ids).numpy(),
                asks=np.array(asks),
            )
            both = [f"{p}\n\n{a}" for a in asks for p in prompts]
            ids = s.generate(
                rows_of_prompts(s, both),
                NEW,
                1.0,
                200,
                list(range(70_000_000, 70_000_000 + len(both))),
                chunk=1024,
            ).cpu()
            save(out / "base" / "appended.npz", ids=ids.numpy().astype(np.uint16), nll=nll_of(s, ids).numpy())
            ids = s.generate(
                [r for r in rows_of_prompts(s, prompts) for _ in range(10)],
                NEW,
                1.0,
                200,
                list(range(30_000_000, 30_000_000 + 10 * len(prompts))),
                chunk=1024,
            ).cpu()
            save(
                out / "base" / "unsteered.npz", ids=ids.numpy().astype(np.uint16), nll=nll_of(s, ids).numpy()
            )
        log("base", layer, f"{time.time() - t0:.0f} s", unit)
