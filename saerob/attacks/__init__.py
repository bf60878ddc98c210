"Attacks on what an SAE reports: goals, edits, constraints and searches, and `attack`, which puts them together."
from .attack import AttackResult, LMChange, attack, choose_latents, default_search, lm_change
from .constraints import KLBelow, SameContinuation, SameNextToken
from .edits import EditablePrompt, Replace, Suffix
from .goals import ActiveSet, Objective, OneLatent, Switch, Targeted, Untargeted
from .language import Constraint, Edit, Goal, Search, from_settings, settings
from .searches import DEFECTS, GCG, Beam, Exhaustive, FixedList, PublishedGCG, Random, Surrogate, TokenShifts, li2025
from .state import AttackState
from .token_shifts import ShiftTable, load_shifts, measure_shifts, shifts_shipped

__all__ = ["attack", "AttackResult", "AttackState", "LMChange", "choose_latents", "default_search", "lm_change",
           "Goal", "Untargeted", "Targeted", "Switch", "Objective", "ActiveSet", "OneLatent",
           "Edit", "Suffix", "Replace", "EditablePrompt",
           "Constraint", "KLBelow", "SameNextToken", "SameContinuation",
           "Search", "GCG", "Random", "Beam", "Surrogate", "TokenShifts", "FixedList", "Exhaustive",
           "PublishedGCG", "li2025", "DEFECTS",
           "ShiftTable", "load_shifts", "measure_shifts", "shifts_shipped", "settings", "from_settings"]
