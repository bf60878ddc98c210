"What is tested: a language model and a sparse autoencoder, how the one writes and the other reads."
from . import codes, generation, identity, loading, tokens  # they add methods to Subject
from .loading import DEFAULT_SAE, load_sae, shipped_saes
from .subject import Prefix, Subject, SubjectError, layer_of

__all__ = ["Subject", "SubjectError", "Prefix", "DEFAULT_SAE", "load_sae", "shipped_saes", "layer_of"]
