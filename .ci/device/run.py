"""python run.py MOST: runs the plan's jobs as processes of their own, most important first; logs in /tmp/res/log."""

import os, subprocess, sys, time
from pathlib import Path

H = str(Path(__file__).resolve().parent)
R = Path("/tmp/res")
(R / "log").mkdir(parents=True, exist_ok=True)
MOST = int(sys.argv[1])
free = os.statvfs("/dev/shm")
ACTS = "/dev/shm" if free.f_bavail * free.f_frsize > 30e9 else "/tmp/acts"
Path(ACTS).mkdir(exist_ok=True)
env = dict(
    os.environ,
    CORPUS="/tmp/corpus",
    ACTS=ACTS,
    TEXTS=os.environ.get("TEXTS", "49152"),
    OMP_NUM_THREADS="2",
    PYTHONUNBUFFERED="1",
    PYTORCH_CUDA_ALLOC_CONF="expandable_segments:True",
    TQDM_DISABLE="1",
)
P = sys.executable
G = "/tmp/res/grid"
N = 3
ALWAYS = lambda: True
corpus = lambda: not any(n.startswith("write") for n in waiting + list(running))
acts = lambda layer: lambda: Path(ACTS, f"acts-{layer}.npy").exists()
jobs = []  # name, argv, may it start?
for k in range(N):
    jobs.append((f"write{k}", ["grid.py", "write", G, str(k), str(N), "4096"], ALWAYS))
jobs.append(("base15", ["grid.py", "base", G, "15"], ALWAYS))
jobs.append(("protocol0", ["protocol.py", "/tmp/res/protocol", "0", "1"], ALWAYS))
jobs.append(("acts15", ["grid.py", "acts", G, "15"], corpus))
for arch in ("topk", "jumprelu", "batchtopk", "relu", "gated"):
    jobs.append((f"row-15-{arch}", ["grid.py", "row", G, "15", arch, "0"], acts(15)))
jobs.append(("acts23", ["grid.py", "acts", G, "23"], corpus))
jobs.append(("tables", ["grid.py", "tables", G, "15", "23"], corpus))
for arch in ("topk", "jumprelu", "batchtopk", "relu", "gated"):
    jobs.append((f"row-23-{arch}", ["grid.py", "row", G, "23", arch, "0"], acts(23)))
jobs.append(("base2", ["grid.py", "base", G, "23", "8", "12", "19"], ALWAYS))
jobs.append(("extra", ["grid.py", "extra", G, "8", "12", "19"], corpus))
for arch in ("topk", "jumprelu"):
    jobs.append((f"row-15-{arch}-1", ["grid.py", "row", G, "15", arch, "1"], acts(15)))
for arch in ("topk", "jumprelu"):
    jobs.append((f"row-23-{arch}-1", ["grid.py", "row", G, "23", arch, "1"], acts(23)))
for arch in ("topk-l2", "jumprelu-l2"):
    jobs.append((f"row-15-{arch}", ["grid.py", "row", G, "15", arch, "0"], acts(15)))
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
        if len(running) >= MOST:
            break
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
