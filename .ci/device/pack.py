"python pack.py OUT names…: SAEs in 8 bits, three to a file"

import sys, json, tarfile, io, torch
from pathlib import Path
from safetensors.torch import load_file, save_file

out = Path(sys.argv[1])
names = sys.argv[2:]
src = Path("/tmp/res/grid/trained")
tmp = Path("/tmp/packed")
for n in names:
    d = tmp / n
    d.mkdir(parents=True, exist_ok=True)
    if (d / "sae_weights.int8.safetensors").exists():
        continue
    w = load_file(src / n / "sae_weights.safetensors")
    o = {}
    for k, v in w.items():
        v = v.float()
        if v.ndim == 2:
            dim = 0 if k == "W_enc" else 1
            sc = v.abs().amax(dim, keepdim=True) / 127
            sc = torch.where(sc == 0, torch.ones_like(sc), sc)
            o[k] = (v / sc).round().clamp(-127, 127).to(torch.int8).contiguous()
            o[k + ".scale"] = sc.contiguous()
        else:
            o[k] = v.contiguous()
    save_file(o, d / "sae_weights.int8.safetensors")
    (d / "cfg.json").write_text((src / n / "cfg.json").read_text())
for i in range(0, len(names), 3):
    with tarfile.open(out / f"saes-{names[i]}.tar", "w") as t:
        for n in names[i : i + 3]:
            t.add(tmp / n, n)
