"""Changing a latent while the LM runs: interventions, steered text, scores known beforehand, utility and selection."""
from .interventions import Add, Clamp, Intervention, Only, Reconstruct, intervention_from
from .generate import FACTORS, Prompting, next_token_kl, steer, text_measures
from .scores import delta_token_confidence, input_score, latent_scores, output_score

__all__ = ["Add", "Clamp", "Intervention", "Only", "Reconstruct", "intervention_from",
           "FACTORS", "Prompting", "next_token_kl", "steer", "text_measures",
           "delta_token_confidence", "input_score", "latent_scores", "output_score"]
