"""python run.py: starts every job of the plan as a process of its own, as many at a time as fit; logs in /tmp/res/log."""

import os, subprocess, sys, time
from pathlib import Path

H = str(Path(__file__).resolve().parent)
R = Path("/tmp/res")
(R / "log").mkdir(parents=True, exist_ok=True)
env = dict(
    os.environ,
    CORPUS="/tmp/corpus",
    TEXTS=os.environ.get("TEXTS", "24576"),
    STEPS=os.environ.get("STEPS", "2500"),
    OMP_NUM_THREADS="2",
    PYTHONUNBUFFERED="1",
    PYTORCH_CUDA_ALLOC_CONF="expandable_segments:True",
    TQDM_DISABLE="1",
)
MOST = int(os.environ.get("MOST", 16))
P = sys.executable
N = 3
jobs = []  # name, argv, needs corpus
for k in range(N):
    jobs.append((f"write{k}", ["grid.py", "write", "/tmp/res/grid", str(k), str(N), "2048"], False))
for k in range(3):
    jobs.append((f"fronts{k}", ["fronts.py", "/tmp/res/fronts", str(k), "3"], False))
jobs.append(("tables", ["grid.py", "tables", "/tmp/res/grid", "15", "23"], False))
for k in range(2):
    jobs.append((f"protocol{k}", ["protocol.py", "/tmp/res/protocol", str(k), "3"], False))
jobs.append(("base", ["grid.py", "base", "/tmp/res/grid", "15", "23", "8", "12", "19"], False))
for arch in ("topk", "jumprelu", "batchtopk", "relu", "gated"):
    for layer in (15, 23):
        jobs.append((f"row-{layer}-{arch}", ["grid.py", "row", "/tmp/res/grid", str(layer), arch, "0"], True))
jobs.append(("extra", ["grid.py", "extra", "/tmp/res/grid"], True))
jobs.append((f"protocol2", ["protocol.py", "/tmp/res/protocol", "2", "3"], False))
for arch in ("topk", "jumprelu"):
    for layer in (15, 23):
        jobs.append(
            (f"row-{layer}-{arch}-1", ["grid.py", "row", "/tmp/res/grid", str(layer), arch, "1"], True)
        )
only = sys.argv[1:]
if only:
    jobs = [j for j in jobs if j[0] in only]
running = {}
done = {}
t0 = time.time()
while jobs or running:
    for name, p in list(running.items()):
        if p.poll() is not None:
            done[name] = p.returncode
            del running[name]
            with open(R / "log" / "status", "a") as f:
                print(f"{time.time() - t0:.0f} s {name} rc={p.returncode}", file=f)
    corpus = only or not any(n.startswith("write") for n in list(running) + [j[0] for j in jobs])
    for j in list(jobs):
        if len(running) >= MOST:
            break
        if j[2] and not corpus:
            continue
        log = open(R / "log" / f"{j[0]}.log", "a")
        running[j[0]] = subprocess.Popen(
            [P, f"{H}/{j[1][0]}", *j[1][1:]], stdout=log, stderr=subprocess.STDOUT, env=env, cwd=H
        )
        jobs.remove(j)
    time.sleep(0.5)
