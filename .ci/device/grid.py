"""A grid of SAEs at two depths: python grid.py WHAT OUT … (see `STAGES` at the end); with `tiny` on a toy LM."""

import itertools, json, sys, traceback
from common import *
import numpy as np, pandas as pd
from saerob.attacks import local_stability, oracle
from saerob.attacks.constraints import kl
from saerob.attacks.local_stability import _only_in, _share, after_tokens, retention
from saerob.attacks.oracle import every_token
from saerob.core.texts import brown, instructions, pairs, topics
from saerob.judging import detection
from saerob.judging.detection import windows
from saerob.judging.offline import NEUTRAL_REQUEST
from saerob.judging.scoring import WindowEncoder, interpretability
from saerob.latents import activations
from saerob.latents.activations import latent_stats_of, load_stats, save_stats
from saerob.latents.directions import decoder_rows, diffmean, logit_lens, unembedding_alignment
from saerob.model.contexts import Contexts, contexts_of
from saerob.model.generation import prompt_ids
from saerob.model.loading import load_sae
from saerob.model.readout import overlap, tokenise
from saerob.model.subject import Subject
from saerob.saes.quality import evenly, quality
from saerob.saes.train import (
    ActivationStream, SparsityController, about_training, learning_curves, new_sae, save_inference_sae, train)
from saerob.steering.gate import supervised_latents, topic_halves, topic_latents
from saerob.steering.interventions import Add, BatchEdit, Clamp, Doses
from saerob.steering.scores import input_score, latent_scores
from saerob.steering.utility import corpus_snippets, prompting_for

FAKE = "tiny" in sys.argv
what, out = sys.argv[1], Path(sys.argv[2])
args = [a for a in sys.argv[3:] if a != "tiny"]
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
CORPUS = Path(os.environ.get("CORPUS", "/tmp/corpus"))
ACTS = Path(os.environ.get("ACTS", "/dev/shm"))
STEPS = 30 if FAKE else int(os.environ.get("STEPS", 2000))
BATCH = 256 if FAKE else 4096
D_SAE = 64 if FAKE else 4096
THREADS = int(os.environ.get("OMP_NUM_THREADS", 2))
N_INSTRUCTIONS = 2 if FAKE else int(os.environ.get("INSTRUCTIONS", 10))
L0S = (4, 8) if FAKE else tuple(map(int, os.environ.get("L0S", "20 40 80 130").split()))
PART = 6 if FAKE else int(os.environ.get("PART", 200))  # random latents whose texts are written and rated together
N_PARTS = int(os.environ.get("PARTS", 3))
PARTS = {1: 2, 15: N_PARTS, 23: N_PARTS}  # of such parts, by block
N_POOL = 10 if FAKE else int(os.environ.get("POOL", 1000))  # further latents, from which the tails are taken
N_TAIL = 2 if FAKE else 10
N_DRAWN = 3  # latents drawn at random among ten that could be chosen
N_CLOSE = 4 if FAKE else 100  # random latents with every other measure
N_BASE = 3 if FAKE else int(os.environ.get("BASE", 30))  # latents with DiffMean and prompting
N_RANDOM = 4 if FAKE else int(os.environ.get("DIRECTIONS", 100))  # random directions
N_TEXTS = 2 if FAKE else int(os.environ.get("ATTACKED", 8))  # attacked texts
N_CONTEXTS = 8 if FAKE else 512
NEW = 8 if FAKE else 32
CHUNK = int(os.environ.get("CHUNK", 6000))
SKIPPED = os.environ.get("SKIP", "").split()  # measurements that are left out, such as "closely"
SHARES = tuple(map(float, os.environ.get("SHARES", "0.3 0.45 0.6").split()))  # of the median residual norm
TOPIC_SHARES = (0.15, 0.3, 0.45, 0.6, 0.8)
LIMITS = (0.1, 0.2, 0.5, 1.0)  # nats
ARCHS = ("topk", "batchtopk", "relu", "gated", "jumprelu")
ARCH_SEED = {a: i for i, a in enumerate(ARCHS)}
res = out / "saes"
torch.set_num_threads(THREADS)


# What every process would read or make again is kept in files.


def kept(file, make):
    "What `make()` gives, made once by whichever process comes first."
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        draft = file.with_name(f".{os.getpid()}-{file.name}")
        torch.save(make(), draft)
        os.rename(draft, file)
    return torch.load(file, weights_only=False)


def as_pair(contexts): return contexts.ids, contexts.mask


