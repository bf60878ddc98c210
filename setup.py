"Everything here is read from `settings.ini`; change that file, not this one."
import shutil
from configparser import ConfigParser
from hashlib import sha256
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

here = Path(__file__).parent
parser = ConfigParser(delimiters=["="], interpolation=None)
parser.read(here / "settings.ini", encoding="utf-8")
cfg = parser["DEFAULT"]
name = cfg["lib_name"]
url = f"https://github.com/{cfg['user']}/{cfg['repo']}"
readme = here / "README.md"
DATA = ("*.csv", "README.md", "saes/topk/*", "token_shifts/*", "results/*")  # what a wheel takes along of data/


class BuildWithData(build_py):
    "Put the data that a user needs into the package as `saerob/_data`; a checkout has it beside the package."

    def run(self):
        super().run()
        if self.editable_mode:
            return
        for path in sorted(p for pattern in DATA for p in (here / "data").glob(pattern) if p.is_file()):
            to = Path(self.build_lib) / name / "_data" / path.relative_to(here / "data")
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, to)
        kept = {p for pattern in DATA for p in (here / "data").glob(pattern)}
        left = sorted(p for p in (here / "data").rglob("*") if p.is_file() and p not in kept)
        lines = [f"{p.relative_to(here / 'data').as_posix()} {sha256(p.read_bytes()).hexdigest()}\n" for p in left]
        (Path(self.build_lib) / name / "_data" / "registry.txt").write_text("".join(lines), encoding="utf-8")


setup(
    name=name,
    version=cfg["version"],
    description=cfg["description"],
    long_description=readme.read_text(encoding="utf-8") if readme.exists() else "",
    long_description_content_type="text/markdown",
    author=cfg["author"],
    author_email=cfg["author_email"],
    keywords=cfg["keywords"].split(),
    license="Apache-2.0",
    url=url,
    packages=find_packages(include=[name, f"{name}.*"]),
    cmdclass={"build_py": BuildWithData},
    include_package_data=True,
    package_data={name: ["templates/*"]},
    python_requires=f">={cfg['min_python']}",
    install_requires=cfg["requirements"].split(),
    extras_require={extra: cfg[f"{extra}_requirements"].split() for extra in ("dev", "ray", "slurm")},
    entry_points={
        "console_scripts": cfg.get("console_scripts", "").split(),
        "nbdev": [f"{name}={name}._modidx:d"],
    },
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Science/Research",
        f"Programming Language :: Python :: {cfg['min_python']}",
    ],
    zip_safe=False,
)
