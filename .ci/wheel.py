"""Build the wheel, install it alone into an empty folder, and do with it what the README says, without a network.

`wheel.py` needs `make setup` to have been run: the requirements come from .venv, the language model from the
cache. Everything else, the texts, the SAE, the token shifts, has to come out of the wheel.
"""

import json, os, shutil, subprocess, sys, tempfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

ROOT = Path(__file__).resolve().parent.parent
LIMIT_MB = 25
# `saerob attack` twice in one process, which imports the libraries once: with an SAE that is fetched, and again
# when its server cannot be reached.
ATTACKS = """
import os, sys
from saerob.app.cli import main
command = ["attack", sys.argv[1], "--budget", "20", "--json", "--sae", "gated"]
failed = main(command)
print("next")
os.environ["SAEROB_URL"] = os.environ["NOBODY"]
failed += main(command)
sys.exit(failed)
"""
SOURCES = ("setup.py", "settings.ini", "MANIFEST.in", "README.md", "LICENSE", "constraints.txt")
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]


def call(*cmd, cwd, **env):
    "Run a command that must succeed; returns its stdout."
    r = subprocess.run([str(c) for c in cmd], cwd=cwd, env=os.environ | env, text=True, capture_output=True)
    if r.returncode:
        sys.exit(f"{' '.join(map(str, cmd))}\n{r.stdout}{r.stderr}")
    return r.stdout


def build(tmp):
    "The wheel, made from a copy of the sources, so that nothing is left in the working tree."
    work = tmp / "work"
    ignored = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
    for folder in ("saerob", "data"):
        shutil.copytree(ROOT / folder, work / folder, ignore=ignored)
    for name in SOURCES:
        shutil.copy(ROOT / name, work)
    call(*PIP, "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", tmp, ".", cwd=work)
    return next(tmp.glob("*.whl"))


def five_lines():
    "The first Python of the README that attacks a text, with a budget that a test can afford."
    blocks = (ROOT / "README.md").read_text(encoding="utf-8").split("```python\n")[1:]
    blocks = [b.split("```")[0] for b in blocks]
    attacks = next(i for i, b in enumerate(blocks) if "attack(s," in b)
    return "".join(blocks[: attacks + 1]).replace("budget=600", "budget=40")


def serve(folder):
    "A web server on this machine, as long as this process lives; returns its address."
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
    Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"


def main():
    "Build, install, use; returns nothing, or exits with what went wrong."
    cache = Path(os.environ.get("SAEROB_HOME") or Path.home() / ".cache/saerob").expanduser()
    with tempfile.TemporaryDirectory() as tmp:
        tmp = Path(tmp)
        wheel = build(tmp)
        size = wheel.stat().st_size / 1e6
        if size > LIMIT_MB:
            sys.exit(f"the wheel weighs {size:.1f} MB, {LIMIT_MB} are allowed")
        call(*PIP, "install", "--no-deps", "--no-index", "--target", tmp / "site", wheel, cwd=tmp)
        home, elsewhere = tmp / "home", tmp / "elsewhere"
        home.mkdir(), elsewhere.mkdir()
        (home / "models").symlink_to(cache / "models")  # the LM; nothing else that was cached may help
        clean = dict(PYTHONPATH=str(tmp / "site"), SAEROB_HOME=str(home), SAEROB_DATA="", HF_HUB_OFFLINE="1")
        clean |= dict(PIP_NO_INDEX="1", npm_config_offline="true", OMP_NUM_THREADS="1")
        program = five_lines() + "\nimport saerob; print(saerob.__file__)"
        said = call(sys.executable, "-c", program, cwd=elsewhere, **clean).splitlines()
        if not Path(said[-1]).is_relative_to(tmp / "site"):
            sys.exit(f"not the wheel was used, but {said[-1]}")
        print(said[-2])
        steered = "-m saerob steer --latents 265 --factors 1 --new-tokens 3 Hello".split()
        print(call(sys.executable, *steered, cwd=elsewhere, **clean))
        address = serve(ROOT / "data")  # the SAEs that stay in the repository come over the network, once
        clean |= dict(SAEROB_URL=address, NOBODY="http://127.0.0.1:9")
        text = "The museum opens a new wing."
        for table in call(sys.executable, "-c", ATTACKS, text, cwd=elsewhere, **clean).split("next\n"):
            if not json.loads(table)[0]["adversarial_text"].startswith(text):
                sys.exit(f"`saerob attack` printed {table}")
        print(f"{wheel.name}: {size:.1f} MB")


if __name__ == "__main__":
    main()