first_contexts = activations.corpus_contexts


def corpus_contexts(s, texts=None, n_contexts=512):
    if texts is not None: return first_contexts(s, texts, n_contexts)
    file = out / "kept" / f"heldout-{n_contexts}.pt"
    return Contexts(*kept(file, lambda: as_pair(first_contexts(s, None, n_contexts))))


activations.corpus_contexts = detection.corpus_contexts = corpus_contexts


def run_tokens(s, edit, tokens, answer):
    "As in `oracle`, with larger parts."
    if answer is None: return s.resid(edit.rest(tokens), past=edit.past).detach().cpu(),
    h = s.resid(edit.rest(tokens), past=edit.past, pos=None)
    logs = [s.logits_from(rows, past=answer.past, chunk=512).log_softmax(-1) for rows in h.split(1024)]
    moved = torch.cat([kl(answer.before, after) for after in logs])
    return h[:, -1].detach().cpu(), moved.cpu(), torch.cat([after.argmax(-1) for after in logs]).cpu()


oracle._run_tokens = run_tokens


def activations_at_end(s, rows, latents, batch=2048):
    "As in `local_stability`, rows of equal length in one pass."
    lengths = [part.shape[1] for part in rows]
    found = [None] * len(rows)
    for length in set(lengths):
        items = [i for i, n in enumerate(lengths) if n == length]
        ids = torch.cat([rows[i] for i in items]).to(s.device)
        which = torch.cat([torch.full((len(rows[i]),), int(latents[i])) for i in items]).to(s.device)
        z = [s.encode(s.resid(part, chunk=batch).float()).gather(1, at[:, None])[:, 0]
             for part, at in zip(ids.split(batch), which.split(batch))]
        for i, part in zip(items, torch.cat(z).float().cpu().split([len(rows[i]) for i in items])): found[i] = part
    return found


local_stability.activations_at_end = torch.no_grad()(activations_at_end)


from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

first_attention = ALL_ATTENTION_FUNCTIONS["sdpa"]


