__version__ = "0.2.0"

# The names a user needs, loaded when they are first asked for: `import saerob` alone loads no model code.
_HOME = {
    "Subject": "saerob.model.subject",
    "attack": "saerob.attacks.attack",
    "steer": "saerob.steering.generate",
    "delta_token_confidence": "saerob.steering.scores",
    "output_score": "saerob.steering.scores",
    "input_score": "saerob.steering.scores",
    "kendall": "saerob.core.rank_correlation",
}
__all__ = list(_HOME)


def __getattr__(name):
    from importlib import import_module
    if name not in _HOME: raise AttributeError(f"module 'saerob' has no attribute {name!r}; it offers {', '.join(_HOME)}")
    return getattr(import_module(_HOME[name]), name)


def __dir__(): return sorted([*globals(), *_HOME])
