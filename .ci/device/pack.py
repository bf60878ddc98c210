"python pack.py OUT names…: SAEs in eight bits, three to a file"

import shutil, sys, tarfile
from pathlib import Path
from saerob.saes.train import to_eight_bit

out, names = Path(sys.argv[1]), sys.argv[2:]
src, packed = Path("/tmp/res/grid/trained"), Path("/tmp/packed")
names = [n for n in names if (src / n / "cfg.json").exists()]
for i in range(0, len(names), 3):
    with tarfile.open(out / f"saes-{names[i]}.tar", "w") as tar:
        for n in names[i : i + 3]:
            shutil.copytree(src / n, packed / n, dirs_exist_ok=True)
            tar.add(to_eight_bit(packed / n), n)
