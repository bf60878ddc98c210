"""python run.py: starts the plan's jobs as processes of their own, most important first; logs in /tmp/res/log."""

import os, subprocess, sys, time
from pathlib import Path

H = str(Path(__file__).resolve().parent)
R = Path("/tmp/res")
(R / "log").mkdir(parents=True, exist_ok=True)
free = os.statvfs("/dev/shm")
ACTS = "/dev/shm" if free.f_bavail * free.f_frsize > 30e9 else "/tmp/acts"
Path(ACTS).mkdir(exist_ok=True)
env = dict(
    os.environ,
    CORPUS="/tmp/corpus",
    ACTS=ACTS,
    OMP_NUM_THREADS="2",
    PYTHONUNBUFFERED="1",
    PYTORCH_CUDA_ALLOC_CONF="expandable_segments:True",
    TQDM_DISABLE="1",
)
P = sys.executable
G = "/tmp/res/grid"
memory = subprocess.run(["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"],
                        capture_output=True, text=True).stdout.split()
LARGE = not memory or int(memory[0]) > 100_000
ROWS = 5 if LARGE else 2  # rows of SAEs at a time
L0S = (20, 40, 80, 130)
BLOCKS = [int(b) for b in os.environ.get("BLOCKS", "15").split()]  # one is as much as fifteen minutes hold
N = 2  # processes that write the corpus
RATERS = int(os.environ.get("RATERS", 0))  # at first, and as many more when few rows are left; 0: rated at home
WRITERS = 2
late = Path("/tmp/up/late").exists  # what raters need has arrived
corpus = lambda: not any(n.startswith("write") for n in waiting + list(running))
acts = lambda layer: lambda: Path(ACTS, f"acts-{layer}.npy").exists() and few("row", ROWS)
few = lambda kind, n: sum(name.startswith(kind) for name in running) < n
ALWAYS = lambda: True
jobs = []  # name, argv, may it start?
for k in range(N):
    jobs.append((f"write{k}", ["grid.py", "write", G, str(k), str(N), "8192"], ALWAYS))
jobs.append(("base", ["grid.py", "base", G, *map(str, BLOCKS)], corpus))
for layer in BLOCKS:
    jobs.append((f"acts{layer}", ["grid.py", "acts", G, str(layer)], corpus))
jobs.append(("tables", ["grid.py", "tables", G, *map(str, BLOCKS)], corpus))
ARCHS = ("topk", "jumprelu", "batchtopk", "relu", "gated")
PLAN = [(layer, arch, 0) for layer in BLOCKS for arch in ARCHS]
PLAN += [(layer, arch, 1) for layer in BLOCKS for arch in ("topk", "jumprelu")]
for layer, arch, seed in PLAN:
    jobs.append((f"row-{layer}-{arch}-{seed}", ["grid.py", "row", G, str(layer), arch, str(seed)], acts(layer)))
first_row = lambda: any(Path(G, "saes").glob("*/vectors.npz"))
for k in range(WRITERS):
    jobs.append((f"texts{k}", ["grid.py", "texts", G], first_row))
first_texts = lambda: late() and any(Path(G, "saes").glob("*/texts-*.npz"))
for k in range(RATERS):
    jobs.append((f"rate{k}", ["grid.py", "rate", G], first_texts))
few_left = lambda: first_texts() and few("row", 3) and not any(n.startswith("row") for n in waiting)
for k in range(RATERS, 2 * RATERS):
    jobs.append((f"rate{k}", ["grid.py", "rate", G], few_left))
written = lambda: len(list(Path(G, "saes").glob("*/texts-*.npz"))) >= 3 * len(L0S) * len(PLAN)
no_rows = lambda: few("row", 1) and not any(n.startswith("row") for n in waiting)
rest = lambda: late() and few("lane", 3) and no_rows() and written()
for lane in ("effort0", "effort1", "held"):
    jobs.append((f"lane-{lane}", ["lanes.py", "/tmp/res/runs", lane], rest))
running = {}
t0 = time.time()


def note(*words):
    with open(R / "log" / "status", "a") as f:
        print(f"{time.time() - t0:.0f} s", *words, file=f)


while jobs or running:
    for name, p in list(running.items()):
        if p.poll() is not None:
            del running[name]
            note(name, f"rc={p.returncode}")
    waiting = [j[0] for j in jobs]
    for j in list(jobs):
        if not j[2]():
            continue
        log = open(R / "log" / f"{j[0]}.log", "a")
        argv = [P, f"{H}/{j[1][0]}", *j[1][1:]]
        running[j[0]] = subprocess.Popen(argv, stdout=log, stderr=subprocess.STDOUT, env=env, cwd=H)
        note("start", j[0])
        jobs.remove(j)
        waiting.remove(j[0])
    time.sleep(0.5)
note("ALL DONE")