def one_token_attention(module, query, key, value, attention_mask=None, scaling=None, **options):
    "Attention of one new token by two matrix products per head of keys, which are read once and not copied."
    rows, heads, n, width = query.shape
    if n > 1 or attention_mask is None or attention_mask.dtype != torch.bool or attention_mask.shape[1] > 1:
        return first_attention(module, query, key, value, attention_mask, scaling=scaling, **options)
    groups, length = key.shape[1:3]
    q = query.reshape(rows * groups, heads // groups, width)
    scores = torch.bmm(q, key.reshape(rows * groups, length, width).transpose(1, 2)).float() * scaling
    scores = scores.view(rows, groups, -1, length).masked_fill(~attention_mask, float("-inf"))
    p = scores.softmax(-1).to(value.dtype).view(rows * groups, -1, length)
    mixed = torch.bmm(p, value.reshape(rows * groups, length, width))
    return mixed.view(rows, 1, heads, width), None


ALL_ATTENTION_FUNCTIONS["sdpa"] = one_token_attention


def follow(self, step_input):
    "`SparsityController` without waiting for the device at every step."
    step = step_input
    step.coefficients = {k: v * self.gain for k, v in step.coefficients.items()}
    result = self.forward(step)
    l0 = (result.feature_acts.detach() > 0).sum(-1).float().mean()
    self.l0 = l0 if self.l0 is None else 0.9 * self.l0 + 0.1 * l0
    if self.target and step.n_training_steps >= self.start:
        error = 2 * (self.l0.clamp(min=0.1) / self.target).log()
        self.gain = self.gain * (self.speed * error.clamp(-1, 1)).exp()
    if step.n_training_steps % 100 == 0:
        x, y = step.sae_in, result.sae_out.detach().float()
        fvu = ((x - y).square().sum() / x.square().sum()).item()
        idle = step.dead_neuron_mask.float().mean().item()
        self.curve.append(dict(step=step.n_training_steps, l0=l0.item(), fvu=fvu, penalty=float(self.gain), idle=idle))
    return result


SparsityController.__call__ = follow


def subject(layer, dtype="bfloat16"):
    if not FAKE: return Subject.load(sae=None, layer=layer, device=DEVICE, dtype=dtype)
    from saerob.testing import tiny_subject

    s = tiny_subject(max_tokens=256, layer=1)
    s.model.to(DEVICE)
    s.sae = None
    return s


def training_texts(s):
    "Brown's training split, and what the LM wrote; the last 64 written texts are held out."
    parts = [np.load(f) for f in sorted(CORPUS.glob("[0-9]*.npy"))]
    own = torch.from_numpy(np.concatenate(parts).astype(np.int64))
    ends = torch.isin(own, torch.tensor(sorted(s.end_ids())))
    ends[:, 0] = False  # the first token may itself be one that ends a text
    mask = ends.cumsum(1) == 0
    mask[:, 0] = False
    b = Contexts(*kept(out / "kept" / "brown.pt", lambda: brown_contexts(s)))
    train_ = Contexts(torch.cat([b.ids, own[64:]]), torch.cat([b.mask, mask[64:]]))
    return train_, Contexts(own[:64], mask[:64])


def brown_contexts(s):
    text = brown("train").text
    return as_pair(contexts_of(s, text.head(4) if FAKE else text))


def own_heldout(s):
    "The held-out texts that the LM wrote."
    return Contexts(*kept(out / "kept" / "own.pt", lambda: as_pair(training_texts(s)[1])))


def acts_file(layer): return ACTS / f"acts-{layer}.npy"


@torch.no_grad()
def write_acts(s, contexts, file, batch=512):
    "Residuals of a block, shuffled by context, in one file that every process reads."
    order = torch.randperm(len(contexts), generator=torch.Generator().manual_seed(0))
    draft = np.lib.format.open_memmap(
        str(file) + ".draft.npy", "w+", np.float16, (int(contexts.mask.sum()), s.d_model))
    at = 0
    for rows in order.split(batch):
        c = contexts[rows]
        h = s.resid(c.ids.to(s.device), pos=None, chunk=batch)
        h = h[c.mask.to(s.device)].clamp(-65504, 65504).half().cpu().numpy()
        draft[at:at + len(h)] = h
        at += len(h)
    draft.flush()
    os.rename(str(file) + ".draft.npy", file)


class SmallL2:
    "Adds the squared weights to an SAE's loss."

    def __init__(self, sae, coefficient=1e-3):
        self.sae, self.coefficient, self.forward = sae, coefficient, sae.training_forward_pass

    def __call__(self, step):
        result = self.forward(step)
        weights = [w for w in self.sae.parameters() if w.ndim == 2]
        result.loss = result.loss + self.coefficient * sum(w.square().sum() for w in weights)
        return result


def train_members(s, acts, members, folder):
    "members: (name, arch, l0, seed of the weights)"
    stream = ActivationStream(acts, BATCH, 0)
    saes = {name: new_sae(arch.split("-")[0], l0, s.d_model, D_SAE, seed, STEPS // 4, DEVICE)
            for name, arch, l0, seed in members}
    for name, arch, _, _ in members:
        if arch.endswith("-l2"): saes[name].training_forward_pass = SmallL2(saes[name])
    targets = {name: l0 for name, arch, l0, _ in members if "topk" not in arch}
    controllers = train(saes, stream, STEPS, targets, None, lr=1e-3, speed=8 / STEPS, start=STEPS // 6)
    for name, arch, l0, seed in members:
        about = about_training(s, STEPS * BATCH) | dict(context_size=128)
        save_inference_sae(saes[name], stream, folder / name, **about, l0_target=l0, seed=seed)
    return learning_curves(controllers, "sae")


def residual_norm(s):
    "Median length of residuals: the unit of factors."
    c = evenly(corpus_contexts(s), 64)
    h = s.resid(c.ids.to(s.device), pos=None)[c.mask.to(s.device)].float()
    return h.norm(dim=-1).median().item()


def prompts_used():
    return instructions().instruction.tolist()[:N_INSTRUCTIONS]


def rows_of_prompts(s, prompts): return [prompt_ids(s, p) for p in prompts]


@torch.no_grad()
def steered(s, vectors, unit, prompts, seed, shares=SHARES):
    "Texts [n_vectors·n_shares·n_prompts, NEW] pushed along vectors [n, d] at shares of the residual's norm."
    asked = rows_of_prompts(s, prompts)
    index = list(itertools.product(range(len(vectors)), range(len(shares)), range(len(prompts))))
    v = torch.nn.functional.normalize(vectors.float(), dim=1).to(s.device)
    which = torch.tensor([i for i, _, _ in index], device=s.device)
    amounts = torch.tensor([shares[j] * unit for _, j, _ in index], device=s.device)
    latents = torch.zeros(len(index), dtype=torch.long, device=s.device)
    ids = []
    for k in range(0, len(index), CHUNK):
        part = slice(k, k + CHUNK)
        edit = BatchEdit(s, Add(), Doses(latents[part], v[which[part]], amounts[part]))
        rows = [asked[p] for _, _, p in index[part]]
        seeds = [seed + k + i for i in range(len(rows))]
        ids.append(s.generate(rows, NEW, 1.0, 200, seeds, edit, "all", chunk=CHUNK).cpu())
    return torch.cat(ids)


@torch.no_grad()
def nll_of(s, ids, chunk=int(os.environ.get("NLL_CHUNK", 512))):
    "Mean nats per token by the unsteered LM after a neutral request, up to the end of each text."
    prompt = prompt_ids(s, NEUTRAL_REQUEST)
    past = s.prefix(torch.tensor([prompt[:-1]], device=s.device), all_blocks=True)
    ends = torch.tensor(sorted(s.end_ids()))
    over = (torch.isin(ids, ends) | (ids < 0)).cumsum(1) > 0
    rows = torch.cat([torch.full((len(ids), 1), prompt[-1]), ids.clamp(min=0)], 1)
    nll = torch.cat([s.nll(part.to(s.device), past=past, chunk=chunk).cpu() for part in rows.split(8192)])
    n = (~over).sum(1)
    return torch.where(n > 0, (nll * ~over).sum(1) / n.clamp(min=1), torch.tensor(float("nan")))


def save(file, **arrays):
    "A file that is whole as soon as it is there."
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f".{os.getpid()}-{file.name}")
    np.savez_compressed(draft, **arrays)
    os.rename(str(draft) if str(draft).endswith(".npz") else f"{draft}.npz", file)


def texts_to_save(s, ids, shape):
    "Ids and NLLs as files keep them."
    return dict(ids=ids.clamp(min=0).numpy().astype(np.uint16).reshape(*shape, ids.shape[-1]),
                nll=nll_of(s, ids).numpy().astype(np.float16).reshape(shape))


# One SAE


def draw(live, seed=0):
    "Random latents, and others from which the tails are taken."
    order = np.random.default_rng(seed).permutation(live)
    n = min(PART * max(PARTS.values()), len(order) // 2 if N_POOL else len(order))
    return order[:n], order[n:n + N_POOL]


def save_vectors(t, name, latents, file, unit):
    "Directions of latents, from which their texts are written; and the words that the directions write."
    place = res / name
    known = json.loads((place / "lens.json").read_text()) if (place / "lens.json").exists() else {}
    lens = dict(zip(map(str, latents), logit_lens(t, latents, 20).tolist()))
    (place / "lens.json").write_text(json.dumps(known | lens))
    vectors = decoder_rows(t, latents).float().cpu().numpy().astype(np.float16)
    save(place / f"{file}.npz", latents=np.array(latents), vectors=vectors, unit=unit, block=t.layer)


def scored(t, stats, random, pool):
    "Latents of an SAE with their scores: random ones, and the tails of others."
    scores = latent_scores(t, [*random, *pool], stats=stats, n_tokens=20, chunk=1024)
    rest = scores.loc[pool]
    groups = dict(random=random, low=rest.delta_c.nsmallest(N_TAIL).index,
                  high=rest.delta_c.nlargest(N_TAIL).index, output=rest.output_score.nlargest(N_TAIL).index)
    chosen = pd.DataFrame(
        [dict(latent=int(l), group=g, order=i) for g, ls in groups.items() for i, l in enumerate(ls)])
    return chosen.drop_duplicates("latent").set_index("latent").join(scores)


def scored_closely(t, stats, chosen):
    "Every other score, of the first random latents and of the tails."
    close = chosen.index[(chosen.group != "random") | (chosen.order < N_CLOSE)]
    by_prefix = latent_scores(t, close, stats=stats, n_tokens=20, unit="prefix", chunk=512)
    clamped = latent_scores(t, close, stats=stats, n_tokens=20, intervention=Clamp(), chunk=512)
    chosen = chosen.join(by_prefix[["delta_c", "output_score", "kl"]], rsuffix="_prefix")
    chosen = chosen.join(clamped[["delta_c", "output_score", "p_int"]], rsuffix="_clamp")
    chosen = chosen.join(input_score(t, close, stats=stats)[["input_score", "input_score_next"]])
    chosen = chosen.join(unembedding_alignment(t, close))
    return chosen.join(retention(t, close, stats), rsuffix="_retention")


@torch.no_grad()
def worst_row(t, table, unrelated):
    "As `worst_case`, and the smallest overlap among tokens that move the LM's answer by no more than so much."
    z, z_other = t.encode(torch.stack([table.base.to(t.device), unrelated]).float())
    own, foreign = _only_in(z, z_other, 5), _only_in(z_other, z, 5)
    after = after_tokens(t, table, [z, z_other], torch.cat([own, foreign]), batch=16384)
    left, towards = after.overlaps[:, 0], after.overlaps[:, 1]
    off, on = ~after.on[:, :len(own)], after.on[:, len(own):]
    at = int(left.argmin())
    row = dict(unrelated=overlap(z[None], z_other).item(), median=left.median().item(), worst=left[at].item(),
               worst_token=int(table.tokens[at]), worst_kl=table.kl[at].item(), targeted=towards.max().item(),
               on=_share(on), on_possible=_share(on.any(0)), off=_share(off), off_possible=_share(off.any(0)),
               active=int((z > 0).sum()))
    for limit in LIMITS:
        allowed = table.kl <= limit
        row |= {f"worst_kl_{limit}": left[allowed].min().item() if allowed.any() else 1.0,
                f"median_kl_{limit}": left[allowed].median().item() if allowed.any() else 1.0,
                f"targeted_kl_{limit}": towards[allowed].max().item() if allowed.any() else 0.0,
                f"n_kl_{limit}": int(allowed.sum())}
    return row


def attacked(): return pairs()[:N_TEXTS].itertuples()


def table_file(layer, row): return out / "kept" / f"table-{layer}-{row.id}.pt"


def table_of(s, row):
    "A text's table at the subject's block, with the KL of the LM's answer; `stage_tables` wrote it."
    table = torch.load(table_file(s.layer, row), weights_only=False)
    table.resid = table.resid.to(s.device)
    return table


def choices_of(t, stats):
    "Latents for each topic, by three rules and at random among the ten that the third chooses from."
    halves = topic_halves(topics())
    ten = supervised_latents(t, halves, 10, stats=stats)
    ways = {"AUROC": topic_latents(t, halves, 1), "F1": supervised_latents(t, halves, 1, 1, stats=stats),
            "F1, then output score": ten.groupby("topic", sort=False).head(1),
            "one of the ten at random": ten.groupby("topic", sort=False).sample(N_DRAWN, random_state=0)}
    columns = ["choice", "topic", "latent", "f1", "output_score"]
    return pd.concat([d.assign(choice=way) for way, d in ways.items()], ignore_index=True).reindex(columns=columns)


def write_choices(t, name, stats, unit):
    "Texts of the latents that these rules choose."
    table = choices_of(t, stats)
    prompts = prompts_used()
    ids = steered(t, decoder_rows(t, table.latent.tolist()).float(), unit, prompts, 40_000_000, TOPIC_SHARES)
    shape = (len(table), len(TOPIC_SHARES), len(prompts))
    save(res / name / "choice_texts.npz", **texts_to_save(t, ids, shape), shares=np.array(TOPIC_SHARES),
         **{c: table[c].to_numpy() for c in table})


def stage_choices(grid, *names):
    "The same for SAEs of a grid that was trained into another folder, such as one with fewer instructions."
    s = subject(block_of(names[0]))
    unit = kept(out / "kept" / f"unit-{s.layer}.pt", lambda: residual_norm(s))
    for name in names:
        if not claimed("claims-choices", name): continue
        timed = Timed()
        t = s.with_sae(load_sae(Path(grid) / "trained" / name, DEVICE), layer=s.layer)
        write_choices(t, name, load_stats(Path(grid) / "saes" / name / "stats"), unit)
        timed("choices", name)


class Timed:
    "What took how long."

    def __init__(self): self.t = time.time()

    def __call__(self, *words):
        log(*words, f"{time.time() - self.t:.0f} s")
        self.t = time.time()


def measure(s, names, folder, seed):
    "What is needed to write texts comes first, and what takes longest last."
    subjects = {n: s.with_sae(load_sae(folder / n, DEVICE), layer=s.layer) for n in names}
    timed = Timed()
    stats = latent_stats_of(subjects, n_contexts=N_CONTEXTS)
    unit = kept(out / "kept" / f"unit-{s.layer}.pt", lambda: residual_norm(s))
    drawn, tables = {}, {}
    for n, t in subjects.items():
        save_stats(stats[n], res / n / "stats")
        drawn[n] = draw(stats[n].live(0 if FAKE else 15))
        save_vectors(t, n, drawn[n][0].tolist(), "vectors", unit)
    timed(names[0], "stats", [len(random) for random, _ in drawn.values()])
    for n, t in subjects.items():
        tables[n] = scored(t, stats[n], *drawn[n])
        tables[n].to_csv(res / n / "latents.csv", float_format="%.6g")
        tails = tables[n].index[tables[n].group != "random"].tolist()
        if tails: save_vectors(t, n, tails, "tails", unit)
    timed(names[0], "scores")
    q = quality(subjects, own_heldout(s), 16).assign(text="written by the LM")
    wiki = contexts_of(s, (HERE / "wiki.txt").read_text().split("\n\n")[:200])
    q2 = quality(subjects, evenly(wiki, 64), 16).assign(text="encyclopaedia")
    pd.concat([q, q2]).rename_axis("sae").to_csv(res / f"quality-{names[0]}.csv")
    timed(names[0], "quality", q.fvu.round(2).tolist(), q.l0.round(0).tolist())
    steps = (measure_worst, measure_choices, measure_windows, measure_closely)
    for step in [step for step in steps if step.__name__.removeprefix("measure_") not in SKIPPED]:
        try: step(s, subjects, stats, tables, unit, seed)
        except Exception: traceback.print_exc()
        timed(names[0], step.__name__)


def measure_worst(s, subjects, *_):
    rows = []
    for row in attacked():
        try: table = table_of(s, row)
        except FileNotFoundError as e:
            log("no table", row.id, e)
            continue
        unrelated = s.resid(tokenise(s, row.x2).ids)[0].float()
        for n, t in subjects.items():
            try: rows.append(dict(sae=n, text=row.id, **worst_row(t, table, unrelated)))
            except Exception as e: log("worst", n, row.id, repr(e)[:200])
    pd.DataFrame(rows).to_csv(res / f"worst-{next(iter(subjects))}.csv", index=False, float_format="%.5g")


def measure_choices(s, subjects, stats, tables, unit, seed):
    for n, t in subjects.items():
        if not seed and (n.endswith("-40") or FAKE): write_choices(t, n, stats[n], unit)


def measure_windows(s, subjects, stats, tables, *_):
    sample = {n: d.index[(d.group == "random") & (d.order < N_CLOSE)].tolist() for n, d in tables.items()}
    drawn = windows(subjects, sample, corpus_contexts(s, n_contexts=N_CONTEXTS))
    encoder = WindowEncoder(device=DEVICE)
    for n in sample: interpretability(s, drawn=drawn[n], encoder=encoder).to_csv(res / n / "interp.csv")


def measure_closely(s, subjects, stats, tables, *_):
    for n, t in subjects.items():
        scored_closely(t, stats[n], tables[n]).to_csv(res / n / "latents.csv", float_format="%.6g")


def stage_row(layer, arch, seed):
    layer, seed = int(layer), int(seed)
    s = subject(layer)
    timed = Timed()
    acts = torch.from_numpy(np.load(acts_file(layer))).to(DEVICE)
    timed("acts", layer, arch, tuple(acts.shape))
    weights = 1000 * seed + 100 * ARCH_SEED[arch.split("-")[0]]
    label = arch.replace("-", "")
    members = [(f"block{layer}-{label}-{l0}" + (f"-seed{seed}" if seed else ""), arch, l0, weights + i)
               for i, l0 in enumerate(L0S)]
    curves = train_members(s, acts, members, out / "trained")
    timed("trained", layer, arch)
    curves.to_csv(out / f"curves-{layer}-{label}-{seed}.csv", index=False, float_format="%.4g")
    del acts
    if DEVICE == "cuda": torch.cuda.empty_cache()
    measure(s, [m[0] for m in members], out / "trained", seed)
    log("DONE", layer, arch, seed)


def stage_again(layer, *names):
    "Draw, score and attack anew for SAEs that are trained and whose statistics are kept."
    s = subject(int(layer))
    unit = kept(out / "kept" / f"unit-{layer}.pt", lambda: residual_norm(s))
    subjects = {n: s.with_sae(load_sae(out / "trained" / n, DEVICE), layer=s.layer) for n in names}
    timed = Timed()
    for n, t in subjects.items():
        stats = load_stats(res / n / "stats", t)
        random, pool = draw(stats.live(0 if FAKE else 15))
        save_vectors(t, n, random.tolist(), "vectors", unit)
        scored(t, stats, random, pool).to_csv(res / n / "latents.csv", float_format="%.6g")
        timed("again", n, len(random))
    measure_worst(s, subjects)
    timed("worst", *names)


# What all SAEs share


def stage_write(k, n, rows):
    "Texts by the LM."
    k, n, rows = int(k), int(n), int(rows)
    s = subject(0)
    CORPUS.mkdir(parents=True, exist_ok=True)
    for b in range(k, 1000, n):
        if b * rows >= int(os.environ.get("TEXTS", 49152)): break
        timed = Timed()
        seeds = list(range(b * rows, (b + 1) * rows))
        y = s.generate([[s.bos_id]] * rows, 127, temperature=0.9, top_k=100, seeds=seeds, chunk=rows)
        y = torch.cat([torch.full((rows, 1), s.bos_id), y.cpu().clamp(min=0)], 1).numpy().astype(np.uint16)
        np.save(CORPUS / f"draft-{b:03}.npy", y)
        os.rename(CORPUS / f"draft-{b:03}.npy", CORPUS / f"{b:03}.npy")
        timed("wrote", b, y.shape)


def stage_base(*layers):
    "Unsteered texts, and at every block random directions and DiffMean of topics."
    prompts = prompts_used()
    halves = topic_halves(topics())
    for i, layer in enumerate(map(int, layers)):
        s = subject(layer)
        corpus_contexts(s, n_contexts=N_CONTEXTS)
        if not i:
            kept(out / "kept" / "brown.pt", lambda: brown_contexts(s))
            rows = [r for r in rows_of_prompts(s, prompts) for _ in range(10)]
            ids = s.generate(rows, NEW, 1.0, 200, list(range(30_000_000, 30_000_000 + len(rows)))).cpu()
            save(out / "base" / "unsteered.npz", **texts_to_save(s, ids, (len(rows),)))
        unit = kept(out / "kept" / f"unit-{layer}.pt", lambda: residual_norm(s))
        random = torch.randn(N_RANDOM, s.d_model, generator=torch.Generator().manual_seed(0))
        ids = steered(s, random, unit, prompts, 20_000_000)
        save(out / "base" / f"random-{layer}.npz", shares=np.array(SHARES), unit=unit,
             **texts_to_save(s, ids, (N_RANDOM, len(SHARES), len(prompts))))
        vectors = []
        for topic, texts in halves.made_from.items():
            others = [x for other, xs in halves.made_from.items() if other != topic for x in xs]
            vectors.append(diffmean(s, topic, texts, others).vector)
        ids = steered(s, torch.stack(vectors), unit, prompts, 50_000_000, TOPIC_SHARES)
        save(out / "base" / f"diffmean-{layer}.npz", topics=np.array(list(halves.made_from)), unit=unit,
             shares=np.array(TOPIC_SHARES),
             **texts_to_save(s, ids, (len(vectors), len(TOPIC_SHARES), len(prompts))))
        log("base", layer, unit)


def stage_tables(*layers):
    "Every token after some texts, at every block; and how far each moves the LM's answer."
    subjects = {layer: subject(layer) for layer in sorted(map(int, layers))}
    for row in attacked():
        timed = Timed()
        for layer, s in subjects.items():
            kept(table_file(layer, row), lambda: every_token(
                s, row.x1, tokens=s.vocab[:64] if FAKE else None, answers=True, batch=2048))
        timed("table", row.id)


def stage_acts(layer):
    s = subject(int(layer))
    timed = Timed()
    write_acts(s, training_texts(s)[0], acts_file(int(layer)))
    timed("acts", layer)


# Workers: they take what is ready, the most important first


def claimed(folder, name):
    "Is this piece of work ours?"
    (out / folder).mkdir(parents=True, exist_ok=True)
    try: (out / folder / name).mkdir()
    except FileExistsError: return False
    return True


def stopped(): return (out / "stop").exists()


def importance(name, part):
    "What is written first: first parts before second ones, first seeds, the block in the middle."
    return int(part) if part != "tails" else 1.5, "l2" in name, "seed" in name, "block23" in name, name


def block_of(name): return int(name.split("-")[0].removeprefix("block"))


def parts_of(name):
    "Parts whose directions are there."
    parts = [str(p) for p in range(PARTS[block_of(name)])]
    return parts + ["tails"] if (res / name / "tails.npz").exists() else parts


def take_turns(folder, there, work):
    "Take what nobody has taken, the most important first, until told to stop."
    while not (out / "stop").exists():
        for name, part in sorted(there(), key=lambda x: importance(*x)):
            if not claimed(folder, f"{name}-{part}"): continue
            try: work(name, part)
            except Exception: traceback.print_exc()
            break
        else:
            if FAKE: return
            time.sleep(0.5)


def stage_texts(*_):
    "Write the texts of a part of an SAE's latents, and what stands beside them."
    subjects = {}

    def work(name, part):
        layer = block_of(name)
        if layer not in subjects: subjects[layer] = subject(layer)
        write_part(subjects[layer], name, part)

    take_turns("claims-texts",
               lambda: [(f.parent.name, p) for f in res.glob("*/vectors.npz") for p in parts_of(f.parent.name)],
               work)


def write_part(s, name, part):
    timed = Timed()
    z = np.load(res / name / ("tails.npz" if part == "tails" else "vectors.npz"))
    at = slice(None) if part == "tails" else slice(int(part) * PART, (int(part) + 1) * PART)
    latents, unit, prompts = z["latents"][at].tolist(), float(z["unit"]), prompts_used()
    if not latents: return
    seed = 10_000_000 + (9_000_000 if part == "tails" else 100_000 * int(part))
    ids = steered(s, torch.from_numpy(z["vectors"][at].astype(np.float32)), unit, prompts, seed)
    if part == "0":
        try: write_baselines(s, name, latents[:N_BASE], unit, prompts)
        except Exception: traceback.print_exc()
    save(res / name / f"texts-{part}.npz", **texts_to_save(s, ids, (len(latents), len(SHARES), len(prompts))),
         latents=np.array(latents), shares=np.array(SHARES), unit=unit)
    timed("texts", name, part, len(ids))


def write_baselines(s, name, latents, unit, prompts):
    "Texts of DiffMean directions of latents' examples, and of prompts that ask for their words."
    from rating import concept_at

    stats = load_stats(res / name / "stats")
    lens = json.loads((res / name / "lens.json").read_text())
    contexts = stats.contexts(s).ids
    concepts = {i: concept_at(s, i, contexts, stats.places(i), lens[str(i)]) for i in latents}
    there = [latent for latent in latents if concepts[latent].examples]
    snippets = corpus_snippets(s, stats)
    vectors = [diffmean(s, str(latent), concepts[latent].examples, snippets).vector for latent in there]
    ids = steered(s, torch.stack(vectors), unit, prompts, 80_000_000)
    asks = [prompting_for(concepts[latent]) for latent in there]
    asked = [a.template.format(prompt=p, concept=a.concept) for a in asks for p in prompts]
    seeds = list(range(90_000_000, 90_000_000 + len(asked)))
    ids2 = s.generate(rows_of_prompts(s, asked), NEW, 1.0, 200, seeds, chunk=1024).cpu()
    first = texts_to_save(s, ids, (len(there), len(SHARES), len(prompts)))
    second = texts_to_save(s, ids2, (len(there), len(prompts)))
    save(res / name / "baselines.npz", diffmean=first["ids"], diffmean_nll=first["nll"],
         prompting=second["ids"], prompting_nll=second["nll"], latents=np.array(there))


def stage_rate(*_):
    "Rate the texts that are there, with the functions of the notebook."
    from rating import judge_of, rate_part, save_part
    from saerob.judging import offline

    first = offline._sentence_encoder()
    first.half() if DEVICE == "cuda" else first.bfloat16()
    encode = first.encode
    first.encode = lambda texts, **options: encode(texts, **(options | dict(batch_size=512))).astype(np.float32)
    s = subject(0)
    judge = judge_of(s, out)

    def work(name, part):
        timed = Timed()
        rated, latents, words = rate_part(s, judge, out, name, part, min(N_CLOSE, N_RANDOM))
        save_part(out, name, part, rated, latents, words)
        timed("rated", name, part, len(rated), rated.groupby("condition").score.mean().round(3).to_dict())

    take_turns("claims-rate",
               lambda: [(f.parent.name, f.stem.removeprefix("texts-")) for f in res.glob("*/texts-*.npz")], work)


STAGES = dict(write=stage_write, base=stage_base, tables=stage_tables, acts=stage_acts, row=stage_row,
              texts=stage_texts, rate=stage_rate, choices=stage_choices, again=stage_again)
out.mkdir(parents=True, exist_ok=True)
STAGES[what](*args)
